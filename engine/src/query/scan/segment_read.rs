//! Reads rows of segments: what a stream does with a morsel of one.
//!
//! ```text
//! morsel ─▶ statistics of the segment ─▶ open ─▶ keys, row group, pages ─▶ rows that may pass
//!        ─▶ all columns in memory?  yes: a piece, whose filters the stream evaluates slice by slice
//!                                   no:  the columns that filters name ─▶ rows that pass ─▶ the others
//! ```
//!
//! What is in memory is never waited for: then the future is ready when it is first polled.

// A list of one range of rows is meant where it stands, not the rows.
#![allow(clippy::single_range_in_vec_init)]

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
        UInt64Array,
    },
    buffer::BooleanBuffer,
    compute,
    datatypes::SchemaRef,
};
use datafusion::{
    common::Result,
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
    physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder},
};
use glaredb_txn::ids::Timestamp;

use super::{
    StatementView,
    exec::{ReadColumn, ReadColumns},
    filters::Filters,
    key_condition::{End, Span},
    pages::{self, GroupRanges, common},
    segment_morsel::{SegmentMorsel, SegmentSource, is_sorted_by_key},
};
use crate::{
    query::errors::external,
    session::errors::storage_error,
    storage::{
        StorageError,
        schema::TableSchema,
        segment::{Answer, Decimals, Held, Projection, Segment, SegmentRows, widened},
    },
    types::PgType,
};

/// Rows that are read at a time where there is no memory for a row group.
const PART_ROWS: u32 = 8 * 1024;

/// Rows that pass are read with those beside them, so many at a time.
const BLOCK_ROWS: u32 = 1_024;

/// The segments of a table, for a scan of it.
#[derive(Debug)]
pub(super) struct SegmentScan {
    /// Columns as the statement has them.
    pub(super) schema: Arc<TableSchema>,
    /// The newest that the table's storage has: it knows the columns of all segments.
    pub(super) stored: Arc<TableSchema>,
    pub(super) at: Timestamp,
    /// Keys that rows may have, encoded; `None`: any.
    pub(super) spans: Option<Vec<Span>>,
    /// Segments of the table.
    pub(super) segments: usize,
    /// Those that were left out when the scan was planned.
    pub(super) left_out: usize,
}

/// What one stream needs to read morsels of segments.
pub(super) struct SegmentReader {
    scan: Arc<SegmentScan>,
    view: Arc<StatementView>,
    pub(super) read: ReadColumns,
    pub(super) filters: Filters,
    /// Ordinals in the table of the columns that filters name by their places.
    filtered: Vec<Option<usize>>,
    figures: Figures,
    /// Of queries: rows that are decoded for a stream are charged to it.
    memory: Option<Arc<dyn MemoryPool>>,
}

/// What EXPLAIN ANALYZE shows.
#[derive(Clone, Debug)]
struct Figures {
    segments: Count,
    segments_pruned: Count,
    row_groups: Count,
    row_groups_pruned: Count,
    row_groups_in_parts: Count,
    pages_pruned: Count,
    segment_rows: Count,
    resident_hits: Count,
    resident_misses: Count,
    requests: Count,
    bytes_read: Count,
    cache_hits: Count,
    cache_misses: Count,
}

/// What was read of a morsel.
#[derive(Debug)]
pub(super) struct Loaded {
    /// `None`: no row is there, or passes.
    pub(super) piece: Option<Piece>,
    /// The rest of the morsel, if there is more.
    pub(super) rest: Option<SegmentMorsel>,
}

/// Rows in memory.
#[derive(Debug)]
pub(super) struct Piece {
    rows: usize,
    /// As kept, narrow; `None`: only filters name it, and they were evaluated.
    columns: Vec<Option<ArrayRef>>,
    /// Of a stored column, to widen it.
    types: Arc<[Option<PgType>]>,
    /// Which rows are there; `None`: all.
    pub(super) visible: Option<BooleanBuffer>,
    /// Filters were evaluated: `visible` says which rows passed.
    pub(super) filtered: bool,
    /// What it takes of the memory of queries; `None`: it was in memory before.
    _charged: Option<MemoryReservation>,
}

