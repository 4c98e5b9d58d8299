//! Running logical plans: here or [apart](super::apart).

use std::sync::{Arc, atomic::AtomicBool};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::Schema,
};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    execution::SendableRecordBatchStream,
    logical_expr::{Expr, LogicalPlan, physical_planning_context::PhysicalPlanningContext},
    physical_expr::{PhysicalExpr, ScalarFunctionExpr, create_physical_expr},
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, execute_stream, placeholder_row::PlaceholderRowExec,
        unnest::UnnestExec,
    },
    scalar::ScalarValue,
};
use futures::StreamExt;

use super::{
    apart::{apart, apart_stream},
    api::{ParamValue, RowStream},
    context::ExecutionContext,
    errors::storage_error,
    point::{self, Path, PointError, PointPlan},
};
use crate::{
    error::SqlError,
    query::{
        append::AppendExec,
        errors::sql_error,
        functions::{calls_costly, is_costly},
        planner::{self, PlannedExpr},
        scan::{StoredTable, TableScanExec},
        series_rows::SeriesExec,
    },
};

/// Plans that handle more rows than this run on the runtime for queries.
pub(super) const ROWS_HERE_MAX: usize = 20_000;
/// A row that is longer counts as several.
const ROW_BYTES: usize = 256;
/// Plans with more operators than this are optimized on the runtime for queries.
const OPERATORS_HERE_MAX: usize = 100;

/// Rows of a plan: at hand, or to be computed.
pub(super) enum Rows {
    Ready(RecordBatch),
    Stream(SendableRecordBatchStream),
}

/// `plan` with its parameters and `now()` filled in.
pub(super) fn bind(
    context: &ExecutionContext,
    plan: &LogicalPlan,
    params: &[ParamValue],
) -> Result<LogicalPlan, SqlError> {
    if params.is_empty() && !holds_now(plan).map_err(sql_error)? {
        return Ok(plan.clone());
    }
    let named = params.iter().enumerate();
    let mut named: Vec<_> =
        named.map(|(index, value)| ((index + 1).to_string(), value.clone())).collect();
    named.push((planner::NOW[1..].to_owned(), context.now()));
    plan.clone().with_param_values(named).map_err(sql_error)
}

