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

/// What an entry takes in the log beside its body, at most: frame header and padding.
pub const FRAME_BYTES: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Nothing was appended and nothing ever will be of this call: determinate. The caller answers
    /// "disk full" and may try again when space returns.
    #[error("no space left for the log: {0}")]
    Full(String),
    /// The log was appended to under a newer term: determinate, the caller lost leadership.
    #[error("log is at term {}, append was checked under term {}", current.0, requested.0)]
    Fenced { requested: Term, current: Term },
    /// Outcome unknown. A write or sync failed; whether bytes reached the disk nobody can say. The
    /// node stops; it does not guess.
    #[error("log failed, outcome unknown: {0}")]
    Indeterminate(String),
    /// The bytes read are not what was written.
    #[error("log corrupt: {0}")]
    Corrupt(String),
    /// Determinate: nothing was appended.
    #[error("entry of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// The entries asked for are no longer in the log.
    #[error("entry {} was cut from the log, which begins at {}", from.0, first.0)]
    Cut { from: EntryIndex, first: EntryIndex },
    /// The operating system cannot read the log now. Nothing was changed or lost by the attempt.
    #[error("log cannot be read: {0}")]
    Unreadable(String),
    /// The call contradicts the state of the log: a bug of the caller. Nothing was changed.
    #[error("log misused: {0}")]
    Misuse(String),
    /// A cut that would go beyond the end of the log. Nothing was cut.
    #[error("cannot cut the log before {}, it ends at {}", before.0, last.0)]
    BeyondEnd { before: EntryIndex, last: EntryIndex },
}

/// One totally ordered log of entries.
///
/// Obligations of an implementation, each checked by the conformance suite (`log::conformance`):
/// 1. `append` gives consecutive indexes, starting one after `last()`; it never reorders.
/// 2. An entry is readable from the moment `append` returned; it survives a crash only from the
///    moment a `sync` that returned an index at or above its own.
/// 3. After a crash the log holds a prefix of what was appended, and at least what was synced.
///    Everything it holds after opening is durable: `durable() == last()`.
/// 4. `append` under a term below `term()` is refused with `Fenced` and leaves no trace.
/// 5. `Full` leaves no trace. After `reserve(n)` returned Ok, appends of up to `n` bytes in total
///    (body plus `FRAME_BYTES` each) do not fail with `Full`, as long as nothing else is appended.
/// 6. After `Indeterminate` every later append, sync, reserve and cut fails with `Indeterminate`;
///    what was readable stays readable.
/// 7. `cut_prefix(before)` may drop entries below `before`, never one at or above it. `first()`
///    never goes back, also not over a restart. Cutting everything keeps `last()` and `term()`.
/// 8. All methods may be called from several threads; a `sync` under way does not hold up `append`
///    or `read`.
pub trait Wal: Send + Sync {
    fn log_id(&self) -> LogId;

    /// The lowest term under which `append` is accepted: that of the newest entry or of the newest
    /// leadership known, whichever is higher.
    fn term(&self) -> Term;

    /// Index of the newest entry, durable or not; 0 when there never was one.
    fn last(&self) -> EntryIndex;

    /// Index of the newest durable entry.
    fn durable(&self) -> EntryIndex;

    /// Index of the oldest entry that can be read; `last().next()` when there is none.
    fn first(&self) -> EntryIndex;

    /// Make sure that `bytes` more can be appended without `Full`. May take as long as it takes to
    /// preallocate space for them.
    fn reserve(&self, bytes: u64) -> Result<(), WalError>;

    /// Append one entry. Returns when its bytes are handed to the operating system.
    fn append(&self, term: Term, body: Bytes) -> Result<EntryIndex, WalError>;

    /// Make everything appended before this call durable; returns the durable index.
    fn sync(&self) -> Result<EntryIndex, WalError>;

    /// Entries from `from` on, in order, at most about `bytes_max` of bodies (at least one entry if
    /// there is one). Empty: `from` is beyond `last()`. `Cut` if `from` lies below `first()`.
    fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError>;

    /// Entries below `before` are not needed any more. `before` is at most `last().next()`.
    fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError>;
}
