//! Turns: long computations let others have theirs, and notice that nobody wants them any more.
//!
//! A task gives up its thread, and can be ended, only where it waits. DataFusion makes its leaves
//! wait now and then, but what multiplies rows may compute for hours between two batches of its
//! inputs. [`TakeTurns`] puts a [`TurnExec`] over every leaf and every operator that multiplies
//! rows, which waits once per [`BATCHES_PER_TURN`] batches. A nested loop join may discard all pairs
//! without giving a batch, so that its probe side is cut as well: into pieces that make
//! [`PAIRS_PER_TURN`] pairs with the rows of the other side, with a wait between them.
//!
//! Batches are cut, too, where an operator would make too much of one at a time: a long constant
//! once per row, or [`repeat`](super::functions) of a large number.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::{
        Result, Statistics,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_expr::{PhysicalExpr, ScalarFunctionExpr, expressions::Literal},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        coop::CooperativeExec,
        execution_plan::{CardinalityEffect, SchedulingType},
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        replace_children_if_necessary,
        statistics::{ChildStats, StatisticsArgs},
        unnest::UnnestExec,
    },
    scalar::ScalarValue,
};
use futures::{Stream, StreamExt};

use super::series_rows::SeriesExec;

/// Batches between two waits: about a millisecond of simple work.
const BATCHES_PER_TURN: usize = 16;
/// DataFusion's batches, where nothing makes them smaller.
const BATCH_ROWS: usize = 8192;
/// Pairs that a nested loop join tries between two waits: about ten milliseconds.
const PAIRS_PER_TURN: usize = 1 << 20;

/// What constants and growing functions may make of one batch.
const BATCH_BYTES: usize = 32 << 20;
/// What a call of a growing function is taken to make if nothing tells.
const UNKNOWN_BYTES: usize = 1 << 20;

/// The physical optimizer's last rule.
#[derive(Debug)]
pub struct TakeTurns;

impl PhysicalOptimizerRule for TakeTurns {
    fn name(&self) -> &str {
        "take_turns"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let rows = BATCH_BYTES / bytes_per_row(&plan).max(1);
            let plan = if rows < BATCH_ROWS && !plan.children().is_empty() {
                let cut = |child: &Arc<dyn ExecutionPlan>| {
                    TurnExec::over(Arc::clone(child), Part::Cut(rows.max(1)))
                };
                let children = plan.children().into_iter().map(cut).collect();
                replace_children_if_necessary(plan, children)?
            } else {
                plan
            };
            // DataFusion put it there for the same end, with turns that are too long; and not over
            // every leaf: it takes what repartitions rows for something that waits, and an aggregate
            // below that reads all its input without.
            if let Some(leaf) = plan.downcast_ref::<CooperativeExec>() {
                let leaf = Arc::clone(leaf.input());
                let leaf = match leaf.downcast_ref::<TurnExec>() {
                    Some(_) => leaf,
                    None => TurnExec::over(leaf, Part::Output),
                };
                return Ok(Transformed::yes(leaf));
            }
            let waits = plan.properties().scheduling_type == SchedulingType::Cooperative;
            if plan.children().is_empty() && !waits {
                return Ok(Transformed::yes(TurnExec::over(plan, Part::Output)));
            }
            if plan.downcast_ref::<NestedLoopJoinExec>().is_some()
                && let [build, probe] = plan.children()[..]
            {
                let rows = Arc::<AtomicUsize>::default();
                let build = TurnExec::over(Arc::clone(build), Part::Build(Arc::clone(&rows)));
                let probe = TurnExec::over(Arc::clone(probe), Part::Probe(rows));
                let join = replace_children_if_necessary(plan, vec![build, probe])?;
                return Ok(Transformed::yes(TurnExec::over(join, Part::Output)));
            }
            if multiplies_rows(&plan) {
                return Ok(Transformed::yes(TurnExec::over(plan, Part::Output)));
            }
            Ok(Transformed::no(plan))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What the constants and growing functions of an operator make of each row.
fn bytes_per_row(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let mut bytes = 0_usize;
    // Nothing here errs.
    let _ = plan.apply_expressions(&mut |expr| {
        expr.apply(|expr| {
            bytes = bytes.saturating_add(bytes_of(expr));
            Ok(TreeNodeRecursion::Continue)
        })
    });
    bytes
}

fn bytes_of(expr: &Arc<dyn PhysicalExpr>) -> usize {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return text_of(literal.value()).map_or(0, str::len);
    }
    let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return 0 };
    let literal = |index: usize| {
        call.args().get(index)?.downcast_ref::<Literal>().map(|literal| literal.value())
    };
    let count = || match literal(1) {
        Some(ScalarValue::Int32(Some(count))) => usize::try_from(*count).ok(),
        _ => None,
    };
    match call.fun().name() {
        "repeat" => {
            let text = literal(0).and_then(text_of).map_or(1, str::len);
            count().map_or(UNKNOWN_BYTES, |count| count.saturating_mul(text))
        }
        "lpad" | "rpad" => count().unwrap_or(UNKNOWN_BYTES),
        _ => 0,
    }
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8View(text) | ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) => {
            text.as_deref()
        }
        _ => None,
    }
}

