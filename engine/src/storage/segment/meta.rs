//! What the list of segments says of each: all that a reader needs before its first request.

use bytes::Bytes;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{RowId, SchemaVersion, TableId, Timestamp},
};

use super::{index::Extent, sketch::Sketch, statistics::ColumnStatistics};
use crate::storage::{
    StorageError,
    codec::{corrupt, key::KeyEncoder},
    objects::ObjectName,
    schema::TableSchema,
};

/// Version of the encoding.
const META_VERSION: u8 = 1;

/// What the rows of a segment are sorted by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SortOrder {
    RowId,
    /// The encoded key over these columns, by their ids.
    Key(Vec<u32>),
}

/// A segment as the log's records and checkpoints name it (`docs/formats/segment.md`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentMeta {
    pub name: ObjectName,
    /// Of the whole object.
    pub bytes: u64,
    pub table: TableId,
    /// Under which it was written.
    pub schema_version: SchemaVersion,
    pub sort_order: SortOrder,
    pub rows: u32,
    /// Everything from the index to the end of the object. Its CRC stands for the whole object:
    /// the index has those of all else.
    pub tail: Extent,
    /// All filters, one after the other; `None` where the row id is the key.
    pub filters: Option<Extent>,
    /// The least and the greatest commit timestamp.
    pub commits: (Timestamp, Timestamp),
    /// The least and the greatest row id.
    pub row_ids: (RowId, RowId),
    /// The first and the last encoded key; of row ids, where these are the key.
    pub keys: (Bytes, Bytes),
    /// In the file's order of columns.
    pub columns: Vec<ColumnStatistics>,
}

impl SegmentMeta {
    /// Statistics of a column; `None`: it came after the segment, and all rows have the same value.
    #[must_use]
    pub fn column(&self, id: u32) -> Option<&ColumnStatistics> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// May a row of it have this encoded key, as far as its range tells?
    #[must_use]
    pub fn in_key_range(&self, key: &[u8]) -> bool {
        self.keys.0.as_ref() <= key && key <= self.keys.1.as_ref()
    }

    /// Names of what the rows are sorted by. `schema`: of a version that knows the columns.
    #[must_use]
    pub fn sort_order_text(&self, schema: &TableSchema) -> String {
        let SortOrder::Key(ids) = &self.sort_order else { return self.sort_order.to_string() };
        let name = |id: &u32| {
            let column = schema.columns().iter().find(|column| column.id == *id);
            column.map_or_else(|| format!("column {id}"), |column| column.name.to_string())
        };
        ids.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// The first and the last key, for people. `None`: they are none of the table's.
    #[must_use]
    pub fn key_texts(&self, schema: &TableSchema) -> Option<(String, String)> {
        let SortOrder::Key(ids) = &self.sort_order else {
            let id = |key: &Bytes| Some(u64::from_be_bytes(key.as_ref().try_into().ok()?));
            return Some((id(&self.keys.0)?.to_string(), id(&self.keys.1)?.to_string()));
        };
        let column = |id: &u32| schema.columns().iter().find(|column| column.id == *id);
        let types = ids.iter().map(|id| Some(column(id)?.pg_type.clone()));
        let encoder = KeyEncoder::new(&types.collect::<Option<Vec<_>>>()?).ok()?;
        let text = |key: &Bytes| {
            let values = encoder.decode(key).ok()?;
            let values = values.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned()));
            Some(format!("({})", values.collect::<Vec<_>>().join(",")))
        };
        Some((text(&self.keys.0)?, text(&self.keys.1)?))
    }

    /// Leaves out how many different values columns have, the last columns first, until what is
    /// [encoded](Self::encode) takes `bytes_max` at most, or nothing is left to leave out.
    pub fn shorten(&mut self, bytes_max: usize) {
        let mut whole = Writer::new();
        self.encode(&mut whole);
        let mut len = whole.len();
        for column in self.columns.iter_mut().rev() {
            if len <= bytes_max {
                return;
            }
            let encoded_len = |column: &ColumnStatistics| {
                let mut out = Writer::new();
                column.encode(&mut out);
                out.len()
            };
            let before = encoded_len(column);
            column.distinct = Sketch::unknown();
            len -= before.saturating_sub(encoded_len(column));
        }
    }

    /// A version, then the fields in order.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(META_VERSION)
            .str(self.name.as_str())
            .varint(self.bytes)
            .varint(self.table.0.into())
            .varint(self.schema_version.0.into());
        self.sort_order.encode(out);
        out.varint(self.rows.into());
        self.tail.encode(out);
        out.bool(self.filters.is_some());
        if let Some(filters) = &self.filters {
            filters.encode(out);
        }
        out.u64(self.commits.0.0).u64(self.commits.1.0);
        out.varint(self.row_ids.0.0).varint(self.row_ids.1.0);
        out.bytes(&self.keys.0).bytes(&self.keys.1);
        out.varint(self.columns.len() as u64);
        self.columns.iter().for_each(|column| column.encode(out));
    }

    /// Errors: a newer version, bytes that are none. Never panics.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, StorageError> {
        let version = input.u8().map_err(corrupt(WHAT))?;
        if version != META_VERSION {
            return Err(StorageError::corrupt(
                WHAT,
                format!("version {version}; this server reads {META_VERSION}"),
            ));
        }
        let name = input.str().map_err(corrupt(WHAT))?;
        let name = ObjectName::new(name).map_err(|e| StorageError::corrupt(WHAT, e.to_string()))?;
        Self::decode_rest(name, input).map_err(corrupt(WHAT))
    }

    fn decode_rest(name: ObjectName, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.varint()?;
        let table = TableId(input.varint_u32("table id")?);
        let schema_version = SchemaVersion(input.varint_u32("schema version")?);
        let sort_order = SortOrder::decode(input)?;
        let rows = input.varint_u32("number of rows")?;
        let tail = Extent::decode(input)?;
        if tail.range().end != bytes || rows == 0 {
            return Err(input.invalid("end of a segment", tail.range().end));
        }
        let filters = input.bool()?.then(|| Extent::decode(input)).transpose()?;
        let commits = (Timestamp(input.u64()?), Timestamp(input.u64()?));
        let row_ids = (RowId(input.varint()?), RowId(input.varint()?));
        let keys = (input.shared()?, input.shared()?);
        let count = input.count(6)?;
        let columns =
            (0..count).map(|_| ColumnStatistics::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            bytes,
            table,
            schema_version,
            sort_order,
            rows,
            tail,
            filters,
            commits,
            row_ids,
            keys,
            columns,
        })
    }
}

const WHAT: &str = "description of a segment";

impl SortOrder {
    fn encode(&self, out: &mut Writer) {
        let columns = match self {
            Self::RowId => &[][..],
            Self::Key(columns) => columns,
        };
        out.varint(columns.len() as u64);
        columns.iter().for_each(|id| {
            out.varint((*id).into());
        });
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let columns: Vec<u32> = (0..input.count(1)?)
            .map(|_| input.varint_u32("column id"))
            .collect::<Result<_, _>>()?;
        Ok(if columns.is_empty() { Self::RowId } else { Self::Key(columns) })
    }
}

impl std::fmt::Display for SortOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RowId => f.write_str("row id"),
            Self::Key(columns) => {
                let ids: Vec<String> = columns.iter().map(u32::to_string).collect();
                f.write_str(&ids.join(","))
            }
        }
    }
}
