//! Filters that pin the whole primary key, and the row they pin.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    datatypes::{DataType, Schema},
};
use bytes::Bytes;
use datafusion::{
    logical_expr::{BinaryExpr, Cast, Expr, Operator, expr::Placeholder, utils::split_conjunction},
    scalar::ScalarValue,
};
use glaredb_txn::ids::Locator;

use super::{
    StatementView, StoredTable,
    exec::{ReadColumn, ReadColumns},
    morsel::{own_row, read_own},
};
use crate::storage::{StorageError, table::Table, write_set::OwnKey};

/// A value that is known before any row is read.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Known {
    Literal(ScalarValue),
    /// `$n`, by index from 0; [`NOW_INDEX`] is `now()`.
    Param(usize),
    /// The same, cast to a wider type.
    Widened(usize, DataType),
}

impl Known {
    /// `None` for an expression that is not one of these.
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

    /// `None` if there is no such parameter.
    pub(crate) fn value<'a>(&'a self, params: &'a [ScalarValue]) -> Option<Cow<'a, ScalarValue>> {
        match self {
            Self::Literal(value) => Some(Cow::Borrowed(value)),
            Self::Param(index) => params.get(*index).map(Cow::Borrowed),
            Self::Widened(index, to) => params.get(*index)?.cast_to(to).ok().map(Cow::Owned),
        }
    }
}

/// Index of the placeholder [`NOW`](crate::query::planner::NOW).
pub(crate) const NOW_INDEX: usize = 65_535;

/// Index from 0 of a placeholder `$n`.
pub(crate) fn param_index(placeholder: &Placeholder) -> Option<usize> {
    placeholder.id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The primary key that `column = value` filters name, in key order; `None` if they do not name it
/// whole.
pub(crate) fn pinned_values<'a>(
    table: &StoredTable,
    filters: impl IntoIterator<Item = &'a Expr>,
) -> Option<Vec<Known>> {
    let key = table.schema.key()?;
    let mut values: Vec<Option<Known>> = vec![None; key.len()];
    for conjunct in filters.into_iter().flat_map(split_conjunction) {
        let Some((column, value)) = equality(conjunct) else { continue };
        let position =
            key.iter().position(|ordinal| table.schema.columns()[*ordinal].name == *column);
        if let (Some(position), Some(value)) = (position, Known::of(value)) {
            values[position] = Some(value);
        }
    }
    values.into_iter().collect()
}

/// The key of these values, encoded; `None` if one is NULL or not of its column's type.
pub(crate) fn encode_key(
    table: &StoredTable,
    values: &[Known],
    params: &[ScalarValue],
) -> Option<Bytes> {
    let key = table.schema.key()?;
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(key.len());
    for (ordinal, value) in key.iter().zip(values) {
        let value = value.value(params)?;
        let wanted = table.schema.arrow().field(*ordinal).data_type();
        // NULL equals nothing; leave that, and other types, to the scan.
        if value.is_null() || value.data_type() != *wanted {
            return None;
        }
        arrays.push(value.to_array().ok()?);
    }
    table.schema.key_encoder()?.encode(&arrays, 0).ok()
}

/// The key that `column = value` filters name, encoded; `None` if they do not name it whole, or
/// name NULL, or values that are not of the column's type.
pub(super) fn pinned_key<'a>(
    table: &StoredTable,
    filters: impl IntoIterator<Item = &'a Expr>,
) -> Option<Bytes> {
    encode_key(table, &pinned_values(table, filters)?, &[])
}

fn equality(expr: &Expr) -> Option<(&String, &Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = expr else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), Expr::Column(_)) => None,
        (Expr::Column(column), value) | (value, Expr::Column(column)) => {
            Some((&column.name, value))
        }
        _ => None,
    }
}

/// The row with that key, or none, in the columns to read.
pub(super) fn lookup(
    table: &StoredTable,
    view: &StatementView,
    key: &[u8],
    read: &ReadColumns,
) -> Result<RecordBatch, StorageError> {
    let own = view.own.as_ref().map(|own| own.lock());
    let writes = own.as_ref().and_then(|own| own.table(table.id));
    match writes.map_or(OwnKey::Untouched, |writes| writes.own_key(key)) {
        OwnKey::Removed => Ok(RecordBatch::new_empty(Arc::clone(read.schema()))),
        OwnKey::Row(ordinal) => {
            let batches = writes.map(|writes| writes.own_batches()).unwrap_or_default();
            let (batch, row) = own_row(&batches, ordinal).ok_or_else(|| {
                StorageError::Invalid(format!("own row {ordinal} of {} is gone", table.id))
            })?;
            batch_of(read, read_own(batch, &(row..row + 1), read.all()))
        }
        OwnKey::Untouched => {
            let Some(storage) = view.database.table(table.id) else {
                return Ok(RecordBatch::new_empty(Arc::clone(read.schema())));
            };
            let at = view.snapshot.timestamp();
            let locator = match writes {
                Some(writes) => writes.find(&storage, key, at),
                None => storage.lookup(key, at),
            };
            drop(own);
            stored_row(table, &storage, locator, read)
        }
    }
}

fn stored_row(
    table: &StoredTable,
    storage: &Table,
    locator: Option<Locator>,
    read: &ReadColumns,
) -> Result<RecordBatch, StorageError> {
    let Some(locator) = locator else {
        return Ok(RecordBatch::new_empty(Arc::clone(read.schema())));
    };
    let locators: [Locator; 1] = [locator];
    let ordinals: Vec<usize> = read.ordinals().flatten().collect();
    let fetched = storage.fetch_as(&table.schema, &locators, Some(&ordinals))?;
    let mut fetched = fetched.columns().iter();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(read.all().len());
    for column in read.all().iter() {
        arrays.push(match column {
            ReadColumn::Stored(_) => Arc::clone(fetched.next().ok_or_else(|| {
                StorageError::Invalid(format!("{} gave too few columns", table.id))
            })?),
            ReadColumn::Segment => Arc::new(UInt64Array::from_value(locator.segment.0, 1)),
            ReadColumn::Row => Arc::new(UInt32Array::from_value(locator.row, 1)),
            ReadColumn::RowId => {
                let ids = storage.fetch_row_ids(&locators)?;
                Arc::new(UInt64Array::from_iter_values(ids.iter().map(|id| id.0)))
            }
        });
    }
    batch_of(read, arrays)
}

fn batch_of(read: &ReadColumns, arrays: Vec<ArrayRef>) -> Result<RecordBatch, StorageError> {
    let schema: Arc<Schema> = Arc::clone(read.schema());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| StorageError::Invalid(error.to_string()))
}
