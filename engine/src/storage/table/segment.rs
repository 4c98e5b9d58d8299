//! A segment of a table: rows that lie in an object, and which of them are deleted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use glaredb_txn::{
    codec::Reader,
    ids::{RowId, SegmentId, Timestamp},
};
use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::{Interval, KeyOrder};
use crate::storage::{
    StorageError,
    record::AddedSegment,
    schema::TableSchema,
    segment::{Opened, Segment, SegmentMeta, SegmentStore},
    state::SegmentImage,
    state_hash::row_hash,
};

/// What the log says of a segment. Its rows never change.
#[derive(Debug)]
pub struct TableSegment {
    segment: SegmentId,
    rows: u32,
    fingerprint: u64,
    meta: Bytes,
    deletions: SegmentDeletions,
    /// Sum of what its deletions take from the table's state hash.
    deleted_hash: AtomicU64,
    decoded: OnceLock<Arc<SegmentMeta>>,
    opened: Arc<Opened>,
    /// Of a key that it is not sorted by, once somebody looked for rows by it.
    key_order: RwLock<Option<Arc<KeyOrder>>>,
    /// One reader opens it, the others wait.
    opening: tokio::sync::Mutex<()>,
}

/// Which rows of a segment are deleted: a bitmap of what no reader sees any more, and timestamps of
/// what was deleted since. One writer, many readers.
#[derive(Debug, Default)]
pub struct SegmentDeletions {
    inner: RwLock<Inner>,
    /// All of them: most segments have none, and nobody then takes the lock.
    count: AtomicU32,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    settled: Arc<RoaringBitmap>,
    recent: BTreeMap<u32, Timestamp>,
}

impl Inner {
    fn end(&self, row: u32) -> Timestamp {
        match self.recent.get(&row) {
            Some(at) => *at,
            None if self.settled.contains(row) => Timestamp::ZERO,
            None => Timestamp::INFINITY,
        }
    }
}

/// The deletions of a segment as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct CapturedDeletions(Arc<Inner>);

impl CapturedDeletions {
    /// As [`SegmentDeletions::end`].
    pub(crate) fn end(&self, row: u32) -> Timestamp {
        self.0.end(row)
    }
}

impl SegmentDeletions {
    /// Rows deleted, at any time.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// False: it was deleted before, and stays as it was.
    pub fn delete(&self, row: u32, at: Timestamp) -> bool {
        let mut inner = self.inner.write();
        if inner.settled.contains(row) || inner.recent.contains_key(&row) {
            return false;
        }
        inner.recent.insert(row, at);
        self.count.fetch_add(1, Ordering::Release);
        true
    }

    /// Does a reader at `at` not see the row any more?
    #[must_use]
    pub fn is_deleted(&self, row: u32, at: Timestamp) -> bool {
        self.end(row) <= at
    }

    /// When the row was deleted: infinity if it was not, zero if no reader sees it any more.
    #[must_use]
    pub fn end(&self, row: u32) -> Timestamp {
        if self.count() == 0 {
            return Timestamp::INFINITY;
        }
        self.inner.read().end(row)
    }

