//! Sessions and what they set and hold: `pg_settings`, `pg_cursors`, `pg_prepared_statements`,
//! `pg_stat_activity`, `pg_stat_progress_copy`, `pg_locks`; time zones.

use glaredb_engine::types::TimeZone;

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows, int};

pub(super) fn pg_settings(source: &Source, rows: &mut Rows) {
    let Some(settings) = &source.settings else { return };
    for (parameter, value) in settings.all() {
        let changed = value != parameter.default;
        let (least, most) = parameter.bounds().unzip();
        let choices = parameter.choices().map(|choices| choices.into_iter().map(str::to_owned));
        let default = parameter.in_unit(parameter.default);
        rows.push([
            ("name", parameter.name.into()),
            ("setting", parameter.in_unit(value).into()),
            ("unit", parameter.unit().map(str::to_owned).into()),
            ("category", "Client Connection Defaults".into()),
            ("short_desc", parameter.description.into()),
            ("context", if parameter.read_only { "internal" } else { "user" }.into()),
            ("vartype", parameter.type_name().into()),
            ("source", if changed { "session" } else { "default" }.into()),
            ("min_val", least.into()),
            ("max_val", most.into()),
            ("enumvals", choices.map(Iterator::collect).map_or(Cell::Null, Cell::Texts)),
            ("boot_val", default.clone().into()),
            ("reset_val", default.into()),
            ("pending_restart", false.into()),
        ]);
    }
}

pub(super) fn pg_stat_activity(source: &Source, rows: &mut Rows) {
    for session in source.activities.list() {
        let database = source.catalog.database(&session.database);
        let role = source.catalog.role(&session.role);
        rows.push([
            ("datid", database.map(|database| database.oid).into()),
            ("datname", session.database.into()),
            ("pid", int(session.process_id)),
            ("usesysid", role.map(|role| role.oid).into()),
            ("usename", session.role.into()),
            ("application_name", session.application_name.into()),
            ("client_addr", session.client.map(|client| client.ip().to_string()).into()),
            ("client_port", session.client.map_or(int(-1), |client| int(client.port()))),
            ("backend_start", Cell::Timestamptz(session.started_us)),
            ("query_start", session.query_started_us.map_or(Cell::Null, Cell::Timestamptz)),
            ("xact_start", session.transaction_started_us.map_or(Cell::Null, Cell::Timestamptz)),
            ("state", session.state.into()),
            ("query", session.query.into()),
            ("backend_type", "client backend".into()),
        ]);
    }
}

pub(super) fn pg_stat_progress_copy(source: &Source, rows: &mut Rows) {
    let count = |count: u64| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
    for copy in source.copies.list() {
        let database = source.catalog.database(&copy.database);
        rows.push([
            ("pid", int(copy.process_id)),
            ("datid", database.map(|database| database.oid).into()),
            ("datname", copy.database.into()),
            ("relid", copy.relation.into()),
            ("command", if copy.from { "COPY FROM" } else { "COPY TO" }.into()),
            ("type", if copy.file { "FILE" } else { "PIPE" }.into()),
            ("bytes_processed", count(copy.bytes)),
            ("bytes_total", count(copy.bytes_total)),
            ("tuples_processed", count(copy.rows)),
            ("tuples_excluded", count(copy.excluded)),
        ]);
    }
}

/// What sessions hold while a transaction is open: its own id. Nothing here locks tables or rows in a
/// way that another could wait for by name.
pub(super) fn pg_locks(source: &Source, rows: &mut Rows) {
    for session in source.activities.list() {
        if session.transaction_started_us.is_none() && session.state != "active" {
            continue;
        }
        let id = format!("{}/1", session.process_id);
        rows.push([
            ("locktype", "virtualxid".into()),
            ("virtualxid", id.as_str().into()),
            ("virtualtransaction", id.as_str().into()),
            ("pid", int(session.process_id)),
            ("mode", "ExclusiveLock".into()),
            ("granted", true.into()),
            ("fastpath", true.into()),
        ]);
    }
}

/// What is counted; the rest is null, not zero.
pub(super) fn pg_stat_database(source: &Source, rows: &mut Rows) {
    let sessions = source.activities.list();
    for database in source.catalog.databases() {
        let here = sessions.iter().filter(|session| session.database == database.name).count();
        rows.push([
            ("datid", database.oid.into()),
            ("datname", database.name.as_str().into()),
            ("numbackends", Cell::Int(i64::try_from(here).unwrap_or(i64::MAX))),
        ]);
    }
}

pub(super) fn pg_timezone_names(now_us: i64, rows: &mut Rows) {
    for zone in TimeZone::known_at(now_us) {
        rows.push([
            ("name", zone.name.into()),
            ("abbrev", zone.abbreviation.into()),
            ("utc_offset", Cell::Seconds(zone.east_seconds.into())),
            ("is_dst", zone.is_daylight_saving.into()),
        ]);
    }
}

pub(super) fn pg_cursors(source: &Source, rows: &mut Rows) {
    for cursor in source.objects.cursors.lock().iter() {
        rows.push([
            ("name", cursor.name.as_str().into()),
            ("statement", (&*cursor.statement).into()),
            ("is_holdable", cursor.is_holdable.into()),
            ("is_binary", cursor.is_binary.into()),
            ("is_scrollable", cursor.is_scrollable.into()),
            ("creation_time", Cell::Timestamptz(cursor.created_us)),
        ]);
    }
}

/// How often plans were made anew is not counted.
pub(super) fn pg_prepared_statements(source: &Source, rows: &mut Rows) {
    for (name, prepared) in source.objects.prepared.lock().iter() {
        rows.push([
            ("name", name.as_str().into()),
            ("statement", (&*prepared.text).into()),
            ("prepare_time", Cell::Timestamptz(prepared.prepared_us)),
            ("parameter_types", Cell::Texts(prepared.parameter_types.clone())),
            ("from_sql", prepared.from_sql.into()),
        ]);
    }
}
