//! A moment's parts in the proleptic Gregorian calendar, as far as timestamps reach.

use super::datetime::DAY_US;
use crate::types::text::{civil_from_days, days_from_civil};

/// A local date and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    /// Days since 1970-01-01.
    pub days: i64,
    /// Microseconds since midnight.
    pub us: i64,
}

impl Calendar {
    /// Of microseconds since 1970-01-01 local.
    #[must_use]
    pub fn of(us: i64) -> Self {
        Self { us: us.rem_euclid(DAY_US), ..Self::of_days(us.div_euclid(DAY_US)) }
    }

    /// Midnight of a day.
    #[must_use]
    pub fn of_days(days: i64) -> Self {
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, days, us: 0 }
    }

    #[must_use]
    pub fn hour(&self) -> i64 {
        self.us / 3_600_000_000
    }

    #[must_use]
    pub fn minute(&self) -> i64 {
        self.us / 60_000_000 % 60
    }

    #[must_use]
    pub fn second(&self) -> i64 {
        self.us / 1_000_000 % 60
    }

    /// Microseconds of the second.
    #[must_use]
    pub fn fraction(&self) -> i64 {
        self.us % 1_000_000
    }

    /// 0 is Sunday.
    #[must_use]
    pub fn weekday(&self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.days + 4).rem_euclid(7)
    }

    /// 1 is Monday, 7 Sunday.
    #[must_use]
    pub fn iso_weekday(&self) -> i64 {
        (self.days + 3).rem_euclid(7) + 1
    }

    /// From 1.
    #[must_use]
    pub fn day_of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    /// 1 to 4.
    #[must_use]
    pub fn quarter(&self) -> i64 {
        i64::from((self.month - 1) / 3 + 1)
    }

    #[must_use]
    pub fn julian(&self) -> i64 {
        self.days + 2_440_588
    }

    /// Year (astronomical) and week of ISO 8601: the year of the week's Thursday.
    #[must_use]
    pub fn iso_week(&self) -> (i64, i64) {
        let thursday = self.days - (self.iso_weekday() - 1) + 3;
        let (year, ..) = civil_from_days(thursday);
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }

    /// Day of the ISO year, from 1.
    #[must_use]
    pub fn iso_day_of_year(&self) -> i64 {
        self.days - iso_year_start(self.iso_week().0) + 1
    }
}

/// The Monday of week 1 of a year, in days since 1970.
#[must_use]
pub fn iso_year_start(year: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7)
}

/// Years as people count them: there is no year zero.
#[must_use]
pub fn display_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// The century or millennium (`length` years) of a year as people count.
#[must_use]
pub fn period(display_year: i64, length: i64) -> i64 {
    if display_year > 0 {
        (display_year + length - 1) / length
    } else {
        -((length - 1 - display_year) / length)
    }
}
