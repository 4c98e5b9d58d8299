//! What a column without AS is called.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, DataType, Expr, FunctionArguments, ObjectNamePart,
};

use crate::{
    query::{parser::fold_identifier, type_names},
    types::PgType,
};

const NONE: &str = "?column?";

/// PostgreSQL's name for an expression of the select list.
#[must_use]
pub fn column_name(expr: &Expr) -> String {
    strong_name(expr).unwrap_or_else(|| weak_name(expr).unwrap_or_else(|| NONE.to_owned()))
}

/// A name that a cast around the expression keeps.
fn strong_name(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => fold_identifier(ident),
        Expr::CompoundIdentifier(parts) => fold_identifier(parts.last()?),
        Expr::Nested(inner) => return strong_name(inner),
        Expr::Collate { expr, .. } => return strong_name(expr),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut fields = access_chain.iter().rev().filter_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(fold_identifier(field)),
                _ => None,
            });
            match fields.next() {
                Some(field) => field,
                None => return strong_name(root),
            }
        }
        Expr::Cast { expr, .. } => return strong_name(expr),
        Expr::Function(function) => {
            let name = match function.name.0.last()? {
                ObjectNamePart::Identifier(ident) => fold_identifier(ident),
                ObjectNamePart::Function(_) => return None,
            };
            if name == "array" && matches!(function.args, FunctionArguments::Subquery(_)) {
                return Some("array".to_owned());
            }
            name
        }
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Tuple(_) => "row".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Substring { shorthand: true, .. } => "substr".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Overlay { .. } => "overlay".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Leading) => "ltrim",
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }
        .to_owned(),
        Expr::Subquery(query) => return subquery_name(query),
        Expr::Case { else_result: Some(result), .. } => return strong_name(result),
        _ => return None,
    })
}

/// A scalar subquery is called as its column is.
fn subquery_name(query: &datafusion::sql::sqlparser::ast::Query) -> Option<String> {
    use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};
    match query.body.as_ref() {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => Some(column_name(expr)).filter(|n| n != NONE),
            SelectItem::ExprWithAlias { alias, .. } => Some(fold_identifier(alias)),
            _ => None,
        },
        SetExpr::Query(query) => subquery_name(query),
        SetExpr::Values(_) => Some("column1".to_owned()),
        _ => None,
    }
}

fn weak_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => weak_name(inner),
        Expr::CompoundFieldAccess { root, .. } => weak_name(root),
        Expr::Cast { data_type, expr, .. } => {
            weak_name(expr).filter(|n| n == "case").or_else(|| type_name(data_type))
        }
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Interval(_) => Some("interval".to_owned()),
        Expr::Case { .. } => Some("case".to_owned()),
        _ => None,
    }
}

/// The internal name of a type: `int4`, not `integer`.
fn type_name(data_type: &DataType) -> Option<String> {
    match (type_names::pg_type(data_type), data_type) {
        (Ok(ty), _) => Some(internal_name(&ty)),
        (Err(_), DataType::Array(ArrayElemTypeDef::SquareBracket(of, _))) => type_name(of),
        // A type of the catalog's has the name that is written.
        (Err(_), DataType::Custom(name, _)) => match name.0.last()? {
            ObjectNamePart::Identifier(ident) => Some(fold_identifier(ident)),
            ObjectNamePart::Function(_) => None,
        },
        _ => None,
    }
}

/// `pg_type.typname`.
pub(super) fn internal_name(ty: &PgType) -> String {
    match ty {
        PgType::Bool => "bool".into(),
        PgType::Int2 => "int2".into(),
        PgType::Int4 => "int4".into(),
        PgType::Int8 => "int8".into(),
        PgType::Float4 => "float4".into(),
        PgType::Float8 => "float8".into(),
        PgType::Numeric(_) => "numeric".into(),
        PgType::Varchar(_) => "varchar".into(),
        PgType::Bpchar(_) => "bpchar".into(),
        PgType::Char => "char".into(),
        PgType::Time(_) => "time".into(),
        PgType::Timetz(_) => "timetz".into(),
        PgType::Interval(_) => "interval".into(),
        PgType::Timestamp(_) => "timestamp".into(),
        PgType::Timestamptz(_) => "timestamptz".into(),
        PgType::Array(of) => internal_name(of),
        other => other.sql_name(),
    }
}
