//! PostgreSQL's dialect as sqlparser has it, but for operators before their operand: there `-2 ^ 2`
//! would be `-(2 ^ 2)` and `@ 2 - 3` would be `(@ 2) - 3`. And ISNULL, which it takes for a name.

use std::any::TypeId;

use datafusion::sql::sqlparser::{
    ast::{Expr, UnaryOperator},
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

/// Operators by how tight they bind are [`PostgreSqlDialect`]'s but for those before an operand.
#[derive(Debug)]
pub(super) struct PostgreSql {
    base: PostgreSqlDialect,
}

impl PostgreSql {
    pub(super) const fn new() -> Self {
        Self { base: PostgreSqlDialect {} }
    }

    /// What the operator is applied to: a sign binds tighter than `^` and AT TIME ZONE, the others
    /// looser than `+`.
    fn operator(&self, token: &Token) -> Option<(UnaryOperator, u8)> {
        let other = self.base.prec_value(Precedence::PgOther);
        Some(match token {
            Token::Minus => (UnaryOperator::Minus, self.base.prec_value(Precedence::AtTz)),
            Token::Plus => (UnaryOperator::Plus, self.base.prec_value(Precedence::AtTz)),
            Token::AtSign => (UnaryOperator::PGAbs, other),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, other),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, other),
            Token::Tilde => (UnaryOperator::BitwiseNot, other),
            _ => return None,
        })
    }
}

fn is_isnull(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull"))
}

/// What is sqlparser's.
macro_rules! as_the_base {
    ($($method:ident)*) => {
        $(fn $method(&self) -> bool {
            self.base.$method()
        })*
    };
}

impl Dialect for PostgreSql {
    fn dialect(&self) -> TypeId {
        self.base.dialect()
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let (op, tightness) = self.operator(&parser.peek_token_ref().token)?;
        parser.advance_token();
        let operand = parser.parse_subexpr(tightness);
        Some(operand.map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.base.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.base.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        self.base.is_reserved_for_identifier(kw)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.base.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        if is_isnull(&parser.peek_token_ref().token) {
            return Some(Ok(self.base.prec_value(Precedence::Is)));
        }
        self.base.get_next_precedence(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if !is_isnull(&parser.peek_token_ref().token) {
            return None;
        }
        parser.advance_token();
        Some(Ok(Expr::IsNull(Box::new(expr.clone()))))
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        self.base.prec_value(prec)
    }

    as_the_base! {
        supports_unicode_string_literal
        supports_filter_during_aggregation
        supports_group_by_expr
        allow_extract_custom
        allow_extract_single_quotes
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_listen_notify
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_colon_operator
        supports_named_fn_args_with_expr_name
        supports_empty_projections
        supports_nested_comments
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_set_names
        supports_alter_column_type_using
        supports_notnull_operator
        supports_interval_options
        supports_insert_table_alias
        supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias
        supports_comma_separated_trim
        supports_xml_expressions
        supports_comment_optimizer_hint
    }
}
