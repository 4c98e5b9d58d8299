//! The rows of one session's temporary tables: a state of its own, without a log.
//!
//! The same records change it that change the database's state, made by the same placement and applied
//! by the same applier, but they go from one to the other at once and nobody keeps them. So there is
//! nothing to recover, nothing in a checkpoint, and nobody else who could read it.
//!
//! ```text
//! WriteSet ─▶ parts, placed and applied: invisible ─▶ commit record placed ─▶ applied: visible
//!                  └───────────────── dropped before that: aborted ──┘
//! ```
//!
//! A transaction that writes to the database too commits there between the last two steps: what can be
//! refused (for want of memory) is refused before, and what was placed is not applied unless the
//! database committed.
//!
//! Its memory counts against the database's budget, like that of any table.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use glaredb_catalog::{
    CatalogChange,
    descriptor::{Column, Table as TableDescriptor, builtin},
};
use glaredb_txn::{
    commit::{
        message::{CommitRequest, Part, Refusal},
        record::Record,
        snapshots::{SnapshotGuard, Snapshots},
        state_machine::{Apply, Placement},
    },
    ids::{CommitId, EntryIndex, LogId, Position, Snapshot, TableId, Timestamp},
};
use parking_lot::Mutex;

use super::{
    StorageError,
    apply::Applier,
    budget::Budget,
    placement::StoragePlacement,
    record::{Control, Placed},
    state::State,
    table::Table,
    write_set::{EncodedWriteSet, WriteSet},
};

/// See the module's description. Every method may be called from any thread.
#[derive(Debug)]
pub struct TemporaryStore {
    state: Arc<State>,
    snapshots: Arc<Snapshots>,
    writer: Mutex<Writer>,
    /// Somebody still read what the newest commit replaced.
    uncollected: AtomicBool,
}

/// What a log would say: the next record's position and time.
struct Writer {
    placement: StoragePlacement,
    applier: Applier,
    next: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("next", &self.next).finish_non_exhaustive()
    }
}

impl TemporaryStore {
    /// An empty store.
    ///
    /// # Errors
    /// None but by a fault of ours.
    pub fn new(budget: &Arc<Budget>) -> Result<Arc<Self>, StorageError> {
        let state = State::empty(Arc::clone(budget));
        let mut writer = Writer {
            placement: StoragePlacement::beside(Arc::clone(&state)),
            applier: Applier::new(Arc::clone(&state)),
            next: 1,
        };
        let mut writes = WriteSet::new(Arc::clone(budget));
        writes.change_catalog(builtin::bootstrap());
        let id = writer.next_id();
        let placed = writer.place(id, 0, writes.finish()?.payload)?;
        writer.commit(id, 0, placed)?;
        let snapshots = Snapshots::new(writer.published());
        let writer = Mutex::new(writer);
        Ok(Arc::new(Self { state, snapshots, writer, uncollected: AtomicBool::new(false) }))
    }

    /// The storage with this id, also a dropped one that a statement may still read.
    #[must_use]
    pub fn table(&self, table: TableId) -> Option<Arc<Table>> {
        self.state.table(table)
    }

    /// What is committed now, kept readable until it is dropped.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> TemporarySnapshot {
        TemporarySnapshot { store: Arc::clone(self), guard: Some(self.snapshots.register()) }
    }

    /// What a change of the session's temporary objects is here: the tables, all in one schema, without
    /// the views, which may read what is not here. Composite types of columns are as if they were their own
    /// table's for the same reason.
    #[must_use]
    pub fn stored_change(&self, change: &CatalogChange) -> CatalogChange {
        let known = self.state.catalog();
        let stored = change.upsert_tables.iter().filter(|table| table.is_stored());
        let columns = |table: &TableDescriptor| {
            let own = |column: &Column| Column {
                composite: column.composite.as_ref().map(|of| of.of_relation(table.oid)),
                ..column.clone()
            };
            table.columns.iter().map(own).collect()
        };
        let here = |table: &TableDescriptor| TableDescriptor {
            columns: columns(table),
            schema_oid: builtin::SCHEMA_PUBLIC,
            owner: builtin::ROLE_POSTGRES,
            ..table.clone()
        };
        let upsert_tables: Vec<_> = stored.map(|table| Arc::new(here(table))).collect();
        let oids = upsert_tables.iter().map(|table| table.oid);
        let drops = change.drop_tables.iter().copied();
        CatalogChange {
            created: oids.filter(|oid| change.created.contains(oid)).collect(),
            drop_tables: drops.filter(|oid| known.table_by_oid(*oid).is_some()).collect(),
            upsert_tables,
            next_oid: change.next_oid,
            next_table_id: change.next_table_id,
            ..CatalogChange::default()
        }
    }

    /// Lets go of what nobody can read any more: there is no clockwork beside the session.
    fn collect(&self, writer: &mut Writer) -> Result<(), StorageError> {
        let oldest = self.snapshots.oldest();
        self.uncollected.store(oldest < self.snapshots.published().timestamp, Relaxed);
        let payload = Control::Horizon(oldest).encode();
        writer.apply(|timestamp| Record::Control { timestamp, payload })
    }

    /// Begins to commit.
    pub fn begin(self: &Arc<Self>) -> TemporaryCommit {
        let id = self.writer.lock().next_id();
        TemporaryCommit { store: Arc::clone(self), id, parts: 0, placed: None, ended: false }
    }
}

