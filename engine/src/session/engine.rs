//! What all sessions of a process share.

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    error::DataFusionError,
    execution::{
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
};
use glaredb_catalog::Catalog;

use super::Settings;
use crate::{error::SqlError, query::functions::Functions};

/// Tables that are not stored but computed: `pg_catalog`, `information_schema`.
pub trait SystemTables: Send + Sync {
    /// Table `name` of `schema`, showing the state in `context`; `None` if there is none. Column
    /// types come from the fields' metadata ([`PgType::of_field`](crate::types::PgType::of_field)).
    fn table(
        &self,
        context: &SystemTableContext<'_>,
        schema: &str,
        name: &str,
    ) -> Option<SystemTable>;

    /// Whether `schema` is one of its schemas.
    fn has_schema(&self, schema: &str) -> bool;
}

/// A table of [`SystemTables`].
#[derive(Clone, Debug)]
pub struct SystemTable {
    pub oid: u32,
    pub provider: Arc<dyn TableProvider>,
}

/// What system tables show.
#[derive(Clone, Copy)]
pub struct SystemTableContext<'a> {
    /// At the statement's snapshot, with the transaction's own changes.
    pub catalog: &'a Arc<Catalog>,
    pub settings: &'a Settings,
    pub database: &'a str,
    pub role: &'a str,
    pub process_id: i32,
}

/// How to build an [`Engine`].
pub struct EngineOptions {
    /// Memory all running queries share; what does not fit is spilled or refused with 53200.
    pub query_memory_bytes: usize,
    /// Threads a query uses.
    pub query_threads: usize,
    /// Where queries that scan a lot run, so that they do not starve small statements.
    pub query_runtime: tokio::runtime::Handle,
    pub system_tables: Arc<dyn SystemTables>,
    pub functions: Functions,
}

/// The database with what it takes to run statements on it.
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    query_threads: usize,
    query_runtime: tokio::runtime::Handle,
    system_tables: Arc<dyn SystemTables>,
    functions: Arc<Functions>,
}

impl Engine {
    /// # Errors
    /// No place for spilled data.
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, SqlError> {
        let internal = |error: DataFusionError| SqlError::internal(error.to_string());
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory_bytes)))
            .build_arc()
            .map_err(internal)?;
        Ok(Arc::new(Self {
            runtime,
            query_threads: options.query_threads.max(1),
            query_runtime: options.query_runtime,
            system_tables: options.system_tables,
            functions: Arc::new(options.functions),
        }))
    }

    pub(super) fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    pub(super) fn query_threads(&self) -> usize {
        self.query_threads
    }

    pub(super) fn query_runtime(&self) -> &tokio::runtime::Handle {
        &self.query_runtime
    }

    pub(super) fn system_tables(&self) -> &dyn SystemTables {
        self.system_tables.as_ref()
    }

    pub(super) fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }
}