    /// All rows that a reader at `at` does not see any more.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Arc<RoaringBitmap> {
        if self.count() == 0 {
            return Arc::default();
        }
        let inner = self.inner.read();
        let mut recent = inner.recent.iter().filter(|(_, end)| **end <= at).peekable();
        if recent.peek().is_none() {
            return Arc::clone(&inner.settled);
        }
        let mut all = (*inner.settled).clone();
        all.extend(recent.map(|(row, _)| *row));
        Arc::new(all)
    }

    /// Rows deleted in an interval that begins at or after the horizon, with when, ascending.
    #[must_use]
    pub fn within(&self, interval: Interval) -> Vec<(u32, Timestamp)> {
        if self.count() == 0 {
            return Vec::new();
        }
        let inner = self.inner.read();
        let within = inner.recent.iter().filter(|(_, at)| interval.has(**at));
        within.map(|(row, at)| (*row, *at)).collect()
    }

    /// Rows that no reader sees any more.
    #[must_use]
    pub fn settled(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.inner.read().settled.len() }
    }

    /// Nobody reads below `horizon` any more: what was deleted until then needs no timestamp. True:
    /// some deletions keep theirs.
    pub fn settle(&self, horizon: Timestamp) -> bool {
        let (settled, old): (_, Vec<u32>) = {
            let inner = self.inner.read();
            let old = inner.recent.iter().filter(|(_, at)| **at <= horizon).map(|(row, _)| *row);
            (Arc::clone(&inner.settled), old.collect())
        };
        if !old.is_empty() {
            // Built beside the readers: only this thread changes it.
            let mut settled = (*settled).clone();
            settled.extend(old.iter().copied());
            let mut inner = self.inner.write();
            inner.settled = Arc::new(settled);
            for row in &old {
                inner.recent.remove(row);
            }
        }
        !self.inner.read().recent.is_empty()
    }

    /// As they are now, for whoever wants to find the same later.
    pub(crate) fn capture(&self) -> CapturedDeletions {
        CapturedDeletions(Arc::new(self.inner.read().clone()))
    }

    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let inner = self.inner.read();
        inner.settled.serialized_size() + inner.recent.len() * 24
    }
}

