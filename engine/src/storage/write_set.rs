//! What a transaction gathers before it commits.
//!
//! Rows that a transaction inserted are its *own* rows: until the commit they have no locator, so
//! they go by `Locator { segment: OWN_ROWS, row: ordinal }`, counted per table from 0 in order of
//! insertion. A statement that must not see its own inserts takes [`TableWrites::own_batches`] before
//! it starts: the batches are values.

use std::sync::Arc;

use arrow::{array::RecordBatch, buffer::BooleanBuffer};
use bytes::Bytes;
use glaredb_catalog::CatalogChange;
use glaredb_txn::{
    commit::message::{Assertion, KeyWrite},
    ids::{Locator, Position, RowId, SchemaVersion, SegmentId, TableId},
};

use super::{StorageError, budget::Budget, codec::key::EncodedKeys, schema::TableSchema};

/// The segment of own rows, in locators that never leave the session.
pub const OWN_ROWS: SegmentId = SegmentId::MAX;

/// Target size of an encoded part; one part never exceeds the limit of an entry.
pub const PART_BYTES: usize = 768 << 10;

/// Everything a transaction wrote. Its memory counts against the budget until it is dropped.
#[derive(Debug)]
pub struct WriteSet {
    budget: Arc<Budget>,
}

/// What a transaction wrote to one table.
#[derive(Debug, Default)]
pub struct TableWrites {}

/// Rows that the transaction inserted by one statement's batch.
#[derive(Clone, Debug)]
pub struct OwnBatch {
    pub batch: RecordBatch,
    /// Ordinal of the first row: its locator is `OWN_ROWS:first`.
    pub first: u32,
    /// Rows of it that the transaction did not delete again; `None`: all.
    pub alive: Option<BooleanBuffer>,
    /// Row ids that updated rows keep; `None` for new rows.
    pub row_ids: Option<Arc<[RowId]>>,
}

/// What a transaction did to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnKey {
    /// Ask the table.
    Untouched,
    /// The committed row with this key is deleted by the transaction.
    Removed,
    /// Own row with this ordinal.
    Row(u32),
}

/// Rows to delete. All slices have one element per row.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// Of committed rows or of own rows (`OWN_ROWS`).
    pub locators: &'a [Locator],
    /// Ids of the rows; ignored for own rows.
    pub row_ids: &'a [RowId],
    /// Encoded primary keys of the rows, for tables that have one.
    pub keys: Option<&'a EncodedKeys>,
}

/// A write set ready to be sent: first the parts, in order, then the commit.
#[derive(Clone, Debug, Default)]
pub struct EncodedWriteSet {
    pub parts: Vec<Bytes>,
    pub schema_versions: Vec<(TableId, SchemaVersion)>,
    pub writes: Vec<KeyWrite>,
    /// Added by [`WriteSet::finish`] for what the write set itself must assert.
    pub assertions: Vec<Assertion>,
    pub payload: Bytes,
}

impl WriteSet {
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget }
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        0
    }

    #[must_use]
    pub fn table(&self, _table: TableId) -> Option<&TableWrites> {
        None
    }

    /// Announce a storage that this transaction creates (CREATE TABLE, TRUNCATE), before rows go
    /// into it.
    pub fn create_storage(&mut self, _table: TableId, _schema: &Arc<TableSchema>) {}

    /// Add rows. `kept`: row ids that updated rows keep; `None` for new rows. `keys`: the encoded
    /// primary keys, for tables that have one, looked up at snapshot `base`. The caller has checked
    /// uniqueness with [`TableWrites::own_key`] and `Table::lookup`, after deleting old versions.
    /// Errors: over budget, a row too large; nothing is added then.
    pub fn insert(
        &mut self,
        _table: TableId,
        _schema: &Arc<TableSchema>,
        _batch: RecordBatch,
        _kept: Option<Vec<RowId>>,
        _keys: Option<&EncodedKeys>,
        _base: Position,
    ) -> Result<(), StorageError> {
        Err(StorageError::Invalid("write sets are not built".into()))
    }

    /// Delete rows that a statement read at snapshot `base`; returns how many were not deleted by
    /// this transaction before.
    pub fn delete(
        &mut self,
        _table: TableId,
        _schema: &Arc<TableSchema>,
        _rows: Deletion<'_>,
        _base: Position,
    ) -> Result<usize, StorageError> {
        Err(StorageError::Invalid("write sets are not built".into()))
    }

    /// Change the catalog at the commit. Several statements' changes are joined in order. The caller
    /// adds the claims of `glaredb_catalog::conflict` to the commit's writes and assertions.
    pub fn change_catalog(&mut self, _change: CatalogChange) {}

    /// Encode complete parts of what was gathered so far and forget their rows (not their keys), so
    /// that a bulk load streams with bounded memory. Only for transactions that will not read their
    /// own rows again. Gives nothing while less than a part's worth is there.
    pub fn drain_parts(&mut self) -> Result<Vec<Bytes>, StorageError> {
        Ok(Vec::new())
    }

    /// Encode the rest.
    pub fn finish(self) -> Result<EncodedWriteSet, StorageError> {
        Ok(EncodedWriteSet::default())
    }
}

impl TableWrites {
    /// Own rows in order of insertion, deleted ones marked.
    #[must_use]
    pub fn own_batches(&self) -> Vec<OwnBatch> {
        Vec::new()
    }

    #[must_use]
    pub fn own_key(&self, _key: &[u8]) -> OwnKey {
        OwnKey::Untouched
    }

    /// Has the transaction deleted this committed or own row?
    #[must_use]
    pub fn is_deleted(&self, _locator: Locator) -> bool {
        false
    }

    /// Has the transaction deleted any committed row of this segment?
    #[must_use]
    pub fn deletes_in(&self, _segment: SegmentId) -> bool {
        false
    }
}
