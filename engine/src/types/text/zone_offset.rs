//! Offsets of a time zone at instants that count microseconds.

use chrono::{DateTime, FixedOffset};

use crate::types::TimeZone;

/// Seconds east of Greenwich at an instant, in µs since 1970-01-01 UTC. Beyond chrono's calendar
/// there are no zone rules, so the offset is 0.
pub(super) fn at_instant(zone: &TimeZone, instant_us: i64) -> i32 {
    match zone {
        TimeZone::Fixed(offset) => offset.local_minus_utc(),
        TimeZone::Named(_) => DateTime::from_timestamp(instant_us.div_euclid(1_000_000), 0)
            .map_or(0, |at| zone.offset_at_utc(&at.naive_utc())),
    }
}

/// What the zone is called at an instant (`PST`); None where it has only its offset.
pub(super) fn abbreviation(zone: &TimeZone, instant_us: i64) -> Option<String> {
    let at = DateTime::from_timestamp(instant_us.div_euclid(1_000_000), 0)?;
    zone.abbreviation_at_utc(&at.naive_utc())
}

/// Seconds east of Greenwich at a local time, in µs since 1970-01-01 local.
pub(super) fn at_local(zone: &TimeZone, local_us: i64) -> i32 {
    match zone {
        TimeZone::Fixed(offset) => offset.local_minus_utc(),
        TimeZone::Named(_) => DateTime::from_timestamp(local_us.div_euclid(1_000_000), 0)
            .map_or(0, |at| zone.offset_at_local(&at.naive_utc())),
    }
}

/// A zone `seconds` east of Greenwich, less than a day.
pub(super) fn fixed(seconds: i32) -> Option<TimeZone> {
    FixedOffset::east_opt(seconds).map(TimeZone::Fixed)
}
