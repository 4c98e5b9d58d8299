//! The rows of a scan.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    buffer::BooleanBuffer,
    compute::{BatchCoalescer, filter_record_batch},
    datatypes::SchemaRef,
};
use datafusion::{
    common::Result,
    execution::RecordBatchStream,
    physical_expr::{PhysicalExpr, conjunction_opt},
    physical_plan::metrics::BaselineMetrics,
};
use futures::Stream;

use super::{
    exec::{ReadColumns, TableScanExec},
    morsel::Morsel,
};
use crate::storage::table::Visibility;

/// A filter learnt while running is dropped when it lets most rows pass.
const DYNAMIC_TRIAL_ROWS: usize = 65_536;
const DYNAMIC_PASS_MAX: f64 = 0.8;

pub(super) struct ScanStream {
    read: ReadColumns,
    morsels: Arc<[Morsel]>,
    next: Arc<AtomicUsize>,
    /// Index of the morsel in hand, and its next row.
    current: Option<(usize, usize)>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// Evaluated after `filter`, each over the rows that passed until there.
    late: Vec<Arc<dyn PhysicalExpr>>,
    dynamic: Option<DynamicFilter>,
    batch_rows: usize,
    /// Rows still wanted.
    remaining: usize,
    /// Gathers what is left of slices; unused without columns.
    coalescer: BatchCoalescer,
    metrics: BaselineMetrics,
    ended: bool,
}

struct DynamicFilter {
    filter: Arc<dyn PhysicalExpr>,
    tried: usize,
    passed: usize,
}

impl ScanStream {
    pub(super) fn new(scan: &TableScanExec, batch_rows: usize, metrics: BaselineMetrics) -> Self {
        let schema = Arc::clone(scan.read.projected_schema());
        let (plain, late) = scan.filters.split_at(scan.filters.len() - scan.late);
        Self {
            read: scan.read.clone(),
            morsels: Arc::clone(&scan.morsels),
            next: Arc::clone(&scan.next),
            current: None,
            filter: conjunction_opt(plain.iter().cloned()),
            late: late.to_vec(),
            dynamic: conjunction_opt(scan.dynamic.iter().cloned()).map(|filter| DynamicFilter {
                filter,
                tried: 0,
                passed: 0,
            }),
            batch_rows,
            remaining: scan.limit.unwrap_or(usize::MAX),
            coalescer: BatchCoalescer::new(schema, batch_rows)
                .with_biggest_coalesce_batch_size(Some(batch_rows / 2)),
            metrics,
            ended: false,
        }
    }

    /// The next morsel and slice of it.
    fn next_slice(&mut self) -> Option<(usize, std::ops::Range<usize>)> {
        loop {
            let (morsel, row) = match self.current {
                Some(current) => current,
                None => (self.next.fetch_add(1, Relaxed), 0),
            };
            let rows = self.morsels.get(morsel)?.rows();
            if row >= rows {
                self.current = None;
                continue;
            }
            let end = rows.min(row + self.batch_rows);
            self.current = Some((morsel, end));
            return Some((morsel, row..end));
        }
    }

