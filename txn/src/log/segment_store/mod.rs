//! The segment store: entries in files, and the few marks beside them. What the `Wal` of one node
//! and the log store of a replicated one are built on.
//!
//! ```text
//! 00…07.log  [ 101 102 103 104 105 … 990 | zeros ]      sealed: a later file took over
//! 00…08.log  [ 991 992 993 | zeros              ]      active: entries are appended here
//! 00…09.log  [ zeros                            ]      spare: prepared ahead
//! marks      vote, committed index, where the log was cut
//! ```
//!
//! Files are prepared in full before their first use, so appending needs no new space and syncing
//! writes no metadata. Nothing is ever overwritten: truncating the suffix from entry 500 on begins
//! a new file at 500, and whatever older files hold from 500 on no longer counts. Writing the new
//! file's activation block is the one step that takes effect, before it nothing has happened, after
//! it everything has.
//!
//! What a crash leaves, and how it is read:
//! - A damaged frame at the end of the newest file is an unfinished write, and is cut, unless a
//!   frame behind it says that the damaged one was already durable, or the committed mark says so.
//!   Then, and for any damage in an older file, opening is refused by file and offset.
//! - Entries behind the cut are wiped before anything is appended, so that none comes back.
//! - Everything found is synced before opening returns: after a mere process kill it may have lived
//!   in the page cache only.

mod file;
mod read;
mod recovery;
mod removal;
mod spare;

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

pub(crate) use self::file::{FileHead, parse_file_name};
pub use self::recovery::StoreReport;
pub(crate) use self::recovery::examine;
use self::{file::LogFile, read::Cursor, spare::Spares};
use crate::{
    env::{DiskError, Env},
    ids::{EntryIndex, LogId, Term},
    log::{
        fault,
        format::{
            ACTIVATION_OFFSET, Activation, DATA_OFFSET, EntryId, Marks, Vote, encode_frame,
            frame_bytes,
        },
        marks::MarksFile,
        wal::{FRAME_BYTES, WalError},
    },
};

/// Least size of a file: room for a few entries.
pub const FILE_BYTES_MIN: u64 = DATA_OFFSET + 4096;
/// Greatest size of a file.
pub const FILE_BYTES_MAX: u64 = 1 << 32;

/// A log on one disk. All methods may be called from several threads.
///
/// Obligations beyond those of [`Wal`](crate::log::wal::Wal), which the store meets as well
/// (`log::conformance` checks all of them):
/// 1. `truncate_suffix(from)` removes `from` and everything after; it is durable on return, and
///    atomic. At or below the committed mark it is refused.
/// 2. `save_vote` and `save_committed` are durable on return, and atomic.
/// 3. After `save_committed(n)` the loss of an entry up to `n` is never taken for an unfinished
///    write.
/// 4. `reset(to)` leaves an empty log that goes on after `to`.
pub struct SegmentStore {
    env: Env,
    directory: String,
    log_id: LogId,
    entry_bytes_max: usize,
    /// Why the store gave up. Set once, for ever.
    failed: OnceLock<String>,
    // Locks are taken in this order: marks, state, synced, spares.
    marks: Mutex<MarksFile>,
    state: Mutex<State>,
    synced: Mutex<Synced>,
    spares: Mutex<Spares>,
    /// `synced.durable`, readable while a sync is under way.
    durable: AtomicU64,
    spare_wanted: AtomicBool,
    /// Sequence of the active file.
    newest_file: AtomicU64,
}

struct State {
    /// Oldest first; the last one is active.
    files: VecDeque<Arc<LogFile>>,
    first: EntryIndex,
    last: EntryId,
    /// Where the next frame goes in the active file.
    write_offset: u64,
    cursor: Option<Cursor>,
    /// Memory of the frame being written.
    frame: Vec<u8>,
}

/// What is durable. Its lock is held while a sync runs, so that no sync that succeeds after one
/// that failed can pass for a success.
struct Synced {
    durable: EntryIndex,
    /// Grows when entries are removed from the end: what a sync was asked for may be gone.
    truncations: u64,
}

impl State {
    fn active(&self) -> &Arc<LogFile> {
        self.files.back().expect("a store always has an active file")
    }
}

impl SegmentStore {
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The newest entry, durable or not.
    pub fn last(&self) -> EntryId {
        self.state.lock().last
    }

    /// Index of the oldest entry; one after the last when there is none.
    pub fn first(&self) -> EntryIndex {
        self.state.lock().first
    }

