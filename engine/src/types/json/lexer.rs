//! Tokens of JSON text. What is an error, and what of the text an error shows, is PostgreSQL's.

use std::borrow::Cow;

use crate::error::{SqlError, sqlstate};

/// Bytes of the line that an error shows, about.
const CONTEXT_BYTES: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Comma,
    Colon,
    String,
    Number,
    True,
    False,
    Null,
    End,
}

/// Why a text is no JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    InvalidToken,
    InvalidEscape,
    EscapeRequired,
    UnicodeDigits,
    UnicodeZero,
    HighSurrogate,
    LowSurrogate,
    ExpectedMore,
    ExpectedEnd,
    ExpectedValue,
    ExpectedString,
    ExpectedArrayFirst,
    ExpectedArrayNext,
    ExpectedObjectFirst,
    ExpectedObjectNext,
    ExpectedColon,
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Whether strings are read and not only skipped.
    reads_strings: bool,
    pub(super) token: Token,
    /// Where the token begins and ends.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the token before ended.
    pub(super) previous_end: usize,
    /// What the string token says.
    pub(super) string: Cow<'t, str>,
    line: usize,
    line_start: usize,
}

/// Bytes of words, as far as errors show them.
fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'t> Lexer<'t> {
    /// Stands before the first token.
    pub(super) fn new(text: &'t str, reads_strings: bool) -> Self {
        Self {
            text,
            reads_strings,
            token: Token::End,
            start: 0,
            end: 0,
            previous_end: 0,
            string: Cow::Borrowed(""),
            line: 1,
            line_start: 0,
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Goes on to the next token.
    pub(super) fn next(&mut self) -> Result<(), Fault> {
        let mut at = self.end;
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.byte(at) {
            at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = at;
            }
        }
        self.start = at;
        let Some(first) = self.byte(at) else {
            self.finish(Token::End, at);
            return Ok(());
        };
        match first {
            b'{' => self.finish(Token::ObjectStart, at + 1),
            b'}' => self.finish(Token::ObjectEnd, at + 1),
            b'[' => self.finish(Token::ArrayStart, at + 1),
            b']' => self.finish(Token::ArrayEnd, at + 1),
            b',' => self.finish(Token::Comma, at + 1),
            b':' => self.finish(Token::Colon, at + 1),
            b'"' => {
                let end = self.string()?;
                self.finish(Token::String, end);
            }
            b'-' => self.number(at + 1)?,
            b'0'..=b'9' => self.number(at)?,
            _ => self.word()?,
        }
        Ok(())
    }

    fn finish(&mut self, token: Token, end: usize) {
        self.token = token;
        self.previous_end = self.end;
        self.end = end;
    }

    fn word(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.start..];
        let length = rest.iter().position(|b| !in_word(*b)).unwrap_or(rest.len());
        let token = match &rest[..length] {
            b"true" => Some(Token::True),
            b"false" => Some(Token::False),
            b"null" => Some(Token::Null),
            _ => None,
        };
        self.finish(token.unwrap_or(Token::End), self.start + length.max(1));
        match token {
            Some(_) => Ok(()),
            // Not the end, whatever else it is.
            None => Err(self.fault_up_to(self.end, Fault::InvalidToken)),
        }
    }

    /// `at`: after the sign.
    fn number(&mut self, mut at: usize) -> Result<(), Fault> {
        let digits = |at: &mut usize| {
            let first = *at;
            while self.byte(*at).is_some_and(|b| b.is_ascii_digit()) {
                *at += 1;
            }
            *at > first
        };
        let mut valid = true;
        if self.byte(at) == Some(b'0') {
            at += 1;
        } else {
            valid &= digits(&mut at);
        }
        if self.byte(at) == Some(b'.') {
            at += 1;
            valid &= digits(&mut at);
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.byte(at), Some(b'+' | b'-')) {
                at += 1;
            }
            valid &= digits(&mut at);
        }
        while self.byte(at).is_some_and(in_word) {
            at += 1;
            valid = false;
        }
        self.finish(Token::Number, at);
        if valid { Ok(()) } else { Err(Fault::InvalidToken) }
    }

    /// After the character that begins at `at`.
    fn after_char(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8())
    }

    /// Reads a string; gives where it ends.
    fn string(&mut self) -> Result<usize, Fault> {
        let bytes = self.text.as_bytes();
        let mut at = self.start + 1;
        // Nothing but plain characters: the string stands in the text.
        while bytes.get(at).is_some_and(|b| *b >= 0x20 && !matches!(b, b'"' | b'\\')) {
            at += 1;
        }
        if bytes.get(at) == Some(&b'"') {
            self.string = Cow::Borrowed(&self.text[self.start + 1..at]);
            return Ok(at + 1);
        }
        let mut read = String::from(&self.text[self.start + 1..at]);
        let mut high: Option<u32> = None;
        loop {
            let Some(byte) = self.byte(at) else {
                return Err(self.fault_up_to(at, Fault::InvalidToken));
            };
            match byte {
                b'"' => break,
                0..0x20 => return Err(self.fault_up_to(at, Fault::EscapeRequired)),
                b'\\' => at = self.escape(at + 1, &mut read, &mut high)?,
                _ if self.reads_strings => {
                    self.no_surrogate(high, at)?;
                    let end = self.after_char(at);
                    read.push_str(&self.text[at..end]);
                    at = end;
                }
                _ => at += 1,
            }
        }
        if self.reads_strings {
            self.no_surrogate(high, at)?;
        }
        self.string = Cow::Owned(read);
        Ok(at + 1)
    }

    /// `at`: what stands where the second half of a pair should.
    fn no_surrogate(&mut self, high: Option<u32>, at: usize) -> Result<(), Fault> {
        match high {
            Some(_) => Err(self.fault_up_to(self.after_char(at), Fault::LowSurrogate)),
            None => Ok(()),
        }
    }

    /// A fault in a string, of which errors show the text up to `end`.
    fn fault_up_to(&mut self, end: usize, fault: Fault) -> Fault {
        self.end = end;
        self.token = Token::String;
        fault
    }

    /// What follows a backslash, at `at`; gives where it ends.
    fn escape(
        &mut self,
        at: usize,
        read: &mut String,
        high: &mut Option<u32>,
    ) -> Result<usize, Fault> {
        let Some(byte) = self.byte(at) else {
            return Err(self.fault_up_to(at, Fault::InvalidToken));
        };
        if byte == b'u' {
            let code = self.hex_digits(at + 1)?;
            if self.reads_strings {
                self.unicode(code, read, high).map_err(|fault| self.fault_up_to(at + 5, fault))?;
            }
            return Ok(at + 5);
        }
        if self.reads_strings {
            self.no_surrogate(*high, at)?;
        }
        read.push(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => {
                self.start = at;
                return Err(self.fault_up_to(self.after_char(at), Fault::InvalidEscape));
            }
        });
        Ok(at + 1)
    }

    fn hex_digits(&mut self, first: usize) -> Result<u32, Fault> {
        let mut code = 0;
        for at in first..first + 4 {
            let Some(byte) = self.byte(at) else {
                return Err(self.fault_up_to(at, Fault::InvalidToken));
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err(self.fault_up_to(self.after_char(at), Fault::UnicodeDigits));
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn unicode(&self, code: u32, read: &mut String, high: &mut Option<u32>) -> Result<(), Fault> {
        let code = match (code, high.take()) {
            (0xd800..0xdc00, None) => {
                *high = Some(code);
                return Ok(());
            }
            (0xd800..0xdc00, Some(_)) => return Err(Fault::HighSurrogate),
            (0xdc00..0xe000, Some(high)) => 0x1_0000 + ((high & 0x3ff) << 10 | (code & 0x3ff)),
            (0xdc00..0xe000, None) | (_, Some(_)) => return Err(Fault::LowSurrogate),
            (0, None) => return Err(Fault::UnicodeZero),
            (code, None) => code,
        };
        read.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    /// What a fault at the current token tells the client.
    pub(super) fn error(&self, fault: Fault) -> SqlError {
        let token = self.text.get(self.start..self.end.max(self.start)).unwrap_or_default();
        let expected = |what: &str| format!("Expected {what}, but found \"{token}\".");
        let detail = match fault {
            Fault::InvalidToken => format!("Token \"{token}\" is invalid."),
            Fault::InvalidEscape => format!("Escape sequence \"\\{token}\" is invalid."),
            Fault::EscapeRequired => {
                let byte = self.byte(self.end).unwrap_or_default();
                format!("Character with value 0x{byte:02x} must be escaped.")
            }
            Fault::UnicodeDigits => {
                "\"\\u\" must be followed by four hexadecimal digits.".to_owned()
            }
            Fault::UnicodeZero => "\\u0000 cannot be converted to text.".to_owned(),
            Fault::HighSurrogate => {
                "Unicode high surrogate must not follow a high surrogate.".to_owned()
            }
            Fault::LowSurrogate => "Unicode low surrogate must follow a high surrogate.".to_owned(),
            Fault::ExpectedMore => "The input string ended unexpectedly.".to_owned(),
            Fault::ExpectedEnd => expected("end of input"),
            Fault::ExpectedValue => expected("JSON value"),
            Fault::ExpectedString => expected("string"),
            Fault::ExpectedArrayFirst => expected("array element or \"]\""),
            Fault::ExpectedArrayNext => expected("\",\" or \"]\""),
            Fault::ExpectedObjectFirst => expected("string or \"}\""),
            Fault::ExpectedObjectNext => expected("\",\" or \"}\""),
            Fault::ExpectedColon => expected("\":\""),
        };
        let error = if fault == Fault::UnicodeZero {
            let message = "unsupported Unicode escape sequence";
            SqlError::new(sqlstate::UNTRANSLATABLE_CHARACTER, message)
        } else {
            let message = "invalid input syntax for type json";
            SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
        };
        error.detail(detail).context(self.context())
    }

    /// The line up to the end of the token.
    fn context(&self) -> String {
        let mut first = self.line_start;
        // An error in a string leaves its end where the token before ended, maybe a line earlier.
        let end = self.end.max(first);
        while end - first >= CONTEXT_BYTES {
            first = self.after_char(first);
        }
        if first - self.line_start <= 3 {
            first = self.line_start;
        }
        let prefix = if first > self.line_start { "..." } else { "" };
        let goes_on = !matches!(self.byte(end), None | Some(b'\n' | b'\r'));
        let suffix = if self.token != Token::End && goes_on { "..." } else { "" };
        let shown = self.text.get(first..end).unwrap_or_default();
        format!("JSON data, line {}: {prefix}{shown}{suffix}", self.line)
    }
}
