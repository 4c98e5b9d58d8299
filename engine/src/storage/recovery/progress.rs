//! How far an opening database is, for whoever must say so while it lasts.

use std::fmt;

use glaredb_txn::commit::recovery::Progress;
use parking_lot::Mutex;

/// What an opening database is doing. In this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RecoveryPhase {
    /// The metastore and the log are being opened.
    Opening,
    /// The checkpoint is being read; bytes are those of its objects.
    LoadingCheckpoint,
    /// The log after the checkpoint is being replayed; counted in entries.
    ReplayingLog,
    /// Key indexes are being built of the rows that the log left.
    BuildingIndexes,
    /// The leader is being started.
    Starting,
    /// Open.
    Ready,
}

/// Shared between the thread that opens and those that ask. Every number only grows within a phase.
#[derive(Debug)]
pub struct RecoveryProgress {
    /// One value, so that nobody sees the count of one moment beside the total of another.
    now: Mutex<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    phase: RecoveryPhase,
    done: u64,
    total: u64,
}

impl Default for RecoveryProgress {
    fn default() -> Self {
        Self { now: Mutex::new(Now { phase: RecoveryPhase::Opening, done: 0, total: 0 }) }
    }
}

impl RecoveryProgress {
    #[must_use]
    pub fn phase(&self) -> RecoveryPhase {
        self.now.lock().phase
    }

    /// How much of this phase is done, and of how much: bytes of the checkpoint, entries of the
    /// log; (0, 0) where a phase has no measure, and before it has one.
    #[must_use]
    pub fn done_of_total(&self) -> (u64, u64) {
        let Now { done, total, .. } = *self.now.lock();
        (done, total)
    }

    pub(in crate::storage) fn begin(&self, phase: RecoveryPhase, total: u64) {
        *self.now.lock() = Now { phase, done: 0, total };
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.now.lock().done += bytes;
    }

    pub(super) fn replayed(&self, progress: &Progress) {
        let mut now = self.now.lock();
        (now.done, now.total) = (progress.entries, progress.entries_total);
    }
}

impl fmt::Display for RecoveryProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Now { phase, done, total } = *self.now.lock();
        match phase {
            RecoveryPhase::Opening => f.write_str("opening the database"),
            RecoveryPhase::LoadingCheckpoint => {
                write!(f, "loading the checkpoint: {done} of {total} bytes")
            }
            RecoveryPhase::ReplayingLog if total == 0 => f.write_str("replaying the log"),
            RecoveryPhase::ReplayingLog => {
                write!(f, "replaying the log: {done} of {total} entries")
            }
            RecoveryPhase::BuildingIndexes => f.write_str("building the key indexes"),
            RecoveryPhase::Starting => f.write_str("starting the leader"),
            RecoveryPhase::Ready => f.write_str("ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads numbers in the text may rely on them.
    #[test]
    fn the_log_is_measured_once_its_first_piece_is_read() {
        let progress = RecoveryProgress::default();
        progress.begin(RecoveryPhase::LoadingCheckpoint, 7);
        progress.advance(3);
        assert_eq!(progress.to_string(), "loading the checkpoint: 3 of 7 bytes");
        progress.begin(RecoveryPhase::ReplayingLog, 0);
        assert_eq!(progress.to_string(), "replaying the log");
        progress.replayed(&Progress { entries: 2, entries_total: 5, records: 2, bytes: 10 });
        assert_eq!(progress.to_string(), "replaying the log: 2 of 5 entries");
    }
}
