//! A write set as changes: small ones in one payload, large ones in parts.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::DataType,
};
use bytes::Bytes;
use glaredb_txn::{
    codec::Writer,
    commit::message::PAYLOAD_BYTES_MAX,
    ids::{SchemaVersion, SegmentId, TableId},
};

use super::{
    PART_BYTES, TableWrites,
    table_writes::{DeletedRow, OwnRows, Packing},
};
use crate::storage::{
    StorageError,
    chunk::CHUNK_ROWS_MAX,
    codec::{batch, row::RowEncoder},
    record::{self, ChangesWriter, Deletes, Group, OldKey},
    schema::TableSchema,
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
    Group { columnar, rows: rows as u32, kept, data: data.as_slice() }.write(out);
    Ok(())
}

/// The section of a table in a commit's own payload.
pub(super) fn write_section(
    table: TableId,
    version: SchemaVersion,
    writes: &mut TableWrites,
    out: &mut ChangesWriter,
) -> Result<(), StorageError> {
    let schema = writes.schema.clone().expect("a table with a version has a schema");
    let rows = writes.take_rows()?;
    let deletes = writes.take_deletes();
    if rows.is_empty() && deletes.is_empty() {
        return Ok(());
    }
    let mut groups = Writer::new();
    for own in &rows {
        let count = own.batch.num_rows();
        let columnar = count >= COLUMNAR_ROWS_MIN;
        write_group(&schema, own, 0, count, columnar, &mut groups)?;
    }
    let encoded = encode_deletes(&schema, &deletes);
    let deletes = deletes_of(&schema, deletes.len(), &encoded);
    out.section(table, version, (rows.len() as u64, groups.as_slice()), deletes);
    Ok(())
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
    Deletes { count: count as u32, keyed: schema.key().is_some(), data: encoded.as_slice() }
}

/// Encodes the parts of one table.
struct PartEncoder<'a> {
    table: TableId,
    schema: &'a TableSchema,
    /// Set where the transaction creates the table: every part can be the first one applied.
    created: bool,
    packing: Packing,
    parts: Vec<Bytes>,
}

impl PartEncoder<'_> {
    fn push(&mut self, groups: (u64, &[u8]), deletes: Deletes<'_>) -> Result<usize, StorageError> {
        let mut changes = ChangesWriter::default();
        changes.section(self.table, self.schema.version(), groups, deletes);
        let storages: &[_] = if self.created { &[(self.table, self.schema)] } else { &[] };
        let part = changes.finish(storages.iter().copied(), None);
        let bytes = part.len();
        if bytes <= PAYLOAD_BYTES_MAX {
            self.parts.push(part);
        }
        Ok(bytes)
    }

    fn deletes(&mut self, rows: &[DeletedRow]) -> Result<(), StorageError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |row: &&DeletedRow| {
                bytes += row.key.len() + 24;
                bytes <= PART_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let encoded = encode_deletes(self.schema, &rest[..count]);
            self.push((0, &[]), deletes_of(self.schema, count, &encoded))?;
            rest = &rest[count..];
        }
        Ok(())
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
            let bytes = self.push((1, group.as_slice()), Deletes::default())?;
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
    ) -> Result<Vec<Bytes>, StorageError> {
        let Some(schema) = self.schema.clone() else { return Ok(Vec::new()) };
        let packing = self.packing;
        let mut encoder =
            PartEncoder { table, schema: &schema, created, packing, parts: Vec::new() };
        if all || self.deletes.len() * 24 > PART_BYTES {
            encoder.deletes(&self.take_deletes())?;
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
