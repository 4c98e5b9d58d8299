//! Walking over keys in their order, either way, a few at a time: the index is not locked between.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use glaredb_txn::ids::Locator;

use super::{CHAIN, HEAD_BYTES, KeyHead, KeyIndex, Leaf, Tree, unpack};

/// A key as the index holds it, in the order of its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IndexedKey(KeyHead);

impl IndexedKey {
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(KeyHead::new(key))
    }

    /// The encoded key.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = self.0.head.to_be_bytes();
        let short = usize::from(head[HEAD_BYTES]).min(HEAD_BYTES);
        let mut bytes = head[..short].to_vec();
        bytes.extend_from_slice(self.0.tail.as_deref().unwrap_or_default());
        bytes
    }
}

/// What is left of a range of keys.
#[derive(Debug)]
pub struct Walk {
    from: Bound<KeyHead>,
    to: Bound<KeyHead>,
    backward: bool,
    ended: bool,
}

impl Walk {
    /// Keys from `start` on and before `end`; `None`: to the last one.
    #[must_use]
    pub fn new(start: &[u8], end: Option<&[u8]>, backward: bool) -> Self {
        let to = end.map_or(Unbounded, |end| Excluded(KeyHead::new(end)));
        let mut walk = Self { from: Included(KeyHead::new(start)), to, backward, ended: false };
        walk.ended = walk.is_empty();
        walk
    }

    /// Whether all keys were seen.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Nothing more is to be met.
    pub fn end(&mut self) {
        self.ended = true;
    }

    fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Included(from), Included(to)) => from > to,
            (Included(from) | Excluded(from), Excluded(to) | Included(to)) => from >= to,
            _ => false,
        }
    }

    /// Goes on behind `last`.
    fn pass(&mut self, last: KeyHead) {
        if self.backward {
            self.to = Excluded(last);
        } else {
            self.from = Excluded(last);
        }
        self.ended = self.is_empty();
    }
}

/// Keys that a step of a walk met, with all their versions.
#[derive(Debug, Default)]
pub struct Walked {
    keys: Vec<KeyHead>,
    /// Where each key's versions end.
    ends: Vec<u32>,
    versions: Vec<u64>,
}

impl Walked {
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Each key with the newest of its versions that `visible` accepts.
    pub fn rows(
        self,
        mut visible: impl FnMut(Locator) -> bool,
    ) -> impl Iterator<Item = (IndexedKey, Option<Locator>)> {
        let mut start = 0;
        self.keys.into_iter().zip(self.ends).map(move |(key, end)| {
            let versions = &self.versions[start..end as usize];
            start = end as usize;
            let mut newest_first = versions.iter().rev().map(|value| unpack(*value));
            (IndexedKey(key), newest_first.find(|locator| visible(*locator)))
        })
    }

    fn push(&mut self, tree: &Tree, key: &KeyHead, value: u64) {
        self.keys.push(key.clone());
        match value & CHAIN {
            0 => self.versions.push(value),
            _ => self.versions.extend_from_slice(&tree.chains[(value ^ CHAIN) as usize]),
        }
        self.ends.push(self.versions.len() as u32);
    }
}

impl KeyIndex {
    /// The next keys of a walk, at most `keys_max`. What is inserted or removed meanwhile may be
    /// among those of a later step or not: readers go by the versions' visibility.
    pub fn step(&self, walk: &mut Walk, keys_max: usize) -> Walked {
        let mut walked = Walked::default();
        if walk.ended || keys_max == 0 {
            return walked;
        }
        let tree = self.tree.read();
        let met_end = if walk.backward {
            tree.backward(walk, keys_max, &mut walked)
        } else {
            tree.forward(walk, keys_max, &mut walked)
        };
        drop(tree);
        match walked.keys.last().cloned() {
            Some(last) if !met_end => walk.pass(last),
            _ => walk.ended = true,
        }
        walked
    }
}

impl Tree {
    /// True: no key of the walk follows.
    fn forward(&self, walk: &Walk, keys_max: usize, walked: &mut Walked) -> bool {
        let first = match &walk.from {
            Included(key) | Excluded(key) => key.clone(),
            Unbounded => KeyHead::default(),
        };
        let Some((start, _)) = self.leaves.range(..=&first).next_back() else { return true };
        for (_, leaf) in self.leaves.range(start..) {
            let (low, high) = leaf.within(walk);
            for at in low..high {
                if walked.len() == keys_max {
                    return false;
                }
                walked.push(self, &leaf.keys[at], leaf.values[at]);
            }
            if high < leaf.keys.len() {
                return true;
            }
        }
        true
    }

    fn backward(&self, walk: &Walk, keys_max: usize, walked: &mut Walked) -> bool {
        let to = match &walk.to {
            Included(key) | Excluded(key) => Included(key),
            Unbounded => Unbounded,
        };
        for (_, leaf) in self.leaves.range((Unbounded, to)).rev() {
            let (low, high) = leaf.within(walk);
            for at in (low..high).rev() {
                if walked.len() == keys_max {
                    return false;
                }
                walked.push(self, &leaf.keys[at], leaf.values[at]);
            }
            if low > 0 {
                return true;
            }
        }
        true
    }
}

impl Leaf {
    /// Which of its keys a walk meets.
    fn within(&self, walk: &Walk) -> (usize, usize) {
        let low = match &walk.from {
            Included(from) => self.keys.partition_point(|key| key < from),
            Excluded(from) => self.keys.partition_point(|key| key <= from),
            Unbounded => 0,
        };
        let high = match &walk.to {
            Excluded(to) => self.keys.partition_point(|key| key < to),
            Included(to) => self.keys.partition_point(|key| key <= to),
            Unbounded => self.keys.len(),
        };
        (low, high.max(low))
    }
}
