//! Key sets of large commits, as the resolver remembers them.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::key::Place;
use crate::{
    commit::message::{KeyGroup, KeySet, Mark, Watch},
    ids::{IndexId, TableId},
    key_filter::{KeyFilter, key_hash},
};

/// A set of more than this share of the resolver's memory is remembered by its fences alone: keys
/// between them conflict. Else one commit would make all others forgotten.
const SHARE_OF_ONE: usize = 4;

/// A key set of a commit.
#[derive(Debug)]
struct RememberedSet {
    at: Place,
    index: IndexId,
    mark: Mark,
    /// Ascending, as in the message.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    first: Box<[u8]>,
    last: Box<[u8]>,
    /// `None`: all between the fences count as written.
    filter: Option<KeyFilter>,
}

impl RememberedSet {
    /// In memory of its own: the message's is the payload's, too.
    fn of(set: &KeySet, at: Place, bytes_max: usize) -> Self {
        let KeySet { index, mark, .. } = *set;
        let (first, last) = set.fences();
        let groups = if set.memory_bytes() > bytes_max / SHARE_OF_ONE {
            vec![Group { first: first.into(), last: last.into(), filter: None }]
        } else {
            let group = |group: &KeyGroup| Group {
                first: (*group.first).into(),
                last: (*group.last).into(),
                filter: Some(group.filter.detached()),
            };
            set.groups.iter().map(group).collect()
        };
        Self { at, index, mark, groups }
    }

    fn memory_bytes(&self) -> usize {
        let group = |group: &Group| {
            let filter = group.filter.as_ref().map_or(0, KeyFilter::memory_bytes);
            // Two allocations for the fences.
            size_of::<Group>() + group.first.len() + group.last.len() + 32 + filter
        };
        size_of::<Self>() + self.groups.iter().map(group).sum::<usize>()
    }

    fn is_of(&self, index: IndexId, watch: Watch) -> bool {
        self.index == index && (watch == Watch::Any || self.mark != Mark::Changed)
    }

    fn may_contain(&self, key: &[u8], hash: u64) -> bool {
        let behind = self.groups.partition_point(|group| *group.last < *key);
        let candidates = self.groups[behind..].iter().take_while(|group| *group.first <= *key);
        candidates
            .map(|group| group.filter.as_ref())
            .any(|filter| filter.is_none_or(|filter| filter.may_contain(hash)))
    }

    fn overlaps(&self, set: &KeySet) -> bool {
        let overlaps = |group: &Group| {
            let behind = set.groups.partition_point(|other| *other.last < *group.first);
            set.groups.get(behind).is_some_and(|other| *other.first <= *group.last)
        };
        self.index == set.index && self.groups.iter().any(overlaps)
    }
}

/// The sets of all tables.
#[derive(Debug)]
pub(super) struct RememberedSets {
    /// Oldest first.
    tables: HashMap<TableId, VecDeque<RememberedSet>, FixedState>,
    /// When they came and to which table, oldest first.
    pub(super) order: VecDeque<(Place, TableId)>,
    bytes: usize,
}

impl RememberedSets {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self { tables: HashMap::with_hasher(hasher), order: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `bytes_max`: what the resolver may take for everything.
    pub(super) fn remember(&mut self, set: &KeySet, at: Place, bytes_max: usize) {
        let remembered = RememberedSet::of(set, at, bytes_max);
        self.bytes += remembered.memory_bytes();
        self.tables.entry(set.table).or_default().push_back(remembered);
        self.order.push_back((at, set.table));
    }

    /// Forgets the oldest set if it came at or before `before`, and says when it came.
    pub(super) fn forget_oldest(&mut self, before: Place) -> Option<Place> {
        let (at, table) = self.order.pop_front_if(|(at, _)| *at <= before)?;
        let sets = self.tables.get_mut(&table).expect("what is in the order is there");
        let set = sets.pop_front().expect("what is in the order is there");
        self.bytes -= set.memory_bytes();
        if sets.is_empty() {
            self.tables.remove(&table);
        }
        Some(at)
    }

    /// The newest sets of a table after `base`.
    fn since(&self, table: TableId, base: Place) -> impl Iterator<Item = &RememberedSet> {
        let sets = if self.order.is_empty() { None } else { self.tables.get(&table) };
        sets.into_iter().flat_map(|sets| sets.iter().rev()).take_while(move |set| set.at > base)
    }

    /// When a key was last written after `base`, perhaps, as far as `watch` minds.
    pub(super) fn last(
        &self,
        table: TableId,
        index: IndexId,
        key: &[u8],
        watch: Watch,
        base: Place,
    ) -> Option<Place> {
        let mut sets = self.since(table, base).filter(|set| set.is_of(index, watch)).peekable();
        sets.peek()?;
        let hash = key_hash(key);
        sets.find(|set| set.may_contain(key, hash)).map(|set| set.at)
    }

    /// When a key of `set` was last written after `base`, perhaps: filters cannot be compared, so
    /// overlapping fences decide.
    pub(super) fn overlapped(&self, set: &KeySet, base: Place) -> Option<Place> {
        self.since(set.table, base).find(|remembered| remembered.overlaps(set)).map(|set| set.at)
    }
}

#[cfg(test)]
impl RememberedSets {
    /// `bytes`, counted anew.
    pub(super) fn counted(&self) -> usize {
        self.tables.values().flatten().map(RememberedSet::memory_bytes).sum()
    }
}
