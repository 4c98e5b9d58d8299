//! Rows on the move: somebody flushes and compacts all tables of a server, again and again, while a test
//! does what it does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use crate::client;

/// VACUUM and VACUUM FULL in turn until it is stopped, or the server is gone.
pub struct Rewriting {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Rewriting {
    #[must_use]
    pub fn start(port: u16) -> Self {
        let (stop, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, done) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                for statement in ["vacuum", "vacuum full"] {
                    let arguments = ["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", statement];
                    client::psql(port, "postgres", &arguments)?;
                }
                done.fetch_add(1, Relaxed);
            }
            Ok(())
        });
        Self { stop, rounds, thread }
    }

    /// Rounds so far.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Relaxed)
    }

    /// Stops it. Error: what the server said to a statement. Where the server was killed that is no
    /// fault.
    ///
    /// # Panics
    /// The thread did.
    pub fn stop(self) -> Result<u64, String> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("nothing panics there")?;
        Ok(self.rounds.load(Relaxed))
    }
}
