//! The critical section: one request at a time is resolved, stamped, placed and added to the open
//! batch. No I/O, no waiting, no answering: what is to be answered is returned and answered
//! outside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{
    batch::OpenBatch,
    panic_text,
    reply::{Due, Owed, Waiter},
    space::{SPARE_BYTES, Space},
    tail_ids::TailIds,
};
use crate::{
    commit::{
        commit_ids::Outcome,
        message::{
            Answer, CommitRequest, PAYLOAD_BYTES_MAX, PLACED_GROWTH_BYTES_MAX, Part, Refusal,
            Request,
        },
        record::Record,
        resolver::{Resolver, Verdict},
        snapshots::Stopped,
        state_machine::Placement,
        time::Stamper,
    },
    env::Clock,
    ids::{CommitId, Position, Timestamp},
    log::wal::{Wal, WalError},
};

/// Something to be logged.
pub(super) enum Work {
    Request(Request),
    Control(Bytes),
}

/// What the critical section may look at beyond its own state.
pub(super) struct Surroundings<'a> {
    pub(super) wal: &'a dyn Wal,
    pub(super) clock: &'a dyn Clock,
    pub(super) now_ms: u64,
    /// The window's upper bound.
    pub(super) bound: Timestamp,
    /// Bytes that the log has taken so far.
    pub(super) appended: u64,
    pub(super) published: Position,
}

/// What is left to do outside.
pub(super) enum Then {
    /// It is in the open batch, its waiter too.
    Placed,
    Answer(Owed, Answer),
    /// Once everything up to the position is published; `determinate`: nothing of the request is
    /// in the log, should that never be.
    AnswerPublished {
        owed: Owed,
        position: Position,
        answer: Answer,
        determinate: bool,
    },
    /// No timestamp: waits for a new window.
    Park(Owed, Work),
    /// State and log may have parted: the node stops.
    Fatal(Owed, String),
}

/// Why a request was not placed.
enum Rejection {
    Answer(Answer),
    AnswerPublished { position: Position, answer: Answer, determinate: bool },
    NoTimestamp,
    Fatal(String),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Answer(Answer::Refused(refusal))
    }
}

/// State of the critical section.
pub(super) struct Head {
    pub(super) placement: Box<dyn Placement>,
    pub(super) resolver: Resolver,
    pub(super) stamper: Stamper,
    pub(super) ids: TailIds,
    pub(super) space: Space,
    pub(super) open: OpenBatch,
    /// Wait for a new window.
    pub(super) parked: Vec<(Owed, Work)>,
    /// To be aborted as soon as the log has room: their aborts were refused.
    pub(super) unaborted: Vec<CommitId>,
    /// Set once: nothing is placed any more.
    pub(super) stopped: Option<Stopped>,
    pub(super) shutting_down: bool,
    /// The log thread sleeps and wants to be woken.
    pub(super) log_sleeps: bool,
}

impl Head {
    pub(super) fn handle(&mut self, work: Work, owed: Owed, around: &Surroundings<'_>) -> Then {
        if let Some(stopped) = &self.stopped {
            let refusal = Refusal::Stopped(stopped.0.to_string());
            return Then::Answer(owed, Answer::Refused(refusal));
        }
        if self.shutting_down {
            return Then::Answer(owed, Answer::Refused(Refusal::ShuttingDown));
        }
        let placed = match &work {
            Work::Request(Request::Commit(request)) => self.commit(request, around),
            Work::Request(Request::Part(part)) => self.part(part, around),
            Work::Request(Request::Abort(id) | Request::Resolve(id)) => self.end(*id, around),
            Work::Control(request) => self.control(request, around),
        };
        match placed {
            Ok((position, due)) => {
                self.open.wait(Waiter { position, due, owed });
                Then::Placed
            }
            // What moved the rows is placed: who asks where they are by now finds it applied.
            Err(Rejection::Answer(answer @ Answer::Refused(Refusal::Moved { .. }))) => {
                let position = self.resolver.newest();
                Then::AnswerPublished { owed, position, answer, determinate: true }
            }
            Err(Rejection::Answer(answer)) => Then::Answer(owed, answer),
            Err(Rejection::AnswerPublished { position, answer, determinate }) => {
                Then::AnswerPublished { owed, position, answer, determinate }
            }
            Err(Rejection::NoTimestamp) => Then::Park(owed, work),
            Err(Rejection::Fatal(reason)) => Then::Fatal(owed, reason),
        }
    }

