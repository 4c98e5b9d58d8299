//! A client: one transaction after the other, some of them large, some whose answers get lost.

use std::collections::VecDeque;

use super::{
    Broken, Violation,
    model::{Asked, Model},
    node::Node,
    toy::{self, Op, SCHEMA_KEY, TOO_BIG_KEY},
};
use crate::{
    commit::{
        message::{
            Answer, Assertion, CommitRequest, KeyGroup, KeySet, KeyWriteRef, KeyWrites, Mark,
            NEVER_CONFLICTS, Part, Request, Scope,
        },
        snapshots::SnapshotGuard,
    },
    ids::{CommitId, IndexId, Position, SchemaVersion, TableId, Timestamp},
    sim::Rng,
};

const TABLES: u32 = 2;
const KEYS: u32 = 6;

enum State {
    Idle,
    /// A transaction that has done its reads.
    Planned(Box<Plan>),
    /// Its commit was sent; so many answers are due.
    Waiting {
        id: CommitId,
        due: u32,
        parts: bool,
    },
    /// Its transaction failed, but parts of it are left.
    Left(CommitId),
    /// An abort was sent.
    Aborting(CommitId),
}

struct Plan {
    id: CommitId,
    /// Parts to be sent, and whether one is on its way.
    parts: VecDeque<Part>,
    sent_parts: u32,
    waits_for_part: bool,
    commit: CommitRequest,
    ops: Vec<Op>,
    asserted: Vec<u32>,
    base: Position,
    _reading: SnapshotGuard,
}

pub(super) struct Session {
    me: usize,
    state: State,
    /// Unique values to write.
    next_value: u64,
}

impl Session {
    pub(super) fn new(me: usize) -> Self {
        Self { me, state: State::Idle, next_value: (me as u64) << 32 }
    }

    /// Whether an answer is due.
    pub(super) fn waits(&self) -> bool {
        match &self.state {
            State::Idle | State::Left(_) => false,
            State::Planned(plan) => plan.waits_for_part,
            State::Waiting { .. } | State::Aborting(_) => true,
        }
    }

    pub(super) fn step(
        &mut self,
        rng: &mut Rng,
        node: &mut Node,
        model: &mut Model,
        broken: Broken,
    ) -> Result<(), Violation> {
        if self.waits() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Planned(plan) => self.go_on(plan, rng, node, model),
            State::Left(id) if rng.chance(4, 5) => self.abort(id, node),
            // Late, perhaps not before the node dies: then the next one cleans up.
            left @ State::Left(_) => self.state = left,
            _ => {
                let plan = self.plan(rng, node, model, broken)?;
                self.state = plan.map_or(State::Idle, State::Planned);
            }
        }
        Ok(())
    }

    /// Reads, and decides what to write.
    fn plan(
        &mut self,
        rng: &mut Rng,
        node: &mut Node,
        model: &mut Model,
        broken: Broken,
    ) -> Result<Option<Box<Plan>>, Violation> {
        let reading = node.register();
        model.begin(reading.snapshot())?;
        let base = reading.snapshot().position;
        let mut at = reading.timestamp();
        if broken == Broken::ReadsUnpublished {
            at = Timestamp(u64::MAX);
        }
        let mut read = |table, key| {
            let value = node.read(|state| state.read(table, key, at));
            model.read(reading.timestamp(), table, key, value);
            value
        };
        let table = 1 + rng.index(TABLES as usize) as u32;
        let kind = rng.below(100);
        let (mut keys, mut asserted) = (Vec::new(), Vec::new());
        match kind {
            // Read only.
            0..15 => {
                (0..KEYS).for_each(|key| {
                    read(table, key);
                });
                return Ok(None);
            }
            // DDL and truncation: whole tables.
            15..20 => {
                keys.push((table, SCHEMA_KEY));
                asserted.push(table);
            }
            20..25 => {
                keys.extend((0..KEYS).map(|key| (table, key)));
                asserted.push(table);
            }
            25..28 => keys.push((table, TOO_BIG_KEY)),
            _ => {
                for _ in 0..=rng.below(4) {
                    let table = 1 + rng.index(TABLES as usize) as u32;
                    keys.push((table, rng.index(KEYS as usize) as u32));
                }
                keys.sort_unstable();
                keys.dedup();
            }
        }
        let mut schemas: Vec<u32> = keys.iter().map(|(table, _)| *table).collect();
        schemas.dedup();
        let schema_versions = schemas
            .iter()
            .map(|&table| {
                let version = read(table, SCHEMA_KEY).unwrap_or(0);
                (TableId(table), SchemaVersion(u32::try_from(version).expect("few")))
            })
            .collect();
        let truncates = (20..25).contains(&kind);
        let ops: Vec<Op> = keys
            .iter()
            .map(|&(table, key)| {
                let before = read(table, key);
                self.next_value += 1;
                let value = match key {
                    SCHEMA_KEY => Some(before.unwrap_or(0) + 1),
                    _ if truncates || rng.chance(1, 6) => None,
                    _ => Some(self.next_value),
                };
                Op { table, key, value, read: before }
            })
            .collect();
        let id = node.new_commit_id();
        let (parts, rest) = split(id, &ops, rng);
        // As large commits do.
        let as_sets = rng.chance(1, 4);
        let (named, in_sets): (Vec<Op>, Vec<Op>) = ops.iter().partition(|_| !as_sets);
        let commit = CommitRequest {
            id,
            schema_versions,
            writes: key_writes(&named, base, broken),
            key_sets: key_sets(&in_sets, base, broken),
            unkeyed: Vec::new(),
            assertions: assertions(&asserted, base, broken),
            parts: u32::try_from(parts.len()).expect("few"),
            payload: toy::payload(&rest),
        };
        Ok(Some(Box::new(Plan {
            id,
            parts,
            sent_parts: 0,
            waits_for_part: false,
            commit,
            ops,
            asserted,
            base,
            _reading: reading,
        })))
    }

    /// Sends the next part, or the commit, or gives up.
    fn go_on(&mut self, mut plan: Box<Plan>, rng: &mut Rng, node: &mut Node, model: &mut Model) {
        let (me, id) = (self.me, plan.id);
        if plan.sent_parts > 0 && rng.chance(1, 8) {
            return self.abort(id, node);
        }
        if let Some(part) = plan.parts.pop_front() {
            plan.sent_parts += 1;
            plan.waits_for_part = true;
            self.state = State::Planned(plan);
            return node.submit(me, id, Asked::Part, &Request::Part(part));
        }
        let as_sets = !plan.commit.key_sets.is_empty();
        model.send(id, plan.ops, plan.asserted, as_sets, plan.base);
        let (parts, commit) = (plan.sent_parts > 0, Request::Commit(plan.commit));
        let lost = rng.chance(1, 5);
        // The question may overtake the commit.
        let overtaken = lost && rng.chance(1, 2);
        let due = 1 + u32::from(lost);
        self.state = State::Waiting { id, due, parts };
        if overtaken {
            node.submit(me, id, Asked::Resolve, &Request::Resolve(id));
        }
        node.submit(me, id, Asked::Commit, &commit);
        if lost && !overtaken {
            node.submit(me, id, Asked::Resolve, &Request::Resolve(id));
        }
    }

    /// Gives up what it is at, unless that is decided by an answer to come.
    pub(super) fn quit(&mut self, node: &Node) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Planned(plan) if plan.sent_parts > 0 => self.abort(plan.id, node),
            State::Left(id) => self.abort(id, node),
            State::Idle | State::Planned(_) => {}
            waiting => self.state = waiting,
        }
    }

    fn abort(&mut self, id: CommitId, node: &Node) {
        self.state = State::Aborting(id);
        node.submit(self.me, id, Asked::Abort, &Request::Abort(id));
    }

    pub(super) fn answered(&mut self, id: CommitId, asked: Asked, answer: &Answer) {
        match &mut self.state {
            State::Planned(plan) if plan.id == id && asked == Asked::Part => {
                plan.waits_for_part = false;
                if !matches!(answer, Answer::PartAccepted) {
                    self.state = State::Left(id);
                }
            }
            State::Waiting { id: mine, due, parts }
                if *mine == id && matches!(asked, Asked::Commit | Asked::Resolve) =>
            {
                *due -= 1;
                if *due == 0 {
                    let left = *parts && !matches!(answer, Answer::Committed { .. });
                    self.state = if left { State::Left(id) } else { State::Idle };
                }
            }
            State::Aborting(mine) if *mine == id && asked == Asked::Abort => {
                self.state = State::Idle;
            }
            _ => assert!(asked == Asked::Probe, "{id}: unexpected answer {answer:?} to {asked:?}"),
        }
    }

    /// The server died under it.
    pub(super) fn lost(&mut self) {
        self.state = State::Idle;
    }
}

