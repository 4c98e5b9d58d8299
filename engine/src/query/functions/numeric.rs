//! Functions over `numeric` values of any size and scale: columns of decimals or of canonical text.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Decimal256Array, Float64Array,
        StringViewBuilder,
    },
    datatypes::{DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256},
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{
    decimal::Decimal,
    given_up,
    scalar::{function, infallible, strict},
};
use crate::{
    error::{SqlError, sqlstate},
    types::NumericShape,
};

/// Reads a column of any exact numeric type value by value.
pub enum NumericColumn<'a> {
    Int16(&'a arrow::array::Int16Array),
    Int32(&'a arrow::array::Int32Array),
    Int64(&'a arrow::array::Int64Array),
    Decimal128(&'a Decimal128Array, u32),
    Decimal256(&'a Decimal256Array, u32),
    Text(&'a arrow::array::StringViewArray),
}

impl<'a> NumericColumn<'a> {
    pub fn new(array: &'a ArrayRef) -> Result<Self, SqlError> {
        Ok(match array.data_type() {
            DataType::Int16 => Self::Int16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>()),
            DataType::Decimal128(_, scale) => {
                Self::Decimal128(array.as_primitive::<Decimal128Type>(), (*scale).max(0) as u32)
            }
            DataType::Decimal256(_, scale) => {
                Self::Decimal256(array.as_primitive::<Decimal256Type>(), (*scale).max(0) as u32)
            }
            DataType::Utf8View => Self::Text(array.as_string_view()),
            other => return Err(SqlError::internal(format!("{other} is not an exact number"))),
        })
    }

    /// NaN or an infinity, which are no decimals.
    fn special(&self, row: usize) -> Option<f64> {
        let Self::Text(array) = self else { return None };
        match array.value(row) {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    pub fn value(&self, row: usize) -> Result<Decimal, SqlError> {
        Ok(match self {
            Self::Int16(a) => Decimal::new(a.value(row), 0),
            Self::Int32(a) => Decimal::new(a.value(row), 0),
            Self::Int64(a) => Decimal::new(a.value(row), 0),
            Self::Decimal128(a, scale) => Decimal::new(a.value(row), *scale),
            Self::Decimal256(a, scale) => Decimal::from_i256(a.value(row), *scale),
            Self::Text(a) => {
                let text = a.value(row);
                Decimal::parse(text).ok_or_else(|| {
                    SqlError::not_supported(format!("computing with numeric {text}"))
                })?
            }
        })
    }
}

/// The text of a result computed with NaN or infinity.
fn special_text(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else if value > 0.0 {
        "1"
    } else if value < 0.0 {
        "-1"
    } else {
        "0"
    }
}

/// The sign stands for a finite value beside an infinite one.
fn sign(value: &Decimal) -> f64 {
    f64::from(i8::from(!value.is_zero()) - 2 * i8::from(value.is_negative()))
}

fn special_unary(name: &str, value: f64) -> Result<f64, SqlError> {
    Ok(match name {
        "numeric_uminus" => -value,
        "abs" => value.abs(),
        "sign" if !value.is_nan() => value.signum(),
        "sqrt" if value < 0.0 => {
            return Err(SqlError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            ));
        }
        _ => value,
    })
}

fn special_binary(name: &str, left: f64, right: f64) -> Result<f64, SqlError> {
    if left.is_nan() || right.is_nan() {
        return Ok(f64::NAN);
    }
    Ok(match name {
        "numeric_add" => left + right,
        "numeric_sub" => left - right,
        "numeric_mul" => left * right,
        "numeric_div" | "div" | "numeric_mod" if right == 0.0 => {
            return Err(super::decimal::division_by_zero());
        }
        "numeric_div" | "div" => left / right,
        "numeric_mod" => left % right,
        _ => left,
    })
}

fn unary(
    name: &'static str,
    operation: impl Fn(&Decimal) -> Result<Decimal, SqlError> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, move |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) {
                out.append_null();
            } else {
                match column.special(row) {
                    Some(value) => out.append_value(special_text(special_unary(name, value)?)),
                    None => out.append_value(operation(&column.value(row)?)?.to_string()),
                }
            }
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    function(name, "numeric", DataType::Utf8View, Volatility::Immutable, compute)
}

fn binary(
    name: &'static str,
    operation: impl Fn(&Decimal, &Decimal) -> Result<Decimal, SqlError> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, move |args| {
        let (left, right) = (NumericColumn::new(&args[0])?, NumericColumn::new(&args[1])?);
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) || args[1].is_null(row) {
                out.append_null();
                continue;
            }
            let specials = (left.special(row), right.special(row));
            if specials != (None, None) {
                let side = |column: &NumericColumn<'_>, special: Option<f64>| match special {
                    Some(value) => Ok(value),
                    None => column.value(row).map(|value| sign(&value)),
                };
                // The remainder by infinity is the value itself.
                if name == "numeric_mod"
                    && specials.0.is_none()
                    && specials.1.is_some_and(f64::is_infinite)
                {
                    out.append_value(left.value(row)?.to_string());
                    continue;
                }
                let (l, r) = (side(&left, specials.0)?, side(&right, specials.1)?);
                out.append_value(special_text(special_binary(name, l, r)?));
            } else {
                out.append_value(operation(&left.value(row)?, &right.value(row)?)?.to_string());
            }
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    function(name, "numeric", DataType::Utf8View, Volatility::Immutable, compute)
}

/// A function of one numeric that gives a numeric of its own scale.
pub fn unary_function(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "negate" => unary("numeric_uminus", |x| Ok(x.negate())),
        "abs" => unary("abs", |x| Ok(x.abs())),
        "ceil" => unary("ceil", |x| Ok(x.ceil())),
        "floor" => unary("floor", |x| Ok(x.floor())),
        "round" => unary("round", |x| Ok(x.round(0))),
        "trunc" => unary("trunc", |x| Ok(x.truncate(0))),
        "sign" => unary("sign", |x| Ok(x.signum())),
        "sqrt" => unary("sqrt", Decimal::sqrt),
        "trim_scale" => unary("trim_scale", |x| Ok(x.trim_scale())),
        _ => return None,
    })
}

/// A function of two numerics that gives a numeric.
pub fn binary_function(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "+" => binary("numeric_add", |a, b| Ok(a.add(b))),
        "-" => binary("numeric_sub", |a, b| Ok(a.subtract(b))),
        "*" => binary("numeric_mul", |a, b| Ok(a.multiply(b))),
        "/" => binary("numeric_div", Decimal::divide),
        "%" => binary("numeric_mod", Decimal::remainder),
        "div" => binary("div", Decimal::divide_truncated),
        // The second argument is an integer.
        "round" => binary("round", |a, b| Ok(a.round(digits(b)))),
        "trunc" => binary("trunc", |a, b| Ok(a.truncate(digits(b)))),
        _ => return None,
    })
}

