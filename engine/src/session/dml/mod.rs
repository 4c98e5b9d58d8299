//! INSERT, UPDATE, DELETE: the rows of a planned query say what to do, this does it.
//!
//! UPDATE and DELETE read to the end before they write, so that they never see what they did; or write as
//! they read, where they look at a snapshot and nothing else.
//! INSERT writes as it reads: its scans looked at the transaction's own rows when they were planned.

mod constraints;
mod sink;

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::{Schema, UInt32Type, UInt64Type},
};
use datafusion::{
    execution::memory_pool::{MemoryConsumer, MemoryReservation},
    logical_expr::LogicalPlan,
};
use glaredb_txn::ids::{Locator, RowId, SegmentId};

pub(super) use self::{constraints::show_key, sink::TableSink};
use super::{
    api::Execution,
    context::{ExecutionContext, stored_table},
    run,
    transaction::Transaction,
};
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        planner::{DmlVerb, PlannedChange, PlannedDml},
    },
    storage::write_set::OWN_ROWS,
};

/// What a DML statement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    pub(super) fn of(verb: DmlVerb) -> Self {
        match verb {
            DmlVerb::Insert => Self::Insert,
            DmlVerb::Update => Self::Update,
            DmlVerb::Delete => Self::Delete,
        }
    }

    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn tag(self, rows: u64) -> String {
        match self {
            Self::Insert => format!("INSERT 0 {rows}"),
            Self::Update => format!("UPDATE {rows}"),
            Self::Delete => format!("DELETE {rows}"),
        }
    }
}

/// Executes a statement whose few rows are at hand.
pub(super) async fn execute_rows(
    context: &ExecutionContext,
    operation: Operation,
    planned: &PlannedDml,
    rows: RecordBatch,
) -> Result<Execution, SqlError> {
    let mut change = Change::new(context, operation, planned)?;
    change.count = rows.num_rows() as u64;
    match operation {
        Operation::Insert => change.insert(&rows).await?,
        Operation::Update | Operation::Delete => {
            change.delete(&rows)?;
            change.replace(&rows).await?;
        }
    }
    Ok(change.finish())
}

/// Executes a statement in its transaction. `plan`: that of `planned`, its parameters filled in.
/// To be called on the runtime for queries.
pub(super) async fn execute(
    context: &ExecutionContext,
    operation: Operation,
    planned: &PlannedDml,
    plan: LogicalPlan,
) -> Result<Execution, SqlError> {
    let rows = run::start(context, plan).await?;
    let change = change(context, operation, planned, rows, true).await?;
    Ok(change.finish())
}

/// A change of a statement's WITH, its parameters filled in.
pub(super) type ChangeInWith = (PlannedChange, LogicalPlan);

/// Executes a statement whose WITH changes rows. All parts of it see what was there before.
pub(super) async fn execute_with_changes(
    context: &ExecutionContext,
    operation: Operation,
    planned: &PlannedDml,
    plan: LogicalPlan,
    changes: Vec<ChangeInWith>,
) -> Result<Execution, SqlError> {
    let rows = make_changes(context, plan, changes).await?;
    Ok(change(context, operation, planned, rows, false).await?.finish())
}

/// Makes the changes of a statement's WITH; the rows of the statement itself, which does not see them.
pub(super) async fn make_changes(
    context: &ExecutionContext,
    plan: LogicalPlan,
    changes: Vec<ChangeInWith>,
) -> Result<run::Rows, SqlError> {
    // Once it is started a plan knows what it scans.
    let mut started = Vec::with_capacity(changes.len());
    for (planned, plan) in changes {
        started.push((planned, run::start(context, plan).await?));
    }
    let rows = run::start(context, plan).await?;
    for (planned, rows) in started {
        let operation = Operation::of(planned.verb);
        let made = change(context, operation, &planned.dml, rows, false).await?;
        planned.returned.fill(made.returned).map_err(sql_error)?;
    }
    Ok(rows)
}

/// Makes a change. `alone`: the statement makes no other, so its rows may be sent on before its end.
async fn change<'a>(
    context: &ExecutionContext,
    operation: Operation,
    planned: &'a PlannedDml,
    mut rows: run::Rows,
    alone: bool,
) -> Result<Change<'a>, SqlError> {
    let mut change = Change::new(context, operation, planned)?;
    if operation == Operation::Insert {
        while let Some(batch) = rows.next().await? {
            change.count += batch.num_rows() as u64;
            change.insert(&batch).await?;
            if alone && planned.fields.is_none() && context.is_last {
                Transaction::stream_parts(&context.transaction).await?;
            }
        }
    } else if alone && is_streamed(context, planned, &change) {
        while let Some(batch) = rows.next().await? {
            change.count += batch.num_rows() as u64;
            change.delete(&batch)?;
            change.replace(&batch).await?;
            Transaction::stream_changes(&context.transaction).await?;
            tokio::task::yield_now().await;
        }
    } else {
        // The reservation counts the rows until the statement has ended.
        let (mut batches, _reservation) = collect(context, &mut rows, planned).await?;
        if !alone {
            for batch in &mut batches {
                *batch = change.not_deleted(batch)?;
            }
        }
        for batch in &batches {
            change.count += batch.num_rows() as u64;
            change.delete(batch)?;
            tokio::task::yield_now().await;
        }
        for batch in &batches {
            change.replace(batch).await?;
            tokio::task::yield_now().await;
        }
    }
    Ok(change)
}

