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
mod reply;
mod space;
mod tail_ids;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use fail::fail_point;
use parking_lot::{Condvar, Mutex};

use self::{
    batch::OpenBatch,
    head::{Head, Surroundings, Then, Work},
    reply::Owed,
    space::Space,
    tail_ids::TailIds,
};
pub use self::{
    batch::{Appended, Batch, Durable},
    reply::{AnswerCallback, Reply},
};
use super::{
    commit_ids::CommitIds,
    message::{Answer, Refusal, decode_request},
    record,
    resolver::Resolver,
    snapshots::{Snapshots, Stopped},
    state_machine::{Apply, Placement, Throttle},
    time::{Stamper, TimestampWindow, WINDOW_AHEAD, WINDOW_LOW, WindowError, window_target},
};
use crate::{
    env::Env,
    ids::{CommitId, EntryIndex, Position, Term},
    log::wal::{Wal, WalError},
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
struct Counters {
    commits: AtomicU64,
    conflicts: AtomicU64,
    refusals: AtomicU64,
    parts: AtomicU64,
    aborts: AtomicU64,
    controls: AtomicU64,
    entries: AtomicU64,
    batches: AtomicU64,
    log_ns: AtomicU64,
    apply_ns: AtomicU64,
    window_extensions: AtomicU64,
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
    /// Bytes that the log has taken since the start.
    appended: AtomicU64,
    counters: Counters,
    on_fatal: Mutex<Option<OnFatal>>,
}

/// What woke the thread that takes batches.
pub enum Taken {
    Batch(Batch),
    /// Nothing more will come.
    End,
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
        fail_point!("commit-submit");
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
                counter.fetch_add(1, Relaxed);
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
                self.counters.refusals.fetch_add(1, Relaxed);
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

    fn counter(&self, work: &Work) -> &AtomicU64 {
        use super::message::Request;
        match work {
            Work::Request(Request::Commit(_)) => &self.counters.commits,
            Work::Request(Request::Part(_)) => &self.counters.parts,
            Work::Request(Request::Abort(_) | Request::Resolve(_)) => &self.counters.aborts,
            Work::Control(_) => &self.counters.controls,
        }
    }

    /// What gathered since the last batch was taken, if anything.
    pub fn take_batch(&self) -> Option<Batch> {
        fail_point!("commit-take-batch");
        self.head.lock().open.take()
    }

    /// As `take_batch`, waiting for something to gather.
    pub fn wait_batch(&self) -> Taken {
        let mut head = self.head.lock();
        loop {
            if head.stopped.is_some() {
                return Taken::End;
            }
            if let Some(batch) = head.open.take() {
                return Taken::Batch(batch);
            }
            if head.shutting_down {
                return Taken::End;
            }
            head.log_sleeps = true;
            self.log_wakes.wait(&mut head);
            head.log_sleeps = false;
        }
    }

    /// Appends the batch's entries and answers the parts in it.
    pub fn append(&self, mut batch: Batch) -> Result<Appended, Stopped> {
        if let Some(reason) = injected("commit-append") {
            return self.failed(batch, reason);
        }
        for at in 0..batch.entries.len() {
            let (index, body) = batch.entries[at].clone();
            let bytes = (body.len() + crate::log::wal::FRAME_BYTES) as u64;
            match self.wal.append(self.term, body) {
                Ok(given) if given == index => {}
                Ok(given) => {
                    let reason = format!("the log gave index {} to entry {}", given.0, index.0);
                    return self.failed(batch, reason);
                }
                // Space was asked for beforehand, so even `Full` is not supposed to be.
                Err(error) => return self.failed(batch, error.to_string()),
            }
            self.appended.fetch_add(bytes, Relaxed);
            self.counters.entries.fetch_add(1, Relaxed);
        }
        batch.answer_parts();
        Ok(Appended(batch))
    }

    /// Makes everything up to the batch's end durable.
    pub fn sync(&self, batch: Appended) -> Result<Durable, Stopped> {
        let Appended(batch) = batch;
        if let Some(reason) = injected("commit-sync") {
            return self.failed(batch, reason);
        }
        let durable = match self.wal.sync() {
            Ok(durable) => durable,
            Err(error) => return self.failed(batch, error.to_string()),
        };
        let last = batch.last();
        if durable < last {
            let reason = format!("the log synced entry {}, not {}", durable.0, last.0);
            return self.failed(batch, reason);
        }
        self.counters.batches.fetch_add(1, Relaxed);
        let mut records = std::collections::VecDeque::new();
        for (index, body) in &batch.entries {
            // What is applied is what recovery would read.
            let decoded = match record::decode(body) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let reason = format!("entry {} does not decode: {error}", index.0);
                    return self.failed(batch, reason);
                }
            };
            let log = self.wal.log_id();
            records.extend((0..).zip(decoded).map(|(n, r)| (Position::new(log, *index, n), r)));
        }
        Ok(Durable { batch, records })
    }

    /// Applies at most `records_max` of the batch's records.
    pub fn apply(
        &self,
        mut durable: Durable,
        apply: &mut dyn Apply,
        records_max: usize,
    ) -> Result<Durable, Stopped> {
        for _ in 0..records_max {
            let Some((position, record)) = durable.records.pop_front() else { break };
            if let Some(reason) = injected("commit-apply") {
                return self.failed(durable.batch, reason);
            }
            if let Err(error) = self.ids.record(position, &record) {
                return self.failed(durable.batch, error.to_string());
            }
            let applied = catch_unwind(AssertUnwindSafe(|| apply.apply(position, &record)));
            let reason = match applied {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("applying {position} panicked: {}", panic_text(&*panic)),
            };
            return self.failed(durable.batch, reason);
        }
        Ok(durable)
    }

    /// Publishes a batch that is applied whole, and answers everyone in it.
    pub fn publish(&self, durable: Durable) {
        assert!(durable.is_applied(), "published before it is applied");
        fail_point!("commit-publish");
        self.snapshots.publish(self.ids.applied());
        for waiter in durable.batch.waiters {
            waiter.answer();
        }
    }

    fn failed<T>(&self, batch: Batch, reason: String) -> Result<T, Stopped> {
        let stopped = self.stop(&reason);
        batch.fail(&stopped);
        Err(stopped)
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

    /// Extends the timestamp window when it runs low, lets those who wait for it go on, and asks
    /// for log space. May block on the metastore and the disk.
    pub fn keep(&self) {
        self.keep_window();
        self.keep_space();
    }

    fn keep_window(&self) {
        let (last, anyone_waits) = {
            let head = self.head.lock();
            (head.stamper.last(), !head.parked.is_empty())
        };
        let now_ms = self.env.clock.now_ms();
        let low = window_target(last, now_ms, WINDOW_LOW);
        if self.window.upper_bound() >= low && !anyone_waits {
            return;
        }
        let extended = self.window.extend(window_target(last, now_ms, WINDOW_AHEAD));
        let parked = std::mem::take(&mut self.head.lock().parked);
        match extended {
            Ok(bound) => {
                self.counters.window_extensions.fetch_add(1, Relaxed);
                tracing::debug!(%bound, "timestamp window extended");
                for (owed, work) in parked {
                    self.handle(work, owed);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "timestamp window not extended");
                refuse(parked, &error);
                if matches!(error, WindowError::Fenced { .. }) {
                    self.stop(&error.to_string());
                }
            }
        }
    }

    fn keep_space(&self) {
        let (placed, ahead) = {
            let head = self.head.lock();
            if !head.space.is_low() || head.stopped.is_some() {
                return;
            }
            (head.space.placed(), head.space.ahead())
        };
        let under_way = placed - self.appended.load(Relaxed);
        match self.wal.reserve(under_way + ahead) {
            Ok(()) => self.head.lock().space.grant(placed, ahead),
            // Those whose commit still fits go on, the others are told.
            Err(WalError::Full(reason)) => tracing::warn!(reason, "the log's disk is nearly full"),
            Err(error) => {
                self.stop(&error.to_string());
            }
        }
    }

    fn wake_keeper(&self) {
        *self.keeper.lock() = true;
        self.keeper_wakes.notify_one();
    }

    /// Waits until something is to be kept, or for the timeout. False: nothing more will be.
    pub fn wait_keep(&self, timeout: std::time::Duration) -> bool {
        {
            let mut woken = self.keeper.lock();
            if !*woken {
                self.keeper_wakes.wait_for(&mut woken, timeout);
            }
            *woken = false;
        }
        let head = self.head.lock();
        head.stopped.is_none() && !head.shutting_down
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

fn refuse(parked: Vec<(Owed, Work)>, error: &WindowError) {
    for (owed, _) in parked {
        owed.answer(Answer::Refused(Refusal::NoTimestamp(error.to_string())));
    }
}

/// A failure that a test asks for at this step (feature `failpoints`).
fn injected(step: &'static str) -> Option<String> {
    fail_point!(step, |reason| Some(reason.unwrap_or_else(|| "injected failure".to_owned())));
    let _ = step;
    None
}

/// The text of a panic, as far as it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
