//! The memory budget of the delta: chunks, key indexes, the tail, write sets.

use std::{sync::Arc, time::Duration};

use super::StorageError;

/// Bytes of the delta when nothing else is said.
pub const BUDGET_BYTES_DEFAULT: u64 = 4 << 30;

/// One account for everything that the delta keeps in memory. Cheap to share, thread-safe.
///
/// ```text
/// 0 ───────── 80 % ─────────── 95 % ───── 100 %
///   commits go   commits wait a   inserts are refused (53200);
///                little: delay()  DELETE, TRUNCATE, DROP draw on the reserve
/// ```
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
}

impl Budget {
    #[must_use]
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes })
    }

    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Bytes in use: chunks, indexes, tail and write sets.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        0
    }

    /// How long a session that wrote rows should wait before it sends its commit or part.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        None
    }

    /// Take `bytes` for a write set. The reservation gives them back when it is dropped.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, StorageError> {
        Ok(Reservation { budget: Arc::clone(self), bytes })
    }
}

/// Bytes taken from a [`Budget`].
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Grow or shrink to `bytes`; on refusal nothing changes.
    pub fn resize(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.bytes = bytes;
        Ok(())
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
