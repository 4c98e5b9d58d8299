//! The horizon: the timestamp below which nobody reads any more.
//!
//! Which versions are dropped must be the same on every node that applies the log, so the horizon
//! is logged: the leader takes the oldest registered snapshot and writes a control record, and
//! `apply` drops what ended before it. An idle database logs nothing.

use glaredb_txn::{commit::message::Answer, ids::Timestamp};

use super::{background::Shared, record::Control};

/// Remembers what the last horizon covered.
#[derive(Debug, Default)]
pub(super) struct HorizonKeeper {
    /// Number of commits when the last horizon was logged, and whether an old snapshot held it back.
    commits: u64,
    held_back: bool,
    logged: Timestamp,
}

impl HorizonKeeper {
    /// Logs the horizon if that would drop anything.
    pub(super) fn step(&mut self, shared: &Shared) {
        let commits = shared.leader.metrics().commits;
        let snapshots = shared.leader.snapshots();
        let oldest = snapshots.oldest();
        if (commits == self.commits && !self.held_back) || oldest <= self.logged {
            return;
        }
        let published = snapshots.published().timestamp;
        match shared.leader.control_wait(Control::Horizon(oldest).encode()) {
            Answer::Committed { .. } => {
                self.commits = commits;
                self.held_back = oldest < published;
                self.logged = oldest;
            }
            // A full disk or a stopped leader: commits hear of it, and the next step tries again.
            other => tracing::debug!(answer = ?other, "horizon not logged"),
        }
    }
}
