//! JSON text: reading it as PostgreSQL does, with its errors, and writing strings of it.

mod lexer;
mod parser;

pub use self::parser::{Tree, Value, parse, validate};
use crate::error::{SqlError, sqlstate};

/// Arrays and objects in one another, at most.
pub const DEPTH_MAX: usize = 5_000;

/// 54001.
#[must_use]
pub(crate) fn too_deep() -> SqlError {
    SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .detail(format!("JSON nests at most {DEPTH_MAX} levels deep."))
}

/// Runs what recurses over JSON, on a stack that suffices.
pub(crate) fn on_stack<R>(body: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(96 * 1024, 2 * 1024 * 1024, body)
}

/// Appends a string in quotes, with what must be escaped.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut rest = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[rest..at]);
        if escaped.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escaped);
        }
        rest = at + 1;
    }
    out.extend_from_slice(&bytes[rest..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
