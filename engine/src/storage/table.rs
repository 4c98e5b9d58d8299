//! A table's storage and what a reader sees of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use glaredb_txn::ids::{Locator, RowId, SegmentId, TableId, Timestamp};
use parking_lot::{Mutex, RwLock};

mod edit;
mod list;
mod load;
mod prepared;
mod replay;
mod segment;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub use list::TableList;
pub(crate) use replay::TableReplay;
pub(crate) use segment::CapturedDeletions;
pub use segment::{SegmentDeletions, TableSegment};
pub use view::{ScanUnit, SegmentView, TableView, Visibility};
pub(crate) use write::{Tally, Target};

use super::{
    StorageError,
    budget::Budget,
    chunk::{Chunk, Place, block::Block},
    codec::{builder::ColumnBuilder, column::ColumnRef},
    key_index::{IndexedKey, KeyIndex, Walk},
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
    /// Rewritten sources that readers of this process may still name, oldest first.
    moves: RwLock<Vec<edit::Move>>,
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

    /// The version of the row with this encoded primary key that is visible at `at`. `None` also
    /// where the table has no primary key.
    #[must_use]
    pub fn lookup(&self, key: &[u8], at: Timestamp) -> Option<Locator> {
        let index = self.key_index()?;
        let chunks = self.chunk_list();
        index.find(key, |locator| {
            chunk_in(&chunks, locator.segment).is_some_and(|c| c.visible(locator.row, at))
        })
    }

    /// As `lookup`, in an index that [`Table::prepare_index`] made, passing over what `hidden` names.
    pub(crate) fn lookup_in(
        &self,
        index: &KeyIndex,
        key: &[u8],
        at: Timestamp,
        hidden: impl Fn(Locator) -> bool,
    ) -> Option<Locator> {
        let chunks = self.chunk_list();
        index.find(key, |locator| {
            !hidden(locator)
                && chunk_in(&chunks, locator.segment).is_some_and(|c| c.visible(locator.row, at))
        })
    }

    /// The next keys of a walk over an index of the table, at most `keys_max`, each with the version of
    /// its row that is visible at `at` and not named by `hidden`, if there is one.
    pub(crate) fn step(
        &self,
        index: &KeyIndex,
        walk: &mut Walk,
        keys_max: usize,
        at: Timestamp,
        hidden: impl Fn(Locator) -> bool,
    ) -> impl Iterator<Item = (IndexedKey, Option<Locator>)> {
        let chunks = self.chunk_list();
        index.step(walk, keys_max).rows(move |locator| {
            !hidden(locator)
                && chunk_in(&chunks, locator.segment).is_some_and(|c| c.visible(locator.row, at))
        })
    }

    /// Rows by locator, in the order given. `projection`: ordinals of columns, `None` for all.
    /// Error: a locator that is gone.
    pub fn fetch(
        &self,
        locators: &[Locator],
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, StorageError> {
        self.fetch_as(&self.schema(), locators, projection)
    }

    /// The same, in the columns of `schema`.
    pub fn fetch_as(
        &self,
        schema: &TableSchema,
        locators: &[Locator],
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, StorageError> {
        let all: Vec<usize>;
        let projection = match projection {
            Some(columns) => columns,
            None => {
                all = (0..schema.columns().len()).collect();
                &all
            }
        };
        let mut builders = projection
            .iter()
            .map(|c| ColumnBuilder::new(&schema.columns()[*c].pg_type, locators.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let chunks = self.chunk_list();
        let mut at = 0;
        while at < locators.len() {
            let chunk = chunk_in(&chunks, locators[at].segment)
                .ok_or(StorageError::NoChunk(locators[at].segment))?;
            at += copy_rows(schema, chunk, &locators[at..], projection, &mut builders)?;
        }
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
        let fields = view::projected(schema.arrow(), projection);
        Ok(view::batch_of(fields, arrays, locators.len()))
    }

    /// Row ids by locator, in the order given.
    pub fn fetch_row_ids(&self, locators: &[Locator]) -> Result<Vec<RowId>, StorageError> {
        let chunks = self.chunk_list();
        locators
            .iter()
            .map(|locator| {
                chunk_in(&chunks, locator.segment)
                    .and_then(|chunk| {
                        chunk.with_row(locator.row, |place| match place {
                            Place::Frozen(block, n) => block.row_id(n),
                            Place::Open(open, n) => open.row_id(n),
                        })
                    })
                    .ok_or(StorageError::RowGone(*locator))
            })
            .collect()
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

/// Copy rows from the front of `locators` that lie in `chunk`; returns how many.
fn copy_rows(
    schema: &TableSchema,
    chunk: &Chunk,
    locators: &[Locator],
    projection: &[usize],
    builders: &mut [ColumnBuilder],
) -> Result<usize, StorageError> {
    let mut at = 0;
    while at < locators.len() && locators[at].segment == chunk.segment() {
        let row = locators[at].row;
        let frozen = chunk.with_row(row, |place| match place {
            Place::Frozen(block, _) => Ok(Some(Arc::clone(block))),
            Place::Open(open, n) => {
                for (column, builder) in projection.iter().zip(builders.iter_mut()) {
                    match open.columns().get(*column) {
                        Some(values) => builder.push(values.value(n)),
                        None => push_missing(schema, *column, builder)?,
                    }
                }
                Ok(None)
            }
        });
        match frozen.transpose()? {
            None => return Err(StorageError::RowGone(locators[at])),
            Some(None) => at += 1,
            Some(Some(block)) => {
                let mine = |l: &&Locator| l.segment == chunk.segment();
                let places: Vec<usize> = locators[at..]
                    .iter()
                    .take_while(mine)
                    .map_while(|l| block.place_of(l.row))
                    .collect();
                copy_places(schema, &block, &places, projection, builders)?;
                at += places.len();
            }
        }
    }
    Ok(at)
}

/// The value of a column that came later than the row.
fn push_missing(
    schema: &TableSchema,
    ordinal: usize,
    builder: &mut ColumnBuilder,
) -> Result<(), StorageError> {
    let array = schema.missing(ordinal, 1);
    builder.push(ColumnRef::new(&schema.columns()[ordinal].pg_type, &array)?.value(0));
    Ok(())
}

fn copy_places(
    schema: &TableSchema,
    block: &Block,
    places: &[usize],
    projection: &[usize],
    builders: &mut [ColumnBuilder],
) -> Result<(), StorageError> {
    for (column, builder) in projection.iter().zip(builders) {
        let array = block.column(schema, *column);
        let from = ColumnRef::new(&schema.columns()[*column].pg_type, &array)?;
        places.iter().for_each(|n| builder.push(from.value(*n)));
    }
    Ok(())
}
