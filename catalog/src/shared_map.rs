//! A sorted map whose copies share what they have in common.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Most entries of a chunk; a full one is split in two.
const CHUNK_MAX: usize = 128;

/// A map of immutable values, of which each change of the catalog makes a new version.
///
/// ```text
///  chunks   [ a … f ][ g … p ][ q … z ]        sorted, none empty
///  copy     [   ·   ][   ·   ][   ·   ]        the same chunks
///  insert h [   ·   ][g h … p][   ·   ]        one chunk copied
/// ```
///
/// A copy costs a pointer per chunk, a change a chunk more: of 10,000 entries, about 100 pointers and
/// 100 entries.
#[derive(Clone)]
pub(crate) struct SharedMap<K, V> {
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that has the key if any has, and the place in it, or where it would be.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let behind = self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key);
        let chunk = behind.saturating_sub(1);
        let Some(entries) = self.chunks.get(chunk) else { return (0, Err(0)) };
        (chunk, entries.binary_search_by(|(known, _)| known.borrow().cmp(key)))
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, Ok(place)) = self.find(key) else { return None };
        Some(&self.chunks[chunk][place].1)
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value the key had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (at, place) = self.find(&key);
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match place {
            Ok(place) => Some(std::mem::replace(&mut chunk[place].1, value)),
            Err(place) => {
                chunk.insert(place, (key, value));
                self.len += 1;
                if chunk.len() > CHUNK_MAX {
                    // Keys that come in order leave full chunks behind.
                    let is_last = place + 1 == chunk.len();
                    let from = if is_last { CHUNK_MAX } else { CHUNK_MAX / 2 };
                    let upper = chunk.split_off(from);
                    self.chunks.insert(at + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// The value the key had.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (at, place) = self.find(key);
        let place = place.ok()?;
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let (_, value) = chunk.remove(place);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// In order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The keys that `other` does not have. Costs little where the two share most.
    pub(crate) fn keys_not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a K> {
        let shared = |chunk: &Arc<Vec<(K, V)>>| {
            let (at, _) = other.find(&chunk[0].0);
            other.chunks.get(at).is_some_and(|theirs| Arc::ptr_eq(theirs, chunk))
        };
        let own = self.chunks.iter().filter(move |chunk| !shared(chunk));
        let keys = own.flat_map(|chunk| chunk.iter()).map(|(key, _)| key);
        keys.filter(|key| !other.contains_key(*key))
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let own = self.chunks.iter().flat_map(|chunk| chunk.iter());
        self.len == other.len && own.eq(other.chunks.iter().flat_map(|chunk| chunk.iter()))
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        f.debug_map().entries(entries.map(|(key, value)| (key, value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Any numbers in a fixed order.
    fn numbers(count: usize) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(7_u64), |n| {
            Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        })
        .take(count)
        .map(|n| n >> 40)
    }

    fn check(map: &SharedMap<u64, u64>, model: &BTreeMap<u64, u64>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
    }

    #[test]
    fn does_what_a_map_does() {
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        for (n, number) in numbers(20_000).enumerate() {
            let key = number % 3_000;
            if n % 3 == 2 {
                assert_eq!(map.remove(&key), model.remove(&key));
            } else {
                assert_eq!(map.insert(key, number), model.insert(key, number));
            }
            assert_eq!(map.get(&(key + 1)), model.get(&(key + 1)));
        }
        check(&map, &model);
        for key in model.keys().copied().collect::<Vec<_>>() {
            assert_eq!(map.remove(&key), model.remove(&key));
        }
        assert!(map.is_empty() && map.chunks.is_empty());
        assert_eq!(map.get(&1), None);
    }

    #[test]
    fn an_empty_map_has_nothing() {
        let mut map = SharedMap::<u64, u64>::default();
        assert_eq!((map.get(&1), map.contains_key(&1)), (None, false));
        assert_eq!(map.remove(&1), None);
        assert_eq!((map.len(), map.iter().count(), map.is_empty()), (0, 0, true));
    }

    #[test]
    fn copies_keep_what_they_had_and_share_the_rest() {
        let mut old = SharedMap::default();
        for key in 0..10_000_u64 {
            old.insert(key, key);
        }
        assert!(old.chunks.len() <= 10_000 / CHUNK_MAX + 1, "in order: full chunks");
        let mut new = old.clone();
        new.remove(&5_000);
        new.insert(20_000, 1);
        new.insert(77, 0);
        assert_eq!((old.get(&5_000), old.get(&77), old.len()), (Some(&5_000), Some(&77), 10_000));
        assert_eq!((new.get(&5_000), new.get(&77), new.len()), (None, Some(&0), 10_000));
        let shared = |chunk: &&Arc<_>| new.chunks.iter().any(|other| Arc::ptr_eq(chunk, other));
        assert!(old.chunks.iter().filter(shared).count() + 3 >= old.chunks.len());
        assert_eq!(old.keys_not_in(&new).collect::<Vec<_>>(), [&5_000]);
        assert_eq!(new.keys_not_in(&old).collect::<Vec<_>>(), [&20_000]);
        assert_ne!(old, new);
        new.insert(5_000, 5_000);
        new.remove(&20_000);
        new.insert(77, 77);
        assert_eq!(old, new);
    }
}
