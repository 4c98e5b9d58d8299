//! `regexp_match` and kin.

use regex::{Captures, Regex};

use super::{
    Builtin, Out,
    Type::{Bool, Int4, Text, Texts},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{given_up, pattern},
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("regexp_match", &[Text, Text], Texts, |a, _| regexp_match(a, "")),
    builtin("regexp_match", &[Text, Text, Text], Texts, |a, _| regexp_match(a, a[2].text())),
    builtin("regexp_like", &[Text, Text], Bool, |a, _| like(a, "")),
    builtin("regexp_like", &[Text, Text, Text], Bool, |a, _| like(a, a[2].text())),
    builtin("regexp_count", &[Text, Text], Int4, |a, _| count(a, 1, "")),
    builtin("regexp_count", &[Text, Text, Int4], Int4, |a, _| count(a, a[2].int(), "")),
    builtin("regexp_count", &[Text, Text, Int4, Text], Int4, |a, _| {
        count(a, a[2].int(), a[3].text())
    }),
    builtin("regexp_substr", &[Text, Text], Text, |a, _| substr(a)),
    builtin("regexp_substr", &[Text, Text, Int4], Text, |a, _| substr(a)),
    builtin("regexp_substr", &[Text, Text, Int4, Int4], Text, |a, _| substr(a)),
    builtin("regexp_substr", &[Text, Text, Int4, Int4, Text], Text, |a, _| substr(a)),
    builtin("regexp_substr", &[Text, Text, Int4, Int4, Text, Int4], Text, |a, _| substr(a)),
    builtin("regexp_instr", &[Text, Text], Int4, |a, _| position(a)),
    builtin("regexp_instr", &[Text, Text, Int4], Int4, |a, _| position(a)),
    builtin("regexp_instr", &[Text, Text, Int4, Int4], Int4, |a, _| position(a)),
    builtin("regexp_instr", &[Text, Text, Int4, Int4, Int4], Int4, |a, _| position(a)),
    builtin("regexp_instr", &[Text, Text, Int4, Int4, Int4, Text], Int4, |a, _| position(a)),
    builtin("regexp_instr", &[Text, Text, Int4, Int4, Int4, Text, Int4], Int4, |a, _| position(a)),
    builtin("regexp_split_to_array", &[Text, Text], Texts, |a, _| split(a, "")),
    builtin("regexp_split_to_array", &[Text, Text, Text], Texts, |a, _| split(a, a[2].text())),
];

