//! From a table's descriptor to what storage knows of its columns.

use glaredb_catalog::{
    Catalog,
    descriptor::{Column, Table},
};

use super::{errors::storage_error, row_types::type_of};
use crate::{error::SqlError, storage::schema::TableSchema, types::PgType};

/// # Errors
/// 0A000 for a key column of a type that has no key encoding; XX000 for a type OID that is none of
/// ours.
pub(super) fn table_schema(table: &Table) -> Result<TableSchema, SqlError> {
    TableSchema::from_descriptor(table).map_err(storage_error)
}

/// # Errors
/// XX000 for a type OID that is none of ours.
pub(super) fn column_type(
    catalog: &Catalog,
    table: &Table,
    column: &Column,
) -> Result<PgType, SqlError> {
    type_of(catalog, column.type_oid, column.typmod).ok_or_else(|| {
        SqlError::internal(format!(
            "column \"{}\" of table \"{}\" has unknown type {}",
            column.name, table.name, column.type_oid
        ))
    })
}
