//! Date, time and zone out of the words of a text.
//!
//! The meaning of a number depends on what stands before it, by PostgreSQL's rules: a date is either
//! `YYYY-MM-DD` with three digits of the year at least, or in the order of the setting DateStyle.

use super::{
    Wrong,
    number::{self, concatenated, date_number},
    tokens::{Kind, Label, Special, Token, special, tokens},
};
use crate::types::{
    Abbreviation, TimeZone, abbreviation,
    text::{FormatSettings, civil_from_days, days_from_civil, days_in_month},
};

/// Bits of what a text named already; nothing may be named twice.
pub(super) mod mask {
    pub(in super::super) const YEAR: u32 = 1;
    pub(in super::super) const MONTH: u32 = 1 << 1;
    pub(in super::super) const DAY: u32 = 1 << 2;
    pub(in super::super) const DAY_OF_YEAR: u32 = 1 << 3;
    pub(in super::super) const HOUR: u32 = 1 << 4;
    pub(in super::super) const MINUTE: u32 = 1 << 5;
    pub(in super::super) const SECOND: u32 = 1 << 6;
    pub(in super::super) const FRACTION: u32 = 1 << 7;
    pub(in super::super) const ZONE: u32 = 1 << 8;
    pub(in super::super) const DAYLIGHT: u32 = 1 << 9;
    pub(in super::super) const HALF: u32 = 1 << 10;
    pub(in super::super) const ERA: u32 = 1 << 11;
    pub(in super::super) const WEEKDAY: u32 = 1 << 12;
    pub(in super::super) const SPECIAL: u32 = 1 << 13;
    pub(in super::super) const DAYLIGHT_WORD: u32 = 1 << 14;
    pub(in super::super) const DATE: u32 = YEAR | MONTH | DAY;
    pub(in super::super) const TIME: u32 = HOUR | MINUTE | SECOND | FRACTION;
}

/// The numbers of a date and a time.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Parts {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) day_of_year: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// Microseconds.
    pub(super) fraction: i64,
    /// The year was written with two digits or fewer.
    pub(super) short_year: bool,
}

/// A zone as a text names it.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// Seconds east.
    Offset(i32),
    Named(TimeZone),
    Abbreviation(String, TimeZone),
}

/// What a text named.
#[derive(Debug)]
pub(super) enum Named {
    Epoch,
    Late,
    Early,
    Moment(Moment),
}

#[derive(Debug)]
pub(super) struct Moment {
    /// Since 1970-01-01; None for a time alone.
    pub(super) days: Option<i64>,
    /// Since midnight; 0 for a date alone.
    pub(super) time_us: i64,
    pub(super) zone: Option<Zone>,
}

impl Zone {
    /// Seconds east at a local time in microseconds since 1970.
    pub(super) fn offset_at_local(&self, local_us: i64) -> i32 {
        match self {
            Self::Offset(east) => *east,
            Self::Named(zone) => zone.offset_at_local_us(local_us),
            Self::Abbreviation(name, zone) => zone.offset_of_abbreviation(name, local_us),
        }
    }

    /// Seconds east, where no date is needed to tell.
    pub(super) fn constant_offset(&self) -> Option<i32> {
        match self {
            Self::Offset(east) => Some(*east),
            Self::Named(zone) => zone.constant_offset(),
            Self::Abbreviation(..) => None,
        }
    }
}

/// Reads a text for a date or timestamp, or for a time alone.
pub(super) fn read(text: &str, settings: &FormatSettings, time_only: bool) -> Result<Named, Wrong> {
    let tokens = tokens(text)?;
    let mut reader = Reader {
        settings,
        time_only,
        tokens: &tokens,
        parts: Parts::default(),
        seen: 0,
        text_month: false,
        label: None,
        before_christ: false,
        julian: false,
        half: None,
        zone: None,
        special: None,
    };
    for at in 0..tokens.len() {
        reader.token(at)?;
    }
    reader.finish()
}

