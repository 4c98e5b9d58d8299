//! Reading a table: at a snapshot, with what the transaction itself wrote.
//!
//! ```text
//! StoredTable (TableProvider) ── scan(projection, filters) ──▶ TableScanExec ──▶ n streams
//!      │                              at the StatementView        that share one list of morsels
//!      └─ part of logical plans, good for any statement
//! ```
//!
//! Filters are evaluated here, on slices of the chunks' own arrays; where every row is visible and
//! passes, nothing is copied. Filters that pin the whole primary key become a lookup.

mod exec;
mod key_lookup;
mod morsel;
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
        Expr, TableProviderFilterPushDown, TableType,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::create_physical_expr,
    physical_plan::ExecutionPlan,
    scalar::ScalarValue,
};
use glaredb_txn::{commit::snapshots::SnapshotGuard, ids::TableId};
use parking_lot::Mutex;

pub(crate) use self::key_lookup::{Known, NOW_INDEX, param_index};
use self::{exec::ReadColumns, morsel::Morsel};
pub use self::{
    exec::TableScanExec,
    statistics::{ColumnFacts, TableFacts},
};
use crate::{
    query::{
        errors::external,
        planner::{self, LOCATOR_COLUMNS},
    },
    session::errors::storage_error,
    storage::{StorageError, database::Database, schema::TableSchema, write_set::WriteSet},
};

/// Reading one row by its primary key, whose values may be parameters.
#[derive(Clone, Debug)]
pub(crate) struct KeyLookup {
    name: String,
    table: StoredTable,
    values: Vec<Known>,
    read: ReadColumns,
}

impl KeyLookup {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn table(&self) -> TableId {
        self.table.id
    }

    /// The row's key, encoded; `None` if a value is NULL or not of its column's type.
    pub(crate) fn key(&self, params: &[ScalarValue]) -> Option<Bytes> {
        key_lookup::encode_key(&self.table, &self.values, params)
    }

    /// The columns of the row with that key, or of none.
    pub(crate) fn row(
        &self,
        view: &StatementView,
        key: &[u8],
    ) -> Result<RecordBatch, StorageError> {
        key_lookup::lookup(&self.table, view, key, &self.read)
    }
}

/// Rows that are worth a stream of their own.
const ROWS_PER_STREAM: usize = 20_000;

/// What one statement sees. Its scans find it among the extensions of the `SessionConfig`.
pub struct StatementView {
    pub database: Arc<Database>,
    /// Keeps the rows of the snapshot from being collected.
    pub snapshot: Arc<SnapshotGuard>,
    /// What the transaction wrote before this statement, if it wrote anything.
    pub own: Option<Arc<Mutex<WriteSet>>>,
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

    /// How the row is read that these filters pin by its whole primary key; `None` if they do not.
    /// `name`: for people. `columns`: of the provider's schema.
    pub(crate) fn pinned(
        &self,
        name: &str,
        filters: &[&Expr],
        columns: &[usize],
    ) -> Option<KeyLookup> {
        let values = key_lookup::pinned_values(self, filters.iter().copied())?;
        let read = ReadColumns::plain(self, columns);
        Some(KeyLookup { name: name.to_owned(), table: self.clone(), values, read })
    }

    /// Columns in front of the table's own.
    fn hidden_columns(&self) -> usize {
        if self.hidden { LOCATOR_COLUMNS.len() } else { 0 }
    }

    /// Everything there is to read. Deletions of the transaction are looked at now, so that what
    /// the statement itself deletes does not change what it reads.
    fn morsels(&self, view: &StatementView, threads: usize) -> Vec<Morsel> {
        // A table that the transaction created has no storage yet.
        let stored = view.database.table(self.id).map(|table| {
            // Its own columns: the storage may have gained some, or be about to.
            table.view_as(&self.schema, view.snapshot.timestamp())
        });
        let units = stored.as_ref().map_or(&[][..], |stored| stored.units());
        let own = view.own.as_ref().map(|own| own.lock());
        let writes = own.as_ref().and_then(|own| own.table(self.id));
        let rows: usize = units.iter().map(|unit| unit.rows()).sum();
        let size = morsel::rows_per_morsel(rows, threads);
        let mut morsels = Vec::new();
        for unit in units {
            morsel::split_unit(unit, writes, size, &mut morsels);
        }
        for batch in writes.map(|writes| writes.own_batches()).unwrap_or_default() {
            morsel::split_own(batch, size, &mut morsels);
        }
        morsels
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
        let (morsels, statistics) = match key_lookup::pinned_key(self, filters) {
            Some(key) => {
                let rows = key_lookup::lookup(self, &view, &key, &read)
                    .map_err(|error| external(storage_error(error)))?;
                let statistics = statistics::of_rows(read.projected_schema(), rows.num_rows());
                (vec![Morsel::Rows(rows)], statistics)
            }
            None => {
                let rows =
                    view.database.table(self.id).map_or(0, |table| table.row_count_estimate());
                let statistics =
                    statistics::estimate(self.facts.as_deref(), rows, &read, &physical)?;
                (self.morsels(&view, threads), statistics)
            }
        };
        // One stream for few rows: starting more costs more, and rows come in their order.
        let rows: usize = morsels.iter().map(Morsel::rows).sum();
        // At least one, of an empty table, too: no partitions is no distribution at all.
        let partitions = threads.min(morsels.len()).min(rows / ROWS_PER_STREAM + 1).max(1);
        let scan =
            TableScanExec::new(self.id, read, morsels, physical, limit, partitions).with_late(late);
        Ok(Arc::new(scan.with_statistics(statistics).keeping(view)))
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
