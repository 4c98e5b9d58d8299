//! Tables as the planner sees them.

use std::sync::Arc;

use datafusion::logical_expr::TableSource;
use glaredb_catalog::TEMPORARY_SCHEMA;

use super::{PlanContext, views::ViewQuery};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::RelationName,
    types::{PgType, RecordType},
};

/// Hidden columns of [`TableResolver::dml_source`], in order: UInt64, UInt32, UInt64.
pub const LOCATOR_COLUMNS: [&str; 3] = [SEGMENT_COLUMN, ROW_COLUMN, ROW_ID_COLUMN];
pub const SEGMENT_COLUMN: &str = "__glare_segment";
pub const ROW_COLUMN: &str = "__glare_row";
pub const ROW_ID_COLUMN: &str = "__glare_row_id";

/// The schema in which system tables are functions' results: `name` stands for `name()`.
pub const FUNCTIONS_SCHEMA: &str = "pg_catalog()";

/// Finds tables, at the statement's snapshot.
pub trait TableResolver: Send + Sync {
    /// Table or system table `name` in `schema`; `None` if either does not exist.
    fn table(&self, schema: &str, name: &str) -> Result<Option<ResolvedTable>, SqlError>;

    /// A user table by its OID.
    fn table_by_oid(&self, oid: u32) -> Result<Option<ResolvedTable>, SqlError>;

    fn schema_exists(&self, schema: &str) -> bool;

    /// What the schema of the session's temporary objects is called, if it has one.
    fn temporary_schema(&self) -> Option<&str> {
        None
    }

    /// The source of a user table with [`LOCATOR_COLUMNS`] in front of its columns. Only plans of
    /// UPDATE and DELETE refer to it.
    fn dml_source(&self, table: &ResolvedTable) -> Result<Arc<dyn TableSource>, SqlError>;
}

/// A table found by name.
#[derive(Clone)]
pub struct ResolvedTable {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub columns: Vec<ResolvedColumn>,
    /// Indexes into `columns`, in key order; empty without a primary key.
    pub primary_key: Vec<usize>,
    /// Scans the table; its schema's fields are `columns`, in order.
    pub source: Arc<dyn TableSource>,
    /// System tables are read only.
    pub is_system: bool,
    pub kind: ResolvedKind,
    /// Of views, materialized or not.
    pub query: Option<Arc<ViewQuery>>,
    /// The type of its rows; `None` for a system table.
    pub row_type: Option<Arc<RecordType>>,
}

/// What a resolved table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResolvedKind {
    Table,
    View,
    MaterializedView {
        /// It was filled once.
        populated: bool,
    },
    /// No relation to read from, but what CREATE TYPE made.
    CompositeType,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ResolvedColumn {
    pub name: String,
    /// `attnum`.
    pub number: i16,
    pub pg_type: PgType,
    pub not_null: bool,
    /// SQL text.
    pub default: Option<String>,
    /// Unknown to the view that reads the table.
    pub hidden: bool,
}

impl std::fmt::Debug for ResolvedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{} (oid {})", self.schema, self.name, self.oid)
    }
}

/// 42809 for a composite type where a relation is wanted.
pub(super) fn no_relation(table: &ResolvedTable) -> SqlError {
    let message = format!("\"{}\" is a composite type", table.name);
    SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message)
}

pub(super) fn resolve(
    context: &PlanContext<'_>,
    name: &RelationName,
) -> Result<ResolvedTable, SqlError> {
    let with_position = |error: SqlError| match name.position {
        Some(position) => error.position(position),
        None => error,
    };
    if let Some(schema) = &name.schema {
        if let Some(table) = context.tables.table(schema, &name.name)? {
            return Ok(table);
        }
        let message = format!("relation \"{schema}.{}\" does not exist", name.name);
        return Err(with_position(SqlError::new(sqlstate::UNDEFINED_TABLE, message)));
    }
    for schema in context.effective_search_path() {
        if let Some(table) = context.tables.table(schema, &name.name)? {
            return Ok(table);
        }
    }
    let message = format!("relation \"{}\" does not exist", name.name);
    Err(with_position(SqlError::new(sqlstate::UNDEFINED_TABLE, message)))
}

impl PlanContext<'_> {
    /// The type of rows of a table, view or composite type by its name; `None` if there is none.
    pub(super) fn composite(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> Result<Option<ResolvedTable>, SqlError> {
        let typed = |table: &ResolvedTable| table.row_type.is_some();
        if let Some(schema) = schema {
            return Ok(self.tables.table(schema, name)?.filter(typed));
        }
        for schema in self.effective_search_path() {
            if let Some(table) = self.tables.table(schema, name)?.filter(typed) {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// See [`effective_search_path`].
    pub fn effective_search_path(&self) -> impl Iterator<Item = &str> {
        effective_search_path(self.search_path, self.role)
    }
}

/// The schemas in which relations are looked for: those listed, `$user` replaced; in front of them
/// [`TEMPORARY_SCHEMA`] and `pg_catalog`, unless they are listed. Not all of them need exist.
pub fn effective_search_path<'a>(
    listed: &'a [String],
    role: &'a str,
) -> impl Iterator<Item = &'a str> {
    let implicit = [TEMPORARY_SCHEMA, "pg_catalog"];
    let implicit = implicit.into_iter().filter(|name| !listed.iter().any(|s| s == name));
    implicit.chain(listed.iter().map(move |s| if s == "$user" { role } else { s }))
}
