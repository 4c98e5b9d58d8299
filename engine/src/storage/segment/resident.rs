//! The resident form: columns of row groups, decoded, filters and footers, in memory under a budget.
//!
//! One map with a clock over it: what was used since the hand came by last stays, what was not goes.
//! New entries count as not used, so that a scan of more than the budget passes through without
//! driving out what point reads use again and again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arrow::array::{Array, ArrayRef};
use glaredb_txn::ids::SegmentId;
use parking_lot::RwLock;

use super::{KeyFilter, opened::Opened};

/// Memory that an entry takes beside its content.
const ENTRY_BYTES: usize = 160;
/// Parts whose reads are counted before they are in memory.
const TOUCHED_MAX: usize = 1 << 16;
/// Reads of some rows of a part after which all of it is decoded: while there is room, and when
/// something else would have to go.
const TOUCHES_WITH_ROOM: u8 = 2;
const TOUCHES_WITHOUT: u8 = 6;
/// Stands for a part that is too large to be kept.
const NEVER: u8 = u8::MAX;

/// A column of a row group, or its filter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct PartId {
    pub(super) segment: SegmentId,
    pub(super) row_group: u32,
    /// Place of the column in the file; [`FILTER`].
    pub(super) column: u32,
}

/// Stands for the filter of a row group.
pub(super) const FILTER: u32 = u32::MAX;

/// Stands for the footer of a segment.
const FOOTER: u32 = u32::MAX - 1;

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// All rows of the row group, in narrow form.
    Column(ArrayRef),
    Filter(Arc<KeyFilter>),
    /// Where a table has the open segment, and what it takes.
    Footer(Weak<Opened>, usize),
}

impl Content {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Column(array) => array.get_array_memory_size(),
                Self::Filter(filter) => filter.memory_bytes(),
                Self::Footer(_, bytes) => *bytes,
            }
    }

    /// Of footers, whose readers do not come by here.
    fn was_used(&self) -> bool {
        match self {
            Self::Footer(opened, _) => opened.upgrade().is_some_and(|opened| opened.was_used()),
            Self::Column(_) | Self::Filter(_) => false,
        }
    }

    fn close(&self) {
        if let Self::Footer(opened, _) = self
            && let Some(opened) = opened.upgrade()
        {
            opened.close();
        }
    }
}

/// Decoded parts of segments; shared by all readers of a node.
#[derive(Debug)]
pub struct Resident {
    budget_bytes: usize,
    state: RwLock<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<PartId, Entry>,
    /// What the hand comes to next is at the front. Forgotten entries may still be in it.
    clock: VecDeque<PartId>,
    bytes: usize,
    touched: HashMap<PartId, u8>,
}

#[derive(Debug)]
struct Entry {
    content: Content,
    bytes: usize,
    /// Since the hand came by.
    used: AtomicBool,
}

/// Counts since the start, but for the bytes and parts that are there now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ResidentMetrics {
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    pub bytes: u64,
    pub parts: u64,
    pub budget_bytes: u64,
}

