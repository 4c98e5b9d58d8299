//! The applied state: all tables and the catalogs that running snapshots may ask for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use glaredb_catalog::Catalog;
use glaredb_txn::ids::{CommitId, Position, RowId, SegmentId, TableId, Timestamp};

use super::{budget::Budget, schema::TableSchema, table::Table};

/// Everything that the log says, as of the last applied record. Shared by readers; written by one
/// [`super::apply::Applier`].
#[derive(Debug)]
pub struct State {
    budget: Arc<Budget>,
}

impl State {
    /// The state before the first record.
    #[must_use]
    pub fn empty(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget })
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The storage with this id, also a dropped one that some snapshot may still read.
    #[must_use]
    pub fn table(&self, _table: TableId) -> Option<Arc<Table>> {
        None
    }

    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        Vec::new()
    }

    /// Position and timestamp of the newest applied record.
    #[must_use]
    pub fn applied(&self) -> (Position, Timestamp) {
        (Position::ZERO, Timestamp::ZERO)
    }

    /// The catalog that a snapshot at `at` sees. `at` is published and not below the horizon.
    #[must_use]
    pub fn catalog_at(&self, _at: Timestamp) -> Arc<Catalog> {
        Arc::new(Catalog::empty())
    }

    #[must_use]
    pub fn horizon(&self) -> Timestamp {
        Timestamp::ZERO
    }

    /// The state at a checkpoint's position, rebuilt: what [`StateImage`] showed when it was taken.
    pub fn load(
        budget: Arc<Budget>,
        _image: LoadedState,
    ) -> Result<Arc<Self>, super::StorageError> {
        Ok(Self::empty(budget))
    }
}

/// The whole state at one position, cheap to take, immutable: what a checkpoint writes while
/// commits go on.
#[derive(Clone, Debug)]
pub struct StateImage {
    /// The catalog at `position`.
    pub catalog: Arc<Catalog>,
    pub position: Position,
    pub timestamp: Timestamp,
    pub horizon: Timestamp,
    /// The next segment id that placement gives out.
    pub next_segment: SegmentId,
    pub tables: Vec<TableImage>,
    /// Large commits with parts in the log but no outcome yet, each with the position of its first
    /// part: the log is not cut below these, and recovery replays their parts.
    pub open_commits: Vec<(CommitId, Position)>,
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
}

/// A published chunk. `sealed` ones never change again but for their deletions: an object written
/// for one by an earlier checkpoint still fits.
#[derive(Clone, Debug)]
pub struct ChunkImage {
    pub segment: SegmentId,
    pub sealed: bool,
    /// Rows ever placed in it: the next row number of an open chunk.
    pub rows_placed: u32,
    pub blocks: Vec<BlockImage>,
}

/// Rows of a chunk that lie contiguously. All vectors have one element per row of `batch`.
#[derive(Clone, Debug)]
pub struct BlockImage {
    /// All columns of the table.
    pub batch: RecordBatch,
    /// Row numbers in the chunk, ascending; gaps are dropped rows.
    pub rows: Vec<u32>,
    pub row_ids: Vec<RowId>,
    /// Commit timestamps.
    pub begins: Vec<Timestamp>,
    /// (row number, timestamp) of rows deleted at or before the image's timestamp.
    pub deletions: Vec<(u32, Timestamp)>,
}

/// What recovery hands to [`State::load`]: the image as read back.
#[derive(Clone, Debug)]
pub struct LoadedState {
    pub image: StateImage,
}
