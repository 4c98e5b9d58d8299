//! Reading JSON text: what PostgreSQL 15 says of what is none, asked of it by psql.

use super::{DEPTH_MAX, parse, quote, validate};

/// Text; DETAIL; CONTEXT after `JSON data, `.
const FAULTS: &[(&str, &str, &str)] = &[
    ("", "The input string ended unexpectedly.", "line 1: "),
    ("{", "The input string ended unexpectedly.", "line 1: {"),
    ("[", "The input string ended unexpectedly.", "line 1: ["),
    ("{\"a\"}", "Expected \":\", but found \"}\".", "line 1: {\"a\"}"),
    ("{\"a\":}", "Expected JSON value, but found \"}\".", "line 1: {\"a\":}"),
    ("[1,]", "Expected JSON value, but found \"]\".", "line 1: [1,]"),
    ("[1 2]", "Expected \",\" or \"]\", but found \"2\".", "line 1: [1 2..."),
    ("nul", "Token \"nul\" is invalid.", "line 1: nul"),
    ("01", "Token \"01\" is invalid.", "line 1: 01"),
    ("1 2", "Expected end of input, but found \"2\".", "line 1: 1 2"),
    ("\"abc", "Token \"\"abc\" is invalid.", "line 1: \"abc"),
    ("\"a\\xb\"", "Escape sequence \"\\x\" is invalid.", "line 1: \"a\\x..."),
    ("\"\\u00\"", "\"\\u\" must be followed by four hexadecimal digits.", "line 1: \"\\u00\""),
    ("\"\\u00zz\"", "\"\\u\" must be followed by four hexadecimal digits.", "line 1: \"\\u00z..."),
    ("\"\\u0000\"", "\\u0000 cannot be converted to text.", "line 1: \"\\u0000..."),
    ("\"\\ud83d\"", "Unicode low surrogate must follow a high surrogate.", "line 1: \"\\ud83d\""),
    (
        "\"\\ud83d\\ud83d\"",
        "Unicode high surrogate must not follow a high surrogate.",
        "line 1: \"\\ud83d\\ud83d...",
    ),
    ("\"\\ude04\"", "Unicode low surrogate must follow a high surrogate.", "line 1: \"\\ude04..."),
    ("{1:2}", "Expected string or \"}\", but found \"1\".", "line 1: {1..."),
    ("{\"a\":1,}", "Expected string, but found \"}\".", "line 1: {\"a\":1,}"),
    ("{,}", "Expected string or \"}\", but found \",\".", "line 1: {,..."),
    ("[,]", "Expected JSON value, but found \",\".", "line 1: [,..."),
    (
        "{\"a\":1 \"b\"}",
        "Expected \",\" or \"}\", but found \"\"b\"\".",
        "line 1: {\"a\":1 \"b\"...",
    ),
    ("{\"a\":1} x", "Token \"x\" is invalid.", "line 1: {\"a\":1} x"),
    ("\"a\tb\"", "Character with value 0x09 must be escaped.", "line 1: \"a..."),
    ("-", "Token \"-\" is invalid.", "line 1: -"),
    ("1.", "Token \"1.\" is invalid.", "line 1: 1."),
    ("1e", "Token \"1e\" is invalid.", "line 1: 1e"),
    (".5", "Token \".\" is invalid.", "line 1: ...."),
    ("@", "Token \"@\" is invalid.", "line 1: @"),
    ("tru e", "Token \"tru\" is invalid.", "line 1: tru..."),
    ("{\n \"a\": 1,\n \"b\": x\n}", "Token \"x\" is invalid.", "line 3:  \"b\": x"),
    (
        "[\"a very long array of strings\", \"that is longer than fifty bytes\", oops]",
        "Token \"oops\" is invalid.",
        "line 1: ...strings\", \"that is longer than fifty bytes\", oops...",
    ),
    (
        "[\"grüße und 漢字 und noch mehr davon bitte\", \"x\", fälsch, 1]",
        "Token \"fälsch\" is invalid.",
        "line 1: ...d 漢字 und noch mehr davon bitte\", \"x\", fälsch...",
    ),
    ("]", "Expected JSON value, but found \"]\".", "line 1: ]"),
    (
        "{\"a\":[1,{\"b\":}]}",
        "Expected JSON value, but found \"}\".",
        "line 1: {\"a\":[1,{\"b\":}...",
    ),
    ("\"unfinished \\", "Token \"\"unfinished \\\" is invalid.", "line 1: \"unfinished \\"),
    ("{\"a\" 1}", "Expected \":\", but found \"1\".", "line 1: {\"a\" 1..."),
    ("true false", "Expected end of input, but found \"false\".", "line 1: true false"),
    ("+1", "Token \"+\" is invalid.", "line 1: +..."),
    ("1a", "Token \"1a\" is invalid.", "line 1: 1a"),
    ("[1,\n2,\n3", "The input string ended unexpectedly.", "line 3: 3"),
];

#[test]
fn faults_are_told_as_postgresql_tells_them() {
    for (text, detail, context) in FAULTS {
        let error = parse(text).expect_err(text);
        assert_eq!(error.detail.as_deref(), Some(*detail), "{text}");
        let shown = error.object.context.as_deref().unwrap_or_default();
        assert_eq!(shown, format!("JSON data, {context}"), "{text}");
    }
}

#[test]
fn escapes_that_mean_nothing_are_valid_json_but_no_string() {
    for (text, sqlstate) in [("\"\\u0000\"", "22P05"), ("\"\\ud83d\"", "22P02")] {
        assert!(validate(text).is_ok(), "{text}");
        assert_eq!(parse(text).expect_err(text).sqlstate, sqlstate);
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth| {
            let inner = if open == "[" { "" } else { "1" };
            format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
        };
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)).expect_err("too deep").sqlstate, "54001");
        assert_eq!(validate(&open.repeat(1_000_000)).expect_err("deeper").sqlstate, "54001");
    }
}

#[test]
fn quoted_text_reads_back() {
    for text in ["", "a\"b\\c", "\u{1}\u{8}\u{c}\n\r\t/", "grüße 漢字 😄", "\u{7f}"] {
        let mut out = Vec::new();
        quote(text, &mut out);
        let json = String::from_utf8(out).expect("UTF-8");
        match parse(&json).expect("valid").value {
            super::Value::String(read) => assert_eq!(read, text),
            other => panic!("{json}: {other:?}"),
        }
    }
}
