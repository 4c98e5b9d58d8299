//! The contracts of the log, on the real disk and on the simulated one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use glaredb_txn::{
    env::Env,
    ids::{DatabaseId, LogId},
    log::{
        OpenError,
        conformance::{self, StoreHarness, WalHarness},
        local::{LocalWal, LocalWalOptions},
        segment_store::SegmentStore,
        wal::{FRAME_BYTES, Wal, WalError},
    },
    sim::{Operation, SimEnv},
};

const DATABASE: DatabaseId = DatabaseId(7);
const LOG: LogId = LogId(3);
const FILE_BYTES: u64 = 16 << 10;
/// A file's head is 4 KiB.
const ENTRY_BYTES_MAX: usize = FILE_BYTES as usize - 4096 - FRAME_BYTES;

fn open_wal(env: &Env, background: bool) -> Arc<LocalWal> {
    let options = LocalWalOptions {
        file_bytes: FILE_BYTES,
        preallocate_in_background: background,
        ..LocalWalOptions::default()
    };
    LocalWal::open(env, "log/0", DATABASE, LOG, options).expect("the log opens").0
}

fn open_store(env: &Env) -> SegmentStore {
    SegmentStore::open(env, "log/0", DATABASE, LOG, FILE_BYTES).expect("the store opens").0
}

struct Simulated(SimEnv);

impl WalHarness for Simulated {
    fn open(&mut self) -> Arc<dyn Wal> {
        open_wal(&self.0.env(), false)
    }
    fn crash(&mut self) {
        self.0.disk.crash();
    }
    fn set_full(&mut self, full: bool) -> bool {
        self.0.disk.set_capacity(full.then(|| self.0.disk.used_bytes()));
        true
    }
    fn fail_next_sync(&mut self) -> bool {
        self.0.disk.fail_after(Operation::Sync, ".log", 1);
        true
    }
    fn entry_bytes_max(&self) -> usize {
        ENTRY_BYTES_MAX
    }
}

impl StoreHarness for Simulated {
    fn open(&mut self) -> SegmentStore {
        open_store(&self.0.env())
    }
    fn crash(&mut self) {
        self.0.disk.crash();
    }
}

struct Real(tempfile::TempDir, Env);

impl Real {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let env = Env::real(directory.path());
        Self(directory, env)
    }
}

impl WalHarness for Real {
    fn open(&mut self) -> Arc<dyn Wal> {
        assert!(self.0.path().exists());
        open_wal(&self.1, true)
    }
    fn crash(&mut self) {}
    fn entry_bytes_max(&self) -> usize {
        ENTRY_BYTES_MAX
    }
}

impl StoreHarness for Real {
    fn open(&mut self) -> SegmentStore {
        open_store(&self.1)
    }
    fn crash(&mut self) {}
}

#[test]
fn local_wal_on_the_simulated_disk() {
    let seed = AtomicU64::new(1);
    for _ in 0..10 {
        conformance::wal(&|| {
            Box::new(Simulated(SimEnv::new(seed.fetch_add(1, Ordering::Relaxed))))
        });
    }
}

#[test]
fn local_wal_on_the_real_disk() {
    conformance::wal(&|| Box::new(Real::new()));
}

#[test]
fn segment_store_on_the_simulated_disk() {
    let seed = AtomicU64::new(1);
    for _ in 0..50 {
        conformance::segment_store(&|| {
            Box::new(Simulated(SimEnv::new(seed.fetch_add(1, Ordering::Relaxed))))
        });
    }
}

#[test]
fn segment_store_on_the_real_disk() {
    conformance::segment_store(&|| Box::new(Real::new()));
}

#[test]
fn a_reservation_that_fails_gives_back_what_it_took() {
    let sim = SimEnv::new(1);
    let store = open_store(&sim.env());
    let used = sim.disk.used_bytes();
    sim.disk.set_capacity(Some(used + 10 * FILE_BYTES));
    assert!(matches!(store.reserve(20 * FILE_BYTES), Err(WalError::Full(_))));
    assert_eq!(sim.disk.used_bytes(), used);
    assert_eq!(store.reserve(2 * FILE_BYTES), Ok(()));
}

#[test]
fn a_log_that_must_be_there_is_not_made_anew() {
    let sim = SimEnv::new(1);
    let options =
        LocalWalOptions { file_bytes: FILE_BYTES, create: false, preallocate_in_background: false };
    let open = || LocalWal::open(&sim.env(), "log/0", DATABASE, LOG, options.clone());
    for _ in 0..2 {
        let missing = OpenError::Missing { directory: "log/0".to_owned() };
        assert_eq!(open().err(), Some(missing), "also the second time");
    }
    drop(open_wal(&sim.env(), false));
    assert_eq!(open().map(|(_, report)| report.created), Ok(false));
    let env = sim.env();
    env.disk.remove("log/0/marks").expect("it is there");
    assert!(matches!(open().err(), Some(OpenError::Corrupt { .. })), "files without marks");
}
