//! `to_char`.

use arrow::datatypes::IntervalMonthDayNano;

use super::{Case, Field, FieldNode, Node, ROMAN, nodes};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::calendar::{Calendar, display_year, iso_year_start},
    types::text::{DAYS, MONTHS, days_from_civil},
};

/// The zone of a moment that is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Seconds east of Greenwich.
    pub east: i32,
    pub abbreviation: Option<String>,
}

/// What fields look at.
struct Parts {
    /// Astronomical, or the years of an interval.
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    fraction: i64,
    day_of_year: i64,
    /// None for intervals.
    calendar: Option<Calendar>,
    zone: Option<Zone>,
}

/// A date and time by a pattern. NULL, which the caller gives, stands for an empty pattern.
///
/// # Errors
/// None so far.
pub fn moment(at: &Calendar, zone: Option<&Zone>, pattern: &str) -> Result<String, SqlError> {
    let parts = Parts {
        year: at.year,
        month: i64::from(at.month),
        day: i64::from(at.day),
        hour: at.hour(),
        minute: at.minute(),
        second: at.second(),
        fraction: at.fraction(),
        day_of_year: at.day_of_year(),
        calendar: Some(*at),
        zone: zone.cloned(),
    };
    write(&parts, pattern)
}

/// An interval by a pattern.
///
/// # Errors
/// 22007 for fields that need a date.
pub fn interval(value: IntervalMonthDayNano, pattern: &str) -> Result<String, SqlError> {
    let us = value.nanoseconds / 1000;
    let (months, day) = (i64::from(value.months), i64::from(value.days));
    let parts = Parts {
        year: months / 12,
        month: months % 12,
        day,
        hour: us / 3_600_000_000,
        minute: us / 60_000_000 % 60,
        second: us / 1_000_000 % 60,
        fraction: us % 1_000_000,
        day_of_year: months * 30 + day,
        calendar: None,
        zone: None,
    };
    write(&parts, pattern)
}

fn write(parts: &Parts, pattern: &str) -> Result<String, SqlError> {
    let mut out = String::new();
    for node in nodes(pattern) {
        match node {
            Node::Space(c) | Node::Separator(c) | Node::Char(c) => out.push(c),
            Node::Field(node) => {
                let start = out.len();
                parts.field(&node, &mut out)?;
                if let Some(upper) = node.ordinal
                    && is_ordinal(node.field)
                    && out.len() > start
                {
                    let suffix = ordinal_suffix(&out[start..]);
                    out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
                }
            }
        }
    }
    Ok(out)
}

/// Whether `TH` behind the field appends something.
fn is_ordinal(field: Field) -> bool {
    field.is_digits() && !matches!(field, Field::Tzm)
}

fn ordinal_suffix(number: &str) -> &'static str {
    let bytes = number.as_bytes();
    let teen = bytes.len() > 1 && bytes[bytes.len() - 2] == b'1';
    match bytes.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

/// A number with zeros before it; a negative one takes a place more.
fn padded(value: i64, width: usize, fill: bool) -> String {
    let width = if fill { 0 } else { width + usize::from(value < 0) };
    format!("{value:0width$}")
}

fn in_case(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => text.to_owned(),
    }
}

/// A name, with blanks behind it up to `width`.
fn name(text: &str, node: &FieldNode<'_>, width: usize) -> String {
    let width = if node.fill || node.local { 0 } else { width };
    format!("{:<width$}", in_case(text, node.case))
}

fn needs_date() -> SqlError {
    let message = "invalid format specification for an interval value";
    SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
        .hint("Intervals are not tied to specific calendar dates.")
}

impl Parts {
    fn date(&self) -> Result<&Calendar, SqlError> {
        self.calendar.as_ref().ok_or_else(needs_date)
    }

    /// The year as it is shown, without era.
    fn shown(&self, year: i64) -> i64 {
        if self.calendar.is_some() { display_year(year).abs() } else { year }
    }

    /// What ISO 8601 counts by; an interval is taken for a date.
    fn iso(&self) -> Calendar {
        self.calendar.unwrap_or_else(|| {
            let months = self.year * 12 + self.month - 1;
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
            Calendar::of_days(days_from_civil(year, month, 1) + self.day - 1)
        })
    }

