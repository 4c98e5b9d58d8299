//! Mathematical functions.

use super::{
    Builtin, Out,
    Type::{Float8, Int4, Int8, Numeric},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        decimal::{Decimal, division_by_zero},
        given_up,
    },
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("ceil", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().ceil()))),
    builtin("ceiling", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().ceil()))),
    builtin("floor", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().floor()))),
    builtin("round", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().round_ties_even()))),
    builtin("trunc", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().trunc()))),
    builtin("sign", &[Float8], Float8, |a, _| {
        let v = a[0].float();
        Ok(Out::Float(if v == 0.0 || v.is_nan() { 0.0 } else { v.signum() }))
    }),
    builtin("ceiling", &[Numeric], Numeric, |a, _| Ok(Out::Numeric(numeric(&a[0]).ceil()))),
    builtin("sqrt", &[Float8], Float8, |a, _| {
        if a[0].float() < 0.0 {
            return Err(negative_root());
        }
        finite(a[0].float().sqrt(), a)
    }),
    builtin("cbrt", &[Float8], Float8, |a, _| finite(a[0].float().cbrt(), a)),
    builtin("exp", &[Float8], Float8, |a, _| finite(a[0].float().exp(), a)),
    builtin("ln", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::ln)),
    builtin("log", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::log10)),
    builtin("log10", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::log10)),
    builtin("power", &[Float8, Float8], Float8, |a, _| power(a)),
    builtin("pow", &[Float8, Float8], Float8, |a, _| power(a)),
    builtin("power", &[Numeric, Numeric], Numeric, |a, _| numeric_power(&a[0], &a[1])),
    builtin("pow", &[Numeric, Numeric], Numeric, |a, _| numeric_power(&a[0], &a[1])),
    builtin("pi", &[], Float8, |_, _| Ok(Out::Float(std::f64::consts::PI))),
    builtin("degrees", &[Float8], Float8, |a, _| finite(a[0].float().to_degrees(), a)),
    builtin("radians", &[Float8], Float8, |a, _| finite(a[0].float().to_radians(), a)),
    builtin("sin", &[Float8], Float8, |a, _| trigonometric(a, f64::sin)),
    builtin("cos", &[Float8], Float8, |a, _| trigonometric(a, f64::cos)),
    builtin("tan", &[Float8], Float8, |a, _| trigonometric(a, f64::tan)),
    builtin("cot", &[Float8], Float8, |a, _| trigonometric(a, |v| 1.0 / v.tan())),
    builtin("asin", &[Float8], Float8, |a, _| inverse(a, f64::asin)),
    builtin("acos", &[Float8], Float8, |a, _| inverse(a, f64::acos)),
    builtin("atan", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().atan()))),
    builtin("atan2", &[Float8, Float8], Float8, |a, _| {
        Ok(Out::Float(a[0].float().atan2(a[1].float())))
    }),
    builtin("sinh", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().sinh()))),
    builtin("cosh", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().cosh()))),
    builtin("tanh", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().tanh()))),
    builtin("mod", &[Int4, Int4], Int4, |a, _| remainder(a)),
    builtin("mod", &[Int8, Int8], Int8, |a, _| remainder(a)),
    builtin("mod", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).remainder(&numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("div", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).divide_truncated(&numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("gcd", &[Int4, Int4], Int4, |a, _| Ok(Out::Int(gcd(a[0].int(), a[1].int())))),
    builtin("gcd", &[Int8, Int8], Int8, |a, _| Ok(Out::Int(gcd(a[0].int(), a[1].int())))),
    builtin("lcm", &[Int4, Int4], Int4, |a, _| lcm(a)),
    builtin("lcm", &[Int8, Int8], Int8, |a, _| lcm(a)),
    builtin("scale", &[Numeric], Int4, |a, _| Ok(Out::Int(i64::from(numeric(&a[0]).scale())))),
    builtin("width_bucket", &[Float8, Float8, Float8, Int4], Int4, |a, _| width_bucket(a)),
];

fn numeric(value: &Value<'_>) -> Decimal {
    match value {
        Value::Numeric(value) => value.clone(),
        _ => Decimal::new(0, 0),
    }
}

fn negative_root() -> SqlError {
    SqlError::new(
        sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "cannot take square root of a negative number",
    )
}

/// Refuses what became infinite without an infinite argument.
fn finite(value: f64, args: &[Value<'_>]) -> Result<Out, SqlError> {
    let given = args.iter().any(|a| a.float().is_infinite());
    if value.is_infinite() && !given {
        return Err(SqlError::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            "value out of range: overflow",
        ));
    }
    Ok(Out::Float(value))
}

fn logarithm(value: f64, of: fn(f64) -> f64) -> Result<Out, SqlError> {
    let error = |message| Err(SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM, message));
    if value == 0.0 {
        return error("cannot take logarithm of zero");
    }
    if value < 0.0 {
        return error("cannot take logarithm of a negative number");
    }
    Ok(Out::Float(of(value)))
}

