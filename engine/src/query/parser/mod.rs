//! SQL text to [`Statement`]s.
//!
//! sqlparser's tokenizer cuts the text; the tokens are split at semicolons and the first words of a
//! statement decide who parses it: queries and DML go to sqlparser, everything else is read here,
//! because sqlparser does not know PostgreSQL's forms of it or knows many that are not PostgreSQL's.

mod alter;
mod copy;
mod cursors;
mod ddl;
mod dialect;
mod into;
mod rewrite;
mod strings;
mod tokens;
mod utility;
mod views;
mod with_clauses;

use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use self::dialect::PostgreSql;
pub(super) use self::rewrite::PART;
pub use self::rewrite::{
    ALL_FIELDS, DISTINCT_SETS, EXCLUSIONS, GROUPING_SETS, JOIN_ALIAS, NO_COLUMNS, SYMMETRIC,
    VARIADIC,
};
use self::tokens::Cursor;
pub use self::tokens::{fold_identifier, relation_name};
pub use self::with_clauses::{Cycle, Search, WithClauses, columns_and_clauses};
use super::statement::{Dml, Explain, Statement, StatementKind};
use crate::error::{SqlError, sqlstate};

static DIALECT: PostgreSql = PostgreSql::new();

/// How deep expressions may nest. sqlparser grows its stack as it needs, and so does DataFusion;
/// the bound keeps what is built from being too deep to walk and to free.
const DEPTH_MAX: usize = 256;

/// How many operators may stand in one chain, such as `a OR b OR c …`: a chain is parsed to a tree
/// as deep as it is long.
const CHAIN_MAX: usize = 2_000;

/// Splits a query string into statements and parses each. Empty statements are left out, so an
/// empty string gives none. Errors carry the position in `sql`.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    parse_source(&Arc::from(sql))
}

/// [`parse`] without a copy of the text.
pub fn parse_source(source: &Arc<str>) -> Result<Vec<Statement>, SqlError> {
    let tokens = tokenize(source)?;
    let mut statements = Vec::new();
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        if !statement.is_empty() {
            check_depth(source, statement)?;
            statements.push(parse_statement(source, statement)?);
        }
    }
    Ok(statements)
}

/// Parses one expression, such as a stored column default.
pub(super) fn parse_expression(sql: &str) -> Result<ast::Expr, SqlError> {
    let source: Arc<str> = Arc::from(sql);
    let tokens = tokenize(&source)?;
    check_depth(&source, &tokens)?;
    Cursor::new(&source, &tokens).expression_to_end()
}

/// The type with this name, as in `'integer'::regtype`.
pub fn parse_type_name(sql: &str) -> Result<ast::DataType, SqlError> {
    let source: Arc<str> = Arc::from(sql);
    let tokens = tokenize(&source)?;
    let mut cursor = Cursor::new(&source, &tokens);
    let data_type = cursor.data_type()?;
    cursor.end()?;
    Ok(data_type)
}

/// Tokens without white space and comments.
fn tokenize(source: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut tokens = Vec::new();
    let masked = strings::mask(source)?;
    let text = masked.as_ref().map_or(source, |masked| &masked.text);
    let result = Tokenizer::new(&DIALECT, text).tokenize_with_location_into_buf(&mut tokens);
    if let Err(error) = result {
        let what = match error.message.as_str() {
            m if m.contains("nterminated string") => "unterminated quoted string",
            m if m.contains("multi-line comment") => "unterminated /* comment",
            m if m.contains("close delimiter") => "unterminated quoted identifier",
            _ => "syntax error",
        };
        let rest = byte_of(source, error.location).and_then(|byte| source.get(byte..));
        let message = match rest {
            Some(rest) if !rest.is_empty() => format!("{what} at or near \"{rest}\""),
            _ => format!("{what}: {}", error.message),
        };
        let mut sql_error = SqlError::new(sqlstate::SYNTAX_ERROR, message);
        sql_error.position = position_of(source, error.location);
        return Err(sql_error);
    }
    if let Some(masked) = masked {
        masked.restore(&mut tokens);
    }
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    check_numbers(source, &tokens)?;
    rewrite::rewrite(source, tokens)
}

