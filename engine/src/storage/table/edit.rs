//! Segments in place of other sources of rows: the applied side of `docs/flush.md`.

use std::sync::{Arc, atomic::Ordering};

use glaredb_txn::ids::{Locator, SegmentId, Timestamp};

use super::{Table, TableList, TableSegment, chunk_in, write::Tally};
use crate::storage::{
    StorageError,
    chunk::Chunk,
    record::Edit,
    remap::{NewPlace, Remap},
};

#[cfg(test)]
mod tests;

/// An edit that was applied a while ago: where the rows went.
#[derive(Debug)]
pub(super) struct Move {
    at: Timestamp,
    remap: Arc<Remap>,
    added: Vec<SegmentId>,
}

impl Move {
    pub(super) fn memory_bytes(&self) -> u64 {
        self.remap.memory_bytes() as u64
    }
}

impl Table {
    /// Segments, by their ids.
    #[must_use]
    pub fn segments(&self) -> Arc<Vec<Arc<TableSegment>>> {
        Arc::clone(&self.segments.read())
    }

    pub(crate) fn segment(&self, segment: SegmentId) -> Option<Arc<TableSegment>> {
        let segments = self.segments.read();
        let at = segments.binary_search_by_key(&segment, |s| s.segment()).ok()?;
        Some(Arc::clone(&segments[at]))
    }

    /// A chunk or segment that gets no more rows, all of which are committed.
    pub(crate) fn is_settled_source(&self, source: SegmentId) -> bool {
        match chunk_in(&self.chunk_list(), source) {
            Some(chunk) => chunk.is_sealed() && !chunk.is_private(),
            None => self.segment(source).is_some(),
        }
    }

    /// Replaces sources by segments. `earlier`: deletions that records of the job said before.
    ///
    /// Error: rows came or went that way, or a row is deleted twice. That is a fault of the job or of
    /// placement, and the log is no good.
    pub(crate) fn edit(
        &self,
        edit: &Edit,
        earlier: &[(NewPlace, Timestamp)],
        remap: Option<Arc<Remap>>,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let is_removed = |source: SegmentId| edit.removed.binary_search(&source).is_ok();
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.chunk_list().iter().cloned().partition(|chunk| is_removed(chunk.segment()));
        let (replaced, mut segments): (Vec<_>, Vec<_>) =
            self.segments().iter().cloned().partition(|segment| is_removed(segment.segment()));
        let mut removed = Tally::default();
        for (rows, hash) in
            gone.iter().map(|c| c.live()).chain(replaced.iter().map(|segment| segment.live()))
        {
            removed.add_all(Tally { rows: rows.into(), hash });
        }

        let added: Vec<_> = edit.added.iter().map(|a| Arc::new(TableSegment::new(a))).collect();
        for (place, at) in earlier.iter().chain(&edit.deletions) {
            let segment = added.get(place.segment as usize).filter(|s| place.row < s.rows());
            if segment.and_then(|segment| segment.delete(place.row, *at)).is_none() {
                return Err(StorageError::Invalid(format!(
                    "{}: row {} of segment {} is not there, or deleted twice",
                    edit.job, place.row, place.segment
                )));
            }
        }
        let mut came = Tally::default();
        for (rows, hash) in added.iter().map(|segment| segment.live()) {
            came.add_all(Tally { rows: rows.into(), hash });
        }
        if came.rows != removed.rows {
            return Err(StorageError::Invalid(format!(
                "{} replaces {} rows by {}",
                edit.job, removed.rows, came.rows
            )));
        }

        if let Some(remap) = remap {
            let added = added.iter().map(|segment| segment.segment()).collect();
            self.moves.write().push(Move { at, remap, added });
        }
        segments.extend(added);
        segments.sort_unstable_by_key(|segment| segment.segment());
        // A reader takes both lists under both locks: never rows twice, never none.
        let (mut chunk_list, mut segment_list) = (self.chunks.write(), self.segments.write());
        *chunk_list = Arc::new(kept);
        *segment_list = Arc::new(segments);
        *self.derived.write() = Arc::default();
        self.edits.fetch_add(1, Ordering::Release);
        drop((chunk_list, segment_list));
        self.hash.fetch_add(came.hash.wrapping_sub(removed.hash), Ordering::Relaxed);
        self.prunable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the rows of chunks that an edit replaced out of the key index. Not for the apply thread:
    /// until it is done lookups pass over them.
    pub fn forget_keys(&self, chunks: &[Arc<Chunk>]) -> Result<(), StorageError> {
        let Some(index) = self.key_index() else { return Ok(()) };
        let schema = self.schema();
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Ok(());
        };
        for chunk in chunks {
            for block in chunk.blocks() {
                let columns: Vec<_> = key.iter().map(|c| block.column(&schema, *c)).collect();
                let places: Vec<usize> = (0..block.len).collect();
                for places in places.chunks(super::write::KEYS_AT_ONCE) {
                    let keys = encoder.encode_places(&columns, places)?;
                    for (n, place) in places.iter().enumerate() {
                        let row = block.row(*place);
                        index.remove(keys.get(n), Locator { segment: chunk.segment(), row });
                    }
                }
            }
        }
        Ok(())
    }

    /// Deletes a row of a segment; what that takes from the state hash. `found`: the segment that was
    /// looked up last, as rows of one come together.
    pub(super) fn delete_in_segment(
        &self,
        found: &mut Option<Arc<TableSegment>>,
        locator: Locator,
        at: Timestamp,
    ) -> Result<u64, StorageError> {
        let segment = match found {
            Some(segment) if segment.segment() == locator.segment => segment,
            other => {
                let segment = self.segment(locator.segment);
                other.insert(segment.ok_or(StorageError::NoChunk(locator.segment))?)
            }
        };
        if locator.row >= segment.rows() {
            return Err(StorageError::RowGone(locator));
        }
        let deleted = segment.delete(locator.row, at);
        deleted.ok_or_else(|| StorageError::Invalid(format!("row {locator} is deleted twice")))
    }

    /// Where a row lies by now. `None`: it was dead when its source was rewritten, or that was before
    /// this process began or the horizon passed.
    #[must_use]
    pub fn current_place(&self, mut locator: Locator) -> Option<Locator> {
        for moved in self.moves.read().iter() {
            if let Some(place) = moved.remap.get(locator) {
                locator =
                    Locator { segment: *moved.added.get(place.segment as usize)?, row: place.row };
            }
        }
        self.has_source(locator.segment).then_some(locator)
    }

    /// Where a row lies in `list`, that of its locator or a later one. `None`: as
    /// [`current_place`](Self::current_place).
    #[must_use]
    pub fn place_in(&self, mut locator: Locator, list: &TableList) -> Option<Locator> {
        if list.has_source(locator.segment) {
            return Some(locator);
        }
        for moved in self.moves.read().iter() {
            if let Some(place) = moved.remap.get(locator) {
                locator =
                    Locator { segment: *moved.added.get(place.segment as usize)?, row: place.row };
                if list.has_source(locator.segment) {
                    return Some(locator);
                }
            }
        }
        None
    }

    fn has_source(&self, source: SegmentId) -> bool {
        chunk_in(&self.chunk_list(), source).is_some() || self.segment(source).is_some()
    }

    /// Nobody reads below `horizon` any more. True: some deletions of segments keep their timestamps.
    pub(super) fn settle_segments(&self, horizon: Timestamp) -> bool {
        self.moves.write().retain(|moved| moved.at >= horizon);
        let mut more = false;
        for segment in self.segments().iter() {
            more |= segment.deletions().settle(horizon);
        }
        more
    }
}
