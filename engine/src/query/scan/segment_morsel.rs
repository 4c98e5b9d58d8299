//! Rows in objects, as one scan reads them.

use std::{ops::Range, sync::Arc};

use arrow::{array::BooleanBufferBuilder, buffer::BooleanBuffer};
use datafusion::{physical_expr::PhysicalExpr, scalar::ScalarValue};
use glaredb_txn::ids::Timestamp;
use roaring::RoaringBitmap;

use super::{
    exec::{ReadColumn, ReadColumns},
    key_condition::{End, Span},
    pruning::{ColumnRange, Nulls, Ranges, may_pass},
};
use crate::storage::{
    StorageError,
    schema::TableSchema,
    segment::{Answer, Bound, Decimals, Held, Projection, ROW_GROUP_ROWS, SegmentMeta, SortOrder},
    table::{SegmentView, TableSegment},
};

/// A segment and which of its rows are there to be read.
#[derive(Debug)]
pub(super) struct SegmentSource {
    pub(super) segment: Arc<TableSegment>,
    pub(super) meta: Arc<SegmentMeta>,
    /// Rows deleted: for the snapshot, or by the transaction.
    gone: RoaringBitmap,
    /// Rows of several commits, of which the snapshot may not see all.
    pub(super) begins_differ: bool,
}

/// Rows of a segment that a stream takes at a time.
#[derive(Clone, Debug)]
pub(super) struct SegmentMorsel {
    pub(super) source: Arc<SegmentSource>,
    /// By their numbers in the segment.
    pub(super) rows: Range<u32>,
}

impl SegmentSource {
    /// `None`: the snapshot sees none of its rows. `own`: rows that the transaction deleted. Error: what
    /// is said of the segment cannot be read.
    pub(super) fn new(
        view: &SegmentView,
        own: Option<RoaringBitmap>,
        at: Timestamp,
    ) -> Result<Option<Self>, StorageError> {
        let segment = Arc::clone(view.segment());
        let meta = Arc::clone(segment.description()?);
        let gone = match own {
            Some(own) => own | view.deleted().as_ref(),
            None => (**view.deleted()).clone(),
        };
        if meta.commits.0 > at || gone.len() >= u64::from(segment.rows()) {
            return Ok(None);
        }
        let begins_differ = meta.commits.1 > at;
        Ok(Some(Self { segment, meta, gone, begins_differ }))
    }

    /// Rows that are visible, if that is known without reading.
    pub(super) fn exact_rows(&self) -> Option<u64> {
        let rows = u64::from(self.segment.rows());
        (!self.begins_differ && self.gone.is_empty()).then_some(rows)
    }

    /// Cut into what a stream takes at a time: row groups, as they are written as a rule.
    pub(super) fn split(self, morsels: &mut Vec<SegmentMorsel>) {
        let (source, end) = (Arc::new(self), 0);
        let end = source.segment.rows().max(end);
        for start in (0..end).step_by(ROW_GROUP_ROWS) {
            let rows = start..end.min(start.saturating_add(ROW_GROUP_ROWS as u32));
            morsels.push(SegmentMorsel { source: Arc::clone(&source), rows });
        }
    }

    /// May a row have a key of these?
    pub(super) fn may_have_keys(&self, spans: &[Span]) -> bool {
        let (least, greatest) = (&self.meta.keys.0, &self.meta.keys.1);
        spans.iter().any(|span| {
            span.start <= *greatest
                && match &span.end {
                    End::Here => span.start >= *least,
                    End::Before(end) => end > least,
                    End::Open => true,
                }
        })
    }

    /// May a row pass the filters, conjuncts all? `columns`: ordinals of the columns that they name by
    /// their places.
    pub(super) fn may_pass(
        &self,
        filters: &[Arc<dyn PhysicalExpr>],
        schema: &TableSchema,
        columns: &[Option<usize>],
    ) -> bool {
        let ranges = SourceRanges { source: self, schema, columns };
        filters.iter().all(|filter| may_pass(filter, &ranges))
    }

