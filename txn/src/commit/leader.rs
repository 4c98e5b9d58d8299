//! The leader: threads that drive the pipeline, and the handle through which sessions reach it.
//!
//! ```text
//! session threads ── submit: decode; [lock] resolve, stamp, place, into the open batch [unlock]
//! commit-log      ── take the batch, append, sync        (meanwhile the next batch gathers)
//! commit-apply    ── apply, publish, answer              (meanwhile the next batch is synced; where
//!                    none waits and little is to be applied, commit-log does that, too)
//! commit-keeper   ── extend the timestamp window, reserve log space, both well ahead
//! ```

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

pub use super::pipeline::{AnswerCallback, FAIL_POINTS, LeaderOptions, Metrics, OnFatal, Reply};
use super::{
    commit_ids::CommitIds,
    message::Answer,
    pipeline::{self, Durable, Pipeline, PipelineParts, Taken, panic_text},
    snapshots::{Snapshots, Stopped},
    state_machine::{Apply, Placement},
    time::TimestampWindow,
};
use crate::{
    env::{Clock, Env, JoinHandle, SpawnError},
    ids::{CommitId, Position, Term},
    log::wal::Wal,
};

/// Durable batches that may wait to be applied: a slow apply holds up the log.
const DURABLE_BATCHES_MAX: usize = 4;

/// How often the keeper looks without being asked.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// What a leader is made of.
pub struct LeaderParts {
    pub wal: Arc<dyn Wal>,
    /// Up to date with everything that is applied.
    pub placement: Box<dyn Placement>,
    pub apply: Box<dyn Apply>,
    pub window: Arc<dyn TimestampWindow>,
    /// What became of which id, and what everything is applied up to: after `recovery::replay`,
    /// the end of the log.
    pub ids: Arc<CommitIds>,
    /// This leadership's term: `log::local::OpenReport::term`.
    pub term: Term,
    pub on_fatal: OnFatal,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Pipeline(#[from] pipeline::StartError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// Whether commits are accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    Running,
    ShuttingDown,
    /// Log or state failed; only a restart helps. Reads go on.
    Stopped(Stopped),
}

/// Starts leaders.
#[derive(Debug)]
pub struct Leader;

impl Leader {
    /// Gets a timestamp window, aborts the parts that the last process left open, starts the
    /// threads. Everything in the log must be applied.
    pub fn start(
        env: &Env,
        parts: LeaderParts,
        options: LeaderOptions,
    ) -> Result<LeaderHandle, StartError> {
        let LeaderParts { wal, placement, apply, window, ids, term, on_fatal } = parts;
        let parts = PipelineParts { wal, placement, window, ids, term, on_fatal };
        let pipeline = Pipeline::start(env, parts, options)?;
        let inner = Inner {
            pipeline: Arc::clone(&pipeline),
            term,
            start: env.random.next_u64(),
            next_number: AtomicU64::new(1),
            threads: Mutex::default(),
        };
        // Dropping the handle on an error ends the threads that run already.
        let handle = LeaderHandle { inner: Arc::new(inner) };
        let (to_apply, durable) = sync_channel(DURABLE_BATCHES_MAX);
        let clock = Arc::clone(&env.clock);
        let applier = Applier { apply: Mutex::new(apply), clock, waiting: AtomicUsize::new(0) };
        let (applier, shared) = (Arc::new(applier), Arc::clone(&env.clock));
        let own = Arc::clone(&applier);
        handle.spawn(env, "commit-log", move |pipeline| {
            log_thread(pipeline, &to_apply, &own, &*shared);
        })?;
        handle.spawn(env, "commit-apply", move |pipeline| {
            apply_thread(pipeline, &durable, &applier);
        })?;
        handle.spawn(env, "commit-keeper", keeper_thread)?;
        Ok(handle)
    }
}

/// The state, as the threads take turns at it: batches are applied in the order of the log.
struct Applier {
    apply: Mutex<Box<dyn Apply>>,
    clock: Arc<dyn Clock>,
    /// Batches that were handed to the apply thread and are not published.
    waiting: AtomicUsize,
}

impl Applier {
    fn apply(&self, pipeline: &Pipeline, durable: Durable) -> Result<(), Stopped> {
        let started = self.clock.monotonic();
        let applied = pipeline.apply(durable, &mut **self.apply.lock(), usize::MAX)?;
        pipeline.spent(0, nanoseconds(self.clock.monotonic() - started));
        pipeline.publish(applied)
    }
}

fn log_thread(
    pipeline: &Pipeline,
    to_apply: &SyncSender<Durable>,
    applier: &Applier,
    clock: &dyn Clock,
) {
    while let Taken::Batch(batch) = pipeline.wait_batch() {
        let started = clock.monotonic();
        let Ok(durable) = pipeline.append(batch).and_then(|appended| pipeline.sync(appended))
        else {
            return;
        };
        pipeline.spent(nanoseconds(clock.monotonic() - started), 0);
        // With nothing to be synced meanwhile, waking another thread costs more than applying.
        let alone = applier.waiting.load(Ordering::Acquire) == 0 && !pipeline.gathers();
        if alone && durable.is_small() {
            if applier.apply(pipeline, durable).is_err() {
                return;
            }
            continue;
        }
        applier.waiting.fetch_add(1, Ordering::AcqRel);
        // If nobody applies any more, the pipeline is stopped and the batch answers for itself.
        if to_apply.send(durable).is_err() {
            return;
        }
    }
}

fn apply_thread(pipeline: &Pipeline, batches: &Receiver<Durable>, applier: &Applier) {
    while let Ok(durable) = batches.recv() {
        if applier.apply(pipeline, durable).is_err() {
            return;
        }
        applier.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn keeper_thread(pipeline: &Pipeline) {
    while pipeline.wait_keep(KEEP_EVERY) {
        pipeline.keep();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

struct Inner {
    pipeline: Arc<Pipeline>,
    term: Term,
    start: u64,
    next_number: AtomicU64,
    threads: Mutex<Vec<JoinHandle>>,
}

/// The last handle is gone: what is placed is still logged, applied and answered.
impl Drop for Inner {
    fn drop(&mut self) {
        self.pipeline.shut_down();
    }
}

/// Reaches the leader from any thread. Cheap to clone; when the last clone is dropped, the leader
/// shuts down.
#[derive(Clone)]
pub struct LeaderHandle {
    inner: Arc<Inner>,
}

impl LeaderHandle {
    /// A panic on one of the leader's threads stops the node.
    fn spawn(
        &self,
        env: &Env,
        name: &'static str,
        body: impl FnOnce(&Pipeline) + Send + 'static,
    ) -> Result<(), SpawnError> {
        let pipeline = Arc::clone(&self.inner.pipeline);
        let guarded = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&pipeline))) {
                pipeline.stop(&format!("{name} panicked: {}", panic_text(&*panic)));
            }
        };
        let thread = env.threads.spawn_prompt(name, Box::new(guarded))?;
        self.inner.threads.lock().push(thread);
        Ok(())
    }

    /// A fresh id, taken right before the commit (or the first part) is submitted.
    #[must_use]
    pub fn new_commit_id(&self) -> CommitId {
        let number = self.inner.next_number.fetch_add(1, Ordering::Relaxed);
        CommitId { term: self.inner.term, start: self.inner.start, number }
    }

    /// What to wait before submitting a commit or a part; see `state_machine::Throttle`.
    #[must_use]
    pub fn throttle(&self) -> Option<Duration> {
        self.inner.pipeline.throttle().delay()
    }

    /// Sends an encoded `message::Request`; `reply` gets the encoded `message::Answer`, exactly
    /// once, perhaps before this returns. Does not wait: resolving and placing happen on the
    /// caller's thread, the rest on others.
    ///
    /// A commit of which parts were sent and which is not answered `Committed` has to be followed
    /// by an `Abort`, else its parts stay open.
    pub fn submit(&self, request: Bytes, reply: Reply) {
        self.inner.pipeline.submit(request, reply);
    }

    /// Logs a control record with what `Placement::place_control` makes of `request`. The callback
    /// gets `Committed` when the record is applied and published, else `Refused` or `Unknown`.
    pub fn control(&self, request: Bytes, callback: AnswerCallback) {
        self.inner.pipeline.control(request, callback);
    }

    /// As `control`; waits for the answer. Not on a thread that must not block, and not on one of
    /// the leader's own.
    #[must_use]
    pub fn control_wait(&self, request: Bytes) -> Answer {
        let (send, answer) = sync_channel(1);
        self.control(
            request,
            Box::new(move |answer| {
                // The receiver waits below, and there is room for one.
                let _ = send.send(answer);
            }),
        );
        answer.recv().expect("everyone is answered")
    }

    #[must_use]
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        self.inner.pipeline.snapshots()
    }

