//! A transaction: its snapshots, what it wrote, and its commit.
//!
//! Both isolation levels are snapshot isolation. READ COMMITTED takes a snapshot per statement,
//! REPEATABLE READ one at its first; either way the resolver refuses a key that another transaction
//! wrote after the snapshot under which it was looked up.

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
    commit::{self, CommitPoint, LargeCommit},
    errors::{self, serialization_failure},
    point::turns::{Holder, Key, TURNS_MAX, Turn},
};
use crate::{
    error::SqlError,
    query::{scan::StatementView, statement::IsolationLevel},
    storage::{database::Database, write_set::WriteSet},
};

/// What a transaction has done so far. Shared with the sinks and streams of its statements.
pub(super) struct Transaction {
    database: Arc<Database>,
    /// The session's.
    point: CommitPoint,
    pub isolation: IsolationLevel,
    pub read_only: bool,
    /// `now()`.
    pub start_us: i64,
    /// A statement has run: modes are fixed.
    pub started: bool,
    /// REPEATABLE READ's only one.
    snapshot: Option<Arc<SnapshotGuard>>,
    writes: Option<Arc<Mutex<WriteSet>>>,
    ddl: Ddl,
    /// Parts of a bulk load that were sent already.
    large: Option<LargeCommit>,
    /// Its turns at rows it changes, kept until it has ended.
    pub turns: Vec<Turn>,
    /// Who it is among those that take turns.
    pub holder: Option<Holder>,
}

/// The transaction's own catalog.
#[derive(Default)]
struct Ddl {
    change: CatalogChange,
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
        isolation: IsolationLevel,
        read_only: bool,
        start_us: i64,
    ) -> Self {
        Self {
            database: Arc::clone(database),
            point: point.clone(),
            isolation,
            read_only,
            start_us,
            started: false,
            snapshot: None,
            writes: None,
            ddl: Ddl::default(),
            large: None,
            turns: Vec::new(),
            holder: None,
        }
    }

    /// A new transaction with the same modes.
    pub(super) fn empty(&self) -> Self {
        Self::new(&self.database, &self.point, self.isolation, self.read_only, self.start_us)
    }

    /// Whether a statement that changes the row with this key waits for its turn: not if the turn is
    /// the transaction's already, and not under a snapshot that is older than the wait.
    pub(super) fn waits_for(&self, key: &Key) -> bool {
        self.isolation != IsolationLevel::RepeatableRead
            && self.turns.len() < TURNS_MAX
            && !self.turns.iter().any(|turn| turn.is_at(key))
    }

    /// What the next statement sees.
    pub(super) fn view(&mut self) -> Result<(Arc<StatementView>, Arc<Catalog>), SqlError> {
        self.started = true;
        let snapshot = match &self.snapshot {
            Some(snapshot) => Arc::clone(snapshot),
            None => {
                let snapshot = Arc::new(self.database.snapshots().register());
                if self.isolation == IsolationLevel::RepeatableRead {
                    self.snapshot = Some(Arc::clone(&snapshot));
                }
                snapshot
            }
        };
        let base = self.database.catalog_at(&snapshot.snapshot());
        let catalog = self.ddl.catalog(base)?;
        let view = StatementView {
            database: Arc::clone(&self.database),
            snapshot,
            own: self.writes.clone(),
        };
        Ok((Arc::new(view), catalog))
    }

    /// What a statement that sees as `view` does sees after what the transaction has done since.
    pub(super) fn view_at(
        &mut self,
        view: &StatementView,
    ) -> Result<(Arc<StatementView>, Arc<Catalog>), SqlError> {
        let snapshot = Arc::clone(&view.snapshot);
        let catalog = self.ddl.catalog(self.database.catalog_at(&snapshot.snapshot()))?;
        let database = Arc::clone(&self.database);
        let own = self.writes.clone();
        Ok((Arc::new(StatementView { database, snapshot, own }), catalog))
    }

    /// The write set, made at the first write.
    pub(super) fn writes(&mut self) -> &Arc<Mutex<WriteSet>> {
        let budget = self.database.budget();
        self.writes.get_or_insert_with(|| Arc::new(Mutex::new(WriteSet::new(Arc::clone(budget)))))
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
        let claims = conflict::claims(catalog, position, &change);
        // The first base of a key is the one that counts.
        for write in claims.writes {
            if !self.ddl.writes.iter().any(|known| known.key == write.key) {
                self.ddl.writes.push(write);
            }
        }
        self.ddl.assertions.extend(claims.assertions);
        self.ddl.change = std::mem::take(&mut self.ddl.change).then(change);
        let base = self.database.catalog_at(&view.snapshot.snapshot());
        self.ddl.applied = Some((base, Arc::new(changed)));
        Ok(())
    }

    /// The commit is refused if another wrote `scope` of the table after `view` was taken.
    pub(super) fn assert_unchanged(&mut self, view: &StatementView, table: TableId, scope: Scope) {
        let base = view.snapshot.snapshot().position;
        self.ddl.assertions.push(Assertion { table, scope, base });
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
        let (database, requests) = {
            let mut this = transaction.lock();
            let Some(writes) = this.writes.clone() else { return Ok(()) };
            let parts = writes.lock().drain_parts().map_err(errors::storage_error)?;
            let requests: Vec<Request> = parts.into_iter().map(|part| this.part(part)).collect();
            (Arc::clone(&this.database), requests)
        };
        for request in requests {
            errors::part_answer(&database, database.send(request).await)?;
        }
        Ok(())
    }

    fn part(&mut self, payload: bytes::Bytes) -> Request {
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
        if !self.wrote() {
            return Ok(());
        }
        let request = self.request().await?;
        commit::commit(&self.database, &self.point, request, self.large.take()).await
    }

    /// Encodes what was gathered and sends what of it goes in parts.
    async fn request(&mut self) -> Result<CommitRequest, SqlError> {
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
        if !self.ddl.change.is_empty() {
            writes.change_catalog(std::mem::take(&mut self.ddl.change));
        }
        let encoded = writes.finish().map_err(errors::storage_error)?;
        let mut request = CommitRequest {
            schema_versions: encoded.schema_versions,
            writes: encoded.writes,
            unkeyed: encoded.unkeyed,
            assertions: encoded.assertions,
            payload: encoded.payload,
            ..CommitRequest::default()
        };
        for write in std::mem::take(&mut self.ddl.writes) {
            request.writes.push((&write).into());
        }
        request.assertions.append(&mut self.ddl.assertions);
        for part in encoded.parts {
            let part = self.part(part);
            errors::part_answer(&database, database.send(part).await)?;
        }
        Ok(request)
    }
}

impl Ddl {
    /// `base` with the transaction's changes.
    fn catalog(&mut self, base: Arc<Catalog>) -> Result<Arc<Catalog>, SqlError> {
        if self.change.is_empty() {
            return Ok(base);
        }
        if let Some((known, applied)) = &self.applied
            && Arc::ptr_eq(known, &base)
        {
            return Ok(Arc::clone(applied));
        }
        let applied = base.apply(&self.change).map(Arc::new).map_err(|error| {
            serialization_failure(format!("Another transaction changed the same object: {error}."))
        })?;
        self.applied = Some((base, Arc::clone(&applied)));
        Ok(applied)
    }
}
