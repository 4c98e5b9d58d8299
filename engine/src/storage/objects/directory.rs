//! Objects in a directory of the local disk.
//!
//! ```text
//! put: create folder/.upload-<n>, write in slices, sync each ──▶ rename to folder/<name> ──▶ sync folder
//! ```
//!
//! An object appears under its name only by the rename, so what has a name is whole. What is called
//! `.upload-…` (no object can be) was cut short and is removed when the directory is opened. The
//! process owns the directory alone (the lock file sees to that), which is what makes "look, then
//! rename" create-only.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use glaredb_txn::env::{Clock, Disk, DiskError, Env};
use parking_lot::Mutex;

use super::{ObjectEntry, ObjectError, ObjectName, Objects};

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
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    objects: String,
    pace: Mutex<Pace>,
    next_upload: AtomicU64,
    /// Names being put right now: a second `put` of one is refused, whichever renames first.
    putting: Mutex<BTreeSet<ObjectName>>,
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
        let disk = &directory.disk;
        let fail = |error: DiskError| io_error(objects, &error);
        disk.create_dir_all(objects).map_err(fail)?;
        let mut found = Found::default();
        directory.list_below("", &mut found)?;
        for upload in found.uploads {
            disk.remove(&format!("{objects}/{upload}")).map_err(fail)?;
        }
        Ok(directory)
    }

    /// For reading only: nothing is made or removed.
    pub fn open_read_only(env: &Env, objects: &str) -> Self {
        Self {
            disk: Arc::clone(&env.disk),
            clock: Arc::clone(&env.clock),
            objects: objects.to_owned(),
            pace: Mutex::new(Pace::FAST),
            next_upload: AtomicU64::new(0),
            putting: Mutex::default(),
        }
    }

    pub fn set_pace(&self, pace: Pace) {
        *self.pace.lock() = pace;
    }

    fn path(&self, name: &ObjectName) -> String {
        format!("{}/{name}", self.objects)
    }

    fn upload(&self, name: &ObjectName, body: &[u8]) -> Result<(), ObjectError> {
        let path = self.path(name);
        if self.disk.exists(&path).map_err(|e| failed(name, &e))? {
            return Err(ObjectError::AlreadyExists(name.clone()));
        }
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let upload = format!("{directory}/{UPLOAD}{}", self.next_upload.fetch_add(1, Relaxed));
        self.disk.create_dir_all(directory).map_err(|e| failed(name, &e))?;
        let written = self.write_whole(&upload, body).and_then(|()| {
            self.disk.rename(&upload, &path)?;
            self.disk.sync_dir(directory)
        });
        written.map_err(|error| {
            // Whatever is left of the upload takes space that others need; if even this fails, the
            // next start removes it.
            let _ = self.disk.remove(&upload);
            failed(name, &error)
        })
    }

    fn write_whole(&self, path: &str, body: &[u8]) -> Result<(), DiskError> {
        let file = self.disk.create(path)?;
        let pace = *self.pace.lock();
        let mut offset = 0;
        for slice in body.chunks(pace.slice_bytes) {
            let started = self.clock.monotonic();
            file.write_at(offset, slice)?;
            file.sync_data()?;
            offset += slice.len() as u64;
            let took = self.clock.monotonic().saturating_sub(started);
            let rest = (took * pace.rest_percent / 100).min(pace.rest_max);
            if !rest.is_zero() {
                self.clock.sleep(rest);
            }
        }
        if body.is_empty() {
            file.sync_data()?;
        }
        Ok(())
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

    /// The `Disk` has no other way to tell: a folder can be listed.
    fn is_folder(&self, name: &str) -> bool {
        self.disk.list(&format!("{}/{name}", self.objects)).is_ok()
    }
}

impl Objects for ObjectDirectory {
    fn put(&self, name: &ObjectName, body: &[u8]) -> Result<(), ObjectError> {
        if !self.putting.lock().insert(name.clone()) {
            return Err(ObjectError::AlreadyExists(name.clone()));
        }
        let result = self.upload(name, body);
        self.putting.lock().remove(name);
        result
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let path = self.path(name);
        match glaredb_txn::env::read_file(&*self.disk, &path, OBJECT_BYTES_MAX) {
            Ok(body) => Ok(body.into()),
            Err(DiskError::NotFound { .. }) => Err(ObjectError::NotFound(name.clone())),
            Err(_) if self.is_folder(name.as_str()) => Err(ObjectError::NotFound(name.clone())),
            Err(error) => Err(failed(name, &error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut found = Found::default();
        self.list_below(folder, &mut found)?;
        let mut names = found.objects;
        names.retain(|name| name.as_str().starts_with(prefix));
        names.sort();
        names
            .into_iter()
            .map(|name| {
                let file = self.disk.open_read_only(&self.path(&name));
                let size = file.and_then(|file| file.len()).map_err(|e| failed(&name, &e))?;
                Ok(ObjectEntry { name, size })
            })
            .collect()
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        match self.disk.remove(&self.path(name)) {
            Ok(()) | Err(DiskError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
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
