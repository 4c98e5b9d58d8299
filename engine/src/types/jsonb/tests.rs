//! The layout of jsonb.

use super::{Jsonb, View, array, from_json, write};
use crate::types::json::DEPTH_MAX;

fn text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write(Jsonb::new(bytes), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

const VALUES: &[&str] = &[
    "null",
    "true",
    "-12.50",
    "\"a\\u0001é\"",
    "[]",
    "{}",
    "[1, [2, {}], \"x\"]",
    "{\"b\": 1, \"cc\": {\"a\": [null]}, \"aaa\": \"\"}",
];

#[test]
fn canonical_text_reads_back() {
    for value in VALUES {
        assert_eq!(text(&from_json(value).expect(value)), *value);
    }
}

/// Text and bytes. Changing any of it needs a new record version.
#[test]
fn golden_values() {
    let mut found = String::new();
    for value in VALUES {
        let bytes = from_json(value).expect(value);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        found.push_str(&format!("{value}\t{hex}\n"));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/types/jsonb/golden.txt");
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, &found).expect("the golden file is written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(found, expected, "a new format needs a new version");
}

#[test]
fn the_last_field_of_a_name_stays_and_all_are_found() {
    let mut json = String::from("{\"x\": 0");
    for n in 0..500 {
        json.push_str(&format!(", \"name{n}\": {n}"));
    }
    json.push_str(", \"x\": 1}");
    let bytes = from_json(&json).expect("valid");
    let value = Jsonb::new(&bytes);
    for n in 0..500 {
        let field = value.field(&format!("name{n}")).expect("a field");
        assert_eq!(text(field.bytes()), n.to_string());
    }
    assert_eq!(text(value.field("x").expect("a field").bytes()), "1");
    assert!(value.field("name").is_none());
    assert!(value.field("name500").is_none());
}

#[test]
fn what_is_built_too_deep_is_refused() {
    let mut value = from_json("1").expect("valid");
    for _ in 0..DEPTH_MAX {
        value = array(&[value]).expect("not too deep");
    }
    assert_eq!(array(&[&value]).expect_err("too deep").sqlstate, "54001");
    assert_eq!(text(&value).len(), 2 * DEPTH_MAX + 1);
}

#[test]
fn long_numbers_in_few_bytes_are_bounded() {
    let many = format!("[{}1]", "1e131071,".repeat(3_000));
    assert_eq!(from_json(&many).expect_err("too long").sqlstate, "54000");
}

#[test]
fn damaged_bytes_are_some_other_value() {
    let whole = from_json(VALUES[7]).expect("valid");
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            text(&bytes);
            text(&bytes[..at]);
            if let View::Object(object) = Jsonb::new(&bytes).view() {
                let _ = object.get("cc");
            }
        }
    }
}
