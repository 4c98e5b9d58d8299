//! One server per data directory: a lock held as long as the process lives.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

const NAME: &str = "glaredb.pid";

/// Held while a data directory is in use. The kernel gives it back when the process ends, however.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "data directory {} is in use by another glaredb process{}",
        directory.display(),
        pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    InUse { directory: PathBuf, pid: Option<u32> },
    #[error("lock file {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockFile {
    /// Locks the directory and writes this process's number into the file.
    ///
    /// # Errors
    /// Another process holds the lock, or the file cannot be opened or written.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        let io = |source| LockError::Io { path: path.clone(), source };
        // The file stays when the lock goes: removing it would let two processes lock two files of
        // the same name.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::InUse { directory: directory.to_owned(), pid });
            }
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_first_process() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let held = LockFile::acquire(directory.path()).expect("nobody else is there");
        let error = LockFile::acquire(directory.path()).expect_err("held");
        let text = error.to_string();
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        drop(held);
        LockFile::acquire(directory.path()).expect("given back");
    }
}
