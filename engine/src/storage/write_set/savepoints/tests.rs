//! Random writes with savepoints, compared with a write set that got only what was not undone.

use glaredb_txn::ids::{Locator, Position, RowId, TableId};

use super::Savepoint;
use crate::storage::{
    testing::{Leader, Seeded, keys_of, pairs},
    write_set::{Deletion, OWN_ROWS, OwnKey, WriteSet},
};

const STORED: i32 = 30;

#[derive(Clone, Debug)]
enum Op {
    /// Rows with ids from the first on; of the table without key they may keep a row id.
    Insert(TableId, i32, usize, Option<RowId>),
    /// The row with this id lies there.
    Delete(TableId, Locator, i32),
    Discard(TableId),
}

struct Bench {
    leader: Leader,
    keyed: TableId,
    unkeyed: TableId,
    /// Stored rows of both tables, by id.
    stored: Vec<Locator>,
}

impl Bench {
    fn new() -> Self {
        let mut leader = Leader::new();
        let (keyed, unkeyed) = (leader.create(1, true), leader.create(2, false));
        let rows: Vec<(i32, &str)> = (0..STORED).map(|id| (id, "stored")).collect();
        for table in [keyed, unkeyed] {
            leader.insert(table, &rows);
        }
        let unit = leader.table(keyed).view(leader.now()).units()[0].clone();
        let stored = (0..STORED as usize).map(|row| unit.locator(row)).collect();
        Self { leader, keyed, unkeyed, stored }
    }

    fn apply(&self, writes: &mut WriteSet, op: &Op) {
        match op {
            Op::Insert(table, first, count, kept) => {
                let rows: Vec<(i32, &str)> =
                    (*first..).take(*count).map(|id| (id, "own")).collect();
                let kept = kept.map(|id| vec![id; *count]);
                self.leader.add(writes, *table, &rows, kept);
            }
            Op::Delete(table, locator, id) => {
                let schema = self.leader.table(*table).schema();
                let keys = keys_of(&schema, &pairs(&schema, &[(*id, "")]));
                let row_ids = &[RowId(u64::from(locator.row))];
                let rows = Deletion { locators: &[*locator], row_ids, keys: keys.as_ref() };
                let deleted = writes.delete(*table, None, &schema, rows, Position::ZERO);
                assert_eq!(deleted.expect("the row can be deleted"), 1, "{op:?}");
            }
            Op::Discard(table) => writes.discard(*table),
        }
    }

    fn own_key(&self, writes: &WriteSet, id: i32) -> OwnKey {
        let schema = self.leader.table(self.keyed).schema();
        let keys = keys_of(&schema, &pairs(&schema, &[(id, "")])).expect("the table has a key");
        writes.table(self.keyed).map_or(OwnKey::Untouched, |own| own.own_key(keys.get(0)))
    }

    /// Something that can be done to `writes`.
    fn op(&self, writes: &WriteSet, random: &mut Seeded) -> Op {
        if random.below(60) == 0 {
            let table = if random.below(2) == 0 { self.keyed } else { self.unkeyed };
            return Op::Discard(table);
        }
        let id = random.below(2 * STORED as u64) as i32;
        if random.below(2) == 0 {
            return match self.own_key(writes, id) {
                OwnKey::Row(row) => Op::Delete(self.keyed, own(row), id),
                OwnKey::Untouched if id < STORED => {
                    Op::Delete(self.keyed, self.stored[id as usize], id)
                }
                _ => Op::Insert(self.keyed, id, 1, None),
            };
        }
        let writes = writes.table(self.unkeyed);
        let (row, gone) = match self.stored.get(id as usize) {
            Some(stored) => (*stored, writes.is_some_and(|own| own.is_deleted(*stored))),
            None => {
                let row = own(id as u32 - STORED as u32);
                (row, writes.is_none_or(|own| own.is_deleted(row)))
            }
        };
        if gone {
            let kept = (random.below(3) == 0).then(|| RowId(random.below(STORED as u64)));
            let count = if kept.is_some() { 1 } else { 1 + random.below(4) as usize };
            return Op::Insert(self.unkeyed, id, count, kept);
        }
        Op::Delete(self.unkeyed, row, id)
    }

