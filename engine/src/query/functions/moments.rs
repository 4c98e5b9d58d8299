//! Variance, covariance, correlation and regression over doubles, by the steps that PostgreSQL takes
//! (Youngs and Cramer), so that the digits are the same.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use crate::{
    error::{SqlError, sqlstate},
    query::errors::external,
};

/// What is made of the moments.
#[derive(Default, Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Wanted {
    #[default]
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    CovarPop,
    CovarSamp,
    Corr,
    Slope,
    Intercept,
    R2,
    AvgX,
    AvgY,
    Sxx,
    Syy,
    Sxy,
}

const NAMES: [(&str, Wanted); 17] = [
    ("var_pop", Wanted::VarPop),
    ("var_samp", Wanted::VarSamp),
    ("variance", Wanted::VarSamp),
    ("stddev_pop", Wanted::StddevPop),
    ("stddev_samp", Wanted::StddevSamp),
    ("stddev", Wanted::StddevSamp),
    ("covar_pop", Wanted::CovarPop),
    ("covar_samp", Wanted::CovarSamp),
    ("corr", Wanted::Corr),
    ("regr_slope", Wanted::Slope),
    ("regr_intercept", Wanted::Intercept),
    ("regr_r2", Wanted::R2),
    ("regr_avgx", Wanted::AvgX),
    ("regr_avgy", Wanted::AvgY),
    ("regr_sxx", Wanted::Sxx),
    ("regr_syy", Wanted::Syy),
    ("regr_sxy", Wanted::Sxy),
];

#[derive(PartialEq, Eq, Hash, Debug)]
struct MomentAggregate {
    name: &'static str,
    wanted: Wanted,
    signature: Signature,
}

/// The aggregate of this name over Float64 columns: one for variances, else two, the dependent one
/// first.
#[must_use]
pub fn moments(name: &str) -> Option<Arc<AggregateUDF>> {
    let (name, wanted) = NAMES.into_iter().find(|(known, _)| *known == name)?;
    let signature = Signature::variadic_any(Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(MomentAggregate { name, wanted, signature })))
}

impl AggregateUDFImpl for MomentAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            let item = Field::new_list_field(DataType::Float64, true);
            let name = format_state_name(args.name, "values");
            return Ok(vec![Arc::new(Field::new_list(name, item, true))]);
        }
        let field = |part| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::Float64, false))
        };
        Ok(["n", "sx", "sxx", "sy", "syy", "sxy"].into_iter().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Ok(Box::new(DistinctMoments { wanted: self.wanted, values: Vec::new() }));
        }
        Ok(Box::new(Moments { wanted: self.wanted, ..Moments::default() }))
    }
}

