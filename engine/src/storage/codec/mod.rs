//! Encodings of keys, rows and batches. Pinned by golden tests; documented in `docs/formats/`.

pub mod batch;
pub mod builder;
pub mod column;
pub mod key;
pub mod row;
#[cfg(test)]
pub(in crate::storage) mod tests;

use glaredb_txn::codec::DecodeError;

use super::StorageError;

/// Most elements of an array, and of all arrays of a batch's column: as many as PostgreSQL's arrays
/// may have.
pub const ARRAY_LEN_MAX: usize = 134_217_727;

/// A decoding error of the byte layer, with what was being decoded.
pub(crate) fn corrupt(what: &'static str) -> impl Fn(DecodeError) -> StorageError {
    move |e| StorageError::Corrupt { what, reason: e.to_string() }
}
