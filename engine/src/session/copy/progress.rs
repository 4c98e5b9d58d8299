//! COPYs under way, for `pg_stat_progress_copy`.

use std::{
    fs::Metadata,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use crate::session::context::ExecutionContext;

/// All of an engine.
#[derive(Debug, Default)]
pub struct Copies(Mutex<Vec<Arc<Counters>>>);

#[derive(Debug)]
struct Counters {
    what: CopyProgress,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
    excluded: AtomicU64,
}

/// How far a COPY has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyProgress {
    /// The session's, as [`Identity`](crate::session::Identity) has it.
    pub process_id: i32,
    pub database: String,
    /// OID of the table; 0 for a query.
    pub relation: u32,
    /// `FROM`, else `TO`.
    pub from: bool,
    /// A file of the server, else the client.
    pub file: bool,
    pub bytes: u64,
    /// Of a file that is read; else 0.
    pub bytes_total: u64,
    pub rows: u64,
    /// Rows that WHERE left out.
    pub excluded: u64,
}

impl Copies {
    /// Those under way, in the order in which they began.
    #[must_use]
    pub fn list(&self) -> Vec<CopyProgress> {
        let progress = |counters: &Arc<Counters>| CopyProgress {
            bytes: counters.bytes.load(Relaxed),
            bytes_total: counters.bytes_total.load(Relaxed),
            rows: counters.rows.load(Relaxed),
            excluded: counters.excluded.load(Relaxed),
            ..counters.what.clone()
        };
        self.0.lock().iter().map(progress).collect()
    }
}

/// A COPY under way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    copies: Arc<Copies>,
    counters: Arc<Counters>,
}

impl Running {
    /// `relation`: 0 for a query.
    pub(super) fn new(context: &ExecutionContext, relation: u32, from: bool, file: bool) -> Self {
        let what = CopyProgress {
            process_id: context.identity.process_id,
            database: context.identity.database.clone(),
            relation,
            from,
            file,
            bytes: 0,
            bytes_total: 0,
            rows: 0,
            excluded: 0,
        };
        let zero = AtomicU64::default;
        let (bytes, bytes_total, rows, excluded) = (zero(), zero(), zero(), zero());
        let counters = Arc::new(Counters { what, bytes, bytes_total, rows, excluded });
        let copies = Arc::clone(context.engine.copies());
        copies.0.lock().push(Arc::clone(&counters));
        Self { copies, counters }
    }

    /// The file that is read, which tells how much there is to do.
    pub(super) fn reads(&self, file: &Metadata) {
        self.counters.bytes_total.store(file.len(), Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: usize) {
        self.counters.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn add_rows(&self, rows: u64) {
        self.counters.rows.fetch_add(rows, Relaxed);
    }

    pub(super) fn add_excluded(&self, rows: u64) {
        self.counters.excluded.fetch_add(rows, Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.copies.0.lock().retain(|other| !Arc::ptr_eq(other, &self.counters));
    }
}