impl Writer {
    fn next_id(&mut self) -> CommitId {
        self.next += 1;
        CommitId { number: self.next, ..CommitId::default() }
    }

    /// Of the newest record.
    fn now(&self) -> Timestamp {
        Timestamp(self.next)
    }

    fn published(&self) -> Snapshot {
        Snapshot { position: self.position(), timestamp: self.now() }
    }

    fn position(&self) -> Position {
        Position::new(LogId(0), EntryIndex(self.next), 0)
    }

    fn apply(&mut self, record: impl FnOnce(Timestamp) -> Record) -> Result<(), StorageError> {
        self.next += 1;
        let (position, record) = (self.position(), record(self.now()));
        let applied = self.applier.apply(position, &record);
        applied.map_err(|error| StorageError::Invalid(error.to_string()))
    }

    fn place(&mut self, id: CommitId, parts: u32, payload: Bytes) -> Result<Bytes, StorageError> {
        let request = CommitRequest { id, parts, payload, ..CommitRequest::default() };
        let now = self.now();
        self.placement.place(&request, now).map_err(refused)
    }

    fn commit(&mut self, id: CommitId, parts: u32, payload: Bytes) -> Result<(), StorageError> {
        self.apply(|timestamp| Record::Commit { id, timestamp, parts, payload })
    }
}

fn refused(refusal: Refusal) -> StorageError {
    match refusal {
        Refusal::OutOfMemory(text) => StorageError::OutOfMemory(text),
        other => StorageError::Invalid(other.to_string()),
    }
}

/// A store as it was at one time.
#[derive(Debug)]
pub struct TemporarySnapshot {
    store: Arc<TemporaryStore>,
    /// `None` only while it is dropped.
    guard: Option<SnapshotGuard>,
}

impl TemporarySnapshot {
    /// The storage with this id, and the time at which it is to be read.
    #[must_use]
    pub fn table(&self, table: TableId) -> Option<(Arc<Table>, Timestamp)> {
        let at = self.guard.as_ref()?.timestamp();
        Some((self.store.table(table)?, at))
    }
}

impl Drop for TemporarySnapshot {
    fn drop(&mut self) {
        self.guard = None;
        if self.store.uncollected.load(Relaxed)
            && let Err(error) = self.store.collect(&mut self.store.writer.lock())
        {
            tracing::error!(%error, "what is gone of temporary tables stays in memory");
        }
    }
}

/// A commit under way. Dropping it undoes it.
#[derive(Debug)]
#[must_use]
pub struct TemporaryCommit {
    store: Arc<TemporaryStore>,
    id: CommitId,
    /// Applied so far.
    parts: u32,
    /// The commit record's payload.
    placed: Option<Bytes>,
    ended: bool,
}

impl TemporaryCommit {
    /// Takes rows in, invisible until the commit.
    ///
    /// # Errors
    /// Over budget.
    pub fn part(&mut self, payload: Bytes) -> Result<(), StorageError> {
        let (id, sequence) = (self.id, self.parts);
        let mut writer = self.store.writer.lock();
        let part = Part { id, sequence, payload };
        let payload = writer.placement.place_part(&part).map_err(refused)?;
        self.parts += 1;
        writer.apply(|_| Record::Part { id, sequence, payload })
    }

    /// Places what is left: from here on only [`commit`](Self::commit) is to be called, and will not be
    /// refused.
    ///
    /// # Errors
    /// Over budget.
    pub fn prepare(&mut self, writes: EncodedWriteSet) -> Result<(), StorageError> {
        for part in writes.parts {
            self.part(part.payload())?;
        }
        let mut writer = self.store.writer.lock();
        self.placed = Some(writer.place(self.id, self.parts, writes.payload)?);
        Ok(())
    }

    /// Makes visible what was prepared.
    ///
    /// # Errors
    /// None but by a fault of ours.
    pub fn commit(mut self) -> Result<(), StorageError> {
        let Some(payload) = self.placed.take() else {
            return Err(StorageError::Invalid("a commit that was not prepared".to_owned()));
        };
        self.ended = true;
        let store = &self.store;
        let mut writer = store.writer.lock();
        writer.commit(self.id, self.parts, payload)?;
        store.snapshots.publish(writer.published());
        store.collect(&mut writer)
    }
}

impl Drop for TemporaryCommit {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let id = self.id;
        let mut writer = self.store.writer.lock();
        writer.placement.forget_parts(id);
        if self.parts > 0
            && let Err(error) = writer.apply(|_| Record::Abort { id })
        {
            tracing::error!(%error, "rows of temporary tables that were undone stay in memory");
        }
        if let Some(payload) = self.placed.take() {
            if let Ok((_, changes)) = Placed::decode(&payload) {
                self.store.state.budget().tail_left(changes.memory_estimate());
            }
            // Forgets what was placed. A statement that was given up may still bring parts of another
            // commit: they go on in chunks of their own.
            writer.placement = StoragePlacement::beside(Arc::clone(&self.store.state));
        }
    }
}
