use std::sync::Arc;

use glaredb_txn::{
    commit::{record::Record, state_machine::Apply},
    env::{SystemThreads, Threads},
    ids::{EntryIndex, LogId, Position, TableId, Timestamp},
    sim::SimThreads,
};

use super::Replayer;
use crate::storage::{
    apply::Applier,
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    record::Control,
    state::State,
    testing::{InMemory, Leader, Seeded, keys_of, pairs, rows_of},
};

fn replayed(
    log: &[(Position, Record)],
    threads: Arc<dyn Threads>,
    records: usize,
) -> (Arc<State>, Applier) {
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut replayer = Replayer::new(Arc::clone(&state), threads);
    for piece in log.chunks(records) {
        replayer.replay(piece).unwrap();
        assert_eq!(state.applied().0, piece.last().unwrap().0);
    }
    (state, replayer.finish().unwrap())
}

/// The leader's log, replayed in pieces of several sizes, makes the leader's state, and one that can
/// be found by its keys.
pub(in crate::storage) fn replays_alike(leader: &Leader) {
    let threads: [Arc<dyn Threads>; 2] = [Arc::new(SystemThreads), Arc::new(SimThreads::default())];
    for (threads, records) in threads.iter().flat_map(|t| [1, 7, usize::MAX].map(|n| (t, n))) {
        let (state, _applier) = replayed(&leader.log, Arc::clone(threads), records);
        assert_eq!(state.hash(), leader.state.hash());
        assert_eq!(state.applied(), leader.state.applied());
        assert_eq!(state.horizon(), leader.state.horizon());
        assert_eq!(state.next_segment(), leader.state.next_segment());
        let ids = |state: &State| state.tables().iter().map(|t| t.id()).collect::<Vec<_>>();
        assert_eq!(ids(&state), ids(&leader.state));
        let catalog = leader.state.catalog();
        for table in leader.state.tables() {
            if catalog.table_by_storage(table.id()).is_some() {
                alike(leader, &state, table.id());
            }
        }
    }
}

fn alike(leader: &Leader, state: &State, table: TableId) {
    let (theirs, mine) = (leader.table(table), state.table(table).unwrap());
    assert_eq!(mine.next_row_id(), theirs.next_row_id());
    assert_eq!(mine.row_count_estimate(), theirs.row_count_estimate());
    let segments = |table: &crate::storage::table::Table| {
        let image = |segment: &Arc<crate::storage::table::TableSegment>| {
            let (image, rows) = (segment.image(), segment.rows());
            let ended = (0..rows).filter(|row| segment.deletions().end(*row) < Timestamp::INFINITY);
            (image.segment, image.fingerprint, image.meta, ended.collect::<Vec<_>>())
        };
        table.segments().iter().map(image).collect::<Vec<_>>()
    };
    assert_eq!(segments(&mine), segments(&theirs));
    let place = |open: Option<(_, u64)>| open.map(|(place, _)| place);
    assert_eq!(place(mine.open_chunk()), place(theirs.open_chunk()));
    let at = leader.now();
    let rows = rows_of(&mine, at);
    assert_eq!(rows, rows_of(&theirs, at));
    let schema = mine.schema();
    if schema.key().is_none() {
        assert_eq!(mine.stats().index_entries, 0);
        return;
    }
    assert!(mine.stats().index_entries >= rows.len() as u64);
    for (row_id, id, _) in rows.iter().step_by(rows.len() / 1_000 + 1) {
        let key = keys_of(&schema, &pairs(&schema, &[(*id, "")])).unwrap();
        let found = mine.lookup_now(key.get(0), at).unwrap_or_else(|| panic!("key {id}"));
        assert_eq!(Some(found), theirs.lookup_now(key.get(0), at));
        assert_eq!(mine.row_ids_now(&[found]).unwrap()[0].0, *row_id);
    }
}