/// PostgreSQL clamps the number of digits asked for, too.
fn digits(value: &Decimal) -> i64 {
    value.to_i128().unwrap_or(0).clamp(-131_072, 16_383) as i64
}

/// Bytes that compare as the numeric values do.
pub fn sort_key() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Binary, |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut out = BinaryBuilder::new();
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) {
                out.append_null();
            } else {
                // Between all others: zero has the key 1, others begin with 0 and 2.
                match column.special(row) {
                    Some(value) if value.is_nan() => out.append_value([4]),
                    Some(f64::INFINITY) => out.append_value([3]),
                    Some(_) => out.append_value([]),
                    None => out.append_value(column.value(row)?.sort_key()),
                }
            }
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    infallible("numeric_sort_key", "", DataType::Binary, compute)
}

/// Any exact number as bare numeric text.
pub fn to_text() -> Arc<ScalarUDF> {
    unary("numeric", |x| Ok(x.clone()))
}

pub fn to_float8() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Float64, |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut out = Vec::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            out.push(match column.special(row) {
                _ if args[0].is_null(row) => None,
                Some(value) => Some(value),
                None => Some(fitting_float8(&column.value(row)?)?),
            });
        }
        Ok(Arc::new(Float64Array::from(out)) as ArrayRef)
    });
    function("float8", "numeric", DataType::Float64, Volatility::Immutable, compute)
}

/// As a double precision, which has neither all great numbers nor all small ones.
fn fitting_float8(value: &Decimal) -> Result<f64, SqlError> {
    let float = value.to_f64();
    if float.is_infinite() || (float == 0.0 && !value.is_zero()) {
        let message = format!("\"{value}\" is out of range for type double precision");
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(float)
}

/// To `numeric(p, s)`, rounding; 22003 when it does not fit.
pub fn to_shape(shape: NumericShape) -> Arc<ScalarUDF> {
    let returns = super::shape_type(shape);
    let data_type = returns.clone();
    let compute = strict(returns.clone(), move |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut values = Vec::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            values.push(if args[0].is_null(row) {
                None
            } else {
                let value = column.value(row)?;
                let fitted = value.to_i256(shape.precision, shape.scale.max(0) as u32);
                Some(fitted.ok_or_else(|| overflow(shape))?)
            });
        }
        decimal_array(values, &data_type)
    });
    let variant = format!("{},{}", shape.precision, shape.scale);
    function("numeric", variant, returns, Volatility::Immutable, compute)
}

pub fn overflow(shape: NumericShape) -> SqlError {
    let integer_digits = i32::from(shape.precision) - i32::from(shape.scale);
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").detail(format!(
        "A field with precision {}, scale {} must round to an absolute value less than {}{}.",
        shape.precision,
        shape.scale,
        if integer_digits == 0 { "" } else { "10^" },
        if integer_digits == 0 { "1".to_owned() } else { integer_digits.to_string() },
    ))
}

fn decimal_array(values: Vec<Option<i256>>, data_type: &DataType) -> Result<ArrayRef, SqlError> {
    Ok(match data_type {
        DataType::Decimal128(..) => {
            let narrow = values.into_iter().map(|v| v.and_then(i256::to_i128));
            Arc::new(narrow.collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        _ => Arc::new(
            values.into_iter().collect::<Decimal256Array>().with_data_type(data_type.clone()),
        ),
    })
}

/// Variance from the count, the sum and the sum of squares; its root with `root`.
pub fn variance(sample: bool, root: bool) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, move |args| {
        let (counts, sums) = (NumericColumn::new(&args[0])?, NumericColumn::new(&args[1])?);
        let squares = NumericColumn::new(&args[2])?;
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if args.iter().any(|a| a.is_null(row)) {
                out.append_null();
                continue;
            }
            let count = counts.value(row)?;
            let one = Decimal::new(1, 0);
            let divisor =
                if sample { count.multiply(&count.subtract(&one)) } else { count.multiply(&count) };
            if divisor.is_zero() {
                out.append_null();
                continue;
            }
            let (sum, squares) = (sums.value(row)?, squares.value(row)?);
            let spread = count.multiply(&squares).subtract(&sum.multiply(&sum));
            if spread.is_zero() || spread.is_negative() {
                out.append_value("0");
                continue;
            }
            let variance = spread.divide(&divisor)?;
            let result = if root { variance.sqrt_to(variance.scale())? } else { variance };
            out.append_value(result.to_string());
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    let variant = format!("{sample} {root}");
    function("numeric_variance", variant, DataType::Utf8View, Volatility::Immutable, compute)
}