fn power(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (base, exponent) = (args[0].float(), args[1].float());
    let error =
        |message| Err(SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    if base == 0.0 && exponent < 0.0 {
        return error("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return error("a negative number raised to a non-integer power yields a complex result");
    }
    finite(base.powf(exponent), args)
}

/// Whole exponents only: others need logarithms to many digits.
fn numeric_power(base: &Value<'_>, exponent: &Value<'_>) -> Result<Out, SqlError> {
    let (base, exponent) = (numeric(base), numeric(exponent));
    let whole = exponent.to_i128().filter(|e| {
        (0..=400).contains(e) && Decimal::new(*e, 0).compare(&exponent) == std::cmp::Ordering::Equal
    });
    let Some(whole) = whole else {
        return Err(SqlError::not_supported(format!("numeric power with exponent {exponent}"))
            .hint("Cast to double precision, or use a whole exponent from 0 to 400."));
    };
    let mut result = Decimal::new(1, 0);
    for _ in 0..whole {
        given_up::check()?;
        result = result.multiply(&base);
        if result.overflows() {
            let message = "value overflows numeric format";
            return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
    }
    // PostgreSQL gives 16 significant digits at least.
    let digits = result.abs().truncate(0).to_string().len() as i64;
    let leading = if result.abs().compare(&Decimal::new(1, 0)) == std::cmp::Ordering::Less {
        0
    } else {
        digits - 1
    };
    let scale = (16 - leading).max(i64::from(base.scale())).max(0);
    Ok(Out::Numeric(result.round(scale)))
}

fn trigonometric(args: &[Value<'_>], of: fn(f64) -> f64) -> Result<Out, SqlError> {
    if args[0].float().is_infinite() {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Out::Float(of(args[0].float())))
}

fn inverse(args: &[Value<'_>], of: fn(f64) -> f64) -> Result<Out, SqlError> {
    let value = args[0].float();
    if !(-1.0..=1.0).contains(&value) && !value.is_nan() {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Out::Float(of(value)))
}

fn remainder(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (left, right) = (args[0].int(), args[1].int());
    if right == 0 {
        return Err(division_by_zero());
    }
    Ok(Out::Int(left.wrapping_rem(right)))
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(i64::MAX)
}

fn lcm(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (a, b) = (args[0].int(), args[1].int());
    if a == 0 || b == 0 {
        return Ok(Out::Int(0));
    }
    (a / gcd(a, b))
        .checked_mul(b)
        .and_then(i64::checked_abs)
        .map(Out::Int)
        .ok_or_else(|| SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"))
}

fn width_bucket(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (operand, low, high, count) =
        (args[0].float(), args[1].float(), args[2].float(), args[3].int());
    let error = |message| Err(SqlError::new("2201G", message));
    if count <= 0 {
        return error("count must be greater than zero");
    }
    if low == high {
        return error("lower bound cannot equal upper bound");
    }
    let bucket = if low < high {
        if operand < low {
            0
        } else if operand >= high {
            count + 1
        } else {
            ((operand - low) / (high - low) * count as f64) as i64 + 1
        }
    } else if operand > low {
        0
    } else if operand <= high {
        count + 1
    } else {
        ((low - operand) / (low - high) * count as f64) as i64 + 1
    };
    Ok(Out::Int(bucket))
}
