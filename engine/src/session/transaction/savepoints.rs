//! Savepoints: what a transaction did since one of them is undone, the rest of it stays.
//!
//! # Invariant
//! After ROLLBACK TO, whatever the transaction does, sees and commits is what it would have been had
//! nothing happened since the savepoint was set, except that time has passed: snapshots of READ
//! COMMITTED are newer, OIDs are used up, turns at rows are kept until the transaction ends.
//!
//! A statement that fails may leave part of what it wrote. Nobody sees it: the transaction can then
//! only be rolled back, or rolled back to a savepoint, which undoes that part like all the rest. So
//! there is one way to undo, and statements need none of their own.
//!
//! A statement that was given up may go on for a moment on the runtime for queries. It holds the
//! transaction as it was: ROLLBACK TO leaves that one behind, empty, and goes on with another.

use std::sync::Arc;

use glaredb_txn::ids::TableId;
use parking_lot::Mutex;

use super::{Savepoint, Transaction};
use crate::{
    error::{SqlError, sqlstate},
    session::{errors::storage_error, execute::take},
};

impl Transaction {
    /// How many savepoints are set.
    pub(in crate::session) fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// SAVEPOINT.
    ///
    /// # Errors
    /// 53200 over budget.
    pub(in crate::session) fn set_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let writes = match &self.writes {
            Some(writes) => Some(writes.lock().set_savepoint().map_err(storage_error)?),
            None => None,
        };
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            writes,
            ddl: Arc::clone(&self.ddl),
            read_only: self.modes.read_only,
        });
        Ok(())
    }

    /// Index of the innermost savepoint of that name, from 0 for the outermost.
    ///
    /// # Errors
    /// 3B001.
    pub(in crate::session) fn savepoint(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_SAVEPOINT_SPECIFICATION,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }

    /// Whether the transaction made a storage since its newest savepoint.
    pub(in crate::session) fn is_of_innermost(&self, storage: TableId) -> bool {
        let has = |ddl: &super::Ddl| {
            let mut tables = ddl.change.upsert_tables.iter().chain(&ddl.temporary.upsert_tables);
            tables.any(|table| table.is_stored() && table.storage == storage)
        };
        // What was committed stands in a change too, if the transaction altered it.
        has(&self.ddl)
            && !self.savepoints.last().is_some_and(|savepoint| has(&savepoint.ddl))
            && !self.temporary.has_storage(storage)
    }

    /// Whether the transaction is read-only apart from its sub-transactions.
    pub(in crate::session) fn is_read_only_outermost(&self) -> bool {
        self.savepoints.first().map_or(self.modes.read_only, |outermost| outermost.read_only)
    }

    /// RELEASE SAVEPOINT: forgets it and those inside of it, keeps what was done.
    pub(in crate::session) fn release_savepoint(&mut self, index: usize) {
        if let Some(first) = self.savepoints.get(index) {
            // As in PostgreSQL: READ ONLY of a sub-transaction ends with it.
            self.modes.read_only = first.read_only;
        }
        for released in self.savepoints.split_off(index).into_iter().rev() {
            if let (Some(writes), Some(savepoint)) = (&self.writes, &released.writes) {
                let last = self.savepoints.iter().all(|left| left.writes.is_none());
                writes.lock().release_savepoint(savepoint, last);
            }
        }
    }

    /// ROLLBACK TO SAVEPOINT: the transaction as it was when that was set. The savepoint stays, those
    /// inside of it go. What is left in `transaction` is nobody's.
    pub(in crate::session) fn rolled_back_to(
        transaction: &Mutex<Self>,
        index: usize,
    ) -> Arc<Mutex<Self>> {
        let mut this = take(transaction);
        this.savepoints.truncate(index + 1);
        if let Some(savepoint) = this.savepoints.last() {
            this.modes.read_only = savepoint.read_only;
            this.ddl = Arc::clone(&savepoint.ddl);
            let left = this.writes.take();
            this.writes = left.zip(savepoint.writes.as_ref()).map(|(left, savepoint)| {
                let mut left = left.lock();
                let empty = super::WriteSet::new(Arc::clone(left.budget()));
                let mut writes = std::mem::replace(&mut *left, empty);
                writes.rewind(savepoint);
                Arc::new(Mutex::new(writes))
            });
        }
        Arc::new(Mutex::new(this))
    }
}
