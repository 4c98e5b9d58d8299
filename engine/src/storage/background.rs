//! The work behind commits: the horizon, the metastore that trails, checkpoints.
//!
//! ```text
//! thread storage-keeper      every interval: log the horizon if it moved; let the metastore trail
//! thread storage-checkpoint  when the log has grown enough, or on request: a checkpoint
//! thread storage-rewriter    on request, or by itself: rows go to segments, these become better
//! ```
//! Both only drive functions that work in small steps, which the simulator drives too.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use futures::executor::block_on;
use glaredb_catalog::metastore::Leadership;
use glaredb_txn::{
    commit::{commit_ids::CommitIds, leader::LeaderHandle},
    env::{Env, JoinHandle, SpawnError},
    ids::DatabaseId,
    log::local::LocalWal,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use super::{
    checkpoint::{Captured, CheckpointError, CheckpointStore, CheckpointSummary},
    checkpointing,
    database::{Fatal, OpenOptions},
    horizon::HorizonKeeper,
    objects::{Objects, Pace},
    recovery::Recovered,
    rewrite::{
        self, RewriteError, RewriteOptions, RewriteRequest, RewriteSummary, Rewriter, Site, Swept,
    },
    segment::{Resident, SegmentStore},
    state::State,
};

/// After a checkpoint failed, the next attempt waits at least this long.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How often the checkpoint thread looks at the size of the log.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An open database's parts, as the threads and the handle share them.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) database: DatabaseId,
    pub(super) leadership: Leadership,
    pub(super) wal: Arc<LocalWal>,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) segments: SegmentStore,
    pub(super) state: Arc<State>,
    pub(super) ids: Arc<CommitIds>,
    pub(super) leader: LeaderHandle,
    pub(super) store: CheckpointStore,
    pub(super) captures: Captures,
    pub(super) trail: Mutex<checkpointing::Trail>,
    pub(super) counters: Counters,
    pub(super) recovery: Duration,
    pub(super) recovery_commits: u64,
    pub(super) rewriter: Rewriter,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) rewrite: RewriteOptions,
    checkpoint_log_bytes: u64,
    horizon_interval: Duration,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) checkpoints: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) last_us: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    /// `leader::Metrics::log_bytes` when the last checkpoint began, and what was replayed before.
    log_bytes_then: AtomicU64,
    log_bytes_replayed: AtomicU64,
    commits_then: AtomicU64,
    /// The log holds commits that no checkpoint has, replayed ones.
    replayed: AtomicBool,
}

/// Images on their way from the apply thread to the checkpoint thread.
#[derive(Clone, Default)]
pub(super) struct Captures(Arc<Mutex<VecDeque<Captured>>>);

impl Captures {
    /// From now on checkpoint-begin records leave their images here.
    pub(super) fn attach(recovered: &mut Recovered) -> Self {
        let captures = Self::default();
        let (slot, ids) = (Arc::clone(&captures.0), Arc::clone(&recovered.ids));
        let applier = recovered.applier.as_mut().expect("the leader is not started yet");
        applier.on_checkpoint(Box::new(move |number, image| {
            let mut slot = slot.lock();
            // Nobody waits for an older one any more.
            slot.clear();
            let commit_ids = ids.export().bytes.into();
            slot.push_back(Captured { number, image, commit_ids });
        }));
        captures
    }

    pub(super) fn take(&self, number: u64) -> Option<Captured> {
        let mut slot = self.0.lock();
        let captured = slot.pop_front()?;
        (captured.number == number).then_some(captured)
    }
}

