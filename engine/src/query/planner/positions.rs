//! Where in the text an error is shown.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{self, Spanned},
    tokenizer::Location,
};

use super::{Planner, aggregates::is_aggregate, calls::function_name};
use crate::{
    error::{SqlError, sqlstate},
    query::parser::fold_identifier,
    types::jsonpath,
};

/// The text of a literal whose type its surroundings decide.
fn literal_text(expr: &ast::Expr) -> Option<&str> {
    match expr {
        ast::Expr::Nested(inner) => literal_text(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
                Some(text)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The first name of a column that stands outside of aggregates.
fn outside_aggregates(node: &impl ast::Visit, column: &str) -> Option<ast::Ident> {
    let mut aggregate_end = Location::empty();
    let found = ast::visit_expressions(node, |expr| {
        let (first, last) = match expr {
            ast::Expr::Function(function) => {
                let name = function_name(&function.name);
                if name.is_ok_and(|name| is_aggregate(&name)) {
                    aggregate_end = aggregate_end.max(expr.span().end);
                }
                return ControlFlow::Continue(());
            }
            ast::Expr::Identifier(ident) => (ident, ident),
            ast::Expr::CompoundIdentifier(parts) => match (parts.first(), parts.last()) {
                (Some(first), Some(last)) => (first, last),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match fold_identifier(last) == column && first.span.start >= aggregate_end {
            true => ControlFlow::Break(first.clone()),
            false => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(ident) => Some(ident),
        ControlFlow::Continue(()) => None,
    }
}

impl Planner<'_> {
    /// The error with the place of an expression, unless it has one or is one that PostgreSQL only
    /// finds when it computes, without a place.
    pub(super) fn locate(&self, error: SqlError, expr: &ast::Expr) -> SqlError {
        let computed = [sqlstate::STRING_DATA_RIGHT_TRUNCATION, sqlstate::INVALID_ESCAPE_SEQUENCE];
        if error.position.is_some() || computed.contains(&error.sqlstate) {
            return error;
        }
        match self.statement.and_then(|s| s.position(expr.span().start)) {
            Some(position) => error.position(position),
            None => error,
        }
    }

    /// The error with the place of the column that it says is not grouped by.
    pub(super) fn locate_ungrouped(
        &self,
        error: SqlError,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
    ) -> SqlError {
        let name = error.message.split('"').nth(1);
        let column = name.and_then(|name| name.rsplit('.').next());
        let (Some(column), sqlstate::GROUPING_ERROR) = (column, error.sqlstate) else {
            return error;
        };
        let place = outside_aggregates(&select.projection, column)
            .or_else(|| order_by.iter().find_map(|item| outside_aggregates(&item.expr, column)))
            .or_else(|| outside_aggregates(select.having.as_ref()?, column));
        match place {
            Some(ident) => self.at(error, &ident),
            None => error,
        }
    }

    /// The error with the place of the literal it complains about, or else of `fallback`.
    pub(super) fn locate_literal<'e>(
        &self,
        error: SqlError,
        exprs: impl IntoIterator<Item = &'e ast::Expr>,
        fallback: Option<&ast::Expr>,
    ) -> SqlError {
        // An error in JSON shows a part of the literal only.
        let json = error.object.context.as_ref().is_some_and(|c| c.starts_with("JSON data"));
        // So may an error in a jsonpath, which has words of its own.
        let message = &error.message;
        let in_path =
            ["jsonpath", "LAST is allowed", "@ is not allowed", "XQuery", "Unicode escape"]
                .iter()
                .any(|words| message.contains(words));
        // What a type's modifier refuses is refused when the value is assigned: in no place.
        if error.detail.as_ref().is_some_and(|detail| detail.starts_with("A field with precision"))
        {
            return error;
        }
        let in_bytes = message.starts_with("invalid hexadecimal d")
            || message.ends_with("invalid input syntax for type bytea");
        let named = |text: &str| {
            json || in_bytes && text.contains('\\')
                || message.contains(&format!("\"{text}\""))
                || in_path && jsonpath::parse(text).is_err_and(|e| e.message == *message)
        };
        let literal = exprs.into_iter().find(|expr| literal_text(expr).is_some_and(named));
        match literal.or(fallback) {
            Some(expr) => self.locate(error, expr),
            None => error,
        }
    }

    /// The error with the place of the operator between two expressions, or of the literal beside it
    /// that does not fit.
    pub(super) fn locate_operator(
        &self,
        error: SqlError,
        left: &ast::Expr,
        operator: &str,
        right: &ast::Expr,
    ) -> SqlError {
        if error.position.is_some() {
            return error;
        }
        let about_operator =
            [sqlstate::UNDEFINED_FUNCTION, sqlstate::AMBIGUOUS_FUNCTION].contains(&error.sqlstate);
        if about_operator
            && let Some(statement) = self.statement
            && let (Some(from), Some(to)) =
                (statement.position(left.span().end), statement.position(right.span().start))
            && from < to
        {
            // Positions count characters from 1.
            let between: String = statement.source.chars().skip(from - 1).take(to - from).collect();
            if let Some(byte) = between.rfind(operator) {
                return error.position(from + between[..byte].chars().count());
            }
        }
        self.locate_literal(error, [left, right], Some(left))
    }
}
