//! What stands where in the metastore.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `identity` | database id, format version | whoever opens an empty store, once |
//! | `storage` | URL of the location of objects; absent: the data directory | whoever opens the store for the first time, once |
//! | `term` | term, token of the process that began it | a leader when it starts |
//! | `window/LOG` | upper bound of timestamps | the leader |
//! | `checkpoint/LOG` | position and object of the newest checkpoint | the leader |
//! | `catalog/KIND/OID` | position, descriptor | the leader, behind the log |
//! | `catalog/counters` | position, next OID, next storage | the leader, behind the log |
//! | `catalog_position` | position up to which all of `catalog/` is | the leader, last |
//! | `node/…` | reserved for the node registry | |
//!
//! Values begin with [`VALUE_VERSION`]; their bytes stand in `docs/formats/metastore.md`.

use bytes::Bytes;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{EntryIndex, LogId, Position, TableId},
};

use crate::descriptor::Oid;

/// First byte of every value.
pub const VALUE_VERSION: u8 = 1;

pub const IDENTITY: Bytes = Bytes::from_static(b"identity");
pub const STORAGE: Bytes = Bytes::from_static(b"storage");
pub const TERM: Bytes = Bytes::from_static(b"term");
/// Prefix of everything that trails the log but the position itself.
pub const CATALOG: Bytes = Bytes::from_static(b"catalog/");
pub const CATALOG_COUNTERS: Bytes = Bytes::from_static(b"catalog/counters");
pub const CATALOG_POSITION: Bytes = Bytes::from_static(b"catalog_position");

#[must_use]
pub fn window(log: LogId) -> Bytes {
    format!("window/{}", log.0).into()
}

#[must_use]
pub fn checkpoint(log: LogId) -> Bytes {
    format!("checkpoint/{}", log.0).into()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DescriptorKind {
    Database,
    Role,
    Schema,
    Table,
}

impl DescriptorKind {
    const ALL: [Self; 4] = [Self::Database, Self::Role, Self::Schema, Self::Table];

    fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Role => "role",
            Self::Schema => "schema",
            Self::Table => "table",
        }
    }
}

#[must_use]
pub fn descriptor(kind: DescriptorKind, oid: Oid) -> Bytes {
    format!("catalog/{}/{oid}", kind.name()).into()
}

/// Kind and OID of a descriptor's key; `None` for another key.
#[must_use]
pub fn parse_descriptor(key: &[u8]) -> Option<(DescriptorKind, Oid)> {
    let (kind, oid) = std::str::from_utf8(key).ok()?.strip_prefix("catalog/")?.split_once('/')?;
    let kind = DescriptorKind::ALL.into_iter().find(|k| k.name() == kind)?;
    Some((kind, oid.parse().ok()?))
}

/// A value that a key cannot have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValueError {
    #[error("{key} has format version {found}; this build reads up to {VALUE_VERSION}")]
    Newer { key: String, found: u8 },
    #[error("{key} is malformed: {reason}")]
    Malformed { key: String, reason: String },
}

/// A value of this version; `write` writes what follows the version byte.
pub(super) fn encode(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VALUE_VERSION);
    write(&mut writer);
    writer.into_bytes()
}

/// Reads a value of this version to its end.
pub(super) fn decode<'a, T>(
    key: &[u8],
    value: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, ValueError> {
    let key = String::from_utf8_lossy(key);
    let mut reader = Reader::new(value);
    let malformed =
        |e: DecodeError| ValueError::Malformed { key: key.to_string(), reason: e.to_string() };
    let version = reader.u8().map_err(malformed)?;
    if version != VALUE_VERSION {
        return Err(ValueError::Newer { key: key.to_string(), found: version });
    }
    let decoded = read(&mut reader).map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    Ok(decoded)
}

pub(super) fn write_position(writer: &mut Writer, position: Position) {
    writer.u32(position.log.0).u64(position.index.0).u32(position.ordinal);
}

pub(super) fn read_position(reader: &mut Reader<'_>) -> Result<Position, DecodeError> {
    Ok(Position::new(LogId(reader.u32()?), EntryIndex(reader.u64()?), reader.u32()?))
}

pub(super) fn encode_position(position: Position) -> Bytes {
    encode(|w| write_position(w, position))
}

pub(super) fn decode_position(key: &[u8], value: &[u8]) -> Result<Position, ValueError> {
    decode(key, value, read_position)
}

pub(super) fn encode_counters(position: Position, next_oid: Oid, next_table: TableId) -> Bytes {
    encode(|w| {
        write_position(w, position);
        w.u32(next_oid).u32(next_table.0);
    })
}

pub(super) fn decode_counters(value: &[u8]) -> Result<(Position, Oid, TableId), ValueError> {
    decode(&CATALOG_COUNTERS, value, |r| Ok((read_position(r)?, r.u32()?, TableId(r.u32()?))))
}

pub(super) fn encode_descriptor(position: Position, descriptor: &[u8]) -> Bytes {
    encode(|w| {
        write_position(w, position);
        w.raw(descriptor);
    })
}

/// Position and bytes of a descriptor.
pub(super) fn decode_descriptor<'a>(
    key: &[u8],
    value: &'a [u8],
) -> Result<(Position, &'a [u8]), ValueError> {
    decode(key, value, |r| Ok((read_position(r)?, r.rest())))
}
