//! Calls over arrays and documents.

use super::Calls;

const INTS: [&str; 9] = [
    "'{}'::int[]",
    "'{1}'::int[]",
    "array[1,2,3]",
    "array[3,null,1]",
    "array[null::int]",
    "'{2,2,2}'::int[]",
    "array[1,2]",
    "array[5,-1,0,7]",
    "null::int[]",
];
const TEXT_ARRAYS: [&str; 7] = [
    "'{}'::text[]",
    "array['a','b']",
    "array['b',null]",
    "array['',' ','NULL']",
    "'{\"a,b\",\"c\\\"d\",x y}'::text[]",
    "array['a']",
    "array['{','}','\\']",
];
const DOCUMENTS: [&str; 12] = [
    "'{}'",
    "'[]'",
    "'null'",
    "'1.50'",
    "'\"a\"'",
    "'[1,2,3]'",
    "'[1,[2,{\"a\":3}],null]'",
    "'{\"a\":1,\"b\":[1,2,{\"c\":\"x\"}]}'",
    "'{\"a\":{\"b\":{\"c\":1}},\"b\":null}'",
    "'[\"a\",\"b\"]'",
    "'[{\"a\":1},{\"a\":2},{\"b\":3}]'",
    "'{\"a\":\"2024-01-31\",\"b\":true,\"c\":-1e3}'",
];
const PATHS: [&str; 18] = [
    "$",
    "$.a",
    "$.*",
    "$[*]",
    "$[0]",
    "$[last]",
    "$[1 to 2]",
    "$.**",
    "$.a.b",
    "strict $.a",
    "$[*] ? (@ > 1)",
    "$.b[*] ? (@.c == \"x\")",
    "$.** ? (@.type() == \"number\")",
    "$.size()",
    "$[*].a",
    "$.a ? (exists(@.b))",
    "$ ? (@.a starts with \"2\")",
    "$[*].keyvalue()",
];

/// Texts that are read as arrays, or are none.
const ARRAY_TEXTS: [&str; 16] = [
    "{}",
    "{1,2}",
    "{ 1 , 2 }",
    "{NULL}",
    "{\"NULL\"}",
    "{1,}",
    "{,1}",
    "{1",
    "1}",
    "{\"a\\\"b\"}",
    "{a b}",
    "{\"\"}",
    "{a\\,b}",
    " {x} ",
    "{x}y",
    "{\"x\"y}",
];

