//! A table's storage and what a reader sees of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use glaredb_txn::ids::{Locator, RowId, SegmentId, TableId, Timestamp};
use parking_lot::{Mutex, RwLock};

mod changes;
mod edit;
mod fetch;
mod key_order;
mod key_walk;
mod list;
mod load;
mod lookup;
mod prepared;
mod replay;
mod segment;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub use changes::Interval;
pub use key_order::KeyOrder;
pub(crate) use key_walk::{KeyWalk, Stepped};
pub use list::TableList;
pub(crate) use lookup::Sight;
pub use lookup::{KeyAccess, ThenRead};
pub(crate) use replay::TableReplay;
pub(crate) use segment::CapturedDeletions;
pub use segment::{SegmentDeletions, TableSegment};
pub use view::{ScanUnit, SegmentView, TableView, Visibility};
pub(crate) use write::{Tally, Target};

use super::{
    budget::Budget,
    chunk::{Chunk, block::Block},
    key_index::KeyIndex,
    schema::TableSchema,
};

/// The storage of one table: chunks and a key index. What `TRUNCATE` replaces.
///
/// Readers share it with the thread that applies; every method may be called from any thread.
#[derive(Debug)]
pub struct Table {
    id: TableId,
    schema: RwLock<Arc<TableSchema>>,
    /// By segment.
    chunks: RwLock<Arc<Vec<Arc<Chunk>>>>,
    /// By segment. Taken after `chunks` where both are.
    segments: RwLock<Arc<Vec<Arc<TableSegment>>>>,
    /// Of `segments`, and replaced with them.
    derived: RwLock<Arc<list::Derived>>,
    /// Rewritten sources that readers of this process may still name, oldest first.
    moves: RwLock<Vec<edit::Move>>,
    /// How many edits were applied in this process. Written under both locks of the list.
    edits: AtomicU64,
    /// Of the primary key, if there is one.
    index: RwLock<Option<Arc<KeyIndex>>>,
    /// The index will be built later: recovery replays without.
    index_deferred: AtomicBool,
    budget: Arc<Budget>,
    /// What the budget counts for this table.
    accounted_bytes: AtomicU64,
    rows_live: AtomicU64,
    /// Sum of the hashes of the live rows.
    hash: AtomicU64,
    next_row_id: AtomicU64,
    /// Deleted versions that are still in the key index, oldest deletion first.
    unpruned: Mutex<VecDeque<(Timestamp, Locator)>>,
    /// For a key that is about to come.
    prepared: Mutex<Option<prepared::PreparedIndex>>,
    /// Timestamp of the newest commit that inserted or deleted rows.
    changed_at: AtomicU64,
    /// Are there deletions that the last pruning did not see to the end?
    prunable: AtomicBool,
}

/// Sizes of a table's storage, for planning and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableStats {
    /// Rows inserted by applied commits and not deleted since.
    pub rows_live: u64,
    /// Row versions in memory, dead ones included.
    pub rows_held: u64,
    pub chunks: u64,
    /// Memory of the chunks.
    pub chunk_bytes: u64,
    /// Segments, which lie in objects.
    pub segments: u64,
    /// Memory of what is known of them, and of where rows went.
    pub segment_bytes: u64,
    /// Entries of the key index, all versions counted.
    pub index_entries: u64,
    pub index_bytes: u64,
}

impl Table {
    #[must_use]
    pub fn id(&self) -> TableId {
        self.id
    }

    /// Columns and key as of the newest applied change.
    #[must_use]
    pub fn schema(&self) -> Arc<TableSchema> {
        Arc::clone(&self.schema.read())
    }

    /// All rows as of `at`, a published timestamp not below the horizon that the caller keeps
    /// registered. Cheap: only the open block is copied.
    #[must_use]
    pub fn view(&self, at: Timestamp) -> TableView {
        TableView::new(&self.schema(), &self.list(), at)
    }

    /// The same, in the columns of `schema`: an earlier version, or that which the reader's transaction
    /// brings.
    #[must_use]
    pub fn view_as(&self, schema: &Arc<TableSchema>, at: Timestamp) -> TableView {
        TableView::new(schema, &self.list(), at)
    }

    /// Rows inserted by applied commits and not deleted since.
    #[must_use]
    pub fn row_count_estimate(&self) -> u64 {
        self.rows_live.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn stats(&self) -> TableStats {
        let chunks = self.chunk_list();
        let segments = self.segments();
        let index = self.key_index();
        TableStats {
            rows_live: self.row_count_estimate(),
            rows_held: chunks.iter().map(|c| c.rows_held() as u64).sum(),
            chunks: chunks.len() as u64,
            chunk_bytes: chunks.iter().map(|c| c.memory_bytes() as u64).sum(),
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|s| s.memory_bytes() as u64).sum::<u64>()
                + self.moves.read().iter().map(edit::Move::memory_bytes).sum::<u64>(),
            index_entries: index.as_ref().map_or(0, |i| i.versions()),
            index_bytes: index.as_ref().map_or(0, |i| i.memory_bytes()) + self.prepared_bytes(),
        }
    }

    /// Sum of the hashes of the live rows (`state_hash`).
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// The next row id that placement gives out.
    #[must_use]
    pub fn next_row_id(&self) -> RowId {
        RowId(self.next_row_id.load(Ordering::Relaxed))
    }

    /// Where the next row goes, if a chunk is open, and how much memory that chunk takes.
    pub(crate) fn open_chunk(&self) -> Option<(Locator, u64)> {
        let chunks = self.chunk_list();
        // Private chunks are sealed when they are published, so at most one is open.
        let open = chunks.iter().rev().find(|chunk| chunk.is_shared() && !chunk.is_sealed())?;
        let next = Locator { segment: open.segment(), row: open.next_row() };
        Some((next, open.memory_bytes() as u64))
    }

    pub(crate) fn chunk_list(&self) -> Arc<Vec<Arc<Chunk>>> {
        Arc::clone(&self.chunks.read())
    }

    pub(crate) fn key_index(&self) -> Option<Arc<KeyIndex>> {
        self.index.read().clone()
    }

    /// Bring the budget up to date with what the table holds.
    pub(crate) fn account(&self) {
        let stats = self.stats();
        let now =
            stats.chunk_bytes + stats.segment_bytes + stats.index_bytes + size_of::<Self>() as u64;
        let before = self.accounted_bytes.swap(now, Ordering::Relaxed);
        self.budget.table_resized(before, now);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.budget.table_resized(self.accounted_bytes.load(Ordering::Relaxed), 0);
    }
}

fn chunk_in(chunks: &[Arc<Chunk>], segment: SegmentId) -> Option<&Arc<Chunk>> {
    let at = chunks.binary_search_by_key(&segment, |chunk| chunk.segment()).ok()?;
    Some(&chunks[at])
}
