//! Which system relations there are, with the columns PostgreSQL 15 gives them.
//!
//! `data/relations.tsv`: OID, schema, name, `relkind`, OID of the row type, and the columns as
//! `name:type OID:typmod`, with `:n` behind those that are never null.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{Field, Schema, SchemaRef};
use glaredb_engine::{query::planner::FUNCTIONS_SCHEMA, types::PgType};

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) oid: u32,
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    /// `pg_class.relkind`: `r` or `v`.
    pub(super) kind: char,
    pub(super) row_type_oid: u32,
    pub(super) columns: Vec<ColumnDefinition>,
    pub(super) arrow: SchemaRef,
}

#[derive(Debug)]
pub(super) struct ColumnDefinition {
    pub(super) name: &'static str,
    /// As in PostgreSQL's `pg_attribute`.
    pub(super) type_oid: u32,
    pub(super) typmod: i32,
    pub(super) not_null: bool,
    /// How it is carried here: [`carried_as`].
    pub(super) pg_type: PgType,
}

/// All of them, by OID.
pub(super) fn all() -> &'static [Definition] {
    &DEFINITIONS.0
}

pub(super) fn find(schema: &str, name: &str) -> Option<&'static Definition> {
    if schema == FUNCTIONS_SCHEMA {
        return FUNCTIONS.iter().find(|definition| definition.name == name);
    }
    if schema == GLARE_CATALOG {
        return OURS.iter().find(|definition| definition.name == name);
    }
    DEFINITIONS.1.get(&(schema, name)).map(|index| &DEFINITIONS.0[*index])
}

type ByName = HashMap<(&'static str, &'static str), usize>;

static DEFINITIONS: LazyLock<(Vec<Definition>, ByName)> = LazyLock::new(|| {
    let mut all: Vec<Definition> = include_str!("data/relations.tsv").lines().map(parse).collect();
    all.sort_by_key(|definition| definition.oid);
    let by_name = all.iter().enumerate().map(|(n, d)| ((d.schema, d.name), n)).collect();
    (all, by_name)
});

/// The schema of views that PostgreSQL has not.
pub(super) const GLARE_CATALOG: &str = "glare_catalog";

/// Its views. Not listed among PostgreSQL's, so that what clients ask about these stays as it is.
static OURS: LazyLock<Vec<Definition>> =
    LazyLock::new(|| include_str!("data/glare_catalog.tsv").lines().map(parse).collect());

#[cfg(test)]
pub(super) fn ours() -> &'static [Definition] {
    &OURS
}

/// Functions whose result is a table that does not depend on arguments. Not listed as relations.
static FUNCTIONS: LazyLock<Vec<Definition>> =
    LazyLock::new(|| include_str!("data/table_functions.tsv").lines().map(parse).collect());

/// A line of our own data file; a test reads all of them.
fn parse(line: &'static str) -> Definition {
    let mut fields = line.split('\t');
    let mut field = || fields.next().expect("six fields in a line");
    let (oid, schema, name) = (number(field()), field(), field());
    let kind = field().chars().next().expect("a kind");
    let row_type_oid = number(field());
    let columns: Vec<_> = field().split(' ').map(parse_column).collect();
    let arrow =
        columns.iter().map(|c| c.pg_type.plan_field(c.name, !c.not_null)).collect::<Vec<Field>>();
    let arrow = Arc::new(Schema::new(arrow));
    Definition { oid, schema, name, kind, row_type_oid, columns, arrow }
}

fn parse_column(text: &'static str) -> ColumnDefinition {
    let mut fields = text.split(':');
    let mut field = || fields.next().expect("three fields in a column");
    let (name, type_oid) = (field(), number(field()));
    let typmod = field().parse().expect("a modifier");
    let not_null = fields.next().is_some();
    ColumnDefinition { name, type_oid, typmod, not_null, pg_type: carried_as(type_oid, typmod) }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

/// The type of ours that carries a PostgreSQL type of system columns. What is not one of ours goes
/// as text, as numbers or as arrays that print the same or nearly so.
fn carried_as(type_oid: u32, typmod: i32) -> PgType {
    let array = |of| PgType::Array(Arc::new(of));
    match type_oid {
        // xid
        28 => PgType::Oid,
        // aclitem[]
        1034 => array(PgType::Text),
        // pg_node_tree, pg_lsn, anyarray, inet
        194 | 3220 | 2277 | 869 => PgType::Text,
        _ => PgType::from_oid(type_oid, typmod).unwrap_or(PgType::Text),
    }
}