impl TableSegment {
    pub(crate) fn new(added: &AddedSegment) -> Self {
        Self {
            segment: added.segment,
            rows: added.rows,
            fingerprint: added.fingerprint,
            meta: added.meta.clone(),
            deletions: SegmentDeletions::default(),
            deleted_hash: AtomicU64::new(0),
            decoded: OnceLock::new(),
            opened: Arc::default(),
            key_order: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn load(image: SegmentImage) -> Self {
        let count = image.settled.len() as u32 + image.recent.len() as u32;
        let deleted = image.settled.iter().chain(image.recent.iter().map(|(row, _)| *row));
        let deleted_hash =
            deleted.fold(0, |sum: u64, row| sum.wrapping_add(deletion_hash(image.segment, row)));
        let settled = Arc::new(image.settled);
        let inner = Inner { settled, recent: image.recent.into_iter().collect() };
        Self {
            segment: image.segment,
            rows: image.rows,
            fingerprint: image.fingerprint,
            meta: image.meta,
            deletions: SegmentDeletions { inner: RwLock::new(inner), count: AtomicU32::new(count) },
            deleted_hash: AtomicU64::new(deleted_hash),
            decoded: OnceLock::new(),
            opened: Arc::default(),
            key_order: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn image(&self) -> SegmentImage {
        let inner = self.deletions.inner.read().clone();
        SegmentImage {
            segment: self.segment,
            rows: self.rows,
            fingerprint: self.fingerprint,
            meta: self.meta.clone(),
            settled: (*inner.settled).clone(),
            recent: inner.recent.into_iter().collect(),
        }
    }

    #[must_use]
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Deleted ones are among them.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// What readers need to know of the object, as whoever wrote it encoded it.
    #[must_use]
    pub fn meta(&self) -> &Bytes {
        &self.meta
    }

    /// [`meta`](Self::meta), decoded. Error: it is not what a segment's writer wrote.
    pub fn description(&self) -> Result<&Arc<SegmentMeta>, StorageError> {
        if let Some(decoded) = self.decoded.get() {
            return Ok(decoded);
        }
        let mut input = Reader::of(&self.meta);
        let decoded = SegmentMeta::decode(&mut input)?;
        input
            .finish()
            .map_err(|e| StorageError::corrupt("segment's description", e.to_string()))?;
        Ok(self.decoded.get_or_init(|| Arc::new(decoded)))
    }

    /// Whether its footer is in memory.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened.is_open()
    }

    /// The segment, if its footer is in memory, which stays as long as it is used and there is room.
    #[must_use]
    pub fn opened(&self) -> Option<Arc<Segment>> {
        self.opened.get()
    }

    /// The segment; its footer is read if it is not in memory. `schema`: of any version that knows its
    /// columns. Errors: as [`SegmentStore::open`].
    pub async fn open(
        &self,
        store: &SegmentStore,
        schema: &TableSchema,
    ) -> Result<Arc<Segment>, StorageError> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let _one = self.opening.lock().await;
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let opened = Arc::new(store.open(self.segment, self.description()?, schema).await?);
        self.opened.set(&opened);
        Ok(opened)
    }

    /// Its rows in the order of the schema's key, if they are in memory that way.
    #[must_use]
    pub fn key_order(&self, schema: &TableSchema) -> Option<Arc<KeyOrder>> {
        let columns = schema.key()?.iter().map(|ordinal| schema.columns()[*ordinal].id);
        self.key_order.read().clone().filter(|order| order.is_of(columns))
    }

    /// Brings its rows in the order of the schema's key.
    pub(crate) async fn order(
        &self,
        opened: &Segment,
        schema: &TableSchema,
    ) -> Result<(), StorageError> {
        let _one = self.opening.lock().await;
        if self.key_order(schema).is_none() {
            let order = Arc::new(KeyOrder::read(opened, schema).await?);
            *self.key_order.write() = Some(order);
        }
        Ok(())
    }

    /// Does somebody hold what [`open`](Self::open) gave?
    pub(crate) fn is_read(&self) -> bool {
        // One that is kept, one here.
        self.opened.get().is_some_and(|opened| Arc::strong_count(&opened) > 2)
    }

    /// Forgets the footer, and the order of a key; who holds the segment goes on with it.
    pub fn close(&self) {
        self.opened.close();
        *self.key_order.write() = None;
    }

    #[must_use]
    pub fn deletions(&self) -> &SegmentDeletions {
        &self.deletions
    }

    /// Without its footer, which is part of the resident form.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let order = self.key_order.read().as_ref().map_or(0, |order| order.memory_bytes());
        size_of::<Self>() + self.meta.len() + self.deletions.memory_bytes() + order
    }

    /// Deletes a row; what that takes from the table's state hash. `None`: it was deleted before.
    /// Called by the apply thread alone.
    pub(crate) fn delete(&self, row: u32, at: Timestamp) -> Option<u64> {
        let hash = deletion_hash(self.segment, row);
        self.deletions.delete(row, at).then(|| {
            self.deleted_hash.fetch_add(hash, Ordering::Relaxed);
            hash
        })
    }

    /// Rows not deleted, and what they add to the table's state hash: the object cannot be read when
    /// the log is applied, so it counts as a whole, less its deletions.
    pub(crate) fn live(&self) -> (u32, u64) {
        let whole = object_hash(self.segment, self.rows, self.fingerprint);
        let hash = whole.wrapping_sub(self.deleted_hash.load(Ordering::Relaxed));
        (self.rows - self.deletions.count(), hash)
    }
}

/// What a deletion takes from the table's state hash.
fn deletion_hash(segment: SegmentId, row: u32) -> u64 {
    row_hash(RowId(segment.0), &row.to_le_bytes())
}

fn object_hash(segment: SegmentId, rows: u32, fingerprint: u64) -> u64 {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&rows.to_le_bytes());
    bytes[4..].copy_from_slice(&fingerprint.to_le_bytes());
    row_hash(RowId(segment.0), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_deleted_after_its_snapshot() {
        let deletions = SegmentDeletions::default();
        assert!(deletions.delete(3, Timestamp(10)) && deletions.delete(9, Timestamp(20)));
        assert!(!deletions.delete(3, Timestamp(30)), "deleted twice");
        let rows = |at| deletions.at(Timestamp(at)).iter().collect::<Vec<_>>();
        assert_eq!([rows(9), rows(10), rows(20)], [vec![], vec![3], vec![3, 9]]);
        assert!(!deletions.is_deleted(9, Timestamp(19)) && deletions.is_deleted(9, Timestamp(20)));
        assert!(deletions.settle(Timestamp(10)), "row 9 keeps its timestamp");
        assert_eq!([rows(10), rows(19), rows(20)], [vec![3], vec![3], vec![3, 9]]);
        assert!(!deletions.delete(3, Timestamp(30)), "settled rows are deleted, too");
        assert!(!deletions.settle(Timestamp(20)));
        assert_eq!(deletions.count(), 2);
    }
}
