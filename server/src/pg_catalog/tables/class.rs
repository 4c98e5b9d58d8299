//! Relations and their columns: `pg_class`, `pg_attribute`, `pg_attrdef`, `pg_tables`.

use glaredb_catalog::descriptor::{RelationKind, Table, builtin};

use super::{Source, types::type_facts};
use crate::pg_catalog::{
    rows::{Cell, Rows, int},
    sql_text,
};

const HEAP: u32 = 2;
const BTREE: u32 = 403;

/// What rows of `pg_class` differ in.
struct Relation<'a> {
    oid: u32,
    name: &'a str,
    schema_oid: u32,
    row_type_oid: u32,
    owner: u32,
    access_method: u32,
    file: u32,
    rows: Option<u64>,
    has_index: bool,
    kind: char,
    populated: bool,
    columns: usize,
    options: Option<Vec<String>>,
    temporary: bool,
}

pub(super) fn pg_class(source: &Source, rows: &mut Rows) {
    let counts = rows.wants("reltuples");
    let count = |table: &Table| {
        let figures = counts.then(|| source.figures.table(table.storage)).flatten();
        figures.map(|figures| figures.rows)
    };
    for (schema_oid, definition) in source.system_relations() {
        let is_table = definition.kind == 'r';
        push_relation(
            rows,
            Relation {
                oid: definition.oid,
                name: definition.name,
                schema_oid,
                row_type_oid: definition.row_type_oid,
                owner: builtin::ROLE_POSTGRES,
                access_method: if is_table { HEAP } else { 0 },
                file: 0,
                rows: None,
                has_index: false,
                kind: definition.kind,
                populated: true,
                columns: definition.columns.len(),
                options: None,
                temporary: false,
            },
        );
    }
    for (_, table) in source.tables() {
        let stored = table.options.iter().map(|(name, value)| format!("{name}={value}"));
        let of_view = table.view.iter().flat_map(|view| view.options.iter().cloned());
        let options: Vec<String> = stored.chain(of_view).collect();
        push_relation(
            rows,
            Relation {
                oid: table.oid,
                name: &table.name,
                schema_oid: table.schema_oid,
                row_type_oid: table.row_type_oid,
                owner: table.owner,
                access_method: if table.is_stored() { HEAP } else { 0 },
                file: table.storage.0,
                rows: count(table),
                has_index: table.primary_key.is_some(),
                kind: relation_kind(table),
                populated: !table.unpopulated,
                columns: table.columns.len(),
                options: Some(options).filter(|options| !options.is_empty()),
                temporary: source.catalog.is_temporary(table),
            },
        );
        let Some(key) = &table.primary_key else { continue };
        push_relation(
            rows,
            Relation {
                oid: key.oid,
                name: &key.name,
                schema_oid: table.schema_oid,
                row_type_oid: 0,
                owner: table.owner,
                access_method: BTREE,
                file: key.oid,
                rows: count(table),
                has_index: false,
                kind: 'i',
                populated: true,
                columns: key.columns.len(),
                options: None,
                temporary: source.catalog.is_temporary(table),
            },
        );
    }
}

/// `pg_class.relkind`.
fn relation_kind(table: &Table) -> char {
    match table.kind {
        RelationKind::Table => 'r',
        RelationKind::View => 'v',
        RelationKind::MaterializedView => 'm',
        RelationKind::CompositeType => 'c',
    }
}

pub(super) fn system_schema_oid(name: &str) -> u32 {
    match name {
        "pg_catalog" => builtin::SCHEMA_PG_CATALOG,
        _ => builtin::SCHEMA_INFORMATION_SCHEMA,
    }
}

#[allow(clippy::cast_precision_loss)]
fn push_relation(rows: &mut Rows, relation: Relation<'_>) {
    let no = || Cell::Bool(false);
    rows.push([
        ("oid", relation.oid.into()),
        ("relname", relation.name.into()),
        ("relnamespace", relation.schema_oid.into()),
        ("reltype", relation.row_type_oid.into()),
        ("reloftype", Cell::Oid(0)),
        ("relowner", relation.owner.into()),
        ("relam", relation.access_method.into()),
        ("relfilenode", relation.file.into()),
        ("reltablespace", Cell::Oid(0)),
        ("relpages", int(0)),
        ("reltuples", Cell::Float4(relation.rows.map_or(-1.0, |rows| rows as f32))),
        ("relallvisible", int(0)),
        ("reltoastrelid", Cell::Oid(0)),
        ("relhasindex", relation.has_index.into()),
        ("relisshared", no()),
        ("relpersistence", if relation.temporary { "t" } else { "p" }.into()),
        ("relkind", relation.kind.to_string().into()),
        ("relnatts", Cell::Int(relation.columns as i64)),
        ("relchecks", int(0)),
        ("relhasrules", matches!(relation.kind, 'v' | 'm').into()),
        ("relhastriggers", no()),
        ("relhassubclass", no()),
        ("relrowsecurity", no()),
        ("relforcerowsecurity", no()),
        ("relispopulated", relation.populated.into()),
        ("relreplident", if matches!(relation.kind, 'r' | 'm') { "d" } else { "n" }.into()),
        ("relispartition", no()),
        ("relrewrite", Cell::Oid(0)),
        ("relfrozenxid", Cell::Oid(0)),
        ("relminmxid", Cell::Oid(0)),
        ("reloptions", relation.options.map_or(Cell::Null, Cell::Texts)),
    ]);
}