struct Reader<'t> {
    settings: &'t FormatSettings,
    time_only: bool,
    tokens: &'t [Token],
    parts: Parts,
    seen: u32,
    /// The month was written as a word.
    text_month: bool,
    /// What the last word said the next number is.
    label: Option<Label>,
    before_christ: bool,
    julian: bool,
    half: Option<bool>,
    zone: Option<Zone>,
    special: Option<Special>,
}

impl Reader<'_> {
    /// What is seen as far as the meaning of a number goes: in a time alone, it is no date.
    fn context(&self) -> u32 {
        if self.time_only { self.seen | mask::DATE } else { self.seen }
    }

    fn token(&mut self, at: usize) -> Result<(), Wrong> {
        let Token { kind, text } = &self.tokens[at];
        let named = match kind {
            Kind::Date => self.date(at, text)?,
            Kind::Time => {
                if self.label.is_some_and(|label| label != Label::Time) {
                    return Err(Wrong::Syntax);
                }
                self.label = None;
                number::clock(text, &mut self.parts)?;
                if !self.time_only && self.time_overflows() {
                    return Err(Wrong::Range);
                }
                mask::TIME
            }
            Kind::Zone => {
                self.zone = Some(Zone::Offset(number::zone(text)?));
                mask::ZONE
            }
            Kind::Number => match self.label.take() {
                Some(label) => self.labelled(label, text)?,
                None => self.number(at, text)?,
            },
            Kind::Word | Kind::Signed => match self.word(at, text)? {
                Some(named) => named,
                None => return Ok(()),
            },
        };
        if named & self.seen != 0 {
            return Err(Wrong::Syntax);
        }
        self.seen |= named;
        Ok(())
    }

    fn time_overflows(&self) -> bool {
        let Parts { hour, minute, second, fraction, .. } = self.parts;
        let whole = (hour * 60 + minute) * 60 + second;
        !(0..=24).contains(&hour)
            || !(0..=59).contains(&minute)
            || !(0..=60).contains(&second)
            || whole * 1_000_000 + fraction > super::US_PER_DAY
    }

    fn date(&mut self, at: usize, text: &str) -> Result<u32, Wrong> {
        let digits_first = text.starts_with(|c: char| c.is_ascii_digit());
        if self.time_only {
            let later = |kinds: &[Kind], at: usize| {
                self.tokens.get(at).is_some_and(|token| kinds.contains(&token.kind))
            };
            // A date before the time, for its offset.
            let last = self.tokens.len() - 1;
            if at == 0 && last > 0 && (later(&[Kind::Date], last) || later(&[Kind::Time], 1)) {
                return number::date(text, self.settings, self.seen, &mut self.parts);
            }
            return match digits_first {
                true => self.time_with_zone(text),
                false => self.zone_name(text),
            };
        }
        if self.label == Some(Label::Julian) {
            // With a zone right behind it; other forms are several tokens.
            self.label = None;
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            self.julian_day(text[..end].parse().map_err(|_| Wrong::Range)?)?;
            self.zone = Some(Zone::Offset(number::zone(&text[end..])?));
            return Ok(mask::DATE | mask::TIME | mask::ZONE);
        }
        let month_and_day = mask::MONTH | mask::DAY;
        if self.label.is_none() && self.seen & month_and_day != month_and_day {
            let named = number::date(text, self.settings, self.seen, &mut self.parts)?;
            return Ok(named);
        }
        if !digits_first && self.label.is_none() {
            return self.zone_name(text);
        }
        if self.label.take().is_some_and(|label| label != Label::Time) {
            return Err(Wrong::Syntax);
        }
        self.time_with_zone(text)
    }

    /// `hhmmss-zz`.
    fn time_with_zone(&mut self, text: &str) -> Result<u32, Wrong> {
        if self.seen & mask::TIME == mask::TIME {
            return Err(Wrong::Syntax);
        }
        let (digits, _) = text.split_once('-').ok_or(Wrong::Syntax)?;
        self.zone = Some(Zone::Offset(number::zone(&text[digits.len()..])?));
        Ok(concatenated(digits, self.context(), &mut self.parts)? | mask::ZONE)
    }

    fn zone_name(&mut self, name: &str) -> Result<u32, Wrong> {
        let zone = TimeZone::parse_name(name).ok_or_else(|| Wrong::Zone(name.to_owned()))?;
        self.zone = Some(Zone::Named(zone));
        Ok(mask::ZONE)
    }

    fn julian_day(&mut self, julian: i64) -> Result<(), Wrong> {
        /// Of 1970-01-01.
        const EPOCH: i64 = 2_440_588;
        if !(0..=i64::from(i32::MAX)).contains(&julian) {
            return Err(Wrong::Range);
        }
        let (year, month, day) = civil_from_days(julian - EPOCH);
        (self.parts.year, self.parts.month) = (year, i64::from(month));
        self.parts.day = i64::from(day);
        self.julian = true;
        Ok(())
    }

    /// A number that the word before it says the meaning of.
    fn labelled(&mut self, label: Label, text: &str) -> Result<u32, Wrong> {
        let (whole, fraction) = match text.find('.') {
            Some(point) => text.split_at(point),
            None => (text, ""),
        };
        let value = || number::small(whole);
        Ok(match label {
            Label::Year => {
                self.parts.year = value()?;
                mask::YEAR
            }
            // After a month and an hour, minutes.
            Label::Month if self.seen & mask::MONTH != 0 && self.seen & mask::HOUR != 0 => {
                self.parts.minute = value()?;
                mask::MINUTE
            }
            Label::Month => {
                self.parts.month = value()?;
                mask::MONTH
            }
            Label::Day => {
                self.parts.day = value()?;
                mask::DAY
            }
            Label::Hour => {
                self.parts.hour = value()?;
                mask::HOUR
            }
            Label::Minute => {
                self.parts.minute = value()?;
                mask::MINUTE
            }
            Label::Second => {
                self.parts.second = value()?;
                if fraction.is_empty() {
                    mask::SECOND
                } else {
                    self.parts.fraction = number::fraction(fraction)?;
                    mask::SECOND | mask::FRACTION
                }
            }
            Label::Julian => {
                self.julian_day(value()?)?;
                if fraction.is_empty() {
                    mask::DATE
                } else {
                    let part: f64 = format!("0{fraction}0").parse().map_err(|_| Wrong::Syntax)?;
                    let us = (part * super::US_PER_DAY as f64) as i64;
                    let seconds = us / 1_000_000;
                    self.parts.fraction = us % 1_000_000;
                    (self.parts.hour, self.parts.minute) = (seconds / 3600, seconds / 60 % 60);
                    self.parts.second = seconds % 60;
                    mask::DATE | mask::TIME
                }
            }
            Label::Time => match concatenated(text, self.seen | mask::DATE, &mut self.parts)? {
                mask::TIME => mask::TIME,
                _ => return Err(Wrong::Syntax),
            },
            Label::Other => return Err(Wrong::Syntax),
        })
    }

    fn number(&mut self, at: usize, text: &str) -> Result<u32, Wrong> {
        let point = text.find('.');
        let seen = self.context();
        if self.time_only {
            let last_is_date = self.tokens.last().is_some_and(|token| token.kind == Kind::Date);
            return match point {
                Some(_) if at == 0 && self.tokens.len() > 1 && last_is_date => {
                    number::date(text, self.settings, self.seen, &mut self.parts)
                }
                Some(3..) => concatenated(text, seen, &mut self.parts),
                Some(_) => Err(Wrong::Syntax),
                None if text.len() > 4 => concatenated(text, seen, &mut self.parts),
                None => date_number(text, self.settings, false, seen, &mut self.parts),
            };
        }
        match point {
            Some(_) if self.seen & mask::DATE == 0 => {
                number::date(text, self.settings, self.seen, &mut self.parts)
            }
            Some(3..) => concatenated(text, seen, &mut self.parts),
            _ if text.len() >= 6
                && (self.seen & mask::DATE == 0 || self.seen & mask::TIME == 0) =>
            {
                concatenated(text, seen, &mut self.parts)
            }
            _ => date_number(text, self.settings, self.text_month, seen, &mut self.parts),
        }
    }

    /// What a word named; None for one that only says what comes next.
    fn word(&mut self, at: usize, word: &str) -> Result<Option<u32>, Wrong> {
        if let Some(found) = abbreviation(word) {
            return self.abbreviation(word, found).map(Some);
        }
        Ok(Some(match special(word) {
            Some(Special::Ignored) => return Ok(None),
            Some(Special::Label(label)) => {
                if label == Label::Time {
                    self.check_time_follows(at)?;
                }
                self.label = Some(label);
                return Ok(None);
            }
            Some(Special::Now) => self.now()?,
            Some(Special::AllBalls) => {
                (self.parts.hour, self.parts.minute, self.parts.second) = (0, 0, 0);
                self.zone = Some(Zone::Offset(0));
                mask::TIME | mask::ZONE
            }
            Some(special @ (Special::Epoch | Special::Late | Special::Early)) => {
                if self.time_only {
                    return Err(Wrong::Syntax);
                }
                self.special = Some(special);
                mask::SPECIAL
            }
            Some(special @ (Special::Today | Special::Tomorrow | Special::Yesterday)) => {
                if self.time_only {
                    return Err(Wrong::Syntax);
                }
                let today = self.local_now()?.div_euclid(super::US_PER_DAY);
                self.set_day(match special {
                    Special::Today => today,
                    Special::Tomorrow => today + 1,
                    _ => today - 1,
                });
                mask::DATE
            }
            Some(Special::Month(month)) if !self.time_only => self.month(month),
            Some(Special::Weekday) if !self.time_only => mask::WEEKDAY,
            Some(Special::Half(afternoon)) => {
                self.half = Some(afternoon);
                mask::HALF
            }
            Some(Special::Era(before_christ)) => {
                self.before_christ = before_christ;
                mask::ERA
            }
            Some(Special::Daylight) => {
                // Moves the zone before it.
                if let Some(Zone::Offset(east)) = &mut self.zone {
                    *east += 3600;
                }
                mask::DAYLIGHT_WORD | mask::DAYLIGHT
            }
            Some(_) => return Err(Wrong::Syntax),
            None => {
                let zone = TimeZone::parse_name(word).ok_or(Wrong::Syntax)?;
                self.zone = Some(Zone::Named(zone));
                mask::ZONE
            }
        }))
    }

    fn check_time_follows(&self, at: usize) -> Result<(), Wrong> {
        let dated = self.time_only || self.seen & mask::DATE == mask::DATE;
        let next = self.tokens.get(at + 1).map(|token| token.kind);
        let follows = matches!(next, Some(Kind::Number | Kind::Time | Kind::Date));
        if dated && follows { Ok(()) } else { Err(Wrong::Syntax) }
    }

    fn month(&mut self, month: i64) -> u32 {
        let number_was_day = self.seen & mask::MONTH != 0
            && !self.text_month
            && self.seen & mask::DAY == 0
            && (1..=31).contains(&self.parts.month);
        let named = if number_was_day {
            self.parts.day = self.parts.month;
            mask::DAY
        } else {
            mask::MONTH
        };
        self.text_month = true;
        self.parts.month = month;
        named
    }

    fn abbreviation(&mut self, word: &str, found: Abbreviation) -> Result<u32, Wrong> {
        Ok(match found {
            Abbreviation::Standard(east) => {
                self.zone = Some(Zone::Offset(east));
                mask::ZONE
            }
            Abbreviation::Daylight(east) => {
                self.zone = Some(Zone::Offset(east));
                mask::ZONE | mask::DAYLIGHT
            }
            Abbreviation::Of(zone) => {
                let zone = TimeZone::Named(zone);
                self.zone = Some(Zone::Abbreviation(word.to_owned(), zone));
                mask::ZONE
            }
        })
    }

    /// Now in the session's zone, in microseconds since 1970 local.
    fn local_now(&self) -> Result<i64, Wrong> {
        let now = self.settings.now_us.ok_or(Wrong::Relative)?;
        let east = self.settings.time_zone.offset_at_instant_us(now);
        Ok(now + i64::from(east) * 1_000_000)
    }

    fn set_day(&mut self, days: i64) {
        let (year, month, day) = civil_from_days(days);
        self.parts.year = year;
        (self.parts.month, self.parts.day) = (i64::from(month), i64::from(day));
        self.julian = true;
    }

    fn now(&mut self) -> Result<u32, Wrong> {
        let local = self.local_now()?;
        let us = local.rem_euclid(super::US_PER_DAY);
        let seconds = us / 1_000_000;
        (self.parts.hour, self.parts.minute) = (seconds / 3600, seconds / 60 % 60);
        (self.parts.second, self.parts.fraction) = (seconds % 60, us % 1_000_000);
        if self.time_only {
            return Ok(mask::TIME);
        }
        self.set_day(local.div_euclid(super::US_PER_DAY));
        let now = self.settings.now_us.unwrap_or(0);
        let east = self.settings.time_zone.offset_at_instant_us(now);
        self.zone = Some(Zone::Offset(east));
        Ok(mask::DATE | mask::TIME | mask::ZONE)
    }

    fn finish(mut self) -> Result<Named, Wrong> {
        match self.special {
            Some(Special::Epoch) => return Ok(Named::Epoch),
            Some(Special::Late) => return Ok(Named::Late),
            Some(Special::Early) => return Ok(Named::Early),
            _ => {}
        }
        self.check_date()?;
        if let Some(afternoon) = self.half {
            match (self.parts.hour, afternoon) {
                (13.., _) => return Err(Wrong::Range),
                (12, false) => self.parts.hour = 0,
                (..12, true) => self.parts.hour += 12,
                _ => {}
            }
        }
        let (has_date, has_time) =
            (self.seen & mask::DATE == mask::DATE, self.seen & mask::TIME == mask::TIME);
        if self.time_overflows() {
            return Err(Wrong::Range);
        }
        if if self.time_only { !has_time } else { !has_date } {
            return Err(Wrong::Syntax);
        }
        let modified = self.seen & mask::DAYLIGHT_WORD != 0;
        if modified && !matches!(self.zone, Some(Zone::Offset(_))) {
            return Err(Wrong::Syntax);
        }
        let Parts { year, month, day, hour, minute, second, fraction, .. } = self.parts;
        let days = has_date.then(|| days_from_civil(year, month as u32, day as u32));
        let time_us = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction;
        Ok(Named::Moment(Moment { days, time_us, zone: self.zone }))
    }

    /// Settles the year and checks that there is such a day.
    fn check_date(&mut self) -> Result<(), Wrong> {
        let parts = &mut self.parts;
        if self.seen & mask::YEAR != 0 && !self.julian {
            if self.before_christ {
                if parts.year <= 0 {
                    return Err(Wrong::Range);
                }
                parts.year = 1 - parts.year;
            } else if parts.short_year {
                parts.year += match parts.year {
                    ..70 => 2000,
                    70..100 => 1900,
                    _ => 0,
                };
            } else if parts.year <= 0 {
                return Err(Wrong::Range);
            }
        }
        if self.seen & mask::DAY_OF_YEAR != 0 {
            let days = days_from_civil(parts.year, 1, 1) + parts.day_of_year - 1;
            let (year, month, day) = civil_from_days(days);
            (parts.year, parts.month, parts.day) = (year, i64::from(month), i64::from(day));
        }
        if self.seen & mask::MONTH != 0 && !(1..=12).contains(&parts.month) {
            return Err(Wrong::Order);
        }
        if self.seen & mask::DAY != 0 && !(1..=31).contains(&parts.day) {
            return Err(Wrong::Order);
        }
        let complete = self.seen & mask::DATE == mask::DATE;
        if complete && parts.day > i64::from(days_in_month(parts.year, parts.month as u32)) {
            return Err(Wrong::Range);
        }
        Ok(())
    }
}
