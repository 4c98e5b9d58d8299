//! One incarnation of the server, step by step; and the machine that outlives it.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Broken, Violation,
    model::Asked,
    toy::{ToyApply, ToyPlacement, ToyState, open_checkpoint},
};
use crate::{
    commit::{
        commit_ids::{CommitIds, Outcome},
        message::{Answer, Request, decode_answer, encode_request},
        pipeline::{Appended, Batch, Durable, LeaderOptions, Pipeline, PipelineParts},
        recovery::{PIECE_BYTES, Replay},
        snapshots::SnapshotGuard,
        time::FakeWindow,
    },
    env::{read_file, replace_file},
    ids::{CommitId, DatabaseId, EntryIndex, LogId, Snapshot, Term},
    log::{
        local::{LocalWal, LocalWalOptions},
        wal::{Entry, Wal, WalError},
    },
    sim::{Rng, SimEnv},
};

const DATABASE: DatabaseId = DatabaseId(0x5151);
const LOG: LogId = LogId(0);
const CHECKPOINT: &str = "checkpoint";

/// What outlives a crash.
pub(super) struct Machine {
    pub(super) sim: SimEnv,
    pub(super) window: FakeWindow,
    file_bytes: u64,
    resolver_bytes_max: usize,
    remembered_max: usize,
    broken: Broken,
    full: bool,
}

impl Machine {
    pub(super) fn new(rng: &mut Rng, broken: Broken) -> Self {
        Self {
            sim: SimEnv::new(rng.next_u64()),
            window: FakeWindow::default(),
            file_bytes: if rng.chance(1, 4) { 256 << 10 } else { 64 << 10 },
            resolver_bytes_max: if rng.chance(1, 2) { 700 } else { 1 << 20 },
            remembered_max: if rng.chance(1, 2) { 3 } else { 10_000 },
            broken,
            full: false,
        }
    }

    /// The disk has room again.
    pub(super) fn make_room(&mut self) {
        self.full = false;
        self.sim.disk.set_capacity(None);
    }

    /// The disk fills up to what is used now, or has room again.
    pub(super) fn toggle_capacity(&mut self, rng: &mut Rng) {
        self.full = !self.full && rng.chance(1, 2);
        let room = self.sim.disk.used_bytes() + rng.below(2 * self.file_bytes);
        self.sim.disk.set_capacity(self.full.then_some(room));
    }
}

/// A log that says "durable" without syncing.
struct LyingWal(Arc<dyn Wal>);

impl Wal for LyingWal {
    fn log_id(&self) -> LogId {
        self.0.log_id()
    }
    fn term(&self) -> Term {
        self.0.term()
    }
    fn last(&self) -> EntryIndex {
        self.0.last()
    }
    fn durable(&self) -> EntryIndex {
        self.0.last()
    }
    fn first(&self) -> EntryIndex {
        self.0.first()
    }
    fn reserve(&self, bytes: u64) -> Result<(), WalError> {
        self.0.reserve(bytes)
    }
    fn append(&self, term: Term, body: Bytes) -> Result<EntryIndex, WalError> {
        self.0.append(term, body)
    }
    fn sync(&self) -> Result<EntryIndex, WalError> {
        Ok(self.0.last())
    }
    fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError> {
        self.0.read(from, bytes_max)
    }
    fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError> {
        self.0.cut_prefix(before)
    }
}

/// Session, commit, what it asked, what it is told.
pub(super) type Told = (usize, CommitId, Asked, Answer);

type Answers = Arc<Mutex<VecDeque<Told>>>;

/// A running server.
pub(super) struct Node {
    pipeline: Arc<Pipeline>,
    wal: Arc<dyn Wal>,
    apply: ToyApply,
    taken: Option<Batch>,
    appended: Option<Appended>,
    durable: VecDeque<Durable>,
    answers: Answers,
    term: Term,
    start: u64,
    next_number: u64,
    /// Where the log is to be cut, once the checkpoint is written.
    cut: Option<EntryIndex>,
    broken: Broken,
}

