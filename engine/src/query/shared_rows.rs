//! Rows that several places of a plan read and that must be the same in all of them.
//!
//! Where a plan has the same input twice, the input is computed twice, and some give other rows the
//! second time: functions such as `random()`, LIMIT without an order, windows over ties, sums of
//! floats. Such an input is put into a [`SharedNode`] first; copies of a node, known by their number,
//! give the same rows. The first copy that is read computes its input and keeps the rows in memory,
//! charged to what all queries share; the others read them.
//!
//! Copies stay alike because no rule changes an input for the sake of what is above: filters, limits
//! and the choice of columns stop at the node.
//!
//! An input is planned in one place only; the other copies are leaves. Copies within copies would
//! double a plan with each level otherwise. A rule may drop the place that has the input, such as
//! one that finds that nothing can come of a join: [`defined`] gives the input to another then.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{
        DFSchemaRef, Result, Statistics, internal_err,
        runtime::JoinSet,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
        PlanProperties,
        coop::make_cooperative,
        execution_plan::{Boundedness, EmissionType},
        spill::get_record_batch_memory_size,
        statistics::{ChildStats, StatisticsArgs, StatisticsContext},
        stream::RecordBatchStreamAdapter,
        work_table::WorkTableExec,
    },
};
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, Shared},
};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

/// The number of the next node. Any two nodes of one plan that are not copies differ in it.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The input's rows, the same as those of every other node with this number.
#[derive(Clone, Debug)]
pub(super) struct SharedNode {
    pub(super) number: u64,
    pub(super) input: Input,
}

/// The input of a [`SharedNode`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Input {
    Here(LogicalPlan),
    /// In another place; it was this.
    Elsewhere(Arc<LogicalPlan>),
}

impl SharedNode {
    /// The input, wherever it is planned.
    pub(super) fn input(&self) -> &LogicalPlan {
        match &self.input {
            Input::Here(input) => input,
            Input::Elsewhere(input) => input,
        }
    }

    fn is_leaf(&self) -> bool {
        matches!(self.input, Input::Elsewhere(_))
    }
}

impl PartialEq for SharedNode {
    fn eq(&self, other: &Self) -> bool {
        // The input elsewhere is that of the number.
        self.number == other.number
            && match (&self.input, &other.input) {
                (Input::Here(a), Input::Here(b)) => a == b,
                (Input::Elsewhere(_), Input::Elsewhere(_)) => true,
                _ => false,
            }
    }
}

impl Eq for SharedNode {}

impl Hash for SharedNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
        self.is_leaf().hash(state);
    }
}

/// The plan as a node that may be copied.
#[must_use]
pub(super) fn shared(input: LogicalPlan) -> LogicalPlan {
    as_plan(SharedNode { number: NEXT.fetch_add(1, Relaxed), input: Input::Here(input) })
}

fn as_plan(node: SharedNode) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// The node that a plan is, if it is one.
#[must_use]
pub(super) fn as_shared(plan: &LogicalPlan) -> Option<&SharedNode> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    extension.node.as_any().downcast_ref()
}

/// The plan without nodes that stand in one place only, and with each input in one place only.
///
/// # Errors
/// None of its own.
pub(super) fn in_one_place(plan: LogicalPlan) -> Result<LogicalPlan> {
    with_leaves(without_single(plan)?, &mut HashSet::new())
}

/// The plan with leaves for nodes that are `known`, and for all but the first of others.
fn with_leaves(plan: LogicalPlan, known: &mut HashSet<u64>) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|plan| match as_shared(&plan) {
        Some(node) if !node.is_leaf() && !known.insert(node.number) => {
            // Values of parameters reach what stands in the plan only.
            if has_placeholder(node.input())? {
                return Ok(Transformed::no(plan));
            }
            let input = Input::Elsewhere(Arc::new(node.input().clone()));
            let leaf = as_plan(SharedNode { number: node.number, input });
            Ok(Transformed::new(leaf, true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(plan)),
    })
    .map(|plan| plan.data)
}

