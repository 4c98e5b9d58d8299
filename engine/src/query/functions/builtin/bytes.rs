//! Functions over bytea.

use super::{
    Builtin, Out,
    Type::{Bool, Bytea, Float8, Int4, Int8, Text},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    types::encoding::{Encoding, invalid_utf8},
};

/// The function that makes each byte a character, for patterns; the planner calls it.
pub const BYTES_AS_TEXT: &str = "bytes as text";

pub(super) static TABLE: &[Builtin] = &[
    builtin(BYTES_AS_TEXT, &[Bytea], Text, |a, _| {
        Ok(Out::Text(bytes(&a[0]).iter().map(|byte| char::from(*byte)).collect()))
    }),
    builtin("convert_to", &[Text, Text], Bytea, |a, _| {
        let to = encoding(a[1].text(), "destination")?;
        Ok(Out::Bytes(to.encode(a[0].text().as_bytes())?.into_owned()))
    }),
    builtin("convert_from", &[Bytea, Text], Text, |a, _| {
        let from = encoding(a[1].text(), "source")?;
        Ok(Out::Text(valid(&from.decode(bytes(&a[0]))?)?.to_owned()))
    }),
    builtin("convert", &[Bytea, Text, Text], Bytea, |a, _| {
        let from = encoding(a[1].text(), "source")?;
        let to = encoding(a[2].text(), "destination")?;
        if from == to && !from.is_utf8() {
            return Ok(Out::Bytes(bytes(&a[0]).to_vec()));
        }
        let text = from.decode(bytes(&a[0]))?;
        Ok(Out::Bytes(to.encode(valid(&text)?.as_bytes())?.into_owned()))
    }),
    builtin("bit_length", &[Bytea], Int4, |a, _| Ok(Out::Int(bytes(&a[0]).len() as i64 * 8))),
    builtin("bit_count", &[Bytea], Int8, |a, _| {
        Ok(Out::Int(bytes(&a[0]).iter().map(|byte| i64::from(byte.count_ones())).sum()))
    }),
    builtin("get_byte", &[Bytea, Int4], Int4, |a, _| {
        let at = index(a[1].int(), bytes(&a[0]).len() as i64)?;
        Ok(Out::Int(i64::from(bytes(&a[0])[at])))
    }),
    builtin("set_byte", &[Bytea, Int4, Int4], Bytea, |a, _| {
        let at = index(a[1].int(), bytes(&a[0]).len() as i64)?;
        let mut out = bytes(&a[0]).to_vec();
        out[at] = a[2].int() as u8;
        Ok(Out::Bytes(out))
    }),
    builtin("get_bit", &[Bytea, Int8], Int4, |a, _| {
        let at = index(a[1].int(), bytes(&a[0]).len() as i64 * 8)?;
        Ok(Out::Int(i64::from(bytes(&a[0])[at / 8] >> (at % 8) & 1)))
    }),
    builtin("set_bit", &[Bytea, Int8, Int4], Bytea, |a, _| set_bit(a)),
    builtin("substring", &[Bytea, Int4], Bytea, |a, _| part(a, None)),
    builtin("substring", &[Bytea, Int4, Int4], Bytea, |a, _| part(a, Some(a[2].int()))),
    builtin("substr", &[Bytea, Int4], Bytea, |a, _| part(a, None)),
    builtin("substr", &[Bytea, Int4, Int4], Bytea, |a, _| part(a, Some(a[2].int()))),
    builtin("overlay", &[Bytea, Bytea, Int4], Bytea, |a, _| overlay(a, bytes(&a[1]).len() as i64)),
    builtin("overlay", &[Bytea, Bytea, Int4, Int4], Bytea, |a, _| overlay(a, a[3].int())),
    // `position(part IN bytes)` comes with its arguments exchanged.
    builtin("position", &[Bytea, Bytea], Int4, |a, _| {
        Ok(Out::Int(find(bytes(&a[0]), bytes(&a[1])).map_or(0, |at| at as i64 + 1)))
    }),
    builtin("btrim", &[Bytea, Bytea], Bytea, |a, _| Ok(trim(a, true, true))),
    builtin("ltrim", &[Bytea, Bytea], Bytea, |a, _| Ok(trim(a, true, false))),
    builtin("rtrim", &[Bytea, Bytea], Bytea, |a, _| Ok(trim(a, false, true))),
    builtin("float4send", &[Float8], Bytea, |a, _| {
        Ok(Out::Bytes((a[0].float() as f32).to_be_bytes().to_vec()))
    }),
    builtin("float8send", &[Float8], Bytea, |a, _| {
        Ok(Out::Bytes(a[0].float().to_be_bytes().to_vec()))
    }),
    builtin("int4send", &[Int4], Bytea, |a, _| {
        Ok(Out::Bytes((a[0].int() as i32).to_be_bytes().to_vec()))
    }),
    builtin("int8send", &[Int8], Bytea, |a, _| Ok(Out::Bytes(a[0].int().to_be_bytes().to_vec()))),
    builtin("int2shl", &[Int4, Int4], Int4, |a, _| {
        let shifted = (a[0].int() as i32).wrapping_shl(a[1].int() as u32);
        Ok(Out::Int(i64::from(shifted as i16)))
    }),
    builtin("int4shl", &[Int4, Int4], Int4, |a, _| {
        Ok(Out::Int(i64::from((a[0].int() as i32).wrapping_shl(a[1].int() as u32))))
    }),
    builtin("int4shr", &[Int4, Int4], Int4, |a, _| {
        Ok(Out::Int(i64::from((a[0].int() as i32).wrapping_shr(a[1].int() as u32))))
    }),
    builtin("int8shl", &[Int8, Int4], Int8, |a, _| {
        Ok(Out::Int(a[0].int().wrapping_shl(a[1].int() as u32)))
    }),
    builtin("int8shr", &[Int8, Int4], Int8, |a, _| {
        Ok(Out::Int(a[0].int().wrapping_shr(a[1].int() as u32)))
    }),
    builtin("booleq", &[Bool, Bool], Bool, |a, _| Ok(Out::Bool(a[0].boolean() == a[1].boolean()))),
    builtin("boolne", &[Bool, Bool], Bool, |a, _| Ok(Out::Bool(a[0].boolean() != a[1].boolean()))),
    builtin("unistr", &[Text], Text, |a, _| unistr(a[0].text()).map(Out::Text)),
];

