//! Functions that compare elements, by their keys: what is equal and what is less is the element
//! type's affair.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int32Builder, ListBuilder},
    buffer::NullBuffer,
    datatypes::{DataType, Int32Type},
};
use datafusion::logical_expr::{Operator, ScalarUDF, Volatility};

use super::{Item, collect, items, lists};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::scalar::{
        function, infallible, internal, over_arrays, sees_nulls, strict, variant_of,
    },
    storage::codec::key::{EncodedKeys, KeyEncoder},
    types::PgType,
};

/// Values with their keys.
struct Keyed {
    keys: EncodedKeys,
    nulls: Option<NullBuffer>,
}

impl Keyed {
    fn new(encoder: &KeyEncoder, values: &ArrayRef) -> Result<Self, SqlError> {
        let keys = encoder.encode_stored(std::slice::from_ref(values)).map_err(internal)?;
        Ok(Self { keys, nulls: values.nulls().cloned() })
    }

    /// `None`: NULL.
    fn get(&self, n: usize) -> Option<&[u8]> {
        let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(n));
        if null { None } else { Some(self.keys.get(n)) }
    }

    /// The values at these places that are not NULL.
    fn values(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        range.filter_map(|n| self.get(n))
    }
}

/// What two arrays are compared for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// `a @> b`: every element of b is one of a; NULL is none.
    Contains,
    /// `a && b`: they have an element in common.
    Overlaps,
}

/// `@>` and `&&` over arrays of a type.
#[must_use]
pub fn relation(relation: Relation, of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let compute = strict(DataType::Boolean, move |args| {
        let (a, b) = (lists(&args[0])?, lists(&args[1])?);
        let left = Keyed::new(&encoder, a.values())?;
        let right = Keyed::new(&encoder, b.values())?;
        let holds = |row| {
            let mut here: Vec<&[u8]> = left.values(items(a, row)).collect();
            here.sort_unstable();
            let has = |key: &[u8]| here.binary_search(&key).is_ok();
            let mut there = items(b, row);
            match relation {
                Relation::Contains => there.all(|n| right.get(n).is_some_and(has)),
                Relation::Overlaps => right.values(there).any(has),
            }
        };
        let valid = |row| a.is_valid(row) && b.is_valid(row);
        let result = (0..a.len()).map(|row| valid(row).then(|| holds(row)));
        Ok(Arc::new(result.collect::<BooleanArray>()) as ArrayRef)
    });
    let name = match relation {
        Relation::Contains => "arraycontains",
        Relation::Overlaps => "arrayoverlap",
    };
    infallible(name, format!("{of:?}"), DataType::Boolean, compute)
}

const QUANTIFIED: &str = "quantified";

/// `value op ANY (array)` and `value op ALL (array)`, value and elements of a type.
#[must_use]
pub fn quantified(op: Operator, any: bool, of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let compute = over_arrays(move |args| {
        let list = lists(&args[1])?;
        let values = Keyed::new(&encoder, &args[0])?;
        let elements = Keyed::new(&encoder, list.values())?;
        let result = (0..list.len()).map(|row| {
            if list.is_null(row) {
                return None;
            }
            // What decides; without it, NULL if a comparison was, else the contrary.
            let mut unknown = false;
            for n in items(list, row) {
                match (values.get(row), elements.get(n)) {
                    (Some(a), Some(b)) if holds(op, a.cmp(b)) == any => return Some(any),
                    (Some(_), Some(_)) => {}
                    _ => unknown = true,
                }
            }
            if unknown { None } else { Some(!any) }
        });
        Ok(Arc::new(result.collect::<BooleanArray>()) as ArrayRef)
    });
    let variant = format!("{op} {any} {of:?}");
    sees_nulls(QUANTIFIED, variant, DataType::Boolean, false, compute)
}

/// Whether a function is `value = ANY (array)`.
#[must_use]
pub fn is_equal_to_any(udf: &ScalarUDF) -> bool {
    let variant = variant_of(udf, QUANTIFIED);
    variant.is_some_and(|variant| variant.starts_with(&format!("{} true ", Operator::Eq)))
}

