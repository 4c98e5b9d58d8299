//! Writes a segment: rows in the order of the key, in bounded memory, one row group at a time.

use std::{io, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use glaredb_txn::{
    codec::{Reader, Writer, checksum},
    ids::{DatabaseId, RowId, TableId, Timestamp},
};
use parking_lot::Mutex;
use parquet::{
    arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::Type,
};

use super::{
    KeyFilter, columns,
    format::{FileColumn, Properties, ROW_ID_FIELD, TIMESTAMP_FIELD},
    index::{Extent, FENCE_ROWS, GroupIndex, LeafPages, SegmentIndex},
    key_hash,
    meta::{SegmentMeta, SortOrder},
    statistics::Gatherer,
};
use crate::{
    storage::{
        StorageError,
        codec::key::EncodedKeys,
        objects::{ObjectName, ObjectWrite},
        schema::TableSchema,
    },
    types::PgType,
};

/// Rows of a row group, but for the last one.
pub const ROW_GROUP_ROWS: usize = 96 * 1024;
/// Encoded bytes at which a row group ends before, at most.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// Bytes of a data page, before it is compressed, and the rows after which it ends at the latest.
const PAGE_BYTES: usize = 16 << 10;
const PAGE_ROWS: usize = 8 * 1024;
/// Values that are encoded before a page's size is looked at.
const WRITE_BATCH_ROWS: usize = 512;
/// A dictionary that grows larger is given up: a point read fetches it whole.
const DICTIONARY_BYTES: usize = 16 << 10;
/// Rows that are converted at once.
const SLICE_ROWS: usize = 8 * 1024;

/// Where row ids come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowIdColumn {
    /// The first row has this id, each other one the next: there is no column.
    Inherited(RowId),
    /// Given with each batch. Where they are the first id and the ordinal they cost nothing.
    Stored { first: RowId },
}

/// Where commit timestamps come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampColumn {
    /// One for all rows: there is no column.
    One(Timestamp),
    /// Given with each batch.
    Stored,
}

/// What a new segment is.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    pub database: DatabaseId,
    pub table: TableId,
    pub name: ObjectName,
    /// Its live columns are written; its key, else the row id, is what rows are sorted by.
    pub schema: Arc<TableSchema>,
    pub row_ids: RowIdColumn,
    pub timestamps: TimestampColumn,
}

/// Writes one segment. Dropped without [`SegmentWriter::finish`] it leaves no object.
pub struct SegmentWriter {
    options: SegmentOptions,
    sort_order: SortOrder,
    /// The Parquet writer, whose bytes come out in `sink`.
    file: SerializedFileWriter<Sink>,
    sink: Sink,
    object: Box<dyn ObjectWrite + Send>,
    factory: ArrowRowGroupWriterFactory,
    /// Fields as Parquet gets them: live columns, then the hidden ones.
    fields: Vec<Arc<Field>>,
    open: Option<OpenGroup>,
    /// Encoded bytes at which a row group ends.
    row_group_bytes: usize,
    index: SegmentIndex,
    filters: Vec<u8>,
    statistics: Vec<Gatherer>,
    first_key: Option<Bytes>,
    last_key: Vec<u8>,
    rows: u32,
    /// Bytes given to the object.
    written: u64,
    row_ids: (RowId, RowId),
    commits: (Timestamp, Timestamp),
}

struct OpenGroup {
    columns: Vec<ArrowColumnWriter>,
    rows: u32,
    key_hashes: Vec<u64>,
}

