//! A write set as changes: small ones in one payload, large ones in parts.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::DataType,
};
use bytes::Bytes;
use glaredb_catalog::CatalogChange;
use glaredb_txn::{
    codec::Writer,
    commit::message::PAYLOAD_BYTES_MAX,
    ids::{SchemaVersion, SegmentId, TableId},
};
use roaring::RoaringBitmap;
use smallvec::SmallVec;

use super::{
    PART_BYTES, TableWrites,
    folded::{self, DeletedIn},
    table_writes::{DeletedRow, OwnRows, Packing},
};
use crate::storage::{
    StorageError,
    chunk::CHUNK_ROWS_MAX,
    codec::{batch, row::RowEncoder},
    record::{self, ChangesWriter, Deletes, DeletesKind, Group, GroupKind, OldKey},
    schema::TableSchema,
    staging::Staged,
    table::Table,
};

/// From so many rows on a batch is encoded column by column: below, its columns' heads cost more
/// than they save, and its rows may share a block with others.
const COLUMNAR_ROWS_MIN: usize = 256;

/// Memory of a batch, by what it shows rather than what it shares.
pub(super) fn batch_memory(batch: &RecordBatch) -> u64 {
    let fixed = batch.columns().iter().map(|c| fixed_width(c.data_type())).sum::<usize>();
    (batch.num_rows() * (fixed + 1) + batch.columns().iter().map(|c| text_bytes(c)).sum::<usize>())
        as u64
}

/// About the encoded size of a batch.
pub(super) fn encoded_estimate(batch: &RecordBatch) -> usize {
    let packed = |t: &DataType| fixed_width(t).div_ceil(2);
    let fixed = batch.columns().iter().map(|c| packed(c.data_type())).sum::<usize>();
    batch.num_rows() * (fixed + 2) + batch.columns().iter().map(|c| text_bytes(c)).sum::<usize>()
}

fn fixed_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        DataType::Utf8View | DataType::FixedSizeBinary(_) => 16,
        DataType::Binary => 4,
        other => other.primitive_width().unwrap_or(16),
    }
}

/// Bytes of the values of a text or bytea column.
fn text_bytes(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().lengths().map(|len| len as usize).sum(),
        DataType::Binary => {
            let offsets = array.as_binary::<i32>().value_offsets();
            (offsets[offsets.len() - 1] - offsets[0]) as usize
        }
        _ => 0,
    }
}

