//! The catalogs that somebody may still ask for.

use std::{collections::VecDeque, sync::Arc};

use glaredb_txn::ids::{TableId, Timestamp};

use crate::Catalog;

/// Catalog versions by the timestamp of the commit that made them.
///
/// ```text
///  versions      20: A        35: B (DROP t)      50: C
///  snapshots          ◀─ at(30) = A    at(35) = B ─▶      at(77) = C
///  prune(40):    A is behind every snapshot; t's storage may go
/// ```
///
/// Pruning needs the horizon (the oldest snapshot anyone holds) to be a function of the log wherever
/// the storages it releases are part of replicated state.
#[derive(Debug)]
pub struct History {
    /// Oldest first; never empty.
    versions: VecDeque<(Timestamp, Arc<Catalog>)>,
    /// Storages no newer catalog names, by the timestamp at which they went; oldest first.
    released: VecDeque<(Timestamp, TableId)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("a catalog at {given}, but the newest is at {newest}")]
    NotNewer { given: Timestamp, newest: Timestamp },
    #[error("no catalog is kept for {asked}; the oldest is at {oldest}")]
    Pruned { asked: Timestamp, oldest: Timestamp },
}

impl History {
    /// A history that begins with `catalog`, as of `timestamp`: from a checkpoint, or empty at
    /// `Timestamp::ZERO`.
    #[must_use]
    pub fn starting(timestamp: Timestamp, catalog: Arc<Catalog>) -> Self {
        Self { versions: VecDeque::from([(timestamp, catalog)]), released: VecDeque::new() }
    }

    /// The newest catalog.
    #[must_use]
    pub fn latest(&self) -> &Arc<Catalog> {
        &self.versions.back().expect("a history is never empty").1
    }

    /// Timestamp of the commit that made the newest catalog.
    #[must_use]
    pub fn latest_timestamp(&self) -> Timestamp {
        self.versions.back().expect("a history is never empty").0
    }

    /// The catalog a snapshot at `timestamp` sees: the newest not younger than it.
    pub fn at(&self, timestamp: Timestamp) -> Result<&Arc<Catalog>, HistoryError> {
        let behind = self.versions.partition_point(|(at, _)| *at <= timestamp);
        let Some(index) = behind.checked_sub(1) else {
            return Err(HistoryError::Pruned { asked: timestamp, oldest: self.versions[0].0 });
        };
        Ok(&self.versions[index].1)
    }

    /// The commit at `timestamp` made `catalog` of the newest one.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        catalog: Arc<Catalog>,
    ) -> Result<(), HistoryError> {
        let newest = self.latest_timestamp();
        if timestamp <= newest {
            return Err(HistoryError::NotNewer { given: timestamp, newest });
        }
        let previous = self.latest().clone();
        let gone = previous.storages_not_in(&catalog);
        self.released.extend(gone.map(|storage| (timestamp, storage)));
        self.versions.push_back((timestamp, catalog));
        Ok(())
    }

    /// No snapshot older than `horizon` exists or will: forgets the catalogs only such could ask
    /// for, and returns the storages that only such could read, oldest first.
    pub fn prune(&mut self, horizon: Timestamp) -> Vec<TableId> {
        while self.versions.get(1).is_some_and(|(at, _)| *at <= horizon) {
            self.versions.pop_front();
        }
        let count = self.released.partition_point(|(at, _)| *at <= horizon);
        self.released.drain(..count).map(|(_, storage)| storage).collect()
    }

    /// How many versions are kept.
    #[must_use]
    pub fn version_count(&self) -> usize {
        self.versions.len()
    }

    /// Storages that no newer catalog names but a snapshot may still read.
    pub fn released_storages(&self) -> impl Iterator<Item = (Timestamp, TableId)> + '_ {
        self.released.iter().copied()
    }
}
