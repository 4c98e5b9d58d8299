//! What a transaction gathers before it commits.
//!
//! Rows that a transaction inserted are its *own* rows: until the commit they have no locator, so
//! they go by `Locator { segment: OWN_ROWS, row: ordinal }`, counted per table from 0 in order of
//! insertion. A statement that must not see its own inserts takes [`TableWrites::own_batches`] before
//! it starts: the batches are values.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, buffer::BooleanBuffer};
use bytes::Bytes;
use glaredb_catalog::CatalogChange;
use glaredb_txn::{
    commit::message::{Assertion, KeySet, KeyWrites},
    ids::{Locator, Position, RowId, SchemaVersion, SegmentId, TableId},
};

use super::{
    StorageError,
    budget::{Budget, Reservation},
    codec::key::EncodedKeys,
    schema::TableSchema,
    table::{KeyAccess, Table},
};

mod aside;
mod encoding;
mod folded;
mod key_sets;
mod own_keys;
mod places;
mod savepoints;
mod sent_keys;
mod table_writes;
#[cfg(test)]
mod tests;

pub use aside::KeysAside;
pub use encoding::{EncodedPart, PlacesSent};
pub use folded::DeletedIn;
pub use savepoints::Savepoint;
pub use sent_keys::SentKeys;
pub use table_writes::{OwnKey, TableWrites};

/// The segment of own rows, in locators that never leave the session.
pub const OWN_ROWS: SegmentId = SegmentId::MAX;

/// Target size of an encoded part; one part never exceeds the limit of an entry.
pub const PART_BYTES: usize = 768 << 10;

/// Everything a transaction wrote. Its memory counts against the budget until it is dropped.
#[derive(Debug)]
pub struct WriteSet {
    reservation: Reservation,
    /// By table, so that equal write sets have equal bytes.
    tables: BTreeMap<TableId, TableWrites>,
    /// Storages that this transaction creates, or adds columns to.
    created: BTreeMap<TableId, Arc<TableSchema>>,
    catalog: Option<CatalogChange>,
    /// Parts were drained before the rest.
    drained: bool,
    /// What was [discarded](Self::discard) since a savepoint; `None` while none is set.
    discarded: Option<Vec<(TableId, TableWrites)>>,
}

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
#[derive(Debug, Default)]
pub struct EncodedWriteSet {
    /// Beside those that [`WriteSet::drain_parts`] gave before.
    pub parts: Vec<EncodedPart>,
    pub schema_versions: Vec<(TableId, SchemaVersion)>,
    /// Each key once, with its net effect, but for those of the `key_sets`.
    pub writes: KeyWrites,
    /// Keys of tables of which many were written.
    pub key_sets: Vec<KeySet>,
    /// What the sets were made of, but for those of tables with rows that are set aside.
    pub sent_keys: SentKeys,
    /// Tables that got rows under fresh row ids only.
    pub unkeyed: Vec<TableId>,
    /// What the write set itself must assert; none so far.
    pub assertions: Vec<Assertion>,
    pub payload: Bytes,
    /// What the payload was made of.
    pub places: PlacesSent,
}