    fn field(&self, node: &FieldNode<'_>, out: &mut String) -> Result<(), SqlError> {
        let fill = node.fill;
        let number = |value: i64, width: usize| padded(value, width, fill);
        // Some count the sign as a digit.
        let plain = |value: i64, width: usize| {
            let width = if fill { 0 } else { width };
            format!("{value:0width$}")
        };
        // A year below zero takes a place more, all of its fields.
        let sign = usize::from(self.calendar.is_none() && self.year < 0);
        let text = match node.field {
            Field::Am | Field::AmDotted | Field::Ad | Field::AdDotted => {
                return self.half(node, out);
            }
            Field::Hh12 => number(if self.hour % 12 == 0 { 12 } else { self.hour % 12 }, 2),
            Field::Hh24 => number(self.hour, 2),
            Field::Mi => number(self.minute, 2),
            Field::Ss => number(self.second, 2),
            Field::Ff(digits) => self.fraction_text(usize::from(digits)),
            Field::Ms => self.fraction_text(3),
            Field::Us => self.fraction_text(6),
            Field::Ssss => ((self.hour * 60 + self.minute) * 60 + self.second).to_string(),
            Field::Tz | Field::Tzh | Field::Tzm | Field::Of => return self.zone_field(node, out),
            Field::Month => name(MONTHS[self.date()?.month as usize - 1], node, 9),
            Field::Mon => in_case(&MONTHS[self.date()?.month as usize - 1][..3], node.case),
            Field::Mm => number(self.month, 2),
            Field::Day => name(DAYS[self.date()?.weekday() as usize], node, 9),
            Field::Dy => in_case(&DAYS[self.date()?.weekday() as usize][..3], node.case),
            Field::Ddd => plain(self.day_of_year, 3),
            Field::Iddd => {
                let at = self.iso();
                number(at.days - iso_year_start(at.iso_week().0) + 1, 3)
            }
            Field::Dd => plain(self.day, 2),
            Field::D => (self.date()?.weekday() + 1).to_string(),
            Field::Id => self.date()?.iso_weekday().to_string(),
            Field::Ww => plain((self.day_of_year - 1) / 7 + 1, 2),
            Field::Iw => number(self.iso().iso_week().1, 2),
            Field::W => ((self.day - 1) / 7 + 1).to_string(),
            Field::Q if self.month == 0 => return Ok(()),
            Field::Q => ((self.month - 1) / 3 + 1).to_string(),
            Field::Cc => number(self.century(), 2),
            Field::YComma => {
                let year = self.shown(self.year);
                format!("{},{:03}", year / 1000, year % 1000)
            }
            Field::Yyyy => number(self.shown(self.year), 4),
            Field::Yyy => plain(self.shown(self.year) % 1000, 3 + sign),
            Field::Yy => plain(self.shown(self.year) % 100, 2 + sign),
            Field::Y => plain(self.shown(self.year) % 10, 1 + sign),
            Field::Iyyy => plain(self.iso_year(), 4 + sign),
            Field::Iyy => plain(self.iso_year() % 1000, 3 + sign),
            Field::Iy => plain(self.iso_year() % 100, 2 + sign),
            Field::I => plain(self.iso_year() % 10, 1 + sign),
            Field::Rm => match self.roman() {
                Some(month) => name(month, node, 4),
                None => return Ok(()),
            },
            Field::J => self.iso().julian().to_string(),
            Field::Fx => return Ok(()),
        };
        out.push_str(&text);
        Ok(())
    }

    fn iso_year(&self) -> i64 {
        self.shown(self.iso().iso_week().0)
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.calendar.is_none() => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            // The years of an era begin with 1, those before it with 0.
            year => year / 100 - 1,
        }
    }

    fn fraction_text(&self, digits: usize) -> String {
        let unit = 10_i64.pow(6 - digits as u32);
        format!("{:0digits$}", self.fraction / unit)
    }

    fn half(&self, node: &FieldNode<'_>, out: &mut String) -> Result<(), SqlError> {
        let afternoon = self.hour % 24 >= 12;
        let text = match node.field {
            Field::Am if afternoon => "PM",
            Field::Am => "AM",
            Field::AmDotted if afternoon => "P.M.",
            Field::AmDotted => "A.M.",
            field => match (field, self.date()?.year <= 0) {
                (Field::Ad, true) => "BC",
                (Field::Ad, false) => "AD",
                (_, true) => "B.C.",
                (_, false) => "A.D.",
            },
        };
        out.push_str(&in_case(text, node.case));
        Ok(())
    }

    fn zone_field(&self, node: &FieldNode<'_>, out: &mut String) -> Result<(), SqlError> {
        self.date()?;
        let east = self.zone.as_ref().map_or(0, |zone| zone.east);
        let sign = if east < 0 { '-' } else { '+' };
        let (hours, minutes) = (east.abs() / 3600, east.abs() % 3600 / 60);
        match node.field {
            Field::Tz => {
                let name = self.zone.as_ref().and_then(|zone| zone.abbreviation.as_deref());
                let name = name.unwrap_or_default();
                // In upper case it is as it is.
                let lower = node.case == Case::Lower;
                out.push_str(&if lower { name.to_lowercase() } else { name.to_owned() });
            }
            Field::Tzh => out.push_str(&format!("{sign}{hours:02}")),
            Field::Tzm => out.push_str(&format!("{minutes:02}")),
            _ => {
                let width = if node.fill { 0 } else { 2 };
                out.push_str(&format!("{sign}{hours:0width$}"));
                if east % 3600 != 0 {
                    out.push_str(&format!(":{minutes:02}"));
                }
            }
        }
        Ok(())
    }

    /// The month in Roman numbers; of a negative one, counted from the end of the year.
    fn roman(&self) -> Option<&'static str> {
        let at = match self.month {
            0 if self.year == 0 => return None,
            0 if self.year > 0 => 11,
            0 => 0,
            month if month < 0 => 12 + month,
            month => month - 1,
        };
        ROMAN.get(at as usize).copied()
    }
}
