//! Runs of rows into segments.
//!
//! A run that goes on where the one before ended, as those of sorted input do, goes into the same
//! segment. Any other is sorted and becomes one of its own: compaction merges those.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    compute,
    datatypes::{Schema, SchemaRef},
};
use bytes::Bytes;
use glaredb_txn::ids::{JobId, RowId, TableId, Timestamp};

use super::{Names, Staged};
use crate::storage::{
    StorageError,
    budget::Reservation,
    codec::key::EncodedKeys,
    rewrite::{RewriteError, Site, fault, object_name},
    schema::TableSchema,
    segment::{RowIdColumn, SegmentOptions, SegmentWriter, TimestampColumn},
};

/// Rows that are written before the size of the segment is looked at.
const ROWS_AT_ONCE: usize = 8 * 1024;
/// Of a part that brings a segment, which its description may take.
const META_BYTES: usize = 512 << 10;

/// Rows of one table, at hand, in no order.
pub struct Run {
    pub rows: Vec<RunRows>,
    /// Their memory.
    pub reservation: Reservation,
}

/// Rows of a batch, with the table's columns.
#[derive(Clone, Debug)]
pub struct RunRows {
    pub batch: RecordBatch,
    /// Ids that they keep; `None`: they are new.
    pub kept: Option<Arc<[RowId]>>,
}

/// What became of the runs so far.
#[derive(Default)]
pub struct Written {
    /// Segments that are done since it was asked last.
    pub done: Vec<Arc<Staged>>,
    /// The first and the last key of the segment that goes on; rows with keys within may be in it.
    pub open: Option<(Bytes, Bytes)>,
}

/// Writes the segments of a large write. Dropped, it leaves no object that is not whole.
pub struct StageWriter {
    site: Site,
    table: TableId,
    job: JobId,
    schema: Arc<TableSchema>,
    /// Fields of the live columns.
    live: SchemaRef,
    names: Names,
    number: usize,
    open: Option<Open>,
    done: Vec<Arc<Staged>>,
}

struct Open {
    writer: SegmentWriter,
    kept: bool,
    rows: u32,
}

impl StageWriter {
    pub(super) fn new(
        site: &Site,
        (table, job): (TableId, JobId),
        schema: &Arc<TableSchema>,
        names: Names,
    ) -> Self {
        let fields = schema.live().iter().map(|n| Arc::clone(&schema.arrow().fields()[*n]));
        let live = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let schema = Arc::clone(schema);
        let site = site.clone();
        Self { site, table, job, schema, live, names, number: 0, open: None, done: Vec::new() }
    }

    /// Writes a run. Blocks. After an error only dropping it is left to do.
    pub fn write(&mut self, run: Run) -> Result<Written, RewriteError> {
        let Run { rows, reservation } = run;
        for kept in [false, true] {
            let some = rows.iter().filter(|rows| rows.kept.is_some() == kept).cloned();
            let some: Vec<RunRows> = some.collect();
            if !some.is_empty() {
                self.write_sorted(some, kept)?;
            }
        }
        drop(reservation);
        Ok(self.written())
    }

    /// The segment that goes on is done, too. Blocks.
    pub fn finish(&mut self) -> Result<Written, RewriteError> {
        self.end_segment()?;
        Ok(self.written())
    }

    fn written(&mut self) -> Written {
        let copy = |(first, last): (&[u8], &[u8])| {
            (Bytes::copy_from_slice(first), Bytes::copy_from_slice(last))
        };
        let is_keyed = self.schema.key().is_some();
        let open = self.open.as_ref().filter(|_| is_keyed);
        let open = open.and_then(|open| open.writer.key_range().map(copy));
        Written { done: std::mem::take(&mut self.done), open }
    }

    /// Rows that all keep their ids, or all are new.
    fn write_sorted(&mut self, rows: Vec<RunRows>, kept: bool) -> Result<(), RewriteError> {
        if self.schema.key().is_none() && !kept {
            // They get their ids in the order in which they are written.
            self.continue_with(kept, None)?;
            for rows in &rows {
                self.write_batch(&rows.batch, &[], kept)?;
            }
            return Ok(());
        }
        let keys = rows.iter().map(|rows| self.keys_of(rows)).collect::<Result<Vec<_>, _>>()?;
        let is_sorted = keys.iter().flat_map(EncodedKeys::iter).is_sorted();
        if is_sorted {
            let goes_on = self.continue_with(kept, Some(keys[0].get(0)))?;
            for rows in &rows {
                self.write_batch(&rows.batch, rows.kept.as_deref().unwrap_or_default(), kept)?;
            }
            return if goes_on { Ok(()) } else { self.end_segment() };
        }
        let order = order(&keys);
        let (batch, row) = (order[0].1 as usize, order[0].2 as usize);
        self.continue_with(kept, Some(keys[batch].get(row)))?;
        drop(keys);
        for places in order.chunks(ROWS_AT_ONCE) {
            let places: Vec<(usize, usize)> =
                places.iter().map(|(_, batch, row)| (*batch as usize, *row as usize)).collect();
            let batch = self.gathered(&rows, &places)?;
            let ids = |(batch, row): &(usize, usize)| Some(rows[*batch].kept.as_ref()?[*row]);
            let ids: Vec<RowId> = places.iter().filter_map(ids).collect();
            self.write_live(&batch, &ids, kept)?;
        }
        self.end_segment()
    }

