//! The physical operator of a table scan.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    common::{
        Result, Statistics,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryPool},
    logical_expr::Expr,
    physical_expr::{
        DynamicFilterTracking, EquivalenceProperties, Partitioning, PhysicalExpr, conjunction_opt,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        apply_expression_roots,
        execution_plan::{Boundedness, EmissionType},
        filter_pushdown::{
            ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
        },
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        statistics::StatisticsArgs,
    },
};
use glaredb_txn::ids::TableId;

use super::{
    StatementView, StoredTable,
    filters::Filters,
    morsel::{MemoryMorsel, Morsel},
    segment_read::{SegmentReader, SegmentScan},
    stream::ScanStream,
};
use crate::storage::{schema::TableSchema, table::ThenRead};

/// A column that a scan reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadColumn {
    /// By ordinal in the table.
    Stored(usize),
    Segment,
    Row,
    RowId,
}

/// What a scan reads: the projected columns first, then those only its filters need.
#[derive(Clone, Debug)]
pub(super) struct ReadColumns {
    columns: Arc<[ReadColumn]>,
    schema: SchemaRef,
    projected: SchemaRef,
}

impl ReadColumns {
    /// `projection` and the columns of `filters` refer to the provider's schema.
    pub(super) fn new(table: &StoredTable, projection: &[usize], filters: &[Expr]) -> Result<Self> {
        let mut wanted = projection.to_vec();
        for filter in filters {
            filter.apply(|expr| {
                if let Expr::Column(column) = expr {
                    let index = table.arrow.index_of(&column.name)?;
                    if !wanted.contains(&index) {
                        wanted.push(index);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(Self::of(table, projection, &wanted))
    }

    /// Just these columns of the provider's schema.
    pub(super) fn plain(table: &StoredTable, projection: &[usize]) -> Self {
        Self::of(table, projection, projection)
    }

    fn of(table: &StoredTable, projection: &[usize], wanted: &[usize]) -> Self {
        let hidden = table.hidden_columns();
        let columns = wanted
            .iter()
            .map(|index| match index.checked_sub(hidden) {
                Some(index) => ReadColumn::Stored(table.schema.live()[index]),
                None => [ReadColumn::Segment, ReadColumn::Row, ReadColumn::RowId][*index],
            })
            .collect();
        let fields = |indexes: &[usize]| {
            let fields = indexes.iter().map(|index| Arc::clone(&table.arrow.fields()[*index]));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        Self { columns, schema: fields(wanted), projected: fields(projection) }
    }

    pub(super) fn all(&self) -> &Arc<[ReadColumn]> {
        &self.columns
    }

    /// What is read of rows that are found by their keys. `columns`: ordinals of those that are stored.
    pub(super) fn then<'a>(&self, schema: &'a TableSchema, columns: &'a [usize]) -> ThenRead<'a> {
        ThenRead { schema, columns, row_ids: self.columns.contains(&ReadColumn::RowId) }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn projected_schema(&self) -> &SchemaRef {
        &self.projected
    }

    /// Ordinals in the table of all columns; `None` for hidden ones.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.columns.iter().map(|column| match column {
            ReadColumn::Stored(ordinal) => Some(*ordinal),
            ReadColumn::Segment | ReadColumn::Row | ReadColumn::RowId => None,
        })
    }
}

/// Scans one table. Its streams take morsels from one list, so that none is idle while another has
/// work.
pub struct TableScanExec {
    table: TableId,
    pub(super) read: ReadColumns,
    pub(super) morsels: Arc<[Morsel]>,
    /// Index of the next morsel nobody has taken.
    pub(super) next: Arc<AtomicUsize>,
    /// Over [`ReadColumns::schema`].
    pub(super) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// How many of `filters`, at the end, are evaluated one by one over the rows that passed those
    /// before, because they can fail.
    pub(super) late: usize,
    /// Filters that operators above learn while they run, over the projected columns. They check
    /// for themselves, so these may be left out.
    pub(super) dynamic: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
    statistics: Arc<Statistics>,
    /// The table's segments, if it has any.
    segments: Option<Arc<SegmentScan>>,
    /// Its snapshot stays registered while the scan runs.
    view: Option<Arc<StatementView>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl fmt::Debug for TableScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScanExec({}, {} morsels)", self.table, self.morsels.len())
    }
}

impl TableScanExec {
    pub(super) fn new(
        table: TableId,
        read: ReadColumns,
        morsels: Vec<Morsel>,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Self {
        let schema = Arc::clone(read.projected_schema());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            table,
            read,
            morsels: morsels.into(),
            next: Arc::default(),
            filters,
            late: 0,
            dynamic: Vec::new(),
            limit,
            statistics: Arc::new(Statistics::new_unknown(&schema)),
            segments: None,
            view: None,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    pub(super) fn with_late(mut self, late: usize) -> Self {
        self.late = late;
        self
    }

    pub(super) fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.statistics = Arc::new(statistics);
        self
    }

    pub(super) fn with_segments(mut self, segments: Option<SegmentScan>) -> Self {
        self.segments = segments.map(Arc::new);
        self
    }

    pub(super) fn keeping(mut self, view: Arc<StatementView>) -> Self {
        self.view = Some(view);
        self
    }

    /// Rows it may have to look at.
    #[must_use]
    pub fn rows_held(&self) -> usize {
        self.morsels.iter().map(Morsel::rows).sum()
    }

    /// Memory of those rows.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.morsels.iter().map(Morsel::bytes).sum()
    }

    /// What reads the segments for a stream; `None` if there are none.
    fn segment_reader(
        &self,
        partition: usize,
        memory: &Arc<dyn MemoryPool>,
    ) -> Result<Option<Arc<SegmentReader>>> {
        let (Some(segments), Some(view)) = (&self.segments, &self.view) else { return Ok(None) };
        let filters = Filters::new(&self.read, &self.filters, self.late, &self.dynamic)?;
        let (scan, view) = (Arc::clone(segments), Arc::clone(view));
        let reader = SegmentReader::new(scan, view, &self.read, filters, &self.metrics, partition);
        Ok(Some(Arc::new(reader.within(memory))))
    }

    fn copy(&self) -> Self {
        Self {
            table: self.table,
            read: self.read.clone(),
            morsels: Arc::clone(&self.morsels),
            next: Arc::default(),
            filters: self.filters.clone(),
            late: self.late,
            dynamic: self.dynamic.clone(),
            limit: self.limit,
            statistics: Arc::clone(&self.statistics),
            segments: self.segments.clone(),
            view: self.view.clone(),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for TableScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScanExec: {}", self.table)?;
        let names: Vec<_> =
            self.read.projected.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", projection=[{}]", names.join(", "))?;
        if matches!(self.morsels.as_ref(), [Morsel::Memory(MemoryMorsel::Rows(_)), ..]) {
            write!(f, ", by key")?;
        }
        if let Some(filter) = conjunction_opt(self.filters.clone()) {
            write!(f, ", filter={filter}")?;
        }
        for filter in &self.dynamic {
            write!(f, ", dynamic={filter}")?;
        }
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TableScanExec {
    fn name(&self) -> &str {
        "TableScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.filters.iter().chain(&self.dynamic), f)
    }

    /// Starts over: the streams of a new execution take the morsels anew.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.copy()))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batch_rows = context.session_config().batch_size();
        let segments = self.segment_reader(partition, context.memory_pool())?;
        Ok(Box::pin(ScanStream::new(self, batch_rows, metrics, segments)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        if args.partition().is_some() {
            return Ok(Arc::new(Statistics::new_unknown(self.read.projected_schema())));
        }
        Ok(Arc::clone(&self.statistics))
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut scan = self.copy();
        let before = scan.dynamic.len();
        let mut answers = Vec::with_capacity(result.parent_filters.len());
        for parent in result.parent_filters {
            // Filters of the query came with the logical plan. What else comes here was mapped
            // through the operators between by column name, and a join may show a name twice.
            if is_dynamic(&parent.filter) {
                scan.dynamic.push(parent.filter);
                answers.push(PushedDown::Yes);
            } else {
                answers.push(PushedDown::No);
            }
        }
        if scan.dynamic.len() > before {
            scan.statistics = Arc::new(Statistics::clone(&scan.statistics).to_inexact());
        }
        let updated: Arc<dyn ExecutionPlan> = Arc::new(scan);
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(answers)
            .with_updated_node(updated))
    }
}

/// Whether an operator above still changes the filter.
fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(filter).contains_dynamic_filter()
}
