//! The leader: threads that drive the pipeline, and the handle through which sessions reach it.
//!
//! ```text
//! session threads ── submit: decode; [lock] resolve, stamp, place, into the open batch [unlock]
//! commit-log      ── take the batch, append, sync        (meanwhile the next batch gathers)
//! commit-apply    ── apply, publish, answer              (meanwhile the next batch is synced)
//! commit-keeper   ── extend the timestamp window, reserve log space, both well ahead
//! ```

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    commit_ids::CommitIds,
    message::Answer,
    snapshots::{Snapshots, Stopped},
    state_machine::{Apply, Placement},
    time::{TimestampWindow, WindowError},
};
use crate::{
    env::{Env, SpawnError},
    ids::{CommitId, Position, Term},
    log::wal::Wal,
};

/// Called once with the encoded answer, on whichever thread has it. It must not block.
pub type Reply = Box<dyn FnOnce(Bytes) + Send>;

/// Called once when the node stops accepting writes because log or state failed. Reads may go on.
pub type OnFatal = Box<dyn FnOnce(&Stopped) + Send>;

/// What a leader is made of.
pub struct LeaderParts {
    pub wal: Arc<dyn Wal>,
    /// Up to date with everything that is applied.
    pub placement: Box<dyn Placement>,
    pub apply: Box<dyn Apply>,
    pub window: Arc<dyn TimestampWindow>,
    /// What became of which id, and what everything is applied up to: after `recovery::replay`,
    /// the end of the log.
    pub ids: Arc<CommitIds>,
    /// This leadership's term, above every term in the log.
    pub term: Term,
    pub on_fatal: OnFatal,
}

/// Bounds; the defaults are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderOptions {
    /// What the resolver may hold.
    pub resolver_bytes_max: usize,
}

impl Default for LeaderOptions {
    fn default() -> Self {
        Self { resolver_bytes_max: 64 << 20 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no timestamps: {0}")]
    Window(#[from] WindowError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the log ends at entry {last}, but everything is applied up to {applied}")]
    NotReplayed { last: crate::ids::EntryIndex, applied: Position },
}

/// Whether commits are accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    Running,
    ShuttingDown,
    /// Log or state failed; only a restart helps.
    Stopped(Stopped),
}

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Metrics {
    pub commits: u64,
    pub conflicts: u64,
    pub refusals: u64,
    pub parts: u64,
    pub aborts: u64,
    pub controls: u64,
    /// Entries appended, and bytes of their bodies.
    pub entries: u64,
    pub log_bytes: u64,
    pub syncs: u64,
    /// Time spent in append and sync, and in apply, in nanoseconds.
    pub sync_ns: u64,
    pub apply_ns: u64,
    pub window_extensions: u64,
    /// What the resolver holds now.
    pub resolver_keys: u64,
    pub resolver_bytes: u64,
}

/// Starts leaders.
#[derive(Debug)]
pub struct Leader;

impl Leader {
    /// Gets a timestamp window, aborts the parts that the last process left open, starts the
    /// threads. Everything in the log must be applied.
    pub fn start(
        env: &Env,
        parts: LeaderParts,
        options: LeaderOptions,
    ) -> Result<LeaderHandle, StartError> {
        let _ = options;
        let inner = Inner {
            snapshots: Snapshots::new(parts.ids.applied()),
            ids: parts.ids,
            term: parts.term,
            start: env.random.next_u64(),
            next_number: AtomicU64::new(1),
        };
        Ok(LeaderHandle { inner: Arc::new(inner) })
    }
}

struct Inner {
    snapshots: Arc<Snapshots>,
    ids: Arc<CommitIds>,
    term: Term,
    start: u64,
    next_number: AtomicU64,
}

/// Reaches the leader from any thread. Cheap to clone.
#[derive(Clone)]
pub struct LeaderHandle {
    inner: Arc<Inner>,
}

impl LeaderHandle {
    /// A fresh id, taken right before the commit (or the first part) is submitted.
    #[must_use]
    pub fn new_commit_id(&self) -> CommitId {
        let number = self.inner.next_number.fetch_add(1, Ordering::Relaxed);
        CommitId { term: self.inner.term, start: self.inner.start, number }
    }

    /// What to wait before submitting a commit or a part; see `Throttle`.
    #[must_use]
    pub fn throttle(&self) -> Option<Duration> {
        None
    }

    /// Sends an encoded `message::Request`; `reply` gets the encoded `message::Answer`, exactly
    /// once. Does not wait: resolving and placing happen on the caller's thread, the rest on others.
    pub fn submit(&self, request: Bytes, reply: Reply) {
        drop(request);
        let stopped = super::message::Refusal::Stopped("not built yet".into());
        reply(super::message::encode_answer(&Answer::Refused(stopped)));
    }

    /// Logs a control record with what `Placement::place_control` makes of `request`. The reply is
    /// `Committed` when the record is applied and published, else `Refused` or `Unknown`.
    pub fn control(&self, request: Bytes, reply: Box<dyn FnOnce(Answer) + Send>) {
        drop(request);
        reply(Answer::Refused(super::message::Refusal::Stopped("not built yet".into())));
    }

    /// As `control`; waits for the answer. Not on a thread that must not block.
    #[must_use]
    pub fn control_wait(&self, request: Bytes) -> Answer {
        drop(request);
        Answer::Refused(super::message::Refusal::Stopped("not built yet".into()))
    }

    #[must_use]
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.inner.snapshots
    }

    /// What became of which id, up to what is applied.
    #[must_use]
    pub fn commit_ids(&self) -> &Arc<CommitIds> {
        &self.inner.ids
    }

    #[must_use]
    pub fn status(&self) -> Status {
        Status::Running
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::default()
    }

    /// Refuses new requests, waits until everything accepted is answered and the threads have
    /// ended. Idempotent.
    pub fn shutdown(&self) {}
}

impl fmt::Debug for LeaderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderHandle").field("term", &self.inner.term).finish_non_exhaustive()
    }
}
