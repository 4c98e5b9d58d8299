//! The rows of a cursor: read as far as they were asked for, kept as far as it may go back.
//!
//! Rows are counted from 1. `position` is the row the cursor stands on, 0 before the first, one more
//! than there are behind the last. What is kept is charged to the memory of queries.

use std::collections::VecDeque;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::DataType,
};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, statement::FetchDirection},
    session::api::RowStream,
};

/// How far a cursor goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scroll {
    No,
    /// As far as its rows fit [`KEPT_BYTES_MAX`]: the declaration said nothing.
    Little,
    Full,
}

/// Memory of rows that a cursor keeps which was not declared SCROLL.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Most rows of a batch in reverse order.
const REVERSED_ROWS_MAX: usize = 8192;

pub(super) struct CursorRows {
    name: String,
    /// `None` once all rows were read.
    stream: Option<RowStream>,
    kept: VecDeque<Kept>,
    /// Rows that came from the stream.
    read: u64,
    position: u64,
    scroll: Scroll,
    memory: MemoryReservation,
    /// An error came: nothing is to be had any more.
    failed: bool,
}

struct Kept {
    /// Number of its first row.
    first: u64,
    batch: RecordBatch,
    bytes: usize,
}

impl Kept {
    fn end(&self) -> u64 {
        self.first + self.batch.num_rows() as u64
    }
}

/// What is left of a FETCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// `None`: all rows.
    Forward(Option<u64>),
    Backward(Option<u64>),
    /// The row the cursor stands on.
    Current,
    Nothing,
}

impl CursorRows {
    pub(super) fn new(
        name: &str,
        stream: RowStream,
        scroll: Scroll,
        memory: MemoryReservation,
    ) -> Self {
        Self {
            name: name.to_owned(),
            stream: Some(stream),
            kept: VecDeque::new(),
            read: 0,
            position: 0,
            scroll,
            memory,
            failed: false,
        }
    }

    /// Goes to where the rows of a FETCH begin. `moves`: it is a MOVE, which wants no rows. After an error
    /// there is nothing more to be had, as in PostgreSQL.
    ///
    /// # Errors
    /// 55000 for going back where it cannot; those of the query.
    pub(super) async fn start(
        &mut self,
        direction: FetchDirection,
        moves: bool,
    ) -> Result<Left, SqlError> {
        let started = self.begin(direction, moves).await;
        self.failed |= started.is_err();
        started
    }

