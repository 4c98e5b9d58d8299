//! What Parquet's footer says of the values of row groups and pages.

use std::{cell::RefCell, collections::HashMap, ops::Range, sync::Arc};

use arrow::{array::ArrayRef, datatypes::Field};
use datafusion::{
    physical_expr::{PhysicalExpr, utils::collect_columns},
    scalar::ScalarValue,
};
use parquet::{arrow::arrow_reader::statistics::StatisticsConverter, errors::ParquetError};

use super::pruning::{ColumnRange, Nulls, Ranges, is_ordered_as_stored, may_pass};
use crate::{
    storage::{schema::TableSchema, segment::Segment},
    types::PgType,
};

/// Columns of one row group.
pub(super) struct GroupRanges<'a> {
    pub(super) segment: &'a Segment,
    pub(super) schema: &'a TableSchema,
    pub(super) row_group: usize,
    /// Ordinals in the table of the columns that filters name by their places; `None`: hidden ones.
    pub(super) columns: &'a [Option<usize>],
    /// Beyond that several filters ask for the same.
    known: RefCell<HashMap<usize, Option<ColumnRange>>>,
}

impl<'a> GroupRanges<'a> {
    pub(super) fn new(
        segment: &'a Segment,
        schema: &'a TableSchema,
        row_group: usize,
        columns: &'a [Option<usize>],
    ) -> Self {
        Self { segment, schema, row_group, columns, known: RefCell::default() }
    }

    /// The column at a place, its type and its leaf in the file, if what the file says of its values is
    /// of use.
    fn leaf(&self, column: usize) -> Option<(&'a PgType, usize)> {
        let column = &self.schema.columns()[(*self.columns.get(column)?)?];
        let is_known = match &column.pg_type {
            // These are wider there.
            PgType::Oid => false,
            of => is_ordered_as_stored(of),
        };
        let leaf = self.segment.leaf_of_column(column.id).filter(|_| is_known)?;
        Some((&column.pg_type, leaf))
    }

    /// What the footer says of the whole row group.
    fn whole(&self, column: usize) -> Option<ColumnRange> {
        let (pg_type, leaf) = self.leaf(column)?;
        let metadata = self.segment.parquet_metadata();
        let group = metadata.row_group(self.row_group);
        let field = Field::new("value", pg_type.arrow_type(), true);
        let schema = metadata.file_metadata().schema_descr();
        let bounds = || {
            let of = StatisticsConverter::from_column_index(leaf, &field, schema)?;
            Ok::<_, ParquetError>((of.row_group_mins([group])?, of.row_group_maxes([group])?))
        };
        let (min, max) = bounds().ok()?;
        let rows = u64::try_from(group.num_rows()).ok()?;
        let nulls = group.column(leaf).statistics().and_then(|s| s.null_count_opt());
        let nulls = nulls.map_or(Nulls::Somewhere, |nulls| Nulls::of(nulls, rows));
        Some(ColumnRange::new(pg_type, value(&min, 0), greatest(pg_type, &max, 0), nulls))
    }

    /// Rows of the row group, by their numbers there, that pages may have which pass `filter`; `None`:
    /// all. And how many pages are left out.
    fn rows_of_pages(&self, filter: &Arc<dyn PhysicalExpr>) -> Option<(Vec<Range<u32>>, usize)> {
        let columns = collect_columns(filter);
        let column = columns.iter().next().filter(|_| columns.len() == 1)?.index();
        let pages = PageRanges::new(self, column)?;
        let rows = self.segment.row_group_rows(self.row_group).len() as u32;
        let (mut kept, mut left_out): (Vec<Range<u32>>, usize) = (Vec::new(), 0);
        for page in 0..pages.first_rows.len() {
            let start = pages.first_rows[page];
            let end = pages.first_rows.get(page + 1).copied().unwrap_or(rows);
            if !may_pass(filter, &OnePage { pages: &pages, page, rows: end - start }) {
                left_out += 1;
                continue;
            }
            match kept.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => kept.push(start..end),
            }
        }
        (left_out > 0).then_some((kept, left_out))
    }
}

impl Ranges for GroupRanges<'_> {
    fn range(&self, column: usize) -> Option<ColumnRange> {
        self.known.borrow_mut().entry(column).or_insert_with(|| self.whole(column)).clone()
    }
}

