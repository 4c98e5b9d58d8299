//! The applied state: all tables and the catalogs that running snapshots may ask for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use glaredb_catalog::{Catalog, History};
use glaredb_txn::ids::{CommitId, JobId, Position, RowId, SegmentId, TableId, Timestamp};
use hashbrown::HashMap;
use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::{
    StorageError,
    budget::Budget,
    chunk::{Chunk, block::Block},
    remap::{NewPlace, Remap},
    schema::TableSchema,
    table::{Table, TableSegment},
};

/// Everything that the log says, as of the last applied record. Shared by readers; written by one
/// [`super::apply::Applier`].
#[derive(Debug)]
pub struct State {
    budget: Arc<Budget>,
    tables: RwLock<HashMap<TableId, Arc<Table>>>,
    catalogs: RwLock<History>,
    applied: RwLock<(Position, Timestamp)>,
    horizon: AtomicU64,
    next_segment: AtomicU64,
    /// Begun in the log and not over.
    jobs: RwLock<BTreeMap<JobId, OpenJob>>,
    /// What jobs of this process noted. No part of the state: a job of another process has none, and
    /// its edit is refused.
    notes: RwLock<HashMap<JobId, (Arc<Remap>, Timestamp)>>,
    /// Segments that are in no list any more, with the record that took them out, as long as a reader
    /// or a checkpoint may need their objects. No part of the state.
    removed: RwLock<Vec<(Arc<TableSegment>, Position)>>,
}

/// A job as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenJob {
    pub table: TableId,
    pub inputs: Vec<SegmentId>,
    /// Deletions of rows that it writes, as far as records said.
    pub deletions: Vec<(NewPlace, Timestamp)>,
    /// When it said last that it goes on; zero: not since it began, or since a checkpoint, which does not
    /// say: what is open at a start is ended.
    pub renewed: Timestamp,
}

