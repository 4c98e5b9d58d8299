//! `regexp_match` and kin, and what is made of SIMILAR TO.

use std::sync::Arc;

use super::{
    Builtin, Out, Session,
    Type::{Bool, Int4, Text, Texts},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        pattern,
        regular_expression::{self, Expression, Groups, Options},
    },
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
    builtin("regexp_split_to_array", &[Text, Text], Texts, |a, _| {
        split("regexp_split_to_array", a)
    }),
    builtin("regexp_split_to_array", &[Text, Text, Text], Texts, |a, _| {
        split("regexp_split_to_array", a)
    }),
    // As an array, of which the planner makes rows.
    builtin("regexp_split_to_table", &[Text, Text], Texts, |a, _| {
        split("regexp_split_to_table", a)
    }),
    builtin("regexp_split_to_table", &[Text, Text, Text], Texts, |a, _| {
        split("regexp_split_to_table", a)
    }),
    builtin("regexp_replace", &[Text, Text, Text], Text, |a, s| {
        replaced(a, 1, Some(1), Options::default(), s)
    }),
    builtin("regexp_replace", &[Text, Text, Text, Text], Text, replace_with_flags),
    builtin("regexp_replace", &[Text, Text, Text, Int4], Text, |a, s| {
        replaced(a, start_of(a, 3)?, Some(1), Options::default(), s)
    }),
    builtin("regexp_replace", &[Text, Text, Text, Int4, Int4], Text, |a, s| replace_nth(a, "", s)),
    builtin("regexp_replace", &[Text, Text, Text, Int4, Int4, Text], Text, |a, s| {
        replace_nth(a, a[5].text(), s)
    }),
    builtin("substring", &[Text, Text], Text, |a, _| first_group(a[0].text(), a[1].text())),
    builtin("substring", &[Text, Text, Text], Text, |a, _| {
        let escape = pattern::escape_character(a[2].text())?;
        let regex = pattern::similar_to_regex(a[1].text(), escape)?;
        first_group(a[0].text(), &regex)
    }),
    builtin("similar_to_escape", &[Text], Text, |a, _| {
        pattern::similar_to_regex(a[0].text(), Some('\\')).map(Out::Text)
    }),
    builtin("similar_to_escape", &[Text, Text], Text, |a, _| {
        let escape = pattern::escape_character(a[1].text())?;
        pattern::similar_to_regex(a[0].text(), escape).map(Out::Text)
    }),
];

/// The expression of a call with letters; `g` is refused.
fn expression(function: &str, pattern: &str, flags: &str) -> Result<Arc<Expression>, SqlError> {
    let (options, global) = Options::from_letters(flags)?;
    if global {
        let message = format!("{function}() does not support the \"global\" option");
        let error = SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
        return Err(if function == "regexp_match" {
            error.hint("Use the regexp_matches function instead.")
        } else {
            error
        });
    }
    regular_expression::compiled(pattern, options)
}

