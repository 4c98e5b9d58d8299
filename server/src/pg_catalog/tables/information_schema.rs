//! `information_schema`: the standard's views, of what there is here.

use glaredb_catalog::descriptor::{Column, RelationKind, Table};
use glaredb_engine::types::{PgType, text::IntervalFields};

use super::{Source, privileges, standard_lists, types::type_facts};
use crate::pg_catalog::{
    rows::{Cell, Rows, int},
    sql_text,
};

/// Bytes that an unlimited string is said to hold.
const OCTETS_MAX: i64 = 1 << 30;

pub(super) fn fill(source: &Source, name: &str, rows: &mut Rows) {
    match name {
        "schemata" => schemata(source, rows),
        "tables" => tables(source, rows),
        "columns" => columns(source, rows),
        "table_constraints" => table_constraints(source, rows),
        "key_column_usage" => key_column_usage(source, rows),
        "constraint_column_usage" => constraint_column_usage(source, rows),
        "check_constraints" => check_constraints(source, rows),
        "constraint_table_usage" => constraint_table_usage(source, rows),
        "element_types" => element_types(source, rows),
        "table_privileges" | "role_table_grants" => privileges::of_tables(source, rows),
        "column_privileges" | "role_column_grants" => privileges::of_columns(source, rows),
        "character_sets" => standard_lists::character_sets(source, rows),
        "collations" => standard_lists::collations(source, rows),
        "collation_character_set_applicability" => {
            standard_lists::collation_character_sets(source, rows);
        }
        "enabled_roles" => standard_lists::enabled_roles(source, rows),
        "routines" => standard_lists::routines(source, rows),
        "parameters" => standard_lists::parameters(source, rows),
        "views" => super::views::views(source, rows),
        "view_table_usage" => super::views::usage(source, rows, false),
        "view_column_usage" => super::views::usage(source, rows, true),
        "information_schema_catalog_name" => {
            rows.push([("catalog_name", source.database.as_str().into())]);
        }
        _ => {}
    }
}

fn schemata(source: &Source, rows: &mut Rows) {
    for schema in source.catalog.schemas() {
        rows.push([
            ("catalog_name", source.database.as_str().into()),
            ("schema_name", schema.name.as_str().into()),
            ("schema_owner", source.role_name(schema.owner).into()),
        ]);
    }
}

fn tables(source: &Source, rows: &mut Rows) {
    let mut push = |schema: &str, name: &str, kind: &str, insertable: &str| {
        rows.push([
            ("table_catalog", source.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", name.into()),
            ("table_type", kind.into()),
            ("is_insertable_into", insertable.into()),
            ("is_typed", "NO".into()),
        ]);
    };
    for (_, definition) in source.system_relations() {
        let kind = if definition.kind == 'v' { "VIEW" } else { "BASE TABLE" };
        push(definition.schema, definition.name, kind, "NO");
    }
    for (schema, table) in source.tables() {
        match table.kind {
            RelationKind::Table if source.catalog.is_temporary(table) => {
                push(schema, &table.name, "LOCAL TEMPORARY", "YES");
            }
            RelationKind::Table => push(schema, &table.name, "BASE TABLE", "YES"),
            RelationKind::View => push(schema, &table.name, "VIEW", "NO"),
            // The standard knows none.
            RelationKind::MaterializedView | RelationKind::CompositeType => {}
        }
    }
}

fn columns(source: &Source, rows: &mut Rows) {
    for (_, definition) in source.system_relations() {
        for (column, number) in definition.columns.iter().zip(1..) {
            push_column(
                source,
                rows,
                &ColumnRow {
                    schema: definition.schema,
                    table: definition.name,
                    name: column.name,
                    number,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                    not_null: column.not_null,
                    default: None,
                    updatable: false,
                },
            );
        }
    }
    let shown = |table: &Table| matches!(table.kind, RelationKind::Table | RelationKind::View);
    for (schema, table) in source.tables().filter(|(_, table)| shown(table)) {
        for column in &table.columns {
            push_column(
                source,
                rows,
                &ColumnRow {
                    schema,
                    table: &table.name,
                    name: &column.name,
                    number: column.number,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                    not_null: column.not_null,
                    default: sql_text::default_expression(source.surroundings(), column),
                    updatable: table.is_table(),
                },
            );
        }
    }
}

/// What rows of `columns` differ in.
struct ColumnRow<'a> {
    schema: &'a str,
    table: &'a str,
    name: &'a str,
    number: i16,
    type_oid: u32,
    typmod: i32,
    not_null: bool,
    default: Option<String>,
    updatable: bool,
}

