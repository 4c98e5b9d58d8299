//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT, SET TRANSACTION.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{
    Block, Session, Settings,
    api::{Execution, Notice},
    transaction::{Modes, Transaction},
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{Statement, TransactionModes},
};

/// What a session notes beside its transaction when a savepoint is set.
pub(super) struct SavepointOfSession {
    settings: Settings,
    /// The how-manieth it is since the session began.
    number: u64,
}

impl Session {
    pub(super) fn begin(
        &mut self,
        statement: &Statement,
        modes: TransactionModes,
    ) -> Result<Execution, SqlError> {
        if self.block == Block::Explicit {
            self.notices.push(Notice::warning(
                sqlstate::ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress",
            ));
        } else {
            // What ran before in the same message becomes part of the block, as in PostgreSQL.
            self.block = Block::Explicit;
            self.open_transaction()?;
        }
        self.apply_modes(modes)?;
        let start =
            statement.text.trim_start().get(..5).is_some_and(|t| t.eq_ignore_ascii_case("start"));
        let tag = if start { "START TRANSACTION" } else { "BEGIN" };
        Ok(Execution::Command { tag: tag.to_owned() })
    }

    /// The transaction of the block, made if it has none yet.
    fn open_transaction(&mut self) -> Result<Arc<Mutex<Transaction>>, SqlError> {
        if let Some(transaction) = &self.transaction {
            return Ok(Arc::clone(transaction));
        }
        let modes = Modes::default_in(self.settings.derived());
        let (database, now_us) = (self.engine.database(), self.engine.now_us());
        let transaction =
            Transaction::new(database, &self.commit_point, &self.temporary, modes, now_us);
        let transaction = Arc::new(Mutex::new(transaction));
        self.transaction = Some(Arc::clone(&transaction));
        self.settings.begin();
        Ok(transaction)
    }

    fn apply_modes(&mut self, modes: TransactionModes) -> Result<(), SqlError> {
        let transaction = self.open_transaction()?;
        transaction.lock().set_modes(modes)
    }

    /// Leaves the block without ending its transaction, which the caller gets.
    pub(super) fn leave_block(&mut self) -> Option<Arc<Mutex<Transaction>>> {
        self.block = if self.implicit { Block::Implicit } else { Block::Autocommit };
        // Streams of the old transaction must not fail the next one.
        self.failed = Arc::new(AtomicBool::new(false));
        self.savepoints.clear();
        self.transaction.take()
    }

    fn warn_outside_block(&mut self) {
        if self.block != Block::Explicit {
            self.notices.push(Notice::warning(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "there is no transaction in progress",
            ));
        }
    }

    pub(super) async fn commit_block(&mut self, chain: bool) -> Result<Execution, SqlError> {
        let failed = self.failed.load(Relaxed);
        let modes = self.chained_modes(chain, "COMMIT AND CHAIN", failed)?;
        self.warn_outside_block();
        let transaction = self.leave_block();
        self.end_transaction(transaction, !failed).await?;
        self.chain(modes)?;
        let tag = if failed { "ROLLBACK" } else { "COMMIT" };
        Ok(Execution::Command { tag: tag.to_owned() })
    }

    pub(super) fn rollback_block(&mut self, chain: bool) -> Result<Execution, SqlError> {
        let modes = self.chained_modes(chain, "ROLLBACK AND CHAIN", true)?;
        self.warn_outside_block();
        self.leave_block();
        self.undo_held();
        self.settings.end(false);
        self.chain(modes)?;
        Ok(Execution::Command { tag: "ROLLBACK".to_owned() })
    }

    /// Ends the transaction of a block that was [left](Self::leave_block), and what ends with it.
    ///
    /// # Errors
    /// Those of COMMIT and of the cursors WITH HOLD; the transaction is rolled back then.
    pub(super) async fn end_transaction(
        &mut self,
        transaction: Option<Arc<Mutex<Transaction>>>,
        commit: bool,
    ) -> Result<(), SqlError> {
        let held = if commit { self.hold_cursors().await } else { Ok(()) };
        let result = match held {
            Ok(()) if commit => {
                // What the others read is not to be kept for the time of the commit.
                self.end_cursors();
                self.commit(transaction).await
            }
            held => {
                self.settings.end(false);
                held
            }
        };
        match &result {
            Ok(()) if commit => self.keep_held(),
            _ => self.undo_held(),
        }
        result
    }

