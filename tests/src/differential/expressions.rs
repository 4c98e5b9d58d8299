//! Typed expressions over the columns of one table.

use super::Random;

/// Columns named after their types, and rows of edges, NULLs and plain values.
pub(super) const SETUP: &str = "\
create table e (
  id int primary key, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision,
  n numeric(10,2), nb numeric, t text, v varchar(8), c char(5), y bytea, d date, tm time,
  ts timestamp, tz timestamptz, iv interval, u uuid);
insert into e values
 (1, true, 1, 2, 3, 1.5, 2.25, 10.50, 1.500, 'abc', 'abc', 'abc', '\\x0102', '2024-02-29',
  '10:11:12.5', '2024-02-29 10:11:12', '2024-02-29 10:11:12+00', '1 month 2 days 03:04:05',
  '11111111-2222-3333-4444-555555555555'),
 (2, false, 0, 0, 0, 0, 0, 0, 0, '', '', '', '', '1970-01-01', '00:00', '1970-01-01',
  '1970-01-01 00:00+00', '0', '00000000-0000-0000-0000-000000000000'),
 (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
  null, null, null),
 (4, true, -32768, -2147483648, -9223372036854775808, -1e10, -1e200, -99999999.99, -1e-10, 'Zz ',
  'b ', 'b', '\\xff00', '0001-01-01', '23:59:59.999999', '1999-12-31 23:59:59.999999',
  '1999-12-31 23:59:59.999999+00', '-1 year -3 days', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
 (5, false, 32767, 2147483647, 9223372036854775807, 3.4e38, 1.7e308, 99999999.99, 12345678901234567890.123,
  'a''b%_', '7', '7', '\\x37', '9999-12-31', '12:00', '2262-04-11 00:00', '2262-04-11 00:00+00',
  '100 years 10 mons 400:00:00', '12345678-1234-1234-1234-123456789abc'),
 (6, true, 7, -3, 10, 0.1, -0.1, -1.25, 100.00, '2024-01-15', '-3', '12', '\\x', '2023-12-31',
  '06:30', '2024-01-31 12:00', '2024-03-31 01:30+00', '-00:00:01', '11111111-0000-0000-0000-000000000000'),
 (7, null, 2, 100, -7, 'NaN', 'Infinity', 3.14, null, 'ABC', 'abc ', 'abc', '\\x00', '2000-01-01',
  null, 'infinity', '-infinity', '1 day', null);";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Bare,
    Text,
    Varchar,
    Char,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
}

use Type as T;

const TYPES: [Type; 18] = [
    T::Bool,
    T::Int2,
    T::Int4,
    T::Int8,
    T::Float4,
    T::Float8,
    T::Numeric,
    T::Bare,
    T::Text,
    T::Varchar,
    T::Char,
    T::Bytea,
    T::Date,
    T::Time,
    T::Timestamp,
    T::Timestamptz,
    T::Interval,
    T::Uuid,
];

const NUMBERS: [Type; 7] = [T::Int2, T::Int4, T::Int8, T::Float4, T::Float8, T::Numeric, T::Bare];
const STRINGS: [Type; 3] = [T::Text, T::Varchar, T::Char];