/// Refuses what sqlparser reads as numbers or as a number and a name: `1_000`, `0x1F`, `1a`.
fn check_numbers(source: &str, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    for (at, token) in tokens.iter().enumerate() {
        let glued = || {
            let next = tokens.get(at + 1).filter(|next| next.span.start == token.span.end);
            next.is_some_and(
                |next| matches!(&next.token, Token::Word(word) if word.quote_style.is_none()),
            )
        };
        let byte = || byte_of(source, token.span.start);
        let is_junk = match &token.token {
            Token::Number(digits, _) => digits.contains('_') || glued(),
            Token::HexStringLiteral(_) => {
                byte().is_some_and(|byte| source[byte..].starts_with(|c: char| c.is_ascii_digit()))
            }
            _ => false,
        };
        if is_junk {
            let rest = byte().and_then(|byte| source.get(byte..)).unwrap_or_default();
            let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
            let text = &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())];
            let message = format!("trailing junk after numeric literal at or near \"{text}\"");
            let mut error = SqlError::new(sqlstate::SYNTAX_ERROR, message);
            error.position = position_of(source, token.span.start);
            return Err(error);
        }
    }
    Ok(())
}

/// Refuses what would nest too deep to be walked safely.
fn check_depth(source: &str, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => chains.push(0),
            Token::RParen | Token::RBracket => {
                if chains.len() > 1 {
                    chains.pop();
                }
            }
            Token::Comma => *chains.last_mut().expect("never empty") = 0,
            Token::Word(word) => {
                let text = word.value.as_str();
                let counts = ["and", "or", "not", "is", "union", "intersect", "except", "when"];
                if counts.iter().any(|keyword| text.eq_ignore_ascii_case(keyword)) {
                    *chains.last_mut().expect("never empty") += 1;
                }
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            _ => *chains.last_mut().expect("never empty") += 1,
        }
        let chain = *chains.last().expect("never empty");
        if chains.len() > DEPTH_MAX || chain > CHAIN_MAX {
            let mut error =
                SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                    .detail(format!(
                        "At most {DEPTH_MAX} levels of nesting and chains of {CHAIN_MAX} operators \
                         are accepted."
                    ));
            error.position = position_of(source, token.span.start);
            return Err(error);
        }
    }
    Ok(())
}

/// Character position, from 1, of a line and column.
pub(super) fn position_of(source: &str, location: Location) -> Option<usize> {
    Some(source.get(..byte_of(source, location)?)?.chars().count() + 1)
}

fn byte_of(source: &str, location: Location) -> Option<usize> {
    if location.line == 0 {
        return None;
    }
    let mut line_start = 0;
    for _ in 1..location.line {
        line_start += source[line_start..].find('\n')? + 1;
    }
    let line = &source[line_start..];
    let column = usize::try_from(location.column.saturating_sub(1)).ok()?;
    Some(line_start + line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte))
}

fn statement(source: &Arc<str>, tokens: &[TokenWithSpan], kind: StatementKind) -> Statement {
    let (first, last) = (tokens.first(), tokens.last());
    let start = first.and_then(|t| byte_of(source, t.span.start)).unwrap_or(0);
    let end = last.and_then(|t| byte_of(source, t.span.end)).unwrap_or(source.len());
    let text = source.get(start..end).unwrap_or(source);
    let text = if text.len() == source.len() { Arc::clone(source) } else { Arc::from(text) };
    Statement { text, source: Arc::clone(source), kind }
}

/// Parses one statement, given its tokens.
fn parse_statement(source: &Arc<str>, tokens: &[TokenWithSpan]) -> Result<Statement, SqlError> {
    let mut cursor = Cursor::new(source, tokens);
    let kind = parse_kind(&mut cursor)?;
    let parsed = statement(source, tokens, kind);
    match into::target(&parsed)? {
        Some(target) => Ok(statement(source, tokens, into::create(parsed, target)?)),
        None => Ok(parsed),
    }
}

fn parse_kind(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.peek_is(&Token::LParen) {
        return cursor.query_to_end().map(StatementKind::Query);
    }
    let Some(word) = cursor.peek_word() else {
        return Err(cursor.unexpected());
    };
    match word.to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" => cursor.query_to_end().map(StatementKind::Query),
        "WITH" => parse_with(cursor),
        "INSERT" | "UPDATE" | "DELETE" => parse_dml(cursor),
        "EXPLAIN" => parse_explain(cursor),
        "COPY" => copy::parse(cursor),
        "CREATE" | "DROP" | "ALTER" | "TRUNCATE" => ddl::parse(cursor),
        _ => utility::parse(cursor),
    }
}

