//! A table's storage and what a reader sees of it.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    buffer::BooleanBuffer,
};
use glaredb_txn::ids::{Locator, RowId, SegmentId, TableId, Timestamp};

use super::{StorageError, schema::TableSchema};

/// The storage of one table: chunks and a key index. What `TRUNCATE` replaces.
///
/// Readers share it with the thread that applies; every method may be called from any thread.
#[derive(Debug)]
pub struct Table {
    id: TableId,
    schema: parking_lot::RwLock<Arc<TableSchema>>,
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
        TableView { at, units: Vec::new() }
    }

    /// The version of the row with this encoded primary key that is visible at `at`. `None` also
    /// where the table has no primary key.
    #[must_use]
    pub fn lookup(&self, _key: &[u8], _at: Timestamp) -> Option<Locator> {
        None
    }

    /// Rows by locator, in the order given. `projection`: ordinals of columns, `None` for all.
    /// Error: a locator that is gone.
    pub fn fetch(
        &self,
        _locators: &[Locator],
        _projection: Option<&[usize]>,
    ) -> Result<RecordBatch, StorageError> {
        Err(StorageError::Invalid("fetch is not built".into()))
    }

    /// Row ids by locator, in the order given.
    pub fn fetch_row_ids(&self, _locators: &[Locator]) -> Result<Vec<RowId>, StorageError> {
        Err(StorageError::Invalid("fetch is not built".into()))
    }

    /// Rows inserted by applied commits and not deleted since.
    #[must_use]
    pub fn row_count_estimate(&self) -> u64 {
        self.stats().rows_live
    }

    /// Hash of the rows alive as of the last applied record (`state_hash`).
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        0
    }

    #[must_use]
    pub fn stats(&self) -> TableStats {
        TableStats::default()
    }
}

/// A table at a timestamp: consistent, immutable, keeps what it shows in memory while it lives.
#[derive(Clone, Debug)]
pub struct TableView {
    at: Timestamp,
    units: Vec<ScanUnit>,
}

impl TableView {
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// In order of segment and row. Units without a visible row are left out.
    #[must_use]
    pub fn units(&self) -> &[ScanUnit] {
        &self.units
    }
}

/// What part of a range of rows is visible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Visibility {
    All,
    None,
    /// One bit per row of the range; neither all set nor all clear.
    Mask(BooleanBuffer),
}

/// Rows of one chunk that lie contiguously: a sealed chunk (up to 65,536 rows) or a block of an
/// open one (about 1,024). Rows count from 0 within the unit; dead ones are among them.
#[derive(Clone, Debug)]
pub struct ScanUnit {
    at: Timestamp,
    schema: Arc<TableSchema>,
    segment: SegmentId,
}

impl ScanUnit {
    /// Rows, visible or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        let _ = self.at;
        0
    }

    #[must_use]
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Locator of row `row` of the unit. Row numbers of a chunk may have gaps within a unit: dead
    /// rows are thinned out.
    #[must_use]
    pub fn locator(&self, row: usize) -> Locator {
        Locator { segment: self.segment, row: row as u32 }
    }

    /// The `row` half of the locators of a range of rows.
    #[must_use]
    pub fn locator_rows(&self, _range: Range<usize>) -> UInt32Array {
        UInt32Array::from(Vec::<u32>::new())
    }

    #[must_use]
    pub fn row_ids(&self, _range: Range<usize>) -> UInt64Array {
        UInt64Array::from(Vec::<u64>::new())
    }

    /// Columns (by ordinal in the table) of a range of rows, without copying.
    #[must_use]
    pub fn columns(&self, _range: Range<usize>, _projection: &[usize]) -> Vec<ArrayRef> {
        Vec::new()
    }

    /// The same as a batch with the table's fields.
    #[must_use]
    pub fn batch(&self, range: Range<usize>, projection: &[usize]) -> RecordBatch {
        let _ = (range, projection);
        RecordBatch::new_empty(Arc::clone(self.schema.arrow()))
    }

    /// Which rows of the range the view's timestamp sees.
    #[must_use]
    pub fn visible(&self, _range: Range<usize>) -> Visibility {
        Visibility::None
    }

    /// Number of visible rows.
    #[must_use]
    pub fn visible_rows(&self) -> usize {
        0
    }
}
