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
    let (trimmed, bounds) = bounds(trimmed, &malformed)?;
    if trimmed.starts_with('{') {
        let lengths = lengths(trimmed, &malformed)?;
        if let Some(bounds) = &bounds {
            let given: Vec<i64> = bounds.iter().map(|(lower, upper)| upper - lower + 1).collect();
            if given != lengths {
                let detail = "Specified array dimensions do not match array contents.";
                return Err(malformed(detail.to_owned()));
            }
        }
        if lengths.len() > 1 {
            return Err(SqlError::not_supported("arrays of more dimensions"));
        }
        if bounds.is_some_and(|bounds| bounds.iter().any(|(lower, _)| *lower != 1)) {
            return Err(SqlError::not_supported("an array with bounds"));
        }
    } else if bounds.is_some() {
        return Err(malformed("Array contents must start with \"{\".".to_owned()));
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

/// Lower and upper bounds of each dimension.
type Bounds = Vec<(i64, i64)>;

/// `[l:u]…=` in front of an array: what follows it, and the bounds.
fn bounds<'t>(
    text: &'t str,
    malformed: &impl Fn(String) -> SqlError,
) -> Result<(&'t str, Option<Bounds>), SqlError> {
    let number = |text: &'t str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-'));
        let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
        (digits.parse::<i32>().map(i64::from).ok(), digits.is_empty(), rest)
    };
    let outside = || {
        SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "array bound is out of integer range")
    };
    let (mut rest, mut bounds) = (text, Bounds::new());
    while let Some(inside) = rest.trim_start_matches(is_space).strip_prefix('[') {
        if bounds.len() >= DIMENSIONS_MAX {
            return Err(too_many_dimensions(bounds.len() + 1));
        }
        let (first, none, after) = number(inside);
        if none {
            let detail = "\"[\" must introduce explicitly-specified array dimensions.";
            return Err(malformed(detail.to_owned()));
        }
        let (lower, upper, after) = match after.strip_prefix(':') {
            None => (Some(1), first, after),
            Some(second) => {
                let (second, none, after) = number(second);
                if none {
                    return Err(malformed("Missing array dimension value.".to_owned()));
                }
                (first, second, after)
            }
        };
        let Some(after) = after.strip_prefix(']') else {
            return Err(malformed("Missing \"]\" after array dimensions.".to_owned()));
        };
        let (lower, upper) = (lower.ok_or_else(outside)?, upper.ok_or_else(outside)?);
        if upper < lower {
            let message = "upper bound cannot be less than lower bound";
            return Err(SqlError::new(sqlstate::ARRAY_ELEMENT_ERROR, message));
        }
        bounds.push((lower, upper));
        rest = after;
    }
    if bounds.is_empty() {
        return Ok((text, None));
    }
    let Some(rest) = rest.trim_start_matches(is_space).strip_prefix('=') else {
        return Err(malformed("Missing \"=\" after array dimensions.".to_owned()));
    };
    Ok((rest.trim_start_matches(is_space), Some(bounds)))
}

/// Dimensions of an array in PostgreSQL.
const DIMENSIONS_MAX: usize = 6;

fn too_many_dimensions(count: usize) -> SqlError {
    let message = format!(
        "number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})"
    );
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
}

/// As far as the elements and braces of an array have come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outside,
    LevelStarted,
    Element,
    Quoted,
    QuotedEnd,
    Delimited,
    LevelCompleted,
    LevelDelimited,
}

/// The length of each dimension of what stands in braces; none for an empty array.
fn lengths(text: &str, malformed: &impl Fn(String) -> SqlError) -> Result<Vec<i64>, SqlError> {
    use Nesting as N;
    let unexpected = |c: char| malformed(format!("Unexpected \"{c}\" character."));
    let end_of_input = || malformed("Unexpected end of input.".to_owned());
    let misplaced = || malformed("Unexpected array element.".to_owned());
    // Of each level: elements of the array that is open, and of the last one that was closed.
    let mut counts: Vec<i64> = Vec::new();
    let mut last: Vec<Option<i64>> = Vec::new();
    let (mut state, mut empty) = (N::Outside, true);
    let mut chars = text.chars();
    loop {
        let c = chars.next().ok_or_else(end_of_input)?;
        match (c, state) {
            ('\\', N::Quoted) => {
                chars.next().ok_or_else(end_of_input)?;
            }
            ('"', N::Quoted) => state = N::QuotedEnd,
            (_, N::Quoted) => {}
            ('\\', N::LevelStarted | N::Element | N::Delimited) => {
                chars.next().ok_or_else(end_of_input)?;
                (state, empty) = (N::Element, false);
            }
            ('\\', _) => return Err(unexpected('\\')),
            ('"', N::LevelStarted | N::Delimited | N::QuotedEnd) => {
                (state, empty) = (N::Quoted, false);
            }
            ('"', _) => return Err(misplaced()),
            ('{', N::Outside | N::LevelStarted | N::LevelDelimited) => {
                if counts.len() >= DIMENSIONS_MAX {
                    return Err(too_many_dimensions(counts.len() + 1));
                }
                state = N::LevelStarted;
                counts.push(0);
                if last.len() < counts.len() {
                    last.push(None);
                }
            }
            ('{', _) => return Err(unexpected('{')),
            ('}', N::LevelStarted) if counts.len() > 1 => return Err(unexpected('}')),
            ('}', N::Delimited | N::LevelDelimited | N::Outside) => return Err(unexpected('}')),
            ('}', before) => {
                let extra = i64::from(before != N::LevelStarted);
                let count = counts.pop().unwrap_or(0) + extra;
                let level = counts.len();
                if last[level].is_some_and(|last| last != count) {
                    let detail =
                        "Multidimensional arrays must have sub-arrays with matching dimensions.";
                    return Err(malformed(detail.to_owned()));
                }
                last[level] = Some(count);
                state = N::LevelCompleted;
                if level == 0 {
                    break;
                }
            }
            (',', N::Element | N::QuotedEnd) => {
                state = N::Delimited;
                *counts.last_mut().ok_or_else(|| unexpected(','))? += 1;
            }
            (',', N::LevelCompleted) => {
                state = N::LevelDelimited;
                *counts.last_mut().ok_or_else(|| unexpected(','))? += 1;
            }
            (',', _) => return Err(unexpected(',')),
            (c, _) if is_space(c) => {}
            (_, N::LevelStarted | N::Element | N::Delimited) => {
                (state, empty) = (N::Element, false);
            }
            _ => return Err(misplaced()),
        }
    }
    if chars.any(|c| !is_space(c)) {
        return Err(malformed("Junk after closing right brace.".to_owned()));
    }
    Ok(if empty { Vec::new() } else { last.into_iter().flatten().collect() })
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
