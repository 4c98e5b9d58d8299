//! Everything a scan reads: which parts of chunks and segments, and what the transaction wrote.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    logical_expr::{Expr, execution_props::ExecutionProps, utils::split_conjunction},
    physical_expr::{PhysicalExpr, split_conjunction as split_physical},
};

use super::{
    StatementView, StoredTable,
    exec::ReadColumns,
    key_condition::{KeyCondition, Span},
    morsel::{self, Morsel},
    segment_facts::SegmentFacts,
    segment_morsel::{SegmentSource, is_sorted_by_key},
    segment_read::SegmentScan,
};
use crate::storage::{
    StorageError, schema::TableSchema, segment::SegmentMeta, table::TableView,
    write_set::TableWrites,
};

/// With fewer row groups some threads have none while others are busy.
const MORSELS_PER_THREAD: usize = 4;

/// What a scan reads.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) morsels: Vec<Morsel>,
    pub(super) segments: Option<SegmentScan>,
    /// Rows that the statement sees, if that is known without reading them.
    pub(super) exact_rows: Option<u64>,
    /// What is known of the columns that are read, by their ordinals; empty if there are no segments.
    pub(super) facts: HashMap<usize, Arc<SegmentFacts>>,
}

/// The filters of a scan, as they came and over the columns that it reads.
pub(super) struct ScanFilters<'a> {
    pub(super) logical: &'a [Expr],
    pub(super) physical: &'a [Arc<dyn PhysicalExpr>],
    pub(super) props: &'a ExecutionProps,
}

impl StoredTable {
    /// Deletions of the transaction are looked at now, so that what the statement itself deletes does not
    /// change what it reads. Errors: what is said of a segment is damaged, or its table has lost a column
    /// that the statement's snapshot still has.
    pub(super) fn input(
        &self,
        view: &StatementView,
        read: &ReadColumns,
        filters: &ScanFilters<'_>,
        threads: usize,
    ) -> Result<Input, StorageError> {
        let mut own = view.own.as_ref().map(|own| own.lock());
        // A table that the transaction created has no storage yet.
        let stored = view.storage(self.id).map(|(table, at)| {
            // Its own columns: the storage may have gained some, or be about to.
            let view = table.view_as(&self.schema, at);
            (table, view)
        });
        let mut writes = own.as_mut().and_then(|own| own.table_mut(self.id));
        if let (Some((table, stored)), Some(writes)) = (&stored, &mut writes) {
            writes.translate_to(table, stored.list())?;
        }
        let writes = writes.as_deref();
        let units = stored.as_ref().map_or(&[][..], |(_, stored)| stored.units());
        let rows: usize = units.iter().map(|unit| unit.rows()).sum();
        let size = morsel::rows_per_morsel(rows, threads);
        let mut input = Input { exact_rows: Some(0), ..Input::default() };
        // As the rows came, as a rule: those in segments before those in chunks.
        if let Some((table, stored)) = &stored
            && !stored.segments().is_empty()
        {
            // Read after the list: it knows the columns of all segments there.
            self.add_segments(stored, &table.schema(), writes, read, filters, &mut input)?;
            if input.morsels.len() < threads * MORSELS_PER_THREAD {
                self.split_warm(read, threads, &mut input.morsels);
            }
        }
        let in_segments = input.morsels.len();
        for unit in units {
            morsel::split_unit(unit, writes, size, &mut input.morsels);
        }
        for batch in writes.map(|writes| writes.own_batches()).unwrap_or_default() {
            morsel::split_own(batch, size, &mut input.morsels);
        }
        if input.morsels.len() > in_segments || input.segments.is_none() {
            input.exact_rows = None;
        }
        Ok(input)
    }

    fn add_segments(
        &self,
        stored: &TableView,
        newest: &Arc<TableSchema>,
        writes: Option<&TableWrites>,
        read: &ReadColumns,
        filters: &ScanFilters<'_>,
        input: &mut Input,
    ) -> Result<(), StorageError> {
        let at = stored.timestamp();
        let spans = self.key_spans(filters);
        let conjuncts: Vec<_> = filters.physical.iter().flat_map(split_physical).cloned().collect();
        let columns: Vec<Option<usize>> = read.ordinals().collect();
        let (mut morsels, mut left_out) = (Vec::new(), 0);
        for segment in stored.segments() {
            let id = segment.segment().segment();
            let own = writes.and_then(|writes| writes.deleted_in(id)).cloned();
            let Some(source) = SegmentSource::new(segment, own, at)? else {
                left_out += 1;
                continue;
            };
            self.check_columns(&source.meta, read)?;
            input.exact_rows = input.exact_rows.and_then(|rows| Some(rows + source.exact_rows()?));
            let has_keys = match &spans {
                Some(spans) if is_sorted_by_key(&source.meta, &self.schema) => {
                    source.may_have_keys(spans)
                }
                _ => true,
            };
            if has_keys && source.may_pass(&conjuncts, &self.schema, &columns) {
                source.split(&mut morsels);
            } else {
                left_out += 1;
            }
        }
        for ordinal in columns.iter().flatten() {
            let (list, segments) = (stored.list(), stored.segments());
            let facts = SegmentFacts::of_list(list, segments, &self.schema, *ordinal)?;
            input.facts.insert(*ordinal, facts);
        }
        input.morsels.extend(morsels.into_iter().map(Morsel::Segment));
        let (schema, newest) = (Arc::clone(&self.schema), Arc::clone(newest));
        let segments = stored.segments().len();
        input.segments =
            Some(SegmentScan { schema, stored: newest, at, spans, segments, left_out });
        Ok(())
    }

    /// Cuts segments finer, so that all threads have work.
    fn split_warm(&self, read: &ReadColumns, threads: usize, morsels: &mut Vec<Morsel>) {
        let size = morsel::rows_per_morsel(morsels.iter().map(Morsel::rows).sum(), threads);
        let mut split = Vec::new();
        for morsel in std::mem::take(morsels) {
            if let Morsel::Segment(morsel) = morsel {
                morsel.split_warm(&self.schema, read, size, &mut split);
            }
        }
        morsels.extend(split.into_iter().map(Morsel::Segment));
    }

    /// The keys that rows which pass the filters can have; `None`: any.
    fn key_spans(&self, filters: &ScanFilters<'_>) -> Option<Vec<Span>> {
        let conjuncts: Vec<&Expr> = filters.logical.iter().flat_map(split_conjunction).collect();
        let found = KeyCondition::of(self, &conjuncts, filters.props)?;
        found.condition.spans(self, &[])
    }

    /// A segment that was written after a column was dropped has not its values: whoever still sees the
    /// column, by an older snapshot, must not take them for missing.
    fn check_columns(&self, meta: &SegmentMeta, read: &ReadColumns) -> Result<(), StorageError> {
        if meta.schema_version <= self.schema.version() {
            return Ok(());
        }
        for ordinal in read.ordinals().flatten() {
            let column = &self.schema.columns()[ordinal];
            if meta.column(column.id).is_none() {
                let column = column.name.clone();
                return Err(StorageError::ColumnDropped { table: self.id, column });
            }
        }
        Ok(())
    }
}