/// Some of the changes go ahead in parts.
fn split(id: CommitId, ops: &[Op], rng: &mut Rng) -> (VecDeque<Part>, Vec<Op>) {
    let mut parts = VecDeque::new();
    let mut rest = ops;
    while rest.len() > 1 && rng.chance(1, 3) {
        let (part, later) = rest.split_at(1);
        let sequence = u32::try_from(parts.len()).expect("few");
        parts.push_back(Part { id, sequence, payload: toy::payload(part) });
        rest = later;
    }
    (parts, rest.to_vec())
}

fn key_writes(ops: &[Op], base: Position, broken: Broken) -> KeyWrites {
    let base = base_of(base, broken);
    let mut writes = KeyWrites::new();
    for op in ops {
        let (table, key, mark) = (toy::table_of(op), toy::key_bytes(op), mark_of(op));
        writes.push(KeyWriteRef { table, index: IndexId::KEY, key: &key, mark, base });
    }
    writes
}

/// One set for each table and effect, with one or two groups.
fn key_sets(ops: &[Op], base: Position, broken: Broken) -> Vec<KeySet> {
    let base = base_of(base, broken);
    let mut sets: Vec<(TableId, Mark, Vec<[u8; 4]>)> = Vec::new();
    for op in ops {
        let (table, mark, key) = (toy::table_of(op), mark_of(op), toy::key_bytes(op));
        match sets.iter_mut().find(|set| (set.0, set.1) == (table, mark)) {
            Some((_, _, keys)) => keys.push(key),
            None => sets.push((table, mark, vec![key])),
        }
    }
    let sets = sets.into_iter().map(|(table, mark, mut keys)| {
        keys.sort_unstable();
        let group = |keys: &[[u8; 4]]| KeyGroup::of(keys.iter().map(|key| &key[..]));
        let groups = keys.chunks(3).filter_map(group).collect();
        KeySet { table, index: IndexId::KEY, mark, base, groups }
    });
    sets.collect()
}

fn base_of(base: Position, broken: Broken) -> Position {
    if broken == Broken::ResolverBlind { NEVER_CONFLICTS } else { base }
}

fn mark_of(op: &Op) -> Mark {
    match (op.read, op.value) {
        (None, _) => Mark::Added,
        (Some(_), None) => Mark::Removed,
        (Some(_), Some(_)) => Mark::Changed,
    }
}

fn assertions(tables: &[u32], base: Position, broken: Broken) -> Vec<Assertion> {
    if broken == Broken::ResolverBlind {
        return Vec::new();
    }
    let assertion = |&table: &u32| Assertion { table: TableId(table), scope: Scope::Table, base };
    tables.iter().map(assertion).collect()
}
