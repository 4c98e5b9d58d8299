//! The environment: clock, randomness, disk and threads.
//!
//! Everything in `txn`, `catalog` and the storage half of `engine` reaches the outside world only
//! through an [`Env`] it is handed, so that the same code runs on the real machine and in the
//! seeded simulator (`sim`), which decides what time it is, which write tears and who runs next.

mod clock;
mod disk;
mod files;
mod local_disk;
pub mod priority;
mod random;
mod threads;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    clock::{Clock, SystemClock},
    disk::{Disk, DiskError, DiskFile},
    files::{read_file, replace_file},
    local_disk::LocalDisk,
    random::{Random, SystemRandom},
    threads::{JoinHandle, Panicked, SpawnError, SystemThreads, Threads},
};

/// Clock, randomness, disk and threads of one node. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub disk: Arc<dyn Disk>,
    pub threads: Arc<dyn Threads>,
}

impl Env {
    /// The machine itself; paths of the disk are relative to `dir`, which must exist.
    pub fn real(dir: impl Into<PathBuf>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            disk: Arc::new(LocalDisk::new(dir)),
            threads: Arc::new(SystemThreads),
        }
    }
}
