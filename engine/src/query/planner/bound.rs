//! Expressions with their PostgreSQL types.

use datafusion::{logical_expr::Expr, scalar::ScalarValue};

use crate::{
    error::{SqlError, sqlstate},
    types::PgType,
};

/// An expression and its type. [`PgType::Unknown`] stands for a string literal, NULL or parameter
/// whose type its surroundings decide.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) expr: Expr,
    pub(super) ty: PgType,
}

impl Bound {
    pub(super) fn new(expr: Expr, ty: PgType) -> Self {
        Self { expr, ty }
    }

    pub(super) fn literal(value: ScalarValue, ty: PgType) -> Self {
        Self { expr: Expr::Literal(value, None), ty }
    }

    pub(super) fn bool(expr: Expr) -> Self {
        Self { expr, ty: PgType::Bool }
    }

    pub(super) fn text(value: impl Into<String>) -> Self {
        Self::literal(ScalarValue::Utf8View(Some(value.into())), PgType::Text)
    }

    pub(super) fn int4(value: i32) -> Self {
        Self::literal(ScalarValue::Int32(Some(value)), PgType::Int4)
    }

    /// `int2vector` and `oidvector` as arrays, which they are but for their text and their numbering.
    pub(super) fn vector_as_array(self) -> Self {
        match self.ty.vector_item() {
            Some(item) => Self::new(self.expr, PgType::Array(std::sync::Arc::new(item))),
            None => self,
        }
    }

    /// NULL of a type.
    pub(super) fn null(ty: PgType) -> Result<Self, SqlError> {
        Ok(Self::literal(null_of(&ty)?, ty))
    }

    pub(super) fn constant(&self) -> Option<&ScalarValue> {
        match &self.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }
    }

    /// The text of a constant text or unknown literal.
    pub(super) fn constant_text(&self) -> Option<&str> {
        match self.constant()? {
            ScalarValue::Utf8View(Some(text)) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn null_of(ty: &PgType) -> Result<ScalarValue, SqlError> {
    ScalarValue::try_from(&ty.arrow_type()).map_err(|error| SqlError::internal(error.to_string()))
}

/// How a type is called in messages: without its modifier.
pub(super) fn type_name(ty: &PgType) -> String {
    match ty {
        PgType::Bpchar(_) => "character".to_owned(),
        PgType::Array(of) => format!("{}[]", type_name(of)),
        ty => ty.without_modifier().sql_name(),
    }
}

/// The same type without length, precision or scale.
pub(super) fn base(ty: &PgType) -> PgType {
    ty.without_modifier()
}

pub(super) fn same_base(a: &PgType, b: &PgType) -> bool {
    base(a) == base(b)
}

pub(super) fn is_numeric(ty: &PgType) -> bool {
    matches!(ty, PgType::Numeric(_))
}

pub(super) fn undefined_function(name: &str, args: &[Bound]) -> SqlError {
    let types: Vec<_> = args.iter().map(|a| type_name(&a.ty)).collect();
    let message = format!("function {name}({}) does not exist", types.join(", "));
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).hint(
        "No function matches the given name and argument types. \
         You might need to add explicit type casts.",
    )
}

pub(super) fn undefined_operator(symbol: &str, left: Option<&PgType>, right: &PgType) -> SqlError {
    let right = type_name(right);
    let message = match left {
        Some(left) => format!("operator does not exist: {} {symbol} {right}", type_name(left)),
        None => format!("operator does not exist: {symbol} {right}"),
    };
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).hint(
        "No operator matches the given name and argument types. \
         You might need to add explicit type casts.",
    )
}
