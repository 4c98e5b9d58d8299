//! The key index of a table: encoded key to the versions of its row, spanning all chunks.
//!
//! Ordered, so that ranges are read from it, too ([`walk`]): a B-tree of leaves, each an array of keys beside an array of
//! versions. Short keys lie within the array; of longer ones it holds the first 15 bytes, and the rest
//! is looked at only where those are equal.
//!
//! A version is a locator. Its commit timestamp is the row's own, in the chunk: so the keys of a
//! large commit are in the index before it commits, and its one publication makes all of them visible.

use std::collections::BTreeMap;

use glaredb_txn::ids::{Locator, SegmentId};
use parking_lot::RwLock;

#[cfg(test)]
mod tests;
mod walk;

pub use walk::{IndexedKey, Walk, Walked};

/// Keys per leaf: an insertion moves half of that on average.
const LEAF_KEYS: usize = 128;

/// Bytes of a key that lie in its head.
const HEAD_BYTES: usize = 15;

/// A locator in 63 bits: segment, then 16 bits of row. The top bit marks a chain.
const CHAIN: u64 = 1 << 63;

/// Encoded key → versions of the row, oldest first. One writer, many readers; the lock is held for
/// one key at a time.
#[derive(Debug, Default)]
pub struct KeyIndex {
    tree: RwLock<Tree>,
}

#[derive(Debug, Default)]
struct Tree {
    /// By the key from which on the leaf holds them; the first is the empty key.
    leaves: BTreeMap<KeyHead, Leaf>,
    /// Versions of keys that have several; freed slots are empty.
    chains: Vec<Vec<u64>>,
    free: Vec<u32>,
    keys: u64,
    versions: u64,
    tail_bytes: u64,
}

#[derive(Debug, Default)]
struct Leaf {
    keys: Vec<KeyHead>,
    values: Vec<u64>,
}

/// A key in the order of its bytes: the first 15 and the length (16: longer than 15) as one number,
/// then the rest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct KeyHead {
    head: u128,
    tail: Option<Box<[u8]>>,
}

impl KeyHead {
    fn new(key: &[u8]) -> Self {
        let tail = (key.len() > HEAD_BYTES).then(|| key[HEAD_BYTES..].into());
        Self { head: head_of(key), tail }
    }
}

fn head_of(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let short = key.len().min(HEAD_BYTES);
    bytes[..short].copy_from_slice(&key[..short]);
    bytes[HEAD_BYTES] = key.len().min(HEAD_BYTES + 1) as u8;
    u128::from_be_bytes(bytes)
}

fn pack(locator: Locator) -> u64 {
    debug_assert!(locator.segment.0 < 1 << 47 && locator.row < 1 << 16);
    locator.segment.0 << 16 | u64::from(locator.row)
}

fn unpack(value: u64) -> Locator {
    Locator { segment: SegmentId(value >> 16), row: value as u32 & 0xffff }
}

impl KeyIndex {
    /// Add a version, the newest of its key.
    pub fn insert(&self, key: &[u8], locator: Locator) {
        self.tree.write().insert(key, pack(locator));
    }

    /// Add one version per key under one lock.
    pub fn insert_all<'a>(&self, entries: impl Iterator<Item = (&'a [u8], Locator)>) {
        // Not for the whole batch: a reader waits for at most so many insertions.
        const KEYS_PER_LOCK: usize = 256;
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut tree = self.tree.write();
            for (key, locator) in entries.by_ref().take(KEYS_PER_LOCK) {
                tree.insert(key, pack(locator));
            }
        }
    }

    /// Remove one version. False: it is not there.
    pub fn remove(&self, key: &[u8], locator: Locator) -> bool {
        self.tree.write().remove(key, pack(locator))
    }

    /// The newest version that `visible` accepts.
    pub fn find(&self, key: &[u8], mut visible: impl FnMut(Locator) -> bool) -> Option<Locator> {
        let mut few = [0_u64; 8];
        let (count, many) = {
            let tree = self.tree.read();
            let versions = tree.versions(key)?;
            match versions {
                Versions::One(value) => {
                    few[0] = value;
                    (1, None)
                }
                Versions::Chain(chain) if chain.len() <= few.len() => {
                    few[..chain.len()].copy_from_slice(chain);
                    (chain.len(), None)
                }
                Versions::Chain(chain) => (0, Some(chain.to_vec())),
            }
        };
        let versions = many.as_deref().unwrap_or(&few[..count]);
        versions.iter().rev().map(|value| unpack(*value)).find(|locator| visible(*locator))
    }

    /// Distinct keys.
    pub fn keys(&self) -> u64 {
        self.tree.read().keys
    }

    /// Entries, all versions counted.
    pub fn versions(&self) -> u64 {
        self.tree.read().versions
    }

    pub fn memory_bytes(&self) -> u64 {
        let tree = self.tree.read();
        let leaf = LEAF_KEYS * (size_of::<KeyHead>() + size_of::<u64>()) + size_of::<Leaf>() + 64;
        // A chain is a vector of its own with room to grow.
        let chained = tree.versions.saturating_sub(tree.keys) * 16;
        tree.leaves.len() as u64 * leaf as u64
            + tree.chains.capacity() as u64 * 24
            + chained
            + tree.tail_bytes
    }
}

