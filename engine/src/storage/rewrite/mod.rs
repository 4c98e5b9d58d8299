//! Jobs that move rows: flush (sealed chunks to segments) and compaction (segments to better ones).
//! `docs/flush.md` has the protocol and why it is right.
//!
//! ```text
//! thread storage-rewriter    requests, else what the policy picks ─▶ one job after the other
//! a job                      [`job::run`]: begin ─▶ [`source`] ─▶ [`merge`] ─▶ [`output`] ─▶ edit
//! thread storage-checkpoint  now and then: [`sweep`] of objects that nobody needs
//! ```
//! A job is a future that only waits for answers of the log and for bytes of objects, and gives way
//! after every batch: the thread blocks on it, the simulator polls it step by step.

mod fault;
mod figures;
mod job;
mod merge;
mod output;
mod policy;
mod rewriter;
mod source;
mod sweep;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use glaredb_txn::{
    commit::{
        leader::{AnswerCallback, LeaderHandle},
        message::{Answer, Refusal},
        pipeline::Pipeline,
        snapshots::Snapshots,
    },
    env::Clock,
    ids::{JobId, TableId, Timestamp},
};
use tokio::sync::oneshot;

use super::{
    StorageError,
    objects::{ObjectError, ObjectName, Objects},
    record::Control,
    segment::{Resident, SegmentStore},
    state::State,
};

pub use fault::FAIL_POINTS;
pub(super) use fault::fault;
pub use figures::{JobCounts, RewriteMetrics};
pub use job::{JobKind, JobReport};
pub use rewriter::RewriteSummary;
pub(super) use rewriter::{RewriteRequest, Rewriter};
pub use sweep::Swept;
pub(super) use sweep::{delete_removed, job_of, orphans};

/// Names of all objects of segments start with this.
pub const PREFIX: &str = "data/";

/// How jobs are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RewriteOptions {
    /// Jobs run by themselves; else only where someone asks for one.
    pub automatic: bool,
    /// VACUUM asks for jobs.
    pub by_vacuum: bool,
    /// Memory of sealed chunks of one table at which they are flushed; at most an eighth of the budget.
    pub flush_bytes: u64,
    /// What one job reads at most, unless two inputs are larger.
    pub job_rows_max: u64,
    /// Memory of the chunks that one flush reads at most.
    pub flush_bytes_max: u64,
    /// Where a segment ends and the next one begins.
    pub segment_rows_max: u32,
    pub segment_bytes_max: u64,
    /// What a job may take beside the chunks that it reads. Set it by [`within`](Self::within).
    pub memory_bytes: u64,
    /// A job that goes on for longer without a sign is taken for lost: its objects are deleted.
    pub orphan_age: Duration,
    /// How often objects are looked for that nobody needs.
    pub sweep_interval: Duration,
    /// Memory of the rows of one statement after which the others go into objects before it commits; at
    /// most an eighth of the budget.
    pub stage_from_bytes: u64,
    /// Memory of rows that are sorted and written together then; at most a sixteenth of the budget.
    pub stage_run_bytes: u64,
}

impl Default for RewriteOptions {
    fn default() -> Self {
        Self {
            automatic: true,
            by_vacuum: true,
            flush_bytes: 64 << 20,
            job_rows_max: 16 << 20,
            flush_bytes_max: 128 << 20,
            segment_rows_max: 2 << 20,
            segment_bytes_max: 256 << 20,
            memory_bytes: 512 << 20,
            orphan_age: Duration::from_secs(3600),
            sweep_interval: Duration::from_secs(600),
            stage_from_bytes: 64 << 20,
            stage_run_bytes: 64 << 20,
        }
    }
}

/// Memory for each row that a job reads: where it goes.
const ROW_BYTES: u64 = 4;
/// A job has this at least: less would make of every batch a row group.
const MEMORY_BYTES_MIN: u64 = 8 << 20;

impl RewriteOptions {
    /// Jobs that take about so much memory:
    ///
    /// ```text
    /// a half     pieces of the inputs that are merged, or rows that are sorted at once
    /// an eighth  the open row group; as much again is what is written of it
    /// an eighth  where each row goes
    /// ```
    /// and the rest keys of chunks, and a batch on its way.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        let memory_bytes = memory_bytes.max(MEMORY_BYTES_MIN);
        Self {
            memory_bytes,
            job_rows_max: self.job_rows_max.min(memory_bytes / 8 / ROW_BYTES),
            flush_bytes_max: self.flush_bytes_max.min(memory_bytes),
            ..self
        }
    }

    fn pieces_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }

    fn row_group_bytes(&self) -> usize {
        usize::try_from(self.memory_bytes / 8).unwrap_or(usize::MAX)
    }

    /// Rows of so many bytes that are merged before others have their turn.
    fn rows_at_once(&self, row_bytes: u64) -> usize {
        let rows = (self.memory_bytes / 32 / row_bytes.max(1)).clamp(64, 8 * 1024);
        (rows as usize).min(self.segment_rows_max.max(1) as usize)
    }
}

