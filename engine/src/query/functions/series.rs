//! `generate_series` and what else makes lists of rows.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{
        Array, ArrayBuilder, ArrayRef, AsArray, Int64Builder, ListBuilder, PrimitiveBuilder,
        StringViewBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{
        DataType, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
    },
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{
    datetime, given_up,
    memory::Memory,
    numeric::{Numeric, NumericColumn},
    scalar::{function, strict_charged},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{PgType, TimeZone},
};

/// Longest series: it is made as one list.
const LENGTH_MAX: usize = 50_000_000;
/// What making rows of a list takes beside it, per item, and charges to nobody: an index of 8 bytes
/// and a copy of the item.
const ROW_BYTES: usize = 16;

fn too_long() -> SqlError {
    SqlError::new(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!("generate_series gives more than {LENGTH_MAX} rows"),
    )
}

pub(in crate::query) fn zero_step() -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn list_type(of: &PgType) -> DataType {
    PgType::Array(Arc::new(of.clone())).arrow_type()
}

fn item_field(of: &PgType) -> Arc<arrow::datatypes::Field> {
    Arc::new(of.plan_field("item", true))
}

/// `generate_series(start, stop, step)` over int4 or int8.
pub fn integers(of: &PgType) -> Arc<ScalarUDF> {
    let returns = list_type(of);
    let item = of.clone();
    let compute = strict_charged(returns.clone(), move |args, memory| {
        if item == PgType::Int4 {
            series::<Int32Type>(args, &item, |v| v as i32, memory)
        } else {
            series::<Int64Type>(args, &item, |v| v, memory)
        }
    });
    function("generate_series", format!("{of:?}"), returns, Volatility::Immutable, compute)
}

fn series<T: arrow::array::ArrowPrimitiveType>(
    args: &[ArrayRef],
    of: &PgType,
    narrow: fn(i64) -> T::Native,
    memory: Memory<'_>,
) -> Result<ArrayRef, SqlError>
where
    i64: From<T::Native>,
{
    let columns: Vec<_> = args.iter().map(|a| a.as_primitive::<T>()).collect();
    let mut out = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(item_field(of));
    let mut charge = memory.charge();
    for row in 0..args[0].len() {
        given_up::check()?;
        if columns.iter().any(|c| c.is_null(row)) {
            out.append(false);
            continue;
        }
        let value = |i: usize| i128::from(i64::from(columns[i].value(row)));
        let (start, stop, step) = (value(0), value(1), value(2));
        if step == 0 {
            return Err(zero_step());
        }
        let mut next = start;
        // Division rounds to zero, so that a short way in the wrong direction would count as one.
        let way = stop - start;
        let count = if way.signum() * step.signum() < 0 { 0 } else { way / step + 1 };
        // All lists of a batch stand in one array.
        if count + out.values().len() as i128 > LENGTH_MAX as i128 {
            return Err(too_long());
        }
        charge.add(count as usize * (size_of::<T::Native>() + ROW_BYTES))?;
        while if step > 0 { next <= stop } else { next >= stop } {
            out.values().append_value(narrow(next as i64));
            next += step;
        }
        out.append(true);
    }
    charge.attach(Arc::new(out.finish()))
}

fn check_bound(value: &Numeric, what: &str) -> Result<(), SqlError> {
    let wrong = match value {
        Numeric::Finite(_) => return Ok(()),
        Numeric::NaN => "NaN",
        Numeric::Infinite(_) => "infinity",
    };
    let message = format!("{what} cannot be {wrong}");
    Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
}

