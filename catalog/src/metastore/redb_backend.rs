//! redb's storage on a file of the environment's disk, so that the simulated disk drives it too.

use std::{fmt, io, sync::Arc};

use glaredb_txn::env::{DiskError, DiskFile};
use redb::StorageBackend;

pub(super) struct DiskBackend {
    file: Arc<dyn DiskFile>,
}

impl DiskBackend {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file }
    }
}

impl fmt::Debug for DiskBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskBackend")
    }
}

fn io_error(error: DiskError) -> io::Error {
    let kind = if error.is_no_space() { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    io::Error::new(kind, error.to_string())
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len().map_err(io_error)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_at(offset, out).map_err(io_error)?;
        if read == out.len() {
            return Ok(());
        }
        let (wanted, at) = (out.len(), offset);
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{read} of {wanted} bytes at {at} of the metastore's file"),
        ))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let present = self.file.len().map_err(io_error)?;
        self.file.set_len(len).map_err(io_error)?;
        if len > present {
            // redb opens no file of a length it did not ask for: the new one is there for sure
            // before anything is written behind the old one.
            self.file.sync_data().map_err(io_error)?;
            // Real zeros: later writes need no space, so a full disk is met here and nowhere else.
            if let Err(error) = self.file.allocate_zeroed(present, len - present) {
                self.file.set_len(present).map_err(io_error)?;
                return Err(io_error(error));
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(io_error)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data).map_err(io_error)
    }
}
