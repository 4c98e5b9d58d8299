//! One object being written.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use glaredb_txn::env::{DiskError, DiskFile};

use super::{Folder, Pace, UPLOAD, failed};
use crate::storage::objects::{ObjectError, ObjectName, ObjectWrite, RequestKind};

/// Holds the name against others, and space on the disk, until it is finished or dropped.
pub(super) struct Upload {
    folder: Arc<Folder>,
    name: ObjectName,
    /// Where the object will be, in which directory, and where its bytes are until then.
    path: String,
    directory: String,
    upload: String,
    file: Arc<dyn DiskFile>,
    pace: Pace,
    written: u64,
    /// Bytes below this are durable.
    synced: u64,
    finished: bool,
}

impl Upload {
    pub(super) fn begin(folder: &Arc<Folder>, name: &ObjectName) -> Result<Self, ObjectError> {
        if !folder.creating.lock().insert(name.clone()) {
            return Err(ObjectError::AlreadyExists(name.clone()));
        }
        let begun = Self::begin_reserved(folder, name);
        if begun.is_err() {
            folder.creating.lock().remove(name);
        }
        begun
    }

    /// The name is in `creating`.
    fn begin_reserved(folder: &Arc<Folder>, name: &ObjectName) -> Result<Self, ObjectError> {
        let fail = |error: DiskError| failed(name, &error);
        let path = folder.path(name);
        if folder.disk.exists(&path).map_err(fail)? {
            return Err(ObjectError::AlreadyExists(name.clone()));
        }
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let number = folder.next_upload.fetch_add(1, Relaxed);
        let upload = format!("{directory}/{UPLOAD}{number}");
        folder.disk.create_dir_all(&directory).map_err(fail)?;
        let file = folder.disk.create(&upload).map_err(fail)?;
        Ok(Self {
            folder: Arc::clone(folder),
            name: name.clone(),
            path,
            directory,
            upload,
            file,
            pace: *folder.pace.lock(),
            written: 0,
            synced: 0,
            finished: false,
        })
    }

    /// Bytes that may still be written before the next sync.
    fn room(&self) -> usize {
        let slice = self.pace.slice_bytes.max(1) as u64;
        usize::try_from(slice.saturating_sub(self.written - self.synced)).unwrap_or(usize::MAX)
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.room().min(bytes.len()));
            let clock = &self.folder.clock;
            let started = clock.monotonic();
            self.file.write_at(self.written, now)?;
            self.written += now.len() as u64;
            bytes = later;
            if self.room() > 0 {
                continue;
            }
            self.file.sync_data()?;
            self.synced = self.written;
            let took = clock.monotonic().saturating_sub(started);
            let rest = (took * self.pace.rest_percent / 100).min(self.pace.rest_max);
            if !rest.is_zero() {
                clock.sleep(rest);
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), DiskError> {
        if self.synced < self.written || self.written == 0 {
            self.file.sync_data()?;
        }
        let disk = &self.folder.disk;
        disk.rename(&self.upload, &self.path)?;
        self.finished = true;
        disk.sync_dir(&self.directory)
    }
}

impl ObjectWrite for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.append(bytes).map_err(|error| failed(&self.name, &error))
    }

    fn finish(mut self: Box<Self>) -> Result<(), ObjectError> {
        let folder = Arc::clone(&self.folder);
        folder.figures.add_bytes(RequestKind::Put, self.written);
        folder.counted(RequestKind::Put, || {
            self.publish().map_err(|error| failed(&self.name, &error))
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished {
            // Whatever is left of the upload takes space that others need; if even this fails, the
            // next start removes it.
            let _ = self.folder.disk.remove(&self.upload);
        }
        self.folder.creating.lock().remove(&self.name);
    }
}
