//! The published snapshot, and who still reads older ones.
//!
//! A snapshot is published when everything up to its position is durable and applied. Readers take
//! the newest one and stay registered for as long as they read; the oldest registered timestamp
//! bounds the horizon, below which versions may be dropped.
//!
//! ```text
//! log      ──c1──c2──c3──c4──c5──▶
//! durable  ─────────────────┘            (c5 is in the tail: it conflicts, but never shows)
//! applied  ─────────────┘
//! published────────────c3                registered: guard A at c1, guard B at c3
//! oldest() = c1
//! ```
//!
//! Invariants:
//! 1. `published()` never goes back.
//! 2. A guard's snapshot was published when it was registered, and `oldest()` is at or below it for
//!    as long as the guard lives: reading the published snapshot and registering it are one step.
//! 3. A callback of `wait_until` runs exactly once: with the snapshot that covers its position, or
//!    with `Stopped`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;

use crate::ids::{Position, Snapshot, Timestamp};

/// The pipeline stopped before the position was published; it never will be in this process.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the commit pipeline stopped: {0}")]
pub struct Stopped(pub Arc<str>);

/// Runs when a position is published, on the thread that publishes (or the caller's, when it
/// already is). It must not block.
pub type PublishedCallback = Box<dyn FnOnce(Result<Snapshot, Stopped>) + Send>;

#[derive(Default)]
struct State {
    published: Snapshot,
    /// Number of guards per registered timestamp. Few distinct ones at a time.
    registered: BTreeMap<Timestamp, usize>,
    waiting: BTreeMap<Position, Vec<PublishedCallback>>,
    stopped: Option<Stopped>,
}

/// See the module's description.
#[derive(Default)]
pub struct Snapshots {
    state: Mutex<State>,
}

impl Snapshots {
    /// Starts with `recovered` published: what replay ended at.
    #[must_use]
    pub fn new(recovered: Snapshot) -> Arc<Self> {
        let state = State { published: recovered, ..State::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The newest published snapshot. To read at it, `register` instead.
    #[must_use]
    pub fn published(&self) -> Snapshot {
        self.state.lock().published
    }

    /// The newest published snapshot, kept readable until the guard is dropped.
    #[must_use]
    pub fn register(self: &Arc<Self>) -> SnapshotGuard {
        let mut state = self.state.lock();
        let snapshot = state.published;
        *state.registered.entry(snapshot.timestamp).or_default() += 1;
        SnapshotGuard { snapshots: Arc::clone(self), snapshot }
    }

    /// Timestamp of the oldest snapshot that is read or may still be registered: the horizon may
    /// be moved up to it, not past it.
    #[must_use]
    pub fn oldest(&self) -> Timestamp {
        let state = self.state.lock();
        state.registered.keys().next().copied().unwrap_or(state.published.timestamp)
    }

    /// Number of guards alive, for metrics.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.state.lock().registered.values().sum()
    }

    /// Calls back once everything up to `position` is published; at once if it already is.
    pub fn wait_until(&self, position: Position, callback: PublishedCallback) {
        let outcome = {
            let mut state = self.state.lock();
            if state.published.position >= position {
                Ok(state.published)
            } else if let Some(stopped) = &state.stopped {
                Err(stopped.clone())
            } else {
                state.waiting.entry(position).or_default().push(callback);
                return;
            }
        };
        callback(outcome);
    }

    /// Everything up to `snapshot` is durable and applied. Only the pipeline and recovery call it.
    pub fn publish(&self, snapshot: Snapshot) {
        let due = {
            let mut state = self.state.lock();
            assert!(
                snapshot.position >= state.published.position
                    && snapshot.timestamp >= state.published.timestamp,
                "published snapshot would go back from {:?} to {snapshot:?}",
                state.published
            );
            state.published = snapshot;
            if state.waiting.is_empty() {
                return;
            }
            let mut due = Vec::new();
            while let Some(entry) = state.waiting.first_entry() {
                if *entry.key() > snapshot.position {
                    break;
                }
                due.extend(entry.remove());
            }
            due
        };
        for callback in due {
            callback(Ok(snapshot));
        }
    }

    /// Nothing more will be published. The published snapshot stays readable.
    pub(crate) fn stop(&self, reason: &Stopped) {
        let waiting = {
            let mut state = self.state.lock();
            state.stopped.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut state.waiting)
        };
        for callback in waiting.into_values().flatten() {
            callback(Err(reason.clone()));
        }
    }