    fn commit(
        &mut self,
        request: &CommitRequest,
        around: &Surroundings<'_>,
    ) -> Result<(Position, Due), Rejection> {
        check_payload(request.payload.len())?;
        let id = request.id;
        let parts = self.open_parts(id)?;
        if request.parts != parts {
            return Err(malformed(format!(
                "commit {id} counts {} parts, {parts} came",
                request.parts
            )));
        }
        self.resolver.check(request).map_err(rejected)?;
        self.ensure_space(placed_len_max(&request.payload), SPARE_BYTES, around)?;
        let timestamp = self.stamp(around)?;
        let payload = place(|| self.placement.place(request, timestamp), request.payload.len())?;
        let len = payload.len();
        let record = Record::Commit { id, timestamp, parts, payload };
        let position = self.push(&record, len);
        self.stamper.used(timestamp);
        self.resolver.record(request, position);
        self.ids.finish(id, position, Some(timestamp), around.published);
        Ok((position, Due::Commit(timestamp)))
    }

    fn part(
        &mut self,
        part: &Part,
        around: &Surroundings<'_>,
    ) -> Result<(Position, Due), Rejection> {
        check_payload(part.payload.len())?;
        let Part { id, sequence, .. } = *part;
        let parts = self.open_parts(id)?;
        if sequence != parts {
            return Err(malformed(format!("part {sequence} of commit {id} where {parts} is due")));
        }
        self.ensure_space(placed_len_max(&part.payload), SPARE_BYTES, around)?;
        let payload = place(|| self.placement.place_part(part), part.payload.len())?;
        let len = payload.len();
        let position = self.push(&Record::Part { id, sequence, payload }, len);
        self.ids.part(id, position, len as u64, around.clock.monotonic());
        Ok((position, Due::Part))
    }

    /// Number of parts that came under an id that has neither committed nor aborted.
    fn open_parts(&self, id: CommitId) -> Result<u32, Rejection> {
        match self.ids.outcome(id) {
            Outcome::Unknown => Ok(0),
            Outcome::Open { parts, .. } => Ok(parts),
            Outcome::Committed { .. } => Err(Refusal::IdUsed(id).into()),
            Outcome::Aborted { .. } => Err(Refusal::IdAborted(id).into()),
            Outcome::Forgotten => Err(Refusal::IdForgotten(id).into()),
        }
    }

    /// What became of `id`, which is aborted unless it is committed.
    fn end(
        &mut self,
        id: CommitId,
        around: &Surroundings<'_>,
    ) -> Result<(Position, Due), Rejection> {
        let (position, answer) = match self.ids.outcome(id) {
            Outcome::Unknown | Outcome::Open { .. } => return self.abort(id, around),
            Outcome::Forgotten => return Err(Refusal::IdForgotten(id).into()),
            Outcome::Committed { position, timestamp } => {
                (position, Answer::Committed { position, timestamp })
            }
            Outcome::Aborted { position } => (position, Answer::Aborted),
        };
        Err(Rejection::AnswerPublished { position, answer, determinate: false })
    }

