//! What a session is and where: schemas searched, encoding, recovery.

use std::sync::Arc;

use glaredb_catalog::TEMPORARY_SCHEMA;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::StatementContext,
    types::PgType,
};
use glaredb_txn::env::{Clock, SystemClock};

use super::system_function::{Functions, Value};
use crate::pg_catalog::Activities;

pub(super) fn add(functions: &mut Functions, activities: &Arc<dyn Activities>) {
    use PgType::{Bool, Int4, Name, Oid, Text};
    add_clock(functions);
    for (name, terminate) in [("pg_cancel_backend", false), ("pg_terminate_backend", true)] {
        let activities = activities.clone();
        functions.volatile(name, &[Int4], Bool, move |call| {
            let pid = call.int(0).and_then(|pid| i32::try_from(pid).ok());
            Value::Bool(pid.is_some_and(|pid| activities.interrupt(pid, terminate)))
        });
    }
    functions.fallible("current_setting", &[Text], Text, |call| {
        let name = call.text(0).unwrap_or_default();
        match call.context.setting(name) {
            Some(value) => Ok(value.into()),
            None => Err(SqlError::new(
                sqlstate::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            )),
        }
    });
    functions.acting("set_config", &[Text, Text, Bool], Text, |call| {
        let name = call.text(0).ok_or_else(|| {
            SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name")
        })?;
        let local = call.bool(2).unwrap_or_default();
        call.context.set_setting(name, call.text(1), local).map(Value::Text)
    });
    functions.fallible("current_setting", &[Text, Bool], Text, |call| {
        let name = call.text(0).unwrap_or_default();
        match call.context.setting(name) {
            Some(value) => Ok(value.into()),
            None if call.bool(1).unwrap_or_default() => Ok(Value::Null),
            None => Err(SqlError::new(
                sqlstate::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            )),
        }
    });
    functions.strict("current_schema", &[], Name, |call| {
        existing_schemas(call.context, false).next().map(str::to_owned)
    });
    let names = PgType::Array(Arc::new(Name));
    functions.strict("current_schemas", &[Bool], names, |call| {
        let implicit = call.bool(0).unwrap_or_default();
        Value::Texts(existing_schemas(call.context, implicit).map(str::to_owned).collect())
    });
    // No session waits for a lock that another holds.
    let numbers = PgType::Array(Arc::new(Int4));
    functions.strict("pg_blocking_pids", &[Int4], numbers, |_| Value::Ints(Vec::new()));
    functions.strict("pg_is_in_recovery", &[], Bool, |_| false);
    functions.strict("pg_my_temp_schema", &[], Oid, |call| {
        let schema = call.context.catalog.temporary_schema();
        Value::Oid(schema.map_or(0, |schema| schema.oid))
    });
    // Sessions do not see each other's.
    functions.strict("pg_is_other_temp_schema", &[Oid], Bool, |_| false);
    functions.strict("pg_encoding_to_char", &[Int4], Name, |call| match call.int(0) {
        Some(6) => "UTF8",
        Some(0) => "SQL_ASCII",
        _ => "",
    });
    functions.strict("pg_char_to_encoding", &[Name], Int4, |call| {
        let name = call.text(0).unwrap_or_default().to_ascii_uppercase();
        Value::Int(if matches!(name.as_str(), "UTF8" | "UTF-8" | "UNICODE") { 6 } else { -1 })
    });
    functions.strict("getdatabaseencoding", &[], Name, |_| "UTF8");
    functions.strict("pg_client_encoding", &[], Name, |_| "UTF8");
    // Drivers call it when a connection goes back to its pool; there are no advisory locks.
    functions.strict("pg_advisory_unlock_all", &[], PgType::Void, |_| "");
    functions.strict("pg_tablespace_location", &[Oid], Text, |_| "");
}

/// When it is, and when the server started.
fn add_clock(functions: &mut Functions) {
    use PgType::Timestamptz;
    let started = now_us();
    functions.volatile("clock_timestamp", &[], Timestamptz(None), |_| Value::Timestamptz(now_us()));
    functions.volatile("timeofday", &[], PgType::Text, |call| {
        let zone = &call.context.settings.format.time_zone;
        Value::Text(glaredb_engine::types::text::time_of_day(now_us(), zone))
    });
    // The settings of the command line are read at the start and never again.
    for name in ["pg_postmaster_start_time", "pg_conf_load_time"] {
        functions.strict(name, &[], Timestamptz(None), move |_| Value::Timestamptz(started));
    }
}

/// Microseconds since 1970-01-01 UTC.
pub(in crate::pg_catalog) fn now_us() -> i64 {
    i64::try_from(SystemClock.now_us()).unwrap_or(i64::MAX)
}

/// The schemas of the search path that exist; `implicit`: with `pg_catalog` where it is searched
/// without being listed.
fn existing_schemas(context: &StatementContext, implicit: bool) -> impl Iterator<Item = &str> {
    let listed = &context.settings.search_path;
    let left_out = ["pg_catalog", TEMPORARY_SCHEMA]
        .iter()
        .filter(|name| !implicit && !listed.iter().any(|listed| listed == **name))
        .count();
    context
        .search_path()
        .skip(left_out)
        .filter_map(|schema| context.catalog.schema(schema))
        .map(|schema| schema.name.as_str())
}
