//! Records: what an entry's body is made of. The ordinal of a record within its entry is the
//! `ordinal` of its position.
//!
//! A record repeats nothing that the one before it in the same entry says: the origin (term and
//! start) of its commit id is left out if it is the same, numbers and timestamps are differences.
//! Alone in its entry, a commit record adds about 23 bytes to its payload, in company 6.
//! Bytes: `docs/formats/records.md`.

use bytes::Bytes;

use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{CommitId, Term, Timestamp},
    log::wal::ENTRY_BYTES_MAX,
};

/// First byte of every entry body; another one is refused.
pub const FORMAT_VERSION: u8 = 1;

/// What a record adds to its payload, at most.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 64;

/// Payload of a record at most: one record always fits an entry.
pub const RECORD_PAYLOAD_BYTES_MAX: usize = ENTRY_BYTES_MAX - RECORD_OVERHEAD_BYTES_MAX - 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// Row changes, DDL, or both. Publishes the `parts` logged before under the same id.
    Commit { id: CommitId, timestamp: Timestamp, parts: u32, payload: Bytes },
    /// Part of a large commit, invisible until its commit record.
    Part { id: CommitId, sequence: u32, payload: Bytes },
    /// `id` will never commit; its parts are dropped.
    Abort { id: CommitId },
    /// Of the state machine's own, at the leader's initiative: sealing a chunk outside a commit,
    /// the horizon, the begin of a checkpoint. `timestamp` orders it among the commits.
    Control { timestamp: Timestamp, payload: Bytes },
}

impl Record {
    /// The timestamp, of those that have one.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Commit { timestamp, .. } | Self::Control { timestamp, .. } => Some(*timestamp),
            Self::Part { .. } | Self::Abort { .. } => None,
        }
    }

    /// The commit id, of those that have one.
    #[must_use]
    pub fn id(&self) -> Option<CommitId> {
        match self {
            Self::Commit { id, .. } | Self::Part { id, .. } | Self::Abort { id } => Some(*id),
            Self::Control { .. } => None,
        }
    }
}

const KIND_COMMIT: u8 = 1;
const KIND_PART: u8 = 2;
const KIND_ABORT: u8 = 3;
const KIND_CONTROL: u8 = 4;
const KIND_BITS: u8 = 0b0000_0111;
/// Term and start of the id are those of the id before.
const SAME_ORIGIN: u8 = 0b0000_1000;
/// A commit with parts: their number follows.
const HAS_PARTS: u8 = 0b0001_0000;

/// What a record is encoded relative to: the id and the timestamp before it in the entry.
#[derive(Clone, Copy, Default, Debug)]
struct Context {
    id: Option<CommitId>,
    timestamp: Timestamp,
}

impl Context {
    fn origin_bit(&self, id: CommitId) -> u8 {
        match self.id {
            Some(before) if before.term == id.term && before.start == id.start => SAME_ORIGIN,
            _ => 0,
        }
    }

    fn put_id(&mut self, out: &mut Writer, id: CommitId) {
        if self.origin_bit(id) == 0 {
            out.varint(id.term.0).u64(id.start).varint(id.number);
        } else {
            let before = self.id.expect("same origin as the id before").number;
            out.zigzag(id.number.wrapping_sub(before).cast_signed());
        }
        self.id = Some(id);
    }

    fn get_id(&mut self, from: &mut Reader<'_>, head: u8) -> Result<CommitId, DecodeError> {
        let id = if head & SAME_ORIGIN == 0 {
            CommitId { term: Term(from.varint()?), start: from.u64()?, number: from.varint()? }
        } else {
            let Some(before) = self.id else {
                return Err(from.invalid("head of an entry's first record", head.into()));
            };
            let number = before.number.wrapping_add(from.zigzag()?.cast_unsigned());
            CommitId { number, ..before }
        };
        self.id = Some(id);
        Ok(id)
    }

    /// Timestamps grow within an entry, so the difference is positive; were it not, it would wrap
    /// and still be read back right.
    fn put_timestamp(&mut self, out: &mut Writer, timestamp: Timestamp) {
        out.varint(timestamp.0.wrapping_sub(self.timestamp.0));
        self.timestamp = timestamp;
    }

    fn get_timestamp(&mut self, from: &mut Reader<'_>) -> Result<Timestamp, DecodeError> {
        self.timestamp = Timestamp(self.timestamp.0.wrapping_add(from.varint()?));
        Ok(self.timestamp)
    }
}