impl Resident {
    /// `budget_bytes`: what is held is never more. 0: nothing is.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            budget_bytes,
            state: RwLock::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        })
    }

    #[must_use]
    pub fn metrics(&self) -> ResidentMetrics {
        let state = self.state.read();
        ResidentMetrics {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            bytes: state.bytes as u64,
            parts: state.entries.len() as u64,
            budget_bytes: self.budget_bytes as u64,
        }
    }

    /// Drop all parts of a segment that no list names any more.
    pub fn forget(&self, segment: SegmentId) {
        let mut state = self.state.write();
        let State { entries, bytes, touched, clock } = &mut *state;
        entries.retain(|id, entry| {
            let stays = id.segment != segment;
            *bytes -= if stays { 0 } else { entry.bytes };
            stays
        });
        touched.retain(|id, _| id.segment != segment);
        clock.retain(|id| id.segment != segment);
    }

    pub(super) fn column(&self, id: PartId) -> Option<ArrayRef> {
        self.get(id, |content| match content {
            Content::Column(array) => Some(Arc::clone(array)),
            Content::Filter(_) | Content::Footer(..) => None,
        })
    }

    pub(super) fn filter(&self, id: PartId) -> Option<Arc<KeyFilter>> {
        self.get(id, |content| match content {
            Content::Filter(filter) => Some(Arc::clone(filter)),
            Content::Column(_) | Content::Footer(..) => None,
        })
    }

    fn get<T>(&self, id: PartId, pick: impl FnOnce(&Content) -> Option<T>) -> Option<T> {
        let state = self.state.read();
        let found = state.entries.get(&id).and_then(|entry| {
            if !entry.used.load(Ordering::Relaxed) {
                entry.used.store(true, Ordering::Relaxed);
            }
            pick(&entry.content)
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Some rows of a part are read that is not in memory: is it time to decode all of it?
    pub(super) fn touch(&self, id: PartId) -> bool {
        let mut state = self.state.write();
        let is_full = state.bytes >= self.budget_bytes / 8 * 7;
        if state.touched.len() >= TOUCHED_MAX {
            state.touched.clear();
        }
        let count = state.touched.entry(id).or_default();
        if *count == NEVER || self.budget_bytes == 0 {
            return false;
        }
        *count = (*count + 1).min(NEVER - 1);
        *count >= if is_full { TOUCHES_WITHOUT } else { TOUCHES_WITH_ROOM }
    }

    /// Keeps a segment open within the budget; one that there is no room for is closed at once.
    pub(super) fn keep_footer(&self, opened: &Arc<Opened>, segment: SegmentId, bytes: usize) {
        let id = PartId { segment, row_group: u32::MAX, column: FOOTER };
        let content = Content::Footer(Arc::downgrade(opened), bytes);
        // One that was closed by others may still be there.
        let before = {
            let mut state = self.state.write();
            let before = state.entries.remove(&id);
            state.bytes -= before.as_ref().map_or(0, |entry| entry.bytes);
            before
        };
        drop(before);
        self.insert(id, content);
        if !self.state.read().entries.contains_key(&id) {
            opened.close();
        }
    }

    /// Keep a part, and let others go as long as there is no room for it. What alone exceeds a half of
    /// the budget is not kept.
    pub(super) fn insert(&self, id: PartId, content: Content) {
        let bytes = content.bytes();
        let mut state = self.state.write();
        if bytes > self.budget_bytes / 2 {
            state.touched.insert(id, NEVER);
            return;
        }
        state.touched.remove(&id);
        if state.entries.contains_key(&id) {
            return;
        }
        while state.bytes + bytes > self.budget_bytes {
            let Some(candidate) = state.clock.pop_front() else { return };
            let State { entries, clock, bytes: held, .. } = &mut *state;
            match entries.get(&candidate) {
                Some(entry)
                    if entry.used.swap(false, Ordering::Relaxed) | entry.content.was_used() =>
                {
                    clock.push_back(candidate);
                }
                Some(entry) => {
                    *held -= entry.bytes;
                    entry.content.close();
                    entries.remove(&candidate);
                    self.evictions.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
        state.bytes += bytes;
        state.clock.push_back(id);
        state.entries.insert(id, Entry { content, bytes, used: AtomicBool::new(false) });
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    const ROWS: usize = 1_000;

    fn part(n: u32) -> PartId {
        PartId { segment: SegmentId(u64::from(n) / 4), row_group: 0, column: n % 4 }
    }

    fn content(n: u32) -> Content {
        Content::Column(Arc::new(Int64Array::from(vec![i64::from(n); ROWS])))
    }

    /// Room for ten.
    fn resident() -> Arc<Resident> {
        Resident::new(content(0).bytes() * 10)
    }

    #[test]
    fn the_budget_holds_and_what_is_used_stays() {
        let resident = resident();
        for n in 0..10 {
            resident.insert(part(n), content(n));
        }
        for n in 10..1_000 {
            assert!(resident.column(part(3)).is_some(), "{n}");
            resident.insert(part(n), content(n));
            let metrics = resident.metrics();
            assert!(metrics.bytes <= metrics.budget_bytes, "{metrics:?}");
            assert_eq!(metrics.parts, 10);
        }
        assert!(resident.column(part(999)).is_some());
        assert!(resident.column(part(4)).is_none());
        assert_eq!(resident.metrics().evictions, 990);
    }

    #[test]
    fn footers_share_the_budget_and_those_used_stay() {
        let resident = resident();
        let footers: Vec<Arc<Opened>> = (0..20).map(|_| Arc::default()).collect();
        let bytes = content(0).bytes() - ENTRY_BYTES;
        for (n, footer) in footers.iter().enumerate() {
            // The first one is used between any two others.
            footers[0].touch();
            resident.keep_footer(footer, SegmentId(n as u64), bytes);
            let metrics = resident.metrics();
            assert!(metrics.bytes <= metrics.budget_bytes, "{metrics:?}");
        }
        let kept = |n: u64| {
            let id = PartId { segment: SegmentId(n), row_group: u32::MAX, column: FOOTER };
            resident.state.read().entries.contains_key(&id)
        };
        assert!(kept(0) && kept(19) && !kept(1));
        assert_eq!(resident.metrics().parts, 10);
        // The same again is not counted twice.
        resident.keep_footer(&footers[19], SegmentId(19), bytes);
        assert_eq!(resident.metrics().bytes, resident.metrics().budget_bytes);
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let resident = Resident::new(content(0).bytes());
        resident.insert(part(0), content(0));
        assert!(resident.column(part(0)).is_none());
        assert_eq!(resident.metrics().bytes, 0);
        // And not decoded whole again for that.
        assert!(!(0..20).any(|_| resident.touch(part(0))));
    }

    #[test]
    fn forgotten_segments_give_their_bytes_back() {
        let resident = resident();
        for n in 0..8 {
            resident.insert(part(n), content(n));
        }
        let bytes = resident.metrics().bytes;
        resident.forget(SegmentId(0));
        assert_eq!(resident.metrics().bytes, bytes / 2);
        assert!(resident.column(part(1)).is_none() && resident.column(part(5)).is_some());
        resident.forget(SegmentId(1));
        assert_eq!(resident.metrics().bytes, 0);
    }

    #[test]
    fn parts_are_decoded_whole_when_they_are_read_again() {
        let resident = resident();
        assert!(!resident.touch(part(0)));
        assert!(resident.touch(part(0)));
        for n in 1..11 {
            resident.insert(part(n), content(n));
        }
        let touches = (0..10).position(|_| resident.touch(part(20)));
        assert_eq!(touches, Some(usize::from(TOUCHES_WITHOUT) - 1));
    }
}
