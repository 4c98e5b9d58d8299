//! Calls over dates, times and intervals, their patterns and their texts.

use super::Calls;

const MOMENTS: [&str; 7] = [
    "'2024-01-31 23:59:59.999999'",
    "'1999-12-31 12:34:56.5'",
    "'0001-01-01 BC'",
    "'infinity'",
    "'2024-02-29'",
    "'2000-01-01 00:00:00.0000005'",
    "'-infinity'",
];
const TIMES: [&str; 4] = ["'23:59:59.999999'", "'00:00'", "'12:34:56.0005'", "'24:00'"];
const INTERVALS: [&str; 11] = [
    "'1 day'",
    "'-1.5 months'",
    "'3 years 2 mons -4 days 05:06:07.891'",
    "'0.0000015 s'",
    "'-00:00:59.99'",
    "'1 week 36:00'",
    // Intervals of hours beyond 292 years are refused here: see docs/postgres-differences.md.
    "'100000 hours'",
    "'178 days 23:59:59.999999'",
    "'-2 years 25 mons'",
    "'-1 mon +40 days -30:00'",
    "'0.00000049 h 2.9999999 d'",
];
const TIME_PATTERNS: [&str; 6] = [
    "YYYY-MM-DD HH24:MI:SS.US",
    "FMDay, DDth Month",
    "IYYY-IW-ID",
    "J",
    "HH12:MI am MS",
    "CC Q WW DDD",
];
/// Fields of patterns of dates and times.
const FIELDS: [&str; 46] = [
    "YYYY", "YYY", "YY", "Y", "Y,YYY", "IYYY", "IYY", "IY", "I", "MM", "MONTH", "Month", "mon",
    "DD", "DDD", "D", "ID", "IDDD", "DAY", "Dy", "W", "WW", "IW", "CC", "J", "Q", "RM", "rm", "HH",
    "HH12", "HH24", "MI", "SS", "SSSS", "MS", "US", "FF3", "AM", "p.m.", "BC", "A.D.", "TZ", "TZH",
    "OF", "FM", "TM",
];
/// Texts of dates and times, right and wrong.
const MOMENT_TEXTS: [&str; 60] = [
    "2024-01-31",
    "31.01.2024",
    "01/02/2024",
    "1/2/3",
    "99-1-2",
    "Jan 31 2024",
    "31 Jan 2024",
    "January 31, 2024",
    "2024 Jan 31",
    "20240131",
    "240131",
    "2024.031",
    "2024-031",
    "J2460341",
    "2024-1-1 1:2",
    "2024-01-31T12:34:56Z",
    "2024-01-31 12:34:56.123456789",
    "2024-01-31 24:00",
    "2024-01-31 24:00:01",
    "2024-02-30",
    "2023-02-29",
    "0000-01-01",
    "0001-01-01 BC",
    "4714-11-24 BC",
    "4714-11-23 BC",
    "294246-12-31",
    "10000-01-01",
    "infinity",
    "-infinity",
    "epoch",
    "2024-01-31 12:00 PM",
    "2024-01-31 13:00 PM",
    "12:00 AM 2024-01-31",
    "2024-01-31 12:00 EST",
    "2024-01-31 12:00+02:30",
    "2024-01-31 12:00-1530",
    "2024-01-31 12:00 America/New_York",
    "2024-01-31 BC",
    "Wed Jan 31 12:34:56 2024",
    "2024-01-31 04:05:06.789-8",
    "040506",
    "04:05",
    "4:5:6 PM",
    "23:59:60",
    "24:00",
    "25:00",
    "04:05:06.7 PST",
    "T040506",
    "allballs",
    "12:61",
    "Feb-29-2024",
    "2024-Feb-29",
    "29-Feb-24",
    "1999-13-01",
    "",
    " ",
    "2024",
    "x",
    "2024-01-31 xyz",
    "1 2 3",
];
const INTERVAL_TEXTS: [&str; 40] = [
    "1",
    "1.5",
    "-1.5 days",
    "1 year 2 months",
    "1-2",
    "1-2 3 4:05:06",
    "P1Y2M3DT4H5M6.7S",
    "PT-1.5H",
    "P1W",
    "P0001-02-03T04:05:06",
    "1 day ago",
    "1.5 months",
    "0.1 year",
    "1 mon 1 mon",
    "12:34",
    "12:34:56.7",
    "-12:34:56",
    "1 day -12:34",
    "+1 -2:00",
    "1 h 2 m 3 s",
    "1.23456789 s",
    "0.5 week",
    "1 century",
    "1 millennium",
    "1e3 s",
    "ago",
    "",
    "1 foo",
    "3 4",
    "100000000 years",
    "2147483647 mons",
    "2147483648 days",
    "1:2:3:4",
    "P1.5Y",
    "P1Y-2M",
    "PT",
    "P",
    "1 day 1 day",
    "0.9999999 s",
    "1 us 1 ms",
];

