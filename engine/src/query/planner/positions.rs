//! Where in the text an error is shown.

use datafusion::sql::sqlparser::ast::{self, Spanned};

use super::Planner;
use crate::{
    error::{SqlError, sqlstate},
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
        let named = |text: &str| {
            json || message.contains(&format!("\"{text}\""))
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
