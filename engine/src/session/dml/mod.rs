//! INSERT, UPDATE, DELETE: the rows of a planned query say what to do, this does it.
//!
//! UPDATE and DELETE read to the end before they write, so that they never see what they did.
//! INSERT writes as it reads: its scans looked at the transaction's own rows when they were planned.

mod constraints;
mod sink;

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::{Schema, UInt32Type, UInt64Type},
};
use datafusion::execution::memory_pool::MemoryConsumer;
use glaredb_txn::ids::{Locator, RowId, SegmentId};

pub(super) use self::{constraints::show_key, sink::TableSink};
use super::{
    api::{Execution, ParamValue},
    context::{ExecutionContext, stored_table},
    run,
    transaction::Transaction,
};
use crate::{
    error::SqlError,
    query::{errors::sql_error, planner::PlannedDml},
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
    fn command(self) -> &'static str {
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

/// Executes a planned statement in its transaction.
pub(super) async fn execute(
    context: &ExecutionContext,
    operation: Operation,
    planned: &PlannedDml,
    params: &[ParamValue],
) -> Result<Execution, SqlError> {
    context.check_writable(operation.command())?;
    stored_table(&planned.table)?;
    let mut sink = TableSink::new(context, &planned.table)?;
    let plan = run::bind(&planned.plan, params)?;
    let mut rows = run::start(context, plan).await?;
    let mut count = 0;
    let mut returned = Vec::new();
    if operation == Operation::Insert {
        while let Some(batch) = rows.next().await? {
            count += batch.num_rows() as u64;
            sink.insert(new_rows(planned, &sink, &batch)?, None)?;
            if planned.fields.is_some() {
                returned.push(columns(&batch, &planned.returning)?);
            } else if context.is_last {
                Transaction::stream_parts(&context.transaction).await?;
            }
        }
    } else {
        let batches = collect(context, &mut rows, planned).await?;
        for batch in &batches {
            count += batch.num_rows() as u64;
            sink.delete(&locators(planned, batch)?, &columns(batch, &planned.old_key)?)?;
        }
        for batch in &batches {
            if operation == Operation::Update {
                replace(planned, &mut sink, batch)?;
            }
            if planned.fields.is_some() {
                returned.push(columns(batch, &planned.returning)?);
            }
        }
    }
    let tag = operation.tag(count);
    Ok(match &planned.fields {
        None => Execution::Command { tag },
        Some(fields) => Execution::Rows {
            fields: Arc::clone(fields),
            stream: Box::pin(futures::stream::iter(returned.into_iter().map(Ok))),
            tag,
        },
    })
}

/// All rows, counted against the memory of queries.
async fn collect(
    context: &ExecutionContext,
    rows: &mut run::Rows,
    planned: &PlannedDml,
) -> Result<Vec<RecordBatch>, SqlError> {
    let pool = context.engine.memory_pool();
    let reservation =
        MemoryConsumer::new(format!("changes of {}", planned.table.name)).register(&pool);
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await? {
        reservation.try_grow(batch.get_array_memory_size()).map_err(sql_error)?;
        batches.push(batch);
    }
    Ok(batches)
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
fn replace(
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
        return sink.insert(rows, Some(located.row_ids));
    }
    let fresh: arrow::array::BooleanArray = (0..count).map(|row| Some(fresh(row))).collect();
    let kept = arrow::compute::not(&fresh).map_err(|e| SqlError::internal(e.to_string()))?;
    let part = |mask| {
        filter_record_batch(&rows, mask).map_err(|error| SqlError::internal(error.to_string()))
    };
    let ids = (0..count).filter(|row| kept.value(*row)).map(|row| located.row_ids[row]).collect();
    sink.insert(part(&fresh)?, None)?;
    sink.insert(part(&kept)?, Some(ids))
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
