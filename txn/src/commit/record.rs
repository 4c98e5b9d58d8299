//! Records: what an entry's body is made of. The ordinal of a record within its entry is the
//! `ordinal` of its position.

use bytes::Bytes;

use crate::ids::{CommitId, Timestamp};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// Row changes, DDL, or both. Publishes the `parts` logged before under the same id.
    Commit { id: CommitId, timestamp: Timestamp, parts: u32, payload: Bytes },
    /// Part of a large commit, invisible until its commit record.
    Part { id: CommitId, sequence: u32, payload: Bytes },
    /// `id` will never commit; its parts are dropped.
    Abort { id: CommitId },
    /// Of the state machine's own, at the leader's initiative: sealing a chunk outside a commit,
    /// the horizon, the begin of a checkpoint. `timestamp` orders it among the commits.
    Control { timestamp: Timestamp, payload: Bytes },
}
