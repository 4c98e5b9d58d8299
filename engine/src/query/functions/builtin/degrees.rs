//! Trigonometry in degrees: exact where the result is a simple number.

use std::sync::LazyLock;

use super::{Builtin, Out, Type::Float8, builtin};
use crate::error::{SqlError, sqlstate};

pub(super) static TABLE: &[Builtin] = &[
    builtin("sind", &[Float8], Float8, |a, _| of_angle(a[0].float(), sine)),
    builtin("cosd", &[Float8], Float8, |a, _| of_angle(a[0].float(), cosine)),
    builtin("tand", &[Float8], Float8, |a, _| of_angle(a[0].float(), tangent)),
    builtin("cotd", &[Float8], Float8, |a, _| of_angle(a[0].float(), cotangent)),
    builtin("asind", &[Float8], Float8, |a, _| of_ratio(a[0].float(), arc_sine)),
    builtin("acosd", &[Float8], Float8, |a, _| of_ratio(a[0].float(), arc_cosine)),
    builtin("atand", &[Float8], Float8, |a, _| {
        Ok(Out::Float(a[0].float().atan() / KNOWN.atan_1 * 45.0))
    }),
    builtin("atan2d", &[Float8, Float8], Float8, |a, _| {
        Ok(Out::Float(a[0].float().atan2(a[1].float()) / KNOWN.atan_1 * 45.0))
    }),
];

/// What the library's functions make of angles whose results are known: by these, results are
/// scaled.
struct Known {
    sin_30: f64,
    one_minus_cos_60: f64,
    asin_half: f64,
    acos_half: f64,
    atan_1: f64,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    sin_30: 30_f64.to_radians().sin(),
    one_minus_cos_60: 1.0 - 60_f64.to_radians().cos(),
    asin_half: 0.5_f64.asin(),
    acos_half: 0.5_f64.acos(),
    atan_1: 1_f64.atan(),
});

fn out_of_range() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn of_angle(angle: f64, of: fn(f64) -> f64) -> Result<Out, SqlError> {
    match angle {
        angle if angle.is_nan() => Ok(Out::Float(f64::NAN)),
        angle if angle.is_infinite() => Err(out_of_range()),
        angle => Ok(Out::Float(of(angle % 360.0))),
    }
}

fn of_ratio(ratio: f64, of: fn(f64) -> f64) -> Result<Out, SqlError> {
    match ratio {
        ratio if ratio.is_nan() => Ok(Out::Float(f64::NAN)),
        ratio if !(-1.0..=1.0).contains(&ratio) => Err(out_of_range()),
        ratio => Ok(Out::Float(of(ratio))),
    }
}

fn sine_to_30(angle: f64) -> f64 {
    angle.to_radians().sin() / KNOWN.sin_30 / 2.0
}

fn cosine_to_60(angle: f64) -> f64 {
    1.0 - (1.0 - angle.to_radians().cos()) / KNOWN.one_minus_cos_60 / 2.0
}

/// Of angles from 0 to 90.
fn first_sine(angle: f64) -> f64 {
    if angle <= 30.0 { sine_to_30(angle) } else { cosine_to_60(90.0 - angle) }
}

fn first_cosine(angle: f64) -> f64 {
    if angle <= 60.0 { cosine_to_60(angle) } else { sine_to_30(90.0 - angle) }
}

/// An angle without its sign, at most 180, and whether the half turn or the sign was turned.
fn half_turn(angle: f64) -> (f64, bool) {
    // The sign of zero stays.
    let (angle, negative) = if angle < 0.0 { (-angle, true) } else { (angle, false) };
    if angle > 180.0 { (360.0 - angle, !negative) } else { (angle, negative) }
}

fn signed(value: f64, negative: bool) -> f64 {
    if negative { -value } else { value }
}

fn sine(angle: f64) -> f64 {
    let (angle, negative) = half_turn(angle);
    signed(first_sine(if angle > 90.0 { 180.0 - angle } else { angle }), negative)
}

fn cosine(angle: f64) -> f64 {
    let (angle, _) = half_turn(angle);
    match angle > 90.0 {
        true => -first_cosine(180.0 - angle),
        false => first_cosine(angle),
    }
}

/// A quotient of sine and cosine, without the sign of zero.
fn quotient(angle: f64, of: fn(f64) -> f64) -> f64 {
    let (angle, negative) = half_turn(angle);
    let (angle, turned) = if angle > 90.0 { (180.0 - angle, true) } else { (angle, false) };
    let result = signed(of(angle) / of(45.0), negative != turned);
    if result == 0.0 { 0.0 } else { result }
}

fn tangent(angle: f64) -> f64 {
    quotient(angle, |angle| first_sine(angle) / first_cosine(angle))
}

fn cotangent(angle: f64) -> f64 {
    quotient(angle, |angle| first_cosine(angle) / first_sine(angle))
}

/// Of ratios from 0 to 1.
fn first_arc_sine(ratio: f64) -> f64 {
    match ratio <= 0.5 {
        true => ratio.asin() / KNOWN.asin_half * 30.0,
        false => 90.0 - ratio.acos() / KNOWN.acos_half * 60.0,
    }
}

fn arc_sine(ratio: f64) -> f64 {
    if ratio >= 0.0 { first_arc_sine(ratio) } else { -first_arc_sine(-ratio) }
}

fn arc_cosine(ratio: f64) -> f64 {
    match ratio {
        ratio if ratio < 0.0 => 90.0 + first_arc_sine(-ratio),
        ratio if ratio <= 0.5 => 90.0 - ratio.asin() / KNOWN.asin_half * 30.0,
        ratio => ratio.acos() / KNOWN.acos_half * 60.0,
    }
}
