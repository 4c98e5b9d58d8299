//! One node of the storage half, stepped by hand: what the threads of a database do, one step at a
//! time, with nobody beside it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{future::BoxFuture, task::noop_waker_ref};
use glaredb_catalog::metastore::MetastoreWindow;
use glaredb_txn::{
    commit::{
        commit_ids::CommitIds,
        leader::LeaderOptions,
        message::{Answer, CommitRequest, Part, Refusal, Request, decode_answer, encode_request},
        pipeline::{Appended, Durable, Pipeline, PipelineParts},
        recovery::PIECE_BYTES,
        snapshots::Stopped,
    },
    ids::{CommitId, Term},
    log::local::{LocalWal, LocalWalOptions},
    sim::SimEnv,
};
use parking_lot::Mutex;

use super::{
    store::Weather,
    tables::{Reader, Transaction},
};
use crate::storage::{
    apply::Applier,
    background::Captures,
    budget::Budget,
    checkpoint::{CheckpointStore, CheckpointSummary, CheckpointWriter},
    objects::Objects,
    placement::StoragePlacement,
    record::Control,
    recovery::{LOG, OpenError, RecoverOptions, RecoveryProgress, recover},
    rewrite::{
        self, ControlLog, RewriteError, RewriteOptions, RewriteRequest, Rewriter, Site, Swept,
    },
    segment::{Resident, SegmentStore},
    state::State,
};

/// Answers that arrived, in order.
type Answers = Arc<Mutex<VecDeque<(CommitId, Answer)>>>;

/// What became of a checkpoint's begin record.
type Begun = Arc<Mutex<Option<Answer>>>;

pub(super) struct Node {
    pub(super) state: Arc<State>,
    pub(super) ids: Arc<CommitIds>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) store: Arc<CheckpointStore>,
    /// What is really there.
    pub(super) objects: Arc<dyn Objects>,
    pub(super) reader: Reader,
    pub(super) rewriter: Arc<Rewriter>,
    /// What the thread that rewrites does, and what the one that sweeps.
    job: Option<BoxFuture<'static, Result<(), RewriteError>>>,
    sweep: Option<BoxFuture<'static, Result<Swept, RewriteError>>>,
    term: Term,
    next_id: u64,
    wal: Arc<LocalWal>,
    applier: Applier,
    captures: Captures,
    answers: Answers,
    parts_refused: Arc<Mutex<BTreeSet<CommitId>>>,
    /// Answers to parts that somebody waits for, of which one is under way of each commit.
    parts_answered: Arc<Mutex<BTreeMap<CommitId, Answer>>>,
    appended: Option<Appended>,
    durable: VecDeque<Durable>,
    checkpoint: Checkpointing,
    stopped: Arc<AtomicBool>,
}

enum Checkpointing {
    Idle,
    /// The begin record is on its way.
    Begun(u64, Begun),
    Writing(Box<CheckpointWriter>),
    /// The pointer is moved: the log is to be cut, superseded objects deleted.
    Cutting,
    Sweeping,
}

pub(super) fn log_options() -> LocalWalOptions {
    LocalWalOptions {
        file_bytes: 3 << 20,
        preallocate_in_background: false,
        ..LocalWalOptions::default()
    }
}

/// Small enough that tables get several segments.
fn rewrite_options() -> RewriteOptions {
    RewriteOptions {
        automatic: true,
        flush_bytes: 200_000,
        job_rows_max: 400,
        flush_bytes_max: 400_000,
        segment_rows_max: 50,
        orphan_age: ORPHAN_AGE,
        ..RewriteOptions::default()
    }
}

/// Of jobs, in simulated time: about three hundred steps.
pub(super) const ORPHAN_AGE: Duration = Duration::from_secs(3);

/// What the thread that rewrites is to do.
pub(super) enum RewriteWork {
    Asked(RewriteRequest),
    /// What the policy says.
    Picked,
}

fn poll<T>(future: &mut Option<BoxFuture<'static, T>>) -> Option<T> {
    let polled = future.as_mut()?.as_mut().poll(&mut Context::from_waker(noop_waker_ref()));
    match polled {
        Poll::Pending => None,
        Poll::Ready(result) => {
            *future = None;
            Some(result)
        }
    }
}