    /// The next batch that is not empty.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let without_columns = self.read.projected_schema().fields().is_empty();
        while self.remaining > 0 && !self.ended {
            if let Some(batch) = self.coalescer.next_completed_batch() {
                return Ok(Some(self.limited(batch)));
            }
            let Some((morsel, slice)) = self.next_slice() else {
                self.ended = true;
                break;
            };
            let morsels = Arc::clone(&self.morsels);
            let morsel = &morsels[morsel];
            let mask = match morsel.visible(&slice) {
                Visibility::None => continue,
                Visibility::All => None,
                Visibility::Mask(mask) => Some(mask),
            };
            let batch = morsel.read(&slice, self.read.all(), self.read.schema())?;
            let (batch, mask) = self.filter(batch, mask)?;
            let rows = mask.as_ref().map_or(batch.num_rows(), BooleanBuffer::count_set_bits);
            if rows == 0 {
                continue;
            }
            if without_columns {
                let schema = Arc::clone(self.read.projected_schema());
                return Ok(Some(self.limited(row_count(schema, rows)?)));
            }
            let batch = self.project(batch)?;
            match mask {
                Some(mask) if rows < batch.num_rows() => {
                    self.coalescer.push_batch_with_filter(batch, &BooleanArray::new(mask, None))?;
                }
                _ if self.coalescer.is_empty() => return Ok(Some(self.limited(batch))),
                _ => self.coalescer.push_batch(batch)?,
            }
            if self.coalescer.get_buffered_rows() >= self.remaining {
                break;
            }
        }
        if self.remaining == 0 || without_columns {
            return Ok(None);
        }
        if !self.coalescer.has_completed_batch() {
            self.coalescer.finish_buffered_batch()?;
        }
        Ok(self.coalescer.next_completed_batch().map(|batch| self.limited(batch)))
    }

    fn limited(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = batch.num_rows().min(self.remaining);
        self.remaining -= rows;
        if rows < batch.num_rows() { batch.slice(0, rows) } else { batch }
    }

    fn project(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let columns = self.read.projected_schema().fields().len();
        if columns == batch.num_columns() {
            return Ok(batch);
        }
        let arrays = batch.columns()[..columns].to_vec();
        Ok(RecordBatch::try_new(Arc::clone(self.read.projected_schema()), arrays)?)
    }

    /// The batch, thinned out if few of its rows are visible, and which of its rows pass.
    fn filter(
        &mut self,
        batch: RecordBatch,
        mask: Option<BooleanBuffer>,
    ) -> Result<(RecordBatch, Option<BooleanBuffer>)> {
        if self.filter.is_none() && self.late.is_empty() && self.dynamic.is_none() {
            return Ok((batch, mask));
        }
        // A filter may fail on values (a division by zero); rows that are not there must not
        // make it fail, so they go first.
        let mut batch = match mask {
            Some(mask) => filter_record_batch(&batch, &BooleanArray::new(mask, None))?,
            None => batch,
        };
        let mut passed = match &self.filter {
            Some(filter) => evaluate(filter, &batch)?,
            None => None,
        };
        for filter in &self.late {
            if let Some(mask) = passed.take() {
                batch = filter_record_batch(&batch, &BooleanArray::new(mask, None))?;
            }
            passed = evaluate(filter, &batch)?;
        }
        if let Some(dynamic) = &mut self.dynamic {
            let learnt = evaluate(&dynamic.filter, &batch)?;
            dynamic.tried += batch.num_rows();
            dynamic.passed +=
                learnt.as_ref().map_or(batch.num_rows(), BooleanBuffer::count_set_bits);
            if dynamic.tried >= DYNAMIC_TRIAL_ROWS {
                let useless = dynamic.passed as f64 > DYNAMIC_PASS_MAX * dynamic.tried as f64;
                (dynamic.tried, dynamic.passed) = (0, 0);
                if useless {
                    self.dynamic = None;
                }
            }
            passed = match (passed, learnt) {
                (Some(a), Some(b)) => Some(&a & &b),
                (a, b) => a.or(b),
            };
        }
        Ok((batch, passed))
    }
}

/// Rows for which `filter` is true; `None`: all.
fn evaluate(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Option<BooleanBuffer>> {
    let result = filter.evaluate(batch)?.into_array(batch.num_rows())?;
    let result = result.as_boolean();
    let passed = match result.nulls() {
        Some(nulls) => result.values() & nulls.inner(),
        None => result.values().clone(),
    };
    Ok((passed.count_set_bits() < batch.num_rows()).then_some(passed))
}

fn row_count(schema: SchemaRef, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?)
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let poll = Poll::Ready(self.next_batch().transpose());
        self.metrics.record_poll(poll)
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.read.projected_schema())
    }
}
