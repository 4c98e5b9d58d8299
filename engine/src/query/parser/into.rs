//! `SELECT … INTO table`, which is CREATE TABLE AS.

use datafusion::sql::sqlparser::ast::{self, SetExpr};

use super::{Statement, fold_identifier, relation_name};
use crate::{
    error::SqlError,
    query::statement::{CreateTableAs, RelationName, StatementKind, Temporary},
};

/// The table that a statement selects into, if it does.
pub(super) fn target(statement: &Statement) -> Result<Option<RelationName>, SqlError> {
    let StatementKind::Query(query) = &statement.kind else { return Ok(None) };
    let Some(into) = first_select(&query.body).and_then(|select| select.into.as_ref()) else {
        return Ok(None);
    };
    let mut parts = Vec::with_capacity(into.name.0.len());
    let mut position = None;
    for part in &into.name.0 {
        let ident = part
            .as_ident()
            .ok_or_else(|| SqlError::not_supported(format!("name {}", into.name)))?;
        position = position.or_else(|| statement.position(ident.span.start));
        parts.push(fold_identifier(ident));
    }
    relation_name(parts, position).map(Some)
}

/// The statement that makes the table of the query's rows.
pub(super) fn create(mut query: Statement, name: RelationName) -> Result<StatementKind, SqlError> {
    let mut temporary = None;
    if let StatementKind::Query(ast) = &mut query.kind
        && let Some(select) = first_select_mut(&mut ast.body)
        && let Some(into) = select.into.take()
    {
        temporary = into.temporary.then_some(Temporary { global: false });
    }
    Ok(StatementKind::CreateTableAs(Box::new(CreateTableAs {
        name,
        temporary,
        on_commit: None,
        if_not_exists: false,
        column_names: Vec::new(),
        query,
        with_data: true,
        options: Vec::new(),
    })))
}

/// The SELECT that a query begins with: the one that may say INTO.
fn first_select(body: &SetExpr) -> Option<&ast::Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn first_select_mut(body: &mut SetExpr) -> Option<&mut ast::Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select_mut(&mut query.body),
        SetExpr::SetOperation { left, .. } => first_select_mut(left),
        _ => None,
    }
}
