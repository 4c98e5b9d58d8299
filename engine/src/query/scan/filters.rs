//! Filters over the columns that they name, alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use arrow::{
    array::{AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    physical_expr::{
        PhysicalExpr, conjunction_opt, expressions::Column, split_conjunction,
        utils::collect_columns,
    },
    physical_plan::expressions::DynamicFilterPhysicalExpr,
};

use super::exec::ReadColumns;

/// A filter learnt while running is dropped when it lets most rows pass.
pub(super) const DYNAMIC_TRIAL_ROWS: usize = 65_536;
pub(super) const DYNAMIC_PASS_MAX: f64 = 0.8;

/// The filters of a scan, over the columns that they name.
#[derive(Debug)]
pub(super) struct Filters {
    /// Of [`ReadColumns::all`], ascending.
    places: Vec<usize>,
    schema: SchemaRef,
    plain: Option<Arc<dyn PhysicalExpr>>,
    /// Evaluated after that, each over the rows that passed until there, because they can fail.
    late: Vec<Arc<dyn PhysicalExpr>>,
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    trial: Trial,
}

/// Whether filters learnt while running are worth their evaluation.
#[derive(Debug, Default)]
struct Trial {
    rows: AtomicUsize,
    passed: AtomicUsize,
    failed: AtomicBool,
}

impl Filters {
    /// `filters`: over [`ReadColumns::schema`], the last `late` of them can fail; `dynamic`: over the
    /// projected columns.
    pub(super) fn new(
        read: &ReadColumns,
        filters: &[Arc<dyn PhysicalExpr>],
        late: usize,
        dynamic: &[Arc<dyn PhysicalExpr>],
    ) -> Result<Self> {
        let named = filters.iter().chain(dynamic).flat_map(collect_columns);
        let mut places: Vec<usize> = named.map(|column| column.index()).collect();
        places.sort_unstable();
        places.dedup();
        let over = |filter: &Arc<dyn PhysicalExpr>| {
            let moved = |expr: Arc<dyn PhysicalExpr>| {
                Ok(match expr.downcast_ref::<Column>() {
                    Some(column) => {
                        let place = places.binary_search(&column.index());
                        let place = place.expect("it is one of the columns named");
                        Transformed::yes(Arc::new(Column::new(column.name(), place)) as _)
                    }
                    None => Transformed::no(expr),
                })
            };
            Arc::clone(filter).transform_up(moved).data()
        };
        let (plain, failing) = filters.split_at(filters.len() - late);
        let plain = plain.iter().map(over).collect::<Result<Vec<_>>>()?;
        let late = failing.iter().map(over).collect::<Result<_>>()?;
        let dynamic = dynamic.iter().map(over).collect::<Result<_>>()?;
        let fields = places.iter().map(|place| Arc::clone(&read.schema().fields()[*place]));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (plain, trial) = (conjunction_opt(plain), Trial::default());
        Ok(Self { places, schema, plain, late, dynamic, trial })
    }

    /// Every row passes.
    pub(super) fn are_none(&self) -> bool {
        self.plain.is_none() && self.late.is_empty() && !self.learns()
    }

    fn learns(&self) -> bool {
        !self.dynamic.is_empty() && !self.trial.failed.load(Relaxed)
    }

    /// Of the columns they name, of those that are read.
    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Of these columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All of them as conjuncts; of those that are learnt what they say now.
    pub(super) fn conjuncts(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let now = self.dynamic.iter().filter_map(|filter| now(filter).ok());
        let all: Vec<_> = self.plain.iter().chain(&self.late).cloned().chain(now).collect();
        all.iter().flat_map(split_conjunction).cloned().collect()
    }

    /// Which rows of `batch`, the columns that filters name, are of `rows` (`None`: all of them) and
    /// pass. `None`: all.
    pub(super) fn passing(
        &self,
        mut batch: RecordBatch,
        rows: Option<BooleanBuffer>,
    ) -> Result<Option<BooleanBuffer>> {
        let mut passing = rows;
        let learnt = self.dynamic.iter().filter(|_| self.learns());
        for filter in self.plain.iter() {
            if let Some(passed) = evaluate(filter, &batch)? {
                passing = Some(match passing {
                    Some(passing) => &passing & &passed,
                    None => passed,
                });
            }
        }
        for filter in learnt {
            let passed = evaluate(filter, &batch)?;
            self.trial.note(&batch, passed.as_ref());
            passing = match (passing, passed) {
                (Some(a), Some(b)) => Some(&a & &b),
                (a, b) => a.or(b),
            };
        }
        if self.late.is_empty() {
            return Ok(passing);
        }
        if let Some(passing) = &passing {
            batch = filter_record_batch(&batch, &BooleanArray::new(passing.clone(), None))?;
        }
        for filter in &self.late {
            if batch.num_rows() == 0 {
                break;
            }
            let Some(passed) = evaluate(filter, &batch)? else { continue };
            batch = filter_record_batch(&batch, &BooleanArray::new(passed.clone(), None))?;
            passing = Some(match passing {
                Some(passing) => within(&passing, &passed),
                None => passed,
            });
        }
        Ok(passing)
    }
}

impl Trial {
    fn note(&self, batch: &RecordBatch, passed: Option<&BooleanBuffer>) {
        let passed = passed.map_or(batch.num_rows(), BooleanBuffer::count_set_bits);
        let rows = self.rows.fetch_add(batch.num_rows(), Relaxed) + batch.num_rows();
        let passed = self.passed.fetch_add(passed, Relaxed) + passed;
        if rows >= DYNAMIC_TRIAL_ROWS {
            if passed as f64 > DYNAMIC_PASS_MAX * rows as f64 {
                self.failed.store(true, Relaxed);
            }
            self.rows.store(0, Relaxed);
            self.passed.store(0, Relaxed);
        }
    }
}

/// Rows for which `filter` is true; `None`: all.
pub(super) fn evaluate(
    filter: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Result<Option<BooleanBuffer>> {
    use arrow::array::Array;
    let result = filter.evaluate(batch)?.into_array(batch.num_rows())?;
    let result = result.as_boolean();
    let passed = match result.nulls() {
        Some(nulls) => result.values() & nulls.inner(),
        None => result.values().clone(),
    };
    Ok((passed.count_set_bits() < batch.num_rows()).then_some(passed))
}

/// Of the rows set in `rows` those that are set in `among`, which counts only these.
fn within(rows: &BooleanBuffer, among: &BooleanBuffer) -> BooleanBuffer {
    let mut found = BooleanBufferBuilder::new(rows.len());
    found.append_n(rows.len(), false);
    for (n, row) in rows.set_indices().enumerate() {
        found.set_bit(row, among.value(n));
    }
    found.finish()
}

/// What a filter says now that operators above still change.
fn now(filter: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(filter)
        .transform_up(|expr| {
            Ok(match expr.downcast_ref::<DynamicFilterPhysicalExpr>() {
                Some(dynamic) => Transformed::yes(dynamic.current()?),
                None => Transformed::no(expr),
            })
        })
        .data()
}
