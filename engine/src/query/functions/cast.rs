//! Casts between types, each as PostgreSQL rounds, pads, refuses and prints.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBuilder,
        Decimal128Array, Float32Array, Float64Array, PrimitiveArray, StringViewBuilder,
    },
    datatypes::{
        DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        UInt32Type,
    },
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{
    datetime,
    decimal::Decimal,
    given_up,
    memory::Memory,
    numeric::{self, Numeric, NumericColumn},
    scalar::{evaluate, function, infallible, internal, strict, strict_charged, variant_of},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        NumericShape, PgType,
        jsonb::{Jsonb, View},
        text::{ColumnBuilder, FormatSettings, TextEncoder, fit, numeric_overflow},
    },
};

type ArrayFunction = Box<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, SqlError> + Send + Sync>;

/// Whether values of the type are text in memory and mean what they show.
#[must_use]
pub fn is_text(pg_type: &PgType) -> bool {
    matches!(
        pg_type,
        PgType::Text
            | PgType::Varchar(_)
            | PgType::Bpchar(_)
            | PgType::Char
            | PgType::Name
            | PgType::Unknown
    )
}

#[must_use]
pub fn is_integer(pg_type: &PgType) -> bool {
    matches!(pg_type, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

#[must_use]
pub fn is_float(pg_type: &PgType) -> bool {
    matches!(pg_type, PgType::Float4 | PgType::Float8)
}

fn is_oid_like(pg_type: &PgType) -> bool {
    pg_type.arrow_type() == DataType::UInt32
}

/// A cast as a function of one argument; `None` if PostgreSQL has no such cast. `explicit`: written
/// by the user, so that too long text is cut instead of refused.
pub fn cast(
    from: &PgType,
    to: &PgType,
    explicit: bool,
    settings: &FormatSettings,
) -> Option<Arc<ScalarUDF>> {
    let compute: ArrayFunction = match (from, to) {
        (PgType::Numeric(_), PgType::Numeric(Some(shape))) => return Some(to_shape(from, *shape)),
        (f, PgType::Numeric(Some(shape))) if is_integer(f) => {
            return Some(numeric::to_shape(*shape));
        }
        (PgType::Numeric(_), PgType::Numeric(None)) => return Some(numeric::to_text()),
        (f, PgType::Numeric(None)) if is_integer(f) => return Some(numeric::to_text()),
        (PgType::Numeric(_), PgType::Float8) => return Some(numeric::to_float8()),
        (PgType::Bpchar(Some(n)), PgType::Bpchar(None)) => return Some(padded(*n)),
        (PgType::Bpchar(None), PgType::Bpchar(Some(_)) | PgType::Name | PgType::Char) => {
            text_to_text(to, explicit)?
        }
        (PgType::Bpchar(None), t) if is_text(t) => {
            let fitted = text_to_text(t, explicit)?;
            Box::new(move |args| fitted(&[trim_end(&args[0])]))
        }
        (f, t) if is_text(f) && is_text(t) => text_to_text(t, explicit)?,
        (f, PgType::Numeric(shape)) if is_float(f) => float_to_numeric(*shape),
        (f, t) if (is_integer(f) || is_oid_like(f)) && (is_integer(t) || is_oid_like(t)) => {
            integer_to_integer(t.clone())
        }
        (f, t) if (is_integer(f) || is_float(f)) && is_float(t) => to_float(t.clone()),
        (PgType::Numeric(_), PgType::Float4) => Box::new(numeric_to_float4),
        (f, t) if is_float(f) && is_integer(t) => float_to_integer(t.clone()),
        (PgType::Numeric(_), t) if is_integer(t) => numeric_to_integer(t.clone()),
        (PgType::Int4, PgType::Bool) => Box::new(|args| {
            let values = args[0].as_primitive::<Int32Type>();
            Ok(Arc::new(values.iter().map(|v| v.map(|v| v != 0)).collect::<BooleanArray>()))
        }),
        (PgType::Bool, PgType::Int4) => {
            Box::new(|args| arrow::compute::cast(&args[0], &DataType::Int32).map_err(internal))
        }
        (PgType::Json, PgType::Jsonb) => from_text(PgType::Jsonb, settings.clone()),
        (PgType::Jsonb, PgType::Json) => {
            to_text(PgType::Jsonb, PgType::Text, explicit, settings.clone())
        }
        (PgType::Jsonb, PgType::Bool) => Box::new(jsonb_to_bool),
        (PgType::Jsonb, t) if is_integer(t) || is_float(t) || matches!(t, PgType::Numeric(_)) => {
            jsonb_to_number(t.clone(), settings)
        }
        (PgType::Bool, t) if is_text(t) && !matches!(t, PgType::Name | PgType::Char) => {
            bool_to_text(t.clone())
        }
        (f, t) if datetime::has_cast(f, t) || datetime::rounds(f, t) => {
            datetime::cast(f, t, settings)?
        }
        (_, PgType::Void) | (PgType::Void, _) => return None,
        (f, t) if is_text(f) && !is_oid_like(t) => from_text(t.clone(), settings.clone()),
        (f, t) if is_text(f) && *t == PgType::Oid => from_text(t.clone(), settings.clone()),
        // The names behind regclass and kin are the catalog's to give.
        (f, t) if is_text(t) && (!is_oid_like(f) || *f == PgType::Oid) => {
            to_text(f.clone(), t.clone(), explicit, settings.clone())
        }
        _ => return None,
    };
    let returns = to.arrow_type();
    let variant = format!("{from:?} to {to:?}, {explicit}, {settings:?}");
    let name = &to.without_modifier().sql_name();
    let compute = strict(returns.clone(), compute);
    Some(if always_casts(from, to) {
        infallible(name, variant, returns, compute)
    } else {
        function(name, variant, returns, Volatility::Immutable, compute)
    })
}

/// Whether a cast has a result for every value.
fn always_casts(from: &PgType, to: &PgType) -> bool {
    match to {
        PgType::Text | PgType::Varchar(None) | PgType::Bpchar(None) => true,
        PgType::Bool | PgType::Int4 => matches!((from, to), (PgType::Int4, _) | (PgType::Bool, _)),
        _ => false,
    }
}

fn trim_end(array: &ArrayRef) -> ArrayRef {
    let values = array.as_string_view();
    let mut out = StringViewBuilder::with_capacity(values.len());
    for value in values {
        out.append_option(value.map(|v| v.trim_end_matches(' ')));
    }
    Arc::new(out.finish())
}

/// Text without the blanks at its end, which is how values of `char` compare.
pub fn blank_trimmed() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, |args| Ok(trim_end(&args[0])));
    infallible("bpchar_trim", "", DataType::Utf8View, compute)
}

