//! Places of deleted rows, while jobs move rows (`docs/flush.md`).
//!
//! # Invariant
//! All places that a table's writes hold are those of one list of the table. Whatever enters is brought
//! to it, and before anybody asks about the places of another list all are brought to that.
//!
//! The moves that this follows are kept as long as a snapshot is registered that is older. So whoever
//! deletes rows keeps the one registered under which the places were brought to a list last.

use std::sync::Arc;

use glaredb_txn::ids::{Locator, TableId, Timestamp};

use super::{OWN_ROWS, TableWrites, WriteSet};
use crate::storage::{
    StorageError,
    table::{Sight, Table, TableList, ThenRead},
    warmed::{ReadError, Warmed},
};

impl WriteSet {
    /// Brings all places to the newest lists of their tables. Error: rows were moved, and nobody knows
    /// where to.
    pub fn follow_moves(
        &mut self,
        storage: impl Fn(TableId) -> Option<Arc<Table>>,
    ) -> Result<(), StorageError> {
        let discarded =
            self.discarded.iter_mut().flatten().map(|(table, writes)| (&*table, writes));
        for (table, writes) in self.tables.iter_mut().chain(discarded) {
            if !writes.deletes_committed() {
                continue;
            }
            // Of a table that is gone the resolver says so.
            if let Some(table) = storage(*table) {
                writes.to_newest_list(&table)?;
            }
        }
        Ok(())
    }

    /// Does it delete rows that others committed?
    #[must_use]
    pub fn deletes_committed(&self) -> bool {
        let discarded = self.discarded.iter().flatten().map(|(_, writes)| writes);
        self.tables.values().chain(discarded).any(TableWrites::deletes_committed)
    }

    /// What was written to a table, to be brought to another list.
    pub fn table_mut(&mut self, table: TableId) -> Option<&mut TableWrites> {
        self.tables.get_mut(&table)
    }

    /// The newest list of a table, to which its writes are brought.
    pub fn newest_list(&mut self, table: &Table) -> Result<TableList, StorageError> {
        match self.tables.get_mut(&table.id()) {
            Some(writes) => writes.to_newest_list(table),
            None => Ok(table.list()),
        }
    }
}

impl TableWrites {
    /// Brings all places to `list`, which was taken while the write set was locked: it is no older than
    /// that of the places. Nothing is done where nothing moved. Error: rows were moved, and nobody knows
    /// where to.
    pub fn translate_to(&mut self, table: &Table, list: &TableList) -> Result<(), StorageError> {
        if self.edits == list.edits() {
            return Ok(());
        }
        let mut moved = Vec::new();
        let mut here = None;
        for (n, row) in self.deletes.iter().enumerate() {
            let from = row.locator;
            if here == Some(from.segment) || list.has_source(from.segment) {
                here = Some(from.segment);
                continue;
            }
            let to = table.place_in(from, list).ok_or(StorageError::RowsMoved(table.id()))?;
            moved.push((n, from, to));
        }
        for (_, from, _) in &moved {
            self.unmark_deleted(*from);
        }
        for (n, _, to) in moved {
            self.deletes[n].locator = to;
            self.mark_deleted(to);
        }
        self.translate_folded(table, list)?;
        self.edits = list.edits();
        Ok(())
    }

    /// The newest list, to which all places are brought.
    pub fn to_newest_list(&mut self, table: &Table) -> Result<TableList, StorageError> {
        let list = table.list();
        self.translate_to(table, &list)?;
        Ok(list)
    }

    /// Where rows lie in the list of the places held, wherever a statement found them; `None`: there.
    pub(super) fn in_own_list(
        &mut self,
        table: &Table,
        locators: &[Locator],
    ) -> Result<Option<Vec<Locator>>, StorageError> {
        let list = self.to_newest_list(table)?;
        let mut known = OWN_ROWS;
        let mut is_here = |locator: &Locator| {
            let here = locator.segment == known || list.has_source(locator.segment);
            if here {
                known = locator.segment;
            }
            here || locator.segment == OWN_ROWS
        };
        if locators.iter().all(&mut is_here) {
            return Ok(None);
        }
        let place = |locator: &Locator| match is_here(locator) {
            true => Ok(*locator),
            false => table.place_in(*locator, &list).ok_or(StorageError::RowsMoved(table.id())),
        };
        locators.iter().map(place).collect::<Result<_, _>>().map(Some)
    }

    /// Which of these rows, wherever a statement found them, the transaction has deleted.
    pub fn are_deleted(
        &mut self,
        table: Option<&Table>,
        locators: &[Locator],
    ) -> Result<Vec<bool>, StorageError> {
        let placed = table.map(|table| self.in_own_list(table, locators)).transpose()?.flatten();
        let locators = placed.as_deref().unwrap_or(locators);
        Ok(locators.iter().map(|locator| self.is_deleted(*locator)).collect())
    }

    /// The committed row with this key, of those [`own_key`](Self::own_key) says nothing of. `then`: what
    /// is read of it.
    pub fn find(
        &mut self,
        table: &Table,
        key: &[u8],
        at: Timestamp,
        then: Option<ThenRead<'_>>,
        warmed: &Warmed,
    ) -> Result<Option<Locator>, ReadError> {
        match &self.new_key {
            None => table.lookup_and(key, at, then, warmed),
            Some(_) => Ok(self.find_all(table, &[key], at, warmed)?[0]),
        }
    }

    /// The same for many keys.
    pub fn find_all(
        &mut self,
        table: &Table,
        keys: &[&[u8]],
        at: Timestamp,
        warmed: &Warmed,
    ) -> Result<Vec<Option<Locator>>, ReadError> {
        let Some(access) = self.new_key.clone() else { return table.lookup_all(keys, at, warmed) };
        loop {
            let list = self.to_newest_list(table)?;
            // Rows deleted before the key came are not known by it.
            let hidden = |locator| self.is_deleted(locator);
            let sight = Sight { at, hidden: &hidden, warmed, then: None };
            if let Some(found) = table.lookup_in(&list, &access, keys, &sight)? {
                return Ok(found);
            }
        }
    }
}
