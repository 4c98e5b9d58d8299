//! LIKE, SIMILAR TO and regular expressions.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, StringViewBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::{ScalarUDF, Volatility};
use hashbrown::HashMap;
use regex::{Regex, RegexBuilder};

use super::{
    given_up,
    memory::Memory,
    scalar::{function, strict, strict_charged},
};
use crate::error::{SqlError, sqlstate};

/// Compiled expressions kept per function; patterns are nearly always constants.
const CACHE_MAX: usize = 64;

fn ends_with_escape() -> SqlError {
    SqlError::new(
        sqlstate::INVALID_ESCAPE_SEQUENCE,
        "LIKE pattern must not end with escape character",
    )
}

/// A LIKE pattern with another escape character (or none) as one with a backslash, as DataFusion
/// takes it.
pub fn like_with_backslash(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let next = chars.next().ok_or_else(ends_with_escape)?;
            // An escaped ordinary character is itself.
            if matches!(next, '%' | '_' | '\\') {
                out.push('\\');
            }
            out.push(next);
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

/// [`like_with_backslash`] over patterns that are no constants.
pub fn checked_like_pattern(escape: Option<char>) -> Arc<ScalarUDF> {
    let compute = strict(DataType::Utf8View, move |args| {
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for value in args[0].as_string_view() {
            match value {
                None => out.append_null(),
                Some(pattern) => out.append_value(like_with_backslash(pattern, escape)?),
            }
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    });
    let variant = format!("{escape:?}");
    function("like_escape", variant, DataType::Utf8View, Volatility::Immutable, compute)
}

/// A SIMILAR TO pattern as a regular expression.
pub fn similar_to_regex(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut in_bracket = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let next = chars.next().ok_or_else(ends_with_escape)?;
            if next == '"' {
                return Err(SqlError::not_supported("SIMILAR TO with an escaped quote"));
            }
            out.push_str(&regex::escape(&next.to_string()));
            continue;
        }
        match c {
            ']' if in_bracket => {
                in_bracket = false;
                out.push(c);
            }
            c if in_bracket => {
                if c == '\\' || c == '[' {
                    out.push('\\');
                }
                out.push(c);
            }
            '[' => {
                in_bracket = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            ')' | '|' | '*' | '+' | '?' | '{' | '}' => out.push(c),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// Compiles a regular expression of PostgreSQL's kind. What Rust's engine does not have (back
/// references, look-around) is refused.
pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, SqlError> {
    let translated = translate(pattern, "\\z")?;
    RegexBuilder::new(&translated)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| {
            let detail = error.to_string();
            let last = detail.lines().last().unwrap_or_default().to_owned();
            SqlError::new(
                sqlstate::INVALID_REGULAR_EXPRESSION,
                format!("invalid regular expression: {last}"),
            )
        })
}

/// [`compile`] with a memory: patterns are nearly always constants.
pub fn compiled(pattern: &str, ignore_case: bool) -> Result<Regex, SqlError> {
    static CACHES: LazyLock<[Cache; 2]> = LazyLock::new(|| {
        [false, true].map(|ignore_case| Cache { ignore_case, compiled: Mutex::default() })
    });
    CACHES[usize::from(ignore_case)].get(pattern)
}

/// The escapes that mean something else, or nothing, to Rust's engine.
/// `end`: what `$` is.
pub(super) fn translate(pattern: &str, end: &str) -> Result<String, SqlError> {
    let mut out = String::with_capacity(pattern.len());
    let unsupported = |what: &str| {
        Err(SqlError::not_supported(format!("regular expression {pattern:?} with {what}")))
    };
    if pattern.starts_with("***") || pattern.starts_with("(?") && !pattern.starts_with("(?:") {
        return unsupported("directors or embedded options");
    }
    let mut chars = pattern.chars().peekable();
    let mut in_bracket = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('m' | 'M') => out.push_str("\\b"),
                Some('y') => out.push_str("\\b"),
                Some('b') => out.push_str("\\x08"),
                Some('B') => out.push_str("\\\\"),
                Some('Y') => out.push_str("\\B"),
                Some('Z') => out.push_str("\\z"),
                Some(d @ '1'..='9') if !in_bracket => {
                    return unsupported(&format!("back reference \\{d}"));
                }
                Some(next) => {
                    out.push('\\');
                    out.push(next);
                }
                None => out.push('\\'),
            },
            '[' if in_bracket && chars.peek() != Some(&':') => out.push_str("\\["),
            '[' if in_bracket => {
                // A class such as [:alpha:] inside brackets.
                out.push('[');
                for next in chars.by_ref() {
                    out.push(next);
                    if next == ']' {
                        break;
                    }
                }
            }
            '[' => {
                in_bracket = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.push('^');
                    chars.next();
                }
                // A bracket that comes first stands for itself.
                if chars.peek() == Some(&']') {
                    out.push_str("\\]");
                    chars.next();
                }
            }
            ']' if in_bracket => {
                in_bracket = false;
                out.push(']');
            }
            '&' | '~' if in_bracket => {
                out.push('\\');
                out.push(c);
            }
            '$' if in_bracket => out.push('$'),
            '$' => out.push_str(end),
            '(' if !in_bracket && chars.peek() == Some(&'?') => {
                let mut ahead = chars.clone();
                ahead.next();
                if ahead.peek() != Some(&':') {
                    return unsupported("look-around");
                }
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Compiled expressions by pattern.
struct Cache {
    ignore_case: bool,
    compiled: Mutex<HashMap<String, Regex>>,
}

impl Cache {
    fn get(&self, pattern: &str) -> Result<Regex, SqlError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = compiled.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(pattern, self.ignore_case)?;
        if compiled.len() >= CACHE_MAX {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// `text ~ pattern`.
pub fn regex_match(ignore_case: bool) -> Arc<ScalarUDF> {
    let cache = Cache { ignore_case, compiled: Mutex::default() };
    let compute = strict(DataType::Boolean, move |args| {
        let (texts, patterns) = (args[0].as_string_view(), args[1].as_string_view());
        let mut last: Option<(&str, Regex)> = None;
        let mut out = Vec::with_capacity(texts.len());
        for (text, pattern) in texts.iter().zip(patterns.iter()) {
            given_up::check()?;
            let (Some(text), Some(pattern)) = (text, pattern) else {
                out.push(None);
                continue;
            };
            if last.as_ref().is_none_or(|(p, _)| *p != pattern) {
                last = Some((pattern, cache.get(pattern)?));
            }
            out.push(last.as_ref().map(|(_, regex)| regex.is_match(text)));
        }
        Ok(Arc::new(BooleanArray::from(out)) as ArrayRef)
    });
    let name = if ignore_case { "texticregexeq" } else { "textregexeq" };
    function(name, "", DataType::Boolean, Volatility::Immutable, compute)
}

/// `regexp_replace(text, pattern, replacement, flags)`.
pub fn regexp_replace() -> Arc<ScalarUDF> {
    let caches = [false, true].map(|ignore_case| Cache { ignore_case, compiled: Mutex::default() });
    let compute = strict_charged(DataType::Utf8View, move |args, memory| {
        let columns: Vec<_> = args.iter().map(|a| a.as_string_view()).collect();
        let mut charge = memory.charge();
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            if columns.iter().any(|c| c.is_null(row)) {
                out.append_null();
                continue;
            }
            let (mut global, mut ignore_case) = (false, false);
            for flag in columns[3].value(row).chars() {
                match flag {
                    'g' => global = true,
                    'i' => ignore_case = true,
                    'c' => ignore_case = false,
                    other => {
                        let what = format!("regular expression flag {other:?}");
                        return Err(SqlError::not_supported(what));
                    }
                }
            }
            let regex = caches[usize::from(ignore_case)].get(columns[1].value(row))?;
            let replacement = replacement(columns[2].value(row));
            let limit = if global { usize::MAX } else { 1 };
            let replaced =
                replace_matches(&regex, columns[0].value(row), limit, &replacement, memory)?;
            charge.add(replaced.len())?;
            out.append_value(replaced);
        }
        charge.attach(Arc::new(out.finish()))
    });
    function("regexp_replace", "", DataType::Utf8View, Volatility::Immutable, compute)
}

/// `text` with its first `limit` matches replaced, no longer than memory allows.
fn replace_matches<'t>(
    regex: &Regex,
    text: &'t str,
    limit: usize,
    replacement: &str,
    memory: Memory<'_>,
) -> Result<Cow<'t, str>, SqlError> {
    /// Bytes made between two looks at what is allowed.
    const STEP: usize = 1 << 20;
    let mut replaced = String::new();
    let (mut from, mut checked) = (0, STEP);
    // Without references to what matched, the groups need not be found.
    if !replacement.contains('$') {
        for found in regex.find_iter(text).take(limit) {
            replaced.push_str(&text[from..found.start()]);
            replaced.push_str(replacement);
            from = found.end();
            given_up::check()?;
            if replaced.len() > checked {
                memory.check_value(replaced.len())?;
                checked = replaced.len() + STEP;
            }
        }
    } else {
        for found in regex.captures_iter(text).take(limit) {
            let Some(whole) = found.get(0) else { continue };
            replaced.push_str(&text[from..whole.start()]);
            found.expand(replacement, &mut replaced);
            from = whole.end();
            given_up::check()?;
            if replaced.len() > checked {
                memory.check_value(replaced.len())?;
                checked = replaced.len() + STEP;
            }
        }
    }
    if from == 0 && replaced.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    replaced.push_str(&text[from..]);
    Ok(Cow::Owned(replaced))
}

/// `\1` and `\&` of PostgreSQL as Rust's engine writes them.
fn replacement(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(d @ '0'..='9') => out.push_str(&format!("${{{d}}}")),
                Some('&') => out.push_str("${0}"),
                Some('\\') => out.push('\\'),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}
