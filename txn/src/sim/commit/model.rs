//! What must hold: what clients sent, what they were told and what they read, against the state.

use std::collections::BTreeMap;

use super::toy::{Op, ToyState};
use crate::{
    commit::message::{Answer, Refusal},
    ids::{CommitId, Position, Snapshot, Timestamp},
};

/// Something happened that must not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation(pub String);

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::sim::commit::Violation(format!($($text)+)));
        }
    };
}
pub(super) use ensure;

/// What an answer is an answer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    Part,
    Commit,
    /// By the session whose commit it is.
    Resolve,
    Abort,
    /// By anybody.
    Probe,
}

/// What is known of a commit's outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Open,
    Committed(Position, Timestamp),
    /// Will never be seen.
    Absent,
}

#[derive(Clone, Debug)]
struct Sent {
    ops: Vec<Op>,
    /// Asserts that these tables were not written at all.
    asserted: Vec<u32>,
    /// Its keys were sent as sets, which may be said to have keys that they have not.
    as_sets: bool,
    base: Position,
    fate: Fate,
}

/// Everything that clients know.
#[derive(Default, Debug)]
pub struct Model {
    sent: BTreeMap<CommitId, Sent>,
    reads: Vec<(Timestamp, u32, u32, Option<u64>)>,
    /// Newest position that anyone was told is committed.
    acknowledged: Position,
    pub told_committed: u64,
    pub told_conflict: u64,
    /// By kind of refusal.
    pub told_refused: BTreeMap<String, u64>,
    pub told_aborted: u64,
    pub told_unknown: u64,
}

impl Model {
    /// A client is about to commit this, planned on a snapshot at `base`.
    pub fn send(
        &mut self,
        id: CommitId,
        ops: Vec<Op>,
        asserted: Vec<u32>,
        as_sets: bool,
        base: Position,
    ) {
        let sent = Sent { ops, asserted, as_sets, base, fate: Fate::Open };
        assert!(self.sent.insert(id, sent).is_none(), "ids are fresh");
    }

    /// A client read this.
    pub fn read(&mut self, at: Timestamp, table: u32, key: u32, value: Option<u64>) {
        self.reads.push((at, table, key, value));
    }

    /// A statement begins on this snapshot: it sees every commit acknowledged before.
    pub fn begin(&self, snapshot: Snapshot) -> Result<(), Violation> {
        let (begun, acknowledged) = (snapshot.position, self.acknowledged);
        ensure!(begun >= acknowledged, "snapshot {begun} misses acknowledged {acknowledged}");
        Ok(())
    }

    /// Commits whose outcome nobody knows: to be resolved.
    pub fn undecided(&self) -> Vec<CommitId> {
        let open = self.sent.iter().filter(|(_, sent)| sent.fate == Fate::Open);
        open.map(|(id, _)| *id).collect()
    }

    /// A client got an answer to a commit or resolution, when `published` was.
    pub fn answered(
        &mut self,
        id: CommitId,
        (asked, answer): (Asked, &Answer),
        published: Position,
        state: &ToyState,
    ) -> Result<(), Violation> {
        let sent = self.sent.get(&id).expect("only sent commits are answered");
        let before = sent.fate;
        let fate = match answer {
            Answer::Committed { position, timestamp } => {
                self.told_committed += 1;
                ensure!(*position <= published, "{id} acknowledged at {position} over {published}");
                self.acknowledged = self.acknowledged.max(*position);
                Fate::Committed(*position, *timestamp)
            }
            Answer::Conflict { at, .. } => {
                self.told_conflict += 1;
                ensure!(*at <= published, "conflict with {at} told when {published} was published");
                ensure!(*at > sent.base, "{id} on {} conflicts with the older {at}", sent.base);
                ensure!(
                    self.collides(sent, *at, state),
                    "{id} {sent:?} conflicts with {at} over nothing"
                );
                Fate::Absent
            }
            Answer::Met { at, .. } => {
                self.told_conflict += 1;
                ensure!(*at <= published, "{at} was met when {published} was published");
                ensure!(*at > sent.base, "{id} on {} has met the older {at}", sent.base);
                ensure!(sent.as_sets, "{id} without sets has met {at}");
                ensure!(self.collides(sent, *at, state), "{id} {sent:?} has met {at} nowhere");
                Fate::Absent
            }
            Answer::Aborted => {
                self.told_aborted += 1;
                Fate::Absent
            }
            Answer::Refused(refusal) if !is_expected(refusal) => {
                return Err(Violation(format!("{id} refused: {refusal}")));
            }
            Answer::Refused(refusal) if asked == Asked::Commit => {
                *self.told_refused.entry(kind(refusal)).or_default() += 1;
                Fate::Absent
            }
            Answer::Refused(refusal @ Refusal::IdForgotten(_)) => {
                *self.told_refused.entry(kind(refusal)).or_default() += 1;
                return Ok(());
            }
            // Says nothing about the commit that was asked for.
            Answer::Refused(_) => return Ok(()),
            Answer::Unknown(_) => {
                self.told_unknown += 1;
                return Ok(());
            }
            Answer::PartAccepted => return Err(Violation(format!("{id}: a part was answered"))),
        };
        ensure!(before == Fate::Open || before == fate, "{id} was {before:?}, is told {fate:?}");
        self.sent.get_mut(&id).expect("found above").fate = fate;
        Ok(())
    }

