//! Counters.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Pipeline;

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Metrics {
    /// Commits that are durable, applied and published.
    pub commits: u64,
    /// Commit requests refused with 40001: they met another commit's writes or schema, or were
    /// older than what the resolver remembers.
    pub conflicts: u64,
    /// Requests refused for any other reason.
    pub refusals: u64,
    pub parts: u64,
    /// Abort markers placed.
    pub aborts: u64,
    pub controls: u64,
    /// Entries appended, and the bytes they take in the log.
    pub entries: u64,
    pub log_bytes: u64,
    pub batches: u64,
    /// Time spent in append and sync, and in apply, in nanoseconds.
    pub log_ns: u64,
    pub apply_ns: u64,
    pub window_extensions: u64,
    /// What the resolver holds now.
    pub resolver_keys: u64,
    pub resolver_bytes: u64,
    /// Large commits now of which parts are in the log and no end, the bytes of their parts, and how
    /// long ago the first part of the oldest came.
    pub open_large: u64,
    pub open_large_bytes: u64,
    pub open_large_oldest: Duration,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) parts: AtomicU64,
    pub(super) aborts: AtomicU64,
    pub(super) controls: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) log_ns: AtomicU64,
    pub(super) apply_ns: AtomicU64,
    pub(super) window_extensions: AtomicU64,
}

impl Pipeline {
    /// Adds to the time spent in the log or in apply.
    pub(crate) fn spent(&self, log_ns: u64, apply_ns: u64) {
        self.counters.log_ns.fetch_add(log_ns, Relaxed);
        self.counters.apply_ns.fetch_add(apply_ns, Relaxed);
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (resolver_keys, resolver_bytes, open) = {
            let head = self.head.lock();
            let resolver = &head.resolver;
            (resolver.keys() as u64, resolver.bytes() as u64, head.ids.open_totals())
        };
        let now = self.env.clock.monotonic();
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Metrics {
            commits: of(&self.counters.commits),
            conflicts: of(&self.counters.conflicts),
            refusals: of(&self.counters.refusals),
            parts: of(&self.counters.parts),
            aborts: of(&self.counters.aborts),
            controls: of(&self.counters.controls),
            entries: of(&self.counters.entries),
            log_bytes: of(&self.appended),
            batches: of(&self.counters.batches),
            log_ns: of(&self.counters.log_ns),
            apply_ns: of(&self.counters.apply_ns),
            window_extensions: of(&self.counters.window_extensions),
            resolver_keys,
            resolver_bytes,
            open_large: open.count,
            open_large_bytes: open.bytes,
            open_large_oldest: open.since.map_or(Duration::ZERO, |since| now.saturating_sub(since)),
        }
    }
}
