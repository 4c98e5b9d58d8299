//! Reading a table: at a snapshot, with what the transaction itself wrote.
//!
//! ```text
//! StoredTable (TableProvider) ── scan(projection, filters) ──▶ TableScanExec ──▶ n streams
//!      │                              at the StatementView        that share one list of morsels
//!      └─ part of logical plans, good for any statement
//! ```
//!
//! Filters are evaluated here, on slices of the chunks' own arrays; where every row is visible and
//! passes, nothing is copied. Where filters lead to few rows by the primary key, those are read by it.
//! Of segments only what may pass is read, as far as statistics and keys tell ([`segment_read`]).

mod exec;
mod filters;
mod input;
mod key_condition;
mod key_lookup;
mod key_reader;
mod morsel;
mod pages;
mod pruning;
mod segment_facts;
mod segment_morsel;
mod segment_queue;
mod segment_read;
mod statistics;
mod stream;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        DFSchema, DataFusionError, Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, TableProviderFilterPushDown, TableType, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext, utils::split_conjunction,
    },
    physical_expr::create_physical_expr,
    physical_plan::ExecutionPlan,
    scalar::ScalarValue,
};
use glaredb_txn::{
    commit::snapshots::SnapshotGuard,
    ids::{TableId, Timestamp},
};
use parking_lot::Mutex;

use self::{
    exec::ReadColumns,
    input::{Input, ScanFilters},
    key_condition::KeyCondition,
    morsel::{MemoryMorsel, Morsel},
    statistics::Knowledge,
};
pub use self::{
    exec::TableScanExec,
    statistics::{ColumnFacts, TableFacts},
};
pub(crate) use self::{
    key_condition::Span,
    key_lookup::{Known, NOW_INDEX, param_index},
    key_reader::{KeyOrder, KeyReader},
    segment_facts::SegmentFacts,
};
use crate::{
    query::{
        errors::external,
        planner::{self, LOCATOR_COLUMNS},
    },
    session::{StatementContext, errors::storage_error},
    storage::{
        StorageError,
        database::Database,
        schema::TableSchema,
        table::Table,
        temporary::TemporarySnapshot,
        warmed::{ReadError, Warmed},
        write_set::WriteSet,
    },
};

/// Reading one row by its primary key, whose values may be parameters.
#[derive(Clone, Debug)]
pub(crate) struct KeyLookup {
    name: String,
    table: StoredTable,
    values: Vec<Known>,
    condition: KeyCondition,
    read: ReadColumns,
}

/// Reading the rows whose primary keys meet a condition.
#[derive(Clone, Debug)]
pub(crate) struct KeyRanges {
    name: String,
    table: StoredTable,
    condition: KeyCondition,
    read: ReadColumns,
}

/// How filters lead to the rows of a table by its key.
#[derive(Clone, Debug)]
pub(crate) enum KeyAccess {
    One(KeyLookup),
    Ranges(KeyRanges),
}

impl KeyLookup {
    pub(crate) fn table(&self) -> TableId {
        self.table.id
    }

    /// The row's key, encoded; `Some(None)` if no row can have it, `None` if a value is not of its
    /// column's type.
    pub(crate) fn key(&self, params: &[ScalarValue]) -> Option<Option<Bytes>> {
        key_lookup::encode_key(&self.table, &self.values, params)
    }

    /// The columns of the row with that key, or of none.
    pub(crate) fn row(
        &self,
        view: &StatementView,
        key: Option<&[u8]>,
    ) -> Result<RecordBatch, ReadError> {
        match key {
            Some(key) => key_lookup::lookup(&self.table, view, key, &self.read),
            None => Ok(RecordBatch::new_empty(Arc::clone(self.read.schema()))),
        }
    }
}

impl KeyRanges {
    pub(crate) fn table(&self) -> TableId {
        self.table.id
    }

    /// Whether it is all rows.
    pub(crate) fn is_everything(&self) -> bool {
        self.condition.is_everything()
    }

