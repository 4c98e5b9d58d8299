//! `jsonb` as text.

use super::{Jsonb, View};
use crate::types::json::{DEPTH_MAX, on_stack, quote};

/// What stands between the items of arrays and objects.
#[derive(Clone, Copy)]
enum Layout {
    /// A blank after each comma and colon.
    Line,
    /// A line for each item, four blanks deeper than what it is in.
    Indented,
}

/// Appends the text that output has: a blank after each comma and colon.
pub fn write(value: Jsonb<'_>, out: &mut Vec<u8>) {
    write_at(value, Layout::Line, 0, out);
}

/// Appends the text of `jsonb_pretty`.
pub fn write_pretty(value: Jsonb<'_>, out: &mut Vec<u8>) {
    write_at(value, Layout::Indented, 0, out);
}

impl Layout {
    fn before_item(self, number: usize, depth: usize, out: &mut Vec<u8>) {
        match (self, number) {
            (Self::Line, 0) => {}
            (Self::Line, _) => out.extend_from_slice(b", "),
            (Self::Indented, 0) => new_line(depth + 1, out),
            (Self::Indented, _) => {
                out.push(b',');
                new_line(depth + 1, out);
            }
        }
    }

    fn before_end(self, depth: usize, out: &mut Vec<u8>) {
        if matches!(self, Self::Indented) {
            new_line(depth, out);
        }
    }
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + depth * 4, b' ');
}

fn write_at(value: Jsonb<'_>, layout: Layout, depth: usize, out: &mut Vec<u8>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value.view() {
        View::Array(array) => on_stack(|| {
            out.push(b'[');
            for (n, item) in array.iter().enumerate() {
                layout.before_item(n, depth, out);
                write_at(item, layout, depth + 1, out);
            }
            layout.before_end(depth, out);
            out.push(b']');
        }),
        View::Object(object) => on_stack(|| {
            out.push(b'{');
            for (n, (name, value)) in object.iter().enumerate() {
                layout.before_item(n, depth, out);
                quote(name, out);
                out.extend_from_slice(b": ");
                write_at(value, layout, depth + 1, out);
            }
            layout.before_end(depth, out);
            out.push(b'}');
        }),
        View::Bool(true) => out.extend_from_slice(b"true"),
        View::Bool(false) => out.extend_from_slice(b"false"),
        View::Number(text) => out.extend_from_slice(text.as_bytes()),
        View::String(text) => quote(text, out),
        View::Null => out.extend_from_slice(b"null"),
    }
}
