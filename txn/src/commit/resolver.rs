//! The resolver: who wins.
//!
//! A commit names the keys it wrote and what it asserts unchanged, each with its *base*: the
//! position of the snapshot that the lookup used. It conflicts if one of these changed after its
//! base. All lookups and their I/O were the session's; here is only `recent`, the last position at
//! which each key changed, the tail included:
//!
//! ```text
//! log          ──c1(k)──c2(m)──c3(k)──▶ tail, not yet durable
//! recent       k → c3, m → c2
//! k, base c2   conflict at c3: answered when c3 is published, so that a retry sees it
//! m, base c2   fine
//! ```
//!
//! One rule gives first-updater-wins, uniqueness, foreign keys and serializable reads.
//!
//! Memory is bounded. When it runs out the oldest changes are forgotten and the *floor* rises to
//! the last one forgotten; a base below the floor cannot be checked any more and is `TooOld`.
//! The last position written of every table is kept apart, so that a table nobody writes never
//! makes anyone too old. A commit that writes more than `BULK_KEYS` keys enters as its tables, not
//! as its keys: whoever wrote to one of them from an older base conflicts.
//!
//! This runs in the critical section of every commit: a hash probe per key, no allocation but for
//! keys longer than `INLINE_KEY_BYTES`. The hash table is split so that it never grows all at once.

mod key;

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use self::key::{Key, Place, hash_key};
use super::message::{Assertion, CommitRequest, KeyWriteRef, Mark, NEVER_CONFLICTS, Scope, Watch};
use crate::ids::{IndexId, LogId, Position, TableId};

/// A commit that writes more keys than this enters `recent` as its tables.
pub const BULK_KEYS: usize = 16_384;

/// How many tables have their last written position kept. More, and the longest unwritten ones
/// share one position.
pub const TABLES_MAX: usize = 65_536;

const SHARDS: usize = 256;

/// What a remembered key costs beside the bytes of a long key: its entry at the hash table's usual
/// load, and its place in the order of forgetting.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2 + ORDER_BYTES;
const ORDER_BYTES: usize = size_of::<(u64, Place)>();

/// Why a commit is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The newest of the changes that it collides with; the key is empty if it was the table.
    Conflict {
        table: TableId,
        key: Bytes,
        at: Position,
    },
    TooOld,
    /// A base that no snapshot can have had: of another log, or in the future.
    ImpossibleBase(Position),
}

#[derive(Debug)]
struct Entry {
    table: TableId,
    index: IndexId,
    key: Key,
    /// When the key last came, went, changed in place; `Place::NEVER` if not remembered.
    added: Place,
    removed: Place,
    changed: Place,
}

impl Entry {
    fn presence(&self) -> Place {
        self.added.max(self.removed)
    }

    fn last(&self) -> Place {
        self.presence().max(self.changed)
    }

    fn is(&self, table: TableId, index: IndexId, key: &[u8]) -> bool {
        self.table == table && self.index == index && self.key.as_slice() == key
    }
}

#[derive(Clone, Copy, Debug)]
struct Table {
    /// Last write of any kind.
    last: Place,
    /// Last write that did not enter key by key.
    bulk: Place,
}

/// See the module's description.
#[derive(Debug)]
pub struct Resolver {
    log: LogId,
    hasher: FixedState,
    shards: Vec<HashTable<Entry>>,
    /// Hash and position of every write, oldest first; outdated where the key was written again.
    order: VecDeque<(u64, Place)>,
    tables: HashMap<TableId, Table, FixedState>,
    /// Changes at or below it may be forgotten.
    floor: Place,
    /// Tables that are not in `tables` were last written at or below it.
    tables_floor: Place,
    newest: Place,
    bytes: usize,
    bytes_max: usize,
}

