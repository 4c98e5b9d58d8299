//! Cutting COPY data into lines and fields.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

use super::options::{CopyFormat, Options};
use crate::{
    error::{SqlError, sqlstate},
    types::encoding::invalid_utf8,
};

/// Where a search for the end of a csv line stands.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Scan {
    /// Within quotes.
    pub quoted: bool,
    /// Behind an escape within quotes, whatever comes next belongs to the value.
    escaped: bool,
}

/// How lines end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineEnd {
    Newline,
    /// Carriage return and newline.
    Both,
}

/// Whether no backslash escapes the byte of the line.
fn is_plain(line: &[u8], at: usize) -> bool {
    let backslashes = line[..at].iter().rev().take_while(|b| **b == b'\\').count();
    backslashes.is_multiple_of(2)
}

/// What the bytes of a COPY mean.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub csv: bool,
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
}

impl Dialect {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            csv: options.format == CopyFormat::Csv,
            delimiter: options.delimiter,
            null: options.null.clone().into_bytes(),
            quote: options.quote,
            escape: options.escape,
        }
    }

    /// End of the first line in `bytes` from `from` on: where it ends and where the next begins.
    /// `scan` is the state at `from`; it is kept up to date.
    pub(super) fn line_end(
        &self,
        bytes: &[u8],
        from: usize,
        scan: &mut Scan,
    ) -> Option<(usize, usize)> {
        let mut at = from;
        if !self.csv {
            loop {
                let found = at + memchr(b'\n', &bytes[at..])?;
                // A newline after an odd number of backslashes belongs to the value.
                let backslashes = bytes[..found].iter().rev().take_while(|b| **b == b'\\').count();
                if backslashes.is_multiple_of(2) {
                    return Some((found, found + 1));
                }
                at = found + 1;
            }
        }
        while at < bytes.len() {
            if std::mem::take(&mut scan.escaped) {
                at += 1;
                continue;
            }
            // With escape = quote, a doubled quote closes and opens again: no special case.
            let other = if scan.quoted { self.escape } else { b'\n' };
            at += memchr2(self.quote, other, &bytes[at..])?;
            if bytes[at] == self.quote {
                scan.quoted = !scan.quoted;
            } else if scan.quoted {
                scan.escaped = true;
            } else {
                return Some((at, at + 1));
            }
            at += 1;
        }
        None
    }

    /// What stands before the end-of-data mark of old clients, if the line ends with it.
    pub(super) fn before_end_mark<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let before = line.strip_suffix(b"\\.")?;
        if self.csv {
            return before.is_empty().then_some(before);
        }
        is_plain(line, before.len()).then_some(before)
    }

    /// The line without the carriage return of its end. All lines end as the first does, and a
    /// carriage return is nowhere else but in quotes or after a backslash.
    ///
    /// # Errors
    /// 22P04 for other carriage returns and newlines.
    pub(super) fn without_carriage_return<'l>(
        &self,
        line: &'l [u8],
        newline: bool,
        first: &mut Option<LineEnd>,
    ) -> Result<&'l [u8], SqlError> {
        let literal = |what: &str| {
            let kind = if self.csv { "unquoted" } else { "literal" };
            let (hint, symbol) = if what == "newline" { ("\\n", what) } else { ("\\r", what) };
            let error = SqlError::new(
                sqlstate::BAD_COPY_FILE_FORMAT,
                format!("{kind} {symbol} found in data"),
            );
            Err(error.hint(if self.csv {
                format!("Use quoted CSV field to represent {symbol}.")
            } else {
                format!("Use \"{hint}\" to represent {symbol}.")
            }))
        };
        let (stripped, end) = match line.split_last() {
            Some((b'\r', before)) if self.csv || is_plain(line, before.len()) => {
                (before, LineEnd::Both)
            }
            _ => (line, LineEnd::Newline),
        };
        match (*first, end) {
            // The last line may end without anything.
            (_, LineEnd::Newline) if !newline => {}
            (None, end) => *first = Some(end),
            (Some(LineEnd::Newline), LineEnd::Both) => return literal("carriage return"),
            (Some(LineEnd::Both), LineEnd::Newline) => return literal("newline"),
            (Some(LineEnd::Both), LineEnd::Both) if !newline => return literal("carriage return"),
            _ => {}
        }
        if memchr(b'\r', stripped).is_some() && self.has_literal_return(stripped) {
            return literal("carriage return");
        }
        Ok(stripped)
    }

    fn has_literal_return(&self, line: &[u8]) -> bool {
        if !self.csv {
            let mut returns = line.iter().enumerate().filter(|(_, byte)| **byte == b'\r');
            return returns.any(|(at, _)| is_plain(line, at));
        }
        let (mut quoted, mut escaped) = (false, false);
        for byte in line {
            if escaped {
                escaped = false;
            } else if quoted && *byte == self.escape && self.escape != self.quote {
                escaped = true;
            } else if *byte == self.quote {
                quoted = !quoted;
            } else if *byte == b'\r' && !quoted {
                return true;
            }
        }
        false
    }

    /// The fields of a line, each `None` for NULL.
    pub(super) fn fields<'a>(
        &self,
        line: &'a str,
        fields: &mut Vec<Field<'a>>,
    ) -> Result<(), SqlError> {
        fields.clear();
        if self.csv { self.csv_fields(line, fields) } else { self.text_fields(line, fields) }
    }

    fn text_fields<'a>(&self, line: &'a str, fields: &mut Vec<Field<'a>>) -> Result<(), SqlError> {
        let bytes = line.as_bytes();
        if memchr(b'\\', bytes).is_none() {
            self.plain_fields(line, fields);
            return Ok(());
        }
        let mut start = 0;
        loop {
            let mut end = start;
            let mut escapes = false;
            while end < bytes.len() && bytes[end] != self.delimiter {
                if bytes[end] == b'\\' {
                    escapes = true;
                    end += 1;
                }
                end += 1;
            }
            let end = end.min(bytes.len());
            let raw = &bytes[start..end];
            fields.push(if raw == self.null {
                None
            } else if escapes {
                Some(Cow::Owned(unescape(raw)?))
            } else {
                Some(Cow::Borrowed(&line[start..end]))
            });
            if end == bytes.len() {
                return Ok(());
            }
            start = end + 1;
        }
    }

    /// Fields that are what stands between the delimiters.
    fn plain_fields<'a>(&self, line: &'a str, fields: &mut Vec<Field<'a>>) {
        let mut start = 0;
        let ends = memchr_iter(self.delimiter, line.as_bytes()).chain([line.len()]);
        for end in ends {
            let text = &line[start..end];
            let null = text.as_bytes() == self.null;
            fields.push((!null).then_some(Cow::Borrowed(text)));
            start = end + 1;
        }
    }

    fn csv_fields<'a>(&self, line: &'a str, fields: &mut Vec<Field<'a>>) -> Result<(), SqlError> {
        let bytes = line.as_bytes();
        if memchr(self.quote, bytes).is_none() {
            self.plain_fields(line, fields);
            return Ok(());
        }
        let mut start = 0;
        loop {
            if bytes.get(start) != Some(&self.quote) {
                let mut end = start;
                while end < bytes.len() && bytes[end] != self.delimiter && bytes[end] != self.quote
                {
                    end += 1;
                }
                if end == bytes.len() || bytes[end] == self.delimiter {
                    let text = &line[start..end];
                    let null = text.as_bytes() == self.null;
                    fields.push((!null).then_some(Cow::Borrowed(text)));
                    if end == bytes.len() {
                        return Ok(());
                    }
                    start = end + 1;
                    continue;
                }
            }
            let (value, end) = self.quoted_field(bytes, start)?;
            // A quoted field is never NULL, unless FORCE_NULL says so.
            fields.push(Some(Cow::Owned(value)));
            if end == bytes.len() {
                return Ok(());
            }
            start = end + 1;
        }
    }

    /// A field with quotes somewhere in it, from `start` on, and where it ends.
    fn quoted_field(&self, bytes: &[u8], start: usize) -> Result<(String, usize), SqlError> {
        let mut value = Vec::new();
        let mut quoted = false;
        let mut at = start;
        while at < bytes.len() {
            let byte = bytes[at];
            if quoted {
                let next = bytes.get(at + 1);
                if byte == self.escape
                    && next.is_some_and(|next| *next == self.quote || *next == self.escape)
                {
                    value.push(bytes[at + 1]);
                    at += 2;
                    continue;
                }
                if byte == self.quote {
                    quoted = false;
                } else {
                    value.push(byte);
                }
            } else if byte == self.delimiter {
                break;
            } else if byte == self.quote {
                quoted = true;
            } else {
                value.push(byte);
            }
            at += 1;
        }
        if quoted {
            return Err(SqlError::new(
                sqlstate::BAD_COPY_FILE_FORMAT,
                "unterminated CSV quoted field",
            ));
        }
        Ok((utf8(value)?, at))
    }

    /// How NULL is written.
    pub(super) fn null_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.null)
    }

    pub(super) fn is_null_text(&self, text: &str) -> bool {
        text.as_bytes() == self.null
    }
}

