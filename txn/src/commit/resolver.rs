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
//! makes anyone too old.
//!
//! A commit of more than `BULK_KEYS` keys brings sets of them, fences and filters ([`KeySet`]), and
//! enters as these. What comes from an older base and
//! - names a key that a remembered set may contain, conflicts;
//! - brings a set that may contain a remembered key, or whose fences overlap those of a remembered
//!   set, has *met* it: its sender, who knows the keys, finds out whether it is a conflict.
//!
//! # Invariants
//! 1. What changed after a base and is written or asserted on it is never let through: a key is
//!    remembered, or in a remembered set, or it changed at or below the floor. A set says "perhaps"
//!    of keys that are not in it, so it may refuse too much, never too little.
//! 2. Keys and sets are forgotten in the order in which they came, together.
//! 3. `Met` is said only where nothing else speaks against the request.
//!
//! This runs in the critical section of every commit: a hash probe per key, no allocation but for
//! keys longer than `INLINE_KEY_BYTES`; for a set a look at all changes since its base, which costs
//! little but for those of its own table, and if these are more than `BULK_KEYS`, the set has met
//! them. The hash table is split so that it never grows all at once.

mod key;
mod sets;

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use self::{
    key::{Key, Place, hash_key},
    sets::RememberedSets,
};
use super::message::{
    Assertion, BULK_KEYS, CommitRequest, KeySet, KeyWriteRef, Mark, NEVER_CONFLICTS, Scope, Watch,
};
use crate::ids::{IndexId, LogId, Position, TableId};

/// How many tables have their last written position kept. More, and the longest unwritten ones
/// share one position.
pub const TABLES_MAX: usize = 65_536;

const SHARDS: usize = 256;

/// What a remembered key costs beside the bytes of a long key: its entry at the hash table's usual
/// load, and its place in the order of forgetting.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2 + ORDER_BYTES;
const ORDER_BYTES: usize = size_of::<Change>();

/// Why a commit is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The newest of the changes that it collides with; the key is empty if it was the table.
    Conflict {
        table: TableId,
        key: Bytes,
        at: Position,
    },
    /// Perhaps: at one of its key sets, and at nothing else.
    Met {
        table: TableId,
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

/// A key was written.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Of the key.
    hash: u64,
    at: Place,
    table: TableId,
    index: IndexId,
}

/// See the module's description.
#[derive(Debug)]
pub struct Resolver {
    log: LogId,
    hasher: FixedState,
    shards: Vec<HashTable<Entry>>,
    /// Every write, oldest first; outdated where the key was written again.
    order: VecDeque<Change>,
    sets: RememberedSets,
    /// Last write of any kind.
    tables: HashMap<TableId, Place, FixedState>,
    /// Changes at or below it may be forgotten.
    floor: Place,
    /// Tables that are not in `tables` were last written at or below it.
    tables_floor: Place,
    newest: Place,
    /// Of the keys.
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
            sets: RememberedSets::new(hasher.clone()),
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
        if let Some((at, table, key)) = worst.conflict {
            let key = Bytes::copy_from_slice(key);
            return Err(Verdict::Conflict { table, key, at: at.position(self.log) });
        }
        if worst.too_old {
            return Err(Verdict::TooOld);
        }
        self.check_sets(&request.key_sets)
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
        let mut table = None;
        for write in &request.writes {
            if table != Some(write.table) {
                table = Some(write.table);
                self.touch(write.table, at);
            }
            self.remember(write, at);
        }
        for set in &request.key_sets {
            self.touch(set.table, at);
            self.sets.remember(set, at, self.bytes_max);
        }
        for table in &request.unkeyed {
            self.touch(*table, at);
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
        self.bytes + self.sets.bytes()
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

    /// When a table was last written, at the latest.
    fn table(&self, table: TableId) -> Place {
        self.tables.get(&table).copied().unwrap_or(self.tables_floor)
    }

    fn check_write<'r>(
        &self,
        write: KeyWriteRef<'r>,
        worst: &mut Worst<'r>,
    ) -> Result<(), Verdict> {
        let base = self.base(write.base)?;
        if self.table(write.table) > base {
            let last = self.find(write.table, write.index, write.key).map(Entry::last);
            let last =
                last.max(self.sets.last(write.table, write.index, write.key, Watch::Any, base));
            self.compare((write.table, write.key), last, base, worst);
        }
        Ok(())
    }

