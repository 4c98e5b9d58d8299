//! A chunk: up to 65,536 rows in memory, in blocks.
//!
//! ```text
//!  open chunk     [block 1,024][block 1,024] … [open block]   rows are appended, blocks frozen
//!  sealed chunk   [one block of up to 65,536 rows           ]   contiguous: scans get big slices
//! ```
//!
//! A row's number in its chunk never changes; a deletion is a timestamp beside it. Rows that no
//! reader can see any more are dropped with their block, or thinned out of a sealed chunk once they
//! are the most of it. Large commits fill chunks of their own, which nobody sees until the commit
//! record gives all of them their timestamp at once ([`block::Publication`]).

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use arrow::array::ArrayRef;
use glaredb_txn::{
    codec::Reader,
    ids::{RowId, SegmentId, Timestamp},
};
use parking_lot::RwLock;

pub mod block;
pub mod deletions;
pub mod open_block;

use block::{Begins, Block, Publication, RowIds, RowNumbers};
use deletions::Deletions;
use open_block::OpenBlock;

use super::{StorageError, schema::TableSchema};

/// The most rows a chunk holds.
pub const CHUNK_ROWS_MAX: u32 = 65_536;

/// Rows at which the open block of a chunk is frozen.
pub const BLOCK_ROWS: usize = 1_024;

/// A segment in memory. One writer (the apply thread), many readers.
#[derive(Debug)]
pub struct Chunk {
    segment: SegmentId,
    /// Of a large commit's private chunk.
    publication: Option<Arc<Publication>>,
    deletions: Arc<Deletions>,
    body: RwLock<Body>,
    /// Memory of the frozen blocks.
    frozen_bytes: AtomicUsize,
    /// Deletions when dead rows were last looked for.
    deletions_seen: AtomicU32,
    /// Rows not deleted, and the sum of their hashes.
    rows_live: AtomicU32,
    hash: AtomicU64,
}

#[derive(Debug)]
struct Body {
    /// By row. Gaps are dropped rows.
    blocks: Vec<Arc<Block>>,
    open: Option<OpenBlock>,
    /// Number of the next row.
    next_row: u32,
    sealed: bool,
}