impl Shared {
    pub(super) fn new(
        env: Env,
        options: &OpenOptions,
        recovered: Recovered,
        leader: LeaderHandle,
        captures: Captures,
        fatal: Arc<watch::Sender<Option<Fatal>>>,
    ) -> Self {
        let counters = Counters::default();
        // Q's entry, and the control records behind it, are read in any case.
        let replayed = if recovered.replayed_commits > 0 { recovered.replayed_bytes } else { 0 };
        counters.log_bytes_replayed.store(replayed, Relaxed);
        counters.replayed.store(recovered.replayed_commits > 0, Relaxed);
        let store = CheckpointStore::new(
            recovered.objects.clone(),
            recovered.leadership.clone(),
            recovered.database,
            Arc::clone(&env.random),
            recovered.checkpoint,
        );
        // Memory that was set aside for a cache that there is not.
        let spared = options.cache.as_ref().map_or(0, |cache| {
            cache.memory_bytes(true).saturating_sub(cache.memory_bytes(recovered.is_remote))
        });
        let spared = usize::try_from(spared).unwrap_or(usize::MAX);
        let resident_bytes = options.resident_bytes.saturating_add(spared);
        let segments = SegmentStore {
            objects: Arc::clone(&recovered.objects),
            database: recovered.database,
            resident: Resident::new(resident_bytes),
        };
        let stopping = Arc::<AtomicBool>::default();
        let site = Site::new(
            Arc::clone(&recovered.state),
            Arc::new(leader.clone()),
            &segments,
            Arc::clone(&env.clock),
            Arc::clone(&stopping),
            options.rewrite,
        );
        Self {
            env,
            database: recovered.database,
            leadership: recovered.leadership,
            wal: recovered.wal,
            objects: recovered.objects,
            segments,
            state: recovered.state,
            ids: recovered.ids,
            leader,
            store,
            captures,
            trail: Mutex::default(),
            counters,
            recovery: recovered.took,
            recovery_commits: recovered.replayed_commits,
            rewriter: Rewriter::new(site),
            stopping,
            rewrite: options.rewrite,
            checkpoint_log_bytes: options.checkpoint_log_bytes,
            horizon_interval: options.horizon_interval,
            fatal,
        }
    }

    pub(super) fn log_bytes_since_checkpoint(&self) -> u64 {
        let now = self.leader.metrics().log_bytes;
        let counters = &self.counters;
        let then = counters.log_bytes_then.load(Relaxed);
        now.saturating_sub(then) + counters.log_bytes_replayed.load(Relaxed)
    }

    /// Are there commits that the current checkpoint does not hold?
    fn anything_new(&self) -> bool {
        let commits = self.leader.metrics().commits;
        self.counters.replayed.load(Relaxed) || commits > self.counters.commits_then.load(Relaxed)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// The node must stop.
    pub(super) fn raise_fatal(&self, reason: &str) {
        tracing::error!(reason, "the database must stop");
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert_with(|| reason.into());
            first
        });
    }

    /// One checkpoint, counted and logged.
    fn checkpoint(&self, pace: Pace) -> Result<CheckpointSummary, CheckpointError> {
        let started = self.env.clock.monotonic();
        let before = self.leader.metrics();
        self.objects.set_pace(pace);
        let result = checkpointing::run(self, || pace != Pace::FAST && self.stopping());
        let took = self.env.clock.monotonic().saturating_sub(started);
        let counters = &self.counters;
        match &result {
            Ok(summary) => {
                counters.checkpoints.fetch_add(1, Relaxed);
                counters.last_us.store(took.as_micros() as u64, Relaxed);
                counters.bytes_written.fetch_add(summary.bytes_written, Relaxed);
                counters.log_bytes_then.store(before.log_bytes, Relaxed);
                counters.log_bytes_replayed.store(0, Relaxed);
                counters.commits_then.store(before.commits, Relaxed);
                counters.replayed.store(false, Relaxed);
                tracing::info!(
                    position = %summary.at, rows = summary.rows, bytes = summary.bytes_total,
                    bytes_written = summary.bytes_written, seconds = took.as_secs_f64(),
                    "checkpoint written"
                );
            }
            Err(CheckpointError::ShuttingDown) => {}
            Err(error) => {
                counters.failures.fetch_add(1, Relaxed);
                tracing::warn!(%error, "checkpoint not written; the one before stays current");
            }
        }
        result
    }
}

/// Who waits for that.
type RewriteRequester = oneshot::Sender<Result<RewriteSummary, RewriteError>>;

