//! The embedded metastore on a disk that loses power, fills up and fails.

use std::collections::BTreeMap;

use glaredb_catalog::metastore::{
    EmbeddedMetastore, Metastore, MetastoreError, Outcome, Revision, Transaction,
};
use glaredb_txn::{
    env::Random,
    sim::{Operation, SimEnv},
};

const FILE: &str = "metastore.redb";

fn open(sim: &SimEnv) -> Result<EmbeddedMetastore, MetastoreError> {
    EmbeddedMetastore::open(sim.env(), FILE)
}

/// What the store should hold: after a power cut, with or without the transaction under way.
type Content = BTreeMap<String, String>;

fn content(store: &EmbeddedMetastore) -> (Content, Revision) {
    let listing = store.list(b"").expect("a list");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let entries = listing.entries.iter().map(|(key, e)| (text(key), text(&e.value))).collect();
    (entries, listing.revision)
}

/// A random transaction, and what it makes of `before`.
fn transaction(random: &dyn Random, before: &Content, round: u64) -> (Transaction, Content) {
    let (mut transaction, mut after) = (Transaction::new(), before.clone());
    let first = random.next_u64() % 50;
    for n in first..=first + random.next_u64() % 8 {
        let key = format!("key {n}");
        if random.next_u64().is_multiple_of(4) {
            transaction = transaction.delete(key.clone());
            after.remove(&key);
        } else {
            let bytes = usize::try_from(random.next_u64() % 3000).expect("small");
            let value = format!("{round}{}", "x".repeat(bytes));
            transaction = transaction.put(key.clone(), value.clone());
            after.insert(key, value);
        }
    }
    (transaction, after)
}

#[test]
fn a_power_cut_loses_nothing_answered_and_halves_nothing() {
    let (mut cuts, mut applied_in_doubt) = (0, 0);
    for seed in 0..60 {
        let sim = SimEnv::new(seed);
        let mut expected = Content::new();
        let mut revision = Revision(0);
        let mut round = 0;
        for _ in 0..6 {
            let store = open(&sim).expect("it opens after every cut");
            assert_eq!(content(&store), (expected.clone(), revision), "seed {seed}");
            sim.disk.cut_power_after(1 + sim.random.next_u64() % 150);
            let in_doubt = loop {
                round += 1;
                let (transaction, after) = transaction(&*sim.random, &expected, round);
                match store.commit(&transaction) {
                    Ok(Outcome::Applied(now)) => (expected, revision) = (after, now),
                    Ok(Outcome::Refused { .. }) => panic!("there was no condition"),
                    Err(_) => break after,
                }
            };
            drop(store);
            cuts += 1;
            // Power may also go while the store is opened.
            sim.disk.crash();
            if sim.random.next_u64().is_multiple_of(3) {
                sim.disk.cut_power_after(1 + sim.random.next_u64() % 20);
                drop(open(&sim));
                sim.disk.crash();
            }
            let store = open(&sim).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let (found, now) = content(&store);
            if found != expected {
                assert_eq!(found, in_doubt, "seed {seed}: neither before nor after");
                assert!(now > revision, "seed {seed}");
                applied_in_doubt += 1;
                (expected, revision) = (found, now);
            }
        }
    }
    assert_eq!(cuts, 360);
    assert!(applied_in_doubt > 0, "no cut ever came between durable and answered");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let sim = SimEnv::new(1);
    let store = open(&sim).expect("it opens");
    sim.disk.set_capacity(Some(sim.disk.used_bytes() + 64 * 1024));
    let large = |n: usize| Transaction::new().put(format!("large {n}"), vec![b'x'; 100_000]);
    let mut stored = 0;
    let refused = loop {
        match store.commit(&large(stored)) {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
        assert!(stored < 1000, "the disk never fills up");
    };
    let settled =
        matches!(refused, MetastoreError::Unavailable(_) | MetastoreError::Indeterminate(_));
    assert!(settled, "{refused}");
    let listed = store.list(b"large").expect("reads go on").entries.len();
    assert!(listed == stored || listed == stored + 1, "{listed} of {stored}");
    // What needs no room works, and everything does when there is room again.
    sim.disk.set_capacity(None);
    store.commit(&Transaction::new().put("small", "1")).expect("room again");
    store.commit(&large(1000)).expect("room again");
    drop(store);
    let store = open(&sim).expect("it opens");
    assert_eq!(store.list(b"large").expect("a list").entries.len(), listed + 1);
}

#[test]
fn a_failed_sync_stops_the_store() {
    let sim = SimEnv::new(3);
    let store = open(&sim).expect("it opens");
    store.commit(&Transaction::new().put("a", "1")).expect("a write");
    sim.disk.fail_after(Operation::Sync, FILE, 1);
    let unknown = store.commit(&Transaction::new().put("a", "2"));
    assert!(matches!(unknown, Err(MetastoreError::Indeterminate(_))), "{unknown:?}");
    for _ in 0..2 {
        let refused = store.get(b"a");
        assert!(matches!(refused, Err(MetastoreError::Broken(_))), "{refused:?}");
        let refused = store.commit(&Transaction::new().put("a", "3"));
        assert!(matches!(refused, Err(MetastoreError::Broken(_))), "{refused:?}");
    }
    drop(store);
    sim.disk.crash();
    let value = open(&sim).expect("it opens").get(b"a").expect("a read").expect("there").value;
    assert!(value == "1" || value == "2", "{value:?}");
}

#[test]
fn damage_is_an_error_not_a_panic() {
    let sim = SimEnv::new(4);
    let store = open(&sim).expect("it opens");
    store.commit(&Transaction::new().put("a", vec![b'v'; 50_000])).expect("a write");
    drop(store);
    sim.disk.damage(FILE, |bytes| bytes[..9].fill(0));
    let broken = open(&sim).err();
    assert!(matches!(broken, Some(MetastoreError::Broken(_))), "{broken:?}");
}
