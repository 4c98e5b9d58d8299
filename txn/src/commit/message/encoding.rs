//! Bytes of requests and answers. Described in `docs/formats/messages.md`, pinned by golden tests.

use super::{
    Answer, Assertion, CommitRequest, KeySet, KeyWrites, Part, Refusal, Request, Scope, Watch,
    key_writes::{get_position, put_position},
};
use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{CommitId, IndexId, SchemaVersion, TableId, Term, Timestamp},
};

use bytes::Bytes;

/// First byte of every message; another one is refused.
pub const FORMAT_VERSION: u8 = 1;

mod kind {
    pub(super) const COMMIT: u8 = 1;
    pub(super) const PART: u8 = 2;
    pub(super) const ABORT: u8 = 3;
    pub(super) const RESOLVE: u8 = 4;
    /// A commit with key sets behind it.
    pub(super) const LARGE_COMMIT: u8 = 5;

    pub(super) const COMMITTED: u8 = 1;
    pub(super) const PART_ACCEPTED: u8 = 2;
    pub(super) const ABORTED: u8 = 3;
    pub(super) const CONFLICT: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    pub(super) const UNKNOWN: u8 = 6;
    pub(super) const MET: u8 = 7;

    pub(super) const SCOPE_TABLE: u8 = 1;
    pub(super) const SCOPE_KEY_PRESENCE: u8 = 2;
    pub(super) const SCOPE_KEY_ANY: u8 = 3;

    pub(super) const SCHEMA_CHANGED: u8 = 1;
    pub(super) const TOO_OLD: u8 = 2;
    pub(super) const OUT_OF_MEMORY: u8 = 3;
    pub(super) const DISK_FULL: u8 = 4;
    pub(super) const ID_ABORTED: u8 = 5;
    pub(super) const ID_USED: u8 = 6;
    pub(super) const ID_FORGOTTEN: u8 = 7;
    pub(super) const NO_TIMESTAMP: u8 = 8;
    pub(super) const SHUTTING_DOWN: u8 = 9;
    pub(super) const STOPPED: u8 = 10;
    pub(super) const MALFORMED: u8 = 11;
    pub(super) const MOVED: u8 = 12;
    pub(super) const TOO_LATE: u8 = 13;
}

#[must_use]
pub fn encode_request(request: &Request) -> Bytes {
    let mut out = Writer::with_capacity(64 + request_body_len(request));
    out.u8(FORMAT_VERSION);
    match request {
        Request::Commit(commit) if commit.key_sets.is_empty() => {
            out.u8(kind::COMMIT);
            put_commit(&mut out, commit);
        }
        Request::Commit(commit) => {
            out.u8(kind::LARGE_COMMIT);
            put_commit(&mut out, commit);
            out.varint(commit.key_sets.len() as u64);
            commit.key_sets.iter().for_each(|set| set.encode(&mut out));
        }
        Request::Part(part) => {
            out.u8(kind::PART);
            put_id(&mut out, part.id);
            out.varint(part.sequence.into()).bytes(&part.payload);
        }
        Request::Abort(id) => {
            out.u8(kind::ABORT);
            put_id(&mut out, *id);
        }
        Request::Resolve(id) => {
            out.u8(kind::RESOLVE);
            put_id(&mut out, *id);
        }
    }
    out.into_bytes()
}

fn request_body_len(request: &Request) -> usize {
    match request {
        Request::Commit(commit) => {
            let sets: usize = commit.key_sets.iter().map(KeySet::memory_bytes).sum();
            commit.payload.len() + commit.writes.encoded_len() + sets
        }
        Request::Part(part) => part.payload.len(),
        Request::Abort(_) | Request::Resolve(_) => 0,
    }
}

/// The payload shares `bytes`' memory.
pub fn decode_request(bytes: &Bytes) -> Result<Request, DecodeError> {
    let mut from = Reader::of(bytes);
    check_version(&mut from)?;
    let request = match from.u8()? {
        kind::COMMIT => Request::Commit(get_commit(&mut from)?),
        kind::LARGE_COMMIT => {
            let mut commit = get_commit(&mut from)?;
            commit.key_sets = get_key_sets(&mut from)?;
            Request::Commit(commit)
        }
        kind::PART => Request::Part(Part {
            id: get_id(&mut from)?,
            sequence: from.varint_u32("part sequence")?,
            payload: from.shared()?,
        }),
        kind::ABORT => Request::Abort(get_id(&mut from)?),
        kind::RESOLVE => Request::Resolve(get_id(&mut from)?),
        other => return Err(from.invalid("kind of request", other.into())),
    };
    from.finish()?;
    Ok(request)
}

