//! String constants and names that sqlparser's tokenizer does not read as PostgreSQL does: those
//! with Unicode escapes. Each is decoded here and given to the tokenizer as a plain one of the same
//! length, so that all places stay where they are; afterwards its token gets what it means.

use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Word},
};
use hashbrown::HashMap;

use crate::error::{SqlError, sqlstate};

/// A statement's text without Unicode escapes, and the tokens that stand for what had them.
pub(super) struct Masked {
    pub(super) text: String,
    /// By line and column of the quote: the token and where it starts.
    tokens: HashMap<(u64, u64), (Token, Location)>,
}

/// `None` if there is nothing to mask.
///
/// # Errors
/// 42601 and 22025 for escapes that are none, with the position.
pub(super) fn mask(source: &str) -> Result<Option<Masked>, SqlError> {
    let marks = ["U&'", "u&'", "U&\"", "u&\"", "\\u", "\\U"];
    if !marks.iter().any(|mark| source.contains(mark)) {
        return Ok(None);
    }
    let mut scanner = Scanner {
        chars: source.chars().collect(),
        at: 0,
        out: String::with_capacity(source.len()),
        tokens: HashMap::new(),
        line: 1,
        column: 1,
    };
    scanner.scan()?;
    let Scanner { out, tokens, .. } = scanner;
    Ok((!tokens.is_empty()).then_some(Masked { text: out, tokens }))
}

impl Masked {
    /// Puts the decoded tokens where plain ones stood for them.
    pub(super) fn restore(mut self, tokens: &mut [TokenWithSpan]) {
        for token in tokens {
            let start = token.span.start;
            if let Some((decoded, start)) = self.tokens.remove(&(start.line, start.column)) {
                token.token = decoded;
                token.span.start = start;
            }
        }
    }
}

