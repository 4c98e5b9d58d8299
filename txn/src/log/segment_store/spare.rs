//! Files prepared ahead: full length, zeros, durable. Running out of space is met here.

use std::{collections::VecDeque, sync::Arc};

use super::file::{PreparedFile, file_name};
use crate::{
    env::{DiskError, Env},
    ids::{DatabaseId, LogId},
    log::{
        fault,
        format::{IDENTITY_OFFSET, Identity},
    },
};

/// Ending of a file's name while it is being prepared.
pub(super) const PREPARING: &str = ".preparing";

/// Makes spare files and keeps them until they are needed.
pub(super) struct Spares {
    env: Env,
    directory: String,
    owner: (DatabaseId, LogId),
    file_bytes: u64,
    ready: VecDeque<PreparedFile>,
    next_sequence: u64,
}

impl Spares {
    pub(super) fn new(
        env: Env,
        directory: &str,
        owner: (DatabaseId, LogId),
        file_bytes: u64,
        next_sequence: u64,
    ) -> Self {
        let directory = directory.to_owned();
        Self { env, directory, owner, file_bytes, ready: VecDeque::new(), next_sequence }
    }

    /// A spare found when the log was opened.
    pub(super) fn adopt(&mut self, file: PreparedFile) {
        self.ready.push_back(file);
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Sizes of the ready files in the order in which they will be used.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> + '_ {
        self.ready.iter().map(|spare| spare.identity.file_bytes)
    }

    /// The next file; one is prepared if none is ready.
    pub(super) fn take(&mut self) -> Result<PreparedFile, DiskError> {
        if self.ready.is_empty() {
            self.prepare()?;
        }
        Ok(self.ready.pop_front().expect("prepare adds one or fails"))
    }

    /// Prepare one more file. After `NoSpace` nothing is left behind.
    pub(super) fn prepare(&mut self) -> Result<(), DiskError> {
        let sequence = self.next_sequence;
        let identity = Identity {
            database_id: self.owner.0,
            log_id: self.owner.1,
            sequence,
            file_bytes: self.file_bytes,
            salt: self.env.random.next_u64(),
        };
        let path = format!("{}/{}", self.directory, file_name(sequence));
        let preparing = format!("{path}{PREPARING}");
        let made = self.make(&path, &preparing, identity);
        match made {
            Ok(file) => {
                self.next_sequence += 1;
                self.ready.push_back(file);
                Ok(())
            }
            Err(error) => {
                // Give the space back. If that fails too, the next opening removes the file.
                for leftover in [&preparing, &path] {
                    let _ = self.env.disk.remove(leftover);
                }
                Err(error)
            }
        }
    }

    fn make(
        &self,
        path: &str,
        preparing: &str,
        identity: Identity,
    ) -> Result<PreparedFile, DiskError> {
        let disk = &*self.env.disk;
        // Of an attempt whose removal failed.
        match disk.remove(preparing) {
            Ok(()) | Err(DiskError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        fault::point("log::prepare::create", preparing)?;
        let file = disk.create(preparing)?;
        fault::point("log::prepare::allocate", preparing)?;
        file.allocate_zeroed(0, identity.file_bytes)?;
        file.write_at(IDENTITY_OFFSET, &identity.encode())?;
        fault::point("log::prepare::sync", preparing)?;
        file.sync_data()?;
        fault::point("log::prepare::rename", preparing)?;
        disk.rename(preparing, path)?;
        fault::point("log::prepare::sync_dir", preparing)?;
        disk.sync_dir(&self.directory)?;
        Ok(PreparedFile { path: path.to_owned(), file: Arc::clone(&file), identity })
    }

    /// Remove the newest spares until `keep` are left: for when space ran out half way.
    pub(super) fn release(&mut self, keep: usize) {
        while self.ready.len() > keep {
            let Some(file) = self.ready.pop_back() else { return };
            if let Err(error) = self.env.disk.remove(&file.path) {
                tracing::warn!(%error, "a spare file of the log stays");
            }
        }
    }
}
