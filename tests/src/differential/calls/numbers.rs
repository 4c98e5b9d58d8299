//! Calls over numbers, their patterns, and casts between types.

use super::Calls;

const NUMBERS: [&str; 16] = [
    "0",
    "0.00",
    "1",
    "-1",
    "1.5",
    "-2.500",
    "0.1",
    "123456789012345678901234567890",
    "1e-20",
    "99999.99999",
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "7",
    "3.14159265358979323846",
    "-0.0001",
];
const PATTERNS: [&str; 16] = [
    "9",
    "999",
    "0999.99",
    "FM999.99",
    "S999.9",
    "999.99MI",
    "9G999G999",
    "PR999",
    "999PR",
    "L999.99",
    "9.99EEEE",
    "RN",
    "99V99",
    "FM0.000",
    "TH9",
    "\"x\"99",
];
/// Literals near the ends of types, and texts that are read as such.
const EXTREMES: [&str; 22] = [
    "32767::smallint",
    "(-32768)::smallint",
    "2147483647",
    "(-2147483648)",
    "9223372036854775807",
    "(-9223372036854775808)",
    "0.5",
    "1.5",
    "2.5",
    "-0.5",
    "1e38::real",
    "1e-45::real",
    "1e308::float8",
    "5e-324::float8",
    "'NaN'::float8",
    "'Infinity'::float8",
    "'-Infinity'::real",
    "'NaN'::numeric",
    "1e1000::numeric",
    "1e-1000::numeric",
    "0::float8",
    "'-0'::float8",
];
const NUMBER_TYPES: [&str; 9] = [
    "smallint",
    "int",
    "bigint",
    "real",
    "float8",
    "numeric",
    "numeric(5,2)",
    "numeric(3,-2)",
    "oid",
];
/// A value of each type, as text.
const VALUES: [&str; 30] = [
    "true",
    "1::smallint",
    "70000",
    "5000000000",
    "1.5::real",
    "-2.5::float8",
    "12.345",
    "'abc'::text",
    "'1'::text",
    "' 12 '::text",
    "'t'::text",
    "'2024-01-31'::text",
    "'12:30'::text",
    "'1 day'::text",
    "'{1,2}'::text",
    "'{}'::text",
    "'abc'::varchar(2)",
    "'ab'::char(4)",
    "'\\x3132'::bytea",
    "date '2024-01-31'",
    "time '12:34:56.789'",
    "timestamp '2024-01-31 12:00:00.5'",
    "timestamptz '2024-01-31 12:00+02'",
    "interval '1 month 2 days 03:04:05'",
    "timetz '12:00+02'",
    "'11111111-2222-3333-4444-555555555555'::uuid",
    "'[1]'::json",
    "'1.5'::jsonb",
    "array[1,2]",
    "'x'::name",
];
const TYPES: [&str; 26] = [
    "boolean",
    "smallint",
    "int",
    "bigint",
    "real",
    "float8",
    "numeric",
    "numeric(4,1)",
    "text",
    "varchar(3)",
    "char(3)",
    "bytea",
    "date",
    "time",
    "time(1)",
    "timestamp",
    "timestamp(0)",
    "timestamptz",
    "interval",
    "timetz",
    "uuid",
    "json",
    "jsonb",
    "int[]",
    "name",
    "oid",
];

impl Calls {
    pub(super) fn number(&mut self) -> String {
        let (a, b) = (self.pick(&NUMBERS), self.pick(&NUMBERS));
        let (pattern, n) = (self.pick(&PATTERNS), self.random.below(6));
        let symbol = self.pick(&["+", "-", "*", "/", "%", "^", "<", "="]);
        let of = self.pick(&[
            "abs",
            "sqrt",
            "ln",
            "exp",
            "ceil",
            "floor",
            "sign",
            "scale",
            "trim_scale",
        ]);
        match self.random.below(7) {
            0 | 1 => format!("({a}::numeric) {symbol} ({b}::numeric)"),
            2 => format!("{of}({a}::numeric)"),
            3 => format!("round({a}::numeric, {n} - 2), trunc({a}::numeric, {n} - 2)"),
            4 => format!("to_char({a}::numeric, '{pattern}')"),
            5 => format!("div({a}::numeric, {b}::numeric), gcd({a}::numeric, {b}::numeric)"),
            _ => format!("({a}::numeric)::numeric(9,{n}), ({a}::numeric)::float8"),
        }
    }

