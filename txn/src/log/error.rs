//! Why a log cannot be opened.

use crate::{
    env::DiskError,
    ids::{DatabaseId, LogId},
    log::format::{BlockError, FORMAT_VERSION},
};

/// Why a log cannot be opened. Nothing that might be worth keeping was changed on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{file} belongs to database {:032x}, this one is {:032x}", found.0, expected.0)]
    Foreign { file: String, expected: DatabaseId, found: DatabaseId },
    #[error("{file} belongs to log {}, this one is {}", found.0, expected.0)]
    ForeignLog { file: String, expected: LogId, found: LogId },
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Newer { file: String, supported: u32, found: u32 },
    #[error("{file} is corrupt at byte {offset}: {reason}")]
    Corrupt { file: String, offset: u64, reason: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no log, and the caller said that there must be one. None was made.
    #[error("there is no log in {directory}, although there was one")]
    Missing { directory: String },
    /// The options contradict themselves.
    #[error("log options: {0}")]
    Options(String),
}

impl OpenError {
    pub(super) fn corrupt(file: &str, offset: u64, reason: impl ToString) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, reason: reason.to_string() }
    }

    /// A block at `offset` of `file` that cannot be used.
    pub(super) fn block(file: &str, offset: u64, error: &BlockError) -> Self {
        match error {
            BlockError::Newer { found } => {
                Self::Newer { file: file.to_owned(), supported: FORMAT_VERSION, found: *found }
            }
            _ => Self::corrupt(file, offset, error),
        }
    }

    /// Refuse what belongs to another database or log.
    pub(super) fn check_owner(
        file: &str,
        expected: (DatabaseId, LogId),
        found: (DatabaseId, LogId),
    ) -> Result<(), Self> {
        let file = file.to_owned();
        if found.0 != expected.0 {
            return Err(Self::Foreign { file, expected: expected.0, found: found.0 });
        }
        if found.1 != expected.1 {
            return Err(Self::ForeignLog { file, expected: expected.1, found: found.1 });
        }
        Ok(())
    }
}
