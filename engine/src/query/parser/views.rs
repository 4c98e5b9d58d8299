//! CREATE VIEW, CREATE MATERIALIZED VIEW, REFRESH, COMMENT ON.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{
    ddl::{if_not_exists, storage_options, temporary_at},
    tokens::Cursor,
};
use crate::{
    error::SqlError,
    query::statement::{
        Comment, CommentTarget, CreateMaterializedView, CreateView, RefreshView, Statement,
        StatementClass, StatementKind, Temporary,
    },
};

/// `CREATE [OR REPLACE] [MATERIALIZED] VIEW …`; `None`: it creates something else, and nothing was
/// read.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Option<StatementKind>, SqlError> {
    if cursor.eat_keywords(&["CREATE", "MATERIALIZED", "VIEW"]) {
        return materialized(cursor).map(Some);
    }
    let or_replace = cursor.is_keyword_at(1, "OR") && cursor.is_keyword_at(2, "REPLACE");
    let at = if or_replace { 3 } else { 1 };
    let (temporary, words) = temporary_at(cursor, at);
    if cursor.is_keyword_at(0, "CREATE") && cursor.is_keyword_at(at + words, "VIEW") {
        cursor.skip(at + words + 1);
        return view(cursor, or_replace, temporary).map(Some);
    }
    Ok(None)
}

fn view(
    cursor: &mut Cursor<'_>,
    or_replace: bool,
    temporary: Option<Temporary>,
) -> Result<StatementKind, SqlError> {
    let name = cursor.relation_name()?;
    let column_names =
        if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
    let options = if cursor.eat_keyword("WITH") { storage_options(cursor)? } else { Vec::new() };
    cursor.expect_keyword("AS")?;
    if cursor.ends_with(&["CHECK", "OPTION"]) {
        return Err(SqlError::not_supported("CREATE VIEW WITH CHECK OPTION"));
    }
    let query = cursor.statement_to_end()?;
    check_query(cursor, &query)?;
    let view = CreateView { name, temporary, or_replace, column_names, options, query };
    Ok(StatementKind::CreateView(Box::new(view)))
}

fn materialized(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.relation_name()?;
    let column_names =
        if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
    for clause in ["USING", "TABLESPACE"] {
        if cursor.is_keyword_at(0, clause) {
            let what = format!("CREATE MATERIALIZED VIEW with {clause}");
            return Err(SqlError::not_supported(what));
        }
    }
    let options = if cursor.eat_keyword("WITH") { storage_options(cursor)? } else { Vec::new() };
    cursor.expect_keyword("AS")?;
    let (query, with_data) = cursor.query_with_data()?;
    check_query(cursor, &query)?;
    Ok(StatementKind::CreateMaterializedView(Box::new(CreateMaterializedView {
        name,
        if_not_exists,
        column_names,
        query,
        with_data,
        options,
    })))
}

fn check_query(cursor: &Cursor<'_>, query: &Statement) -> Result<(), SqlError> {
    match &query.kind {
        StatementKind::Unsupported { what } => Err(SqlError::not_supported(what)),
        _ if query.class() == StatementClass::Query => Ok(()),
        _ => Err(cursor.unexpected()),
    }
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH [NO] DATA]`.
pub(super) fn refresh(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.expect_keyword("REFRESH")?;
    cursor.expect_keyword("MATERIALIZED")?;
    cursor.expect_keyword("VIEW")?;
    if cursor.is_keyword_at(0, "CONCURRENTLY") && !cursor.at_end_after(1) {
        return Err(SqlError::not_supported("REFRESH MATERIALIZED VIEW CONCURRENTLY"));
    }
    let name = cursor.relation_name()?;
    let mut with_data = true;
    if cursor.eat_keyword("WITH") {
        with_data = !cursor.eat_keyword("NO");
        cursor.expect_keyword("DATA")?;
    }
    Ok(StatementKind::RefreshView(RefreshView { name, with_data }))
}

/// `COMMENT ON kind name IS 'text'`.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.expect_keyword("COMMENT")?;
    cursor.expect_keyword("ON")?;
    let target = if cursor.eat_keyword("TABLE") {
        CommentTarget::Table(cursor.relation_name()?)
    } else if cursor.eat_keyword("VIEW") {
        CommentTarget::View(cursor.relation_name()?)
    } else if cursor.eat_keywords(&["MATERIALIZED", "VIEW"]) {
        CommentTarget::MaterializedView(cursor.relation_name()?)
    } else if cursor.eat_keyword("COLUMN") {
        let (relation, column) = cursor.column_name()?;
        CommentTarget::Column(relation, column)
    } else if cursor.eat_keyword("SCHEMA") {
        CommentTarget::Schema(cursor.identifier()?)
    } else if cursor.eat_keyword("DATABASE") {
        CommentTarget::Database(cursor.identifier()?)
    } else {
        let what = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
        return Ok(StatementKind::Unsupported { what: format!("COMMENT ON {what}") });
    };
    cursor.expect_keyword("IS")?;
    let text = if cursor.eat_keyword("NULL") { None } else { Some(cursor.string()?) };
    Ok(StatementKind::Comment(Comment { target, text: text.filter(|text| !text.is_empty()) }))
}