    /// Memory of a row in the columns that are read, as far as statistics tell.
    pub(super) fn row_bytes(&self, schema: &TableSchema, read: &ReadColumns) -> usize {
        let rows = u64::from(self.segment.rows()).max(1);
        let columns = read.ordinals().map(|ordinal| {
            let known = ordinal.and_then(|n| self.meta.column(schema.columns()[n].id));
            // A text takes a view beside its bytes.
            known.map_or(8, |known| known.bytes / rows + 16)
        });
        usize::try_from(columns.sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// Which of the rows, ascending ranges of numbers from `first` on, are not deleted. `None`: all.
    pub(super) fn alive(&self, first: u32, rows: &[Range<u32>]) -> Option<BooleanBuffer> {
        let deleted = |range: &Range<u32>| {
            let range = first + range.start..first + range.end;
            !self.gone.is_empty() && self.gone.range_cardinality(range) > 0
        };
        if !rows.iter().any(deleted) {
            return None;
        }
        let mut alive = BooleanBufferBuilder::new(rows.iter().map(|range| range.len()).sum());
        for range in rows {
            let begin = alive.len();
            alive.append_n(range.len(), true);
            for row in self.gone.range(first + range.start..first + range.end) {
                alive.set_bit(begin + (row - first - range.start) as usize, false);
            }
        }
        Some(alive.finish())
    }
}

/// Is the segment sorted by the key that the table has in `schema`?
pub(super) fn is_sorted_by_key(meta: &SegmentMeta, schema: &TableSchema) -> bool {
    let SortOrder::Key(ids) = &meta.sort_order else { return false };
    let key = schema.key().unwrap_or_default();
    ids.len() == key.len() && ids.iter().zip(key).all(|(id, n)| *id == schema.columns()[*n].id)
}

impl SegmentMorsel {
    /// The same rows as morsels of at most `size` rows, if what is read of them is in memory: else several
    /// streams would decode the same.
    pub(super) fn split_warm(
        self,
        schema: &TableSchema,
        read: &ReadColumns,
        size: usize,
        morsels: &mut Vec<Self>,
    ) {
        if self.rows.len() <= size || !self.is_warm(schema, read) {
            morsels.push(self);
            return;
        }
        for start in self.rows.clone().step_by(size) {
            let end = self.rows.end.min(start.saturating_add(size as u32));
            morsels.push(Self { source: Arc::clone(&self.source), rows: start..end });
        }
    }

    fn is_warm(&self, schema: &TableSchema, read: &ReadColumns) -> bool {
        let Some(segment) = self.source.segment.opened() else { return false };
        let columns: Vec<usize> = read.ordinals().flatten().collect();
        let projection = Projection {
            columns: &columns,
            row_ids: read.all().contains(&ReadColumn::RowId),
            timestamps: self.source.begins_differ,
            decimals: Decimals::Narrow,
        };
        let (row_group, _) = segment.row_group_of(self.rows.start);
        let found = segment.read_now(schema, &projection, row_group, None, &Held::default());
        matches!(found, Ok(Answer::Here(_)))
    }

    /// Memory of the rows, in all columns: about a share of that of all.
    pub(super) fn bytes(&self) -> usize {
        let bytes: u64 = self.source.meta.columns.iter().map(|column| column.bytes).sum();
        let rows = u64::from(self.source.segment.rows()).max(1);
        usize::try_from(bytes / rows * self.rows.len() as u64).unwrap_or(usize::MAX)
    }
}

/// What the list of segments says of a segment's columns.
struct SourceRanges<'a> {
    source: &'a SegmentSource,
    schema: &'a TableSchema,
    columns: &'a [Option<usize>],
}

impl Ranges for SourceRanges<'_> {
    fn range(&self, column: usize) -> Option<ColumnRange> {
        let ordinal = (*self.columns.get(column)?)?;
        let column = &self.schema.columns()[ordinal];
        let Some(known) = self.source.meta.column(column.id) else {
            let value = ScalarValue::try_from_array(&self.schema.missing(ordinal, 1), 0).ok()?;
            return Some(ColumnRange::one(&column.pg_type, value));
        };
        let nulls = Nulls::of(known.nulls, self.source.segment.rows().into());
        let value = |bound: &Bound| {
            let array = bound.to_array(&column.pg_type).ok()?;
            ScalarValue::try_from_array(&array, 0).ok()
        };
        let bounds = known.bounds.as_ref();
        let (min, max) = (bounds.and_then(|b| value(&b.min)), bounds.and_then(|b| value(&b.max)));
        Some(ColumnRange::new(&column.pg_type, min, max, nulls))
    }
}
