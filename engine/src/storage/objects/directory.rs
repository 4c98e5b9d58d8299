//! Objects in a directory of the local disk.
//!
//! ```text
//! create                    write                          finish
//! folder/.upload-<n> made ──▶ slices, each synced, … ──▶ rename to folder/<name> ──▶ sync folder
//! ```
//!
//! An object appears under its name only by the rename, so what has a name is whole. What is called
//! `.upload-…` (no object can be) was cut short and is removed when the directory is opened. The
//! process owns the directory alone (the lock file sees to that), which is what makes "look, then
//! rename" create-only: a name that is being created is refused to all others until it is finished
//! or given up.

mod upload;

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use glaredb_txn::env::{Clock, Disk, DiskError, DiskFile, Env};
use parking_lot::Mutex;

use super::{
    ObjectEntry, ObjectError, ObjectFigures, ObjectName, ObjectWrite, Objects, ReadFigures,
    RequestKind,
    figures::{FailureKind, StoreFigures},
};
use upload::Upload;

/// Largest object that is read into memory.
const OBJECT_BYTES_MAX: u64 = 1 << 32;

/// Names of files that are being written begin with this.
const UPLOAD: &str = ".upload-";

/// How an object is written without getting in the way of the log, whose syncs share the device:
/// `slice_bytes` at a time, each synced, with a rest after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    pub slice_bytes: usize,
    /// The rest after a slice, in hundredths of the time the slice took.
    pub rest_percent: u32,
    /// No rest is longer.
    pub rest_max: Duration,
}

impl Pace {
    /// For whoever waits for the result: a clean stop.
    pub const FAST: Self = Self { slice_bytes: 8 << 20, rest_percent: 0, rest_max: Duration::ZERO };

    /// For work behind commits: at most about half of the device's time.
    pub const BACKGROUND: Self =
        Self { slice_bytes: 256 << 10, rest_percent: 100, rest_max: Duration::from_millis(50) };
}

/// See the module's description.
pub struct ObjectDirectory {
    folder: Arc<Folder>,
}

/// What the directory and the objects being written share.
struct Folder {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    objects: String,
    pace: Mutex<Pace>,
    next_upload: AtomicU64,
    /// Names being created right now.
    creating: Mutex<BTreeSet<ObjectName>>,
    figures: StoreFigures,
}

/// What lies below a folder.
#[derive(Default)]
struct Found {
    objects: Vec<ObjectName>,
    /// Relative to the directory of objects.
    uploads: Vec<String>,
}

impl ObjectDirectory {
    /// Objects below `objects`, which is made if need be; what an earlier process left of uploads
    /// is removed.
    pub fn open(env: &Env, objects: &str) -> Result<Self, ObjectError> {
        let directory = Self::open_read_only(env, objects);
        let disk = &directory.folder.disk;
        let fail = |error: DiskError| io_error(objects, &error);
        disk.create_dir_all(objects).map_err(fail)?;
        let mut found = Found::default();
        directory.folder.list_below("", &mut found)?;
        for upload in found.uploads {
            disk.remove(&format!("{objects}/{upload}")).map_err(fail)?;
        }
        Ok(directory)
    }

    /// For reading only: nothing is made or removed.
    pub fn open_read_only(env: &Env, objects: &str) -> Self {
        let folder = Folder {
            disk: Arc::clone(&env.disk),
            clock: Arc::clone(&env.clock),
            objects: objects.to_owned(),
            pace: Mutex::new(Pace::FAST),
            next_upload: AtomicU64::new(0),
            creating: Mutex::default(),
            figures: StoreFigures::default(),
        };
        Self { folder: Arc::new(folder) }
    }
}

impl Folder {
    /// Counts one request.
    fn counted<T>(
        &self,
        kind: RequestKind,
        request: impl FnOnce() -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let began = self.clock.monotonic();
        let result = request();
        let took = self.clock.monotonic().saturating_sub(began);
        self.figures.record(kind, took, result.as_ref().err().map(FailureKind::of));
        result
    }

    fn path(&self, name: &ObjectName) -> String {
        format!("{}/{name}", self.objects)
    }

    /// A file to read; `NotFound` also where the name is a folder's.
    fn open(&self, name: &ObjectName) -> Result<Arc<dyn DiskFile>, ObjectError> {
        self.disk.open_read_only(&self.path(name)).map_err(|error| self.unread(name, &error))
    }

    fn unread(&self, name: &ObjectName, error: &DiskError) -> ObjectError {
        if error.is_not_found() || self.is_folder(name.as_str()) {
            ObjectError::NotFound(name.clone())
        } else {
            failed(name, error)
        }
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        // A folder can be opened, and even has a length.
        if self.is_folder(name.as_str()) {
            return Err(ObjectError::NotFound(name.clone()));
        }
        self.open(name)?.len().map_err(|error| self.unread(name, &error))
    }

