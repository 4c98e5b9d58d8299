//! What a log must hold.

use glaredb_txn::{
    ids::{EntryIndex, Term},
    log::{
        format::{EntryId, Marks, Vote},
        segment_store::SegmentStore,
        wal::{Entry, WalError},
    },
    sim::Rng,
};

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) term: u64,
    pub(crate) nonce: u64,
    pub(crate) len: usize,
}

impl Item {
    pub(crate) fn body(&self) -> Vec<u8> {
        Rng::new(self.nonce).bytes(self.len)
    }
}

/// The log as its callers know it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Index before the first of `list`.
    base: u64,
    pub(crate) list: Vec<Item>,
    /// Entries up to here must survive.
    pub(crate) synced: u64,
    pub(crate) committed: u64,
    pub(crate) cut: EntryId,
    pub(crate) vote: Vote,
}

impl Default for Model {
    fn default() -> Self {
        let (cut, vote) = (EntryId::ZERO, Vote::default());
        Self { base: 0, list: Vec::new(), synced: 0, committed: 0, cut, vote }
    }
}

impl Model {
    pub(crate) fn last(&self) -> u64 {
        self.base + self.list.len() as u64
    }

    fn item(&self, index: u64) -> Item {
        self.list[(index - self.base - 1) as usize]
    }

    pub(crate) fn term_of(&self, index: u64) -> u64 {
        if index == self.cut.index.0 { self.cut.term.0 } else { self.item(index).term }
    }

    pub(crate) fn truncate(&mut self, from: u64) {
        self.list.truncate((from - self.base - 1) as usize);
        self.synced = from - 1;
    }

    pub(crate) fn reset(&mut self, to: EntryId) {
        self.base = to.index.0;
        self.list.clear();
        self.synced = to.index.0;
        self.cut = to;
        self.committed = self.committed.max(to.index.0);
    }

    pub(crate) fn check_entry(&self, index: u64, entry: &Entry) -> Result<(), String> {
        let item = self.item(index);
        if entry.index.0 != index || entry.term.0 != item.term || entry.body != item.body() {
            return Err(format!("entry {index} should be {item:?}, it is {entry:?}"));
        }
        Ok(())
    }

    /// Does the store hold what this log may have become? The log as it is from now on.
    pub(crate) fn found(&self, store: &SegmentStore) -> Result<Self, String> {
        let marks = Marks {
            vote: self.vote,
            committed: EntryIndex(self.committed),
            cut: self.cut,
            newest_file: store.marks().newest_file,
        };
        if store.marks() != marks {
            return Err(format!("the marks should be {marks:?}, they are {:?}", store.marks()));
        }
        let last = store.last().index.0;
        if !(self.synced..=self.last()).contains(&last) {
            let range = format!("{} to {}", self.synced, self.last());
            return Err(format!("the last entry should be one of {range}, it is {last}"));
        }
        if store.first() != self.cut.index.next() {
            return Err(format!("the first entry is {}, cut {:?}", store.first(), self.cut));
        }
        let mut next = store.first();
        while next.0 <= last {
            let entries = match store.read(next, 10_000) {
                // A fault of the disk, met once.
                Err(WalError::Unreadable(_)) => store.read(next, 10_000),
                result => result,
            };
            for entry in entries.map_err(|error| error.to_string())? {
                self.check_entry(next.0, &entry)?;
                next = next.next();
            }
        }
        let term = Term(self.term_of(last));
        if store.last().term != term {
            return Err(format!("the last term should be {term}, it is {}", store.last().term));
        }
        let mut found = self.clone();
        found.list.truncate((last - self.base) as usize);
        found.synced = last;
        Ok(found)
    }
}