fn longest_text(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().lengths().max().unwrap_or(0) as usize,
        DataType::Binary => {
            let offsets = array.as_binary::<i32>().value_offsets();
            offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Error: a row that fits no record, whatever else is in it.
pub(super) fn check_row_sizes(batch: &RecordBatch) -> Result<(), StorageError> {
    // The longest values side by side make a row that is at least as long as any.
    let longest: usize = batch.columns().iter().map(|c| longest_text(c)).sum();
    if longest < PART_BYTES / 2 {
        return Ok(());
    }
    for row in 0..batch.num_rows() {
        let bytes: usize = batch.columns().iter().map(|c| text_bytes(&c.slice(row, 1))).sum();
        let bytes = bytes + batch.num_columns() * 40;
        if bytes > PART_BYTES {
            return Err(StorageError::RowTooLarge { bytes, bytes_max: PART_BYTES });
        }
    }
    Ok(())
}

/// Rows `first..first + rows` of own rows, as an encoded group.
fn write_group(
    schema: &TableSchema,
    own: &OwnRows,
    first: usize,
    rows: usize,
    columnar: bool,
    out: &mut Writer,
) -> Result<(), StorageError> {
    let mut data = Writer::new();
    if columnar {
        batch::encode(schema.columns(), own.batch.columns(), first, rows, &mut data)?;
    } else {
        let encoder = RowEncoder::new(schema.columns(), own.batch.columns())?;
        (first..first + rows).for_each(|row| encoder.encode(row, &mut data));
    }
    let kept = own.kept.as_ref().map(|ids| ids[first..first + rows].into());
    let kind = if columnar { GroupKind::Columns } else { GroupKind::Rows };
    Group { kind, rows: rows as u32, kept, data: data.as_slice() }.write(out);
    Ok(())
}

/// The section of a table in a commit's own payload.
#[derive(Debug)]
pub(super) struct EncodedSection {
    table: TableId,
    version: SchemaVersion,
    schema: Arc<TableSchema>,
    /// How many, and their encodings.
    groups: (u64, Vec<u8>),
    deletes: Vec<DeletedRow>,
}

/// What a commit's own payload was made of, as long as it names rows that may move before it commits.
#[derive(Debug, Default)]
pub struct PlacesSent {
    sections: Vec<EncodedSection>,
    catalog: Option<CatalogChange>,
}

/// A part, ready to be sent.
#[derive(Debug)]
pub struct EncodedPart(Content);

#[derive(Debug)]
enum Content {
    Inserts(Bytes),
    /// Encoded when they are sent: their rows may move before.
    Deletes {
        table: TableId,
        schema: Arc<TableSchema>,
        created: bool,
        rows: Vec<DeletedRow>,
    },
    Folded {
        table: TableId,
        schema: Arc<TableSchema>,
        created: bool,
        rows: DeletedIn,
    },
}

impl EncodedPart {
    /// What is sent.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        match &self.0 {
            Content::Inserts(payload) => payload.clone(),
            Content::Deletes { table, schema, created, rows } => {
                let encoded = encode_deletes(schema, rows);
                let deletes = deletes_of(schema, rows.len(), &encoded);
                part_of(*table, schema, *created, (0, &[]), deletes)
            }
            Content::Folded { table, schema, created, rows } => {
                let mut data = Writer::new();
                record::write_bitmaps(rows, &mut data);
                let count = rows.values().map(RoaringBitmap::len).sum::<u64>();
                let (kind, count) = (DeletesKind::Bitmaps, count.try_into().unwrap_or(u32::MAX));
                let deletes = Deletes { count, kind, data: data.as_slice() };
                part_of(*table, schema, *created, (0, &[]), deletes)
            }
        }
    }

    /// Brings the places of rows to where they lie by now. Error: nobody knows that.
    pub fn follow_moves(
        &mut self,
        storage: impl Fn(TableId) -> Option<Arc<Table>>,
    ) -> Result<(), StorageError> {
        match &mut self.0 {
            Content::Inserts(_) => Ok(()),
            Content::Deletes { table, rows, .. } => follow_moves(*table, rows, &storage),
            Content::Folded { table, rows, .. } => {
                let Some(storage) = storage(*table) else { return Ok(()) };
                folded::follow(&storage, &storage.list(), rows).map(drop)
            }
        }
    }
}

impl PlacesSent {
    /// The payload anew, with the places that rows have by now; `None` if it names none. Error: nobody
    /// knows them, or it does not fit a record any more.
    pub fn follow_moves(
        &mut self,
        storage: impl Fn(TableId) -> Option<Arc<Table>>,
    ) -> Result<Option<Bytes>, StorageError> {
        if self.sections.is_empty() {
            return Ok(None);
        }
        let mut sections = std::mem::take(&mut self.sections);
        for section in &mut sections {
            follow_moves(section.table, &mut section.deletes, &storage)?;
        }
        let (payload, places) = payload(sections, self.catalog.take())?;
        *self = places;
        Ok(Some(payload))
    }
}

fn follow_moves(
    table: TableId,
    rows: &mut [DeletedRow],
    storage: &impl Fn(TableId) -> Option<Arc<Table>>,
) -> Result<(), StorageError> {
    let Some(storage) = storage(table) else { return Ok(()) };
    let list = storage.list();
    for row in rows {
        row.locator = storage.place_in(row.locator, &list).ok_or(StorageError::RowsMoved(table))?;
    }
    Ok(())
}

/// A commit's own payload.
pub(super) fn payload(
    sections: Vec<EncodedSection>,
    catalog: Option<CatalogChange>,
) -> Result<(Bytes, PlacesSent), StorageError> {
    let mut changes = ChangesWriter::default();
    for section in &sections {
        let EncodedSection { table, version, schema, groups: (count, groups), deletes } = section;
        let encoded = encode_deletes(schema, deletes);
        let deletes = deletes_of(schema, deletes.len(), &encoded);
        changes.section(*table, *version, (*count, groups), deletes);
    }
    let payload = changes.finish([].into_iter(), catalog.as_ref());
    let bytes_max = PAYLOAD_BYTES_MAX;
    if payload.len() > bytes_max {
        return Err(StorageError::RowTooLarge { bytes: payload.len(), bytes_max });
    }
    let places = match sections.iter().any(|section| !section.deletes.is_empty()) {
        true => PlacesSent { sections, catalog },
        false => PlacesSent::default(),
    };
    Ok((payload, places))
}

