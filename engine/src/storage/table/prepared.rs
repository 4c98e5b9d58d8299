//! An index that is built before the record that brings its key.
//!
//! `apply` is one thread, and every commit waits for it: building the index of a large table there
//! would hold up all of them. So ALTER TABLE builds it beside `apply`, from the rows that its snapshot
//! sees, and its record finds it ready. Whether it is used changes nothing but the time that takes:
//! a record whose table was written to since, or that another process logged, builds it anew.

use std::sync::{Arc, atomic::Ordering};

use glaredb_txn::ids::Timestamp;

use super::Table;
use crate::storage::{StorageError, key_index::KeyIndex, schema::TableSchema};

/// An index of all rows that a snapshot sees.
#[derive(Debug)]
pub(super) struct PreparedIndex {
    /// Ordinals of the key's columns.
    key: Vec<usize>,
    at: Timestamp,
    /// The list of chunks that it names.
    edits: u64,
    index: Arc<KeyIndex>,
}

impl Table {
    /// Builds the index, of the rows in chunks, for the key of `schema`, which is about to become the table's, as of `at`, a
    /// registered snapshot, and keeps it for the commit. May take seconds: not for a thread that must not.
    pub fn prepare_index(
        &self,
        schema: &TableSchema,
        at: Timestamp,
    ) -> Result<Arc<KeyIndex>, StorageError> {
        let Some(key) = schema.key() else { return Ok(Arc::default()) };
        let edits = self.edits.load(Ordering::Acquire);
        let index = Arc::new(self.build_index(schema, at)?);
        let prepared = PreparedIndex { key: key.to_vec(), at, edits, index: Arc::clone(&index) };
        *self.prepared.lock() = Some(prepared);
        Ok(index)
    }

    /// The index prepared for this key, if no row came or went since.
    pub(super) fn take_prepared(&self, key: &[usize]) -> Option<Arc<KeyIndex>> {
        let prepared = self.prepared.lock().take()?;
        let unchanged = self.changed_at.load(Ordering::Relaxed) <= prepared.at.0
            && self.edits.load(Ordering::Acquire) == prepared.edits;
        (prepared.key == key && unchanged).then_some(prepared.index)
    }

    /// The statement that prepared it holds its snapshot until its commit is answered: once the
    /// horizon has passed that, nobody will come for it.
    pub(super) fn forget_prepared(&self, horizon: Timestamp) {
        let mut prepared = self.prepared.lock();
        if prepared.as_ref().is_some_and(|prepared| prepared.at < horizon) {
            *prepared = None;
        }
    }

    /// Bytes of an index that waits for its record.
    pub(super) fn prepared_bytes(&self) -> u64 {
        self.prepared.lock().as_ref().map_or(0, |prepared| prepared.index.memory_bytes())
    }
}