impl Figures {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            segments: count("segments"),
            segments_pruned: count("segments_pruned"),
            row_groups: count("row_groups"),
            row_groups_pruned: count("row_groups_pruned"),
            row_groups_in_parts: count("row_groups_in_parts"),
            pages_pruned: count("pages_pruned"),
            segment_rows: count("segment_rows"),
            resident_hits: count("resident_hits"),
            resident_misses: count("resident_misses"),
            requests: count("requests"),
            bytes_read: count("bytes_read"),
            cache_hits: count("cache_hits"),
            cache_misses: count("cache_misses"),
        }
    }
}

impl Piece {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of some of the columns that the scan reads, as they are kept.
    pub(super) fn narrow(&self, places: &[usize], rows: &Range<usize>) -> Vec<ArrayRef> {
        let columns = places.iter().map(|place| {
            let column = self.columns[*place].as_ref();
            column.expect("only filters name what is left out").slice(rows.start, rows.len())
        });
        columns.collect()
    }

    /// The same as the table has them.
    pub(super) fn wide(&self, place: usize, array: &ArrayRef) -> ArrayRef {
        match &self.types[place] {
            Some(pg_type) => widened(pg_type, array),
            None => Arc::clone(array),
        }
    }

    /// Is one of these kept otherwise than the table has it?
    pub(super) fn widens(&self, places: Range<usize>, schema: &SchemaRef) -> bool {
        places.into_iter().any(|place| {
            let column = self.columns[place].as_ref();
            column.is_some_and(|c| c.data_type() != schema.field(place).data_type())
        })
    }

    pub(super) fn batch(
        &self,
        schema: &SchemaRef,
        places: &[usize],
        rows: &Range<usize>,
    ) -> Result<RecordBatch> {
        let arrays = self.narrow(places, rows);
        let arrays = places.iter().zip(&arrays).map(|(place, array)| self.wide(*place, array));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays.collect(), &options)?)
    }
}

impl SegmentReader {
    pub(super) fn new(
        scan: Arc<SegmentScan>,
        view: Arc<StatementView>,
        read: &ReadColumns,
        filters: Filters,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
    ) -> Self {
        let ordinals: Vec<Option<usize>> = read.ordinals().collect();
        let filtered = filters.places().iter().map(|place| ordinals[*place]).collect();
        let figures = Figures::new(metrics, partition);
        if partition == 0 {
            figures.segments.add(scan.segments);
            figures.segments_pruned.add(scan.left_out);
        }
        Self { scan, view, read: read.clone(), filters, filtered, figures, memory: None }
    }

    /// The same, on the account of this memory.
    pub(super) fn within(self, memory: &Arc<dyn MemoryPool>) -> Self {
        Self { memory: Some(Arc::clone(memory)), ..self }
    }

