//! What storage knows of a table's columns.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use glaredb_catalog::descriptor;
use glaredb_txn::ids::SchemaVersion;

use super::{StorageError, codec::key::KeyEncoder};
use crate::types::PgType;

/// A column as storage sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnSchema {
    /// Field id, never reused within the table.
    pub id: u32,
    pub name: String,
    pub pg_type: PgType,
    pub not_null: bool,
}

/// Columns and key of a table at one version of its descriptor.
#[derive(Clone, Debug)]
pub struct TableSchema {
    version: SchemaVersion,
    columns: Arc<[ColumnSchema]>,
    /// Ordinals of the key columns, in key order.
    key: Option<Arc<[usize]>>,
    key_encoder: Option<KeyEncoder>,
    arrow: SchemaRef,
}

impl TableSchema {
    /// `key`: ordinals (not ids) of the primary key's columns in key order; `None` where the row id
    /// is the key. Errors: a key column's type has no key encoding, or an ordinal is out of range.
    pub fn new(
        version: SchemaVersion,
        columns: Vec<ColumnSchema>,
        key: Option<Vec<usize>>,
    ) -> Result<Self, StorageError> {
        let fields =
            columns.iter().map(|c| c.pg_type.field(&c.name, !c.not_null)).collect::<Vec<_>>();
        let key_encoder = match &key {
            None => None,
            Some(ordinals) => {
                let mut types = Vec::with_capacity(ordinals.len());
                for &ordinal in ordinals {
                    let column = columns.get(ordinal).ok_or_else(|| {
                        StorageError::Invalid(format!(
                            "key column {ordinal} of a table with {} columns",
                            columns.len()
                        ))
                    })?;
                    types.push(column.pg_type.clone());
                }
                Some(KeyEncoder::new(&types)?)
            }
        };
        Ok(Self {
            version,
            columns: columns.into(),
            key: key.map(Into::into),
            key_encoder,
            arrow: Arc::new(Schema::new(fields)),
        })
    }

    /// Of a table as the catalog describes it. Errors: a type of a newer version of the program, a
    /// key column that is not there or that no key can have.
    pub fn from_descriptor(table: &descriptor::Table) -> Result<Self, StorageError> {
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let pg_type = PgType::from_oid(column.type_oid, column.typmod).ok_or_else(|| {
                StorageError::Invalid(format!(
                    "column \"{}\" of table \"{}\" has unknown type {} with modifier {}",
                    column.name, table.name, column.type_oid, column.typmod
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
        Self::new(table.version, columns, key)
    }

    #[must_use]
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    #[must_use]
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    /// Ordinals of the primary key's columns in key order; `None`: the row id is the key.
    #[must_use]
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// Encoder of the primary key, which takes the key columns in key order.
    #[must_use]
    pub fn key_encoder(&self) -> Option<&KeyEncoder> {
        self.key_encoder.as_ref()
    }

    /// The Arrow schema of the table's batches: all columns in table order, with type metadata.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Do rows of `other` lie in memory just as rows of this one? Then a chunk may hold both.
    #[must_use]
    pub fn same_columns(&self, other: &Self) -> bool {
        self.columns.len() == other.columns.len()
            && self
                .columns
                .iter()
                .zip(other.columns.iter())
                .all(|(a, b)| a.id == b.id && a.pg_type == b.pg_type)
    }
}
