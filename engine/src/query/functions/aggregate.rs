//! Aggregates that DataFusion does not have or lets overflow.

use std::{
    cmp::Ordering,
    collections::HashMap,
    hash::{Hash, Hasher},
    mem::size_of,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Int64Array},
    datatypes::{DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
        function::AccumulatorArgs,
    },
};

mod spread;
mod sum_groups;
mod unbounded;

pub use self::spread::Spread;
use self::{
    spread::SpreadAccumulator,
    sum_groups::SumGroups,
    unbounded::{Extreme, NumericSum},
};
use super::numeric::Numeric;
use crate::{
    error::{SqlError, sqlstate},
    query::errors::external,
};

/// What an aggregate here computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// Integers and decimals of known shape: 128-bit or 256-bit sums that refuse to overflow.
    Sum,
    /// Bare numerics, as text.
    NumericSum,
    NumericMin,
    NumericMax,
    /// Variances, or their roots, of any exact numbers as bare numerics.
    Spread(Spread),
    /// The one value there is; 21000 if there are two.
    Single,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct PlannedAggregate {
    kind: Kind,
    input: DataType,
    returns: DataType,
    signature: SignatureOfOne,
}

/// A signature that takes one argument as it comes.
#[derive(Debug)]
struct SignatureOfOne(Signature);

impl PartialEq for SignatureOfOne {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SignatureOfOne {}

impl Hash for SignatureOfOne {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

fn aggregate(kind: Kind, input: DataType, returns: DataType) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(PlannedAggregate {
        kind,
        input,
        returns,
        signature: SignatureOfOne(Signature::user_defined(Volatility::Immutable)),
    }))
}

/// `sum` over integers and decimals; `returns` is Int64 for int2 and int4, else a decimal of the
/// input's scale.
#[must_use]
pub fn sum(input: DataType, returns: DataType) -> Arc<AggregateUDF> {
    aggregate(Kind::Sum, input, returns)
}

/// `sum`, `min` or `max` over bare numerics.
#[must_use]
pub fn numeric(name: &str) -> Option<Arc<AggregateUDF>> {
    let kind = match name {
        "sum" => Kind::NumericSum,
        "min" => Kind::NumericMin,
        "max" => Kind::NumericMax,
        _ => return None,
    };
    Some(aggregate(kind, DataType::Utf8View, DataType::Utf8View))
}

/// A variance or standard deviation of bare numerics.
#[must_use]
pub fn spread(spread: Spread) -> Arc<AggregateUDF> {
    aggregate(Kind::Spread(spread), DataType::Utf8View, DataType::Utf8View)
}

/// The value of a subquery used as an expression.
#[must_use]
pub fn single_value(data_type: DataType) -> Arc<AggregateUDF> {
    aggregate(Kind::Single, data_type.clone(), data_type)
}

impl AggregateUDFImpl for PlannedAggregate {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum | Kind::NumericSum => "sum",
            Kind::NumericMin => "min",
            Kind::NumericMax => "max",
            Kind::Spread(spread) => spread.name(),
            Kind::Single => "single_value",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn state_fields(
        &self,
        args: datafusion::logical_expr::function::StateFieldsArgs<'_>,
    ) -> Result<Vec<arrow::datatypes::FieldRef>> {
        use arrow::datatypes::Field;
        let name = |part| datafusion::logical_expr::utils::format_state_name(args.name, part);
        let value = Field::new(name("value"), self.returns.clone(), true);
        let distinct = Field::new_list(
            name("distinct"),
            Field::new_list_field(self.input.clone(), true),
            true,
        );
        Ok(match self.kind {
            _ if args.is_distinct => vec![Arc::new(distinct)],
            Kind::Single => {
                vec![Arc::new(value), Arc::new(Field::new(name("count"), DataType::Int64, false))]
            }
            Kind::Spread(_) => {
                let text = |part| Arc::new(Field::new(name(part), DataType::Utf8View, true));
                vec![
                    text("sum"),
                    text("squares"),
                    Arc::new(Field::new(name("count"), DataType::Int64, false)),
                ]
            }
            _ => vec![Arc::new(value)],
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let inner: Box<dyn Accumulator> = match self.kind {
            Kind::Sum => Box::new(SumAccumulator::new(self.returns.clone())),
            Kind::Single => Box::new(SingleAccumulator {
                value: ScalarValue::try_from(&self.returns)?,
                count: 0,
            }),
            Kind::NumericSum => Box::new(NumericSum::default()),
            Kind::Spread(spread) => Box::new(SpreadAccumulator::new(spread)),
            kind => {
                let wanted =
                    if kind == Kind::NumericMin { Ordering::Less } else { Ordering::Greater };
                Box::new(Extreme { wanted, best: None })
            }
        };
        if args.is_distinct && self.kind != Kind::Single {
            return Ok(Box::new(DistinctAccumulator {
                inner,
                input: self.input.clone(),
                values: HashMap::new(),
            }));
        }
        Ok(inner)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.kind == Kind::Sum && !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        _: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(SumGroups::new(self.returns.clone())))
    }

    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }
}

