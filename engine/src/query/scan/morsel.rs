//! Pieces of a table that a stream takes at a time.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BooleanBufferBuilder, RecordBatch, RecordBatchOptions, UInt32Array,
        UInt64Array,
    },
    buffer::BooleanBuffer,
    datatypes::SchemaRef,
};
use datafusion::common::Result;

use super::{exec::ReadColumn, segment_morsel::SegmentMorsel};
use crate::storage::{
    table::{ScanUnit, Visibility},
    write_set::{OWN_ROWS, OwnBatch, TableWrites},
};

const ROWS_MAX: usize = 65_536;
const ROWS_MIN: usize = 8192;

/// A piece of work.
#[derive(Debug)]
pub(super) enum Morsel {
    Memory(MemoryMorsel),
    /// It may have to be waited for.
    Segment(SegmentMorsel),
}

/// A piece that is at hand.
#[derive(Debug)]
pub(super) enum MemoryMorsel {
    Unit {
        unit: ScanUnit,
        range: Range<usize>,
        /// Rows of the range that the transaction did not delete; `None`: all.
        alive: Option<BooleanBuffer>,
    },
    Own {
        batch: OwnBatch,
        range: Range<usize>,
    },
    /// Rows found by key, in the columns the scan reads.
    Rows(RecordBatch),
}

/// Large enough to be worth taking, small enough that all threads have work.
pub(super) fn rows_per_morsel(rows: usize, threads: usize) -> usize {
    (rows / (threads.max(1) * 8)).next_multiple_of(ROWS_MIN).clamp(ROWS_MIN, ROWS_MAX)
}

fn ranges(rows: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(size).map(move |start| start..rows.min(start + size))
}

pub(super) fn split_unit(
    unit: &ScanUnit,
    writes: Option<&TableWrites>,
    size: usize,
    morsels: &mut Vec<Morsel>,
) {
    let writes = writes.filter(|writes| writes.deletes_in(unit.segment()));
    for range in ranges(unit.rows(), size) {
        let alive = writes.and_then(|writes| {
            let mut alive = BooleanBufferBuilder::new(range.len());
            let mut all = true;
            for row in range.clone() {
                let deleted = writes.is_deleted(unit.locator(row));
                alive.append(!deleted);
                all &= !deleted;
            }
            (!all).then(|| alive.finish())
        });
        let unit = unit.clone();
        morsels.push(Morsel::Memory(MemoryMorsel::Unit { unit, range, alive }));
    }
}

pub(super) fn split_own(batch: OwnBatch, size: usize, morsels: &mut Vec<Morsel>) {
    for range in ranges(batch.batch.num_rows(), size) {
        morsels.push(Morsel::Memory(MemoryMorsel::Own { batch: batch.clone(), range }));
    }
}

impl Morsel {
    /// Rows, visible or not.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Memory(morsel) => morsel.rows(),
            Self::Segment(morsel) => morsel.rows.len(),
        }
    }

    /// Memory of the rows, in all columns.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Memory(morsel) => morsel.bytes(),
            Self::Segment(morsel) => morsel.bytes(),
        }
    }
}

impl MemoryMorsel {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Unit { range, .. } | Self::Own { range, .. } => range.len(),
            Self::Rows(batch) => batch.num_rows(),
        }
    }

    /// Memory of the rows, in all columns: about a share of that of what they are cut from.
    fn bytes(&self) -> usize {
        let (bytes, of, rows) = match self {
            Self::Unit { unit, range, .. } => (unit.memory_bytes(), unit.rows(), range.len()),
            Self::Own { batch, range } => {
                (batch.batch.get_array_memory_size(), batch.batch.num_rows(), range.len())
            }
            Self::Rows(batch) => return batch.get_array_memory_size(),
        };
        bytes / of.max(1) * rows
    }

    /// Which of `slice` (rows of the morsel) are there to be read.
    pub(super) fn visible(&self, slice: &Range<usize>) -> Visibility {
        match self {
            Self::Unit { unit, range, alive } => {
                let at = range.start + slice.start..range.start + slice.end;
                let visible = unit.visible(at);
                match (visible, alive) {
                    (Visibility::None, _) => Visibility::None,
                    (visible, None) => visible,
                    (Visibility::All, Some(alive)) => {
                        Visibility::Mask(alive.slice(slice.start, slice.len()))
                    }
                    (Visibility::Mask(mask), Some(alive)) => {
                        Visibility::Mask(&mask & &alive.slice(slice.start, slice.len()))
                    }
                }
            }
            Self::Own { batch, range } => match &batch.alive {
                None => Visibility::All,
                Some(alive) => {
                    Visibility::Mask(alive.slice(range.start + slice.start, slice.len()))
                }
            },
            Self::Rows(_) => Visibility::All,
        }
    }

    /// The columns of `slice`, visible or not, without copying stored ones.
    pub(super) fn read(
        &self,
        slice: &Range<usize>,
        columns: &[ReadColumn],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let arrays = match self {
            Self::Rows(batch) => return Ok(batch.slice(slice.start, slice.len())),
            Self::Unit { unit, range, .. } => {
                let at = range.start + slice.start..range.start + slice.end;
                read_unit(unit, &at, columns)
            }
            Self::Own { batch, range } => {
                read_own(batch, &(range.start + slice.start..range.start + slice.end), columns)
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(slice.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }
}

fn read_unit(unit: &ScanUnit, range: &Range<usize>, columns: &[ReadColumn]) -> Vec<ArrayRef> {
    let stored: Vec<usize> = columns
        .iter()
        .filter_map(|column| match column {
            ReadColumn::Stored(ordinal) => Some(*ordinal),
            _ => None,
        })
        .collect();
    let mut stored = unit.columns(range.clone(), &stored).into_iter();
    columns
        .iter()
        .map(|column| -> ArrayRef {
            match column {
                ReadColumn::Stored(_) => stored.next().expect("as many columns as asked for"),
                ReadColumn::Segment => {
                    Arc::new(UInt64Array::from_value(unit.segment().0, range.len()))
                }
                ReadColumn::Row => Arc::new(unit.locator_rows(range.clone())),
                ReadColumn::RowId => Arc::new(unit.row_ids(range.clone())),
            }
        })
        .collect()
}

pub(super) fn read_own(
    own: &OwnBatch,
    range: &Range<usize>,
    columns: &[ReadColumn],
) -> Vec<ArrayRef> {
    let (start, rows) = (range.start, range.len());
    columns
        .iter()
        .map(|column| -> ArrayRef {
            match column {
                ReadColumn::Stored(ordinal) => own.batch.column(*ordinal).slice(start, rows),
                ReadColumn::Segment => Arc::new(UInt64Array::from_value(OWN_ROWS.0, rows)),
                ReadColumn::Row => {
                    let first = own.first + start as u32;
                    Arc::new(UInt32Array::from_iter_values(first..first + rows as u32))
                }
                // Rows that never were committed have no id yet.
                ReadColumn::RowId => match &own.row_ids {
                    Some(ids) => Arc::new(UInt64Array::from_iter_values(
                        ids[range.clone()].iter().map(|id| id.0),
                    )),
                    None => Arc::new(UInt64Array::from_value(0, rows)),
                },
            }
        })
        .collect()
}

/// A batch of own rows, for a lookup that found one.
pub(super) fn own_row(batches: &[OwnBatch], ordinal: u32) -> Option<(&OwnBatch, usize)> {
    batches.iter().find_map(|batch| {
        let row = ordinal.checked_sub(batch.first)? as usize;
        (row < batch.batch.num_rows()).then_some((batch, row))
    })
}
