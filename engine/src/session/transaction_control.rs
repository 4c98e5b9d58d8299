//! BEGIN, COMMIT, ROLLBACK, SET TRANSACTION.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{
    Block, Session,
    api::{Execution, Notice},
    execute::supported,
    transaction::Transaction,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{IsolationLevel, Statement, TransactionModes},
};

impl Session {
    pub(super) fn begin(
        &mut self,
        statement: &Statement,
        modes: TransactionModes,
    ) -> Result<Execution, SqlError> {
        if let Some(isolation) = modes.isolation {
            supported(isolation)?;
        }
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
        let derived = self.settings.derived();
        let transaction = Transaction::new(
            self.engine.database(),
            &self.commit_point,
            supported(derived.default_isolation)?,
            derived.default_read_only,
            self.engine.now_us(),
        );
        let transaction = Arc::new(Mutex::new(transaction));
        self.transaction = Some(Arc::clone(&transaction));
        self.settings.begin();
        Ok(transaction)
    }

    fn apply_modes(&mut self, modes: TransactionModes) -> Result<(), SqlError> {
        let transaction = self.open_transaction()?;
        let mut transaction = transaction.lock();
        if let Some(isolation) = modes.isolation {
            let isolation = supported(isolation)?;
            if transaction.started && transaction.isolation != isolation {
                return Err(SqlError::new(
                    sqlstate::ACTIVE_SQL_TRANSACTION,
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            transaction.isolation = isolation;
        }
        if let Some(read_only) = modes.read_only {
            if transaction.started && transaction.read_only && !read_only {
                return Err(SqlError::new(
                    sqlstate::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            transaction.read_only = read_only;
        }
        Ok(())
    }

    /// Leaves the block without ending its transaction, which the caller gets.
    pub(super) fn leave_block(&mut self) -> Option<Arc<Mutex<Transaction>>> {
        self.block = if self.implicit { Block::Implicit } else { Block::Autocommit };
        // Streams of the old transaction must not fail the next one.
        self.failed = Arc::new(AtomicBool::new(false));
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
        self.warn_outside_block();
        let failed = self.failed.load(Relaxed);
        let modes = self.chained_modes(chain)?;
        let transaction = self.leave_block();
        let tag = if failed {
            self.settings.end(false);
            "ROLLBACK"
        } else {
            self.commit(transaction).await?;
            "COMMIT"
        };
        self.chain(modes)?;
        Ok(Execution::Command { tag: tag.to_owned() })
    }

    pub(super) fn rollback_block(&mut self, chain: bool) -> Result<Execution, SqlError> {
        self.warn_outside_block();
        let modes = self.chained_modes(chain)?;
        self.leave_block();
        self.settings.end(false);
        self.chain(modes)?;
        Ok(Execution::Command { tag: "ROLLBACK".to_owned() })
    }

    /// The modes that AND CHAIN hands on.
    fn chained_modes(&self, chain: bool) -> Result<Option<TransactionModes>, SqlError> {
        if !chain {
            return Ok(None);
        }
        if self.block != Block::Explicit {
            return Err(SqlError::new(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "COMMIT AND CHAIN can only be used in transaction blocks",
            ));
        }
        let mut modes = TransactionModes::default();
        if let Some(transaction) = &self.transaction {
            let transaction = transaction.lock();
            modes.isolation = Some(transaction.isolation);
            modes.read_only = Some(transaction.read_only);
        }
        Ok(Some(modes))
    }

    fn chain(&mut self, modes: Option<TransactionModes>) -> Result<(), SqlError> {
        let Some(modes) = modes else { return Ok(()) };
        self.block = Block::Explicit;
        self.apply_modes(modes)
    }

    pub(super) fn set_transaction(
        &mut self,
        session: bool,
        modes: TransactionModes,
    ) -> Result<Execution, SqlError> {
        if session {
            if let Some(isolation) = modes.isolation {
                supported(isolation)?;
                let name = isolation_name(isolation).to_owned();
                self.settings.set("default_transaction_isolation", Some(&[name]), false)?;
            }
            if let Some(read_only) = modes.read_only {
                let value = if read_only { "on" } else { "off" }.to_owned();
                self.settings.set("default_transaction_read_only", Some(&[value]), false)?;
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

pub(super) fn isolation_name(isolation: IsolationLevel) -> &'static str {
    match isolation {
        IsolationLevel::ReadUncommitted => "read uncommitted",
        IsolationLevel::ReadCommitted => "read committed",
        IsolationLevel::RepeatableRead => "repeatable read",
        IsolationLevel::Serializable => "serializable",
    }
}
