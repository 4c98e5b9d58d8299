//! Numbers of jsonpath.

use super::execute::Item;
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{decimal::Decimal, scalar::internal},
    types::{
        jsonb::{self, Jsonb, View},
        jsonpath::Binary,
        text::canonical_numeric,
    },
};

pub(super) fn read(text: &str) -> Result<Decimal, SqlError> {
    Decimal::parse(text).ok_or_else(|| internal(format!("number {text:?} of jsonb")))
}

/// The number that a value is.
pub(super) fn number_of(item: &Item) -> Result<Option<Decimal>, SqlError> {
    match item {
        Item::Json(bytes) => match Jsonb::new(bytes).view() {
            View::Number(text) => read(text).map(Some),
            _ => Ok(None),
        },
        Item::Moment(_) => Ok(None),
    }
}

/// # Errors
/// 22012 for a division by zero, 22003 for too large a result.
pub(super) fn compute(
    operator: Binary,
    left: &Decimal,
    right: &Decimal,
) -> Result<Decimal, SqlError> {
    let value = match operator {
        Binary::Add => left.add(right),
        Binary::Subtract => left.subtract(right),
        Binary::Multiply => left.multiply(right),
        Binary::Divide => left.divide(right)?,
        _ => left.remainder(right)?,
    };
    if value.overflows() {
        let message = "value overflows numeric format";
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(value)
}

/// `.double()`.
///
/// # Errors
/// 22036 for what is no number of double precision.
pub(super) fn double(item: &Item) -> Result<Item, SqlError> {
    let error = |message: &str| Err(SqlError::new(sqlstate::NON_NUMERIC_SQL_JSON_ITEM, message));
    let view = match item {
        Item::Json(bytes) => Some(Jsonb::new(bytes).view()),
        Item::Moment(_) => None,
    };
    match view {
        Some(View::Number(text)) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(item.clone()),
            _ => error(
                "numeric argument of jsonpath item method .double() is out of range for type \
                 double precision",
            ),
        },
        Some(View::String(text)) => match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => {
                // As the cast of double precision to numeric: 15 digits.
                let digits = format!("{value:.14e}").parse::<f64>().unwrap_or(value);
                let number = canonical_numeric(&digits.to_string())?;
                Ok(Item::Json(jsonb::number(&number).into()))
            }
            _ => error(
                "string argument of jsonpath item method .double() is not a valid representation \
                 of a double precision number",
            ),
        },
        _ => {
            error("jsonpath item method .double() can only be applied to a string or numeric value")
        }
    }
}