fn holds(op: Operator, order: Ordering) -> bool {
    match op {
        Operator::Eq => order.is_eq(),
        Operator::NotEq => order.is_ne(),
        Operator::Lt => order.is_lt(),
        Operator::LtEq => order.is_le(),
        Operator::Gt => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// `array_position(array, element, start)`: the subscript of the first one from the start on.
#[must_use]
pub fn position(of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let compute = over_arrays(move |args| {
        let list = lists(&args[0])?;
        let elements = Keyed::new(&encoder, list.values())?;
        let sought = Keyed::new(&encoder, &args[1])?;
        let starts = args.get(2).map(|a| a.as_primitive::<Int32Type>());
        let result = (0..list.len()).map(|row| {
            let start = starts.map_or(1, |s| s.value(row)).max(1) as usize - 1;
            let mut range = items(list, row);
            let first = range.start;
            range.start = range.start.saturating_add(start).min(range.end);
            let found = range.into_iter().find(|n| elements.get(*n) == sought.get(row))?;
            Some((found - first + 1) as i32)
        });
        Ok(Arc::new(result.collect::<Int32Array>()) as ArrayRef)
    });
    sees_nulls("array_position", format!("{of:?}"), DataType::Int32, false, compute)
}

/// `width_bucket(value, thresholds)`: how many of the sorted thresholds are not above the value.
#[must_use]
pub fn bucket(of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let compute = strict(DataType::Int32, move |args| {
        let list = lists(&args[1])?;
        let values = Keyed::new(&encoder, &args[0])?;
        let thresholds = Keyed::new(&encoder, list.values())?;
        let mut out = Int32Builder::with_capacity(list.len());
        for row in 0..list.len() {
            let Some(value) = values.get(row).filter(|_| list.is_valid(row)) else {
                out.append_null();
                continue;
            };
            let range = items(list, row);
            let (first, mut low, mut high) = (range.start, range.start, range.end);
            if range.clone().any(|n| thresholds.get(n).is_none()) {
                let message = "thresholds array must not contain NULLs";
                return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
            }
            while low < high {
                let middle = low + (high - low) / 2;
                match thresholds.get(middle) {
                    Some(threshold) if value < threshold => high = middle,
                    _ => low = middle + 1,
                }
            }
            out.append_value((low - first) as i32);
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    function("width_bucket", format!("{of:?}"), DataType::Int32, Volatility::Immutable, compute)
}

/// `array_positions(array, element)`: all subscripts.
#[must_use]
pub fn positions(of: &PgType) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let returns = PgType::Array(Arc::new(PgType::Int4)).arrow_type();
    let compute = over_arrays(move |args| {
        let list = lists(&args[0])?;
        let elements = Keyed::new(&encoder, list.values())?;
        let sought = Keyed::new(&encoder, &args[1])?;
        let mut out = ListBuilder::new(Int32Builder::new());
        for row in 0..list.len() {
            if list.is_null(row) {
                out.append_null();
                continue;
            }
            let range = items(list, row);
            let first = range.start;
            let found = range.filter(|n| elements.get(*n) == sought.get(row));
            found.for_each(|n| out.values().append_value((n - first + 1) as i32));
            out.append(true);
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    sees_nulls("array_positions", format!("{of:?}"), returns, false, compute)
}

/// `array_remove(array, element)` and, with a third argument, `array_replace(array, from, to)`.
#[must_use]
pub fn replace(of: &PgType, with: bool) -> Arc<ScalarUDF> {
    let encoder = KeyEncoder::comparing(of);
    let returns = PgType::Array(Arc::new(of.clone())).arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays(move |args| {
        let list = lists(&args[0])?;
        let elements = Keyed::new(&encoder, list.values())?;
        let sought = Keyed::new(&encoder, &args[1])?;
        let rows = (0..list.len()).map(|row| {
            let replaced = |n: usize| -> Option<Item> {
                match elements.get(n) == sought.get(row) {
                    false => Some((0, n)),
                    true if with => Some((1, row)),
                    true => None,
                }
            };
            list.is_valid(row).then(|| items(list, row).filter_map(replaced).collect())
        });
        let substitutes = args.get(2).unwrap_or(&args[1]);
        collect(&list_type, &[list.values().as_ref(), substitutes.as_ref()], rows)
    });
    let name = if with { "array_replace" } else { "array_remove" };
    sees_nulls(name, format!("{of:?}"), returns, false, compute)
}
