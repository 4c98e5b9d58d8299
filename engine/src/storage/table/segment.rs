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
/// what was deleted since, one for a bitmap of them where a commit deleted very many. One writer, many
/// readers.
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
    /// Oldest first; no row is in two of them.
    bulk: Vec<(Timestamp, Arc<RoaringBitmap>)>,
}

/// Deletions by one commit from which on they are kept as a bitmap.
const BULK_ROWS: usize = 1_000;

impl Inner {
    fn end(&self, row: u32) -> Timestamp {
        if let Some(at) = self.recent.get(&row) {
            return *at;
        }
        if self.settled.contains(row) {
            return Timestamp::ZERO;
        }
        let bulk = self.bulk.iter().find(|(_, rows)| rows.contains(row));
        bulk.map_or(Timestamp::INFINITY, |(at, _)| *at)
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
        if inner.end(row) != Timestamp::INFINITY {
            return false;
        }
        inner.recent.insert(row, at);
        self.count.fetch_add(1, Ordering::Release);
        true
    }

    /// False: one was deleted before, and all stay as they were.
    pub fn delete_all(&self, rows: RoaringBitmap, at: Timestamp) -> bool {
        let mut inner = self.inner.write();
        let is_there = inner.settled.is_disjoint(&rows)
            && inner.bulk.iter().all(|(_, bulk)| bulk.is_disjoint(&rows))
            && !inner.recent.keys().any(|row| rows.contains(*row));
        if !is_there {
            return false;
        }
        // A segment has less than 2^32 rows.
        self.count.fetch_add(rows.len() as u32, Ordering::Release);
        match inner.bulk.last_mut() {
            Some((last, bulk)) if *last == at => *Arc::make_mut(bulk) |= rows,
            _ => inner.bulk.push((at, Arc::new(rows))),
        }
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
        let mut bulk = inner.bulk.iter().filter(|(end, _)| *end <= at).peekable();
        if recent.peek().is_none() && bulk.peek().is_none() {
            return Arc::clone(&inner.settled);
        }
        let mut all = (*inner.settled).clone();
        all.extend(recent.map(|(row, _)| *row));
        bulk.for_each(|(_, rows)| all |= &**rows);
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
        let (settled, old, bulk): (_, Vec<u32>, Vec<_>) = {
            let inner = self.inner.read();
            let old = inner.recent.iter().filter(|(_, at)| **at <= horizon).map(|(row, _)| *row);
            let bulk = inner.bulk.iter().filter(|(at, _)| *at <= horizon).cloned();
            (Arc::clone(&inner.settled), old.collect(), bulk.collect())
        };
        if !old.is_empty() || !bulk.is_empty() {
            // Built beside the readers: only this thread changes it.
            let mut settled = (*settled).clone();
            settled.extend(old.iter().copied());
            bulk.iter().for_each(|(_, rows)| settled |= &**rows);
            let mut inner = self.inner.write();
            inner.settled = Arc::new(settled);
            for row in &old {
                inner.recent.remove(row);
            }
            inner.bulk.retain(|(at, _)| *at > horizon);
        }
        let inner = self.inner.read();
        !inner.recent.is_empty() || !inner.bulk.is_empty()
    }

    /// As they are now, for whoever wants to find the same later.
    pub(crate) fn capture(&self) -> CapturedDeletions {
        CapturedDeletions(Arc::new(self.inner.read().clone()))
    }

    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let inner = self.inner.read();
        let bulk = inner.bulk.iter().map(|(_, rows)| rows.serialized_size());
        inner.settled.serialized_size() + inner.recent.len() * 24 + bulk.sum::<usize>()
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
        let bulk = image.bulk.iter().flat_map(|(_, rows)| rows.iter());
        let deleted =
            image.settled.iter().chain(image.recent.iter().map(|(row, _)| *row)).chain(bulk);
        let count = deleted.clone().count() as u32;
        let deleted_hash =
            deleted.fold(0, |sum: u64, row| sum.wrapping_add(deletion_hash(image.segment, row)));
        let settled = Arc::new(image.settled);
        let (recent, bulk) = by_commit(image.recent);
        let bulk = bulk.into_iter().chain(image.bulk).collect();
        let inner = Inner { settled, recent, bulk };
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
            bulk: inner.bulk,
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

    /// The same of very many.
    pub(crate) fn delete_all(&self, rows: RoaringBitmap, at: Timestamp) -> Option<u64> {
        let hashes = rows.iter().map(|row| deletion_hash(self.segment, row));
        let hash = hashes.fold(0, |sum: u64, hash| sum.wrapping_add(hash));
        self.deletions.delete_all(rows, at).then(|| {
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

/// Deletions as a checkpoint tells them: bitmaps where a commit did very many.
#[allow(clippy::type_complexity, reason = "two fields of what it makes")]
fn by_commit(
    rows: Vec<(u32, Timestamp)>,
) -> (BTreeMap<u32, Timestamp>, Vec<(Timestamp, Arc<RoaringBitmap>)>) {
    let mut counts: BTreeMap<Timestamp, usize> = BTreeMap::new();
    rows.iter().for_each(|(_, at)| *counts.entry(*at).or_default() += 1);
    let mut bulk: BTreeMap<Timestamp, RoaringBitmap> = BTreeMap::new();
    let mut recent = BTreeMap::new();
    for (row, at) in rows {
        if counts[&at] < BULK_ROWS {
            recent.insert(row, at);
        } else {
            bulk.entry(at).or_default().insert(row);
        }
    }
    (recent, bulk.into_iter().map(|(at, rows)| (at, Arc::new(rows))).collect())
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
        // Very many by one commit, in pieces.
        let many = |rows: std::ops::Range<u32>| rows.collect::<RoaringBitmap>();
        assert!(deletions.delete_all(many(100..2_000), Timestamp(30)));
        assert!(deletions.delete_all(many(2_000..3_000), Timestamp(30)));
        assert!(!deletions.delete_all(many(2_999..3_001), Timestamp(40)), "one of them twice");
        assert!(!deletions.delete_all(many(9..10), Timestamp(40)), "it is settled");
        assert!(!deletions.delete(500, Timestamp(40)) && deletions.delete(3_000, Timestamp(40)));
        assert_eq!((deletions.count(), deletions.at(Timestamp(29)).len()), (2_903, 2));
        assert_eq!((deletions.end(2_500), deletions.end(3_000)), (Timestamp(30), Timestamp(40)));
        assert_eq!(deletions.at(Timestamp(30)).len(), 2_902);
        assert!(deletions.settle(Timestamp(29)) && deletions.settle(Timestamp(30)));
        assert_eq!((deletions.settled(), deletions.at(Timestamp(40)).len()), (2_902, 2_903));
        assert!(!deletions.settle(Timestamp(40)));
    }

    #[test]
    fn a_checkpoint_brings_back_many_deletions_of_one_commit() {
        let rows: Vec<(u32, Timestamp)> =
            (0..5_000).map(|n| (n, Timestamp(7 + u64::from(n % 50 == 0)))).collect();
        let (recent, bulk) = by_commit(rows);
        assert_eq!((recent.len(), bulk.len(), bulk[0].1.len()), (100, 1, 4_900));
    }
}
