use std::collections::BTreeMap;

use glaredb_txn::ids::{Locator, SegmentId};

use super::KeyIndex;
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
