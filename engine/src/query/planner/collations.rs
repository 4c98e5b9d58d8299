//! `COLLATE`: which collations there are, and that two of them do not meet.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator};

use super::{Planner, bound::Bound, coerce::CastContext, scope::Env};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::cast::is_text,
    types::PgType,
};

impl Planner<'_> {
    pub(super) fn collate(
        &mut self,
        expr: &ast::Expr,
        collation: &ast::ObjectName,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let name = name(collation);
        // Texts compare by their bytes, which is what these collations say.
        if !matches!(name.as_str(), "default" | "C" | "POSIX" | "ucs_basic") {
            return Err(self.refuse(expr, &format!("collation {name:?}")));
        }
        let bound = self.expr(expr, env)?;
        if !is_text(&bound.ty) {
            let message = format!(
                "collations are not supported by type {}",
                super::bound::type_name(&bound.ty)
            );
            return Err(self.locate(SqlError::new(sqlstate::DATATYPE_MISMATCH, message), expr));
        }
        if bound.ty == PgType::Unknown {
            return self.coerce(bound, &PgType::Text, CastContext::Implicit);
        }
        Ok(bound)
    }
}

fn name(collation: &ast::ObjectName) -> String {
    let name = collation.to_string().replace('"', "");
    name.strip_prefix("pg_catalog.").map_or(name.clone(), str::to_owned)
}

/// The collation that is written at an operand, or at the last piece of what it is concatenated of.
fn explicit(expr: &ast::Expr) -> Option<String> {
    let mut expr = expr;
    loop {
        expr = match expr {
            ast::Expr::Nested(inner) => inner,
            ast::Expr::BinaryOp { op: BinaryOperator::StringConcat, right, .. } => right,
            ast::Expr::Collate { collation, .. } => return Some(name(collation)),
            _ => return None,
        }
    }
}

/// That operands of one operator are not collated in two ways.
///
/// # Errors
/// 42P21 if they are.
pub(super) fn agree(left: &ast::Expr, right: &ast::Expr) -> Result<(), SqlError> {
    let (Some(left), Some(right)) = (explicit(left), explicit(right)) else { return Ok(()) };
    if left == right {
        return Ok(());
    }
    let message =
        format!("collation mismatch between explicit collations \"{left}\" and \"{right}\"");
    Err(SqlError::new(sqlstate::COLLATION_MISMATCH, message))
}
