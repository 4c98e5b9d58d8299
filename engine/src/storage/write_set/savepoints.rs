//! Savepoints of a write set: what was written after one can be undone.
//!
//! # Invariant
//! A write set that is rewound to a savepoint is the one it was when the savepoint was set, in all
//! that can be read of it and in every byte it encodes to, but that places are those of the newest list
//! it was brought to ([`places`](super::places)). The same holds after any further writes,
//! savepoints and rewinds, as often as one likes: nothing of what was undone is left in it.
//!
//! # How
//! Nearly everything in a write set only grows: batches of own rows, deletions, entries of keys. Of
//! these a savepoint holds the lengths. What changes in place is noted as it was before, from the first
//! savepoint on and as long as there is one: own rows that are deleted again, whose row a key is,
//! batches that ALTER TABLE makes anew, and tables that are forgotten as a whole. So a savepoint costs
//! as much as there are tables, whatever is in them, and undoing as much as what is undone.

use std::{collections::BTreeMap, sync::Arc};

use glaredb_txn::ids::TableId;

use super::{
    TableWrites, WriteSet,
    own_keys::KeysMark,
    table_writes::{DeletedRow, OwnRows},
};
use crate::storage::{StorageError, schema::TableSchema, table::KeyAccess};

/// A point to which a write set can be [rewound](WriteSet::rewind).
#[derive(Debug)]
pub struct Savepoint {
    tables: BTreeMap<TableId, TableMark>,
    created: BTreeMap<TableId, Arc<TableSchema>>,
    discarded: usize,
    /// Memory of the write set when it was set, with the savepoint's own.
    bytes: u64,
    own_bytes: u64,
}

/// Something of a table that changed in place, as it was before.
#[derive(Debug)]
pub(super) enum TableUndo {
    /// The own row with this ordinal was alive.
    Died(u32),
    /// All batches of own rows.
    Batches(Vec<OwnRows>),
}

/// How far a table's writes were when a savepoint was set.
#[derive(Debug)]
struct TableMark {
    schema: Option<Arc<TableSchema>>,
    new_key: Option<KeyAccess>,
    batches: usize,
    next_own: u32,
    deletes: usize,
    keys: KeysMark,
    row_ids: usize,
    kept_ids: usize,
    memory: u64,
    encoded: usize,
    undo: usize,
}

impl WriteSet {
    /// Sets a savepoint.
    ///
    /// # Errors
    /// Over budget; nothing is set then.
    pub fn set_savepoint(&mut self) -> Result<Savepoint, StorageError> {
        let own_bytes = (size_of::<Savepoint>()
            + self.tables.len() * size_of::<(TableId, TableMark)>()
            + self.created.len() * size_of::<(TableId, Arc<TableSchema>)>())
            as u64;
        let bytes = self.reservation.bytes() + own_bytes;
        self.reservation.resize(bytes)?;
        let discarded = self.discarded.get_or_insert_default().len();
        let marks = self.tables.iter_mut().map(|(table, writes)| (*table, writes.mark()));
        let tables = marks.collect();
        Ok(Savepoint { tables, created: self.created.clone(), discarded, bytes, own_bytes })
    }

    /// Undoes everything since `savepoint`, which stays set. Those that were set after it are void.
    pub fn rewind(&mut self, savepoint: &Savepoint) {
        for (table, writes) in
            self.discarded.get_or_insert_default().drain(savepoint.discarded..).rev()
        {
            self.tables.insert(table, writes);
        }
        self.tables.retain(|table, writes| match savepoint.tables.get(table) {
            Some(mark) => {
                writes.rewind(mark);
                true
            }
            None => false,
        });
        self.created.clone_from(&savepoint.created);
        self.reservation.shrink(savepoint.bytes);
    }

    /// `savepoint` is given up, what was written after it stays. `last`: no other is set.
    pub fn release_savepoint(&mut self, savepoint: &Savepoint, last: bool) {
        let mut freed = savepoint.own_bytes;
        if last {
            for writes in self.tables.values_mut() {
                freed += writes.undo_bytes();
                writes.forget_marks();
            }
            let discarded = self.discarded.take().unwrap_or_default();
            freed += discarded.iter().map(|(_, writes)| writes.memory_bytes()).sum::<u64>();
        }
        self.reservation.shrink(self.reservation.bytes().saturating_sub(freed));
    }
}

impl TableWrites {
    fn mark(&mut self) -> TableMark {
        TableMark {
            schema: self.schema.clone(),
            new_key: self.new_key.clone(),
            batches: self.batches.len(),
            next_own: self.next_own,
            deletes: self.deletes.len(),
            keys: self.keys.mark(),
            row_ids: self.row_ids.len(),
            kept_ids: self.kept_ids.len(),
            memory: self.memory,
            encoded: self.encoded,
            undo: self.undo.get_or_insert_default().len(),
        }
    }

    fn rewind(&mut self, mark: &TableMark) {
        let noted = self.undo.get_or_insert_default().split_off(mark.undo);
        for undo in noted.into_iter().rev() {
            match undo {
                TableUndo::Batches(batches) => self.batches = batches,
                TableUndo::Died(row) => {
                    if let Some((at, n)) = self.own_place(row) {
                        self.batches[at].dead[n] = false;
                    }
                }
            }
        }
        self.batches.truncate(mark.batches);
        self.next_own = mark.next_own;
        for DeletedRow { locator, .. } in self.deletes.split_off(mark.deletes) {
            self.unmark_deleted(locator);
        }
        self.keys.rewind(mark.keys);
        self.row_ids.truncate(mark.row_ids);
        self.kept_ids.truncate(mark.kept_ids);
        self.new_key.clone_from(&mark.new_key);
        self.schema.clone_from(&mark.schema);
        self.memory = mark.memory;
        self.encoded = mark.encoded;
    }

    fn forget_marks(&mut self) {
        self.undo = None;
        self.keys.forget_marks();
    }

    /// Memory of what is noted for savepoints.
    pub(super) fn undo_bytes(&self) -> u64 {
        let noted = self.undo.as_ref().map_or(0, Vec::len) * size_of::<TableUndo>();
        noted as u64 + self.keys.undo_bytes()
    }
}

#[cfg(test)]
mod tests;
