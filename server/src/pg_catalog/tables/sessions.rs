//! `pg_settings` and `pg_stat_activity`.

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
