use std::collections::BTreeMap;

use glaredb_txn::ids::{Locator, SegmentId};

use super::{IndexedKey, KeyIndex, Walk};
use crate::storage::testing::Seeded;

fn locator(n: u64) -> Locator {
    Locator { segment: SegmentId(n >> 16), row: n as u32 & 0xffff }
}

fn all(index: &KeyIndex, key: &[u8]) -> Vec<Locator> {
    let mut found = Vec::new();
    index.find(key, |locator| {
        found.push(locator);
        false
    });
    found
}

#[test]
fn it_agrees_with_a_map_of_lists() {
    let mut random = Seeded(1);
    let index = KeyIndex::default();
    let mut model: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for n in 0..60_000_u64 {
        // Short keys, keys that share 15 bytes and differ behind, and prefixes of one another.
        let id = random.below(3000);
        let mut key = match id % 3 {
            0 => id.to_be_bytes()[4..].to_vec(),
            1 => [&[7; 15][..], &id.to_be_bytes()].concat(),
            _ => vec![9; (id % 30) as usize],
        };
        if random.below(50) == 0 {
            key.push(0);
        }
        let versions = model.entry(key.clone()).or_default();
        if random.below(5) < 3 || versions.is_empty() {
            index.insert(&key, locator(n));
            versions.push(n);
        } else {
            let gone = versions.remove(random.below(versions.len() as u64) as usize);
            assert!(index.remove(&key, locator(gone)));
            assert!(!index.remove(&key, locator(gone)), "it is gone");
        }
        if versions.is_empty() {
            model.remove(&key);
        }
    }
    for (key, versions) in &model {
        let expected: Vec<Locator> = versions.iter().rev().map(|n| locator(*n)).collect();
        assert_eq!(all(&index, key), expected, "newest first");
    }
    assert_eq!(index.keys(), model.len() as u64);
    assert_eq!(index.versions(), model.values().map(|v| v.len() as u64).sum::<u64>());
    assert_eq!(index.find(b"no such key", |_| true), None);
    for (key, versions) in &model {
        versions.iter().for_each(|n| assert!(index.remove(key, locator(*n))));
    }
    assert_eq!((index.keys(), index.versions()), (0, 0));
}

#[test]
fn keys_take_less_than_64_bytes_each() {
    let index = KeyIndex::default();
    let mut random = Seeded(2);
    for n in 0..200_000_u64 {
        index.insert(&[&[1][..], &random.next().to_be_bytes()].concat(), locator(n));
    }
    let per_key = index.memory_bytes() / index.keys();
    assert!(per_key < 64, "{per_key} bytes for a key inserted in any order");
    let index = KeyIndex::default();
    let entries: Vec<([u8; 5], Locator)> = (0..200_000_u32)
        .map(|n| {
            let [a, b, c, d] = n.to_be_bytes();
            ([1, a, b, c, d], locator(n.into()))
        })
        .collect();
    index.insert_all(entries.iter().map(|(key, locator)| (&key[..], *locator)));
    let per_key = index.memory_bytes() / index.keys();
    assert!(per_key < 45, "{per_key} bytes for a key inserted in order");
    assert_eq!(index.find(&[1, 0, 1, 0, 0], |_| true), Some(locator(65_536)));
}

#[test]
fn a_walk_meets_the_keys_of_its_range_in_order() {
    let mut random = Seeded(3);
    let index = KeyIndex::default();
    let mut model: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let key_of = |id: u64| match id % 3 {
        0 => id.to_be_bytes()[6..].to_vec(),
        1 => [&[7; 15][..], &id.to_be_bytes()].concat(),
        _ => vec![9; (id % 30) as usize],
    };
    for n in 0..4000 {
        let key = key_of(random.below(3000));
        index.insert(&key, locator(n));
        // Some keys have several versions.
        model.insert(key, n);
    }
    for round in 0..500 {
        let mut ends = [key_of(random.below(3000)), key_of(random.below(3000))];
        if round % 5 > 0 {
            ends.sort();
        }
        let [start, end] = ends;
        let end = (round % 7 > 0).then_some(end);
        let backward = round % 2 == 1;
        let mut expected: Vec<(IndexedKey, Option<Locator>)> = model
            .iter()
            .filter(|(key, _)| **key >= start && end.as_ref().is_none_or(|end| *key < end))
            .map(|(key, n)| (IndexedKey::new(key), Some(locator(*n))))
            .collect();
        if backward {
            expected.reverse();
        }
        let mut walk = Walk::new(&start, end.as_deref(), backward);
        let mut met = Vec::new();
        while !walk.ended() {
            let step = 1 + random.below(200) as usize;
            let walked = index.step(&mut walk, step);
            assert!(walked.len() <= step);
            met.extend(walked.rows(|_| true));
        }
        assert_eq!(met, expected, "from {start:?} to {end:?}, backward: {backward}");
    }
}

#[test]
fn a_walk_goes_on_where_it_was_when_keys_come_and_go() {
    let index = KeyIndex::default();
    let key = |n: u64| n.to_be_bytes();
    (0..1000).for_each(|n| index.insert(&key(2 * n), locator(n)));
    let mut walk = Walk::new(&key(0), None, false);
    let mut met = 0;
    let mut last = None;
    while !walk.ended() {
        let rows: Vec<_> = index.step(&mut walk, 7).rows(|_| true).collect();
        for (key, _) in &rows {
            assert!(last.as_ref() < Some(key), "each key once, in order");
            last = Some(key.clone());
        }
        met += rows.len();
        // The key it stopped at goes, one behind it and one far before it come.
        index.remove(&key(2 * (met as u64 - 1)), locator(met as u64 - 1));
        index.insert(&key(0), locator(5000));
    }
    assert_eq!(met, 1000);
}
