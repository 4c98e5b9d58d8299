//! Aggregates that DataFusion does not have or lets overflow.

use std::{
    cmp::Ordering,
    collections::HashSet,
    hash::{Hash, Hasher},
    mem::size_of,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, Int64Array},
    datatypes::{DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature,
        Volatility, function::AccumulatorArgs,
    },
};

use super::decimal::Decimal;
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
            kind => Box::new(NumericAccumulator { kind, value: None, count: 0 }),
        };
        if args.is_distinct && self.kind != Kind::Single {
            return Ok(Box::new(DistinctAccumulator {
                inner,
                input: self.input.clone(),
                values: HashSet::new(),
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
        self.kind == Kind::Sum
            && !args.is_distinct
            && !matches!(self.returns, DataType::Decimal256(..))
    }

    fn create_groups_accumulator(
        &self,
        _: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(SumGroups {
            returns: self.returns.clone(),
            sums: Vec::new(),
            seen: Vec::new(),
        }))
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
            // 2^63 values of 38 digits would be needed to overflow a batch's partial sum twice.
            let (mut partial, mut any) = (0_i128, false);
            for_each_narrow(array, |_, value| {
                any = true;
                partial = partial.checked_add(value).ok_or_else(|| out_of_range(returns))?;
                Ok(())
            })?;
            if any {
                let sum = self.sum.unwrap_or(i256::ZERO);
                self.sum =
                    Some(add(sum, i256::from_i128(partial)).ok_or_else(|| out_of_range(returns))?);
            }
            return Ok(());
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

/// Sums per group, kept in 128 bits unless the result is wider.
struct SumGroups {
    returns: DataType,
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl GroupsAccumulator for SumGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, 0);
        self.seen.resize(total_num_groups, false);
        let (sums, seen, returns) = (&mut self.sums, &mut self.seen, &self.returns);
        let mut add = |row: usize, value: i128| {
            let group = group_indices[row];
            let sum = &mut sums[group];
            *sum = sum.checked_add(value).ok_or_else(|| out_of_range(returns))?;
            seen[group] = true;
            Ok(())
        };
        match opt_filter {
            None => for_each_narrow(&values[0], add),
            Some(keep) => for_each_narrow(&values[0], |row, value| {
                if keep.is_valid(row) && keep.value(row) { add(row, value) } else { Ok(()) }
            }),
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        let values = sums.into_iter().zip(seen).map(|(s, seen)| seen.then(|| i256::from_i128(s)));
        sums_to_array(values, &self.returns)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut sums: Vec<Option<i256>> = vec![None; rows];
        for_each_narrow(&values[0], |row, value| {
            sums[row] = Some(i256::from_i128(value));
            Ok(())
        })?;
        if let Some(keep) = opt_filter {
            for (row, sum) in sums.iter_mut().enumerate() {
                if !(keep.is_valid(row) && keep.value(row)) {
                    *sum = None;
                }
            }
        }
        Ok(vec![sums_to_array(sums.into_iter(), &self.returns)?])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}

#[derive(Debug)]
struct NumericAccumulator {
    kind: Kind,
    value: Option<Decimal>,
    count: usize,
}

impl Accumulator for NumericAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for text in values[0].as_string_view().iter().flatten() {
            let Some(value) = Decimal::parse(text) else {
                let what = format!("computing with numeric {text}");
                return Err(external(SqlError::not_supported(what)));
            };
            self.count += 1;
            self.value = Some(match self.value.take() {
                None => value,
                Some(old) => match self.kind {
                    Kind::NumericSum => old.add(&value),
                    Kind::NumericMin if value.compare(&old) == Ordering::Less => value,
                    Kind::NumericMax if value.compare(&old) == Ordering::Greater => value,
                    _ => old,
                },
            });
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for text in values[0].as_string_view().iter().flatten() {
            let value = Decimal::parse(text).unwrap_or_else(|| Decimal::new(0, 0));
            self.count -= 1;
            self.value = self.value.take().map(|sum| sum.subtract(&value));
        }
        if self.count == 0 {
            self.value = None;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.kind == Kind::NumericSum
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8View(self.value.as_ref().map(ToString::to_string)))
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

/// Feeds each distinct value once.
#[derive(Debug)]
struct DistinctAccumulator {
    inner: Box<dyn Accumulator>,
    input: DataType,
    values: HashSet<ScalarValue>,
}

impl Accumulator for DistinctAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            if values[0].is_valid(row) {
                self.values.insert(ScalarValue::try_from_array(&values[0], row)?);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values: Vec<_> = self.values.drain().collect();
        if !values.is_empty() {
            self.inner.update_batch(&[ScalarValue::iter_to_array(values)?])?;
        }
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.iter().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.values.iter().cloned().collect();
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
