//! Functions about the length of arrays and parts of them.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StringViewArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Int32Type},
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{Item, collect, items, lists};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        memory::Memory,
        scalar::{self, function, infallible, internal, over_arrays_charged, sees_nulls, strict},
    },
    types::PgType,
};

/// What is asked of a dimension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The length, which is the upper bound, too.
    Length,
    Lower,
}

/// `array_length(array, dimension)` and kin: NULL of an empty array and other dimensions.
#[must_use]
pub fn bound(of: Bound) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Int32, move |args| {
        let list = lists(&args[0])?;
        let dimensions = args[1].as_primitive::<Int32Type>();
        let result = (0..list.len()).map(|row| {
            let length = items(list, row).len();
            let exists = length > 0 && dimensions.is_valid(row) && dimensions.value(row) == 1;
            exists.then_some(if of == Bound::Lower { 1 } else { length as i32 })
        });
        Ok(Arc::new(result.collect::<Int32Array>()) as ArrayRef)
    });
    infallible("array_bound", format!("{of:?}"), DataType::Int32, compute)
}

/// Number of elements.
#[must_use]
pub fn cardinality() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Int32, |args| {
        let list = lists(&args[0])?;
        let length = |row| list.is_valid(row).then(|| items(list, row).len() as i32);
        Ok(Arc::new((0..list.len()).map(length).collect::<Int32Array>()) as ArrayRef)
    });
    infallible("cardinality", "", DataType::Int32, compute)
}

/// `array_ndims(array)`: 1, or NULL of an empty one.
#[must_use]
pub fn dimensions() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Int32, |args| {
        let list = lists(&args[0])?;
        let dimensions = |row| (!items(list, row).is_empty()).then_some(1);
        Ok(Arc::new((0..list.len()).map(dimensions).collect::<Int32Array>()) as ArrayRef)
    });
    infallible("array_ndims", "", DataType::Int32, compute)
}

/// `array_dims(array)`: `[1:n]`.
#[must_use]
pub fn bounds_text() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, |args| {
        let list = lists(&args[0])?;
        let text = |row| {
            let length = items(list, row).len();
            (length > 0).then(|| format!("[1:{length}]"))
        };
        Ok(Arc::new((0..list.len()).map(text).collect::<StringViewArray>()) as ArrayRef)
    });
    infallible("array_dims", "", DataType::Utf8View, compute)
}

/// `array[i]`: NULL outside.
#[must_use]
pub fn element(of: &PgType) -> Arc<ScalarUDF> {
    let returns = of.arrow_type();
    let compute = strict(returns.clone(), |args| {
        let list = lists(&args[0])?;
        let indexes = args[1].as_primitive::<Int32Type>();
        let places: arrow::array::UInt32Array = (0..list.len())
            .map(|row| {
                let range = items(list, row);
                let index = indexes.is_valid(row).then(|| indexes.value(row))?;
                let index = usize::try_from(index).ok()?.checked_sub(1)?;
                (index < range.len()).then(|| (range.start + index) as u32)
            })
            .collect();
        arrow::compute::take(list.values(), &places, None).map_err(internal)
    });
    infallible("array_subscript", format!("{of:?}"), returns, compute)
}

/// `array[m:n]`: an array numbered from 1 again.
#[must_use]
pub fn slice(of: &PgType) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = strict(returns.clone(), move |args| {
        let list = lists(&args[0])?;
        let (lower, upper) =
            (args[1].as_primitive::<Int32Type>(), args[2].as_primitive::<Int32Type>());
        let rows = (0..list.len()).map(|row| {
            if list.is_null(row) || lower.is_null(row) || upper.is_null(row) {
                return None;
            }
            let range = items(list, row);
            let at = |index: i64| range.start + index.clamp(0, range.len() as i64) as usize;
            let (first, end) = (at(i64::from(lower.value(row)) - 1), at(upper.value(row).into()));
            Some((first..end.max(first)).map(|n| (0, n)).collect::<Vec<Item>>())
        });
        collect(&list_type, &[list.values().as_ref()], rows)
    });
    infallible("array_slice", format!("{of:?}"), returns, compute)
}