    pub fn durable(&self) -> EntryIndex {
        EntryIndex(self.durable.load(Ordering::Acquire))
    }

    pub fn marks(&self) -> Marks {
        self.marks.lock().get()
    }

    /// No entry's body may exceed this.
    pub fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// A spare file should be prepared, at leisure.
    pub fn spare_wanted(&self) -> bool {
        self.spare_wanted.load(Ordering::Relaxed)
    }

    /// Have at least one spare file. `Full` is harmless, until the active file is full too.
    pub fn prepare_spare(&self) -> Result<(), WalError> {
        self.check()?;
        self.spare_wanted.store(false, Ordering::Relaxed);
        let mut spares = self.spares.lock();
        if spares.ready() == 0 {
            spares.prepare().map_err(|error| self.full_or_fail(error))?;
        }
        Ok(())
    }

    /// Make sure that `bytes` more, bodies and `FRAME_BYTES` each, can be appended without `Full`.
    pub fn reserve(&self, bytes: u64) -> Result<(), WalError> {
        self.check()?;
        let left = {
            let state = self.state.lock();
            state.active().identity.file_bytes - state.write_offset
        };
        if bytes <= left {
            return Ok(());
        }
        // An entry that does not fit begins a new file: so much may stay unused in each.
        let waste = bytes.min((self.entry_bytes_max + FRAME_BYTES) as u64);
        let mut spares = self.spares.lock();
        let before = spares.ready();
        loop {
            let missing = bytes.saturating_sub(left.saturating_sub(waste));
            if fits(missing, waste, spares.sizes()) {
                return Ok(());
            }
            if let Err(error) = spares.prepare() {
                spares.release(before);
                return Err(self.full_or_fail(error));
            }
        }
    }

