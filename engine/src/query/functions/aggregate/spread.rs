//! Variance and standard deviation of numerics of any size, exact.

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::Int64Type,
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::Accumulator,
};

use super::unbounded::for_each;
use crate::{
    error::SqlError,
    query::{
        errors::external,
        functions::{decimal::Decimal, numeric::Numeric},
    },
};

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Spread {
    /// Of a sample, not of the whole population.
    pub sample: bool,
    /// The deviation: the variance's root.
    pub root: bool,
}

impl Spread {
    pub(super) fn name(self) -> &'static str {
        match (self.root, self.sample) {
            (true, true) => "stddev_samp",
            (true, false) => "stddev_pop",
            (false, true) => "var_samp",
            (false, false) => "var_pop",
        }
    }
}

#[derive(Debug)]
pub(super) struct SpreadAccumulator {
    spread: Spread,
    sum: Decimal,
    squares: Decimal,
    /// All values; those that are not finite.
    count: i64,
    special: i64,
}

impl SpreadAccumulator {
    pub(super) fn new(spread: Spread) -> Self {
        let zero = || Decimal::new(0, 0);
        Self { spread, sum: zero(), squares: zero(), count: 0, special: 0 }
    }

    fn apply(&mut self, value: &Numeric, sign: i64) {
        self.count += sign;
        let Some(value) = value.finite() else {
            self.special += sign;
            return;
        };
        let square = value.exact_product(value);
        if sign > 0 {
            self.sum = self.sum.add(value);
            self.squares = self.squares.add(&square);
        } else {
            self.sum = self.sum.subtract(value);
            self.squares = self.squares.subtract(&square);
        }
    }

    fn value(&self) -> std::result::Result<Option<Numeric>, SqlError> {
        if self.count == 0 || self.spread.sample && self.count == 1 {
            return Ok(None);
        }
        if self.special > 0 {
            return Ok(Some(Numeric::NaN));
        }
        let count = Decimal::new(self.count, 0);
        let divisor = Decimal::new(if self.spread.sample { self.count - 1 } else { self.count }, 0);
        let spread = count.exact_product(&self.squares);
        let spread = spread.subtract(&self.sum.exact_product(&self.sum));
        if spread.is_zero() || spread.is_negative() {
            return Ok(Some(Decimal::new(0, 0).into()));
        }
        let variance = spread.divide(&count.multiply(&divisor))?;
        let result = if self.spread.root { variance.sqrt_to(variance.scale())? } else { variance };
        result.checked().map(|value| Some(value.into()))
    }
}

impl Accumulator for SpreadAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(&values[0], |value| {
            self.apply(&value, 1);
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(&values[0], |value| {
            self.apply(&value, -1);
            Ok(())
        })?;
        if self.count == 0 {
            *self = Self::new(self.spread);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.value().map_err(external)?;
        Ok(ScalarValue::Utf8View(value.map(|value| value.to_string())))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + 128
    }

    /// Not finite values show in the sum, as NaN.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = if self.special > 0 { "NaN".to_owned() } else { self.sum.to_string() };
        Ok(vec![
            ScalarValue::Utf8View(Some(sum)),
            ScalarValue::Utf8View(Some(self.squares.to_string())),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[2].as_primitive::<Int64Type>();
        self.count += counts.values().iter().sum::<i64>();
        for_each(&states[0], |value| {
            match value {
                Numeric::Finite(sum) => self.sum = self.sum.add(&sum),
                _ => self.special += 1,
            }
            Ok(())
        })?;
        for_each(&states[1], |value| {
            if let Numeric::Finite(squares) = value {
                self.squares = self.squares.add(&squares);
            }
            Ok(())
        })
    }
}
