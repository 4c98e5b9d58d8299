//! Commit timestamps: the window that the metastore grants and the clock rules within it.
//!
//! ```text
//!            last in log      clock                      bound (granted by the metastore)
//! ───────────────┼──────────────┼────────────────────────────┼──────▶
//! next = max(last + 1, clock)   ▲                            │
//! clock went back:  last + 1    │                            │
//! clock jumped past the bound:  nothing is stamped until a new window is granted
//! ```
//!
//! A timestamp is milliseconds << 18 | counter: 262,144 commits a millisecond before it runs ahead
//! of the clock, which is harmless, for only the order counts.
//!
//! The window makes a leader that lost the metastore stop by itself, and tells a new leader what
//! no earlier one has exceeded. It is extended in the background, well before it ends, so that a
//! metastore that is away for less than `WINDOW_LOW` costs nothing.

use std::time::Duration;

use crate::ids::Timestamp;

/// A new window reaches this far ahead of the clock.
pub const WINDOW_AHEAD: Duration = Duration::from_secs(120);

/// The window is extended when less than this is left: the metastore may be away for as long.
pub const WINDOW_LOW: Duration = Duration::from_secs(60);

/// Largest clock reading that is believed (the year 4199); a clock beyond it is ignored. There is
/// room for windows above it.
pub const CLOCK_MS_MAX: u64 = (u64::MAX >> Timestamp::COUNTER_BITS) - (1 << 30);

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WindowError {
    /// Whether the extension was stored nobody can say; the bound that is known still holds, and
    /// asking again is harmless.
    #[error("the metastore does not answer: {0}")]
    Unavailable(String),
    /// It never will again in this process, which must end: only a restart can look at what is left.
    #[error("the metastore failed: {0}")]
    Broken(String),
    /// Another leader has taken over the metastore: determinate, this one must stop stamping.
    #[error("another leader of term {current} has taken over, this one is of term {requested}")]
    Fenced { requested: u64, current: u64 },
}

impl WindowError {
    /// Whether there is no use in asking again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }
}

/// The upper bound of timestamps that this leader may give, kept in the metastore.
///
/// Obligations of an implementation, each checked by `conformance` (feature `testing`):
/// 1. `upper_bound` is the highest bound that was durably stored, as far as this process knows; it
///    does no I/O. Timestamps strictly below it may be given.
/// 2. `extend(to)` stores `to` durably before it returns, and returns the bound that holds now, at
///    least `to`. A bound is never lowered: `extend` to less returns the present bound.
/// 3. After a crash, an implementation opened on the same metastore starts at or above every bound
///    that was ever returned.
/// 4. After an error the bound is what it was or `to`; `extend` may be tried again, unless the error
///    `is_final`.
pub trait TimestampWindow: Send + Sync {
    fn upper_bound(&self) -> Timestamp;

    /// May block for as long as the metastore takes; called on a background thread only.
    fn extend(&self, to: Timestamp) -> Result<Timestamp, WindowError>;
}

/// Why no timestamp could be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WindowExhausted {
    /// What the next timestamp would have been.
    pub(crate) wanted: Timestamp,
}

/// Gives strictly growing timestamps below the bound.
#[derive(Debug)]
pub(crate) struct Stamper {
    last: Timestamp,
}

impl Stamper {
    pub(crate) fn new(last_in_log: Timestamp) -> Self {
        Self { last: last_in_log }
    }

    /// `max(last + 1, clock)`, if that is below `bound`. Does not yet use it up: `used` does.
    pub(crate) fn next(
        &self,
        clock_ms: u64,
        bound: Timestamp,
    ) -> Result<Timestamp, WindowExhausted> {
        let clock = clock_timestamp(clock_ms);
        let wanted = self.last.next().max(clock);
        if wanted < bound { Ok(wanted) } else { Err(WindowExhausted { wanted }) }
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// `timestamp` stands in the log.
    pub(crate) fn used(&mut self, timestamp: Timestamp) {
        assert!(timestamp > self.last, "timestamps grow: {} then {timestamp}", self.last);
        self.last = timestamp;
    }
}

/// Where the window has to reach so that it is `ahead` of both the clock and what was stamped.
pub(crate) fn window_target(last: Timestamp, clock_ms: u64, ahead: Duration) -> Timestamp {
    let from = last.max(clock_timestamp(clock_ms)).millis();
    let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(from.saturating_add(ahead_ms).min(CLOCK_MS_MAX + (1 << 29)))
}

/// A clock beyond what a timestamp can hold counts as no clock at all.
fn clock_timestamp(clock_ms: u64) -> Timestamp {
    if clock_ms > CLOCK_MS_MAX { Timestamp::ZERO } else { Timestamp::from_millis(clock_ms) }
}

#[cfg(feature = "testing")]
pub use testing::{FakeWindow, conformance};

#[cfg(feature = "testing")]
mod testing {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use super::{TimestampWindow, WindowError};
    use crate::ids::Timestamp;

