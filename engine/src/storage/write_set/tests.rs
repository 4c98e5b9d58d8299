use glaredb_txn::{
    commit::message::Mark,
    ids::{Locator, Position, RowId},
};

use super::{Deletion, OWN_ROWS, OwnKey, PART_BYTES};
use crate::storage::{
    StorageError,
    budget::Budget,
    testing::{Leader, keys_of, pairs},
    write_set::WriteSet,
};

fn own(row: u32) -> Locator {
    Locator { segment: OWN_ROWS, row }
}

#[test]
fn own_rows_are_seen_deleted_and_never_sent_twice() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let schema = leader.table(t).schema();
    let mut writes = leader.write_set();
    assert!(writes.is_empty());
    leader.add(&mut writes, t, &[(1, "one"), (2, "two")], None);
    leader.add(&mut writes, t, &[(3, "three")], None);
    let key = |id| keys_of(&schema, &pairs(&schema, &[(id, "")])).unwrap();
    assert_eq!(writes.table(t).unwrap().own_key(key(2).get(0)), OwnKey::Row(1));
    assert_eq!(writes.table(t).unwrap().own_key(key(9).get(0)), OwnKey::Untouched);

    let rows = Deletion { locators: &[own(1)], row_ids: &[RowId(0)], keys: Some(&key(2)) };
    assert_eq!(writes.delete(t, None, &schema, rows, Position::ZERO).unwrap(), 1);
    assert_eq!(writes.delete(t, None, &schema, rows, Position::ZERO).unwrap(), 0);
    let table = writes.table(t).unwrap();
    assert_eq!(table.own_key(key(2).get(0)), OwnKey::Untouched);
    assert!(table.is_deleted(own(1)) && !table.is_deleted(own(0)) && table.is_deleted(own(99)));
    let batches = table.own_batches();
    assert_eq!((batches[0].first, batches[1].first), (0, 2));
    let alive: Vec<bool> = batches[0].alive.as_ref().unwrap().iter().collect();
    assert_eq!(alive, [true, false]);

    let at = leader.commit(writes).unwrap();
    let names: Vec<String> = leader.rows(t, at).into_iter().map(|row| row.2).collect();
    assert_eq!(names, ["one", "three"]);
}

#[test]
fn each_key_is_written_once_with_its_net_effect() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(1, "one"), (2, "two")]);
    let unit = leader.table(t).view(leader.now()).units()[0].clone();
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[unit.locator(0), unit.locator(1)]);
    let locator = unit.locator(0);
    assert!(writes.table(t).unwrap().is_deleted(locator));
    assert!(writes.table(t).unwrap().deletes_in(locator.segment));
    assert!(!writes.table(t).unwrap().deletes_in(OWN_ROWS));
    leader.add(&mut writes, t, &[(1, "uno"), (3, "tre")], None);
    let encoded = writes.finish().unwrap();
    let mut marks: Vec<(Vec<u8>, Mark)> =
        encoded.writes.iter().map(|write| (write.key.to_vec(), write.mark)).collect();
    marks.sort_by(|a, b| a.0.cmp(&b.0));
    let marks: Vec<Mark> = marks.into_iter().map(|(_, mark)| mark).collect();
    assert_eq!(marks, [Mark::Changed, Mark::Removed, Mark::Added]);
    assert!(encoded.parts.is_empty() && encoded.unkeyed.is_empty());
}

#[test]
fn a_table_without_key_writes_the_row_ids_it_changed() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    leader.insert(t, &[(1, "one"), (2, "two"), (3, "three")]);
    let unit = leader.table(t).view(leader.now()).units()[0].clone();
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[unit.locator(0), unit.locator(2)]);
    leader.add(&mut writes, t, &[(3, "tre")], Some(vec![RowId(2)]));
    leader.add(&mut writes, t, &[(4, "four")], None);
    let encoded = writes.finish().unwrap();
    let marks: Vec<(Vec<u8>, Mark)> =
        encoded.writes.iter().map(|write| (write.key.to_vec(), write.mark)).collect();
    let key = |id: u64| id.to_be_bytes().to_vec();
    assert_eq!(marks, [(key(0), Mark::Removed), (key(2), Mark::Changed)]);

    let mut writes = leader.write_set();
    leader.add(&mut writes, t, &[(5, "five")], None);
    let encoded = writes.finish().unwrap();
    assert!(encoded.writes.is_empty());
    assert_eq!(encoded.unkeyed, [t]);
}

