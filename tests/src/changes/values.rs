//! Values and expressions of each type, ordinary ones and those that do not fit.

use crate::differential::Random;

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Int2,
    Int4,
    Int8,
    Numeric62,
    Numeric,
    Float8,
    Text,
    Varchar5,
    Char3,
    Bool,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    IntArray,
    TextArray,
    Json,
    Jsonb,
    Uuid,
}

use Type as T;

pub(super) const TYPES: [Type; 19] = [
    T::Int2,
    T::Int4,
    T::Int8,
    T::Numeric62,
    T::Numeric,
    T::Float8,
    T::Text,
    T::Varchar5,
    T::Char3,
    T::Bool,
    T::Date,
    T::Timestamp,
    T::Timestamptz,
    T::Interval,
    T::IntArray,
    T::TextArray,
    T::Json,
    T::Jsonb,
    T::Uuid,
];

/// Types of keys.
pub(super) const KEY_TYPES: [Type; 9] =
    [T::Int4, T::Int4, T::Int8, T::Int2, T::Text, T::Numeric62, T::Date, T::Char3, T::Timestamp];

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            T::Int2 => "smallint",
            T::Int4 => "int",
            T::Int8 => "bigint",
            T::Numeric62 => "numeric(6,2)",
            T::Numeric => "numeric",
            T::Float8 => "double precision",
            T::Text => "text",
            T::Varchar5 => "varchar(5)",
            T::Char3 => "char(3)",
            T::Bool => "boolean",
            T::Date => "date",
            T::Timestamp => "timestamp",
            T::Timestamptz => "timestamptz",
            T::Interval => "interval",
            T::IntArray => "int[]",
            T::TextArray => "text[]",
            T::Json => "json",
            T::Jsonb => "jsonb",
            T::Uuid => "uuid",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, T::Int2 | T::Int4 | T::Int8 | T::Numeric62 | T::Numeric | T::Float8)
    }

    fn is_text(self) -> bool {
        matches!(self, T::Text | T::Varchar5 | T::Char3)
    }

    fn is_time(self) -> bool {
        matches!(self, T::Date | T::Timestamp | T::Timestamptz)
    }

    /// Whether values may be compared with `=` and `<`.
    pub(super) fn is_comparable(self) -> bool {
        self != T::Json
    }

    /// Whether a value of the other type may stand where this one is assigned.
    pub(super) fn is_assignable_from(self, other: Self) -> bool {
        self == other
            || (self.is_number() && other.is_number())
            || (self.is_text() && other != T::Char3)
            || (self.is_time() && other.is_time())
    }
}

/// A literal that fits its column.
pub(super) fn ordinary(random: &mut Random, of: Type) -> String {
    let from: &[&str] = match of {
        T::Int2 | T::Int4 | T::Int8 => {
            return format!("{}", i64::try_from(random.below(30)).unwrap_or(0) - 3);
        }
        T::Numeric62 => &["0", "1.5", "-2.25", "10", "12.34", "999.99", "0.01", "7"],
        T::Numeric => &["0", "1.50", "-2.250", "1e3", "123456789012345678901.5", "'NaN'", "0.001"],
        T::Float8 => &["0", "1.5", "-2.5", "1e100", "'infinity'", "0.1", "3"],
        T::Text => &["''", "'a'", "'b'", "'Straße'", "'it''s'", "'a '", "'a longer text'", "'10'"],
        T::Varchar5 => &["''", "'a'", "'abcde'", "'b '", "'äöü'"],
        T::Char3 => &["''", "'a'", "'ab'", "'abc'", "'b '"],
        T::Bool => &["true", "false", "'t'", "'no'"],
        T::Date => &["'2020-02-29'", "'1999-12-31'", "date '2021-01-01' + 1", "'infinity'"],
        T::Timestamp => &["'2020-02-29 12:34:56.789'", "'1999-12-31'", "'2021-06-01 00:00:00'"],
        T::Timestamptz => &["'2020-02-29 12:34:56+01'", "'1999-12-31 UTC'", "'2021-06-01 10:00'"],
        T::Interval => &["'1 day'", "'2 months -3 days'", "'01:02:03.5'", "'1 year'"],
        T::IntArray => &["'{}'", "'{1,2,3}'", "'{1,NULL}'", "array[4, 5]"],
        T::TextArray => &["'{}'", "'{a,\"b c\",NULL}'", "array['x', '']"],
        T::Json => &["'{\"a\": 1, \"a\": 2}'", "'[1, 2]'", "'null'", "'\"x\"'", "'1.50'"],
        T::Jsonb => &["'{\"b\": 1, \"a\": [2]}'", "'[1, 2.50]'", "'null'", "'\"x\"'", "'{}'"],
        T::Uuid => {
            &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'{00000000000000000000000000000001}'"]
        }
    };
    (*random.pick(from)).to_owned()
}