fn holds_now(plan: &LogicalPlan) -> datafusion::common::Result<bool> {
    let is_now =
        |expr: &Expr| Ok(matches!(expr, Expr::Placeholder(param) if param.id == planner::NOW));
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            found = found || expr.exists(is_now)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// The rows of a plan with its parameters, if they can be had at once. Never leaves the thread if what
/// it reads is in memory.
pub(super) async fn at_once(
    context: &ExecutionContext,
    point: Option<&PointPlan>,
    params: &[ParamValue],
) -> Result<Option<RecordBatch>, SqlError> {
    let Some(point) = point else { return Ok(None) };
    let now = context.now();
    let mut run = point.start(&context.view, params, &now);
    loop {
        match run.run() {
            Ok(rows) => return Ok(rows),
            Err(PointError::Failed(error)) => return Err(sql_error(error)),
            Err(PointError::Cold(cold)) => {
                let view = Arc::clone(&context.view);
                // Decoding computes.
                let warm = async move { view.warmed.warm(cold).await.map_err(storage_error) };
                apart(&context.engine, warm).await?;
            }
        }
    }
}

/// The same for a statement of a client, whose way is counted.
pub(super) async fn statement_at_once(
    context: &ExecutionContext,
    point: Option<&PointPlan>,
    params: &[ParamValue],
) -> Result<Option<RecordBatch>, SqlError> {
    let rows = at_once(context, point, params).await?;
    let path = point.filter(|_| rows.is_some()).map_or(Path::Planned, PointPlan::path);
    context.engine.paths().count(path);
    Ok(rows)
}

/// Starts a plan whose parameters are filled in, on the runtime that this is called on: one that is
/// for queries.
pub(super) async fn start(context: &ExecutionContext, plan: LogicalPlan) -> Result<Rows, SqlError> {
    let by_key = context.settings.derived().key_access;
    let point = point::compile(&plan, &context.execution_props(), by_key);
    if let Some(batch) = at_once(context, point.as_ref(), &[]).await? {
        return Ok(Rows::Ready(batch));
    }
    let state = context.session_state();
    let physical = state.create_physical_plan(&plan).await.map_err(sql_error)?;
    execute_stream(physical, state.task_ctx()).map(Rows::Stream).map_err(sql_error)
}

/// The same in one thread: rows come in the order they are stored.
pub(super) async fn start_in_order(
    context: &ExecutionContext,
    plan: LogicalPlan,
) -> Result<Rows, SqlError> {
    let mut state = context.session_state();
    state.config_mut().options_mut().execution.target_partitions = 1;
    let physical = state.create_physical_plan(&plan).await.map_err(sql_error)?;
    execute_stream(physical, state.task_ctx()).map(Rows::Stream).map_err(sql_error)
}

/// The rows of a query that are not to be had [`at_once`], for its session: computed as they are read
/// if they are few, else apart. An error sets `failed`.
pub(super) async fn query(
    context: &ExecutionContext,
    plan: LogicalPlan,
    failed: &Arc<AtomicBool>,
) -> Result<RowStream, SqlError> {
    let mut state = context.session_state();
    let physical = if is_planned_here(context, &plan) {
        if rows_paired(context, &plan) <= ROWS_HERE_MAX {
            // Threads of its own would cost more than they do.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        state.create_physical_plan(&plan).await.map_err(sql_error)?
    } else {
        let state = state.clone();
        let planning = async move { state.create_physical_plan(&plan).await.map_err(sql_error) };
        apart(&context.engine, planning).await?
    };
    let is_little = rows_handled(&physical) <= ROWS_HERE_MAX;
    let open = {
        let tasks = state.task_ctx();
        move || {
            let rows = execute_stream(physical, tasks).map_err(sql_error)?;
            Ok(rows.map(|batch| batch.map_err(sql_error)))
        }
    };
    let rows: RowStream = if is_little {
        Box::pin(open()?)
    } else {
        // What operators spawn when they are opened goes to the runtime they are opened on.
        Box::pin(apart_stream(&context.engine, open))
    };
    Ok(watched(context, rows, failed))
}

/// `rows` with its snapshot registered as long as they are read; an error sets `failed`.
pub(super) fn watched(
    context: &ExecutionContext,
    rows: RowStream,
    failed: &Arc<AtomicBool>,
) -> RowStream {
    let view = Arc::clone(&context.view);
    let failed = Arc::clone(failed);
    Box::pin(rows.inspect(move |batch| {
        let _ = &view;
        if batch.is_err() {
            failed.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }))
}

impl Rows {
    /// As a stream, on the runtime that the plan was started on.
    pub(super) fn into_stream(self) -> RowStream {
        match self {
            Self::Ready(batch) => Box::pin(futures::stream::iter([Ok(batch)])),
            Self::Stream(stream) => Box::pin(stream.map(|batch| batch.map_err(sql_error))),
        }
    }

    /// The next batch. Others have their turn before it.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        match self {
            Self::Ready(batch) => {
                let rows = batch.num_rows();
                let ready = std::mem::replace(batch, batch.slice(0, 0));
                Ok((rows > 0).then_some(ready))
            }
            Self::Stream(stream) => {
                tokio::task::yield_now().await;
                stream.next().await.transpose().map_err(sql_error)
            }
        }
    }
}

/// Whether optimizing `plan` is little work: few operators (a WITH query stands in the plan as often
/// as it is named), no function that might be computed now and be much, and no rows of the
/// transaction to be sorted out.
fn is_planned_here(context: &ExecutionContext, plan: &LogicalPlan) -> bool {
    if context.view.own.is_some() {
        return false;
    }
    let mut operators = 0;
    let mut is_little = true;
    let walked = plan.apply_with_subqueries(|operator| {
        operators += 1;
        is_little &=
            operators <= OPERATORS_HERE_MAX && !operator.expressions().iter().any(calls_costly);
        Ok(if is_little { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && is_little
}

/// The same of a logical plan: of rows of tables paired each with each. More where nobody knows.
fn rows_paired(context: &ExecutionContext, plan: &LogicalPlan) -> usize {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = source_as_provider(&scan.source).ok();
            let table = table.as_ref().and_then(|table| table.downcast_ref::<StoredTable>());
            let Some(table) = table else { return usize::MAX };
            let rows = context.view.database.table(table.id).map_or(0, |t| t.row_count_estimate());
            usize::try_from(rows).unwrap_or(usize::MAX).max(1)
        }
        LogicalPlan::Values(values) => values.values.len(),
        LogicalPlan::EmptyRelation(_) => 1,
        LogicalPlan::Unnest(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Extension(_) => {
            usize::MAX
        }
        LogicalPlan::Union(union) => {
            let rows = union.inputs.iter().map(|input| rows_paired(context, input));
            rows.fold(0, usize::saturating_add)
        }
        // Who knows what its subqueries read?
        other if other.expressions().iter().any(has_subquery) => usize::MAX,
        other => {
            let rows = other.inputs().into_iter().map(|input| rows_paired(context, input));
            rows.fold(1, usize::saturating_mul)
        }
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let subquery =
        |e: &Expr| matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    expr.exists(|e| Ok(subquery(e))).unwrap_or(true)
}

/// An upper bound of the rows that a plan handles; `usize::MAX` where nobody knows.
///
/// What has several inputs may pair every row of one with every row of the others.
fn rows_handled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    if let Some(scan) = plan.downcast_ref::<TableScanExec>() {
        // Long rows are as much work as many.
        let rows = scan.rows_held();
        return if rows > ROWS_HERE_MAX { rows } else { rows.max(scan.bytes_held() / ROW_BYTES) };
    }
    let children = plan.children();
    let is_constant = plan.downcast_ref::<PlaceholderRowExec>().is_some()
        || plan.downcast_ref::<EmptyExec>().is_some();
    if is_constant {
        return 1;
    }
    if children.is_empty() || plan.downcast_ref::<UnnestExec>().is_some() || computes_much(plan) {
        return usize::MAX;
    }
    if plan.downcast_ref::<AppendExec>().is_some() {
        return children.into_iter().map(rows_handled).fold(1, usize::saturating_add);
    }
    if let Some(series) = plan.downcast_ref::<SeriesExec>() {
        let length = series.length().unwrap_or(usize::MAX);
        return rows_handled(children[0]).max(1).saturating_mul(length.max(1));
    }
    let rows = children.into_iter().map(|child| rows_handled(child).max(1));
    rows.fold(1, usize::saturating_mul)
}

/// Whether an operator calls functions whose work the number of rows does not bound.
fn computes_much(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut much = false;
    let walked = plan.apply_expressions(&mut |expr| {
        much |= is_costly_call(expr);
        Ok(if much { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    much || walked.is_err()
}

fn is_costly_call(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|expr| {
        Ok(expr
            .downcast_ref::<ScalarFunctionExpr>()
            .is_some_and(|call| is_costly(call.fun().name())))
    })
    .unwrap_or(true)
}

/// The value of an expression without columns.
pub(super) fn constant(
    context: &ExecutionContext,
    planned: &PlannedExpr,
) -> Result<ScalarValue, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let evaluate = || {
        let nothing =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let physical = create_physical_expr(
            &planned.expr,
            &DFSchema::empty(),
            &context.execution_props(),
            &PhysicalPlanningContext::default(),
        )?;
        let array = physical.evaluate(&nothing)?.into_array(1)?;
        ScalarValue::try_from_array(&array, 0)
    };
    evaluate().map_err(sql_error)
}