    async fn begin(&mut self, direction: FetchDirection, moves: bool) -> Result<Left, SqlError> {
        if self.failed {
            let message = format!("portal \"{}\" cannot be run", self.name);
            return Err(SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        match direction {
            FetchDirection::Forward(0) | FetchDirection::Relative(0) => {
                if !self.stands_on_row() {
                    return Ok(Left::Nothing);
                }
                if !moves {
                    self.check_back(self.position)?;
                }
                Ok(Left::Current)
            }
            FetchDirection::Forward(count) if count < 0 => {
                self.check_back(self.position.saturating_sub(1))?;
                Ok(Left::Backward(Some(count.unsigned_abs())))
            }
            FetchDirection::Forward(count) => Ok(Left::Forward(Some(count.unsigned_abs()))),
            FetchDirection::ForwardAll => Ok(Left::Forward(None)),
            FetchDirection::BackwardAll => {
                self.check_back(self.position.saturating_sub(1))?;
                Ok(Left::Backward(None))
            }
            FetchDirection::Absolute(row) if row >= 0 => self.go_to(row.unsigned_abs()).await,
            FetchDirection::Absolute(row) => {
                if self.scroll == Scroll::No {
                    return Err(only_forward());
                }
                self.read_to(u64::MAX, u64::MAX).await?;
                self.go_to((self.read + 1).saturating_sub(row.unsigned_abs())).await
            }
            FetchDirection::Relative(rows) if rows > 0 => {
                self.go_to(self.position.saturating_add(rows.unsigned_abs())).await
            }
            FetchDirection::Relative(rows) => {
                self.check_back(self.position.saturating_sub(1))?;
                self.go_to(self.position.saturating_sub(rows.unsigned_abs())).await
            }
        }
    }

    /// The next rows of a FETCH, a batch of them; `None` at its end.
    ///
    /// # Errors
    /// Those of the query.
    pub(super) async fn next(&mut self, left: &mut Left) -> Result<Option<RecordBatch>, SqlError> {
        let next = self.take_next(left).await;
        self.failed |= next.is_err();
        next
    }

    async fn take_next(&mut self, left: &mut Left) -> Result<Option<RecordBatch>, SqlError> {
        match left {
            Left::Nothing => Ok(None),
            Left::Current => {
                let row = self.position;
                *left = Left::Nothing;
                let kept = self.kept_with(row)?;
                Ok(Some(kept.batch.slice(offset(kept, row), 1)))
            }
            Left::Forward(count) => self.forward(count).await,
            Left::Backward(count) => self.backward(count),
        }
    }

    /// All rows that are left are read, and kept: the transaction ends.
    ///
    /// # Errors
    /// 53200 if they do not fit; those of the query.
    pub(super) async fn hold(&mut self) -> Result<(), SqlError> {
        let from = if self.scroll == Scroll::No { self.position + 1 } else { 1 };
        let held = self.read_to(u64::MAX, from).await;
        self.failed |= held.is_err();
        held
    }

    fn stands_on_row(&self) -> bool {
        (1..=self.read).contains(&self.position)
    }

    /// # Errors
    /// 55000 if it cannot go back to `row`.
    fn check_back(&self, row: u64) -> Result<(), SqlError> {
        if self.scroll == Scroll::No || self.is_forgotten(row) {
            return Err(only_forward());
        }
        Ok(())
    }

    /// Whether it was read, and is not kept any more.
    fn is_forgotten(&self, row: u64) -> bool {
        let kept = self.kept.front().map_or(self.read + 1, |kept| kept.first);
        (1..kept).contains(&row)
    }

    /// Stands on that row if there is one, else behind the last; 0 is before the first.
    async fn go_to(&mut self, row: u64) -> Result<Left, SqlError> {
        if row <= self.position && self.position > 0 {
            self.check_back(row)?;
        }
        if row == 0 {
            self.position = 0;
            return Ok(Left::Nothing);
        }
        self.read_to(row, row).await?;
        if self.is_forgotten(row) {
            return Err(only_forward());
        }
        self.position = row.min(self.read + 1);
        Ok(if self.stands_on_row() { Left::Current } else { Left::Nothing })
    }

    async fn forward(&mut self, count: &mut Option<u64>) -> Result<Option<RecordBatch>, SqlError> {
        if *count == Some(0) {
            return Ok(None);
        }
        let row = self.position + 1;
        self.read_to(row, row).await?;
        if row > self.read {
            self.position = self.read + 1;
            *count = Some(0);
            return Ok(None);
        }
        let kept = self.kept_with(row)?;
        let offset = offset(kept, row);
        let rows = (kept.batch.num_rows() - offset) as u64;
        let rows = count.map_or(rows, |count| rows.min(count));
        let batch = kept.batch.slice(offset, rows as usize);
        if let Some(count) = count {
            *count -= rows;
        }
        self.position += rows;
        Ok(Some(batch))
    }

    fn backward(&mut self, count: &mut Option<u64>) -> Result<Option<RecordBatch>, SqlError> {
        if *count == Some(0) {
            return Ok(None);
        }
        let Some(row) = self.position.checked_sub(1).filter(|row| *row > 0) else {
            self.position = 0;
            *count = Some(0);
            return Ok(None);
        };
        self.check_back(row)?;
        let kept = self.kept_with(row)?;
        let last = offset(kept, row);
        let rows = (last + 1).min(REVERSED_ROWS_MAX);
        let rows = count.map_or(rows, |count| rows.min(usize::try_from(count).unwrap_or(rows)));
        let reversed: UInt32Array = (0..rows).map(|n| (last - n) as u32).collect();
        let batch = take_record_batch(&kept.batch, &reversed)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        if let Some(count) = count {
            *count -= rows as u64;
        }
        self.position -= rows as u64;
        Ok(Some(batch))
    }

    fn kept_with(&self, row: u64) -> Result<&Kept, SqlError> {
        let at = self.kept.partition_point(|kept| kept.end() <= row);
        let kept = self.kept.get(at).filter(|kept| kept.first <= row);
        kept.ok_or_else(|| SqlError::internal(format!("row {row} of a cursor is not kept")))
    }

    /// Reads until `row` was read or there are no more. Rows before `needed` may be forgotten.
    async fn read_to(&mut self, row: u64, needed: u64) -> Result<(), SqlError> {
        while self.read < row {
            let Some(stream) = &mut self.stream else { break };
            match stream.next().await {
                None => self.stream = None,
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => self.keep(batch, needed)?,
                Some(Err(error)) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, batch: RecordBatch, needed: u64) -> Result<(), SqlError> {
        let bytes = memory_of(&batch);
        let first = self.read + 1;
        self.read += batch.num_rows() as u64;
        let limit = match self.scroll {
            Scroll::No => Some(0),
            Scroll::Little => Some(KEPT_BYTES_MAX),
            Scroll::Full => None,
        };
        if let Some(limit) = limit {
            self.forget_before(needed, limit.saturating_sub(bytes));
        }
        if self.scroll == Scroll::No && self.read < needed {
            return Ok(());
        }
        let mut grown = self.memory.try_grow(bytes);
        if grown.is_err() && limit.is_some() {
            self.forget_before(needed, 0);
            grown = self.memory.try_grow(bytes);
        }
        grown.map_err(sql_error)?;
        self.kept.push_back(Kept { first, batch, bytes });
        Ok(())
    }

    /// Forgets the oldest rows before `needed` until no more than `limit` bytes are kept.
    fn forget_before(&mut self, needed: u64, limit: usize) {
        while self.memory.size() > limit
            && self.kept.front().is_some_and(|kept| kept.end() <= needed)
            && let Some(oldest) = self.kept.pop_front()
        {
            self.memory.shrink(oldest.bytes);
        }
    }
}

fn offset(kept: &Kept, row: u64) -> usize {
    usize::try_from(row - kept.first).unwrap_or(0)
}

fn only_forward() -> SqlError {
    SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

/// Rows may be parts of larger columns, which others hold as well.
fn memory_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(memory_of_column).sum()
}

fn memory_of_column(column: &ArrayRef) -> usize {
    let whole = column.get_array_memory_size();
    // Arrow counts the views of such rows without what they point to.
    let pointed_to = match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
        other if other.is_nested() => return whole,
        _ => 0,
    };
    column.to_data().get_slice_memory_size().map_or(whole, |part| part + pointed_to)
}

#[cfg(test)]
mod tests;
