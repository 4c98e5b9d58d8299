//! `pg_stat_user_tables`, `pg_stat_all_tables`: what is counted; the rest is null, not zero.

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows};

pub(super) fn pg_stat_user_tables(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let live = source.figures.table(table.storage).map_or(0, |figures| figures.rows);
        rows.push([
            ("relid", table.oid.into()),
            ("schemaname", schema.into()),
            ("relname", table.name.as_str().into()),
            ("n_live_tup", Cell::Int(i64::try_from(live).unwrap_or(i64::MAX))),
        ]);
    }
}

/// `pg_stat_user_indexes`, `pg_stat_all_indexes`: which there are; how they are used is not counted.
pub(super) fn pg_stat_indexes(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        rows.push([
            ("relid", table.oid.into()),
            ("indexrelid", key.oid.into()),
            ("schemaname", schema.into()),
            ("relname", table.name.as_str().into()),
            ("indexrelname", key.name.as_str().into()),
        ]);
    }
}
