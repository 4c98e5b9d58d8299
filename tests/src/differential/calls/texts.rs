//! Calls over texts: regular expressions, LIKE and SIMILAR TO, functions over strings of any letters, bytes.

use super::Calls;

const TEXTS: [&str; 12] = [
    "''",
    "'a'",
    "'ab'",
    "'aab'",
    "'abab'",
    "'abcabc'",
    "'aaa'",
    "'b1a22b'",
    "E'a\\nb'",
    "'foo bar'",
    "'ABab'",
    "'xaybz'",
];
const BYTES: [&str; 6] =
    ["'\\x'", "'\\x00'", "'\\x616263'", "'\\xff00ff'", "'\\x5c41'", "'\\x0102030405060708'"];
/// Texts of one, two, three and four bytes a letter, and of marks that combine.
const LETTERS: [&str; 14] = [
    "''",
    "'a'",
    "'añb'",
    "'日本語'",
    "'😀x'",
    "'  pad '",
    "'a,b,,c'",
    "'%_\\'",
    "'ABC abc'",
    "E'e\\u0301'",
    "'x1y22z333'",
    "'\t tab'",
    "'O''Reilly \"q\"'",
    "null::text",
];
/// None ends with its escape character, which is an error here even if no text comes so far
/// (docs/postgres-differences.md).
const LIKES: [&str; 13] = [
    "'%'",
    "''",
    "'a%'",
    "'%b'",
    "'_'",
    "'__'",
    "'%\\%%'",
    "'日_語'",
    "'a\\_'",
    "'A%'",
    "'%ñ%'",
    "'_%_'",
    "null",
];
const SIMILARS: [&str; 14] = [
    "'%(a|b)%'",
    "'a*'",
    "'(ab)+'",
    "'[a-c]%'",
    "'_{2}'",
    "'a{1,}b?'",
    "'%\\%'",
    "'(a|ab)(c|bcd)%'",
    "'[^x]+'",
    "'日%'",
    "'a|b'",
    "'(%)b(%)'",
    "'.'",
    "'^a$'",
];

impl Calls {
    fn pattern(&mut self, depth: usize) -> String {
        let mut branches = Vec::new();
        for _ in 0..=usize::from(self.random.once_in(3)) {
            let mut branch = String::new();
            for _ in 0..=self.random.below(3) {
                let atom = match self.random.below(9) {
                    0 | 1 => "a".to_owned(),
                    2 => "b".to_owned(),
                    3 => ".".to_owned(),
                    4 => self.pick(&["[ab]", "[^a]", "[[:alpha:]]", "[a-c1]"]).to_owned(),
                    5 => self.pick(&["\\d", "\\w", "\\s"]).to_owned(),
                    _ if depth > 0 => {
                        let open = self.pick(&["(", "(", "(?:"]);
                        format!("{open}{})", self.pattern(depth - 1))
                    }
                    _ => "c".to_owned(),
                };
                let times = ["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,1}?"];
                branch.push_str(&atom);
                branch.push_str(self.pick(&times));
            }
            branches.push(branch);
        }
        branches.join("|")
    }

    pub(super) fn regular_expression(&mut self) -> String {
        let (text, pattern) = (self.pick(&TEXTS), self.pattern(2));
        let flags = self.pick(&["", "i", "n", "g", "gi"]);
        match self.random.below(7) {
            0 => format!("{text} ~ '{pattern}'"),
            1 => format!("regexp_match({text}, '{pattern}')"),
            2 => format!("regexp_replace({text}, '{pattern}', '[\\&]', '{flags}')"),
            3 => format!("regexp_replace({text}, '{pattern}', '<\\1>', '{flags}')"),
            4 => format!("regexp_split_to_array({text}, '{pattern}')"),
            5 => format!("regexp_matches({text}, '{pattern}', '{flags}')"),
            _ => format!("substring({text} from '{pattern}'), regexp_count({text}, '{pattern}')"),
        }
    }

