//! Functions over text and bytea.

use super::{
    Builtin, Out,
    Type::{Bool, Bytea, Int4, Int8, Text},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::memory::Memory,
        quoting::{quote_identifier, quote_literal},
    },
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("length", &[Text], Int4, |a, _| chars(a[0].text())),
    builtin("char_length", &[Text], Int4, |a, _| chars(a[0].text())),
    builtin("character_length", &[Text], Int4, |a, _| chars(a[0].text())),
    builtin("length", &[Bytea], Int4, |a, _| Ok(Out::Int(bytes(&a[0]).len() as i64))),
    builtin("octet_length", &[Text], Int4, |a, _| Ok(Out::Int(a[0].text().len() as i64))),
    builtin("octet_length", &[Bytea], Int4, |a, _| Ok(Out::Int(bytes(&a[0]).len() as i64))),
    builtin("bit_length", &[Text], Int4, |a, _| Ok(Out::Int(a[0].text().len() as i64 * 8))),
    builtin("lower", &[Text], Text, |a, _| Ok(Out::Text(a[0].text().to_lowercase()))),
    builtin("upper", &[Text], Text, |a, _| Ok(Out::Text(a[0].text().to_uppercase()))),
    builtin("initcap", &[Text], Text, |a, _| Ok(Out::Text(initcap(a[0].text())))),
    builtin("reverse", &[Text], Text, |a, _| Ok(Out::Text(a[0].text().chars().rev().collect()))),
    builtin("substring", &[Text, Int4], Text, |a, _| substring(a[0].text(), a[1].int(), None)),
    builtin("substring", &[Text, Int4, Int4], Text, |a, _| {
        substring(a[0].text(), a[1].int(), Some(a[2].int()))
    }),
    builtin("substr", &[Text, Int4], Text, |a, _| substring(a[0].text(), a[1].int(), None)),
    builtin("substr", &[Text, Int4, Int4], Text, |a, _| {
        substring(a[0].text(), a[1].int(), Some(a[2].int()))
    }),
    builtin("left", &[Text, Int4], Text, |a, _| Ok(Out::Text(left(a[0].text(), a[1].int())))),
    builtin("right", &[Text, Int4], Text, |a, _| Ok(Out::Text(right(a[0].text(), a[1].int())))),
    builtin("btrim", &[Text], Text, |a, _| Ok(trim(a[0].text(), " ", true, true))),
    builtin("btrim", &[Text, Text], Text, |a, _| Ok(trim(a[0].text(), a[1].text(), true, true))),
    builtin("ltrim", &[Text], Text, |a, _| Ok(trim(a[0].text(), " ", true, false))),
    builtin("ltrim", &[Text, Text], Text, |a, _| Ok(trim(a[0].text(), a[1].text(), true, false))),
    builtin("rtrim", &[Text], Text, |a, _| Ok(trim(a[0].text(), " ", false, true))),
    builtin("rtrim", &[Text, Text], Text, |a, _| Ok(trim(a[0].text(), a[1].text(), false, true))),
    builtin("lpad", &[Text, Int4], Text, |a, s| pad(a[0].text(), a[1].int(), " ", true, s.memory)),
    builtin("lpad", &[Text, Int4, Text], Text, |a, s| {
        pad(a[0].text(), a[1].int(), a[2].text(), true, s.memory)
    }),
    builtin("rpad", &[Text, Int4], Text, |a, s| pad(a[0].text(), a[1].int(), " ", false, s.memory)),
    builtin("rpad", &[Text, Int4, Text], Text, |a, s| {
        pad(a[0].text(), a[1].int(), a[2].text(), false, s.memory)
    }),
    builtin("repeat", &[Text, Int4], Text, |a, s| {
        let count = usize::try_from(a[1].int()).unwrap_or(0);
        s.memory.check_value(a[0].text().len().saturating_mul(count))?;
        Ok(Out::Text(a[0].text().repeat(count)))
    }),
    builtin("replace", &[Text, Text, Text], Text, |a, s| {
        let (text, from, to) = (a[0].text(), a[1].text(), a[2].text());
        if from.is_empty() {
            return Ok(Out::Text(text.to_owned()));
        }
        if to.len() > from.len() {
            let longer = text.matches(from).count().saturating_mul(to.len() - from.len());
            s.memory.check_value(text.len().saturating_add(longer))?;
        }
        Ok(Out::Text(text.replace(from, to)))
    }),
    builtin("translate", &[Text, Text, Text], Text, |a, _| {
        let from: Vec<_> = a[1].text().chars().collect();
        let to: Vec<_> = a[2].text().chars().collect();
        let map = |c: char| match from.iter().position(|f| *f == c) {
            None => Some(c),
            Some(index) => to.get(index).copied(),
        };
        Ok(Out::Text(a[0].text().chars().filter_map(map).collect()))
    }),
    builtin("strpos", &[Text, Text], Int4, |a, _| position(a[0].text(), a[1].text())),
    // `position(substring IN text)` comes with its arguments exchanged.
    builtin("position", &[Text, Text], Int4, |a, _| position(a[0].text(), a[1].text())),
    builtin("starts_with", &[Text, Text], Bool, |a, _| {
        Ok(Out::Bool(a[0].text().starts_with(a[1].text())))
    }),
    builtin("split_part", &[Text, Text, Int4], Text, |a, _| {
        split_part(a[0].text(), a[1].text(), a[2].int())
    }),
    builtin("ascii", &[Text], Int4, |a, _| {
        Ok(Out::Int(a[0].text().chars().next().map_or(0, |c| i64::from(u32::from(c)))))
    }),
    builtin("chr", &[Int4], Text, |a, _| chr(a[0].int())),
    builtin("to_hex", &[Int4], Text, |a, _| Ok(Out::Text(format!("{:x}", a[0].int() as i32)))),
    builtin("to_hex", &[Int8], Text, |a, _| Ok(Out::Text(format!("{:x}", a[0].int())))),
    builtin("quote_ident", &[Text], Text, |a, _| {
        Ok(Out::Text(quote_identifier(a[0].text()).into_owned()))
    }),
    builtin("quote_literal", &[Text], Text, |a, _| Ok(Out::Text(quote_literal(a[0].text())))),
    builtin("overlay", &[Text, Text, Int4], Text, |a, _| {
        let length = a[1].text().chars().count() as i64;
        overlay(a[0].text(), a[1].text(), a[2].int(), length)
    }),
    builtin("overlay", &[Text, Text, Int4, Int4], Text, |a, _| {
        overlay(a[0].text(), a[1].text(), a[2].int(), a[3].int())
    }),
    builtin("byteacat", &[Bytea, Bytea], Bytea, |a, _| {
        Ok(Out::Bytes([bytes(&a[0]), bytes(&a[1])].concat()))
    }),
    builtin("encode", &[Bytea, Text], Text, |a, _| encode(bytes(&a[0]), a[1].text())),
    builtin("decode", &[Text, Text], Bytea, |a, _| decode(a[0].text(), a[1].text())),
];

