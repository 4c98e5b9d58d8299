//! Intervals as text.

mod fields;
mod iso8601;
mod sum;
mod units;
mod write;

use arrow::array::types::IntervalMonthDayNano;

use self::units::parse_units;
pub use self::{fields::IntervalFields, write::write_interval};
use super::IntervalStyle;
use crate::error::{SqlError, sqlstate};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Syntax,
    Range,
}

/// Reads an interval. `style` matters for a sign before the first number; `fields` are those that
/// `INTERVAL '…' DAY TO HOUR` names: they say what a number without a unit counts, and smaller parts
/// are cut off.
///
/// # Errors
/// 22007 for what is no interval, 22015 and 22008 for one out of range.
pub fn parse_interval(
    text: &str,
    style: IntervalStyle,
    fields: Option<IntervalFields>,
) -> Result<IntervalMonthDayNano, SqlError> {
    let parsed = match parse_units(text, style, fields) {
        Err(Wrong::Syntax) => iso8601::parse(text.trim()),
        other => other,
    };
    let sum = parsed.map_err(|wrong| match wrong {
        Wrong::Syntax => SqlError::new(
            sqlstate::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        ),
        Wrong::Range => SqlError::new(
            sqlstate::INTERVAL_FIELD_OVERFLOW,
            format!("interval field value out of range: \"{text}\""),
        ),
    })?;
    sum.finish()
        .and_then(|value| fields.map_or(Some(value), |fields| fields.fit(value)))
        .ok_or_else(|| SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_postgres_does() {
        for (text, expected) in [
            ("1 year 2 months 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),
            ("-1 year -2 mons +3 days -04:05:06", "-1 years -2 mons +3 days -04:05:06"),
            ("1 day -1 hour", "1 day -01:00:00"),
            ("-1 day 1 hour", "-1 days +01:00:00"),
            ("0", "00:00:00"),
            ("90 minutes", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1-2", "1 year 2 mons"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("@ 1 minute ago", "-00:01:00"),
            ("1 04:05:06", "1 day 04:05:06"),
            ("2 weeks", "14 days"),
            ("100:00:00", "100:00:00"),
            ("14 mons", "1 year 2 mons"),
            ("1.5 years", "1 year 6 mons"),
            ("3", "00:00:03"),
        ] {
            let mut out = Vec::new();
            let value = parse_interval(text, IntervalStyle::Postgres, None).expect(text);
            write_interval(value, IntervalStyle::Postgres, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected, "{text}");
        }
        for text in ["", "day", "1 parsec", "P1H", "1:2:3:4", "ago", "1 day x"] {
            assert_eq!(
                parse_interval(text, IntervalStyle::Postgres, None).expect_err(text).sqlstate,
                sqlstate::INVALID_DATETIME_FORMAT,
                "{text}"
            );
        }
        for text in ["9999999999 days", "1-12", "0:60", "P99999999999Y"] {
            assert_eq!(
                parse_interval(text, IntervalStyle::Postgres, None).expect_err(text).sqlstate,
                sqlstate::INTERVAL_FIELD_OVERFLOW,
                "{text}"
            );
        }
    }

    #[test]
    fn prints_in_every_style() {
        for (text, verbose, sql, iso) in [
            ("0", "@ 0", "0", "PT0S"),
            ("1-2", "@ 1 year 2 mons", "1-2", "P1Y2M"),
            ("-1-2", "@ 1 year 2 mons ago", "-1-2", "P-1Y-2M"),
            ("3 4:05:06.7", "@ 3 days 4 hours 5 mins 6.7 secs", "3 4:05:06.7", "P3DT4H5M6.7S"),
            ("-0.5 s", "@ 0.5 secs ago", "-0:00:00.5", "PT-0.5S"),
            ("1 s", "@ 1 sec", "0:00:01", "PT1S"),
            ("1 year -2 days 3:00", "@ 1 year -2 days 3 hours", "+1-0 -2 +3:00:00", "P1Y-2DT3H"),
            ("-1 day +1 s", "@ 1 day -1 sec ago", "+0-0 -1 +0:00:01", "P-1DT1S"),
        ] {
            let value = parse_interval(text, IntervalStyle::Postgres, None).expect(text);
            let print = |style| {
                let mut out = Vec::new();
                write_interval(value, style, &mut out);
                String::from_utf8(out).expect("ASCII")
            };
            assert_eq!(print(IntervalStyle::PostgresVerbose), verbose, "{text}");
            assert_eq!(print(IntervalStyle::SqlStandard), sql, "{text}");
            assert_eq!(print(IntervalStyle::Iso8601), iso, "{text}");
        }
    }
}
