use super::*;
use crate::types::TimeZone;
use crate::types::text::{DateFormat, DateStyle};

const ISO: DateStyle = DateStyle { format: DateFormat::Iso, order: DateOrder::Mdy };

fn settings(zone: &str) -> FormatSettings {
    FormatSettings {
        time_zone: TimeZone::parse_name(zone).expect("a zone"),
        ..FormatSettings::default()
    }
}

fn date(text: &str) -> Result<String, SqlError> {
    parse_date(text, &settings("UTC")).map(|days| {
        let mut out = Vec::new();
        write_date(days, ISO, &mut out);
        String::from_utf8(out).expect("ASCII")
    })
}

fn instant(text: &str, zone: &str) -> Result<String, SqlError> {
    parse_timestamptz(text, &settings(zone)).map(|us| {
        let mut out = Vec::new();
        write_timestamptz(us, &TimeZone::parse_name(zone).expect("a zone"), ISO, &mut out);
        String::from_utf8(out).expect("ASCII")
    })
}

#[test]
fn reads_dates_in_many_orders() {
    for text in [
        "1999-01-08",
        "January 8, 1999",
        "1/8/1999",
        "1999-Jan-08",
        "Jan-08-1999",
        "08-Jan-1999",
        "19990108",
        "990108",
        "Fri Jan 8 1999",
        "1999-01-08 10:00:00",
    ] {
        assert_eq!(date(text).as_deref(), Ok("1999-01-08"), "{text}");
    }
    assert_eq!(date("0044-03-15 BC").as_deref(), Ok("0044-03-15 BC"));
    assert_eq!(date("infinity").as_deref(), Ok("infinity"));
    assert_eq!(date("5874897-12-31").as_deref(), Ok("5874897-12-31"));
    for (text, state) in [
        ("2023-02-29", sqlstate::DATETIME_FIELD_OVERFLOW),
        ("13/13/1999", sqlstate::DATETIME_FIELD_OVERFLOW),
        ("x", sqlstate::INVALID_DATETIME_FORMAT),
        ("", sqlstate::INVALID_DATETIME_FORMAT),
        ("1999", sqlstate::INVALID_DATETIME_FORMAT),
        ("now", sqlstate::FEATURE_NOT_SUPPORTED),
    ] {
        assert_eq!(date(text).expect_err(text).sqlstate, state, "{text}");
    }
}

#[test]
fn moves_between_zones() {
    for (text, zone, expected) in [
        ("2024-01-01 12:00:00", "UTC", "2024-01-01 12:00:00+00"),
        ("2024-07-01 12:00:00+00", "America/New_York", "2024-07-01 08:00:00-04"),
        ("2024-01-01T12:00:00Z", "Asia/Kolkata", "2024-01-01 17:30:00+05:30"),
        ("2024-01-01 12:00:00.123456 PST", "UTC", "2024-01-01 20:00:00.123456+00"),
        ("2024-01-01 12:00 America/New_York", "UTC", "2024-01-01 17:00:00+00"),
        ("2024-01-01 01:30:00 PM +02:30", "UTC", "2024-01-01 11:00:00+00"),
        // Skipped in spring, twice in autumn.
        ("2024-03-10 02:30:00", "America/New_York", "2024-03-10 03:30:00-04"),
        ("2024-11-03 01:30:00", "America/New_York", "2024-11-03 01:30:00-05"),
        ("20240101T101112", "UTC", "2024-01-01 10:11:12+00"),
    ] {
        assert_eq!(instant(text, zone).as_deref(), Ok(expected), "{text} in {zone}");
    }
    assert!(instant("2024-01-01 25:00:00", "UTC").is_err());
    assert!(instant("2024-01-01 12:00:00 Mars/Olympus", "UTC").is_err());
}

#[test]
fn reads_times() {
    let time = |text| parse_time(text, &FormatSettings::default());
    assert_eq!(time("04:05:06.789"), Ok(14_706_789_000));
    assert_eq!(time("04:05 PM"), Ok(57_900_000_000));
    assert_eq!(time("24:00:00"), Ok(US_PER_DAY));
    assert_eq!(time("24:00:01").expect_err("late").sqlstate, sqlstate::DATETIME_FIELD_OVERFLOW);
}

#[test]
fn civil_days_go_round() {
    for days in (-1_000_000..1_000_000).step_by(97) {
        let (year, month, day) = civil_from_days(days);
        assert_eq!(days_from_civil(year, month, day), days);
    }
}

#[test]
fn prints_in_every_style() {
    let moment = parse_timestamp("0044-03-15 13:01:02.5 BC", &settings("UTC")).expect("a moment");
    let zone = TimeZone::parse_name("America/Los_Angeles").expect("a zone");
    let fixed = TimeZone::fixed(19_800).expect("an offset");
    let instant = 946_728_000_000_000;
    for (format, order, day, then, now, there) in [
        (
            DateFormat::Iso,
            DateOrder::Dmy,
            "2000-01-02",
            "0044-03-15 13:01:02.5 BC",
            "2000-01-01 04:00:00-08",
            "2000-01-01 17:30:00+05:30",
        ),
        (
            DateFormat::Sql,
            DateOrder::Mdy,
            "01/02/2000",
            "03/15/0044 13:01:02.5 BC",
            "01/01/2000 04:00:00 PST",
            "01/01/2000 17:30:00 +05:30",
        ),
        (
            DateFormat::Sql,
            DateOrder::Dmy,
            "02/01/2000",
            "15/03/0044 13:01:02.5 BC",
            "01/01/2000 04:00:00 PST",
            "01/01/2000 17:30:00 +05:30",
        ),
        (
            DateFormat::German,
            DateOrder::Dmy,
            "02.01.2000",
            "15.03.0044 13:01:02.5 BC",
            "01.01.2000 04:00:00 PST",
            "01.01.2000 17:30:00 +05:30",
        ),
        (
            DateFormat::Postgres,
            DateOrder::Mdy,
            "01-02-2000",
            "Fri Mar 15 13:01:02.5 0044 BC",
            "Sat Jan 01 04:00:00 2000 PST",
            "Sat Jan 01 17:30:00 2000 +05:30",
        ),
        (
            DateFormat::Postgres,
            DateOrder::Dmy,
            "02-01-2000",
            "Fri 15 Mar 13:01:02.5 0044 BC",
            "Sat 01 Jan 04:00:00 2000 PST",
            "Sat 01 Jan 17:30:00 2000 +05:30",
        ),
    ] {
        let style = DateStyle { format, order };
        let mut all = [const { Vec::new() }; 4];
        write_date(10_958, style, &mut all[0]);
        write_timestamp(moment, style, &mut all[1]);
        write_timestamptz(instant, &zone, style, &mut all[2]);
        write_timestamptz(instant, &fixed, style, &mut all[3]);
        let all = all.map(|text| String::from_utf8(text).expect("ASCII"));
        assert_eq!(all, [day, then, now, there], "{style:?}");
    }
}
