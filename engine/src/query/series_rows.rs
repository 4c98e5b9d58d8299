//! `generate_series` over integers in FROM: every row of an input beside each number of its series,
//! made as they are read. A list of the numbers would have to be there as a whole.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, UInt32Array},
    compute::take_arrays,
    datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DFSchema, DFSchemaRef, Result, TableReference, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{
        RecordBatchStream, SendableRecordBatchStream, SessionState, TaskContext,
        context::QueryPlanner,
    },
    logical_expr::{
        Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr, expressions::Literal},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
        PlanProperties, apply_expression_roots,
        execution_plan::{Boundedness, EmissionType},
    },
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
    scalar::ScalarValue,
};
use futures::{Stream, StreamExt};

use super::{
    errors::external,
    functions::series::zero_step,
    shared_rows::{Copies, SharedNode, defined},
};

/// The input's rows beside the numbers from the first bound to the second by the third.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SeriesNode {
    input: LogicalPlan,
    /// Start, stop, step, of the type of the numbers.
    bounds: Vec<Expr>,
    schema: DFSchemaRef,
}

/// `input` beside the series as column `qualifier`.`field`. The bounds are of the field's type.
///
/// # Errors
/// A column of that name is there already.
pub(super) fn beside(
    input: LogicalPlan,
    bounds: Vec<Expr>,
    qualifier: &TableReference,
    field: Field,
) -> Result<LogicalPlan> {
    let mut fields: Vec<_> = input
        .schema()
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
        .collect();
    fields.push((Some(qualifier.clone()), Arc::new(field)));
    let metadata = input.schema().metadata().clone();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
    let node = Arc::new(SeriesNode { input, bounds, schema });
    Ok(LogicalPlan::Extension(Extension { node }))
}

impl Hash for SeriesNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.bounds.hash(state);
    }
}

impl PartialOrd for SeriesNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.bounds
            .partial_cmp(&other.bounds)
            .filter(|ordering| *ordering != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for SeriesNode {
    fn name(&self) -> &str {
        "Series"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.bounds.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series: {}, {}, {}", self.bounds[0], self.bounds[1], self.bounds[2])
    }

    fn with_exprs_and_inputs(
        &self,
        bounds: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let input = inputs.swap_remove(0);
        let fields = input.schema().iter().chain(self.schema.iter().last());
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), metadata)?);
        Ok(Self { input, bounds, schema })
    }
}

/// DataFusion's planner, with the nodes of this crate.
#[derive(Debug)]
pub struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let optimize = |plan: &LogicalPlan| match session.as_any().downcast_ref::<SessionState>() {
            Some(state) => state.optimize(plan),
            None => Ok(plan.clone()),
        };
        let plan = defined(plan.clone(), &optimize)?;
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(NodePlanner::default())])
            .create_physical_plan(&plan, session)
            .await
    }
}

/// Plans the nodes of one plan.
#[derive(Default)]
struct NodePlanner {
    copies: Copies,
}

#[async_trait]
impl ExtensionPlanner for NodePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(node) = node.as_any().downcast_ref::<SharedNode>() {
            let partitions = session.config().target_partitions();
            return Ok(Some(self.copies.plan(node, inputs.first().cloned(), partitions)));
        }
        let Some(node) = node.as_any().downcast_ref::<SeriesNode>() else { return Ok(None) };
        let schema = node.input.schema();
        let bounds = node
            .bounds
            .iter()
            .map(|bound| planner.create_physical_expr(bound, schema, session, context))
            .collect::<Result<Vec<_>>>()?;
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(SeriesExec::new(Arc::clone(&inputs[0]), bounds, schema))))
    }
}

/// Executes a [`SeriesNode`].
#[derive(Debug)]
pub struct SeriesExec {
    input: Arc<dyn ExecutionPlan>,
    bounds: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SeriesExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        bounds: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, bounds, schema, properties: Arc::new(properties) }
    }

    /// How many numbers stand beside each row; `None` if that depends on the row.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        let number = |index: usize| match self.bounds[index].downcast_ref::<Literal>()?.value() {
            ScalarValue::Int32(number) => number.map(i64::from),
            ScalarValue::Int64(number) => *number,
            _ => None,
        };
        let numbers = Numbers::new(number(0)?, number(1)?, number(2)?)?;
        usize::try_from(numbers.left()).ok()
    }
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [start, stop, step] = &self.bounds[..] else { return f.write_str("SeriesExec") };
        write!(f, "SeriesExec: start={start}, stop={stop}, step={step}")
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &str {
        "SeriesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(&self.bounds, f)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        Ok(Arc::new(Self::new(input, self.bounds.clone(), Arc::clone(&self.schema))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        Ok(Box::pin(SeriesStream {
            input: self.input.execute(partition, context)?,
            bounds: self.bounds.clone(),
            schema: Arc::clone(&self.schema),
            batch_rows,
            current: None,
        }))
    }
}

/// The rest of a series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Numbers {
    next: i128,
    stop: i128,
    step: i128,
}

