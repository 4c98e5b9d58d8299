//! The pipeline as step functions: no threads inside, so that threads (`leader`) and the simulator
//! drive the same code.
//!
//! ```text
//! submit       decode; [lock] ids, resolver, space, timestamp, placement, open batch [unlock]
//! take_batch   what gathered                                  → Batch
//! append       entries into the log; parts are answered       → Appended
//! sync         durable                                        → Durable
//! apply        record by record                               → Durable, is_applied
//! publish      the snapshot moves; commits are answered
//! keep         a longer timestamp window, more log space
//! ```
//!
//! Batches go through `append … publish` one after another, in the order in which they were taken;
//! the next one may be appended while this one is applied.

mod batch;
mod head;
mod keeper;
mod metrics;
mod reply;
mod space;
mod steps;
mod tail_ids;

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use self::{
    batch::OpenBatch,
    head::{Head, Surroundings, Then, Work},
    metrics::Counters,
    reply::Owed,
    space::Space,
    steps::injected,
    tail_ids::TailIds,
};
pub use self::{
    batch::{Appended, Batch, Durable},
    metrics::Metrics,
    reply::{AnswerCallback, Reply},
    steps::{FAIL_POINTS, Taken},
};
use super::{
    commit_ids::CommitIds,
    message::{Answer, Refusal, decode_request},
    resolver::Resolver,
    snapshots::{Snapshots, Stopped},
    state_machine::{Placement, Throttle},
    time::{Stamper, TimestampWindow, WINDOW_AHEAD, WindowError, window_target},
};
use crate::{
    env::Env,
    ids::{CommitId, EntryIndex, Position, Term},
    log::wal::Wal,
};

/// Called once when the node stops accepting writes because log or state failed. Reads may go on.
pub type OnFatal = Box<dyn FnOnce(&Stopped) + Send>;

/// What a pipeline is made of.
pub struct PipelineParts {
    pub wal: Arc<dyn Wal>,
    /// Up to date with everything that is applied.
    pub placement: Box<dyn Placement>,
    pub window: Arc<dyn TimestampWindow>,
    /// What became of which id, and what everything is applied up to: after `recovery::replay`,
    /// the end of the log.
    pub ids: Arc<CommitIds>,
    /// This leadership's term: `log::local::OpenReport::term`.
    pub term: Term,
    pub on_fatal: OnFatal,
}

/// Bounds; the defaults are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderOptions {
    /// What the resolver may hold.
    pub resolver_bytes_max: usize,
    /// Log space that is reserved ahead of commits; asked for when half of it is used.
    pub log_ahead_bytes: u64,
}

