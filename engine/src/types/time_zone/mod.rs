//! Time zones: the session's, and those that literals and `AT TIME ZONE` name.

mod abbreviation;
mod posix;

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

pub use self::abbreviation::{Abbreviation, abbreviation};
use self::posix::PosixZone;
use super::text::{civil_from_days, days_from_civil, days_in_month};

const DAY: i64 = 86_400;
const US: i64 = 1_000_000;

/// A zone of the IANA database, a fixed offset, or one by POSIX's rules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeZone {
    Named(Tz),
    Fixed(FixedOffset),
    Posix(PosixZone),
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
        let moment = known(us.div_euclid(US));
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

    /// A zone `seconds` east of Greenwich, less than a day.
    #[must_use]
    pub fn fixed(seconds: i32) -> Option<Self> {
        FixedOffset::east_opt(seconds).map(Self::Fixed)
    }

    /// A zone as the setting TimeZone takes it, and its name there: a number of hours east of UTC
    /// (`+02`, `-3.5`), or what [`parse_name`](Self::parse_name) takes.
    #[must_use]
    pub fn parse_setting(text: &str) -> Option<(Self, String)> {
        let text = text.trim();
        if let Ok(hours) = text.parse::<f64>() {
            let seconds = (hours * 3600.0).trunc();
            let offset = (seconds.abs() < 86_400.0).then_some(seconds as i32)?;
            let zone = Self::Fixed(FixedOffset::east_opt(offset)?);
            return Some((zone, zone.name()));
        }
        if text.starts_with('<')
            && let Some(Self::Posix(zone)) = Self::parse_name(text)
            && let Some(zone) = zone.fixed().and_then(Self::fixed)
            && zone.name() == text
        {
            return Some((zone, zone.name()));
        }
        let zone = Self::parse_name(text)?;
        let name = match zone {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Fixed(_) | Self::Posix(_) => text.to_uppercase(),
        };
        Some((zone, name))
    }

    /// A zone of the IANA database by name (any case), or in POSIX form, whose offset counts west
    /// of UTC: `UTC+3`, `<+05>-5`, `EST5EDT,M3.2.0,M11.1.0`.
    #[must_use]
    pub fn parse_name(text: &str) -> Option<Self> {
        let text = text.trim();
        let same = |tz: &&Tz| tz.name().eq_ignore_ascii_case(text);
        text.parse::<Tz>()
            .ok()
            .or_else(|| chrono_tz::TZ_VARIANTS.iter().find(same).copied())
            .map(Self::Named)
            .or_else(|| PosixZone::parse(&text.to_uppercase()).map(Self::Posix))
    }

    /// As Arrow names it: a zone's name, or `+02:00`. Of a zone with rules of its own, Greenwich.
    #[must_use]
    pub fn arrow_name(&self) -> String {
        match self {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Fixed(offset) => offset.to_string(),
            Self::Posix(_) => Tz::UTC.name().to_owned(),
        }
    }

    /// As SHOW TimeZone prints it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Named(tz) => tz.name().to_owned(),
            Self::Posix(zone) => zone.at(0).1.to_owned(),
            Self::Fixed(offset) => {
                let east = offset.local_minus_utc();
                // PostgreSQL prints fixed zones in POSIX form, whose sign points west.
                let (sign, posix) = if east < 0 { ('-', '+') } else { ('+', '-') };
                let clock = clock(east);
                format!("<{sign}{clock}>{posix}{clock}")
            }
        }
    }

    /// Seconds east of UTC at an instant, in µs since 1970.
    #[must_use]
    pub fn offset_at_instant_us(&self, us: i64) -> i32 {
        match self {
            Self::Named(tz) => match standard_time(*tz, us.div_euclid(US)) {
                Some((offset, _)) => offset,
                None => {
                    let utc = known(us.div_euclid(US));
                    tz.offset_from_utc_datetime(&utc).fix().local_minus_utc()
                }
            },
            Self::Fixed(offset) => offset.local_minus_utc(),
            Self::Posix(zone) => zone.at(us.div_euclid(US)).0,
        }
    }

    /// The abbreviation in use at an instant, if the zone has one.
    #[must_use]
    pub fn abbreviation_at_instant_us(&self, us: i64) -> Option<String> {
        let name = match self {
            Self::Named(tz) => match standard_time(*tz, us.div_euclid(US)) {
                Some((_, name)) => name.to_owned(),
                None => {
                    let utc = known(us.div_euclid(US));
                    tz.offset_from_utc_datetime(&utc).abbreviation().map(ToOwned::to_owned)?
                }
            },
            Self::Fixed(offset) => {
                let east = offset.local_minus_utc();
                format!("{}{}", if east < 0 { '-' } else { '+' }, clock(east))
            }
            Self::Posix(zone) => zone.at(us.div_euclid(US)).1.to_owned(),
        };
        Some(name).filter(|name| !name.is_empty())
    }

    /// Seconds east of UTC at a local time, in µs since 1970-01-01 local. In a gap the offset before
    /// it, in an overlap the one after it, as PostgreSQL decides.
    #[must_use]
    pub fn offset_at_local_us(&self, local_us: i64) -> i32 {
        if let Self::Fixed(offset) = self {
            return offset.local_minus_utc();
        }
        let day = DAY * US;
        let before = self.offset_at_instant_us(local_us.saturating_sub(day));
        let after = self.offset_at_instant_us(local_us.saturating_add(day));
        if before == after {
            return before;
        }
        let holds = |offset: i32| {
            let instant = local_us.saturating_sub(i64::from(offset) * US);
            self.offset_at_instant_us(instant) == offset
        };
        match (holds(before), holds(after)) {
            (true, false) | (false, false) => before,
            (_, true) => after,
        }
    }

    /// Seconds east of UTC at a local time under an abbreviation that the zone uses: the offset it
    /// stood for at that time, or before, or the first time after. Without one, the zone's own.
    #[must_use]
    pub fn offset_of_abbreviation(&self, abbreviation: &str, local_us: i64) -> i32 {
        let zone_offset = self.offset_at_local_us(local_us);
        let instant = local_us.saturating_sub(i64::from(zone_offset) * US);
        self.offset_of_abbreviation_at_instant(abbreviation, instant)
    }

    /// The same at an instant, in µs since 1970.
    #[must_use]
    pub fn offset_of_abbreviation_at_instant(&self, abbreviation: &str, instant: i64) -> i32 {
        /// Transitions are farther apart, those that change an abbreviation's offset at least.
        const STEP_US: i64 = 30 * DAY * US;
        const STEPS: i64 = 12 * 150;
        let matches = |at: &i64| {
            let name = self.abbreviation_at_instant_us(*at);
            name.is_some_and(|name| name.eq_ignore_ascii_case(abbreviation))
        };
        let back = (0..STEPS).map(|step| instant.saturating_sub(step * STEP_US));
        let forth = (1..STEPS).map(|step| instant.saturating_add(step * STEP_US));
        let found = back.chain(forth).find(matches);
        self.offset_at_instant_us(found.unwrap_or(instant))
    }

    /// The offset of a zone that never changed it, in seconds east of UTC.
    #[must_use]
    pub fn constant_offset(&self) -> Option<i32> {
        match self {
            Self::Fixed(offset) => Some(offset.local_minus_utc()),
            Self::Posix(zone) => zone.fixed(),
            Self::Named(Tz::UTC | Tz::GMT | Tz::UCT | Tz::Zulu | Tz::Universal | Tz::Greenwich) => {
                Some(0)
            }
            Self::Named(tz) => {
                let name = tz.name().strip_prefix("Etc/")?;
                let fixed = name.starts_with("GMT") || matches!(name, "UTC" | "UCT" | "Zulu");
                (fixed || matches!(name, "Universal" | "Greenwich"))
                    .then(|| self.offset_at_instant_us(0))
            }
        }
    }
}

