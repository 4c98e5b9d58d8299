//! Segments in memory: what is written comes back, by row group, by number and by key.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::Schema,
};
use bytes::Bytes;
use futures::{FutureExt, executor::block_on, future::BoxFuture};
use glaredb_txn::ids::{DatabaseId, RowId, SchemaVersion, SegmentId, TableId, Timestamp};
use parking_lot::Mutex;

use super::{
    Projection, Resident, RowIdColumn, Seek, Segment, SegmentMeta, SegmentOptions, SegmentRows,
    SegmentStore, SegmentWriter, TimestampColumn,
};
use crate::{
    storage::{
        StorageError,
        objects::{ObjectEntry, ObjectError, ObjectName, ObjectWrite, Objects},
        schema::{ColumnSchema, TableSchema},
    },
    types::PgType,
};

mod damage;
mod files;
mod lookup;
mod round_trip;
mod statistics;

const DATABASE: DatabaseId = DatabaseId(0x5e6);

/// Objects in memory, which count what is asked of them.
#[derive(Clone, Default)]
pub(in crate::storage) struct Memory(Arc<State>);

#[derive(Default)]
pub(in crate::storage) struct State {
    objects: Mutex<HashMap<String, Bytes>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Memory {
    /// Requests since this was asked last.
    fn requests(&self) -> u64 {
        self.0.requests.swap(0, Ordering::Relaxed)
    }

    fn body(&self, name: &ObjectName) -> Bytes {
        self.0.objects.lock()[name.as_str()].clone()
    }

    fn set(&self, name: &ObjectName, body: impl Into<Bytes>) {
        self.0.objects.lock().insert(name.as_str().to_owned(), body.into());
    }
}

struct Open {
    store: Memory,
    name: ObjectName,
    body: Vec<u8>,
}

impl ObjectWrite for Open {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ObjectError> {
        self.store.set(&self.name, self.body);
        Ok(())
    }
}

impl Objects for Memory {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        Ok(Box::new(Open { store: self.clone(), name: name.clone(), body: Vec::new() }))
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let found = self.0.objects.lock().get(name.as_str()).cloned();
        found.ok_or_else(|| ObjectError::NotFound(name.clone()))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        self.get(name).map(|body| body.len() as u64)
    }

    fn list(&self, _prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        Ok(Vec::new())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.0.objects.lock().remove(name.as_str());
        Ok(())
    }

    /// That of a bucket.
    fn gap_bytes(&self) -> u64 {
        1 << 20
    }

    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        self.0.requests.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        let read = self.get(name).and_then(|body| {
            let size = body.len() as u64;
            let range = |range: &Range<u64>| {
                let Range { start, end } = *range;
                if end > size || start > end {
                    return Err(ObjectError::OutOfRange { name: name.clone(), size, start, end });
                }
                self.0.bytes.fetch_add(end - start, Ordering::Relaxed);
                Ok(body.slice(start as usize..end as usize))
            };
            ranges.iter().map(range).collect()
        });
        async move { read }.boxed()
    }
}

fn table(columns: Vec<ColumnSchema>, key: Option<Vec<usize>>) -> Arc<TableSchema> {
    Arc::new(TableSchema::new(SchemaVersion(3), columns, key).expect("columns of a table"))
}

/// Columns `c0`, `c1` … with the ids 1, 2 ….
fn columns_of(types: impl IntoIterator<Item = PgType>) -> Vec<ColumnSchema> {
    let column =
        |(n, of): (usize, PgType)| ColumnSchema::new(n as u32 + 1, &format!("c{n}"), of, false);
    types.into_iter().enumerate().map(column).collect()
}

fn batch(schema: &TableSchema, columns: &[ArrayRef]) -> RecordBatch {
    let fields = schema.live().iter().map(|n| Arc::clone(&schema.arrow().fields()[*n]));
    let fields = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = columns.first().map_or(0, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(fields, columns.to_vec(), &options).expect("a batch")
}

fn name() -> ObjectName {
    ObjectName::new("data/7/0c9e8a52-2f1b-4c52-9e34-1b7ad8a1b6a0.parquet").expect("a name")
}

fn options(schema: &Arc<TableSchema>) -> SegmentOptions {
    SegmentOptions {
        database: DATABASE,
        table: TableId(7),
        name: name(),
        schema: Arc::clone(schema),
        row_ids: RowIdColumn::Inherited(RowId(1_000)),
        timestamps: TimestampColumn::One(Timestamp::from_millis(77)),
    }
}

/// Columns of all rows, written in pieces.
fn write(memory: &Memory, schema: &Arc<TableSchema>, columns: &[ArrayRef]) -> Arc<SegmentMeta> {
    write_as(memory, options(schema), columns, &[], &[]).expect("a segment")
}

fn write_as(
    memory: &Memory,
    options: SegmentOptions,
    columns: &[ArrayRef],
    row_ids: &[RowId],
    timestamps: &[Timestamp],
) -> Result<Arc<SegmentMeta>, StorageError> {
    let object = memory.create(&options.name).expect("a new object");
    let batch = batch(&options.schema, columns);
    let mut writer = SegmentWriter::new(options, object)?;
    let mut from = 0;
    while from < batch.num_rows() {
        let rows = (batch.num_rows() - from).min(10_007);
        let of = |all: usize| if all == 0 { 0..0 } else { from..from + rows };
        let ids = &row_ids[of(row_ids.len())];
        writer.write(&batch.slice(from, rows), ids, &timestamps[of(timestamps.len())])?;
        from += rows;
    }
    writer.finish().map(Arc::new)
}

fn store(memory: &Memory, budget_bytes: usize) -> SegmentStore {
    SegmentStore {
        objects: Arc::new(memory.clone()),
        database: DATABASE,
        resident: Resident::new(budget_bytes),
    }
}

fn open(store: &SegmentStore, meta: &Arc<SegmentMeta>, schema: &TableSchema) -> Segment {
    block_on(store.open(SegmentId(1), meta, schema)).expect("a segment")
}

/// All there is of a table's columns and beside them.
fn everything(columns: &[usize]) -> Projection<'_> {
    Projection { columns, row_ids: true, timestamps: true, ..Projection::default() }
}

fn read_all(
    segment: &Segment,
    schema: &TableSchema,
    projection: &Projection<'_>,
) -> Result<Vec<SegmentRows>, StorageError> {
    let groups = 0..segment.row_groups();
    groups.map(|group| block_on(segment.read(schema, projection, group, None))).collect()
}
