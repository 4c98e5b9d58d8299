//! The short way for small plans: rows by primary key, VALUES, and what is computed from them,
//! without optimizer and operators.
//!
//! A plan is compiled once, parameters and all, and run any number of times: parameters stand
//! behind the columns of the row that an expression sees.

mod compile;
pub(super) mod turns;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_empty_array},
    compute::filter,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::{
    common::Result, logical_expr::LogicalPlan, logical_expr::execution_props::ExecutionProps,
    physical_expr::PhysicalExpr, scalar::ScalarValue,
};
use glaredb_txn::ids::TableId;

use super::errors::storage_error;
use crate::{
    error::SqlError,
    query::{
        errors::{external, sql_error},
        scan::{KeyLookup, Known, NOW_INDEX, StatementView},
    },
};

/// A plan that is run here.
#[derive(Debug)]
pub(super) struct PointPlan {
    root: Node,
    /// Names and types of its columns.
    schema: SchemaRef,
    /// By primary key: the only table it reads.
    lookup: Option<KeyLookup>,
}

/// What makes rows of some columns.
#[derive(Debug)]
enum Node {
    /// Rows without columns.
    Rows(usize),
    /// The row that the plan looks up.
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
        skip: usize,
        fetch: usize,
    },
    /// One row is sorted; more are not done here.
    Sorted(Box<Self>),
}

/// The columns of a row by key: those that are read, NULLs of their types for the others.
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
/// `plan` may hold placeholders; their values are given to [`PointPlan::run`].
pub(super) fn compile(plan: &LogicalPlan, props: &ExecutionProps) -> Option<PointPlan> {
    compile::compile(plan, props)
}

impl PointPlan {
    /// The table and the key of the row that it reads, if it reads one.
    pub(super) fn key(&self, params: &[ScalarValue]) -> Option<(TableId, Bytes)> {
        let lookup = self.lookup.as_ref()?;
        Some((lookup.table(), lookup.key(params)?))
    }

    /// What EXPLAIN shows of the row it reads, if it reads one.
    pub(super) fn explain(&self) -> Option<String> {
        self.lookup.as_ref().map(|lookup| format!("Point Lookup on {}, by key", lookup.name()))
    }

    /// Its rows, in one batch; `None` if these parameters take the long way.
    ///
    /// # Errors
    /// Whatever its expressions say.
    pub(super) fn run(
        &self,
        view: &StatementView,
        params: &[ScalarValue],
        now: &ScalarValue,
    ) -> std::result::Result<Option<RecordBatch>, SqlError> {
        self.batch(view, params, now).map_err(sql_error)
    }

    fn batch(
        &self,
        view: &StatementView,
        params: &[ScalarValue],
        now: &ScalarValue,
    ) -> Result<Option<RecordBatch>> {
        let key = match &self.lookup {
            None => None,
            Some(lookup) => match lookup.key(params) {
                None => return Ok(None),
                Some(key) => Some(key),
            },
        };
        let found = match (&self.lookup, &key) {
            (Some(lookup), Some(key)) => {
                let row = lookup.row(view, key).map_err(|error| external(storage_error(error)))?;
                Some(row)
            }
            _ => None,
        };
        let run = Run { params, now, found };
        let Some(columns) = run.node(&self.root)? else { return Ok(None) };
        record_batch(&self.schema, columns).map(Some)
    }
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
            Node::Limit { input, skip, fetch } => {
                let Some(input) = self.node(input)? else { return Ok(None) };
                let start = (*skip).min(input.rows);
                let rows = (*fetch).min(input.rows - start);
                let arrays = input.arrays.iter().map(|array| array.slice(start, rows)).collect();
                Ok(Some(Columns { arrays, rows }))
            }
            Node::Sorted(input) => Ok(self.node(input)?.filter(|columns| columns.rows <= 1)),
        }
    }

    fn looked_up(&self, lookup: &Lookup) -> Option<Columns> {
        let found = self.found.as_ref()?;
        let rows = found.num_rows();
        let arrays = lookup.columns.iter().map(|column| match column {
            LookupColumn::Read(index) => Arc::clone(found.column(*index)),
            LookupColumn::Unread(array) if array.len() == rows => Arc::clone(array),
            LookupColumn::Unread(array) => array.slice(0, rows),
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
        if *known == Known::Param(NOW_INDEX) {
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