impl Node {
    /// Opens the log, loads the checkpoint, replays. An error without power cut is a violation.
    pub(super) fn recover(machine: &Machine, rng: &mut Rng) -> Result<Self, Violation> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Violation(format!("recovery: {what}: {error}"))
        };
        let env = machine.sim.env();
        let options = LocalWalOptions {
            file_bytes: machine.file_bytes,
            preallocate_in_background: false,
            ..LocalWalOptions::default()
        };
        let opened = LocalWal::open(&env, "log", DATABASE, LOG, options);
        let (wal, report) = opened.map_err(|error| failed("log", &error))?;
        let mut wal: Arc<dyn Wal> = wal;
        if machine.broken == Broken::SyncLies {
            wal = Arc::new(LyingWal(wal));
        }
        let (state, ids) = match read_file(&*env.disk, CHECKPOINT, 1 << 30) {
            Ok(bytes) => open_checkpoint(&bytes).map_err(|error| failed("checkpoint", &error))?,
            Err(error) if error.is_not_found() => {
                (ToyState::default(), CommitIds::with_limit(LOG, machine.remembered_max))
            }
            Err(error) => return Err(failed("checkpoint", &error)),
        };
        let ids = Arc::new(ids);
        let mut apply = ToyApply { state: Arc::new(Mutex::new(state)), ids: Arc::clone(&ids) };
        // Often so little at a time that most logs come in several pieces.
        let piece_bytes = if rng.chance(1, 2) { 1 + rng.index(2_000) } else { PIECE_BYTES };
        Replay { wal: &*wal, ids: &ids, threads: &*env.threads, piece_bytes }
            .run(&mut apply, &mut |_| {})
            .map_err(|error| failed("replay", &error))?;
        apply.state.lock().checkpoint = None;
        let parts = PipelineParts {
            wal: Arc::clone(&wal),
            placement: Box::new(ToyPlacement::of(&apply.state.lock())),
            window: Arc::new(machine.window.clone()),
            ids,
            term: report.term,
            on_fatal: Box::new(|_| {}),
        };
        let options = LeaderOptions {
            resolver_bytes_max: machine.resolver_bytes_max,
            log_ahead_bytes: 96 << 10,
        };
        machine.window.set_away(false);
        let pipeline =
            Pipeline::start(&env, parts, options).map_err(|error| failed("start", &error))?;
        Ok(Self {
            pipeline,
            wal,
            apply,
            taken: None,
            appended: None,
            durable: VecDeque::new(),
            answers: Answers::default(),
            term: report.term,
            start: rng.next_u64(),
            next_number: 1,
            cut: None,
            broken: machine.broken,
        })
    }

    pub(super) fn new_commit_id(&mut self) -> CommitId {
        self.next_number += 1;
        CommitId { term: self.term, start: self.start, number: self.next_number - 1 }
    }

    pub(super) fn register(&self) -> SnapshotGuard {
        self.pipeline.snapshots().register()
    }

    pub(super) fn published(&self) -> Snapshot {
        self.pipeline.snapshots().published()
    }

    /// All that is applied, published or not.
    pub(super) fn state(&self) -> ToyState {
        self.apply.state.lock().clone()
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&ToyState) -> T) -> T {
        read(&self.apply.state.lock())
    }

    /// Something that differs when runs differ.
    pub(super) fn trace(&self) -> u64 {
        let published = self.published();
        published.timestamp.0
            ^ published.position.index.0
            ^ (self.answers.lock().len() as u64) << 60
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.pipeline.ended().is_some()
    }

    /// What large commits under way hold: in the log, in the leader's mind, in the state.
    pub(super) fn left_open(&self) -> (bool, u64, usize) {
        let in_log = self.pipeline.oldest_open_part().is_some();
        let in_state = self.read(ToyState::open_parts);
        (in_log, self.pipeline.metrics().open_large, in_state)
    }

    pub(super) fn submit(&self, from: usize, id: CommitId, asked: Asked, request: &Request) {
        let answers = Arc::clone(&self.answers);
        let is_known = self.pipeline.commit_ids().outcome(id) != Outcome::Unknown;
        if self.broken == Broken::NoAbortMarker && asked == Asked::Resolve && !is_known {
            return answers.lock().push_back((from, id, asked, Answer::Aborted));
        }
        let reply = move |bytes: Bytes| {
            let answer = decode_answer(&bytes).expect("an answer was encoded");
            answers.lock().push_back((from, id, asked, answer));
        };
        self.pipeline.submit(encode_request(request), Box::new(reply));
    }

    pub(super) fn take_answers(&self) -> VecDeque<Told> {
        std::mem::take(&mut self.answers.lock())
    }

    /// One step of the log thread or of the apply thread.
    pub(super) fn step(&mut self, rng: &mut Rng) {
        if rng.chance(1, 2) { self.step_log() } else { self.step_apply(1 + rng.index(3)) }
    }

    fn step_log(&mut self) {
        if let Some(appended) = self.appended.take() {
            self.durable.extend(self.pipeline.sync(appended).ok());
        } else if let Some(batch) = self.taken.take() {
            self.appended = self.pipeline.append(batch).ok();
        } else {
            self.taken = self.pipeline.take_batch();
        }
    }

    fn step_apply(&mut self, records: usize) {
        let Some(durable) = self.durable.pop_front() else { return };
        if durable.is_applied() {
            // An error would mean that the pipeline is stopped: its steps say so.
            let _ = self.pipeline.publish(durable);
        } else if let Ok(durable) = self.pipeline.apply(durable, &mut self.apply, records) {
            self.durable.push_front(durable);
        }
    }

    /// Everything that is placed goes all the way.
    pub(super) fn drain(&mut self) {
        loop {
            self.step_log();
            if self.taken.is_none() && self.appended.is_none() {
                self.taken = self.pipeline.take_batch();
                if self.taken.is_none() {
                    break;
                }
            }
        }
        while !self.durable.is_empty() {
            self.step_apply(usize::MAX);
        }
    }

    pub(super) fn keep(&self) {
        self.pipeline.keep();
    }

    /// One step of a checkpoint: begin it, write it, cut the log behind it. Returns how many were
    /// written.
    pub(super) fn checkpoint(
        &mut self,
        machine: &Machine,
        rng: &mut Rng,
    ) -> Result<u64, Violation> {
        if let Some(before) = self.cut.take() {
            // A failed cut leaves the log longer, or ends the log.
            let cut = self.wal.cut_prefix(before);
            return match cut {
                Err(error @ (WalError::BeyondEnd { .. } | WalError::Cut { .. })) => {
                    Err(Violation(format!("cut: {error}")))
                }
                _ => Ok(0),
            };
        }
        let begun = self.apply.state.lock().checkpoint.take();
        let Some((bytes, log_from)) = begun else {
            if rng.chance(1, 2) {
                self.pipeline.control(Bytes::from_static(b"checkpoint"), Box::new(|_| {}));
            }
            return Ok(0);
        };
        let applied = open_checkpoint(&bytes).expect("just made").1.applied().position;
        // On a full disk the old one stays.
        if replace_file(&*machine.sim.disk, CHECKPOINT, &bytes).is_err() {
            return Ok(0);
        }
        let careless = machine.broken == Broken::CutsOpenParts;
        self.cut = Some(if careless { applied.index } else { log_from });
        Ok(1)
    }

    /// The process is gone: what it had in memory with it.
    pub(super) fn die(&mut self) {
        self.taken = None;
        self.appended = None;
        self.durable.clear();
        self.answers.lock().clear();
    }
}
