//! Pieces of SQL as PostgreSQL prints them back: identifiers, index and constraint definitions.

use glaredb_catalog::{
    Catalog,
    descriptor::{Column, Table},
};
pub(super) use glaredb_engine::query::quoting::{quote_identifier, quote_literal};
use glaredb_engine::{session::StatementContext, types::PgType};

use super::query_text::{self, Surroundings};

/// The parts of a possibly qualified, possibly quoted name, folded as SQL folds them; `None` if it
/// is no name.
pub(super) fn parse_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') if quoted[at + 1..].starts_with('"') => {
                        name.push('"');
                        chars.next();
                    }
                    (at, '"') => break at + 1,
                    (_, c) => name.push(c),
                }
            };
            (part, rest) = (name, &quoted[end..]);
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let word = rest[..end].trim();
            // Of whatever else: PostgreSQL is as lenient with names in texts.
            if word.is_empty() || word.contains(char::is_whitespace) {
                return None;
            }
            (part, rest) = (word.to_lowercase(), &rest[end..]);
        }
        parts.push(part);
        rest = rest.trim_start();
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.primary_key.iter().flat_map(|key| &key.columns).filter_map(|id| table.column_by_id(*id))
}

fn key_column_list(table: &Table) -> String {
    let names: Vec<_> = key_columns(table).map(|column| quote_identifier(&column.name)).collect();
    names.join(", ")
}

/// `pg_get_indexdef` of the table's key. `column`: 0 for all of it, else only that column, from 1.
/// `schema`: put in front of the table's name.
pub(super) fn index_definition(table: &Table, column: usize, schema: Option<&str>) -> String {
    if let Some(place) = column.checked_sub(1) {
        return key_columns(table)
            .nth(place)
            .map(|column| quote_identifier(&column.name).into_owned())
            .unwrap_or_default();
    }
    let key = table.primary_key.as_ref().map_or("", |key| &key.name);
    let schema = schema.map(|s| format!("{}.", quote_identifier(s))).unwrap_or_default();
    format!(
        "CREATE UNIQUE INDEX {} ON {schema}{} USING btree ({})",
        quote_identifier(key),
        quote_identifier(&table.name),
        key_column_list(table)
    )
}

/// `pg_get_constraintdef` of the table's key.
pub(super) fn constraint_definition(table: &Table) -> String {
    format!("PRIMARY KEY ({})", key_column_list(table))
}

/// The default of a column as PostgreSQL prints it back, all of it in parentheses.
pub(super) fn default_expression(around: Surroundings<'_>, column: &Column) -> Option<String> {
    let sql = column.default.as_deref()?.trim();
    let printed = PgType::from_oid(column.type_oid, column.typmod)
        .and_then(|to| query_text::default(around, sql, &to));
    Some(printed.unwrap_or_else(|| sql.to_owned()))
}

/// Name of a type as `format_type` prints it; for one that nobody knows, `???`.
pub(super) fn format_type(context: &StatementContext, oid: u32, typmod: Option<i32>) -> String {
    let relation = |table: &Table| {
        let name = quote_identifier(&table.name);
        let visible = super::object_names::is_relation_visible(context, table.oid) == Some(true);
        match context.catalog.schema_by_oid(table.schema_oid) {
            Some(schema) if !visible => format!("{}.{name}", quote_identifier(&schema.name)),
            _ => name.into_owned(),
        }
    };
    type_name(&context.catalog, oid, typmod, &relation)
}

/// [`format_type`] with names of row types as `relation` gives them.
pub(super) fn type_name(
    catalog: &Catalog,
    oid: u32,
    typmod: Option<i32>,
    relation: &dyn Fn(&Table) -> String,
) -> String {
    if oid == 0 {
        return "-".into();
    }
    if let Some(pg_type) = PgType::from_oid(oid, typmod.unwrap_or(-1)) {
        return match pg_type {
            PgType::Bpchar(_) if typmod.is_none_or(|typmod| typmod < 4) => {
                if typmod.is_none() {
                    "character".into()
                } else {
                    "bpchar".into()
                }
            }
            other => other.sql_name(),
        };
    }
    if let Some((name, element)) = super::tables::types::builtin_type(oid) {
        return match element {
            0 => quote_identifier(name).into_owned(),
            element => format!("{}[]", type_name(catalog, element, None, relation)),
        };
    }
    match catalog.table_with_inner_oid(oid) {
        Some(table) if table.row_type_oid == oid => relation(table),
        Some(table) if table.array_type_oid == oid => format!("{}[]", relation(table)),
        _ => "???".into(),
    }
}