    /// The keys, encoded; `None` if a value is not of its column's type, or there are too many.
    pub(crate) fn spans(&self, params: &[ScalarValue]) -> Option<Vec<Span>> {
        self.condition.spans(&self.table, params)
    }

    /// Starts to read `spans`; `None` if the transaction wrote too much for that.
    pub(crate) fn open<'a>(
        &'a self,
        view: &'a StatementView,
        spans: Vec<Span>,
        order: KeyOrder,
    ) -> Option<KeyReader<'a>> {
        KeyReader::new(&self.table, view, &self.read, spans, order)
    }

    /// No rows, in the columns it reads.
    pub(crate) fn nothing(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(self.read.schema()))
    }

    /// Whether rows in the order of their keys are in the order of `columns` (of the provider's
    /// schema) too, all ascending or all descending.
    pub(crate) fn is_order(&self, columns: &[usize]) -> bool {
        let Some(key) = self.table.schema.key() else { return false };
        let (pinned, rest) = key.split_at(self.condition.columns_pinned());
        let mut rest = rest.iter();
        for column in columns {
            let Some(place) = column.checked_sub(self.table.hidden_columns()) else { return false };
            let ordinal = self.table.schema.live()[place];
            if pinned.contains(&ordinal) {
                continue;
            }
            match rest.next() {
                // The whole key was named: no two rows are alike in it.
                None => return true,
                Some(next) if *next == ordinal => {}
                Some(_) => return false,
            }
        }
        true
    }
}

impl KeyAccess {
    /// The name of the table and the condition, as EXPLAIN shows them.
    pub(crate) fn show(&self) -> (&str, Option<String>) {
        let (name, table, condition) = match self {
            Self::One(lookup) => (&lookup.name, &lookup.table, &lookup.condition),
            Self::Ranges(ranges) => (&ranges.name, &ranges.table, &ranges.condition),
        };
        (name, (!condition.is_everything()).then(|| condition.show(table)))
    }
}

/// Rows that are worth a stream of their own.
const ROWS_PER_STREAM: usize = 20_000;

/// Keys up to which a scan reads rows by key: at least, and at most.
const FEW_MIN: u64 = 64;
const FEW_MAX: u64 = 10_000;
/// Rows that it reads at a time, and the memory that they may take.
const FEW_BATCH: usize = 1024;
const FEW_BYTES_MAX: usize = 4 << 20;

/// What one statement sees. Its scans find it among the extensions of the `SessionConfig`.
pub struct StatementView {
    pub database: Arc<Database>,
    /// Keeps the rows of the snapshot from being collected.
    pub snapshot: Arc<SnapshotGuard>,
    /// What the transaction wrote before this statement, if it wrote anything.
    pub own: Option<Arc<Mutex<WriteSet>>>,
    /// The session's temporary tables, if it has any.
    pub temporary: Option<Arc<TemporarySnapshot>>,
    /// What the statement's reads by key and place found in objects.
    pub warmed: Warmed,
}

impl StatementView {
    /// The storage of a table, and the time at which it is read; `None` for one that the transaction
    /// created.
    #[must_use]
    pub fn storage(&self, table: TableId) -> Option<(Arc<Table>, Timestamp)> {
        match self.database.table(table) {
            Some(storage) => Some((storage, self.snapshot.timestamp())),
            None => self.temporary.as_ref()?.table(table),
        }
    }

    /// About how many rows a table has, without those of the transaction.
    fn rows_estimate(&self, table: TableId) -> u64 {
        self.storage(table).map_or(0, |(storage, _)| storage.row_count_estimate())
    }
}

/// A table of the database. Which of its rows a scan sees is up to the [`StatementView`].
#[derive(Clone)]
pub struct StoredTable {
    pub(crate) id: TableId,
    pub(crate) schema: Arc<TableSchema>,
    /// What ANALYZE found.
    facts: Option<Arc<TableFacts>>,
    /// Whether [`LOCATOR_COLUMNS`] stand in front of the columns.
    hidden: bool,
    arrow: SchemaRef,
}

