//! A run of frozen rows: immutable but for deletions.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, ListArray, UInt32Array},
    buffer::OffsetBuffer,
    compute,
    datatypes::DataType,
};
use glaredb_txn::ids::{RowId, Timestamp};

use super::deletions::Deletions;
use crate::storage::{StorageError, schema::TableSchema, table::Visibility};

/// When the rows of a large commit become visible: one cell for all its chunks.
#[derive(Debug)]
pub struct Publication(AtomicU64);

impl Default for Publication {
    fn default() -> Self {
        Self(AtomicU64::new(Timestamp::INFINITY.0))
    }
}

impl Publication {
    /// Infinity until the commit record is applied.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Acquire))
    }

    pub fn publish(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::Release);
    }
}

/// Commit timestamps of the rows of a block.
#[derive(Clone, Debug)]
pub enum Begins {
    One(Timestamp),
    /// One per row.
    Each(Arc<[Timestamp]>),
    /// Of a large commit, perhaps not committed yet.
    Publication(Arc<Publication>),
}

/// Row numbers of a block within its chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowNumbers {
    /// From this one on, without gaps.
    From(u32),
    /// Ascending; dead rows were thinned out.
    Each(Arc<[u32]>),
}

/// Row ids of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowIds {
    /// From this one on.
    From(u64),
    /// One per row.
    Each(Arc<[u64]>),
}

/// Rows that lie contiguously. `n` below is a place within the block, a *row* its number within the
/// chunk.
#[derive(Clone, Debug)]
pub struct Block {
    pub len: usize,
    pub rows: RowNumbers,
    pub row_ids: RowIds,
    pub begins: Begins,
    /// The first columns of the table: all of them but those that came later than the rows.
    pub columns: Vec<ArrayRef>,
    /// Of the whole chunk, by row.
    pub deletions: Arc<Deletions>,
}

impl Block {
    pub fn row(&self, n: usize) -> u32 {
        match &self.rows {
            RowNumbers::From(first) => first + n as u32,
            RowNumbers::Each(rows) => rows[n],
        }
    }

    pub fn first_row(&self) -> u32 {
        self.row(0)
    }

    pub fn last_row(&self) -> u32 {
        self.row(self.len - 1)
    }

    /// Place of a row in the block; `None`: it is not, or no longer, in it.
    pub fn place_of(&self, row: u32) -> Option<usize> {
        match &self.rows {
            RowNumbers::From(first) => {
                row.checked_sub(*first).map(|n| n as usize).filter(|n| *n < self.len)
            }
            RowNumbers::Each(rows) => rows.binary_search(&row).ok(),
        }
    }

    pub fn row_id(&self, n: usize) -> RowId {
        RowId(match &self.row_ids {
            RowIds::From(first) => first + n as u64,
            RowIds::Each(ids) => ids[n],
        })
    }

    pub fn begin(&self, n: usize) -> Timestamp {
        match &self.begins {
            Begins::One(at) => *at,
            Begins::Each(all) => all[n],
            Begins::Publication(cell) => cell.timestamp(),
        }
    }

    pub fn visible_row(&self, n: usize, at: Timestamp) -> bool {
        self.begin(n) <= at && self.deletions.end(self.row(n)) > at
    }

    /// Which places of `range` a reader at `at` sees.
    pub fn visible(&self, range: Range<usize>, at: Timestamp) -> Visibility {
        if range.is_empty() {
            return Visibility::None;
        }
        let all_begun = match &self.begins {
            Begins::One(begin) => {
                if *begin > at {
                    return Visibility::None;
                }
                true
            }
            Begins::Publication(cell) => {
                if cell.timestamp() > at {
                    return Visibility::None;
                }
                true
            }
            // Commits come in order of their timestamps, so the last row is the youngest.
            Begins::Each(all) => all[range.end - 1] <= at && all[range.start] <= at,
        };
        let (first, last) = (self.row(range.start), self.row(range.end - 1));
        let any_deleted = self.deletions.any_at(first, last, at);
        if all_begun && !any_deleted {
            return Visibility::All;
        }
        let mut mask = BooleanBufferBuilder::new(range.len());
        let mut seen = 0;
        for n in range.clone() {
            let visible = (all_begun || self.begin(n) <= at)
                && (!any_deleted || self.deletions.end(self.row(n)) > at);
            seen += usize::from(visible);
            mask.append(visible);
        }
        match seen {
            0 => Visibility::None,
            n if n == range.len() => Visibility::All,
            _ => Visibility::Mask(mask.finish()),
        }
    }

    /// Rows deleted at or before `horizon`: no reader sees them any more.
    pub fn dead_rows(&self, horizon: Timestamp) -> usize {
        if !self.deletions.any_at(self.first_row(), self.last_row(), horizon) {
            return 0;
        }
        match &self.rows {
            RowNumbers::From(_) => {
                self.deletions.count_at(self.first_row(), self.last_row(), horizon)
            }
            // Between these are rows that were thinned out, deleted too.
            RowNumbers::Each(rows) => {
                rows.iter().filter(|row| self.deletions.end(**row) <= horizon).count()
            }
        }
    }

