//! Rows in the order in which PostgreSQL gives them, where the query says none.
//!
//! DataFusion deals rows out to threads and collects them as they come. Where nothing is gained by
//! that, or where people count on an order, [`AsTheyCome`] keeps it:
//!
//! - the inputs of a UNION ALL that is read as it is, by the client or by an aggregate that gathers
//!   rows, come one after the other ([`AppendExec`]);
//! - rows that come from one stream (an ordered subquery, a window, a series, a small table) stay in
//!   one stream where what follows collects them again without an order;
//! - LIMIT takes the first rows as they come, whatever is sorted of them above ([`FirstExec`]).
//!
//! Each input of an [`AppendExec`] still uses all threads.

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{
        Result, Statistics,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr},
    physical_optimizer::{PhysicalOptimizerRule, output_requirements::OutputRequirements},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, Partitioning, PlanProperties,
        aggregates::{AggregateExec, AggregateMode},
        coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec,
        execution_plan::{Boundedness, EmissionType},
        filter::FilterExec,
        limit::{GlobalLimitExec, LocalLimitExec},
        projection::ProjectionExec,
        repartition::RepartitionExec,
        replace_children_if_necessary,
        statistics::{ChildStats, StatisticsArgs},
        stream::RecordBatchStreamAdapter,
        union::UnionExec,
        unnest::UnnestExec,
    },
};
use futures::{StreamExt, TryStreamExt};

use super::series_rows::SeriesExec;

/// The rule: before DataFusion's, and once more after them.
#[derive(Debug)]
pub enum AsTheyCome {
    Before,
    After,
}

impl PhysicalOptimizerRule for AsTheyCome {
    fn name(&self) -> &str {
        "as_they_come"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match self {
            Self::Before => {
                let plan = appended(plan, config)?;
                plan.transform_up(|plan| {
                    if is_limit(&plan) && plan.output_ordering().is_none() {
                        return Ok(Transformed::yes(Arc::new(FirstExec(plan))));
                    }
                    if !gathers_rows(&plan) {
                        return Ok(Transformed::no(plan));
                    }
                    let inputs = plan.children().into_iter().cloned();
                    let inputs = inputs.map(|input| appended(input, config));
                    let inputs = inputs.collect::<Result<Vec<_>>>()?;
                    replace_children_if_necessary(plan, inputs).map(Transformed::yes)
                })
                .data()
            }
            Self::After => plan.transform_up(collected_in_order).data(),
        }
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether an operator gives what it does row by row, in the order of the rows it gets.
fn is_row_wise(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<UnnestExec>().is_some()
        || plan.downcast_ref::<SeriesExec>().is_some()
        || plan.downcast_ref::<CooperativeExec>().is_some()
}

fn is_limit(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<GlobalLimitExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
}

/// Whether an operator is an aggregation some of whose results depend on the order of the rows.
fn gathers_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return false };
    let first = matches!(aggregate.mode(), AggregateMode::Partial)
        || matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned);
    let gathers = |name: &str| matches!(name, "array_agg" | "string_agg");
    first && aggregate.aggr_expr().iter().any(|call| gathers(call.fun().name()))
}

/// The plan, with a union appended whose rows it gives as they come.
fn appended(
    plan: Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        // The ORDER BY of an input stays, as that of a whole plan does.
        let ordered = OutputRequirements::new_add_mode();
        let input = |input: &Arc<dyn ExecutionPlan>| {
            ordered.optimize(appended(Arc::clone(input), config)?, config)
        };
        let inputs = union.inputs().iter().map(input).collect::<Result<Vec<_>>>()?;
        return Ok(Arc::new(AppendExec::new(inputs, union.schema())));
    }
    let [input] = plan.children()[..] else { return Ok(plan) };
    if !is_row_wise(&plan) && !is_limit(&plan) {
        return Ok(plan);
    }
    let input = appended(Arc::clone(input), config)?;
    replace_children_if_necessary(plan, vec![input])
}

/// A plan that does not collect what was dealt out from one stream.
fn collected_in_order(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(FirstExec(limit)) = plan.downcast_ref::<FirstExec>() {
        return Ok(Transformed::yes(Arc::clone(limit)));
    }
    if let Some(collect) = plan.downcast_ref::<CoalescePartitionsExec>() {
        let Some(input) = undealt(collect.input())? else { return Ok(Transformed::no(plan)) };
        return Ok(Transformed::yes(match collect.fetch() {
            Some(fetch) => Arc::new(GlobalLimitExec::new(input, 0, Some(fetch))),
            None => input,
        }));
    }
    if gathers_rows(&plan)
        && let [input] = plan.children()[..]
        && let Some(input) = undealt(input)?
    {
        return replace_children_if_necessary(plan, vec![input]).map(Transformed::yes);
    }
    Ok(Transformed::no(plan))
}

/// A plan that does row by row, by several threads, what one stream gives: by one.
fn undealt(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let [input] = plan.children()[..] else { return Ok(None) };
    if let Some(deal) = plan.downcast_ref::<RepartitionExec>() {
        let in_turn = matches!(deal.partitioning(), Partitioning::RoundRobinBatch(_));
        let one = input.output_partitioning().partition_count() == 1;
        return Ok((in_turn && one).then(|| Arc::clone(input)));
    }
    if !is_row_wise(plan) && plan.downcast_ref::<LocalLimitExec>().is_none() {
        return Ok(None);
    }
    match undealt(input)? {
        Some(input) => replace_children_if_necessary(Arc::clone(plan), vec![input]).map(Some),
        None => Ok(None),
    }
}

/// The rows of inputs one after the other.
#[derive(Debug)]
pub struct AppendExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl AppendExec {
    fn new(inputs: Vec<Arc<dyn ExecutionPlan>>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { inputs, properties: Arc::new(properties) }
    }
}

impl DisplayAs for AppendExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppendExec")
    }
}

impl ExecutionPlan for AppendExec {
    fn name(&self) -> &str {
        "AppendExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.inputs.len()])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { inputs, properties: Arc::clone(&self.properties) }))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let shown = Arc::clone(&schema);
        let inputs = futures::stream::iter(self.inputs.clone());
        let rows = inputs
            .map(move |input| input.execute(0, Arc::clone(&context)))
            .try_flatten()
            .map(move |batch| with_schema(&batch?, &shown));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn child_stats_requests(&self, _: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(None); self.inputs.len()]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = inputs.iter().map(|input| input.num_rows).reduce(|a, b| a.add(&b));
        statistics.num_rows = rows.unwrap_or_default();
        Ok(Arc::new(statistics))
    }
}

/// A limit without an order, as long as plans are optimized. DataFusion moves a sort above a limit
/// below it, so that it would take other rows: the first of all in the order of the sort.
#[derive(Debug)]
struct FirstExec(Arc<dyn ExecutionPlan>);

impl DisplayAs for FirstExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FirstExec")
    }
}

impl ExecutionPlan for FirstExec {
    fn name(&self) -> &str {
        "FirstExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self(inputs.swap_remove(0))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.0.execute(partition, context)
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
}

/// Inputs may know more of NULLs than all of them together do.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
