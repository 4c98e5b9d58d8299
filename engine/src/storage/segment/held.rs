//! What reading needs, and what was read: parts of a segment, decoded, for one reader.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute,
};

use super::KeyFilter;
use crate::storage::{StorageError, objects::ReadCounts};

/// Rows of a row group that are read together with what lies between their pages, if that is little.
const FEW_ROWS: usize = 4_096;

/// Rows of a row group, ascending; `None`: all.
pub(super) type WantedRows = Option<Vec<Range<u32>>>;

/// What an answer from memory needs that is not there.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Needs {
    /// Row groups.
    pub(super) filters: BTreeSet<usize>,
    /// Rows (`None`: all) of columns of the file, by row group and place.
    pub(super) parts: BTreeMap<(usize, usize), WantedRows>,
}

impl Needs {
    /// The filter of a row group.
    pub(super) fn filter(row_group: usize) -> Self {
        Self { filters: BTreeSet::from([row_group]), parts: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.parts.is_empty()
    }

    /// Is it no more than some rows by their keys or places?
    pub(super) fn are_few_rows(&self) -> bool {
        let few = |rows: &WantedRows| {
            let rows = rows.as_ref().map(|rows| rows.iter().map(Range::len).sum::<usize>());
            rows.is_some_and(|rows| rows <= FEW_ROWS)
        };
        self.parts.values().all(few)
    }

    /// Columns of row groups that are missing, in whole or in part.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.parts.len()
    }
}

/// An answer from memory.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer<T> {
    Here(T),
    /// Something is to be [warmed](Segment::warm) before.
    Cold(Needs),
}

/// What was warmed: it stays while this does, whatever the budget is.
#[derive(Clone, Default, Debug)]
pub struct Held {
    pub(super) filters: HashMap<usize, Arc<KeyFilter>>,
    pub(super) parts: HashMap<(usize, usize), Part>,
    /// What it took.
    pub(super) read: ReadCounts,
}

impl Held {
    /// Requests to the store that were made for it, and bytes that came back.
    #[must_use]
    pub fn reads(&self) -> (usize, usize) {
        (self.read.requests as usize, self.read.bytes as usize)
    }

    /// Of what is decoded.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let parts = self.parts.values().map(|part| part.array.get_array_memory_size());
        let filters = self.filters.values().map(|filter| filter.memory_bytes());
        parts.chain(filters).sum()
    }

    /// Blocks that a cache had, and that it had not.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        (self.read.cache_hits as usize, self.read.cache_misses as usize)
    }
}

/// Decoded rows of a column of a row group.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) array: ArrayRef,
    /// Rows of the row group, ascending; `None`: all.
    pub(super) rows: Option<Arc<[Range<u32>]>>,
}

impl Part {
    pub(super) fn has(&self, wanted: Option<&[Range<u32>]>) -> bool {
        let (Some(rows), Some(wanted)) = (&self.rows, wanted) else { return self.rows.is_none() };
        wanted.iter().all(|wanted| {
            let after = rows.partition_point(|range| range.end <= wanted.start);
            let within = rows.get(after);
            within.is_some_and(|r| r.start <= wanted.start && wanted.end <= r.end)
        })
    }

    /// Place of a row that it has.
    fn place(&self, row: u32) -> usize {
        let Some(rows) = &self.rows else { return row as usize };
        let before = rows.iter().take_while(|range| range.end <= row);
        let skipped: usize = before.clone().map(Range::len).sum();
        let first = rows.get(before.count()).map_or(row, |range| range.start);
        skipped + (row - first) as usize
    }

    /// The rows wanted, which it has.
    pub(super) fn select(&self, wanted: Option<&[Range<u32>]>) -> Result<ArrayRef, StorageError> {
        let Some(wanted) = wanted else { return Ok(Arc::clone(&self.array)) };
        if self.rows.as_deref() == Some(wanted) {
            return Ok(Arc::clone(&self.array));
        }
        if let [range] = wanted {
            return Ok(self.array.slice(self.place(range.start), range.len()));
        }
        let places = wanted.iter().flat_map(|range| {
            let first = self.place(range.start) as u32;
            first..first + range.len() as u32
        });
        let places = UInt32Array::from_iter_values(places);
        compute::take(&self.array, &places, None)
            .map_err(|e| StorageError::Invalid(format!("rows cannot be taken: {e}")))
    }

    /// The array and the places in it of contiguous rows.
    pub(super) fn range(&self, rows: &Range<u32>) -> (&ArrayRef, Range<usize>) {
        let first = self.place(rows.start);
        (&self.array, first..first + rows.len())
    }
}
