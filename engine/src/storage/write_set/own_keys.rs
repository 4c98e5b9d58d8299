//! What became of the keys a transaction touched, by key.
//!
//! A bulk load names millions of keys, so one costs its bytes and an entry of 24, both in blocks that
//! never move. Keys that come in ascending order, the usual load, need no hash table: they are found
//! by binary search, and one greater than all of them is known to be new by one comparison.

use foldhash::fast::FixedState;
use glaredb_txn::{commit::message::Mark, ids::Position};
use hashbrown::HashTable;

use super::{OwnKey, key_sets::Written};

#[cfg(test)]
mod tests;

/// Entries of a block; the first one grows up to it.
const BLOCK_ENTRIES: usize = 1 << 15;

/// Bytes of keys after which a block gets no more.
const BLOCK_BYTES: usize = 1 << 20;

/// So many keys in no order are looked through one by one.
const SCANNED_MAX: usize = 8;

/// No own row has the key.
const NO_ROW: u32 = u32::MAX;

/// Memory of a key beside its bytes: entry, share of the hash table.
pub(super) const ENTRY_BYTES: u64 = size_of::<Entry>() as u64 + 8;

#[derive(Debug, Default)]
pub(super) struct OwnKeys {
    entries: Vec<Vec<Entry>>,
    bytes: Vec<Vec<u8>>,
    /// Bases of the statements, each once in a row.
    bases: Vec<Position>,
    len: usize,
    /// The keys did not come in ascending order.
    unordered: bool,
    /// Of all entries, by number, once they are unordered and many.
    table: HashTable<u32>,
    /// Entries as they were before they changed since a savepoint; `None` while none is set.
    undo: Option<Vec<(u32, Entry)>>,
    /// Entries from this one on came after all savepoints.
    marked: usize,
}

/// How far the keys were when a savepoint was set.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeysMark {
    len: usize,
    undo: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the key lies.
    block: u32,
    start: u32,
    len: u32,
    /// Own row that has the key now.
    row: u32,
    /// Index of the base of the statement that first touched it.
    base: u32,
    /// A committed row had it.
    removed: bool,
}

fn hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(key);
    hasher.finish()
}

