//! What stands around the body of every object of a checkpoint.
//!
//! ```text
//! magic (8) "GLARECKP" │ format version u32 │ kind u32 │ database id u128 │ body … │ CRC32C u32
//! ```
//! The CRC covers everything before it.

use bytes::Bytes;
use glaredb_txn::{
    codec::{Reader, Writer, checksum},
    ids::DatabaseId,
};

use super::CheckpointError;
use crate::storage::objects::ObjectName;

pub(super) const MAGIC: &[u8; 8] = b"GLARECKP";

/// The version that is written. Version 1 knew neither segments nor jobs.
pub(super) const FORMAT_VERSION: u32 = 2;
/// The oldest that is read.
const FORMAT_VERSION_MIN: u32 = 1;

/// What an object holds, checked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) body: Bytes,
    pub(super) crc: u32,
    pub(super) version: u32,
}

pub(super) const HEADER_BYTES: usize = 32;
const TRAILER_BYTES: usize = 4;

/// What an object holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Kind {
    Manifest = 1,
    Sections = 2,
}

/// Starts an object; the caller appends the body.
pub(super) fn begin(kind: Kind, database: DatabaseId) -> Writer {
    let mut writer = Writer::new();
    writer.raw(MAGIC).u32(FORMAT_VERSION).u32(kind as u32).u128(database.0);
    writer
}

/// Ends an object: its bytes and its CRC.
pub(super) fn finish(mut writer: Writer) -> (Bytes, u32) {
    let crc = checksum(writer.as_slice());
    writer.u32(crc);
    (writer.into_bytes(), crc)
}

/// Checks everything around the body of object `name`: the whole object's CRC too.
pub(super) fn open(
    name: &ObjectName,
    kind: Kind,
    database: DatabaseId,
    object: &Bytes,
) -> Result<Opened, CheckpointError> {
    let corrupt = |reason: String| CheckpointError::Corrupt { name: name.to_string(), reason };
    if object.len() < HEADER_BYTES + TRAILER_BYTES {
        return Err(corrupt(format!("{} bytes are too few", object.len())));
    }
    let mut reader = Reader::new(object);
    let header = "the header was measured";
    let magic = reader.raw(8).expect(header);
    if magic != MAGIC {
        return Err(corrupt("it does not begin as an object of a checkpoint does".to_owned()));
    }
    let version = reader.u32().expect(header);
    let found_kind = reader.u32().expect(header);
    let found_database = DatabaseId(reader.u128().expect(header));
    // The version comes before the CRC: a newer format may compute it otherwise.
    if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
        return Err(CheckpointError::Version {
            name: name.to_string(),
            found: version,
            known: FORMAT_VERSION,
        });
    }
    let (content, trailer) = object.split_at(object.len() - TRAILER_BYTES);
    let found = u32::from_le_bytes(trailer.try_into().expect("four bytes"));
    let computed = checksum(content);
    if found != computed {
        return Err(corrupt(format!("CRC32C is {found:08x}, the content's is {computed:08x}")));
    }
    if found_database != database {
        return Err(CheckpointError::Foreign {
            name: name.to_string(),
            found: found_database,
            expected: database,
        });
    }
    if found_kind != kind as u32 {
        return Err(corrupt(format!("it is of kind {found_kind}, not {}", kind as u32)));
    }
    let body = object.slice(HEADER_BYTES..object.len() - TRAILER_BYTES);
    Ok(Opened { body, crc: found, version })
}

/// The database that object `name` says it is of; checked no further.
pub(super) fn database_of(
    name: &ObjectName,
    object: &Bytes,
) -> Result<DatabaseId, CheckpointError> {
    let id = object.get(16..32).ok_or_else(|| CheckpointError::Corrupt {
        name: name.to_string(),
        reason: format!("{} bytes are too few", object.len()),
    })?;
    Ok(DatabaseId(u128::from_le_bytes(id.try_into().expect("sixteen bytes"))))
}
