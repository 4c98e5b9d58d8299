//! The session's time zone.

use chrono::{FixedOffset, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

/// A zone of the IANA database or a fixed offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeZone {
    Named(Tz),
    Fixed(FixedOffset),
}

/// A zone of the IANA database at some moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownZone {
    pub name: &'static str,
    pub abbreviation: String,
    pub east_seconds: i32,
    pub is_daylight_saving: bool,
}

impl TimeZone {
    /// The zones of the IANA database as they are at a moment, in microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn known_at(us: i64) -> Vec<KnownZone> {
        let moment = chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().naive_utc();
        let known = |zone: &Tz| {
            let offset = zone.offset_from_utc_datetime(&moment);
            KnownZone {
                name: zone.name(),
                abbreviation: offset.abbreviation().unwrap_or_default().to_owned(),
                east_seconds: offset.fix().local_minus_utc(),
                is_daylight_saving: !offset.dst_offset().is_zero(),
            }
        };
        chrono_tz::TZ_VARIANTS.iter().map(known).collect()
    }

    pub const UTC: Self = Self::Named(Tz::UTC);

    /// A zone by name (any case) or offset east of UTC (`+02`, `-03:30`, `2`, `-3.5`), as
    /// timestamp literals take it.
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

    /// A zone as the setting TimeZone takes it, and its name there: a number of hours east of UTC
    /// (`+02`, `-3.5`), or what [`parse_name`](Self::parse_name) takes.
    #[must_use]
    pub fn parse_setting(text: &str) -> Option<(Self, String)> {
        let text = text.trim();
        if let Ok(hours) = text.parse::<f64>() {
            let seconds = (hours * 3600.0).round();
            let offset = (seconds.abs() < 86_400.0).then_some(seconds as i32)?;
            let zone = Self::Fixed(FixedOffset::east_opt(offset)?);
            return Some((zone, zone.name()));
        }
        let zone = Self::parse_name(text)?;
        let name = match zone {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Fixed(_) => text.to_uppercase(),
        };
        Some((zone, name))
    }

    /// A zone of the IANA database by name (any case), or in POSIX form, whose offset counts west
    /// of UTC: `UTC+3`, `<+05>-5`, `-03:30`. Not with daylight saving.
    #[must_use]
    pub fn parse_name(text: &str) -> Option<Self> {
        let text = text.trim();
        let same = |tz: &&Tz| tz.name().eq_ignore_ascii_case(text);
        if let Some(tz) =
            text.parse::<Tz>().ok().or_else(|| chrono_tz::TZ_VARIANTS.iter().find(same).copied())
        {
            return Some(Self::Named(tz));
        }
        let offset = match text.strip_prefix('<') {
            Some(quoted) => quoted.split_once('>')?.1,
            None => {
                let offset = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                // An abbreviation has three letters at least.
                if (1..3).contains(&(text.len() - offset.len())) {
                    return None;
                }
                offset
            }
        };
        let (west, digits) = match offset.as_bytes().first()? {
            b'-' => (-1, &offset[1..]),
            b'+' => (1, &offset[1..]),
            _ => (1, offset),
        };
        let mut parts = digits.split(':');
        let hours = number(parts.next()?).filter(|h| *h < 24)?;
        let minutes = parts.next().map_or(Some(0), number).filter(|m| *m < 60)?;
        let seconds = parts.next().map_or(Some(0), number).filter(|s| *s < 60)?;
        if parts.next().is_some() {
            return None;
        }
        FixedOffset::east_opt(-west * (hours * 3600 + minutes * 60 + seconds)).map(Self::Fixed)
    }

    /// As Arrow names it: a zone's name, or `+02:00`.
    #[must_use]
    pub fn arrow_name(&self) -> String {
        match self {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Fixed(offset) => offset.to_string(),
        }
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

    /// The abbreviation in use at an instant given in UTC, if the zone has one.
    #[must_use]
    pub fn abbreviation_at_utc(&self, utc: &NaiveDateTime) -> Option<String> {
        match self {
            Self::Named(tz) => {
                tz.offset_from_utc_datetime(utc).abbreviation().map(ToOwned::to_owned)
            }
            Self::Fixed(_) => None,
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