/// Who waits for a checkpoint.
type Requester = oneshot::Sender<Result<CheckpointSummary, CheckpointError>>;

/// What wakes the threads.
#[derive(Default)]
struct Signals {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    stop: bool,
    requests: Vec<Requester>,
    rewrites: Vec<(RewriteRequest, RewriteRequester)>,
}

impl SignalState {
    fn end(&mut self) {
        self.stop = true;
        self.requests.clear();
        self.rewrites.clear();
    }
}

/// The threads.
pub(super) struct Background {
    signals: Arc<Signals>,
    threads: Mutex<Vec<JoinHandle>>,
}

impl Background {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, SpawnError> {
        let signals = Arc::new(Signals::default());
        let threads = &shared.env.threads;
        let body = |name: &'static str, body: fn(&Shared, &Signals)| {
            let (shared, signals) = (Arc::clone(shared), Arc::clone(&signals));
            Box::new(move || guarded(name, body, &shared, &signals))
        };
        let (keeper, writer) = ("storage-keeper", "storage-checkpoint");
        let keeper = threads.spawn(keeper, body(keeper, keep))?;
        let writer = threads.spawn_background(writer, body(writer, write_checkpoints))?;
        let rewriter = "storage-rewriter";
        let rewriter = threads.spawn_background(rewriter, body(rewriter, rewrite))?;
        Ok(Self { signals, threads: Mutex::new(vec![keeper, writer, rewriter]) })
    }

    pub(super) fn request_rewrite(
        &self,
        request: RewriteRequest,
    ) -> oneshot::Receiver<Result<RewriteSummary, RewriteError>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.signals.state.lock();
        // Once stopped, the sender is dropped here, and the receiver says so.
        if !state.stop {
            state.rewrites.push((request, sender));
            self.signals.changed.notify_all();
        }
        receiver
    }

    pub(super) fn request_checkpoint(
        &self,
    ) -> oneshot::Receiver<Result<CheckpointSummary, CheckpointError>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.signals.state.lock();
        // Once stopped, the sender is dropped here, and the receiver says so.
        if !state.stop {
            state.requests.push(sender);
            self.signals.changed.notify_all();
        }
        receiver
    }

    /// Ends the threads, then the leader, and writes a last checkpoint between the two.
    pub(super) fn stop(&self, shared: &Shared) {
        shared.stopping.store(true, SeqCst);
        {
            let mut state = self.signals.state.lock();
            state.end();
            self.signals.changed.notify_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return;
        }
        for thread in threads {
            if let Err(panicked) = thread.join() {
                tracing::error!(%panicked, "background thread ended badly");
            }
        }
        // Its failure is logged; the log has everything, so the end is still an orderly one.
        if shared.anything_new() {
            let last = AssertUnwindSafe(|| shared.checkpoint(Pace::FAST));
            if let Err(panic) = catch_unwind(last) {
                // The log is still closed in order; the process ends as after any failure.
                shared.raise_fatal(&format!("the last checkpoint panicked: {}", text_of(&*panic)));
            }
        }
        shared.leader.shutdown();
        if let Err(error) = shared.wal.close() {
            tracing::warn!(%error, "the log was not closed in order");
        }
        shared.objects.close();
    }
}

/// A thread that panicked does its work no more, and without it the log is never cut: the node must
/// stop. Those who wait for a checkpoint, and all who come later, are told.
fn guarded(name: &str, body: fn(&Shared, &Signals), shared: &Shared, signals: &Signals) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(shared, signals))) else { return };
    {
        let mut state = signals.state.lock();
        state.end();
        signals.changed.notify_all();
    }
    let reason = format!("{name} panicked: {}", text_of(&*panic));
    shared.leader.stop(&reason);
    shared.raise_fatal(&reason);
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A fail point (feature `failpoints`); `panic` is what a test does with it.
fn fault(point: &str) {
    fail::fail_point!(point);
    // Without the feature the macro is nothing.
    let _ = point;
}