/// `None` is NULL.
pub(super) type Field<'a> = Option<Cow<'a, str>>;

fn utf8(bytes: Vec<u8>) -> Result<String, SqlError> {
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let at = error.utf8_error().valid_up_to();
        invalid_utf8(&bytes[at..])
    })
}

/// The escapes of text format.
fn unescape(raw: &[u8]) -> Result<String, SqlError> {
    let mut value = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' || at + 1 == raw.len() {
            value.push(raw[at]);
            at += 1;
            continue;
        }
        let symbol = raw[at + 1];
        at += 2;
        let number = |at: usize, most: usize, radix: u32| {
            let mut number = 0u32;
            let mut digits = 0;
            while digits < most
                && let Some(digit) =
                    raw.get(at + digits).and_then(|b| char::from(*b).to_digit(radix))
            {
                number = number * radix + digit;
                digits += 1;
            }
            (number as u8, digits)
        };
        value.push(match symbol {
            b'.' => {
                return Err(SqlError::new(
                    sqlstate::BAD_COPY_FILE_FORMAT,
                    "end-of-copy marker corrupt",
                ));
            }
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let (byte, digits) = number(at - 1, 3, 8);
                at += digits - 1;
                byte
            }
            b'x' => {
                let (byte, digits) = number(at, 2, 16);
                at += digits;
                if digits == 0 { b'x' } else { byte }
            }
            other => other,
        });
    }
    if value.contains(&0) {
        return Err(invalid_utf8(&[0]));
    }
    utf8(value)
}

#[cfg(test)]
mod tests;
