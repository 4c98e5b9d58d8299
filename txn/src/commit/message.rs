//! What a session sends to the leader, and what it gets back. Serialised even in process, so that
//! a network between the two adds nothing but a transport.
//!
//! ```text
//! session                                    leader
//!   Part{id, 0, rows} ──────────────────────▶ private chunk, logged, invisible
//!   Part{id, 1, rows} ──────────────────────▶        "
//!   Commit{id, parts: 2, keys, payload} ────▶ resolve, stamp, place, log; durable; apply; publish
//!                        ◀────────── Committed{position, timestamp} | Conflict | Refused
//!   Resolve{id} ────────────────────────────▶ what became of it; an unknown id is aborted first
//! ```
//!
//! Bytes: `docs/formats/messages.md`.

mod encoding;
mod key_sets;
mod key_writes;

use bytes::Bytes;

pub use self::{
    encoding::{FORMAT_VERSION, decode_answer, decode_request, encode_answer, encode_request},
    key_sets::{BULK_KEYS, KeyGroup, KeySet},
    key_writes::{KeyWriteRef, KeyWrites},
};
use crate::ids::{
    CommitId, EntryIndex, IndexId, LogId, Position, SchemaVersion, TableId, Timestamp,
};
use crate::log::wal::ENTRY_BYTES_MAX;

/// Payload of one `Commit` or `Part` at most, in bytes. What is larger is sent in parts.
pub const PAYLOAD_BYTES_MAX: usize = ENTRY_BYTES_MAX - PLACED_GROWTH_BYTES_MAX - 1024;

/// A placed payload may exceed the request's by at most this much (resolved locators, seals).
pub const PLACED_GROWTH_BYTES_MAX: usize = 64 * 1024;

/// What a commit did to a key. Foreign keys look at `Added` and `Removed` only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mark {
    Added = 1,
    Removed = 2,
    Changed = 3,
}

/// Base of a write that does not mind who wrote the key before: it never conflicts itself, while
/// others conflict with it.
pub const NEVER_CONFLICTS: Position =
    Position { log: LogId::MAX, index: EntryIndex::MAX, ordinal: u32::MAX };

/// A key that the transaction wrote. `base` is the position of the snapshot of the statement that
/// looked the key up: the commit is refused if another commit after `base` wrote the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyWrite {
    pub table: TableId,
    pub index: IndexId,
    pub key: Bytes,
    pub mark: Mark,
    pub base: Position,
}

/// Which changes of an asserted key matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// That the key is there, or is not: a change in place does not matter. What foreign keys ask.
    Presence,
    /// Any change: what a serializable read asks.
    Any,
}

/// What must not have changed since `base`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    Key {
        index: IndexId,
        key: Bytes,
        watch: Watch,
    },
    /// Any write to the table at all: what TRUNCATE and DDL assert.
    Table,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assertion {
    pub table: TableId,
    pub scope: Scope,
    pub base: Position,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitRequest {
    pub id: CommitId,
    /// Schema version under which the session planned its writes, one per table written or
    /// asserted; another version at the leader refuses the commit.
    pub schema_versions: Vec<(TableId, SchemaVersion)>,
    /// Keys written, named one by one. Who writes more than [`BULK_KEYS`] brings sets.
    pub writes: KeyWrites,
    /// Keys written by a large commit, beside `writes`.
    pub key_sets: Vec<KeySet>,
    /// Tables written without naming keys: rows inserted under fresh row ids cannot collide, but
    /// `Scope::Table` has to see them. Tables that occur in `writes` or `key_sets` need not be
    /// repeated.
    pub unkeyed: Vec<TableId>,
    pub assertions: Vec<Assertion>,
    /// Number of `Part` messages sent before under this id.
    pub parts: u32,
    /// The state machine's write set, opaque here; `Placement::place` turns it into the payload
    /// of the log record. At most `PAYLOAD_BYTES_MAX`.
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub id: CommitId,
    /// 0, 1, 2, …; a gap is refused.
    pub sequence: u32,
    /// At most `PAYLOAD_BYTES_MAX`.
    pub payload: Bytes,
}

/// A message to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    Commit(CommitRequest),
    Part(Part),
    /// The session gave up: its private chunks are dropped, and the id can never commit. Answered
    /// like `Resolve`: with `Committed`, should the commit have come first.
    Abort(CommitId),
    /// What became of `id`? An id that has not committed is first made impossible by an abort
    /// marker in the log, so that a late commit with it is refused.
    Resolve(CommitId),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Durable, applied and published.
    Committed {
        position: Position,
        timestamp: Timestamp,
    },
    /// A part is in the log (not necessarily durable).
    PartAccepted,
    /// The id will never commit; that is durable.
    Aborted,
    /// Another commit, at `at`, wrote what this one wrote or asserted. Sent when `at` is published,
    /// so that a retry sees it. SQLSTATE 40001.
    Conflict {
        table: TableId,
        /// The key they met at, as it was sent; empty if it was the table as a whole.
        key: Bytes,
        at: Position,
    },
    /// What another commit wrote until `at` may be among the keys of a [`KeySet`] of this one, in
    /// which nothing else speaks against it. Who knows the keys finds out and may send it again, the
    /// base of the table's sets a snapshot under which none of its keys was changed since. Sent when
    /// `at` is published.
    Met {
        table: TableId,
        at: Position,
    },
    Refused(Refusal),
    /// Nobody can say: the log failed under it. SQLSTATE 08007; `Resolve` may tell later.
    Unknown(String),
}

/// Why a request was refused: determinate, nothing of it is in the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// 40001 (a retry plans anew).
    #[error("{table} is at schema version {current:?}, the statement was planned under {planned}")]
    SchemaChanged { table: TableId, planned: SchemaVersion, current: Option<SchemaVersion> },
    /// The base of a key lies below what the resolver remembers. 40001.
    #[error("the transaction is older than the commits the resolver remembers")]
    TooOld,
    /// 53200.
    #[error("{0}")]
    OutOfMemory(String),
    /// 53100.
    #[error("{0}")]
    DiskFull(String),
    /// An abort marker or a resolution came first. 40000.
    #[error("commit id {0} is aborted")]
    IdAborted(CommitId),
    /// A commit with this id is in the log already; `Resolve` tells what became of it. XX000.
    #[error("commit id {0} is already used")]
    IdUsed(CommitId),
    /// Below the floor of remembered ids: never "aborted". 08007.
    #[error("commit id {0} is older than the ids remembered")]
    IdForgotten(CommitId),
    /// The timestamp window is exhausted and the metastore does not grant a new one. 57P03-like.
    #[error("{0}")]
    NoTimestamp(String),
    /// 57P01.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The log or the state failed and the node stopped; reads go on. 58030-like.
    #[error("the server accepts no more writes: {0}")]
    Stopped(String),
    /// The request deletes rows of `table` by places that they had before a segment was written in
    /// their stead: its sender finds their new places and sends it again. 40001 if it cannot.
    #[error("rows of {table} lie elsewhere by now")]
    Moved { table: TableId },
    /// What the request belongs to has ended without it, or was overtaken. XX000.
    #[error("{0}")]
    TooLate(String),
    /// A message that does not decode, a part out of order: a bug of the sender. XX000.
    #[error("malformed request: {0}")]
    Malformed(String),
}
