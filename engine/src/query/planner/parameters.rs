//! Types of parameters that are items of a select list by themselves: what the column is for decides.

use datafusion::sql::sqlparser::ast::{self, SetExpr};

use super::{Planner, bound::base, query::OutputColumn, scope::Env};
use crate::{error::SqlError, types::PgType};

impl Planner<'_> {
    /// The types that parameters in the select lists of a set operation's sides take: of the other
    /// side's column. Empty if there are none.
    pub(super) fn types_for_parameters(
        &mut self,
        sides: [&SetExpr; 2],
        outer: Option<&Env<'_>>,
    ) -> Result<Vec<PgType>, SqlError> {
        let bare = sides.map(bare_parameters);
        if bare.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        // What the other columns are is only known once they are planned; the plans are thrown away.
        let params = self.params.clone();
        let left = self.set_expr(sides[0], outer)?.1;
        let right = self.set_expr(sides[1], outer)?.1;
        self.params = params;
        let of_column = |(index, (left, right)): (usize, (&OutputColumn, &OutputColumn))| {
            let ty = if bare[0].contains(&index) { &right.ty } else { &left.ty };
            if *ty == PgType::Unknown { PgType::Text } else { base(ty) }
        };
        Ok(left.iter().zip(&right).enumerate().map(of_column).collect())
    }
}

/// Where in its select list a side of a set operation has parameters by themselves.
fn bare_parameters(side: &SetExpr) -> Vec<usize> {
    let select = match side {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return bare_parameters(&query.body),
        _ => return Vec::new(),
    };
    let is_parameter = |item: &ast::SelectItem| {
        let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) =
            item
        else {
            return false;
        };
        let value = |value: &ast::ValueWithSpan| matches!(value.value, ast::Value::Placeholder(_));
        matches!(expr, ast::Expr::Value(v) if value(v))
    };
    let items = select.projection.iter().enumerate();
    items.filter(|(_, item)| is_parameter(item)).map(|(index, _)| index).collect()
}
