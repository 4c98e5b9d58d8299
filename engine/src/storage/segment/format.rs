//! What a segment's footer says beside what Parquet asks for: whose it is, and what is in it.

use std::collections::HashMap;

use glaredb_txn::ids::{DatabaseId, RowId, SchemaVersion, TableId, Timestamp};
use parquet::file::metadata::KeyValue;

use super::meta::SortOrder;
use crate::storage::schema::ColumnSchema;

/// Version of the file format; a newer one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// Field id of the row ids: Iceberg's, for row lineage.
pub const ROW_ID_FIELD: u32 = 2_147_483_540;
/// Field id of the commit timestamps: the first of those that Iceberg reserves for metadata, which
/// it gives away from the other end.
pub const TIMESTAMP_FIELD: u32 = 2_147_483_448;

/// A column as the footer names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileColumn {
    pub(super) id: u32,
    pub(super) type_oid: u32,
    pub(super) typmod: i32,
}

impl FileColumn {
    pub(super) fn of(column: &ColumnSchema) -> Self {
        let pg_type = &column.pg_type;
        Self { id: column.id, type_oid: pg_type.oid(), typmod: pg_type.typmod() }
    }
}

/// The footer's key-value metadata that is ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Properties {
    pub(super) database: DatabaseId,
    pub(super) table: TableId,
    pub(super) schema_version: SchemaVersion,
    pub(super) columns: Vec<FileColumn>,
    pub(super) sort_order: SortOrder,
    pub(super) rows: u32,
    /// Row id of row 0, where row ids are inherited.
    pub(super) first_row_id: RowId,
    pub(super) commits: (Timestamp, Timestamp),
    /// Offset and length of the index.
    pub(super) index: (u64, u64),
}

const VERSION: &str = "glaredb.format_version";
const DATABASE: &str = "glaredb.database_id";
const TABLE: &str = "glaredb.table_id";
const SCHEMA_VERSION: &str = "glaredb.schema_version";
const COLUMNS: &str = "glaredb.columns";
const SORT_ORDER: &str = "glaredb.sort_order";
const ROWS: &str = "glaredb.rows";
const FIRST_ROW_ID: &str = "glaredb.first_row_id";
const COMMITS: &str = "glaredb.commit_timestamps";
const INDEX: &str = "glaredb.index";

impl Properties {
    pub(super) fn to_key_values(&self) -> Vec<KeyValue> {
        let columns = self.columns.iter();
        let columns = columns.map(|c| format!("{}:{}:{}", c.id, c.type_oid, c.typmod));
        let values = [
            (VERSION, FORMAT_VERSION.to_string()),
            (DATABASE, format!("{:032x}", self.database.0)),
            (TABLE, self.table.0.to_string()),
            (SCHEMA_VERSION, self.schema_version.0.to_string()),
            (COLUMNS, columns.collect::<Vec<_>>().join(",")),
            (SORT_ORDER, self.sort_order.to_string()),
            (ROWS, self.rows.to_string()),
            (FIRST_ROW_ID, self.first_row_id.0.to_string()),
            (COMMITS, format!("{}..{}", self.commits.0.0, self.commits.1.0)),
            (INDEX, format!("{}:{}", self.index.0, self.index.1)),
        ];
        values.map(|(key, value)| KeyValue::new(key.to_owned(), value)).into()
    }

    /// Errors say what is wrong, without the object's name: no segment of ours, a newer one.
    pub(super) fn from_key_values(values: Option<&Vec<KeyValue>>) -> Result<Self, String> {
        let found: HashMap<&str, &str> = values
            .into_iter()
            .flatten()
            .filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?)))
            .collect();
        let text = |key: &str| {
            found.get(key).copied().ok_or_else(|| format!("no {key} in its footer: not a segment"))
        };
        let version: u32 = number(VERSION, text(VERSION)?)?;
        if version != FORMAT_VERSION {
            return Err(format!("format version {version}; this server reads {FORMAT_VERSION}"));
        }
        let database = u128::from_str_radix(text(DATABASE)?, 16)
            .map_err(|_| format!("{DATABASE} is \"{}\"", found[DATABASE]))?;
        Ok(Self {
            database: DatabaseId(database),
            table: TableId(number(TABLE, text(TABLE)?)?),
            schema_version: SchemaVersion(number(SCHEMA_VERSION, text(SCHEMA_VERSION)?)?),
            columns: columns(text(COLUMNS)?)?,
            sort_order: sort_order(text(SORT_ORDER)?)?,
            rows: number(ROWS, text(ROWS)?)?,
            first_row_id: RowId(number(FIRST_ROW_ID, text(FIRST_ROW_ID)?)?),
            commits: {
                let (least, greatest) = pair(COMMITS, text(COMMITS)?, "..")?;
                (Timestamp(least), Timestamp(greatest))
            },
            index: pair(INDEX, text(INDEX)?, ":")?,
        })
    }
}

fn number<N: std::str::FromStr>(key: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{key} is \"{text}\""))
}

fn pair(key: &str, text: &str, between: &str) -> Result<(u64, u64), String> {
    let (a, b) = text.split_once(between).ok_or_else(|| format!("{key} is \"{text}\""))?;
    Ok((number(key, a)?, number(key, b)?))
}

fn columns(text: &str) -> Result<Vec<FileColumn>, String> {
    let column = |text: &str| {
        let mut parts = text.split(':');
        let mut part = || parts.next().unwrap_or_default();
        let id = number(COLUMNS, part())?;
        Ok(FileColumn { id, type_oid: number(COLUMNS, part())?, typmod: number(COLUMNS, part())? })
    };
    text.split(',').filter(|text| !text.is_empty()).map(column).collect()
}

fn sort_order(text: &str) -> Result<SortOrder, String> {
    if text == SortOrder::RowId.to_string() {
        return Ok(SortOrder::RowId);
    }
    let ids: Result<Vec<u32>, _> = text.split(',').map(|id| number(SORT_ORDER, id)).collect();
    Ok(SortOrder::Key(ids?))
}