/// What is left of a table's writes; `None`: nothing.
pub(super) fn encode_section(
    table: TableId,
    version: SchemaVersion,
    writes: &mut TableWrites,
) -> Result<Option<EncodedSection>, StorageError> {
    let schema = writes.schema.clone().expect("a table with a version has a schema");
    let rows = writes.take_rows()?;
    let deletes = writes.take_deletes();
    if rows.is_empty() && deletes.is_empty() {
        return Ok(None);
    }
    let mut groups = Writer::new();
    for own in &rows {
        let count = own.batch.num_rows();
        let columnar = count >= COLUMNAR_ROWS_MIN;
        write_group(&schema, own, 0, count, columnar, &mut groups)?;
    }
    let groups = (rows.len() as u64, groups.into_vec());
    Ok(Some(EncodedSection { table, version, schema, groups, deletes }))
}

fn encode_deletes(schema: &TableSchema, rows: &[DeletedRow]) -> Writer {
    let mut out = Writer::new();
    let mut last = SegmentId(0);
    for row in rows {
        let key = match schema.key() {
            Some(_) => OldKey::Primary(&row.key),
            None => OldKey::RowId(row.row_id),
        };
        let deleted = record::DeletedRow { locator: row.locator, key };
        Deletes::write_row(last, &deleted, &mut out);
        last = row.locator.segment;
    }
    out
}

fn deletes_of<'a>(schema: &TableSchema, count: usize, encoded: &'a Writer) -> Deletes<'a> {
    let kind = match schema.key() {
        Some(_) => DeletesKind::Keys,
        None => DeletesKind::RowIds,
    };
    Deletes { count: count as u32, kind, data: encoded.as_slice() }
}

/// The part that brings a segment. `created`: the transaction creates its table.
pub(super) fn staged_part(staged: &Staged, created: bool) -> Result<EncodedPart, StorageError> {
    let (meta, schema) = (staged.meta(), staged.schema());
    let mut data = Writer::new();
    staged.rows().encode(&mut data);
    let kept = staged.keeps_ids().then(SmallVec::new);
    let group = Group { kind: GroupKind::Segment, rows: meta.rows, kept, data: data.as_slice() };
    let mut encoded = Writer::new();
    group.write(&mut encoded);
    let groups = (1, encoded.as_slice());
    let payload = part_of(meta.table, schema, created, groups, Deletes::default());
    let (bytes, bytes_max) = (payload.len(), PAYLOAD_BYTES_MAX);
    if bytes > bytes_max {
        return Err(StorageError::Invalid(format!(
            "{} columns have statistics of {bytes} bytes, a record has room for {bytes_max}",
            meta.columns.len()
        )));
    }
    Ok(EncodedPart(Content::Inserts(payload)))
}

/// Encodes the parts of one table.
struct PartEncoder<'a> {
    table: TableId,
    schema: &'a Arc<TableSchema>,
    /// Set where the transaction creates the table: every part can be the first one applied.
    created: bool,
    packing: Packing,
    parts: Vec<EncodedPart>,
}

fn part_of(
    table: TableId,
    schema: &TableSchema,
    created: bool,
    groups: (u64, &[u8]),
    deletes: Deletes<'_>,
) -> Bytes {
    let mut changes = ChangesWriter::default();
    changes.section(table, schema.version(), groups, deletes);
    let storages: &[_] = if created { &[(table, schema)] } else { &[] };
    changes.finish(storages.iter().copied(), None)
}