/// What the Parquet writer wrote and nobody took yet.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentWriter {
    /// `object`: where the bytes go. Errors: a column that no file can have.
    pub fn new(
        options: SegmentOptions,
        object: Box<dyn ObjectWrite + Send>,
    ) -> Result<Self, StorageError> {
        let refuse = refusal(&options.name);
        let schema = &options.schema;
        let live = schema.live().iter().map(|ordinal| &schema.columns()[*ordinal]);
        let mut names: Vec<&str> = Vec::new();
        let (mut types, mut fields, mut statistics) = (Vec::new(), Vec::new(), Vec::new());
        for column in live {
            let field_type = columns::parquet_type(&column.name, column.id, &column.pg_type);
            types.push(field_type.map_err(&refuse)?);
            let data_type = columns::written_type(&column.pg_type);
            fields.push(Arc::new(Field::new(&column.name, data_type, true)));
            statistics.push(Gatherer::new(column));
            names.push(&column.name);
        }
        let hidden = [
            (matches!(options.row_ids, RowIdColumn::Stored { .. }), "_row_id", ROW_ID_FIELD),
            (options.timestamps == TimestampColumn::Stored, "_commit_timestamp", TIMESTAMP_FIELD),
        ];
        for (_, name, field) in hidden.into_iter().filter(|(stored, ..)| *stored) {
            let mut name = name.to_owned();
            while names.contains(&name.as_str()) {
                name.push('_');
            }
            types.push(columns::hidden_type(&name, field).map_err(&refuse)?);
            fields.push(Arc::new(Field::new(&name, DataType::Int64, true)));
        }
        let root = Type::group_type_builder("table").with_fields(types).build().map_err(&refuse)?;
        let sort_order = match schema.key() {
            None => SortOrder::RowId,
            Some(key) => SortOrder::Key(key.iter().map(|n| schema.columns()[*n].id).collect()),
        };
        let sink = Sink::default();
        let properties = Arc::new(properties(schema));
        let file = SerializedFileWriter::new(sink.clone(), Arc::new(root), properties);
        let file = file.map_err(&refuse)?;
        let arrow = Arc::new(Schema::new(fields.clone()));
        let factory = ArrowRowGroupWriterFactory::new(&file, arrow);
        Ok(Self {
            options,
            sort_order,
            file,
            sink,
            object,
            factory,
            fields,
            open: None,
            row_group_bytes: ROW_GROUP_BYTES,
            index: SegmentIndex::default(),
            filters: Vec::new(),
            statistics,
            first_key: None,
            last_key: Vec::new(),
            rows: 0,
            written: 0,
            row_ids: (RowId::MAX, RowId::MIN),
            commits: (Timestamp::INFINITY, Timestamp::ZERO),
        })
    }

    /// Row groups end at so many encoded bytes, which are in memory until then.
    #[must_use]
    pub fn with_row_group_bytes(mut self, bytes: usize) -> Self {
        self.row_group_bytes = bytes.min(ROW_GROUP_BYTES);
        self
    }

    /// Add rows. `batch`: the table's live columns in its order; `row_ids`, `timestamps`: one for each
    /// row where they are stored, else empty. Blocks. Errors: rows that are out of order, or not of
    /// the table; what the object says. After an error only dropping the writer is left to do.
    pub fn write(
        &mut self,
        batch: &RecordBatch,
        row_ids: &[RowId],
        timestamps: &[Timestamp],
    ) -> Result<(), StorageError> {
        self.check_shape(batch, row_ids.len(), timestamps.len())?;
        let mut from = 0;
        while from < batch.num_rows() {
            let open_rows = self.open.as_ref().map_or(0, |open| open.rows as usize);
            let rows = (batch.num_rows() - from).min(SLICE_ROWS).min(ROW_GROUP_ROWS - open_rows);
            let slice = batch.slice(from, rows);
            let of = |stored: bool| if stored { from..from + rows } else { 0..0 };
            let row_ids = &row_ids[of(!row_ids.is_empty())];
            let timestamps = &timestamps[of(!timestamps.is_empty())];
            self.write_slice(slice.columns(), rows, row_ids, timestamps)?;
            from += rows;
        }
        Ok(())
    }

    /// About how large the object is so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let open = self.open.as_ref();
        let open: usize = open.map_or(0, |open| {
            open.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
        });
        self.written + open as u64
    }

    /// The first and the last key so far; `None`: there is no row.
    #[must_use]
    pub fn key_range(&self) -> Option<(&[u8], &[u8])> {
        self.first_key.as_ref().map(|first| (first.as_ref(), self.last_key.as_slice()))
    }

    fn check_shape(
        &self,
        batch: &RecordBatch,
        row_ids: usize,
        timestamps: usize,
    ) -> Result<(), StorageError> {
        let rows = batch.num_rows();
        let expected = |stored: bool| if stored { rows } else { 0 };
        let ids_expected = expected(matches!(self.options.row_ids, RowIdColumn::Stored { .. }));
        let expected = expected(self.options.timestamps == TimestampColumn::Stored);
        if batch.num_columns() != self.statistics.len()
            || row_ids != ids_expected
            || timestamps != expected
        {
            return Err(self.invalid(&format!(
                "{rows} rows of {} columns, {row_ids} row ids and {timestamps} timestamps given, \
                 where {} columns, {ids_expected} and {expected} are due",
                batch.num_columns(),
                self.statistics.len(),
            )));
        }
        Ok(())
    }

    fn write_slice(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        row_ids: &[RowId],
        timestamps: &[Timestamp],
    ) -> Result<(), StorageError> {
        let refuse = refusal(&self.options.name);
        if u32::try_from(rows).ok().and_then(|n| self.rows.checked_add(n)).is_none() {
            return Err(self.invalid("more than 2^32 rows"));
        }
        self.note_row_ids(rows, row_ids);
        self.note_timestamps(timestamps);
        let keys = self.keys(columns, rows, row_ids)?;
        if self.open.is_none() {
            let group = self.index.row_groups.len();
            let columns = self.factory.create_column_writers(group).map_err(&refuse)?;
            self.open = Some(OpenGroup { columns, rows: 0, key_hashes: Vec::new() });
        }
        self.note_keys(&keys)?;
        let live = self.options.schema.live().iter();
        let live: Vec<&PgType> = live.map(|n| &self.options.schema.columns()[*n].pg_type).collect();
        let mut arrays = Vec::with_capacity(self.fields.len());
        for ((array, pg_type), statistics) in columns.iter().zip(live).zip(&mut self.statistics) {
            statistics.add(array)?;
            arrays.push(columns::to_file(pg_type, array)?);
        }
        arrays.extend(self.hidden_columns(row_ids, timestamps));
        let open = self.open.as_mut().expect("opened above");
        let mut writers = open.columns.iter_mut();
        for (field, array) in self.fields.iter().zip(&arrays) {
            for leaf in compute_leaves(field, array).map_err(&refuse)? {
                let writer = writers.next().expect("the schema has a writer for each leaf");
                writer.write(&leaf).map_err(&refuse)?;
            }
        }
        open.rows += rows as u32;
        self.rows += rows as u32;
        let bytes: usize = open.columns.iter().map(ArrowColumnWriter::memory_size).sum();
        if open.rows as usize >= ROW_GROUP_ROWS || bytes >= self.row_group_bytes {
            self.end_row_group()?;
        }
        Ok(())
    }

    fn note_row_ids(&mut self, rows: usize, row_ids: &[RowId]) {
        let (least, greatest) = match self.options.row_ids {
            RowIdColumn::Inherited(first) => {
                let first = first.0 + u64::from(self.rows);
                (RowId(first), RowId(first + rows as u64 - 1))
            }
            RowIdColumn::Stored { .. } => (
                row_ids.iter().copied().min().unwrap_or(RowId::MAX),
                row_ids.iter().copied().max().unwrap_or(RowId::MIN),
            ),
        };
        self.row_ids = (self.row_ids.0.min(least), self.row_ids.1.max(greatest));
    }

    fn note_timestamps(&mut self, timestamps: &[Timestamp]) {
        if let TimestampColumn::One(at) = self.options.timestamps {
            self.commits = (at, at);
        }
        for at in timestamps {
            self.commits = (self.commits.0.min(*at), self.commits.1.max(*at));
        }
    }

    /// What the rows are sorted by.
    fn keys(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        row_ids: &[RowId],
    ) -> Result<EncodedKeys, StorageError> {
        let schema = &self.options.schema;
        if let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) {
            let place = |ordinal: &usize| schema.live().binary_search(ordinal).ok();
            let columns: Option<Vec<ArrayRef>> =
                key.iter().map(|n| place(n).map(|n| Arc::clone(&columns[n]))).collect();
            let columns = columns.ok_or_else(|| self.invalid("a key column is dropped"))?;
            return encoder.encode_stored(&columns);
        }
        let first = match self.options.row_ids {
            RowIdColumn::Inherited(first) => first.0 + u64::from(self.rows),
            RowIdColumn::Stored { .. } => {
                return Ok(EncodedKeys::from_keys(row_ids.iter().map(|id| id.0.to_be_bytes())));
            }
        };
        Ok(EncodedKeys::from_keys((first..first + rows as u64).map(u64::to_be_bytes)))
    }

    /// Checks the order of the next rows; notes fences, and hashes for the filter.
    fn note_keys(&mut self, keys: &EncodedKeys) -> Result<(), StorageError> {
        let is_keyed = self.sort_order != SortOrder::RowId;
        let open = self.open.as_mut().expect("the caller opened it");
        for (n, key) in keys.iter().enumerate() {
            let is_first = self.first_key.is_none();
            if !is_first && key < self.last_key.as_slice() {
                let row = self.rows as usize + n;
                return Err(self.invalid(&format!("row {row} is out of the order of the key")));
            }
            let row_in_group = open.rows + n as u32;
            if row_in_group.is_multiple_of(FENCE_ROWS) {
                self.index.push_fence(self.rows + n as u32, key);
            }
            if is_keyed && (row_in_group == 0 || key != self.last_key.as_slice()) {
                open.key_hashes.push(key_hash(key));
            }
            if is_first {
                self.first_key = Some(Bytes::copy_from_slice(key));
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        Ok(())
    }

    fn hidden_columns(&self, row_ids: &[RowId], timestamps: &[Timestamp]) -> Vec<ArrayRef> {
        let mut hidden: Vec<ArrayRef> = Vec::new();
        if let RowIdColumn::Stored { first } = self.options.row_ids {
            let inherited = first.0 + u64::from(self.rows);
            let ids = row_ids.iter().zip(inherited..);
            let ids = ids.map(|(id, inherited)| (id.0 != inherited).then_some(id.0 as i64));
            hidden.push(Arc::new(ids.collect::<Int64Array>()));
        }
        if self.options.timestamps == TimestampColumn::Stored {
            let timestamps = timestamps.iter().map(|at| at.0 as i64);
            hidden.push(Arc::new(Int64Array::from_iter_values(timestamps)));
        }
        hidden
    }

    fn end_row_group(&mut self) -> Result<(), StorageError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let refuse = refusal(&self.options.name);
        let mut lengths = Vec::with_capacity(open.columns.len());
        let before = self.position();
        let mut group = self.file.next_row_group().map_err(&refuse)?;
        for column in open.columns {
            let chunk = column.close().map_err(&refuse)?;
            let closed = chunk.close();
            let pages = closed.offset_index.as_ref().map_or(&[][..], |i| i.page_locations());
            let pages: Vec<usize> =
                pages.iter().map(|page| page.compressed_page_size as usize).collect();
            lengths.push((closed.metadata.compressed_size() as usize, pages));
            chunk.append_to_row_group(&mut group).map_err(&refuse)?;
        }
        group.close().map_err(&refuse)?;
        self.file.flush().map_err(|e| self.invalid(&e.to_string()))?;
        let leaves = {
            let buffer = self.sink.0.lock();
            let start = (before - self.written) as usize;
            checksums(&buffer[start..], &lengths)
        };
        let leaves = leaves.ok_or_else(|| self.invalid("pages that do not add up"))?;
        let filter = (self.sort_order != SortOrder::RowId).then(|| {
            let mut out = Writer::new();
            KeyFilter::build(open.key_hashes).encode(&mut out);
            // The offset is among the filters until it is known where these begin.
            let offset = self.filters.len() as u64;
            let crc = checksum(out.as_slice());
            self.filters.extend_from_slice(out.as_slice());
            Extent { offset, len: out.len() as u64, crc }
        });
        self.index.row_groups.push(GroupIndex { rows: open.rows, filter, leaves });
        self.pass_on()
    }

    /// Bytes of the file so far.
    fn position(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    /// Give the object what came out of the Parquet writer.
    fn pass_on(&mut self) -> Result<(), StorageError> {
        let bytes = std::mem::take(&mut *self.sink.0.lock());
        self.object.write(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Ends the object and says what is in it. Error: there are no rows; what the object says, and
    /// then it may be there or not.
    pub fn finish(self) -> Result<SegmentMeta, StorageError> {
        self.finish_with_filters().map(|(meta, _)| meta)
    }

    /// The same; with the first key and the filter of each row group, where the row id is not the key.
    pub fn finish_with_filters(
        mut self,
    ) -> Result<(SegmentMeta, Vec<(Bytes, KeyFilter)>), StorageError> {
        self.end_row_group()?;
        let kept = self.group_filters()?;
        let Some(first_key) = self.first_key.take() else {
            return Err(self.invalid("a segment without rows"));
        };
        let io = |e: io::Error| StorageError::Invalid(e.to_string());
        let filters = std::mem::take(&mut self.filters);
        let filters_at = self.position();
        for group in &mut self.index.row_groups {
            group.filter.iter_mut().for_each(|filter| filter.offset += filters_at);
        }
        self.file.write_all(&filters).map_err(io)?;
        self.file.flush().map_err(io)?;
        self.pass_on()?;
        let tail_at = self.position();
        let mut index = Writer::new();
        self.index.encode(&mut index);
        self.file.write_all(index.as_slice()).map_err(io)?;
        let schema = &self.options.schema;
        let live = schema.live().iter().map(|ordinal| &schema.columns()[*ordinal]);
        let properties = Properties {
            database: self.options.database,
            table: self.options.table,
            schema_version: schema.version(),
            columns: live.map(FileColumn::of).collect(),
            sort_order: self.sort_order.clone(),
            rows: self.rows,
            first_row_id: match self.options.row_ids {
                RowIdColumn::Inherited(first) | RowIdColumn::Stored { first } => first,
            },
            commits: self.commits,
            index: (tail_at, index.len() as u64),
        };
        for pair in properties.to_key_values() {
            self.file.append_key_value_metadata(pair);
        }
        self.file.finish().map_err(refusal(&self.options.name))?;
        let tail = {
            let buffer = self.sink.0.lock();
            Extent { offset: tail_at, len: buffer.len() as u64, crc: checksum(&buffer) }
        };
        self.pass_on()?;
        self.object.finish()?;
        let keyed = self.sort_order != SortOrder::RowId;
        let (len, crc) = (filters.len() as u64, checksum(&filters));
        let meta = SegmentMeta {
            name: self.options.name,
            bytes: self.written,
            table: self.options.table,
            schema_version: self.options.schema.version(),
            sort_order: self.sort_order,
            rows: self.rows,
            tail,
            filters: keyed.then_some(Extent { offset: filters_at, len, crc }),
            commits: self.commits,
            row_ids: self.row_ids,
            keys: (first_key, self.last_key.into()),
            columns: self.statistics.into_iter().map(Gatherer::finish).collect::<Result<_, _>>()?,
        };
        Ok((meta, kept))
    }

    fn group_filters(&self) -> Result<Vec<(Bytes, KeyFilter)>, StorageError> {
        let mut start = 0;
        let mut filters = Vec::new();
        for group in &self.index.row_groups {
            if let (Some(at), Some(first)) = (&group.filter, self.index.fence(start)) {
                let range = at.offset as usize..(at.offset + at.len) as usize;
                let bytes = Bytes::copy_from_slice(&self.filters[range]);
                let filter = KeyFilter::decode(&mut Reader::of(&bytes));
                filters.push((first.clone(), filter.map_err(|e| self.invalid(&e.to_string()))?));
            }
            start += group.rows;
        }
        Ok(filters)
    }

    fn invalid(&self, reason: &str) -> StorageError {
        StorageError::Invalid(format!("segment {}: {reason}", self.options.name))
    }
}

/// CRCs of the pages of a row group's column chunks, which follow one another; each begins with its
/// dictionary, where it has one.
fn checksums(bytes: &[u8], lengths: &[(usize, Vec<usize>)]) -> Option<Vec<LeafPages>> {
    let mut rest = bytes;
    let mut next = |len: usize| {
        let (page, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(checksum(page))
    };
    let mut leaves = Vec::with_capacity(lengths.len());
    for (chunk, pages) in lengths {
        let dictionary = chunk.checked_sub(pages.iter().sum())?;
        let dictionary =
            (dictionary > 0).then(|| next(dictionary)).map_or(Some(None), |crc| crc.map(Some))?;
        let pages = pages.iter().map(|len| next(*len)).collect::<Option<_>>()?;
        leaves.push(LeafPages { dictionary, pages });
    }
    rest.is_empty().then_some(leaves)
}

fn refusal(name: &ObjectName) -> impl Fn(ParquetError) -> StorageError + use<> {
    let name = name.clone();
    move |e| StorageError::Invalid(format!("segment {name}: {e}"))
}

fn properties(schema: &TableSchema) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("level 1 exists");
    WriterProperties::builder()
        .set_created_by(concat!("GlareDB ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(WRITE_BATCH_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_row_count(None)
        .set_offset_index_disabled(false)
        .set_sorting_columns(sorting_columns(schema))
        .build()
}

/// The first key columns whose order is Parquet's, too, so that other readers may rely on it.
fn sorting_columns(schema: &TableSchema) -> Option<Vec<SortingColumn>> {
    let leaf_of = |ordinal: usize| {
        let before = schema.live().iter().take_while(|n| **n < ordinal);
        before.map(|n| columns::leaf_count(&schema.columns()[*n].pg_type)).sum::<usize>()
    };
    let sorted = schema.key()?.iter().map_while(|ordinal| {
        let pg_type = &schema.columns()[*ordinal].pg_type;
        columns::sorts_as_parquet(pg_type).then(|| SortingColumn {
            column_idx: leaf_of(*ordinal) as i32,
            descending: false,
            nulls_first: false,
        })
    });
    let sorted: Vec<_> = sorted.collect();
    (!sorted.is_empty()).then_some(sorted)
}