/// What rows of `pg_attribute` differ in.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    number: i16,
    type_oid: u32,
    typmod: i32,
    not_null: bool,
    has_default: bool,
    has_missing: bool,
}

pub(super) fn pg_attribute(source: &Source, rows: &mut Rows) {
    for (_, definition) in source.system_relations() {
        for (column, number) in definition.columns.iter().zip(1..) {
            push_attribute(
                rows,
                &Attribute {
                    relation: definition.oid,
                    name: column.name,
                    number,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                    not_null: column.not_null,
                    has_default: false,
                    has_missing: false,
                },
            );
        }
    }
    for (_, table) in source.tables() {
        for column in &table.columns {
            push_attribute(
                rows,
                &Attribute {
                    relation: table.oid,
                    name: &column.name,
                    number: column.number,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                    not_null: column.not_null,
                    has_default: column.default.is_some(),
                    has_missing: column.missing.is_some(),
                },
            );
        }
        push_key_attributes(rows, table);
    }
}

/// The columns of the key's index, numbered in key order.
fn push_key_attributes(rows: &mut Rows, table: &Table) {
    let Some(key) = &table.primary_key else { return };
    let columns = key.columns.iter().filter_map(|id| table.column_by_id(*id));
    for (column, number) in columns.zip(1..) {
        push_attribute(
            rows,
            &Attribute {
                relation: key.oid,
                name: &column.name,
                number,
                type_oid: column.type_oid,
                typmod: column.typmod,
                not_null: false,
                has_default: false,
                has_missing: false,
            },
        );
    }
}

fn push_attribute(rows: &mut Rows, attribute: &Attribute<'_>) {
    let facts = type_facts(attribute.type_oid);
    let no = || Cell::Bool(false);
    rows.push([
        ("attrelid", attribute.relation.into()),
        ("attname", attribute.name.into()),
        ("atttypid", attribute.type_oid.into()),
        ("attstattarget", int(-1)),
        ("attlen", int(facts.length)),
        ("attnum", int(attribute.number)),
        ("attndims", int(0)),
        ("attcacheoff", int(-1)),
        ("atttypmod", int(attribute.typmod)),
        ("attbyval", facts.by_value.into()),
        ("attalign", facts.align.into()),
        ("attstorage", facts.storage.into()),
        ("attcompression", "".into()),
        ("attnotnull", attribute.not_null.into()),
        ("atthasdef", attribute.has_default.into()),
        ("atthasmissing", attribute.has_missing.into()),
        ("attidentity", "".into()),
        ("attgenerated", "".into()),
        ("attisdropped", no()),
        ("attislocal", true.into()),
        ("attinhcount", int(0)),
        ("attcollation", facts.collation.into()),
    ]);
}

pub(super) fn pg_attrdef(source: &Source, rows: &mut Rows) {
    for (_, table) in source.tables() {
        for column in &table.columns {
            let Some(default) = sql_text::default_expression(source.surroundings(), column) else {
                continue;
            };
            rows.push([
                ("oid", column.default_oid.into()),
                ("adrelid", table.oid.into()),
                ("adnum", int(column.number)),
                // An expression tree there, its text here: `pg_get_expr` gives it back.
                ("adbin", default.into()),
            ]);
        }
    }
}

pub(super) fn pg_tables(source: &Source, rows: &mut Rows) {
    let mut push = |schema: &str, name: &str, owner: String, has_indexes: bool| {
        rows.push([
            ("schemaname", schema.into()),
            ("tablename", name.into()),
            ("tableowner", owner.into()),
            ("hasindexes", has_indexes.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    };
    for (_, definition) in source.system_relations().filter(|(_, d)| d.kind == 'r') {
        let owner = source.role_name(builtin::ROLE_POSTGRES);
        push(definition.schema, definition.name, owner, false);
    }
    for (schema, table) in source.tables().filter(|(_, table)| table.is_table()) {
        push(schema, &table.name, source.role_name(table.owner), table.primary_key.is_some());
    }
}
