//! What a transaction wrote to one table.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::BooleanBuffer,
};
use bytes::Bytes;
use glaredb_txn::{
    commit::message::KeySet,
    ids::{Locator, Position, RowId, SchemaVersion, SegmentId, TableId},
};
use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::{
    Deletion, OWN_ROWS, OwnBatch,
    aside::Aside,
    encoding,
    folded::DeletedIn,
    own_keys::{self, OwnKeys},
    savepoints::TableUndo,
    sent_keys::TableKeys,
};
use crate::storage::{
    StorageError,
    codec::key::EncodedKeys,
    schema::TableSchema,
    table::{KeyAccess, Table},
};

/// What a transaction wrote to one table.
#[derive(Debug, Default)]
pub struct TableWrites {
    pub(super) schema: Option<Arc<TableSchema>>,
    pub(super) batches: Vec<OwnRows>,
    /// Ordinal of the next own row.
    pub(super) next_own: u32,
    pub(super) deletes: Vec<DeletedRow>,
    /// How many came and are not there any more.
    pub(super) deletes_taken: u64,
    /// Those that are too many to be there; `None`: they are not.
    pub(super) folded: Option<DeletedIn>,
    /// All that were deleted, by source.
    pub(super) deleted: HashMap<SegmentId, RoaringBitmap>,
    /// Of the list that the places of `deletes` are of.
    pub(super) edits: u64,
    /// What became of each key, in tables with a primary key.
    pub(super) keys: OwnKeys,
    /// The committed rows by a key that the transaction gave the table: its storage has none yet.
    pub(super) new_key: Option<KeyAccess>,
    /// Row ids updated or deleted, in tables without one, each with the base of its statement.
    pub(super) row_ids: Vec<(RowId, Position)>,
    /// Row ids that own rows keep, in tables without a primary key.
    pub(super) kept_ids: Vec<RowId>,
    /// Of the first statement that wrote.
    pub(super) first_base: Option<Position>,
    /// Keys that are not at hand any more.
    pub(super) unnamed: Vec<KeySet>,
    /// Rows that are written into segments already.
    pub(super) aside: Option<Box<Aside>>,
    pub(super) memory: u64,
    pub(super) encoded: usize,
    pub(super) packing: Packing,
    /// What changed in place since a savepoint; `None` while none is set.
    pub(super) undo: Option<Vec<TableUndo>>,
}

/// How the parts written so far compare with what was estimated: columns pack well or hardly at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    /// Bytes of the last part per 1,024 estimated ones.
    per_1024: usize,
}

impl Default for Packing {
    fn default() -> Self {
        Self { per_1024: 1024 }
    }
}

impl Packing {
    pub(super) fn learn(&mut self, estimated: usize, bytes: usize) {
        // At most eight times as many rows as estimated: what is gathered stays small, and rows that
        // pack to nothing may be followed by others.
        self.per_1024 = (bytes.saturating_mul(1024) / estimated.max(1)).clamp(128, 4096);
    }

    pub(super) fn scale(self, estimated: usize) -> usize {
        (estimated / 1024).saturating_mul(self.per_1024) + estimated % 1024 * self.per_1024 / 1024
    }
}

/// Own rows of one batch.
#[derive(Clone, Debug)]
pub(super) struct OwnRows {
    pub(super) batch: RecordBatch,
    pub(super) first: u32,
    pub(super) kept: Option<Arc<[RowId]>>,
    /// Deleted again; empty: none.
    pub(super) dead: Vec<bool>,
    /// Estimate of the encoded size.
    pub(super) encoded: usize,
    memory: u64,
}

/// A committed row that the transaction deletes.
#[derive(Debug)]
pub(super) struct DeletedRow {
    pub(super) locator: Locator,
    pub(super) row_id: RowId,
    /// Empty where the row id is the key, or was when the row was deleted.
    pub(super) key: Bytes,
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

/// Memory of a deleted row, roughly, its share of a bitmap with it.
const DELETED_ROW_BYTES: u64 = 84;

fn key_memory(key: &[u8]) -> u64 {
    own_keys::ENTRY_BYTES + key.len() as u64
}

impl DeletedRow {
    pub(super) fn memory(&self) -> u64 {
        DELETED_ROW_BYTES + self.key.len() as u64
    }
}

impl OwnRows {
    pub(super) fn new(batch: RecordBatch, first: u32, kept: Option<Arc<[RowId]>>) -> Self {
        let encoded = encoding::encoded_estimate(&batch);
        let memory = encoding::batch_memory(&batch);
        Self { batch, first, kept, dead: Vec::new(), encoded, memory }
    }

