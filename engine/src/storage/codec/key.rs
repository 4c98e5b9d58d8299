//! Memcomparable keys: the bytes of two keys compare as their values do, and equal bytes mean SQL
//! equality (1.0 = 1.00, -0 = 0, all NaN equal, blanks at the end of a char(n) ignored).
//!
//! The format stands in `docs/formats/keys.md`.

use arrow::array::ArrayRef;
use bytes::Bytes;

use crate::{storage::StorageError, types::PgType};

/// Version of the encoding; stored with each index, since an index lives with the bytes it was
/// built from.
pub const KEY_FORMAT_VERSION: u8 = 1;

/// The longest key, in encoded bytes.
pub const KEY_BYTES_MAX: usize = 8192;

/// Encodes the key columns of batches.
#[derive(Clone, Debug)]
pub struct KeyEncoder {
    types: std::sync::Arc<[PgType]>,
}

/// The keys of the rows of one batch, in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedKeys {
    bytes: Bytes,
    /// End of each key in `bytes`.
    ends: Vec<u32>,
}

impl KeyEncoder {
    /// Types of the key columns in key order. Error: a type that cannot be part of a key.
    pub fn new(types: &[PgType]) -> Result<Self, StorageError> {
        Ok(Self { types: types.into() })
    }

    #[must_use]
    pub fn types(&self) -> &[PgType] {
        &self.types
    }

    /// Keys of all rows. `columns`: the key columns in key order, of equal length.
    pub fn encode_all(&self, _columns: &[ArrayRef]) -> Result<EncodedKeys, StorageError> {
        Err(StorageError::Invalid("key encoding is not built".into()))
    }

    /// Key of one row.
    pub fn encode(&self, _columns: &[ArrayRef], _row: usize) -> Result<Bytes, StorageError> {
        Err(StorageError::Invalid("key encoding is not built".into()))
    }

    /// The values of a key as text, `None` for NULL: for messages such as
    /// `Key (id)=(1) already exists.`
    pub fn decode(&self, _key: &[u8]) -> Result<Vec<Option<String>>, StorageError> {
        Err(StorageError::Invalid("key decoding is not built".into()))
    }
}

impl EncodedKeys {
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key of row `row`. Panics beyond `len()`.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    /// Key of row `row` as a share of the common buffer.
    #[must_use]
    pub fn get_bytes(&self, row: usize) -> Bytes {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        self.bytes.slice(start..self.ends[row] as usize)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }
}