    /// Memory for rows that are to be decoded. Error: there is none for so many; a few are read in any
    /// case, and who can spill makes room.
    fn charge(
        &self,
        source: &SegmentSource,
        rows: usize,
    ) -> std::result::Result<Option<MemoryReservation>, NoRoom> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let charged = MemoryConsumer::new("rows of segments").register(memory);
        let bytes = rows.saturating_mul(source.row_bytes(&self.scan.schema, &self.read));
        if charged.try_grow(bytes).is_err() {
            if rows > PART_ROWS as usize {
                return Err(NoRoom);
            }
            charged.grow(bytes);
        }
        Ok(Some(charged))
    }

    /// The next rows of a morsel, of one row group; `limit`: more than so many are not wanted. What is not
    /// in memory is awaited; decoding computes. Errors: an object is gone, damaged, or cannot be read.
    pub(super) async fn load(
        self: Arc<Self>,
        morsel: SegmentMorsel,
        limit: usize,
    ) -> Result<Loaded> {
        let loaded = self.load_group(morsel, limit).await;
        loaded.map_err(|error| match error {
            LoadError::Storage(error) => external(storage_error(error)),
            LoadError::Filter(error) => error,
        })
    }

    async fn load_group(
        &self,
        morsel: SegmentMorsel,
        limit: usize,
    ) -> std::result::Result<Loaded, LoadError> {
        let SegmentMorsel { source, rows } = morsel;
        let conjuncts = self.filters.conjuncts();
        let nothing = Loaded { piece: None, rest: None };
        if !source.may_pass(&conjuncts, &self.scan.schema, &self.filtered) {
            self.figures.segments_pruned.add(usize::from(rows.start == 0));
            return Ok(nothing);
        }
        if !self.reads(&source) {
            let alive = source.alive(rows.start, &[0..rows.len() as u32]);
            let group = Group { first: rows.start, rows: vec![0..rows.len() as u32] };
            let piece = self.piece(&source, group, None, alive, false);
            return Ok(Loaded { piece: Some(piece), rest: None });
        }
        let store = self.view.database.segments();
        let opened = source.segment.opened();
        let segment = match opened {
            Some(segment) => segment,
            None => {
                self.figures.requests.add(1);
                self.figures.bytes_read.add(source.meta.tail.len as usize);
                source.segment.open(store, &self.scan.stored).await?
            }
        };
        let (row_group, _) = segment.row_group_of(rows.start);
        let group = GroupReader { reader: self, source: &source, segment, row_group };
        match self.load_rows(&group, rows.clone(), limit, false).await? {
            Ok(loaded) => return Ok(loaded),
            Err(NoRoom) => self.figures.row_groups_in_parts.add(1),
        }
        match self.load_rows(&group, rows, limit, true).await? {
            Ok(loaded) => Ok(loaded),
            Err(NoRoom) => Err(StorageError::Invalid("no room for a few rows".to_owned()).into()),
        }
    }

    /// `in_parts`: no more than a few rows.
    async fn load_rows(
        &self,
        group: &GroupReader<'_>,
        rows: Range<u32>,
        limit: usize,
        in_parts: bool,
    ) -> std::result::Result<std::result::Result<Loaded, NoRoom>, LoadError> {
        let GroupReader { source, segment, row_group, .. } = group;
        let (source, row_group) = (*source, *row_group);
        let conjuncts = self.filters.conjuncts();
        let all = segment.row_group_rows(row_group);
        let mut here = rows.start..rows.end.min(all.end);
        if in_parts {
            here.end = here.end.min(here.start + PART_ROWS);
        }
        let rest = SegmentMorsel { source: Arc::clone(source), rows: here.end..rows.end };
        let rest = (!rest.rows.is_empty()).then_some(rest);
        self.figures.row_groups.add(usize::from(here.start == all.start && !in_parts));

        let mut kept = vec![here.start - all.start..here.end - all.start];
        if let Some(spans) = &self.scan.spans
            && is_sorted_by_key(&source.meta, &self.scan.schema)
        {
            kept = common(&kept, &rows_of_keys(segment, spans, &all));
        }
        let ranges = GroupRanges::new(segment, &self.scan.schema, row_group, &self.filtered);
        let pruned = pages::prune(&ranges, &conjuncts, kept);
        drop(ranges);
        self.figures.pages_pruned.add(pruned.pages_left_out);
        let mut rows = pruned.rows;
        let mut alive = source.alive(all.start, &rows);
        if self.filters.are_none() && !source.begins_differ {
            cut(&mut rows, &mut alive, limit);
        }
        if rows.is_empty() || alive.as_ref().is_some_and(|alive| alive.count_set_bits() == 0) {
            self.figures.row_groups_pruned.add(usize::from(here.start == all.start));
            return Ok(Ok(Loaded { piece: None, rest }));
        }
        let read = group.read(rows, alive, in_parts).await?;
        Ok(read.map(|piece| Loaded { piece, rest }))
    }

    /// Is there anything to be read of the object?
    fn reads(&self, source: &SegmentSource) -> bool {
        let lies_there =
            |column: &ReadColumn| matches!(column, ReadColumn::Stored(_) | ReadColumn::RowId);
        source.begins_differ || self.read.all().iter().any(lies_there)
    }

    /// `read`: the columns that were read, of these rows.
    fn piece(
        &self,
        source: &SegmentSource,
        group: Group,
        read: Option<(SegmentRows, &[usize])>,
        visible: Option<BooleanBuffer>,
        filtered: bool,
    ) -> Piece {
        let rows = group.rows.iter().map(|range| range.len()).sum();
        let all = self.read.all();
        let place_of = |ordinal: &usize| {
            let (read, ordinals) = read.as_ref()?;
            let place = ordinals.iter().position(|other| other == ordinal)?;
            Some(Arc::clone(read.batch.column(place)))
        };
        let columns = all.iter().map(|column| -> Option<ArrayRef> {
            match column {
                ReadColumn::Stored(ordinal) => place_of(ordinal),
                ReadColumn::Segment => {
                    let segment = source.segment.segment().0;
                    Some(Arc::new(UInt64Array::from_value(segment, rows)))
                }
                ReadColumn::Row => {
                    let numbers = group.rows.iter().cloned().flatten();
                    let numbers = numbers.map(|row| group.first + row);
                    Some(Arc::new(UInt32Array::from_iter_values(numbers)))
                }
                ReadColumn::RowId => {
                    let ids = read.as_ref().and_then(|(read, _)| read.row_ids.clone());
                    ids.map(|ids| Arc::new(ids) as ArrayRef)
                }
            }
        });
        let columns = columns.collect();
        let types = self.read.ordinals().map(|ordinal| {
            ordinal.map(|ordinal| self.scan.schema.columns()[ordinal].pg_type.clone())
        });
        Piece { rows, columns, types: types.collect(), visible, filtered, _charged: None }
    }
}

