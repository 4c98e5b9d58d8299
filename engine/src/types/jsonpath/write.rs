//! jsonpath as PostgreSQL writes it.

use super::{ANY_DEPTH, Binary, JsonPath, Path, Step};
use crate::types::json::{on_stack, quote};

/// The text of a path, which reads back as the same path.
#[must_use]
pub fn normal_form(path: &JsonPath) -> String {
    let mut out = Vec::new();
    if path.strict {
        out.extend_from_slice(b"strict ");
    }
    write_path(&path.path, true, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// How strongly a step binds its operands.
fn strength(step: &Step) -> u8 {
    match step {
        Step::Binary(operator, ..) => match operator {
            Binary::Or => 0,
            Binary::And => 1,
            Binary::Add | Binary::Subtract => 3,
            Binary::Multiply | Binary::Divide | Binary::Modulo => 4,
            _ => 2,
        },
        Step::Plus(_) | Step::Minus(_) => 5,
        _ => 6,
    }
}

/// `parentheses`: around an operator that stands first.
fn write_path(path: &[Step], parentheses: bool, out: &mut Vec<u8>) {
    let Some((first, rest)) = path.split_first() else { return };
    on_stack(|| write_step(first, false, parentheses, !rest.is_empty(), out));
    for step in rest {
        on_stack(|| write_step(step, true, true, false, out));
    }
}

fn operand(path: &Path, of: &Step, out: &mut Vec<u8>) {
    let weaker = path.first().is_some_and(|first| strength(first) <= strength(of));
    write_path(path, weaker, out);
}

fn enclosed(before: &str, path: &Path, after: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    write_path(path, false, out);
    out.extend_from_slice(after.as_bytes());
}

fn write_step(step: &Step, accessor: bool, parentheses: bool, goes_on: bool, out: &mut Vec<u8>) {
    let operator =
        matches!(step, Step::Binary(..) | Step::LikeRegex { .. } | Step::Plus(_) | Step::Minus(_));
    if operator && parentheses {
        out.push(b'(');
    }
    match step {
        Step::Null => out.extend_from_slice(b"null"),
        Step::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Step::Number(text) if goes_on => out.extend_from_slice(format!("({text})").as_bytes()),
        Step::Number(text) => out.extend_from_slice(text.as_bytes()),
        Step::String(text) => quote(text, out),
        Step::Variable(name) => {
            out.push(b'$');
            quote(name, out);
        }
        Step::Root => out.push(b'$'),
        Step::Current => out.push(b'@'),
        Step::Last => out.extend_from_slice(b"last"),
        Step::Key(name) => {
            if accessor {
                out.push(b'.');
            }
            quote(name, out);
        }
        Step::AnyKey => out.extend_from_slice(if accessor { b".*" } else { b"*" }),
        Step::AnyElement => out.extend_from_slice(b"[*]"),
        Step::Elements(elements) => {
            for (n, (from, to)) in elements.iter().enumerate() {
                out.push(if n == 0 { b'[' } else { b',' });
                write_path(from, false, out);
                if let Some(to) = to {
                    enclosed(" to ", to, "", out);
                }
            }
            out.push(b']');
        }
        Step::Any { first, last } => out.extend_from_slice(levels(*first, *last).as_bytes()),
        Step::Method(method) => {
            out.extend_from_slice(format!(".{}()", method.name()).as_bytes());
        }
        Step::Datetime(template) => {
            out.extend_from_slice(b".datetime(");
            if let Some(template) = template {
                quote(template, out);
            }
            out.push(b')');
        }
        Step::Filter(path) => enclosed("?(", path, ")", out),
        Step::Plus(path) => {
            out.push(b'+');
            operand(path, step, out);
        }
        Step::Minus(path) => {
            out.push(b'-');
            operand(path, step, out);
        }
        Step::Not(path) => enclosed("!(", path, ")", out),
        Step::IsUnknown(path) => enclosed("(", path, ") is unknown", out),
        Step::Exists(path) => enclosed("exists (", path, ")", out),
        Step::Binary(symbol, left, right) => {
            operand(left, step, out);
            out.extend_from_slice(format!(" {} ", symbol.symbol()).as_bytes());
            operand(right, step, out);
        }
        Step::LikeRegex { value, pattern, flags } => {
            operand(value, step, out);
            out.extend_from_slice(b" like_regex ");
            quote(pattern, out);
            let set = [
                (flags.ignore_case, 'i'),
                (flags.dot_all, 's'),
                (flags.multi_line, 'm'),
                (flags.expanded, 'x'),
                (flags.quote, 'q'),
            ];
            let set: String = set.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
            if !set.is_empty() {
                out.extend_from_slice(format!(" flag \"{set}\"").as_bytes());
            }
        }
    }
    if operator && parentheses {
        out.push(b')');
    }
}

fn levels(first: u32, last: u32) -> String {
    let level = |level: u32| match level {
        ANY_DEPTH => "last".to_owned(),
        level => level.to_string(),
    };
    match (first, last) {
        (0, ANY_DEPTH) => ".**".to_owned(),
        (first, last) if first == last => format!(".**{{{}}}", level(first)),
        (first, last) => format!(".**{{{} to {}}}", level(first), level(last)),
    }
}
