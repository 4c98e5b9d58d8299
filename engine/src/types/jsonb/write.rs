//! `jsonb` as text.

use super::{Jsonb, View};
use crate::types::json::{DEPTH_MAX, on_stack, quote};

/// Appends the text that output has: a blank after each comma and colon.
pub fn write(value: Jsonb<'_>, out: &mut Vec<u8>) {
    write_at(value, 0, out);
}

fn write_scalar(view: View<'_>, out: &mut Vec<u8>) {
    match view {
        View::Bool(true) => out.extend_from_slice(b"true"),
        View::Bool(false) => out.extend_from_slice(b"false"),
        View::Number(text) => out.extend_from_slice(text.as_bytes()),
        View::String(text) => quote(text, out),
        _ => out.extend_from_slice(b"null"),
    }
}

fn write_at(value: Jsonb<'_>, depth: usize, out: &mut Vec<u8>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value.view() {
        View::Array(array) => on_stack(|| {
            out.push(b'[');
            for (n, item) in array.iter().enumerate() {
                if n > 0 {
                    out.extend_from_slice(b", ");
                }
                write_at(item, depth + 1, out);
            }
            out.push(b']');
        }),
        View::Object(object) => on_stack(|| {
            out.push(b'{');
            for (n, (name, value)) in object.iter().enumerate() {
                if n > 0 {
                    out.extend_from_slice(b", ");
                }
                quote(name, out);
                out.extend_from_slice(b": ");
                write_at(value, depth + 1, out);
            }
            out.push(b'}');
        }),
        scalar => write_scalar(scalar, out),
    }
}

/// Appends the text of `jsonb_pretty`.
pub fn write_pretty(value: Jsonb<'_>, out: &mut Vec<u8>) {
    pretty_at(value, 0, out);
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + depth * 4, b' ');
}

fn pretty_at(value: Jsonb<'_>, depth: usize, out: &mut Vec<u8>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value.view() {
        View::Array(array) => on_stack(|| {
            out.push(b'[');
            for (n, item) in array.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                new_line(depth + 1, out);
                pretty_at(item, depth + 1, out);
            }
            new_line(depth, out);
            out.push(b']');
        }),
        View::Object(object) => on_stack(|| {
            out.push(b'{');
            for (n, (name, value)) in object.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                new_line(depth + 1, out);
                quote(name, out);
                out.extend_from_slice(b": ");
                pretty_at(value, depth + 1, out);
            }
            new_line(depth, out);
            out.push(b'}');
        }),
        scalar => write_scalar(scalar, out),
    }
}
