//! The sources of a table's rows at one moment.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use glaredb_txn::ids::SegmentId;
use parking_lot::Mutex;

use super::{Table, TableSegment, chunk_in};
use crate::storage::chunk::Chunk;

/// Chunks and segments that hold a table's rows, as one edit left them and the next one finds them:
/// every row once. Immutable, but for deletions and for rows that are added to the open chunk.
#[derive(Clone, Debug)]
pub struct TableList {
    /// By segment.
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// By segment.
    segments: Arc<Vec<Arc<TableSegment>>>,
    edits: u64,
    derived: Arc<Derived>,
}

/// What readers worked out of the descriptions of a list's segments, by column: these never change.
#[derive(Default, Debug)]
pub(super) struct Derived(Mutex<HashMap<u32, Arc<dyn Any + Send + Sync>>>);

impl TableList {
    /// What `make` works out of what is said of a column in all segments, which all have the column: once
    /// for a list, however many statements ask. `make` is always of one type.
    pub fn derived<T: Any + Send + Sync, E>(
        &self,
        column: u32,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let known = self.derived.0.lock().get(&column).cloned();
        if let Some(Ok(known)) = known.map(Arc::downcast::<T>) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        let shared: Arc<dyn Any + Send + Sync> = Arc::clone(&made) as _;
        self.derived.0.lock().insert(column, shared);
        Ok(made)
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    #[must_use]
    pub fn segments(&self) -> &[Arc<TableSegment>] {
        &self.segments
    }

    /// How many edits made it: lists with the same number name places alike.
    #[must_use]
    pub fn edits(&self) -> u64 {
        self.edits
    }

    pub(crate) fn chunk(&self, segment: SegmentId) -> Option<&Arc<Chunk>> {
        chunk_in(&self.chunks, segment)
    }

    #[must_use]
    pub fn segment(&self, segment: SegmentId) -> Option<&Arc<TableSegment>> {
        let at = self.segments.binary_search_by_key(&segment, |s| s.segment()).ok()?;
        Some(&self.segments[at])
    }

    #[must_use]
    pub fn has_source(&self, source: SegmentId) -> bool {
        self.chunk(source).is_some() || self.segment(source).is_some()
    }
}

impl Table {
    /// The sources of the rows now. Of a statement that uses the key index: an edit may come between,
    /// after which rows of chunks in the list are [not in the index](Table::forget_keys) any more. So who
    /// found nothing asks [`Table::is_edited_since`], and if so, all over again.
    #[must_use]
    pub fn list(&self) -> TableList {
        // Under both locks, as an edit replaces both: rows neither twice nor not at all.
        let (chunks, segments) = (self.chunks.read(), self.segments.read());
        let edits = self.edits.load(Ordering::Acquire);
        let derived = Arc::clone(&self.derived.read());
        TableList { chunks: Arc::clone(&chunks), segments: Arc::clone(&segments), edits, derived }
    }

    /// Has an edit been applied since?
    #[must_use]
    pub fn is_edited_since(&self, list: &TableList) -> bool {
        self.edits.load(Ordering::Acquire) != list.edits
    }
}
