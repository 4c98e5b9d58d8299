//! What the key sets of a large commit met: is it a conflict?
//!
//! The leader knows the keys of a large commit by filters, which say "perhaps" (`txn`'s `resolver`). When
//! it answers that one has met something, or that it remembers too little to tell, the session looks:
//! which keys of the table did change since the commit's base, as far as that is published by now?
//!
//! ```text
//! base ────────────────── published                       round 1: everything since the load began
//!                             └────── published           round 2: what came while round 1 looked
//!                                        └─ sends again   the leader compares with what came since
//! ```
//!
//! # Invariants
//! 1. A commit is sent again only if no key of its sets was changed after the snapshot under which its
//!    statement looked it up and up to the new base, so for the leader it is as if all keys had been
//!    looked up there.
//! 2. The oldest base stays registered until the answer, so no change since is forgotten by storage.
//!
//! Rounds come to an end in practice: each looks at what came during the one before, so they shorten
//! as fast as looking is faster than writing, and among few changes there is hardly a false alarm (one
//! in 4,096 a change). Where they do not in [`ROUNDS_MAX`] the commit fails with 40001. More of why:
//! `docs/decisions/2026-11-23-large-commits.md`.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use glaredb_txn::{
    commit::{
        message::{Answer, CommitRequest, Refusal},
        snapshots::SnapshotGuard,
    },
    ids::{Position, Snapshot, TableId, Timestamp},
};

use crate::storage::{StorageError, database::Database, table::Interval, write_set::SentKeys};

/// How often a commit looks whether what it met is a conflict.
const ROUNDS_MAX: usize = 8;

/// The snapshots under which a transaction's statements looked up the keys they wrote.
#[derive(Clone, Default, Debug)]
pub(in crate::session) struct Bases {
    oldest: Option<Arc<SnapshotGuard>>,
    /// Each once in a row.
    all: Vec<Snapshot>,
}

impl Bases {
    pub(in crate::session) fn add(&mut self, guard: &Arc<SnapshotGuard>) {
        let snapshot = guard.snapshot();
        if self.all.last() == Some(&snapshot) {
            return;
        }
        self.all.push(snapshot);
        let is_oldest =
            |oldest: &Arc<SnapshotGuard>| snapshot.position < oldest.snapshot().position;
        if self.oldest.as_ref().is_none_or(is_oldest) {
            self.oldest = Some(Arc::clone(guard));
        }
    }

    fn timestamp(&self, position: Position) -> Option<Timestamp> {
        self.all.iter().find(|base| base.position == position).map(|base| base.timestamp)
    }
}

/// The keys that a commit sent as sets, and up to where they are known to be unchanged.
pub(in crate::session) struct SetsSent {
    keys: SentKeys,
    bases: Bases,
    /// By position.
    timestamps: Vec<Snapshot>,
    looked_at: Vec<(TableId, Snapshot)>,
    rounds: usize,
    was_too_old: bool,
}

impl SetsSent {
    pub(in crate::session) fn new(keys: SentKeys, bases: Bases) -> Self {
        let mut timestamps = bases.all.clone();
        timestamps.sort_unstable_by_key(|base| base.position);
        Self { keys, bases, timestamps, looked_at: Vec::new(), rounds: 0, was_too_old: false }
    }

    /// After an answer: `None` if the commit is to be sent again, its sets with newer bases; else what the
    /// answer is.
    ///
    /// # Errors
    /// An object is damaged or cannot be read.
    pub(super) async fn look(
        &mut self,
        database: &Arc<Database>,
        answer: Answer,
        request: &mut CommitRequest,
    ) -> Result<Option<Answer>, StorageError> {
        let tables: Vec<TableId> = match &answer {
            Answer::Met { table, .. } => vec![*table],
            // If that is not for the sets' sake, newer bases of theirs are no help.
            Answer::Refused(Refusal::TooOld) if !self.was_too_old => self.keys.tables().collect(),
            _ => return Ok(Some(answer)),
        };
        self.was_too_old = matches!(answer, Answer::Refused(_));
        self.rounds += 1;
        // Of keys that are not here nobody can say that they did not change.
        let known = |table: &TableId| self.keys.tables().any(|known| known == *table);
        if !tables.iter().all(known) || self.rounds > ROUNDS_MAX {
            return Ok(Some(answer));
        }
        for table in tables {
            // Of rows that were written into segments before the commit only filters are left.
            if !self.keys.tables().any(|known| known == table) {
                return Ok(Some(answer));
            }
            let Some(since) = self.base(table, request) else { return Ok(Some(answer)) };
            let Some(storage) = database.table(table) else { return Ok(Some(answer)) };
            let newest = database.snapshots().register();
            let until = newest.snapshot();
            let interval = Interval { since: since.timestamp, until: until.timestamp };
            if let Some(key) = self.changed(database, table, &storage, interval).await? {
                return Ok(Some(Answer::Conflict { table, key, at: until.position }));
            }
            let sets = request.key_sets.iter_mut().filter(|set| set.table == table);
            sets.for_each(|set| set.base = until.position);
            self.looked_at.retain(|(other, _)| *other != table);
            self.looked_at.push((table, until));
        }
        Ok(None)
    }

    /// Up to where no key of the table's sets is known to have changed.
    fn base(&self, table: TableId, request: &CommitRequest) -> Option<Snapshot> {
        if let Some((_, at)) = self.looked_at.iter().find(|(other, _)| *other == table) {
            return Some(*at);
        }
        let sets = request.key_sets.iter().filter(|set| set.table == table);
        let position = sets.map(|set| set.base).min()?;
        let timestamp = self.bases.timestamp(position)?;
        Some(Snapshot { position, timestamp })
    }

    /// A key of the sets that was changed in the interval, after it was looked up.
    async fn changed(
        &self,
        database: &Database,
        table: TableId,
        storage: &crate::storage::table::Table,
        interval: Interval,
    ) -> Result<Option<Bytes>, StorageError> {
        let mut found = None;
        let see = |key: &[u8], at: Timestamp| {
            let Some(base) = self.keys.base(table, key) else { return ControlFlow::Continue(()) };
            let known = self.timestamps.binary_search_by_key(&base, |base| base.position);
            // Of one that is not known anything may have come since.
            if known.is_ok_and(|n| at <= self.timestamps[n].timestamp) {
                return ControlFlow::Continue(());
            }
            found = Some(Bytes::copy_from_slice(key));
            ControlFlow::Break(())
        };
        storage.changed_keys(database.segments(), interval, see).await?;
        Ok(found)
    }
}
