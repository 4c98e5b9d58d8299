//! `to_date` and `to_timestamp`: text read by a pattern.

use super::{Field, FieldNode, Node, ROMAN, is_separator, nodes};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{calendar::iso_year_start, datetime::DAY_US},
    types::text::{DAYS, MONTHS, civil_from_days, days_from_civil, days_in_month},
};

/// What a text said, as a local time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsedMoment {
    /// Microseconds since 1970.
    pub us: i64,
    /// Seconds east of Greenwich, if the text had a zone.
    pub east: Option<i32>,
    /// To how many digits `FF1` and kin round the seconds.
    pub digits: Option<u8>,
}

/// Days since 1970.
///
/// # Errors
/// 22007 for a text that does not fit the pattern, 22008 for a date there is none of, 0A000 for
/// fields that only `to_char` has.
pub fn date(text: &str, pattern: &str) -> Result<i32, SqlError> {
    let days = read(text, pattern)?.settle(text)?.0;
    let exists = (-2_440_588..=2_145_042_905).contains(&days);
    if exists { Ok(days as i32) } else { Err(overflow(format!("date out of range: \"{text}\""))) }
}

/// A local time.
///
/// # Errors
/// As [`date`].
pub fn timestamp(text: &str, pattern: &str) -> Result<ParsedMoment, SqlError> {
    let fields = read(text, pattern)?;
    let (days, time) = fields.settle(text)?;
    let us = days.checked_mul(DAY_US).and_then(|us| us.checked_add(time));
    let us = us.filter(|us| *us >= -2_440_588 * DAY_US && *us != i64::MAX);
    let us = us.ok_or_else(|| overflow(format!("timestamp out of range: \"{text}\"")))?;
    Ok(ParsedMoment { us, east: fields.east(text)?, digits: fields.digits })
}

fn overflow(message: String) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
}

const FIXED_WIDTH: &str =
    "If your source string is not fixed-width, try using the \"FM\" modifier.";

/// The two ways to count weeks, which do not mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Convention {
    Gregorian,
    Iso,
}

/// What the fields said; 0 is nothing.
#[derive(Default)]
struct Fields {
    convention: Option<Convention>,
    hour: i64,
    afternoon: i64,
    twelve: bool,
    minute: i64,
    second: i64,
    /// Of the day.
    seconds: i64,
    ms: i64,
    us: i64,
    digits: Option<u8>,
    /// 1 is Sunday.
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    year: i64,
    /// Digits of the year's field.
    year_digits: u8,
    before_christ: i64,
    century: i64,
    week: i64,
    /// Of the month.
    month_week: i64,
    julian: i64,
    zone_sign: Option<i32>,
    zone_hour: i64,
    zone_minute: i64,
}

/// The text that is left, and how many blanks more than the pattern's were skipped.
struct Source<'t> {
    text: &'t str,
    at: usize,
    extra: i64,
}

impl<'t> Source<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        self.at += self.next().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.next().is_some_and(is_space) {
            self.skip();
            self.extra += 1;
        }
    }
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

fn read(text: &str, pattern: &str) -> Result<Fields, SqlError> {
    let nodes = nodes(pattern);
    let mut fields = Fields::default();
    let mut source = Source { text, at: 0, extra: 0 };
    let mut exact = false;
    for (at, node) in nodes.iter().enumerate() {
        if source.rest().is_empty() {
            break;
        }
        let is_exact = matches!(node, Node::Field(node) if node.field == Field::Fx);
        if !exact && !is_exact && (at == 0 || matches!(node, Node::Field(_))) {
            source.skip_spaces();
        }
        match node {
            Node::Space(_) | Node::Separator(_) if exact => source.skip(),
            Node::Space(_) | Node::Separator(_) => {
                // One for one, or none.
                source.extra -= 1;
                if source.next().is_some_and(|c| is_space(c) || is_separator(c)) {
                    source.skip();
                    source.extra += 1;
                }
            }
            Node::Char(_) if !exact && source.extra > 0 => source.extra -= 1,
            Node::Char(_) => source.skip(),
            Node::Field(node) => {
                fields.agree(node.field)?;
                if is_exact {
                    exact = true;
                } else {
                    let open = node.fill || node.ordinal.is_some() || separates(nodes.get(at + 1));
                    fields.field(node, &mut source, open)?;
                    if node.ordinal.is_some() && has_ordinal(node.field) {
                        source.skip();
                        source.skip();
                    }
                }
                if !exact {
                    source.extra = 0;
                    source.skip_spaces();
                }
            }
        }
    }
    Ok(fields)
}

fn has_ordinal(field: Field) -> bool {
    field.is_digits() && !matches!(field, Field::Tzm)
}