fn error(state: &'static str, message: impl Into<String>, at: usize) -> SqlError {
    SqlError::new(state, message).position(at + 1)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    out: String,
    tokens: HashMap<(u64, u64), (Token, Location)>,
    /// Of `at`, from 1.
    line: u64,
    column: u64,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Passes a character on, or something else in its place.
    fn push(&mut self, c: char) {
        self.out.push(c);
        self.at += 1;
        self.column += 1;
        if c == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        }
    }

    fn copy(&mut self) {
        if let Some(c) = self.peek(0) {
            self.push(c);
        }
    }

    /// Passes characters up to `end` on as something that means nothing.
    fn fill(&mut self, end: usize, with: char) {
        while self.at < end {
            let line_end = self.peek(0) == Some('\n');
            self.push(if line_end { '\n' } else { with });
        }
    }

    fn location(&self) -> Location {
        Location::new(self.line, self.column)
    }

    fn scan(&mut self) -> Result<(), SqlError> {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('-', Some('-')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.copy();
                    }
                }
                ('/', Some('*')) => self.comment(),
                ('\'' | '"', _) => {
                    let end =
                        self.closing(self.at + 1, c, false).map_or(self.chars.len(), |e| e + 1);
                    self.copy_to(end);
                }
                ('$', _) => self.dollar_quoted(),
                ('e' | 'E', Some('\'')) => self.escaped()?,
                ('u' | 'U', Some('&')) if matches!(self.peek(2), Some('\'' | '"')) => {
                    self.unicode()?;
                }
                _ if is_word(c) => {
                    while self.peek(0).is_some_and(is_word) {
                        self.copy();
                    }
                }
                _ => self.copy(),
            }
        }
        Ok(())
    }

    fn copy_to(&mut self, end: usize) {
        while self.at < end {
            self.copy();
        }
    }

    fn comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.copy();
                    continue;
                }
            }
            self.copy();
            self.copy();
            if depth == 0 {
                return;
            }
        }
    }

    fn dollar_quoted(&mut self) {
        let tag: Vec<char> = self.chars[self.at + 1..]
            .iter()
            .copied()
            .take_while(|c| is_word(*c) && *c != '$')
            .collect();
        let opens =
            self.peek(tag.len() + 1) == Some('$') && !tag.first().is_some_and(char::is_ascii_digit);
        if !opens {
            self.copy();
            return;
        }
        let mark: Vec<char> = [&['$'], tag.as_slice(), &['$']].concat();
        let inside = self.at + mark.len();
        let found = self.chars[inside..].windows(mark.len()).position(|w| w == mark);
        self.copy_to(found.map_or(self.chars.len(), |at| inside + at + mark.len()));
    }

    /// Where the quote is that ends what starts at `from`.
    fn closing(&self, from: usize, quote: char, backslashes: bool) -> Option<usize> {
        let mut at = from;
        loop {
            let c = *self.chars.get(at)?;
            if backslashes && c == '\\' {
                at += 2;
            } else if c == quote {
                if self.chars.get(at + 1) != Some(&quote) {
                    return Some(at);
                }
                at += 2;
            } else {
                at += 1;
            }
        }
    }

    /// A plain constant or name in place of what ends at `end`, and its token.
    fn replace(&mut self, quote_at: usize, end: usize, quote: char, token: Token) {
        let start = self.location();
        self.fill(quote_at, ' ');
        self.tokens.insert((self.line, self.column), (token, start));
        self.push(quote);
        self.fill(end, 'x');
        self.push(quote);
    }

    /// `E'…'`.
    fn escaped(&mut self) -> Result<(), SqlError> {
        let (start, from) = (self.at, self.at + 2);
        let Some(end) = self.closing(from, '\'', true) else {
            self.copy_to(self.chars.len());
            return Ok(());
        };
        let coded =
            self.chars[from..end].windows(2).any(|w| w[0] == '\\' && matches!(w[1], 'u' | 'U'));
        match if coded { self.unescaped(from, end)? } else { None } {
            Some(text) => self.replace(start + 1, end, '\'', Token::EscapedStringLiteral(text)),
            None => self.copy_to(end + 1),
        }
        Ok(())
    }

    /// What stands between two places of a constant with escapes; `None` if something in it is
    /// left to the tokenizer.
    fn unescaped(&self, from: usize, end: usize) -> Result<Option<String>, SqlError> {
        let mut text = String::new();
        let (mut at, mut high) = (from, None);
        let near = |at: usize, text: String| {
            let message = format!("invalid Unicode surrogate pair at or near \"{text}\"");
            error(sqlstate::SYNTAX_ERROR, message, at)
        };
        while at < end {
            let c = self.chars[at];
            let next = self.chars.get(at + 1).copied();
            let width = match next {
                Some('u') if c == '\\' => 4,
                Some('U') if c == '\\' => 8,
                _ => 0,
            };
            if width == 0 && high.is_some() {
                return Err(near(at, c.to_string()));
            }
            if width > 0 {
                let digits = self.chars[at + 2..end.min(at + 2 + width)].iter();
                let Some(code) = hexadecimal(digits.copied(), width) else {
                    return Err(error("22025", "invalid Unicode escape", at)
                        .hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX."));
                };
                let written: String = self.chars[at..at + 2 + width].iter().collect();
                match joined(&mut high, code) {
                    Ok(Some(c)) => text.push(c),
                    Ok(None) => {}
                    Err(Wrong::Pair) => return Err(near(at, written)),
                    Err(Wrong::Value) => {
                        let message =
                            format!("invalid Unicode escape value at or near \"{written}\"");
                        return Err(error(sqlstate::SYNTAX_ERROR, message, at));
                    }
                }
                at += 2 + width;
                continue;
            }
            match (c, next) {
                ('\\', Some('x' | '0'..='7')) => return Ok(None),
                ('\\', Some(escape)) => {
                    text.push(match escape {
                        'b' => '\x08',
                        'f' => '\x0c',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    });
                    at += 2;
                }
                ('\'', _) => {
                    text.push('\'');
                    at += 2;
                }
                (c, _) => {
                    text.push(c);
                    at += 1;
                }
            }
        }
        if high.is_some() {
            return Err(near(end, "'".to_owned()));
        }
        Ok(Some(text))
    }

    /// `U&'…'` and `U&"…"`, with UESCAPE behind it.
    fn unicode(&mut self) -> Result<(), SqlError> {
        let (start, from, quote) = (self.at, self.at + 3, self.chars[self.at + 2]);
        let Some(end) = self.closing(from, quote, false) else {
            self.copy_to(self.chars.len());
            return Ok(());
        };
        let (escape, clause) = self.escape_clause(end + 1)?;
        let text = self.decoded(from, end, quote, escape)?;
        let token = match quote {
            '"' => Token::Word(Word {
                value: text,
                quote_style: Some('"'),
                keyword: Keyword::NoKeyword,
            }),
            _ => Token::SingleQuotedString(text),
        };
        self.replace(start + 2, end, quote, token);
        self.fill(clause, ' ');
        Ok(())
    }

    /// `UESCAPE 'c'` behind a place: the character and where the clause ends.
    fn escape_clause(&self, behind: usize) -> Result<(char, usize), SqlError> {
        let skip = |mut at: usize| {
            while self.chars.get(at).is_some_and(|c| c.is_ascii_whitespace()) {
                at += 1;
            }
            at
        };
        let at = skip(behind);
        let word: String = self.chars[at..].iter().take_while(|c| is_word(**c)).collect();
        if !word.eq_ignore_ascii_case("uescape") {
            return Ok(('\\', behind));
        }
        let at = skip(at + word.len());
        let literal = match self.chars.get(at) {
            Some('\'') => self.closing(at + 1, '\'', false),
            _ => None,
        };
        let Some(end) = literal else {
            let rest = &self.chars[at..];
            let words = rest.iter().take_while(|c| is_word(**c)).count().max(1);
            let token: String = rest.iter().take(words).collect();
            let near = if token.is_empty() {
                "end of input".to_owned()
            } else {
                format!("or near \"{token}\"")
            };
            let message = format!("UESCAPE must be followed by a simple string literal at {near}");
            return Err(error(sqlstate::SYNTAX_ERROR, message, at));
        };
        match &self.chars[at + 1..end] {
            [c] if !(c.is_ascii_hexdigit() || c.is_ascii_whitespace() || "+'\"".contains(*c)) => {
                Ok((*c, end + 1))
            }
            _ => {
                let literal: String = self.chars[at..=end].iter().collect();
                let message = format!("invalid Unicode escape character at or near \"{literal}\"");
                Err(error(sqlstate::SYNTAX_ERROR, message, at))
            }
        }
    }

    fn decoded(
        &self,
        from: usize,
        end: usize,
        quote: char,
        escape: char,
    ) -> Result<String, SqlError> {
        let pair = |at| error(sqlstate::SYNTAX_ERROR, "invalid Unicode surrogate pair", at);
        let mut text = String::new();
        let (mut at, mut high) = (from, None);
        while at < end {
            let c = self.chars[at];
            let next = self.chars[at + 1..end].first().copied();
            if c != escape || next == Some(escape) {
                if high.is_some() {
                    return Err(pair(at));
                }
                text.push(c);
                at += if c == escape || c == quote { 2 } else { 1 };
                continue;
            }
            let (prefix, width) = if next == Some('+') { (2, 6) } else { (1, 4) };
            let first = end.min(at + prefix);
            let digits = self.chars[first..end.min(first + width)].iter();
            let Some(code) = hexadecimal(digits.copied(), width) else {
                return Err(error(sqlstate::SYNTAX_ERROR, "invalid Unicode escape", at)
                    .hint("Unicode escapes must be \\XXXX or \\+XXXXXX."));
            };
            match joined(&mut high, code) {
                Ok(Some(c)) => text.push(c),
                Ok(None) => {}
                Err(Wrong::Pair) => return Err(pair(at)),
                Err(Wrong::Value) => {
                    let message = "invalid Unicode escape value";
                    return Err(error(sqlstate::SYNTAX_ERROR, message, at));
                }
            }
            at += prefix + width;
        }
        if high.is_some() { Err(pair(end)) } else { Ok(text) }
    }
}

fn hexadecimal(digits: impl Iterator<Item = char>, width: usize) -> Option<u32> {
    let digits: String = digits.collect();
    let all = digits.len() == width && digits.chars().all(|c| c.is_ascii_hexdigit());
    u32::from_str_radix(&digits, 16).ok().filter(|_| all)
}

/// What is wrong with the number of a character.
enum Wrong {
    Pair,
    Value,
}

/// The character with a number; the first half of a pair waits for the second one.
fn joined(high: &mut Option<u32>, code: u32) -> Result<Option<char>, Wrong> {
    let code = match (high.take(), code) {
        (None, 0xd800..=0xdbff) => {
            *high = Some(code);
            return Ok(None);
        }
        (Some(first), 0xdc00..=0xdfff) => 0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff),
        (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(Wrong::Pair),
        (None, code) => code,
    };
    char::from_u32(code).filter(|c| *c != '\0').map(Some).ok_or(Wrong::Value)
}