fn keep(shared: &Shared, signals: &Signals) {
    let mut horizon = HorizonKeeper::default();
    loop {
        {
            let mut state = signals.state.lock();
            if !state.stop {
                signals.changed.wait_for(&mut state, shared.horizon_interval);
            }
            if state.stop {
                return;
            }
        }
        fault("background::keep");
        horizon.step(shared);
        if let Err(error) = checkpointing::trail(shared) {
            tracing::warn!(%error, "descriptors in the metastore stay behind the log");
        }
    }
}

fn write_checkpoints(shared: &Shared, signals: &Signals) {
    let mut retry_at = Duration::ZERO;
    let mut sweep_at = Duration::ZERO;
    loop {
        let requests = {
            let mut state = signals.state.lock();
            if !state.stop && state.requests.is_empty() {
                signals.changed.wait_for(&mut state, LOOK_EVERY);
            }
            if state.stop {
                return;
            }
            std::mem::take(&mut state.requests)
        };
        let now = shared.env.clock.monotonic();
        let grown = shared.log_bytes_since_checkpoint() >= shared.checkpoint_log_bytes;
        if requests.is_empty() && !(grown && now >= retry_at) {
            if now >= sweep_at {
                shared.sweep(&mut sweep_at);
            }
            continue;
        }
        fault("background::checkpoint");
        let result = shared.checkpoint(Pace::BACKGROUND);
        if result.is_err() {
            retry_at = shared.env.clock.monotonic() + RETRY_AFTER;
        } else {
            shared.sweep(&mut sweep_at);
        }
        for requester in requests {
            // Who asked may be gone.
            let _ = requester.send(result.clone());
        }
    }
}

fn rewrite(shared: &Shared, signals: &Signals) {
    let rewriter = &shared.rewriter;
    let mut is_busy = false;
    let mut retry_at = Duration::ZERO;
    loop {
        let requests = {
            let mut state = signals.state.lock();
            if !state.stop && state.rewrites.is_empty() && !is_busy {
                signals.changed.wait_for(&mut state, LOOK_EVERY);
            }
            if state.stop {
                return;
            }
            std::mem::take(&mut state.rewrites)
        };
        fault("background::rewrite");
        for (request, requester) in requests {
            let result = block_on(rewriter.handle(&request));
            // Who asked may be gone.
            let _ = requester.send(result);
        }
        if shared.env.clock.monotonic() < retry_at {
            continue;
        }
        let stepped = match shared.rewrite.automatic {
            true => block_on(rewriter.step()),
            false => block_on(rewriter.end_old_jobs()).map(|()| false),
        };
        is_busy = matches!(stepped, Ok(true));
        match stepped {
            Ok(_) | Err(RewriteError::ShuttingDown) => {}
            Err(error) => {
                tracing::warn!(%error, "rows stay where they are for now");
                retry_at = shared.env.clock.monotonic() + RETRY_AFTER;
            }
        }
    }
}

impl Shared {
    /// Deletes objects that nobody needs any more: what the newest checkpoint does not name, and now
    /// and then whatever else lies there.
    fn sweep(&self, next_at: &mut Duration) {
        let rewriter = &self.rewriter;
        let current = self.store.current();
        let removed = rewrite::delete_removed(rewriter.site(), current.as_deref());
        let now = self.env.clock.monotonic();
        let orphans = async {
            // Jobs of earlier processes are ended first: what they wrote goes at once.
            if now < *next_at || !rewriter.are_old_jobs_ended() {
                return Ok(Swept::default());
            }
            *next_at = now + self.rewrite.sweep_interval;
            let age = self.rewrite.orphan_age;
            rewrite::orphans(rewriter.site(), || self.store.current(), age).await
        };
        let swept = block_on(async {
            let removed = removed.await?;
            let swept = orphans.await?;
            Ok::<_, RewriteError>(removed + swept.objects_deleted)
        });
        match swept {
            Ok(deleted) => drop(rewriter.figures.objects_deleted.fetch_add(deleted, Relaxed)),
            Err(RewriteError::ShuttingDown) => {}
            Err(error) => tracing::warn!(%error, "objects that nobody needs stay until later"),
        }
    }
}