    fn check_assertion<'r>(
        &self,
        assertion: &'r Assertion,
        worst: &mut Worst<'r>,
    ) -> Result<(), Verdict> {
        let base = self.base(assertion.base)?;
        let written = self.table(assertion.table);
        if written <= base {
            return Ok(());
        }
        match &assertion.scope {
            // What is not kept one by one lies at the shared floor: below it nobody can say.
            Scope::Table if self.tables.contains_key(&assertion.table) => {
                worst.conflict(written, assertion.table, &[]);
            }
            Scope::Table => worst.too_old = true,
            Scope::Key { index, key, watch } => {
                let entry = self.find(assertion.table, *index, key);
                let last = entry.map(|entry| match watch {
                    Watch::Presence => entry.presence(),
                    Watch::Any => entry.last(),
                });
                let last = last.max(self.sets.last(assertion.table, *index, key, *watch, base));
                self.compare((assertion.table, key), last, base, worst);
            }
        }
        Ok(())
    }

    /// A key of a table that was written after `base`: `last` is when it was written itself, as far as
    /// remembered.
    fn compare<'r>(
        &self,
        (table, key): (TableId, &'r [u8]),
        last: Option<Place>,
        base: Place,
        worst: &mut Worst<'r>,
    ) {
        match last.filter(|last| *last > base) {
            Some(last) => worst.conflict(last, table, key),
            None => worst.too_old |= base < self.floor,
        }
    }

    /// What the sets of a request meet, nothing else of which is in the way.
    fn check_sets(&self, sets: &[KeySet]) -> Result<(), Verdict> {
        let mut asked = Vec::with_capacity(sets.len());
        let mut met: Option<(Place, TableId)> = None;
        for set in sets {
            let base = self.base(set.base)?;
            if self.table(set.table) > base {
                met = met.max(self.sets.overlapped(set, base).map(|at| (at, set.table)));
                asked.push((base, set));
            }
        }
        let Some(oldest) = asked.iter().map(|(base, _)| *base).min() else { return Ok(()) };
        let mut looked_at = 0;
        for change in self.order.iter().rev().take_while(|change| change.at > oldest) {
            if met.is_some_and(|(at, _)| at >= change.at) {
                break;
            }
            let mine = asked.iter().filter(|(base, set)| {
                (set.table, set.index) == (change.table, change.index) && change.at > *base
            });
            if mine.clone().next().is_none() {
                continue;
            }
            looked_at += 1;
            if looked_at > BULK_KEYS {
                // Everybody else waits: the sender may look at so many.
                met = met.max(Some((change.at, change.table)));
                break;
            }
            // Changes that were followed by another one of the key stand there again.
            let entries = self.shards[shard(change.hash)].iter_hash(change.hash);
            let mut keys = entries.filter(|entry| entry.last() == change.at);
            if keys.any(|entry| {
                mine.clone().any(|(_, set)| {
                    (set.table, set.index) == (entry.table, entry.index)
                        && set.may_contain(entry.key.as_slice())
                })
            }) {
                met = Some((change.at, change.table));
                break;
            }
        }
        match met {
            Some((at, table)) => Err(Verdict::Met { table, at: at.position(self.log) }),
            None if oldest < self.floor => Err(Verdict::TooOld),
            None => Ok(()),
        }
    }

    fn find(&self, table: TableId, index: IndexId, key: &[u8]) -> Option<&Entry> {
        let hash = hash_key(&self.hasher, table, index, key);
        self.shards[shard(hash)].find(hash, |entry| entry.is(table, index, key))
    }

    fn touch(&mut self, table: TableId, at: Place) {
        self.tables.insert(table, at);
        if self.tables.len() > TABLES_MAX {
            self.forget_tables();
        }
    }

    /// Lets the older half of the tables share one position. Rare: once in 32,768 new tables.
    fn forget_tables(&mut self) {
        let mut lasts: Vec<Place> = self.tables.values().copied().collect();
        let (_, &mut median, _) = lasts.select_nth_unstable(TABLES_MAX / 2);
        self.tables_floor = self.tables_floor.max(median);
        self.tables.retain(|_, last| *last > median);
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
        self.order.push_back(Change { hash, at, table, index });
        self.bytes += ORDER_BYTES;
    }

    fn forget_oldest(&mut self) {
        while self.bytes() > self.bytes_max {
            let oldest = self.order.front().map_or(Place::FOREVER, |change| change.at);
            if let Some(at) = self.sets.forget_oldest(oldest) {
                self.floor = self.floor.max(at);
                continue;
            }
            let Some(Change { hash, at, .. }) = self.order.pop_front() else { break };
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
