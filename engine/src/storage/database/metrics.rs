//! Numbers for `/metrics`.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use glaredb_txn::{
    commit::leader,
    ids::{EntryIndex, Snapshot, Timestamp},
    log::wal::Wal,
};

use crate::storage::{
    background::Shared, objects::ObjectFigures, rewrite::RewriteMetrics, segment::ResidentMetrics,
};

/// A database's numbers at one moment; counters count since the start.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    pub leader: leader::Metrics,
    pub published: Snapshot,
    /// Newest entry of the log, and newest durable one.
    pub log_last: EntryIndex,
    pub log_durable: EntryIndex,
    /// Oldest entry that is kept.
    pub log_first: EntryIndex,
    /// Bytes of entries since the last checkpoint began.
    pub log_bytes_since_checkpoint: u64,
    pub checkpoints: u64,
    pub checkpoint_failures: u64,
    /// Duration of the last checkpoint.
    pub checkpoint_duration: Duration,
    /// Bytes written by all checkpoints, and needed by the current one.
    pub checkpoint_bytes_written: u64,
    pub checkpoint_bytes: u64,
    /// How long the opening took, and the commits it replayed.
    pub recovery: Duration,
    pub recovery_commits: u64,
    /// Oldest timestamp that may still be read, as logged.
    pub horizon: Timestamp,
    /// How far it is behind the published snapshot.
    pub horizon_age: Duration,
    pub registered_snapshots: usize,
    /// How far the oldest of them is behind the published snapshot.
    pub oldest_snapshot_age: Duration,
    /// Memory of the delta, and its limit.
    pub delta_bytes: u64,
    pub budget_bytes: u64,
    pub tables: usize,
    /// Requests to the store of objects, and the cache before it.
    pub objects: ObjectFigures,
    /// Decoded parts of segments.
    pub resident: ResidentMetrics,
    /// Segments, and the jobs that make them.
    pub rewrite: RewriteMetrics,
}

pub(super) fn collect(shared: &Shared) -> DatabaseMetrics {
    let leader = shared.leader.metrics();
    let snapshots = shared.leader.snapshots();
    let published = snapshots.published();
    let horizon = shared.state.horizon();
    // Before the first horizon is known nothing has been dropped: there is no distance to tell.
    let behind_ms = match horizon.millis() {
        0 => 0,
        known => published.timestamp.millis().saturating_sub(known),
    };
    let counters = &shared.counters;
    let budget = shared.state.budget();
    DatabaseMetrics {
        published,
        log_last: shared.wal.last(),
        log_durable: shared.wal.durable(),
        log_first: shared.wal.first(),
        log_bytes_since_checkpoint: shared.log_bytes_since_checkpoint(),
        checkpoints: counters.checkpoints.load(Relaxed),
        checkpoint_failures: counters.failures.load(Relaxed),
        checkpoint_duration: Duration::from_micros(counters.last_us.load(Relaxed)),
        checkpoint_bytes_written: counters.bytes_written.load(Relaxed),
        checkpoint_bytes: shared.store.current().map_or(0, |c| c.manifest.bytes()),
        recovery: shared.recovery,
        recovery_commits: shared.recovery_commits,
        horizon,
        horizon_age: Duration::from_millis(behind_ms),
        registered_snapshots: snapshots.registered(),
        oldest_snapshot_age: Duration::from_millis(
            published.timestamp.millis().saturating_sub(snapshots.oldest().millis()),
        ),
        delta_bytes: budget.used_bytes(),
        budget_bytes: budget.limit_bytes(),
        tables: shared.state.tables().len(),
        objects: shared.objects.figures(),
        resident: shared.segments.resident.metrics(),
        rewrite: shared.rewriter.figures.metrics(&shared.state),
        leader,
    }
}
