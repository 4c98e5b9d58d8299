//! A transaction: its snapshots, what it wrote, and its commit.
//!
//! All isolation levels are snapshot isolation. READ COMMITTED takes a snapshot per statement,
//! REPEATABLE READ one at its first; either way the resolver refuses a key that another transaction
//! wrote after the snapshot under which it was looked up. SERIALIZABLE is for transactions that only
//! read: among themselves those are serializable under snapshots, and the first write is refused.

mod savepoints;
mod temporary;

use std::sync::Arc;

use glaredb_catalog::{Catalog, CatalogChange, conflict};
use glaredb_txn::{
    commit::{
        message::{Assertion, CommitRequest, KeyWrite, Request, Scope},
        snapshots::SnapshotGuard,
    },
    ids::TableId,
};
use parking_lot::Mutex;

use super::{
    commit::{self, Bases, CommitPoint, LargeCommit, SetsSent, WhatWasSent},
    errors::{self, serialization_failure},
    point::turns::{Holder, Key, TURNS_MAX, Turn},
    settings::Derived,
    staging::Staging,
    temporary::Temporary,
    transaction_ids::TransactionId,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        scan::StatementView,
        statement::{IsolationLevel, TransactionModes},
    },
    storage::{
        database::Database,
        temporary::TemporaryCommit,
        warmed::Warmed,
        write_set::{self, PlacesSent, SentKeys, WriteSet},
    },
};

/// What a transaction has done so far. Shared with the sinks and streams of its statements.
pub(super) struct Transaction {
    database: Arc<Database>,
    /// The session's.
    point: CommitPoint,
    pub modes: Modes,
    /// `now()`.
    pub start_us: i64,
    /// A statement has run: modes are fixed.
    pub started: bool,
    /// REPEATABLE READ's only one.
    snapshot: Option<Arc<SnapshotGuard>>,
    writes: Option<Arc<Mutex<WriteSet>>>,
    /// Under which it looked up the keys it wrote.
    bases: Bases,
    /// Under which the places of the rows that it deletes were looked at last: while it is registered it
    /// is remembered where they are moved to.
    found_under: Option<Arc<SnapshotGuard>>,
    /// The session's.
    temporary: Arc<Temporary>,
    /// Parts of a bulk load into a temporary table.
    temporary_parts: Option<TemporaryCommit>,
    /// Shared with savepoints until it changes.
    ddl: Arc<Ddl>,
    /// Outermost first.
    savepoints: Vec<Savepoint>,
    /// Parts of a bulk load that were sent already.
    large: Option<LargeCommit>,
    /// Memory of the rows in them.
    streamed_bytes: u64,
    /// What writes rows of it into objects.
    pub(super) staging: Option<Staging>,
    /// Its turns at rows it changes, kept until it has ended.
    pub turns: Vec<Turn>,
    /// Once somebody asked for it.
    id: Option<TransactionId>,
    /// Who it is among those that take turns.
    pub holder: Option<Holder>,
}

/// What SET TRANSACTION sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Modes {
    pub isolation: IsolationLevel,
    pub read_only: bool,
    /// Told when asked; no transaction waits for its snapshot.
    pub deferrable: bool,
}

impl Modes {
    /// Those of a transaction that says nothing else.
    pub(super) fn default_in(settings: &Derived) -> Self {
        Self {
            isolation: settings.default_isolation,
            read_only: settings.default_read_only,
            deferrable: settings.default_deferrable,
        }
    }

    /// The value of a mode by its name as a parameter; `None` for any other parameter.
    pub(super) fn show(self, name: &str) -> Option<String> {
        let switch = |on| if on { "on" } else { "off" };
        let value = match name {
            "transaction_isolation" => self.isolation.name(),
            "transaction_read_only" => switch(self.read_only),
            "transaction_deferrable" => switch(self.deferrable),
            _ => return None,
        };
        Some(value.to_owned())
    }
}

/// What ROLLBACK TO goes back to. Settings and cursors are the session's.
struct Savepoint {
    name: String,
    /// `None`: nothing was written before it.
    writes: Option<write_set::Savepoint>,
    ddl: Arc<Ddl>,
    read_only: bool,
}

/// The transaction's own catalog.
#[derive(Clone, Default)]
struct Ddl {
    change: CatalogChange,
    /// What the transaction does to the session's temporary objects, beside those committed.
    temporary: CatalogChange,
    writes: Vec<KeyWrite>,
    assertions: Vec<Assertion>,
    /// The catalog it was last applied to, and the result.
    applied: Option<(Arc<Catalog>, Arc<Catalog>)>,
}

/// How often an autocommit statement is tried when it meets 40001.
pub(super) const ATTEMPTS_MAX: u32 = 10;

