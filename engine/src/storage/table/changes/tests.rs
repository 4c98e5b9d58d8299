use futures::executor::block_on;
use glaredb_txn::ids::{Locator, TableId};

use super::*;
use crate::storage::testing::{InMemory, Leader, keys_of, no_objects, pairs};

/// The keys that changed, each with its last change, in order.
fn changes(leader: &Leader, table: TableId, interval: Interval) -> Vec<(Vec<u8>, Timestamp)> {
    let mut found: BTreeMap<Vec<u8>, Timestamp> = BTreeMap::new();
    let see = |key: &[u8], at: Timestamp| {
        let last = found.entry(key.to_vec()).or_insert(at);
        *last = at.max(*last);
        ControlFlow::Continue(())
    };
    let warmed = no_objects();
    block_on(leader.table(table).changed_keys(warmed.store(), interval, see)).expect("in memory");
    found.into_iter().collect()
}

fn key(leader: &Leader, table: TableId, id: i32) -> Vec<u8> {
    let schema = leader.table(table).schema();
    let keys = keys_of(&schema, &pairs(&schema, &[(id, "")])).expect("the table has a key");
    keys.get(0).to_vec()
}

/// The row with this id, in a table without deletions before it.
fn place(leader: &Leader, table: TableId, row: usize) -> Locator {
    leader.table(table).view(leader.now()).units()[0].locator(row)
}

#[test]
fn keys_that_came_and_went_in_the_interval_are_shown_with_their_last_change() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let first = leader.insert(t, &[(1, "one"), (2, "two"), (3, "three")]);
    let second = leader.insert(t, &[(4, "four"), (5, "five")]);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[place(&leader, t, 0), place(&leader, t, 3)]);
    let third = leader.commit(writes).expect("rows are deleted");
    let fourth = leader.insert(t, &[(1, "again")]);

    let between = |since, until| changes(&leader, t, Interval { since, until });
    let keys = |ids: &[(i32, Timestamp)]| -> Vec<(Vec<u8>, Timestamp)> {
        ids.iter().map(|(id, at)| (key(&leader, t, *id), *at)).collect()
    };
    assert_eq!(between(first, second), keys(&[(4, second), (5, second)]));
    assert_eq!(between(second, third), keys(&[(1, third), (4, third)]));
    let came_and_went = keys(&[(1, third), (4, third), (5, second)]);
    assert_eq!(between(first, third), came_and_went);
    assert_eq!(between(third, fourth), keys(&[(1, fourth)]));
    assert_eq!(between(fourth, fourth), []);
    let all = keys(&[(1, fourth), (2, first), (3, first), (4, third), (5, second)]);
    assert_eq!(between(Timestamp::ZERO, fourth), all);
}

#[test]
fn rows_without_a_key_are_known_by_their_ids() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let first = leader.insert(t, &[(7, "seven"), (8, "eight")]);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[place(&leader, t, 1)]);
    let second = leader.commit(writes).expect("a row is deleted");
    let row = leader.table(t).row_ids_now(&[place(&leader, t, 1)]).expect("it lies there")[0];
    let interval = Interval { since: first, until: second };
    assert_eq!(changes(&leader, t, interval), [(row.0.to_be_bytes().to_vec(), second)]);
}

#[test]
fn who_has_seen_enough_sees_no_more() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let first = leader.insert(t, &[(1, "one"), (2, "two")]);
    let mut seen = 0;
    let see = |_: &[u8], _| {
        seen += 1;
        ControlFlow::Break(())
    };
    let interval = Interval { since: Timestamp::ZERO, until: first };
    let warmed = no_objects();
    block_on(leader.table(t).changed_keys(warmed.store(), interval, see)).expect("in memory");
    assert_eq!(seen, 1);
}