#[test]
fn memory_counts_against_the_budget_until_the_write_set_is_gone() {
    let mut leader = Leader::with_budget(1 << 20);
    let t = leader.create(1, true);
    let schema = leader.table(t).schema();
    let budget = leader.state.budget().clone();
    let text = "x".repeat(1000);
    let rows: Vec<(i32, &str)> = (0..200).map(|n| (n, text.as_str())).collect();
    let mut writes = leader.write_set();
    leader.add(&mut writes, t, &rows, None);
    assert!(budget.write_set_bytes() > 200_000);
    assert_eq!(budget.write_set_bytes(), writes.memory_bytes());
    let mut refused = None;
    for first in 1..20 {
        let rows: Vec<(i32, &str)> = (0..200).map(|n| (first * 1000 + n, text.as_str())).collect();
        let batch = pairs(&schema, &rows);
        let keys = keys_of(&schema, &batch);
        if let Err(e) = writes.insert(t, &schema, batch, None, keys.as_ref(), Position::ZERO) {
            refused = Some(e);
            break;
        }
    }
    assert!(matches!(refused, Some(StorageError::OutOfMemory(_))), "{refused:?}");
    assert!(budget.delay().is_some());
    drop(writes);
    assert_eq!(budget.write_set_bytes(), 0);
    assert_eq!(budget.delay(), None);
}

#[test]
fn rows_of_very_different_sizes_fit_parts() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let large = "y".repeat(PART_BYTES - 1000);
    let mut rows: Vec<(i32, &str)> = (0..20_000).map(|n| (n, "a small row")).collect();
    rows[19_990].1 = &large;
    rows[19_995].1 = &large;
    let mut writes = leader.write_set();
    leader.add(&mut writes, t, &rows, None);
    let at = leader.commit(writes).unwrap();
    let found = leader.rows(t, at);
    assert_eq!(found.len(), 20_000);
    assert_eq!(found[19_995].2.len(), large.len());

    let schema = leader.table(t).schema();
    let too_large = "z".repeat(2 * PART_BYTES);
    let batch = pairs(&schema, &[(1, "small"), (2, &too_large)]);
    let mut writes = leader.write_set();
    let error = writes.insert(t, &schema, batch, None, None, Position::ZERO).unwrap_err();
    assert!(matches!(error, StorageError::RowTooLarge { .. }), "{error}");
    assert!(writes.is_empty());
}

/// What packs well gives parts that are as long as others: each is an entry of the log.
#[test]
fn parts_are_filled_whatever_the_rows_pack_to() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let schema = leader.table(t).schema();
    let text = "the same text in each of many rows".repeat(3);
    let mut writes = leader.write_set();
    let mut sizes = Vec::new();
    for _ in 0..40 {
        let rows: Vec<(i32, &str)> = (0..8_000).map(|n| (n, text.as_str())).collect();
        let batch = pairs(&schema, &rows);
        writes.insert(t, &schema, batch, None, None, Position::ZERO).unwrap();
        sizes.extend(writes.drain_parts().unwrap().iter().map(|part| part.payload().len()));
        let waiting = writes.memory_bytes();
        assert!(waiting < 16 * PART_BYTES as u64, "{waiting} bytes wait to be sent");
    }
    // 320,000 rows of three packed bytes. By the estimate alone it would be 44 parts.
    assert!((2..=8).contains(&sizes.len()), "{sizes:?}");
}

#[test]
fn a_large_deletion_goes_in_parts() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let rows: Vec<(i32, &str)> = (0..120_000).map(|n| (n, "row")).collect();
    for some in rows.chunks(30_000) {
        leader.insert(t, some);
    }
    let before = leader.now();
    let mut writes = leader.write_set();
    for unit in leader.table(t).view(before).units() {
        let locators: Vec<Locator> = (0..unit.rows()).map(|n| unit.locator(n)).collect();
        leader.remove(&mut writes, t, &locators[1..]);
    }
    let parts = leader.log.len();
    let at = leader.commit(writes).unwrap();
    assert!(leader.log.len() > parts + 2, "several parts");
    assert!(leader.rows(t, at).len() < 10);
    assert_eq!(leader.rows(t, before).len(), 120_000);
    leader.horizon();
    assert!(leader.table(t).stats().index_entries < 10);
}

#[test]
fn what_does_not_fit_the_table_is_refused() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let other = leader.create(2, false);
    let schema = leader.table(t).schema();
    let batch = pairs(&schema, &[(1, "one")]);
    let mut writes = WriteSet::new(Budget::new(1 << 20));
    let unkeyed = writes.insert(t, &schema, batch.clone(), None, None, Position::ZERO);
    assert!(matches!(unkeyed, Err(StorageError::SchemaMismatch { .. })));
    let narrow = batch.project(&[0]).unwrap();
    let keys = keys_of(&schema, &batch);
    let narrow = writes.insert(t, &schema, narrow, None, keys.as_ref(), Position::ZERO);
    assert!(matches!(narrow, Err(StorageError::SchemaMismatch { .. })));
    let schema = leader.table(other).schema();
    let rows = Deletion { locators: &[own(0)], row_ids: &[], keys: None };
    assert!(writes.delete(other, None, &schema, rows, Position::ZERO).is_err());
    assert!(writes.is_empty());
}
