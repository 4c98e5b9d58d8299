use std::{collections::BTreeMap, sync::Arc};

use glaredb_txn::{
    env::SystemThreads,
    ids::{Locator, SegmentId, TableId, Timestamp},
};

use crate::storage::{
    apply::{Applier, Replayer, replay::tests::replays_alike},
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    chunk::CHUNK_ROWS_MAX,
    record::Control,
    schema::TableSchema,
    state::{LoadedState, State},
    table::Visibility,
    testing::{InMemory, Leader, Seeded, rows_of},
};
use glaredb_txn::commit::state_machine::Apply;

fn key(leader: &Leader, table: TableId, id: i32) -> Vec<u8> {
    let schema = leader.table(table).schema();
    let batch = crate::storage::testing::pairs(&schema, &[(id, "")]);
    crate::storage::testing::keys_of(&schema, &batch).unwrap().get(0).to_vec()
}

fn names(leader: &Leader, table: TableId, at: Timestamp) -> Vec<(i32, String)> {
    leader.rows(table, at).into_iter().map(|(_, id, name)| (id, name)).collect()
}

#[test]
fn a_view_sees_the_commits_up_to_its_timestamp() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let before = leader.now();
    let first = leader.insert(t, &[(1, "one"), (2, "two")]);
    let second = leader.insert(t, &[(3, "three")]);
    let held = leader.table(t).view(second);

    let row = leader.table(t).lookup_now(&key(&leader, t, 2), second).unwrap();
    let mut writes = leader.write_set();
    assert_eq!(leader.remove(&mut writes, t, &[row]), 1);
    assert_eq!(leader.remove(&mut writes, t, &[row]), 0, "deleted by this transaction before");
    let third = leader.commit(writes).unwrap();

    assert!(leader.rows(t, before).is_empty());
    assert_eq!(names(&leader, t, first), [(1, "one".into()), (2, "two".into())]);
    assert_eq!(names(&leader, t, second).len(), 3);
    assert_eq!(names(&leader, t, third), [(1, "one".into()), (3, "three".into())]);
    assert_eq!(held.visible_rows(), 3, "a view stays what it was");

    let table = leader.table(t);
    assert_eq!(table.lookup_now(&key(&leader, t, 2), second), Some(row));
    assert_eq!(table.lookup_now(&key(&leader, t, 2), third), None);
    assert_eq!(table.lookup_now(&key(&leader, t, 3), first), None);
    assert_eq!(table.row_count_estimate(), 2);
}

#[test]
fn a_row_updated_in_place_keeps_its_id_and_chains_under_its_key() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let mut times = vec![leader.insert(t, &[(7, "0")])];
    for n in 1..20 {
        let at = leader.now();
        let row = leader.table(t).lookup_now(&key(&leader, t, 7), at).unwrap();
        let id = leader.table(t).row_ids_now(&[row]).unwrap();
        let mut writes = leader.write_set();
        leader.remove(&mut writes, t, &[row]);
        leader.add(&mut writes, t, &[(7, &n.to_string())], Some(id));
        times.push(leader.commit(writes).unwrap());
    }
    for (n, at) in times.iter().enumerate() {
        assert_eq!(leader.rows(t, *at), [(0, 7, n.to_string())]);
        let row = leader.table(t).lookup_now(&key(&leader, t, 7), *at).unwrap();
        let batch = leader.table(t).fetch_now(&[row], Some(&[1])).unwrap();
        assert_eq!(batch.num_columns(), 1);
    }
    assert_eq!(leader.table(t).stats().index_entries, 20);
    leader.horizon();
    assert_eq!(leader.table(t).stats().index_entries, 1, "old versions are pruned");
    assert_eq!(leader.rows(t, leader.now()), [(0, 7, "19".into())]);
}

