//! What a session is and where: schemas searched, encoding, recovery.

use std::sync::Arc;

use glaredb_engine::{session::StatementContext, types::PgType};

use super::system_function::{Functions, Value};

pub(super) fn add(functions: &mut Functions) {
    use PgType::{Bool, Int4, Name, Oid, Text};
    functions.strict("current_schema", &[], Name, |call| {
        existing_schemas(call.context, false).next().map(str::to_owned)
    });
    let names = PgType::Array(Arc::new(Name));
    functions.strict("current_schemas", &[Bool], names, |call| {
        let implicit = call.bool(0).unwrap_or_default();
        Value::Texts(existing_schemas(call.context, implicit).map(str::to_owned).collect())
    });
    functions.strict("pg_is_in_recovery", &[], Bool, |_| false);
    functions.strict("pg_my_temp_schema", &[], Oid, |_| Value::Oid(0));
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
    let texts = || PgType::Array(Arc::new(Text));
    functions.strict("array_to_string", &[texts(), Text], Text, |call| {
        let separator = call.text(1)?;
        let elements: Vec<_> = call.texts(0)?.into_iter().flatten().collect();
        Some(elements.join(separator))
    });
    functions.strict("pg_tablespace_location", &[Oid], Text, |_| "");
}

/// The schemas of the search path that exist; `implicit`: with `pg_catalog` where it is searched
/// without being listed.
fn existing_schemas(context: &StatementContext, implicit: bool) -> impl Iterator<Item = &str> {
    let listed = context.settings.search_path.iter().any(|schema| schema == "pg_catalog");
    context
        .search_path()
        .skip(usize::from(!listed && !implicit))
        .filter(|schema| context.catalog.schema(schema).is_some())
}
