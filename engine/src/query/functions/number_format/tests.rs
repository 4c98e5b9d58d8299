use super::{Number, to_char, to_number};
use crate::query::functions::numeric::Numeric;

/// Answers of PostgreSQL 15.
#[test]
fn numbers_are_written_as_postgresql_does() {
    for (number, pattern, expected) in [
        (
            "-34338492.215397047",
            "S9999999999999999.999999999999999",
            "        -34338492.215397047000000",
        ),
        ("4.31", "FM9999999999999999.999999999999999", "4.31"),
        ("0", "FM9999.99", "0."),
        ("485", "RN", "        CDLXXXV"),
        ("485", "FMRN", "CDLXXXV"),
        ("482", "999th", " 482nd"),
        ("-485", "999PR", "<485>"),
        ("12.45", "99V9", " 125"),
        ("0.0004859", "9.99EEEE", " 4.86e-04"),
        ("100", "FM999.", "100"),
        ("1234567", "9G999G999", " 1,234,567"),
        ("12345", "999", " ###"),
        ("485", "L999", "  485"),
        ("485", "\"Good number:\"999", "Good number: 485"),
    ] {
        let value = Number::Exact(Numeric::parse(number).expect(number));
        let written = to_char(&value, pattern).expect(pattern);
        assert_eq!(written, expected, "to_char({number}, {pattern:?})");
    }
}

#[test]
fn numbers_are_read_as_postgresql_does() {
    for (text, pattern, expected) in [
        ("-34,338,492.654,878", "99G999G999D999G999", "-34338492.654878"),
        ("<564646.654564>", "999999.999999PR", "-564646.654564"),
        ("0.00001-", "9.999999S", "-0.00001"),
        ("5.01-", "FM9.999999MI", "-5.01"),
        ("5 4 4 4 4 8 . 7 8", "9 9 9 9 9 9 . 9 9", "544448.78"),
        ("$1,234.56", "L99,999.99", "1234.56"),
        ("42nd", "99th", "42"),
    ] {
        let value = to_number(text, pattern).expect(pattern).expect("a number");
        assert_eq!(value.to_string(), expected, "to_number({text:?}, {pattern:?})");
    }
}