impl OwnKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, key: &[u8]) -> OwnKey {
        match self.find(key).map(|at| self.entry(at)) {
            Some(Entry { row, .. }) if *row != NO_ROW => OwnKey::Row(*row),
            Some(Entry { removed: true, .. }) => OwnKey::Removed,
            _ => OwnKey::Untouched,
        }
    }

    /// The base of the statement that first touched the key; `None`: none did.
    pub(super) fn base(&self, key: &[u8]) -> Option<Position> {
        self.find(key).map(|at| self.bases[self.entry(at).base as usize])
    }

    /// Own row `row` has the key now. True: the transaction did not touch it before.
    pub(super) fn insert(&mut self, key: &[u8], row: u32, base: Position) -> bool {
        let (at, new) = self.find_or_add(key, base);
        self.note(at);
        self.entry_mut(at).row = row;
        new
    }

    /// A committed row with the key is deleted. True: the transaction did not touch it before.
    pub(super) fn remove(&mut self, key: &[u8], base: Position) -> bool {
        let (at, new) = self.find_or_add(key, base);
        self.note(at);
        self.entry_mut(at).removed = true;
        new
    }

    /// Own row `row` is deleted: the key is nobody's if it was that row's.
    pub(super) fn forget_row(&mut self, key: &[u8], row: u32) {
        if let Some(at) = self.find(key)
            && self.entry(at).row == row
        {
            self.note(at);
            self.entry_mut(at).row = NO_ROW;
        }
    }

    /// Notes the entry as it is, if a savepoint may want it back.
    fn note(&mut self, at: usize) {
        if at < self.marked {
            let entry = *self.entry(at);
            self.undo.get_or_insert_default().push((at as u32, entry));
        }
    }

    /// A savepoint is set: from now on changes are noted.
    pub(super) fn mark(&mut self) -> KeysMark {
        self.marked = self.len;
        KeysMark { len: self.len, undo: self.undo.get_or_insert_default().len() }
    }

    /// No savepoint is left.
    pub(super) fn forget_marks(&mut self) {
        self.undo = None;
        self.marked = 0;
    }

    pub(super) fn undo_bytes(&self) -> u64 {
        self.undo.as_ref().map_or(0, |undo| (undo.len() * size_of::<(u32, Entry)>()) as u64)
    }

    /// The keys are again as they were at `mark`.
    pub(super) fn rewind(&mut self, mark: KeysMark) {
        let noted = self.undo.get_or_insert_default().split_off(mark.undo);
        for (at, entry) in noted.into_iter().rev() {
            *self.entry_mut(at as usize) = entry;
        }
        self.marked = mark.len;
        if mark.len == self.len {
            return;
        }
        if mark.len <= SCANNED_MAX {
            self.table.clear();
        } else if self.unordered {
            for at in mark.len..self.len {
                let hash = hash(self.key(self.entry(at)));
                if let Ok(entry) = self.table.find_entry(hash, |known| *known as usize == at) {
                    entry.remove();
                }
            }
        }
        // Entries and their bytes come in one order, so the first that goes says what is left.
        let Entry { block, start, .. } = *self.entry(mark.len);
        self.bytes.truncate(block as usize + 1);
        self.bytes[block as usize].truncate(start as usize);
        self.entries.truncate(mark.len.div_ceil(BLOCK_ENTRIES));
        if let Some(last) = self.entries.last_mut() {
            last.truncate((mark.len - 1) % BLOCK_ENTRIES + 1);
        }
        self.len = mark.len;
        // An empty set is in order, whatever it held.
        self.unordered &= self.len > 0;
    }

    /// Own rows that have a key, with it, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let entries = self.entries.iter().flatten().filter(|entry| entry.row != NO_ROW);
        entries.map(|entry| (self.key(entry), entry.row))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory of the keys, without what savepoints note.
    pub(super) fn memory_bytes(&self) -> u64 {
        let bytes: usize = self.bytes.iter().map(Vec::len).sum();
        bytes as u64 + self.len as u64 * ENTRY_BYTES
    }

    /// What the resolver checks: each key once, with what became of it in the end.
    pub(super) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        self.entries.iter().flatten().map(|entry| {
            let mark = match (entry.removed, entry.row) {
                (true, NO_ROW) => Mark::Removed,
                (true, _) => Mark::Changed,
                // Inserted and deleted again: still looked up, so still checked.
                (false, _) => Mark::Added,
            };
            (self.key(entry), mark, self.bases[entry.base as usize])
        })
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.bytes[entry.block as usize][start..start + entry.len as usize]
    }

    fn entry(&self, at: usize) -> &Entry {
        &self.entries[at / BLOCK_ENTRIES][at % BLOCK_ENTRIES]
    }

    fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at / BLOCK_ENTRIES][at % BLOCK_ENTRIES]
    }

    fn is_greatest(&self, key: &[u8]) -> bool {
        self.len == 0 || self.key(self.entry(self.len - 1)) < key
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        if !self.unordered {
            if self.is_greatest(key) {
                return None;
            }
            let block = self.entries.partition_point(|block| self.key(&block[0]) <= key);
            let block = block.checked_sub(1)?;
            let found = self.entries[block].binary_search_by(|entry| self.key(entry).cmp(key));
            return found.ok().map(|n| block * BLOCK_ENTRIES + n);
        }
        if self.len <= SCANNED_MAX {
            return (0..self.len).find(|at| self.key(self.entry(*at)) == key);
        }
        let equal = |at: &u32| self.key(self.entry(*at as usize)) == key;
        self.table.find(hash(key), equal).map(|at| *at as usize)
    }

    fn find_or_add(&mut self, key: &[u8], base: Position) -> (usize, bool) {
        if let Some(at) = self.find(key) {
            return (at, false);
        }
        if !self.unordered && !self.is_greatest(key) {
            self.unordered = true;
            self.index_all();
        }
        let at = self.len;
        self.add(key, base);
        if self.unordered && self.len == SCANNED_MAX + 1 {
            self.index_all();
        } else if self.unordered && self.len > SCANNED_MAX {
            self.index(at);
        }
        (at, true)
    }

    fn index_all(&mut self) {
        if self.len > SCANNED_MAX {
            (0..self.len).for_each(|at| self.index(at));
        }
    }

    fn index(&mut self, at: usize) {
        let Self { table, entries, bytes, .. } = self;
        let hash_of = |at: &u32| {
            let entry = &entries[*at as usize / BLOCK_ENTRIES][*at as usize % BLOCK_ENTRIES];
            let start = entry.start as usize;
            hash(&bytes[entry.block as usize][start..start + entry.len as usize])
        };
        // Own rows are counted in 32 bits; keys of committed rows fit beside them in any memory.
        let at = u32::try_from(at).expect("fewer than 2^32 keys in a transaction");
        table.insert_unique(hash_of(&at), at, hash_of);
    }

    fn add(&mut self, key: &[u8], base: Position) {
        if self.bases.last() != Some(&base) {
            self.bases.push(base);
        }
        if self.bytes.last().is_none_or(|block| block.len() >= BLOCK_BYTES) {
            let room = if self.bytes.is_empty() { key.len() } else { BLOCK_BYTES + key.len() };
            self.bytes.push(Vec::with_capacity(room));
        }
        let block = self.bytes.len() - 1;
        let start = self.bytes[block].len();
        self.bytes[block].extend_from_slice(key);
        let entry = Entry {
            block: block as u32,
            start: start as u32,
            len: key.len() as u32,
            row: NO_ROW,
            base: self.bases.len() as u32 - 1,
            removed: false,
        };
        match self.entries.last_mut() {
            Some(entries) if entries.len() < BLOCK_ENTRIES => entries.push(entry),
            Some(_) => {
                let mut entries = Vec::with_capacity(BLOCK_ENTRIES);
                entries.push(entry);
                self.entries.push(entries);
            }
            None => self.entries.push(vec![entry]),
        }
        self.len += 1;
    }
}