    /// The rows from place `n` on; none of them is deleted.
    pub(super) fn from(&self, n: usize) -> Self {
        let batch = self.batch.slice(n, self.batch.num_rows() - n);
        let kept = self.kept.as_ref().map(|ids| ids[n..].into());
        Self::new(batch, self.first + n as u32, kept)
    }
}

impl TableWrites {
    pub(super) fn is_empty(&self) -> bool {
        self.aside.is_none()
            && self.batches.is_empty()
            && self.deletes.is_empty()
            && !self.has_folded()
            && self.keys.is_empty()
            && self.row_ids.is_empty()
    }

    pub(super) fn version(&self) -> Option<SchemaVersion> {
        self.schema.as_ref().map(|schema| schema.version())
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory + self.folded_bytes() + self.undo_bytes()
    }

    pub(super) fn has_folded(&self) -> bool {
        self.folded.as_ref().is_some_and(|folded| !folded.is_empty())
    }

    /// Does it delete rows that others committed, beside those in parts that were sent?
    pub(super) fn deletes_committed(&self) -> bool {
        !self.deletes.is_empty() || self.has_folded()
    }

    /// About how many bytes the rows will be in a record.
    pub(super) fn encoded_estimate(&self) -> usize {
        self.encoded
    }

    /// Own rows in order of insertion, deleted ones marked.
    #[must_use]
    pub fn own_batches(&self) -> Vec<OwnBatch> {
        self.batches
            .iter()
            .map(|own| OwnBatch {
                batch: own.batch.clone(),
                first: own.first,
                alive: (!own.dead.is_empty()).then(|| own.dead.iter().map(|dead| !dead).collect()),
                row_ids: own.kept.clone(),
            })
            .collect()
    }

    #[must_use]
    pub fn own_key(&self, key: &[u8]) -> OwnKey {
        match (self.keys.get(key), &self.aside) {
            (OwnKey::Untouched, Some(aside)) => match aside.in_flight.get(key) {
                OwnKey::Untouched => aside.streamed.get(key),
                found => found,
            },
            (found, _) => found,
        }
    }

    pub(super) fn gathered_bytes(&self) -> u64 {
        self.batches.iter().map(|own| own.memory).sum()
    }

    /// Keys that the transaction touched.
    #[must_use]
    pub fn keys_touched(&self) -> usize {
        self.keys.len()
    }

    /// Own rows that have a key, with it, in no order.
    pub fn own_keys(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.keys.rows()
    }

    /// By what the committed rows are found; `None` for a table without a key.
    pub(crate) fn key_access(&self, table: &Table) -> Option<KeyAccess> {
        self.new_key.clone().or_else(|| table.key_access())
    }

    /// See [`WriteSet::add_key`](super::WriteSet::add_key).
    pub(super) fn add_key(
        &mut self,
        schema: &Arc<TableSchema>,
        access: Option<KeyAccess>,
        base: Position,
    ) -> Result<(), StorageError> {
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Err(StorageError::Invalid("the key that was added is missing".to_owned()));
        };
        for own in &self.batches {
            let columns: Vec<ArrayRef> =
                key.iter().map(|column| Arc::clone(own.batch.column(*column))).collect();
            // Rows that are deleted again were not looked at: they may hold what makes no key.
            let keys = encoder.encode_stored(&columns)?;
            for n in (0..keys.len()).filter(|n| !own.dead.get(*n).is_some_and(|dead| *dead)) {
                let row = own.first + n as u32;
                let key = keys.get(n);
                self.memory += own_keys::ENTRY_BYTES + key.len() as u64;
                self.keys.insert(key, row, base);
            }
        }
        self.memory += access.as_ref().map_or(0, |access| access.index.memory_bytes());
        self.new_key = access;
        if self.schema.is_some() {
            self.schema = Some(Arc::clone(schema));
        }
        Ok(())
    }

    /// See [`WriteSet::alter_columns`](super::WriteSet::alter_columns).
    pub(super) fn alter_columns(&mut self, schema: &Arc<TableSchema>) -> Result<(), StorageError> {
        if let Some(undo) = &mut self.undo {
            undo.push(TableUndo::Batches(self.batches.clone()));
        }
        for own in &mut self.batches {
            let rows = own.batch.num_rows();
            let mut columns = own.batch.columns().to_vec();
            columns.extend(
                (columns.len()..schema.columns().len())
                    .map(|ordinal| schema.missing(ordinal, rows)),
            );
            let batch = RecordBatch::try_new(Arc::clone(schema.arrow()), columns)
                .map_err(|e| StorageError::Invalid(format!("own rows: {e}")))?;
            let dead = std::mem::take(&mut own.dead);
            self.memory -= own.memory;
            self.encoded -= own.encoded;
            *own = OwnRows { dead, ..OwnRows::new(batch, own.first, own.kept.take()) };
            self.memory += own.memory;
            self.encoded += own.encoded;
        }
        if self.schema.is_some() {
            self.schema = Some(Arc::clone(schema));
        }
        Ok(())
    }

