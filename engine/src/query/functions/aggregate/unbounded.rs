//! `sum`, `min` and `max` over numerics of any size.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, AsArray};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::Accumulator,
};

use crate::{
    error::SqlError,
    query::{
        errors::external,
        functions::{
            decimal::Decimal,
            numeric::{Infinite, Numeric},
        },
    },
};

/// Calls `add` for each value of a column of canonical text.
pub(super) fn for_each(
    array: &ArrayRef,
    mut add: impl FnMut(Numeric) -> std::result::Result<(), SqlError>,
) -> Result<()> {
    for text in array.as_string_view().iter().flatten() {
        let Some(value) = Numeric::parse(text) else {
            return Err(external(SqlError::internal(format!("{text:?} as a numeric value"))));
        };
        add(value).map_err(external)?;
    }
    Ok(())
}

/// A sum whose values can be taken out again: those that are not finite are counted.
#[derive(Default, Debug)]
pub(super) struct NumericSum {
    finite: Option<Decimal>,
    nans: i64,
    above: i64,
    below: i64,
    count: i64,
}

impl NumericSum {
    fn apply(&mut self, value: Numeric, sign: i64) {
        self.count += sign;
        match value {
            Numeric::NaN => self.nans += sign,
            Numeric::Infinite(Infinite::Above) => self.above += sign,
            Numeric::Infinite(Infinite::Below) => self.below += sign,
            Numeric::Finite(value) => {
                let value = if sign < 0 { value.negate() } else { value };
                self.finite = Some(match self.finite.take() {
                    None => value,
                    Some(sum) => sum.add(&value),
                });
            }
        }
    }

    /// The sum; `None` of no values.
    fn value(&self) -> std::result::Result<Option<Numeric>, SqlError> {
        if self.count == 0 {
            return Ok(None);
        }
        let sum = if self.nans > 0 || self.above > 0 && self.below > 0 {
            Numeric::NaN
        } else if self.above > 0 {
            Numeric::Infinite(Infinite::Above)
        } else if self.below > 0 {
            Numeric::Infinite(Infinite::Below)
        } else {
            let sum = self.finite.clone().unwrap_or_else(|| Decimal::new(0, 0));
            Numeric::Finite(sum.checked()?)
        };
        Ok(Some(sum))
    }
}

impl Accumulator for NumericSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(&values[0], |value| {
            self.apply(value, 1);
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(&values[0], |value| {
            self.apply(value, -1);
            Ok(())
        })?;
        if self.count == 0 {
            *self = Self::default();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.value().map_err(external)?;
        Ok(ScalarValue::Utf8View(sum.map(|sum| sum.to_string())))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + 64
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// The least or the greatest value.
#[derive(Debug)]
pub(super) struct Extreme {
    /// How a better value compares with the best so far.
    pub(super) wanted: Ordering,
    pub(super) best: Option<Numeric>,
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(&values[0], |value| {
            // Among equals (1.0, 1.00) the last counts.
            let lost = self.wanted.reverse();
            if self.best.as_ref().is_none_or(|best| value.compare(best) != lost) {
                self.best = Some(value);
            }
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8View(self.best.as_ref().map(ToString::to_string)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + 64
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
