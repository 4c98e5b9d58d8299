//! The short way for small plans: rows by primary key (one, some, ranges), VALUES, and what is
//! computed from them, without optimizer and operators.
//!
//! Ranges are read in the order of the key, forward or backward, until LIMIT has its rows. Whether
//! they hold few enough rows is seen while they are read: if not, the statement takes the long way.
//!
//! A plan is compiled once, parameters and all, and run any number of times: parameters stand
//! behind the columns of the row that an expression sees.

mod compile;
mod path;
pub(super) mod turns;

pub(super) use self::path::Path;
pub use self::path::PathCounters;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array,
    },
    compute::{SortColumn, SortOptions, concat_batches, filter, lexsort_to_indices, take_arrays},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, execution_props::ExecutionProps},
    physical_expr::PhysicalExpr,
    scalar::ScalarValue,
};
use glaredb_txn::ids::TableId;

use super::errors::storage_error;
use crate::{
    query::{
        errors::external,
        scan::{KeyAccess, KeyOrder, KeyRanges, KeyReader, Known, NOW_INDEX, Span, StatementView},
    },
    storage::warmed::{ColdReads, ReadError},
};

/// Keys that are looked at before the long way is taken, and the memory of the rows read by them.
const KEYS_MAX: usize = 4096;
const BYTES_MAX: usize = 4 << 20;
/// Memory of what was decoded of segments for batches that were taken, beyond which it is given back.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Keys of which LIMIT without ORDER BY takes the rows that are stored first.
const KEYS_SORTED_MAX: usize = 256;
/// Rows that are read by ranges of keys at a time: at first, and later.
const BATCH_FIRST: usize = 128;
const BATCH_ROWS: usize = 1024;

/// A plan that is run here.
#[derive(Debug)]
pub(super) struct PointPlan {
    root: Node,
    /// Names and types of its columns.
    schema: SchemaRef,
    /// By primary key: the only table it reads.
    access: Option<KeyAccess>,
    /// That of its rows is the order of the key, this way.
    order: Option<KeyOrder>,
    /// How many rows are taken of what `root` makes of the rows of ranges.
    limit: Option<RowLimit>,
    /// Conditions on the rows that the key does not imply: for people.
    filters: Vec<Expr>,
}

/// LIMIT and OFFSET.
#[derive(Debug)]
struct RowLimit {
    skip: Known,
    /// NULL: all.
    fetch: Known,
}

impl RowLimit {
    /// How many rows are left out and how many are needed, those among them; `None` for what is no
    /// number of rows.
    fn rows(&self, params: &[ScalarValue]) -> Option<(usize, usize)> {
        let number = |known: &Known, none| match known.value(params)?.as_ref() {
            ScalarValue::Int64(Some(n)) => usize::try_from(*n).ok(),
            ScalarValue::Int64(None) => Some(none),
            _ => None,
        };
        let skip = number(&self.skip, 0)?;
        Some((skip, number(&self.fetch, usize::MAX)?.saturating_add(skip)))
    }
}

/// What makes rows of some columns.
#[derive(Debug)]
enum Node {
    /// Rows without columns.
    Rows(usize),
    /// The rows that the plan reads by key.
    Lookup(Lookup),
    Values {
        rows: Vec<Vec<Computed>>,
        types: Vec<DataType>,
    },
    Filter {
        input: Box<Self>,
        predicates: Vec<Evaluated>,
    },
    Project {
        input: Box<Self>,
        columns: Vec<Computed>,
    },
    Limit {
        input: Box<Self>,
        limit: RowLimit,
    },
    /// One row is sorted; more are not done here.
    Sorted(Box<Self>),
    Sort {
        input: Box<Self>,
        by: Vec<(Computed, SortOptions)>,
    },
}

/// The columns of rows by key: those that are read, NULLs of their types for the others.
#[derive(Debug)]
struct Lookup {
    columns: Vec<LookupColumn>,
}

