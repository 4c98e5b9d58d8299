//! What ordered-set aggregates make of the ordered list of their values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, ListArray, UInt32Array, make_comparator,
        new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{SortOptions, take},
    datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};

use super::{given_up, scalar};
use crate::error::{SqlError, sqlstate};

/// `mode`: of a list and the keys by which its values are equal, both in order, the first of the
/// values that come most often.
#[must_use]
pub fn mode(returns: DataType) -> Arc<ScalarUDF> {
    let shown = returns.clone();
    scalar::infallible(
        "mode",
        returns.to_string(),
        returns,
        Arc::new(move |args, rows, _| {
            let arrays = columns(args, rows)?;
            let (lists, keys) = (arrays[0].as_list::<i32>(), arrays[1].as_list::<i32>());
            let mut places = Vec::with_capacity(rows);
            for row in 0..rows {
                if lists.is_null(row) || lists.value_length(row) == 0 {
                    places.push(None);
                    continue;
                }
                let start = lists.value_offsets()[row];
                places.push(
                    u32::try_from(start)
                        .ok()
                        .and_then(|start| Some(start + most_frequent(&keys.value(row)).ok()?)),
                );
            }
            gathered(lists.values(), places, &shown)
        }),
    )
}

/// Where the longest run of equal values begins.
fn most_frequent(keys: &ArrayRef) -> Result<u32, SqlError> {
    let compare = make_comparator(keys, keys, SortOptions::default()).map_err(scalar::internal)?;
    let (mut best, mut longest, mut begin) = (0, 0, 0);
    for place in 1..=keys.len() {
        given_up::check()?;
        if place == keys.len() || compare(begin, place).is_ne() {
            if place - begin > longest {
                (best, longest) = (begin, place - begin);
            }
            begin = place;
        }
    }
    u32::try_from(best).map_err(scalar::internal)
}

/// `percentile_cont` or `percentile_disc` of an ordered list, at one fraction or, if `returns` is a
/// list of what the list holds, at each of a list of fractions.
#[must_use]
pub fn percentile(continuous: bool, returns: DataType) -> Arc<ScalarUDF> {
    let name = if continuous { "percentile_cont" } else { "percentile_disc" };
    let shown = returns.clone();
    scalar::function(
        name,
        returns.to_string(),
        returns,
        Volatility::Immutable,
        Arc::new(move |args, rows, _| {
            let arrays = columns(args, rows)?;
            let lists = arrays[0].as_list::<i32>();
            match arrays[1].as_list_opt::<i32>() {
                None => {
                    let fractions = arrays[1].as_primitive::<Float64Type>();
                    let wanted = (0..rows).map(|row| (row, fraction(fractions, row)));
                    Ok(ColumnarValue::Array(values_at(lists, wanted.collect(), continuous)?))
                }
                Some(fractions) => at_each(lists, fractions, continuous, &shown),
            }
        }),
    )
}

fn fraction(fractions: &Float64Array, row: usize) -> Option<f64> {
    fractions.is_valid(row).then(|| fractions.value(row))
}

