//! What a job writes: segments one after the other, and where each row went.

use std::sync::Arc;

use arrow::array::RecordBatch;
use glaredb_txn::ids::{JobId, RowId, SegmentId, TableId, Timestamp};

use super::{
    RewriteError, Site,
    fault::fault,
    merge::Merged,
    object_name,
    source::{Row, Shape},
};
use crate::storage::{
    objects::ObjectName,
    record::AddedSegment,
    remap::{GONE, NewPlace, Remap},
    segment::{RowIdColumn, SegmentMeta, SegmentOptions, SegmentWriter, TimestampColumn},
};

/// Bytes of an edit's record that the descriptions of its segments may take: deletions come beside.
pub(super) const EDIT_BYTES: usize = 768 << 10;

/// Segments being written.
pub(super) struct Output<'a> {
    site: &'a Site,
    shape: &'a Shape,
    table: TableId,
    job: JobId,
    timestamps: TimestampColumn,
    open: Option<SegmentWriter>,
    /// Rows in the open segment.
    rows: u32,
    /// Rows in all.
    written: u32,
    done: Vec<SegmentMeta>,
    /// By input and row: the number of the row among all written.
    numbers: Vec<Vec<u32>>,
    /// Rows that are deleted already, ascending.
    deletions: Vec<(NewPlace, Timestamp)>,
    /// Objects that are begun, whole or not.
    pub(super) names: &'a mut Vec<ObjectName>,
}

/// What was written.
pub(super) struct Written {
    pub(super) segments: Vec<SegmentMeta>,
    pub(super) remap: Remap,
    pub(super) deletions: Vec<(NewPlace, Timestamp)>,
}

impl<'a> Output<'a> {
    /// `inputs`: rows of each. `one_commit`: the timestamp of all rows, if they have one.
    pub(super) fn new(
        site: &'a Site,
        shape: &'a Shape,
        (table, job): (TableId, JobId),
        inputs: &[u32],
        one_commit: Option<Timestamp>,
        names: &'a mut Vec<ObjectName>,
    ) -> Self {
        Self {
            site,
            shape,
            table,
            job,
            timestamps: one_commit.map_or(TimestampColumn::Stored, TimestampColumn::One),
            open: None,
            rows: 0,
            written: 0,
            done: Vec::new(),
            numbers: inputs.iter().map(|rows| vec![GONE; *rows as usize]).collect(),
            deletions: Vec::new(),
            names,
        }
    }

    /// Adds rows that follow those before in the order of the key. Those of one key stay together:
    /// else two segments would overlap for ever.
    pub(super) fn write(&mut self, merged: &Merged) -> Result<(), RewriteError> {
        self.write_some(&merged.batch, &merged.rows)?;
        let options = &self.site.options;
        let is_full = self.rows >= options.segment_rows_max
            || self.open.as_ref().is_some_and(|o| o.bytes() >= options.segment_bytes_max);
        if is_full && merged.ends_key { self.end_segment() } else { Ok(()) }
    }

    fn write_some(&mut self, batch: &RecordBatch, rows: &[Row]) -> Result<(), RewriteError> {
        if self.open.is_none() {
            self.begin_segment(rows[0].row_id)?;
        }
        let open = self.open.as_mut().expect("begun above");
        let row_ids: Vec<RowId> = rows.iter().map(|row| row.row_id).collect();
        let timestamps: Vec<Timestamp> = match self.timestamps {
            TimestampColumn::One(_) => Vec::new(),
            TimestampColumn::Stored => rows.iter().map(|row| row.begin).collect(),
        };
        open.write(batch, &row_ids, &timestamps)?;
        let segment = self.done.len() as u32;
        for row in rows {
            self.numbers[row.input][row.at.row as usize] = self.written;
            if let Some(end) = row.end {
                self.deletions.push((NewPlace { segment, row: self.rows }, end));
            }
            self.written += 1;
            self.rows += 1;
        }
        Ok(())
    }

    fn begin_segment(&mut self, first: RowId) -> Result<(), RewriteError> {
        fault("rewrite::object::before")?;
        let name = object_name(self.table, self.job, self.done.len());
        self.names.push(name.clone());
        let store = &self.site.segments;
        let object = store.objects.create(&name)?;
        let options = SegmentOptions {
            database: store.database,
            table: self.table,
            name,
            schema: Arc::clone(&self.shape.schema),
            row_ids: RowIdColumn::Stored { first },
            timestamps: self.timestamps,
        };
        let writer = SegmentWriter::new(options, object)?;
        self.open = Some(writer.with_row_group_bytes(self.site.options.row_group_bytes()));
        Ok(())
    }

    /// What comes next begins a segment of its own.
    pub(super) fn end_segment(&mut self) -> Result<(), RewriteError> {
        if let Some(open) = self.open.take() {
            self.done.push(open.finish()?);
            self.rows = 0;
            fault("rewrite::object::after")?;
        }
        Ok(())
    }

    /// `sources`: the inputs.
    pub(super) fn finish(mut self, sources: &[SegmentId]) -> Result<Written, RewriteError> {
        self.end_segment()?;
        let rows: Vec<u32> = self.done.iter().map(|meta| meta.rows).collect();
        let inputs = sources.iter().copied().zip(self.numbers);
        let remap = Remap::from_inputs(&rows, inputs);
        Ok(Written { segments: self.done, remap, deletions: self.deletions })
    }
}

/// What the edit says of segments. All of it fits a record: where columns are many, it is not said how
/// many different values they have.
pub(super) fn added(segments: Vec<SegmentMeta>) -> Vec<AddedSegment> {
    let share = EDIT_BYTES / segments.len().max(1);
    let added = |mut meta: SegmentMeta| {
        meta.shorten(share);
        AddedSegment::of(SegmentId(0), &meta)
    };
    segments.into_iter().map(added).collect()
}
