//! The embedded metastore under power cuts: what was answered is there, the rest is there whole or
//! not at all, and the store always opens again.

use std::collections::BTreeMap;

use glaredb_catalog::metastore::{EmbeddedMetastore, Metastore, Transaction};
use glaredb_txn::sim::{Rng, SimEnv};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn content(store: &EmbeddedMetastore) -> Content {
    let listing = store.list(b"").expect("list");
    listing.entries.into_iter().map(|(key, entry)| (key.to_vec(), entry.value.to_vec())).collect()
}

fn run(seed: u64) {
    let sim = SimEnv::new(seed);
    let mut rng = Rng::new(!seed);
    let mut model = Content::new();
    for round in 0..8 {
        let store = EmbeddedMetastore::open(sim.env(), "metastore.redb")
            .unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
        assert_eq!(content(&store), model, "seed {seed}, round {round}");
        // Sometimes it ends in order, and the machine does not.
        let orderly = rng.chance(1, 3);
        if !orderly {
            sim.disk.cut_power_after(1 + rng.below(90));
        }
        let mut in_doubt = None;
        for _ in 0..rng.below(12) {
            let size = rng.index(3_000);
            let (key, value) = (format!("k{}", rng.below(40)).into_bytes(), rng.bytes(size));
            let put = Transaction::new().put(key.clone(), value.clone());
            if store.commit(&put).is_err() {
                in_doubt = Some((key, value));
                break;
            }
            model.insert(key, value);
        }
        drop(store);
        if !orderly || rng.chance(1, 2) {
            sim.disk.crash();
        }
        if let Some((key, value)) = in_doubt {
            let store = EmbeddedMetastore::open(sim.env(), "metastore.redb")
                .unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            if content(&store).get(&key) == Some(&value) {
                model.insert(key, value);
            }
        }
    }
}

#[test]
fn power_cuts_lose_nothing_that_was_answered() {
    (0..300).for_each(run);
}
