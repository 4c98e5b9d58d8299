//! `min` and `max` of values that compare by a key: intervals and arrays.

use std::{cmp::Ordering, mem::size_of_val, sync::Arc};

use arrow::{
    array::{ArrayRef, make_comparator},
    compute::SortOptions,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

#[derive(PartialEq, Eq, Hash, Debug)]
struct Extreme {
    least: bool,
    value: DataType,
    key: DataType,
    signature: Signature,
}

/// `min` if `least`, else `max`, of the first argument by the order of the second, which is NULL where
/// the first is.
#[must_use]
pub fn by_key(least: bool, value: DataType, key: DataType) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Extreme { least, value, key, signature }))
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        if self.least { "min" } else { "max" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part, ty: &DataType| {
            Arc::new(Field::new(format_state_name(args.name, part), ty.clone(), true))
        };
        Ok(vec![field("value", &self.value), field("key", &self.key)])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Best {
            wanted: if self.least { Ordering::Less } else { Ordering::Greater },
            value: ScalarValue::try_from(&self.value)?,
            key: ScalarValue::try_from(&self.key)?,
        }))
    }
}

#[derive(Debug)]
struct Best {
    /// How the key compares with all others.
    wanted: Ordering,
    value: ScalarValue,
    key: ScalarValue,
}

impl Best {
    /// Whether what compares so with the best before takes its place: among equals, the last counts.
    fn wins(&self, order: Ordering) -> bool {
        order == self.wanted || order == Ordering::Equal
    }
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let keys = &values[1];
        let before = self.key.to_array()?;
        let against_before = make_comparator(keys, &before, SortOptions::default())?;
        let among = make_comparator(keys, keys, SortOptions::default())?;
        let mut best: Option<usize> = None;
        for row in (0..keys.len()).filter(|row| keys.is_valid(*row)) {
            let better = match best {
                Some(best) => self.wins(among(row, best)),
                None => self.key.is_null() || self.wins(against_before(row, 0)),
            };
            if better {
                best = Some(row);
            }
        }
        if let Some(row) = best {
            self.value = ScalarValue::try_from_array(&values[0], row)?;
            self.key = ScalarValue::try_from_array(keys, row)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.key.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() + self.key.size()
    }
}
