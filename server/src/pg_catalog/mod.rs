//! The system tables and functions of PostgreSQL, live from the catalog.
//!
//! ```text
//!  data/relations.tsv ──▶ definitions: names, columns and types as PostgreSQL 15 has them
//!  data/pg_*.tsv      ──▶ rows that never change: types, operators, functions
//!  Catalog            ──▶ tables/: rows about what there is, made when a statement scans them
//!  StatementContext   ──▶ functions/: what psql and drivers call
//! ```
//!
//! A relation PostgreSQL has and this list does not is refused as unknown, not shown empty; those
//! that are always empty describe things that cannot exist here yet (triggers, publications, …).

mod builtin_routines;
mod column_builder;
mod definitions;
mod functions;
mod object_names;
mod provider;
mod query_text;
mod restriction;
mod rows;
mod sql_text;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use glaredb_catalog::Catalog;
use glaredb_engine::{
    query::{
        functions::ExtraFunction,
        planner::{FUNCTIONS_SCHEMA, effective_search_path},
    },
    session::{
        StatementContext,
        engine::{SystemTable, SystemTableContext, SystemTables},
    },
    storage::{objects::ObjectFigures, rewrite::JobReport, segment::ResidentMetrics},
    types::text::Names,
};
use glaredb_txn::ids::TableId;

use provider::SystemTableProvider;

/// What storage knows of tables' sizes, and of itself.
pub trait StorageFigures: Send + Sync {
    /// `None`: there are no rows under that id.
    fn table(&self, storage: TableId) -> Option<TableFigures>;
    /// The segments of a table, by their ids.
    fn segments(&self, storage: TableId) -> Vec<SegmentFigures>;
    /// Requests to the store of objects, the cache before it, and what is decoded of segments.
    fn objects(&self) -> (ObjectFigures, ResidentMetrics);
    /// Flushes and compactions of this process, the newest last.
    fn jobs(&self) -> Vec<JobReport>;
}

/// A segment of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFigures {
    pub segment: u64,
    pub object: String,
    /// Deleted ones are among them.
    pub rows: u64,
    pub deleted_rows: u64,
    pub bytes: u64,
    /// Names of columns, or `row id`.
    pub sort_order: String,
    /// The first and the last key; `None`: it does not decode.
    pub keys: Option<(String, String)>,
    /// Milliseconds since 1970-01-01 UTC.
    pub commits_ms: (u64, u64),
    pub footer_in_memory: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableFigures {
    /// Estimate.
    pub rows: u64,
    /// Of rows, as they lie in memory.
    pub row_bytes: u64,
    /// Of key indexes.
    pub index_bytes: u64,
}

/// A running session, for `pg_stat_activity`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    pub process_id: i32,
    pub role: String,
    pub database: String,
    pub application_name: String,
    /// Address and port of the client; none over a local socket.
    pub client: Option<std::net::SocketAddr>,
    /// Microseconds since 1970-01-01 UTC.
    pub started_us: i64,
    pub query_started_us: Option<i64>,
    /// When the transaction that is open began; `None` outside of one.
    pub transaction_started_us: Option<i64>,
    /// As PostgreSQL says it: `active`, `idle`, `idle in transaction`, …
    pub state: &'static str,
    /// Text of the current or last query.
    pub query: String,
}

/// Sessions now running.
pub trait Activities: Send + Sync {
    fn list(&self) -> Vec<Activity>;
    /// Stops what a session runs, or ends the session; false if there is none of that number.
    fn interrupt(&self, process_id: i32, end: bool) -> bool;
}

/// The system tables of a server.
#[derive(Clone)]
pub struct PgCatalog {
    figures: Arc<dyn StorageFigures>,
    activities: Arc<dyn Activities>,
}

impl PgCatalog {
    #[must_use]
    pub fn new(figures: Arc<dyn StorageFigures>, activities: Arc<dyn Activities>) -> Self {
        Self { figures, activities }
    }

    /// The functions that go with the tables.
    #[must_use]
    pub fn functions(&self) -> Vec<ExtraFunction> {
        functions::all(&self.figures, &self.activities)
    }
}

/// The schemas searched, as in [`StatementContext::search_path`].
fn search_path(context: &SystemTableContext<'_>) -> Vec<String> {
    let listed = &context.settings.derived().search_path;
    effective_search_path(listed, context.role).map(str::to_owned).collect()
}

impl SystemTables for PgCatalog {
    fn table(
        &self,
        context: &SystemTableContext<'_>,
        schema: &str,
        name: &str,
    ) -> Option<SystemTable> {
        let definition = definitions::find(schema, name)?;
        let source = tables::Source {
            definition,
            relations: restriction::Restriction::default(),
            catalog: Arc::clone(context.catalog),
            database: context.database.to_owned(),
            role: context.role.to_owned(),
            search_path: search_path(context),
            settings: (name == "pg_settings").then(|| context.settings.clone()),
            format: context.settings.derived().format.clone(),
            objects: Arc::clone(context.objects),
            copies: Arc::clone(context.copies),
            figures: self.figures.clone(),
            activities: self.activities.clone(),
        };
        let provider =
            SystemTableProvider::new(definition, Box::new(move |wanted| source.rows(&wanted)));
        let types = definition.columns.iter().map(|column| column.pg_type.clone()).collect();
        Some(SystemTable { oid: definition.oid, provider: Arc::new(provider), types })
    }

    fn names(&self, context: StatementContext) -> Names {
        Names::new(Arc::new(object_names::StatementNames(context)))
    }

    fn has_schema(&self, schema: &str) -> bool {
        matches!(schema, "pg_catalog" | "information_schema" | definitions::GLARE_CATALOG)
            || schema == FUNCTIONS_SCHEMA
    }
}

/// Schema and name of a relation: a user's table or key index, or a system table.
fn relation_name(catalog: &Catalog, oid: u32) -> Option<(String, String)> {
    use glaredb_catalog::Relation;
    let schema = |oid| catalog.schema_by_oid(oid).map(|schema| schema.name.clone());
    match catalog.relation_by_oid(oid) {
        Some(Relation::Table(table)) => Some((schema(table.schema_oid)?, table.name.clone())),
        Some(Relation::KeyIndex(table)) => {
            let key = table.primary_key.as_ref()?;
            Some((schema(table.schema_oid)?, key.name.clone()))
        }
        None => {
            let all = definitions::all();
            let found = all.binary_search_by_key(&oid, |definition| definition.oid).ok()?;
            Some((all[found].schema.to_owned(), all[found].name.to_owned()))
        }
    }
}

/// OID of a relation by schema and name.
fn relation_oid(catalog: &Catalog, schema: &str, name: &str) -> Option<u32> {
    use glaredb_catalog::Relation;
    if let Some(definition) = definitions::find(schema, name) {
        return Some(definition.oid);
    }
    match catalog.relation(catalog.schema(schema)?.oid, name)? {
        Relation::Table(table) => Some(table.oid),
        Relation::KeyIndex(table) => table.primary_key.as_ref().map(|key| key.oid),
    }
}
