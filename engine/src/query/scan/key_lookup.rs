//! The row with a primary key, and values that are known before it is read.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::array_value_to_string,
};
use bytes::Bytes;
use datafusion::{
    common::{
        Column, DFSchema, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Cast, ColumnarValue, Expr, execution_props::ExecutionProps, expr::Placeholder,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{PhysicalExpr, create_physical_expr},
    scalar::ScalarValue,
};
use glaredb_txn::ids::Locator;

use super::{
    StatementView, StoredTable,
    exec::{ReadColumn, ReadColumns},
    key_condition::{Fit, fit},
    morsel::{own_row, read_own},
};
use crate::{
    query::functions::is_costly,
    storage::{
        StorageError,
        table::Table,
        warmed::{ColdReads, ReadError, Warmed},
        write_set::OwnKey,
    },
};

/// A value that is known before any row is read.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Literal(ScalarValue),
    /// `$n`, by index from 0; [`NOW_INDEX`] is `now()`.
    Param(usize),
    /// The same, cast to a wider type.
    Widened(usize, DataType),
    Computed(Arc<Computation>),
}

/// An expression over parameters.
#[derive(Debug)]
pub(crate) struct Computation {
    expr: Arc<dyn PhysicalExpr>,
    /// Of the parameters.
    schema: SchemaRef,
    params: Vec<usize>,
    /// For people.
    shown: String,
}

impl Known {
    /// `None` for an expression that is not one of these, or is computed.
    pub(crate) fn of(expr: &Expr) -> Option<Self> {
        Some(match expr {
            Expr::Literal(value, _) => Self::Literal(value.clone()),
            Expr::Placeholder(placeholder) => Self::Param(param_index(placeholder)?),
            Expr::Cast(Cast { expr, field }) => {
                let Expr::Placeholder(placeholder) = expr.as_ref() else { return None };
                let (from, to) = (placeholder.field.as_ref()?.data_type(), field.data_type());
                let widens = matches!(
                    (from, to),
                    (DataType::Int16, DataType::Int32 | DataType::Int64)
                        | (DataType::Int32, DataType::Int64)
                );
                if !widens {
                    return None;
                }
                Self::Widened(param_index(placeholder)?, to.clone())
            }
            _ => return None,
        })
    }

    /// The same, or one that is computed from parameters.
    pub(super) fn computed(expr: &Expr, props: &ExecutionProps) -> Option<Self> {
        Self::of(expr).or_else(|| Computation::of(expr, props).map(Arc::new).map(Self::Computed))
    }

    /// As EXPLAIN shows it.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Param(NOW_INDEX) => "now()".to_owned(),
            Self::Param(index) | Self::Widened(index, _) => format!("${}", index + 1),
            Self::Computed(computation) => computation.shown.clone(),
            Self::Literal(value) if value.is_null() => "NULL".to_owned(),
            Self::Literal(value) if value.data_type().is_numeric() => value.to_string(),
            Self::Literal(value) => {
                let text = value.to_array().ok();
                let text = text.and_then(|array| array_value_to_string(&array, 0).ok());
                format!("'{}'", text.unwrap_or_default().replace('\'', "''"))
            }
        }
    }

    /// `None` if there is no such parameter.
    pub(crate) fn value<'a>(&'a self, params: &'a [ScalarValue]) -> Option<Cow<'a, ScalarValue>> {
        match self {
            Self::Literal(value) => Some(Cow::Borrowed(value)),
            Self::Param(index) => params.get(*index).map(Cow::Borrowed),
            Self::Widened(index, to) => params.get(*index)?.cast_to(to).ok().map(Cow::Owned),
            Self::Computed(computation) => computation.value(params).map(Cow::Owned),
        }
    }
}

impl Computation {
    /// `None` if more than parameters goes into it, or it is another one each time.
    fn of(expr: &Expr, props: &ExecutionProps) -> Option<Self> {
        let mut fields: Vec<Field> = Vec::new();
        let mut params = Vec::new();
        if expr.is_volatile() {
            return None;
        }
        let over_params = expr.clone().transform(|expr| {
            let Expr::Placeholder(placeholder) = &expr else {
                return match &expr {
                    Expr::Literal(..) | Expr::Cast(_) | Expr::BinaryExpr(_) | Expr::Negative(_) => {
                        Ok(Transformed::no(expr))
                    }
                    Expr::ScalarFunction(call) if !is_costly(call.func.name()) => {
                        Ok(Transformed::no(expr))
                    }
                    other => plan_err!("{other} is not computed from parameters"),
                };
            };
            let (Some(index), Some(field)) = (param_index(placeholder), &placeholder.field) else {
                return plan_err!("{} has no type", placeholder.id);
            };
            if !params.contains(&index) {
                params.push(index);
                fields.push(Field::new(&placeholder.id, field.data_type().clone(), true));
            }
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(placeholder.id.clone()))))
        });
        // What is computed of nothing was computed by the planner, or errs.
        let over_params = over_params.ok().filter(|_| !params.is_empty())?.data;
        let schema = Arc::new(Schema::new(fields));
        let planned = DFSchema::try_from(Arc::clone(&schema)).ok()?;
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(&over_params, &planned, props, &context).ok()?;
        let shown = expr.human_display().to_string();
        Some(Self { expr: physical, schema, params, shown })
    }

    /// `None` if it errs: whether that counts is for those to say who look at rows.
    fn value(&self, params: &[ScalarValue]) -> Option<ScalarValue> {
        let values = self.params.iter().map(|index| params.get(*index)?.to_array().ok());
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), values.collect::<Option<_>>()?);
        match self.expr.evaluate(&batch.ok()?).ok()? {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok(),
        }
    }
}

