//! Time zones in POSIX form: `EST5EDT,M3.2.0,M11.1.0`, `<+05>-5`, `UTC+3`.

use crate::types::text::{civil_from_days, days_from_civil, days_in_month};

const DAY: i64 = 86_400;
/// Longest abbreviation, in bytes.
const NAME_MAX: usize = 12;

/// A zone by its rules, the same in every year. Offsets count seconds east of Greenwich.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PosixZone {
    name: Name,
    offset: i32,
    daylight: Option<Daylight>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Daylight {
    name: Name,
    offset: i32,
    start: Rule,
    end: Rule,
}

/// An abbreviation: its bytes, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Name([u8; NAME_MAX]);

/// A day of the year, and the second of its local time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Rule {
    day: Day,
    second: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Day {
    /// 1 to 365, February 29 never counted.
    Julian(i64),
    /// 0 to 365.
    OfYear(i64),
    /// Month, week (5 is the last one), day (0 is Sunday).
    Weekday(u32, i64, i64),
}

/// Where daylight saving begins and ends if the zone does not say: as in the United States.
const USUAL: &str = "M3.2.0,M11.1.0";

impl PosixZone {
    /// None for what is no such zone.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = Name::read(text)?;
        let (west, rest) = offset(rest)?;
        if rest.is_empty() {
            return Some(Self { name, offset: -west, daylight: None });
        }
        let (daylight, rest) = Name::read(rest).filter(|(name, _)| !name.text().is_empty())?;
        let (daylight_west, rest) = match rest.bytes().next() {
            None | Some(b',' | b';') => (west - 3600, rest),
            Some(_) => offset(rest)?,
        };
        let rules = if rest.is_empty() { USUAL } else { rest.strip_prefix([',', ';'])? };
        let (start, rest) = rule(rules)?;
        let (end, rest) = rule(rest.strip_prefix([',', ';'])?)?;
        let daylight = Daylight { name: daylight, offset: -daylight_west, start, end };
        rest.is_empty().then_some(Self { name, offset: -west, daylight: Some(daylight) })
    }

    /// The offset without daylight saving, if there never is any.
    pub(super) fn fixed(&self) -> Option<i32> {
        self.daylight.is_none().then_some(self.offset)
    }

    /// Offset and abbreviation at an instant, in seconds since 1970.
    pub(super) fn at(&self, instant: i64) -> (i32, &str) {
        if let Some(daylight) = &self.daylight {
            let (year, ..) = civil_from_days((instant + i64::from(self.offset)).div_euclid(DAY));
            let start = daylight.start.second_of(year) - i64::from(self.offset);
            let end = daylight.end.second_of(year) - i64::from(daylight.offset);
            let holds = if start < end {
                (start..end).contains(&instant)
            } else {
                !(end..start).contains(&instant)
            };
            if holds {
                return (daylight.offset, daylight.name.text());
            }
        }
        (self.offset, self.name.text())
    }
}

impl Name {
    /// The abbreviation that a text begins with, and what follows it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = match text.strip_prefix('<') {
            Some(quoted) => quoted.split_once('>')?,
            None => {
                let end = text.find(|c: char| c.is_ascii_digit() || "+-,;".contains(c));
                text.split_at(end.unwrap_or(text.len()))
            }
        };
        if name.len() > NAME_MAX || !name.is_ascii() {
            return None;
        }
        let mut bytes = [0; NAME_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some((Self(bytes), rest))
    }

    fn text(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(NAME_MAX);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// `[+-]h[h][h][:mm[:ss]]` in seconds.
fn offset(text: &str) -> Option<(i32, &str)> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (hours, mut rest) = number(text, 167)?;
    let mut seconds = hours * 3600;
    for unit in [60, 1] {
        let Some(after) = rest.strip_prefix(':') else { break };
        let (part, after) = number(after, if unit == 60 { 59 } else { 60 })?;
        seconds += part * unit;
        rest = after;
    }
    Some((sign * seconds as i32, rest))
}

/// Decimal digits up to `most`.
fn number(text: &str, most: i64) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let value = text.get(..end.min(4))?.parse().ok().filter(|value| *value <= most)?;
    (end <= 4).then_some((value, &text[end..]))
}

fn rule(text: &str) -> Option<(Rule, &str)> {
    let (day, rest) = if let Some(text) = text.strip_prefix('J') {
        let (day, rest) = number(text, 365).filter(|(day, _)| *day > 0)?;
        (Day::Julian(day), rest)
    } else if let Some(text) = text.strip_prefix('M') {
        let (month, rest) = number(text, 12).filter(|(month, _)| *month > 0)?;
        let (week, rest) = number(rest.strip_prefix('.')?, 5).filter(|(week, _)| *week > 0)?;
        let (weekday, rest) = number(rest.strip_prefix('.')?, 6)?;
        (Day::Weekday(month as u32, week, weekday), rest)
    } else {
        let (day, rest) = number(text, 365)?;
        (Day::OfYear(day), rest)
    };
    match rest.strip_prefix('/') {
        Some(time) => offset(time).map(|(second, rest)| (Rule { day, second }, rest)),
        None => Some((Rule { day, second: 2 * 3600 }, rest)),
    }
}

impl Rule {
    /// In seconds since 1970, local.
    fn second_of(self, year: i64) -> i64 {
        let january = days_from_civil(year, 1, 1);
        let day = match self.day {
            Day::OfYear(day) => january + day,
            Day::Julian(day) => {
                let leap = days_in_month(year, 2) == 29 && day >= 60;
                january + day - 1 + i64::from(leap)
            }
            Day::Weekday(month, week, weekday) => {
                let first = days_from_civil(year, month, 1);
                // 1970-01-01 was a Thursday.
                let before = (weekday - (first + 4)).rem_euclid(7);
                let mut day = before + (week - 1) * 7;
                while day >= i64::from(days_in_month(year, month)) {
                    day -= 7;
                }
                first + day
            }
        };
        day * DAY + i64::from(self.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_applies_rules() {
        let zone = PosixZone::parse("EST5EDT,M3.2.0,M11.1.0").expect("a zone");
        // 2024-03-10 07:00 and 2024-11-03 06:00 at Greenwich.
        for (instant, expected) in [
            (1_710_053_999, (-18_000, "EST")),
            (1_710_054_000, (-14_400, "EDT")),
            (1_730_613_599, (-14_400, "EDT")),
            (1_730_613_600, (-18_000, "EST")),
        ] {
            assert_eq!(zone.at(instant), expected, "{instant}");
        }
        assert_eq!(PosixZone::parse("FOO8BAR"), PosixZone::parse("FOO8BAR7,M3.2.0,M11.1.0"));
        assert_eq!(PosixZone::parse("<+05:30>-05:30").and_then(|z| z.fixed()), Some(19_800));
        assert_eq!(PosixZone::parse("+16").and_then(|z| z.fixed()), Some(-57_600));
        // In the south, over the turn of the year.
        let zone = PosixZone::parse("A-10B,J274/2,J90/3").expect("a zone");
        assert_eq!(zone.at(1_704_067_200), (39_600, "B"));
        assert_eq!(zone.at(1_719_792_000), (36_000, "A"));
        for text in ["", "EST", "+1:", "EST5EDT,M3", "EST5EDT,M13.1.0,M1.1.0", "EST999", "é5"] {
            assert_eq!(PosixZone::parse(text), None, "{text}");
        }
    }
}
