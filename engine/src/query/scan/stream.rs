//! The rows of a scan.

use std::{
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use arrow::{
    array::{BooleanArray, RecordBatch, RecordBatchOptions},
    buffer::BooleanBuffer,
    compute::{self, BatchCoalescer, filter_record_batch},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{Result, internal_err},
    execution::RecordBatchStream,
    physical_expr::{PhysicalExpr, conjunction_opt},
    physical_plan::metrics::BaselineMetrics,
};
use futures::Stream;

use super::{
    exec::{ReadColumns, TableScanExec},
    filters::{DYNAMIC_PASS_MAX, DYNAMIC_TRIAL_ROWS, evaluate},
    morsel::Morsel,
    segment_morsel::SegmentMorsel,
    segment_queue::SegmentQueue,
    segment_read::{Loaded, Piece, SegmentReader},
};
use crate::storage::table::Visibility;

pub(super) struct ScanStream {
    read: ReadColumns,
    morsels: Arc<[Morsel]>,
    next: Arc<AtomicUsize>,
    current: Option<Current>,
    /// A morsel that was taken from the list, or the rest of one, to be read after `current`.
    taken: Option<Taken>,
    /// Reads segments, if there are any.
    segments: Option<SegmentQueue>,
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
    /// Slices since it last waited or gave a batch: a filter may let nothing pass for long.
    slices: usize,
    ended: bool,
}

/// Slices between two waits, as the operators above have them between batches.
const SLICES_PER_TURN: usize = 16;

/// What slices are cut from, and the next row.
enum Current {
    /// By its index.
    Morsel(usize, usize),
    /// Of a segment.
    Piece(Piece, usize),
}

enum Taken {
    /// By its index.
    Memory(usize),
    Segment(SegmentMorsel),
}

enum Slice {
    Morsel(usize, Range<usize>),
    Piece(Range<usize>),
}

/// Rows of a slice that passed.
struct Found {
    /// The projected columns of rows; none at all if nothing but the number counts.
    batch: Option<RecordBatch>,
    /// Which of them passed; `None`: all.
    mask: Option<BooleanBuffer>,
    /// How many passed: more than none.
    rows: usize,
}

struct DynamicFilter {
    filter: Arc<dyn PhysicalExpr>,
    tried: usize,
    passed: usize,
}

impl ScanStream {
    /// `segments`: what reads them, if there are any.
    pub(super) fn new(
        scan: &TableScanExec,
        batch_rows: usize,
        metrics: BaselineMetrics,
        segments: Option<Arc<SegmentReader>>,
    ) -> Self {
        let schema = Arc::clone(scan.read.projected_schema());
        let (plain, late) = scan.filters.split_at(scan.filters.len() - scan.late);
        Self {
            read: scan.read.clone(),
            morsels: Arc::clone(&scan.morsels),
            next: Arc::clone(&scan.next),
            current: None,
            taken: None,
            segments: segments.map(SegmentQueue::new),
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
            slices: 0,
            ended: false,
        }
    }

    /// The next slice; `None`: there is nothing left.
    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>>> {
        loop {
            match &mut self.current {
                Some(Current::Morsel(morsel, row)) => {
                    let rows = self.morsels[*morsel].rows();
                    if *row < rows {
                        let start = *row;
                        *row = rows.min(start + self.batch_rows);
                        return Poll::Ready(Ok(Some(Slice::Morsel(*morsel, start..*row))));
                    }
                }
                Some(Current::Piece(piece, row)) => {
                    let rows = piece.rows();
                    if *row < rows {
                        let start = *row;
                        *row = rows.min(start + self.batch_rows);
                        return Poll::Ready(Ok(Some(Slice::Piece(start..*row))));
                    }
                }
                None => {}
            }
            self.current = None;
            if let Some(segments) = self.segments.as_mut().filter(|segments| !segments.is_idle()) {
                let loaded = ready!(segments.poll(context))?;
                self.loaded(loaded, context);
                continue;
            }
            match self.take() {
                None => return Poll::Ready(Ok(None)),
                Some(Taken::Memory(morsel)) => self.current = Some(Current::Morsel(morsel, 0)),
                Some(Taken::Segment(morsel)) => self.begin(morsel)?,
            }
        }
    }

    /// The next morsel that nobody has taken.
    fn take(&mut self) -> Option<Taken> {
        if let Some(taken) = self.taken.take() {
            return Some(taken);
        }
        let morsel = self.next.fetch_add(1, Relaxed);
        Some(match self.morsels.get(morsel)? {
            Morsel::Memory(_) => Taken::Memory(morsel),
            Morsel::Segment(morsel) => Taken::Segment(morsel.clone()),
        })
    }

    fn begin(&mut self, morsel: SegmentMorsel) -> Result<()> {
        let Some(segments) = &mut self.segments else {
            return internal_err!("a scan of segments without a snapshot");
        };
        segments.begin(morsel, self.remaining);
        Ok(())
    }

    /// What was read of a segment is next; if it had to be waited for, what comes after is read meanwhile.
    fn loaded(&mut self, loaded: Loaded, context: &mut Context<'_>) {
        self.taken = loaded.rest.map(Taken::Segment);
        let Some(piece) = loaded.piece else { return };
        let wanted = piece.rows() < self.remaining;
        self.current = Some(Current::Piece(piece, 0));
        if !wanted || !self.segments.as_ref().is_some_and(|segments| segments.waited) {
            return;
        }
        match self.take() {
            Some(Taken::Segment(morsel)) => {
                if let Some(segments) = &mut self.segments {
                    segments.begin(morsel, self.remaining);
                    segments.advance(context);
                }
            }
            other => self.taken = other,
        }
    }

    /// The next batch that is not empty.
    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<RecordBatch>>> {
        let without_columns = self.read.projected_schema().fields().is_empty();
        if self.current.is_some()
            && let Some(segments) = &mut self.segments
        {
            segments.advance(context);
        }
        while self.remaining > 0 && !self.ended {
            if let Some(batch) = self.coalescer.next_completed_batch() {
                return Poll::Ready(Ok(Some(self.limited(batch))));
            }
            if self.slices >= SLICES_PER_TURN {
                self.slices = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.slices += 1;
            let found = match ready!(self.poll_slice(context))? {
                None => {
                    self.ended = true;
                    break;
                }
                Some(Slice::Morsel(morsel, rows)) => self.read_morsel(morsel, &rows)?,
                Some(Slice::Piece(rows)) => self.read_piece(&rows)?,
            };
            let Some(Found { batch, mask, rows }) = found else { continue };
            let Some(batch) = batch else {
                let schema = Arc::clone(self.read.projected_schema());
                return Poll::Ready(Ok(Some(self.limited(row_count(schema, rows)?))));
            };
            match mask {
                Some(mask) if rows < batch.num_rows() => {
                    self.coalescer.push_batch_with_filter(batch, &BooleanArray::new(mask, None))?;
                }
                _ if self.coalescer.is_empty() => {
                    return Poll::Ready(Ok(Some(self.limited(batch))));
                }
                _ => self.coalescer.push_batch(batch)?,
            }
            if self.coalescer.get_buffered_rows() >= self.remaining {
                break;
            }
        }
        if self.remaining == 0 || without_columns {
            return Poll::Ready(Ok(None));
        }
        if !self.coalescer.has_completed_batch() {
            self.coalescer.finish_buffered_batch()?;
        }
        Poll::Ready(Ok(self.coalescer.next_completed_batch().map(|batch| self.limited(batch))))
    }

    fn read_morsel(&mut self, morsel: usize, slice: &Range<usize>) -> Result<Option<Found>> {
        let morsels = Arc::clone(&self.morsels);
        let Morsel::Memory(morsel) = &morsels[morsel] else {
            return internal_err!("a segment is not at hand");
        };
        let mask = match morsel.visible(slice) {
            Visibility::None => return Ok(None),
            Visibility::All => None,
            Visibility::Mask(mask) => Some(mask),
        };
        let batch = morsel.read(slice, self.read.all(), self.read.schema())?;
        let (batch, mask) = self.filter(batch, mask)?;
        let rows = mask.as_ref().map_or(batch.num_rows(), BooleanBuffer::count_set_bits);
        if rows == 0 {
            return Ok(None);
        }
        let without_columns = self.read.projected_schema().fields().is_empty();
        let batch = if without_columns { None } else { Some(self.project(batch)?) };
        Ok(Some(Found { batch, mask, rows }))
    }

    /// Rows of the piece at hand.
    fn read_piece(&self, slice: &Range<usize>) -> Result<Option<Found>> {
        let (Some(Current::Piece(piece, _)), Some(segments)) = (&self.current, &self.segments)
        else {
            return internal_err!("no rows of a segment are at hand");
        };
        let filters = &segments.reader.filters;
        let count = |mask: &Option<BooleanBuffer>| {
            mask.as_ref().map_or(slice.len(), BooleanBuffer::count_set_bits)
        };
        let visible = piece.visible.as_ref().map(|rows| rows.slice(slice.start, slice.len()));
        let mut mask = visible;
        let mut rows = count(&mask);
        if rows > 0 && !piece.filtered && !filters.are_none() {
            let batch = piece.batch(filters.schema(), filters.places(), slice)?;
            mask = filters.passing(batch, mask)?;
            rows = count(&mask);
        }
        if rows == 0 {
            return Ok(None);
        }
        let schema = self.read.projected_schema();
        let places: Vec<usize> = (0..schema.fields().len()).collect();
        if places.is_empty() {
            return Ok(Some(Found { batch: None, mask, rows }));
        }
        // Values of few rows are widened once it is known which.
        if let Some(passed) = mask.as_ref().filter(|_| rows < slice.len() / 4)
            && piece.widens(0..places.len(), schema)
        {
            let passed = BooleanArray::new(passed.clone(), None);
            let narrow = piece.narrow(&places, slice);
            let arrays = places
                .iter()
                .zip(&narrow)
                .map(|(place, array)| Ok(piece.wide(*place, &compute::filter(array, &passed)?)));
            let arrays = arrays.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(schema), arrays)?;
            return Ok(Some(Found { batch: Some(batch), mask: None, rows }));
        }
        let batch = Some(piece.batch(schema, &places, slice)?);
        Ok(Some(Found { batch, mask, rows }))
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

fn row_count(schema: SchemaRef, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?)
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let poll = self.poll_batch(context).map(Result::transpose);
        if poll.is_ready() {
            self.slices = 0;
        }
        self.metrics.record_poll(poll)
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.read.projected_schema())
    }
}
