//! `COPY`, in the form with an option list and in the forms from before PostgreSQL 9.0.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{tokens::Cursor, utility::boolean_option};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{
        Copy, CopyColumns, CopyFormat, CopyHeader, CopyObject, StatementClass, StatementKind,
    },
};

/// Options as they stand, before defaults and consistency.
#[derive(Default)]
struct Options {
    format: Option<CopyFormat>,
    freeze: bool,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<CopyHeader>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<CopyColumns>,
    force_not_null: Option<CopyColumns>,
    force_null: Option<CopyColumns>,
}

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.expect_keyword("COPY")?;
    let mut options = Options::default();
    if cursor.eat_keyword("BINARY") {
        options.format = Some(CopyFormat::Binary);
    }
    let source = if cursor.peek_is(&Token::LParen) {
        let statement = cursor.parenthesised_statement()?;
        match statement.class() {
            StatementClass::Query => CopyObject::Query(statement),
            StatementClass::Dml => {
                return Err(SqlError::not_supported("COPY of INSERT, UPDATE or DELETE"));
            }
            _ => return Err(cursor.unexpected()),
        }
    } else {
        let name = cursor.relation_name()?;
        let columns =
            if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
        CopyObject::Table { name, columns }
    };
    let from = if cursor.eat_keyword("FROM") {
        true
    } else {
        cursor.expect_keyword("TO")?;
        false
    };
    if from && matches!(source, CopyObject::Query(_)) {
        return Err(cursor.unexpected());
    }
    let file = end_point(cursor)?;
    parse_options(cursor, &mut options)?;
    let filter = if cursor.eat_keyword("WHERE") {
        if !from {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "WHERE clause not allowed with COPY TO",
            ));
        }
        Some(Box::new(cursor.expression_to_end()?))
    } else {
        None
    };
    cursor.end()?;
    let mut copy = checked(options, source, from)?;
    copy.filter = filter;
    copy.file = file;
    Ok(StatementKind::Copy(Box::new(copy)))
}

/// A file, or `None` for `STDIN` or `STDOUT`, which PostgreSQL takes for each other.
fn end_point(cursor: &mut Cursor<'_>) -> Result<Option<String>, SqlError> {
    if cursor.eat_keyword("STDIN") || cursor.eat_keyword("STDOUT") {
        return Ok(None);
    }
    if cursor.eat_keyword("PROGRAM") {
        return Err(SqlError::not_supported("COPY with a program"));
    }
    cursor.string().map(Some)
}

