//! The memory budget of the delta: chunks, key indexes, the tail, write sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::StorageError;

/// Bytes of the delta when nothing else is said.
pub const BUDGET_BYTES_DEFAULT: u64 = 4 << 30;

/// Percent of the limit from which on sessions that add rows are slowed down.
const SLOW_FROM_PERCENT: u64 = 80;
/// Percent of the limit up to which rows may be added. The rest is the reserve from which DELETE,
/// TRUNCATE and DROP are served.
const INSERT_PERCENT: u64 = 95;
/// The longest wait a commit is told to make, at the end of the slow zone.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// One account for everything that the delta keeps in memory. Cheap to share, thread-safe.
///
/// ```text
/// 0 ───────── 80 % ─────────── 95 % ───── 100 %
///   commits go   commits wait a   inserts are refused (53200);
///                little: delay()  DELETE, TRUNCATE, DROP draw on the reserve
/// ```
///
/// The tail is what placement admitted and apply has not reached: each record's estimate, a function
/// of its bytes, is taken at placement and given back when it is applied.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    tables: AtomicU64,
    tail: AtomicU64,
    write_sets: AtomicU64,
    /// Microseconds that commits wait because rows are not rewritten fast enough.
    backlog_delay_us: AtomicU64,
    /// Why rows do not leave memory.
    obstacle: Mutex<Option<Arc<str>>>,
}

impl Budget {
    #[must_use]
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            tables: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            write_sets: AtomicU64::new(0),
            backlog_delay_us: AtomicU64::new(0),
            obstacle: Mutex::new(None),
        })
    }

    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Bytes in use: chunks, indexes, tail and write sets.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.table_bytes() + self.tail_bytes() + self.write_set_bytes()
    }

    /// Chunks and key indexes.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.tables.load(Ordering::Relaxed)
    }

    /// Admitted, not yet applied.
    #[must_use]
    pub fn tail_bytes(&self) -> u64 {
        self.tail.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn write_set_bytes(&self) -> u64 {
        self.write_sets.load(Ordering::Relaxed)
    }

    /// How long a session that wrote rows should wait before it sends its commit or part.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        let backlog = Duration::from_micros(self.backlog_delay_us.load(Ordering::Relaxed));
        self.memory_delay().max(Some(backlog).filter(|delay| !delay.is_zero()))
    }

    /// From here on sessions wait for at least so long: jobs do not keep up with them.
    pub fn set_backlog_delay(&self, delay: Duration) {
        self.backlog_delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// What keeps rows from leaving memory from here on, for those whose rows are refused meanwhile;
    /// `None`: nothing.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle.map(Into::into);
    }

    fn memory_delay(&self) -> Option<Duration> {
        let slow_from = self.limit_bytes / 100 * SLOW_FROM_PERCENT;
        let slow_to = self.limit_bytes / 100 * INSERT_PERCENT;
        let over = self.used_bytes().checked_sub(slow_from).filter(|over| *over > 0)?;
        let share = over as f64 / (slow_to - slow_from).max(1) as f64;
        Some(DELAY_MAX.mul_f64(share.min(1.0)))
    }

    /// Take `bytes` for a write set. The reservation gives them back when it is dropped.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, StorageError> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.resize(bytes)?;
        Ok(reservation)
    }

    /// May a commit that adds about `bytes` of rows enter the tail? Write sets do not count: the
    /// rows of this one are among them.
    pub fn admit_rows(&self, bytes: u64) -> Result<(), StorageError> {
        let used = self.table_bytes() + self.tail_bytes();
        if used.saturating_add(bytes) > self.limit_bytes / 100 * INSERT_PERCENT {
            return Err(self.refusal(bytes));
        }
        Ok(())
    }

    /// Placement took `bytes` into the tail.
    pub fn tail_entered(&self, bytes: u64) {
        self.tail.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Apply reached a record that placement had estimated at `bytes`. In recovery the tail is empty
    /// and stays so.
    pub fn tail_left(&self, bytes: u64) {
        take(&self.tail, bytes);
    }

    /// The tail is dropped: leadership is lost.
    pub fn tail_dropped(&self) {
        self.tail.store(0, Ordering::Relaxed);
    }

    /// The memory of a table changed from `before` to `after` bytes.
    pub fn table_resized(&self, before: u64, after: u64) {
        if after >= before {
            self.tables.fetch_add(after - before, Ordering::Relaxed);
        } else {
            take(&self.tables, before - after);
        }
    }

    fn refusal(&self, bytes: u64) -> StorageError {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let obstacle = self.obstacle.lock().clone();
        let obstacle = obstacle.map_or_else(String::new, |obstacle| {
            format!("; rows could not be moved out of it: {obstacle}")
        });
        StorageError::OutOfMemory(format!(
            "the memory for changes is used up: {} MiB more do not fit, {} of {} MiB are in use; \
             DELETE, TRUNCATE and DROP TABLE are still possible{obstacle}",
            mib(bytes),
            mib(self.used_bytes()),
            mib(self.limit_bytes)
        ))
    }
}

fn take(from: &AtomicU64, bytes: u64) {
    let _ = from
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(bytes)));
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
        if let Some(more) = bytes.checked_sub(self.bytes) {
            // A little always fits: deleting needs a write set too.
            const SMALL_BYTES: u64 = 64 << 10;
            let limit = self.budget.limit_bytes / 100 * INSERT_PERCENT;
            if bytes > SMALL_BYTES && self.budget.used_bytes().saturating_add(more) > limit {
                return Err(self.budget.refusal(more));
            }
            self.budget.write_sets.fetch_add(more, Ordering::Relaxed);
        } else {
            take(&self.budget.write_sets, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Give back all above `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        if let Some(less) = self.bytes.checked_sub(bytes) {
            take(&self.budget.write_sets, less);
            self.bytes = bytes;
        }
    }

    /// Grow to `bytes` from the reserve: deletions are admitted whatever is in use.
    pub fn resize_from_reserve(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.write_sets.fetch_add(more, Ordering::Relaxed);
        self.bytes = self.bytes.max(bytes);
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

impl Drop for Reservation {
    fn drop(&mut self) {
        take(&self.budget.write_sets, self.bytes);
    }
}