    pub(super) fn bytes(&mut self) -> String {
        let (a, b) = (self.pick(&BYTES), self.pick(&BYTES));
        let (m, n) = (self.random.below(9), self.random.below(9));
        match self.random.below(7) {
            0 => format!("substring({a}::bytea from {m} - 2 for {n}), substr({a}::bytea, {m})"),
            1 => format!("overlay({a}::bytea placing {b}::bytea from {m} for {n})"),
            2 => format!("position({a}::bytea in {b}::bytea), {a}::bytea || {b}::bytea"),
            3 => format!("get_byte({a}::bytea, {m}), set_byte({a}::bytea, {m}, 3)"),
            4 => format!("get_bit({a}::bytea, {m}), set_bit({a}::bytea, {n}, 1)"),
            5 => format!(
                "encode({a}::bytea, 'escape'), encode({a}::bytea, 'base64'), md5({a}::bytea)"
            ),
            _ => format!(
                "btrim({a}::bytea, {b}::bytea), {a}::bytea < {b}::bytea, bit_count({a}::bytea)"
            ),
        }
    }

    pub(super) fn likeness(&mut self) -> String {
        let text = if self.random.once_in(2) { self.pick(&LETTERS) } else { self.pick(&TEXTS) };
        let (like, similar) = (self.pick(&LIKES), self.pick(&SIMILARS));
        let escape = self.pick(&["", "", " escape ''", " escape '#'", " escape 'a'"]);
        match self.random.below(6) {
            0 => format!("{text} like {like}{escape}"),
            1 => format!("{text} not like {like}, {text} ~~* {like}"),
            2 => format!("{text} ilike {like}{escape}"),
            3 => format!("{text} similar to {similar}{escape}"),
            4 => format!("substring({text} similar '%#\"{{1,2}}#\"%' escape '#')"),
            _ => format!("{text} like any (array[{like}, 'a_c']), {text} ^@ 'a'"),
        }
    }

    pub(super) fn string(&mut self) -> String {
        let (a, b) = (self.pick(&LETTERS), self.pick(&LETTERS));
        let (m, n) = (self.random.below(9), self.random.below(7));
        let of = self.pick(&[
            "upper",
            "lower",
            "initcap",
            "length",
            "char_length",
            "octet_length",
            "bit_length",
            "reverse",
            "ascii",
            "md5",
            "quote_ident",
            "quote_literal",
            "quote_nullable",
            "btrim",
            "ltrim",
            "rtrim",
            "to_hex(length",
            "unistr",
            "parse_ident",
            "sha256(convert_to",
        ]);
        // The case of letters beyond ASCII is Unicode's here (docs/postgres-differences.md).
        let a = match of {
            "upper" | "lower" | "initcap" => self.pick(&TEXTS),
            _ => a,
        };
        match self.random.below(17) {
            0 | 1 => match of {
                "to_hex(length" => format!("to_hex(length({a}))"),
                "sha256(convert_to" => format!("sha256(convert_to({a}, 'UTF8'))"),
                _ => format!("{of}({a})"),
            },
            2 => format!("substring({a} from {m} - 3 for {n}), substr({a}, {m} - 2)"),
            3 => format!("left({a}, {m} - 4), right({a}, {n} - 3)"),
            4 => format!("lpad({a}, {m}, {b}), rpad({a}, {n}, {b})"),
            5 => format!("btrim({a}, {b}), ltrim({a}, {b}), rtrim({a}, {b})"),
            6 => format!("position({b} in {a}), strpos({a}, {b})"),
            7 => format!("replace({a}, {b}, '<>'), translate({a}, {b}, 'xy')"),
            8 => format!("split_part({a}, ',', {m} - 4), split_part({a}, {b}, 1)"),
            9 => format!("overlay({a} placing {b} from {m} for {n})"),
            10 => format!("repeat({a}, {m} - 2), chr({m} * 4099 + 65)"),
            11 => format!("string_to_array({a}, {b}), string_to_array({a}, ',', '')"),
            12 => format!("concat({a}, {m}, {b}), concat_ws({b}, {a}, null, {n})"),
            13 => {
                let form =
                    self.pick(&["%s", "%I", "%L", "%5s|", "%-5s|", "%2$s%1$s", "%%", "%*1$s", "%"]);
                format!("format('{form}', {a}, {b})")
            }
            14 => format!("starts_with({a}, {b}), {a} || {b}, {a} < {b}"),
            15 => {
                let to = self.pick(&[
                    "varchar(2)",
                    "char(3)",
                    "\"char\"",
                    "name",
                    "bytea",
                    "int",
                    "bool",
                ]);
                format!("({a})::{to}")
            }
            _ => {
                let form = self.pick(&["hex", "base64", "escape"]);
                format!("encode(convert_to({a}, 'UTF8'), '{form}'), decode({b}, '{form}')")
            }
        }
    }
}