/// Why a job did not do its work. What it wrote is gone, or goes with the next sweep.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RewriteError {
    #[error("{0} does not exist")]
    NoTable(TableId),
    /// It can be done later.
    #[error("{0}")]
    Later(String),
    #[error(transparent)]
    Refused(Refusal),
    /// Nobody knows what became of a record: the node stops.
    #[error("the log does not answer: {0}")]
    Log(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl RewriteError {
    /// Something that goes on beside it was first: there is no fault, and it may be tried again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Later(_) | Self::Refused(Refusal::TooLate(_)))
    }

    /// The store of objects does not do what it is asked.
    #[must_use]
    pub fn is_of_store(&self) -> bool {
        let storage = matches!(
            self,
            Self::Storage(StorageError::ObjectStore(_) | StorageError::ObjectStoreFull(_))
        );
        storage || matches!(self, Self::Object(_))
    }
}

/// Where records of jobs are logged.
pub(super) trait ControlLog: Send + Sync {
    fn control(&self, request: Bytes, callback: AnswerCallback);

    fn snapshots(&self) -> &Arc<Snapshots>;
}

impl ControlLog for LeaderHandle {
    fn control(&self, request: Bytes, callback: AnswerCallback) {
        Self::control(self, request, callback);
    }

    fn snapshots(&self) -> &Arc<Snapshots> {
        Self::snapshots(self)
    }
}

impl ControlLog for Pipeline {
    fn control(&self, request: Bytes, callback: AnswerCallback) {
        Self::control(self, request, callback);
    }

    fn snapshots(&self) -> &Arc<Snapshots> {
        Self::snapshots(self)
    }
}

/// What jobs work with.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) state: Arc<State>,
    pub(super) log: Arc<dyn ControlLog>,
    /// Keeps nothing in memory, and goes past the cache of blocks: what a job reads it reads once.
    pub(super) segments: SegmentStore,
    /// The store with its cache, which what is deleted leaves, too.
    pub(super) objects: Arc<dyn Objects>,
    /// What readers keep in memory.
    pub(super) readers: Arc<Resident>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) options: RewriteOptions,
}

impl Site {
    /// `segments`: those of the readers.
    pub(super) fn new(
        state: Arc<State>,
        log: Arc<dyn ControlLog>,
        segments: &SegmentStore,
        clock: Arc<dyn Clock>,
        stopping: Arc<AtomicBool>,
        options: RewriteOptions,
    ) -> Self {
        let readers = Arc::clone(&segments.resident);
        let objects = Arc::clone(&segments.objects);
        let store = objects.uncached().unwrap_or_else(|| Arc::clone(&objects));
        let database = segments.database;
        let segments = SegmentStore { objects: store, database, resident: Resident::new(0) };
        Self { state, log, segments, objects, readers, clock, stopping, options }
    }

    /// Logs a record, waits until it is applied; its timestamp.
    pub(super) async fn log(&self, record: &Control) -> Result<Timestamp, RewriteError> {
        let (sender, receiver) = oneshot::channel();
        let callback = Box::new(move |answer| {
            // Whoever waited may have been given up.
            let _ = sender.send(answer);
        });
        self.log.control(record.encode(), callback);
        match receiver.await {
            Ok(Answer::Committed { timestamp, .. }) => Ok(timestamp),
            Ok(Answer::Refused(Refusal::ShuttingDown)) => Err(RewriteError::ShuttingDown),
            Ok(Answer::Refused(refusal)) => Err(RewriteError::Refused(refusal)),
            Ok(other) => Err(RewriteError::Log(format!("{other:?}"))),
            Err(_) => Err(RewriteError::Log("it ended".to_owned())),
        }
    }

    /// Between two pieces of work.
    pub(super) async fn give_way(&self) -> Result<(), RewriteError> {
        let mut gave_way = false;
        poll_fn(|context| {
            if std::mem::replace(&mut gave_way, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        if self.stopping.load(SeqCst) { Err(RewriteError::ShuttingDown) } else { Ok(()) }
    }

    /// Logs that a job is over, then deletes what it wrote.
    pub(super) async fn end_job(
        &self,
        job: JobId,
        written: &[ObjectName],
    ) -> Result<(), RewriteError> {
        fault::fault("rewrite::end::before")?;
        self.log(&Control::JobEnd(job)).await?;
        fault::fault("rewrite::end::after")?;
        for name in written {
            self.objects.delete(name)?;
        }
        Ok(())
    }
}

/// Name of the `number`th object of a job.
pub(super) fn object_name(table: TableId, job: JobId, number: usize) -> ObjectName {
    ObjectName::new(format!("{PREFIX}{}/{:016x}-{number}.parquet", table.0, job.0))
        .expect("digits make a name")
}
