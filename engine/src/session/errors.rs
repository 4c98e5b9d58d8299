//! Errors of the layers below as the client should see them.

use std::sync::Arc;

use glaredb_catalog::descriptor::Table;
use glaredb_txn::{
    commit::message::{Answer, Refusal},
    ids::TableId,
};

use crate::{
    error::{SqlError, sqlstate},
    storage::{
        StorageError, checkpoint::CheckpointError, database::Database, objects::ObjectError,
        rewrite::RewriteError, schema::TableSchema,
    },
    types::PgType,
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
        StorageError::NotAKeyType(ty @ (PgType::Json | PgType::Jsonpath)) => {
            let message = format!(
                "data type {} has no default operator class for access method \"btree\"",
                ty.sql_name()
            );
            let hint = "You must specify an operator class for the index or define a default operator class for the data type.";
            SqlError::new(sqlstate::UNDEFINED_OBJECT, message).hint(hint)
        }
        StorageError::NotAKeyType(_) => SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message),
        StorageError::Corrupt { .. }
        | StorageError::CorruptObject { .. }
        | StorageError::NoChunk(_) => SqlError::new(sqlstate::DATA_CORRUPTED, message),
        StorageError::ColumnDropped { column, .. } => serialization_failure(format!(
            "Column \"{column}\" was dropped by another transaction."
        )),
        StorageError::RowsMoved(_) => rows_moved(),
        StorageError::ObjectStore(_) => SqlError::new(sqlstate::IO_ERROR, message),
        StorageError::ObjectStoreFull(_) => SqlError::new(sqlstate::DISK_FULL, message),
        _ => SqlError::internal(message),
    }
}

pub(super) fn checkpoint_error(error: CheckpointError) -> SqlError {
    let code = match &error {
        full if full.is_disk_full() => sqlstate::DISK_FULL,
        CheckpointError::ShuttingDown => sqlstate::ADMIN_SHUTDOWN,
        _ => sqlstate::IO_ERROR,
    };
    SqlError::new(code, error.to_string())
}

/// A job that VACUUM asked for was given up.
pub(super) fn rewrite_error(error: RewriteError) -> SqlError {
    let message = error.to_string();
    match error {
        RewriteError::Storage(error) => storage_error(error),
        RewriteError::ShuttingDown => SqlError::new(sqlstate::ADMIN_SHUTDOWN, message),
        RewriteError::Object(ObjectError::Full { .. })
        | RewriteError::Refused(Refusal::DiskFull(_)) => {
            SqlError::new(sqlstate::DISK_FULL, message)
        }
        RewriteError::Object(_) | RewriteError::Log(_) => {
            SqlError::new(sqlstate::IO_ERROR, message)
        }
        RewriteError::Refused(_) | RewriteError::Later(_) | RewriteError::NoTable(_) => {
            SqlError::internal(message)
        }
    }
}

/// Rows of a large statement could not be written into objects.
pub(super) fn staging_error(error: RewriteError) -> SqlError {
    match error {
        RewriteError::Refused(Refusal::TooLate(_)) => taken_for_lost(),
        error => rewrite_error(error),
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

/// A job is over under which rows were written: of sessions only those that stage have one.
fn taken_for_lost() -> SqlError {
    serialization_failure(
        "The statement made no progress for so long that what it had written was taken for lost.",
    )
}

fn rows_moved() -> SqlError {
    serialization_failure(
        "Rows that the transaction changes were moved meanwhile, and it is not known where to.",
    )
}

/// What the answer to a part tells the client. Nothing of the transaction can be committed yet.
pub(super) fn part_answer(database: &Database, answer: Answer) -> Result<(), SqlError> {
    match answer {
        Answer::PartAccepted => Ok(()),
        Answer::Unknown(reason) => Err(refused(database, Refusal::Stopped(reason))),
        answer => Err(not_committed(database, answer)),
    }
}

/// What an answer to a commit other than `Committed` tells the client.
pub(super) fn not_committed(database: &Database, answer: Answer) -> SqlError {
    match answer {
        Answer::Aborted => {
            SqlError::new(sqlstate::TRANSACTION_ROLLBACK, "the transaction was aborted")
        }
        Answer::Conflict { table, key, .. } => {
            serialization_failure(conflict_detail(database, table, &key))
        }
        Answer::Met { table, .. } => serialization_failure(conflict_detail(database, table, &[])),
        Answer::Refused(refusal) => refused(database, refusal),
        Answer::Unknown(reason) => unknown_outcome(reason),
        Answer::Committed { .. } | Answer::PartAccepted => {
            SqlError::internal(format!("the leader answered {answer:?}"))
        }
    }
}

/// 08007: neither "committed" nor "rolled back" would be true for sure.
pub(super) fn unknown_outcome(reason: String) -> SqlError {
    SqlError::new(
        sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
        "the outcome of the transaction is unknown",
    )
    .detail(reason)
    .hint("It may have been committed: look before you repeat it.")
}

fn refused(database: &Database, refusal: Refusal) -> SqlError {
    let message = refusal.to_string();
    match refusal {
        Refusal::SchemaChanged { table, .. } => {
            serialization_failure(schema_detail(database, table))
        }
        Refusal::Moved { .. } => rows_moved(),
        Refusal::TooLate(_) => taken_for_lost(),
        Refusal::TooOld => serialization_failure(
            "The transaction is so old that what others wrote since its snapshot is not remembered.",
        ),
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

/// What a commit met, in the words of whoever wrote the statements.
fn conflict_detail(database: &Database, table: TableId, key: &[u8]) -> String {
    if table == TableId::CATALOG {
        return "Another transaction changed the same table, schema or role, or its name."
            .to_owned();
    }
    let Some(descriptor) = descriptor(database, table) else {
        return "A table that the transaction used was dropped or truncated.".to_owned();
    };
    let name = &descriptor.name;
    match shown_key(&descriptor, key) {
        Some(key) => format!("Key {key} of table \"{name}\" was written by another transaction."),
        None if key.is_empty() => {
            format!("Table \"{name}\" was written by another transaction.")
        }
        None => format!("A row of table \"{name}\" was written by another transaction."),
    }
}

fn schema_detail(database: &Database, table: TableId) -> String {
    match descriptor(database, table) {
        Some(table) => format!("Table \"{}\" was altered by another transaction.", table.name),
        None => "A table that the transaction used was dropped or truncated.".to_owned(),
    }
}

/// The table with this storage, as it is now.
fn descriptor(database: &Database, table: TableId) -> Option<Arc<Table>> {
    let snapshot = database.snapshots().register();
    let catalog = database.catalog_at(&snapshot.snapshot());
    catalog.table_by_storage(table).cloned()
}

/// `(a, b)=(1, x)`; `None` where the table has no primary key.
fn shown_key(table: &Table, key: &[u8]) -> Option<String> {
    let schema = TableSchema::from_descriptor(table).ok()?;
    let values = schema.key_encoder()?.decode(key).ok()?;
    let names = schema.key()?.iter().map(|column| schema.columns()[*column].name.as_str());
    let names: Vec<&str> = names.collect();
    let values: Vec<String> =
        values.into_iter().map(|value| value.unwrap_or_else(|| "null".to_owned())).collect();
    Some(format!("({})=({})", names.join(", "), values.join(", ")))
}
