//! The parts of an interval, added up.

use arrow::array::types::IntervalMonthDayNano;

use super::{
    super::datetime::{US_PER_DAY, US_PER_SECOND},
    Wrong,
};

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

/// A number with its fraction, both of the same sign.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Amount {
    pub whole: i64,
    pub fraction: f64,
}

/// Months, days and microseconds. Fractions spill into the next smaller part, a month counting 30
/// days.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Sum {
    pub months: i64,
    pub days: i64,
    pub us: i64,
}

impl Sum {
    pub(super) fn add(&mut self, amount: Amount, unit: Unit) -> Result<(), Wrong> {
        let second = US_PER_SECOND;
        match unit {
            Unit::Microsecond => self.add_us(amount, 1),
            Unit::Millisecond => self.add_us(amount, 1000),
            Unit::Second => self.add_us(amount, second),
            Unit::Minute => self.add_us(amount, 60 * second),
            Unit::Hour => self.add_us(amount, 3600 * second),
            Unit::Day => self.add_days(amount, 1),
            Unit::Week => self.add_days(amount, 7),
            Unit::Month => {
                self.add_months(amount.whole, 1)?;
                self.add_days(Amount { whole: 0, fraction: amount.fraction }, 30)
            }
            Unit::Year => self.add_years(amount, 1),
            Unit::Decade => self.add_years(amount, 10),
            Unit::Century => self.add_years(amount, 100),
            Unit::Millennium => self.add_years(amount, 1000),
        }
    }

    fn add_us(&mut self, amount: Amount, factor: i64) -> Result<(), Wrong> {
        let whole = amount.whole.checked_mul(factor).ok_or(Wrong::Range)?;
        // Half a microsecond counts nothing.
        let fraction = amount.fraction * factor as f64;
        let (least, rest) = (fraction.trunc() as i64, fraction.fract());
        let more = i64::from(rest > 0.5) - i64::from(rest < -0.5);
        self.more_us(whole)?;
        self.more_us(least + more)
    }

    /// The fraction of a second behind a time of day: half a microsecond goes to the even side.
    pub(super) fn add_fraction_of_time(&mut self, fraction: f64) -> Result<(), Wrong> {
        self.more_us((fraction * US_PER_SECOND as f64).round_ties_even() as i64)
    }

    fn more_us(&mut self, us: i64) -> Result<(), Wrong> {
        self.us = self.us.checked_add(us).ok_or(Wrong::Range)?;
        Ok(())
    }

    fn add_days(&mut self, amount: Amount, factor: i64) -> Result<(), Wrong> {
        let fraction = amount.fraction * factor as f64;
        let days = amount.whole.checked_mul(factor).ok_or(Wrong::Range)?;
        let days = days.checked_add(fraction.trunc() as i64).ok_or(Wrong::Range)?;
        self.days = bounded(self.days.checked_add(days))?;
        self.add_us(Amount { whole: 0, fraction: fraction.fract() }, US_PER_DAY)
    }

    fn add_months(&mut self, months: i64, factor: i64) -> Result<(), Wrong> {
        let months = months.checked_mul(factor).ok_or(Wrong::Range)?;
        self.months = bounded(self.months.checked_add(months))?;
        Ok(())
    }

    /// Fractions of years count whole months only.
    fn add_years(&mut self, amount: Amount, factor: i64) -> Result<(), Wrong> {
        let factor = factor * 12;
        self.add_months(amount.whole, factor)?;
        self.add_months((amount.fraction * factor as f64).round_ties_even() as i64, 1)
    }

    pub(super) fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, us: self.us.saturating_neg() }
    }

    pub(super) fn finish(self) -> Option<IntervalMonthDayNano> {
        let months = i32::try_from(self.months).ok()?;
        let days = i32::try_from(self.days).ok()?;
        Some(IntervalMonthDayNano::new(months, days, self.us.checked_mul(1000)?))
    }
}

/// Months and days are kept in 32 bits.
fn bounded(value: Option<i64>) -> Result<i64, Wrong> {
    value.filter(|value| i32::try_from(*value).is_ok()).ok_or(Wrong::Range)
}
