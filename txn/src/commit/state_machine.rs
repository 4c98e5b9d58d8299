//! The contract between the commit pipeline and the state it orders changes to.

use bytes::Bytes;

use super::{
    message::{CommitRequest, Part, Refusal},
    record::Record,
};
use crate::ids::{Position, Timestamp};

/// The leader's side: runs in the critical section, ahead of what is applied.
///
/// It keeps what placing needs (schema versions, open chunk and next row per table, next ids, the
/// budget) up to date with the tail. Contract:
/// 1. `place` is called in log order; what it returns is logged, unless it refuses, and then it has
///    changed nothing.
/// 2. It does no I/O and does not wait.
/// 3. Everything it decided stands in the payload it returns: `Apply` makes no choices.
/// 4. When leadership is lost the tail is dropped and the placement is rebuilt from applied state.
pub trait Placement: Send {
    /// Check schema versions and budget, resolve locators; the payload of the log record.
    fn place(&mut self, request: &CommitRequest, timestamp: Timestamp) -> Result<Bytes, Refusal>;

    /// The same for a part of a large commit.
    fn place_part(&mut self, part: &Part) -> Result<Bytes, Refusal>;

    /// The id was aborted; its parts are gone.
    fn forget_parts(&mut self, id: crate::ids::CommitId);

    /// A control payload asked for by the state machine itself (horizon, seal, checkpoint begin).
    fn place_control(&mut self, request: &[u8], timestamp: Timestamp) -> Result<Bytes, Refusal>;
}

/// The applied side: a deterministic function of the log. Runs on one thread, in log order, for
/// durable records only, once each.
///
/// No object I/O, no clock, no randomness, no choices. A record that cannot be applied is a
/// corrupt log or a bug, and stops the node: hence the panic-free error.
pub trait Apply: Send {
    fn apply(&mut self, position: Position, record: &Record) -> Result<(), ApplyError>;
}

#[derive(Debug, thiserror::Error)]
#[error("record at {position} cannot be applied: {reason}")]
pub struct ApplyError {
    pub position: Position,
    pub reason: String,
}
