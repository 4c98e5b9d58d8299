//! One server per data directory: a lock held as long as the process lives.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Name of the file in the data directory.
pub(crate) const NAME: &str = "glaredb.pid";

/// Held while a data directory is in use. The kernel gives it back when the process ends, however.
#[derive(Debug)]
pub struct LockFile {
    // Locked as long as it is open.
    _file: File,
    path: PathBuf,
    made: bool,
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
        let (mut file, made) = loop {
            let (mut file, made) = open(&path).map_err(io)?;
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
            // Its holder may have removed it between the two: then a third process can hold the
            // lock of a new file of this name.
            if is_at(&file, &path).map_err(io)? {
                break (file, made);
            }
        };
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file, path, made })
    }

    /// Gives the lock back, and removes the file if it was not there before. False: it stays.
    pub(crate) fn remove(self) -> bool {
        // The lock is held until after that.
        self.made && fs::remove_file(&self.path).is_ok()
    }
}

/// The file, and whether it is new.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It may be gone again by now.
            let opened = options.create_new(false).create(true).truncate(false).open(path);
            opened.map(|file| (file, false))
        }
        opened => opened.map(|file| (file, true)),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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
