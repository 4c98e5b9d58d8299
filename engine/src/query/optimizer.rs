//! DataFusion's rules for logical plans, with those put right that change what a query means.

use std::sync::Arc;

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan},
    optimizer::{
        ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule, push_down_filter::PushDownFilter,
    },
};

use super::shared_rows::as_shared;

/// The rules, in DataFusion's order.
#[must_use]
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let replaced = |rule: Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        "push_down_filter" => Arc::new(PushDown(PushDownFilter::new())),
        _ => rule,
    };
    Optimizer::new().rules.into_iter().map(replaced).collect()
}

/// [`PushDownFilter`] that leaves filters above aggregates that have a row for no input, and above
/// [shared rows](super::shared_rows), which others read, too.
///
/// The rule moves a condition below an aggregate if all its columns are grouped by. A condition
/// without columns, such as the `false` that the rule itself makes of `x = 2 AND x = 0`, goes below
/// an aggregate without GROUP BY then, which has its row all the same. Below a node that it does not
/// know it moves whatever has no column of it.
#[derive(Debug)]
struct PushDown(PushDownFilter);

impl OptimizerRule for PushDown {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if stays(&plan) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Whether a plan filters the rows of an aggregate without GROUP BY or of grouping sets, or rows that
/// are shared.
fn stays(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match filter.input.as_ref() {
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty()
                || aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_)))
        }
        below => as_shared(below).is_some() || stays(below),
    }
}
