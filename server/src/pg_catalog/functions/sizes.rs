//! Sizes of tables: bytes as they lie in memory.

use std::sync::Arc;

use glaredb_catalog::{Catalog, Relation};
use glaredb_engine::types::PgType;

use super::system_function::{Functions, Value};
use crate::pg_catalog::{StorageFigures, TableFigures};

/// Which part of a table.
#[derive(Clone, Copy)]
enum Part {
    Rows,
    Indexes,
    All,
}

pub(super) fn add(functions: &mut Functions, figures: &Arc<dyn StorageFigures>) {
    use PgType::{Bool, Int4, Int8, Name, Oid, Regclass, Text};
    let sizes = [
        ("pg_relation_size", &[Regclass][..], Part::Rows),
        ("pg_relation_size", &[Regclass, Text], Part::Rows),
        ("pg_table_size", &[Regclass], Part::Rows),
        ("pg_indexes_size", &[Regclass], Part::Indexes),
        ("pg_total_relation_size", &[Regclass], Part::All),
    ];
    for (name, arguments, part) in sizes {
        let figures = Arc::clone(figures);
        functions.strict(name, arguments, Int8, move |call| {
            // The other forks of a relation are PostgreSQL's own.
            if call.text(1).is_some_and(|fork| fork != "main") {
                return Some(Value::Int(0));
            }
            relation_bytes(&call.context.catalog, &*figures, call.oid(0)?, part).map(Value::Int)
        });
    }
    // One database, which lies in one tablespace.
    for (name, by) in
        [("pg_database_size", Name), ("pg_database_size", Oid), ("pg_tablespace_size", Oid)]
    {
        let figures = Arc::clone(figures);
        functions.strict(name, &[by], Int8, move |call| {
            let tables = call.context.catalog.tables();
            let bytes: u64 = tables
                .filter_map(|table| figures.table(table.storage))
                .map(|figures| figures.row_bytes + figures.index_bytes)
                .sum();
            Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
        });
    }
    functions.strict("pg_size_pretty", &[Int8], Text, |call| call.int(0).map(pretty));
    functions.strict("pg_relation_filenode", &[Regclass], Oid, |call| {
        match call.context.catalog.relation_by_oid(call.oid(0)?)? {
            Relation::Table(table) => Some(Value::Oid(table.storage.0)),
            Relation::KeyIndex(table) => table.primary_key.as_ref().map(|key| Value::Oid(key.oid)),
        }
    });
    functions.strict("pg_relation_is_publishable", &[Regclass], Bool, |call| {
        call.oid(0).map(|oid| call.context.catalog.table_by_oid(oid).is_some())
    });
    functions.strict("pg_relation_is_updatable", &[Regclass, Bool], Int4, |call| {
        // Bits of the commands: UPDATE 4, INSERT 8, DELETE 16.
        let is_table =
            call.oid(0).is_some_and(|oid| call.context.catalog.table_by_oid(oid).is_some());
        Value::Int(if is_table { 28 } else { 0 })
    });
}

fn relation_bytes(
    catalog: &Catalog,
    figures: &dyn StorageFigures,
    oid: u32,
    part: Part,
) -> Option<i64> {
    let (table, part) = match catalog.relation_by_oid(oid) {
        Some(Relation::Table(table)) => (table, part),
        // An index is all index.
        Some(Relation::KeyIndex(table)) => {
            (table, if matches!(part, Part::Indexes) { return Some(0) } else { Part::Indexes })
        }
        // System tables are computed: they take no room. What does not exist has no size.
        None => return crate::pg_catalog::relation_name(catalog, oid).map(|_| 0),
    };
    let TableFigures { row_bytes, index_bytes, .. } =
        figures.table(table.storage).unwrap_or_default();
    let bytes = match part {
        Part::Rows => row_bytes,
        Part::Indexes => index_bytes,
        Part::All => row_bytes + index_bytes,
    };
    Some(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// As PostgreSQL: in the largest unit of which there are at least ten, rounded half away from zero.
fn pretty(bytes: i64) -> String {
    const LIMIT: i64 = 10 * 1024;
    let mut size = bytes;
    if size.abs() < LIMIT {
        return format!("{size} bytes");
    }
    // One bit more than the unit, for rounding.
    size /= 1 << 9;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.abs() < 2 * LIMIT - 1 {
            return format!("{} {unit}", half_rounded(size));
        }
        size /= 1 << 10;
    }
    format!("{} PB", half_rounded(size))
}

fn half_rounded(size: i64) -> i64 {
    (size + size.signum()) / 2
}