/// Index of the placeholder [`NOW`](crate::query::planner::NOW).
pub(crate) const NOW_INDEX: usize = 65_535;

/// Index from 0 of a placeholder `$n`.
pub(crate) fn param_index(placeholder: &Placeholder) -> Option<usize> {
    placeholder.id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The key of these values, encoded; `Some(None)` if no row has it: a value is NULL, or greater than
/// its column's type has. `None` if one is of another type than its column.
pub(super) fn encode_key(
    table: &StoredTable,
    values: &[Known],
    params: &[ScalarValue],
) -> Option<Option<Bytes>> {
    let key = table.schema.key()?;
    let encoder = table.schema.key_encoder()?;
    let mut encoded = Vec::new();
    for (at, (ordinal, value)) in key.iter().zip(values).enumerate() {
        let value = value.value(params)?;
        let pg_type = &encoder.types()[at];
        match fit(&value, pg_type, table.schema.arrow().field(*ordinal).data_type())? {
            Fit::Value(value) => {
                encoder.encode_part(at, &value.to_array().ok()?, &mut encoded).ok()?;
            }
            Fit::Null | Fit::Below | Fit::Above => return Some(None),
        }
    }
    Some(Some(encoded.into()))
}

/// The row with that key, or none, in the columns to read.
pub(super) fn lookup(
    table: &StoredTable,
    view: &StatementView,
    key: &[u8],
    read: &ReadColumns,
) -> Result<RecordBatch, ReadError> {
    let mut own = view.own.as_ref().map(|own| own.lock());
    let writes = own.as_mut().and_then(|own| own.table_mut(table.id));
    match writes.as_ref().map_or(OwnKey::Untouched, |writes| writes.own_key(key)) {
        OwnKey::Removed => Ok(RecordBatch::new_empty(Arc::clone(read.schema()))),
        OwnKey::Row(ordinal) => {
            let batches = writes.map(|writes| writes.own_batches()).unwrap_or_default();
            let (batch, row) = own_row(&batches, ordinal).ok_or_else(|| {
                StorageError::Invalid(format!("own row {ordinal} of {} is gone", table.id))
            })?;
            Ok(batch_of(read, read_own(batch, &(row..row + 1), read.all()))?)
        }
        OwnKey::Untouched => {
            let Some((storage, at)) = view.storage(table.id) else {
                return Ok(RecordBatch::new_empty(Arc::clone(read.schema())));
            };
            let columns: Vec<usize> = read.ordinals().flatten().collect();
            let then = Some(read.then(&table.schema, &columns));
            let locator = match writes {
                Some(writes) => writes.find(&storage, key, at, then, &view.warmed)?,
                None => storage.lookup_and(key, at, then, &view.warmed)?,
            };
            drop(own);
            match locator {
                Some(locator) => {
                    let rows = stored_rows(table, &storage, &[locator], read, &view.warmed)?;
                    Ok(batch_of(read, rows)?)
                }
                None => Ok(RecordBatch::new_empty(Arc::clone(read.schema()))),
            }
        }
    }
}

/// The columns of committed rows, in the order given.
pub(super) fn stored_rows(
    table: &StoredTable,
    storage: &Table,
    locators: &[Locator],
    read: &ReadColumns,
    warmed: &Warmed,
) -> Result<Vec<ArrayRef>, ReadError> {
    let ordinals: Vec<usize> = read.ordinals().flatten().collect();
    let mut cold = ColdReads::default();
    let fetched = storage.fetch_as(&table.schema, locators, Some(&ordinals), warmed);
    let fetched = cold.note(fetched)?;
    let mut row_ids = None;
    if read.all().contains(&ReadColumn::RowId) {
        row_ids = cold.note(storage.fetch_row_ids(locators, warmed))?;
    }
    cold.finish()?;
    let mut fetched = fetched.iter().flat_map(RecordBatch::columns);
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(read.all().len());
    for column in read.all().iter() {
        arrays.push(match column {
            ReadColumn::Stored(_) => Arc::clone(fetched.next().ok_or_else(|| {
                StorageError::Invalid(format!("{} gave too few columns", table.id))
            })?),
            ReadColumn::Segment => {
                Arc::new(UInt64Array::from_iter_values(locators.iter().map(|l| l.segment.0)))
            }
            ReadColumn::Row => {
                Arc::new(UInt32Array::from_iter_values(locators.iter().map(|l| l.row)))
            }
            ReadColumn::RowId => {
                let ids = row_ids.iter().flatten();
                Arc::new(UInt64Array::from_iter_values(ids.map(|id| id.0)))
            }
        });
    }
    Ok(arrays)
}

fn batch_of(read: &ReadColumns, arrays: Vec<ArrayRef>) -> Result<RecordBatch, StorageError> {
    rows_of(read, arrays, 1)
}

/// Columns that were read, as a batch.
pub(super) fn rows_of(
    read: &ReadColumns,
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, StorageError> {
    let schema: Arc<Schema> = Arc::clone(read.schema());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| StorageError::Invalid(error.to_string()))
}