/// Updates of a few rows in some of the tables, again and again: what TPC-B does.
fn many_small_commits(seed: u64, commits: u32) -> (Leader, [TableId; 3]) {
    let mut leader = Leader::new();
    let tables = [leader.create(1, true), leader.create(2, true), leader.create(3, false)];
    for table in &tables[..2] {
        let rows: Vec<(i32, &str)> = (0..50).map(|n| (n, "first")).collect();
        leader.insert(*table, &rows);
    }
    let mut random = Seeded(seed);
    for n in 0..commits {
        let mut writes = leader.write_set();
        let name = format!("row of commit {n}");
        for table in &tables[..1 + random.below(2) as usize] {
            let stored = leader.table(*table);
            let schema = stored.schema();
            let id = random.below(50) as i32;
            let key = keys_of(&schema, &pairs(&schema, &[(id, "")])).unwrap();
            let row = stored.lookup_now(key.get(0), leader.now()).unwrap();
            let ids = stored.row_ids_now(&[row]).unwrap();
            leader.remove(&mut writes, *table, &[row]);
            leader.add(&mut writes, *table, &[(id, &name)], Some(ids));
        }
        leader.add(&mut writes, tables[2], &[(n as i32, &name)], None);
        leader.commit(writes).unwrap();
        match random.below(400) {
            0..4 => leader.horizon(),
            4 => {
                let number = u64::from(n);
                leader.control(&Control::CheckpointBegin { number });
                let catalog = leader.state.catalog();
                let tables = leader.state.tables().into_iter();
                let hashes = tables
                    .filter(|table| catalog.table_by_storage(table.id()).is_some())
                    .map(|table| (table.id(), table.state_hash()))
                    .collect();
                leader.control(&Control::StateHashes { number, hashes });
            }
            _ => {}
        }
    }
    (leader, tables)
}

#[test]
fn many_small_commits_replay_to_what_applying_them_made() {
    for seed in 0..2 {
        let (leader, _) = many_small_commits(seed, 3_000);
        replays_alike(&leader);
    }
}

/// Dead versions go as the replay goes on, whatever the horizon: memory does not follow the log.
#[test]
fn what_nobody_will_see_is_not_kept() {
    let (mut leader, tables) = many_small_commits(5, 9_000);
    leader.log.retain(|(_, record)| matches!(record, Record::Commit { .. }));
    let (state, _applier) = replayed(&leader.log, Arc::new(SystemThreads), 1_000);
    let hot = state.table(tables[0]).unwrap().stats();
    assert_eq!(hot.rows_live, 50);
    assert!(hot.rows_held < 6_000, "{} of 9,050 versions are held", hot.rows_held);
    assert_eq!(hot.index_entries, 50);
    assert_eq!(state.table(tables[2]).unwrap().stats().rows_held, 9_000);
}

#[test]
fn the_first_record_that_fails_is_named_whichever_table_it_concerns() {
    let (leader, _) = many_small_commits(1, 400);
    let mut log = leader.log.clone();
    // Its rows are placed where those of the record before are, its deleted row is deleted.
    let again = |log: &mut Vec<(Position, Record)>, from: usize, to: usize| {
        log[to].1 = log[from].1.clone();
    };
    again(&mut log, 350, 380);
    again(&mut log, 100, 300);
    let damaged = log[300].0;
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut serial = Applier::new(Arc::clone(&state));
    let expected = log.iter().find_map(|(at, record)| serial.apply(*at, record).err()).unwrap();
    assert_eq!(expected.position, damaged);

    for records in [1, 50, usize::MAX] {
        let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
        let mut replayer = Replayer::new(state, Arc::new(SystemThreads));
        let error = log.chunks(records).find_map(|piece| replayer.replay(piece).err()).unwrap();
        assert_eq!(error.position, damaged, "{error}");
    }

    // A record that does not decode comes after it, and is not what is told.
    if let Record::Commit { payload, .. } = &mut log[320].1 {
        *payload = bytes::Bytes::from_static(b"?");
    }
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut replayer = Replayer::new(state, Arc::new(SystemThreads));
    assert_eq!(replayer.replay(&log).unwrap_err().position, damaged);
}

#[test]
fn hashes_that_differ_from_the_log_end_a_replay() {
    let (mut leader, tables) = many_small_commits(2, 300);
    leader.control(&Control::CheckpointBegin { number: 1_000 });
    let hashes = tables.map(|table| (table, leader.table(table).state_hash() + 1));
    let control = Control::StateHashes { number: 1_000, hashes: hashes.to_vec() };
    let position = Position::new(LogId(0), EntryIndex(leader.log.len() as u64 + 1), 0);
    let timestamp = Timestamp(leader.now + 1);
    leader.log.push((position, Record::Control { timestamp, payload: control.encode() }));
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut replayer = Replayer::new(state, Arc::new(SystemThreads));
    let error = replayer.replay(&leader.log).unwrap_err();
    assert_eq!(error.position, position);
    assert!(error.reason.contains("state hash"), "{error}");
}