/// Rows of a row group, by their numbers there; the first row of the group has the number `first` in the
/// segment.
struct Group {
    first: u32,
    rows: Vec<Range<u32>>,
}

/// There is no memory for that many rows.
struct NoRoom;

/// Why rows could not be loaded.
enum LoadError {
    Storage(StorageError),
    Filter(datafusion::error::DataFusionError),
}

impl From<StorageError> for LoadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// One row group, while it is read.
struct GroupReader<'a> {
    reader: &'a SegmentReader,
    source: &'a Arc<SegmentSource>,
    segment: Arc<Segment>,
    row_group: usize,
}

impl GroupReader<'_> {
    /// `alive`: which of `rows` are not deleted; `None`: all.
    async fn read(
        &self,
        mut rows: Vec<Range<u32>>,
        mut visible: Option<BooleanBuffer>,
        in_parts: bool,
    ) -> std::result::Result<std::result::Result<Option<Piece>, NoRoom>, LoadError> {
        let reader = self.reader;
        let mut charged = None;
        let mut held = Held::default();
        let everything: Vec<usize> = (0..reader.read.all().len()).collect();
        let mut filtered = false;
        let first = self.ask(&everything, true, &rows, &held)?;
        let found = match first {
            Answer::Here(found) => {
                self.note(everything.len(), 0);
                found
            }
            Answer::Cold(needs) => {
                let count = rows.iter().map(|range| range.len()).sum();
                match reader.charge(self.source, count) {
                    Ok(memory) => charged = memory,
                    Err(no_room) => return Ok(Err(no_room)),
                }
                self.note(everything.len(), needs.columns());
                let some = reader.filters.places();
                if !reader.filters.are_none() && some.len() < everything.len() {
                    let found = self.wait(some, (true, in_parts), &rows, &mut held).await?;
                    visible = self.begun(&found, visible);
                    let passing = self.passing(&found, &rows, visible)?;
                    visible = narrow_down(&mut rows, passing);
                    filtered = true;
                    if rows.is_empty() {
                        reader.figures.add_reads(&held);
                        return Ok(Ok(None));
                    }
                }
                self.wait(&everything, (!filtered, in_parts), &rows, &mut held).await?
            }
        };
        reader.figures.add_reads(&held);
        if !filtered {
            visible = self.begun(&found, visible);
        }
        if visible.as_ref().is_some_and(|visible| visible.count_set_bits() == 0) {
            return Ok(Ok(None));
        }
        let count = rows.iter().map(|range| range.len()).sum();
        reader.figures.segment_rows.add(count);
        let ordinals = self.ordinals(&everything);
        let group = Group { first: self.first(), rows };
        let read = Some((found, &ordinals[..]));
        let piece = reader.piece(self.source, group, read, visible, filtered);
        Ok(Ok(Some(Piece { _charged: charged, ..piece })))
    }

    /// Number in the segment of its first row.
    fn first(&self) -> u32 {
        self.segment.row_group_rows(self.row_group).start
    }

    fn note(&self, wanted: usize, missed: usize) {
        self.reader.figures.resident_hits.add(wanted.saturating_sub(missed));
        self.reader.figures.resident_misses.add(missed);
    }

    /// Ordinals of the stored ones among these columns.
    fn ordinals(&self, places: &[usize]) -> Vec<usize> {
        let all = self.reader.read.all();
        let ordinals = places.iter().filter_map(|place| match all[*place] {
            ReadColumn::Stored(ordinal) => Some(ordinal),
            _ => None,
        });
        ordinals.collect()
    }

    /// `first`: the rows are asked for the first time.
    fn ask(
        &self,
        places: &[usize],
        first: bool,
        rows: &[Range<u32>],
        held: &Held,
    ) -> std::result::Result<Answer<SegmentRows>, StorageError> {
        let all = self.reader.read.all();
        let columns = self.ordinals(places);
        let projection = Projection {
            columns: &columns,
            row_ids: places.iter().any(|place| all[*place] == ReadColumn::RowId),
            timestamps: first && self.source.begins_differ,
            decimals: Decimals::Narrow,
        };
        let total = self.segment.row_group_rows(self.row_group).len() as u32;
        let rows = Some(rows).filter(|rows| **rows != [0..total]);
        self.segment.read_now(&self.reader.scan.schema, &projection, self.row_group, rows, held)
    }

    /// The same, once it is in memory.
    async fn wait(
        &self,
        places: &[usize],
        (first, in_parts): (bool, bool),
        rows: &[Range<u32>],
        held: &mut Held,
    ) -> std::result::Result<SegmentRows, StorageError> {
        loop {
            match self.ask(places, first, rows, held)? {
                Answer::Here(found) => return Ok(found),
                Answer::Cold(needs) if in_parts => self.segment.warm_rows(needs, held).await?,
                Answer::Cold(needs) => self.segment.warm(needs, held).await?,
            }
        }
    }

    /// Those of the rows that the snapshot sees.
    fn begun(&self, found: &SegmentRows, visible: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
        let Some(timestamps) = found.timestamps.as_ref().filter(|_| self.source.begins_differ)
        else {
            return visible;
        };
        let at = self.reader.scan.at;
        let values = timestamps.values();
        let begun = BooleanBuffer::collect_bool(values.len(), |n| values[n] <= at.0);
        Some(match visible {
            Some(visible) => &visible & &begun,
            None => begun,
        })
    }

    /// Which rows pass the filters, whose columns were `found`.
    fn passing(
        &self,
        found: &SegmentRows,
        rows: &[Range<u32>],
        visible: Option<BooleanBuffer>,
    ) -> std::result::Result<Option<BooleanBuffer>, LoadError> {
        let filters = &self.reader.filters;
        let ordinals = self.ordinals(filters.places());
        let group = Group { first: self.first(), rows: rows.to_vec() };
        let read = Some((found.clone(), &ordinals[..]));
        let piece = self.reader.piece(self.source, group, read, None, false);
        let all = 0..piece.rows();
        let batch = piece.batch(filters.schema(), filters.places(), &all);
        batch.and_then(|batch| filters.passing(batch, visible)).map_err(LoadError::Filter)
    }
}

