//! When the rows of a chunk were deleted.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use glaredb_txn::ids::Timestamp;

use super::CHUNK_ROWS_MAX;

/// Rows per page.
const PAGE_ROWS: u32 = 1_024;
const PAGES: usize = (CHUNK_ROWS_MAX / PAGE_ROWS) as usize;

/// One timestamp per row, in pages that exist from their first deletion on.
///
/// One writer at a time, the apply thread or whoever replays the table; readers take no lock. A reader at timestamp `t` began after all
/// commits up to `t` were applied, and what is written beside it is later than `t`: whether it sees
/// such a write or not, its answer is the same.
#[derive(Debug)]
pub struct Deletions {
    pages: [Page; PAGES],
    count: AtomicU32,
}

#[derive(Debug)]
struct Page {
    /// Least and greatest timestamp in the page; nothing deleted: infinity and zero.
    oldest: AtomicU64,
    newest: AtomicU64,
    count: AtomicU32,
    ends: OnceLock<Box<[AtomicU64]>>,
}

impl Default for Deletions {
    fn default() -> Self {
        let page = || Page {
            oldest: AtomicU64::new(Timestamp::INFINITY.0),
            newest: AtomicU64::new(0),
            count: AtomicU32::new(0),
            ends: OnceLock::new(),
        };
        Self { pages: std::array::from_fn(|_| page()), count: AtomicU32::new(0) }
    }
}

impl Deletions {
    /// Rows deleted, at any time.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Row `row` of the chunk is deleted by the commit at `at`. False: it was deleted before, and
    /// stays as it was.
    pub fn delete(&self, row: u32, at: Timestamp) -> bool {
        let page = &self.pages[(row / PAGE_ROWS) as usize];
        let ends = page.ends.get_or_init(|| {
            (0..PAGE_ROWS).map(|_| AtomicU64::new(Timestamp::INFINITY.0)).collect()
        });
        let end = &ends[(row % PAGE_ROWS) as usize];
        if end.load(Ordering::Relaxed) != Timestamp::INFINITY.0 {
            return false;
        }
        end.store(at.0, Ordering::Release);
        // Nobody else writes: loading and storing is enough, and cheaper than changing in one step.
        if at.0 < page.oldest.load(Ordering::Relaxed) {
            page.oldest.store(at.0, Ordering::Release);
        }
        if at.0 > page.newest.load(Ordering::Relaxed) {
            page.newest.store(at.0, Ordering::Release);
        }
        page.count.store(page.count.load(Ordering::Relaxed) + 1, Ordering::Release);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
        true
    }

    /// When the row was deleted; infinity: not yet.
    pub fn end(&self, row: u32) -> Timestamp {
        let page = &self.pages[(row / PAGE_ROWS) as usize];
        match page.ends.get() {
            None => Timestamp::INFINITY,
            Some(ends) => Timestamp(ends[(row % PAGE_ROWS) as usize].load(Ordering::Acquire)),
        }
    }

    /// Is any row from `first` to `last` (inclusive) possibly deleted at or before `at`?
    pub fn any_at(&self, first: u32, last: u32, at: Timestamp) -> bool {
        self.count() > 0
            && self.pages[(first / PAGE_ROWS) as usize..=(last / PAGE_ROWS) as usize]
                .iter()
                .any(|page| page.oldest.load(Ordering::Acquire) <= at.0)
    }

    /// Rows from `first` to `last` (inclusive) deleted at or before `at`. Pages that are all before or
    /// all after it are not looked into: a table that changes at its edge costs no more when it is
    /// large.
    pub fn count_at(&self, first: u32, last: u32, at: Timestamp) -> usize {
        if self.count() == 0 {
            return 0;
        }
        let mut count = 0;
        for number in first / PAGE_ROWS..=last / PAGE_ROWS {
            let page = &self.pages[number as usize];
            if page.oldest.load(Ordering::Acquire) > at.0 {
                continue;
            }
            let rows = number * PAGE_ROWS..=number * PAGE_ROWS + (PAGE_ROWS - 1);
            if first <= *rows.start()
                && last >= *rows.end()
                && page.newest.load(Ordering::Acquire) <= at.0
            {
                count += page.count.load(Ordering::Acquire) as usize;
                continue;
            }
            let rows = first.max(*rows.start())..=last.min(*rows.end());
            count += rows.filter(|row| self.end(*row) <= at).count();
        }
        count
    }

    /// Pages allocated, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let pages = self.pages.iter().filter(|page| page.ends.get().is_some()).count();
        size_of::<Self>() + pages * PAGE_ROWS as usize * size_of::<AtomicU64>()
    }

    /// (row, timestamp) of the rows from `first` to `last` deleted at or before `at`, ascending.
    pub fn list(&self, first: u32, last: u32, at: Timestamp) -> Vec<(u32, Timestamp)> {
        if !self.any_at(first, last, at) {
            return Vec::new();
        }
        (first..=last).map(|row| (row, self.end(row))).filter(|(_, end)| *end <= at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_list() {
        let deletions = Deletions::default();
        assert_eq!(deletions.count_at(0, CHUNK_ROWS_MAX - 1, Timestamp(u64::MAX - 1)), 0);
        // Whole pages early, whole pages late, mixed ones, single rows at the edges.
        for row in 0..2 * PAGE_ROWS {
            deletions.delete(row, Timestamp(10 + u64::from(row % 3)));
        }
        for row in (4 * PAGE_ROWS..6 * PAGE_ROWS).step_by(3) {
            deletions.delete(row, Timestamp(10 + u64::from(row)));
        }
        deletions.delete(7 * PAGE_ROWS - 1, Timestamp(5));
        deletions.delete(CHUNK_ROWS_MAX - 1, Timestamp(11));
        let edges = [0, 1, 700, PAGE_ROWS - 1, PAGE_ROWS, 2 * PAGE_ROWS, 5 * PAGE_ROWS + 17];
        for first in edges {
            let lasts = edges.into_iter().chain([7 * PAGE_ROWS, CHUNK_ROWS_MAX - 1]);
            for last in lasts.filter(|last| *last >= first) {
                for at in [4, 5, 10, 11, 12, 13, 5000, u64::MAX - 1] {
                    let at = Timestamp(at);
                    let listed = deletions.list(first, last, at).len();
                    let counted = deletions.count_at(first, last, at);
                    assert_eq!(counted, listed, "{first}..={last} at {at}");
                }
            }
        }
    }
}