fn at_each(
    lists: &ListArray,
    fractions: &ListArray,
    continuous: bool,
    returns: &DataType,
) -> Result<ColumnarValue, SqlError> {
    let (mut wanted, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..lists.len() {
        let there = lists.is_valid(row) && lists.value_length(row) > 0 && fractions.is_valid(row);
        valid.push(there);
        let before = wanted.len();
        if there {
            let values = fractions.value(row);
            let values = values.as_primitive::<Float64Type>();
            wanted.extend((0..values.len()).map(|index| (row, fraction(values, index))));
        }
        lengths.push(wanted.len() - before);
    }
    let values = values_at(lists, wanted, continuous)?;
    let DataType::List(item) = returns else {
        return Err(SqlError::internal(format!("percentiles as {returns}")));
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(Arc::clone(item), offsets, values, Some(NullBuffer::from(valid)))
        .map_err(scalar::internal)?;
    Ok(ColumnarValue::Array(Arc::new(list)))
}

/// The values of lists at fractions.
fn values_at(
    lists: &ListArray,
    wanted: Vec<(usize, Option<f64>)>,
    continuous: bool,
) -> Result<ArrayRef, SqlError> {
    let (mut low, mut high, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (row, fraction) in wanted {
        if let Some(fraction) = fraction
            && !(0.0..=1.0).contains(&fraction)
        {
            let message = format!("percentile value {fraction} is not between 0 and 1");
            return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
        let length = if lists.is_null(row) { 0 } else { lists.value_length(row) };
        let (Some(fraction), 1..) = (fraction, length) else {
            low.push(None);
            high.push(None);
            shares.push(0.0);
            continue;
        };
        let start = f64::from(lists.value_offsets()[row]);
        let (first, second, share) = if continuous {
            let place = fraction * f64::from(length - 1);
            (place.floor(), place.ceil(), place - place.floor())
        } else {
            let place = ((fraction * f64::from(length)).ceil() - 1.0).max(0.0);
            (place, place, 0.0)
        };
        low.push(Some((start + first) as u32));
        high.push(Some((start + second) as u32));
        shares.push(share);
    }
    let values = lists.values();
    let at = |places: Vec<Option<u32>>| {
        take(values, &UInt32Array::from(places), None).map_err(scalar::internal)
    };
    let (low, high) = (at(low)?, at(high)?);
    if !continuous {
        return Ok(low);
    }
    if let (Some(low), Some(high)) =
        (low.as_primitive_opt::<Float64Type>(), high.as_primitive_opt::<Float64Type>())
    {
        let between = |index: usize, (low, high): (Option<f64>, Option<f64>)| {
            let (low, high) = (low?, high?);
            let share = shares[index];
            Some(if share == 0.0 { low } else { low + share * (high - low) })
        };
        let pairs = low.iter().zip(high.iter()).enumerate();
        let result: Float64Array = pairs.map(|(index, pair)| between(index, pair)).collect();
        return Ok(Arc::new(result));
    }
    let (Some(low), Some(high)) = (
        low.as_primitive_opt::<IntervalMonthDayNanoType>(),
        high.as_primitive_opt::<IntervalMonthDayNanoType>(),
    ) else {
        return Err(SqlError::internal(format!("a percentile between {}", low.data_type())));
    };
    let mut result = Vec::with_capacity(low.len());
    for (index, (low, high)) in low.iter().zip(high.iter()).enumerate() {
        result.push(match (low, high) {
            (Some(low), Some(high)) => Some(interval_between(low, high, shares[index])?),
            _ => None,
        });
    }
    let result: arrow::array::IntervalMonthDayNanoArray = result.into_iter().collect();
    Ok(Arc::new(result))
}

fn interval_between(
    low: IntervalMonthDayNano,
    high: IntervalMonthDayNano,
    share: f64,
) -> Result<IntervalMonthDayNano, SqlError> {
    if share == 0.0 {
        return Ok(low);
    }
    let overflow = || SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range");
    let difference = IntervalMonthDayNano::new(
        high.months.checked_sub(low.months).ok_or_else(overflow)?,
        high.days.checked_sub(low.days).ok_or_else(overflow)?,
        high.nanoseconds.checked_sub(low.nanoseconds).ok_or_else(overflow)?,
    );
    let part = super::datetime::scale_interval(difference, |part| part * share)?;
    Ok(IntervalMonthDayNano::new(
        low.months.checked_add(part.months).ok_or_else(overflow)?,
        low.days.checked_add(part.days).ok_or_else(overflow)?,
        low.nanoseconds.checked_add(part.nanoseconds).ok_or_else(overflow)?,
    ))
}

/// A list without the values that equal the one before, by a list of keys. Both are in order.
#[must_use]
pub fn distinct(returns: DataType) -> Arc<ScalarUDF> {
    let shown = returns.clone();
    scalar::infallible(
        "distinct_list",
        returns.to_string(),
        returns,
        Arc::new(move |args, rows, _| {
            let arrays = columns(args, rows)?;
            let (lists, keys) = (arrays[0].as_list::<i32>(), arrays[1].as_list::<i32>());
            let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
            for row in 0..rows {
                let before = places.len();
                if lists.is_valid(row) {
                    let keys = keys.value(row);
                    let compare = make_comparator(&keys, &keys, SortOptions::default())
                        .map_err(scalar::internal)?;
                    let start = lists.value_offsets()[row].unsigned_abs();
                    for place in 0..keys.len() {
                        given_up::check()?;
                        if place == 0 || compare(place - 1, place).is_ne() {
                            places.push(start + place as u32);
                        }
                    }
                }
                lengths.push(places.len() - before);
            }
            let values =
                take(lists.values(), &UInt32Array::from(places), None).map_err(scalar::internal)?;
            let DataType::List(item) = &shown else {
                return Err(SqlError::internal(format!("distinct values as {shown}")));
            };
            let offsets = OffsetBuffer::from_lengths(lengths);
            let list =
                ListArray::try_new(Arc::clone(item), offsets, values, lists.nulls().cloned())
                    .map_err(scalar::internal)?;
            Ok(ColumnarValue::Array(Arc::new(list)))
        }),
    )
}

/// `string_agg`: the values of a list that are not NULL, each but the first behind its delimiter
/// (of a list beside it, or one for all); NULL if there are none. Texts or byte strings.
#[must_use]
pub fn joined(bytes: bool) -> Arc<ScalarUDF> {
    let returns = if bytes { DataType::Binary } else { DataType::Utf8View };
    scalar::sees_nulls(
        "string_agg",
        if bytes { "bytea" } else { "text" },
        returns,
        true,
        Arc::new(move |args, rows, memory| {
            let arrays = columns(args, rows)?;
            let (lists, delimiters) = (arrays[0].as_list::<i32>(), &arrays[1]);
            let mut charge = memory.charge();
            let mut results: Vec<Option<Vec<u8>>> = Vec::with_capacity(rows);
            for row in 0..rows {
                let mut result: Option<Vec<u8>> = None;
                if lists.is_valid(row) {
                    let values = lists.value(row);
                    let between = delimiters.as_list_opt::<i32>().map(|list| list.value(row));
                    for place in 0..values.len() {
                        given_up::check()?;
                        let Some(value) = bytes_at(&values, place) else { continue };
                        let joined = match &mut result {
                            None => result.insert(Vec::new()),
                            Some(joined) => {
                                let delimiter = match &between {
                                    Some(between) => bytes_at(between, place),
                                    None => bytes_at(delimiters, row),
                                };
                                joined.extend_from_slice(delimiter.unwrap_or(b""));
                                joined
                            }
                        };
                        joined.extend_from_slice(value);
                    }
                }
                let length = result.as_ref().map_or(0, Vec::len);
                memory.check_value(length)?;
                charge.add(length)?;
                results.push(result);
            }
            let text = |bytes: Option<Vec<u8>>| {
                bytes.map(|bytes| String::from_utf8(bytes).map_err(scalar::internal)).transpose()
            };
            let results: ArrayRef = match bytes {
                true => Arc::new(results.into_iter().collect::<arrow::array::BinaryArray>()),
                false => {
                    let texts: Result<arrow::array::StringViewArray, SqlError> =
                        results.into_iter().map(text).collect();
                    Arc::new(texts?)
                }
            };
            Ok(ColumnarValue::Array(charge.attach(results)?))
        }),
    )
}

fn bytes_at(values: &ArrayRef, place: usize) -> Option<&[u8]> {
    if values.is_null(place) {
        return None;
    }
    match values.data_type() {
        DataType::Binary => Some(values.as_binary::<i32>().value(place)),
        _ => Some(values.as_string_view().value(place).as_bytes()),
    }
}

fn gathered(
    values: &ArrayRef,
    places: Vec<Option<u32>>,
    returns: &DataType,
) -> Result<ColumnarValue, SqlError> {
    if values.is_empty() {
        return Ok(ColumnarValue::Array(new_null_array(returns, places.len())));
    }
    let found = take(values, &UInt32Array::from(places), None).map_err(scalar::internal)?;
    Ok(ColumnarValue::Array(found))
}

fn columns(args: &[ColumnarValue], rows: usize) -> Result<Vec<ArrayRef>, SqlError> {
    let array = |arg: &ColumnarValue| arg.clone().into_array(rows).map_err(scalar::internal);
    args.iter().map(array).collect()
}
