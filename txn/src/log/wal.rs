//! The `Wal` contract: what the commit pipeline needs of a write-ahead log.

use bytes::Bytes;

use crate::ids::{EntryIndex, LogId, Term};

/// An entry is one group-commit batch. Its body is a sequence of encoded records
/// (`commit::record`); the log does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub index: EntryIndex,
    pub body: Bytes,
}

/// No entry's body exceeds this many bytes; a larger commit streams its parts.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Nothing was appended and nothing ever will be of this call: determinate. The caller answers
    /// "disk full" and may try again when space returns.
    #[error("no space left for the log: {0}")]
    Full(String),
    /// The log was appended to under a newer term: determinate, the caller lost leadership.
    #[error("log is at term {current}, append was checked under {requested}")]
    Fenced { requested: Term, current: Term },
    /// Outcome unknown. A write or sync failed; whether bytes reached the disk nobody can say. The
    /// node stops; it does not guess.
    #[error("log failed, outcome unknown: {0}")]
    Indeterminate(String),
    /// The bytes read are not what was written.
    #[error("log corrupt: {0}")]
    Corrupt(String),
    #[error("entry of {0} bytes exceeds the limit of {ENTRY_BYTES_MAX}")]
    TooLarge(usize),
}

/// One totally ordered log of entries.
///
/// Obligations of an implementation, each checked by the conformance suite (`log::conformance`):
/// 1. `append` gives consecutive indexes, starting one after `last()`; it never reorders.
/// 2. An entry is readable from the moment `append` returned; it survives a crash only from the
///    moment a `sync` that returned an index at or above its own.
/// 3. After a crash the log holds a prefix of what was appended, and at least what was synced.
/// 4. `append` under a term below the log's is refused with `Fenced` and leaves no trace.
/// 5. `Full` leaves no trace. After `reserve(n)` returned Ok, appends of up to `n` bytes of bodies
///    in total (entries counted with `FRAME_BYTES` overhead each) do not fail with `Full`.
/// 6. After `Indeterminate` every later append and sync fails too.
/// 7. `cut_prefix(before)` may drop entries below `before`, never one at or above it.
pub trait Wal: Send + Sync {
    fn log_id(&self) -> LogId;

    /// Index of the newest entry, durable or not; 0 when there never was one.
    fn last(&self) -> EntryIndex;

    /// Index of the oldest entry that can be read; `last().next()` when there is none.
    fn first(&self) -> EntryIndex;

    /// Make sure that `bytes` more can be appended without `Full`.
    fn reserve(&self, bytes: u64) -> Result<(), WalError>;

    /// Append one entry. Returns when its bytes are handed to the operating system.
    fn append(&self, term: Term, body: Bytes) -> Result<EntryIndex, WalError>;

    /// Make everything appended before this call durable; returns the durable index.
    fn sync(&self) -> Result<EntryIndex, WalError>;

    /// Entries from `from` on, in order, at most about `bytes_max` of bodies (at least one entry if
    /// there is one). Empty: `from` is beyond `last()`. An error if `from` was cut.
    fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError>;

    /// Entries below `before` are not needed any more.
    fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError>;
}
