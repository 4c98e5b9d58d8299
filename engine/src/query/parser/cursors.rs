//! DECLARE, FETCH, MOVE, CLOSE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Cursor;
use crate::{
    error::SqlError,
    query::statement::{Declare, Fetch, FetchDirection, StatementKind},
};

/// `DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR
/// query`.
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    let name = cursor.identifier()?;
    let (mut binary, mut scroll, mut sensitivity) = (false, None, None);
    let both = |what: &str| Err(SqlError::new("42P11", format!("cannot specify both {what}")));
    while !cursor.eat_keyword("CURSOR") {
        if cursor.eat_keyword("BINARY") {
            binary = true;
        } else if cursor.eat_keyword("SCROLL") {
            if scroll == Some(false) {
                return both("SCROLL and NO SCROLL");
            }
            scroll = Some(true);
        } else if cursor.eat_keywords(&["NO", "SCROLL"]) {
            if scroll == Some(true) {
                return both("SCROLL and NO SCROLL");
            }
            scroll = Some(false);
        } else if cursor.is_keyword_at(0, "INSENSITIVE") || cursor.is_keyword_at(0, "ASENSITIVE") {
            // A cursor never sees what is written after it was declared.
            let insensitive = cursor.eat_keyword("INSENSITIVE");
            if !insensitive {
                cursor.next();
            }
            if sensitivity.is_some_and(|before| before != insensitive) {
                return both("ASENSITIVE and INSENSITIVE");
            }
            sensitivity = Some(insensitive);
        } else {
            return Err(cursor.unexpected());
        }
    }
    let hold = cursor.eat_keywords(&["WITH", "HOLD"]);
    if !hold {
        cursor.eat_keywords(&["WITHOUT", "HOLD"]);
    }
    cursor.expect_keyword("FOR")?;
    let wrong = cursor.unexpected();
    // What FOR READ ONLY says is so anyway.
    let query = cursor.statement_before(&["FOR", "READ", "ONLY"])?;
    match &query.kind {
        StatementKind::Query(_) => {
            let declare = Declare { name, binary, scroll, hold, query };
            Ok(StatementKind::Declare(Box::new(declare)))
        }
        StatementKind::Unsupported { .. } => Ok(query.kind),
        _ => Err(wrong),
    }
}

/// `FETCH [direction] [FROM | IN] name`, and the same of MOVE.
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let moves = cursor.is_keyword_at(0, "MOVE");
    cursor.next();
    let direction = direction(cursor)?;
    if !cursor.eat_keyword("FROM") {
        cursor.eat_keyword("IN");
    }
    let name = cursor.identifier()?;
    Ok(StatementKind::Fetch(Fetch { name, direction, moves }))
}

fn direction(cursor: &mut Cursor<'_>) -> Result<FetchDirection, SqlError> {
    // A cursor may have the name of a direction: nothing but a name comes last.
    if cursor.at_end_after(1) {
        return Ok(FetchDirection::Forward(1));
    }
    let simple = [
        ("NEXT", FetchDirection::Forward(1)),
        ("PRIOR", FetchDirection::Forward(-1)),
        ("FIRST", FetchDirection::Absolute(1)),
        ("LAST", FetchDirection::Absolute(-1)),
        ("ALL", FetchDirection::ForwardAll),
    ];
    for (keyword, direction) in simple {
        if cursor.eat_keyword(keyword) {
            return Ok(direction);
        }
    }
    if cursor.eat_keyword("ABSOLUTE") {
        return signed(cursor).map(FetchDirection::Absolute);
    }
    if cursor.eat_keyword("RELATIVE") {
        return signed(cursor).map(FetchDirection::Relative);
    }
    let forward = cursor.eat_keyword("FORWARD");
    if forward || cursor.eat_keyword("BACKWARD") {
        if cursor.eat_keyword("ALL") {
            return Ok(if forward {
                FetchDirection::ForwardAll
            } else {
                FetchDirection::BackwardAll
            });
        }
        let count = if is_number(cursor) { signed(cursor)? } else { 1 };
        return Ok(FetchDirection::Forward(if forward { count } else { -count }));
    }
    if is_number(cursor) {
        return signed(cursor).map(FetchDirection::Forward);
    }
    Ok(FetchDirection::Forward(1))
}

fn is_number(cursor: &Cursor<'_>) -> bool {
    matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus))
}

/// A whole number, of 32 bits as in PostgreSQL.
fn signed(cursor: &mut Cursor<'_>) -> Result<i64, SqlError> {
    let negative = cursor.eat(&Token::Minus);
    if !negative {
        cursor.eat(&Token::Plus);
    }
    let wrong = cursor.unexpected();
    match cursor.next() {
        Some(Token::Number(digits, _)) => {
            let number: i32 = digits.parse().map_err(|_| wrong)?;
            Ok(if negative { -i64::from(number) } else { i64::from(number) })
        }
        _ => Err(wrong),
    }
}

/// `CLOSE {name | ALL}`.
pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    if cursor.eat_keyword("ALL") {
        return Ok(StatementKind::Close(None));
    }
    cursor.identifier().map(|name| StatementKind::Close(Some(name)))
}
