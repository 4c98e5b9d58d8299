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

mod value;

pub use self::value::{Infinite, Numeric};
use super::{
    decimal::Decimal,
    given_up,
    scalar::{function, infallible, strict},
};
use crate::{
    error::SqlError,
    types::{
        NumericShape,
        text::{fit_numeric, infinite_overflow, nan_in_decimal, numeric_overflow},
    },
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

    pub fn value(&self, row: usize) -> Result<Numeric, SqlError> {
        let value = match self {
            Self::Int16(a) => Decimal::new(a.value(row), 0),
            Self::Int32(a) => Decimal::new(a.value(row), 0),
            Self::Int64(a) => Decimal::new(a.value(row), 0),
            Self::Decimal128(a, scale) => Decimal::new(a.value(row), *scale),
            Self::Decimal256(a, scale) => Decimal::from_i256(a.value(row), *scale),
            Self::Text(a) => {
                let text = a.value(row);
                return Numeric::parse(text)
                    .ok_or_else(|| SqlError::internal(format!("{text:?} as a numeric value")));
            }
        };
        Ok(Numeric::Finite(value))
    }
}

fn unary(
    name: &'static str,
    operation: impl Fn(&Numeric) -> Result<Numeric, SqlError> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, move |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) {
                out.append_null();
            } else {
                out.append_value(operation(&column.value(row)?)?.to_string());
            }
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    function(name, "numeric", DataType::Utf8View, Volatility::Immutable, compute)
}

fn binary(
    name: &'static str,
    operation: impl Fn(&Numeric, &Numeric) -> Result<Numeric, SqlError> + Send + Sync + 'static,
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
            let result = operation(&left.value(row)?, &right.value(row)?)?;
            out.append_value(result.to_string());
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
        "ceil" => unary("ceil", |x| Ok(x.map(Decimal::ceil))),
        "floor" => unary("floor", |x| Ok(x.map(Decimal::floor))),
        "round" => unary("round", |x| Ok(x.map(|x| x.round(0)))),
        "trunc" => unary("trunc", |x| Ok(x.map(|x| x.truncate(0)))),
        "sign" => unary("sign", |x| Ok(x.signum())),
        "sqrt" => unary("sqrt", Numeric::sqrt),
        "trim_scale" => unary("trim_scale", |x| Ok(x.map(Decimal::trim_scale))),
        _ => return None,
    })
}

/// A function of two numerics that gives a numeric.
pub fn binary_function(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "+" => binary("numeric_add", Numeric::add),
        "-" => binary("numeric_sub", Numeric::subtract),
        "*" => binary("numeric_mul", Numeric::multiply),
        "/" => binary("numeric_div", Numeric::divide),
        "%" => binary("numeric_mod", Numeric::remainder),
        "div" => binary("div", Numeric::divide_truncated),
        // The second argument is an integer.
        "round" => binary("round", |a, b| {
            let rounded = a.map(|a| a.round(digits(b)));
            rounded.finite().map_or(Ok(()), |value| value.clone().checked().map(|_| ()))?;
            Ok(rounded)
        }),
        "trunc" => binary("trunc", |a, b| Ok(a.map(|a| a.truncate(digits(b))))),
        _ => return None,
    })
}

/// PostgreSQL clamps the number of digits asked for, too.
fn digits(value: &Numeric) -> i64 {
    let value = value.finite().and_then(Decimal::to_i128).unwrap_or(0);
    value.clamp(-131_073, 16_383) as i64
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
                out.append_value(column.value(row)?.sort_key());
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
            let null = args[0].is_null(row);
            out.push(if null { None } else { Some(column.value(row)?.to_f64()?) });
        }
        Ok(Arc::new(Float64Array::from(out)) as ArrayRef)
    });
    function("float8", "numeric", DataType::Float64, Volatility::Immutable, compute)
}

/// To `numeric(p, s)`, rounding; 22003 when it does not fit.
pub fn to_shape(shape: NumericShape) -> Arc<ScalarUDF> {
    let returns = super::shape_type(shape);
    let compute = strict(returns.clone(), move |args| reshape(&args[0], shape));
    let variant = format!("{},{}", shape.precision, shape.scale);
    function("numeric", variant, returns, Volatility::Immutable, compute)
}

/// Any exact numbers rounded half away from zero to a shape; 22003 if one does not fit.
pub fn reshape(array: &ArrayRef, shape: NumericShape) -> Result<ArrayRef, SqlError> {
    let column = NumericColumn::new(array)?;
    let Some((precision, scale)) = shape.decimal() else {
        let mut out = StringViewBuilder::with_capacity(array.len());
        for row in 0..array.len() {
            given_up::check()?;
            if array.is_null(row) {
                out.append_null();
            } else {
                out.append_value(fit_numeric(&column.value(row)?.to_string(), shape)?);
            }
        }
        return Ok(Arc::new(out.finish()));
    };
    let mut out = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        given_up::check()?;
        if array.is_null(row) {
            out.push(None);
            continue;
        }
        let fitted = match column.value(row)? {
            Numeric::Finite(value) => value.to_i256(precision, u32::from(scale.unsigned_abs())),
            Numeric::NaN => return Err(nan_in_decimal()),
            Numeric::Infinite(_) => return Err(infinite_overflow(shape)),
        };
        out.push(Some(fitted.ok_or_else(|| numeric_overflow(shape))?));
    }
    decimal_array(out, &super::shape_type(shape))
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