/// One that does not fit, or that is rounded or cut to fit.
pub(super) fn odd(random: &mut Random, of: Type) -> String {
    let from: &[&str] = match of {
        T::Int2 => &["32767", "32768", "-32769", "1.5", "2.5::float8", "'x'", "'7'", "1e4", "true"],
        T::Int4 => &["2147483648", "-2147483648", "2.5", "3.5::float8", "'2.5'", "' 8 '", "1e10"],
        T::Int8 => &["9223372036854775807", "9223372036854775808", "0.5", "-0.5", "1e300::float8"],
        T::Numeric62 => {
            &["1.005", "9999.994", "9999.995", "10000", "'abc'", "1e-9", "'NaN'", "0.1::float8"]
        }
        T::Numeric => &["1e400", "'infinity'", "0.1::float8", "'1_0'"],
        T::Float8 => &["1e308 * 10", "'1e400'", "123456789012345678901234567890", "'nan'"],
        T::Text => &["1", "1.50", "true", "date '2020-01-01'", "array[1]"],
        T::Varchar5 => &["'abcdef'", "'abcde   '", "123456", "1.5", "repeat('x', 6)", "true"],
        T::Char3 => &["'abcd'", "'abc    '", "12", "1234", "'abcd'::char(4)"],
        T::Bool => &["1", "'maybe'", "'on'", "1 > 0"],
        T::Date => &["'2020-02-30'", "timestamp '2020-01-01 23:59:59'", "5", "'yesterday at noon'"],
        T::Timestamp => &["date '2020-01-01'", "timestamptz '2020-01-01 12:00+02'", "'25:00'", "1"],
        T::Timestamptz => &["date '2020-01-01'", "timestamp '2020-01-01 12:00'", "'x'"],
        T::Interval => &["'1 fortnight'", "time '10:00'", "1"],
        T::IntArray => &["'{1,x}'", "'1,2'", "array[1.5]", "array['1', '2']", "1"],
        T::TextArray => &["array[1, 2]", "'{a'", "'a'"],
        T::Json => &["'{a: 1}'", "'{\"a\": 1}'::jsonb", "1", "''"],
        T::Jsonb => &["'{\"a\"}'", "'{\"a\": 1}'::json", "1", "'1e400'"],
        T::Uuid => &["'x'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1'", "1"],
    };
    (*random.pick(from)).to_owned()
}

/// Something computed from a column of the type.
pub(super) fn computed(random: &mut Random, of: Type, column: &str) -> String {
    let from: &[&str] = match of {
        T::Int2 | T::Int4 | T::Int8 => {
            &["C + 1", "C * 2", "-C", "C % 7", "C + 0.5", "C / 2.0", "abs(C)", "C * 1000", "C - C"]
        }
        T::Numeric62 | T::Numeric => {
            &["C + 1", "C * 1.01", "-C", "round(C, 1)", "C / 3", "C * 100"]
        }
        T::Float8 => &["C + 1", "C * 0.5", "-C", "C / 3"],
        T::Text | T::Varchar5 | T::Char3 => {
            &["C || 'x'", "repeat(C, 2)", "substr(C, 1, 2)", "C || C", "length(C)", "reverse(C)"]
        }
        T::Bool => &["not C", "C and true", "C or C is null"],
        T::Date => &["C + 1", "C - 30", "C + interval '1 day'"],
        T::Timestamp | T::Timestamptz => &["C + interval '1 month'", "C - interval '1 hour'"],
        T::Interval => &["C * 2", "-C", "C + interval '1 day'"],
        T::IntArray => &["C || 9", "array_remove(C, 1)", "C[1:2]", "array_append(C, null)"],
        T::TextArray => &["C || 'z'::text", "array_cat(C, C)", "C[1:1]"],
        T::Json => &["C", "case when C is null then '1'::json else C end"],
        T::Jsonb => &["C || '{\"z\": 1}'", "C - 'a'", "coalesce(C, '[]')"],
        T::Uuid => &["C"],
    };
    random.pick(from).replace('C', column)
}