fn bytes<'a>(value: &Value<'a>) -> &'a [u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn index(at: i64, length: i64) -> Result<usize, SqlError> {
    if (0..length).contains(&at) {
        return Ok(at as usize);
    }
    let message = format!("index {at} out of valid range, 0..{}", length - 1);
    Err(SqlError::new("2202E", message))
}

/// The encoding by its name; `role` is what the error calls it.
fn encoding(name: &str, role: &str) -> Result<Encoding, SqlError> {
    Encoding::named(name)?.ok_or_else(|| {
        let message = format!("invalid {role} encoding name \"{name}\"");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// Bytes as text: UTF-8 without zeros.
fn valid(bytes: &[u8]) -> Result<&str, SqlError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(invalid_utf8(&bytes[error.valid_up_to()..])),
    };
    match text.find('\0') {
        Some(_) => Err(invalid_utf8(&[0])),
        None => Ok(text),
    }
}

fn set_bit(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let at = index(args[1].int(), bytes(&args[0]).len() as i64 * 8)?;
    let mut out = bytes(&args[0]).to_vec();
    match args[2].int() {
        0 => out[at / 8] &= !(1 << (at % 8)),
        1 => out[at / 8] |= 1 << (at % 8),
        _ => {
            let message = "new bit must be 0 or 1";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    }
    Ok(Out::Bytes(out))
}

fn negative_length() -> SqlError {
    SqlError::new(sqlstate::SUBSTRING_ERROR, "negative substring length not allowed")
}

fn part(args: &[Value<'_>], length: Option<i64>) -> Result<Out, SqlError> {
    let (bytes, from) = (bytes(&args[0]), args[1].int());
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => return Err(negative_length()),
        Some(length) => from.saturating_add(length),
    };
    let at = |place: i64| usize::try_from(place.max(1) - 1).unwrap_or(0).min(bytes.len());
    let (start, end) = (at(from), at(end));
    Ok(Out::Bytes(bytes[start..end.max(start)].to_vec()))
}

fn overlay(args: &[Value<'_>], length: i64) -> Result<Out, SqlError> {
    let (old, new, from) = (bytes(&args[0]), bytes(&args[1]), args[2].int());
    if from <= 0 {
        return Err(negative_length());
    }
    let at = |place: i64| usize::try_from(place).unwrap_or(0).min(old.len());
    let (head, tail) = (at(from - 1), at(from - 1 + length));
    Ok(Out::Bytes([&old[..head], new, &old[tail..]].concat()))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|window| window == part)
}

fn trim(args: &[Value<'_>], start: bool, end: bool) -> Out {
    let (bytes, set) = (bytes(&args[0]), bytes(&args[1]));
    let keeps = |byte: &u8| !set.contains(byte);
    let Some(first) = bytes.iter().position(keeps) else {
        return Out::Bytes(Vec::new());
    };
    let last = bytes.iter().rposition(keeps).unwrap_or(first);
    let from = if start { first } else { 0 };
    let to = if end { last + 1 } else { bytes.len() };
    Out::Bytes(bytes[from..to].to_vec())
}

/// Replaces `\XXXX`, `\+XXXXXX`, `\uXXXX` and `\UXXXXXXXX` by the characters they stand for.
fn unistr(text: &str) -> Result<String, SqlError> {
    let syntax = |message: &str| SqlError::new(sqlstate::SYNTAX_ERROR, message);
    let pair = || syntax("invalid Unicode surrogate pair");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        if c != '\\' || rest.starts_with("\\\\") {
            if high.is_some() {
                return Err(pair());
            }
            out.push(c);
            rest = &rest[if c == '\\' { 2 } else { c.len_utf8() }..];
            continue;
        }
        let (prefix, width) = match rest.as_bytes().get(1) {
            Some(b'u') => (2, 4),
            Some(b'U') => (2, 8),
            Some(b'+') => (2, 6),
            _ => (1, 4),
        };
        let digits = rest.get(prefix..prefix + width);
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| {
            syntax("invalid Unicode escape")
                .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
        })?;
        rest = &rest[prefix + width..];
        let code = match (high.take(), code) {
            (None, 0xd800..=0xdbff) => {
                high = Some(code);
                continue;
            }
            (Some(first), 0xdc00..=0xdfff) => 0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff),
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(pair()),
            (None, code) => code,
        };
        match char::from_u32(code).filter(|c| *c != '\0') {
            Some(c) => out.push(c),
            None => {
                let message = format!("invalid Unicode code point: {code:04X}");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    if high.is_some() { Err(pair()) } else { Ok(out) }
}