fn put_commit(out: &mut Writer, commit: &CommitRequest) {
    put_id(out, commit.id);
    out.varint(commit.parts.into());
    out.varint(commit.schema_versions.len() as u64);
    for (table, version) in &commit.schema_versions {
        out.varint(table.0.into()).varint(version.0.into());
    }
    commit.writes.encode(out);
    out.varint(commit.unkeyed.len() as u64);
    for table in &commit.unkeyed {
        out.varint(table.0.into());
    }
    out.varint(commit.assertions.len() as u64);
    for Assertion { table, scope, base } in &commit.assertions {
        match scope {
            Scope::Table => {
                out.u8(kind::SCOPE_TABLE).varint(table.0.into());
            }
            Scope::Key { index, key, watch } => {
                let head = match watch {
                    Watch::Presence => kind::SCOPE_KEY_PRESENCE,
                    Watch::Any => kind::SCOPE_KEY_ANY,
                };
                out.u8(head).varint(table.0.into()).varint(index.0.into()).bytes(key);
            }
        }
        put_position(out, *base);
    }
    out.bytes(&commit.payload);
}

fn get_commit(from: &mut Reader<'_>) -> Result<CommitRequest, DecodeError> {
    let id = get_id(from)?;
    let parts = from.varint_u32("number of parts")?;
    let tables = from.count(2)?;
    let mut schema_versions = Vec::with_capacity(tables);
    for _ in 0..tables {
        let table = TableId(from.varint_u32("table")?);
        schema_versions.push((table, SchemaVersion(from.varint_u32("schema version")?)));
    }
    let writes = KeyWrites::decode(from)?;
    let mut unkeyed = Vec::new();
    for _ in 0..from.count(1)? {
        unkeyed.push(TableId(from.varint_u32("table")?));
    }
    let mut assertions = Vec::new();
    for _ in 0..from.count(5)? {
        let head = from.u8()?;
        let table = TableId(from.varint_u32("table")?);
        let scope = match head {
            kind::SCOPE_TABLE => Scope::Table,
            kind::SCOPE_KEY_PRESENCE => get_key_scope(from, Watch::Presence)?,
            kind::SCOPE_KEY_ANY => get_key_scope(from, Watch::Any)?,
            other => return Err(from.invalid("scope of an assertion", other.into())),
        };
        assertions.push(Assertion { table, scope, base: get_position(from)? });
    }
    let payload = from.shared()?;
    let key_sets = Vec::new();
    Ok(CommitRequest { id, schema_versions, writes, key_sets, unkeyed, assertions, parts, payload })
}

fn get_key_sets(from: &mut Reader<'_>) -> Result<Vec<KeySet>, DecodeError> {
    let count = from.count(8)?;
    if count == 0 {
        return Err(from.invalid("number of key sets", 0));
    }
    (0..count).map(|_| KeySet::decode(from)).collect()
}

fn get_key_scope(from: &mut Reader<'_>, watch: Watch) -> Result<Scope, DecodeError> {
    Ok(Scope::Key { index: IndexId(from.varint_u32("index")?), key: from.shared()?, watch })
}

#[must_use]
pub fn encode_answer(answer: &Answer) -> Bytes {
    let mut out = Writer::with_capacity(32);
    out.u8(FORMAT_VERSION);
    match answer {
        Answer::Committed { position, timestamp } => {
            out.u8(kind::COMMITTED);
            put_position(&mut out, *position);
            out.u64(timestamp.0);
        }
        Answer::PartAccepted => {
            out.u8(kind::PART_ACCEPTED);
        }
        Answer::Aborted => {
            out.u8(kind::ABORTED);
        }
        Answer::Conflict { table, key, at } => {
            out.u8(kind::CONFLICT).varint(table.0.into()).bytes(key);
            put_position(&mut out, *at);
        }
        Answer::Met { table, at } => {
            out.u8(kind::MET).varint(table.0.into());
            put_position(&mut out, *at);
        }
        Answer::Refused(refusal) => {
            out.u8(kind::REFUSED);
            put_refusal(&mut out, refusal);
        }
        Answer::Unknown(reason) => {
            out.u8(kind::UNKNOWN).str(reason);
        }
    }
    out.into_bytes()
}