impl std::fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredTable({})", self.id)
    }
}

/// The columns of a table as its provider has them: without those that were dropped.
fn live_fields(schema: &TableSchema) -> impl Iterator<Item = Field> + '_ {
    let columns = schema.live().iter().map(|ordinal| &schema.columns()[*ordinal]);
    columns.map(|column| column.pg_type.plan_field(&column.name, true))
}

impl StoredTable {
    #[must_use]
    pub fn new(id: TableId, schema: Arc<TableSchema>, facts: Option<Arc<TableFacts>>) -> Self {
        let arrow = Arc::new(Schema::new(live_fields(&schema).collect::<Vec<_>>()));
        Self { id, schema, facts, hidden: false, arrow }
    }

    /// The same with [`LOCATOR_COLUMNS`] in front.
    #[must_use]
    pub fn with_locators(&self) -> Self {
        let types = [DataType::UInt64, DataType::UInt32, DataType::UInt64];
        let hidden = LOCATOR_COLUMNS.iter().zip(types).map(|(name, t)| Field::new(*name, t, false));
        let fields = hidden.chain(live_fields(&self.schema)).collect::<Vec<_>>();
        let arrow = Arc::new(Schema::new(fields));
        Self { hidden: true, arrow, ..self.clone() }
    }

    /// How the rows are read by key that these conjuncts may pass, and which of the conjuncts that
    /// implies. Without any conjunct: all rows in the order of the key, if there is one.
    pub(crate) fn by_key(
        &self,
        conjuncts: &[&Expr],
        props: &ExecutionProps,
    ) -> Option<(KeyCondition, Vec<bool>)> {
        self.schema.key()?;
        if conjuncts.is_empty() {
            return Some((KeyCondition::everything(), Vec::new()));
        }
        KeyCondition::of(self, conjuncts, props).map(|found| (found.condition, found.implied))
    }

    /// Reading by that condition. `name`: for people. `columns`: of the provider's schema.
    pub(crate) fn access(
        &self,
        name: &str,
        condition: KeyCondition,
        columns: &[usize],
    ) -> KeyAccess {
        let read = ReadColumns::plain(self, columns);
        let (name, table) = (name.to_owned(), self.clone());
        match condition.one_key(self) {
            Some(values) => KeyAccess::One(KeyLookup { name, table, values, condition, read }),
            None => KeyAccess::Ranges(KeyRanges { name, table, condition, read }),
        }
    }