impl Resolver {
    /// One that remembers nothing up to `floor`: no base can be older, for the sessions of the
    /// last process are gone. `seed` keeps clients from choosing keys that collide.
    #[must_use]
    pub fn new(floor: Position, bytes_max: usize, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let place = Place::of(floor);
        Self {
            log: floor.log,
            hasher: hasher.clone(),
            shards: std::iter::repeat_with(HashTable::new).take(SHARDS).collect(),
            order: VecDeque::new(),
            tables: HashMap::with_hasher(hasher),
            floor: place,
            tables_floor: place,
            newest: place,
            bytes: 0,
            bytes_max,
        }
    }

    /// Whether everything that the request wrote or asserts is unchanged since its base.
    pub fn check(&self, request: &CommitRequest) -> Result<(), Verdict> {
        let mut worst = Worst::default();
        for write in &request.writes {
            self.check_write(write, &mut worst)?;
        }
        for assertion in &request.assertions {
            self.check_assertion(assertion, &mut worst)?;
        }
        match worst {
            Worst { conflict: Some((at, table, key)), .. } => {
                let key = Bytes::copy_from_slice(key);
                Err(Verdict::Conflict { table, key, at: at.position(self.log) })
            }
            Worst { too_old: true, .. } => Err(Verdict::TooOld),
            Worst { .. } => Ok(()),
        }
    }

    /// A record of any kind was placed at `position`: snapshots up to it will be.
    pub fn advance(&mut self, position: Position) {
        let at = Place::of(position);
        assert!(at > self.newest, "positions grow");
        self.newest = at;
    }

    /// The request, found free of conflicts, was placed at `position`, the newest one.
    pub fn record(&mut self, request: &CommitRequest, position: Position) {
        let at = Place::of(position);
        assert!(at == self.newest, "{position} was not placed last");
        let bulk = request.writes.len() > BULK_KEYS;
        let mut table = None;
        for write in &request.writes {
            if table != Some(write.table) {
                table = Some(write.table);
                self.touch(write.table, at, bulk);
            }
            if !bulk {
                self.remember(write, at);
            }
        }
        for table in &request.unkeyed {
            self.touch(*table, at, false);
        }
        self.forget_oldest();
    }

    /// Where the last record was placed.
    #[must_use]
    pub fn newest(&self) -> Position {
        self.newest.position(self.log)
    }

