//! Primary keys: `pg_index`, `pg_indexes`, `pg_constraint`.

use super::{
    Source,
    types::{btree_operator_class, type_facts},
};
use crate::pg_catalog::{
    rows::{Cell, Rows, int},
    sql_text,
};

pub(super) fn pg_index(source: &Source, rows: &mut Rows) {
    let yes = || Cell::Bool(true);
    let no = || Cell::Bool(false);
    for (_, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        let columns: Vec<_> = key.columns.iter().filter_map(|id| table.column_by_id(*id)).collect();
        let count = columns.len() as i64;
        let collations = columns.iter().map(|c| type_facts(c.type_oid).collation).collect();
        let classes = columns.iter().map(|c| btree_operator_class(c.type_oid)).collect();
        rows.push([
            ("indexrelid", key.oid.into()),
            ("indrelid", table.oid.into()),
            ("indnatts", Cell::Int(count)),
            ("indnkeyatts", Cell::Int(count)),
            ("indisunique", yes()),
            ("indnullsnotdistinct", no()),
            ("indisprimary", yes()),
            ("indisexclusion", no()),
            ("indimmediate", yes()),
            ("indisclustered", no()),
            ("indisvalid", yes()),
            ("indcheckxmin", no()),
            ("indisready", yes()),
            ("indislive", yes()),
            ("indisreplident", no()),
            ("indkey", Cell::Ints(columns.iter().map(|c| c.number.into()).collect())),
            ("indcollation", Cell::Oids(collations)),
            ("indclass", Cell::Oids(classes)),
            ("indoption", Cell::Ints(vec![0; columns.len()])),
        ]);
    }
}

pub(super) fn pg_indexes(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        rows.push([
            ("schemaname", schema.into()),
            ("tablename", table.name.as_str().into()),
            ("indexname", key.name.as_str().into()),
            ("indexdef", sql_text::index_definition(table, 0, Some(schema)).into()),
        ]);
    }
}

pub(super) fn pg_constraint(source: &Source, rows: &mut Rows) {
    let no = || Cell::Bool(false);
    for (_, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        let numbers = key.columns.iter().filter_map(|id| table.column_by_id(*id));
        rows.push([
            ("oid", key.constraint_oid.into()),
            ("conname", key.name.as_str().into()),
            ("connamespace", table.schema_oid.into()),
            ("contype", "p".into()),
            ("condeferrable", no()),
            ("condeferred", no()),
            ("convalidated", true.into()),
            ("conrelid", table.oid.into()),
            ("contypid", Cell::Oid(0)),
            ("conindid", key.oid.into()),
            ("conparentid", Cell::Oid(0)),
            ("confrelid", Cell::Oid(0)),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("coninhcount", int(0)),
            ("connoinherit", true.into()),
            ("conkey", Cell::Ints(numbers.map(|column| column.number.into()).collect())),
        ]);
    }
}