    /// The rows that the filters of a scan lead to by key, if they are few and in memory: a planner does
    /// not read objects. Else the scan does, which knows the keys, too.
    fn few_by_key(
        &self,
        view: &StatementView,
        filters: &[Expr],
        props: &ExecutionProps,
        read: &ReadColumns,
    ) -> std::result::Result<Option<Vec<RecordBatch>>, StorageError> {
        let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
        let Some(found) = KeyCondition::of(self, &conjuncts, props) else { return Ok(None) };
        let Some(spans) = found.condition.spans(self, &[]) else { return Ok(None) };
        let rows = view.rows_estimate(self.id);
        // Beyond that a scan by columns is faster.
        let worth = (rows / 16).clamp(FEW_MIN, FEW_MAX) as usize;
        let order = KeyOrder::Stored(worth);
        let Some(mut reader) = KeyReader::new(self, view, read, spans, order) else {
            return Ok(None);
        };
        let (mut batches, mut bytes) = (Vec::new(), 0);
        loop {
            let batch = match reader.next(FEW_BATCH) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(ReadError::Cold(_)) => return Ok(None),
                Err(ReadError::Failed(error)) => return Err(error),
            };
            bytes += batch.get_array_memory_size();
            if reader.examined() > worth || bytes > FEW_BYTES_MAX {
                return Ok(None);
            }
            batches.push(batch);
        }
        Ok((reader.examined() <= worth).then_some(batches))
    }

    /// Whether only rows of a list of primary keys pass the filters.
    pub(crate) fn keys_are_listed(&self, filters: &[Expr]) -> bool {
        let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
        let columns = self.schema.key().map_or(0, <[usize]>::len);
        KeyCondition::of(self, &conjuncts, &ExecutionProps::new())
            .is_some_and(|found| found.condition.lists_keys(columns))
    }

    /// Columns in front of the table's own.
    fn hidden_columns(&self) -> usize {
        if self.hidden { LOCATOR_COLUMNS.len() } else { 0 }
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        filters
            .iter()
            .map(|filter| {
                Ok(if filter.is_volatile() || has_subquery(filter)? {
                    TableProviderFilterPushDown::Unsupported
                } else {
                    TableProviderFilterPushDown::Exact
                })
            })
            .collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = state.config().get_extension::<StatementView>().ok_or_else(|| {
            DataFusionError::Internal("a table is scanned outside of a statement".to_owned())
        })?;
        let projection: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.arrow.fields().len()).collect(),
        };
        let read = ReadColumns::new(self, &projection, filters)?;
        let schema = DFSchema::try_from(Arc::clone(read.schema()))?;
        let context = PhysicalPlanningContext::default();
        // What can fail sees only rows that passed the rest.
        let (failing, plain): (Vec<&Expr>, Vec<&Expr>) =
            filters.iter().partition(|filter| planner::can_fail(filter));
        let late = failing.len();
        let physical = plain
            .into_iter()
            .chain(failing)
            .map(|filter| create_physical_expr(filter, &schema, state.execution_props(), &context))
            .collect::<Result<Vec<_>>>()?;
        let threads = state.config().target_partitions();
        let few = match StatementContext::of(state.config_options()) {
            Ok(context) if !context.settings.key_access => None,
            _ => self
                .few_by_key(&view, filters, state.execution_props(), &read)
                .map_err(|error| external(storage_error(error)))?,
        };
        let (input, statistics) = match few {
            Some(mut batches) => {
                if batches.is_empty() {
                    batches.push(RecordBatch::new_empty(Arc::clone(read.schema())));
                }
                let rows = batches.iter().map(RecordBatch::num_rows).sum();
                let statistics = statistics::of_rows(read.projected_schema(), rows);
                let at_hand = |batch| Morsel::Memory(MemoryMorsel::Rows(batch));
                let morsels = batches.into_iter().map(at_hand).collect();
                (Input { morsels, ..Input::default() }, statistics)
            }
            None => {
                let props = state.execution_props();
                let filters = ScanFilters { logical: filters, physical: &physical, props };
                let input = self.input(&view, &read, &filters, threads);
                let input = input.map_err(|error| external(storage_error(error)))?;
                let known = Knowledge {
                    facts: self.facts.as_deref(),
                    rows: view.rows_estimate(self.id),
                    // A limit is one that the number of rows does not know.
                    exact_rows: input.exact_rows.filter(|_| limit.is_none()),
                    segments: &input.facts,
                };
                let statistics = statistics::estimate(known, &read, &physical)?;
                (input, statistics)
            }
        };
        let Input { morsels, segments, .. } = input;
        // One stream for few rows: starting more costs more, and rows come in their order.
        let rows: usize = morsels.iter().map(Morsel::rows).sum();
        // At least one, of an empty table, too: no partitions is no distribution at all.
        let partitions = threads.min(morsels.len()).min(rows / ROWS_PER_STREAM + 1).max(1);
        let scan =
            TableScanExec::new(self.id, read, morsels, physical, limit, partitions).with_late(late);
        Ok(Arc::new(scan.with_statistics(statistics).with_segments(segments).keeping(view)))
    }
}

/// Subqueries are computed above the scan.
fn has_subquery(filter: &Expr) -> Result<bool> {
    let mut found = false;
    filter.apply(|expr| {
        found = matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        );
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
