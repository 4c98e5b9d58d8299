//! Reads a segment.
//!
//! Lookups come in two forms. The synchronous one answers from memory, or says what it
//! [`Needs`]; whoever may wait calls [`Segment::warm`] with that and asks again. The asynchronous
//! one does just this. Nothing is given to Parquet's decoder before its checksum was compared.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchReader, UInt64Array},
    compute,
    datatypes::{DataType, Field, Int64Type, Schema},
};
use bytes::Bytes;
use glaredb_txn::{
    codec::{Reader, checksum},
    ids::{DatabaseId, SegmentId},
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
            RowSelectionPolicy,
        },
    },
    errors::ParquetError,
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use super::{
    KeyFilter, columns,
    format::{Properties, ROW_ID_FIELD, TIMESTAMP_FIELD},
    held::{Held, Needs, Part, WantedRows},
    index::{Extent, SegmentIndex},
    lookup,
    meta::{SegmentMeta, SortOrder},
    pages::{self, Pieces},
    resident::{Content, FILTER, PartId, Resident},
};
use crate::{
    storage::{
        StorageError,
        codec::key::KeyEncoder,
        objects::{Objects, ReadFigures},
        schema::TableSchema,
    },
    types::PgType,
};

/// Where segments are and what of them is in memory.
#[derive(Clone)]
pub struct SegmentStore {
    pub objects: Arc<dyn Objects>,
    pub database: DatabaseId,
    pub resident: Arc<Resident>,
}

/// A segment whose footer is decoded. Immutable; whoever holds it may read, also when the list of
/// its table does not name it any more.
pub struct Segment {
    store: SegmentStore,
    id: SegmentId,
    pub(super) meta: Arc<SegmentMeta>,
    pub(super) properties: Properties,
    metadata: ArrowReaderMetadata,
    pub(super) index: SegmentIndex,
    /// Number of the first row of each row group, and of the row after the last one.
    starts: Vec<u32>,
    columns: Vec<FileColumn>,
    /// Of what the rows are sorted by, where that is a key.
    pub(super) key: Option<SortKey>,
}

/// A column of the file.
#[derive(Clone, Debug)]
struct FileColumn {
    kind: Kind,
    /// Its leaves in the Parquet schema.
    leaves: Range<usize>,
}

#[derive(Clone, PartialEq, Debug)]
enum Kind {
    /// Of the table, by its id.
    Table(u32, PgType),
    RowId,
    Timestamp,
}

#[derive(Debug)]
pub(super) struct SortKey {
    pub(super) encoder: KeyEncoder,
    /// Places in the file of the key's columns.
    pub(super) places: Vec<usize>,
}

/// How numerics of up to 18 digits come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Decimals {
    /// As the table has them.
    #[default]
    Wide,
    /// As they are kept: 64-bit decimals, without a copy.
    Narrow,
}

/// What is read of rows.
#[derive(Clone, Copy, Default, Debug)]
pub struct Projection<'a> {
    /// Ordinals in the table's schema.
    pub columns: &'a [usize],
    pub row_ids: bool,
    pub timestamps: bool,
    pub decimals: Decimals,
}

/// Rows that were read.
#[derive(Clone, PartialEq, Debug)]
pub struct SegmentRows {
    /// The projection's columns.
    pub batch: RecordBatch,
    pub row_ids: Option<UInt64Array>,
    pub timestamps: Option<UInt64Array>,
}

impl std::fmt::Debug for SegmentStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentStore").field("database", &self.database).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({}, {})", self.id, self.meta.name)
    }
}

