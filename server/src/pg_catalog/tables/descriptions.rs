//! Comments: those that COMMENT ON made, and those the system has.

use glaredb_catalog::{
    Catalog,
    descriptor::{Oid, builtin},
};

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows, int};

/// OIDs of the system tables whose rows have descriptions.
const CLASS_NAMESPACE: u32 = 2615;
const CLASS_DATABASE: u32 = 1262;
const CLASS_RELATION: u32 = 1259;

/// The comment that is made, else the one that is built in. An empty one hides that.
fn shown(comment: Option<&String>, built_in: Option<&'static str>) -> Option<String> {
    match comment {
        Some(comment) if comment.is_empty() => None,
        Some(comment) => Some(comment.clone()),
        None => built_in.map(str::to_owned),
    }
}

fn of_schema(catalog: &Catalog, oid: Oid) -> Option<String> {
    let built_in = match oid {
        builtin::SCHEMA_PG_CATALOG => Some("system catalog schema"),
        builtin::SCHEMA_PUBLIC => Some("standard public schema"),
        _ => None,
    };
    shown(catalog.schema_by_oid(oid)?.comment.as_ref(), built_in)
}

fn of_database(catalog: &Catalog, oid: Oid) -> Option<String> {
    let built_in =
        (oid == builtin::DATABASE_POSTGRES).then_some("default administrative connection database");
    shown(catalog.database_by_oid(oid)?.comment.as_ref(), built_in)
}

pub(super) fn pg_description(source: &Source, rows: &mut Rows) {
    let mut push = |oid: Oid, class: u32, number: i64, text: String| {
        rows.push([
            ("objoid", Cell::Oid(oid)),
            ("classoid", Cell::Oid(class)),
            ("objsubid", int(number)),
            ("description", text.into()),
        ]);
    };
    for schema in source.catalog.schemas() {
        if let Some(text) = of_schema(&source.catalog, schema.oid) {
            push(schema.oid, CLASS_NAMESPACE, 0, text);
        }
    }
    for (_, table) in source.tables() {
        if let Some(text) = &table.comment {
            push(table.oid, CLASS_RELATION, 0, text.clone());
        }
        for column in &table.columns {
            if let Some(text) = &column.comment {
                push(table.oid, CLASS_RELATION, column.number.into(), text.clone());
            }
        }
    }
}

pub(super) fn pg_shdescription(source: &Source, rows: &mut Rows) {
    for database in source.catalog.databases() {
        let Some(text) = of_database(&source.catalog, database.oid) else { continue };
        rows.push([
            ("objoid", Cell::Oid(database.oid)),
            ("classoid", Cell::Oid(CLASS_DATABASE)),
            ("description", text.into()),
        ]);
    }
}

/// The description of an object of the system table named `class`.
pub(in crate::pg_catalog) fn description(
    catalog: &Catalog,
    oid: Oid,
    class: &str,
) -> Option<String> {
    match class {
        "pg_namespace" => of_schema(catalog, oid),
        "pg_database" => of_database(catalog, oid),
        "pg_class" => catalog.table_by_oid(oid)?.comment.clone(),
        _ => None,
    }
}

/// The description of a column by its relation and number.
pub(in crate::pg_catalog) fn column_description(
    catalog: &Catalog,
    oid: Oid,
    number: i64,
) -> Option<String> {
    let columns = &catalog.table_by_oid(oid)?.columns;
    columns.iter().find(|column| i64::from(column.number) == number)?.comment.clone()
}
