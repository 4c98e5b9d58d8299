//! Errors of the layers below as the client should see them.

use glaredb_txn::commit::message::{Answer, Refusal};

use crate::{
    error::{SqlError, sqlstate},
    storage::StorageError,
};

pub(crate) fn storage_error(error: StorageError) -> SqlError {
    let message = error.to_string();
    match error {
        StorageError::OutOfMemory(detail) => {
            SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory for changes").detail(detail)
        }
        StorageError::RowTooLarge { .. } | StorageError::KeyTooLarge { .. } => {
            SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        }
        StorageError::NotAKeyType(_) => SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message),
        StorageError::Corrupt { .. } | StorageError::NoChunk(_) => {
            SqlError::new(sqlstate::DATA_CORRUPTED, message)
        }
        _ => SqlError::internal(message),
    }
}

/// 40001, as PostgreSQL words it.
pub(super) fn serialization_failure(detail: impl Into<String>) -> SqlError {
    SqlError::new(
        sqlstate::SERIALIZATION_FAILURE,
        "could not serialize access due to concurrent update",
    )
    .detail(detail)
    .hint("The transaction might succeed if retried.")
}

/// What an answer of the leader that is no success tells the client. `Ok` for success.
pub(super) fn answer(answer: Answer) -> Result<(), SqlError> {
    match answer {
        Answer::Committed { .. } | Answer::PartAccepted => Ok(()),
        Answer::Aborted => {
            Err(SqlError::new(sqlstate::TRANSACTION_ROLLBACK, "the transaction was aborted"))
        }
        Answer::Conflict { table, at } => {
            Err(serialization_failure(format!("A commit at {at} wrote to {table}.")))
        }
        Answer::Refused(refusal) => Err(refused(refusal)),
        Answer::Unknown(reason) => Err(SqlError::new(
            sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
            "the outcome of the transaction is unknown",
        )
        .detail(reason)),
    }
}

fn refused(refusal: Refusal) -> SqlError {
    let message = refusal.to_string();
    match refusal {
        Refusal::SchemaChanged { .. } | Refusal::TooOld => serialization_failure(message),
        Refusal::OutOfMemory(_) => SqlError::new(sqlstate::OUT_OF_MEMORY, message),
        Refusal::DiskFull(_) => SqlError::new(sqlstate::DISK_FULL, message),
        Refusal::IdAborted(_) => SqlError::new(sqlstate::TRANSACTION_ROLLBACK, message),
        Refusal::IdForgotten(_) => SqlError::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, message),
        Refusal::NoTimestamp(_) => SqlError::new(sqlstate::CANNOT_CONNECT_NOW, message),
        Refusal::Stopped(_) => SqlError::new(sqlstate::IO_ERROR, message),
        Refusal::ShuttingDown => SqlError::new(sqlstate::ADMIN_SHUTDOWN, message),
        _ => SqlError::internal(message),
    }
}