impl SegmentStore {
    /// Reads the end of the object, by one request, and decodes it. `schema`: of any version that
    /// knows the segment's columns. Errors: an object that is not there, damaged, foreign or newer; the
    /// message names it and what is wrong.
    pub async fn open(
        &self,
        id: SegmentId,
        meta: &Arc<SegmentMeta>,
        schema: &TableSchema,
    ) -> Result<Segment, StorageError> {
        let wrong = |reason: String| corrupt(meta, reason);
        let tail = |read: &[Bytes]| {
            let tail = read.first().cloned().unwrap_or_default();
            verify(&tail, &meta.tail).map(|()| tail)
        };
        let tail = self.read_checked(meta, &[meta.tail.range()], tail).await?;
        let mut pieces = Pieces::new(meta.bytes);
        pieces.insert(meta.tail.offset, tail);
        let unreadable = |e: ParquetError| wrong(format!("its footer: {e}"));
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(&pieces)
            .map_err(unreadable)?;
        let properties = Properties::from_key_values(metadata.file_metadata().key_value_metadata());
        let properties = properties.map_err(wrong)?;
        self.check_identity(meta, &properties)?;
        let (offset, len) = properties.index;
        let index = pieces.get(&(offset..offset.saturating_add(len))).map_err(unreadable)?;
        let index = SegmentIndex::decode(&index).map_err(|e| wrong(e.to_string()))?;
        let starts = starts(&index, &metadata).map_err(wrong)?;
        let columns = file_columns(&metadata, &properties, schema).map_err(wrong)?;
        let fields = columns.iter().zip(metadata.file_metadata().schema().get_fields());
        let fields: Vec<Field> = fields
            .map(|(column, field)| {
                let data_type = match &column.kind {
                    Kind::Table(_, pg_type) => columns::read_type(pg_type),
                    Kind::RowId | Kind::Timestamp => DataType::Int64,
                };
                Field::new(field.name(), data_type, true)
            })
            .collect();
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_schema(Arc::new(Schema::new(fields)));
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options);
        let metadata = metadata.map_err(unreadable)?;
        let key = sort_key(&columns, &properties.sort_order).map_err(wrong)?;
        let (store, meta) = (self.clone(), Arc::clone(meta));
        Ok(Segment { store, id, meta, properties, metadata, index, starts, columns, key })
    }

    /// What `check` makes of ranges of a segment. Bytes of a cache that it does not accept are read
    /// again where they are kept for good. Errors: of the store, and that of `check`.
    async fn read_checked<T>(
        &self,
        meta: &SegmentMeta,
        ranges: &[Range<u64>],
        check: impl Fn(&[Bytes]) -> Result<T, String>,
    ) -> Result<T, StorageError> {
        let read =
            self.objects.read_ranges(&meta.name, ranges).await.map_err(StorageError::from)?;
        let reason = match check(&read) {
            Ok(checked) => return Ok(checked),
            Err(reason) => reason,
        };
        let Some(again) = self.objects.read_again(&meta.name, ranges) else {
            return Err(corrupt(meta, reason));
        };
        tracing::warn!(object = %meta.name, reason, "damaged in the cache: reading it again");
        check(&again.await.map_err(StorageError::from)?).map_err(|reason| corrupt(meta, reason))
    }

    fn check_identity(&self, meta: &SegmentMeta, found: &Properties) -> Result<(), StorageError> {
        let differ = |what: &str, found: String, due: String| {
            Err(corrupt(meta, format!("it is of {what} {found}, not {due}")))
        };
        if found.database != self.database {
            let ids = (found.database, self.database);
            return differ("database", format!("{:032x}", ids.0.0), format!("{:032x}", ids.1.0));
        }
        if found.table != meta.table {
            return differ("table", found.table.to_string(), meta.table.to_string());
        }
        if found.rows != meta.rows {
            return differ("rows", found.rows.to_string(), meta.rows.to_string());
        }
        Ok(())
    }
}

/// The bytes at `due` are damaged or not whole.
fn verify(bytes: &[u8], due: &Extent) -> Result<(), String> {
    if bytes.len() as u64 != due.len {
        return Err(format!("{} of the {} bytes at {}", bytes.len(), due.len, due.offset));
    }
    match checksum(bytes) {
        computed if computed == due.crc => Ok(()),
        computed => Err(format!(
            "bytes {:?}: CRC32C is {computed:08x}, not {:08x} as when they were written",
            due.range(),
            due.crc
        )),
    }
}

fn starts(index: &SegmentIndex, metadata: &ParquetMetaData) -> Result<Vec<u32>, String> {
    let groups = metadata.row_groups();
    let agree = groups.len() == index.row_groups.len()
        && groups.iter().zip(&index.row_groups).all(|(a, b)| a.num_rows() == i64::from(b.rows));
    if !agree {
        return Err("its index and its footer differ in their row groups".to_owned());
    }
    let mut starts = vec![0];
    let mut end = 0;
    for group in &index.row_groups {
        end += group.rows;
        starts.push(end);
    }
    Ok(starts)
}

