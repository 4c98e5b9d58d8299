//! The keys of a large write set, as the sets that its commit brings.

use bytes::Bytes;
use glaredb_txn::{
    commit::message::{KeyGroup, KeySet, Mark},
    ids::{IndexId, Position, TableId},
    key_filter::{KeyFilter, key_hash},
};

/// Keys of a group, about: what is built at once, and what one more group costs whoever probes them.
const GROUP_KEYS: usize = 98_304;

/// Keys looked at for each group, to find where it is to begin.
const SAMPLES: usize = 64;

/// A key that a transaction wrote: how, and the base of the statement that first touched it.
pub(super) type Written<'k> = (&'k [u8], Mark, Position);

/// A set for each effect. The keys may come in any order, and need not be sorted: they are dealt out to
/// groups by the keys at which these begin, which are drawn from a sample.
pub(super) fn key_sets<'k, K>(table: TableId, keys: impl Fn() -> K) -> Vec<KeySet>
where
    K: Iterator<Item = Written<'k>>,
{
    let marks = [Mark::Added, Mark::Removed, Mark::Changed];
    let set = |mark: Mark| {
        let mine = || keys().filter(move |(_, of, _)| *of == mark);
        let (mut count, mut base) = (0, None);
        for (_, _, of_key) in mine() {
            count += 1;
            base = Some(base.map_or(of_key, |base: Position| base.min(of_key)));
        }
        let groups = groups(count, || mine().map(|(key, _, _)| key));
        Some(KeySet { table, index: IndexId::KEY, mark, base: base?, groups })
    };
    marks.into_iter().filter_map(set).collect()
}

struct Bucket<'k> {
    fences: Option<(&'k [u8], &'k [u8])>,
    hashes: Vec<u64>,
}

fn groups<'k, K>(count: usize, keys: impl Fn() -> K) -> Vec<KeyGroup>
where
    K: Iterator<Item = &'k [u8]>,
{
    let wanted = count.div_ceil(GROUP_KEYS).max(1);
    let mut samples: Vec<&[u8]> = match wanted {
        1 => Vec::new(),
        _ => keys().step_by((count / (wanted * SAMPLES)).max(1)).collect(),
    };
    samples.sort_unstable();
    let begins: Vec<&[u8]> = (1..wanted).map(|n| samples[n * samples.len() / wanted]).collect();
    let bucket = || Bucket { fences: None, hashes: Vec::with_capacity(count / wanted) };
    let mut buckets: Vec<Bucket<'_>> = std::iter::repeat_with(bucket).take(wanted).collect();
    for key in keys() {
        let bucket = &mut buckets[begins.partition_point(|begin| *begin <= key)];
        let (first, last) = bucket.fences.unwrap_or((key, key));
        bucket.fences = Some((first.min(key), last.max(key)));
        bucket.hashes.push(key_hash(key));
    }
    let group = |bucket: Bucket<'_>| {
        let (first, last) = bucket.fences?;
        let (first, last) = (Bytes::copy_from_slice(first), Bytes::copy_from_slice(last));
        Some(KeyGroup { first, last, filter: KeyFilter::build(bucket.hashes) })
    };
    buckets.into_iter().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use glaredb_txn::ids::{EntryIndex, LogId};

    use super::*;

    fn at(index: u64) -> Position {
        Position::new(LogId(0), EntryIndex(index), 0)
    }

    /// Numbers in an order that jumps.
    fn scattered(count: u64) -> Vec<[u8; 8]> {
        (0..count).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()).collect()
    }

    #[test]
    fn keys_in_no_order_get_groups_that_ascend_and_do_not_overlap() {
        let count = 3 * GROUP_KEYS as u64;
        for keys in [scattered(count), (0..count).map(u64::to_be_bytes).collect()] {
            let written = || keys.iter().map(|key| (&key[..], Mark::Added, at(7)));
            let sets = key_sets(TableId(5), written);
            let [set] = &sets[..] else { panic!("{} sets", sets.len()) };
            assert_eq!((set.table, set.mark, set.base), (TableId(5), Mark::Added, at(7)));
            assert_eq!(set.groups.len(), 3);
            assert!(set.groups.windows(2).all(|pair| pair[0].last < pair[1].first));
            assert!(keys.iter().all(|key| set.may_contain(key)));
            assert!(set.memory_bytes() < keys.len() * 2, "under 16 bits a key");
        }
    }

    #[test]
    fn each_effect_has_a_set_with_the_oldest_base() {
        let keys: [Written<'_>; 4] = [
            (b"a", Mark::Added, at(9)),
            (b"b", Mark::Changed, at(8)),
            (b"c", Mark::Added, at(3)),
            (b"c", Mark::Added, at(5)),
        ];
        let sets = key_sets(TableId(5), || keys.into_iter());
        let found: Vec<_> = sets.iter().map(|set| (set.mark, set.base, set.fences())).collect();
        let expected = [
            (Mark::Added, at(3), (&b"a"[..], &b"c"[..])),
            (Mark::Changed, at(8), (&b"b"[..], &b"b"[..])),
        ];
        assert_eq!(found, expected);
        assert!(key_sets(TableId(5), std::iter::empty).is_empty());
    }
}