    /// A window in memory whose metastore can be taken away. A clone shares the metastore.
    #[derive(Clone, Debug, Default)]
    pub struct FakeWindow {
        bound: Arc<AtomicU64>,
        away: Arc<AtomicBool>,
        broken: Arc<AtomicBool>,
    }

    impl FakeWindow {
        /// A window that is granted up to `bound`.
        #[must_use]
        pub fn new(bound: Timestamp) -> Self {
            Self { bound: Arc::new(AtomicU64::new(bound.0)), ..Self::default() }
        }

        /// While away, `extend` fails and the bound stays.
        pub fn set_away(&self, away: bool) {
            self.away.store(away, Ordering::SeqCst);
        }

        /// From now on `extend` fails for good.
        pub fn set_broken(&self) {
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    impl TimestampWindow for FakeWindow {
        fn upper_bound(&self) -> Timestamp {
            Timestamp(self.bound.load(Ordering::SeqCst))
        }

        fn extend(&self, to: Timestamp) -> Result<Timestamp, WindowError> {
            if self.away.load(Ordering::SeqCst) {
                return Err(WindowError::Unavailable("taken away by the test".into()));
            }
            if self.broken.load(Ordering::SeqCst) {
                return Err(WindowError::Broken("by the test".into()));
            }
            let before = self.bound.fetch_max(to.0, Ordering::SeqCst);
            Ok(Timestamp(before.max(to.0)))
        }
    }

    /// The obligations of `TimestampWindow`. `reopen` opens the implementation on one and the same
    /// metastore each time, as a restarted process would.
    pub fn conformance(reopen: &mut dyn FnMut() -> Arc<dyn TimestampWindow>) {
        let window = reopen();
        let start = window.upper_bound();
        let first = window.extend(Timestamp(start.0 + 1_000)).expect("extend");
        assert!(first.0 >= start.0 + 1_000, "a granted bound reaches what was asked for");
        assert_eq!(window.upper_bound(), first, "the granted bound is known");

        let lower = window.extend(Timestamp(start.0 + 10)).expect("extend to less");
        assert_eq!(lower, first, "a bound is never lowered");
        assert_eq!(window.upper_bound(), first);

        let second = window.extend(Timestamp(first.0 + 1)).expect("extend again");
        assert!(second > first);
        drop(window);

        let window = reopen();
        assert!(window.upper_bound() >= second, "a restart starts at or above every bound given");
        let third = window.extend(second.next()).expect("extend after a restart");
        assert!(third > second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_clock_and_never_goes_back() {
        let bound = Timestamp::from_millis(1_000);
        let mut stamper = Stamper::new(Timestamp::ZERO);
        let mut stamp = |clock_ms| {
            let next = stamper.next(clock_ms, bound)?;
            stamper.used(next);
            Ok::<_, WindowExhausted>(next)
        };
        assert_eq!(stamp(5), Ok(Timestamp::from_millis(5)));
        assert_eq!(stamp(5), Ok(Timestamp::from_millis(5).next()));
        assert_eq!(stamp(3), Ok(Timestamp(Timestamp::from_millis(5).0 + 2)), "clock went back");
        assert_eq!(stamp(900), Ok(Timestamp::from_millis(900)));
        let jumped = Timestamp::from_millis(5_000);
        assert_eq!(stamp(5_000), Err(WindowExhausted { wanted: jumped }), "a jump waits");
        assert_eq!(stamp(901), Ok(Timestamp::from_millis(901)), "nothing was used up");
        assert_eq!(stamp(u64::MAX), Ok(Timestamp::from_millis(901).next()), "an absurd clock");
    }

    #[test]
    fn a_window_reaches_ahead_of_clock_and_log() {
        let ahead = Duration::from_millis(100);
        let last = Timestamp::from_millis(50);
        assert_eq!(window_target(last, 10, ahead), Timestamp::from_millis(150));
        assert_eq!(window_target(last, 80, ahead), Timestamp::from_millis(180));
        let latest = window_target(last, CLOCK_MS_MAX, ahead);
        assert!(latest > Timestamp::from_millis(CLOCK_MS_MAX), "there is room above any clock");
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_fake_window_conforms() {
        let window = FakeWindow::default();
        conformance(&mut || std::sync::Arc::new(window.clone()));
    }
}