#[test]
fn blocks_without_a_visible_row_are_dropped() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let rows: Vec<(i32, &str)> = (0..5000).map(|n| (n, "row")).collect();
    for few in rows.chunks(100) {
        leader.insert(t, few);
    }
    let all = leader.table(t).stats();
    assert_eq!(all.rows_held, 5000);
    let doomed: Vec<Locator> = (0..3000).map(|row| locator(&leader, t, row)).collect();
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &doomed);
    leader.commit(writes).unwrap();
    leader.horizon();
    let left = leader.table(t).stats();
    assert_eq!(left.rows_held, 5000 - 2048, "whole blocks of 1,024 rows go");
    assert_eq!(left.rows_live, 2000);
    assert!(left.chunk_bytes < all.chunk_bytes);
    assert_eq!(leader.rows(t, leader.now()).len(), 2000);
    assert!(leader.table(t).fetch_now(&doomed[..1], None).is_err(), "a dropped row is gone");
}

fn locator(leader: &Leader, table: TableId, row: u32) -> Locator {
    let segment = leader.table(table).view(leader.now()).units()[0].segment();
    Locator { segment, row }
}

#[test]
fn a_full_chunk_is_sealed_into_one_unit_and_thinned_when_mostly_dead() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let rows: Vec<(i32, String)> = (0..70_000).map(|n| (n, format!("name of row {n}"))).collect();
    for many in rows.chunks(7000) {
        let many: Vec<(i32, &str)> = many.iter().map(|(n, s)| (*n, s.as_str())).collect();
        leader.insert(t, &many);
    }
    let view = leader.table(t).view(leader.now());
    assert_eq!(view.units()[0].rows(), CHUNK_ROWS_MAX as usize);
    assert_eq!(view.units()[0].visible(0..65_536), Visibility::All);
    assert_eq!(view.visible_rows(), 70_000);

    let segment = view.units()[0].segment();
    let doomed: Vec<Locator> =
        (0..CHUNK_ROWS_MAX).filter(|r| r % 3 > 0).map(|row| Locator { segment, row }).collect();
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &doomed);
    leader.commit(writes).unwrap();
    let before = leader.rows(t, leader.now());
    leader.horizon();
    let table = leader.table(t);
    assert_eq!(table.stats().rows_held, 70_000 - doomed.len() as u64);
    assert_eq!(leader.rows(t, leader.now()), before);
    let view = table.view(leader.now());
    let unit = &view.units()[0];
    assert_eq!(unit.locator(1), Locator { segment, row: 3 });
    assert_eq!(unit.locator_rows(1..3).values(), &[3, 6]);
    let row = table.lookup_now(&key(&leader, t, 9), leader.now()).unwrap();
    assert_eq!(row, Locator { segment, row: 9 });
    assert_eq!(table.row_ids_now(&[row]).unwrap()[0].0, 9);
}

/// The simplest multi-version table: all versions in a list.
#[derive(Default)]
struct Model {
    /// (row id, id, name), begin, end.
    versions: Vec<((u64, i32, String), u64, u64)>,
}

impl Model {
    fn at(&self, at: u64) -> Vec<(u64, i32, String)> {
        let seen = self.versions.iter().filter(|(_, begin, end)| *begin <= at && *end > at);
        let mut rows: Vec<_> = seen.map(|(row, ..)| row.clone()).collect();
        rows.sort();
        rows
    }
}

struct Walk {
    leader: Leader,
    table: TableId,
    model: Model,
    next_row_id: u64,
    next_id: i32,
    random: Seeded,
}