/// The pages of one column of a row group.
struct PageRanges<'a> {
    pg_type: &'a PgType,
    column: usize,
    min: ArrayRef,
    max: ArrayRef,
    nulls: Vec<Option<u64>>,
    first_rows: Vec<u32>,
}

impl<'a> PageRanges<'a> {
    fn new(group: &GroupRanges<'a>, column: usize) -> Option<Self> {
        let (pg_type, leaf) = group.leaf(column)?;
        let metadata = group.segment.parquet_metadata();
        let (bounds, offsets) = (metadata.column_index()?, metadata.offset_index()?);
        let field = Field::new("value", pg_type.arrow_type(), true);
        let schema = metadata.file_metadata().schema_descr();
        let of = StatisticsConverter::from_column_index(leaf, &field, schema).ok()?;
        let groups = [group.row_group];
        let min = of.data_page_mins(bounds, offsets, &groups).ok()?;
        let max = of.data_page_maxes(bounds, offsets, &groups).ok()?;
        let nulls = of.data_page_null_counts(bounds, offsets, &groups).ok()?;
        let pages = offsets.get(group.row_group)?.get(leaf)?.page_locations();
        let first_rows: Vec<u32> = pages
            .iter()
            .map(|page| u32::try_from(page.first_row_index).ok())
            .collect::<Option<_>>()?;
        let count = first_rows.len();
        let ascend = first_rows.first() == Some(&0) && first_rows.is_sorted();
        let agree = min.len() == count && max.len() == count && nulls.len() == count;
        let nulls = nulls.iter().collect();
        (ascend && agree).then_some(Self { pg_type, column, min, max, nulls, first_rows })
    }
}

struct OnePage<'a> {
    pages: &'a PageRanges<'a>,
    page: usize,
    rows: u32,
}

impl Ranges for OnePage<'_> {
    fn range(&self, column: usize) -> Option<ColumnRange> {
        let (pages, page) = (self.pages, self.page);
        if column != pages.column {
            return None;
        }
        let nulls = pages.nulls[page];
        let nulls = nulls.map_or(Nulls::Somewhere, |nulls| Nulls::of(nulls, self.rows.into()));
        let max = greatest(pages.pg_type, &pages.max, page);
        let min = value(&pages.min, page);
        Some(ColumnRange::new(pages.pg_type, min, max, nulls))
    }
}

fn value(array: &ArrayRef, n: usize) -> Option<ScalarValue> {
    ScalarValue::try_from_array(array, n).ok().filter(|value| !value.is_null())
}

/// A bound of the values from above, which is none where Parquet leaves NaN out of it.
fn greatest(pg_type: &PgType, array: &ArrayRef, n: usize) -> Option<ScalarValue> {
    let has_nan = matches!(pg_type, PgType::Float4 | PgType::Float8);
    value(array, n).filter(|_| !has_nan)
}

/// What pruning left of a row group.
pub(super) struct Kept {
    /// Rows, by their numbers in the row group, ascending. None: nothing passes.
    pub(super) rows: Vec<Range<u32>>,
    pub(super) pages_left_out: usize,
}

/// Which of `rows` of a row group may pass `filters`, conjuncts all.
pub(super) fn prune(
    group: &GroupRanges<'_>,
    filters: &[Arc<dyn PhysicalExpr>],
    mut rows: Vec<Range<u32>>,
) -> Kept {
    if !filters.iter().all(|filter| may_pass(filter, group)) {
        return Kept { rows: Vec::new(), pages_left_out: 0 };
    }
    let mut pages_left_out = 0;
    for filter in filters {
        if let Some((kept, left_out)) = group.rows_of_pages(filter) {
            rows = common(&rows, &kept);
            pages_left_out += left_out;
        }
    }
    Kept { rows, pages_left_out }
}

/// What two lists of ranges, each ascending and without overlap, have in common.
pub(super) fn common(a: &[Range<u32>], b: &[Range<u32>]) -> Vec<Range<u32>> {
    let (mut i, mut j) = (0, 0);
    let mut common: Vec<Range<u32>> = Vec::new();
    while i < a.len() && j < b.len() {
        let start = a[i].start.max(b[j].start);
        let end = a[i].end.min(b[j].end);
        if start < end {
            match common.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => common.push(start..end),
            }
        }
        if a[i].end <= b[j].end {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}