fn bytes<'a>(value: &Value<'a>) -> &'a [u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn chars(text: &str) -> Result<Out, SqlError> {
    Ok(Out::Int(text.chars().count() as i64))
}

fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric();
    }
    out
}

fn substring(text: &str, from: i64, length: Option<i64>) -> Result<Out, SqlError> {
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => {
            return Err(SqlError::new(
                sqlstate::SUBSTRING_ERROR,
                "negative substring length not allowed",
            ));
        }
        Some(length) => from.saturating_add(length),
    };
    let start = from.max(1);
    if end <= start {
        return Ok(Out::Text(String::new()));
    }
    let (skip, take) = ((start - 1) as usize, (end - start) as usize);
    if text.is_ascii() {
        let from = skip.min(text.len());
        let to = from.saturating_add(take).min(text.len());
        return Ok(Out::Text(text[from..to].to_owned()));
    }
    Ok(Out::Text(text.chars().skip(skip).take(take).collect()))
}

/// The first `count` characters, or all but the last `-count`.
fn left(text: &str, count: i64) -> String {
    let keep = if count >= 0 { count } else { text.chars().count() as i64 + count };
    text.chars().take(usize::try_from(keep).unwrap_or(0)).collect()
}

fn right(text: &str, count: i64) -> String {
    let length = text.chars().count() as i64;
    let skip = if count >= 0 { length - count } else { -count };
    text.chars().skip(usize::try_from(skip).unwrap_or(0)).collect()
}

fn trim(text: &str, set: &str, start: bool, end: bool) -> Out {
    let inside = |c: char| set.contains(c);
    let text = if start { text.trim_start_matches(inside) } else { text };
    let text = if end { text.trim_end_matches(inside) } else { text };
    Out::Text(text.to_owned())
}

fn pad(
    text: &str,
    length: i64,
    fill: &str,
    before: bool,
    memory: Memory<'_>,
) -> Result<Out, SqlError> {
    let length = usize::try_from(length).unwrap_or(0);
    let widest = fill.chars().map(char::len_utf8).max().unwrap_or(0);
    memory.check_value(length.saturating_mul(widest))?;
    let count = text.chars().count();
    if count >= length || fill.is_empty() {
        return Ok(Out::Text(text.chars().take(length).collect()));
    }
    let padding: String = fill.chars().cycle().take(length - count).collect();
    Ok(Out::Text(if before { padding + text } else { text.to_owned() + &padding }))
}

fn position(text: &str, part: &str) -> Result<Out, SqlError> {
    Ok(Out::Int(text.find(part).map_or(0, |byte| text[..byte].chars().count() as i64 + 1)))
}

