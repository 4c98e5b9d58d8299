//! What the type of an interval may hold: `YEAR TO MONTH` and kin, and digits of seconds.

use arrow::array::types::IntervalMonthDayNano;

use super::{super::datetime::US_PER_SECOND, sum::Unit};

/// A part of an interval that its type may name, largest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

const FIELDS: [(Field, &str, i32); 6] = [
    (Field::Year, "year", 1 << 2),
    (Field::Month, "month", 1 << 1),
    (Field::Day, "day", 1 << 3),
    (Field::Hour, "hour", 1 << 10),
    (Field::Minute, "minute", 1 << 11),
    (Field::Second, "second", 1 << 12),
];

/// In a type modifier: all fields, any number of digits.
const FULL_RANGE: i32 = 0x7fff;
const FULL_PRECISION: i32 = 0xffff;

/// The modifier of the type `interval`: the fields of `INTERVAL YEAR TO MONTH` and kin, and the
/// digits of seconds of `INTERVAL(3)` and `INTERVAL SECOND(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IntervalFields {
    /// Largest and smallest field; None for all.
    range: Option<(Field, Field)>,
    /// Digits after the point of the seconds, at most 6; None for as many as there are.
    precision: Option<u8>,
}

impl IntervalFields {
    /// `first` and `last` are names of fields: `year`, `month`, `day`, `hour`, `minute`, `second`.
    /// None for a pair that SQL does not have.
    #[must_use]
    pub fn new(first: &str, last: &str, precision: Option<u8>) -> Option<Self> {
        let field = |name: &str| FIELDS.iter().find(|(_, n, _)| *n == name).map(|(f, ..)| *f);
        let (first, last) = (field(first)?, field(last)?);
        let months = |field| matches!(field, Field::Year | Field::Month);
        let fits = first <= last && months(first) == months(last);
        let precise = precision.is_none() || last == Field::Second;
        (fits && precise).then_some(Self { range: Some((first, last)), precision })
    }

    /// All fields, the seconds with `precision` digits after the point.
    #[must_use]
    pub fn all(precision: u8) -> Self {
        Self { range: None, precision: Some(precision.min(6)) }
    }

    /// As in `pg_attribute.atttypmod`.
    #[must_use]
    pub fn typmod(self) -> i32 {
        let range = match self.range {
            None => FULL_RANGE,
            Some((first, last)) => FIELDS
                .iter()
                .filter(|(field, ..)| (first..=last).contains(field))
                .map(|(_, _, mask)| mask)
                .sum(),
        };
        range << 16 | self.precision.map_or(FULL_PRECISION, i32::from)
    }

    /// The inverse of [`typmod`](Self::typmod); None for no restriction and for what is none.
    #[must_use]
    pub fn from_typmod(typmod: i32) -> Option<Self> {
        if typmod < 0 {
            return None;
        }
        let precision = match typmod & FULL_PRECISION {
            FULL_PRECISION => None,
            digits => Some(u8::try_from(digits).ok().filter(|digits| *digits <= 6)?),
        };
        let range = match typmod >> 16 & FULL_RANGE {
            FULL_RANGE => None,
            mask => {
                let held = |entry: &&(Field, &str, i32)| mask & entry.2 != 0;
                let first = FIELDS.iter().find(held)?.0;
                let last = FIELDS.iter().rfind(held)?.0;
                Some((first, last))
            }
        };
        (range.is_some() || precision.is_some()).then_some(Self { range, precision })
    }

    /// What stands behind `interval` in the type's name.
    #[must_use]
    pub fn sql(self) -> String {
        let name = |field| FIELDS.iter().find(|(f, ..)| *f == field).map_or("", |(_, n, _)| *n);
        let range = match self.range {
            None => String::new(),
            Some((first, last)) if first == last => format!(" {}", name(first)),
            Some((first, last)) => format!(" {} to {}", name(first), name(last)),
        };
        let precision = self.precision.map_or_else(String::new, |digits| format!("({digits})"));
        range + &precision
    }

    /// Digits after the point of the seconds, where the type says so.
    #[must_use]
    pub fn precision(self) -> Option<u8> {
        self.precision
    }

    /// What a number without a unit counts.
    pub(super) fn unit(self) -> Unit {
        match self.range.map(|(_, last)| last) {
            Some(Field::Year) => Unit::Year,
            Some(Field::Month) => Unit::Month,
            Some(Field::Day) => Unit::Day,
            Some(Field::Hour) => Unit::Hour,
            Some(Field::Minute) => Unit::Minute,
            Some(Field::Second) | None => Unit::Second,
        }
    }

    /// Whether `1:2` means minutes and seconds.
    pub(super) fn minutes_to_seconds(self) -> bool {
        self.range == Some((Field::Minute, Field::Second))
    }

    /// Whether `1 2:03` is days before minutes and seconds, which no type means.
    #[must_use]
    pub(super) fn last_is_second(self) -> bool {
        self.range.is_none_or(|(_, last)| last == Field::Second)
    }

    /// Without the parts smaller than the last field, and the seconds rounded. None if they become
    /// too many.
    #[must_use]
    pub fn fit(self, value: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
        let IntervalMonthDayNano { months, days, nanoseconds } = value;
        let us = nanoseconds / 1000;
        let to = |unit: i64| us - us % unit;
        let (months, days, us) = match self.range.map(|(_, last)| last) {
            Some(Field::Year) => (months - months % 12, 0, 0),
            Some(Field::Month) => (months, 0, 0),
            Some(Field::Day) => (months, days, 0),
            Some(Field::Hour) => (months, days, to(3600 * US_PER_SECOND)),
            Some(Field::Minute) => (months, days, to(60 * US_PER_SECOND)),
            Some(Field::Second) | None => (months, days, us),
        };
        let us = match self.precision {
            Some(digits) if self.last_is_second() => super::super::round_us(us, digits)?,
            _ => us,
        };
        Some(IntervalMonthDayNano::new(months, days, us.checked_mul(1000)?))
    }
}
