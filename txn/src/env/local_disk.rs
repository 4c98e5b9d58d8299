//! The file system of the machine.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::FallocateFlags;

use super::{Disk, DiskError, DiskFile};

/// Zeros are written in pieces of this many bytes.
const ZEROS: &[u8] = &[0; 1 << 18];

/// A directory of the local file system.
#[derive(Clone, Debug)]
pub struct LocalDisk {
    root: PathBuf,
}

impl LocalDisk {
    /// `root` must exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, operation: &'static str, path: &str) -> Result<PathBuf, DiskError> {
        let below_root = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        if !below_root {
            return Err(DiskError::Io {
                operation,
                path: path.to_owned(),
                reason: "not a path below the disk's root".to_owned(),
            });
        }
        Ok(self.root.join(path))
    }

    fn open_with(
        &self,
        operation: &'static str,
        path: &str,
        options: &OpenOptions,
    ) -> Result<Arc<dyn DiskFile>, DiskError> {
        let full = self.resolve(operation, path)?;
        let file = options.open(full).map_err(|error| classify(operation, path, &error))?;
        Ok(Arc::new(LocalFile { file, path: path.to_owned() }))
    }
}

fn classify(operation: &'static str, path: &str, error: &io::Error) -> DiskError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace { path },
        io::ErrorKind::NotFound => DiskError::NotFound { path },
        io::ErrorKind::AlreadyExists => DiskError::AlreadyExists { path },
        _ => DiskError::Io { operation, path, reason: error.to_string() },
    }
}

impl Disk for LocalDisk {
    fn space(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.root).ok()?;
        Some((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
    }

    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open_with("creation", path, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open_with("opening", path, OpenOptions::new().read(true).write(true))
    }

    fn open_read_only(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open_with("opening", path, OpenOptions::new().read(true))
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        std::fs::remove_file(self.resolve("removal", path)?)
            .map_err(|error| classify("removal", path, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        std::fs::rename(self.resolve("renaming", from)?, self.resolve("renaming", to)?)
            .map_err(|error| classify("renaming", from, &error))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        let fail = |error: io::Error| classify("listing", directory, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.resolve("listing", directory)?).map_err(fail)? {
            // All names of ours are ASCII; another one is listed with replacement characters.
            names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, directory: &str) -> Result<(), DiskError> {
        self.resolve("creation", directory)?;
        // A directory found here may have been made by a process that was killed before it synced.
        if let Ok(parent) = File::open(self.root.join("..")) {
            // Not ours to insist on: the root may be a mount point, or its parent out of bounds.
            let _ = parent.sync_all();
        }
        let mut made = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            let parent = made.clone();
            if !made.is_empty() {
                made.push('/');
            }
            made.push_str(name);
            match std::fs::create_dir(self.root.join(&made)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(classify("creation", &made, &error)),
            }
            self.sync_dir(&parent)?;
        }
        Ok(())
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        File::open(self.resolve("syncing", directory)?)
            .and_then(|file| file.sync_all())
            .map_err(|error| classify("syncing", directory, &error))
    }

    fn exists(&self, path: &str) -> Result<bool, DiskError> {
        self.resolve("opening", path)?
            .try_exists()
            .map_err(|error| classify("opening", path, &error))
    }
}

struct LocalFile {
    file: File,
    path: String,
}

impl LocalFile {
    fn fail(&self, operation: &'static str, error: &io::Error) -> DiskError {
        classify(operation, &self.path, error)
    }
}

impl DiskFile for LocalFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail("reading", &error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.fail("writing", &error))
    }

    fn allocate_zeroed(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        // Finds out early whether there is room, and gets blocks in one piece. File systems without
        // it are served by the zeros alone.
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
            Ok(())
            | Err(
                rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INTR,
            ) => {}
            Err(errno) => return Err(self.fail("allocation", &io::Error::from(errno))),
        }
        // Allocated but unwritten blocks would make each first sync write metadata.
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(ZEROS.len() as u64);
            self.write_at(offset + done, &ZEROS[..piece as usize])?;
            done += piece;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| self.fail("syncing", &error))
    }

    fn len(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata().map_err(|error| self.fail("opening", &error))?;
        Ok(metadata.len())
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(|error| self.fail("truncation", &error))
    }
}