    /// Has the transaction deleted this committed or own row? Of committed ones, by their places in the
    /// list that the writes were [brought to](Self::translate_to).
    #[must_use]
    pub fn is_deleted(&self, locator: Locator) -> bool {
        if locator.segment == OWN_ROWS {
            return self
                .own_rows(locator.row)
                .is_none_or(|(own, n)| own.dead.get(n).copied().unwrap_or(false));
        }
        self.deleted.get(&locator.segment).is_some_and(|rows| rows.contains(locator.row))
    }

    /// The committed rows of a source that the transaction has deleted, if there are any.
    #[must_use]
    pub fn deleted_in(&self, source: SegmentId) -> Option<&RoaringBitmap> {
        self.deleted.get(&source)
    }

    /// False: it was marked before.
    pub(super) fn mark_deleted(&mut self, locator: Locator) -> bool {
        self.deleted.entry(locator.segment).or_default().insert(locator.row)
    }

    pub(super) fn unmark_deleted(&mut self, locator: Locator) {
        if let Some(rows) = self.deleted.get_mut(&locator.segment) {
            rows.remove(locator.row);
            if rows.is_empty() {
                self.deleted.remove(&locator.segment);
            }
        }
    }

    /// Has the transaction deleted any committed row of this source?
    #[must_use]
    pub fn deletes_in(&self, segment: SegmentId) -> bool {
        self.deleted.contains_key(&segment)
    }

    pub(super) fn own_place(&self, row: u32) -> Option<(usize, usize)> {
        let at = self.batches.partition_point(|own| own.first <= row).checked_sub(1)?;
        let n = (row - self.batches[at].first) as usize;
        (n < self.batches[at].batch.num_rows()).then_some((at, n))
    }

    fn own_rows(&self, row: u32) -> Option<(&OwnRows, usize)> {
        self.own_place(row).map(|(at, n)| (&self.batches[at], n))
    }

    /// Whether an insertion fits the table, and the memory it takes.
    pub(super) fn check_insert(
        &self,
        table: TableId,
        schema: &Arc<TableSchema>,
        batch: &RecordBatch,
        kept: Option<&[RowId]>,
        keys: Option<&EncodedKeys>,
    ) -> Result<u64, StorageError> {
        let rows = batch.num_rows();
        let mismatch = |reason: String| StorageError::SchemaMismatch {
            table,
            version: schema.version(),
            reason,
        };
        if let Some(other) = self.schema.as_ref().filter(|own| !own.same_columns(schema)) {
            return Err(mismatch(format!("rows of {} were written before", other.version())));
        }
        for (field, column) in schema.arrow().fields().iter().zip(batch.columns()) {
            if field.data_type() != column.data_type() {
                return Err(mismatch(format!(
                    "column \"{}\" is {}, the batch has {}",
                    field.name(),
                    field.data_type(),
                    column.data_type()
                )));
            }
        }
        if batch.num_columns() != schema.columns().len() {
            return Err(mismatch(format!("a batch of {} columns", batch.num_columns())));
        }
        if schema.key().is_some() != keys.is_some()
            || keys.is_some_and(|keys| keys.len() != rows)
            || kept.is_some_and(|ids| ids.len() != rows)
        {
            return Err(mismatch(format!("{rows} rows with other numbers of keys or row ids")));
        }
        let fits = u32::try_from(rows).ok().and_then(|rows| self.next_own.checked_add(rows));
        if fits.is_none() {
            return Err(StorageError::Invalid(format!(
                "a transaction cannot insert more than {} rows into one table",
                u32::MAX
            )));
        }
        encoding::check_row_sizes(batch)?;
        let keys = keys.map_or(0, |keys| keys.iter().map(key_memory).sum::<u64>());
        Ok(encoding::batch_memory(batch) + keys)
    }

    pub(super) fn insert(
        &mut self,
        schema: &Arc<TableSchema>,
        batch: RecordBatch,
        kept: Option<Vec<RowId>>,
        keys: Option<&EncodedKeys>,
        base: Position,
    ) {
        let rows = batch.num_rows();
        let first = self.next_own;
        self.first_base.get_or_insert(base);
        if let Some(keys) = keys {
            for (row, key) in keys.iter().enumerate() {
                if self.keys.insert(key, first + row as u32, base) {
                    self.memory += key_memory(key);
                }
            }
        }
        self.next_own += rows as u32;
        if schema.key().is_none() {
            self.kept_ids.extend(kept.iter().flatten());
        }
        self.put_back(OwnRows::new(batch, first, kept.map(Into::into)));
        self.schema = Some(Arc::clone(schema));
    }