    fn abort(
        &mut self,
        id: CommitId,
        around: &Surroundings<'_>,
    ) -> Result<(Position, Due), Rejection> {
        if let Err(refused) = self.ensure_space(0, 0, around) {
            // Who gave up asks once. Its parts must not stay for want of a few bytes.
            if matches!(self.ids.outcome(id), Outcome::Open { .. }) && !self.unaborted.contains(&id)
            {
                self.unaborted.push(id);
            }
            return Err(refused);
        }
        let position = self.push(&Record::Abort { id }, 0);
        self.ids.finish(id, position, None, around.published);
        let forgotten = catch_unwind(AssertUnwindSafe(|| self.placement.forget_parts(id)));
        forgotten.map_err(|panic| Rejection::Fatal(placement_panicked(&*panic)))?;
        Ok((position, Due::Abort))
    }

    fn control(
        &mut self,
        request: &Bytes,
        around: &Surroundings<'_>,
    ) -> Result<(Position, Due), Rejection> {
        check_payload(request.len())?;
        self.ensure_space(placed_len_max(request), 0, around)?;
        let timestamp = self.stamp(around)?;
        let placed = || self.placement.place_control(request, timestamp);
        let payload = place(placed, request.len())?;
        let len = payload.len();
        let position = self.push(&Record::Control { timestamp, payload }, len);
        self.stamper.used(timestamp);
        Ok((position, Due::Control(timestamp)))
    }

    fn stamp(&self, around: &Surroundings<'_>) -> Result<Timestamp, Rejection> {
        self.stamper.next(around.now_ms, around.bound).map_err(|_| Rejection::NoTimestamp)
    }

    /// Makes sure that a record with this payload fits the log.
    fn ensure_space(
        &mut self,
        payload_len: usize,
        spare: u64,
        around: &Surroundings<'_>,
    ) -> Result<(), Rejection> {
        let bytes = OpenBatch::cost_max(payload_len);
        let asked = self.space.ensure(bytes, spare, around.appended, around.wal, around.clock);
        asked.map_err(|error| match error {
            WalError::Full(_) => Refusal::DiskFull(error.to_string()).into(),
            other => Rejection::Fatal(other.to_string()),
        })
    }

    fn push(&mut self, record: &Record, payload_len: usize) -> Position {
        let (position, bytes) = self.open.push(record, payload_len);
        self.space.place(bytes);
        self.resolver.advance(position);
        position
    }
}

fn placed_len_max(request: &Bytes) -> usize {
    request.len() + PLACED_GROWTH_BYTES_MAX
}

fn check_payload(len: usize) -> Result<(), Rejection> {
    if len > PAYLOAD_BYTES_MAX {
        return Err(malformed(format!(
            "payload of {len} bytes, {PAYLOAD_BYTES_MAX} are allowed: send it in parts"
        )));
    }
    Ok(())
}

/// Runs the state machine's part. What it returned, or that it panicked, cannot be taken back.
fn place(
    placed: impl FnOnce() -> Result<Bytes, Refusal>,
    request_len: usize,
) -> Result<Bytes, Rejection> {
    let payload = catch_unwind(AssertUnwindSafe(placed))
        .map_err(|panic| Rejection::Fatal(placement_panicked(&*panic)))??;
    let len_max = request_len + PLACED_GROWTH_BYTES_MAX;
    if payload.len() > len_max {
        let len = payload.len();
        let reason = format!("a payload of {request_len} bytes was placed as {len}");
        return Err(Rejection::Fatal(reason));
    }
    Ok(payload)
}

fn placement_panicked(panic: &(dyn std::any::Any + Send)) -> String {
    format!("placing a commit panicked: {}", panic_text(panic))
}

fn malformed(text: String) -> Rejection {
    Refusal::Malformed(text).into()
}

fn rejected(verdict: Verdict) -> Rejection {
    match verdict {
        Verdict::Conflict { table, key, at } => {
            let answer = Answer::Conflict { table, key, at };
            Rejection::AnswerPublished { position: at, answer, determinate: true }
        }
        Verdict::Met { table, at } => {
            let answer = Answer::Met { table, at };
            Rejection::AnswerPublished { position: at, answer, determinate: true }
        }
        Verdict::TooOld => Refusal::TooOld.into(),
        Verdict::ImpossibleBase(base) => malformed(format!("no snapshot was ever at {base}")),
    }
}