impl Calls {
    pub(super) fn moment(&mut self) -> String {
        let (a, b, t) = (self.pick(&MOMENTS), self.pick(&MOMENTS), self.pick(&TIMES));
        let (i, j, n) = (self.pick(&INTERVALS), self.pick(&INTERVALS), self.random.below(7));
        let pattern = self.pick(&TIME_PATTERNS);
        let symbol = self.pick(&["+", "-"]);
        match self.random.below(8) {
            0 => format!("{a}::timestamp({n}) {symbol} {i}::interval"),
            1 => format!("{t}::time({n}) {symbol} {i}::interval"),
            2 => {
                format!("{i}::interval({n}) {symbol} {j}::interval, {i}::interval < {j}::interval")
            }
            3 => format!("{a}::timestamp - {b}::timestamp, age({a}::timestamp, {b}::timestamp)"),
            4 => {
                format!("to_char({a}::timestamp, '{pattern}'), to_char({i}::interval, '{pattern}')")
            }
            5 => format!("{i}::interval * {n}.5, justify_interval({i}::interval)"),
            6 => format!("extract(epoch from {i}::interval), date_trunc('minute', {i}::interval)"),
            _ => format!("{a}::timestamptz({n}) at time zone 'UTC', ({a}::timestamp({n}))::date"),
        }
    }

    pub(super) fn moment_pattern(&mut self) -> String {
        let mut pattern = String::new();
        for _ in 0..=self.random.below(4) {
            pattern.push_str(self.pick(&["", "", "FM", "", ""]));
            pattern.push_str(self.pick(&FIELDS));
            pattern.push_str(self.pick(&["", "", "th", "", "TH"]));
            pattern.push_str(self.pick(&["-", " ", "/", ":", "", "\"q\"", ", "]));
        }
        let (moment, interval) = (self.pick(&MOMENTS), self.pick(&INTERVALS));
        let text = self.pick(&MOMENT_TEXTS);
        match self.random.below(6) {
            0 => format!("to_char({moment}::timestamp, '{pattern}')"),
            1 => format!("to_char({moment}::timestamptz, '{pattern}')"),
            2 => format!("to_char({interval}::interval, '{pattern}')"),
            3 => format!("to_date('{text}', '{pattern}')"),
            4 => format!("to_timestamp('{text}', '{pattern}')"),
            _ => {
                // What the pattern writes, it reads.
                let day = self.pick(&[
                    "2024-02-29 13:14:15.678",
                    "1999-12-31",
                    "0044-03-15 BC",
                    "12345-06-07",
                ]);
                format!("to_timestamp(to_char('{day}'::timestamp, '{pattern}'), '{pattern}')")
            }
        }
    }