impl Numbers {
    /// `None` for a step of zero.
    fn new(start: i64, stop: i64, step: i64) -> Option<Self> {
        let (next, stop, step) = (start.into(), stop.into(), step.into());
        (step != 0).then_some(Self { next, stop, step })
    }

    fn left(&self) -> i128 {
        let way = self.stop - self.next;
        // Division rounds to zero, so that a short way in the wrong direction would count as one.
        if way.signum() * self.step.signum() < 0 { 0 } else { way / self.step + 1 }
    }

    /// Moves up to `count` numbers to `out`; how many.
    fn take(&mut self, count: usize, out: &mut Vec<i64>) -> usize {
        let count = usize::try_from(self.left()).map_or(count, |left| left.min(count));
        for _ in 0..count {
            // Within the bounds, which are of this size.
            out.push(self.next as i64);
            self.next += self.step;
        }
        count
    }
}

struct SeriesStream {
    input: SendableRecordBatchStream,
    bounds: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    batch_rows: usize,
    current: Option<Current>,
}

/// A batch of the input under way.
struct Current {
    batch: RecordBatch,
    bounds: Vec<ArrayRef>,
    row: usize,
    /// Of that row, once it was begun.
    numbers: Option<Numbers>,
}

impl Current {
    fn new(batch: RecordBatch, bounds: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let rows = batch.num_rows();
        let bounds = bounds
            .iter()
            .map(|bound| bound.evaluate(&batch)?.into_array(rows))
            .collect::<Result<_>>()?;
        Ok(Self { batch, bounds, row: 0, numbers: None })
    }

    /// The series of the row at hand; of none if a bound is NULL.
    fn numbers(&self) -> Result<Option<Numbers>> {
        if self.bounds.iter().any(|bound| bound.is_null(self.row)) {
            return Ok(None);
        }
        let number = |index: usize| {
            let bound = &self.bounds[index];
            match bound.data_type() {
                DataType::Int32 => Ok(i64::from(bound.as_primitive::<Int32Type>().value(self.row))),
                DataType::Int64 => Ok(bound.as_primitive::<Int64Type>().value(self.row)),
                other => Err(DataFusionError::Internal(format!("a series of {other}"))),
            }
        };
        match Numbers::new(number(0)?, number(1)?, number(2)?) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(external(zero_step())),
        }
    }

    /// Up to `limit` rows; fewer when the batch has come to its end.
    fn next(&mut self, limit: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        while numbers.len() < limit && self.row < self.batch.num_rows() {
            let mut series = match self.numbers.take() {
                Some(series) => Some(series),
                None => self.numbers()?,
            };
            if let Some(series) = &mut series {
                let taken = series.take(limit - numbers.len(), &mut numbers);
                rows.extend(std::iter::repeat_n(self.row as u32, taken));
            }
            match series {
                Some(series) if series.left() > 0 => self.numbers = Some(series),
                _ => self.row += 1,
            }
        }
        let mut columns = take_arrays(self.batch.columns(), &UInt32Array::from(rows), None)?;
        let narrow = schema.fields().last().is_some_and(|f| *f.data_type() == DataType::Int32);
        columns.push(if narrow {
            Arc::new(numbers.iter().map(|n| Some(*n as i32)).collect::<Int32Array>())
        } else {
            Arc::new(Int64Array::from(numbers))
        });
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

impl Stream for SeriesStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let (limit, schema) = (self.batch_rows, Arc::clone(&self.schema));
            if let Some(current) = &mut self.current {
                let next = current.next(limit, &schema);
                if current.row == current.batch.num_rows() {
                    self.current = None;
                }
                match next {
                    Ok(batch) if batch.num_rows() == 0 => continue,
                    next => return Poll::Ready(Some(next)),
                }
            }
            match ready!(self.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) => match Current::new(batch, &self.bounds) {
                    Ok(current) => self.current = Some(current),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                ended => return Poll::Ready(ended),
            }
        }
    }
}

impl RecordBatchStream for SeriesStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(start: i64, stop: i64, step: i64) -> Vec<i64> {
        let mut numbers = Numbers::new(start, stop, step).expect("a step");
        let mut out = Vec::new();
        while numbers.take(3, &mut out) > 0 {}
        out
    }

    #[test]
    fn series_end_at_their_bounds() {
        assert_eq!(all(1, 7, 2), [1, 3, 5, 7]);
        assert_eq!(all(1, 8, 2), [1, 3, 5, 7]);
        assert_eq!(all(3, 1, -1), [3, 2, 1]);
        assert_eq!(all(1, 1, 5), [1]);
        assert!(all(2, 1, 1).is_empty());
        assert!(all(2, 1, 7).is_empty());
        assert!(all(1, 2, -7).is_empty());
        assert_eq!(all(i64::MAX - 1, i64::MAX, 1), [i64::MAX - 1, i64::MAX]);
        assert_eq!(Numbers::new(i64::MIN, i64::MAX, 1).expect("a step").left(), 1 << 64);
        assert!(Numbers::new(1, 2, 0).is_none());
    }
}
