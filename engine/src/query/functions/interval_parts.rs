//! Intervals taken apart and put together, as their sums need it.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray},
    datatypes::{DataType, Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    datetime::{interval_out_of_range, named},
    scalar::{infallible, strict},
};
use crate::types::PgType;

/// A part of an interval: its months (0), days (1) or microseconds (2).
pub fn interval_part(part: u8) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Int64, move |args| {
        let values = args[0].as_primitive::<IntervalMonthDayNanoType>();
        let of = |v: IntervalMonthDayNano| match part {
            0 => i64::from(v.months),
            1 => i64::from(v.days),
            _ => v.nanoseconds / 1000,
        };
        let parts: Int64Array = values.iter().map(|v| v.map(of)).collect();
        Ok(Arc::new(parts) as ArrayRef)
    });
    // Plans tell expressions apart by how they are shown.
    let name = ["interval_months", "interval_days", "interval_us"][usize::from(part.min(2))];
    infallible(name, "", DataType::Int64, compute)
}

/// An interval of so many months, days and microseconds, each a Decimal128.
pub fn interval_of_parts() -> Arc<ScalarUDF> {
    named("interval_of_parts", "", &PgType::Interval(None), |args| {
        let part = |index: usize| args[index].as_primitive::<Decimal128Type>();
        let (months, days, us) = (part(0), part(1), part(2));
        let of = |row: usize| {
            Some(IntervalMonthDayNano::new(
                i32::try_from(months.value(row)).ok()?,
                i32::try_from(days.value(row)).ok()?,
                i64::try_from(us.value(row)).ok()?.checked_mul(1000)?,
            ))
        };
        let mut result = Vec::with_capacity(months.len());
        for row in 0..months.len() {
            let there = months.is_valid(row) && days.is_valid(row) && us.is_valid(row);
            result.push(match there {
                true => Some(of(row).ok_or_else(interval_out_of_range)?),
                false => None,
            });
        }
        Ok(Arc::new(IntervalMonthDayNanoArray::from(result)))
    })
}