    /// The block without the rows that are dead at `horizon`; `None`: all are.
    pub fn thinned(&self, horizon: Timestamp) -> Result<Option<Self>, StorageError> {
        let alive: Vec<u32> = (0..self.len as u32)
            .filter(|n| self.deletions.end(self.row(*n as usize)) > horizon)
            .collect();
        if alive.is_empty() {
            return Ok(None);
        }
        let places = || alive.iter().map(|n| *n as usize);
        let begins = match &self.begins {
            Begins::Each(all) => Begins::Each(places().map(|n| all[n]).collect()),
            same => same.clone(),
        };
        let indices = UInt32Array::from(alive.clone());
        let columns = self
            .columns
            .iter()
            .map(|column| compute::take(column, &indices, None).map(compacted))
            .collect::<Result<_, _>>()
            .map_err(|e| StorageError::Invalid(format!("a block cannot be thinned: {e}")))?;
        Ok(Some(Self {
            len: alive.len(),
            rows: RowNumbers::Each(places().map(|n| self.row(n)).collect()),
            row_ids: RowIds::Each(places().map(|n| self.row_id(n).0).collect()),
            begins,
            columns,
            deletions: Arc::clone(&self.deletions),
        }))
    }

    /// Several blocks of one chunk as one, in contiguous memory.
    pub fn concat(blocks: &[Arc<Self>]) -> Result<Option<Self>, StorageError> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(None) };
        let len = blocks.iter().map(|b| b.len).sum();
        let columns = (0..first.columns.len())
            .map(|column| {
                let parts: Vec<&dyn Array> =
                    blocks.iter().map(|b| b.columns[column].as_ref()).collect();
                compute::concat(&parts)
            })
            .collect::<Result<_, _>>()
            .map_err(|e| StorageError::Invalid(format!("a chunk cannot be sealed: {e}")))?;
        let places = || blocks.iter().flat_map(|b| (0..b.len).map(move |n| (b, n)));
        let dense = (last.last_row() - first.first_row()) as usize + 1 == len;
        let rows = if dense {
            RowNumbers::From(first.first_row())
        } else {
            RowNumbers::Each(places().map(|(b, n)| b.row(n)).collect())
        };
        let first_id = first.row_id(0).0;
        let row_ids = if places().zip(first_id..).all(|((b, n), id)| b.row_id(n).0 == id) {
            RowIds::From(first_id)
        } else {
            RowIds::Each(places().map(|(b, n)| b.row_id(n).0).collect())
        };
        Ok(Some(Self {
            len,
            rows,
            row_ids,
            begins: Begins::concat(blocks),
            columns,
            deletions: Arc::clone(&first.deletions),
        }))
    }

    /// Columns by ordinal in `schema`, without copying.
    pub fn columns(
        &self,
        schema: &TableSchema,
        range: Range<usize>,
        projection: &[usize],
    ) -> Vec<ArrayRef> {
        let column = |ordinal: &usize| match self.columns.get(*ordinal) {
            Some(column) => column.slice(range.start, range.len()),
            None => schema.missing(*ordinal, range.len()),
        };
        projection.iter().map(column).collect()
    }

    /// The value at place `n` of a column by its ordinal in `schema`, as an array of one row.
    pub fn column_at(&self, schema: &TableSchema, ordinal: usize, n: usize) -> ArrayRef {
        match self.columns.get(ordinal) {
            Some(column) => column.slice(n, 1),
            None => schema.missing(ordinal, 1),
        }
    }

    /// A whole column by its ordinal in `schema`.
    pub fn column(&self, schema: &TableSchema, ordinal: usize) -> ArrayRef {
        match self.columns.get(ordinal) {
            Some(column) => Arc::clone(column),
            None => schema.missing(ordinal, self.len),
        }
    }

    /// Memory of the columns and of what stands beside them, without the deletions.
    pub fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(array_bytes).sum();
        let rows = if matches!(self.rows, RowNumbers::Each(_)) { self.len * 4 } else { 0 };
        let ids = if matches!(self.row_ids, RowIds::Each(_)) { self.len * 8 } else { 0 };
        let begins = if matches!(self.begins, Begins::Each(_)) { self.len * 8 } else { 0 };
        columns + rows + ids + begins + size_of::<Self>()
    }
}

impl Begins {
    /// One timestamp where all are the same.
    pub fn of(all: &[Timestamp]) -> Self {
        match all.first() {
            Some(first) if all.iter().all(|at| at == first) => Self::One(*first),
            _ => Self::Each(all.into()),
        }
    }

    fn concat(blocks: &[Arc<Block>]) -> Self {
        if let Self::Publication(cell) = &blocks[0].begins {
            // A private chunk holds rows of one commit only.
            return Self::Publication(Arc::clone(cell));
        }
        let all: Vec<Timestamp> =
            blocks.iter().flat_map(|b| (0..b.len).map(|n| b.begin(n))).collect();
        Self::of(&all)
    }
}

/// Texts and byte strings without what only dropped rows used.
fn compacted(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let (first, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            let items = list.values().slice(first as usize, (end - first) as usize);
            let ends = list.value_offsets().iter().map(|end| end - first);
            let offsets = OffsetBuffer::new(ends.collect());
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::new(field.clone(), offsets, compacted(items), nulls))
        }
        _ => array,
    }
}

/// Memory that an array holds, by its length: slices count what they show.
fn array_bytes(array: &ArrayRef) -> usize {
    let nulls = array.nulls().map_or(0, |_| array.len() / 8);
    let values = match array.data_type() {
        DataType::Boolean => array.len() / 8,
        DataType::Utf8View => {
            let views = array.as_string_view();
            array.len() * 16 + views.data_buffers().iter().map(|b| b.len()).sum::<usize>()
        }
        DataType::Binary => {
            let offsets = array.as_binary::<i32>().value_offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            array.len() * 4 + (last - first) as usize
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            let items = list.values().slice(first as usize, (last - first) as usize);
            array.len() * 4 + array_bytes(&items)
        }
        DataType::FixedSizeBinary(width) => array.len() * *width as usize,
        other => array.len() * other.primitive_width().unwrap_or(16),
    };
    nulls + values
}