impl Figures {
    fn add_reads(&self, held: &Held) {
        let (requests, bytes) = held.reads();
        self.requests.add(requests);
        self.bytes_read.add(bytes);
        let (hits, misses) = held.cached();
        self.cache_hits.add(hits);
        self.cache_misses.add(misses);
    }
}

/// Rows of a row group, by their numbers there, among which those with these keys are.
fn rows_of_keys(segment: &Segment, spans: &[Span], group: &Range<u32>) -> Vec<Range<u32>> {
    let rows = spans.iter().filter_map(|span| {
        let end = match &span.end {
            End::Here => Some(&span.start),
            End::Before(end) => Some(end),
            End::Open => None,
        };
        let rows = segment.rows_between(Some(&span.start), end.map(AsRef::as_ref));
        let rows = rows.start.max(group.start)..rows.end.min(group.end);
        (!rows.is_empty()).then(|| rows.start - group.start..rows.end - group.start)
    });
    let mut merged: Vec<Range<u32>> = Vec::new();
    // Spans are in order, so their rows are; they may have some in common.
    for rows in rows {
        match merged.last_mut() {
            Some(last) if last.end >= rows.start => last.end = last.end.max(rows.end),
            _ => merged.push(rows),
        }
    }
    merged
}

/// Leaves only the first `limit` rows that are there.
fn cut(rows: &mut Vec<Range<u32>>, alive: &mut Option<BooleanBuffer>, limit: usize) {
    let total: usize = rows.iter().map(|range| range.len()).sum();
    let wanted = match alive {
        None => limit,
        Some(alive) => alive.set_indices().take(limit).last().map_or(0, |last| last + 1),
    };
    if wanted >= total {
        return;
    }
    let mut left = wanted;
    for range in rows.iter_mut() {
        let taken = range.len().min(left);
        range.end = range.start + taken as u32;
        left -= taken;
    }
    rows.retain(|range| !range.is_empty());
    *alive = alive.as_ref().map(|alive| alive.slice(0, wanted));
}