    fn opened(&self, name: &ObjectName) -> Result<(Arc<dyn DiskFile>, u64), ObjectError> {
        let file = self.open(name)?;
        let size = file.len().map_err(|error| self.unread(name, &error))?;
        Ok((file, size))
    }

    /// Each range is a request.
    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, ObjectError> {
        // One that cannot be opened is a request, too.
        let (file, size) = match self.opened(name) {
            Ok(opened) => opened,
            Err(error) => return self.counted(RequestKind::Get, || Err(error)),
        };
        let read = |range: &Range<u64>| {
            let &Range { start, end } = range;
            let outside = || ObjectError::OutOfRange { name: name.clone(), size, start, end };
            if start > end || end > size {
                return Err(outside());
            }
            let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| outside())?];
            let read =
                file.read_at(start, &mut bytes).map_err(|error| self.unread(name, &error))?;
            if read < bytes.len() { Err(outside()) } else { Ok(bytes.into()) }
        };
        ranges.iter().map(|range| self.counted(RequestKind::Get, || read(range))).collect()
    }

    fn list_below(&self, folder: &str, found: &mut Found) -> Result<(), ObjectError> {
        let path = if folder.is_empty() {
            self.objects.clone()
        } else {
            format!("{}/{folder}", self.objects)
        };
        let children = match self.disk.list(&path) {
            Ok(children) => children,
            Err(DiskError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(io_error(&path, &error)),
        };
        for child in children {
            let name = if folder.is_empty() { child.clone() } else { format!("{folder}/{child}") };
            if child.starts_with(UPLOAD) {
                found.uploads.push(name);
            } else if self.is_folder(&name) {
                self.list_below(&name, found)?;
            } else if let Ok(name) = ObjectName::new(name) {
                // Other names are not ours (an editor's file, say) and not objects.
                found.objects.push(name);
            }
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut found = Found::default();
        self.list_below(folder, &mut found)?;
        let mut names = found.objects;
        names.retain(|name| name.as_str().starts_with(prefix));
        names.sort();
        let entry = |name| match self.size(&name) {
            Ok(size) => Some(Ok(ObjectEntry { name, size })),
            // Deleted in between: as if it had been before.
            Err(ObjectError::NotFound(_)) => None,
            Err(error) => Some(Err(error)),
        };
        names.into_iter().filter_map(entry).collect()
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        match self.disk.remove(&self.path(name)) {
            Ok(()) | Err(DiskError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }

    /// The `Disk` has no other way to tell: a folder can be listed.
    fn is_folder(&self, name: &str) -> bool {
        self.disk.list(&format!("{}/{name}", self.objects)).is_ok()
    }
}

impl Objects for ObjectDirectory {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        Ok(Box::new(Upload::begin(&self.folder, name)?))
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let folder = &*self.folder;
        let body = folder.counted(RequestKind::Get, || {
            let body =
                glaredb_txn::env::read_file(&*folder.disk, &folder.path(name), OBJECT_BYTES_MAX);
            body.map(Bytes::from).map_err(|error| folder.unread(name, &error))
        })?;
        folder.figures.add_bytes(RequestKind::Get, body.len() as u64);
        Ok(body)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        self.folder.counted(RequestKind::Head, || self.folder.size(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        self.folder.counted(RequestKind::List, || self.folder.list(prefix))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.folder.counted(RequestKind::Delete, || self.folder.delete(name))
    }

    /// Reads where it is called: the page cache has most of what is asked for, and the runtime for
    /// queries has more threads than the machine has cores.
    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        let (folder, name, ranges) = (&*self.folder, name.clone(), ranges.to_vec());
        Box::pin(future::lazy(move |_| {
            let read = folder.read_ranges(&name, &ranges)?;
            let bytes = read.iter().map(|bytes| bytes.len() as u64).sum();
            folder.figures.add_bytes(RequestKind::Get, bytes);
            ReadFigures::add_requests(ranges.len() as u64);
            ReadFigures::add_bytes(bytes);
            Ok(read)
        }))
    }

    fn figures(&self) -> ObjectFigures {
        ObjectFigures { requests: self.folder.figures.counts(), cache: None }
    }

    fn set_pace(&self, pace: Pace) {
        *self.folder.pace.lock() = pace;
    }
}

fn failed(name: &ObjectName, error: &DiskError) -> ObjectError {
    match error {
        DiskError::NoSpace { .. } => {
            ObjectError::Full { name: name.clone(), reason: error.to_string() }
        }
        _ => io_error(name.as_str(), error),
    }
}

fn io_error(name: &str, error: &DiskError) -> ObjectError {
    ObjectError::Io { name: name.to_owned(), reason: error.to_string() }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
