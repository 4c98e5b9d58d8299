//! The contract between the commit pipeline and the state it orders changes to.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    message::{CommitRequest, Part, Refusal},
    record::Record,
};
use crate::ids::{CommitId, Position, Timestamp};

/// The leader's side: runs in the critical section, ahead of what is applied.
///
/// It keeps what placing needs (schema versions, open chunk and next row per table, next ids, the
/// budget) up to date with the tail. Contract:
/// 1. `place*` is called in log order; what it returns is logged, unless it refuses, and then it
///    has changed nothing.
/// 2. It does no I/O and does not wait.
/// 3. Everything it decided stands in the payload it returns: `Apply` makes no choices.
/// 4. When leadership is lost the tail is dropped and the placement is rebuilt from applied state.
/// 5. A placed payload is at most `message::PLACED_GROWTH_BYTES_MAX` longer than the request's. A
///    longer one, or a panic, stops the node.
pub trait Placement: Send {
    /// Check schema versions and budget, resolve locators; the payload of the log record. The
    /// request's keys and assertions have been resolved: nothing conflicts.
    fn place(&mut self, request: &CommitRequest, timestamp: Timestamp) -> Result<Bytes, Refusal>;

    /// The same for a part of a large commit. Sequences have no gaps.
    fn place_part(&mut self, part: &Part) -> Result<Bytes, Refusal>;

    /// The id was aborted; its parts, if it had any, are gone.
    fn forget_parts(&mut self, id: CommitId);

    /// A control payload asked for by the state machine itself (horizon, seal, checkpoint begin).
    fn place_control(&mut self, request: &[u8], timestamp: Timestamp) -> Result<Bytes, Refusal>;

    /// How sessions learn that they should slow down. Asked once, when the leader starts.
    fn throttle(&self) -> Throttle {
        Throttle::none()
    }
}

/// Tells how long a session should wait before it submits a commit or a part, so that commits
/// slow down before they are refused for want of memory. Sessions wait on their own time: nothing
/// in the pipeline ever sleeps. A clone asks the same source.
#[derive(Clone)]
pub struct Throttle(Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

impl Throttle {
    /// Never waits.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// `delay` is called before every commit, by many threads: a few atomics, no lock.
    #[must_use]
    pub fn new(delay: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(delay)))
    }

    /// What to wait now, if anything.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.0.as_ref().map(|delay| delay()).filter(|delay| !delay.is_zero())
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Throttle").field(&self.delay()).finish()
    }
}

/// The applied side: a deterministic function of the log. Called by one thread, in log order, for
/// durable records only, once each.
///
/// No object I/O, no clock, no randomness, no choices. A record that cannot be applied is a
/// corrupt log or a bug, and stops the node: hence the panic-free error.
///
/// `Part` and `Abort` records come too: what a part brings stays invisible until the commit record
/// with its id, and an abort drops it. When recovery starts at a checkpoint, the parts of commits
/// that were open at it are applied first (see `recovery::replay`).
pub trait Apply: Send {
    fn apply(&mut self, position: Position, record: &Record) -> Result<(), ApplyError>;

    /// Applies records in recovery, while nobody reads the state: as if `apply` were called for one
    /// after the other. What makes no difference to that outcome may be done in any order, side by
    /// side, or left out. An error is that of the first record that fails in log order; the state is
    /// of no use then.
    fn replay(&mut self, records: &[(Position, Record)]) -> Result<(), ApplyError> {
        records.iter().try_for_each(|(position, record)| self.apply(*position, record))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("record at {position} cannot be applied: {reason}")]
pub struct ApplyError {
    pub position: Position,
    pub reason: String,
}