/// Leaves only rows near to those that passed, and says which of these did; `None`: all.
fn narrow_down(
    rows: &mut Vec<Range<u32>>,
    passing: Option<BooleanBuffer>,
) -> Option<BooleanBuffer> {
    let passing = passing?;
    let mut blocks: Vec<Range<u32>> = Vec::new();
    let mut from = 0;
    for range in rows.iter() {
        let here = passing.slice(from, range.len());
        from += range.len();
        for n in here.set_indices() {
            let row = range.start + n as u32;
            let start = (row - row % BLOCK_ROWS).max(range.start);
            let end = (start - start % BLOCK_ROWS + BLOCK_ROWS).min(range.end);
            match blocks.last_mut() {
                Some(last) if last.end > row => {}
                Some(last) if last.end == start => last.end = end,
                _ => blocks.push(start..end),
            }
        }
    }
    let total: usize = rows.iter().map(|range| range.len()).sum();
    let left: usize = blocks.iter().map(|range| range.len()).sum();
    if left == total {
        return Some(passing);
    }
    let kept = compute::filter(
        &BooleanArray::new(passing, None),
        &BooleanArray::new(among(rows, &blocks), None),
    );
    *rows = blocks;
    Some(kept.expect("as many rows as rows").as_boolean().values().clone())
}

/// Which of `rows` are in `blocks`, which all are.
fn among(rows: &[Range<u32>], blocks: &[Range<u32>]) -> BooleanBuffer {
    let mut blocks = blocks.iter().peekable();
    let numbers = rows.iter().cloned().flatten();
    numbers
        .map(|row| {
            while blocks.peek().is_some_and(|block| block.end <= row) {
                blocks.next();
            }
            blocks.peek().is_some_and(|block| block.contains(&row))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(rows: &[u32], len: usize) -> BooleanBuffer {
        BooleanBuffer::collect_bool(len, |n| rows.contains(&(n as u32)))
    }

    #[test]
    fn a_limit_cuts_off_rows_that_are_there() {
        let all = vec![10..20, 30..40];
        let (mut rows, mut alive) = (all.clone(), None);
        cut(&mut rows, &mut alive, 12);
        assert_eq!((rows, alive), (vec![10..20, 30..32], None));
        let (mut rows, mut alive) = (all.clone(), Some(bits(&[3, 11, 15, 19], 20)));
        cut(&mut rows, &mut alive, 2);
        assert_eq!((rows, alive), (vec![10..20, 30..32], Some(bits(&[3, 11], 12))));
        let (mut rows, mut alive) = (all.clone(), Some(bits(&[3], 20)));
        cut(&mut rows, &mut alive, 0);
        assert!(rows.is_empty());
        let (mut rows, mut alive) = (all.clone(), None);
        cut(&mut rows, &mut alive, usize::MAX);
        assert_eq!(rows, all);
    }

    /// Whatever passes stays, with what lies near to it.
    #[test]
    fn rows_that_pass_stay() {
        let all: Vec<Range<u32>> = vec![100..3_000, 4_000..4_100, 9_000..12_000];
        let numbers: Vec<u32> = all.iter().cloned().flatten().collect();
        for passing in [
            vec![],
            vec![100],
            vec![2_999, 4_000],
            vec![1_023, 1_024, 4_099, 9_000, 11_999],
            numbers.iter().copied().step_by(700).collect(),
            numbers.clone(),
        ] {
            let places = numbers.iter().map(|row| passing.contains(row)).collect();
            let mut rows = all.clone();
            let visible = narrow_down(&mut rows, Some(places)).expect("a mask");
            assert!(rows.is_sorted_by(|a, b| a.end < b.start), "{rows:?}");
            let left: Vec<u32> = rows.iter().cloned().flatten().collect();
            assert_eq!(left.len(), visible.len());
            let found: Vec<u32> = visible.set_indices().map(|n| left[n]).collect();
            assert_eq!(found, passing);
            assert!(left.len() <= passing.len() * BLOCK_ROWS as usize);
        }
        let mut rows = all.clone();
        assert_eq!(narrow_down(&mut rows, None), None);
        assert_eq!(rows, all);
    }

    #[test]
    fn ranges_have_rows_in_common() {
        let a = vec![0..10, 20..30, 40..50];
        assert_eq!(common(&a, &[5..25, 28..45]), vec![5..10, 20..25, 28..30, 40..45]);
        assert_eq!(common(&a, &[10..20]), vec![]);
        assert_eq!(common(&a, &[0..100]), a);
    }
}
