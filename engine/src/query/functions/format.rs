//! `format(pattern, …)`.

use std::{iter::Peekable, str::Chars, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    array::shape::texts_of,
    cast, given_up,
    memory::Memory,
    scalar::{over_arrays_charged, sees_nulls},
};
use crate::{
    error::{SqlError, sqlstate},
    query::quoting::{quote_identifier, quote_literal},
    types::{PgType, text::FormatSettings},
};

/// The function over a pattern and its arguments, all as text.
#[must_use]
pub fn format() -> Arc<ScalarUDF> {
    let compute = over_arrays_charged(|args, memory| {
        let mut charge = memory.charge();
        let columns: Vec<&StringViewArray> = args.iter().map(|a| a.as_string_view()).collect();
        let mut out = StringViewBuilder::with_capacity(args[0].len());
        for row in 0..args[0].len() {
            given_up::check()?;
            let value = |n: usize| columns[n].is_valid(row).then(|| columns[n].value(row));
            match value(0) {
                None => out.append_null(),
                Some(pattern) => {
                    let values: Vec<Option<&str>> = (1..columns.len()).map(value).collect();
                    let text = filled(pattern, &values, memory)?;
                    charge.add(text.len())?;
                    out.append_value(text);
                }
            }
        }
        charge.attach(Arc::new(out.finish()) as ArrayRef)
    });
    sees_nulls("format", "", DataType::Utf8View, true, compute)
}

/// The function over a pattern and an array of arguments of a type. `None`: they have no text here.
#[must_use]
pub fn format_array(of: &PgType, settings: &FormatSettings) -> Option<Arc<ScalarUDF>> {
    let print = match cast::is_text(of) {
        true => None,
        false => Some(cast::cast(of, &PgType::Text, false, settings)?),
    };
    let boolean = *of == PgType::Bool;
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let (patterns, list) = (args[0].as_string_view(), args[1].as_list::<i32>());
        let texts = texts_of(print.as_ref(), list.values(), memory)?;
        let texts = texts.as_string_view();
        let mut out = StringViewBuilder::with_capacity(list.len());
        for row in 0..list.len() {
            given_up::check()?;
            if patterns.is_null(row) {
                out.append_null();
                continue;
            }
            let offsets = list.value_offsets();
            let items = match list.is_null(row) {
                true => 0..0,
                false => offsets[row] as usize..offsets[row + 1] as usize,
            };
            let value = |item: usize| {
                let text = texts.is_valid(item).then(|| texts.value(item))?;
                // Casts write true and false, output functions t and f.
                Some(if boolean { &text[..1] } else { text })
            };
            let values: Vec<Option<&str>> = items.map(value).collect();
            let text = filled(patterns.value(row), &values, memory)?;
            charge.add(text.len())?;
            out.append_value(text);
        }
        charge.attach(Arc::new(out.finish()) as ArrayRef)
    });
    let variant = format!("{of:?} {settings:?}");
    Some(sees_nulls("format", variant, DataType::Utf8View, true, compute))
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn unterminated() -> SqlError {
    invalid("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
}

/// `%[position$][-][width]type`.
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Width,
    kind: char,
}

enum Width {
    None,
    Number(i64),
    /// `*` or `*n$`: from an argument.
    Argument(Option<usize>),
}

fn number(chars: &mut Peekable<Chars<'_>>) -> Result<Option<i64>, SqlError> {
    let mut value: Option<i64> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        let next = value.unwrap_or(0) * 10 + i64::from(digit);
        if next > i64::from(i32::MAX) {
            return Err(SqlError::new(
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "number is out of range",
            ));
        }
        value = Some(next);
        chars.next();
    }
    Ok(value)
}

fn position(value: i64) -> Result<usize, SqlError> {
    match usize::try_from(value) {
        Ok(position) if position > 0 => Ok(position),
        _ => Err(invalid("format specifies argument 0, but arguments are numbered from 1")),
    }
}

fn specifier(chars: &mut Peekable<Chars<'_>>) -> Result<Specifier, SqlError> {
    let mut found = Specifier { position: None, left: false, width: Width::None, kind: ' ' };
    if let Some(value) = number(chars)? {
        if chars.peek() == Some(&'$') {
            chars.next();
            found.position = Some(position(value)?);
        } else {
            found.width = Width::Number(value);
        }
    }
    if matches!(found.width, Width::None) {
        while chars.peek() == Some(&'-') {
            chars.next();
            found.left = true;
        }
        if chars.peek() == Some(&'*') {
            chars.next();
            let argument = number(chars)?;
            if argument.is_some() && chars.next() != Some('$') {
                return Err(invalid("width argument position must be ended by \"$\""));
            }
            found.width = Width::Argument(argument.map(position).transpose()?);
        } else if let Some(value) = number(chars)? {
            found.width = Width::Number(value);
        }
    }
    found.kind = chars.next().ok_or_else(unterminated)?;
    Ok(found)
}

fn filled(pattern: &str, values: &[Option<&str>], memory: Memory<'_>) -> Result<String, SqlError> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut next = 1;
    let mut argument = |position: Option<usize>| {
        let index = position.unwrap_or(next);
        next = index + 1;
        values.get(index - 1).copied().ok_or_else(|| invalid("too few arguments for format()"))
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        if chars.peek().is_none() {
            return Err(unterminated());
        }
        let mut specifier = specifier(&mut chars)?;
        if !matches!(specifier.kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{}\"", specifier.kind);
            return Err(invalid(message).hint("For a single \"%\" use \"%%\"."));
        }
        let width = match specifier.width {
            Width::None => 0,
            Width::Number(width) => width,
            Width::Argument(position) => match argument(position)? {
                None => 0,
                Some(text) => text.trim().parse::<i64>().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
                })?,
            },
        };
        // A negative width from an argument is one to the left.
        specifier.left |= width < 0;
        let text = converted(specifier.kind, argument(specifier.position)?)?;
        let width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        memory.check_value(out.len().saturating_add(text.len().max(width)))?;
        pad(&mut out, &text, width, specifier.left);
    }
    Ok(out)
}

fn converted(kind: char, value: Option<&str>) -> Result<String, SqlError> {
    match (kind, value) {
        ('s', value) => Ok(value.unwrap_or_default().to_owned()),
        ('L', None) => Ok("NULL".to_owned()),
        ('L', Some(text)) => Ok(quote_literal(text)),
        (_, Some(text)) => Ok(quote_identifier(text).into_owned()),
        (_, None) => {
            Err(SqlError::new("22004", "null values cannot be formatted as an SQL identifier"))
        }
    }
}

fn pad(out: &mut String, text: &str, width: usize, left: bool) {
    let missing = width.saturating_sub(text.chars().count());
    if left {
        out.push_str(text);
    }
    out.extend(std::iter::repeat_n(' ', missing));
    if !left {
        out.push_str(text);
    }
}