/// `hh[:mm[:ss]]` of a number of seconds, whatever its sign.
fn clock(seconds: i32) -> String {
    let seconds = seconds.abs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{hours:02}"),
        (_, 0) => format!("{hours:02}:{minutes:02}"),
        _ => format!("{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// The standard time of `EST5EDT` and kin while the United States as a whole had no daylight saving.
/// In the newer database these names are links to cities, which had times of their own before 1883
/// and from 1946 to 1966.
fn standard_time(tz: Tz, second: i64) -> Option<(i32, &'static str)> {
    /// 1918-03-31, 1919-10-26, 1942-02-09, 1945-09-30 and 1967-04-30, a day before or after.
    const DAYLIGHT: [std::ops::Range<i64>; 3] =
        [-18_906 * DAY..-18_327 * DAY, -10_188 * DAY..-8_858 * DAY, -978 * DAY..i64::MAX];
    let standard = match tz {
        Tz::EST5EDT => (-5 * 3600, "EST"),
        Tz::CST6CDT => (-6 * 3600, "CST"),
        Tz::MST7MDT => (-7 * 3600, "MST"),
        Tz::PST8PDT => (-8 * 3600, "PST"),
        _ => return None,
    };
    (!DAYLIGHT.iter().any(|years| years.contains(&second))).then_some(standard)
}

/// The instant for which the database of zones knows the rules that hold at `second`: those of the
/// last years it lists go on for ever. Before the year 1 the first ones hold.
fn known(second: i64) -> NaiveDateTime {
    /// The database lists transitions up to then.
    const LAST_YEAR: i64 = 2_097;
    /// Of year 1.
    const FIRST_SECOND: i64 = -62_135_596_800;
    const LAST_SECOND: i64 = 4_039_372_800;
    let mut second = second.max(FIRST_SECOND);
    if second >= LAST_SECOND {
        let days = second.div_euclid(DAY);
        let (year, ..) = civil_from_days(days);
        let january = days_from_civil(year, 1, 1);
        let like = |candidate: &i64| {
            let start = days_from_civil(*candidate, 1, 1);
            (start - january) % 7 == 0 && days_in_month(*candidate, 2) == days_in_month(year, 2)
        };
        let year = (LAST_YEAR - 28..=LAST_YEAR).rev().find(like).unwrap_or(LAST_YEAR);
        second = second - january * DAY + days_from_civil(year, 1, 1) * DAY;
    }
    DateTime::from_timestamp(second, 0).unwrap_or_default().naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64, hour: i64) -> i64 {
        (days * DAY + hour * 3600) * US
    }

    #[test]
    fn rules_go_on_for_ever() {
        let zone = TimeZone::parse_name("America/Los_Angeles").expect("a zone");
        for year in [2024, 2096, 2097, 2099, 2101, 2400, 205_000, 294_000] {
            assert_eq!(zone.offset_at_instant_us(at(days_from_civil(year, 7, 10), 0)), -25_200);
            assert_eq!(zone.offset_at_instant_us(at(days_from_civil(year, 12, 31), 23)), -28_800);
        }
        assert_eq!(zone.offset_at_instant_us(at(days_from_civil(-4000, 1, 1), 0)), -28_378);
    }

    #[test]
    fn gaps_and_overlaps() {
        let zone = TimeZone::parse_name("America/New_York").expect("a zone");
        let march = days_from_civil(2024, 3, 10);
        let november = days_from_civil(2024, 11, 3);
        assert_eq!(zone.offset_at_local_us(at(march, 1)), -18_000);
        assert_eq!(zone.offset_at_local_us(at(march, 2)), -18_000);
        assert_eq!(zone.offset_at_local_us(at(march, 3)), -14_400);
        assert_eq!(zone.offset_at_local_us(at(november, 0)), -14_400);
        assert_eq!(zone.offset_at_local_us(at(november, 1)), -18_000);
        // Standard time was moved, without daylight saving.
        let moscow = TimeZone::parse_name("Europe/Moscow").expect("a zone");
        assert_eq!(moscow.offset_at_local_us(at(days_from_civil(2011, 3, 27), 2)), 10_800);
        assert_eq!(moscow.offset_at_local_us(at(days_from_civil(2014, 10, 26), 1)), 10_800);
    }

    #[test]
    fn abbreviations_change_their_meaning() {
        let moscow = TimeZone::parse_name("Europe/Moscow").expect("a zone");
        let msk = |year, month| {
            let local = at(days_from_civil(year, month, 1), 0);
            moscow.offset_of_abbreviation("msk", local) / 3600
        };
        assert_eq!([msk(2010, 1), msk(2010, 7), msk(2012, 1), msk(2015, 1)], [3, 3, 4, 3]);
    }

    #[test]
    fn settings_have_names() {
        for (text, name) in [
            ("5.5", "<+05:30>-05:30"),
            ("-8", "<-08>+08"),
            ("utc+3", "UTC+3"),
            ("europe/berlin", "Europe/Berlin"),
            ("<-08>+08", "<-08>+08"),
        ] {
            assert_eq!(TimeZone::parse_setting(text).map(|(_, name)| name).as_deref(), Some(name));
        }
        assert_eq!(TimeZone::parse_setting("MSK"), None);
    }
}