    pub(super) fn extreme(&mut self) -> String {
        let (a, b) = (self.pick(&EXTREMES), self.pick(&EXTREMES));
        let symbol = self.pick(&["+", "-", "*", "/", "%", "<", "=", "^"]);
        let whole = self.pick(&EXTREMES[..6]);
        let bits = self.pick(&["&", "|", "#", "<<", ">>"]);
        let of = self.pick(&[
            "abs",
            "sign",
            "ceil",
            "floor",
            "round",
            "trunc",
            "sqrt",
            "exp",
            "ln",
            "log",
            "sin",
            "atan",
            "degrees",
            "radians",
            "factorial",
            "-",
            "@",
            "|/",
            "~",
        ]);
        match self.random.below(12) {
            0..=2 => format!("{a} {symbol} {b}"),
            3 | 4 => format!("({a})::{}", self.pick(&NUMBER_TYPES)),
            5 => format!("{of}({a})"),
            6 => format!("{whole} {bits} {}", self.random.below(70)),
            7 => format!("mod({a}, {b}), div({a}::numeric, {b}::numeric)"),
            8 => {
                // Of two smallints PostgreSQL finds them ambiguous.
                let integer = self.pick(&EXTREMES[2..6]);
                format!("gcd({integer}, {b}), lcm({b}, {integer})")
            }
            9 => format!("power({a}, {b}), width_bucket({a}, 0, 10, {})", self.random.below(4)),
            10 => format!("round({a}::numeric, {}), log(2.0, {b}::numeric)", self.random.below(40)),
            _ => {
                let text = self.pick(&[
                    "1e",
                    " 1 ",
                    "+1",
                    "1_0",
                    "1.",
                    ".5",
                    ".",
                    "-",
                    "1e5",
                    "1e-400",
                    "1e400",
                    "inf",
                    "-infinity",
                    "nan",
                    "99999999999999999999",
                    "",
                    "1 2",
                ]);
                format!("'{text}'::{}", self.pick(&NUMBER_TYPES))
            }
        }
    }

    pub(super) fn cast(&mut self) -> String {
        let (value, to) = (self.pick(&VALUES), self.pick(&TYPES));
        match self.random.below(4) {
            0 => format!("({value})::{}::{to}", self.pick(&TYPES)),
            1 => format!("cast({value} as {to}), pg_typeof(coalesce({value}, null))"),
            2 => format!(
                "pg_typeof(x) from (select {value} union all select {}) u(x)",
                self.pick(&VALUES)
            ),
            _ => format!("({value})::{to}"),
        }
    }

    pub(super) fn number_pattern(&mut self) -> String {
        let mut pattern = String::new();
        for _ in 0..=self.random.below(7) {
            pattern.push_str(self.pick(&[
                "9", "9", "99", "0", "0", ".", "D", "G", ",", "FM", "S", "MI", "PL", "SG", "PR",
                "V", "EEEE", "RN", "TH", "th", "L", "\"x\"", " ", "a",
            ]));
        }
        let number =
            if self.random.once_in(2) { self.pick(&NUMBERS) } else { self.pick(&EXTREMES) };
        match self.random.below(4) {
            0 => {
                let text = self.pick(&[
                    "12", "-12.5", "1,234", "<5>", "5-", "+7", " 3 ", "12th", "x9", "", ".5",
                ]);
                format!("to_number('{text}', '{pattern}')")
            }
            1 => format!("to_char({}, '{pattern}')", self.pick(&["0", "1234", "-5", "2147483647"])),
            2 => format!("to_char(({number})::float8, '{pattern}')"),
            _ => format!("to_char(({number})::numeric, '{pattern}')"),
        }
    }
}
