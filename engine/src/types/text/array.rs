//! The text of arrays: `{1,2,NULL,"a b"}`.

use crate::error::{SqlError, sqlstate};

/// As far as an element has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    QuotedEnd,
    Delimited,
}

/// The elements' texts; `None` for NULL.
///
/// # Errors
/// 22P02 with PostgreSQL's details; 0A000 for bounds and more dimensions than one.
pub fn array_elements(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = |detail: String| {
        let message = format!("malformed array literal: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message).detail(detail)
    };
    let unexpected = |c: char| malformed(format!("Unexpected \"{c}\" character."));
    let end_of_input = || malformed("Unexpected end of input.".to_owned());
    let trimmed = text.trim_start_matches(is_space);
    if trimmed.starts_with('[') {
        return Err(SqlError::not_supported("an array with bounds"));
    }
    let Some(inside) = trimmed.strip_prefix('{') else {
        let detail = "Array value must start with \"{\" or dimension information.";
        return Err(malformed(detail.to_owned()));
    };
    let mut rest = inside.chars();
    let mut elements = Vec::new();
    let mut element = Element::default();
    let mut state = State::Start;
    loop {
        let symbol = rest.next().ok_or_else(end_of_input)?;
        match (symbol, state) {
            ('\\', State::QuotedEnd) => return Err(unexpected('\\')),
            ('\\', _) => {
                element.push_escaped(rest.next().ok_or_else(end_of_input)?);
                if state != State::Quoted {
                    state = State::Plain;
                }
            }
            ('"', State::Quoted) => state = State::QuotedEnd,
            (other, State::Quoted) => element.push_escaped(other),
            ('"', State::Start | State::Delimited | State::QuotedEnd) => {
                element.quoted = true;
                state = State::Quoted;
            }
            ('"', State::Plain) => return Err(malformed("Unexpected array element.".to_owned())),
            ('{', State::Start) => {
                return Err(SqlError::not_supported("arrays of more dimensions"));
            }
            ('{', _) => return Err(unexpected('{')),
            ('}', State::Start) => break,
            ('}' | ',', State::Start | State::Delimited) => return Err(unexpected(symbol)),
            ('}', _) => {
                elements.push(element.finish());
                break;
            }
            (',', _) => {
                elements.push(std::mem::take(&mut element).finish());
                state = State::Delimited;
            }
            (space, _) if is_space(space) => element.push_space(space),
            (_, State::QuotedEnd) => {
                return Err(malformed("Unexpected array element.".to_owned()));
            }
            (other, _) => {
                element.push_plain(other);
                state = State::Plain;
            }
        }
    }
    if rest.any(|c| !is_space(c)) {
        return Err(malformed("Junk after closing right brace.".to_owned()));
    }
    Ok(elements)
}

/// Blanks around elements, which do not count.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[derive(Default)]
struct Element {
    text: String,
    /// Bytes of `text` without blanks at the end that do not count.
    significant: usize,
    /// Written with quotes or escapes: no NULL.
    quoted: bool,
}

impl Element {
    fn push_plain(&mut self, c: char) {
        self.text.push(c);
        self.significant = self.text.len();
    }

    fn push_escaped(&mut self, c: char) {
        self.push_plain(c);
        self.quoted = true;
    }

    fn push_space(&mut self, c: char) {
        if !self.text.is_empty() {
            self.text.push(c);
        }
    }

    fn finish(mut self) -> Option<String> {
        self.text.truncate(self.significant);
        if !self.quoted && self.text.eq_ignore_ascii_case("null") { None } else { Some(self.text) }
    }
}
