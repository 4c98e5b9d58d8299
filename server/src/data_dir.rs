//! The data directory before anything in it is opened: is it one, is it ours, is it free?

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use glaredb_engine::storage::recovery::{LOG_DIRECTORY, METASTORE_FILE, OBJECT_DIRECTORY};

use crate::lock_file::{self, LockError, LockFile};

/// File systems put it into their root.
const LOST_AND_FOUND: &str = "lost+found";

/// Names in the message about files that are not ours; more are counted.
const SHOWN_MAX: usize = 5;

/// A data directory that this process has locked.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    /// Directories that were made for it, outermost first.
    made: Vec<PathBuf>,
    lock: LockFile,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    #[error("data directory {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("data directory {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Not a database, and not empty either.
    #[error(
        "data directory {} is not empty and holds no GlareDB database; found {}. Choose an empty \
         or a new directory, or empty this one",
        path.display(),
        shown(names)
    )]
    Foreign { path: PathBuf, names: Vec<String> },
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn shown(names: &[String]) -> String {
    let mut text = names[..names.len().min(SHOWN_MAX)].join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN_MAX) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

impl DataDirectory {
    /// Makes the directory if it is not there, and locks it.
    ///
    /// # Errors
    /// It is not a directory, holds something that is no database of ours, or another process has it.
    pub(crate) fn take(path: &Path) -> Result<Self, DataDirectoryError> {
        let io = |source| DataDirectoryError::Io { path: path.to_owned(), source };
        let mut made = Vec::new();
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => refuse_foreign(path)?,
            Ok(_) => return Err(DataDirectoryError::NotADirectory(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = path.ancestors().take_while(|p| is_missing(p));
                made.extend(missing.map(Path::to_owned));
                made.reverse();
                fs::create_dir_all(path).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        match LockFile::acquire(path) {
            Ok(lock) => Ok(Self { made, lock }),
            Err(error) => {
                remove(&made);
                Err(error.into())
            }
        }
    }

    /// Leaves everything as `take` found it: the server did not start, and nothing was opened.
    pub(crate) fn give_back(self) {
        if self.lock.remove() {
            remove(&self.made);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    // The last ancestor of a relative path is the empty one.
    !path.as_os_str().is_empty() && !path.exists()
}

fn remove(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        // Somebody may use it by now: it is not empty then, and stays.
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

/// A directory with a metastore or a log is a database, whatever lies beside them.
fn refuse_foreign(path: &Path) -> Result<(), DataDirectoryError> {
    let io = |source| DataDirectoryError::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        match name.as_str() {
            METASTORE_FILE | LOG_DIRECTORY => return Ok(()),
            OBJECT_DIRECTORY | LOST_AND_FOUND | lock_file::NAME => {}
            // A metastore that a first start was making.
            name if name.strip_prefix(METASTORE_FILE) == Some(".new") => {}
            _ => names.push(name),
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    Err(DataDirectoryError::Foreign { path: path.to_owned(), names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_someone_else_is_refused_by_names() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for name in ["notes.txt", "base", "a", "b", "c", "d"] {
            fs::write(folder.path().join(name), "x").expect("writable");
        }
        let error = DataDirectory::take(folder.path()).expect_err("foreign").to_string();
        assert!(error.contains("found a, b, base, c, d and 1 more"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 6, "nothing was added");
    }

    #[test]
    fn an_empty_file_system_and_what_a_start_left_are_taken() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for name in [LOST_AND_FOUND, OBJECT_DIRECTORY] {
            fs::create_dir(folder.path().join(name)).expect("writable");
        }
        fs::write(folder.path().join("metastore.redb.new"), "half").expect("writable");
        drop(DataDirectory::take(folder.path()).expect("nothing foreign"));
        drop(DataDirectory::take(folder.path()).expect("only a lock file more"));
        // A database with something beside it is a database.
        fs::write(folder.path().join(METASTORE_FILE), "x").expect("writable");
        fs::write(folder.path().join("notes.txt"), "x").expect("writable");
        DataDirectory::take(folder.path()).expect("a database");
    }

    #[test]
    fn what_was_made_is_given_back() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let deep = folder.path().join("a/b");
        DataDirectory::take(&deep).expect("made").give_back();
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
        fs::create_dir(folder.path().join("a")).expect("writable");
        DataDirectory::take(&deep).expect("made").give_back();
        assert!(folder.path().join("a").exists() && !deep.exists());
        // A lock file that was there stays.
        drop(DataDirectory::take(&deep).expect("made"));
        DataDirectory::take(&deep).expect("taken").give_back();
        assert!(deep.join(lock_file::NAME).exists());
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = DataDirectory::take(file.path()).expect_err("a file").to_string();
        assert!(error.ends_with("is not a directory"), "{error}");
    }
}
