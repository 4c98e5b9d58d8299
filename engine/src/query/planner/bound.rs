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

/// Functions of PostgreSQL's that are not built: they are refused, not unknown.
const NOT_BUILT: [&str; 45] = [
    "current_query",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "normalize",
    "parse_ident",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_collation_for",
    "pg_column_compression",
    "pg_column_size",
    "pg_current_snapshot",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_get_keywords",
    "pg_identify_object",
    "pg_jit_available",
    "pg_listening_channels",
    "pg_notification_queue_usage",
    "pg_notify",
    "pg_safe_snapshot_blocking_pids",
    "pg_snapshot_xip",
    "pg_snapshot_xmax",
    "pg_snapshot_xmin",
    "pg_trigger_depth",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "pg_visible_in_snapshot",
    "pg_xact_commit_timestamp",
    "pg_xact_status",
    "setseed",
    "to_ascii",
    "txid_current_snapshot",
    "txid_snapshot_xip",
    "txid_snapshot_xmax",
    "txid_snapshot_xmin",
    "txid_visible_in_snapshot",
];

pub(super) fn undefined_function(name: &str, args: &[Bound]) -> SqlError {
    if NOT_BUILT.contains(&name) {
        return SqlError::not_supported(format!("function {name}"));
    }
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