    /// What became of which id, up to what is applied.
    #[must_use]
    pub fn commit_ids(&self) -> &Arc<CommitIds> {
        self.inner.pipeline.commit_ids()
    }

    /// First part of the oldest large commit under way. How far the log may be cut behind a
    /// checkpoint says `commit_ids::Exported::log_from` of that checkpoint.
    #[must_use]
    pub fn oldest_open_part(&self) -> Option<Position> {
        self.inner.pipeline.oldest_open_part()
    }

    #[must_use]
    pub fn status(&self) -> Status {
        match self.inner.pipeline.ended() {
            None => Status::Running,
            Some(None) => Status::ShuttingDown,
            Some(Some(stopped)) => Status::Stopped(stopped),
        }
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.pipeline.metrics()
    }

    /// Stops the node: something that the state needs has failed elsewhere.
    pub fn stop(&self, reason: &str) {
        self.inner.pipeline.stop(reason);
    }

    /// Refuses new requests, waits until everything accepted is answered and the threads have
    /// ended. Idempotent. Not on one of the leader's threads, hence not in a reply.
    pub fn shutdown(&self) {
        self.inner.pipeline.shut_down();
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        for thread in threads {
            if let Err(panicked) = thread.join() {
                tracing::error!(%panicked, "a thread of the leader panicked");
            }
        }
    }
}

impl fmt::Debug for LeaderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderHandle").field("term", &self.inner.term).finish_non_exhaustive()
    }
}