impl Walk {
    /// One commit: some rows deleted, some updated, some new ones; small or large, in parts or not.
    fn commit(&mut self) {
        let at = self.leader.now();
        let live = self.model.at(at.0);
        let mut writes = self.leader.write_set();
        let mut by_id: BTreeMap<u64, Locator> = BTreeMap::new();
        for unit in self.leader.table(self.table).view(at).units() {
            let ids = unit.row_ids(0..unit.rows());
            (0..unit.rows()).for_each(|n| {
                if unit.visible(n..n + 1) == Visibility::All {
                    by_id.insert(ids.value(n), unit.locator(n));
                }
            });
        }
        assert_eq!(by_id.len(), live.len());
        let mut ended = Vec::new();
        let mut updated = Vec::new();
        let share = self.random.below(4);
        for row in &live {
            if self.random.below(20) < share {
                self.leader.remove(&mut writes, self.table, &[by_id[&row.0]]);
                ended.push(row.0);
                if self.random.below(2) == 0 {
                    updated.push((row.0, row.1, format!("{} again", row.2)));
                }
            }
        }
        if !updated.is_empty() {
            let rows: Vec<_> = updated.iter().map(|(_, id, name)| (*id, name.as_str())).collect();
            let kept = updated.iter().map(|(id, ..)| glaredb_txn::ids::RowId(*id)).collect();
            self.leader.add(&mut writes, self.table, &rows, Some(kept));
        }
        let count = [0, 1, 3, 40, 600][self.random.below(5) as usize];
        let new: Vec<(i32, String)> =
            (0..count).map(|n| (self.next_id + n, format!("row {}", self.next_id + n))).collect();
        self.next_id += count;
        if count > 0 {
            let rows: Vec<_> = new.iter().map(|(id, name)| (*id, name.as_str())).collect();
            self.leader.add(&mut writes, self.table, &rows, None);
        }
        let now = self.leader.commit(writes).unwrap().0;
        for (row, _, end) in &mut self.model.versions {
            if *end == u64::MAX && ended.contains(&row.0) {
                *end = now;
            }
        }
        self.model.versions.extend(updated.into_iter().map(|row| (row, now, u64::MAX)));
        for (id, name) in new {
            self.model.versions.push(((self.next_row_id, id, name), now, u64::MAX));
            self.next_row_id += 1;
        }
    }

    fn check(&self, at: u64) {
        let expected = self.model.at(at);
        assert_eq!(self.leader.rows(self.table, Timestamp(at)), expected, "at {at}");
        let table = self.leader.table(self.table);
        if table.schema().key().is_some() {
            for (_, id, _) in expected.iter().step_by(7) {
                let row = table.lookup_now(&key(&self.leader, self.table, *id), Timestamp(at));
                let row = row.unwrap_or_else(|| panic!("key {id} at {at}"));
                let batch = table.fetch_now(&[row], Some(&[0])).unwrap();
                let ids: &arrow::array::Int32Array =
                    arrow::array::AsArray::as_primitive(batch.column(0));
                assert_eq!(ids.value(0), *id);
            }
        }
    }

    /// Checkpoint, load it, and go on from there.
    fn restart(&mut self) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.leader.applier.on_checkpoint(Box::new(move |_, image| {
            sender.send(image).unwrap();
        }));
        self.leader.control(&Control::CheckpointBegin { number: 1 });
        let image = receiver.recv().unwrap();
        let hash = self.leader.state.hash();
        let state = State::load(Budget::new(BUDGET_BYTES_DEFAULT), LoadedState { image }).unwrap();
        assert_eq!(state.hash(), hash, "what is loaded is what was there");
        let replayer = Replayer::new(Arc::clone(&state), Arc::new(SystemThreads));
        replayer.finish().expect("nothing to replay");
        self.leader = Leader::of(state);
    }
}

#[test]
fn any_walk_agrees_with_a_list_of_versions() {
    for seed in 0..12 {
        let mut leader = Leader::new();
        let table = leader.create(1, seed % 2 == 0);
        let mut walk = Walk {
            leader,
            table,
            model: Model::default(),
            next_row_id: 0,
            next_id: 0,
            random: Seeded(seed),
        };
        let mut oldest = walk.leader.now;
        for _ in 0..60 {
            match walk.random.below(12) {
                0 => {
                    walk.leader.horizon();
                    oldest = walk.leader.now - 1;
                }
                1 => {
                    walk.restart();
                    oldest = walk.leader.now;
                }
                _ => walk.commit(),
            }
            let back = walk.random.below(walk.leader.now - oldest + 1);
            walk.check(walk.leader.now - back);
            walk.check(walk.leader.now);
        }
    }
}