/// The expression of a call; `flags` are PostgreSQL's letters.
fn expression(function: &str, pattern: &str, flags: &str) -> Result<Regex, SqlError> {
    let mut ignore_case = false;
    for flag in flags.chars() {
        match flag {
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            // What a dot matches by default anyway.
            's' | 't' => {}
            'g' => {
                let message = format!("{function}() does not support the \"global\" option");
                let error = SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
                return Err(if function == "regexp_match" {
                    error.hint("Use the regexp_matches function instead.")
                } else {
                    error
                });
            }
            'b' | 'e' | 'm' | 'n' | 'p' | 'q' | 'w' | 'x' => {
                return Err(SqlError::not_supported(format!("regular expression flag {flag:?}")));
            }
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    pattern::compiled(pattern, ignore_case)
}

/// Argument `n`, which counts from `least`.
fn counted(args: &[Value<'_>], n: usize, name: &str, least: i64) -> Result<usize, SqlError> {
    let value = args.get(n).map_or(least.max(1), Value::int);
    checked(value, name, least)
}

fn checked(value: i64, name: &str, least: i64) -> Result<usize, SqlError> {
    let counted = usize::try_from(value).ok().filter(|_| value >= least);
    counted.ok_or_else(|| {
        let message = format!("invalid value for parameter \"{name}\": {value}");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// The byte at which the character with this number (from 1) begins; `None` behind the end.
fn byte_of(text: &str, character: usize) -> Option<usize> {
    let ends = std::iter::once(text.len());
    text.char_indices().map(|(byte, _)| byte).chain(ends).nth(character - 1)
}

/// All matches from a byte on. An empty one may follow a longer one directly, as in PostgreSQL.
fn matches<'t>(regex: &Regex, text: &'t str, start: usize) -> Result<Vec<Captures<'t>>, SqlError> {
    let mut found = Vec::new();
    let mut from = start;
    while let Some(captures) = regex.captures_at(text, from) {
        let Some(whole) = captures.get(0) else { break };
        let next = text[whole.end()..].chars().next().map_or(1, char::len_utf8);
        from = if whole.is_empty() { whole.end() + next } else { whole.end() };
        found.push(captures);
        if from > text.len() {
            break;
        }
        given_up::check()?;
    }
    Ok(found)
}

fn regexp_match(args: &[Value<'_>], flags: &str) -> Result<Out, SqlError> {
    let regex = expression("regexp_match", args[1].text(), flags)?;
    let Some(found) = regex.captures(args[0].text()) else { return Ok(Out::Null) };
    let first = usize::from(found.len() > 1);
    let text = |n: usize| found.get(n).map(|part| part.as_str().to_owned());
    Ok(Out::Texts((first..found.len()).map(text).collect()))
}

fn like(args: &[Value<'_>], flags: &str) -> Result<Out, SqlError> {
    let regex = expression("regexp_like", args[1].text(), flags)?;
    Ok(Out::Bool(regex.is_match(args[0].text())))
}

fn count(args: &[Value<'_>], start: i64, flags: &str) -> Result<Out, SqlError> {
    let start = checked(start, "start", 1)?;
    let regex = expression("regexp_count", args[1].text(), flags)?;
    let text = args[0].text();
    let found = match byte_of(text, start) {
        Some(byte) => matches(&regex, text, byte)?.len(),
        None => 0,
    };
    Ok(Out::Int(found as i64))
}

/// The bytes of part `part` (0: all) of match number `number`.
fn occurrence(
    regex: &Regex,
    text: &str,
    start: usize,
    number: usize,
    part: usize,
) -> Result<Option<(usize, usize)>, SqlError> {
    let Some(byte) = byte_of(text, start) else { return Ok(None) };
    let found = matches(regex, text, byte)?.into_iter().nth(number - 1);
    let part = found.as_ref().and_then(|found| found.get(part));
    Ok(part.map(|part| (part.start(), part.end())))
}

fn substr(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let start = counted(args, 2, "start", 1)?;
    let number = counted(args, 3, "n", 1)?;
    let flags = args.get(4).map_or("", Value::text);
    let part = checked(args.get(5).map_or(0, Value::int), "subexpr", 0)?;
    let regex = expression("regexp_substr", args[1].text(), flags)?;
    let text = args[0].text();
    let found = occurrence(&regex, text, start, number, part)?;
    Ok(found.map_or(Out::Null, |(from, to)| Out::Text(text[from..to].to_owned())))
}

fn position(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let start = counted(args, 2, "start", 1)?;
    let number = counted(args, 3, "n", 1)?;
    let end = args.get(4).map_or(0, Value::int);
    if !(0..=1).contains(&end) {
        let message = format!("invalid value for parameter \"endoption\": {end}");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let flags = args.get(5).map_or("", Value::text);
    let part = checked(args.get(6).map_or(0, Value::int), "subexpr", 0)?;
    let regex = expression("regexp_instr", args[1].text(), flags)?;
    let text = args[0].text();
    let Some((from, to)) = occurrence(&regex, text, start, number, part)? else {
        return Ok(Out::Int(0));
    };
    let byte = if end == 1 { to } else { from };
    Ok(Out::Int(text[..byte].chars().count() as i64 + 1))
}

fn split(args: &[Value<'_>], flags: &str) -> Result<Out, SqlError> {
    let regex = expression("regexp_split_to_array", args[1].text(), flags)?;
    let text = args[0].text();
    let (mut parts, mut from, mut last_end) = (Vec::new(), 0, 0);
    for found in matches(&regex, text, 0)? {
        let Some(whole) = found.get(0) else { continue };
        // Empty matches at either end or right behind another match do not split.
        if whole.start() < text.len() && whole.end() > last_end {
            parts.push(Some(text[from..whole.start()].to_owned()));
            from = whole.end();
        }
        last_end = whole.end();
    }
    parts.push(Some(text[from..].to_owned()));
    Ok(Out::Texts(parts))
}
