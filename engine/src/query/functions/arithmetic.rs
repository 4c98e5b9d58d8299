//! `+ - * / %` and unary minus over integers, floats and decimals of known shape, which err where
//! PostgreSQL errs.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, Float32Array, Float64Array,
        PrimitiveArray, Scalar,
    },
    compute::kernels::numeric,
    datatypes::{
        ArrowNativeTypeOp, DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
        Int16Type, Int32Type, Int64Type,
    },
    error::ArrowError,
};
use datafusion::{
    common::ScalarValue,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility},
};

use super::{
    decimal::division_by_zero,
    scalar::{Compute, function, internal},
};
use crate::{
    error::{SqlError, sqlstate},
    types::NumericShape,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    fn kernel(self) -> fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => numeric::add,
            Self::Subtract => numeric::sub,
            Self::Multiply => numeric::mul,
            Self::Divide => numeric::div,
            Self::Modulo => numeric::rem,
        }
    }
}

/// Runs an arrow kernel over columns or constants without spreading the constants.
fn with_kernel(
    args: &[ColumnarValue],
    kernel: impl Fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, SqlError>,
) -> Result<ColumnarValue, SqlError> {
    let constant = |value: &ScalarValue| value.to_array().map(Scalar::new).map_err(internal);
    match (&args[0], &args[1]) {
        (ColumnarValue::Array(l), ColumnarValue::Array(r)) => {
            kernel(l, r).map(ColumnarValue::Array)
        }
        (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => {
            kernel(l, &constant(r)?).map(ColumnarValue::Array)
        }
        (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => {
            kernel(&constant(l)?, r).map(ColumnarValue::Array)
        }
        (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => {
            let result = kernel(&constant(l)?, &constant(r)?)?;
            ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar).map_err(internal)
        }
    }
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

/// An integer operation; both sides and the result are `data_type`.
pub fn integer(operation: Operation, data_type: &DataType) -> Arc<ScalarUDF> {
    let name = match data_type {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    let compute: Compute = Arc::new(move |args, _, _| {
        with_kernel(args, |l, r| {
            operation.kernel()(l, r).map_err(|error| match error {
                ArrowError::DivideByZero => division_by_zero(),
                _ => out_of_range(name),
            })
        })
    });
    let returns = data_type.clone();
    function(operation.symbol(), name, returns, Volatility::Immutable, compute)
}

/// A float operation; both sides and the result are `data_type`.
pub fn float(operation: Operation, data_type: &DataType) -> Arc<ScalarUDF> {
    let single = *data_type == DataType::Float32;
    let compute: Compute = Arc::new(move |args, _, _| {
        with_kernel(args, |l, r| {
            let zero = operation == Operation::Divide
                && match single {
                    true => divides_by_zero::<Float32Type>(l, r),
                    false => divides_by_zero::<Float64Type>(l, r),
                };
            if zero {
                return Err(division_by_zero());
            }
            let result = operation.kernel()(l, r).map_err(internal)?;
            if single {
                checked_float::<Float32Type>(&result, l, r, operation)
            } else {
                checked_float::<Float64Type>(&result, l, r, operation)
            }
        })
    });
    let variant = if single { "real" } else { "double precision" };
    function(operation.symbol(), variant, data_type.clone(), Volatility::Immutable, compute)
}

/// Whether a row divides by zero: NaN and NULL may be.
fn divides_by_zero<T: Float>(left: &dyn Datum, right: &dyn Datum) -> bool {
    let ((left, one_left), (right, one_right)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
    let is_zero = |row: usize| right.is_valid(row) && right.value(row) == T::Native::default();
    if one_right && !is_zero(0) {
        return false;
    }
    let rows = if one_left { right.len() } else { left.len() };
    (0..rows).any(|row| {
        let (l, r) = (if one_left { 0 } else { row }, if one_right { 0 } else { row });
        is_zero(r) && left.is_valid(l) && !T::is_nan(left.value(l))
    })
}

trait Float: ArrowPrimitiveType {
    fn is_infinite(value: Self::Native) -> bool;
    fn is_nan(value: Self::Native) -> bool;
    fn nan() -> Self::Native;
}

impl Float for Float32Type {
    fn is_infinite(value: f32) -> bool {
        value.is_infinite()
    }
    fn is_nan(value: f32) -> bool {
        value.is_nan()
    }
    fn nan() -> f32 {
        f32::NAN
    }
}

impl Float for Float64Type {
    fn is_infinite(value: f64) -> bool {
        value.is_infinite()
    }
    fn is_nan(value: f64) -> bool {
        value.is_nan()
    }
    fn nan() -> f64 {
        f64::NAN
    }
}

/// Refuses overflow and underflow and gives every NaN one bit pattern, so that they compare equal.
fn checked_float<T: Float>(
    result: &ArrayRef,
    left: &dyn Datum,
    right: &dyn Datum,
    operation: Operation,
) -> Result<ArrayRef, SqlError> {
    let values = result.as_primitive::<T>();
    let zero = T::Native::ZERO;
    let product = matches!(operation, Operation::Multiply | Operation::Divide);
    let suspicious = |v: T::Native| T::is_infinite(v) || T::is_nan(v) || product && v.is_zero();
    if !values.iter().flatten().any(suspicious) {
        return Ok(Arc::clone(result));
    }
    let side = |datum: &dyn Datum, row: usize| {
        let (array, scalar) = datum.get();
        array.as_primitive::<T>().value(if scalar { 0 } else { row })
    };
    let mut out = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        if values.is_null(row) {
            out.push(None);
            continue;
        }
        let (value, l, r) = (values.value(row), side(left, row), side(right, row));
        let finite = !T::is_infinite(l) && !T::is_infinite(r);
        if T::is_infinite(value) && finite {
            return Err(SqlError::new(
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "value out of range: overflow",
            ));
        }
        let divided = operation == Operation::Divide;
        if product && value.is_eq(zero) && !l.is_zero() && (divided || !r.is_zero()) && finite {
            return Err(SqlError::new(
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "value out of range: underflow",
            ));
        }
        out.push(Some(if T::is_nan(value) { T::nan() } else { value }));
    }
    Ok(Arc::new(PrimitiveArray::<T>::from_iter(out)))
}

/// The shape of a sum, difference or product of decimals; `None` if only the functions over
/// numerics of any size can hold it.
#[must_use]
pub fn decimal_result(
    operation: Operation,
    left: NumericShape,
    right: NumericShape,
) -> Option<NumericShape> {
    let (p1, s1) = (i32::from(left.precision), i32::from(left.scale));
    let (p2, s2) = (i32::from(right.precision), i32::from(right.scale));
    let (precision, scale) = match operation {
        Operation::Add | Operation::Subtract => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Operation::Multiply => (p1 + p2, s1 + s2),
        Operation::Divide | Operation::Modulo => return None,
    };
    // Products of a wide and a narrow number stay in 128 bits although they might not fit: what
    // does not fit is refused when it happens. That keeps prices times discounts fast.
    let narrow = p1 <= 38 && p2 <= 38;
    let product = operation == Operation::Multiply;
    let limit = if precision <= 38 || product && narrow && p1.min(p2) <= 18 { 38 } else { 76 };
    if scale > limit || precision > limit && limit == 76 {
        return None;
    }
    Some(NumericShape { precision: precision.min(limit) as u16, scale: scale as i16 })
}

/// Addition, subtraction or multiplication of decimals, whose types are both 128 or both 256 bits
/// wide, as the result is.
pub fn decimal(
    operation: Operation,
    left: NumericShape,
    right: NumericShape,
    result: NumericShape,
) -> Arc<ScalarUDF> {
    let returns = super::shape_type(result);
    let data_type = returns.clone();
    let compute: Compute = Arc::new(move |args, _, _| {
        with_kernel(args, |l, r| {
            let too_large = || SqlError::not_supported("a numeric result of so many digits");
            let computed = operation.kernel()(l, r).map_err(|_| too_large())?;
            match &data_type {
                DataType::Decimal128(precision, scale) => {
                    let values = computed.as_primitive::<Decimal128Type>();
                    let typed = values.clone().with_data_type(data_type.clone());
                    if *precision == 38 {
                        typed.validate_decimal_precision(38).map_err(|_| too_large())?;
                    }
                    debug_assert_eq!(values.scale(), *scale);
                    Ok(Arc::new(typed) as ArrayRef)
                }
                _ => {
                    let values = computed.as_primitive::<Decimal256Type>();
                    let typed = values.clone().with_data_type(data_type.clone());
                    if result.precision == 76 {
                        typed.validate_decimal_precision(76).map_err(|_| too_large())?;
                    }
                    Ok(Arc::new(typed) as ArrayRef)
                }
            }
        })
    });
    let variant = format!("{left:?} {right:?}");
    function(operation.symbol(), variant, returns, Volatility::Immutable, compute)
}

/// Unary minus over integers, floats and decimals.
pub fn negate(data_type: &DataType) -> Arc<ScalarUDF> {
    let returns = data_type.clone();
    let compute = super::scalar::strict(returns.clone(), |args| {
        let name = match args[0].data_type() {
            DataType::Int16 => "smallint",
            DataType::Int32 => "integer",
            _ => "bigint",
        };
        let result = numeric::neg(args[0].as_ref()).map_err(|_| out_of_range(name))?;
        // A NaN keeps the one bit pattern it has.
        Ok(match result.data_type() {
            DataType::Float32 => {
                let values = result.as_primitive::<Float32Type>();
                Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }))
            }
            DataType::Float64 => {
                let values = result.as_primitive::<Float64Type>();
                Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }))
            }
            _ => result,
        })
    });
    function("-", format!("{data_type}"), returns, Volatility::Immutable, compute)
}

