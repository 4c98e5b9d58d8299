//! What a reader sees of a table at a timestamp.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array},
    buffer::BooleanBuffer,
    datatypes::{Schema, SchemaRef},
};
use glaredb_txn::ids::{Locator, SegmentId, Timestamp};
use roaring::RoaringBitmap;

use super::{TableList, TableSegment};

use crate::storage::{
    chunk::block::{Block, RowIds, RowNumbers},
    schema::TableSchema,
};

/// A table at a timestamp: consistent, immutable, keeps what it shows in memory while it lives.
#[derive(Clone, Debug)]
pub struct TableView {
    at: Timestamp,
    list: TableList,
    units: Vec<ScanUnit>,
    segments: Vec<SegmentView>,
}

/// Rows in an object, as a view sees them.
#[derive(Clone, Debug)]
pub struct SegmentView {
    segment: Arc<TableSegment>,
    deleted: Arc<RoaringBitmap>,
}

impl SegmentView {
    #[must_use]
    pub fn segment(&self) -> &Arc<TableSegment> {
        &self.segment
    }

    /// Rows, by their numbers in the segment, that were deleted at or before the view's timestamp. Rows
    /// that were committed after it are still to be left out.
    #[must_use]
    pub fn deleted(&self) -> &Arc<RoaringBitmap> {
        &self.deleted
    }
}

impl TableView {
    pub(super) fn new(schema: &Arc<TableSchema>, list: &TableList, at: Timestamp) -> Self {
        let segments = list.segments().iter().map(|segment| SegmentView {
            segment: Arc::clone(segment),
            deleted: segment.deletions().at(at),
        });
        let segments = segments.collect();
        let chunks = list.chunks();
        let mut units = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let segment = chunk.segment();
            for block in chunk.blocks_at(at) {
                let unit = ScanUnit { at, schema: Arc::clone(schema), segment, block };
                // A mask costs as much as scanning it: only what is cheap to know is left out.
                if unit.block.begin(0) <= at {
                    units.push(unit);
                }
            }
        }
        Self { at, list: list.clone(), units, segments }
    }

    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// Rows in memory, in order of segment and row. A unit may still have no visible row.
    #[must_use]
    pub fn units(&self) -> &[ScanUnit] {
        &self.units
    }

    /// Rows in objects, by segment.
    #[must_use]
    pub fn segments(&self) -> &[SegmentView] {
        &self.segments
    }

    /// Where the rows lie that it shows.
    #[must_use]
    pub fn list(&self) -> &TableList {
        &self.list
    }

    /// Number of visible rows in memory; counts, it does not estimate.
    #[must_use]
    pub fn visible_rows(&self) -> usize {
        self.units.iter().map(ScanUnit::visible_rows).sum()
    }
}

/// What part of a range of rows is visible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Visibility {
    All,
    None,
    /// One bit per row of the range; neither all set nor all clear.
    Mask(BooleanBuffer),
}

/// Rows of one chunk that lie contiguously: a sealed chunk (up to 65,536 rows) or a block of an
/// open one (about 1,024). Rows count from 0 within the unit; dead ones are among them.
#[derive(Clone, Debug)]
pub struct ScanUnit {
    at: Timestamp,
    schema: Arc<TableSchema>,
    segment: SegmentId,
    block: Arc<Block>,
}

impl ScanUnit {
    /// Rows, visible or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.block.len
    }

    /// Memory that its columns share.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.block.memory_bytes()
    }

    #[must_use]
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Locator of row `row` of the unit. Row numbers of a chunk may have gaps within a unit: dead
    /// rows are thinned out.
    #[must_use]
    pub fn locator(&self, row: usize) -> Locator {
        Locator { segment: self.segment, row: self.block.row(row) }
    }

    /// The `row` half of the locators of a range of rows.
    #[must_use]
    pub fn locator_rows(&self, range: Range<usize>) -> UInt32Array {
        match &self.block.rows {
            RowNumbers::From(first) => {
                UInt32Array::from_iter_values(range.map(|n| first + n as u32))
            }
            RowNumbers::Each(rows) => rows[range].to_vec().into(),
        }
    }

    #[must_use]
    pub fn row_ids(&self, range: Range<usize>) -> UInt64Array {
        match &self.block.row_ids {
            RowIds::From(first) => UInt64Array::from_iter_values(range.map(|n| first + n as u64)),
            RowIds::Each(ids) => ids[range].to_vec().into(),
        }
    }

    /// Columns (by ordinal in the table) of a range of rows, without copying.
    #[must_use]
    pub fn columns(&self, range: Range<usize>, projection: &[usize]) -> Vec<ArrayRef> {
        self.block.columns(&self.schema, range, projection)
    }

    /// The same as a batch with the table's fields.
    #[must_use]
    pub fn batch(&self, range: Range<usize>, projection: &[usize]) -> RecordBatch {
        let rows = range.len();
        batch_of(projected(self.schema.arrow(), projection), self.columns(range, projection), rows)
    }

    /// Which rows of the range the view's timestamp sees. The fast answers, `All` and `None`, do not
    /// look at rows.
    #[must_use]
    pub fn visible(&self, range: Range<usize>) -> Visibility {
        self.block.visible(range, self.at)
    }

    /// Number of visible rows.
    #[must_use]
    pub fn visible_rows(&self) -> usize {
        match self.visible(0..self.rows()) {
            Visibility::All => self.rows(),
            Visibility::None => 0,
            Visibility::Mask(mask) => mask.count_set_bits(),
        }
    }
}

/// The fields of a projection.
pub(super) fn projected(schema: &SchemaRef, projection: &[usize]) -> SchemaRef {
    let fields: Vec<_> = projection.iter().map(|c| Arc::clone(&schema.fields()[*c])).collect();
    Arc::new(Schema::new(fields))
}

/// A batch that knows its number of rows also without columns.
pub(super) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("columns were built for this schema")
}