impl PartEncoder<'_> {
    /// A part of inserted rows, if it fits a record; its length.
    fn push(&mut self, groups: (u64, &[u8])) -> usize {
        let payload = part_of(self.table, self.schema, self.created, groups, Deletes::default());
        let bytes = payload.len();
        if bytes <= PAYLOAD_BYTES_MAX {
            self.parts.push(EncodedPart(Content::Inserts(payload)));
        }
        bytes
    }

    fn deletes(&mut self, rows: Vec<DeletedRow>) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for row in rows {
            // Wherever the rows will lie when it is sent.
            let more = row.key.len() + 24;
            if bytes + more > PART_BYTES {
                self.push_deletes(std::mem::take(&mut part));
                bytes = 0;
            }
            bytes += more;
            part.push(row);
        }
        self.push_deletes(part);
    }

    fn folded(&mut self, pieces: Vec<DeletedIn>) {
        for rows in pieces {
            let (table, schema, created) = (self.table, Arc::clone(self.schema), self.created);
            self.parts.push(EncodedPart(Content::Folded { table, schema, created, rows }));
        }
    }

    fn push_deletes(&mut self, rows: Vec<DeletedRow>) {
        if !rows.is_empty() {
            let (table, schema, created) = (self.table, Arc::clone(self.schema), self.created);
            self.parts.push(EncodedPart(Content::Deletes { table, schema, created, rows }));
        }
    }

    /// Rows from the front of `own`; the place behind the last one encoded. Unless `all`, what would
    /// not fill a part stays.
    fn rows(&mut self, own: &OwnRows, all: bool) -> Result<usize, StorageError> {
        let total = own.batch.num_rows();
        let (mut done, mut count_max) = (0, CHUNK_ROWS_MAX as usize);
        while done < total {
            let estimated = |rows: usize| own.encoded * rows / total;
            let per_1024_rows = self.packing.scale(estimated(1024)).max(1024);
            let count = (PART_BYTES * 1024 / per_1024_rows).clamp(1, count_max);
            if !all && total - done < count {
                break;
            }
            let rows = count.min(total - done);
            let mut group = Writer::new();
            write_group(self.schema, own, done, rows, true, &mut group)?;
            let bytes = self.push((1, group.as_slice()));
            if bytes <= PAYLOAD_BYTES_MAX {
                done += rows;
                count_max = (count_max * 2).min(CHUNK_ROWS_MAX as usize);
                self.packing.learn(estimated(rows), bytes);
            } else if rows == 1 {
                return Err(StorageError::RowTooLarge { bytes, bytes_max: PAYLOAD_BYTES_MAX });
            } else {
                // Rows of very different sizes: the estimate was an average.
                count_max = rows.div_ceil(2);
            }
        }
        Ok(done)
    }
}

impl TableWrites {
    /// Encode rows and deletions into parts. `all`: until nothing is left, else only whole parts.
    pub(super) fn drain_parts(
        &mut self,
        table: TableId,
        created: bool,
        all: bool,
    ) -> Result<Vec<EncodedPart>, StorageError> {
        let Some(schema) = self.schema.clone() else { return Ok(Vec::new()) };
        let packing = self.packing;
        let mut encoder =
            PartEncoder { table, schema: &schema, created, packing, parts: Vec::new() };
        if all || self.deletes.len() * 24 > PART_BYTES {
            encoder.deletes(self.take_deletes());
        }
        if all {
            encoder.folded(self.take_folded());
        }
        for own in joined(self.take_rows()?)? {
            let done = encoder.rows(&own, all)?;
            if done < own.batch.num_rows() {
                self.put_back(own.from(done));
            }
        }
        self.packing = encoder.packing;
        Ok(encoder.parts)
    }
}

/// Batches in order, neighbours put together where both keep row ids or neither does: many small
/// batches make few large parts.
fn joined(rows: Vec<OwnRows>) -> Result<Vec<OwnRows>, StorageError> {
    let mut joined = Vec::new();
    for run in rows.chunk_by(|a, b| a.kept.is_some() == b.kept.is_some()) {
        let batches = run.iter().map(|own| &own.batch);
        let batch = arrow::compute::concat_batches(&run[0].batch.schema(), batches)
            .map_err(|e| StorageError::Invalid(format!("own rows: {e}")))?;
        let kept = run[0].kept.as_ref().map(|_| {
            run.iter().flat_map(|own| own.kept.iter().flat_map(|ids| ids.iter().copied())).collect()
        });
        joined.push(OwnRows::new(batch, run[0].first, kept));
    }
    Ok(joined)
}
