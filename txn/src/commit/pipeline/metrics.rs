//! Counters.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Pipeline;

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Metrics {
    pub commits: u64,
    pub conflicts: u64,
    pub refusals: u64,
    pub parts: u64,
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
        let (resolver_keys, resolver_bytes) = {
            let head = self.head.lock();
            (head.resolver.keys() as u64, head.resolver.bytes() as u64)
        };
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
        }
    }
}
