//! The `Wal` of one node.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    env::{DiskError, Env},
    ids::{DatabaseId, EntryIndex, LogId, Term},
    log::wal::{Entry, Wal, WalError},
};

/// Why a log cannot be opened. Nothing was changed on disk, except after `Disk`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{file} belongs to database {found:032x}, this one is {expected:032x}")]
    Foreign { file: String, expected: u128, found: u128 },
    #[error("{file} belongs to log {}, this one is {}", found.0, expected.0)]
    ForeignLog { file: String, expected: LogId, found: LogId },
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Newer { file: String, supported: u32, found: u32 },
    #[error("{file} is corrupt at byte {offset}: {reason}")]
    Corrupt { file: String, offset: u64, reason: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The options contradict themselves.
    #[error("log options: {0}")]
    Options(String),
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LocalWalOptions {
    /// Size of each file of the log.
    pub file_bytes: u64,
    /// Prepare the next file on a thread of its own, so that `append` and `reserve` seldom wait
    /// for it. Off in simulations.
    pub preallocate_in_background: bool,
}

impl Default for LocalWalOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, preallocate_in_background: true }
    }
}

/// What was found when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no log here; an empty one was made.
    pub created: bool,
    /// Oldest entry that can be read; one after `last` when there is none.
    pub first: EntryIndex,
    /// Newest entry; 0 when there never was one.
    pub last: EntryIndex,
    /// Term of this opening: higher than every term under which the log was opened or written
    /// before, and durably noted. Append under it.
    pub term: Term,
    /// Bytes of unfinished writes cut off behind the last whole entry.
    pub torn_bytes: u64,
}

/// A log on the local disk.
pub struct LocalWal {
    log_id: LogId,
}

impl LocalWal {
    /// Open the log in `directory` of the environment's disk, or make an empty one there.
    pub fn open(
        _env: &Env,
        _directory: &str,
        _database_id: DatabaseId,
        log_id: LogId,
        _options: LocalWalOptions,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let unbuilt = "the local log is not built yet".to_owned();
        let _ = Self { log_id };
        Err(OpenError::Options(unbuilt))
    }

    /// Note durably that everything synced so far was, so that a later damage to the last entries
    /// is told from an unfinished write; for an orderly end. The log stays usable.
    pub fn close(&self) -> Result<(), WalError> {
        Err(WalError::Indeterminate("the local log is not built yet".to_owned()))
    }
}

impl Wal for LocalWal {
    fn log_id(&self) -> LogId {
        self.log_id
    }
    fn term(&self) -> Term {
        Term::MIN
    }
    fn last(&self) -> EntryIndex {
        EntryIndex::MIN
    }
    fn durable(&self) -> EntryIndex {
        EntryIndex::MIN
    }
    fn first(&self) -> EntryIndex {
        EntryIndex(1)
    }
    fn reserve(&self, _bytes: u64) -> Result<(), WalError> {
        self.close()
    }
    fn append(&self, _term: Term, _body: Bytes) -> Result<EntryIndex, WalError> {
        self.close().map(|()| EntryIndex::MIN)
    }
    fn sync(&self) -> Result<EntryIndex, WalError> {
        self.close().map(|()| EntryIndex::MIN)
    }
    fn read(&self, _from: EntryIndex, _bytes_max: usize) -> Result<Vec<Entry>, WalError> {
        self.close().map(|()| Vec::new())
    }
    fn cut_prefix(&self, _before: EntryIndex) -> Result<(), WalError> {
        self.close()
    }
}