#[derive(Debug)]
enum LookupColumn {
    /// By place among what the lookup reads.
    Read(usize),
    Unread(ArrayRef),
}

/// A value of every row.
#[derive(Debug)]
enum Computed {
    /// A column of the input.
    Column(usize),
    Known(Known),
    Evaluated(Evaluated, DataType),
}

/// An expression over the columns of the input and, behind them, parameters.
#[derive(Debug)]
struct Evaluated {
    expr: Arc<dyn PhysicalExpr>,
    /// Of the input's columns and the parameters.
    schema: SchemaRef,
    /// Parameters that stand behind the columns, by index.
    params: Arc<[usize]>,
}

/// Columns of equal length.
struct Columns {
    arrays: Vec<ArrayRef>,
    rows: usize,
}

/// The plan as one that is run here; `None` if it is not small enough to be seen as such at once.
///
/// `plan` may hold placeholders; their values are given to [`PointPlan::run`]. `by_key`: whether rows
/// may be read by their keys.
pub(super) fn compile(
    plan: &LogicalPlan,
    props: &ExecutionProps,
    by_key: bool,
) -> Option<PointPlan> {
    compile::compile(plan, props).filter(|point| by_key || point.access.is_none())
}

impl PointPlan {
    /// The keys of the rows that it reads, with their table, if it names them one by one and there
    /// are at most `keys_max`.
    pub(super) fn keys(&self, params: &[ScalarValue], keys_max: usize) -> Vec<(TableId, Bytes)> {
        let spans = match &self.access {
            None => return Vec::new(),
            Some(KeyAccess::One(lookup)) => {
                let key = lookup.key(params).flatten();
                return key.map(|key| (lookup.table(), key)).into_iter().collect();
            }
            Some(KeyAccess::Ranges(ranges)) => {
                ranges.spans(params).filter(|spans| spans.len() <= keys_max).map(|s| (ranges, s))
            }
        };
        let Some((ranges, spans)) = spans else { return Vec::new() };
        let keys = spans.iter().map(|span| Some((ranges.table(), span.key()?.clone())));
        keys.collect::<Option<_>>().unwrap_or_default()
    }

    /// Which way its statements go.
    pub(super) fn path(&self) -> Path {
        match &self.access {
            None => Path::Values,
            Some(KeyAccess::One(_)) => Path::Key,
            Some(KeyAccess::Ranges(_)) => Path::KeyRange,
        }
    }

    /// Whether these parameters take the short way as they are; `None`: that shows when it is run.
    pub(super) fn fits(&self, params: &[ScalarValue]) -> Option<bool> {
        match self.access.as_ref() {
            None => Some(false),
            Some(KeyAccess::One(lookup)) => Some(lookup.key(params).is_some()),
            Some(KeyAccess::Ranges(_)) => None,
        }
    }

    /// What EXPLAIN shows of the rows it reads by key; nothing if it reads none.
    pub(super) fn explain(&self) -> Option<Vec<String>> {
        let access = self.access.as_ref()?;
        let (name, condition) = access.show();
        let (what, backward) = match access {
            KeyAccess::One(_) => ("Point Lookup", ""),
            KeyAccess::Ranges(_) => (
                "Key Range Scan",
                if self.order == Some(KeyOrder::Backward) { " Backward" } else { "" },
            ),
        };
        let mut lines = vec![format!("{what}{backward} on {name}, by key")];
        lines.extend(condition.map(|condition| format!("  Key Cond: {condition}")));
        for filter in &self.filters {
            lines.push(format!("  Filter: {}", filter.human_display()));
        }
        if let Some(limit) = &self.limit {
            lines.push(format!("  Limit: {}", limit.fetch.show()));
        }
        Some(lines)
    }

    /// Begins to run it with these parameters.
    pub(super) fn start<'a>(
        &'a self,
        view: &'a StatementView,
        params: &'a [ScalarValue],
        now: &'a ScalarValue,
    ) -> PointRun<'a> {
        PointRun { plan: self, view, params, now, reading: None }
    }
}

