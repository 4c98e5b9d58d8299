//! Keys back to text, for error messages and dumps.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};

use super::{NULL, VALUE, numeric};
use crate::{
    storage::StorageError,
    types::{PgType, timetz::TimeWithZone},
};

/// The values of a key as text, `None` for NULL.
pub(super) fn decode(types: &[PgType], key: &[u8]) -> Result<Vec<Option<String>>, StorageError> {
    let mut rest = key;
    let mut values = Vec::with_capacity(types.len());
    for pg_type in types {
        let (value, used) = decode_column(pg_type, rest).ok_or_else(|| {
            let at = key.len() - rest.len();
            StorageError::corrupt("key", format!("no {} at byte {at}", pg_type.sql_name()))
        })?;
        values.push(value);
        rest = &rest[used..];
    }
    if rest.is_empty() {
        Ok(values)
    } else {
        Err(StorageError::corrupt("key", format!("{} bytes left over", rest.len())))
    }
}

/// `Some((None, _))` is NULL; `None`, not an encoding.
fn decode_column(pg_type: &PgType, input: &[u8]) -> Option<(Option<String>, usize)> {
    if *input.first()? == NULL {
        return Some((None, 1));
    }
    if let PgType::Numeric(shape) = pg_type {
        let scale = shape.map_or(0, |s| usize::try_from(s.scale).unwrap_or(0));
        let (text, used) = numeric::decode(input, scale)?;
        return Some((Some(text), used));
    }
    if input[0] != VALUE {
        return None;
    }
    let (text, used) = decode_value(pg_type, &input[1..])?;
    Some((Some(text), used + 1))
}

fn decode_value(pg_type: &PgType, input: &[u8]) -> Option<(String, usize)> {
    Some(match pg_type {
        PgType::Bool => match input.first()? {
            0 => ("f".into(), 1),
            1 => ("t".into(), 1),
            _ => return None,
        },
        PgType::Int2 => (i16::from_be_bytes(flipped(input)?).to_string(), 2),
        PgType::Int4 => (i32::from_be_bytes(flipped(input)?).to_string(), 4),
        PgType::Int8 => (i64::from_be_bytes(flipped(input)?).to_string(), 8),
        PgType::Float4 => (f32::from_bits(u32::from_be_bytes(unordered(input)?)).to_string(), 4),
        PgType::Float8 => (f64::from_bits(u64::from_be_bytes(unordered(input)?)).to_string(), 8),
        PgType::Date => (date_text(i32::from_be_bytes(flipped(input)?)), 4),
        PgType::Time(_) => (time_text(i64::from_be_bytes(flipped(input)?))?, 8),
        PgType::Timestamp(_) => (timestamp_text(i64::from_be_bytes(flipped(input)?), ""), 8),
        PgType::Timestamptz(_) => (timestamp_text(i64::from_be_bytes(flipped(input)?), "+00"), 8),
        PgType::Interval(_) => {
            let bytes: [u8; 12] = flipped(input)?;
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [sign; 16];
            wide[4..].copy_from_slice(&bytes);
            (interval_text(i128::from_be_bytes(wide)), 12)
        }
        PgType::Timetz(_) => {
            let time = TimeWithZone::from_bytes(input.get(..16)?);
            let sign = if time.east < 0 { '-' } else { '+' };
            let (hours, minutes) = (time.east.abs() / 3600, time.east.abs() / 60 % 60);
            (format!("{}{sign}{hours:02}:{minutes:02}", time_text(time.us)?), 16)
        }
        PgType::Uuid => {
            let bytes: [u8; 16] = input.get(..16)?.try_into().ok()?;
            (uuid::Uuid::from_bytes(bytes).to_string(), 16)
        }
        PgType::Oid
        | PgType::Regclass
        | PgType::Regtype
        | PgType::Regproc
        | PgType::Regprocedure
        | PgType::Regoper
        | PgType::Regoperator
        | PgType::Regcollation
        | PgType::Regnamespace
        | PgType::Regrole => {
            let bytes: [u8; 4] = input.get(..4)?.try_into().ok()?;
            (u32::from_be_bytes(bytes).to_string(), 4)
        }
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Char | PgType::Name => {
            let (bytes, used) = unescape(input)?;
            (String::from_utf8(bytes).ok()?, used)
        }
        PgType::Bytea => {
            let (bytes, used) = unescape(input)?;
            let mut text = String::from("\\x");
            for byte in bytes {
                text.push_str(&format!("{byte:02x}"));
            }
            (text, used)
        }
        _ => return None,
    })
}

/// A signed integer's bytes with the sign bit as it was.
fn flipped<const N: usize>(input: &[u8]) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = input.get(..N)?.try_into().ok()?;
    bytes[0] ^= 0x80;
    Some(bytes)
}

/// A float's bits, big-endian, back from their ordered form.
fn unordered<const N: usize>(input: &[u8]) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = input.get(..N)?.try_into().ok()?;
    if bytes[0] & 0x80 == 0 {
        bytes.iter_mut().for_each(|b| *b = !*b);
    } else {
        bytes[0] ^= 0x80;
    }
    Some(bytes)
}

/// Bytes up to the terminator, and how many bytes of input that took.
fn unescape(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        match *input.get(at)? {
            0 => match *input.get(at + 1)? {
                1 => return Some((bytes, at + 2)),
                0xff => {
                    bytes.push(0);
                    at += 2;
                }
                _ => return None,
            },
            byte => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}

fn date_text(days: i32) -> String {
    match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        _ => NaiveDate::from_epoch_days(days)
            .map_or_else(|| format!("day {days}"), |d| d.to_string()),
    }
}

fn time_text(micros: i64) -> Option<String> {
    if micros == 86_400_000_000 {
        return Some("24:00:00".into());
    }
    let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
    let nanos = (micros.rem_euclid(1_000_000) * 1_000) as u32;
    Some(NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)?.to_string())
}

fn timestamp_text(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        _ => DateTime::from_timestamp_micros(micros).map_or_else(
            || format!("microsecond {micros}"),
            |t| format!("{}{zone}", t.naive_utc().format("%Y-%m-%d %H:%M:%S%.f")),
        ),
    }
}

/// Days and time: what is left of an interval when a month is 30 days.
fn interval_text(nanos: i128) -> String {
    const DAY: i128 = 86_400_000_000_000;
    let days = nanos / DAY;
    let time = TimeDelta::nanoseconds((nanos % DAY) as i64);
    let sign = if time < TimeDelta::zero() { "-" } else { "" };
    let seconds = time.num_seconds().abs();
    let clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = time.subsec_nanos().unsigned_abs() / 1_000;
    let clock = if fraction == 0 {
        clock
    } else {
        format!("{clock}.{}", format!("{fraction:06}").trim_end_matches('0'))
    };
    match (days, time.is_zero()) {
        (0, _) => clock,
        (_, true) => format!("{days} days"),
        (_, false) => format!("{days} days {clock}"),
    }
}