fn yes_or_no(yes: bool) -> Cell<'static> {
    if yes { "YES" } else { "NO" }.into()
}

fn push_column(source: &Source, rows: &mut Rows, column: &ColumnRow<'_>) {
    let shape = Shape::of(PgType::from_oid(column.type_oid, column.typmod).as_ref());
    let facts = type_facts(column.type_oid);
    let data_type = if facts.element != 0 && facts.length == -1 {
        "ARRAY".to_owned()
    } else {
        sql_text::type_name(&source.catalog, column.type_oid, None, &|table| table.name.clone())
    };
    rows.push([
        ("table_catalog", source.database.as_str().into()),
        ("table_schema", column.schema.into()),
        ("table_name", column.table.into()),
        ("column_name", column.name.into()),
        ("ordinal_position", int(column.number)),
        ("column_default", column.default.clone().into()),
        ("is_nullable", yes_or_no(!column.not_null)),
        ("data_type", data_type.into()),
        ("character_maximum_length", shape.characters),
        ("character_octet_length", shape.octets),
        ("numeric_precision", shape.precision),
        ("numeric_precision_radix", shape.radix),
        ("numeric_scale", shape.scale),
        ("datetime_precision", shape.fraction),
        ("udt_catalog", source.database.as_str().into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", facts.name.into()),
        ("dtd_identifier", column.number.to_string().into()),
        ("is_self_referencing", yes_or_no(false)),
        ("is_identity", yes_or_no(false)),
        ("identity_cycle", yes_or_no(false)),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes_or_no(column.updatable)),
    ]);
}

/// The columns of `columns` that say how large a type is.
struct Shape {
    characters: Cell<'static>,
    octets: Cell<'static>,
    precision: Cell<'static>,
    radix: Cell<'static>,
    scale: Cell<'static>,
    /// Digits of seconds.
    fraction: Cell<'static>,
}

impl Shape {
    fn of(pg_type: Option<&PgType>) -> Self {
        let none = || Self {
            characters: Cell::Null,
            octets: Cell::Null,
            precision: Cell::Null,
            radix: Cell::Null,
            scale: Cell::Null,
            fraction: Cell::Null,
        };
        let binary = |bits: i64, scale: Cell<'static>| Self {
            precision: int(bits),
            radix: int(2),
            scale,
            ..none()
        };
        let Some(pg_type) = pg_type else { return none() };
        match pg_type {
            PgType::Int2 => binary(16, int(0)),
            PgType::Int4 => binary(32, int(0)),
            PgType::Int8 => binary(64, int(0)),
            PgType::Float4 => binary(24, Cell::Null),
            PgType::Float8 => binary(53, Cell::Null),
            PgType::Numeric(None) => Self { radix: int(10), ..none() },
            PgType::Numeric(Some(shape)) => Self {
                precision: int(shape.precision),
                radix: int(10),
                // The 11 bits of the modifier, as PostgreSQL 15 shows a negative one, too.
                scale: int(shape.scale & 0x7ff),
                ..none()
            },
            PgType::Text | PgType::Varchar(None) => Self { octets: int(OCTETS_MAX), ..none() },
            PgType::Varchar(Some(n)) | PgType::Bpchar(Some(n)) => {
                let octets = (i64::from(*n) * 4).min(OCTETS_MAX);
                Self { characters: int(*n), octets: int(octets), ..none() }
            }
            PgType::Date => Self { fraction: int(0), ..none() },
            PgType::Time(digits)
            | PgType::Timetz(digits)
            | PgType::Timestamp(digits)
            | PgType::Timestamptz(digits) => Self { fraction: int(digits.unwrap_or(6)), ..none() },
            PgType::Interval(fields) => {
                let digits = fields.and_then(IntervalFields::precision).unwrap_or(6);
                Self { fraction: int(digits), ..none() }
            }
            _ => none(),
        }
    }
}