enum Versions<'a> {
    One(u64),
    Chain(&'a [u64]),
}

impl Tree {
    fn versions(&self, key: &[u8]) -> Option<Versions<'_>> {
        let key = KeyHead::new(key);
        let (_, leaf) = self.leaves.range(..=&key).next_back()?;
        let value = leaf.values[leaf.keys.binary_search(&key).ok()?];
        Some(match value & CHAIN {
            0 => Versions::One(value),
            _ => Versions::Chain(&self.chains[(value ^ CHAIN) as usize]),
        })
    }

    fn insert(&mut self, key: &[u8], locator: u64) {
        let key = KeyHead::new(key);
        if self.leaves.is_empty() {
            self.leaves.insert(KeyHead::default(), Leaf::with_room());
        }
        let (_, leaf) =
            self.leaves.range_mut(..=&key).next_back().expect("the first leaf is least");
        self.versions += 1;
        match leaf.keys.binary_search(&key) {
            Ok(at) => {
                let value = &mut leaf.values[at];
                if *value & CHAIN == 0 {
                    let chain = vec![*value, locator];
                    let slot = match self.free.pop() {
                        Some(slot) => {
                            self.chains[slot as usize] = chain;
                            u64::from(slot)
                        }
                        None => {
                            self.chains.push(chain);
                            self.chains.len() as u64 - 1
                        }
                    };
                    *value = slot | CHAIN;
                } else {
                    self.chains[(*value ^ CHAIN) as usize].push(locator);
                }
            }
            Err(at) => {
                self.keys += 1;
                self.tail_bytes += key.tail.as_ref().map_or(0, |tail| tail.len() as u64 + 16);
                if leaf.keys.len() < LEAF_KEYS {
                    leaf.keys.insert(at, key);
                    leaf.values.insert(at, locator);
                    return;
                }
                // Ascending keys, the usual load, leave full leaves behind.
                let cut = if at == LEAF_KEYS { LEAF_KEYS } else { LEAF_KEYS / 2 };
                let mut right = Leaf::with_room();
                right.keys.extend(leaf.keys.drain(cut..));
                right.values.extend(leaf.values.drain(cut..));
                let (half, at) = if at >= cut { (&mut right, at - cut) } else { (leaf, at) };
                half.keys.insert(at, key);
                half.values.insert(at, locator);
                self.leaves.insert(right.keys[0].clone(), right);
            }
        }
    }

    fn remove(&mut self, key: &[u8], locator: u64) -> bool {
        let key = KeyHead::new(key);
        let Some((from, leaf)) = self.leaves.range_mut(..=&key).next_back() else { return false };
        let Ok(at) = leaf.keys.binary_search(&key) else { return false };
        let value = &mut leaf.values[at];
        if *value & CHAIN == 0 {
            if *value != locator {
                return false;
            }
            let gone = leaf.keys.remove(at);
            leaf.values.remove(at);
            self.keys -= 1;
            self.tail_bytes -= gone.tail.map_or(0, |tail| tail.len() as u64 + 16);
            if leaf.keys.is_empty() && *from != KeyHead::default() {
                let from = from.clone();
                self.leaves.remove(&from);
            }
        } else {
            let slot = *value ^ CHAIN;
            let chain = &mut self.chains[slot as usize];
            let Some(place) = chain.iter().position(|v| *v == locator) else { return false };
            chain.remove(place);
            if let [only] = chain[..] {
                *value = only;
                *chain = Vec::new();
                self.free.push(slot as u32);
            }
        }
        self.versions -= 1;
        true
    }
}

impl Leaf {
    fn with_room() -> Self {
        Self { keys: Vec::with_capacity(LEAF_KEYS), values: Vec::with_capacity(LEAF_KEYS) }
    }
}
