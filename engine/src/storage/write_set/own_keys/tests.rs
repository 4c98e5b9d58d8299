use std::collections::BTreeMap;

use glaredb_txn::ids::{EntryIndex, LogId};

use super::*;

fn base(index: u64) -> Position {
    Position { log: LogId(1), index: EntryIndex(index), ordinal: 0 }
}

fn writes(keys: &OwnKeys) -> BTreeMap<Vec<u8>, (Mark, u64)> {
    let all: BTreeMap<_, _> =
        keys.written().map(|(key, mark, base)| (key.to_vec(), (mark, base.index.0))).collect();
    assert_eq!(all.len(), keys.written().count(), "each key once");
    for (key, (_, of_key)) in &all {
        assert_eq!(keys.base(key), Some(base(*of_key)));
    }
    all
}

/// Keys of every order and length against a map that says what must come out.
#[test]
fn keys_are_found_in_whatever_order_they_came() {
    let count = 3 * BLOCK_ENTRIES as u64 / 2;
    let ascending: Vec<u64> = (0..count).collect();
    let descending: Vec<u64> = (0..count).rev().collect();
    let scattered: Vec<u64> = (0..count).map(|n| n * 40_503 % 65_537).collect();
    // Ascending for long, then one from the middle.
    let late: Vec<u64> = (0..count).map(|n| 2 * n).chain([3, 5, 2 * count + 1, 7]).collect();
    for order in [ascending, descending, scattered, late, vec![5, 4, 9, 1, 3, 2, 8, 7, 6, 0]] {
        let mut keys = OwnKeys::default();
        let mut expected = BTreeMap::new();
        for (row, n) in order.iter().enumerate() {
            let mut key = n.to_be_bytes().to_vec();
            key.resize(8 + (n % 30) as usize, 1);
            assert_eq!(keys.get(&key), OwnKey::Untouched);
            assert!(keys.insert(&key, row as u32, base(row as u64 / 1000)));
            expected.insert(key, (row as u32, row as u64 / 1000));
        }
        for (key, (row, _)) in &expected {
            assert_eq!(keys.get(key), OwnKey::Row(*row));
            assert_eq!(keys.get(&key[1..]), OwnKey::Untouched);
        }
        let marks = expected.into_iter().map(|(key, (_, base))| (key, (Mark::Added, base)));
        assert_eq!(writes(&keys), marks.collect());
    }
}

#[test]
fn a_key_carries_its_net_effect_and_its_first_base() {
    for many in [false, true] {
        let mut keys = OwnKeys::default();
        let filler: Vec<[u8; 2]> = (0..100).map(|n| [b'x', 100 - n]).collect();
        for key in filler.iter().filter(|_| many) {
            keys.insert(key, 1, base(1));
        }
        assert!(keys.remove(b"b", base(1)));
        assert!(keys.insert(b"a", 2, base(2)));
        assert!(!keys.insert(b"b", 3, base(3)));
        assert!(keys.insert(b"c", 4, base(3)));
        assert!(keys.remove(b"d", base(3)));
        keys.forget_row(b"c", 4);
        keys.forget_row(b"a", 9);
        keys.forget_row(b"none", 1);
        assert_eq!(keys.get(b"a"), OwnKey::Row(2));
        assert_eq!(keys.get(b"b"), OwnKey::Row(3));
        assert_eq!(keys.get(b"c"), OwnKey::Untouched);
        assert_eq!(keys.get(b"d"), OwnKey::Removed);
        let writes = writes(&keys);
        assert_eq!(writes[&b"a"[..]], (Mark::Added, 2));
        assert_eq!(writes[&b"b"[..]], (Mark::Changed, 1));
        assert_eq!(writes[&b"c"[..]], (Mark::Added, 3));
        assert_eq!(writes[&b"d"[..]], (Mark::Removed, 3));
        assert_eq!(writes.len(), if many { 104 } else { 4 });
    }
}