impl Calls {
    pub(super) fn array(&mut self) -> String {
        let pool: &[&'static str] = if self.random.once_in(3) { &TEXT_ARRAYS } else { &INTS };
        let text = pool.len() == TEXT_ARRAYS.len();
        let (a, b) = (self.pick(pool), self.pick(pool));
        let element =
            if text { self.pick(&["'a'", "'b'", "null"]) } else { self.pick(&["1", "2", "null"]) };
        let (m, n) = (self.random.below(5), self.random.below(5));
        let symbol = self.pick(&["=", "<>", "<", "<=", ">", ">=", "@>", "<@", "&&", "||"]);
        match self.random.below(11) {
            0 | 1 => format!("{a} {symbol} {b}"),
            2 => format!("({a})[{m}], ({a})[{m}:{n}], ({a})[:{n}]"),
            3 => format!(
                "array_length({a}, {m}), cardinality({a}), array_dims({a}), array_upper({a}, 1)"
            ),
            4 => format!("array_position({a}, {element}), array_positions({a}, {element})"),
            5 => format!("array_remove({a}, {element}), array_replace({a}, {element}, null)"),
            6 => format!("array_to_string({a}, '-', '*'), array_append({a}, {element})"),
            7 => format!("{element} = any ({a}), {element} <> all ({a})"),
            8 => format!("x, y from unnest({a}, {b}) as u(x, y)"),
            9 => format!("array_agg(x order by x), count(x) from unnest({a}) x"),
            _ => format!("trim_array({a}, {m}), to_json({a})"),
        }
    }

    pub(super) fn document(&mut self) -> String {
        let (a, b) = (self.pick(&DOCUMENTS), self.pick(&DOCUMENTS));
        let (path, key) = (self.pick(&PATHS), self.pick(&["'a'", "'b'", "0", "1", "-1"]));
        let keys = self.pick(&["'{a}'", "'{a,b}'", "'{0}'", "'{b,2,c}'", "'{1,-1}'", "'{}'"]);
        let symbol = self.pick(&["=", "<", ">", "@>", "<@", "||"]);
        match self.random.below(9) {
            0 => format!("{a}::jsonb {symbol} {b}::jsonb"),
            1 => format!("{a}::jsonb -> {key}, {a}::jsonb ->> {key}, {a}::json -> {key}"),
            2 => format!("{a}::jsonb #> {keys}, {a}::jsonb #>> {keys}, {a}::json #> {keys}"),
            3 => format!("{a}::jsonb - {key}"),
            4 => format!("jsonb_set({a}, {keys}, {b})"),
            5 => format!("jsonb_path_query_array({a}, '{path}')"),
            6 => format!("jsonb_path_exists({a}, '{path}'), jsonb_path_query_first({a}, '{path}')"),
            7 => format!("jsonb_typeof({a}), jsonb_pretty({a}), jsonb_strip_nulls({a})"),
            _ => format!("{a}::jsonb ? {}, {a}::jsonb #- {keys}", self.pick(&["'a'", "'b'"])),
        }
    }

    pub(super) fn more_of_arrays(&mut self) -> String {
        let pool: &[&'static str] = if self.random.once_in(3) { &TEXT_ARRAYS } else { &INTS };
        let (a, b, text) = (self.pick(pool), self.pick(pool), self.pick(&ARRAY_TEXTS));
        let (m, n) = (self.random.below(6), self.random.below(6));
        let to = self.pick(&[
            "int[]",
            "text[]",
            "numeric[]",
            "bool[]",
            "float8[]",
            "date[]",
            "varchar(2)[]",
        ]);
        let symbol = self.pick(&["=", "<", ">", "<>", "<=", ">="]);
        let quantor = self.pick(&["any", "all", "some"]);
        match self.random.below(11) {
            0 | 1 => format!("'{text}'::{to}"),
            2 => format!("({a})::{to}"),
            3 => format!("({a})[{m} - 1:{n}], ({a})[{m}:]"),
            4 => format!("1 {symbol} {quantor} ({})", self.pick(&INTS)),
            5 => format!("array_cat({a}, {b}), array_prepend(null, {a})"),
            6 => format!(
                "array({}), array[{m}, null, {n}]",
                self.pick(&["select 1", "select 1 where false"])
            ),
            7 => format!("i, x from unnest({a}) with ordinality as u(x, i)"),
            8 => format!("array_fill({m}, array[{n}]), array_ndims({a}), array_lower({a}, 1)"),
            9 => format!("coalesce({a}, {b}), greatest({a}, {b}), nullif({a}, {b})"),
            _ => format!("generate_subscripts({a}, 1), string_to_array('{text}', ',')"),
        }
    }

    pub(super) fn more_of_documents(&mut self) -> String {
        let (a, b) = (self.pick(&DOCUMENTS), self.pick(&DOCUMENTS));
        let kind = self.pick(&["json", "jsonb"]);
        let keys =
            self.pick(&["'{a}'", "'{a,b}'", "'{0}'", "'{b,2,c}'", "'{1,-1}'", "'{}'", "'{x}'"]);
        let text = self.pick(&[
            "{\"a\":1,}",
            "[1 2]",
            "nul",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\u0000\"",
            " 1 ",
            "01",
            "1e400",
            "-",
            "{\"a\":1,\"a\":2}",
            "[]]",
            "\"\\x\"",
            "1.0e-3",
            "{1:2}",
            "",
        ]);
        let path = self.json_path();
        let to = self.pick(&["int", "numeric", "bool", "text", "float8", "smallint"]);
        match self.random.below(14) {
            0 => format!("'{text}'::{kind}"),
            1 => format!("key, value from {kind}_each({a}::{kind})"),
            2 => format!("key, value from {kind}_each_text({a}::{kind})"),
            3 => format!("{kind}_array_elements({a}::{kind}), {kind}_array_length({a}::{kind})"),
            4 => format!("{kind}_array_elements_text({a}::{kind})"),
            5 => format!("{kind}_object_keys({a}::{kind})"),
            6 => format!("({a}::jsonb)::{to}"),
            7 => format!("jsonb_insert({a}, {keys}, {b}), jsonb_insert({a}, {keys}, '9', true)"),
            8 => format!("jsonb_set({a}, {keys}, {b}, false), jsonb_set_lax({a}, {keys}, null)"),
            9 => format!(
                "to_{kind}({}), row_to_json(row(1, {a}))",
                self.pick(&["1.50", "'a\"b'::text", "true", "date '2024-01-31'", "array[1,null]"])
            ),
            10 => format!(
                "{kind}_build_object('a', {a}::{kind}, 'b', null), {kind}_build_array({b}::{kind}, 1.0, 'x')"
            ),
            11 => format!("jsonb_path_query({a}, '{path}')"),
            12 => format!("{a}::jsonb @? '{path}', {a}::jsonb @@ '{path}'"),
            _ => format!(
                "jsonb_path_query_array({a}, '{path}', '{{\"x\": 1}}', {})",
                self.random.once_in(2)
            ),
        }
    }

    /// A path of accessors, conditions and methods.
    fn json_path(&mut self) -> String {
        let mut path = self.pick(&["$", "strict $", "lax $", "$"]).to_owned();
        for _ in 0..self.random.below(4) {
            path.push_str(self.pick(&[
                ".a",
                ".b",
                ".*",
                "[*]",
                "[0]",
                "[last]",
                "[0 to 1]",
                "[last - 1]",
                ".**",
                ".**{1}",
                ".\"a\"",
                ".size()",
                ".type()",
                ".double()",
                ".abs()",
                ".floor()",
                ".ceiling()",
                ".keyvalue()",
                "[$x]",
                ".c",
                " ? (@ > 1)",
                " ? (@.a == 1)",
                " ? (@ == null)",
                " ? (@.b == true || @.a > \"1\")",
                " ? (!(@ < 2))",
                " ? (@ like_regex \"^a\")",
                " ? ((@ > 0) is unknown)",
                " ? (exists(@[*]))",
                " ? (@.a.datetime() < \"2025-01-01\".datetime())",
                " ? (@ starts with \"a\")",
            ]));
        }
        if self.random.once_in(5) {
            path.push_str(self.pick(&[" + 1", " - 1", " * 2", " / 0", " % 2", " == 1", " > $x"]));
        }
        path
    }
}