/// `trim_array(array, n)`: without the last n elements.
#[must_use]
pub fn trim(of: &PgType) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = strict(returns.clone(), move |args| {
        let list = lists(&args[0])?;
        let counts = args[1].as_primitive::<Int32Type>();
        let mut rows = Vec::with_capacity(list.len());
        for row in 0..list.len() {
            if list.is_null(row) || counts.is_null(row) {
                rows.push(None);
                continue;
            }
            let range = items(list, row);
            let count = usize::try_from(counts.value(row)).ok().filter(|n| *n <= range.len());
            let Some(count) = count else {
                let message =
                    format!("number of elements to trim must be between 0 and {}", range.len());
                return Err(SqlError::new(sqlstate::ARRAY_ELEMENT_ERROR, message));
            };
            rows.push(Some((range.start..range.end - count).map(|n| (0, n)).collect()));
        }
        collect(&list_type, &[list.values().as_ref()], rows.into_iter())
    });
    function("trim_array", format!("{of:?}"), returns, Volatility::Immutable, compute)
}

/// `array_fill(value, ARRAY[n])`.
#[must_use]
pub fn fill(of: &PgType) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let sizes = lists(&args[1])?;
        let lengths = sizes.values().as_primitive::<Int32Type>();
        let width = args[0].get_array_memory_size() / args[0].len().max(1);
        let mut rows = Vec::with_capacity(sizes.len());
        for row in 0..sizes.len() {
            let length = length_of(sizes, lengths, row)?;
            charge.add(length.saturating_mul(width + 16))?;
            rows.push(Some(vec![(0, row); length]));
        }
        let filled = collect(&list_type, &[args[0].as_ref()], rows.into_iter())?;
        charge.attach(filled)
    });
    sees_nulls("array_fill", format!("{of:?}"), returns, true, compute)
}

fn length_of(sizes: &ListArray, lengths: &Int32Array, row: usize) -> Result<usize, SqlError> {
    let null = |what: &str| {
        Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, format!("{what} cannot be null")))
    };
    if sizes.is_null(row) {
        return null("dimension array or low bound array");
    }
    match items(sizes, row) {
        range if range.is_empty() => Ok(0),
        range if range.len() > 1 => Err(SqlError::not_supported("arrays of more dimensions")),
        range if lengths.is_null(range.start) => null("dimension values"),
        range => {
            let length = lengths.value(range.start);
            let limit = crate::storage::codec::ARRAY_LEN_MAX;
            usize::try_from(length).ok().filter(|n| *n <= limit).ok_or_else(|| {
                let message = format!("array size exceeds the maximum allowed ({limit})");
                SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
            })
        }
    }
}

/// Arrays cast element by element; without a function, as Arrow casts.
#[must_use]
pub fn cast_items(to: &PgType, item: Option<Arc<ScalarUDF>>) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(to.clone())).arrow_type();
    let list_type = returns.clone();
    let variant = format!("{to:?} {item:?}");
    let compute = over_arrays_charged(move |args, memory| {
        let list = lists(&args[0])?;
        map_items(list, &list_type, |values| match &item {
            Some(udf) => scalar::evaluate(udf, values, memory),
            None => as_type(&values, &list_type),
        })
    });
    function("array_cast", variant, returns, Volatility::Immutable, compute)
}

fn as_type(values: &ArrayRef, list_type: &DataType) -> Result<ArrayRef, SqlError> {
    let DataType::List(field) = list_type else {
        return Err(internal(format!("{list_type} is no list")));
    };
    arrow::compute::cast(values, field.data_type()).map_err(internal)
}

/// Lists of the same lengths over other elements.
pub(super) fn map_items(
    list: &ListArray,
    list_type: &DataType,
    map: impl FnOnce(ArrayRef) -> Result<ArrayRef, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let DataType::List(field) = list_type else {
        return Err(internal(format!("{list_type} is no list")));
    };
    let offsets = list.value_offsets();
    let (first, end) = (offsets[0], offsets[list.len()]);
    let values = map(list.values().slice(first as usize, (end - first) as usize))?;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|end| end - first).collect();
    let mapped = ListArray::try_new(
        field.clone(),
        OffsetBuffer::new(offsets),
        values,
        list.nulls().cloned(),
    );
    Ok(Arc::new(mapped.map_err(internal)?))
}

/// Texts of the elements of arrays; see [`super::array_to_string`].
pub(in crate::query::functions) fn texts_of(
    print: Option<&Arc<ScalarUDF>>,
    values: &ArrayRef,
    memory: Memory<'_>,
) -> Result<ArrayRef, SqlError> {
    match print {
        None => Ok(values.clone()),
        Some(udf) => scalar::evaluate(udf, values.clone(), memory),
    }
}