/// `generate_series(start, stop, step)` over numerics.
pub fn numerics() -> Arc<ScalarUDF> {
    let of = PgType::Numeric(None);
    let returns = list_type(&of);
    let compute = strict_charged(returns.clone(), move |args, memory| {
        let mut charge = memory.charge();
        let columns = args.iter().map(NumericColumn::new).collect::<Result<Vec<_>, _>>()?;
        let mut out = ListBuilder::new(StringViewBuilder::new()).with_field(item_field(&of));
        for row in 0..args[0].len() {
            if args.iter().any(|a| a.is_null(row)) {
                out.append(false);
                continue;
            }
            let (mut next, stop) = (columns[0].value(row)?, columns[1].value(row)?);
            let step = columns[2].value(row)?;
            check_bound(&next, "start value")?;
            check_bound(&stop, "stop value")?;
            check_bound(&step, "step size")?;
            if step.is_zero() {
                return Err(zero_step());
            }
            let past = if step.sign() > 0 { Ordering::Greater } else { Ordering::Less };
            while next.compare(&stop) != past {
                given_up::check()?;
                if out.values().len() >= LENGTH_MAX {
                    return Err(too_long());
                }
                let text = next.to_string();
                charge.add(text.len() + 2 * ROW_BYTES)?;
                out.values().append_value(text);
                // A number that is too large is past the stop, whatever it is.
                let Ok(sum) = next.add(&step) else { break };
                next = sum;
            }
            out.append(true);
        }
        charge.attach(Arc::new(out.finish()))
    });
    function("generate_series", "numeric", returns, Volatility::Immutable, compute)
}

/// `generate_series(start, stop, step interval)` over timestamps.
pub fn timestamps(zone: Option<TimeZone>) -> Arc<ScalarUDF> {
    let of = if zone.is_some() { PgType::Timestamptz(None) } else { PgType::Timestamp(None) };
    let returns = list_type(&of);
    let compute = strict_charged(returns.clone(), move |args, memory| {
        let mut charge = memory.charge();
        let (start, stop) = (
            args[0].as_primitive::<TimestampMicrosecondType>(),
            args[1].as_primitive::<TimestampMicrosecondType>(),
        );
        let step = args[2].as_primitive::<IntervalMonthDayNanoType>();
        let mut out =
            ListBuilder::new(TimestampMicrosecondBuilder::new().with_data_type(of.arrow_type()))
                .with_field(item_field(&of));
        for row in 0..start.len() {
            if start.is_null(row) || stop.is_null(row) || step.is_null(row) {
                out.append(false);
                continue;
            }
            let (mut next, stop, step) = (start.value(row), stop.value(row), step.value(row));
            let days = i128::from(step.months) * 30 + i128::from(step.days);
            let direction =
                days * i128::from(datetime::DAY_US) * 1000 + i128::from(step.nanoseconds);
            if direction == 0 {
                return Err(zero_step());
            }
            let mut count = 0_usize;
            while if direction > 0 { next <= stop } else { next >= stop } {
                count += 1;
                if count > LENGTH_MAX {
                    return Err(too_long());
                }
                given_up::check()?;
                charge.add(size_of::<i64>() + ROW_BYTES)?;
                out.values().append_value(next);
                next = match zone {
                    Some(zone) => datetime::add_interval_local(next, step, 1, zone)?,
                    None => datetime::add_interval(next, step, 1)?,
                };
            }
            out.append(true);
        }
        charge.attach(Arc::new(out.finish()))
    });
    function(
        "generate_series",
        format!("timestamp {zone:?}"),
        returns,
        Volatility::Immutable,
        compute,
    )
}

/// The numbers 1… beside the elements of a list.
pub fn ordinals(list: &DataType) -> Arc<ScalarUDF> {
    let returns = list_type(&PgType::Int8);
    let compute = strict_charged(returns.clone(), |args, memory| {
        let mut charge = memory.charge();
        let lists = args[0].as_list::<i32>();
        let mut out = ListBuilder::new(Int64Builder::new()).with_field(item_field(&PgType::Int8));
        for row in 0..lists.len() {
            if lists.is_null(row) {
                out.append(false);
                continue;
            }
            charge.add(lists.value_length(row) as usize * size_of::<i64>())?;
            for number in 1..=i64::from(lists.value_length(row)) {
                out.values().append_value(number);
            }
            out.append(true);
        }
        charge.attach(Arc::new(out.finish()))
    });
    function("ordinality", list.to_string(), returns, Volatility::Immutable, compute)
}