    fn register_again(&self, snapshot: Snapshot) {
        *self.state.lock().registered.entry(snapshot.timestamp).or_default() += 1;
    }

    fn unregister(&self, snapshot: Snapshot) {
        let mut state = self.state.lock();
        let count = state
            .registered
            .get_mut(&snapshot.timestamp)
            .expect("a guard's timestamp stays registered while the guard lives");
        *count -= 1;
        if *count == 0 {
            state.registered.remove(&snapshot.timestamp);
        }
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Snapshots")
            .field("published", &state.published)
            .field("registered", &state.registered)
            .field("waiting", &state.waiting.len())
            .finish_non_exhaustive()
    }
}

/// A snapshot that stays readable while this lives. A clone registers the same snapshot again.
pub struct SnapshotGuard {
    snapshots: Arc<Snapshots>,
    snapshot: Snapshot,
}

impl SnapshotGuard {
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot
    }

    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.snapshot.timestamp
    }
}

impl Clone for SnapshotGuard {
    fn clone(&self) -> Self {
        self.snapshots.register_again(self.snapshot);
        Self { snapshots: Arc::clone(&self.snapshots), snapshot: self.snapshot }
    }
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        self.snapshots.unregister(self.snapshot);
    }
}

impl fmt::Debug for SnapshotGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SnapshotGuard").field(&self.snapshot).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ids::{EntryIndex, LogId};

    fn snapshot(index: u64) -> Snapshot {
        let position = Position::new(LogId(0), EntryIndex(index), 0);
        Snapshot { position, timestamp: Timestamp(index * 10) }
    }

    #[test]
    fn oldest_is_the_oldest_guard_alive() {
        let snapshots = Snapshots::new(snapshot(1));
        assert_eq!(snapshots.oldest(), Timestamp(10));
        let first = snapshots.register();
        snapshots.publish(snapshot(2));
        let second = snapshots.register();
        let again = first.clone();
        snapshots.publish(snapshot(3));
        assert_eq!(first.snapshot(), snapshot(1));
        assert_eq!(second.snapshot(), snapshot(2));
        assert_eq!(snapshots.oldest(), Timestamp(10));
        drop(first);
        assert_eq!(snapshots.oldest(), Timestamp(10), "the clone still reads");
        drop(again);
        assert_eq!(snapshots.oldest(), Timestamp(20));
        drop(second);
        assert_eq!(snapshots.oldest(), Timestamp(30));
        assert_eq!(snapshots.registered(), 0);
    }

    #[test]
    fn waiters_run_once_their_position_is_published_and_no_sooner() {
        let snapshots = Snapshots::new(snapshot(1));
        let runs = Arc::new(AtomicUsize::new(0));
        for index in [1, 2, 3] {
            let runs = Arc::clone(&runs);
            let position = snapshot(index).position;
            snapshots.wait_until(
                position,
                Box::new(move |outcome| {
                    assert!(outcome.expect("published").position >= position);
                    runs.fetch_add(1, Ordering::Relaxed);
                }),
            );
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1, "position 1 was published already");
        snapshots.publish(snapshot(2));
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        snapshots.publish(snapshot(4));
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_stop_reaches_present_and_later_waiters_but_not_published_positions() {
        let snapshots = Snapshots::new(snapshot(1));
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let wait = |index| {
            let outcomes = Arc::clone(&outcomes);
            snapshots.wait_until(
                snapshot(index).position,
                Box::new(move |outcome| outcomes.lock().push((index, outcome.is_ok()))),
            );
        };
        wait(2);
        snapshots.stop(&Stopped("disk on fire".into()));
        wait(3);
        wait(1);
        assert_eq!(*outcomes.lock(), vec![(2, false), (3, false), (1, true)]);
    }

    #[test]
    #[should_panic(expected = "go back")]
    fn the_published_snapshot_never_goes_back() {
        let snapshots = Snapshots::new(snapshot(2));
        snapshots.publish(snapshot(1));
    }
}