    /// Number of keys remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    /// Bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bases below it are too old, unless their table was not written since.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.floor.position(self.log)
    }

    fn base(&self, base: Position) -> Result<Place, Verdict> {
        if base == NEVER_CONFLICTS {
            return Ok(Place::FOREVER);
        }
        let place = Place::of(base);
        if base.log != self.log || place > self.newest {
            return Err(Verdict::ImpossibleBase(base));
        }
        Ok(place)
    }

    fn table(&self, table: TableId) -> Table {
        let never = Table { last: self.tables_floor, bulk: Place::NEVER };
        self.tables.get(&table).copied().unwrap_or(never)
    }

    fn check_write<'r>(
        &self,
        write: KeyWriteRef<'r>,
        worst: &mut Worst<'r>,
    ) -> Result<(), Verdict> {
        let base = self.base(write.base)?;
        let table = self.table(write.table);
        if table.last > base {
            let last = self.find(write.table, write.index, write.key).map(Entry::last);
            self.compare((write.table, write.key), table, last, base, worst);
        }
        Ok(())
    }

    fn check_assertion<'r>(
        &self,
        assertion: &'r Assertion,
        worst: &mut Worst<'r>,
    ) -> Result<(), Verdict> {
        let base = self.base(assertion.base)?;
        let table = self.table(assertion.table);
        if table.last <= base {
            return Ok(());
        }
        match &assertion.scope {
            // What is not kept one by one lies at the shared floor: below it nobody can say.
            Scope::Table if self.tables.contains_key(&assertion.table) => {
                worst.conflict(table.last, assertion.table, &[]);
            }
            Scope::Table => worst.too_old = true,
            Scope::Key { index, key, watch } => {
                let entry = self.find(assertion.table, *index, key);
                let last = entry.map(|entry| match watch {
                    Watch::Presence => entry.presence(),
                    Watch::Any => entry.last(),
                });
                self.compare((assertion.table, key), table, last, base, worst);
            }
        }
        Ok(())
    }

    /// A key of a table that was written after `base`: `last` is when, as far as remembered.
    fn compare<'r>(
        &self,
        (id, key): (TableId, &'r [u8]),
        table: Table,
        last: Option<Place>,
        base: Place,
        worst: &mut Worst<'r>,
    ) {
        let key_last = last.unwrap_or(Place::NEVER);
        // A bulk write does not say which keys it wrote.
        let key = if key_last < table.bulk { &[] } else { key };
        let last = key_last.max(table.bulk);
        if last > base {
            worst.conflict(last, id, key);
        } else if base < self.floor {
            worst.too_old = true;
        }
    }

    fn find(&self, table: TableId, index: IndexId, key: &[u8]) -> Option<&Entry> {
        let hash = hash_key(&self.hasher, table, index, key);
        self.shards[shard(hash)].find(hash, |entry| entry.is(table, index, key))
    }

    fn touch(&mut self, id: TableId, at: Place, bulk: bool) {
        let table = self.tables.entry(id).or_insert(Table { last: at, bulk: Place::NEVER });
        table.last = at;
        if bulk {
            table.bulk = at;
        }
        if self.tables.len() > TABLES_MAX {
            self.forget_tables();
        }
    }

    /// Lets the older half of the tables share one position. Rare: once in 32,768 new tables.
    fn forget_tables(&mut self) {
        let mut lasts: Vec<Place> = self.tables.values().map(|table| table.last).collect();
        let (_, &mut median, _) = lasts.select_nth_unstable(TABLES_MAX / 2);
        self.tables_floor = self.tables_floor.max(median);
        self.tables.retain(|_, table| table.last > median);
        // A bulk write is known by its table only: once that is forgotten, so are its keys.
        self.floor = self.floor.max(median);
    }

    fn remember(&mut self, write: KeyWriteRef<'_>, at: Place) {
        let KeyWriteRef { table, index, key, mark, .. } = write;
        let hasher = &self.hasher;
        let hash = hash_key(hasher, table, index, key);
        let slot = self.shards[shard(hash)].entry(
            hash,
            |entry| entry.is(table, index, key),
            |entry| hash_key(hasher, entry.table, entry.index, entry.key.as_slice()),
        );
        let mut slot = slot.or_insert_with(|| {
            let key = Key::new(key);
            self.bytes += ENTRY_BYTES - ORDER_BYTES + key.heap_bytes();
            let (added, removed, changed) = (Place::NEVER, Place::NEVER, Place::NEVER);
            Entry { table, index, key, added, removed, changed }
        });
        let entry = slot.get_mut();
        match mark {
            Mark::Added => entry.added = at,
            Mark::Removed => entry.removed = at,
            Mark::Changed => entry.changed = at,
        }
        self.order.push_back((hash, at));
        self.bytes += ORDER_BYTES;
    }

    fn forget_oldest(&mut self) {
        while self.bytes > self.bytes_max
            && let Some((hash, at)) = self.order.pop_front()
        {
            self.bytes -= ORDER_BYTES;
            let oldest = self.shards[shard(hash)].find_entry(hash, |entry| entry.last() == at);
            if let Ok(oldest) = oldest {
                let (entry, _) = oldest.remove();
                self.bytes -= ENTRY_BYTES - ORDER_BYTES + entry.key.heap_bytes();
                self.floor = self.floor.max(at);
            }
        }
    }
}

/// The upper bits: the hash table uses the lower ones, and seven of the uppermost.
fn shard(hash: u64) -> usize {
    const _: () = assert!(SHARDS.is_power_of_two());
    (hash >> 40) as usize % SHARDS
}

/// What speaks against a request, as far as it was checked.
#[derive(Default)]
struct Worst<'r> {
    conflict: Option<(Place, TableId, &'r [u8])>,
    too_old: bool,
}

impl<'r> Worst<'r> {
    fn conflict(&mut self, at: Place, table: TableId, key: &'r [u8]) {
        self.conflict = self.conflict.max(Some((at, table, key)));
    }
}

#[cfg(test)]
mod tests;