fn file_columns(
    metadata: &ParquetMetaData,
    properties: &Properties,
    schema: &TableSchema,
) -> Result<Vec<FileColumn>, String> {
    let mut columns = Vec::new();
    let mut leaf = 0;
    for field in metadata.file_metadata().schema().get_fields() {
        let info = field.get_basic_info();
        let id = info.has_id().then(|| info.id()).and_then(|id| u32::try_from(id).ok());
        let kind = match id {
            Some(ROW_ID_FIELD) => Kind::RowId,
            Some(TIMESTAMP_FIELD) => Kind::Timestamp,
            Some(id) => {
                let column = schema.columns().iter().find(|column| column.id == id);
                let column = column.ok_or_else(|| {
                    format!("it has a column {id}, which the table has not at {}", schema.version())
                })?;
                Kind::Table(id, column.pg_type.clone())
            }
            None => return Err(format!("its column \"{}\" has no id", field.name())),
        };
        let count = match &kind {
            Kind::Table(_, pg_type) => columns::leaf_count(pg_type),
            Kind::RowId | Kind::Timestamp => 1,
        };
        columns.push(FileColumn { kind, leaves: leaf..leaf + count });
        leaf += count;
    }
    let declared = properties.columns.iter();
    let found = columns.iter().filter_map(|column| match &column.kind {
        Kind::Table(id, pg_type) => Some((*id, pg_type)),
        Kind::RowId | Kind::Timestamp => None,
    });
    let same = |(declared, (id, pg_type)): (&super::format::FileColumn, (u32, &PgType))| {
        let was = PgType::from_oid(declared.type_oid, declared.typmod);
        // Of types that users made only the table knows the columns.
        let same_type = was.map_or(declared.type_oid == pg_type.oid(), |was| {
            columns::read_type(&was) == columns::read_type(pg_type)
        });
        declared.id == id && same_type
    };
    let all = found.clone().count() == declared.len() && declared.zip(found).all(same);
    if !all || leaf != metadata.file_metadata().schema_descr().num_columns() {
        return Err(format!("its columns are not those of the table at {}", schema.version()));
    }
    Ok(columns)
}

fn sort_key(columns: &[FileColumn], order: &SortOrder) -> Result<Option<SortKey>, String> {
    let SortOrder::Key(ids) = order else { return Ok(None) };
    let mut places = Vec::with_capacity(ids.len());
    let mut types = Vec::with_capacity(ids.len());
    for id in ids {
        let found = columns.iter().enumerate().find_map(|(place, column)| match &column.kind {
            Kind::Table(column, pg_type) if column == id => Some((place, pg_type.clone())),
            _ => None,
        });
        let (place, pg_type) = found.ok_or_else(|| format!("its key column {id} is missing"))?;
        places.push(place);
        types.push(pg_type);
    }
    let encoder = KeyEncoder::new(&types).map_err(|e| e.to_string())?;
    Ok(Some(SortKey { encoder, places }))
}

/// The object is not what the list of segments says.
pub(super) fn corrupt(meta: &SegmentMeta, reason: String) -> StorageError {
    StorageError::CorruptObject { name: meta.name.to_string(), reason }
}

impl Segment {
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    #[must_use]
    pub fn meta(&self) -> &Arc<SegmentMeta> {
        &self.meta
    }

    /// Parquet's footer, with the page index: for pruning.
    #[must_use]
    pub fn parquet_metadata(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.index.row_groups.len()
    }

    /// Rows of a row group, by their numbers in the segment.
    #[must_use]
    pub fn row_group_rows(&self, row_group: usize) -> Range<u32> {
        self.starts[row_group]..self.starts[row_group + 1]
    }

    /// The row group that has a row, and the rows of it. Panics if there is no such row.
    #[must_use]
    pub fn row_group_of(&self, row: u32) -> (usize, Range<u32>) {
        let (row_group, _) = self.place_of(row);
        (row_group, self.row_group_rows(row_group))
    }