    /// Append one entry after the last. `Fenced` if the last one has a higher term.
    pub fn append(&self, term: Term, body: &[u8]) -> Result<EntryIndex, WalError> {
        self.check()?;
        if body.len() > self.entry_bytes_max {
            let (bytes, bytes_max) = (body.len(), self.entry_bytes_max);
            return Err(WalError::TooLarge { bytes, bytes_max });
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if term < state.last.term {
            return Err(WalError::Fenced { requested: term, current: state.last.term });
        }
        let bytes = frame_bytes(body.len()) as u64;
        if state.write_offset + bytes > state.active().identity.file_bytes {
            self.rotate(state)?;
        }
        let id = EntryId::new(term, state.last.index.next());
        let active = Arc::clone(state.active());
        state.frame.clear();
        encode_frame(&mut state.frame, active.seed, id, self.durable(), body);
        self.write(&active, state.write_offset, &state.frame)?;
        active.note(id.index, state.write_offset);
        state.write_offset += bytes;
        state.last = id;
        Ok(id.index)
    }

    fn write(&self, file: &LogFile, offset: u64, bytes: &[u8]) -> Result<(), WalError> {
        fault::point("log::append::write", &file.path)
            .and_then(|()| file.file.write_at(offset, bytes))
            .and_then(|()| fault::point("log::append::written", &file.path))
            .map_err(|error| self.fail(&error))
    }

    /// Go on in a new file.
    fn rotate(&self, state: &mut State) -> Result<(), WalError> {
        let spare = self.spares.lock().take().map_err(|error| self.full_or_fail(error))?;
        self.seal(state, "log::rotate::seal")?;
        let activation =
            Activation { first: state.last.index.next(), previous_term: state.last.term };
        self.activate(state, spare, activation)
    }

    /// Make everything in the active file durable: no later file may begin before that.
    fn seal(&self, state: &State, point: &'static str) -> Result<(), WalError> {
        let mut synced = self.synced.lock();
        self.check()?;
        let active = state.active();
        fault::point(point, &active.path)
            .and_then(|()| active.file.sync_data())
            .map_err(|error| self.fail(&error))?;
        self.set_durable(&mut synced, state.last.index);
        Ok(())
    }

    fn set_durable(&self, synced: &mut Synced, durable: EntryIndex) {
        synced.durable = durable;
        self.durable.store(durable.0, Ordering::Release);
    }

    /// Make `spare` the active file. Durable on return.
    fn activate(
        &self,
        state: &mut State,
        spare: file::PreparedFile,
        activation: Activation,
    ) -> Result<(), WalError> {
        let block = activation.encode(&spare.identity);
        fault::point("log::rotate::activate", &spare.path)
            .and_then(|()| spare.file.write_at(ACTIVATION_OFFSET, &block))
            .and_then(|()| fault::point("log::rotate::sync", &spare.path))
            .and_then(|()| spare.file.sync_data())
            .map_err(|error| self.fail(&error))?;
        self.newest_file.store(spare.identity.sequence, Ordering::Release);
        state.files.push_back(Arc::new(spare.activate(activation)));
        state.write_offset = DATA_OFFSET;
        self.spare_wanted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Make everything appended before this call durable; returns the durable index.
    pub fn sync(&self) -> Result<EntryIndex, WalError> {
        loop {
            self.check()?;
            let truncations = self.synced.lock().truncations;
            let (file, target) = {
                let state = self.state.lock();
                (Arc::clone(state.active()), state.last.index)
            };
            let mut synced = self.synced.lock();
            self.check()?;
            if synced.truncations != truncations {
                continue;
            }
            if synced.durable < target {
                // Older files were synced before this one began.
                fault::point("log::sync::start", &file.path)
                    .and_then(|()| file.file.sync_data())
                    .and_then(|()| fault::point("log::sync::done", &file.path))
                    .map_err(|error| self.fail(&error))?;
                self.set_durable(&mut synced, target);
            }
            return Ok(synced.durable);
        }
    }

    /// Note a vote.
    pub fn save_vote(&self, vote: Vote) -> Result<(), WalError> {
        self.check()?;
        let mut marks = self.marks.lock();
        let old = marks.get();
        self.save(&mut marks, Marks { vote, ..old }, "log::marks::vote")
    }

    /// Note that entries up to `committed`, which are durable, will never be truncated.
    pub fn save_committed(&self, committed: EntryIndex) -> Result<(), WalError> {
        self.check()?;
        let mut marks = self.marks.lock();
        let old = marks.get();
        let durable = self.durable();
        if committed > durable {
            let reason = format!("entries up to {} are durable", durable.0);
            return Err(WalError::Misuse(format!("commit of entry {}: {reason}", committed.0)));
        }
        if committed <= old.committed {
            return Ok(());
        }
        self.save(&mut marks, Marks { committed, ..old }, "log::marks::committed")
    }

    /// Bring the marks up to date with the newest file, so that its loss is noticed from now on.
    pub fn note_newest_file(&self) -> Result<(), WalError> {
        self.check()?;
        let mut marks = self.marks.lock();
        let old = marks.get();
        if old.newest_file >= self.newest_file.load(Ordering::Acquire) {
            return Ok(());
        }
        self.save(&mut marks, old, "log::marks::newest_file")
    }

    fn save(
        &self,
        file: &mut MutexGuard<'_, MarksFile>,
        marks: Marks,
        point: &'static str,
    ) -> Result<(), WalError> {
        // A file is begun durably before it is noted here.
        let newest_file = self.newest_file.load(Ordering::Acquire);
        fault::point(point, &self.directory)
            .and_then(|()| file.save(Marks { newest_file, ..marks }))
            .map_err(|error| self.fail(&error))
    }

    /// Refuse to go on after a failure.
    fn check(&self) -> Result<(), WalError> {
        match self.failed.get() {
            Some(reason) => Err(WalError::Indeterminate(reason.clone())),
            None => Ok(()),
        }
    }

    /// Give up for ever: a write or sync failed, nobody knows what arrived.
    fn fail(&self, error: &DiskError) -> WalError {
        let reason = self.failed.get_or_init(|| error.to_string());
        WalError::Indeterminate(reason.clone())
    }

    /// An error while a file was prepared: without space the file is given up, any other error means
    /// a failing disk.
    fn full_or_fail(&self, error: DiskError) -> WalError {
        match error {
            DiskError::NoSpace { .. } => WalError::Full(error.to_string()),
            _ => self.fail(&error),
        }
    }
}

/// Do entries of `bytes` in total, none over `waste`, fit files of these sizes, however they fall?
fn fits(bytes: u64, waste: u64, file_sizes: impl Iterator<Item = u64>) -> bool {
    let mut missing = bytes;
    let mut half_pair = false;
    for file_bytes in file_sizes {
        let room = file_bytes - DATA_OFFSET;
        if missing <= room {
            return true;
        }
        if waste <= room / 2 {
            missing -= room - waste;
        } else if half_pair {
            // What a file holds and the entry that did not fit, the first of the next file, exceed
            // one file's room together.
            missing -= room;
            half_pair = false;
        } else {
            half_pair = true;
        }
    }
    missing == 0
}