/// The number of rows, the sums of both columns, and the sums of squared and multiplied differences
/// from the means.
#[derive(Clone, Copy, Default, Debug)]
struct Moments {
    wanted: Wanted,
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

fn overflow() -> datafusion::common::DataFusionError {
    let message = "value out of range: overflow";
    external(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

impl Moments {
    /// One row more; `y` is the dependent value, or equal to `x` where there is one column only.
    fn add(&mut self, x: f64, y: f64) -> Result<()> {
        let before = *self;
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if before.n == 0.0 {
            if !x.is_finite() {
                (self.sxx, self.sxy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.syy, self.sxy) = (f64::NAN, f64::NAN);
            }
            return Ok(());
        }
        let (dx, dy) = (x * self.n - self.sx, y * self.n - self.sy);
        let divisor = self.n * before.n;
        if self.is_single() {
            self.sxx += dx * dx / divisor;
        } else {
            let scale = 1.0 / divisor;
            self.sxx += dx * dx * scale;
            self.syy += dy * dy * scale;
            self.sxy += dx * dy * scale;
        }
        let came = |sum: f64, squares: f64, before: f64, value: f64| {
            (sum.is_infinite() || squares.is_infinite())
                && !before.is_infinite()
                && !value.is_infinite()
        };
        let product = self.sxy.is_infinite()
            && ![before.sx, x, before.sy, y].iter().any(|value| value.is_infinite());
        if came(self.sx, self.sxx, before.sx, x) || came(self.sy, self.syy, before.sy, y) || product
        {
            return Err(overflow());
        }
        for sum in [&mut self.sxx, &mut self.syy, &mut self.sxy] {
            if sum.is_infinite() {
                *sum = f64::NAN;
            }
        }
        if self.is_single() && self.sx.is_infinite() {
            self.sxx = f64::NAN;
        }
        Ok(())
    }

    fn is_single(&self) -> bool {
        matches!(
            self.wanted,
            Wanted::VarPop | Wanted::VarSamp | Wanted::StddevPop | Wanted::StddevSamp
        )
    }

    fn join(&mut self, other: Self) -> Result<()> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = other;
            return Ok(());
        }
        let n = self.n + other.n;
        let dx = self.sx / self.n - other.sx / other.n;
        let dy = self.sy / self.n - other.sy / other.n;
        let weight = self.n * other.n;
        let joined = |a: f64, b: f64, c: f64, d: f64| {
            let sum = a + b + weight * c * d / n;
            if sum.is_infinite() && !a.is_infinite() && !b.is_infinite() {
                return Err(overflow());
            }
            Ok(sum)
        };
        self.sxx = joined(self.sxx, other.sxx, dx, dx)?;
        if !self.is_single() {
            self.syy = joined(self.syy, other.syy, dy, dy)?;
            self.sxy = joined(self.sxy, other.sxy, dx, dy)?;
        }
        (self.n, self.sx, self.sy) = (n, self.sx + other.sx, self.sy + other.sy);
        Ok(())
    }

    fn result(&self) -> Option<f64> {
        let Self { wanted, n, sx, sxx, sy, syy, sxy } = *self;
        let least = match wanted {
            Wanted::VarSamp | Wanted::StddevSamp | Wanted::CovarSamp => 2.0,
            _ => 1.0,
        };
        if n < least {
            return None;
        }
        Some(match wanted {
            Wanted::VarPop => sxx / n,
            Wanted::VarSamp => sxx / (n - 1.0),
            Wanted::StddevPop => (sxx / n).sqrt(),
            Wanted::StddevSamp => (sxx / (n - 1.0)).sqrt(),
            Wanted::CovarPop => sxy / n,
            Wanted::CovarSamp => sxy / (n - 1.0),
            Wanted::Corr if sxx == 0.0 || syy == 0.0 => return None,
            Wanted::Corr => sxy / (sxx * syy).sqrt(),
            Wanted::Slope | Wanted::Intercept | Wanted::R2 if sxx == 0.0 => return None,
            Wanted::Slope => sxy / sxx,
            Wanted::Intercept => (sy - sx * sxy / sxx) / n,
            Wanted::R2 if syy == 0.0 => 1.0,
            Wanted::R2 => (sxy * sxy) / (sxx * syy),
            Wanted::AvgX => sx / n,
            Wanted::AvgY => sy / n,
            Wanted::Sxx => sxx,
            Wanted::Syy => syy,
            Wanted::Sxy => sxy,
        })
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let y = values[0].as_primitive::<Float64Type>();
        let x = values.get(1).map_or(y, |x| x.as_primitive::<Float64Type>());
        for row in 0..y.len() {
            if y.is_valid(row) && x.is_valid(row) {
                self.add(x.value(row), y.value(row))?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let columns: Vec<_> =
            states.iter().map(|state| state.as_primitive::<Float64Type>()).collect();
        for row in 0..states[0].len() {
            let at = |column: usize| columns[column].value(row);
            self.join(Self {
                wanted: self.wanted,
                n: at(0),
                sx: at(1),
                sxx: at(2),
                sy: at(3),
                syy: at(4),
                sxy: at(5),
            })?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let all = [self.n, self.sx, self.sxx, self.sy, self.syy, self.sxy];
        Ok(all.into_iter().map(|value| ScalarValue::Float64(Some(value))).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.result()))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Of the different values only, in their order.
#[derive(Debug)]
struct DistinctMoments {
    wanted: Wanted,
    values: Vec<f64>,
}

impl DistinctMoments {
    fn sort(&mut self) {
        // Zero has two signs and is one value.
        for value in &mut self.values {
            *value += 0.0;
        }
        self.values.sort_unstable_by(f64::total_cmp);
        self.values.dedup_by(|a, b| a.total_cmp(b).is_eq());
    }
}

impl Accumulator for DistinctMoments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<Float64Type>().iter().flatten());
        // So that it holds at most twice the different values.
        if self.values.len() == self.values.capacity() {
            self.sort();
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[list])?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.sort();
        let values = self.values.iter().map(|value| ScalarValue::Float64(Some(*value)));
        let values: Vec<_> = values.collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list(&values, &DataType::Float64, true))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.sort();
        let mut moments = Moments { wanted: self.wanted, ..Moments::default() };
        for value in &self.values {
            moments.add(*value, *value)?;
        }
        moments.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<f64>()
    }
}
