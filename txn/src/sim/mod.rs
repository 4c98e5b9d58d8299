//! The simulated machine: everything that happens follows from a seed.
//!
//! - [`SimDisk`] forgets what was not synced when the power goes, tears writes at sectors, runs out
//!   of space and fails when told to.
//! - [`SimClock`] stands still until it is told to move on.
//! - [`SimRandom`] counts from a seed.
//! - [`MemoryWal`] is a log without a disk.
//! - [`Scheduler`] runs tasks, one step at a time, in an order drawn from a seed.
//! - [`SimThreads`] keeps what was spawned until the test runs it.

mod clock;
pub mod commit;
mod disk;
mod memory_wal;
mod random;
mod scheduler;
mod threads;

use std::sync::Arc;

pub use self::{
    clock::SimClock,
    disk::{Operation, SECTOR_BYTES, SimDisk},
    memory_wal::MemoryWal,
    random::{Rng, SimRandom},
    scheduler::{Outcome, Scheduler, Step},
    threads::SimThreads,
};
use crate::env::Env;

/// A simulated machine. The disk outlives crashes; take a new `env()` after one or keep the old.
#[derive(Clone)]
pub struct SimEnv {
    pub clock: Arc<SimClock>,
    pub random: Arc<SimRandom>,
    pub disk: Arc<SimDisk>,
    pub threads: Arc<SimThreads>,
}

impl SimEnv {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            clock: Arc::new(SimClock::new()),
            random: Arc::new(SimRandom::new(rng.next_u64())),
            disk: Arc::new(SimDisk::new(rng.next_u64())),
            threads: Arc::new(SimThreads::default()),
        }
    }

    /// What the code under test gets.
    pub fn env(&self) -> Env {
        Env {
            clock: Arc::clone(&self.clock) as _,
            random: Arc::clone(&self.random) as _,
            disk: Arc::clone(&self.disk) as _,
            threads: Arc::clone(&self.threads) as _,
        }
    }
}