/// A plan while it is run.
pub(super) struct PointRun<'a> {
    plan: &'a PointPlan,
    view: &'a StatementView,
    params: &'a [ScalarValue],
    now: &'a ScalarValue,
    reading: Option<Reading<'a>>,
}

/// Ranges of keys, partly read.
struct Reading<'a> {
    ranges: &'a KeyRanges,
    reader: KeyReader<'a>,
    /// Rows that are left out, and rows that are needed, those among them.
    skip: usize,
    needed: usize,
    keys_max: usize,
    /// Rows to be read at a time.
    next: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Of the rows read.
    bytes: usize,
}

impl<'a> PointRun<'a> {
    /// Its rows, in one batch; `None` if these parameters take the long way. It goes on where it was when
    /// it is called again after something was warmed.
    ///
    /// # Errors
    /// Whatever its expressions say; or something is to be warmed before.
    pub(super) fn run(&mut self) -> Result<Option<RecordBatch>, PointError> {
        let found = match &self.plan.access {
            None => None,
            Some(KeyAccess::One(lookup)) => {
                let Some(key) = lookup.key(self.params) else { return Ok(None) };
                Some(lookup.row(self.view, key.as_deref())?)
            }
            Some(KeyAccess::Ranges(ranges)) => {
                if self.reading.is_none() {
                    self.reading = self.open(ranges);
                }
                let rows = self.read();
                if matches!(rows, Ok(None)) {
                    // The long way reads for itself.
                    self.view.warmed.release();
                }
                return rows;
            }
        };
        self.finish(found)
    }

    /// What the plan makes of the rows that were found.
    fn finish(&self, found: Option<RecordBatch>) -> Result<Option<RecordBatch>, PointError> {
        let run = Run { params: self.params, now: self.now, found };
        let Some(columns) = run.node(&self.plan.root)? else { return Ok(None) };
        Ok(Some(record_batch(&self.plan.schema, columns)?))
    }

    fn open(&self, ranges: &'a KeyRanges) -> Option<Reading<'a>> {
        let plan = self.plan;
        let spans = ranges.spans(self.params)?;
        let (skip, needed) = match &plan.limit {
            None => (0, usize::MAX),
            Some(limit) => limit.rows(self.params)?,
        };
        // As many keys as there can be are looked at anyway.
        let keys_max = KEYS_MAX.max(if spans.iter().all(is_key) { spans.len() } else { 0 });
        let order = plan.order.unwrap_or(KeyOrder::Stored(match &plan.limit {
            None => keys_max,
            Some(_) => KEYS_SORTED_MAX,
        }));
        let reader = ranges.open(self.view, spans, order)?;
        let next = if plan.filters.is_empty() { needed.clamp(1, BATCH_FIRST) } else { BATCH_FIRST };
        let (batches, rows, bytes) = (Vec::new(), 0, 0);
        Some(Reading { ranges, reader, skip, needed, keys_max, next, batches, rows, bytes })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, PointError> {
        let Some(mut reading) = self.reading.take() else { return Ok(None) };
        let plan = self.plan;
        while reading.rows < reading.needed {
            let batch = match reading.reader.next(reading.next) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => {
                    self.reading = Some(reading);
                    return Err(error.into());
                }
            };
            self.view.warmed.release_beyond(HELD_BYTES_MAX);
            reading.bytes += batch.get_array_memory_size();
            if reading.reader.examined() > reading.keys_max || reading.bytes > BYTES_MAX {
                return Ok(None);
            }
            reading.next = BATCH_ROWS;
            let batch = if plan.limit.is_some() {
                // What follows is not looked at once there are rows enough.
                let Some(batch) = self.finish(Some(batch))? else { return Ok(None) };
                batch
            } else {
                batch
            };
            reading.rows += batch.num_rows();
            reading.batches.push(batch);
        }
        let Reading { ranges, batches, skip, needed, .. } = reading;
        if plan.limit.is_some() && !batches.is_empty() {
            let all = one_batch(batches)?;
            let start = skip.min(all.num_rows());
            return Ok(Some(all.slice(start, needed.min(all.num_rows()) - start)));
        }
        self.finish(Some(if batches.is_empty() { ranges.nothing() } else { one_batch(batches)? }))
    }
}

fn is_key(span: &Span) -> bool {
    span.key().is_some()
}

/// Why a plan gave no rows here.
#[derive(Debug)]
pub(super) enum PointError {
    /// It is to be run again when that is warmed.
    Cold(ColdReads),
    Failed(DataFusionError),
}

impl From<DataFusionError> for PointError {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

impl From<ReadError> for PointError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cold(cold) => Self::Cold(cold),
            ReadError::Failed(error) => Self::Failed(external(storage_error(error))),
        }
    }
}