/// May rows be changed while others are still read? Not where the statement sees what its transaction
/// wrote, returns rows, or gives rows other keys, which others may have until they are changed, too.
fn is_streamed(context: &ExecutionContext, planned: &PlannedDml, change: &Change<'_>) -> bool {
    context.is_last
        && context.view.own.is_none()
        && planned.fields.is_none()
        && !change.sink.is_key_among(&planned.assigned)
}

/// What a statement has done so far.
struct Change<'a> {
    operation: Operation,
    planned: &'a PlannedDml,
    sink: TableSink,
    count: u64,
    returned: Vec<RecordBatch>,
}

impl<'a> Change<'a> {
    fn new(
        context: &ExecutionContext,
        operation: Operation,
        planned: &'a PlannedDml,
    ) -> Result<Self, SqlError> {
        stored_table(&planned.table)?;
        let sink = TableSink::new(context, &planned.table)?;
        Ok(Self { operation, planned, sink, count: 0, returned: Vec::new() })
    }

    async fn insert(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        self.sink.insert(new_rows(self.planned, &self.sink, batch)?, None).await?;
        self.keep_returned(batch)
    }

    fn delete(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let old_key = columns(batch, &self.planned.old_key)?;
        self.sink.delete(&locators(self.planned, batch)?, &old_key)
    }

    /// After all rows that go are deleted: puts the new versions in their places.
    async fn replace(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        if self.operation == Operation::Update {
            replace(self.planned, &mut self.sink, batch).await?;
        }
        self.keep_returned(batch)
    }

    fn keep_returned(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        if self.planned.fields.is_some() {
            self.returned.push(columns(batch, &self.planned.returning)?);
        }
        Ok(())
    }

    /// The rows that the statement has not changed already: of several changes of a row one is made.
    fn not_deleted(&self, batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
        let located = locators(self.planned, batch)?;
        let left: arrow::array::BooleanArray =
            self.sink.are_deleted(&located.locators)?.into_iter().map(|gone| Some(!gone)).collect();
        filter_record_batch(batch, &left).map_err(|error| SqlError::internal(error.to_string()))
    }

    fn finish(self) -> Execution {
        let tag = self.operation.tag(self.count);
        match &self.planned.fields {
            None => Execution::Command { tag },
            Some(fields) => Execution::Rows {
                fields: Arc::clone(fields),
                stream: Box::pin(futures::stream::iter(self.returned.into_iter().map(Ok))),
                tag,
                binary: false,
            },
        }
    }
}

/// All rows, counted against the memory of queries.
async fn collect(
    context: &ExecutionContext,
    rows: &mut run::Rows,
    planned: &PlannedDml,
) -> Result<(Vec<RecordBatch>, MemoryReservation), SqlError> {
    let pool = context.engine.memory_pool();
    let reservation =
        MemoryConsumer::new(format!("changes of {}", planned.table.name)).register(&pool);
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await? {
        reservation.try_grow(batch.get_array_memory_size()).map_err(sql_error)?;
        batches.push(batch);
    }
    Ok((batches, reservation))
}

/// The rows that a batch names.
pub(super) struct Located {
    pub locators: Vec<Locator>,
    pub row_ids: Vec<RowId>,
}

fn locators(planned: &PlannedDml, batch: &RecordBatch) -> Result<Located, SqlError> {
    let wrong = || SqlError::internal("a plan of DML does not name its rows");
    let first = planned.locator.start;
    if planned.locator.len() != 3 {
        return Err(wrong());
    }
    let segments = batch.column(first).as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
    let rows = batch.column(first + 1).as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
    let ids = batch.column(first + 2).as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
    let locators = segments.values().iter().zip(rows.values());
    Ok(Located {
        locators: locators
            .map(|(segment, row)| Locator { segment: SegmentId(*segment), row: *row })
            .collect(),
        row_ids: ids.values().iter().map(|id| RowId(*id)).collect(),
    })
}

/// Inserts the new versions of the rows of `batch`, which keep their ids.
async fn replace(
    planned: &PlannedDml,
    sink: &mut TableSink,
    batch: &RecordBatch,
) -> Result<(), SqlError> {
    let located = locators(planned, batch)?;
    let rows = new_rows(planned, sink, batch)?;
    // Own rows that were never committed have no id to keep.
    let fresh =
        |row: usize| located.locators[row].segment == OWN_ROWS && located.row_ids[row].0 == 0;
    let count = batch.num_rows();
    if !(0..count).any(fresh) {
        return sink.insert(rows, Some(located.row_ids)).await;
    }
    let fresh: arrow::array::BooleanArray = (0..count).map(|row| Some(fresh(row))).collect();
    let kept = arrow::compute::not(&fresh).map_err(|e| SqlError::internal(e.to_string()))?;
    let part = |mask| {
        filter_record_batch(&rows, mask).map_err(|error| SqlError::internal(error.to_string()))
    };
    let ids = (0..count).filter(|row| kept.value(*row)).map(|row| located.row_ids[row]).collect();
    sink.insert(part(&fresh)?, None).await?;
    sink.insert(part(&kept)?, Some(ids)).await
}

/// The new rows of a batch, as the table's.
fn new_rows(
    planned: &PlannedDml,
    sink: &TableSink,
    batch: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    sink.rows(batch.columns()[planned.new_row.clone()].to_vec())
}

fn columns(batch: &RecordBatch, range: &Range<usize>) -> Result<RecordBatch, SqlError> {
    let fields = batch.schema().fields()[range.clone()].to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        batch.columns()[range.clone()].to_vec(),
        &options,
    )
    .map_err(|error| SqlError::internal(error.to_string()))
}
