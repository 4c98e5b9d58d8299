//! A log in memory, for what is not about the log.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    ids::{EntryIndex, LogId, Term},
    log::wal::{Entry, FRAME_BYTES, Wal, WalError},
};

/// Holds its entries, or only counts them; every sync succeeds at once, until told otherwise.
#[derive(Debug)]
pub struct MemoryWal {
    state: Mutex<State>,
    keeps: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    first: u64,
    last: u64,
    durable: u64,
    /// What `reserve` still grants.
    room: Option<u64>,
    broken: Option<WalError>,
}

impl MemoryWal {
    /// One that can be read.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::new(State { first: 1, ..State::default() }), keeps: true }
    }

    /// One that forgets what is appended: for measurements.
    #[must_use]
    pub fn counting() -> Self {
        Self { keeps: false, ..Self::new() }
    }

    /// So many more bytes fit; `None`: any number.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state.lock().room = bytes;
    }

    /// Every append and sync fails like this from now on.
    pub fn break_with(&self, error: WalError) {
        self.state.lock().broken = Some(error);
    }
}

impl Default for MemoryWal {
    fn default() -> Self {
        Self::new()
    }
}

impl Wal for MemoryWal {
    fn log_id(&self) -> LogId {
        LogId(0)
    }

    fn term(&self) -> Term {
        Term(1)
    }

    fn last(&self) -> EntryIndex {
        EntryIndex(self.state.lock().last)
    }

    fn durable(&self) -> EntryIndex {
        EntryIndex(self.state.lock().durable)
    }

    fn first(&self) -> EntryIndex {
        EntryIndex(self.state.lock().first)
    }

    fn reserve(&self, bytes: u64) -> Result<(), WalError> {
        match self.state.lock().room {
            Some(room) if bytes > room => {
                Err(WalError::Full(format!("{bytes} bytes asked for, {room} are left")))
            }
            _ => Ok(()),
        }
    }

    fn append(&self, term: Term, body: Bytes) -> Result<EntryIndex, WalError> {
        let mut state = self.state.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let bytes = (body.len() + FRAME_BYTES) as u64;
        if let Some(room) = &mut state.room {
            *room = room.checked_sub(bytes).expect("more is appended than was reserved");
        }
        state.last += 1;
        let index = EntryIndex(state.last);
        if self.keeps {
            state.entries.push(Entry { term, index, body });
        }
        Ok(index)
    }

    fn sync(&self) -> Result<EntryIndex, WalError> {
        let mut state = self.state.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        state.durable = state.last;
        Ok(EntryIndex(state.durable))
    }

    fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError> {
        let state = self.state.lock();
        if from.0 < state.first {
            return Err(WalError::Cut { from, first: EntryIndex(state.first) });
        }
        let mut read = Vec::new();
        let mut bytes = 0;
        for entry in state.entries.iter().filter(|entry| entry.index >= from) {
            if !read.is_empty() && bytes + entry.body.len() > bytes_max {
                break;
            }
            bytes += entry.body.len();
            read.push(entry.clone());
        }
        Ok(read)
    }

    fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError> {
        let mut state = self.state.lock();
        let last = EntryIndex(state.last);
        if before > last.next() {
            return Err(WalError::BeyondEnd { before, last });
        }
        state.first = state.first.max(before.0);
        let first = state.first;
        state.entries.retain(|entry| entry.index.0 >= first);
        Ok(())
    }
}