/// Casts a text column's values to text of another type: lengths are enforced.
fn text_to_text(to: &PgType, explicit: bool) -> Option<ArrayFunction> {
    let to = to.clone();
    Some(Box::new(move |args| {
        let values = args[0].as_string_view();
        let mut out = StringViewBuilder::with_capacity(values.len());
        for value in values {
            match value {
                None => out.append_null(),
                Some(text) => out.append_value(fit(text, &to, explicit)?),
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}

fn no_such_cast(value: Jsonb<'_>, to: &PgType) -> SqlError {
    let what = match value.view() {
        View::Number(_) => "numeric",
        _ => value.type_name(),
    };
    let to = to.sql_name();
    let to = to.split('(').next().unwrap_or(&to);
    let message = format!("cannot cast jsonb {what} to type {to}");
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn jsonb_to_bool(args: &[ArrayRef]) -> Result<ArrayRef, SqlError> {
    let mut out = BooleanBuilder::with_capacity(args[0].len());
    for value in args[0].as_binary::<i32>() {
        match value.map(Jsonb::new) {
            None => out.append_null(),
            Some(value) => match value.view() {
                View::Bool(value) => out.append_value(value),
                _ => return Err(no_such_cast(value, &PgType::Bool)),
            },
        }
    }
    Ok(Arc::new(out.finish()))
}

fn jsonb_to_number(to: PgType, settings: &FormatSettings) -> ArrayFunction {
    let bare = PgType::Numeric(None);
    let number = (to != bare).then(|| cast(&bare, &to, true, settings)).flatten();
    Box::new(move |args| {
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for value in args[0].as_binary::<i32>() {
            match value.map(Jsonb::new) {
                None => out.append_null(),
                Some(value) => match value.view() {
                    View::Number(text) => out.append_value(text),
                    _ => return Err(no_such_cast(value, &to)),
                },
            }
        }
        let numbers: ArrayRef = Arc::new(out.finish());
        match &number {
            None => Ok(numbers),
            Some(udf) => evaluate(udf, numbers, Memory::of_planning()),
        }
    })
}

fn bool_to_text(to: PgType) -> ArrayFunction {
    Box::new(move |args| {
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for value in args[0].as_boolean() {
            match value {
                None => out.append_null(),
                Some(value) => {
                    let text = if value { "true" } else { "false" };
                    out.append_value(fit(text, &to, true)?);
                }
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn to_text(from: PgType, to: PgType, explicit: bool, settings: FormatSettings) -> ArrayFunction {
    Box::new(move |args| {
        let encoder = TextEncoder::new(&args[0], &from, &settings);
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        let mut buffer = Vec::new();
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) {
                out.append_null();
                continue;
            }
            buffer.clear();
            encoder.write(row, &mut buffer);
            let text = std::str::from_utf8(&buffer).map_err(internal)?;
            out.append_value(fit(text, &to, explicit)?);
        }
        Ok(Arc::new(out.finish()))
    })
}

fn from_text(to: PgType, settings: FormatSettings) -> ArrayFunction {
    Box::new(move |args| {
        let values = args[0].as_string_view();
        let mut builder = ColumnBuilder::new(&to, values.len())?;
        for value in values {
            match value {
                None => builder.append_null(),
                Some(text) => builder.append(text, &settings)?,
            }
        }
        Ok(builder.finish())
    })
}

fn out_of_range(to: &PgType) -> SqlError {
    let name = if *to == PgType::Oid { "OID".to_owned() } else { to.sql_name().to_lowercase() };
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
}

fn collect_checked<T: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<i128>>,
    to: &PgType,
) -> Result<ArrayRef, SqlError>
where
    T::Native: TryFrom<i128>,
{
    let mut out = Vec::with_capacity(values.size_hint().0);
    for value in values {
        out.push(match value {
            None => None,
            Some(v) => Some(T::Native::try_from(v).map_err(|_| out_of_range(to))?),
        });
    }
    Ok(Arc::new(PrimitiveArray::<T>::from_iter(out)))
}

fn integers(values: impl Iterator<Item = Option<i128>>, to: &PgType) -> Result<ArrayRef, SqlError> {
    match to {
        PgType::Int2 => collect_checked::<Int16Type>(values, to),
        PgType::Int4 => collect_checked::<Int32Type>(values, to),
        PgType::Int8 => collect_checked::<Int64Type>(values, to),
        _ => collect_checked::<UInt32Type>(values, &PgType::Oid),
    }
}

fn integer_to_integer(to: PgType) -> ArrayFunction {
    Box::new(move |args| match args[0].data_type() {
        // An int2 and an int4 become an OID bit by bit.
        DataType::Int16 => {
            let wrap = is_oid_like(&to);
            let values = args[0].as_primitive::<Int16Type>().iter();
            let wide = |v: i16| match wrap {
                true => i128::from(i32::from(v).cast_unsigned()),
                false => i128::from(v),
            };
            integers(values.map(|v| v.map(wide)), &to)
        }
        DataType::Int32 => {
            let wrap = is_oid_like(&to);
            let values = args[0].as_primitive::<Int32Type>().iter();
            let wide = |v: i32| if wrap { i128::from(v.cast_unsigned()) } else { i128::from(v) };
            integers(values.map(|v| v.map(wide)), &to)
        }
        DataType::Int64 => {
            integers(args[0].as_primitive::<Int64Type>().iter().map(|v| v.map(i128::from)), &to)
        }
        _ => {
            let wrap = to == PgType::Int4;
            let values = args[0].as_primitive::<UInt32Type>().iter();
            let wide = |v: u32| if wrap { i128::from(v.cast_signed()) } else { i128::from(v) };
            integers(values.map(|v| v.map(wide)), &to)
        }
    })
}

fn to_float(to: PgType) -> ArrayFunction {
    Box::new(move |args| {
        let result = arrow::compute::cast(&args[0], &to.arrow_type()).map_err(internal)?;
        if to == PgType::Float4 && *args[0].data_type() == DataType::Float64 {
            let (wide, narrow) =
                (args[0].as_primitive::<Float64Type>(), result.as_primitive::<Float32Type>());
            for (w, n) in wide.iter().zip(narrow.iter()) {
                check_narrowed(w, n)?;
            }
        }
        Ok(result)
    })
}

fn check_narrowed(wide: Option<f64>, narrow: Option<f32>) -> Result<(), SqlError> {
    let (Some(w), Some(n)) = (wide, narrow) else {
        return Ok(());
    };
    let what = if n.is_infinite() && !w.is_infinite() {
        "overflow"
    } else if n == 0.0 && w != 0.0 {
        "underflow"
    } else {
        return Ok(());
    };
    let message = format!("value out of range: {what}");
    Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

fn numeric_to_float4(args: &[ArrayRef]) -> Result<ArrayRef, SqlError> {
    let column = NumericColumn::new(&args[0])?;
    let mut out = Vec::with_capacity(args[0].len());
    for row in 0..args[0].len() {
        given_up::check()?;
        if args[0].is_null(row) {
            out.push(None);
            continue;
        }
        out.push(Some(column.value(row)?.to_f32()?));
    }
    Ok(Arc::new(Float32Array::from(out)))
}

fn float_to_integer(to: PgType) -> ArrayFunction {
    Box::new(move |args| {
        let wide = arrow::compute::cast(&args[0], &DataType::Float64).map_err(internal)?;
        let mut out = Vec::with_capacity(wide.len());
        for value in wide.as_primitive::<Float64Type>() {
            out.push(match value {
                None => None,
                // Half to even, as the C library rounds.
                Some(v) if v.is_finite() => Some(v.round_ties_even() as i128),
                Some(_) => return Err(out_of_range(&to)),
            });
        }
        integers(out.into_iter(), &to)
    })
}

fn no_integer(what: &str, to: &PgType) -> SqlError {
    let message = format!("cannot convert {what} to {}", to.sql_name());
    SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

fn numeric_to_integer(to: PgType) -> ArrayFunction {
    Box::new(move |args| {
        let column = NumericColumn::new(&args[0])?;
        let mut out = Vec::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if args[0].is_null(row) {
                out.push(None);
                continue;
            }
            let value = match column.value(row)? {
                Numeric::Finite(value) => value.to_i128(),
                Numeric::NaN => return Err(no_integer("NaN", &to)),
                Numeric::Infinite(_) => return Err(no_integer("infinity", &to)),
            };
            out.push(Some(value.ok_or_else(|| out_of_range(&to))?));
        }
        integers(out.into_iter(), &to)
    })
}

/// 15 significant digits of a double, 6 of a single, as PostgreSQL converts them.
fn float_to_numeric(shape: Option<NumericShape>) -> ArrayFunction {
    Box::new(move |args| {
        let digits = if *args[0].data_type() == DataType::Float32 { 5 } else { 14 };
        let wide = arrow::compute::cast(&args[0], &DataType::Float64).map_err(internal)?;
        let mut text = StringViewBuilder::with_capacity(wide.len());
        for value in wide.as_primitive::<Float64Type>() {
            match value {
                None => text.append_null(),
                Some(v) if v.is_nan() => text.append_value("NaN"),
                Some(v) if v.is_infinite() => {
                    text.append_value(if v > 0.0 { "Infinity" } else { "-Infinity" });
                }
                Some(v) => {
                    let rounded = Decimal::parse(&format!("{v:.digits$e}"));
                    let rounded = rounded.ok_or_else(|| internal("float as decimal"))?;
                    text.append_value(rounded.trim_scale().to_string());
                }
            }
        }
        let text: ArrayRef = Arc::new(text.finish());
        match shape {
            None => Ok(text),
            Some(shape) => reshape(&text, shape),
        }
    })
}

fn to_shape(from: &PgType, shape: NumericShape) -> Arc<ScalarUDF> {
    let returns = super::shape_type(shape);
    let variant = format!("{from:?} to {shape:?}");
    let compute = strict(returns.clone(), move |args| reshape(&args[0], shape));
    function("numeric", variant, returns, Volatility::Immutable, compute)
}

/// Rounds numerics half away from zero to a shape; 22003 if one does not fit.
fn reshape(array: &ArrayRef, shape: NumericShape) -> Result<ArrayRef, SqlError> {
    let to = super::shape_type(shape);
    if let (DataType::Decimal128(_, from_scale), DataType::Decimal128(precision, scale)) =
        (array.data_type(), &to)
    {
        return reshape_128(array, *from_scale, (*precision, *scale), &to, shape);
    }
    numeric::reshape(array, shape)
}

fn reshape_128(
    array: &ArrayRef,
    from_scale: i8,
    (precision, scale): (u8, i8),
    to: &DataType,
    shape: NumericShape,
) -> Result<ArrayRef, SqlError> {
    let limit = 10_i128.pow(u32::from(precision));
    let difference = i32::from(scale) - i32::from(from_scale);
    let power = 10_i128.pow(difference.unsigned_abs().min(38));
    let rescale = |v: i128| {
        let rescaled = if difference >= 0 {
            v.checked_mul(power)
        } else {
            let (quotient, remainder) = (v / power, v % power);
            let up = remainder.unsigned_abs() * 2 >= power.unsigned_abs();
            Some(if up { quotient + v.signum() } else { quotient })
        };
        rescaled.filter(|v| v.abs() < limit).ok_or(arrow::error::ArrowError::DivideByZero)
    };
    let values = array.as_primitive::<Decimal128Type>();
    let out: Decimal128Array = values
        .try_unary::<_, Decimal128Type, _>(rescale)
        .map_err(|_| numeric_overflow(shape))?
        .with_data_type(to.clone());
    Ok(Arc::new(out))
}

/// Zero without its sign, and one NaN, so that float values that are equal have equal bits.
pub fn canonical_float() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Float64, |args| {
        let values = args[0].as_primitive::<Float64Type>();
        let canonical = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
        Ok(Arc::new(values.iter().map(|v| v.map(canonical)).collect::<Float64Array>()) as ArrayRef)
    });
    infallible("canonical_float8", "", DataType::Float64, compute)
}

/// [`canonical_float`] over `real`.
pub fn canonical_float4() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Float32, |args| {
        let values = args[0].as_primitive::<Float32Type>();
        let canonical = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
        Ok(Arc::new(values.iter().map(|v| v.map(canonical)).collect::<Float32Array>()) as ArrayRef)
    });
    infallible("canonical_float4", "", DataType::Float32, compute)
}

/// Whether a function is one of these two.
#[must_use]
pub fn is_canonical_float(udf: &ScalarUDF) -> bool {
    ["canonical_float8", "canonical_float4"].iter().any(|name| variant_of(udf, name).is_some())
}

/// `char(n)` with its blanks, as pattern matching sees it; it is kept without them.
pub fn padded(length: u32) -> Arc<ScalarUDF> {
    let compute = strict_charged(DataType::Utf8View, move |args, memory| {
        let mut charge = memory.charge();
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for value in args[0].as_string_view() {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            let missing = (length as usize).saturating_sub(value.chars().count());
            charge.add(value.len() + missing)?;
            out.append_value(format!("{value}{}", " ".repeat(missing)));
        }
        charge.attach(Arc::new(out.finish()))
    });
    let variant = length.to_string();
    infallible("bpchar_pad", variant, DataType::Utf8View, compute)
}
