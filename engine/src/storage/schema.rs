//! What storage knows of a table's columns.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use glaredb_catalog::descriptor;
use glaredb_txn::{
    codec::{Reader, Writer},
    ids::SchemaVersion,
};

use super::{
    StorageError,
    codec::{column::Layout, corrupt, key::KeyEncoder},
};
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
        // Nullable, whatever the table says: a row that was deleted before NOT NULL came still lies
        // in its block and may hold NULL.
        let fields = columns.iter().map(|c| c.pg_type.field(&c.name, true)).collect::<Vec<_>>();
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

    /// What storage needs of a table's descriptor. Errors: a column's type is none of ours or cannot
    /// be stored, the key's columns are not there.
    pub fn from_descriptor(table: &descriptor::Table) -> Result<Self, StorageError> {
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let pg_type = PgType::from_oid(column.type_oid, column.typmod)
                .filter(|t| Layout::of(t).is_some())
                .ok_or_else(|| {
                    StorageError::Invalid(format!(
                        "column \"{}\" of \"{}\" has type OID {}, which cannot be stored",
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
        let key = match &table.primary_key {
            None => None,
            Some(key) => Some(
                key.columns
                    .iter()
                    .map(|id| {
                        table.column_index(*id).ok_or_else(|| {
                            StorageError::Invalid(format!(
                                "key \"{}\" names column {id}, which \"{}\" does not have",
                                key.name, table.name
                            ))
                        })
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        Self::new(table.version, columns, key)
    }

    /// Version, columns and key; the form in which parts of a large commit carry the table that the
    /// commit creates (`docs/formats/records-storage.md`).
    pub fn encode(&self, out: &mut Writer) {
        out.varint(self.version.0.into()).varint(self.columns.len() as u64);
        for column in self.columns.iter() {
            out.varint(column.id.into())
                .varint(column.pg_type.oid().into())
                .zigzag(column.pg_type.typmod().into())
                .bool(column.not_null)
                .str(&column.name);
        }
        let key = self.key().unwrap_or_default();
        out.varint(key.len() as u64);
        for ordinal in key {
            out.varint(*ordinal as u64);
        }
    }

    pub fn decode(input: &mut Reader<'_>) -> Result<Self, StorageError> {
        let err = corrupt("table schema");
        let version = SchemaVersion(input.varint_u32("schema version").map_err(&err)?);
        let count = input.count(5).map_err(&err)?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let id = input.varint_u32("column id").map_err(&err)?;
            let oid = input.varint_u32("type OID").map_err(&err)?;
            let typmod = input.zigzag().map_err(&err)?;
            let pg_type = i32::try_from(typmod)
                .ok()
                .filter(|typmod| *typmod >= -1)
                .and_then(|typmod| PgType::from_oid(oid, typmod))
                .filter(|t| Layout::of(t).is_some())
                .ok_or_else(|| {
                    let reason = format!("type {oid} with modifier {typmod} cannot be stored");
                    StorageError::corrupt("table schema", reason)
                })?;
            let not_null = input.bool().map_err(&err)?;
            let name = input.str().map_err(&err)?.to_owned();
            columns.push(ColumnSchema { id, name, pg_type, not_null });
        }
        let count = input.count(1).map_err(&err)?;
        let mut key = Vec::with_capacity(count);
        for _ in 0..count {
            key.push(input.varint().map_err(&err)? as usize);
        }
        Self::new(version, columns, Some(key).filter(|key| !key.is_empty()))
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