    /// The modes that AND CHAIN hands on. As in PostgreSQL, READ ONLY of a sub-transaction ends with
    /// it if it is `undone`, and goes on if it is committed by the COMMIT itself.
    fn chained_modes(
        &mut self,
        chain: bool,
        what: &str,
        undone: bool,
    ) -> Result<Option<TransactionModes>, SqlError> {
        if !chain {
            return Ok(None);
        }
        let transaction = self.open_block(what)?;
        let transaction = transaction.lock();
        let modes = transaction.modes;
        let read_only = if undone { transaction.is_read_only_outermost() } else { modes.read_only };
        Ok(Some(TransactionModes {
            isolation: Some(modes.isolation),
            read_only: Some(read_only),
            deferrable: Some(modes.deferrable),
        }))
    }

    fn chain(&mut self, modes: Option<TransactionModes>) -> Result<(), SqlError> {
        let Some(modes) = modes else { return Ok(()) };
        self.block = Block::Explicit;
        self.apply_modes(modes)
    }

    /// The transaction of the block that BEGIN opened.
    ///
    /// # Errors
    /// 25P01 outside of one.
    fn open_block(&mut self, what: &str) -> Result<Arc<Mutex<Transaction>>, SqlError> {
        if self.block != Block::Explicit {
            return Err(SqlError::new(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                format!("{what} can only be used in transaction blocks"),
            ));
        }
        self.open_transaction()
    }

    pub(super) fn savepoint(&mut self, name: &str) -> Result<Execution, SqlError> {
        let transaction = self.open_block("SAVEPOINT")?;
        transaction.lock().set_savepoint(name)?;
        self.savepoints_set += 1;
        let settings = self.settings.clone();
        self.savepoints.push(SavepointOfSession { settings, number: self.savepoints_set });
        Ok(Execution::Command { tag: "SAVEPOINT".to_owned() })
    }

    pub(super) fn release_savepoint(&mut self, name: &str) -> Result<Execution, SqlError> {
        let transaction = self.open_block("RELEASE SAVEPOINT")?;
        let mut transaction = transaction.lock();
        let index = transaction.savepoint(name)?;
        transaction.release_savepoint(index);
        self.savepoints.truncate(index);
        Ok(Execution::Command { tag: "RELEASE".to_owned() })
    }

    pub(super) fn rollback_to_savepoint(&mut self, name: &str) -> Result<Execution, SqlError> {
        let transaction = self.open_block("ROLLBACK TO SAVEPOINT")?;
        let index = transaction.lock().savepoint(name)?;
        self.transaction = Some(Transaction::rolled_back_to(&transaction, index));
        self.savepoints.truncate(index + 1);
        if let Some(savepoint) = self.savepoints.last() {
            self.settings = savepoint.settings.clone();
            let number = savepoint.number;
            self.undone_since = Some(self.undone_since.map_or(number, |n| n.min(number)));
            self.undo_cursors(number);
        }
        // Streams of statements from before must not fail what goes on.
        self.failed = Arc::new(AtomicBool::new(false));
        Ok(Execution::Command { tag: "ROLLBACK".to_owned() })
    }

    pub(super) fn set_transaction(
        &mut self,
        session: bool,
        modes: TransactionModes,
    ) -> Result<Execution, SqlError> {
        if session {
            if let Some(isolation) = modes.isolation {
                let name = isolation.name().to_owned();
                self.settings.set("default_transaction_isolation", Some(&[name]), false)?;
            }
            let switches = [
                ("default_transaction_read_only", modes.read_only),
                ("default_transaction_deferrable", modes.deferrable),
            ];
            for (name, on) in switches {
                let Some(on) = on else { continue };
                let value = if on { "on" } else { "off" }.to_owned();
                self.settings.set(name, Some(&[value]), false)?;
            }
        } else if self.block == Block::Autocommit {
            self.notices.push(Notice::warning(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            ));
        } else {
            self.apply_modes(modes)?;
        }
        Ok(Execution::Command { tag: "SET".to_owned() })
    }
}
