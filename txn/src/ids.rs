//! A type of its own for every id, position, time and term.
//!
//! All of them are plain integers on disk and on the wire; the types exist so that a row number is
//! never passed where a segment is meant, and a position never compared with a timestamp.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $repr);

        impl $name {
            pub const MIN: Self = Self(0);
            pub const MAX: Self = Self(<$repr>::MAX);

            /// The one after this one. Panics at the end of the range: ids are never reused, so
            /// running out is a fault, not a wrap.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect(concat!(stringify!($name), " exhausted")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id! {
    /// Identity of one database directory or cluster; every file and the metastore carry it, and a
    /// file with another one is refused.
    DatabaseId(u128), "db"
}
id! {
    /// Term of leadership. On one node it grows by one at every start; under raft it is raft's.
    Term(u64), "t"
}
id! {
    /// One log is the unit of write scale; nothing assumes there is only one.
    LogId(u32), "l"
}
id! {
    /// Index of an entry (one group-commit batch) in a log. The first entry is 1; 0 means "before
    /// the first".
    EntryIndex(u64), "e"
}
id! {
    /// Storage of one table: what `TRUNCATE` replaces while the table's OID stays.
    TableId(u32), "table"
}
id! {
    /// Index of a table. `IndexId(0)` is the key: the primary key, else the row id.
    IndexId(u32), "index"
}
id! {
    /// Version of a table's descriptor; every DDL on the table adds one.
    SchemaVersion(u32), "v"
}
id! {
    /// A chunk in memory or, later, a Parquet segment. Unique in the database for ever.
    SegmentId(u64), "s"
}
id! {
    /// Identity a row keeps for life, through updates and rewrites.
    RowId(u64), "r"
}

id! {
    /// Work that writes segments in place of others: the timestamp of the record that began it, so
    /// unique in the database for ever.
    JobId(u64), "job"
}

impl TableId {
    /// No table: under it stand the keys by which DDL commits conflict in the resolver.
    pub const CATALOG: Self = Self(0);
}

impl IndexId {
    /// The key: the primary key, else the row id.
    pub const KEY: Self = Self(0);
}

/// Place of one commit in a log: entry and ordinal within it.
///
/// Order is (index, ordinal) within one log; positions of different logs are not comparable, which
/// is why `Ord` puts the log first and callers only ever compare within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub log: LogId,
    pub index: EntryIndex,
    pub ordinal: u32,
}

impl Position {
    /// Before every commit of log 0.
    pub const ZERO: Self = Self { log: LogId(0), index: EntryIndex(0), ordinal: 0 };

    #[must_use]
    pub const fn new(log: LogId, index: EntryIndex, ordinal: u32) -> Self {
        Self { log, index, ordinal }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.log.0, self.index.0, self.ordinal)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hybrid time of a commit: milliseconds since the Unix epoch << 18 | counter.
///
/// Rows compare by timestamp. Within one log, timestamps grow strictly with positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Bits of the counter below the milliseconds.
    pub const COUNTER_BITS: u32 = 18;
    pub const ZERO: Self = Self(0);
    /// "Not yet": later than every commit. Marks a version that nothing has deleted.
    pub const INFINITY: Self = Self(u64::MAX);

    /// The first timestamp of a millisecond.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms << Self::COUNTER_BITS)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("timestamps exhausted"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.millis(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identity of a commit request, chosen by the session's node before the request is sent, so that
/// an answer that got lost can be asked for again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitId {
    /// Term in which the session's node started counting.
    pub term: Term,
    /// Random at process start: two starts in one term never share ids.
    pub start: u64,
    pub number: u64,
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}.{}", self.term.0, self.start, self.number)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a row version lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Locator {
    pub segment: SegmentId,
    pub row: u32,
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.row)
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a reader sees: everything up to `position`, whose newest commit has `timestamp`.
///
/// Published snapshots only: everything up to `position` is durable and applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Snapshot {
    pub position: Position,
    pub timestamp: Timestamp,
}