/// Argument `n`, which counts from `least`.
fn counted(args: &[Value<'_>], n: usize, name: &str, least: i64) -> Result<usize, SqlError> {
    let value = args.get(n).map_or(least.max(1), Value::int);
    checked(value, name, least)
}

fn start_of(args: &[Value<'_>], n: usize) -> Result<usize, SqlError> {
    counted(args, n, "start", 1)
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

fn whole(groups: &Groups) -> (usize, usize) {
    groups[0].unwrap_or_default()
}

fn regexp_match(args: &[Value<'_>], flags: &str) -> Result<Out, SqlError> {
    let regex = expression("regexp_match", args[1].text(), flags)?;
    let text = args[0].text();
    let Some(found) = regex.find(text, 0)? else { return Ok(Out::Null) };
    let part = |group: &Option<(usize, usize)>| group.map(|(from, to)| text[from..to].to_owned());
    let first = usize::from(found.len() > 1);
    Ok(Out::Texts(found[first..].iter().map(part).collect()))
}

/// The first group of a match, or all of it if there are none.
fn first_group(text: &str, pattern: &str) -> Result<Out, SqlError> {
    let regex = regular_expression::compiled(pattern, Options::default())?;
    let Some(found) = regex.find(text, 0)? else { return Ok(Out::Null) };
    // A group may have matched nothing.
    let part = found[usize::from(regex.groups() > 0)];
    Ok(part.map_or(Out::Null, |(from, to)| Out::Text(text[from..to].to_owned())))
}

fn like(args: &[Value<'_>], flags: &str) -> Result<Out, SqlError> {
    let regex = expression("regexp_like", args[1].text(), flags)?;
    regex.is_match(args[0].text()).map(Out::Bool)
}

fn count(args: &[Value<'_>], start: i64, flags: &str) -> Result<Out, SqlError> {
    let start = checked(start, "start", 1)?;
    let regex = expression("regexp_count", args[1].text(), flags)?;
    let text = args[0].text();
    let found = match byte_of(text, start) {
        Some(byte) => regex.find_all(text, byte, usize::MAX)?.len(),
        None => 0,
    };
    Ok(Out::Int(found as i64))
}

/// The bytes of part `part` (0: all) of match number `number`.
fn occurrence(
    regex: &Expression,
    text: &str,
    start: usize,
    number: usize,
    part: usize,
) -> Result<Option<(usize, usize)>, SqlError> {
    let Some(byte) = byte_of(text, start) else { return Ok(None) };
    let found = regex.find_all(text, byte, number)?.into_iter().nth(number - 1);
    Ok(found.and_then(|found| found.get(part).copied().flatten()))
}

fn substr(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let start = start_of(args, 2)?;
    let number = counted(args, 3, "n", 1)?;
    let flags = args.get(4).map_or("", Value::text);
    let part = checked(args.get(5).map_or(0, Value::int), "subexpr", 0)?;
    let regex = expression("regexp_substr", args[1].text(), flags)?;
    let text = args[0].text();
    let found = occurrence(&regex, text, start, number, part)?;
    Ok(found.map_or(Out::Null, |(from, to)| Out::Text(text[from..to].to_owned())))
}

fn position(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let start = start_of(args, 2)?;
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

fn split(function: &str, args: &[Value<'_>]) -> Result<Out, SqlError> {
    let flags = args.get(2).map_or("", Value::text);
    let regex = expression(function, args[1].text(), flags)?;
    let text = args[0].text();
    let (mut parts, mut from, mut last_end) = (Vec::new(), 0, 0);
    for found in regex.find_all(text, 0, usize::MAX)? {
        let (start, end) = whole(&found);
        // Empty matches at either end or right behind another match do not split.
        if start < text.len() && end > last_end {
            parts.push(Some(text[from..start].to_owned()));
            from = end;
        }
        last_end = end;
    }
    parts.push(Some(text[from..].to_owned()));
    Ok(Out::Texts(parts))
}

fn replace_with_flags(args: &[Value<'_>], session: &Session<'_>) -> Result<Out, SqlError> {
    let flags = args[3].text();
    let (options, global) = Options::from_letters(flags).map_err(|error| {
        // A start that is no integer yet.
        match flags.starts_with(|c: char| c.is_ascii_digit()) {
            true => error.hint(
                "If you meant to use regexp_replace() with a start parameter, cast the fourth \
                 argument to integer explicitly.",
            ),
            false => error,
        }
    })?;
    replaced(args, 1, (!global).then_some(1), options, session)
}

/// With a start and the number of the match; 0 means every one.
fn replace_nth(args: &[Value<'_>], flags: &str, session: &Session<'_>) -> Result<Out, SqlError> {
    let start = start_of(args, 3)?;
    let number = counted(args, 4, "n", 0)?;
    let (options, _) = Options::from_letters(flags)?;
    replaced(args, start, (number > 0).then_some(number), options, session)
}

/// The text with match number `number`, or each, replaced.
fn replaced(
    args: &[Value<'_>],
    start: usize,
    number: Option<usize>,
    options: Options,
    session: &Session<'_>,
) -> Result<Out, SqlError> {
    /// Bytes made between two looks at what is allowed.
    const STEP: usize = 1 << 20;
    let regex = regular_expression::compiled(args[1].text(), options)?;
    let (text, pieces) = (args[0].text(), replacement(args[2].text()));
    let Some(byte) = byte_of(text, start) else { return Ok(Out::Text(text.to_owned())) };
    let mut out = String::with_capacity(text.len());
    let (mut from, mut checked, mut count) = (0, STEP, 0);
    regex.each(text, byte, number.unwrap_or(usize::MAX), |groups| {
        count += 1;
        if number.is_some_and(|number| count < number) {
            return Ok(());
        }
        let (start, end) = whole(&groups);
        out.push_str(&text[from..start]);
        for piece in &pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(n) => {
                    if let Some(Some((from, to))) = groups.get(*n) {
                        out.push_str(&text[*from..*to]);
                    }
                }
            }
        }
        from = end;
        if out.len() > checked {
            session.memory.check_value(out.len())?;
            checked = out.len() + STEP;
        }
        Ok(())
    })?;
    out.push_str(&text[from..]);
    Ok(Out::Text(out))
}

/// A part of what replaces a match.
enum Piece<'r> {
    Text(&'r str),
    Group(usize),
}

/// `\1`, `\&` and `\\`; another backslash stands for itself.
fn replacement(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let group = match rest.as_bytes().get(at + 1) {
            Some(b'&') => Some(Piece::Group(0)),
            Some(digit @ b'1'..=b'9') => Some(Piece::Group(usize::from(digit - b'0'))),
            _ => None,
        };
        // The backslash of `\\` and of what means nothing is copied.
        let copied = if group.is_some() { at } else { at + 1 };
        pieces.push(Piece::Text(&rest[..copied]));
        let doubled = rest.as_bytes().get(at + 1) == Some(&b'\\');
        let skipped = if group.is_some() || doubled { 2 } else { 1 };
        pieces.extend(group);
        rest = &rest[at + skipped..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}
