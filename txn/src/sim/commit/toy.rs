//! A state small enough to be checked whole: a few tables of numbered keys, every version kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    codec::{DecodeError, Reader, Writer},
    commit::{
        commit_ids::{CommitIds, Exported},
        message::{CommitRequest, Part, Refusal},
        record::Record,
        state_machine::{Apply, ApplyError, Placement},
    },
    ids::{CommitId, EntryIndex, LogId, Position, SchemaVersion, TableId, Term, Timestamp},
};

/// The key under which a table keeps its schema version.
pub const SCHEMA_KEY: u32 = u32::MAX;

/// A key whose row lies elsewhere by now, whoever names it.
pub const MOVED_KEY: u32 = u32::MAX - 10;

/// A write to it is refused for want of memory.
pub const TOO_BIG_KEY: u32 = u32::MAX - 1;

/// One row change: the value after it, and the value that the writer read before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Op {
    pub table: u32,
    pub key: u32,
    pub value: Option<u64>,
    pub read: Option<u64>,
}

/// A row version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    pub id: CommitId,
    pub timestamp: Timestamp,
    pub op: Op,
}

/// Everything that is applied.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ToyState {
    pub versions: BTreeMap<(u32, u32), Vec<Version>>,
    pub commits: BTreeMap<CommitId, (Position, Timestamp)>,
    /// What placing gives out: grows by one with every op, parts included.
    pub next_row: u64,
    /// What parts brought that are not committed. In no checkpoint.
    parts: HashMap<CommitId, Vec<Op>>,
    applied: Position,
    /// A begun checkpoint: the state and the ids at its position.
    pub checkpoint: Option<(Vec<u8>, EntryIndex)>,
}

impl ToyState {
    /// The value of a key at a snapshot.
    #[must_use]
    pub fn read(&self, table: u32, key: u32, at: Timestamp) -> Option<u64> {
        let versions = self.versions.get(&(table, key))?;
        versions.iter().rev().find(|version| version.timestamp <= at)?.op.value
    }

    /// Large commits of which something is here that nobody sees.
    #[must_use]
    pub fn open_parts(&self) -> usize {
        self.parts.len()
    }

    fn commit(&mut self, id: CommitId, timestamp: Timestamp, ops: &[Op]) {
        for &op in ops {
            let versions = self.versions.entry((op.table, op.key)).or_default();
            versions.push(Version { id, timestamp, op });
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(self.next_row);
        put_position(&mut out, self.applied);
        out.varint(self.commits.len() as u64);
        for (id, (position, timestamp)) in &self.commits {
            put_id(&mut out, *id);
            put_position(&mut out, *position);
            out.u64(timestamp.0);
        }
        let versions: Vec<&Version> = self.versions.values().flatten().collect();
        out.varint(versions.len() as u64);
        for version in versions {
            put_id(&mut out, version.id);
            out.u64(version.timestamp.0);
            put_ops(&mut out, &[version.op]);
        }
        out.into_vec()
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let next_row = from.varint()?;
        let mut state = Self { next_row, applied: get_position(from)?, ..Self::default() };
        for _ in 0..from.count(1)? {
            let id = get_id(from)?;
            let place = (get_position(from)?, Timestamp(from.u64()?));
            state.commits.insert(id, place);
        }
        for _ in 0..from.count(1)? {
            let id = get_id(from)?;
            let timestamp = Timestamp(from.u64()?);
            state.commit(id, timestamp, &get_ops(from)?);
        }
        Ok(state)
    }
}

/// State and ids out of what `ToyState::checkpoint` held.
pub fn open_checkpoint(bytes: &[u8]) -> Result<(ToyState, CommitIds), DecodeError> {
    let mut from = Reader::new(bytes);
    let mut content = Reader::new(from.frame()?);
    let ids = CommitIds::import(content.bytes()?)?;
    Ok((ToyState::decode(&mut content)?, ids))
}

/// Applies records to a state that readers share.
pub struct ToyApply {
    pub state: Arc<Mutex<ToyState>>,
    pub ids: Arc<CommitIds>,
}

impl Apply for ToyApply {
    fn apply(&mut self, position: Position, record: &Record) -> Result<(), ApplyError> {
        let wrong = |reason: String| ApplyError { position, reason };
        let undecodable = |error: DecodeError| wrong(error.to_string());
        let mut state = self.state.lock();
        let state = &mut *state;
        // A part from before the checkpoint is read again for its content only.
        let again = position <= state.applied && state.applied.index > EntryIndex(0);
        if again && !matches!(record, Record::Part { .. }) {
            return Err(wrong(format!("{record:?} comes again, {} is applied", state.applied)));
        }
        if !again {
            state.applied = position;
        }
        let (row, ops) = match record {
            Record::Commit { payload, .. } | Record::Part { payload, .. } => {
                let mut from = Reader::new(payload);
                let row = from.varint().map_err(undecodable)?;
                (row, get_ops(&mut from).map_err(undecodable)?)
            }
            Record::Abort { .. } | Record::Control { .. } => (state.next_row, Vec::new()),
        };
        if !again {
            if row != state.next_row {
                return Err(wrong(format!("placed at row {row}, applied at {}", state.next_row)));
            }
            state.next_row += ops.len() as u64;
        }
        match *record {
            Record::Commit { id, timestamp, parts, .. } => {
                let mut all = state.parts.remove(&id).unwrap_or_default();
                if (parts > 0) == all.is_empty() {
                    return Err(wrong(format!(
                        "{parts} parts, of which {} ops are here",
                        all.len()
                    )));
                }
                all.extend(ops);
                state.commit(id, timestamp, &all);
                if state.commits.insert(id, (position, timestamp)).is_some() {
                    return Err(wrong(format!("commit {id} comes twice")));
                }
            }
            Record::Part { id, .. } => state.parts.entry(id).or_default().extend(ops),
            Record::Abort { id } => {
                state.parts.remove(&id);
            }
            Record::Control { .. } => {
                let Exported { bytes, log_from } = self.ids.export();
                let mut content = Writer::new();
                content.bytes(&bytes).raw(&state.encode());
                let mut out = Writer::new();
                out.frame(content.as_slice());
                state.checkpoint = Some((out.into_vec(), log_from));
            }
        }
        Ok(())
    }
}

/// Gives out rows, checks schema versions.
pub struct ToyPlacement {
    next_row: u64,
    schemas: HashMap<u32, u64>,
}

impl ToyPlacement {
    /// Of everything that is applied.
    #[must_use]
    pub fn of(state: &ToyState) -> Self {
        let mut placement = Self { next_row: state.next_row, schemas: HashMap::new() };
        for ((table, key), versions) in &state.versions {
            if *key == SCHEMA_KEY {
                let newest = versions.last().and_then(|version| version.op.value);
                placement.schemas.insert(*table, newest.unwrap_or(0));
            }
        }
        placement
    }

