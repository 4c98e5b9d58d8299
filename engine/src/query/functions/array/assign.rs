//! Arrays with other elements: what an assignment to `column[i]` and `column[m:n]` makes of the
//! column's value.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, new_null_array},
    datatypes::{DataType, Int32Type},
};
use datafusion::logical_expr::ScalarUDF;

use super::{Item, collect, items, lists};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::scalar::{internal, over_arrays_charged, sees_nulls},
    storage::codec::ARRAY_LEN_MAX,
    types::PgType,
};

/// Which of the columns that a result is put together of an item comes from.
const OLD: usize = 0;
const NEW: usize = 1;
const NOTHING: Item = (2, 0);

fn subscript_error(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::ARRAY_ELEMENT_ERROR, message)
}

/// The place, counted from 0, that a subscript names.
fn place(subscript: Option<i32>) -> Result<usize, SqlError> {
    let Some(subscript) = subscript else {
        let message = "array subscript in assignment must not be null";
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
    };
    let place = i64::from(subscript) - 1;
    usize::try_from(place).map_err(|_| SqlError::not_supported("an array with lower bounds"))
}

fn check_length(length: usize) -> Result<(), SqlError> {
    if length <= ARRAY_LEN_MAX {
        return Ok(());
    }
    let message = format!("array size exceeds the maximum allowed ({ARRAY_LEN_MAX})");
    Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
}

fn int(args: &[ArrayRef], n: usize, row: usize) -> Option<i32> {
    let column = args[n].as_primitive::<Int32Type>();
    column.is_valid(row).then(|| column.value(row))
}

/// Replaces the items of a row from `start` on by `new`. What lies between the old end and the
/// start becomes NULL.
fn replaced(
    old: std::ops::Range<usize>,
    start: usize,
    new: Vec<Item>,
) -> Result<Vec<Item>, SqlError> {
    let end = start.saturating_add(new.len());
    check_length(end.max(old.len()))?;
    if old.is_empty() && start > 0 {
        // PostgreSQL numbers such an array from the subscript on.
        return Err(SqlError::not_supported("an array with lower bounds"));
    }
    let mut all: Vec<Item> = old.map(|item| (OLD, item)).collect();
    if all.len() < end {
        all.resize(end, NOTHING);
    }
    all[start..end].copy_from_slice(&new);
    Ok(all)
}

/// `array[i] = value`: (array, subscript, value). An array that is NULL counts as empty.
#[must_use]
pub fn set_element(of: &PgType) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let list = lists(&args[0])?;
        let mut rows = Vec::with_capacity(list.len());
        for row in 0..list.len() {
            let start = place(int(args, 1, row))?;
            let row = replaced(items(list, row), start, vec![(NEW, row)])?;
            charge.add(row.len().saturating_mul(size_of::<Item>()))?;
            rows.push(Some(row));
        }
        let made = merged(&list_type, list, &args[2], rows)?;
        charge.attach(made)
    });
    sees_nulls("array_set_element", format!("{of:?}"), returns, true, compute)
}

/// `array[m:n] = source`: (array, m, n, source). `given`: whether m and n were written. A source
/// that is NULL changes nothing.
#[must_use]
pub fn set_slice(of: &PgType, given: (bool, bool)) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let (list, source) = (lists(&args[0])?, lists(&args[3])?);
        let mut rows = Vec::with_capacity(list.len());
        for row in 0..list.len() {
            let old = items(list, row);
            let lower = if given.0 { Some(int(args, 1, row)) } else { None };
            let upper = if given.1 { Some(int(args, 2, row)) } else { None };
            let changed = if source.is_null(row) {
                old.map(|item| (OLD, item)).collect()
            } else {
                let (start, length) = bounds(&old, lower, upper)?;
                let new: Vec<Item> =
                    items(source, row).take(length).map(|item| (NEW, item)).collect();
                if new.len() < length {
                    return Err(subscript_error("source array too small"));
                }
                replaced(old, start, new)?
            };
            charge.add(changed.len().saturating_mul(size_of::<Item>()))?;
            rows.push(Some(changed));
        }
        let made = merged(&list_type, list, source.values(), rows)?;
        charge.attach(made)
    });
    sees_nulls("array_set_slice", format!("{of:?} {given:?}"), returns, true, compute)
}

/// First place and length of a slice. `None`: that end was left out.
fn bounds(
    old: &std::ops::Range<usize>,
    lower: Option<Option<i32>>,
    upper: Option<Option<i32>>,
) -> Result<(usize, usize), SqlError> {
    if old.is_empty() && (lower.is_none() || upper.is_none()) {
        return Err(subscript_error("array slice subscript must provide both boundaries").detail(
            "When assigning to a slice of an empty array value, slice boundaries must be fully \
             specified.",
        ));
    }
    let null = || {
        let message = "array subscript in assignment must not be null";
        SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message)
    };
    let lower = lower.unwrap_or(Some(1)).ok_or_else(null)?;
    let upper = upper.unwrap_or(Some(old.len() as i32)).ok_or_else(null)?;
    if lower > upper {
        if old.is_empty() {
            return Ok((0, 0));
        }
        return Err(subscript_error("upper bound cannot be less than lower bound"));
    }
    let length = (i64::from(upper) - i64::from(lower) + 1) as usize;
    check_length(length)?;
    Ok((place(Some(lower))?, length))
}

fn merged(
    list_type: &DataType,
    list: &ListArray,
    new: &ArrayRef,
    rows: Vec<Option<Vec<Item>>>,
) -> Result<ArrayRef, SqlError> {
    let DataType::List(field) = list_type else {
        return Err(internal(format!("{list_type} is no list")));
    };
    let nothing = new_null_array(field.data_type(), 1);
    let sources = [list.values().as_ref(), new.as_ref(), nothing.as_ref()];
    collect(list_type, &sources, rows.into_iter())
}
