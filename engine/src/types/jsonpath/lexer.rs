//! Tokens of jsonpath.

use crate::error::{SqlError, sqlstate};

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// A name without quotes that may be a keyword.
    Word(String),
    String(String),
    Variable(String),
    Integer(String),
    Number(String),
    /// `&&`, `(`, …
    Symbol(&'static str),
    End,
}

/// Longer ones before their prefixes.
const SYMBOLS: [&str; 28] = [
    "&&", "||", "**", "<=", "==", "<>", "!=", ">=", "!", "<", ">", "?", "%", "$", ".", "[", "]",
    "{", "}", "(", ")", "|", "&", "=", "@", "#", ",", "*",
];
const SYMBOLS_REST: [&str; 4] = [":", "-", "+", "/"];

fn symbol_at(rest: &str) -> Option<&'static str> {
    SYMBOLS.into_iter().chain(SYMBOLS_REST).find(|symbol| rest.starts_with(symbol))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// What names and numbers go on with.
fn is_other(c: char) -> bool {
    !is_blank(c) && !matches!(c, '\\' | '"') && symbol_at(c.encode_utf8(&mut [0; 4])).is_none()
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Where the next token is looked for.
    at: usize,
    pub(super) token: Token,
    /// Where the current token stands.
    start: usize,
    end: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, token: Token::End, start: 0, end: 0 }
    }

    /// 42601 at the current token.
    pub(super) fn syntax_error(&self) -> SqlError {
        self.error("syntax error")
    }

    fn error(&self, what: &str) -> SqlError {
        let near = &self.text[self.start..self.end];
        let message = if near.is_empty() {
            format!("{what} at end of jsonpath input")
        } else {
            format!("{what} at or near \"{near}\" of jsonpath input")
        };
        SqlError::new(sqlstate::SYNTAX_ERROR, message)
    }

    fn fault<T>(&mut self, what: &str, start: usize, end: usize) -> Result<T, SqlError> {
        (self.start, self.end) = (start, end);
        Err(self.error(what))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Reads the next token.
    pub(super) fn next(&mut self) -> Result<(), SqlError> {
        self.skip_blanks()?;
        self.start = self.at;
        let rest = self.rest();
        self.token = match rest.chars().next() {
            None => Token::End,
            Some('"') => {
                self.at += 1;
                Token::String(self.quoted()?)
            }
            Some('$') if rest[1..].starts_with('"') => {
                self.at += 2;
                Token::Variable(self.quoted()?)
            }
            Some('$') if rest[1..].starts_with(is_other) => {
                let length = rest[1..].find(|c| !is_other(c)).unwrap_or(rest.len() - 1);
                self.at += 1 + length;
                Token::Variable(rest[1..=length].to_owned())
            }
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some('.') if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            Some(c) if is_other(c) || c == '\\' => Token::Word(self.word()?),
            _ => match symbol_at(rest) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Token::Symbol(symbol)
                }
                None => return self.fault("syntax error", self.at, self.at + 1),
            },
        };
        self.end = self.at;
        Ok(())
    }

    fn skip_blanks(&mut self) -> Result<(), SqlError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(is_blank);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("/*") {
                return Ok(());
            }
            match trimmed[2..].find("*/") {
                Some(length) => self.at += length + 4,
                None => {
                    let end = self.text.len();
                    return self.fault("unexpected end of comment", end, end);
                }
            }
        }
    }

    fn number(&mut self) -> Result<Token, SqlError> {
        let rest = self.rest().as_bytes();
        let digits = |from: usize| {
            from + rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        // A zero ends a number that it begins.
        let whole = if rest[0] == b'0' { 1 } else { digits(0) };
        let mut end = whole;
        let mut integer = true;
        if rest.get(end) == Some(&b'.') {
            integer = false;
            end = digits(end + 1);
        }
        if matches!(rest.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + signed);
            if exponent > end + 1 + signed {
                (end, integer) = (exponent, false);
            } else if signed == 1 {
                return self.fault("invalid numeric literal", self.at, self.at + end + 2);
            }
        }
        let text = &self.rest()[..end];
        if let Some(junk) = self.rest()[end..].chars().next().filter(|c| is_other(*c)) {
            let end = self.at + end + junk.len_utf8();
            return self.fault("trailing junk after numeric literal", self.at, end);
        }
        self.at += end;
        Ok(if integer { Token::Integer(text.to_owned()) } else { Token::Number(text.to_owned()) })
    }

    fn word(&mut self) -> Result<String, SqlError> {
        let mut out = String::new();
        loop {
            match self.rest().chars().next() {
                Some('\\') => self.escape(&mut out)?,
                Some('/') if self.rest().starts_with("/*") => break,
                Some(c) if is_other(c) => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
                _ => break,
            }
        }
        Ok(out)
    }

    /// What stands in quotes, the first of which was read.
    fn quoted(&mut self) -> Result<String, SqlError> {
        let mut out = String::new();
        loop {
            match self.rest().chars().next() {
                None => {
                    let end = self.text.len();
                    return self.fault("unterminated quoted string", end, end);
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some('\\') => self.escape(&mut out)?,
                Some(c) => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), SqlError> {
        let start = self.at;
        let Some(symbol) = self.rest()[1..].chars().next() else {
            return self.fault("unexpected end after backslash", start, start + 1);
        };
        self.at += 1 + symbol.len_utf8();
        out.push(match symbol {
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => {
                let digits = self.rest().get(..2).filter(|d| is_hex(d));
                let Some(digits) = digits else {
                    let have = self.rest().chars().take_while(char::is_ascii_hexdigit).count();
                    let end = self.at + have.min(1);
                    return self.fault("invalid hex character sequence", start, end);
                };
                self.at += 2;
                self.character(u32::from_str_radix(digits, 16).unwrap_or(0))?
            }
            'u' => {
                let code = self.unicode(start)?;
                match code {
                    0xd800..0xdc00 => self.second_surrogate(start, code)?,
                    code => self.character(code)?,
                }
            }
            other => other,
        });
        Ok(())
    }

    /// The code behind `\u`.
    fn unicode(&mut self, start: usize) -> Result<u32, SqlError> {
        let rest = self.rest();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(inner) => {
                let count = inner.bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
                if count == 0 || !inner[count..].starts_with('}') {
                    let end = self.at + 1 + count;
                    return self.fault("invalid unicode sequence", start, end);
                }
                (&inner[..count], count + 2)
            }
            None => {
                let count = rest.bytes().take(4).take_while(u8::is_ascii_hexdigit).count();
                if count < 4 {
                    let end = self.at + count;
                    return self.fault("invalid unicode sequence", start, end);
                }
                (&rest[..4], 4)
            }
        };
        self.at += length;
        Ok(u32::from_str_radix(digits, 16).unwrap_or(0))
    }

    fn second_surrogate(&mut self, start: usize, high: u32) -> Result<char, SqlError> {
        if self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.unicode(start)?;
            if (0xd800..0xdc00).contains(&low) {
                let detail = "Unicode high surrogate must not follow a high surrogate.";
                return Err(invalid_syntax().detail(detail));
            }
            if (0xdc00..0xe000).contains(&low) {
                return self.character(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            }
        }
        let detail = "Unicode low surrogate must follow a high surrogate.";
        Err(invalid_syntax().detail(detail))
    }

    fn character(&self, code: u32) -> Result<char, SqlError> {
        match code {
            0 => Err(SqlError::new(
                sqlstate::UNTRANSLATABLE_CHARACTER,
                "unsupported Unicode escape sequence",
            )
            .detail("\\u0000 cannot be converted to text.")),
            0xdc00..0xe000 => {
                Err(invalid_syntax().detail("Unicode low surrogate must follow a high surrogate."))
            }
            code => char::from_u32(code).ok_or_else(|| {
                SqlError::new(
                    sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
                    format!("could not convert Unicode code point {code:x}"),
                )
            }),
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn invalid_syntax() -> SqlError {
    let message = "invalid input syntax for type jsonpath";
    SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
}
