use super::{normal_form, parse};

/// Texts and their normal forms, from PostgreSQL 15.
const FORMS: &[(&str, &str)] = &[
    ("$", "$"),
    ("lax $.a", "$.\"a\""),
    ("strict $.*[*]", "strict $.*[*]"),
    ("$.a.**{2 to last}.b", "$.\"a\".**{2 to last}.\"b\""),
    ("1 * 2 + 4 % -3 != false", "(1 * 2 + 4 % -3 != false)"),
    ("$--+1", "($ - -1)"),
    ("$.a/+-1", "($.\"a\" / -1)"),
    ("(1).type()", "(1).type()"),
    ("($ + 1).size()", "($ + 1).size()"),
    ("-1.abs()", "-(1).abs()"),
    ("$.g ? (@.x >= @[*]?(@.a > \"abc\"))", "$.\"g\"?(@.\"x\" >= @[*]?(@.\"a\" > \"abc\"))"),
    ("$ ? (@ like_regex \"a\" flag \"iq\")", "$?(@ like_regex \"a\" flag \"iq\")"),
    ("$[last, 1 to last - 1]", "$[last,1 to last - 1]"),
    (
        "$ ? (!exists (@.x) || ((@ == 1) is unknown))",
        "$?(!(exists (@.\"x\")) || (@ == 1) is unknown)",
    ),
];

#[test]
fn normal_forms_read_back() {
    for (text, form) in FORMS {
        if text.starts_with("-1.abs") {
            // `1.a` is a number with junk behind it.
            assert_eq!(parse(text).expect_err("junk").sqlstate, "42601");
            continue;
        }
        let path = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(normal_form(&path), *form, "{text}");
        assert_eq!(parse(form).expect("reads back"), path, "{form}");
    }
}

#[test]
fn faults_name_what_stands_there() {
    let message = |text: &str| parse(text).expect_err(text).message;
    assert_eq!(message("$."), "syntax error at end of jsonpath input");
    assert_eq!(message("@ + 1"), "@ is not allowed in root expressions");
    assert_eq!(message("last"), "LAST is allowed only in array subscripts");
    assert_eq!(
        message("1a"),
        "trailing junk after numeric literal at or near \"1a\" of jsonpath input"
    );
    assert_eq!(message("$ ? (@.a)"), "syntax error at or near \")\" of jsonpath input");
    assert_eq!(message(""), "invalid input syntax for type jsonpath: \"\"");
}

#[test]
fn what_nests_too_deep_is_refused() {
    for deep in ["(".repeat(100_000), "-".repeat(100_000), format!("1{}", "+1".repeat(100_000))] {
        assert_eq!(parse(&deep).expect_err("too deep").sqlstate, "54001");
    }
    let long = format!("${}", ".a".repeat(100_000));
    assert!(normal_form(&parse(&long).expect("only long")).len() > 400_000);
}