impl Transaction {
    pub(super) fn new(
        database: &Arc<Database>,
        point: &CommitPoint,
        temporary: &Arc<Temporary>,
        modes: Modes,
        start_us: i64,
    ) -> Self {
        Self {
            database: Arc::clone(database),
            temporary: Arc::clone(temporary),
            temporary_parts: None,
            point: point.clone(),
            modes,
            start_us,
            started: false,
            snapshot: None,
            writes: None,
            bases: Bases::default(),
            found_under: None,
            ddl: Arc::default(),
            savepoints: Vec::new(),
            large: None,
            streamed_bytes: 0,
            staging: None,
            turns: Vec::new(),
            id: None,
            holder: None,
        }
    }

    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// A new transaction with the same modes.
    pub(super) fn empty(&self) -> Self {
        Self::new(&self.database, &self.point, &self.temporary, self.modes, self.start_us)
    }

    /// Whether a statement that changes the row with this key waits for its turn: not if the turn is
    /// the transaction's already, and not under a snapshot that is older than the wait.
    pub(super) fn waits_for(&self, key: &Key) -> bool {
        !self.keeps_snapshot()
            && self.turns.len() < TURNS_MAX
            && !self.turns.iter().any(|turn| turn.is_at(key))
    }

    /// Whether all statements see the same.
    fn keeps_snapshot(&self) -> bool {
        matches!(
            self.modes.isolation,
            IsolationLevel::RepeatableRead | IsolationLevel::Serializable
        )
    }