    /// What the rows are sorted by.
    fn keys_of(&self, rows: &RunRows) -> Result<EncodedKeys, StorageError> {
        match (self.schema.key(), self.schema.key_encoder(), &rows.kept) {
            (Some(key), Some(encoder), _) => {
                let columns: Vec<ArrayRef> =
                    key.iter().map(|column| Arc::clone(rows.batch.column(*column))).collect();
                encoder.encode_stored(&columns)
            }
            (_, _, Some(ids)) => {
                Ok(EncodedKeys::from_keys(ids.iter().map(|id| id.0.to_be_bytes())))
            }
            _ => Err(StorageError::Invalid("rows without key or id to sort by".to_owned())),
        }
    }

    /// The segment that is open gets the rows that come, unless they do not follow those in it. False:
    /// they do not.
    fn continue_with(&mut self, kept: bool, first: Option<&[u8]>) -> Result<bool, RewriteError> {
        let Some(open) = &self.open else { return Ok(true) };
        let last = open.writer.key_range().map(|(_, last)| last);
        let follows =
            open.kept == kept && first.is_none_or(|first| last.is_some_and(|l| l < first));
        if !follows {
            self.end_segment()?;
        }
        Ok(follows)
    }

    /// The rows at these places, of the live columns.
    fn gathered(
        &self,
        rows: &[RunRows],
        places: &[(usize, usize)],
    ) -> Result<RecordBatch, StorageError> {
        let column = |ordinal: &usize| {
            let arrays: Vec<&dyn Array> =
                rows.iter().map(|rows| rows.batch.column(*ordinal).as_ref()).collect();
            compute::interleave(&arrays, places)
        };
        let wrong = |e: arrow::error::ArrowError| StorageError::Invalid(format!("own rows: {e}"));
        let columns = self.schema.live().iter().map(column).collect::<Result<_, _>>();
        let columns: Vec<ArrayRef> = columns.map_err(wrong)?;
        self.live_batch(columns, places.len())
    }

    fn live_batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, StorageError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.live), columns, &options)
            .map_err(|e| StorageError::Invalid(format!("own rows: {e}")))
    }

    fn write_batch(
        &mut self,
        batch: &RecordBatch,
        ids: &[RowId],
        kept: bool,
    ) -> Result<(), RewriteError> {
        let live = self.schema.live().iter().map(|n| Arc::clone(batch.column(*n))).collect();
        let live = self.live_batch(live, batch.num_rows())?;
        let mut from = 0;
        while from < live.num_rows() {
            let rows = ROWS_AT_ONCE.min(live.num_rows() - from);
            let ids = if ids.is_empty() { &[] } else { &ids[from..from + rows] };
            self.write_live(&live.slice(from, rows), ids, kept)?;
            from += rows;
        }
        Ok(())
    }

    fn write_live(
        &mut self,
        batch: &RecordBatch,
        ids: &[RowId],
        kept: bool,
    ) -> Result<(), RewriteError> {
        if self.open.is_none() {
            self.begin_segment(kept, ids.first().copied())?;
        }
        let open = self.open.as_mut().expect("begun above");
        open.writer.write(batch, ids, &[])?;
        open.rows += batch.num_rows() as u32;
        // A transaction has one row with a key: segments end between any two.
        let options = &self.site.options;
        let is_full = open.rows >= options.segment_rows_max
            || open.writer.bytes() >= options.segment_bytes_max;
        if is_full { self.end_segment() } else { Ok(()) }
    }

    fn begin_segment(&mut self, kept: bool, first: Option<RowId>) -> Result<(), RewriteError> {
        fault("staging::object::before")?;
        let name = object_name(self.table, self.job, self.number);
        self.number += 1;
        self.names.lock().push(name.clone());
        let store = &self.site.segments;
        let object = store.objects.create(&name)?;
        let options = SegmentOptions {
            database: store.database,
            table: self.table,
            name,
            schema: Arc::clone(&self.schema),
            row_ids: match first.filter(|_| kept) {
                Some(first) => RowIdColumn::Stored { first },
                // The commit says of what they are counted from, and when it was.
                None => RowIdColumn::Inherited(RowId(0)),
            },
            timestamps: TimestampColumn::One(Timestamp::ZERO),
        };
        self.open = Some(Open { writer: SegmentWriter::new(options, object)?, kept, rows: 0 });
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), RewriteError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (mut meta, filters) = open.writer.finish_with_filters()?;
        meta.shorten(META_BYTES);
        fault("staging::object::after")?;
        let store = &self.site.segments;
        let staged = Staged::new(store, self.job, meta, &self.schema, open.kept, filters);
        self.done.push(Arc::new(staged));
        Ok(())
    }
}

/// Rows in the order of their keys: the first bytes of each, its batch and its place there.
fn order(keys: &[EncodedKeys]) -> Vec<(u64, u32, u32)> {
    let mut order = Vec::with_capacity(keys.iter().map(EncodedKeys::len).sum());
    for (batch, keys) in keys.iter().enumerate() {
        let places = keys.iter().enumerate();
        order.extend(places.map(|(row, key)| (front(key), batch as u32, row as u32)));
    }
    let key = |(_, batch, row): &(u64, u32, u32)| keys[*batch as usize].get(*row as usize);
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a).cmp(key(b))));
    order
}

fn front(key: &[u8]) -> u64 {
    let mut front = [0; 8];
    let len = key.len().min(8);
    front[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(front)
}