/// Builds an entry's body record by record.
#[derive(Debug)]
pub struct BodyBuilder {
    out: Writer,
    context: Context,
    records: u32,
}

impl Default for BodyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyBuilder {
    #[must_use]
    pub fn new() -> Self {
        let mut out = Writer::with_capacity(1024);
        out.u8(FORMAT_VERSION);
        Self { out, context: Context::default(), records: 0 }
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Number of records so far: the ordinal of the next one.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether a record with this payload still fits the entry, whatever its ids are.
    #[must_use]
    pub fn fits(&self, payload_len: usize) -> bool {
        self.out.len() + payload_len + RECORD_OVERHEAD_BYTES_MAX <= ENTRY_BYTES_MAX
    }

    /// Adds a record that `fits`.
    pub fn push(&mut self, record: &Record) {
        let (out, context) = (&mut self.out, &mut self.context);
        match record {
            Record::Commit { id, timestamp, parts, payload } => {
                let parts_bit = if *parts > 0 { HAS_PARTS } else { 0 };
                out.u8(KIND_COMMIT | parts_bit | context.origin_bit(*id));
                context.put_id(out, *id);
                context.put_timestamp(out, *timestamp);
                if *parts > 0 {
                    out.varint((*parts).into());
                }
                out.bytes(payload);
            }
            Record::Part { id, sequence, payload } => {
                out.u8(KIND_PART | context.origin_bit(*id));
                context.put_id(out, *id);
                out.varint((*sequence).into()).bytes(payload);
            }
            Record::Abort { id } => {
                out.u8(KIND_ABORT | context.origin_bit(*id));
                context.put_id(out, *id);
            }
            Record::Control { timestamp, payload } => {
                out.u8(KIND_CONTROL);
                context.put_timestamp(out, *timestamp);
                out.bytes(payload);
            }
        }
        self.records += 1;
        assert!(out.len() <= ENTRY_BYTES_MAX, "an entry of {} bytes", out.len());
    }

    #[must_use]
    pub fn finish(self) -> Bytes {
        self.out.into_bytes()
    }
}

/// The body of an entry with these records.
#[must_use]
pub fn encode(records: &[Record]) -> Bytes {
    let mut body = BodyBuilder::new();
    for record in records {
        body.push(record);
    }
    body.finish()
}

/// The records of an entry's body; payloads share its memory. The record's index in the vector is
/// its ordinal.
pub fn decode(body: &Bytes) -> Result<Vec<Record>, DecodeError> {
    let mut from = Reader::of(body);
    match from.u8()? {
        FORMAT_VERSION => {}
        other => return Err(from.invalid("version of an entry body", other.into())),
    }
    let mut context = Context::default();
    let mut records = Vec::new();
    while !from.is_empty() {
        records.push(decode_record(&mut from, &mut context)?);
    }
    Ok(records)
}

fn decode_record(from: &mut Reader<'_>, context: &mut Context) -> Result<Record, DecodeError> {
    let head = from.u8()?;
    let allowed = match head & KIND_BITS {
        KIND_COMMIT => KIND_BITS | SAME_ORIGIN | HAS_PARTS,
        KIND_PART | KIND_ABORT => KIND_BITS | SAME_ORIGIN,
        KIND_CONTROL => KIND_BITS,
        _ => 0,
    };
    if head & !allowed != 0 || allowed == 0 {
        return Err(from.invalid("head of a record", head.into()));
    }
    Ok(match head & KIND_BITS {
        KIND_COMMIT => {
            let id = context.get_id(from, head)?;
            let timestamp = context.get_timestamp(from)?;
            let parts = if head & HAS_PARTS == 0 { 0 } else { from.varint_u32("number of parts")? };
            Record::Commit { id, timestamp, parts, payload: from.shared()? }
        }
        KIND_PART => {
            let id = context.get_id(from, head)?;
            let sequence = from.varint_u32("part sequence")?;
            Record::Part { id, sequence, payload: from.shared()? }
        }
        KIND_ABORT => Record::Abort { id: context.get_id(from, head)? },
        _ => {
            let timestamp = context.get_timestamp(from)?;
            Record::Control { timestamp, payload: from.shared()? }
        }
    })
}

#[cfg(test)]
mod tests;
