//! What all sessions of a process share.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arrow::datatypes::Schema;
use datafusion::{
    catalog::TableProvider,
    datasource::{empty::EmptyTable, provider_as_source},
    error::DataFusionError,
    execution::{
        SessionState, SessionStateBuilder,
        memory_pool::{FairSpillPool, MemoryConsumer, MemoryPool, MemoryReservation},
        runtime_env::RuntimeEnvBuilder,
    },
    physical_optimizer::optimizer::PhysicalOptimizer,
    prelude::SessionConfig,
};
use glaredb_catalog::{
    Allocator, Catalog,
    descriptor::{RelationKind, Table as TableDescriptor, View},
};
use glaredb_txn::ids::TableId;
use parking_lot::{Mutex, RwLock};

use super::{
    Copies, Identity, PathCounters, PlanCacheCounters, SessionObjects, Settings, analyze,
    point::turns::Turns,
    row_types::row_type,
    settings::PendingSettings,
    statement_context::StatementContext,
    table_schema::{column_type, table_schema},
    transaction_ids::TransactionIds,
};
use crate::{
    error::SqlError,
    query::{
        append::AsTheyCome,
        errors::sql_error,
        few_rows_sort::SortFewRows,
        functions::{Functions, given_up::GivenUp, memory::QueryMemory},
        optimizer, parser,
        planner::{ResolvedColumn, ResolvedKind, ResolvedTable, ViewQuery},
        scan::{StoredTable, TableFacts},
        series_rows,
        turns::TakeTurns,
    },
    storage::database::Database,
    types::{PgType, text::Names},
};

/// Tables that are not stored but computed: `pg_catalog`, `information_schema`.
pub trait SystemTables: Send + Sync {
    /// Table `name` of `schema`, showing the state in `context`; `None` if there is none.
    fn table(
        &self,
        context: &SystemTableContext<'_>,
        schema: &str,
        name: &str,
    ) -> Option<SystemTable>;

    /// Whether `schema` is one of its schemas.
    fn has_schema(&self, schema: &str) -> bool;

    /// What `regclass` and kin are called; by default nothing has a name.
    fn names(&self, _: StatementContext) -> Names {
        Names::default()
    }
}

/// A table of [`SystemTables`].
#[derive(Clone, Debug)]
pub struct SystemTable {
    pub oid: u32,
    pub provider: Arc<dyn TableProvider>,
    /// Of its columns, in order. The provider's fields need not tell them.
    pub types: Vec<PgType>,
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
    pub objects: &'a Arc<SessionObjects>,
    /// Of all sessions.
    pub copies: &'a Arc<Copies>,
}

/// How to build an [`Engine`].
pub struct EngineOptions {
    pub database: Arc<Database>,
    /// Memory all running queries share; what does not fit is spilled or refused with 53200.
    pub query_memory_bytes: usize,
    /// Threads a query uses.
    pub query_threads: usize,
    /// Where all runs that is not little work, so that it does not starve small statements. To have
    /// several threads per core, as some computations are long without a pause.
    pub query_runtime: tokio::runtime::Handle,
    pub system_tables: Arc<dyn SystemTables>,
    pub functions: Functions,
}

/// The database with what it takes to run statements on it.
pub struct Engine {
    database: Arc<Database>,
    allocator: Allocator,
    /// Rules and settings of DataFusion; each statement has a copy.
    template: SessionState,
    query_runtime: tokio::runtime::Handle,
    system_tables: Arc<dyn SystemTables>,
    functions: Arc<Functions>,
    /// By OID.
    resolved: Mutex<HashMap<u32, KnownTable>>,
    facts: RwLock<HashMap<TableId, Arc<TableFacts>>>,
    commit_retries: AtomicU64,
    copies: Arc<Copies>,
    turns: Arc<Turns>,
    transaction_ids: Arc<TransactionIds>,
    plan_cache: PlanCacheCounters,
    paths: PathCounters,
}

/// A table as the planner sees it, valid while its descriptor and its statistics are the same.
struct KnownTable {
    descriptor: Arc<TableDescriptor>,
    facts: Option<Arc<TableFacts>>,
    schema_name: String,
    resolved: ResolvedTable,
}

/// Most tables whose resolved form is kept.
const RESOLVED_MAX: usize = 10_000;