impl Node {
    /// Recovers from what is on the simulated disk. From then on its store has this weather.
    pub(super) fn open(sim: &SimEnv, weather: &Arc<Weather>) -> Result<Self, OpenError> {
        let (env, progress) = (sim.env(), RecoveryProgress::default());
        // Often so little at a time that most logs come in several pieces.
        let piece_bytes = match env.random.next_u64() % 3 {
            0 => PIECE_BYTES,
            1 => 1,
            _ => 20_000,
        };
        let budget = Budget::new(1 << 30);
        let options =
            RecoverOptions { log: log_options(), piece_bytes, ..RecoverOptions::new(budget) };
        let mut recovered = recover(&env, options, &progress)?;
        let captures = Captures::attach(&mut recovered);
        let applier = recovered.applier.take().expect("not started yet");
        let window = MetastoreWindow::open(recovered.leadership.clone(), LOG)?;
        let term = recovered.leadership.term();
        let stopped = Arc::<AtomicBool>::default();
        let on_fatal = Arc::clone(&stopped);
        let parts = PipelineParts {
            wal: recovered.wal.clone(),
            placement: Box::new(StoragePlacement::new(recovered.state.clone())),
            window: Arc::new(window),
            ids: recovered.ids.clone(),
            term,
            on_fatal: Box::new(move |_| on_fatal.store(true, Ordering::Relaxed)),
        };
        let pipeline = Pipeline::start(&env, parts, LeaderOptions::default())
            .map_err(|e| OpenError::Start(e.into()))?;
        let objects = weather.store(recovered.objects.clone());
        let segments = |objects: &Arc<dyn Objects>| SegmentStore {
            objects: Arc::clone(objects),
            database: recovered.database,
            resident: Resident::new(0),
        };
        let reader = Reader::new(segments(&recovered.objects));
        let segments = segments(&objects);
        let store = CheckpointStore::new(
            objects,
            recovered.leadership,
            recovered.database,
            Arc::clone(&env.random),
            recovered.checkpoint,
        );
        store.sweep()?;
        let site = Site::new(
            Arc::clone(&recovered.state),
            Arc::clone(&pipeline) as Arc<dyn ControlLog>,
            &segments,
            Arc::clone(&env.clock),
            Arc::default(),
            rewrite_options(),
        );
        Ok(Self {
            state: recovered.state,
            ids: recovered.ids,
            pipeline,
            store: Arc::new(store),
            objects: recovered.objects,
            reader,
            rewriter: Arc::new(Rewriter::new(site)),
            job: None,
            sweep: None,
            term,
            next_id: 1,
            wal: recovered.wal,
            applier,
            captures,
            answers: Answers::default(),
            parts_refused: Arc::default(),
            parts_answered: Arc::default(),
            appended: None,
            durable: VecDeque::new(),
            checkpoint: Checkpointing::Idle,
            stopped,
        })
    }

