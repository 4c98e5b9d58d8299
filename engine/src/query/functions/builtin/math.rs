//! Mathematical functions.

use super::{
    Builtin, Out,
    Type::{Float8, Int4, Int8, Numeric, Text},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        decimal::{Decimal, division_by_zero},
        number_format::{Number, to_char},
        numeric,
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
    builtin("ceiling", &[Numeric], Numeric, |a, _| {
        Ok(Out::Numeric(numeric(&a[0]).map(Decimal::ceil)))
    }),
    builtin("sqrt", &[Float8], Float8, |a, _| {
        if a[0].float() < 0.0 {
            return Err(negative_root());
        }
        finite(a[0].float().sqrt(), a)
    }),
    builtin("cbrt", &[Float8], Float8, |a, _| finite(a[0].float().cbrt(), a)),
    builtin("exp", &[Float8], Float8, |a, _| {
        let v = a[0].float();
        match v.exp() {
            0.0 if v.is_finite() => Err(underflow()),
            value => finite(value, a),
        }
    }),
    builtin("ln", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::ln)),
    builtin("log", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::log10)),
    builtin("log10", &[Float8], Float8, |a, _| logarithm(a[0].float(), f64::log10)),
    builtin("power", &[Float8, Float8], Float8, |a, _| power(a)),
    builtin("pow", &[Float8, Float8], Float8, |a, _| power(a)),
    builtin("power", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).power(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("pow", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).power(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("exp", &[Numeric], Numeric, |a, _| numeric(&a[0]).exp().map(Out::Numeric)),
    builtin("ln", &[Numeric], Numeric, |a, _| numeric(&a[0]).ln().map(Out::Numeric)),
    builtin("log", &[Numeric], Numeric, |a, _| common_logarithm(numeric(&a[0]))),
    builtin("log10", &[Numeric], Numeric, |a, _| common_logarithm(numeric(&a[0]))),
    builtin("log", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[1]).log(numeric(&a[0])).map(Out::Numeric)
    }),
    builtin("pi", &[], Float8, |_, _| Ok(Out::Float(std::f64::consts::PI))),
    builtin("degrees", &[Float8], Float8, |a, _| finite(a[0].float().to_degrees(), a)),
    builtin("radians", &[Float8], Float8, |a, _| {
        let v = a[0].float();
        match v.to_radians() {
            0.0 if v != 0.0 => Err(underflow()),
            value => finite(value, a),
        }
    }),
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
    builtin("asinh", &[Float8], Float8, |a, _| Ok(Out::Float(a[0].float().asinh()))),
    builtin("acosh", &[Float8], Float8, |a, _| {
        within(a[0].float(), 1.0, f64::INFINITY, f64::acosh)
    }),
    builtin("atanh", &[Float8], Float8, |a, _| within(a[0].float(), -1.0, 1.0, f64::atanh)),
    builtin("mod", &[Int4, Int4], Int4, |a, _| remainder(a)),
    builtin("mod", &[Int8, Int8], Int8, |a, _| remainder(a)),
    builtin("mod", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).remainder(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("div", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).divide_truncated(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("gcd", &[Int4, Int4], Int4, |a, _| gcd(a[0].int(), a[1].int()).map(Out::Int)),
    builtin("gcd", &[Int8, Int8], Int8, |a, _| gcd(a[0].int(), a[1].int()).map(Out::Int)),
    builtin("gcd", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).gcd(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("lcm", &[Int4, Int4], Int4, |a, _| lcm(a)),
    builtin("lcm", &[Int8, Int8], Int8, |a, _| lcm(a)),
    builtin("lcm", &[Numeric, Numeric], Numeric, |a, _| {
        numeric(&a[0]).lcm(numeric(&a[1])).map(Out::Numeric)
    }),
    builtin("scale", &[Numeric], Int4, |a, _| scale(numeric(&a[0]), Decimal::scale)),
    builtin("min_scale", &[Numeric], Int4, |a, _| scale(numeric(&a[0]), Decimal::min_scale)),
    builtin("to_char", &[Numeric, Text], Text, |a, _| {
        to_char(&Number::Exact(numeric(&a[0]).clone()), a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Int4, Text], Text, |a, _| {
        to_char(&Number::Int4(a[0].int() as i32), a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Int8, Text], Text, |a, _| {
        let number = Number::Exact(Decimal::new(a[0].int(), 0).into());
        to_char(&number, a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Float8, Text], Text, |a, _| {
        to_char(&Number::Double(a[0].float()), a[1].text()).map(Out::Text)
    }),
    // `to_char` of real comes here.
    builtin("float4_to_char", &[Float8, Text], Text, |a, _| {
        to_char(&Number::Single(a[0].float() as f32), a[1].text()).map(Out::Text)
    }),
    builtin("numeric_inc", &[Numeric], Numeric, |a, _| {
        numeric(&a[0]).add(&Decimal::new(1, 0).into()).map(Out::Numeric)
    }),
    builtin("width_bucket", &[Float8, Float8, Float8, Int4], Int4, |a, _| width_bucket(a)),
    builtin("width_bucket", &[Numeric, Numeric, Numeric, Int4], Int4, |a, _| {
        numeric_width_bucket(numeric(&a[0]), numeric(&a[1]), numeric(&a[2]), a[3].int())
    }),
];

fn numeric<'v>(value: &'v Value<'_>) -> &'v numeric::Numeric {
    match value {
        Value::Numeric(value) => value,
        _ => &numeric::Numeric::NaN,
    }
}

fn common_logarithm(value: &numeric::Numeric) -> Result<Out, SqlError> {
    value.log(&Decimal::new(10, 0).into()).map(Out::Numeric)
}

/// NULL for what is not finite.
fn scale(value: &numeric::Numeric, of: fn(&Decimal) -> u32) -> Result<Out, SqlError> {
    Ok(value.finite().map_or(Out::Null, |value| Out::Int(i64::from(of(value)))))
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

fn underflow() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")
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

/// A function over the numbers between two bounds, and NaN.
fn within(value: f64, least: f64, most: f64, of: fn(f64) -> f64) -> Result<Out, SqlError> {
    if value < least || value > most {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Out::Float(of(value)))
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

fn out_of_range() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
}

/// As PostgreSQL has no positive number for that of the least integer, neither has its divisor.
fn gcd(a: i64, b: i64) -> Result<i64, SqlError> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).map_err(|_| out_of_range())
}

fn lcm(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (a, b) = (args[0].int(), args[1].int());
    if a == 0 || b == 0 {
        return Ok(Out::Int(0));
    }
    let multiple = i128::from(a) / i128::from(gcd(a, b)?) * i128::from(b);
    i64::try_from(multiple.abs()).map(Out::Int).map_err(|_| out_of_range())
}

fn no_bucket(message: &str) -> SqlError {
    SqlError::new("2201G", message)
}

fn check_buckets(count: i64, nan: bool, infinite: bool) -> Result<(), SqlError> {
    if count <= 0 {
        return Err(no_bucket("count must be greater than zero"));
    }
    if nan {
        return Err(no_bucket("operand, lower bound, and upper bound cannot be NaN"));
    }
    if infinite {
        return Err(no_bucket("lower and upper bounds must be finite"));
    }
    Ok(())
}

fn width_bucket(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let (operand, low, high, count) =
        (args[0].float(), args[1].float(), args[2].float(), args[3].int());
    let nan = operand.is_nan() || low.is_nan() || high.is_nan();
    check_buckets(count, nan, low.is_infinite() || high.is_infinite())?;
    // Downwards it is the same with the signs exchanged.
    let (operand, low, high) =
        if low > high { (-operand, -low, -high) } else { (operand, low, high) };
    if low == high {
        return Err(no_bucket("lower bound cannot equal upper bound"));
    }
    if operand < low {
        return Ok(Out::Int(0));
    }
    if operand >= high {
        return Ok(Out::Int(count + 1));
    }
    let width = high - low;
    let share = if width.is_infinite() {
        (operand / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
    } else {
        (operand - low) / width
    };
    let bucket = (count as f64 * share) as i64;
    // The quotient may have been rounded to 1.
    Ok(Out::Int(bucket.min(count - 1) + 1))
}

fn numeric_width_bucket(
    operand: &numeric::Numeric,
    low: &numeric::Numeric,
    high: &numeric::Numeric,
    count: i64,
) -> Result<Out, SqlError> {
    let nan = operand.is_nan() || low.is_nan() || high.is_nan();
    check_buckets(count, nan, low.is_infinite() || high.is_infinite())?;
    let order = low.compare(high);
    if order.is_eq() {
        return Err(no_bucket("lower bound cannot equal upper bound"));
    }
    // Seen from the first bound towards the second.
    let beyond = |bound: &numeric::Numeric| match order.is_lt() {
        true => operand.compare(bound),
        false => bound.compare(operand),
    };
    if beyond(low).is_lt() {
        return Ok(Out::Int(0));
    }
    if !beyond(high).is_lt() {
        return Ok(Out::Int(count + 1));
    }
    let buckets = Decimal::new(count, 0).into();
    let way = operand.subtract(low)?.multiply(&buckets)?;
    let whole = way.divide_truncated(&high.subtract(low)?)?;
    let bucket = whole.finite().and_then(Decimal::to_i128).unwrap_or(0);
    Ok(Out::Int(bucket as i64 + 1))
}
