//! LIKE, SIMILAR TO and regular expressions.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringViewBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{
    given_up,
    regular_expression::{self, Expression, Options},
    scalar::{function, over_arrays_charged, strict},
};
use crate::{
    error::{SqlError, sqlstate},
    types::PgType,
};

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

/// A SIMILAR TO pattern as a regular expression. Two quotes behind the escape character stand
/// around the part that `substring` gives.
///
/// # Errors
/// 2200C for more of them.
pub fn similar_to_regex(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let (mut in_bracket, mut quotes) = (false, 0);
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                None => break,
                Some('"') if !in_bracket => {
                    // The first part is as short as it can be, the second one as long.
                    out.push_str(match quotes {
                        0 => "){1,1}?(",
                        1 => "){1,1}(?:",
                        _ => return Err(too_many_quotes()),
                    });
                    quotes += 1;
                }
                Some(next) => out.extend(['\\', next]),
            }
            continue;
        }
        match c {
            c if in_bracket => {
                if c == '\\' {
                    out.push('\\');
                }
                in_bracket = c != ']';
                out.push(c);
            }
            '[' => {
                in_bracket = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn too_many_quotes() -> SqlError {
    let message =
        "SQL regular expression may not contain more than two escape-double-quote separators";
    SqlError::new("2200C", message)
}

/// The character of an ESCAPE clause; none for an empty one.
///
/// # Errors
/// 22025 for more than one.
pub fn escape_character(text: &str) -> Result<Option<char>, SqlError> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (first, None) => Ok(first),
        _ => Err(SqlError::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .hint("Escape string must be empty or one character.")),
    }
}

/// `text ~ pattern`.
pub fn regex_match(ignore_case: bool) -> Arc<ScalarUDF> {
    let options = Options { ignore_case, ..Options::default() };
    let compute = strict(DataType::Boolean, move |args| {
        let (texts, patterns) = (args[0].as_string_view(), args[1].as_string_view());
        let mut last: Option<(&str, Arc<Expression>)> = None;
        let mut out = Vec::with_capacity(texts.len());
        for (text, pattern) in texts.iter().zip(patterns.iter()) {
            given_up::check()?;
            let (Some(text), Some(pattern)) = (text, pattern) else {
                out.push(None);
                continue;
            };
            if last.as_ref().is_none_or(|(p, _)| *p != pattern) {
                last = Some((pattern, regular_expression::compiled(pattern, options)?));
            }
            let found = last.as_ref().map(|(_, expression)| expression.is_match(text));
            out.push(found.transpose()?);
        }
        Ok(Arc::new(BooleanArray::from(out)) as ArrayRef)
    });
    let name = if ignore_case { "texticregexeq" } else { "textregexeq" };
    function(name, "", DataType::Boolean, Volatility::Immutable, compute)
}

/// `regexp_matches(text, pattern, flags)`: the groups of each match, as lists in a list.
pub fn regexp_matches() -> Arc<ScalarUDF> {
    let of = PgType::Array(Arc::new(PgType::Array(Arc::new(PgType::Text))));
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let columns: Vec<_> = args.iter().map(|a| a.as_string_view()).collect();
        let mut builder = ListBuilder::new(ListBuilder::new(StringViewBuilder::new()));
        for row in 0..args[0].len() {
            given_up::check()?;
            if columns.iter().any(|column| column.is_null(row)) {
                builder.append_null();
                continue;
            }
            let (text, pattern) = (columns[0].value(row), columns[1].value(row));
            let (options, global) = Options::from_letters(columns[2].value(row))?;
            let expression = regular_expression::compiled(pattern, options)?;
            let limit = if global { usize::MAX } else { 1 };
            for found in expression.find_all(text, 0, limit)? {
                charge.add(found.len() * size_of::<u128>())?;
                // The whole match, if there are no groups.
                for group in &found[usize::from(found.len() > 1)..] {
                    let part = group.map(|(from, to)| &text[from..to]);
                    charge.add(part.map_or(0, str::len))?;
                    builder.values().values().append_option(part);
                }
                builder.values().append(true);
            }
            builder.append(true);
        }
        charge.attach(Arc::new(builder.finish()) as ArrayRef)
    });
    function("regexp_matches", "", of.arrow_type(), Volatility::Immutable, compute)
}