    /// The leaf of the Parquet schema in which a column's values are, by the column's id. `None`: it is not
    /// in the file, or takes several.
    #[must_use]
    pub fn leaf_of_column(&self, id: u32) -> Option<usize> {
        let leaves = &self.columns[self.place_of_column(id)?].leaves;
        (leaves.len() == 1).then_some(leaves.start)
    }

    /// Bytes of what was decoded when it was opened.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.metadata.metadata().memory_size() + self.index.memory_bytes() + size_of::<Self>()
    }

    /// The row group of a row, and its number there.
    #[must_use]
    pub fn place_of(&self, row: u32) -> (usize, u32) {
        let row_group = self.starts.partition_point(|start| *start <= row) - 1;
        (row_group, row - self.starts[row_group])
    }

    /// Row id of the first row of a row group, where it is inherited. Where all are, the description
    /// says from what: the file may have been written before anybody knew (`docs/flush.md`).
    pub(super) fn inherited(&self, row_group: usize) -> u64 {
        let first = match self.row_id_place() {
            Some(_) => self.properties.first_row_id,
            None => self.meta.row_ids.0,
        };
        first.0.saturating_add(self.starts[row_group].into())
    }

    pub(super) fn row_id_place(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.kind == Kind::RowId)
    }

    pub(super) fn timestamp_place(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.kind == Kind::Timestamp)
    }

    pub(super) fn place_of_column(&self, id: u32) -> Option<usize> {
        self.columns.iter().position(|column| matches!(column.kind, Kind::Table(c, _) if c == id))
    }

    /// Places in the file of what a projection reads.
    #[must_use]
    pub fn places(&self, schema: &TableSchema, projection: &Projection<'_>) -> Vec<usize> {
        let columns = projection.columns.iter().map(|ordinal| schema.columns()[*ordinal].id);
        columns
            .filter_map(|id| self.place_of_column(id))
            .chain(self.row_id_place().filter(|_| projection.row_ids))
            .chain(self.timestamp_place().filter(|_| projection.timestamps))
            .collect()
    }

    /// What of segments is in memory, of this one's store.
    pub(super) fn resident(&self) -> &Arc<Resident> {
        &self.store.resident
    }

    /// The first four bytes.
    pub(super) async fn read_front(&self) -> Result<Bytes, StorageError> {
        let front = std::iter::once(0..4).collect::<Vec<_>>();
        let read = self.store.objects.read_ranges(&self.meta.name, &front).await;
        Ok(read.map_err(StorageError::from)?.into_iter().next().unwrap_or_default())
    }

    fn part_id(&self, row_group: usize, column: u32) -> PartId {
        PartId { segment: self.id, row_group: row_group as u32, column }
    }

    /// The filter of a row group, if it is in memory.
    pub(super) fn filter(&self, row_group: usize, held: &Held) -> Option<Arc<KeyFilter>> {
        let found = held.filters.get(&row_group).cloned();
        found.or_else(|| self.store.resident.filter(self.part_id(row_group, FILTER)))
    }

    /// Rows of a column, if they are in memory.
    pub(super) fn part(
        &self,
        row_group: usize,
        place: usize,
        rows: Option<&[Range<u32>]>,
        held: &Held,
    ) -> Option<Part> {
        let found = held.parts.get(&(row_group, place)).filter(|part| part.has(rows)).cloned();
        found.or_else(|| {
            let array = self.store.resident.column(self.part_id(row_group, place as u32))?;
            Some(Part { array, rows: None })
        })
    }

    /// Some rows of columns, as far as they are in memory; what is not is added to `needs`.
    pub(super) fn parts(
        &self,
        row_group: usize,
        places: impl IntoIterator<Item = usize>,
        rows: Option<&[Range<u32>]>,
        held: &Held,
        needs: &mut Needs,
    ) -> HashMap<usize, Part> {
        let mut parts = HashMap::new();
        for place in places {
            match self.part(row_group, place, rows, held) {
                Some(part) => {
                    parts.insert(place, part);
                }
                None => {
                    needs.parts.insert((row_group, place), rows.map(<[_]>::to_vec));
                }
            }
        }
        parts
    }

    /// Read and decode what an answer needs; it is in `held` then, and in the resident form as
    /// far as whole columns were read. Columns of which rows are needed again and again are read
    /// whole. All that is needed is one call of [`Objects::read_ranges`]. Decoding computes: for
    /// the runtime that does. Errors: the object is damaged or cannot be read.
    pub async fn warm(&self, needs: Needs, held: &mut Held) -> Result<(), StorageError> {
        self.read_needs(needs, held, (0, true)).await
    }

    /// The same for a few rows, of which several columns are needed: what lies near to each other comes
    /// by one request, with what is between.
    pub async fn warm_near(&self, needs: Needs, held: &mut Held) -> Result<(), StorageError> {
        self.read_needs(needs, held, (self.store.objects.gap_bytes(), true)).await
    }

    /// The same without ever reading more of a column than is needed.
    pub async fn warm_rows(&self, needs: Needs, held: &mut Held) -> Result<(), StorageError> {
        self.read_needs(needs, held, (0, false)).await
    }

    /// `gap`: bytes between two ranges up to which they are one request, if few rows are needed.
    /// `may_read_whole`: columns of which rows are needed again and again.
    async fn read_needs(
        &self,
        mut needs: Needs,
        held: &mut Held,
        (gap, may_read_whole): (u64, bool),
    ) -> Result<(), StorageError> {
        for ((row_group, place), rows) in &mut needs.parts {
            let part = self.part_id(*row_group, *place as u32);
            if may_read_whole && rows.is_some() && self.store.resident.touch(part) {
                *rows = None;
            }
            // Rows that are held already stay: who asked for them may do so again.
            let held = held.parts.get(&(*row_group, *place)).map(|part| part.rows.as_deref());
            *rows = match (rows.take(), held) {
                (Some(wanted), Some(Some(held))) => Some(lookup::merged([&wanted, held].concat())),
                (wanted, _) => wanted,
            };
        }
        let filters: Vec<(usize, Extent)> = needs
            .filters
            .iter()
            .filter_map(|group| Some((*group, self.index.row_groups.get(*group)?.filter?)))
            .collect();
        let mut checked = Vec::new();
        for ((row_group, place), rows) in &needs.parts {
            for leaf in self.columns[*place].leaves.clone() {
                let metadata = self.metadata.metadata();
                let (rows, index) = (rows.as_deref(), &self.index);
                pages::pages_of(metadata, index, *row_group, leaf, rows, &mut checked)
                    .map_err(|reason| corrupt(&self.meta, reason))?;
            }
        }
        for (_, filter) in &filters {
            let Range { start, end } = filter.range();
            checked.push(pages::Checked { start, end, crc: filter.crc });
        }
        // A request costs more than a few bytes that nobody wants.
        let gap = if needs.are_few_rows() { gap } else { 0 };
        let requests = pages::requests(&mut checked, gap);
        let whole = |read: &[Bytes]| {
            let mut pieces = Pieces::new(self.meta.bytes);
            let read = requests.iter().zip(read);
            read.for_each(|(range, bytes)| pieces.insert(range.start, bytes.clone()));
            pages::check(&checked, &pieces).map(|()| pieces)
        };
        let reader = Arc::<ReadFigures>::default();
        let pieces = reader.scope(self.store.read_checked(&self.meta, &requests, whole)).await?;
        held.read = held.read + reader.counts();
        ReadFigures::add(reader.counts());
        for (row_group, filter) in filters {
            let bytes = pieces.get(&filter.range());
            let bytes = bytes.map_err(|e| corrupt(&self.meta, e.to_string()))?;
            self.keep_filter(row_group, &bytes, held)?;
        }
        // What is of the same rows is decoded together.
        let mut groups: Vec<(usize, WantedRows, Vec<usize>)> = Vec::new();
        for ((row_group, place), rows) in needs.parts {
            match groups.iter_mut().find(|group| (group.0, &group.1) == (row_group, &rows)) {
                Some(group) => group.2.push(place),
                None => groups.push((row_group, rows, vec![place])),
            }
        }
        for (row_group, rows, places) in groups {
            let rows: Option<Arc<[Range<u32>]>> = rows.map(Into::into);
            let arrays = self.decode(pieces.clone(), row_group, &places, rows.as_deref())?;
            for (place, array) in places.into_iter().zip(arrays) {
                if rows.is_none() {
                    let id = self.part_id(row_group, place as u32);
                    self.store.resident.insert(id, Content::Column(Arc::clone(&array)));
                }
                held.parts.insert((row_group, place), Part { array, rows: rows.clone() });
            }
        }
        Ok(())
    }

    fn keep_filter(
        &self,
        row_group: usize,
        bytes: &Bytes,
        held: &mut Held,
    ) -> Result<(), StorageError> {
        let mut input = Reader::of(bytes);
        let filter = KeyFilter::decode(&mut input);
        let filter = filter.and_then(|filter| input.finish().map(|()| filter));
        let filter = filter.map_err(|e| corrupt(&self.meta, format!("a filter: {e}")))?;
        let filter = Arc::new(filter);
        let content = Content::Filter(Arc::clone(&filter));
        self.store.resident.insert(self.part_id(row_group, FILTER), content);
        held.filters.insert(row_group, filter);
        Ok(())
    }

    /// Columns of a row group in narrow form, in order of their places, which ascend.
    fn decode(
        &self,
        pieces: Pieces,
        row_group: usize,
        places: &[usize],
        rows: Option<&[Range<u32>]>,
    ) -> Result<Vec<ArrayRef>, StorageError> {
        let wrong =
            |reason: String| corrupt(&self.meta, format!("row group {row_group}: {reason}"));
        let total = self.index.row_groups[row_group].rows;
        let count: usize =
            rows.map_or(total as usize, |rows| rows.iter().map(|range| range.len()).sum());
        let schema = self.metadata.parquet_schema();
        let mut reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(pieces, self.metadata.clone())
                .with_row_groups(vec![row_group])
                .with_projection(ProjectionMask::roots(schema, places.iter().copied()))
                .with_batch_size(count.max(1));
        if let Some(rows) = rows {
            let rows = rows.iter().map(|r| r.start as usize..r.end as usize);
            let selection = RowSelection::from_consecutive_ranges(rows, total as usize);
            reader = reader
                .with_row_selection(selection)
                // Pages between those that were read are not there to be decoded and dropped.
                .with_row_selection_policy(RowSelectionPolicy::Selectors);
        }
        let reader = reader.build().map_err(|e| wrong(e.to_string()))?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
        let batch = match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => batch,
            Err(batches) => {
                compute::concat_batches(&schema, &batches).map_err(|e| wrong(e.to_string()))?
            }
        };
        if batch.num_rows() != count || batch.num_columns() != places.len() {
            return Err(wrong(format!("{} rows decoded of {count}", batch.num_rows())));
        }
        let arrays = places.iter().zip(batch.columns()).map(|(place, array)| {
            Ok(match &self.columns[*place].kind {
                Kind::Table(_, pg_type) => columns::from_file(pg_type, array)?,
                Kind::RowId => self.row_ids(row_group, array, rows),
                Kind::Timestamp => unsigned(array),
            })
        });
        arrays.collect::<Result<_, StorageError>>().map_err(|e| wrong(e.to_string()))
    }

    /// Row ids as they are stored, with those in their place that are inherited.
    fn row_ids(
        &self,
        row_group: usize,
        stored: &ArrayRef,
        rows: Option<&[Range<u32>]>,
    ) -> ArrayRef {
        let first = self.inherited(row_group);
        let all = [0..self.index.row_groups[row_group].rows];
        let rows = rows.unwrap_or(&all).iter().cloned().flatten();
        let stored = stored.as_primitive::<Int64Type>().iter();
        let ids = stored
            .zip(rows)
            .map(|(id, row)| id.map_or_else(|| first.saturating_add(row.into()), |id| id as u64));
        Arc::new(UInt64Array::from_iter_values(ids))
    }
}

/// Timestamps lie as signed integers in the file.
fn unsigned(array: &ArrayRef) -> ArrayRef {
    let signed: &Int64Array = array.as_primitive();
    let values: Vec<u64> = signed.values().iter().map(|value| *value as u64).collect();
    Arc::new(UInt64Array::from(values))
}