impl Engine {
    /// # Errors
    /// No place for spilled data.
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, SqlError> {
        let internal = |error: DataFusionError| SqlError::internal(error.to_string());
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory_bytes)))
            .build_arc()
            .map_err(internal)?;
        let mut config = SessionConfig::new()
            .with_target_partitions(options.query_threads.max(1))
            .with_information_schema(false);
        let settings = config.options_mut();
        settings.sql_parser.enable_ident_normalization = false;
        settings.execution.time_zone = Some("UTC".to_owned());
        // Simplification may learn that a column is never null after the schema was written down.
        settings.execution.skip_physical_aggregate_schema_check = true;
        // No table has fields within fields, which is what these rules are for.
        settings.optimizer.enable_leaf_expression_pushdown = false;
        // Windows give their rows in the order of partitions, as in PostgreSQL.
        settings.optimizer.repartition_windows = false;
        settings.extensions.insert(QueryMemory(Arc::clone(&runtime.memory_pool)));
        let mut rules = PhysicalOptimizer::new().rules;
        rules.insert(0, Arc::new(AsTheyCome::Before));
        rules.push(Arc::new(AsTheyCome::After));
        rules.push(Arc::new(SortFewRows));
        rules.push(Arc::new(TakeTurns));
        let template = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_optimizer_rules(optimizer::rules())
            .with_physical_optimizer_rules(rules)
            .with_query_planner(Arc::new(series_rows::Planner))
            .build();
        let snapshot = options.database.snapshots().register();
        let catalog = options.database.catalog_at(&snapshot.snapshot());
        let engine = Arc::new(Self {
            allocator: Allocator::after(&catalog),
            transaction_ids: TransactionIds::starting(
                i64::try_from(options.database.env().clock.now_us()).unwrap_or(i64::MAX / 2),
            ),
            database: options.database,
            template,
            query_runtime: options.query_runtime,
            system_tables: options.system_tables,
            functions: Arc::new(options.functions),
            resolved: Mutex::default(),
            facts: RwLock::default(),
            commit_retries: AtomicU64::new(0),
            copies: Arc::default(),
            turns: Arc::default(),
            plan_cache: PlanCacheCounters::default(),
            paths: PathCounters::default(),
        });
        engine.query_runtime.spawn(analyze::keep_analyzed(Arc::downgrade(&engine)));
        Ok(engine)
    }

    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// How often a statement that was a transaction of its own was tried again after 40001, which its
    /// client did not see.
    #[must_use]
    pub fn commit_retries(&self) -> u64 {
        self.commit_retries.load(Relaxed)
    }

    pub(super) fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    pub(super) fn count_commit_retry(&self) {
        self.commit_retries.fetch_add(1, Relaxed);
    }

    /// Microseconds since 1970-01-01 UTC.
    pub(super) fn now_us(&self) -> i64 {
        i64::try_from(self.database.env().clock.now_us()).unwrap_or(i64::MAX)
    }

    /// Ids of new objects.
    pub(super) fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// How often statements of the simple protocol ran on a plan found again.
    #[must_use]
    pub fn plan_cache(&self) -> &PlanCacheCounters {
        &self.plan_cache
    }

    /// Numbers of transactions.
    pub(super) fn transaction_ids(&self) -> &Arc<TransactionIds> {
        &self.transaction_ids
    }

    /// Which ways statements went.
    #[must_use]
    pub fn paths(&self) -> &PathCounters {
        &self.paths
    }

    /// Who changes which row by its key.
    pub(super) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    pub(super) fn query_runtime(&self) -> &tokio::runtime::Handle {
        &self.query_runtime
    }

    /// The memory all queries share.
    /// Bytes that running queries hold.
    #[must_use]
    pub fn query_memory_held(&self) -> usize {
        self.memory_pool().reserved()
    }

    pub(super) fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.template.runtime_env().memory_pool)
    }

    /// Takes memory from what all queries share, until the reservation is dropped.
    ///
    /// # Errors
    /// 53200.
    pub fn reserve_memory(&self, what: &str, bytes: usize) -> Result<MemoryReservation, SqlError> {
        let reservation = MemoryConsumer::new(what).register(&self.memory_pool());
        reservation.try_grow(bytes).map_err(sql_error)?;
        Ok(reservation)
    }

    pub(super) fn system_tables(&self) -> &dyn SystemTables {
        self.system_tables.as_ref()
    }

    pub(super) fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// DataFusion's state for statements with this catalog and these settings.
    pub(super) fn session_state(
        &self,
        catalog: &Arc<Catalog>,
        identity: &Arc<Identity>,
        settings: &Settings,
        pending: &PendingSettings,
        given_up: &GivenUp,
    ) -> SessionState {
        let mut state = self.template.clone();
        let options = state.config_mut().options_mut();
        let zone = &settings.derived().format.time_zone;
        options.execution.time_zone = Some(zone.arrow_name());
        let context = StatementContext::new(
            Arc::clone(catalog),
            Arc::clone(identity),
            settings,
            Arc::clone(pending),
        );
        options.extensions.insert(context);
        options.extensions.insert(given_up.clone());
        // Physical expressions take their options from there.
        state.mark_start_execution();
        state
    }

    /// A user table as the planner sees it.
    pub(super) fn resolved_table(
        &self,
        catalog: &Catalog,
        schema_name: &str,
        descriptor: &Arc<TableDescriptor>,
    ) -> Result<ResolvedTable, SqlError> {
        let facts = self.facts(descriptor.storage);
        if descriptor.columns.iter().any(|column| column.composite.is_some()) {
            // Its fields are called as other descriptors say.
            return resolve(catalog, schema_name, descriptor, facts);
        }
        let mut resolved = self.resolved.lock();
        if let Some(known) = resolved.get(&descriptor.oid)
            && (Arc::ptr_eq(&known.descriptor, descriptor) || known.descriptor == *descriptor)
            && known.schema_name == schema_name
            && same(known.facts.as_ref(), facts.as_ref())
        {
            return Ok(known.resolved.clone());
        }
        let table = resolve(catalog, schema_name, descriptor, facts.clone())?;
        if resolved.len() >= RESOLVED_MAX {
            resolved.clear();
        }
        let known = KnownTable {
            descriptor: Arc::clone(descriptor),
            facts,
            schema_name: schema_name.to_owned(),
            resolved: table.clone(),
        };
        resolved.insert(descriptor.oid, known);
        Ok(table)
    }

    /// Lets go of what is known of tables that are gone.
    pub(super) fn forget<'t>(&self, tables: impl Iterator<Item = &'t Arc<TableDescriptor>>) {
        for table in tables {
            self.resolved.lock().remove(&table.oid);
            self.facts.write().remove(&table.storage);
        }
    }

    /// What ANALYZE found out about a table.
    #[must_use]
    pub fn facts(&self, table: TableId) -> Option<Arc<TableFacts>> {
        self.facts.read().get(&table).cloned()
    }

    pub(super) fn set_facts(&self, table: TableId, facts: TableFacts) {
        self.facts.write().insert(table, Arc::new(facts));
    }
}