impl State {
    /// The state before the first record.
    #[must_use]
    pub fn empty(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            tables: RwLock::default(),
            catalogs: RwLock::new(History::starting(Timestamp::ZERO, Arc::new(Catalog::empty()))),
            applied: RwLock::new((Position::ZERO, Timestamp::ZERO)),
            horizon: AtomicU64::new(0),
            next_segment: AtomicU64::new(1),
            jobs: RwLock::default(),
            notes: RwLock::default(),
            removed: RwLock::default(),
        })
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The storage with this id, also a dropped one that some snapshot may still read.
    #[must_use]
    pub fn table(&self, table: TableId) -> Option<Arc<Table>> {
        self.tables.read().get(&table).cloned()
    }

    /// In order of their ids.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        let mut tables: Vec<_> = self.tables.read().values().cloned().collect();
        tables.sort_by_key(|table| table.id());
        tables
    }

    /// The catalog that a registered snapshot at `timestamp` sees.
    #[must_use]
    pub fn catalog_at(&self, timestamp: Timestamp) -> Arc<Catalog> {
        let catalogs = self.catalogs.read();
        // Below the horizon there is none any more; a registered snapshot is not below it.
        catalogs.at(timestamp).unwrap_or_else(|_| catalogs.latest()).clone()
    }

    /// The newest applied catalog.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalogs.read().latest().clone()
    }

    /// Position of the newest applied record and the newest timestamp among those applied.
    #[must_use]
    pub fn applied(&self) -> (Position, Timestamp) {
        *self.applied.read()
    }

    /// Nobody reads below it.
    #[must_use]
    pub fn horizon(&self) -> Timestamp {
        Timestamp(self.horizon.load(Ordering::Acquire))
    }

    /// The next segment id that placement gives out.
    #[must_use]
    pub fn next_segment(&self) -> SegmentId {
        SegmentId(self.next_segment.load(Ordering::Acquire))
    }

    /// Jobs that are not over, by their ids.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<JobId, OpenJob> {
        self.jobs.read().clone()
    }

    /// What a job read up to, and where it put the rows. It notes that before its first
    /// [`JobDeletions`](super::record::JobDeletions) or [`Edit`](super::record::Edit).
    pub fn note(&self, job: JobId, as_of: Timestamp, remap: Arc<Remap>) {
        self.notes.write().insert(job, (remap, as_of));
    }

    pub(super) fn notes_of(&self, job: JobId) -> Option<(Arc<Remap>, Timestamp)> {
        self.notes.read().get(&job).cloned()
    }

    /// The job is over.
    pub(super) fn take_notes(&self, job: JobId) -> Option<Arc<Remap>> {
        self.notes.write().remove(&job).map(|(remap, _)| remap)
    }

    /// Sum over all tables of the current catalog: equal states have equal hashes.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let catalog = self.catalog();
        let tables = self.tables();
        tables
            .iter()
            .filter(|table| catalog.table_by_storage(table.id()).is_some())
            .fold(0, |sum, table| sum.wrapping_mul(31).wrapping_add(table.state_hash()))
    }

    /// The state at a checkpoint's position, rebuilt: what [`StateImage`] showed when it was taken.
    /// Rows are hashed anew: compare [`Table::state_hash`] with what the checkpoint says. Key indexes
    /// are still to be built: [`super::apply::Replayer::finish`].
    pub fn load(budget: Arc<Budget>, loaded: LoadedState) -> Result<Arc<Self>, StorageError> {
        let image = loaded.image;
        let mut tables = HashMap::new();
        for table in image.tables {
            let table = Table::from_image(table, Arc::clone(&budget))?;
            tables.insert(table.id(), Arc::new(table));
        }
        Ok(Arc::new(Self {
            budget,
            tables: RwLock::new(tables),
            catalogs: RwLock::new(History::starting(image.timestamp, image.catalog)),
            applied: RwLock::new((image.position, image.timestamp)),
            horizon: AtomicU64::new(image.horizon.0),
            next_segment: AtomicU64::new(image.next_segment.0),
            jobs: RwLock::new(image.jobs),
            notes: RwLock::default(),
            removed: RwLock::default(),
        }))
    }

    // For the applier.

    pub(super) fn set_applied(&self, position: Position, timestamp: Option<Timestamp>) {
        let mut applied = self.applied.write();
        applied.0 = applied.0.max(position);
        applied.1 = applied.1.max(timestamp.unwrap_or_default());
    }

    pub(super) fn add_table(&self, table: Arc<Table>) {
        self.tables.write().insert(table.id(), table);
    }

    /// `at`: the record after which nobody reads it.
    pub(super) fn remove_table(&self, table: TableId, at: Position) {
        let Some(removed) = self.table(table) else { return };
        self.keep_removed(removed.segments().iter().cloned(), at);
        self.tables.write().remove(&table);
    }

    /// Segments that are about to leave their list by the record `at`.
    pub(super) fn keep_removed(
        &self,
        segments: impl Iterator<Item = Arc<TableSegment>>,
        at: Position,
    ) {
        self.removed.write().extend(segments.map(|segment| (segment, at)));
    }

    /// Segments that left their lists and whose objects may still be needed.
    pub(super) fn removed(&self) -> Vec<Arc<TableSegment>> {
        self.removed.read().iter().map(|(segment, _)| Arc::clone(segment)).collect()
    }

    /// Those among them that left by a record up to `until` and that nobody reads: they are forgotten.
    pub(super) fn take_removed(&self, until: Position) -> Vec<Arc<TableSegment>> {
        let mut removed = self.removed.write();
        let is_over = |(segment, at): &mut (Arc<TableSegment>, Position)| {
            *at <= until && Arc::strong_count(segment) == 1 && !segment.is_read()
        };
        removed.extract_if(.., is_over).map(|(segment, _)| segment).collect()
    }

    pub(super) fn push_catalog(
        &self,
        at: Timestamp,
        catalog: Arc<Catalog>,
    ) -> Result<(), StorageError> {
        let pushed = self.catalogs.write().push(at, catalog);
        pushed.map_err(|e| StorageError::Invalid(e.to_string()))
    }

    /// Raise the horizon; the storages that nobody can read any more.
    pub(super) fn raise_horizon(&self, horizon: Timestamp) -> Vec<TableId> {
        self.horizon.fetch_max(horizon.0, Ordering::AcqRel);
        self.catalogs.write().prune(horizon)
    }

    pub(super) fn change_jobs<R>(
        &self,
        change: impl FnOnce(&mut BTreeMap<JobId, OpenJob>) -> R,
    ) -> R {
        change(&mut self.jobs.write())
    }

    pub(super) fn segment_used(&self, segment: SegmentId) {
        self.next_segment.fetch_max(segment.0.saturating_add(1), Ordering::AcqRel);
    }
}

/// The whole state at one position, cheap to take, immutable: what a checkpoint writes while
/// commits go on.
#[derive(Clone, Debug)]
pub struct StateImage {
    pub position: Position,
    pub timestamp: Timestamp,
    pub horizon: Timestamp,
    /// The catalog at `position`.
    pub catalog: Arc<Catalog>,
    /// The next segment id that placement gives out.
    pub next_segment: SegmentId,
    /// Tables of the catalog at the position.
    pub tables: Vec<TableImage>,
    /// Large commits with parts in the log but no outcome yet, each with the position of its first
    /// part: the log is not cut below these, and recovery replays their parts.
    pub open_commits: Vec<(CommitId, Position)>,
    /// Jobs begun and not over at the position.
    pub jobs: BTreeMap<JobId, OpenJob>,
}