    /// Texts read as dates and times, under each DateStyle. They are statements of their own.
    pub(super) fn moment_text(&mut self) -> String {
        let (text, digits) = (self.pick(&MOMENT_TEXTS), self.random.below(7));
        let to = self.pick(&["date", "timestamp", "timestamptz", "time", "timetz", "timestamp"]);
        let style = self.pick(&[
            "iso, mdy",
            "iso, dmy",
            "iso, ymd",
            "sql, dmy",
            "sql, mdy",
            "german",
            "postgres, dmy",
            "postgres, mdy",
        ]);
        let zone = self.pick(&["UTC", "Europe/Berlin", "-5", "America/New_York"]);
        let precise = if to == "date" { String::new() } else { format!("({digits})") };
        format!(
            "set datestyle = '{style}'; set timezone = '{zone}'; select '{text}'::{to}, '{text}'::{to}{precise}; \
             reset datestyle; reset timezone"
        )
    }

    pub(super) fn interval_text(&mut self) -> String {
        let (text, digits) = (self.pick(&INTERVAL_TEXTS), self.random.below(7));
        let fields = self.pick(&[
            "",
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "year to month",
            "day to hour",
            "minute to second",
            "hour to minute",
        ]);
        let style = self.pick(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]);
        format!(
            "set intervalstyle = '{style}'; select interval '{text}' {fields}, interval({digits}) '{text}'; reset intervalstyle"
        )
    }

    pub(super) fn moment_call(&mut self) -> String {
        let (a, b, t) = (self.pick(&MOMENTS), self.pick(&MOMENTS), self.pick(&TIMES));
        let (i, j) = (self.pick(&INTERVALS), self.pick(&INTERVALS));
        let unit = self.pick(&[
            "century",
            "day",
            "decade",
            "dow",
            "doy",
            "epoch",
            "hour",
            "isodow",
            "isoyear",
            "julian",
            "microseconds",
            "millennium",
            "milliseconds",
            "minute",
            "month",
            "quarter",
            "second",
            "timezone",
            "week",
            "year",
            "foo",
        ]);
        let zone = self.pick(&["UTC", "Europe/Berlin", "EST5EDT", "+05:30", "cest"]);
        let n = self.random.below(9);
        match self.random.below(15) {
            0 => format!(
                "extract({unit} from {a}::timestamp), date_part('{unit}', {a}::timestamptz)"
            ),
            1 => format!("extract({unit} from {i}::interval), extract({unit} from {t}::time)"),
            2 => format!("extract({unit} from {a}::timestamp::date)"),
            3 => {
                format!("date_trunc('{unit}', {a}::timestamp), date_trunc('{unit}', {i}::interval)")
            }
            4 => format!("date_trunc('{unit}', {a}::timestamptz, '{zone}')"),
            5 => format!(
                "{a}::timestamp at time zone '{zone}', {a}::timestamptz at time zone '{zone}'"
            ),
            6 => format!(
                "({a}::timestamp::date, {i}::interval) overlaps ({b}::timestamp::date, {j}::interval)"
            ),
            7 => format!(
                "age({a}::timestamp, {b}::timestamp), age({a}::timestamptz, {b}::timestamptz)"
            ),
            8 => format!("justify_days({i}::interval), justify_hours({i}), justify_interval({i})"),
            9 => format!("{i}::interval / {n}, {i}::interval * ({n} / 3.0), - {i}::interval"),
            10 => format!(
                "{i}::interval + {j}::interval, {i}::interval - {j}::interval, {i}::interval = {j}::interval"
            ),
            11 => format!("make_date({n} * 500 - 1000, {n}, 29), make_time({n} * 3, 59, {n}.5)"),
            12 => format!(
                "make_timestamp(2024, {n}, 28, {n} * 3, 0, 59.9999999), make_interval(months => {n}, secs => -{n}.75)"
            ),
            13 => format!("date_bin({i}, {a}::timestamp, '2001-01-01'), isfinite({a}::timestamp)"),
            _ => format!("generate_series('2024-01-29'::timestamp, '2024-03-02', {i}) limit 5"),
        }
    }
}
