//! What storage operations report.

use glaredb_txn::ids::{Locator, SchemaVersion, SegmentId, TableId};

use super::objects::ObjectError;
use crate::types::PgType;

/// Errors of the storage half. Callers branch on the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The delta or the write sets outgrew their budget. SQLSTATE 53200.
    #[error("{0}")]
    OutOfMemory(String),
    /// One row does not fit into an entry of the log. SQLSTATE 54000.
    #[error("row of {bytes} bytes exceeds the limit of {bytes_max} bytes")]
    RowTooLarge { bytes: usize, bytes_max: usize },
    /// A key column's type has no order that a key could have. SQLSTATE 0A000.
    #[error("type {} cannot be part of a key", .0.sql_name())]
    NotAKeyType(PgType),
    /// A key is longer than [`crate::storage::codec::key::KEY_BYTES_MAX`]. SQLSTATE 54000.
    #[error("index row requires {bytes} bytes, maximum size is {bytes_max}")]
    KeyTooLarge { bytes: usize, bytes_max: usize },
    /// A numeric key column holds text that is no number: a bug above storage. SQLSTATE XX000.
    #[error("\"{0}\" is not a number")]
    NotANumber(String),
    /// The batch does not have the columns of the table. A bug above storage. SQLSTATE XX000.
    #[error("{table} at {version}: {reason}")]
    SchemaMismatch { table: TableId, version: SchemaVersion, reason: String },
    /// Rows were rewritten without a column that an older snapshot still has. SQLSTATE 40001.
    #[error("column \"{column}\" of {table} was dropped, and its values are gone")]
    ColumnDropped { table: TableId, column: String },
    /// A locator below the horizon, or one that was never given out. SQLSTATE XX000.
    #[error("row {0} is gone")]
    RowGone(Locator),
    /// Rows lie elsewhere by now, and it is not known any more where. SQLSTATE 40001.
    #[error("rows of {0} were moved meanwhile, and it is not known where to")]
    RowsMoved(TableId),
    /// XX001.
    #[error("no chunk {0}")]
    NoChunk(SegmentId),
    /// Bytes that are not what their format says. SQLSTATE XX001.
    #[error("corrupt {what}: {reason}")]
    Corrupt { what: &'static str, reason: String },
    /// An object that is damaged, not there, of another database or of a newer format. SQLSTATE XX001.
    #[error("object {name}: {reason}")]
    CorruptObject { name: String, reason: String },
    /// The store of objects does not answer, or not as it should. SQLSTATE 58030.
    #[error("{0}")]
    ObjectStore(String),
    /// It has no space. SQLSTATE 53100.
    #[error("{0}")]
    ObjectStoreFull(String),
    /// A record or request that contradicts the state. SQLSTATE XX000.
    #[error("{0}")]
    Invalid(String),
}

impl StorageError {
    /// Bytes of `what` do not decode.
    #[must_use]
    pub fn corrupt(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Corrupt { what, reason: reason.into() }
    }
}

impl From<ObjectError> for StorageError {
    fn from(error: ObjectError) -> Self {
        let message = error.to_string();
        match error {
            ObjectError::NotFound(name) | ObjectError::OutOfRange { name, .. } => {
                Self::CorruptObject { name: name.to_string(), reason: message }
            }
            ObjectError::Full { .. } => Self::ObjectStoreFull(message),
            _ => Self::ObjectStore(message),
        }
    }
}