/// Whether a number may end where this part of the pattern begins.
fn separates(node: Option<&Node<'_>>) -> bool {
    match node {
        None => true,
        Some(Node::Field(node)) => !node.field.is_digits(),
        Some(Node::Char(c) | Node::Separator(c) | Node::Space(c)) => !c.is_ascii_digit(),
    }
}

/// A number, and how many bytes it took. `open`: as many digits as there are, else `width`.
fn integer(
    node: &FieldNode<'_>,
    source: &mut Source<'_>,
    width: usize,
    open: bool,
) -> Result<(i64, usize), SqlError> {
    let name = node.name;
    let start = source.at;
    while source.next().is_some_and(is_space) {
        source.skip();
    }
    let rest = source.rest();
    let copy: String = rest.chars().take(width).collect();
    let range = if open { rest } else { copy.as_str() };
    if !open && rest.len() < width {
        let message = format!("source string too short for \"{name}\" formatting field");
        let remain = rest.len();
        let detail = format!("Field requires {width} characters, but only {remain} remain.");
        return Err(invalid(message).detail(detail).hint(FIXED_WIDTH));
    }
    let digits = range.trim_start_matches(is_space);
    let blank = range.len() - digits.len();
    let sign = usize::from(digits.starts_with(['+', '-']));
    let count = digits[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let used = if count == 0 { 0 } else { blank + sign + count };
    let unparsed = || invalid(format!("invalid value \"{copy}\" for \"{name}\""));
    if !open && used > 0 && used < width {
        let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
        return Err(unparsed().detail(detail).hint(FIXED_WIDTH));
    }
    if used == 0 {
        return Err(unparsed().detail("Value must be an integer."));
    }
    source.at += used;
    let value = digits[..sign + count].parse::<i64>().ok();
    match value.filter(|value| i32::try_from(*value).is_ok()) {
        Some(value) => Ok((value, source.at - start)),
        None => {
            let message = format!("value for \"{name}\" in source string is out of range");
            Err(overflow(message).detail("Value must be in the range -2147483648 to 2147483647."))
        }
    }
}

/// The word of a list that the text begins with, by its place.
fn word<'w>(
    node: &FieldNode<'_>,
    source: &mut Source<'_>,
    words: impl IntoIterator<Item = (usize, &'w str)>,
) -> Result<usize, SqlError> {
    let rest = source.rest();
    let begins =
        |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if let Some((at, word)) = words.into_iter().find(|(_, word)| begins(word)) {
        source.at += word.len();
        return Ok(at);
    }
    let shown = rest.split(is_space).next().unwrap_or_default();
    Err(invalid(format!("invalid value \"{shown}\" for \"{}\"", node.name))
        .detail("The given value did not match any of the allowed values for this field."))
}

/// Sets a field that may have been set before, but not to something else.
fn set(field: &mut i64, value: i64, node: &FieldNode<'_>) -> Result<(), SqlError> {
    if *field != 0 && *field != value {
        let message =
            format!("conflicting values for \"{}\" field in formatting string", node.name);
        return Err(invalid(message)
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// The year nearest to 2020 that ends so.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

impl Fields {
    fn agree(&mut self, field: Field) -> Result<(), SqlError> {
        use Field as F;
        let convention = match field {
            F::Id | F::Iddd | F::Iw | F::I | F::Iy | F::Iyy | F::Iyyy => Convention::Iso,
            F::D | F::Dd | F::Ddd | F::Mm | F::Month | F::Mon | F::Rm | F::W | F::Ww => {
                Convention::Gregorian
            }
            F::Y | F::Yy | F::Yyy | F::Yyyy | F::YComma => Convention::Gregorian,
            _ => return Ok(()),
        };
        if *self.convention.get_or_insert(convention) != convention {
            return Err(invalid("invalid combination of date conventions".to_owned()).hint(
                "Do not mix Gregorian and ISO week date conventions in a formatting template.",
            ));
        }
        Ok(())
    }

    /// Reads one field.
    fn field(
        &mut self,
        node: &FieldNode<'_>,
        source: &mut Source<'_>,
        open: bool,
    ) -> Result<(), SqlError> {
        let mut number = |width: usize| integer(node, source, width, open);
        match node.field {
            Field::Hh12 => {
                set(&mut self.hour, number(2)?.0, node)?;
                self.twelve = true;
            }
            Field::Hh24 => set(&mut self.hour, number(2)?.0, node)?,
            Field::Mi => set(&mut self.minute, number(2)?.0, node)?,
            Field::Ss => set(&mut self.second, number(2)?.0, node)?,
            Field::Ms => {
                let (value, length) = number(3)?;
                set(&mut self.ms, value, node)?;
                self.ms *= 10_i64.pow(3_u32.saturating_sub(length as u32));
            }
            Field::Us | Field::Ff(_) => {
                let width = match node.field {
                    Field::Ff(digits) => {
                        self.digits = Some(digits);
                        usize::from(digits)
                    }
                    _ => 6,
                };
                let (value, length) = number(width)?;
                set(&mut self.us, value, node)?;
                self.us *= 10_i64.pow(6_u32.saturating_sub(length as u32));
            }
            Field::Ssss => set(&mut self.seconds, number(node.name.len())?.0, node)?,
            Field::Mm => set(&mut self.month, number(2)?.0, node)?,
            Field::Ddd | Field::Iddd => set(&mut self.day_of_year, number(3)?.0, node)?,
            Field::Dd => set(&mut self.day, number(2)?.0, node)?,
            Field::D => set(&mut self.weekday, number(1)?.0, node)?,
            Field::Id => {
                set(&mut self.weekday, number(1)?.0, node)?;
                self.weekday = if self.weekday >= 7 { 1 } else { self.weekday + 1 };
            }
            Field::Ww | Field::Iw => set(&mut self.week, number(2)?.0, node)?,
            Field::W => set(&mut self.month_week, number(1)?.0, node)?,
            // Unclear which month it means.
            Field::Q => _ = number(1)?,
            Field::Cc => set(&mut self.century, number(2)?.0, node)?,
            Field::J => set(&mut self.julian, number(1)?.0, node)?,
            Field::Yyyy | Field::Iyyy => {
                set(&mut self.year, number(4)?.0, node)?;
                self.year_digits = 4;
            }
            Field::Yyy | Field::Iyy | Field::Yy | Field::Iy | Field::Y | Field::I => {
                let digits = match node.field {
                    Field::Yyy | Field::Iyy => 3,
                    Field::Yy | Field::Iy => 2,
                    _ => 1,
                };
                let (value, length) = number(usize::from(digits))?;
                set(&mut self.year, value, node)?;
                if length < 4 {
                    self.year = near_2020(self.year);
                }
                self.year_digits = digits;
            }
            _ => return self.other_field(node, source, open),
        }
        Ok(())
    }

    fn other_field(
        &mut self,
        node: &FieldNode<'_>,
        source: &mut Source<'_>,
        open: bool,
    ) -> Result<(), SqlError> {
        match node.field {
            Field::Am | Field::AmDotted => {
                let dotted = node.field == Field::AmDotted;
                let words = if dotted { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let at = word(node, source, words.into_iter().enumerate())?;
                set(&mut self.afternoon, at as i64, node)?;
                self.twelve = true;
            }
            Field::Ad | Field::AdDotted => {
                let dotted = node.field == Field::AdDotted;
                let words = if dotted { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let at = word(node, source, words.into_iter().enumerate())?;
                set(&mut self.before_christ, at as i64, node)?;
            }
            Field::Month => {
                let at = word(node, source, MONTHS.into_iter().enumerate())?;
                set(&mut self.month, at as i64 + 1, node)?;
            }
            Field::Mon => {
                let short = MONTHS.into_iter().map(|name| &name[..3]).enumerate();
                let at = word(node, source, short)?;
                set(&mut self.month, at as i64 + 1, node)?;
            }
            Field::Day => {
                let at = word(node, source, DAYS.into_iter().enumerate())?;
                set(&mut self.weekday, at as i64, node)?;
                self.weekday += 1;
            }
            Field::Dy => {
                let short = DAYS.into_iter().map(|name| &name[..3]).enumerate();
                let at = word(node, source, short)?;
                set(&mut self.weekday, at as i64, node)?;
                self.weekday += 1;
            }
            Field::Rm => {
                // Longer numbers before those they begin with.
                let at = word(node, source, ROMAN.into_iter().enumerate().rev())?;
                set(&mut self.month, at as i64 + 1, node)?;
            }
            Field::YComma => self.year_with_comma(node, source)?,
            Field::Tzh => {
                let sign = match source.next() {
                    Some(sign @ ('+' | '-' | ' ')) => {
                        source.skip();
                        Some(sign)
                    }
                    // The sign may have been skipped as a separator.
                    _ if source.extra > 0 => source.text[..source.at].chars().next_back(),
                    _ => None,
                };
                self.zone_sign = Some(if sign == Some('-') { -1 } else { 1 });
                set(&mut self.zone_hour, integer(node, source, 2, open)?.0, node)?;
            }
            Field::Tzm => {
                self.zone_sign.get_or_insert(1);
                set(&mut self.zone_minute, integer(node, source, 2, open)?.0, node)?;
            }
            _ => {
                let name = node.name.to_uppercase();
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
        }
        Ok(())
    }

    /// `2,026`.
    fn year_with_comma(
        &mut self,
        node: &FieldNode<'_>,
        source: &mut Source<'_>,
    ) -> Result<(), SqlError> {
        let rest = source.rest();
        let parsed = rest.split_once(',').and_then(|(thousands, rest)| {
            let count = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
            let years = rest[..count].parse::<i64>().ok()?;
            let length = thousands.len() + 1 + count;
            let thousands = thousands.trim_start_matches(is_space).parse::<i32>().ok()?;
            Some((i64::from(thousands) * 1000 + years, length))
        });
        let (year, length) =
            parsed.ok_or_else(|| invalid("invalid input string for \"Y,YYY\"".to_owned()))?;
        set(&mut self.year, year, node)?;
        self.year_digits = 4;
        source.at += length;
        Ok(())
    }

    /// Days since 1970 and microseconds of the day.
    fn settle(&self, text: &str) -> Result<(i64, i64), SqlError> {
        let time = self.time_of_day(text)?;
        let field_error = || overflow(format!("date/time field value out of range: \"{text}\""));
        let (mut year, has_year) = self.full_year();
        let (mut month, mut day) = (1, 1);
        let mut day_of_year = self.day_of_year;
        if self.julian != 0 {
            (year, month, day) = civil(self.julian - 2_440_588);
        }
        if self.week != 0 {
            if self.convention == Some(Convention::Iso) {
                let weekday = match self.weekday {
                    0 => 0,
                    1 => 6,
                    weekday => weekday - 2,
                };
                (year, month, day) = civil(iso_year_start(year) + (self.week - 1) * 7 + weekday);
            } else {
                day_of_year = (self.week - 1) * 7 + 1;
            }
        }
        let day_field = if self.month_week != 0 { (self.month_week - 1) * 7 + 1 } else { self.day };
        if day_field != 0 {
            day = day_field;
        }
        if self.month != 0 {
            month = self.month;
        }
        if day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.before_christ == 0 && !has_year {
                let message = "cannot calculate day of year without year information";
                return Err(invalid(message.to_owned()));
            }
            let first = match self.convention {
                Some(Convention::Iso) => iso_year_start(year),
                _ => days_from_civil(year, 1, 1),
            };
            let found = civil(first + day_of_year - 1);
            if self.convention == Some(Convention::Iso) {
                (year, month, day) = found;
            } else if found.0 != year {
                return Err(field_error());
            } else {
                month = if month <= 1 { found.1 } else { month };
                day = if day <= 1 { found.2 } else { day };
            }
        }
        let valid = (1..=12).contains(&month)
            && (1..=i64::from(days_in_month(year, month as u32))).contains(&day);
        if !valid {
            return Err(field_error());
        }
        Ok((days_from_civil(year, month as u32, day as u32), time))
    }

    /// The year, astronomical, and whether the text named one.
    fn full_year(&self) -> (i64, bool) {
        let before_christ = self.before_christ != 0;
        let century = if before_christ { -self.century } else { self.century };
        if self.year == 0 {
            return match century {
                0 => (0, false),
                1.. => ((century - 1) * 100 + 1, true),
                _ => (century * 100 + 1, true),
            };
        }
        if self.century != 0 && self.year_digits <= 2 {
            let year = match (self.year % 100, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (year, true) => year + (century - 1) * 100,
                (year, false) => (century + 1) * 100 - year + 1,
            };
            return (year, true);
        }
        let year = if before_christ { -self.year } else { self.year };
        (if year < 0 { year + 1 } else { year }, true)
    }

    fn time_of_day(&self, text: &str) -> Result<i64, SqlError> {
        let (mut hour, mut minute, mut second) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        if self.second != 0 {
            second = self.second;
        }
        if self.minute != 0 {
            minute = self.minute;
        }
        if self.hour != 0 {
            hour = self.hour;
        }
        if self.twelve {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(invalid(message)
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon == 0 { 0 } else { 12 };
        }
        let us = self.ms * 1000 + self.us;
        let valid = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..1_000_000).contains(&us);
        if !valid {
            return Err(overflow(format!("date/time field value out of range: \"{text}\"")));
        }
        Ok(((hour * 60 + minute) * 60 + second) * 1_000_000 + us)
    }

    /// Seconds east of Greenwich, if the text had a zone.
    fn east(&self, text: &str) -> Result<Option<i32>, SqlError> {
        let Some(sign) = self.zone_sign else { return Ok(None) };
        if !(0..=15).contains(&self.zone_hour) || !(0..60).contains(&self.zone_minute) {
            return Err(SqlError::new(
                sqlstate::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{text}\""),
            ));
        }
        Ok(Some(sign * (self.zone_hour * 3600 + self.zone_minute * 60) as i32))
    }
}

fn civil(days: i64) -> (i64, i64, i64) {
    let (year, month, day) = civil_from_days(days);
    (year, i64::from(month), i64::from(day))
}