impl Default for LeaderOptions {
    fn default() -> Self {
        Self { resolver_bytes_max: 64 << 20, log_ahead_bytes: 8 << 20 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no timestamps: {0}")]
    Window(#[from] WindowError),
    #[error("the log ends at entry {}, but everything is applied up to {applied}", last.0)]
    NotReplayed { last: EntryIndex, applied: Position },
}

/// See the module's description.
pub struct Pipeline {
    env: Env,
    term: Term,
    wal: Arc<dyn Wal>,
    window: Arc<dyn TimestampWindow>,
    ids: Arc<CommitIds>,
    snapshots: Arc<Snapshots>,
    throttle: Throttle,
    head: Mutex<Head>,
    /// Something is in the open batch, or nothing will ever be.
    log_wakes: Condvar,
    /// Something is to be kept; guarded by its own lock.
    keeper: Mutex<bool>,
    keeper_wakes: Condvar,
    /// When it was last said that the window cannot be extended (monotonic).
    window_warned: Mutex<Option<Duration>>,
    /// Bytes that the log has taken since the start.
    appended: AtomicU64,
    counters: Counters,
    on_fatal: Mutex<Option<OnFatal>>,
}

impl Pipeline {
    /// Gets a timestamp window and aborts the parts that the last process left open. Everything in
    /// the log must be applied.
    pub fn start(
        env: &Env,
        parts: PipelineParts,
        options: LeaderOptions,
    ) -> Result<Arc<Self>, StartError> {
        let PipelineParts { wal, placement, window, ids, term, on_fatal } = parts;
        let applied = ids.applied();
        let last = wal.last();
        if last != applied.position.index {
            return Err(StartError::NotReplayed { last, applied: applied.position });
        }
        let target = window_target(applied.timestamp, env.clock.now_ms(), WINDOW_AHEAD);
        window.extend(target)?;
        let seed = env.random.next_u64();
        let throttle = placement.throttle();
        let head = Head {
            placement,
            resolver: Resolver::new(applied.position, options.resolver_bytes_max, seed),
            stamper: Stamper::new(applied.timestamp),
            ids: TailIds::new(Arc::clone(&ids)),
            space: Space::new(options.log_ahead_bytes),
            open: OpenBatch::new(wal.log_id(), last.next()),
            parked: Vec::new(),
            unaborted: Vec::new(),
            stopped: None,
            shutting_down: false,
            log_sleeps: false,
        };
        let left_open = head.ids.open_ids();
        let pipeline = Self {
            env: env.clone(),
            term,
            wal,
            window,
            ids,
            snapshots: Snapshots::new(applied),
            throttle,
            head: Mutex::new(head),
            log_wakes: Condvar::new(),
            keeper: Mutex::new(false),
            keeper_wakes: Condvar::new(),
            window_warned: Mutex::new(None),
            appended: AtomicU64::new(0),
            counters: Counters::default(),
            on_fatal: Mutex::new(Some(on_fatal)),
        };
        pipeline.keep_space();
        pipeline.abort_lost(left_open);
        Ok(Arc::new(pipeline))
    }

    /// Their sessions ended with the last process.
    fn abort_lost(&self, ids: Vec<CommitId>) {
        for id in ids {
            let log = move |answer| match answer {
                Answer::Aborted => tracing::debug!(%id, "aborted what a lost session left open"),
                other => tracing::warn!(%id, ?other, "cannot abort what a lost session left open"),
            };
            let work = Work::Request(super::message::Request::Abort(id));
            self.handle(work, Owed::process(Box::new(log)));
        }
    }

    /// Takes an encoded `message::Request`; `reply` gets the encoded answer, exactly once, perhaps
    /// before this returns. Any number of threads may call it.
    pub fn submit(&self, request: Bytes, reply: Reply) {
        let owed = Owed::session(reply);
        match decode_request(&request) {
            Ok(request) => self.handle(Work::Request(request), owed),
            Err(error) => {
                self.counters.refusals.fetch_add(1, Relaxed);
                owed.answer(Answer::Refused(Refusal::Malformed(error.to_string())));
            }
        }
    }

    /// Logs a control record; the callback gets `Committed`, `Refused` or `Unknown`.
    pub fn control(&self, request: Bytes, callback: AnswerCallback) {
        self.handle(Work::Control(request), Owed::process(callback));
    }

    fn handle(&self, work: Work, owed: Owed) {
        if let Some(reason) = injected("commit::submit") {
            let stopped = self.stop(&reason);
            return owed.answer(Answer::Unknown(stopped.to_string()));
        }
        let around = Surroundings {
            wal: &*self.wal,
            clock: &*self.env.clock,
            now_ms: self.env.clock.now_ms(),
            bound: self.window.upper_bound(),
            appended: self.appended.load(Relaxed),
            published: self.snapshots.published().position,
        };
        let counter = self.counter(&work);
        let mut head = self.head.lock();
        let then = head.handle(work, owed, &around);
        match then {
            Then::Placed => {
                let wake_log = std::mem::take(&mut head.log_sleeps);
                let wake_keeper = head.space.is_low();
                drop(head);
                if let Some(counter) = counter {
                    counter.fetch_add(1, Relaxed);
                }
                if wake_log {
                    self.log_wakes.notify_one();
                }
                if wake_keeper {
                    self.wake_keeper();
                }
            }
            Then::Park(owed, work) => {
                head.parked.push((owed, work));
                drop(head);
                self.wake_keeper();
            }
            other => {
                drop(head);
                self.not_placed(other);
            }
        }
    }

    fn not_placed(&self, then: Then) {
        match then {
            Then::Placed | Then::Park(..) => unreachable!("both are seen to before"),
            Then::Answer(owed, answer) => {
                self.count_refused(&answer);
                owed.answer(answer);
            }
            Then::AnswerPublished { owed, position, answer, determinate } => {
                if determinate {
                    self.counters.conflicts.fetch_add(1, Relaxed);
                }
                let otherwise = move |stopped: Stopped| {
                    if determinate {
                        Answer::Refused(Refusal::Stopped(stopped.0.to_string()))
                    } else {
                        Answer::Unknown(stopped.to_string())
                    }
                };
                owed.answer_when_published(&self.snapshots, position, answer, otherwise);
            }
            Then::Fatal(owed, reason) => {
                let stopped = self.stop(&reason);
                owed.answer(Answer::Unknown(stopped.to_string()));
            }
        }
    }

    /// What counts a request when it is placed. Commits count when they are acknowledged.
    fn counter(&self, work: &Work) -> Option<&AtomicU64> {
        use super::message::Request;
        match work {
            Work::Request(Request::Commit(_)) => None,
            Work::Request(Request::Part(_)) => Some(&self.counters.parts),
            Work::Request(Request::Abort(_) | Request::Resolve(_)) => Some(&self.counters.aborts),
            Work::Control(_) => Some(&self.counters.controls),
        }
    }

    fn count_refused(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Refused(
                Refusal::SchemaChanged { .. } | Refusal::TooOld | Refusal::Moved { .. },
            ) => &self.counters.conflicts,
            _ => &self.counters.refusals,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Nothing is accepted any more, and everyone who waits gets to know that nobody knows. The
    /// first reason stays.
    pub fn stop(&self, reason: &str) -> Stopped {
        let (stopped, batch, parked) = {
            let mut head = self.head.lock();
            let stopped = head.stopped.get_or_insert_with(|| Stopped(reason.into())).clone();
            (stopped, head.open.take(), std::mem::take(&mut head.parked))
        };
        let on_fatal = self.on_fatal.lock().take();
        if let Some(on_fatal) = on_fatal {
            tracing::error!(reason = &*stopped.0, "commits stop");
            on_fatal(&stopped);
        }
        if let Some(batch) = batch {
            batch.fail(&stopped);
        }
        for (owed, _) in parked {
            owed.answer(Answer::Refused(Refusal::Stopped(stopped.0.to_string())));
        }
        self.snapshots.stop(&stopped);
        self.log_wakes.notify_all();
        self.wake_keeper();
        stopped
    }

    /// New requests are refused; what is placed goes on.
    pub fn shut_down(&self) {
        let parked = {
            let mut head = self.head.lock();
            head.shutting_down = true;
            std::mem::take(&mut head.parked)
        };
        for (owed, _) in parked {
            owed.answer(Answer::Refused(Refusal::ShuttingDown));
        }
        self.log_wakes.notify_all();
        self.wake_keeper();
    }

    #[must_use]
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    #[must_use]
    pub fn commit_ids(&self) -> &Arc<CommitIds> {
        &self.ids
    }

    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// `None`: running. `Some(None)`: shutting down.
    pub(crate) fn ended(&self) -> Option<Option<Stopped>> {
        let head = self.head.lock();
        match &head.stopped {
            Some(stopped) => Some(Some(stopped.clone())),
            None => head.shutting_down.then_some(None),
        }
    }

    /// First part of the oldest large commit under way, the tail included.
    #[must_use]
    pub fn oldest_open_part(&self) -> Option<Position> {
        let tail = self.head.lock().ids.oldest_open_part();
        // Its end may be in the tail only: then the log still needs it.
        match (tail, self.ids.oldest_open_part()) {
            (Some(tail), Some(applied)) => Some(tail.min(applied)),
            (tail, applied) => tail.or(applied),
        }
    }
}

/// The text of a panic, as far as it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