    /// Whether the commit at `at` wrote what `sent` wrote or asserts, or may seem to have.
    fn collides(&self, sent: &Sent, at: Position, state: &ToyState) -> bool {
        let other = state.commits.iter().find(|(_, (position, _))| *position == at);
        let Some((other, _)) = other else { return false };
        let wrote = |table: u32, key: Option<u32>| {
            state.versions.iter().any(|((t, k), versions)| {
                *t == table
                    && key.is_none_or(|key| key == *k)
                    && versions.iter().any(|v| v.id == *other)
            })
        };
        // Sets are known by the table alone here.
        let coarse = sent.as_sets || self.sent.get(other).is_none_or(|other| other.as_sets);
        sent.ops.iter().any(|op| wrote(op.table, (!coarse).then_some(op.key)))
            || sent.asserted.iter().any(|table| wrote(*table, None))
    }

    /// Whether a commit was sent under this id.
    pub fn knows(&self, id: CommitId) -> bool {
        self.sent.contains_key(&id)
    }

    /// The state, just recovered and with nobody at work on it, is what clients were told; from
    /// here on what is there stays and what is not never comes.
    pub fn recovered(&mut self, state: &ToyState) -> Result<(), Violation> {
        self.check(state)?;
        for (id, sent) in &mut self.sent {
            sent.fate = match state.commits.get(id) {
                Some(&(position, timestamp)) => Fate::Committed(position, timestamp),
                None => Fate::Absent,
            };
        }
        Ok(())
    }

    /// The state agrees with all that clients know. Reads that were checked are forgotten.
    pub fn check(&mut self, state: &ToyState) -> Result<(), Violation> {
        let mut ops_expected = 0;
        for (id, sent) in &self.sent {
            let there = state.commits.get(id).copied();
            match sent.fate {
                Fate::Committed(position, timestamp) => ensure!(
                    there == Some((position, timestamp)),
                    "acknowledged commit {id} at {position} is found as {there:?}"
                ),
                Fate::Absent => ensure!(there.is_none(), "{id} was denied and is at {there:?}"),
                Fate::Open => {}
            }
            if let Some((_, timestamp)) = there {
                ops_expected += sent.ops.len();
                for op in &sent.ops {
                    let versions = state.versions.get(&(op.table, op.key));
                    let mut found = versions.into_iter().flatten().filter(|v| v.id == *id);
                    let version = found.next();
                    let whole = version.is_some_and(|v| v.op == *op && v.timestamp == timestamp);
                    ensure!(whole, "{id} committed without {op:?}: {version:?}");
                    ensure!(found.next().is_none(), "{id} wrote {op:?} twice");
                }
            }
        }
        let strangers = state.commits.keys().find(|id| !self.sent.contains_key(*id));
        ensure!(strangers.is_none(), "nobody sent {strangers:?}");
        let ops: usize = state.versions.values().map(Vec::len).sum();
        ensure!(ops == ops_expected, "{ops} versions where {ops_expected} were committed");
        check_order(state)?;
        for (at, table, key, value) in std::mem::take(&mut self.reads) {
            let now = state.read(table, key, at);
            ensure!(now == value, "{table}/{key} at {at} was read as {value:?}, is {now:?}");
        }
        Ok(())
    }
}

/// A session of the simulation sends nothing malformed, and no id twice.
fn is_expected(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::Malformed(_) | Refusal::IdUsed(_))
}

/// The refusal's name, without what it is about.
fn kind(refusal: &Refusal) -> String {
    let text = format!("{refusal:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Time grows with the log, and every writer read what the one before it wrote.
fn check_order(state: &ToyState) -> Result<(), Violation> {
    let mut order: Vec<(Position, Timestamp)> = state.commits.values().copied().collect();
    order.sort_unstable();
    for pair in order.windows(2) {
        let grows = pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        ensure!(grows, "positions and timestamps do not grow together: {pair:?}");
    }
    for ((table, key), versions) in &state.versions {
        let mut before = None;
        for version in versions {
            let op = version.op;
            ensure!(op.read == before, "lost update of {table}/{key}: {op:?} over {before:?}");
            before = op.value;
        }
    }
    Ok(())
}