    pub(super) fn delete(
        &mut self,
        table: TableId,
        schema: &Arc<TableSchema>,
        rows: Deletion<'_>,
        base: Position,
    ) -> Result<usize, StorageError> {
        let count = rows.locators.len();
        let keyed = schema.key().is_some();
        if rows.row_ids.len() != count
            || keyed != rows.keys.is_some()
            || rows.keys.is_some_and(|keys| keys.len() != count)
        {
            return Err(StorageError::SchemaMismatch {
                table,
                version: schema.version(),
                reason: format!("{count} rows to delete with other numbers of keys or row ids"),
            });
        }
        self.schema = Some(Arc::clone(schema));
        self.first_base.get_or_insert(base);
        let mut deleted = 0;
        for (n, locator) in rows.locators.iter().enumerate() {
            deleted += usize::from(if locator.segment == OWN_ROWS {
                self.delete_own(locator.row, rows.keys.map(|keys| keys.get(n)))
            } else {
                let key = rows.keys.map(|keys| keys.get_bytes(n));
                self.delete_committed(*locator, rows.row_ids[n], key, base)
            });
        }
        Ok(deleted)
    }

    fn delete_own(&mut self, row: u32, key: Option<&[u8]>) -> bool {
        let Some((at, n)) = self.own_place(row) else { return false };
        let own = &mut self.batches[at];
        if own.dead.is_empty() {
            own.dead = vec![false; own.batch.num_rows()];
        }
        if std::mem::replace(&mut own.dead[n], true) {
            return false;
        }
        if let Some(undo) = &mut self.undo {
            undo.push(TableUndo::Died(row));
        }
        if let Some(key) = key {
            self.keys.forget_row(key, row);
        }
        true
    }

    fn delete_committed(
        &mut self,
        locator: Locator,
        row_id: RowId,
        key: Option<Bytes>,
        base: Position,
    ) -> bool {
        if !self.mark_deleted(locator) {
            return false;
        }
        if let Some(folded) = &mut self.folded {
            folded.entry(locator.segment).or_default().insert(locator.row);
            self.deletes_taken += 1;
            match key {
                Some(key) if self.keys.remove(&key, base) => self.memory += key_memory(&key),
                Some(_) => {}
                None => self.row_ids.push((row_id, base)),
            }
            return true;
        }
        self.memory += DELETED_ROW_BYTES;
        let key = match key {
            Some(key) => {
                if self.keys.remove(&key, base) {
                    self.memory += key_memory(&key);
                }
                // The row's own share.
                self.memory += key.len() as u64;
                key
            }
            None => {
                self.row_ids.push((row_id, base));
                Bytes::new()
            }
        };
        self.encoded += 12 + key.len();
        self.deletes.push(DeletedRow { locator, row_id, key });
        true
    }

    /// Own rows that are still there, without the deleted ones, oldest first.
    pub(super) fn take_rows(&mut self) -> Result<Vec<OwnRows>, StorageError> {
        let batches = std::mem::take(&mut self.batches);
        let mut left = Vec::with_capacity(batches.len());
        for mut own in batches {
            self.memory -= own.memory;
            self.encoded -= own.encoded;
            if !own.dead.is_empty() {
                let alive: BooleanBuffer = own.dead.iter().map(|dead| !dead).collect();
                own.kept = own.kept.map(|ids| {
                    ids.iter()
                        .zip(&own.dead)
                        .filter(|(_, dead)| !**dead)
                        .map(|(id, _)| *id)
                        .collect()
                });
                own.batch = arrow::compute::filter_record_batch(&own.batch, &alive.into())
                    .map_err(|e| StorageError::Invalid(format!("own rows: {e}")))?;
                own = OwnRows::new(own.batch, own.first, own.kept);
            }
            if own.batch.num_rows() > 0 {
                left.push(own);
            }
        }
        Ok(left)
    }

    /// Add own rows, or put back those that were not drained.
    pub(super) fn put_back(&mut self, own: OwnRows) {
        self.memory += own.memory;
        self.encoded += own.encoded;
        self.batches.push(own);
    }

    pub(super) fn take_deletes(&mut self) -> Vec<DeletedRow> {
        let deletes = std::mem::take(&mut self.deletes);
        let encoded: usize = deletes.iter().map(|row| 12 + row.key.len()).sum();
        self.encoded = self.encoded.saturating_sub(encoded);
        self.deletes_taken += deletes.len() as u64;
        deletes
    }

    /// The keys it wrote; `None`: there is none.
    pub(super) fn take_keys(&mut self, table: TableId) -> Option<TableKeys> {
        let keys = std::mem::take(&mut self.keys);
        let row_ids = std::mem::take(&mut self.row_ids);
        let any = !keys.is_empty() || !row_ids.is_empty();
        any.then(|| TableKeys::new(table, keys, row_ids, std::mem::take(&mut self.kept_ids)))
    }
}
