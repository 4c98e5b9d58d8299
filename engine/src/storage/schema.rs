//! What storage knows of a table's columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, UInt32Array, new_null_array},
    datatypes::{Schema, SchemaRef},
};
use bytes::Bytes;
use glaredb_catalog::descriptor::{self, Composite};
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::SchemaVersion,
};

use super::{
    StorageError,
    codec::{builder::ColumnBuilder, column::Layout, corrupt, key::KeyEncoder, row},
};
use crate::types::{PgType, RecordType};

/// A column as storage sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnSchema {
    /// Field id, never reused within the table.
    pub id: u32,
    pub name: String,
    pub pg_type: PgType,
    pub not_null: bool,
    /// Gone from the table: its place in rows is all that is left of it.
    pub dropped: bool,
    /// Its value in rows from before it came, as a row of one column; `None`: NULL.
    pub missing: Option<Bytes>,
}

impl ColumnSchema {
    /// A column that was always there.
    #[must_use]
    pub fn new(id: u32, name: &str, pg_type: PgType, not_null: bool) -> Self {
        Self { id, name: name.to_owned(), pg_type, not_null, dropped: false, missing: None }
    }
}

/// Columns and key of a table at one version of its descriptor.
///
/// The columns are those of its rows as they lie in storage, in order of their ids: dropped ones keep
/// their place, and new ones only come at the end, so that one version's columns begin another's.
/// Rows have the columns of the version they came under; what comes later is missing in them, and has
/// one value for all of them.
#[derive(Clone, Debug)]
pub struct TableSchema {
    version: SchemaVersion,
    columns: Arc<[ColumnSchema]>,
    /// Ordinals of the columns that are not dropped.
    live: Arc<[usize]>,
    /// By ordinal, the value of columns in rows that miss them: arrays of one row.
    missing: Arc<[Option<ArrayRef>]>,
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
        let live = (0..columns.len()).filter(|ordinal| !columns[*ordinal].dropped).collect();
        let missing = columns
            .iter()
            .map(|column| {
                let decode = |bytes: &Bytes| decode_value(&column.pg_type, bytes);
                column.missing.as_ref().map(decode).transpose()
            })
            .collect::<Result<_, _>>()?;
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
            live,
            missing,
            key: key.map(Into::into),
            key_encoder,
            arrow: Arc::new(Schema::new(fields)),
        })
    }

    /// What storage needs of a table's descriptor. Errors: a column's type is none of ours or cannot
    /// be stored, the key's columns are not there.
    pub fn from_descriptor(table: &descriptor::Table) -> Result<Self, StorageError> {
        let mut columns = Vec::with_capacity(table.columns.len() + table.dropped.len());
        let stored_type = |name: &str, oid: u32, typmod: i32, of: Option<&Composite>| {
            let known = match of {
                None => PgType::from_oid(oid, typmod),
                Some(composite) => stored_composite(oid, composite),
            };
            known.filter(|t| Layout::of(t).is_some()).ok_or_else(|| {
                StorageError::Invalid(format!(
                    "column \"{name}\" of \"{}\" has type OID {oid}, which cannot be stored",
                    table.name
                ))
            })
        };
        for column in &table.columns {
            columns.push(ColumnSchema {
                id: column.id,
                name: column.name.clone(),
                pg_type: stored_type(
                    &column.name,
                    column.type_oid,
                    column.typmod,
                    column.composite.as_ref(),
                )?,
                not_null: column.not_null,
                dropped: false,
                missing: column.missing.clone(),
            });
        }
        for column in &table.dropped {
            // No column that can be named has such a name.
            let name = format!("........dropped.{}........", column.id);
            columns.push(ColumnSchema {
                id: column.id,
                pg_type: stored_type(
                    &name,
                    column.type_oid,
                    column.typmod,
                    column.composite.as_ref(),
                )?,
                name,
                not_null: false,
                dropped: true,
                missing: None,
            });
        }
        columns.sort_by_key(|column| column.id);
        let ordinal_of = |id: u32| columns.iter().position(|c| c.id == id && !c.dropped);
        let key = match &table.primary_key {
            None => None,
            Some(key) => Some(
                key.columns
                    .iter()
                    .map(|id| {
                        ordinal_of(*id).ok_or_else(|| {
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
                .u8(flags(column))
                .str(&column.name);
            if let Some(record) = column.pg_type.record_or_element() {
                encode_record(record, out);
            }
            if let Some(missing) = &column.missing {
                out.bytes(missing);
            }
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
            let flags = input.u8().map_err(&err)?;
            if flags & !(NOT_NULL | DROPPED | MISSING | COMPOSITE) != 0 {
                return Err(err(input.invalid("flags of a column", flags.into())));
            }
            let name = input.str().map_err(&err)?.to_owned();
            let known = match flags & COMPOSITE {
                0 => builtin_type(oid, typmod),
                _ => decode_record(oid, 0, input).map_err(&err)?,
            };
            let pg_type = known.filter(|t| Layout::of(t).is_some()).ok_or_else(|| {
                let reason = format!("type {oid} with modifier {typmod} cannot be stored");
                StorageError::corrupt("table schema", reason)
            })?;
            let missing = match flags & MISSING {
                0 => None,
                _ => Some(Bytes::copy_from_slice(input.bytes().map_err(&err)?)),
            };
            let (not_null, dropped) = (flags & NOT_NULL != 0, flags & DROPPED != 0);
            columns.push(ColumnSchema { id, name, pg_type, not_null, dropped, missing });
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

    /// As stored, dropped ones among them.
    #[must_use]
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    /// Ordinals of the columns that are not dropped, in the table's order.
    #[must_use]
    pub fn live(&self) -> &[usize] {
        &self.live
    }

    /// `rows` values of a column for rows that came before it did.
    #[must_use]
    pub fn missing(&self, ordinal: usize, rows: usize) -> ArrayRef {
        match &self.missing[ordinal] {
            Some(value) => {
                let places = UInt32Array::from(vec![0; rows]);
                arrow::compute::take(value.as_ref(), &places, None)
                    .expect("every place is that of the one row")
            }
            None => {
                let data_type = self.arrow.field(ordinal).data_type();
                new_null_array(data_type, rows)
            }
        }
    }

    /// The Arrow schema of rows with only the first `count` columns.
    #[must_use]
    pub fn arrow_prefix(&self, count: usize) -> SchemaRef {
        if count == self.columns.len() {
            return Arc::clone(&self.arrow);
        }
        Arc::new(Schema::new(self.arrow.fields()[..count].to_vec()))
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

    /// Are the columns of `older` those that this one begins with? Then a storage may hold rows of
    /// both, in chunks of their own where this one has more.
    #[must_use]
    pub fn extends(&self, older: &Self) -> bool {
        self.columns.len() >= older.columns.len()
            && self
                .columns
                .iter()
                .zip(older.columns.iter())
                .all(|(a, b)| a.id == b.id && a.pg_type == b.pg_type)
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

/// What is said of a column in [`TableSchema::encode`].
const NOT_NULL: u8 = 1;
const DROPPED: u8 = 2;
/// A value for rows from before it follows.
const MISSING: u8 = 4;
/// The fields of a composite type follow the name.
const COMPOSITE: u8 = 8;
/// Composite types in one another that are read.
const COMPOSITES_MAX: usize = 64;

fn flags(column: &ColumnSchema) -> u8 {
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    flag(column.not_null, NOT_NULL)
        | flag(column.dropped, DROPPED)
        | flag(column.missing.is_some(), MISSING)
        | flag(column.pg_type.record_or_element().is_some(), COMPOSITE)
}

/// The type of a column that holds rows of a composite type, or arrays of such. Its fields have no names
/// here.
fn stored_composite(oid: u32, composite: &Composite) -> Option<PgType> {
    let mut fields = Vec::with_capacity(composite.fields.len());
    for field in &composite.fields {
        fields.push(match &field.composite {
            None => PgType::from_oid(field.type_oid, field.typmod)?,
            Some(inner) => stored_composite(field.type_oid, inner)?,
        });
    }
    record_type(oid, composite.type_oid, composite.array_type_oid, fields)
}

/// The row type with these OIDs, or the array type over it, as `oid` says.
fn record_type(oid: u32, row: u32, array: u32, fields: Vec<PgType>) -> Option<PgType> {
    let name = format!("row type {row}");
    let of = RecordType { oid: row, array_oid: array, name, ..RecordType::of_values(fields) };
    let of = PgType::Record(Arc::new(of));
    match oid {
        oid if oid == row => Some(of),
        oid if oid == array => Some(PgType::Array(Arc::new(of))),
        _ => None,
    }
}

fn builtin_type(oid: u32, typmod: i64) -> Option<PgType> {
    let typmod = i32::try_from(typmod).ok().filter(|typmod| *typmod >= -1)?;
    PgType::from_oid(oid, typmod)
}

fn encode_record(record: &RecordType, out: &mut Writer) {
    out.varint(record.oid.into()).varint(record.array_oid.into());
    out.varint(record.fields.len() as u64);
    for field in &record.fields {
        let inner = field.ty.record_or_element();
        out.varint(field.ty.oid().into()).zigzag(field.ty.typmod().into());
        out.u8(u8::from(inner.is_some()));
        if let Some(inner) = inner {
            encode_record(inner, out);
        }
    }
}

/// `None`: a type that is none.
fn decode_record(
    oid: u32,
    depth: usize,
    input: &mut Reader<'_>,
) -> Result<Option<PgType>, DecodeError> {
    let (row, array) = (input.varint_u32("type OID")?, input.varint_u32("type OID")?);
    let count = input.count(3)?;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let oid = input.varint_u32("type OID")?;
        let typmod = input.zigzag()?;
        let known = match input.u8()? {
            0 => builtin_type(oid, typmod),
            1 if depth < COMPOSITES_MAX => decode_record(oid, depth + 1, input)?,
            other => return Err(input.invalid("kind of a field", other.into())),
        };
        let Some(known) = known else { return Ok(None) };
        fields.push(known);
    }
    Ok(record_type(oid, row, array, fields))
}

/// The value of a row of one column, as an array of one row.
fn decode_value(pg_type: &PgType, bytes: &[u8]) -> Result<ArrayRef, StorageError> {
    let mut builders = [ColumnBuilder::new(pg_type, 1)?];
    let mut input = Reader::new(bytes);
    row::decode(&mut input, &mut builders)?;
    input.finish().map_err(corrupt("missing value"))?;
    let [builder] = builders;
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use glaredb_catalog::descriptor::{Column, CompositeField, Table};
    use glaredb_txn::ids::TableId;

    use super::*;

    fn composed() -> Table {
        let field =
            |type_oid, typmod| CompositeField { column: 0, type_oid, typmod, composite: None };
        let inner = Composite {
            relation: 16_400,
            type_oid: 16_401,
            array_type_oid: 16_402,
            fields: vec![field(23, -1), field(1043, 14)],
        };
        let outer = Composite {
            relation: 16_403,
            type_oid: 16_404,
            array_type_oid: 16_405,
            fields: vec![CompositeField { composite: Some(inner.clone()), ..field(16_402, -1) }],
        };
        let column = |id, type_oid, composite: Composite| Column {
            id,
            number: id as i16,
            name: format!("c{id}"),
            type_oid,
            typmod: -1,
            composite: Some(composite),
            ..Column::default()
        };
        Table {
            oid: 16_500,
            name: "t".to_owned(),
            storage: TableId(7),
            version: SchemaVersion(1),
            columns: vec![column(1, 16_401, inner), column(2, 16_405, outer)],
            next_column_id: 3,
            ..Table::default()
        }
    }

    #[test]
    fn composite_columns_come_back_as_they_were() {
        let schema = TableSchema::from_descriptor(&composed()).unwrap();
        let mut out = Writer::new();
        schema.encode(&mut out);
        let mut input = Reader::new(out.as_slice());
        let decoded = TableSchema::decode(&mut input).unwrap();
        input.finish().unwrap();
        assert_eq!(decoded.columns(), schema.columns());
        let types: Vec<u32> = schema.columns().iter().map(|c| c.pg_type.oid()).collect();
        assert_eq!(types, [16_401, 16_405]);
        // However it is cut or changed, it is refused and nothing else.
        let bytes = out.as_slice();
        for end in 0..bytes.len() {
            assert!(TableSchema::decode(&mut Reader::new(&bytes[..end])).is_err());
            let mut changed = bytes.to_vec();
            changed[end] ^= 0x15;
            let _ = TableSchema::decode(&mut Reader::new(&changed));
        }
    }

    #[test]
    fn composite_columns_of_other_types_are_refused() {
        let mut table = composed();
        table.columns[0].type_oid = 16_499;
        let error = TableSchema::from_descriptor(&table).unwrap_err();
        assert!(error.to_string().contains("16499"), "{error}");
    }
}
