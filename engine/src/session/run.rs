//! Running logical plans.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::Schema,
};
use datafusion::{
    common::DFSchema,
    execution::{SendableRecordBatchStream, SessionState},
    logical_expr::{LogicalPlan, physical_planning_context::PhysicalPlanningContext},
    physical_expr::create_physical_expr,
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, execute_stream, placeholder_row::PlaceholderRowExec,
    },
    scalar::ScalarValue,
};
use futures::{Stream, StreamExt};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    api::{ParamValue, RowStream},
    context::ExecutionContext,
    point,
};
use crate::{
    error::SqlError,
    query::{errors::sql_error, planner::PlannedExpr, scan::TableScanExec},
};

/// Plans that read more rows than this run on the runtime for queries.
const SMALL_ROWS: usize = 20_000;
/// Batches that wait for a client that is slower than its query.
const BATCHES_WAITING: usize = 2;

/// Rows of a plan: at hand, or to be computed.
pub(super) enum Rows {
    Ready(RecordBatch),
    Stream(SendableRecordBatchStream, Box<Guarded>),
}

/// What a stream keeps alive.
pub(super) struct Guarded {
    plan: Arc<dyn ExecutionPlan>,
}

/// `plan` with its parameters filled in.
pub(super) fn bind(plan: &LogicalPlan, params: &[ParamValue]) -> Result<LogicalPlan, SqlError> {
    if params.is_empty() {
        return Ok(plan.clone());
    }
    plan.clone().with_param_values(params.to_vec()).map_err(sql_error)
}

/// Starts a plan whose parameters are filled in.
pub(super) async fn start(context: &ExecutionContext, plan: LogicalPlan) -> Result<Rows, SqlError> {
    if let Some(batch) = point::evaluate(&context.view, &plan, &context.execution_props())? {
        return Ok(Rows::Ready(batch));
    }
    start_operators(context.session_state(), &plan).await
}

/// The same in one thread: rows come in the order they are stored.
pub(super) async fn start_in_order(
    context: &ExecutionContext,
    plan: LogicalPlan,
) -> Result<Rows, SqlError> {
    let mut state = context.session_state();
    state.config_mut().options_mut().execution.target_partitions = 1;
    start_operators(state, &plan).await
}

async fn start_operators(state: SessionState, plan: &LogicalPlan) -> Result<Rows, SqlError> {
    let physical = state.create_physical_plan(plan).await.map_err(sql_error)?;
    let stream = execute_stream(Arc::clone(&physical), state.task_ctx()).map_err(sql_error)?;
    Ok(Rows::Stream(stream, Box::new(Guarded { plan: physical })))
}

impl Rows {
    /// As a stream for the client; an error sets `failed`.
    pub(super) fn into_stream(
        self,
        context: &ExecutionContext,
        failed: &Arc<AtomicBool>,
    ) -> RowStream {
        let view = Arc::clone(&context.view);
        let inner: RowStream = match self {
            Self::Ready(batch) => {
                return Box::pin(futures::stream::iter([Ok(batch)]));
            }
            Self::Stream(stream, guarded) if rows_handled(&guarded.plan) <= SMALL_ROWS => {
                Box::pin(stream.map(|batch| batch.map_err(sql_error)))
            }
            Self::Stream(stream, _) => apart(context, stream),
        };
        let failed = Arc::clone(failed);
        Box::pin(inner.inspect(move |batch| {
            // The snapshot stays registered as long as its rows are read.
            let _ = &view;
            if batch.is_err() {
                failed.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }))
    }

    /// The next batch.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        match self {
            Self::Ready(batch) => {
                let rows = batch.num_rows();
                let ready = std::mem::replace(batch, batch.slice(0, 0));
                Ok((rows > 0).then_some(ready))
            }
            Self::Stream(stream, _) => stream.next().await.transpose().map_err(sql_error),
        }
    }
}

/// An upper bound of the rows that a plan handles; `usize::MAX` where nobody knows.
///
/// What has several inputs may pair every row of one with every row of the others.
fn rows_handled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    if let Some(scan) = plan.downcast_ref::<TableScanExec>() {
        return scan.rows_held();
    }
    let children = plan.children();
    if !children.is_empty() {
        let rows = children.into_iter().map(|child| rows_handled(child).max(1));
        return rows.fold(1, usize::saturating_mul);
    }
    let is_constant = plan.downcast_ref::<PlaceholderRowExec>().is_some()
        || plan.downcast_ref::<EmptyExec>().is_some();
    if is_constant { 1 } else { usize::MAX }
}

/// Runs the stream on the runtime for queries.
fn apart(context: &ExecutionContext, mut stream: SendableRecordBatchStream) -> RowStream {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
    let task = context.engine.query_runtime().spawn(async move {
        while let Some(batch) = stream.next().await {
            // Nobody listens any more: the query was given up.
            if sender.send(batch.map_err(sql_error)).await.is_err() {
                return;
            }
        }
    });
    let watch = task.abort_handle();
    Box::pin(Apart { receiver, task: Some(task), abort: watch })
}

struct Apart {
    receiver: mpsc::Receiver<Result<RecordBatch, SqlError>>,
    task: Option<tokio::task::JoinHandle<()>>,
    abort: AbortHandle,
}

impl Stream for Apart {
    type Item = Result<RecordBatch, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.receiver.poll_recv(cx) {
            Poll::Ready(None) => {}
            other => return other,
        }
        // The task has ended: well, or by a panic, which is an error of this query alone.
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = match futures::FutureExt::poll_unpin(task, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(ended) => ended,
        };
        self.task = None;
        Poll::Ready(
            ended.err().map(|error| Err(SqlError::internal(format!("query ended: {error}")))),
        )
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.abort.abort();
    }
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