#[derive(Clone, Debug)]
pub struct TableImage {
    pub table: TableId,
    pub schema: Arc<TableSchema>,
    pub next_row_id: RowId,
    /// Of the rows alive at the position.
    pub state_hash: u64,
    pub rows_live: u64,
    pub chunks: Vec<ChunkImage>,
    pub segments: Vec<SegmentImage>,
}

/// A segment, which is an object already, and which of its rows are deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentImage {
    pub segment: SegmentId,
    pub rows: u32,
    pub fingerprint: u64,
    pub meta: Bytes,
    /// Rows that no reader sees any more.
    pub settled: RoaringBitmap,
    /// Rows that some reader may still see, and when they were deleted; ascending.
    pub recent: Vec<(u32, Timestamp)>,
    /// The same, where one commit deleted very many.
    pub bulk: Vec<(Timestamp, Arc<RoaringBitmap>)>,
}

/// A published chunk. `sealed` ones never change again but for their deletions: an object written
/// for one by an earlier checkpoint still fits, less the rows that were dropped since.
#[derive(Clone, Debug)]
pub struct ChunkImage {
    pub segment: SegmentId,
    pub sealed: bool,
    /// Rows ever placed in it: the next row number of an open chunk.
    pub rows_placed: u32,
    blocks: Blocks,
}

#[derive(Clone, Debug)]
enum Blocks {
    /// Shared with the state; what was deleted later is left out when they are looked at.
    Captured(Vec<Arc<Block>>, Timestamp, Arc<TableSchema>),
    Loaded(Vec<BlockImage>),
}

impl ChunkImage {
    pub(super) fn of(chunk: &Chunk, schema: &Arc<TableSchema>, at: Timestamp) -> Self {
        Self {
            segment: chunk.segment(),
            sealed: chunk.is_sealed(),
            rows_placed: chunk.next_row(),
            blocks: Blocks::Captured(chunk.blocks_at(at), at, Arc::clone(schema)),
        }
    }

    /// A chunk read back.
    #[must_use]
    pub fn loaded(
        segment: SegmentId,
        sealed: bool,
        rows_placed: u32,
        blocks: Vec<BlockImage>,
    ) -> Self {
        Self { segment, sealed, rows_placed, blocks: Blocks::Loaded(blocks) }
    }

    /// Takes its rows out, so that what is written is not kept in memory. Not for the apply thread:
    /// lists every row's number, id and timestamp.
    #[must_use]
    pub fn take_blocks(&mut self) -> Vec<BlockImage> {
        match std::mem::replace(&mut self.blocks, Blocks::Loaded(Vec::new())) {
            Blocks::Loaded(blocks) => blocks,
            Blocks::Captured(blocks, at, schema) => {
                blocks.iter().map(|block| BlockImage::of(block, at, &schema)).collect()
            }
        }
    }
}

/// Rows of a chunk that lie contiguously. All vectors have one element per row of `batch`.
#[derive(Clone, Debug)]
pub struct BlockImage {
    /// The first columns of the table: all of them but those that came later than the rows.
    pub batch: RecordBatch,
    /// Row numbers in the chunk, ascending; gaps are dropped rows.
    pub rows: Vec<u32>,
    pub row_ids: Vec<RowId>,
    /// Commit timestamps.
    pub begins: Vec<Timestamp>,
    /// (row number, timestamp) of rows deleted at or before the image's timestamp.
    pub deletions: Vec<(u32, Timestamp)>,
}

impl BlockImage {
    fn of(block: &Block, at: Timestamp, schema: &TableSchema) -> Self {
        let places = 0..block.len;
        let rows: Vec<u32> = places.clone().map(|n| block.row(n)).collect();
        let deletions = rows
            .iter()
            .map(|row| (*row, block.deletions.end(*row)))
            .filter(|(_, end)| *end <= at)
            .collect();
        Self {
            batch: RecordBatch::try_new(
                schema.arrow_prefix(block.columns.len()),
                block.columns.clone(),
            )
            .expect("blocks have the columns of their table"),
            rows,
            row_ids: places.clone().map(|n| block.row_id(n)).collect(),
            begins: places.map(|n| block.begin(n)).collect(),
            deletions,
        }
    }
}

/// What recovery hands to [`State::load`]: the image as read back.
#[derive(Clone, Debug)]
pub struct LoadedState {
    pub image: StateImage,
}