pub fn decode_answer(bytes: &Bytes) -> Result<Answer, DecodeError> {
    let mut from = Reader::of(bytes);
    check_version(&mut from)?;
    let answer = match from.u8()? {
        kind::COMMITTED => Answer::Committed {
            position: get_position(&mut from)?,
            timestamp: Timestamp(from.u64()?),
        },
        kind::PART_ACCEPTED => Answer::PartAccepted,
        kind::ABORTED => Answer::Aborted,
        kind::CONFLICT => Answer::Conflict {
            table: TableId(from.varint_u32("table")?),
            key: Bytes::copy_from_slice(from.bytes()?),
            at: get_position(&mut from)?,
        },
        kind::MET => {
            Answer::Met { table: TableId(from.varint_u32("table")?), at: get_position(&mut from)? }
        }
        kind::REFUSED => Answer::Refused(get_refusal(&mut from)?),
        kind::UNKNOWN => Answer::Unknown(from.str()?.to_owned()),
        other => return Err(from.invalid("kind of answer", other.into())),
    };
    from.finish()?;
    Ok(answer)
}

fn put_refusal(out: &mut Writer, refusal: &Refusal) {
    match refusal {
        Refusal::SchemaChanged { table, planned, current } => {
            out.u8(kind::SCHEMA_CHANGED).varint(table.0.into()).varint(planned.0.into());
            out.bool(current.is_some()).varint(current.unwrap_or_default().0.into())
        }
        Refusal::TooOld => out.u8(kind::TOO_OLD),
        Refusal::OutOfMemory(text) => out.u8(kind::OUT_OF_MEMORY).str(text),
        Refusal::DiskFull(text) => out.u8(kind::DISK_FULL).str(text),
        Refusal::IdAborted(id) => put_id(out.u8(kind::ID_ABORTED), *id),
        Refusal::IdUsed(id) => put_id(out.u8(kind::ID_USED), *id),
        Refusal::IdForgotten(id) => put_id(out.u8(kind::ID_FORGOTTEN), *id),
        Refusal::NoTimestamp(text) => out.u8(kind::NO_TIMESTAMP).str(text),
        Refusal::ShuttingDown => out.u8(kind::SHUTTING_DOWN),
        Refusal::Stopped(text) => out.u8(kind::STOPPED).str(text),
        Refusal::Malformed(text) => out.u8(kind::MALFORMED).str(text),
        Refusal::Moved { table } => out.u8(kind::MOVED).varint(table.0.into()),
        Refusal::TooLate(text) => out.u8(kind::TOO_LATE).str(text),
    };
}

fn get_refusal(from: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
    Ok(match from.u8()? {
        kind::SCHEMA_CHANGED => {
            let table = TableId(from.varint_u32("table")?);
            let planned = SchemaVersion(from.varint_u32("schema version")?);
            let known = from.bool()?;
            let current = SchemaVersion(from.varint_u32("schema version")?);
            Refusal::SchemaChanged { table, planned, current: known.then_some(current) }
        }
        kind::TOO_OLD => Refusal::TooOld,
        kind::OUT_OF_MEMORY => Refusal::OutOfMemory(from.str()?.to_owned()),
        kind::DISK_FULL => Refusal::DiskFull(from.str()?.to_owned()),
        kind::ID_ABORTED => Refusal::IdAborted(get_id(from)?),
        kind::ID_USED => Refusal::IdUsed(get_id(from)?),
        kind::ID_FORGOTTEN => Refusal::IdForgotten(get_id(from)?),
        kind::NO_TIMESTAMP => Refusal::NoTimestamp(from.str()?.to_owned()),
        kind::SHUTTING_DOWN => Refusal::ShuttingDown,
        kind::STOPPED => Refusal::Stopped(from.str()?.to_owned()),
        kind::MALFORMED => Refusal::Malformed(from.str()?.to_owned()),
        kind::MOVED => Refusal::Moved { table: TableId(from.varint_u32("table")?) },
        kind::TOO_LATE => Refusal::TooLate(from.str()?.to_owned()),
        other => return Err(from.invalid("kind of refusal", other.into())),
    })
}

fn put_id(out: &mut Writer, id: CommitId) -> &mut Writer {
    out.varint(id.term.0).u64(id.start).varint(id.number)
}

fn get_id(from: &mut Reader<'_>) -> Result<CommitId, DecodeError> {
    Ok(CommitId { term: Term(from.varint()?), start: from.u64()?, number: from.varint()? })
}

fn check_version(from: &mut Reader<'_>) -> Result<(), DecodeError> {
    match from.u8()? {
        FORMAT_VERSION => Ok(()),
        other => Err(from.invalid("version of a message", other.into())),
    }
}

#[cfg(test)]
mod tests;