    /// Both can be read alike.
    fn assert_alike(&self, writes: &WriteSet, replayed: &WriteSet, seed: u64) {
        for id in 0..2 * STORED {
            let (a, b) = (self.own_key(writes, id), self.own_key(replayed, id));
            assert_eq!(a, b, "seed {seed}, key {id}");
        }
        for table in [self.keyed, self.unkeyed] {
            let batches = |writes: &WriteSet| {
                let own = writes.table(table);
                let batches = own.map(|own| own.own_batches()).unwrap_or_default();
                let mut rows = Vec::new();
                for own in batches {
                    let alive = |n| own.alive.as_ref().is_none_or(|alive| alive.value(n));
                    rows.extend((0..own.batch.num_rows()).filter(|n| alive(*n)).map(|n| {
                        let kept = own.row_ids.as_ref().map(|ids| ids[n]);
                        (own.first + n as u32, kept, format!("{:?}", own.batch.slice(n, 1)))
                    }));
                }
                rows
            };
            assert_eq!(batches(writes), batches(replayed), "seed {seed}");
            for locator in &self.stored {
                let deleted = |writes: &WriteSet| {
                    let own = writes.table(table);
                    own.map(|own| (own.is_deleted(*locator), own.deletes_in(locator.segment)))
                        .unwrap_or_default()
                };
                assert_eq!(deleted(writes), deleted(replayed), "seed {seed}, {locator:?}");
            }
        }
        assert_eq!(writes.is_empty(), replayed.is_empty(), "seed {seed}");
    }

    fn replay(&self, done: &[Op]) -> WriteSet {
        let mut writes = self.leader.write_set();
        done.iter().for_each(|op| self.apply(&mut writes, op));
        writes
    }
}

fn own(row: u32) -> Locator {
    Locator { segment: OWN_ROWS, row }
}

/// Every byte that would be sent.
fn sent(writes: WriteSet) -> String {
    let encoded = writes.finish().expect("the writes are well-formed");
    let keys: Vec<String> = encoded.writes.iter().map(|write| format!("{write:?}")).collect();
    let rest = (encoded.parts, encoded.schema_versions, encoded.unkeyed, encoded.payload);
    format!("{keys:?} {rest:?}")
}

#[test]
fn a_rewound_write_set_is_the_one_it_was() {
    let bench = Bench::new();
    for seed in 1..=150_u64 {
        let mut random = Seeded(seed);
        let mut writes = bench.leader.write_set();
        let mut done: Vec<Op> = Vec::new();
        let mut savepoints: Vec<(Savepoint, usize)> = Vec::new();
        // Enough keys at first that more come in blocks of their own.
        if seed % 50 == 0 {
            done.push(Op::Insert(bench.keyed, 1000, 32_760, None));
            bench.apply(&mut writes, &done[0]);
        }
        for step in 0..300_i32 {
            match random.below(12) {
                0 => savepoints.push((writes.set_savepoint().expect("it fits"), done.len())),
                1 if !savepoints.is_empty() => {
                    let at = random.below(savepoints.len() as u64) as usize;
                    savepoints.truncate(at + 1);
                    let (savepoint, length) = &savepoints[at];
                    writes.rewind(savepoint);
                    done.truncate(*length);
                }
                2 if !savepoints.is_empty() => {
                    let at = random.below(savepoints.len() as u64) as usize;
                    for (savepoint, _) in savepoints.split_off(at).iter().rev() {
                        writes.release_savepoint(savepoint, at == 0);
                    }
                }
                3 if step % 4 == 0 => {
                    let first = 1000 + 100 * (step + 500);
                    let op = Op::Insert(bench.keyed, first, 40, None);
                    bench.apply(&mut writes, &op);
                    done.push(op);
                }
                _ => {
                    let op = bench.op(&writes, &mut random);
                    bench.apply(&mut writes, &op);
                    done.push(op);
                }
            }
            if step % 30 == 0 {
                bench.assert_alike(&writes, &bench.replay(&done), seed);
            }
        }
        for (savepoint, _) in savepoints.iter().rev() {
            writes.release_savepoint(savepoint, true);
        }
        let replayed = bench.replay(&done);
        bench.assert_alike(&writes, &replayed, seed);
        assert!(writes.memory_bytes() <= replayed.memory_bytes(), "seed {seed}");
        assert_eq!(sent(writes), sent(replayed), "seed {seed}");
    }
}

#[test]
fn savepoints_without_end_meet_the_budget() {
    let mut leader = Leader::with_budget(1 << 20);
    let t = leader.create(1, true);
    let mut writes = leader.write_set();
    leader.add(&mut writes, t, &[(1, "one")], None);
    let before = writes.memory_bytes();
    let mut set = Vec::new();
    while let Ok(savepoint) = writes.set_savepoint() {
        set.push(savepoint);
        assert!(set.len() < 100_000, "memory of savepoints is not counted");
    }
    for savepoint in set.drain(1..).rev() {
        writes.release_savepoint(&savepoint, false);
    }
    writes.release_savepoint(&set[0], true);
    assert_eq!(writes.memory_bytes(), before);
}