/// Where a row lies, for as long as the caller holds the lock.
pub(crate) enum Place<'a> {
    Frozen(&'a Arc<Block>, usize),
    Open(&'a OpenBlock, usize),
}

impl Chunk {
    pub fn new(segment: SegmentId, publication: Option<Arc<Publication>>) -> Self {
        Self {
            segment,
            publication,
            deletions: Arc::default(),
            body: RwLock::new(Body { blocks: Vec::new(), open: None, next_row: 0, sealed: false }),
            frozen_bytes: AtomicUsize::new(0),
            deletions_seen: AtomicU32::new(0),
            rows_live: AtomicU32::new(0),
            hash: AtomicU64::new(0),
        }
    }

    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Not visible to anybody yet.
    pub fn is_private(&self) -> bool {
        self.publication.as_ref().is_some_and(|p| p.timestamp() == Timestamp::INFINITY)
    }

    /// Filled by many commits, not by one large one.
    pub fn is_shared(&self) -> bool {
        self.publication.is_none()
    }

    /// Is it a private chunk of the commit with this publication?
    pub fn is_published_by(&self, cell: &Arc<Publication>) -> bool {
        self.publication.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, cell))
    }

    pub fn deletions(&self) -> &Arc<Deletions> {
        &self.deletions
    }

    /// Rows not deleted, and the sum of their hashes: what goes from the table's with the chunk.
    pub fn live(&self) -> (u32, u64) {
        (self.rows_live.load(Ordering::Relaxed), self.hash.load(Ordering::Relaxed))
    }

    /// `rows` were added, whose hashes have this sum.
    pub(crate) fn count_inserted(&self, rows: u32, hash: u64) {
        self.rows_live.fetch_add(rows, Ordering::Relaxed);
        self.hash.fetch_add(hash, Ordering::Relaxed);
    }

    /// A row with this hash was deleted.
    pub(crate) fn count_deleted(&self, hash: u64) {
        self.rows_live.fetch_sub(1, Ordering::Relaxed);
        self.hash.fetch_sub(hash, Ordering::Relaxed);
    }

    pub fn next_row(&self) -> u32 {
        self.body.read().next_row
    }

    pub fn is_sealed(&self) -> bool {
        self.body.read().sealed
    }

    /// Rows held, dead or not.
    pub fn rows_held(&self) -> usize {
        let body = self.body.read();
        body.blocks.iter().map(|b| b.len).sum::<usize>() + body.open.as_ref().map_or(0, |o| o.len())
    }

    pub fn memory_bytes(&self) -> usize {
        let open = self.body.read().open.as_ref().map_or(0, OpenBlock::memory_bytes);
        self.frozen_bytes.load(Ordering::Relaxed)
            + open
            + self.deletions.memory_bytes()
            + size_of::<Self>()
    }

    /// Decode one row to the end. `row`: the number placement gave it, checked.
    pub fn append_row(
        &self,
        schema: &TableSchema,
        row: u32,
        input: &mut Reader<'_>,
        row_id: RowId,
        begin: Timestamp,
    ) -> Result<(), StorageError> {
        let mut body = self.body.write();
        body.check_next(self.segment, row, 1)?;
        if body.open.is_none() {
            body.open = Some(OpenBlock::new(schema, row, Arc::clone(&self.deletions))?);
        }
        let open = body.open.as_mut().expect("opened above");
        open.append(input, row_id, begin)?;
        if open.is_full() {
            self.freeze(&mut body);
        }
        body.next_row += 1;
        Ok(())
    }

    /// Add rows that are arrays already, as a block of their own.
    pub fn append_block(
        &self,
        row: u32,
        columns: Vec<ArrayRef>,
        len: usize,
        row_ids: RowIds,
        begin: Timestamp,
    ) -> Result<(), StorageError> {
        let mut body = self.body.write();
        body.check_next(self.segment, row, len)?;
        self.freeze(&mut body);
        let begins = match &self.publication {
            Some(cell) => Begins::Publication(Arc::clone(cell)),
            None => Begins::One(begin),
        };
        let deletions = Arc::clone(&self.deletions);
        let rows = RowNumbers::From(row);
        self.push(&mut body, Block { len, rows, row_ids, begins, columns, deletions });
        body.next_row += len as u32;
        Ok(())
    }

    fn freeze(&self, body: &mut Body) {
        if let Some(open) = body.open.take().filter(|open| !open.is_empty()) {
            self.push(body, open.freeze());
        }
    }

    fn push(&self, body: &mut Body, block: Block) {
        self.frozen_bytes.fetch_add(block.memory_bytes(), Ordering::Relaxed);
        body.blocks.push(Arc::new(block));
    }

    /// No row will be added: make the blocks one.
    pub fn seal(&self) -> Result<(), StorageError> {
        let blocks = {
            let mut body = self.body.write();
            self.freeze(&mut body);
            body.sealed = true;
            body.blocks.clone()
        };
        if blocks.len() > 1 {
            // Built beside the readers: only this thread changes the list.
            let whole = Block::concat(&blocks)?.expect("there are several blocks");
            self.replace(vec![Arc::new(whole)]);
        }
        Ok(())
    }

    fn replace(&self, blocks: Vec<Arc<Block>>) {
        let bytes = blocks.iter().map(|b| b.memory_bytes()).sum();
        self.frozen_bytes.store(bytes, Ordering::Relaxed);
        self.body.write().blocks = blocks;
    }

    /// Blocks that a reader at `at` may look at, the open one copied.
    pub fn blocks_at(&self, at: Timestamp) -> Vec<Arc<Block>> {
        if self.publication.as_ref().is_some_and(|p| p.timestamp() > at) {
            return Vec::new();
        }
        let body = self.body.read();
        let mut blocks = body.blocks.clone();
        if let Some(open) = body.open.as_ref().filter(|o| !o.is_empty() && o.begin(0) <= at) {
            blocks.push(open.snapshot());
        }
        blocks
    }

    /// All blocks, whoever may look at them; the open one copied.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        let body = self.body.read();
        let open = body.open.as_ref().filter(|open| !open.is_empty());
        body.blocks.iter().cloned().chain(open.map(OpenBlock::snapshot)).collect()
    }

    /// Look at a row. `None`: it is dropped, or was never there.
    pub(crate) fn with_row<R>(&self, row: u32, look: impl FnOnce(Place<'_>) -> R) -> Option<R> {
        let body = self.body.read();
        body.place_of(row).map(look)
    }

    pub fn visible(&self, row: u32, at: Timestamp) -> bool {
        if self.deletions.end(row) <= at {
            return false;
        }
        if let Some(publication) = &self.publication {
            return publication.timestamp() <= at;
        }
        self.with_row(row, |place| match place {
            Place::Frozen(block, n) => block.begin(n) <= at,
            Place::Open(open, n) => open.begin(n) <= at,
        })
        .unwrap_or(false)
    }

    /// Drop blocks without a row that is visible at or after `horizon`; thin out a sealed chunk that
    /// is mostly dead. Returns true if no row is left and none will come.
    pub fn drop_dead(&self, horizon: Timestamp) -> Result<bool, StorageError> {
        let deleted = self.deletions.count();
        let (blocks, sealed, open) = {
            let body = self.body.read();
            (body.blocks.clone(), body.sealed, body.open.is_some())
        };
        if self.is_private() {
            return Ok(false);
        }
        if self.has_unseen_deletions() {
            let mut kept = Vec::with_capacity(blocks.len());
            let mut changed = false;
            let mut all_counted = true;
            for block in &blocks {
                let dead = block.dead_rows(horizon);
                let deleted_later = block.dead_rows(Timestamp(u64::MAX - 1)) > dead;
                all_counted &= !deleted_later;
                if dead == block.len {
                    changed = true;
                } else if sealed && dead * 2 > block.len {
                    kept.extend(block.thinned(horizon)?.map(Arc::new));
                    changed = true;
                } else {
                    kept.push(Arc::clone(block));
                }
            }
            if changed {
                self.replace(kept);
            }
            if all_counted && !open {
                self.deletions_seen.store(deleted, Ordering::Relaxed);
            }
        }
        let body = self.body.read();
        Ok(body.sealed && body.blocks.is_empty())
    }

    /// Are there deletions that `drop_dead` has to look at again?
    pub fn has_unseen_deletions(&self) -> bool {
        self.deletions.count() != self.deletions_seen.load(Ordering::Relaxed)
    }

    /// A chunk read back from a checkpoint.
    pub fn load(
        segment: SegmentId,
        blocks: Vec<LoadedBlock>,
        next_row: u32,
        sealed: bool,
    ) -> Result<Self, StorageError> {
        let chunk = Self::new(segment, None);
        {
            let mut body = chunk.body.write();
            let mut after = 0;
            for loaded in blocks.into_iter().filter(|b| b.len > 0) {
                let block = loaded.into_block(Arc::clone(&chunk.deletions));
                if block.first_row() < after || block.last_row() >= next_row {
                    return Err(StorageError::corrupt(
                        "chunk",
                        format!("rows {} to {} out of order", block.first_row(), block.last_row()),
                    ));
                }
                after = block.last_row() + 1;
                chunk.push(&mut body, block);
            }
            body.next_row = next_row;
            body.sealed = sealed;
        }
        Ok(chunk)
    }
}