fn parse_options(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<(), SqlError> {
    let with = cursor.eat_keyword("WITH");
    if cursor.eat(&Token::LParen) {
        loop {
            let name = cursor.identifier()?;
            list_option(cursor, options, &name)?;
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        return cursor.expect(&Token::RParen);
    }
    let mut any = false;
    while let Some(word) = cursor.peek_word() {
        if word.eq_ignore_ascii_case("WHERE") {
            break;
        }
        let word = word.to_ascii_lowercase();
        cursor.next();
        any = true;
        old_option(cursor, options, &word)?;
    }
    if with && !any { Err(cursor.unexpected()) } else { Ok(()) }
}

fn list_option(cursor: &mut Cursor<'_>, options: &mut Options, name: &str) -> Result<(), SqlError> {
    match name {
        "force_quote" => return columns(cursor).map(|c| options.force_quote = Some(c)),
        "force_not_null" => return columns(cursor).map(|c| options.force_not_null = Some(c)),
        "force_null" => return columns(cursor).map(|c| options.force_null = Some(c)),
        _ => {}
    }
    let value = cursor.option_value();
    let required = || {
        let message = format!("{name} requires a parameter");
        value.clone().ok_or_else(|| SqlError::new(sqlstate::SYNTAX_ERROR, message))
    };
    match name {
        "format" => {
            options.format = Some(match required()?.to_ascii_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                other => {
                    let message = format!("COPY format \"{other}\" not recognized");
                    return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
                }
            });
        }
        "freeze" => options.freeze = boolean_option(name, value.as_deref())?,
        "delimiter" => options.delimiter = Some(required()?),
        "null" => options.null = Some(required()?),
        "header" if value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("match")) => {
            options.header = Some(CopyHeader::Match);
        }
        "header" => {
            let on = boolean_option(name, value.as_deref())?;
            options.header = Some(if on { CopyHeader::Yes } else { CopyHeader::No });
        }
        "quote" => options.quote = Some(required()?),
        "escape" => options.escape = Some(required()?),
        "encoding" => encoding(&required()?)?,
        _ => {
            let message = format!("option \"{name}\" not recognized");
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
    }
    Ok(())
}

/// One option of the older grammar, its first word consumed.
fn old_option(cursor: &mut Cursor<'_>, options: &mut Options, word: &str) -> Result<(), SqlError> {
    match word {
        "binary" => options.format = Some(CopyFormat::Binary),
        "csv" => options.format = Some(CopyFormat::Csv),
        "freeze" => options.freeze = true,
        "header" => options.header = Some(CopyHeader::Yes),
        "delimiter" | "delimiters" | "null" | "quote" | "escape" => {
            cursor.eat_keyword("AS");
            let value = Some(cursor.string()?);
            match word {
                "null" => options.null = value,
                "quote" => options.quote = value,
                "escape" => options.escape = value,
                _ => options.delimiter = value,
            }
        }
        "encoding" => encoding(&cursor.string()?)?,
        "force" if cursor.eat_keyword("QUOTE") => {
            options.force_quote = Some(plain_columns(cursor)?);
        }
        "force" if cursor.eat_keywords(&["NOT", "NULL"]) => {
            options.force_not_null = Some(plain_columns(cursor)?);
        }
        "force" if cursor.eat_keyword("NULL") => {
            options.force_null = Some(plain_columns(cursor)?);
        }
        _ => return Err(cursor.unexpected()),
    }
    Ok(())
}

fn columns(cursor: &mut Cursor<'_>) -> Result<CopyColumns, SqlError> {
    if cursor.eat(&Token::Mul) {
        return Ok(CopyColumns::All);
    }
    Ok(CopyColumns::Some(cursor.identifier_list()?))
}

fn plain_columns(cursor: &mut Cursor<'_>) -> Result<CopyColumns, SqlError> {
    if cursor.eat(&Token::Mul) {
        return Ok(CopyColumns::All);
    }
    let mut names = vec![cursor.identifier()?];
    while cursor.eat(&Token::Comma) {
        names.push(cursor.identifier()?);
    }
    Ok(CopyColumns::Some(names))
}

fn encoding(name: &str) -> Result<(), SqlError> {
    match name.to_ascii_lowercase().replace('-', "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(SqlError::not_supported(format!("COPY encoding {name:?}"))),
    }
}

fn checked(options: Options, source: CopyObject, from: bool) -> Result<Copy, SqlError> {
    let format = options.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    let refuse = |message: String| Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    let syntax = |message: &str| Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    if format == CopyFormat::Binary {
        if options.delimiter.is_some() {
            return syntax("cannot specify DELIMITER in BINARY mode");
        }
        if options.null.is_some() {
            return syntax("cannot specify NULL in BINARY mode");
        }
        if options.header.is_some_and(|h| h != CopyHeader::No) {
            return refuse("cannot specify HEADER in BINARY mode".to_owned());
        }
    }
    for (given, name) in [
        (options.quote.is_some(), "quote"),
        (options.escape.is_some(), "escape"),
        (options.force_quote.is_some(), "force quote"),
        (options.force_not_null.is_some(), "force not null"),
        (options.force_null.is_some(), "force null"),
    ] {
        if given && !csv {
            return refuse(format!("COPY {name} available only in CSV mode"));
        }
    }
    for (given, wrong, name) in [
        (options.force_quote.is_some(), from, "force quote only available using COPY TO"),
        (options.force_not_null.is_some(), !from, "force not null only available using COPY FROM"),
        (options.force_null.is_some(), !from, "force null only available using COPY FROM"),
    ] {
        if given && wrong {
            return refuse(format!("COPY {name}"));
        }
    }
    if !from && options.header == Some(CopyHeader::Match) {
        return refuse("cannot use \"match\" with HEADER in COPY TO".to_owned());
    }
    let delimiter = single_byte(options.delimiter, if csv { b',' } else { b'\t' }, "delimiter")?;
    let quote = single_byte(options.quote, b'"', "quote")?;
    let escape = single_byte(options.escape, quote, "escape")?;
    let default_null = if csv { "" } else { "\\N" };
    let null = options.null.unwrap_or_else(|| default_null.to_owned());
    if matches!(delimiter, b'\n' | b'\r') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
        return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    if null.contains(['\r', '\n']) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    if null.as_bytes().contains(&delimiter) {
        return refuse("COPY delimiter must not appear in the NULL specification".to_owned());
    }
    if csv && delimiter == quote {
        return refuse("COPY delimiter and quote must be different".to_owned());
    }
    if csv && null.as_bytes().contains(&quote) {
        return refuse("CSV quote character must not appear in the NULL specification".to_owned());
    }
    Ok(Copy {
        source,
        from,
        file: None,
        format,
        freeze: options.freeze,
        delimiter,
        null,
        header: options.header.unwrap_or(CopyHeader::No),
        quote,
        escape,
        force_quote: options.force_quote.unwrap_or(CopyColumns::None),
        force_not_null: options.force_not_null.unwrap_or(CopyColumns::None),
        force_null: options.force_null.unwrap_or(CopyColumns::None),
        filter: None,
    })
}

fn invalid(message: &str) -> Result<Copy, SqlError> {
    Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
}

fn single_byte(value: Option<String>, default: u8, what: &str) -> Result<u8, SqlError> {
    match value.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some(&[byte]) => Ok(byte),
        Some(_) => Err(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("COPY {what} must be a single one-byte character"),
        )),
    }
}
