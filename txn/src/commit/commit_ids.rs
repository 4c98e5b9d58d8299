//! What became of which commit id: a deterministic function of the log, up to what is applied.
//!
//! A session whose answer got lost asks for it by id. An id that the log does not know must first
//! be made impossible, by an abort marker in the log; a late commit with it is then refused:
//!
//! ```text
//! session          leader
//!   Commit{7} ──▶    │ …lost, or slow
//!   Resolve{7} ─────▶│ 7 is unknown: log Abort{7}
//!       ◀── Aborted ─│
//!   ──▶ Commit{7} ──▶│ refused: IdAborted
//! ```
//!
//! Only so many ids are remembered. Those forgotten lie below a floor, one per origin (term and
//! start of the process that counted them); what was asked about them is `Forgotten`, never
//! "aborted".
//!
//! Large commits send parts first. A part's id is *open* until its commit or abort record; the
//! log must not be cut below the first part of an open one, because a checkpoint does not hold
//! what the parts brought.
//!
//! The same state also knows the position and timestamp that everything is applied up to: it is
//! all that the pipeline needs of the past. Bytes of the exported form:
//! `docs/formats/commit_ids.md`.

mod export;

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;

pub use self::export::Exported;
use super::record::Record;
use crate::ids::{CommitId, LogId, Position, Snapshot, Term, Timestamp};

/// How many finished ids are remembered.
pub const REMEMBERED_MAX: usize = 65_536;

/// How many origins have a floor of their own. More, and those of the oldest term are forgotten
/// altogether.
pub const ORIGINS_MAX: usize = 4_096;

/// What the log says about an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Never seen, and if it had been, it would be remembered.
    Unknown,
    /// May or may not have been seen: below the floor.
    Forgotten,
    /// Parts came, neither commit nor abort did. Their number, and where the first one is.
    Open {
        parts: u32,
        first: Position,
    },
    Committed {
        position: Position,
        timestamp: Timestamp,
    },
    Aborted {
        position: Position,
    },
}

/// A large commit of which parts are in the log and no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenParts {
    pub id: CommitId,
    /// Where the first part is. The log is not cut below.
    pub first: Position,
    /// How many are there: the sequence of the next one.
    pub parts: u32,
}

/// A record contradicts what came before it: the log is corrupt, or the leader that wrote it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutOfOrder {
    #[error("record at {position} follows {last}")]
    Position { position: Position, last: Position },
    #[error("record at {position} has timestamp {timestamp}, an earlier one {last}")]
    Timestamp { position: Position, timestamp: Timestamp, last: Timestamp },
    #[error("record at {position} finds commit id {id} as {found:?}")]
    Id { position: Position, id: CommitId, found: Outcome },
    #[error("record at {position} of commit {id}: part {found} where {expected} is due")]
    Part { position: Position, id: CommitId, found: u32, expected: u32 },
    #[error("record at {position} publishes {found} parts of commit {id}, the log has {expected}")]
    Parts { position: Position, id: CommitId, found: u32, expected: u32 },
}

