//! `COPY`, in the form with an option list and in the forms from before PostgreSQL 9.0.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Cursor;
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{
        Copy, CopyObject, CopyOption, CopyOptionValue, RelationName, StatementClass, StatementKind,
    },
};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.expect_keyword("COPY")?;
    let mut options = Vec::new();
    let position = cursor.position();
    if cursor.is_keyword_at(0, "BINARY") && !starts_direction(cursor, 1) {
        cursor.next();
        let value = CopyOptionValue::Text("binary".to_owned());
        options.push(CopyOption { name: "format".to_owned(), value, position });
    }
    let source = source(cursor)?;
    let from = if matches!(source, CopyObject::Query(_)) {
        cursor.expect_keyword("TO")?;
        false
    } else if cursor.eat_keyword("FROM") {
        true
    } else {
        cursor.expect_keyword("TO")?;
        false
    };
    let file = end_point(cursor)?;
    parse_options(cursor, &mut options)?;
    let position = cursor.position();
    let filter = if cursor.eat_keyword("WHERE") {
        if !from {
            let mut error =
                SqlError::new(sqlstate::SYNTAX_ERROR, "WHERE clause not allowed with COPY TO");
            error.position = position;
            return Err(error);
        }
        Some(Box::new(cursor.expression_to_end()?))
    } else {
        None
    };
    cursor.end()?;
    Ok(StatementKind::Copy(Box::new(Copy { source, from, file, options, filter })))
}

/// Whether `FROM` or `TO` stands there: what is before it is a table's name.
fn starts_direction(cursor: &Cursor<'_>, at: usize) -> bool {
    cursor.is_keyword_at(at, "FROM") || cursor.is_keyword_at(at, "TO")
}

fn source(cursor: &mut Cursor<'_>) -> Result<CopyObject, SqlError> {
    if !cursor.peek_is(&Token::LParen) {
        // Errors about it have no position.
        let name = RelationName { position: None, ..cursor.relation_name()? };
        let columns =
            if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
        return Ok(CopyObject::Table { name, columns });
    }
    let inside = cursor.unexpected_after(1);
    let statement = cursor.parenthesised_statement()?;
    match statement.class() {
        StatementClass::Query | StatementClass::Dml => Ok(CopyObject::Query(statement)),
        _ => Err(inside),
    }
}

/// A file, or `None` for `STDIN` or `STDOUT`, which PostgreSQL takes for each other.
fn end_point(cursor: &mut Cursor<'_>) -> Result<Option<String>, SqlError> {
    if cursor.eat_keyword("STDIN") || cursor.eat_keyword("STDOUT") {
        return Ok(None);
    }
    if cursor.eat_keyword("PROGRAM") {
        if cursor.eat_keyword("STDIN") || cursor.eat_keyword("STDOUT") {
            let message = "STDIN/STDOUT not allowed with PROGRAM";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        return Err(SqlError::not_supported("COPY with a program"));
    }
    cursor.string().map(Some)
}

fn parse_options(cursor: &mut Cursor<'_>, options: &mut Vec<CopyOption>) -> Result<(), SqlError> {
    let position = cursor.position();
    if cursor.is_keyword_at(0, "DELIMITERS") || cursor.is_keyword_at(0, "USING") {
        cursor.eat_keyword("USING");
        cursor.expect_keyword("DELIMITERS")?;
        let value = CopyOptionValue::Text(cursor.string()?);
        options.push(CopyOption { name: "delimiter".to_owned(), value, position });
    }
    cursor.eat_keyword("WITH");
    if cursor.eat(&Token::LParen) {
        loop {
            let position = cursor.position();
            let name = cursor.identifier()?;
            let value = option_value(cursor)?;
            options.push(CopyOption { name, value, position });
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        return cursor.expect(&Token::RParen);
    }
    while let Some(word) = cursor.peek_word() {
        if word.eq_ignore_ascii_case("WHERE") {
            break;
        }
        options.push(old_option(cursor, &word.to_ascii_lowercase())?);
    }
    Ok(())
}

/// What follows an option's name in a list.
fn option_value(cursor: &mut Cursor<'_>) -> Result<CopyOptionValue, SqlError> {
    match cursor.peek() {
        Some(Token::Comma | Token::RParen) => Ok(CopyOptionValue::None),
        Some(Token::Mul) => {
            cursor.next();
            Ok(CopyOptionValue::All)
        }
        Some(Token::LParen) => column_list(cursor).map(CopyOptionValue::Columns),
        Some(Token::Word(_)) => cursor.identifier().map(CopyOptionValue::Text),
        _ => {
            let plus = cursor.eat(&Token::Plus);
            let wrong = cursor.unexpected();
            let is_number =
                matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus)) || !plus;
            let value = if is_number { cursor.option_value() } else { None };
            value.map(CopyOptionValue::Text).ok_or(wrong)
        }
    }
}

/// `(a, b, …)`, where each may also be a string.
fn column_list(cursor: &mut Cursor<'_>) -> Result<Vec<String>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut names = Vec::new();
    loop {
        names.push(match cursor.peek() {
            Some(Token::Word(_)) => cursor.identifier()?,
            _ => cursor.string()?,
        });
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(names)
}

/// One option of the older grammar.
fn old_option(cursor: &mut Cursor<'_>, word: &str) -> Result<CopyOption, SqlError> {
    let (position, wrong) = (cursor.position(), cursor.unexpected());
    cursor.next();
    let text = |value: &str| CopyOptionValue::Text(value.to_owned());
    let (name, value) = match word {
        "binary" | "csv" => ("format", text(word)),
        "freeze" | "header" => (word, text("true")),
        "delimiter" | "null" | "quote" | "escape" => {
            cursor.eat_keyword("AS");
            (word, CopyOptionValue::Text(cursor.string()?))
        }
        "encoding" => (word, CopyOptionValue::Text(cursor.string()?)),
        "force" if cursor.eat_keyword("QUOTE") => {
            let all = cursor.eat(&Token::Mul);
            let columns = if all { CopyOptionValue::All } else { plain_columns(cursor)? };
            ("force_quote", columns)
        }
        "force" if cursor.eat_keywords(&["NOT", "NULL"]) => {
            ("force_not_null", plain_columns(cursor)?)
        }
        "force" if cursor.eat_keyword("NULL") => ("force_null", plain_columns(cursor)?),
        "force" => return Err(cursor.unexpected()),
        _ => return Err(wrong),
    };
    Ok(CopyOption { name: name.to_owned(), value, position })
}

fn plain_columns(cursor: &mut Cursor<'_>) -> Result<CopyOptionValue, SqlError> {
    let mut names = vec![cursor.identifier()?];
    while cursor.eat(&Token::Comma) {
        names.push(cursor.identifier()?);
    }
    Ok(CopyOptionValue::Columns(names))
}