fn multiplies_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<CrossJoinExec>().is_some()
        || plan.downcast_ref::<HashJoinExec>().is_some()
        || plan.downcast_ref::<SortMergeJoinExec>().is_some()
        || plan.downcast_ref::<UnnestExec>().is_some()
        || plan.downcast_ref::<SeriesExec>().is_some()
}

/// Where a [`TurnExec`] stands.
#[derive(Clone, Debug)]
enum Part {
    Output,
    /// The side of a nested loop join that is read first and kept; its rows are counted.
    Build(Arc<AtomicUsize>),
    /// The other side, with the number of rows of the first.
    Probe(Arc<AtomicUsize>),
    /// Below an operator that may take so many rows at a time.
    Cut(usize),
}

/// Gives the batches of its input, and waits between them now and then.
#[derive(Clone, Debug)]
struct TurnExec {
    input: Arc<dyn ExecutionPlan>,
    part: Part,
    properties: Arc<PlanProperties>,
}

impl TurnExec {
    fn over(input: Arc<dyn ExecutionPlan>, part: Part) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::clone(input.properties())
            .with_scheduling_type(SchedulingType::Cooperative);
        Arc::new(Self { input, part, properties: Arc::new(properties) })
    }
}

impl DisplayAs for TurnExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnExec")
    }
}

impl ExecutionPlan for TurnExec {
    fn name(&self) -> &str {
        "TurnExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::over(children.swap_remove(0), self.part.clone()))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::over(children.swap_remove(0), self.part.clone()))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Turns { input, part: self.part.clone(), cut: None, work: 0 }))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct Turns {
    input: SendableRecordBatchStream,
    part: Part,
    /// A batch, and its first row that was not given yet.
    cut: Option<(RecordBatch, usize)>,
    /// Since the last wait, in units of which a turn has [`Part::turn`].
    work: usize,
}

impl Part {
    fn turn(&self) -> usize {
        match self {
            Self::Output | Self::Build(_) | Self::Cut(_) => BATCHES_PER_TURN,
            Self::Probe(_) => PAIRS_PER_TURN,
        }
    }
}

impl Turns {
    /// The next piece of the batch that is being cut.
    fn piece(&mut self) -> Option<RecordBatch> {
        let (batch, from) = self.cut.as_mut()?;
        let left = batch.num_rows() - *from;
        let (rows, work) = match &self.part {
            Part::Probe(others) => {
                let others = others.load(Relaxed).max(1);
                let rows = (PAIRS_PER_TURN / others).max(1).min(left);
                (rows, rows.saturating_mul(others))
            }
            Part::Cut(rows) => (left.min(*rows), 1),
            Part::Output | Part::Build(_) => (left, 1),
        };
        let piece = batch.slice(*from, rows);
        *from += rows;
        self.work += work;
        if *from == batch.num_rows() {
            self.cut = None;
        }
        Some(piece)
    }
}

impl Stream for Turns {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.work >= self.part.turn() {
            self.work = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(piece) = self.piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let next = ready!(self.input.poll_next_unpin(cx));
        if let Some(Ok(batch)) = &next {
            match &self.part {
                Part::Output => self.work += 1,
                Part::Build(rows) => {
                    rows.fetch_add(batch.num_rows(), Relaxed);
                    self.work += 1;
                }
                Part::Probe(_) | Part::Cut(_) if batch.num_rows() > 0 => {
                    self.cut = Some((batch.clone(), 0));
                    return Poll::Ready(self.piece().map(Ok));
                }
                Part::Probe(_) | Part::Cut(_) => {}
            }
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for Turns {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