impl Type {
    fn column(self) -> &'static str {
        match self {
            T::Bool => "b",
            T::Int2 => "i2",
            T::Int4 => "i4",
            T::Int8 => "i8",
            T::Float4 => "f4",
            T::Float8 => "f8",
            T::Numeric => "n",
            T::Bare => "nb",
            T::Text => "t",
            T::Varchar => "v",
            T::Char => "c",
            T::Bytea => "y",
            T::Date => "d",
            T::Time => "tm",
            T::Timestamp => "ts",
            T::Timestamptz => "tz",
            T::Interval => "iv",
            T::Uuid => "u",
        }
    }

    fn name(self) -> &'static str {
        match self {
            T::Bool => "boolean",
            T::Int2 => "smallint",
            T::Int4 => "int",
            T::Int8 => "bigint",
            T::Float4 => "real",
            T::Float8 => "double precision",
            T::Numeric => "numeric(10,2)",
            T::Bare => "numeric",
            T::Text => "text",
            T::Varchar => "varchar(8)",
            T::Char => "char(5)",
            T::Bytea => "bytea",
            T::Date => "date",
            T::Time => "time",
            T::Timestamp => "timestamp",
            T::Timestamptz => "timestamptz",
            T::Interval => "interval",
            T::Uuid => "uuid",
        }
    }

    fn literals(self) -> &'static [&'static str] {
        match self {
            T::Bool => &["true", "false"],
            T::Int2 => &["1::smallint", "(-2)::smallint", "32767::smallint"],
            T::Int4 => &["0", "1", "2", "-1", "7", "100", "2147483647"],
            T::Int8 => &["1::bigint", "3000000000", "(-9)::bigint"],
            T::Float4 => &["1.5::real", "(-0.25)::real", "1e30::real", "0::real"],
            T::Float8 => &["2.5::float8", "1e300::float8", "(-0.5)::float8", "0::float8"],
            T::Numeric => &["1.50::numeric(10,2)", "(-3)::numeric(10,2)", "0::numeric(10,2)"],
            T::Bare => &["1.5", "2.000", "0.1", "-7.25", "1000000000000", "0.0"],
            T::Text => &["'abc'::text", "''::text", "'a%'::text", "' x '::text"],
            T::Varchar => &["'abc'::varchar", "'b '::varchar(8)", "'7'::varchar"],
            T::Char => &["'abc'::char(5)", "'b'::char(3)", "'12'::char(4)"],
            T::Bytea => &["'\\x01'::bytea", "''::bytea", "'\\xff00'::bytea"],
            T::Date => &["date '2024-01-31'", "date '2000-02-29'"],
            T::Time => &["time '12:34:56'", "time '00:00'", "time '23:59:59'"],
            T::Timestamp => &["timestamp '2024-01-31 12:00'", "timestamp '1999-12-31 23:59:59'"],
            T::Timestamptz => &["timestamptz '2024-06-30 12:00+02'"],
            T::Interval => &[
                "interval '1 day'",
                "interval '1 month -2 days'",
                "interval '36:00'",
                "interval '-1 year'",
            ],
            T::Uuid => &["'11111111-2222-3333-4444-555555555555'::uuid"],
        }
    }
}

/// Makes statements.
pub(super) struct Generator {
    random: Random,
}

impl Generator {
    pub(super) fn new(random: Random) -> Self {
        Self { random }
    }

    /// One statement over the table `e`, its rows in order.
    pub(super) fn statement(&mut self) -> String {
        let depth = 1 + self.random.below(3);
        match self.random.below(8) {
            0 => {
                let condition = self.expr(T::Bool, depth);
                format!("select id from e where {condition} order by id")
            }
            1 => {
                let (a, b) = (self.expr(T::Bool, depth), self.expr(T::Bool, depth));
                format!("select id from e where {a} and {b} order by id")
            }
            2 => {
                let ty = self.any_type();
                // Some expressions over whole numbers give floats, whose sums depend on the order.
                let value = format!("({})::{}", self.expr(ty, 1), ty.name());
                let aggregate = self.aggregate(ty);
                format!("select {} from e", aggregate.replace("{}", &value))
            }
            3 => {
                let ty = self.any_type();
                let value = self.expr(ty, depth);
                format!("select {value} as x, count(*) from e group by 1 order by 2, 1 limit 20")
            }
            _ => {
                let ty = self.any_type();
                let value = self.expr(ty, depth);
                format!("select id, pg_typeof({value}), {value} from e order by id")
            }
        }
    }

    fn any_type(&mut self) -> Type {
        *self.random.pick(&TYPES)
    }

    fn number(&mut self) -> Type {
        *self.random.pick(&NUMBERS)
    }

    fn string(&mut self) -> Type {
        *self.random.pick(&STRINGS)
    }