fn table_constraints(source: &Source, rows: &mut Rows) {
    let mut push = |schema: &str, table: &Table, name: String, kind: &str| {
        rows.push([
            ("constraint_catalog", source.database.as_str().into()),
            ("constraint_schema", schema.into()),
            ("constraint_name", name.into()),
            ("table_catalog", source.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", table.name.as_str().into()),
            ("constraint_type", kind.into()),
            ("is_deferrable", "NO".into()),
            ("initially_deferred", "NO".into()),
            ("enforced", "YES".into()),
        ]);
    };
    for (schema, table) in source.tables() {
        if let Some(key) = &table.primary_key {
            push(schema, table, key.name.clone(), "PRIMARY KEY");
        }
        for column in table.columns.iter().filter(|column| column.not_null) {
            let (schema_oid, oid, number) = (table.schema_oid, table.oid, column.number);
            push(schema, table, format!("{schema_oid}_{oid}_{number}_not_null"), "CHECK");
        }
    }
}

fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.primary_key.iter().flat_map(|key| &key.columns).filter_map(|id| table.column_by_id(*id))
}

fn key_column_usage(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        for (column, place) in key_columns(table).zip(1_i64..) {
            rows.push([
                ("constraint_catalog", source.database.as_str().into()),
                ("constraint_schema", schema.into()),
                ("constraint_name", key.name.as_str().into()),
                ("table_catalog", source.database.as_str().into()),
                ("table_schema", schema.into()),
                ("table_name", table.name.as_str().into()),
                ("column_name", column.name.as_str().into()),
                ("ordinal_position", int(place)),
            ]);
        }
    }
}

fn constraint_column_usage(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        for column in key_columns(table) {
            rows.push([
                ("table_catalog", source.database.as_str().into()),
                ("table_schema", schema.into()),
                ("table_name", table.name.as_str().into()),
                ("column_name", column.name.as_str().into()),
                ("constraint_catalog", source.database.as_str().into()),
                ("constraint_schema", schema.into()),
                ("constraint_name", key.name.as_str().into()),
            ]);
        }
    }
}

/// Columns that are not null, as the standard sees them.
fn check_constraints(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        for column in table.columns.iter().filter(|column| column.not_null) {
            let (schema_oid, oid, number) = (table.schema_oid, table.oid, column.number);
            rows.push([
                ("constraint_catalog", source.database.as_str().into()),
                ("constraint_schema", schema.into()),
                ("constraint_name", format!("{schema_oid}_{oid}_{number}_not_null").into()),
                ("check_clause", format!("{} IS NOT NULL", column.name).into()),
            ]);
        }
    }
}

fn constraint_table_usage(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        let Some(key) = &table.primary_key else { continue };
        rows.push([
            ("table_catalog", source.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", table.name.as_str().into()),
            ("constraint_catalog", source.database.as_str().into()),
            ("constraint_schema", schema.into()),
            ("constraint_name", key.name.as_str().into()),
        ]);
    }
}

/// What columns that are arrays are arrays of.
fn element_types(source: &Source, rows: &mut Rows) {
    let mut push = |schema: &str, table: &str, number: i16, type_oid: u32| {
        let facts = type_facts(type_oid);
        if !facts.is_array {
            return;
        }
        let element =
            sql_text::type_name(&source.catalog, facts.element, None, &|t| t.name.clone());
        rows.push([
            ("object_catalog", source.database.as_str().into()),
            ("object_schema", schema.into()),
            ("object_name", table.into()),
            ("object_type", "TABLE".into()),
            ("collection_type_identifier", number.to_string().into()),
            ("data_type", element.into()),
            ("udt_catalog", source.database.as_str().into()),
            ("udt_schema", "pg_catalog".into()),
            ("udt_name", type_facts(facts.element).name.into()),
            ("dtd_identifier", format!("a{number}").into()),
        ]);
    };
    for (_, definition) in source.system_relations() {
        for (column, number) in definition.columns.iter().zip(1..) {
            push(definition.schema, definition.name, number, column.type_oid);
        }
    }
    for (schema, table) in source.tables() {
        for column in &table.columns {
            push(schema, &table.name, column.number, column.type_oid);
        }
    }
}
