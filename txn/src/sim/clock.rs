//! A clock that stands still.

use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Clock;

/// Starts at 2026-01-01 00:00 UTC and moves only by [`SimClock::advance`], by `sleep`, and, the wall
/// clock alone, by [`SimClock::jump`].
pub struct SimClock {
    time: Mutex<Time>,
}

struct Time {
    monotonic: Duration,
    /// Wall clock at monotonic zero, in milliseconds since the epoch.
    epoch_ms: i128,
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SimClock {
    pub fn new() -> Self {
        let time = Time { monotonic: Duration::ZERO, epoch_ms: 1_767_225_600_000 };
        Self { time: Mutex::new(time) }
    }

    /// Let time pass.
    pub fn advance(&self, duration: Duration) {
        self.time.lock().monotonic += duration;
    }

    /// Set the wall clock forward or, negative, back; the monotonic clock does not notice.
    pub fn jump(&self, ms: i64) {
        self.time.lock().epoch_ms += i128::from(ms);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        let time = self.time.lock();
        let now = time.epoch_ms + i128::try_from(time.monotonic.as_millis()).unwrap_or(i128::MAX);
        u64::try_from(now).unwrap_or(0)
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().monotonic
    }

    /// Whoever sleeps is the only one running: time passes at once.
    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