    fn aggregate(&mut self, ty: Type) -> &'static str {
        let exact = NUMBERS.contains(&ty) && !matches!(ty, T::Float4 | T::Float8);
        let calls: &[&'static str] = match ty {
            _ if exact => &["sum({})", "avg({})", "min({})", "max({})", "count({})"],
            T::Bool => &["bool_and({})", "bool_or({})", "count({})"],
            // Which of equal values a maximum is depends on the order of the rows; so does -0 or 0.
            T::Float4 | T::Float8 => &["min({} + 0)", "max({} + 0)", "count(distinct {})"],
            T::Bytea | T::Uuid | T::Char => &["count({})"],
            _ => &["min({})", "max({})", "count(distinct {})"],
        };
        calls[self.random.below(calls.len())]
    }

    fn leaf(&mut self, ty: Type) -> String {
        if self.random.once_in(3) {
            let literals = ty.literals();
            return (*self.random.pick(literals)).to_owned();
        }
        ty.column().to_owned()
    }

    fn expr(&mut self, ty: Type, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(ty);
        }
        let d = depth - 1;
        // What every type has.
        match self.random.below(10) {
            0 => return self.leaf(ty),
            1 => {
                let condition = self.expr(T::Bool, d);
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                return format!("case when {condition} then {a} else {b} end");
            }
            2 => {
                let function = *self.random.pick(&["coalesce", "greatest", "least"]);
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                if ty == T::Bool || ty == T::Uuid || ty == T::Bytea {
                    return format!("coalesce({a}, {b})");
                }
                return format!("{function}({a}, {b})");
            }
            3 => return format!("nullif({}, {})", self.expr(ty, d), self.expr(ty, d)),
            _ => {}
        }
        match ty {
            T::Bool => self.condition(d),
            ty if NUMBERS.contains(&ty) => self.arithmetic(ty, d),
            ty if STRINGS.contains(&ty) => self.text(ty, d),
            T::Bytea | T::Uuid => self.leaf(ty),
            _ => self.moment(ty, d),
        }
    }

    fn condition(&mut self, d: usize) -> String {
        let ty = self.any_type();
        let symbol = *self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
        match self.random.below(12) {
            0 => format!("({} and {})", self.expr(T::Bool, d), self.expr(T::Bool, d)),
            1 => format!("({} or {})", self.expr(T::Bool, d), self.expr(T::Bool, d)),
            2 => format!("(not {})", self.expr(T::Bool, d)),
            3 => format!("({} is null)", self.expr(ty, d)),
            4 => {
                let form = *self.random.pick(&["is distinct from", "is not distinct from"]);
                format!("({} {form} {})", self.expr(ty, d), self.expr(ty, d))
            }
            5 => {
                let form = *self.random.pick(&["is true", "is not true", "is false", "is unknown"]);
                format!("({} {form})", self.expr(T::Bool, d))
            }
            6 => {
                let (a, b) = (self.number(), self.number());
                format!("({} {symbol} {})", self.expr(a, d), self.expr(b, d))
            }
            7 => {
                let (a, b) = (self.string(), self.string());
                format!("({} {symbol} {})", self.expr(a, d), self.expr(b, d))
            }
            8 => {
                let (a, b) = (self.string(), self.string());
                let form = *self.random.pick(&["like", "not like", "ilike"]);
                format!("({} {form} {})", self.expr(a, d), self.expr(b, 0))
            }
            9 => {
                let (x, a, b) = (self.expr(ty, d), self.leaf(ty), self.leaf(ty));
                let not = if self.random.once_in(2) { "not " } else { "" };
                format!("({x} {not}in ({a}, {b}))")
            }
            10 => {
                let (x, a, b) = (self.expr(ty, d), self.leaf(ty), self.leaf(ty));
                format!("({x} between {a} and {b})")
            }
            _ => format!("({} {symbol} {})", self.expr(ty, d), self.expr(ty, d)),
        }
    }

    fn arithmetic(&mut self, ty: Type, d: usize) -> String {
        let symbol = *self.random.pick(&["+", "-", "*", "/", "%"]);
        let float = matches!(ty, T::Float4 | T::Float8);
        let symbol = if float && symbol == "%" { "+" } else { symbol };
        match self.random.below(9) {
            0 => format!("(- {})", self.expr(ty, d)),
            1 => format!("abs({})", self.expr(ty, d)),
            2 => {
                let from = self.number();
                format!("({})::{}", self.expr(from, d), ty.name())
            }
            3 if matches!(ty, T::Numeric | T::Bare) => {
                let digits = *self.random.pick(&["0", "1", "3", "-1"]);
                let function = *self.random.pick(&["round", "trunc"]);
                format!("{function}({}, {digits})", self.expr(ty, d))
            }
            3 => {
                let from = self.string();
                format!("length({})", self.expr(from, d))
            }
            4 => {
                let function = *self.random.pick(&["ceil", "floor", "round", "sign"]);
                format!("{function}({})", self.expr(ty, d))
            }
            5 => {
                let other = self.number();
                let other = if float { ty } else { other };
                let remainder = matches!(other, T::Float4 | T::Float8) && symbol == "%";
                let symbol = if remainder { "-" } else { symbol };
                format!("({} {symbol} {})", self.expr(ty, d), self.expr(other, d))
            }
            6 => {
                let moment =
                    *self.random.pick(&[T::Date, T::Timestamp, T::Timestamptz, T::Interval]);
                let unit = *self.random.pick(&["year", "month", "day", "epoch"]);
                format!("extract({unit} from {})", self.expr(moment, d))
            }
            7 if ty == T::Int4 => {
                format!("({} - {})", self.expr(T::Date, d), self.expr(T::Date, d))
            }
            _ => format!("({} {symbol} {})", self.expr(ty, d), self.expr(ty, d)),
        }
    }

    fn text(&mut self, ty: Type, d: usize) -> String {
        let from = self.string();
        match self.random.below(11) {
            0 => format!("({} || {})", self.expr(ty, d), self.expr(from, d)),
            1 => {
                let function =
                    *self.random.pick(&["upper", "lower", "btrim", "reverse", "initcap"]);
                format!("{function}({})", self.expr(from, d))
            }
            2 => {
                let (start, length) = (self.random.below(4), self.random.below(4));
                format!("substring({} from {start} for {length})", self.expr(from, d))
            }
            3 => format!("({})::{}", self.expr(from, d), ty.name()),
            4 => {
                let any = self.any_type();
                format!("({})::text", self.expr(any, d))
            }
            5 => format!("concat({}, {})", self.expr(ty, d), self.expr(from, d)),
            6 => {
                let function = *self.random.pick(&["left", "right"]);
                let count = self.random.below(5);
                format!("{function}({}, {count} - 2)", self.expr(from, d))
            }
            7 => {
                let function = *self.random.pick(&["lpad", "rpad"]);
                let count = self.random.below(8);
                format!("{function}({}, {count}, 'xy')", self.expr(from, d))
            }
            8 => format!("replace({}, 'a', 'bb')", self.expr(from, d)),
            9 => format!("concat('[', {}, ']')", self.expr(from, d)),
            _ => {
                let part = self.random.below(3) + 1;
                format!("split_part({}, 'b', {part})", self.expr(from, d))
            }
        }
    }

    fn moment(&mut self, ty: Type, d: usize) -> String {
        let sign = *self.random.pick(&["+", "-"]);
        match ty {
            T::Date => match self.random.below(3) {
                0 => format!("({} {sign} {})", self.expr(T::Date, d), self.expr(T::Int2, d)),
                1 => format!("({})::date", self.expr(T::Timestamp, d)),
                _ => format!("({})::date", self.expr(T::Timestamptz, d)),
            },
            T::Time => match self.random.below(3) {
                0 => format!("({} {sign} {})", self.expr(T::Time, d), self.expr(T::Interval, d)),
                1 => format!("({})::time", self.expr(T::Timestamp, d)),
                _ => format!("({})::time", self.expr(T::Interval, d)),
            },
            T::Timestamp | T::Timestamptz => match self.random.below(5) {
                0 => {
                    let unit = *self.random.pick(&["year", "month", "week", "day", "hour"]);
                    format!("date_trunc('{unit}', {})", self.expr(ty, d))
                }
                1 => format!("({})::{}", self.expr(T::Date, d), ty.name()),
                2 if ty == T::Timestamp => {
                    format!("({} + {})", self.expr(T::Date, d), self.expr(T::Time, d))
                }
                3 => {
                    let other = if ty == T::Timestamp { T::Timestamptz } else { T::Timestamp };
                    format!("({})::{}", self.expr(other, d), ty.name())
                }
                _ => format!("({} {sign} {})", self.expr(ty, d), self.expr(T::Interval, d)),
            },
            _ => match self.random.below(5) {
                0 => format!("({} - {})", self.expr(T::Timestamp, d), self.expr(T::Timestamp, d)),
                1 => format!("({} - {})", self.expr(T::Time, d), self.expr(T::Time, d)),
                2 => format!("({} * {})", self.expr(T::Interval, d), self.leaf(T::Int4)),
                3 => format!("(- {})", self.expr(T::Interval, d)),
                _ => {
                    format!("({} {sign} {})", self.expr(T::Interval, d), self.expr(T::Interval, d))
                }
            },
        }
    }
}
