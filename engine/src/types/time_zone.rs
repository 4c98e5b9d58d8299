//! The session's time zone.

use chrono::{FixedOffset, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::Tz;

/// A zone of the IANA database or a fixed offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeZone {
    Named(Tz),
    Fixed(FixedOffset),
}

impl TimeZone {
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// A zone by name (any case) or offset east of UTC (`+02`, `-03:30`, `2`, `-3.5`), as
    /// `SET TIME ZONE` and timestamp literals take it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("zulu") {
            return Some(Self::UTC);
        }
        text.parse::<Tz>()
            .ok()
            .or_else(|| {
                let same = |tz: &&Tz| tz.name().eq_ignore_ascii_case(text);
                chrono_tz::TZ_VARIANTS.iter().find(same).copied()
            })
            .map(Self::Named)
            .or_else(|| parse_offset(text).map(Self::Fixed))
    }

    /// As SHOW TimeZone prints it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Fixed(offset) => {
                let east = offset.local_minus_utc();
                // PostgreSQL prints fixed zones in POSIX form, whose sign points west.
                let (sign, posix) = if east < 0 { ('-', '+') } else { ('+', '-') };
                let hours = east.abs() / 3600;
                match east.abs() % 3600 / 60 {
                    0 => format!("<{sign}{hours:02}>{posix}{hours:02}"),
                    minutes => {
                        format!("<{sign}{hours:02}:{minutes:02}>{posix}{hours:02}:{minutes:02}")
                    }
                }
            }
        }
    }

    /// Seconds east of UTC at an instant given in UTC.
    #[must_use]
    pub fn offset_at_utc(&self, utc: &NaiveDateTime) -> i32 {
        match self {
            Self::Named(tz) => tz.offset_from_utc_datetime(utc).fix().local_minus_utc(),
            Self::Fixed(offset) => offset.local_minus_utc(),
        }
    }

    /// Seconds east of UTC at a local time. In a gap the offset before it, and in an overlap the
    /// standard (later) one, as PostgreSQL decides.
    #[must_use]
    pub fn offset_at_local(&self, local: &NaiveDateTime) -> i32 {
        match self {
            Self::Fixed(offset) => offset.local_minus_utc(),
            Self::Named(tz) => match tz.offset_from_local_datetime(local) {
                chrono::LocalResult::Single(offset) => offset.fix().local_minus_utc(),
                chrono::LocalResult::Ambiguous(a, b) => {
                    a.fix().local_minus_utc().min(b.fix().local_minus_utc())
                }
                chrono::LocalResult::None => {
                    let before = *local - chrono::TimeDelta::hours(3);
                    tz.offset_from_local_datetime(&before)
                        .earliest()
                        .map_or(0, |offset| offset.fix().local_minus_utc())
                }
            },
        }
    }
}

fn parse_offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let seconds = if let Some((hours, fraction)) = digits.split_once('.') {
        let fraction: f64 = format!("0.{fraction}").parse().ok()?;
        number(hours)? * 3600 + (fraction * 3600.0).round() as i32
    } else if digits.contains(':') {
        let mut parts = digits.split(':');
        let hours = number(parts.next()?)?;
        let minutes = number(parts.next()?)?;
        let seconds = parts.next().map_or(Some(0), number)?;
        if parts.next().is_some() || minutes > 59 || seconds > 59 {
            return None;
        }
        hours * 3600 + minutes * 60 + seconds
    } else if digits.len() == 4 {
        number(&digits[..2])? * 3600 + number(&digits[2..])? * 60
    } else {
        number(digits)? * 3600
    };
    // PostgreSQL's limit is a little under 16 hours.
    (seconds < 16 * 3600).then(|| FixedOffset::east_opt(sign * seconds))?
}

fn number(digits: &str) -> Option<i32> {
    (!digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}