/// At least one batch, as one.
fn one_batch(mut batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    if batches.len() == 1
        && let Some(batch) = batches.pop()
    {
        return Ok(batch);
    }
    Ok(concat_batches(&batches[0].schema(), &batches)?)
}

/// One run of a plan.
struct Run<'a> {
    params: &'a [ScalarValue],
    now: &'a ScalarValue,
    /// What its lookup found.
    found: Option<RecordBatch>,
}

impl Run<'_> {
    fn node(&self, node: &Node) -> Result<Option<Columns>> {
        match node {
            Node::Rows(rows) => Ok(Some(Columns { arrays: Vec::new(), rows: *rows })),
            Node::Lookup(lookup) => Ok(self.looked_up(lookup)),
            Node::Values { rows, types } => self.values(rows, types).map(Some),
            Node::Filter { input, predicates } => {
                let Some(mut columns) = self.node(input)? else { return Ok(None) };
                for predicate in predicates {
                    self.filter(predicate, &mut columns)?;
                }
                Ok(Some(columns))
            }
            Node::Project { input, columns } => {
                let Some(input) = self.node(input)? else { return Ok(None) };
                let arrays = columns.iter().map(|column| self.computed(column, &input));
                let arrays = arrays.collect::<Result<Vec<_>>>()?;
                Ok(Some(Columns { arrays, rows: input.rows }))
            }
            Node::Limit { input, limit } => {
                let Some((skip, end)) = limit.rows(self.params) else { return Ok(None) };
                let Some(input) = self.node(input)? else { return Ok(None) };
                let start = skip.min(input.rows);
                let rows = end.min(input.rows) - start;
                let arrays = input.arrays.iter().map(|array| array.slice(start, rows)).collect();
                Ok(Some(Columns { arrays, rows }))
            }
            Node::Sort { input, by } => {
                let Some(input) = self.node(input)? else { return Ok(None) };
                self.sorted(input, by).map(Some)
            }
            Node::Sorted(input) => Ok(self.node(input)?.filter(|columns| columns.rows <= 1)),
        }
    }

    fn sorted(&self, input: Columns, by: &[(Computed, SortOptions)]) -> Result<Columns> {
        if input.rows < 2 {
            return Ok(input);
        }
        let keys = by.iter().map(|(computed, options)| {
            Ok(SortColumn { values: self.computed(computed, &input)?, options: Some(*options) })
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let order = lexsort_to_indices(&keys, None)?;
        Ok(Columns { arrays: take_arrays(&input.arrays, &order, None)?, rows: input.rows })
    }

    fn looked_up(&self, lookup: &Lookup) -> Option<Columns> {
        let found = self.found.as_ref()?;
        let rows = found.num_rows();
        let arrays = lookup.columns.iter().map(|column| match column {
            LookupColumn::Read(index) => Arc::clone(found.column(*index)),
            LookupColumn::Unread(array) if rows <= 1 => array.slice(0, rows),
            LookupColumn::Unread(array) => new_null_array(array.data_type(), rows),
        });
        Some(Columns { arrays: arrays.collect(), rows })
    }

    fn filter(&self, predicate: &Evaluated, columns: &mut Columns) -> Result<()> {
        if columns.rows == 0 {
            return Ok(());
        }
        let mask = self.evaluate(predicate, columns)?;
        let mask = mask.as_boolean();
        let passed = mask.values()
            & &mask.nulls().map_or_else(
                || arrow::buffer::BooleanBuffer::new_set(mask.len()),
                |nulls| nulls.inner().clone(),
            );
        let rows = passed.count_set_bits();
        if rows == columns.rows {
            return Ok(());
        }
        for array in &mut columns.arrays {
            *array = filter(array, mask)?;
        }
        columns.rows = rows;
        Ok(())
    }

    fn computed(&self, computed: &Computed, input: &Columns) -> Result<ArrayRef> {
        match computed {
            Computed::Column(index) => Ok(Arc::clone(&input.arrays[*index])),
            Computed::Known(known) => self.known(known)?.to_array_of_size(input.rows),
            // What is not there is not computed, and cannot fail.
            Computed::Evaluated(_, data_type) if input.rows == 0 => Ok(new_empty_array(data_type)),
            Computed::Evaluated(evaluated, _) => self.evaluate(evaluated, input),
        }
    }

    fn known<'a>(&'a self, known: &'a Known) -> Result<std::borrow::Cow<'a, ScalarValue>> {
        if matches!(known, Known::Param(NOW_INDEX)) {
            return Ok(std::borrow::Cow::Borrowed(self.now));
        }
        known.value(self.params).ok_or_else(|| {
            datafusion::error::DataFusionError::Internal(format!("{known:?} has no value"))
        })
    }

    fn evaluate(&self, evaluated: &Evaluated, input: &Columns) -> Result<ArrayRef> {
        let mut arrays = Vec::with_capacity(input.arrays.len() + evaluated.params.len());
        arrays.extend(input.arrays.iter().cloned());
        for param in evaluated.params.iter() {
            arrays.push(self.known(&Known::Param(*param))?.to_array_of_size(input.rows)?);
        }
        let batch = record_batch(&evaluated.schema, Columns { arrays, rows: input.rows })?;
        evaluated.expr.evaluate(&batch)?.into_array(input.rows)
    }

    fn values(&self, rows: &[Vec<Computed>], types: &[DataType]) -> Result<Columns> {
        let nothing = Columns { arrays: Vec::new(), rows: 1 };
        let mut arrays = Vec::with_capacity(types.len());
        for (column, wanted) in types.iter().enumerate() {
            let mut values = Vec::with_capacity(rows.len());
            for row in rows {
                let value = match &row[column] {
                    Computed::Known(known) => self.known(known)?.into_owned(),
                    computed => {
                        ScalarValue::try_from_array(&self.computed(computed, &nothing)?, 0)?
                    }
                };
                values.push(if value.data_type() == *wanted {
                    value
                } else {
                    value.cast_to(wanted)?
                });
            }
            arrays.push(ScalarValue::iter_to_array(values)?);
        }
        Ok(Columns { arrays, rows: rows.len() })
    }
}

/// Columns under the names of `schema`, whose types they have as a rule.
fn record_batch(schema: &SchemaRef, columns: Columns) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(columns.rows));
    let mut pairs = schema.fields().iter().zip(&columns.arrays);
    let as_planned = pairs.all(|(field, array)| field.data_type() == array.data_type());
    let schema = if as_planned {
        Arc::clone(schema)
    } else {
        // An expression may yield another type than was planned: what is there counts.
        let fields =
            schema.fields().iter().zip(&columns.arrays).map(|(field, array)| {
                Field::clone(field).with_data_type(array.data_type().clone())
            });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    Ok(RecordBatch::try_new_with_options(schema, columns.arrays, &options)?)
}