/// `abs` over integers and floats.
pub fn absolute(data_type: &DataType) -> Arc<ScalarUDF> {
    let returns = data_type.clone();
    let compute = super::scalar::strict(returns.clone(), |args| {
        let array = &args[0];
        Ok(match array.data_type() {
            DataType::Int16 => absolute_integers::<Int16Type>(array, i16::checked_abs, "smallint")?,
            DataType::Int32 => absolute_integers::<Int32Type>(array, i32::checked_abs, "integer")?,
            DataType::Int64 => absolute_integers::<Int64Type>(array, i64::checked_abs, "bigint")?,
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>();
                Arc::new(values.iter().map(|v| v.map(f32::abs)).collect::<Float32Array>())
            }
            _ => {
                let values = array.as_primitive::<Float64Type>();
                Arc::new(values.iter().map(|v| v.map(f64::abs)).collect::<Float64Array>())
            }
        })
    });
    function("abs", format!("{data_type}"), returns, Volatility::Immutable, compute)
}

fn absolute_integers<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    abs: fn(T::Native) -> Option<T::Native>,
    name: &str,
) -> Result<ArrayRef, SqlError> {
    let values = array.as_primitive::<T>();
    let result: PrimitiveArray<T> = values
        .try_unary(|v| abs(v).ok_or(ArrowError::DivideByZero))
        .map_err(|_| out_of_range(name))?;
    Ok(Arc::new(result))
}
