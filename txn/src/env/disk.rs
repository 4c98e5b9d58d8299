//! The contract of a disk.

use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No space (or quota). Determinate for `allocate_zeroed` and `create`: give up the file and go
    /// on. After `write_at` or `sync_data` nobody knows how much arrived.
    #[error("no space left on the device for {path}")]
    NoSpace { path: String },
    #[error("{path} does not exist")]
    NotFound { path: String },
    #[error("{path} exists already")]
    AlreadyExists { path: String },
    /// Anything else, an input/output error above all. What was being written is indeterminate, and
    /// stays so: a second sync that succeeds proves nothing.
    #[error("{operation} of {path}: {reason}")]
    Io { operation: &'static str, path: String, reason: String },
}

impl DiskError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Directories and files below one root.
///
/// Paths are relative to the root, separated by `/`, without `.` and `..`.
///
/// What a power cut leaves, and callers must count on:
/// 1. Bytes written are durable only after a `sync_data` of that file that returned Ok. Without it
///    any subset of the written sectors may have arrived, in any order.
/// 2. A file's name (created, renamed, removed) is durable only after a `sync_dir` of its directory.
///    Without it the old state or the new one may be found. A rename is atomic: never both or none.
/// 3. Directories made by `create_dir_all` are durable when it returns.
/// 4. Within what `allocate_zeroed` returned Ok for, and once synced, `write_at` does not fail with
///    `NoSpace`, and `sync_data` writes no metadata.
/// 5. An open file stays readable and writable after its name was removed or replaced.
pub trait Disk: Send + Sync {
    /// A new, empty file for reading and writing; `AlreadyExists` if the name is taken.
    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// An existing file for reading and writing.
    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// An existing file for reading only; every write to it fails.
    fn open_read_only(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError>;

    fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Replaces `to` if it exists.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Names (not paths) of the files and directories in `directory`, sorted.
    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError>;

    /// Make a directory and those above it; durable on return. Existing ones are fine.
    fn create_dir_all(&self, directory: &str) -> Result<(), DiskError>;

    /// Make creations, renames and removals in `directory` durable. The root is `""`.
    fn sync_dir(&self, directory: &str) -> Result<(), DiskError>;

    fn exists(&self, path: &str) -> Result<bool, DiskError>;

    /// Bytes that are free to this process, and bytes in all; `None` where nobody can say.
    fn space(&self) -> Option<(u64, u64)> {
        None
    }
}

/// An open file. Calls may come from several threads; there is no file position.
pub trait DiskFile: Send + Sync {
    /// Read into `buffer` from `offset`; returns the number of bytes read, which is less than
    /// `buffer.len()` only where the file ends.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Write all of `bytes` at `offset`; the file grows as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Write zeros over `offset .. offset + len` so that later writes there need no new space.
    /// `NoSpace` is met here.
    fn allocate_zeroed(&self, offset: u64, len: u64) -> Result<(), DiskError>;

    /// Make everything written before this call durable, with the file's length.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Bytes in the file.
    fn len(&self) -> Result<u64, DiskError>;

    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Cut off, or extend with zeros (for which no space is allocated).
    fn set_len(&self, len: u64) -> Result<(), DiskError>;
}