impl WriteSet {
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        let reservation = budget.reserve(0).expect("nothing always fits");
        Self {
            reservation,
            tables: BTreeMap::new(),
            created: BTreeMap::new(),
            catalog: None,
            drained: false,
            discarded: None,
        }
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        self.reservation.budget()
    }

    /// Nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog.is_none()
            && !self.drained
            && self.created.is_empty()
            && self.tables.values().all(TableWrites::is_empty)
    }

    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.reservation.bytes()
    }

    #[must_use]
    pub fn table(&self, table: TableId) -> Option<&TableWrites> {
        self.tables.get(&table)
    }

    /// Announce a storage that this transaction creates (CREATE TABLE, TRUNCATE), before rows go
    /// into it.
    pub fn create_storage(&mut self, table: TableId, schema: &Arc<TableSchema>) {
        self.created.insert(table, Arc::clone(schema));
    }

    /// Forget what was written to a storage that the transaction drops or replaces.
    pub fn discard(&mut self, table: TableId) {
        if let Some(writes) = self.tables.remove(&table)
            && let Some(discarded) = &mut self.discarded
        {
            discarded.push((table, writes));
        }
        self.created.remove(&table);
    }

    /// The transaction gives a key to a table whose rows have been found to have one each: own rows
    /// are found by it from now on, and committed ones by `access`. `base`: the
    /// snapshot under which they were looked at.
    pub(crate) fn add_key(
        &mut self,
        table: TableId,
        schema: &Arc<TableSchema>,
        access: Option<KeyAccess>,
        base: Position,
    ) -> Result<(), StorageError> {
        if let Some(created) = self.created.get_mut(&table) {
            *created = Arc::clone(schema);
        }
        let writes = self.tables.entry(table).or_default();
        let before = writes.memory_bytes();
        writes.add_key(schema, access, base)?;
        let more = writes.memory_bytes() - before;
        self.reservation.resize(self.reservation.bytes() + more)
    }

    /// The transaction adds or drops columns of a table: own rows get them, and rows that come go by
    /// the new ones. `schema` extends what they were written under.
    pub(crate) fn alter_columns(
        &mut self,
        table: TableId,
        schema: &Arc<TableSchema>,
    ) -> Result<(), StorageError> {
        self.created.insert(table, Arc::clone(schema));
        let Some(writes) = self.tables.get_mut(&table) else { return Ok(()) };
        let before = writes.memory_bytes();
        writes.alter_columns(schema)?;
        let more = writes.memory_bytes().saturating_sub(before);
        self.reservation.resize(self.reservation.bytes() + more)
    }

    /// Change the catalog at the commit. Several statements' changes are joined in order. The caller
    /// adds the claims of `glaredb_catalog::conflict` to the commit's writes and assertions.
    pub fn change_catalog(&mut self, change: CatalogChange) {
        if change.is_empty() {
            return;
        }
        self.catalog = Some(match self.catalog.take() {
            Some(earlier) => earlier.then(change),
            None => change,
        });
    }

    #[must_use]
    pub fn catalog_change(&self) -> Option<&CatalogChange> {
        self.catalog.as_ref()
    }

    /// Add rows. `kept`: row ids that updated rows keep; `None` for new rows. `keys`: the encoded
    /// primary keys, for tables that have one, looked up at snapshot `base`. The caller has checked
    /// uniqueness with [`TableWrites::own_key`] and `Table::lookup`, after deleting old versions.
    /// Errors: over budget, a row too large; nothing is added then.
    pub fn insert(
        &mut self,
        table: TableId,
        schema: &Arc<TableSchema>,
        batch: RecordBatch,
        kept: Option<Vec<RowId>>,
        keys: Option<&EncodedKeys>,
        base: Position,
    ) -> Result<(), StorageError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writes = self.tables.entry(table).or_default();
        let more = writes.check_insert(table, schema, &batch, kept.as_deref(), keys)?;
        self.reservation.resize(self.reservation.bytes() + more)?;
        writes.insert(schema, batch, kept, keys, base);
        Ok(())
    }

    /// Delete rows that a statement read at snapshot `base`; returns how many were not deleted by
    /// this transaction before. `storage`: the table's, where the rows may have moved since they were
    /// found; `None` where it has none yet.
    pub fn delete(
        &mut self,
        table: TableId,
        storage: Option<&Table>,
        schema: &Arc<TableSchema>,
        rows: Deletion<'_>,
        base: Position,
    ) -> Result<usize, StorageError> {
        let writes = self.tables.entry(table).or_default();
        let before = writes.memory_bytes();
        let locators = storage.map(|storage| writes.in_own_list(storage, rows.locators));
        let locators = locators.transpose()?.flatten();
        let rows = Deletion { locators: locators.as_deref().unwrap_or(rows.locators), ..rows };
        let deleted = writes.delete(table, schema, rows, base)?;
        let more = writes.memory_bytes() - before;
        self.reservation.resize_from_reserve(self.reservation.bytes() + more);
        Ok(deleted)
    }

    /// Encode complete parts of what was gathered so far and forget their rows (not their keys), so
    /// that a bulk load streams with bounded memory. Only for transactions that will not read their
    /// own rows again. Gives nothing while less than a part's worth is there.
    pub fn drain_parts(&mut self) -> Result<Vec<EncodedPart>, StorageError> {
        let packed = |writes: &TableWrites| writes.packing.scale(writes.encoded_estimate());
        if self.tables.values().map(packed).sum::<usize>() < PART_BYTES {
            return Ok(Vec::new());
        }
        let mut parts = Vec::new();
        for (table, writes) in &mut self.tables {
            let created = self.created.contains_key(table);
            parts.extend(writes.drain_parts(*table, created, false)?);
        }
        self.drained |= !parts.is_empty();
        self.settle_memory();
        Ok(parts)
    }

    /// The tables it holds writes of, those it created among them.
    pub fn tables(&self) -> impl Iterator<Item = TableId> + '_ {
        let written = self.tables.iter().filter(|(_, writes)| !writes.is_empty());
        written.map(|(table, _)| *table).chain(self.created.keys().copied())
    }

    /// Takes out what was written to the tables that `chosen` names, as a write set of its own.
    #[must_use]
    pub fn split_off(&mut self, chosen: impl Fn(TableId) -> bool) -> Self {
        let mut other = Self::new(Arc::clone(self.budget()));
        for (table, writes) in std::mem::take(&mut self.tables) {
            let side = if chosen(table) { &mut other } else { &mut *self };
            side.tables.insert(table, writes);
        }
        for (table, schema) in std::mem::take(&mut self.created) {
            let side = if chosen(table) { &mut other } else { &mut *self };
            side.created.insert(table, schema);
        }
        // What was drained was of the one table that there is.
        if self.tables.is_empty() && !other.tables.is_empty() {
            other.drained = std::mem::take(&mut self.drained);
        }
        let bytes = other.tables.values().map(TableWrites::memory_bytes).sum();
        other.reservation.resize_from_reserve(bytes);
        self.reservation.shrink(self.reservation.bytes().saturating_sub(bytes));
        other
    }

    /// Encode the rest.
    pub fn finish(mut self) -> Result<EncodedWriteSet, StorageError> {
        let mut parts = Vec::new();
        let total: usize = self.tables.values().map(TableWrites::encoded_estimate).sum();
        if total > PART_BYTES || self.tables.values().any(TableWrites::has_folded) {
            for (table, writes) in &mut self.tables {
                let created = self.created.contains_key(table);
                parts.extend(writes.drain_parts(*table, created, true)?);
            }
        }
        let mut encoded = EncodedWriteSet { parts, ..EncodedWriteSet::default() };
        let (mut sections, mut keys, mut unnamed) = (Vec::new(), Vec::new(), Vec::new());
        for (table, writes) in &mut self.tables {
            if let Some(version) = writes.version() {
                encoded.schema_versions.push((*table, version));
                sections.extend(encoding::encode_section(*table, version, writes)?);
                if let Some(sets) = writes.take_unnamed(*table) {
                    if sets.is_empty() {
                        encoded.unkeyed.push(*table);
                    }
                    unnamed.extend(sets);
                    continue;
                }
                match writes.take_keys(*table) {
                    Some(of_table) => keys.push(of_table),
                    None => encoded.unkeyed.push(*table),
                }
            }
        }
        let said = sent_keys::say(keys, self.reservation);
        (encoded.writes, encoded.key_sets, encoded.sent_keys) = (said.named, said.sets, said.sent);
        encoded.key_sets.extend(unnamed);
        // Rows went into parts where they are many: too large is what has much DDL.
        (encoded.payload, encoded.places) = encoding::payload(sections, self.catalog)?;
        Ok(encoded)
    }
}