    /// It takes no commits any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn new_commit_id(&mut self) -> CommitId {
        self.next_id += 1;
        CommitId { term: self.term, start: 1, number: self.next_id }
    }

    /// Sends the parts, never the commit.
    pub(super) fn submit_parts_only(&self, id: CommitId, transaction: Transaction) -> usize {
        let parts = transaction.finish(id).parts;
        let count = parts.len();
        for (sequence, part) in (0..).zip(parts) {
            self.submit_part(Part { id, sequence, payload: part.payload() });
        }
        count
    }

    pub(super) fn submit_part(&self, part: Part) {
        let id = part.id;
        let (refused, answered) =
            (Arc::clone(&self.parts_refused), Arc::clone(&self.parts_answered));
        let reply = move |answer: Bytes| {
            let answer = decode_answer(&answer).expect("the leader's answers decode");
            if !matches!(answer, Answer::PartAccepted | Answer::Refused(Refusal::Moved { .. })) {
                refused.lock().insert(id);
            }
            answered.lock().insert(id, answer);
        };
        self.pipeline.submit(encode_request(&Request::Part(part)), Box::new(reply));
    }

    /// The answer to the part that was sent last.
    pub(super) fn part_answer(&self, id: CommitId) -> Option<Answer> {
        self.parts_answered.lock().remove(&id)
    }

    /// Sends a commit whose parts were sent.
    pub(super) fn submit_commit(&self, request: CommitRequest) {
        self.request(request.id, &Request::Commit(request));
    }

    /// What a session sends after a large commit that is not to be: its parts hold up the log.
    pub(super) fn abort(&self, id: CommitId) {
        self.pipeline.submit(encode_request(&Request::Abort(id)), Box::new(|_| {}));
    }

    /// Was a part of it refused? Then its commit is, too: a real session does not send it.
    pub(super) fn lacks_parts(&self, id: CommitId) -> bool {
        self.parts_refused.lock().contains(&id)
    }

    fn request(&self, id: CommitId, request: &Request) {
        let answers = Arc::clone(&self.answers);
        let reply = move |answer: Bytes| {
            let answer = decode_answer(&answer).expect("the leader's answers decode");
            answers.lock().push_back((id, answer));
        };
        self.pipeline.submit(encode_request(request), Box::new(reply));
    }

    pub(super) fn next_answer(&self) -> Option<(CommitId, Answer)> {
        self.answers.lock().pop_front()
    }

    // What the leader's threads do.

    pub(super) fn append(&mut self) -> Result<(), Stopped> {
        if self.appended.is_none()
            && let Some(batch) = self.pipeline.take_batch()
        {
            self.appended = Some(self.pipeline.append(batch)?);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), Stopped> {
        if let Some(appended) = self.appended.take() {
            self.durable.push_back(self.pipeline.sync(appended)?);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, records_max: usize) -> Result<(), Stopped> {
        let Some(durable) = self.durable.pop_front() else { return Ok(()) };
        let durable = self.pipeline.apply(durable, &mut self.applier, records_max)?;
        if durable.is_applied() {
            self.pipeline.publish(durable)?;
        } else {
            self.durable.push_front(durable);
        }
        Ok(())
    }

    /// Everything that was sent, to the end.
    pub(super) fn drain(&mut self) -> Result<(), Stopped> {
        loop {
            self.append()?;
            if self.appended.is_none() && self.durable.is_empty() {
                return Ok(());
            }
            self.sync()?;
            self.apply(usize::MAX)?;
        }
    }

    /// What the end of a process does: everything sent is answered, then the log is closed. The
    /// node is of no use after an error, which is what the next one has to live with.
    pub(super) fn close(&mut self) {
        if self.drain().is_ok() {
            let _ = self.wal.close();
        }
    }

    /// One step of the thread that rewrites. Where it has nothing to do, it begins with `work`.
    pub(super) fn rewrite_step(
        &mut self,
        work: impl FnOnce(&Self) -> RewriteWork,
    ) -> Option<Result<(), RewriteError>> {
        if self.job.is_none() {
            let (work, rewriter) = (work(self), Arc::clone(&self.rewriter));
            self.job = Some(Box::pin(async move {
                match work {
                    RewriteWork::Asked(request) => rewriter.handle(&request).await.map(drop),
                    RewriteWork::Picked => rewriter.step().await.map(drop),
                }
            }));
        }
        poll(&mut self.job)
    }

    /// The job under way is never heard of again.
    pub(super) fn lose_job(&mut self) -> bool {
        self.job.take().is_some()
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// One step of a sweep, which begins if none is under way.
    pub(super) fn sweep_step(&mut self) -> Option<Result<Swept, RewriteError>> {
        if self.sweep.is_none() {
            let (rewriter, store) = (Arc::clone(&self.rewriter), Arc::clone(&self.store));
            self.sweep = Some(Box::pin(async move {
                let site = rewriter.site();
                rewrite::delete_removed(site, store.current().as_deref()).await?;
                rewrite::orphans(site, || store.current(), ORPHAN_AGE).await
            }));
        }
        poll(&mut self.sweep)
    }

    pub(super) fn log_horizon(&self) {
        let horizon = self.pipeline.snapshots().oldest();
        self.pipeline.control(Control::Horizon(horizon).encode(), Box::new(|_| {}));
    }

    /// One step of a checkpoint, which begins if none is under way. Returns what one that is
    /// complete was. After an error the next step begins anew, as the real thread does.
    pub(super) fn checkpoint_step(&mut self) -> Option<CheckpointSummary> {
        let next = std::mem::replace(&mut self.checkpoint, Checkpointing::Idle);
        let mut done = None;
        self.checkpoint = match next {
            Checkpointing::Idle => {
                let number = self.store.next_number();
                let begun = Begun::default();
                let answer = Arc::clone(&begun);
                self.pipeline.control(
                    Control::CheckpointBegin { number }.encode(),
                    Box::new(move |a| *answer.lock() = Some(a)),
                );
                Checkpointing::Begun(number, begun)
            }
            Checkpointing::Begun(number, begun) => {
                let answer = begun.lock().take();
                match answer {
                    None => Checkpointing::Begun(number, begun),
                    Some(Answer::Committed { .. }) => {
                        let captured = self.captures.take(number).expect("it left an image");
                        let hashes = captured.hashes().expect("few tables");
                        self.pipeline.control(hashes.encode(), Box::new(|_| {}));
                        Checkpointing::Writing(Box::new(self.store.writer(captured)))
                    }
                    Some(_) => Checkpointing::Idle,
                }
            }
            Checkpointing::Writing(mut writer) => match self.store.step(&mut writer) {
                Ok(None) => Checkpointing::Writing(writer),
                Ok(Some(summary)) => {
                    done = Some(summary);
                    Checkpointing::Cutting
                }
                Err(_) => Checkpointing::Sweeping,
            },
            Checkpointing::Cutting => {
                // A cut that fails is made up for after the next checkpoint.
                let _ = self.store.cut_log(&*self.wal, self.ids.oldest_open_part());
                Checkpointing::Sweeping
            }
            Checkpointing::Sweeping => {
                let _ = self.store.sweep();
                Checkpointing::Idle
            }
        };
        done
    }
}