/// `WITH … SELECT`, or `WITH … INSERT` and kin, which sqlparser puts inside a query.
fn parse_with(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if let Some(unsupported) = where_current_of(cursor) {
        return Ok(unsupported);
    }
    let mut query = cursor.query_to_end()?;
    let with = query.with.take();
    match *query.body {
        ast::SetExpr::Insert(change)
        | ast::SetExpr::Update(change)
        | ast::SetExpr::Delete(change)
        | ast::SetExpr::Merge(change) => dml(cursor, with, change),
        body => {
            query.with = with;
            *query.body = body;
            Ok(StatementKind::Query(query))
        }
    }
}

fn parse_dml(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if let Some(unsupported) = where_current_of(cursor) {
        return Ok(unsupported);
    }
    let change = cursor.sqlparser_to_end(|parser| parser.parse_statement())?;
    dml(cursor, None, change)
}

fn where_current_of(cursor: &Cursor<'_>) -> Option<StatementKind> {
    cursor.find_keywords(&["CURRENT", "OF"])?;
    Some(StatementKind::Unsupported { what: "WHERE CURRENT OF".to_owned() })
}

fn dml(
    cursor: &Cursor<'_>,
    with: Option<ast::With>,
    change: ast::Statement,
) -> Result<StatementKind, SqlError> {
    match change {
        ast::Statement::Insert(change) => Ok(StatementKind::Insert(Box::new(Dml { with, change }))),
        ast::Statement::Update(change) => Ok(StatementKind::Update(Box::new(Dml { with, change }))),
        ast::Statement::Delete(change) => Ok(StatementKind::Delete(Box::new(Dml { with, change }))),
        ast::Statement::Merge { .. } => Ok(StatementKind::Unsupported { what: "MERGE".to_owned() }),
        _ => Err(cursor.unexpected()),
    }
}

/// `EXPLAIN [ANALYZE] [VERBOSE] statement` and `EXPLAIN (option [value], …) statement`.
fn parse_explain(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.expect_keyword("EXPLAIN")?;
    let (mut analyze, mut verbose) = (false, false);
    if cursor.eat(&Token::LParen) {
        loop {
            let name = cursor.identifier()?;
            let value = cursor.option_value();
            let on = utility::boolean_option(&name, value.as_deref())?;
            match name.as_str() {
                "analyze" => analyze = on,
                "verbose" => verbose = on,
                "costs" | "timing" | "summary" | "buffers" | "wal" | "settings" => {}
                "format" if value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("text")) => {}
                "format" => {
                    let format = value.unwrap_or_default();
                    return Err(SqlError::not_supported(format!("EXPLAIN format {format:?}")));
                }
                _ => {
                    let message = format!("unrecognized EXPLAIN option \"{name}\"");
                    return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
                }
            }
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    } else {
        analyze = cursor.eat_keyword("ANALYZE") || cursor.eat_keyword("ANALYSE");
        verbose = cursor.eat_keyword("VERBOSE");
    }
    let statement = cursor.statement_to_end()?;
    match statement.kind {
        StatementKind::Query(_)
        | StatementKind::Insert(_)
        | StatementKind::Update(_)
        | StatementKind::Delete(_)
        | StatementKind::CreateTableAs(_)
        | StatementKind::Execute(_)
        | StatementKind::Unsupported { .. } => {
            Ok(StatementKind::Explain(Box::new(Explain { analyze, verbose, statement })))
        }
        _ => Err(cursor.unexpected_at(0)),
    }
}

/// sqlparser's error as PostgreSQL words it.
fn syntax_error(source: &str, tokens: &[TokenWithSpan], error: ParserError) -> SqlError {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded");
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let location = text.rsplit_once(" at Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(Location::new(line.parse().ok()?, column.trim().parse().ok()?))
    });
    let found = location.and_then(|l| tokens.iter().find(|t| t.span.start == l));
    match found {
        Some(token) => tokens::unexpected(source, Some(token)),
        None if text.contains("found: EOF") => tokens::unexpected_end(source, tokens),
        None => SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {text}")),
    }
}

/// A parser of sqlparser's over some tokens.
fn sqlparser(tokens: &[TokenWithSpan]) -> Parser<'static> {
    Parser::new(&DIALECT)
        .with_recursion_limit(DEPTH_MAX * 8)
        .with_tokens_with_locations(tokens.to_vec())
}
