//! Operators by their symbols.

use datafusion::sql::sqlparser::ast::BinaryOperator as B;

/// Operators of JSON and arrays. `json`: whether those are meant that others have, too.
pub(super) fn json_symbol(op: &B, json: bool) -> Option<&'static str> {
    Some(match op {
        B::Arrow => "->",
        B::LongArrow => "->>",
        B::HashArrow => "#>",
        B::HashLongArrow => "#>>",
        B::AtArrow => "@>",
        B::ArrowAt => "<@",
        B::PGOverlap => "&&",
        B::Question => "?",
        B::QuestionPipe => "?|",
        B::QuestionAnd => "?&",
        B::HashMinus => "#-",
        B::AtQuestion => "@?",
        B::AtAt => "@@",
        B::StringConcat if json => "||",
        B::Minus if json => "-",
        _ => return None,
    })
}

/// The operator in `OPERATOR(pg_catalog.name)`.
pub(super) fn named_operator(name: &str) -> Option<B> {
    Some(match name {
        "=" => B::Eq,
        "<>" | "!=" => B::NotEq,
        "<" => B::Lt,
        "<=" => B::LtEq,
        ">" => B::Gt,
        ">=" => B::GtEq,
        "+" => B::Plus,
        "-" => B::Minus,
        "*" => B::Multiply,
        "/" => B::Divide,
        "%" => B::Modulo,
        "||" => B::StringConcat,
        "~" => B::PGRegexMatch,
        "~*" => B::PGRegexIMatch,
        "!~" => B::PGRegexNotMatch,
        "!~*" => B::PGRegexNotIMatch,
        "~~" => B::PGLikeMatch,
        "~~*" => B::PGILikeMatch,
        "!~~" => B::PGNotLikeMatch,
        "!~~*" => B::PGNotILikeMatch,
        "^" => B::PGExp,
        "->" => B::Arrow,
        "->>" => B::LongArrow,
        "#>" => B::HashArrow,
        "#>>" => B::HashLongArrow,
        "@>" => B::AtArrow,
        "<@" => B::ArrowAt,
        "&&" => B::PGOverlap,
        "?" => B::Question,
        "?|" => B::QuestionPipe,
        "?&" => B::QuestionAnd,
        "#-" => B::HashMinus,
        _ => return None,
    })
}