/// A block read back, without the deletions, which belong to the chunk.
#[derive(Debug)]
pub struct LoadedBlock {
    pub len: usize,
    pub rows: RowNumbers,
    pub row_ids: RowIds,
    pub begins: Begins,
    pub columns: Vec<ArrayRef>,
}

impl LoadedBlock {
    fn into_block(self, deletions: Arc<Deletions>) -> Block {
        let Self { len, rows, row_ids, begins, columns } = self;
        Block { len, rows, row_ids, begins, columns, deletions }
    }
}

impl Body {
    fn check_next(&self, segment: SegmentId, row: u32, len: usize) -> Result<(), StorageError> {
        let fits = row as usize + len <= CHUNK_ROWS_MAX as usize;
        if row != self.next_row || self.sealed || len == 0 || !fits {
            return Err(StorageError::Invalid(format!(
                "{len} rows placed at {segment}:{row}, where the next row is {} of at most \
                 {CHUNK_ROWS_MAX}{}",
                self.next_row,
                if self.sealed { " and the chunk is sealed" } else { "" }
            )));
        }
        Ok(())
    }

    fn place_of(&self, row: u32) -> Option<Place<'_>> {
        if let Some(open) = &self.open
            && let Some(n) = row.checked_sub(open.first_row())
        {
            let n = n as usize;
            return (n < open.len()).then_some(Place::Open(open, n));
        }
        let after = self.blocks.partition_point(|b| b.first_row() <= row);
        let block = self.blocks.get(after.checked_sub(1)?)?;
        Some(Place::Frozen(block, block.place_of(row)?))
    }
}
