//! The `Wal` of one node: a segment store that nothing is truncated from.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

pub use super::error::OpenError;
use super::{
    format::Vote,
    segment_store::SegmentStore,
    wal::{Entry, Wal, WalError},
};
use crate::{
    env::{DiskError, Env, JoinHandle},
    ids::{DatabaseId, EntryIndex, LogId, Term},
};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LocalWalOptions {
    /// Size of each file made from now on; an entry must fit one.
    pub file_bytes: u64,
    /// Make an empty log if there is none. To be false when something else says that there was a
    /// log: an empty one in its place would be a lost database.
    pub create: bool,
    /// Prepare the next file on a thread of its own, so that `append` and `reserve` seldom wait
    /// for it. Off in simulations.
    pub preallocate_in_background: bool,
}

impl Default for LocalWalOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, create: true, preallocate_in_background: true }
    }
}

/// What was found when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no log here; an empty one was made.
    pub created: bool,
    /// Oldest entry that can be read; one after `last` when there is none.
    pub first: EntryIndex,
    /// Newest entry; 0 when there never was one.
    pub last: EntryIndex,
    /// Term of this opening: higher than every term under which the log was opened or written
    /// before, and durably noted. Append under it.
    pub term: Term,
    /// Bytes of unfinished writes cut off behind the last whole entry.
    pub torn_bytes: u64,
}

/// A log on the local disk.
pub struct LocalWal {
    store: Arc<SegmentStore>,
    term: Term,
    preparer: Option<Preparer>,
}

impl LocalWal {
    /// Open the log in `directory` of the environment's disk, or make an empty one there. The
    /// caller makes sure that nobody else has it open.
    pub fn open(
        env: &Env,
        directory: &str,
        database_id: DatabaseId,
        log_id: LogId,
        options: LocalWalOptions,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let file_bytes = options.file_bytes;
        if !options.create && !SegmentStore::exists(env, directory)? {
            return Err(OpenError::Missing { directory: directory.to_owned() });
        }
        let (store, report) = SegmentStore::open(env, directory, database_id, log_id, file_bytes)?;
        let store = Arc::new(store);
        let term = store.marks().vote.term.max(store.last().term).next();
        store.save_vote(Vote { term, node: 0, committed: true }).map_err(|error| {
            OpenError::Disk(DiskError::Io {
                operation: "noting the term",
                path: directory.to_owned(),
                reason: error.to_string(),
            })
        })?;
        let preparer = if options.preallocate_in_background {
            Some(Preparer::start(env, &store)?)
        } else {
            None
        };
        let report = OpenReport {
            created: report.created,
            first: store.first(),
            last: store.last().index,
            term,
            torn_bytes: report.torn_bytes,
        };
        Ok((Arc::new(Self { store, term, preparer }), report))
    }

    /// Note durably that everything synced so far was, so that a later damage to the last entries
    /// is told from an unfinished write; for an orderly end. The log stays usable.
    pub fn close(&self) -> Result<(), WalError> {
        let durable = self.store.sync()?;
        self.store.save_committed(durable)
    }
}

impl Wal for LocalWal {
    fn log_id(&self) -> LogId {
        self.store.log_id()
    }

    fn term(&self) -> Term {
        self.term.max(self.store.last().term)
    }

    fn last(&self) -> EntryIndex {
        self.store.last().index
    }

    fn durable(&self) -> EntryIndex {
        self.store.durable()
    }

    fn first(&self) -> EntryIndex {
        self.store.first()
    }

    fn reserve(&self, bytes: u64) -> Result<(), WalError> {
        self.store.reserve(bytes)
    }

    fn append(&self, term: Term, body: Bytes) -> Result<EntryIndex, WalError> {
        if term < self.term {
            return Err(WalError::Fenced { requested: term, current: self.term() });
        }
        let index = self.store.append(term, &body)?;
        if self.store.spare_wanted()
            && let Some(preparer) = &self.preparer
        {
            preparer.wake();
        }
        Ok(index)
    }

    fn sync(&self) -> Result<EntryIndex, WalError> {
        self.store.sync()
    }

    fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError> {
        self.store.read(from, bytes_max)
    }

    fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError> {
        self.store.cut_prefix(before)
    }
}

/// The thread that prepares the next file while the current one fills.
struct Preparer {
    signal: Arc<Signal>,
    thread: Option<JoinHandle>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    wanted: bool,
    stopped: bool,
}

impl Preparer {
    fn start(env: &Env, store: &Arc<SegmentStore>) -> Result<Self, OpenError> {
        let signal = Arc::new(Signal::default());
        signal.state.lock().wanted = store.spare_wanted();
        let (store, seen) = (Arc::clone(store), Arc::clone(&signal));
        let body = Box::new(move || {
            while seen.wait() {
                // Out of space now: the append or reserve that needs the file tries again. A disk
                // that fails is reported by whatever the log is asked next.
                // A new file was begun, most likely: the marks shall know it.
                let done = store.prepare_spare().and_then(|()| store.note_newest_file());
                if let Err(error) = done {
                    tracing::warn!(%error, "the next file of the log is not prepared");
                }
            }
        });
        let thread = env.threads.spawn("log-prepare", body).map_err(|error| {
            OpenError::Options(format!("files cannot be prepared in the background: {error}"))
        })?;
        Ok(Self { signal, thread: Some(thread) })
    }

    fn wake(&self) {
        self.signal.state.lock().wanted = true;
        self.signal.changed.notify_one();
    }
}

impl Signal {
    /// Wait until a file is wanted (true) or the log is closed (false).
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.stopped {
            self.changed.wait(&mut state);
        }
        state.wanted = false;
        !state.stopped
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.signal.state.lock().stopped = true;
        self.signal.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && let Err(panicked) = thread.join()
        {
            tracing::error!(%panicked, "while the next file of the log was prepared");
        }
    }
}
