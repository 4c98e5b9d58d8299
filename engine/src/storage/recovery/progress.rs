//! How far an opening database is, for whoever must say so while it lasts.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use glaredb_txn::commit::recovery::Progress;

/// What an opening database is doing. In this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum RecoveryPhase {
    /// The metastore and the log are being opened.
    Opening = 0,
    /// The checkpoint is being read; bytes are those of its objects.
    LoadingCheckpoint = 1,
    /// The log after the checkpoint is being replayed; counted in entries.
    ReplayingLog = 2,
    /// Key indexes are being built of the rows that the log left.
    BuildingIndexes = 3,
    /// The leader is being started.
    Starting = 4,
    /// Open.
    Ready = 5,
}

/// Shared between the thread that opens and those that ask. Every number only grows within a phase.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl RecoveryProgress {
    #[must_use]
    pub fn phase(&self) -> RecoveryPhase {
        match self.phase.load(Relaxed) {
            0 => RecoveryPhase::Opening,
            1 => RecoveryPhase::LoadingCheckpoint,
            2 => RecoveryPhase::ReplayingLog,
            3 => RecoveryPhase::BuildingIndexes,
            4 => RecoveryPhase::Starting,
            _ => RecoveryPhase::Ready,
        }
    }

    /// How much of this phase is done, and of how much: bytes of the checkpoint, entries of the
    /// log; (0, 0) where a phase has no measure.
    #[must_use]
    pub fn done_of_total(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.total.load(Relaxed))
    }

    pub(in crate::storage) fn begin(&self, phase: RecoveryPhase, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    pub(super) fn replayed(&self, progress: &Progress) {
        self.done.store(progress.entries, Relaxed);
        self.total.store(progress.entries_total, Relaxed);
    }
}

impl fmt::Display for RecoveryProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, total) = self.done_of_total();
        match self.phase() {
            RecoveryPhase::Opening => f.write_str("opening the database"),
            RecoveryPhase::LoadingCheckpoint => {
                write!(f, "loading the checkpoint: {done} of {total} bytes")
            }
            RecoveryPhase::ReplayingLog => {
                write!(f, "replaying the log: {done} of {total} entries")
            }
            RecoveryPhase::BuildingIndexes => f.write_str("building the key indexes"),
            RecoveryPhase::Starting => f.write_str("starting the leader"),
            RecoveryPhase::Ready => f.write_str("ready"),
        }
    }
}
