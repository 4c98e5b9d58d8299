//! Merges sorted runs into batches, in bounded memory.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array},
    compute,
    datatypes::{Schema, SchemaRef},
};

use super::{
    RewriteError,
    source::{Moment, Row, Run, Shape},
};
use crate::storage::StorageError;

/// Rows in order of the key.
pub(super) struct Merged {
    pub(super) batch: RecordBatch,
    /// At least one.
    pub(super) rows: Vec<Row>,
    /// No row that follows has the key of the last one.
    pub(super) ends_key: bool,
}

/// Runs that are merged.
pub(super) struct Merge<'a> {
    shape: &'a Shape,
    moment: Moment,
    fields: SchemaRef,
    runs: Vec<Run>,
    /// Runs with rows left as a heap: the one with the least row first.
    heap: Vec<usize>,
    /// Of the last row copied, and of the one that follows.
    keys: (Vec<u8>, Vec<u8>),
}

impl<'a> Merge<'a> {
    pub(super) fn new(shape: &'a Shape, moment: Moment, runs: Vec<Run>) -> Self {
        let fields = shape.schema.live().iter();
        let fields: Vec<_> =
            fields.map(|n| Arc::clone(&shape.schema.arrow().fields()[*n])).collect();
        let heap = (0..runs.len()).filter(|n| !runs[*n].is_at_end()).collect();
        let (fields, keys) = (Arc::new(Schema::new(fields)), Default::default());
        let mut merge = Self { shape, moment, fields, runs, heap, keys };
        (0..merge.heap.len() / 2).rev().for_each(|n| merge.sift_down(n));
        merge
    }

    /// At most `rows_max` rows; `None`: there are no more.
    pub(super) async fn next(&mut self, rows_max: usize) -> Result<Option<Merged>, RewriteError> {
        let mut picks: Vec<(usize, usize)> = Vec::new();
        // A run whose next rows are still to be read: before that those picked are copied.
        let mut empty = None;
        while picks.len() < rows_max && empty.is_none() {
            let Some(&least) = self.heap.first() else { break };
            let run = &mut self.runs[least];
            picks.push((least, run.place()));
            run.advance();
            if run.is_at_end() && run.has_more() {
                empty = Some(least);
            } else if run.is_at_end() {
                self.heap.swap_remove(0);
                self.sift_down(0);
            } else {
                self.sift_down(0);
            }
        }
        let Some(&(last, last_place)) = picks.last() else { return Ok(None) };
        let mut merged = self.copy(&picks)?;
        let (mut last_key, mut next_key) = std::mem::take(&mut self.keys);
        self.runs[last].key_into(last_place, &mut last_key);
        if let Some(empty) = empty {
            if !self.runs[empty].refill(self.shape, self.moment).await? {
                self.heap.swap_remove(0);
            }
            self.sift_down(0);
        }
        for (run, _) in picks {
            if self.runs[run].is_at_end() {
                self.runs[run].clear();
            }
        }
        merged.ends_key = self.heap.first().is_none_or(|next| {
            let next = &self.runs[*next];
            next.key_into(next.place(), &mut next_key);
            next_key != last_key
        });
        self.keys = (last_key, next_key);
        Ok(Some(merged))
    }

    fn sift_down(&mut self, mut at: usize) {
        let heap = &mut self.heap;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                let is_less = |a: usize, b: usize| {
                    self.runs[a].compare(&self.runs[b]).then(a.cmp(&b)).is_lt()
                };
                if child < heap.len() && is_less(heap[child], heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            heap.swap(at, least);
            at = least;
        }
    }

    fn copy(&self, picks: &[(usize, usize)]) -> Result<Merged, StorageError> {
        let rows = picks.iter().map(|(run, place)| self.runs[*run].row(*place, self.moment));
        let rows = rows.collect();
        let columns = 0..self.fields.fields().len();
        let columns = self.columns(picks, columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.fields), columns, &options);
        let batch = batch.map_err(|e| StorageError::Invalid(e.to_string()))?;
        Ok(Merged { batch, rows, ends_key: false })
    }

    fn columns(
        &self,
        picks: &[(usize, usize)],
        columns: std::ops::Range<usize>,
    ) -> Result<Vec<ArrayRef>, StorageError> {
        let wrong = |e: arrow::error::ArrowError| {
            StorageError::Invalid(format!("rows cannot be merged: {e}"))
        };
        let first = picks[0];
        if picks.iter().all(|(run, _)| *run == first.0) {
            let array = |n: usize| &self.runs[first.0].piece.columns[n];
            let contiguous = picks.iter().enumerate().all(|(n, (_, place))| *place == first.1 + n);
            if contiguous {
                return Ok(columns.map(|n| array(n).slice(first.1, picks.len())).collect());
            }
            let places = UInt32Array::from_iter_values(picks.iter().map(|(_, n)| *n as u32));
            return columns
                .map(|n| compute::take(array(n), &places, None).map_err(wrong))
                .collect();
        }
        // Runs by their numbers among those that are needed.
        let mut numbers = vec![usize::MAX; self.runs.len()];
        let mut needed: Vec<usize> = Vec::new();
        let mut indices = Vec::with_capacity(picks.len());
        for (run, place) in picks {
            if numbers[*run] == usize::MAX {
                numbers[*run] = needed.len();
                needed.push(*run);
            }
            indices.push((numbers[*run], *place));
        }
        columns
            .map(|n| {
                let arrays: Vec<&dyn Array> =
                    needed.iter().map(|run| self.runs[*run].piece.columns[n].as_ref()).collect();
                compute::interleave(&arrays, &indices).map_err(wrong)
            })
            .collect()
    }
}