type Origin = (Term, u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Finished {
    position: Position,
    /// `None`: aborted.
    timestamp: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    first: Position,
    parts: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct State {
    remembered_max: usize,
    applied: Snapshot,
    finished: HashMap<CommitId, Finished, FixedState>,
    /// The finished ids in log order: the oldest is forgotten first.
    order: VecDeque<CommitId>,
    open: HashMap<CommitId, Open, FixedState>,
    /// Highest forgotten number per origin.
    floors: HashMap<Origin, u64, FixedState>,
    /// Ids of terms below it are forgotten.
    term_floor: Term,
}

/// See the module's description. Shared between the thread that applies, the leader, and whoever
/// writes checkpoints.
#[derive(Debug)]
pub struct CommitIds {
    state: Mutex<State>,
}

impl CommitIds {
    /// Of an empty log.
    #[must_use]
    pub fn new(log: LogId) -> Self {
        Self::with_limit(log, REMEMBERED_MAX)
    }

    /// As `new`, remembering fewer ids (or more).
    #[must_use]
    pub fn with_limit(log: LogId, remembered_max: usize) -> Self {
        let position = Position { log, ..Position::ZERO };
        let state = State {
            remembered_max,
            applied: Snapshot { position, timestamp: Timestamp::ZERO },
            finished: HashMap::default(),
            order: VecDeque::new(),
            open: HashMap::default(),
            floors: HashMap::default(),
            term_floor: Term::MIN,
        };
        Self { state: Mutex::new(state) }
    }

    /// What the log says about `id`, up to what is applied.
    #[must_use]
    pub fn outcome(&self, id: CommitId) -> Outcome {
        self.state.lock().outcome(id)
    }

    /// Position of the last record applied and timestamp of the last that had one.
    #[must_use]
    pub fn applied(&self) -> Snapshot {
        self.state.lock().applied
    }

    /// First part of the oldest large commit under way. `None`: there is none. How far the log may
    /// be cut behind a checkpoint says `Exported::log_from` of that checkpoint.
    #[must_use]
    pub fn oldest_open_part(&self) -> Option<Position> {
        self.state.lock().open.values().map(|open| open.first).min()
    }

    /// Large commits of which parts are in the log and no end, oldest first.
    #[must_use]
    pub fn open_parts(&self) -> Vec<OpenParts> {
        let state = self.state.lock();
        let mut all: Vec<OpenParts> = state
            .open
            .iter()
            .map(|(&id, open)| OpenParts { id, first: open.first, parts: open.parts })
            .collect();
        all.sort_by_key(|open| open.first);
        all
    }

    /// Takes in the next record of the log.
    pub fn record(&self, position: Position, record: &Record) -> Result<(), OutOfOrder> {
        self.state.lock().record(position, record)
    }
}

impl State {
    fn outcome(&self, id: CommitId) -> Outcome {
        if let Some(finished) = self.finished.get(&id) {
            let position = finished.position;
            return match finished.timestamp {
                Some(timestamp) => Outcome::Committed { position, timestamp },
                None => Outcome::Aborted { position },
            };
        }
        if let Some(open) = self.open.get(&id) {
            return Outcome::Open { parts: open.parts, first: open.first };
        }
        let forgotten = id.term < self.term_floor
            || self.floors.get(&(id.term, id.start)).is_some_and(|&floor| id.number <= floor);
        if forgotten { Outcome::Forgotten } else { Outcome::Unknown }
    }

    fn record(&mut self, position: Position, record: &Record) -> Result<(), OutOfOrder> {
        let last = self.applied;
        if position <= last.position && last.position.index.0 > 0 {
            return Err(OutOfOrder::Position { position, last: last.position });
        }
        if let Some(timestamp) = record.timestamp()
            && timestamp <= last.timestamp
        {
            let last = last.timestamp;
            return Err(OutOfOrder::Timestamp { position, timestamp, last });
        }
        match *record {
            Record::Part { id, sequence, .. } => self.part(position, id, sequence)?,
            Record::Commit { id, timestamp, parts, .. } => {
                let found = self.outcome(id);
                // Forgotten: since the leader looked, when it was still remembered as unknown.
                let expected = match found {
                    Outcome::Open { parts, .. } => parts,
                    Outcome::Unknown | Outcome::Forgotten => 0,
                    _ => return Err(OutOfOrder::Id { position, id, found }),
                };
                if parts != expected {
                    return Err(OutOfOrder::Parts { position, id, found: parts, expected });
                }
                self.finish(id, Finished { position, timestamp: Some(timestamp) });
            }
            Record::Abort { id } => {
                let found = self.outcome(id);
                if matches!(found, Outcome::Committed { .. } | Outcome::Aborted { .. }) {
                    return Err(OutOfOrder::Id { position, id, found });
                }
                self.finish(id, Finished { position, timestamp: None });
            }
            Record::Control { .. } => {}
        }
        self.applied.position = position;
        if let Some(timestamp) = record.timestamp() {
            self.applied.timestamp = timestamp;
        }
        Ok(())
    }

    fn part(&mut self, position: Position, id: CommitId, found: u32) -> Result<(), OutOfOrder> {
        let outcome = self.outcome(id);
        let (first, expected) = match outcome {
            Outcome::Open { parts, first } => (first, parts),
            Outcome::Unknown | Outcome::Forgotten => (position, 0),
            found => return Err(OutOfOrder::Id { position, id, found }),
        };
        if found != expected {
            return Err(OutOfOrder::Part { position, id, found, expected });
        }
        self.open.insert(id, Open { first, parts: expected + 1 });
        Ok(())
    }

    fn finish(&mut self, id: CommitId, finished: Finished) {
        self.open.remove(&id);
        self.finished.insert(id, finished);
        self.order.push_back(id);
        while self.order.len() > self.remembered_max {
            let oldest = self.order.pop_front().expect("longer than the limit");
            self.finished.remove(&oldest);
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: CommitId) {
        if id.term < self.term_floor {
            return;
        }
        let floor = self.floors.entry((id.term, id.start)).or_default();
        *floor = id.number.max(*floor);
        if self.floors.len() > ORIGINS_MAX {
            let oldest = self.floors.keys().map(|&(term, _)| term).min().expect("not empty");
            self.floors.retain(|&(term, _), _| term > oldest);
            self.term_floor = oldest.next();
        }
    }
}

#[cfg(test)]
mod tests;