    /// SET TRANSACTION.
    ///
    /// # Errors
    /// 25001 for what can only be said at the beginning.
    pub(super) fn set_modes(&mut self, modes: TransactionModes) -> Result<(), SqlError> {
        let refused = |message: &str| Err(SqlError::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
        let nested = self.depth() > 0;
        if let Some(isolation) = modes.isolation.filter(|level| *level != self.modes.isolation) {
            if self.started {
                return refused("SET TRANSACTION ISOLATION LEVEL must be called before any query");
            }
            if nested {
                return refused(
                    "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
                );
            }
            self.modes.isolation = isolation;
        }
        if let Some(read_only) = modes.read_only {
            if self.modes.read_only && !read_only && nested {
                return refused(
                    "cannot set transaction read-write mode inside a read-only transaction",
                );
            }
            if self.modes.read_only && !read_only && self.started {
                return refused("transaction read-write mode must be set before any query");
            }
            self.modes.read_only = read_only;
        }
        if let Some(deferrable) = modes.deferrable {
            if nested {
                return refused(
                    "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction",
                );
            }
            if self.started {
                return refused("SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
            }
            self.modes.deferrable = deferrable;
        }
        Ok(())
    }

    /// What the next statement sees.
    pub(super) fn view(&mut self) -> Result<(Arc<StatementView>, Arc<Catalog>), SqlError> {
        self.started = true;
        let snapshot = match &self.snapshot {
            Some(snapshot) => Arc::clone(snapshot),
            None => {
                let snapshot = Arc::new(self.database.snapshots().register());
                if self.keeps_snapshot() {
                    self.snapshot = Some(Arc::clone(&snapshot));
                }
                snapshot
            }
        };
        self.follow_moves(&snapshot)?;
        let base = self.database.catalog_at(&snapshot.snapshot());
        let catalog = self.own_catalog(base)?;
        let view = StatementView {
            database: Arc::clone(&self.database),
            snapshot,
            own: self.writes.clone(),
            temporary: self.temporary.read(),
            warmed: Warmed::new(self.database.segments().clone()),
        };
        Ok((Arc::new(view), catalog))
    }

    /// A statement finds rows under `snapshot` that the transaction is to delete.
    pub(super) fn found_rows(&mut self, snapshot: &Arc<SnapshotGuard>) {
        if self.found_under.is_none() {
            self.found_under = Some(Arc::clone(snapshot));
        }
    }

    /// Brings what was deleted to where it lies by now. `snapshot` was registered before.
    ///
    /// # Errors
    /// 40001 if nobody knows where.
    fn follow_moves(&mut self, snapshot: &Arc<SnapshotGuard>) -> Result<(), SqlError> {
        if self.found_under.is_none() {
            return Ok(());
        }
        let Some(writes) = &self.writes else {
            self.found_under = None;
            return Ok(());
        };
        let mut writes = writes.lock();
        let database = &self.database;
        writes.follow_moves(|table| database.table(table)).map_err(errors::storage_error)?;
        self.found_under = writes.deletes_committed().then(|| Arc::clone(snapshot));
        Ok(())
    }

    /// What a statement that sees as `view` does sees after what the transaction has done since.
    pub(super) fn view_at(
        &mut self,
        view: &StatementView,
    ) -> Result<(Arc<StatementView>, Arc<Catalog>), SqlError> {
        let snapshot = Arc::clone(&view.snapshot);
        let catalog = self.own_catalog(self.database.catalog_at(&snapshot.snapshot()))?;
        let database = Arc::clone(&self.database);
        let own = self.writes.clone();
        let temporary = view.temporary.clone();
        let warmed = Warmed::new(database.segments().clone());
        let view = StatementView { database, snapshot, own, temporary, warmed };
        Ok((Arc::new(view), catalog))
    }

    /// The write set, made at the first write.
    pub(super) fn writes(&mut self) -> &Arc<Mutex<WriteSet>> {
        let budget = self.database.budget();
        self.writes.get_or_insert_with(|| Arc::new(Mutex::new(WriteSet::new(Arc::clone(budget)))))
    }

    /// The same for a statement that looks up the keys it writes under `snapshot`.
    pub(super) fn writes_under(&mut self, snapshot: &Arc<SnapshotGuard>) -> &Arc<Mutex<WriteSet>> {
        self.bases.add(snapshot);
        self.writes()
    }

    /// Changes the catalog. `catalog` is what the statement saw under `view`.
    pub(super) fn change_catalog(
        &mut self,
        view: &StatementView,
        catalog: &Arc<Catalog>,
        change: CatalogChange,
    ) -> Result<(), SqlError> {
        let position = view.snapshot.snapshot().position;
        let changed =
            catalog.apply(&change).map_err(|error| SqlError::internal(error.to_string()))?;
        let (change, temporary) = temporary::split(catalog, &changed, change);
        let claims = conflict::claims(catalog, position, &change);
        let base = self.database.catalog_at(&view.snapshot.snapshot());
        let ddl = Arc::make_mut(&mut self.ddl);
        // The first base of a key is the one that counts.
        for write in claims.writes {
            if !ddl.writes.iter().any(|known| known.key == write.key) {
                ddl.writes.push(write);
            }
        }
        ddl.assertions.extend(claims.assertions);
        ddl.change = std::mem::take(&mut ddl.change).then(change);
        ddl.temporary = std::mem::take(&mut ddl.temporary).then(temporary);
        ddl.applied = Some((base, Arc::new(changed)));
        Ok(())
    }

    /// The commit is refused if another wrote `scope` of the table after `view` was taken.
    pub(super) fn assert_unchanged(&mut self, view: &StatementView, table: TableId, scope: Scope) {
        if self.is_temporary(table) {
            return;
        }
        let base = view.snapshot.snapshot().position;
        Arc::make_mut(&mut self.ddl).assertions.push(Assertion { table, scope, base });
    }

    /// Forgets what the transaction wrote to a storage that it empties or drops.
    pub(super) fn discard(&mut self, table: TableId) {
        if let Some(writes) = &self.writes {
            writes.lock().discard(table);
        }
    }

    /// Sends what is gathered in whole parts, so that a bulk load needs bounded memory. The rows
    /// are not seen by later statements of the transaction, so it must have none.
    pub(super) async fn stream_parts(transaction: &Mutex<Self>) -> Result<(), SqlError> {
        if Self::is_to_stage(transaction) {
            return Staging::next_run(transaction).await;
        }
        let (database, requests) = {
            let mut this = transaction.lock();
            let Some(writes) = this.writes.clone() else { return Ok(()) };
            // It has one statement, which writes to one table.
            let table = writes.lock().tables().next();
            if table.is_some_and(|table| this.is_temporary(table)) {
                return this.stream_temporary(&writes);
            }
            if this.staging.is_some() || this.is_memory_short() {
                return Ok(());
            }
            let mut writes = writes.lock();
            let gathered = writes.gathered_bytes();
            let parts = writes.drain_parts().map_err(errors::storage_error)?;
            this.streamed_bytes += gathered.saturating_sub(writes.gathered_bytes());
            drop(writes);
            let requests: Vec<_> =
                parts.into_iter().map(|part| (this.part(part.payload()), part)).collect();
            (Arc::clone(&this.database), requests)
        };
        for (request, part) in requests {
            commit::send_part(&database, request, part).await?;
        }
        Ok(())
    }

    /// The same of changes to rows that keep their keys.
    pub(super) async fn stream_changes(transaction: &Mutex<Self>) -> Result<(), SqlError> {
        {
            let this = transaction.lock();
            if let Some(writes) = &this.writes {
                let mut writes = writes.lock();
                if writes.tables().all(|table| !this.is_temporary(table)) {
                    writes.fold_deletions();
                }
            }
        }
        Self::stream_parts(transaction).await
    }

    /// Is there so much that large statements do not add to it?
    fn is_memory_short(&self) -> bool {
        let budget = self.database.budget();
        self.database.rewrite_options().automatic && budget.used_bytes() > budget.limit_bytes() / 2
    }

    /// Is so much gathered, beside what was sent in parts, that it is to be written into objects?
    fn is_to_stage(transaction: &Mutex<Self>) -> bool {
        let this = transaction.lock();
        let Some(writes) = &this.writes else { return false };
        let writes = writes.lock();
        let (options, limit) =
            (this.database.rewrite_options(), this.database.budget().limit_bytes());
        let (from, run) = (options.stage_from_bytes.min(limit / 8), options.stage_run_bytes);
        let gathered = writes.gathered_bytes();
        let begins = this.is_memory_short() || this.streamed_bytes + gathered >= from;
        (begins || this.staging.is_some())
            && gathered >= run.min(limit / 16).min(from)
            && writes.tables().next().is_some_and(|table| !this.is_temporary(table))
    }

    pub(super) fn part(&mut self, payload: bytes::Bytes) -> Request {
        self.large.get_or_insert_with(|| LargeCommit::new(&self.database)).part(payload)
    }

    pub(super) fn wrote(&self) -> bool {
        self.large.is_some()
            || !self.ddl.change.is_empty()
            || self.writes.as_ref().is_some_and(|writes| !writes.lock().is_empty())
    }

    /// Commits. Dropping the future before the commit point rolls back; from there on the commit goes
    /// its way.
    ///
    /// # Errors
    /// See [`commit`].
    pub(super) async fn commit(mut self) -> Result<(), SqlError> {
        let temporary = self.prepare_temporary().await?;
        if self.wrote() {
            if let Some(staging) = self.staging.take() {
                self.staging = Some(staging.last_run(&mut self).await?);
            }
            let (request, places, keys) = self.request().await?;
            let sets = SetsSent::new(keys, std::mem::take(&mut self.bases));
            let sent = WhatWasSent { places, found_under: self.found_under.take(), sets };
            let mut large = self.large.take();
            if let Some(large) = &mut large {
                large.stage(self.staging.take());
            }
            commit::commit(&self.database, &self.point, request, sent, large).await?;
        }
        if let Some(prepared) = temporary {
            self.commit_temporary(prepared)?;
        }
        if let Some(id) = &mut self.id {
            id.committed = true;
        }
        Ok(())
    }

    /// The transaction's number; `None` if it has none and is not to get one.
    pub(super) fn id(&mut self, assign: bool) -> Option<i64> {
        if self.id.is_none() && (assign || self.wrote()) {
            self.id = Some(self.temporary.engine().transaction_ids().next());
        }
        self.id.as_ref().map(|id| id.number)
    }

    /// Encodes what was gathered and sends what of it goes in parts.
    async fn request(&mut self) -> Result<(CommitRequest, PlacesSent, SentKeys), SqlError> {
        let database = Arc::clone(&self.database);
        let mut writes = match self.writes.take() {
            // Streams that still read own rows keep the old set alive; they have their batches.
            Some(writes) => match Arc::try_unwrap(writes) {
                Ok(writes) => writes.into_inner(),
                Err(shared) => {
                    let budget = Arc::clone(database.budget());
                    std::mem::replace(&mut *shared.lock(), WriteSet::new(budget))
                }
            },
            None => WriteSet::new(Arc::clone(database.budget())),
        };
        let mut ddl = Arc::unwrap_or_clone(std::mem::take(&mut self.ddl));
        writes.change_catalog(std::mem::take(&mut ddl.change));
        writes.follow_moves(|table| database.table(table)).map_err(errors::storage_error)?;
        let encoded = writes.finish().map_err(errors::storage_error)?;
        let mut request = CommitRequest {
            schema_versions: encoded.schema_versions,
            writes: encoded.writes,
            key_sets: encoded.key_sets,
            unkeyed: encoded.unkeyed,
            assertions: encoded.assertions,
            payload: encoded.payload,
            ..CommitRequest::default()
        };
        for write in &ddl.writes {
            request.writes.push(write.into());
        }
        request.assertions.append(&mut ddl.assertions);
        for part in encoded.parts {
            let request = self.part(part.payload());
            commit::send_part(&database, request, part).await?;
        }
        Ok((request, encoded.places, encoded.sent_keys))
    }

    /// `base` with the transaction's changes.
    fn own_catalog(&mut self, base: Arc<Catalog>) -> Result<Arc<Catalog>, SqlError> {
        if self.ddl.change.is_empty() && self.ddl.temporary.is_empty() {
            return self.temporary.over(base);
        }
        if let Some((known, applied)) = &self.ddl.applied
            && Arc::ptr_eq(known, &base)
        {
            return Ok(Arc::clone(applied));
        }
        let applied = base.apply(&self.ddl.change).map_err(|error| {
            serialization_failure(format!("Another transaction changed the same object: {error}."))
        })?;
        let applied = Arc::new(self.temporary.over_with(&applied, &self.ddl.temporary)?);
        Arc::make_mut(&mut self.ddl).applied = Some((base, Arc::clone(&applied)));
        Ok(applied)
    }
}