    fn place_ops(&mut self, payload: &Bytes) -> Result<Bytes, Refusal> {
        let ops = get_ops(&mut Reader::new(payload))
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        if ops.iter().any(|op| op.key == TOO_BIG_KEY) {
            return Err(Refusal::OutOfMemory("the toy's memory is full".to_owned()));
        }
        if let Some(op) = ops.iter().find(|op| op.key == MOVED_KEY) {
            return Err(Refusal::Moved { table: table_of(op) });
        }
        let mut out = Writer::new();
        out.varint(self.next_row).raw(payload);
        self.next_row += ops.len() as u64;
        for op in ops.iter().filter(|op| op.key == SCHEMA_KEY) {
            self.schemas.insert(op.table, op.value.unwrap_or(0));
        }
        Ok(out.into_bytes())
    }
}

impl Placement for ToyPlacement {
    fn place(&mut self, request: &CommitRequest, _: Timestamp) -> Result<Bytes, Refusal> {
        for &(table, planned) in &request.schema_versions {
            let current = self.schemas.get(&table.0).copied().unwrap_or(0);
            let current = SchemaVersion(u32::try_from(current).expect("few"));
            if current != planned {
                return Err(Refusal::SchemaChanged { table, planned, current: Some(current) });
            }
        }
        self.place_ops(&request.payload)
    }

    fn place_part(&mut self, part: &Part) -> Result<Bytes, Refusal> {
        self.place_ops(&part.payload)
    }

    fn forget_parts(&mut self, _: CommitId) {}

    fn place_control(&mut self, request: &[u8], _: Timestamp) -> Result<Bytes, Refusal> {
        Ok(Bytes::copy_from_slice(request))
    }
}

/// The write set of these changes.
#[must_use]
pub fn payload(ops: &[Op]) -> Bytes {
    let mut out = Writer::new();
    put_ops(&mut out, ops);
    out.into_bytes()
}

/// A key as the resolver gets it.
#[must_use]
pub fn key_bytes(op: &Op) -> [u8; 4] {
    op.key.to_be_bytes()
}

/// The table as the resolver gets it.
#[must_use]
pub fn table_of(op: &Op) -> TableId {
    TableId(op.table)
}

fn put_ops(out: &mut Writer, ops: &[Op]) {
    out.varint(ops.len() as u64);
    for op in ops {
        out.u32(op.table).u32(op.key);
        for value in [op.value, op.read] {
            out.bool(value.is_some()).u64(value.unwrap_or(0));
        }
    }
}

fn get_ops(from: &mut Reader<'_>) -> Result<Vec<Op>, DecodeError> {
    let count = from.count(26)?;
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        let (table, key) = (from.u32()?, from.u32()?);
        let mut values = [None; 2];
        for value in &mut values {
            let there = from.bool()?;
            let number = from.u64()?;
            *value = there.then_some(number);
        }
        ops.push(Op { table, key, value: values[0], read: values[1] });
    }
    Ok(ops)
}

fn put_position(out: &mut Writer, position: Position) {
    out.varint(position.log.0.into()).varint(position.index.0).varint(position.ordinal.into());
}

fn get_position(from: &mut Reader<'_>) -> Result<Position, DecodeError> {
    let log = LogId(from.varint_u32("log")?);
    Ok(Position::new(log, EntryIndex(from.varint()?), from.varint_u32("ordinal")?))
}

fn put_id(out: &mut Writer, id: CommitId) {
    out.varint(id.term.0).u64(id.start).varint(id.number);
}

fn get_id(from: &mut Reader<'_>) -> Result<CommitId, DecodeError> {
    Ok(CommitId { term: Term(from.varint()?), start: from.u64()?, number: from.varint()? })
}