fn split_part(text: &str, separator: &str, field: i64) -> Result<Out, SqlError> {
    if field == 0 {
        return Err(SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            "field position must not be zero",
        ));
    }
    if separator.is_empty() {
        let whole = field == 1 || field == -1;
        return Ok(Out::Text(if whole { text.to_owned() } else { String::new() }));
    }
    let mut parts = text.split(separator);
    let index = usize::try_from(field.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let part = if field > 0 { parts.nth(index) } else { text.rsplit(separator).nth(index) };
    Ok(Out::Text(part.unwrap_or_default().to_owned()))
}

fn chr(code: i64) -> Result<Out, SqlError> {
    let invalid = |message: String| SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
    if code == 0 {
        return Err(invalid("null character not permitted".to_owned()));
    }
    if code < 0 {
        return Err(invalid("character number must be positive".to_owned()));
    }
    let c = u32::try_from(code).ok().and_then(char::from_u32);
    c.map(|c| Out::Text(c.to_string()))
        .ok_or_else(|| invalid(format!("requested character not valid for encoding: {code}")))
}

fn overlay(text: &str, with: &str, from: i64, length: i64) -> Result<Out, SqlError> {
    if from <= 0 {
        return Err(SqlError::new(
            sqlstate::SUBSTRING_ERROR,
            "negative substring length not allowed",
        ));
    }
    let head: String = text.chars().take((from - 1) as usize).collect();
    let skip = usize::try_from(from - 1 + length).unwrap_or(0);
    let tail: String = text.chars().skip(skip).collect();
    Ok(Out::Text(head + with + &tail))
}

fn unknown_encoding(name: &str) -> SqlError {
    let message = format!("unrecognized encoding: \"{name}\"");
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn encode(data: &[u8], encoding: &str) -> Result<Out, SqlError> {
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => Ok(Out::Text(data.iter().map(|b| format!("{b:02x}")).collect())),
        "base64" => Ok(Out::Text(to_base64(data))),
        "escape" => Ok(Out::Text(data.iter().map(|b| escaped(*b)).collect())),
        _ => Err(unknown_encoding(encoding)),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 2045: lines of 76 characters.
fn to_base64(data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for (group, chunk) in data.chunks(3).enumerate() {
        if group > 0 && group % 19 == 0 {
            out.push('\n');
        }
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>, SqlError> {
    let wrong = |message: String| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    let (mut out, mut bits, mut count, mut padding) = (Vec::new(), 0_u32, 0, 0);
    for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
        let value = if c == '=' {
            if count < 2 {
                return Err(wrong("unexpected \"=\" while decoding base64 sequence".to_owned()));
            }
            padding += 1;
            0
        } else {
            let found = BASE64.iter().position(|letter| char::from(*letter) == c);
            match found.filter(|_| padding == 0) {
                Some(value) => value as u32,
                None => {
                    let message =
                        format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                    return Err(wrong(message));
                }
            }
        };
        bits = bits << 6 | value;
        count += 1;
        if count == 4 {
            let bytes = bits.to_be_bytes();
            out.extend_from_slice(&bytes[1..4 - padding.min(2)]);
            (bits, count) = (0, 0);
        }
    }
    if count != 0 {
        return Err(wrong("invalid base64 end sequence".to_owned())
            .hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(out)
}

/// Bytes from the `escape` format: `\\` and three octal digits behind a backslash.
fn unescape(text: &str) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        (out, rest) = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                (out, after)
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                (out, after)
            }
            (b'\\', _) => {
                let message = "invalid input syntax for type bytea";
                return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
            }
            (byte, after) => {
                out.push(*byte);
                (out, after)
            }
        };
    }
    Ok(out)
}

/// A byte in the `escape` format.
fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_owned(),
        0 | 128.. => format!("\\{byte:03o}"),
        byte => char::from(byte).to_string(),
    }
}

fn decode(text: &str, encoding: &str) -> Result<Out, SqlError> {
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => {
            let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
            let digit = |c: char| {
                c.to_digit(16).ok_or_else(|| {
                    let message = format!("invalid hexadecimal digit: \"{c}\"");
                    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                })
            };
            if digits.len() % 2 != 0 {
                return Err(SqlError::new(
                    sqlstate::INVALID_PARAMETER_VALUE,
                    "invalid hexadecimal data: odd number of digits",
                ));
            }
            let pair = |p: &[char]| Ok((digit(p[0])? * 16 + digit(p[1])?) as u8);
            digits.chunks(2).map(pair).collect::<Result<Vec<_>, SqlError>>().map(Out::Bytes)
        }
        "base64" => from_base64(text).map(Out::Bytes),
        "escape" => unescape(text).map(Out::Bytes),
        _ => Err(unknown_encoding(encoding)),
    }
}
