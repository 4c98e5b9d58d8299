//! From a table's descriptor to what storage knows of its columns.

use glaredb_catalog::descriptor::Table;

use super::errors::storage_error;
use crate::{
    error::SqlError,
    storage::schema::{ColumnSchema, TableSchema},
    types::PgType,
};

/// # Errors
/// 0A000 for a key column of a type that has no key encoding; XX000 for a type OID that is none of
/// ours.
pub(super) fn table_schema(table: &Table) -> Result<TableSchema, SqlError> {
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        let pg_type = PgType::from_oid(column.type_oid, column.typmod).ok_or_else(|| {
            SqlError::internal(format!(
                "column \"{}\" of table \"{}\" has unknown type {}",
                column.name, table.name, column.type_oid
            ))
        })?;
        columns.push(ColumnSchema {
            id: column.id,
            name: column.name.clone(),
            pg_type,
            not_null: column.not_null,
        });
    }
    let key = table.primary_key.as_ref().map(|_| table.key_column_indexes());
    TableSchema::new(table.version, columns, key).map_err(storage_error)
}