#[test]
fn the_same_log_makes_the_same_state() {
    let mut leader = Leader::new();
    let table = leader.create(1, true);
    let mut walk = Walk {
        leader,
        table,
        model: Model::default(),
        next_row_id: 0,
        next_id: 0,
        random: Seeded(99),
    };
    for step in 0..40 {
        walk.commit();
        if step % 9 == 0 {
            walk.leader.horizon();
        }
    }
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut applier = Applier::new(std::sync::Arc::clone(&state));
    for (position, record) in &walk.leader.log {
        applier.apply(*position, record).unwrap();
    }
    assert_eq!(state.hash(), walk.leader.state.hash());
    assert_ne!(state.hash(), 0);
    assert_eq!(state.applied(), walk.leader.state.applied());
    assert_eq!(state.next_segment(), walk.leader.state.next_segment());
    let at = walk.leader.now();
    assert_eq!(rows_of(&state.table(table).unwrap(), at), walk.leader.rows(table, at));
    replays_alike(&walk.leader);
}

#[test]
fn a_locator_that_was_never_given_out_is_refused() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(1, "one")]);
    let table = leader.table(t);
    let at = leader.now();
    let wrong_segment = Locator { segment: SegmentId(999), row: 0 };
    assert!(table.fetch_now(&[wrong_segment], None).is_err());
    let wrong_row = Locator { row: 5, ..locator(&leader, t, 0) };
    assert!(table.fetch_now(&[wrong_row], None).is_err());
    assert!(table.row_ids_now(&[wrong_row]).is_err());
    assert_eq!(table.fetch_now(&[], None).unwrap().num_rows(), 0);
    assert_eq!(table.lookup_now(b"no key", at), None);
}

/// The index that ALTER TABLE built beforehand is used if nothing was written since, else a new one:
/// what is found by key is the same.
#[test]
fn an_index_prepared_for_a_key_is_used_only_while_it_is_whole() {
    for written_since in [false, true] {
        let mut leader = Leader::new();
        let t = leader.create(1, false);
        let rows: Vec<(i32, &str)> = (0..3_000).map(|n| (n, "row")).collect();
        let at = leader.insert(t, &rows);
        let dead = leader.table(t).view(at).units()[0].locator(7);
        let mut writes = leader.write_set();
        leader.remove(&mut writes, t, &[dead]);
        let at = leader.commit(writes).unwrap();

        let change = leader.pairs_change(1, t, 2, true);
        let schema = TableSchema::from_descriptor(&change.upsert_tables[0]).unwrap();
        leader.table(t).prepare_index(&schema, at).unwrap();
        assert!(leader.table(t).prepared_bytes() > 0);
        assert!(leader.table(t).take_prepared(&[1]).is_none(), "of another column");
        leader.table(t).prepare_index(&schema, at).unwrap();
        assert!(leader.table(t).take_prepared(&[0]).is_some());
        leader.table(t).prepare_index(&schema, at).unwrap();
        if written_since {
            leader.insert(t, &[(5_000, "later")]);
            assert!(leader.table(t).take_prepared(&[0]).is_none(), "a row came since");
            leader.table(t).prepare_index(&schema, at).unwrap();
        }
        let mut writes = leader.write_set();
        writes.change_catalog(change);
        let altered = leader.commit(writes).unwrap();
        let table = leader.table(t);
        assert_eq!(table.prepared_bytes(), 0);
        let found = |id| table.lookup_now(&key(&leader, t, id), altered).is_some();
        assert!(found(0) && found(2_999) && !found(7));
        assert_eq!(found(5_000), written_since);
        assert_eq!(table.stats().index_entries, 2_999 + u64::from(written_since));
    }
}

/// A statement that gave up leaves nothing behind once its snapshot is gone.
#[test]
fn an_index_that_nobody_comes_for_is_forgotten() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let at = leader.insert(t, &[(1, "one")]);
    let change = leader.pairs_change(1, t, 2, true);
    let schema = TableSchema::from_descriptor(&change.upsert_tables[0]).unwrap();
    leader.table(t).prepare_index(&schema, at).unwrap();
    leader.insert(t, &[(2, "two")]);
    leader.horizon();
    assert_eq!(leader.table(t).prepared_bytes(), 0);
}