fn out_of_range(returns: &DataType) -> datafusion::common::DataFusionError {
    let what = if *returns == DataType::Int64 { "bigint" } else { "numeric" };
    let message = format!("{what} out of range");
    external(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

/// Calls `add(row, value)` for each value.
fn for_each_wide(array: &ArrayRef, mut add: impl FnMut(usize, i256) -> Result<()>) -> Result<()> {
    macro_rules! each {
        ($type:ty, $wide:expr) => {
            for (row, value) in array.as_primitive::<$type>().iter().enumerate() {
                if let Some(value) = value {
                    add(row, $wide(value))?;
                }
            }
        };
    }
    match array.data_type() {
        DataType::Int16 => each!(Int16Type, |v| i256::from_i128(i128::from(v))),
        DataType::Int32 => each!(Int32Type, |v| i256::from_i128(i128::from(v))),
        DataType::Int64 => each!(Int64Type, |v| i256::from_i128(i128::from(v))),
        DataType::Decimal128(..) => each!(Decimal128Type, i256::from_i128),
        DataType::Decimal256(..) => each!(Decimal256Type, |v| v),
        other => return internal_err!("sum over {other}"),
    }
    Ok(())
}

fn for_each_narrow(array: &ArrayRef, mut add: impl FnMut(usize, i128) -> Result<()>) -> Result<()> {
    macro_rules! each {
        ($type:ty) => {
            for (row, value) in array.as_primitive::<$type>().iter().enumerate() {
                if let Some(value) = value {
                    add(row, i128::from(value))?;
                }
            }
        };
    }
    match array.data_type() {
        DataType::Int16 => each!(Int16Type),
        DataType::Int32 => each!(Int32Type),
        DataType::Int64 => each!(Int64Type),
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>();
            if values.null_count() == 0 {
                for (row, value) in values.values().iter().enumerate() {
                    add(row, *value)?;
                }
                return Ok(());
            }
            each!(Decimal128Type)
        }
        other => return internal_err!("sum over {other}"),
    }
    Ok(())
}

fn sums_to_array(sums: impl Iterator<Item = Option<i256>>, returns: &DataType) -> Result<ArrayRef> {
    Ok(match returns {
        DataType::Int64 => {
            let mut out = Vec::new();
            for sum in sums {
                out.push(match sum.map(|s| s.to_i128().and_then(|s| i64::try_from(s).ok())) {
                    None => None,
                    Some(Some(sum)) => Some(sum),
                    Some(None) => return Err(out_of_range(returns)),
                });
            }
            Arc::new(Int64Array::from(out))
        }
        DataType::Decimal128(precision, _) => {
            let mut out = Vec::new();
            for sum in sums {
                out.push(match sum.map(i256::to_i128) {
                    None => None,
                    Some(Some(sum)) => Some(sum),
                    Some(None) => return Err(out_of_range(returns)),
                });
            }
            let array = Decimal128Array::from(out).with_data_type(returns.clone());
            array.validate_decimal_precision(*precision).map_err(|_| out_of_range(returns))?;
            Arc::new(array)
        }
        _ => Arc::new(Decimal256Array::from_iter(sums).with_data_type(returns.clone())),
    })
}

#[derive(Debug)]
struct SumAccumulator {
    returns: DataType,
    sum: Option<i256>,
    /// Values in the sum, so that a window that slid past all of them gives NULL.
    count: usize,
}

impl SumAccumulator {
    fn new(returns: DataType) -> Self {
        Self { returns, sum: None, count: 0 }
    }

    fn apply(&mut self, array: &ArrayRef, add: fn(i256, i256) -> Option<i256>) -> Result<()> {
        let returns = &self.returns;
        if !matches!(array.data_type(), DataType::Decimal256(..)) {
            let (mut partial, mut any) = (0_i128, false);
            let mut flush = |partial: i128| {
                let sum = self.sum.unwrap_or(i256::ZERO);
                let next =
                    add(sum, i256::from_i128(partial)).ok_or_else(|| out_of_range(returns))?;
                self.sum = Some(next);
                Ok(())
            };
            for_each_narrow(array, |_, value| {
                any = true;
                match partial.checked_add(value) {
                    Some(sum) => partial = sum,
                    None => {
                        flush(partial)?;
                        partial = value;
                    }
                }
                Ok(())
            })?;
            return if any { flush(partial) } else { Ok(()) };
        }
        let mut sum = self.sum;
        for_each_wide(array, |_, value| {
            let next = add(sum.unwrap_or(i256::ZERO), value);
            sum = Some(next.ok_or_else(|| out_of_range(returns))?);
            Ok(())
        })?;
        self.sum = sum;
        Ok(())
    }
}

impl Accumulator for SumAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += values[0].len() - values[0].null_count();
        self.apply(&values[0], i256::checked_add)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= values[0].len() - values[0].null_count();
        self.apply(&values[0], i256::checked_sub)?;
        if self.count == 0 {
            self.sum = None;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let array = sums_to_array(std::iter::once(self.sum), &self.returns)?;
        ScalarValue::try_from_array(&array, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

#[derive(Debug)]
struct SingleAccumulator {
    value: ScalarValue,
    count: i64,
}

impl SingleAccumulator {
    fn check(&self) -> Result<()> {
        if self.count > 1 {
            return Err(external(SqlError::new(
                sqlstate::CARDINALITY_VIOLATION,
                "more than one row returned by a subquery used as an expression",
            )));
        }
        Ok(())
    }
}

impl Accumulator for SingleAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values[0].is_empty() {
            return Ok(());
        }
        self.count += values[0].len() as i64;
        self.check()?;
        self.value = ScalarValue::try_from_array(&values[0], 0)?;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.check()?;
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[1].as_primitive::<Int64Type>();
        for row in 0..counts.len() {
            if counts.value(row) > 0 {
                self.count += counts.value(row);
                self.check()?;
                self.value = ScalarValue::try_from_array(&states[0], row)?;
            }
        }
        Ok(())
    }
}

/// Feeds each distinct value once: the first of those that are equal, which for numerics may be
/// written with different scales.
#[derive(Debug)]
struct DistinctAccumulator {
    inner: Box<dyn Accumulator>,
    input: DataType,
    values: HashMap<ScalarValue, ScalarValue>,
}

/// What is equal for equal values.
fn distinct_key(value: &ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Utf8View(Some(text)) => {
            ScalarValue::Binary(Numeric::parse(text).map(|value| value.sort_key()))
        }
        other => other.clone(),
    }
}

impl Accumulator for DistinctAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            if values[0].is_valid(row) {
                let value = ScalarValue::try_from_array(&values[0], row)?;
                self.values.entry(distinct_key(&value)).or_insert(value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values: Vec<_> = self.values.drain().map(|(_, value)| value).collect();
        if !values.is_empty() {
            self.inner.update_batch(&[ScalarValue::iter_to_array(values)?])?;
        }
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        let bytes = |(key, value): (&ScalarValue, &ScalarValue)| key.size() + value.size();
        size_of::<Self>() + self.values.iter().map(bytes).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.values.values().cloned().collect();
        let list = ScalarValue::new_list(&values, &self.input, true);
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[list])?;
        }
        Ok(())
    }
}
