//! Which way statements go, counted over all sessions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A way that a statement with a plan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::session) enum Path {
    /// One row by its whole primary key.
    Key,
    /// Rows by several keys, or by ranges of them.
    KeyRange,
    /// VALUES and other rows that no table holds.
    Values,
    /// Optimized, with operators.
    Planned,
}

/// How many statements went which way.
#[derive(Default, Debug)]
pub struct PathCounters {
    key: AtomicU64,
    key_range: AtomicU64,
    values: AtomicU64,
    planned: AtomicU64,
}

impl PathCounters {
    pub(in crate::session) fn count(&self, path: Path) {
        let counter = match path {
            Path::Key => &self.key,
            Path::KeyRange => &self.key_range,
            Path::Values => &self.values,
            Path::Planned => &self.planned,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Each way by its name, with how many statements went it.
    #[must_use]
    pub fn read(&self) -> [(&'static str, u64); 4] {
        [
            ("key", self.key.load(Relaxed)),
            ("key_range", self.key_range.load(Relaxed)),
            ("values", self.values.load(Relaxed)),
            ("planned", self.planned.load(Relaxed)),
        ]
    }
}