fn has_placeholder(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            found = found || expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// The optimized plan with an input for every number that has leaves.
///
/// # Errors
/// Those of `optimize`, which is asked for inputs whose place was dropped.
pub(super) fn defined(
    mut plan: LogicalPlan,
    optimize: &dyn Fn(&LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    loop {
        let (mut known, mut leaves) = (HashSet::new(), Vec::new());
        plan.apply_with_subqueries(|plan| {
            match as_shared(plan) {
                Some(node) if node.is_leaf() => leaves.push(node.clone()),
                Some(node) => {
                    known.insert(node.number);
                }
                None => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let Some(missing) = leaves.into_iter().find(|leaf| !known.contains(&leaf.number)) else {
            return Ok(plan);
        };
        let input = optimize(&with_leaves(missing.input().clone(), &mut known)?)?;
        let mut input = Some(input);
        plan = plan
            .transform_down_with_subqueries(|plan| {
                let is_it = as_shared(&plan).is_some_and(|node| node.number == missing.number);
                match input.take_if(|_| is_it) {
                    Some(input) => {
                        let node = SharedNode { number: missing.number, input: Input::Here(input) };
                        Ok(Transformed::new(as_plan(node), true, TreeNodeRecursion::Jump))
                    }
                    None => Ok(Transformed::no(plan)),
                }
            })?
            .data;
    }
}

/// The plan without nodes that stand in one place only.
fn without_single(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let Some(node) = as_shared(node) {
            *places.entry(node.number).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if places.values().all(|places| *places > 1) {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|plan| match as_shared(&plan) {
        Some(node) if places.get(&node.number) == Some(&1) => {
            Ok(Transformed::yes(node.input().clone()))
        }
        _ => Ok(Transformed::no(plan)),
    })
    .map(|plan| plan.data)
}

impl PartialOrd for SharedNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.number
            .partial_cmp(&other.number)
            .filter(|ordering| *ordering != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for SharedNode {
    fn name(&self) -> &str {
        "Shared"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        match &self.input {
            Input::Here(input) => vec![input],
            Input::Elsewhere(_) => Vec::new(),
        }
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input().schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = match inputs.pop() {
            Some(input) => Input::Here(input),
            None => self.input.clone(),
        };
        Ok(Self { number: self.number, input })
    }
}

/// The copies that were planned of each node.
#[derive(Default)]
pub(super) struct Copies(Mutex<HashMap<u64, Known>>);

#[derive(Default)]
struct Known {
    gathering: Arc<Gathering>,
    copies: usize,
    /// Whether one of them had the input.
    defined: bool,
}

impl Copies {
    /// Executes one more copy of a node. `input`: of one that is no leaf.
    pub(super) fn plan(
        &self,
        node: &SharedNode,
        input: Option<Arc<dyn ExecutionPlan>>,
        partitions: usize,
    ) -> Arc<dyn ExecutionPlan> {
        let mut known = self.0.lock();
        let known = known.entry(node.number).or_default();
        known.copies += 1;
        let gathering = Arc::clone(&known.gathering);
        let copy = known.copies;
        Arc::new(match input {
            Some(input) => {
                let first = !std::mem::replace(&mut known.defined, true);
                SharedExec::new(input, gathering, copy, first)
            }
            None => {
                SharedExec::leaf(Arc::clone(node.schema().inner()), partitions, gathering, copy)
            }
        })
    }
}

/// What one execution of the plan reads, gathered by whoever comes first.
#[derive(Default)]
struct Gathering {
    /// The input of the first copy that has it, as it was made last.
    input: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    rows: OnceLock<Shared<BoxFuture<'static, Gathered>>>,
    /// What executions of a recursive query's step read instead: the latest, and which copies have
    /// it already.
    again: Mutex<Option<(Arc<Gathering>, HashSet<usize>)>>,
}

type Gathered = std::result::Result<Arc<Rows>, Arc<DataFusionError>>;

/// The batches of each partition.
struct Rows {
    partitions: Vec<Vec<RecordBatch>>,
    /// Given back with the rows.
    _charged: Arc<MemoryReservation>,
}

impl Gathering {
    /// What a copy reads in the next step of a recursion: the same for all copies.
    fn next(&self, copy: usize) -> Arc<Self> {
        let mut again = self.again.lock();
        let (next, taken) = again.get_or_insert_with(Default::default);
        if !taken.insert(copy) {
            *next = Arc::default();
            taken.clear();
            taken.insert(copy);
        }
        Arc::clone(next)
    }
}

async fn gather(input: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Gathered {
    let charged = MemoryConsumer::new("rows read more than once").register(context.memory_pool());
    let charged = Arc::new(charged);
    let count = input.output_partitioning().partition_count();
    let mut tasks = JoinSet::new();
    for partition in 0..count {
        let mut stream = input.execute(partition, Arc::clone(&context)).map_err(Arc::new)?;
        let charged = Arc::clone(&charged);
        tasks.spawn(async move {
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                charged.try_grow(get_record_batch_memory_size(&batch))?;
                batches.push(batch);
            }
            Ok::<_, DataFusionError>((partition, batches))
        });
    }
    let mut partitions = vec![Vec::new(); count];
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(|e| Arc::new(DataFusionError::External(Box::new(e))))?;
        let (partition, batches) = done.map_err(Arc::new)?;
        partitions[partition] = batches;
    }
    Ok(Arc::new(Rows { partitions, _charged: charged }))
}

/// Executes a [`SharedNode`].
struct SharedExec {
    /// `None` for a leaf.
    input: Option<Arc<dyn ExecutionPlan>>,
    schema: SchemaRef,
    gathering: Arc<Gathering>,
    /// The number of this copy.
    copy: usize,
    /// Whether what this copy's input becomes is what all read.
    first: bool,
    /// Whether the input is not this copy's own: DataFusion gives a step of a recursion what the step
    /// before made in one place only, which is below the first copy.
    follows: bool,
    properties: Arc<PlanProperties>,
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(schema)),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

impl SharedExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        gathering: Arc<Gathering>,
        copy: usize,
        first: bool,
    ) -> Self {
        let schema = input.schema();
        let properties = properties(&schema, input.output_partitioning().partition_count());
        let follows = !first && reads_work_table(&input);
        if first {
            *gathering.input.lock() = Some(Arc::clone(&input));
        }
        Self { input: Some(input), schema, gathering, copy, first, follows, properties }
    }

    fn leaf(schema: SchemaRef, partitions: usize, gathering: Arc<Gathering>, copy: usize) -> Self {
        let properties = properties(&schema, partitions.max(1));
        Self { input: None, schema, gathering, copy, first: false, follows: true, properties }
    }

    /// What is gathered.
    fn source(&self) -> Option<Arc<dyn ExecutionPlan>> {
        let first = self.follows.then(|| self.gathering.input.lock().clone()).flatten();
        first.or_else(|| self.input.clone())
    }
}

impl fmt::Debug for SharedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedExec").field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for SharedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedExec")
    }
}

impl ExecutionPlan for SharedExec {
    fn name(&self) -> &str {
        "SharedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        match &self.input {
            Some(input) if !self.follows => vec![input],
            _ => Vec::new(),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.follows {
            return Ok(self);
        }
        let gathering = Arc::clone(&self.gathering);
        Ok(Arc::new(Self::new(children.swap_remove(0), gathering, self.copy, self.first)))
    }

    /// For the next step of a recursion: other rows if they depend on the step before.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        if !self.source().is_some_and(|source| reads_work_table(&source)) {
            return Ok(self);
        }
        let next = self.gathering.next(self.copy);
        Ok(Arc::new(match &self.input {
            Some(input) => Self::new(Arc::clone(input), next, self.copy, self.first),
            None => {
                let partitions = self.properties.partitioning.partition_count();
                Self::leaf(Arc::clone(&self.schema), partitions, next, self.copy)
            }
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(input) = self.source() else {
            return internal_err!("shared rows without what they are made of");
        };
        let begin = || gather(input, context).boxed().shared();
        let rows = self.gathering.rows.get_or_init(begin).clone();
        let schema = self.schema();
        // Another copy's plan may have more partitions than this one's.
        let count = self.properties.partitioning.partition_count();
        let shown = Arc::clone(&schema);
        let batches = async move {
            let rows = rows.await.map_err(DataFusionError::Shared)?;
            let own = (partition..rows.partitions.len()).step_by(count);
            let batches: Vec<RecordBatch> =
                own.flat_map(|index| rows.partitions[index].iter().cloned()).collect();
            // The rows stay charged for as long as somebody reads them.
            let batches = batches.into_iter().map(move |batch| {
                let _charged = &rows;
                with_schema(&batch, &shown)
            });
            Ok::<_, DataFusionError>(futures::stream::iter(batches))
        };
        let stream = futures::stream::once(batches).try_flatten();
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition); self.children().len()]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        // How many rows, and nothing of their columns: DataFusion takes a column for constant whose
        // bounds and filters leave one value, and leaves it out of sorts; later it looks again, at
        // bounds that have become others.
        let mut known = Statistics::new_unknown(&self.schema());
        if let Some(input) = inputs.first() {
            known.num_rows = input.num_rows;
            return Ok(Arc::new(known));
        }
        if let (Some(source), None) = (self.source(), args.partition()) {
            let source =
                StatisticsContext::new().compute(source.as_ref(), &StatisticsArgs::new())?;
            known.num_rows = source.num_rows;
        }
        Ok(Arc::new(known))
    }
}

/// Copies may differ in what they know of NULLs.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Whether a plan reads the rows of the step before of a recursion around it.
fn reads_work_table(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<WorkTableExec>().is_some()
        || plan.children().into_iter().any(reads_work_table)
}