fn same(a: Option<&Arc<TableFacts>>, b: Option<&Arc<TableFacts>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn resolve(
    catalog: &Catalog,
    schema_name: &str,
    descriptor: &TableDescriptor,
    facts: Option<Arc<TableFacts>>,
) -> Result<ResolvedTable, SqlError> {
    let mut columns = Vec::with_capacity(descriptor.columns.len());
    for column in &descriptor.columns {
        columns.push(ResolvedColumn {
            name: column.name.clone(),
            number: column.number,
            pg_type: column_type(catalog, descriptor, column)?,
            not_null: column.not_null,
            default: column.default.clone(),
            hidden: false,
        });
    }
    let source: Arc<dyn TableProvider> = if descriptor.is_stored() {
        let schema = Arc::new(table_schema(descriptor)?);
        Arc::new(StoredTable::new(descriptor.storage, schema, facts))
    } else {
        let fields = columns.iter().map(|c| c.pg_type.plan_field(&c.name, true));
        Arc::new(EmptyTable::new(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
    };
    Ok(ResolvedTable {
        oid: descriptor.oid,
        schema: schema_name.to_owned(),
        name: descriptor.name.clone(),
        columns,
        primary_key: descriptor.key_column_indexes(),
        source: provider_as_source(source),
        is_system: false,
        kind: match descriptor.kind {
            RelationKind::Table => ResolvedKind::Table,
            RelationKind::View => ResolvedKind::View,
            RelationKind::MaterializedView => {
                ResolvedKind::MaterializedView { populated: !descriptor.unpopulated }
            }
            RelationKind::CompositeType => ResolvedKind::CompositeType,
        },
        query: descriptor.view.as_ref().map(view_query).transpose()?,
        row_type: row_type(catalog, descriptor).map(Arc::new),
    })
}

fn view_query(view: &View) -> Result<Arc<ViewQuery>, SqlError> {
    let statement = parser::parse(&view.query)?.pop();
    let statement =
        statement.ok_or_else(|| SqlError::internal("a view whose query is the empty text"))?;
    Ok(Arc::new(ViewQuery { statement, relations: view.relations.clone() }))
}
