//! Outer joins whose condition has subqueries that refer to both sides.

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType},
    logical_expr::{Expr, LogicalPlan, Operator, Window, logical_plan::Join, utils::conjunction},
};

use super::{
    super::{
        Planner, distinct_on::row_number, from::join_plans, operators::binary, select::filter,
    },
    joined, narrowed, project,
};
use crate::{
    error::SqlError,
    query::{errors::sql_error, shared_rows::shared},
};

impl Planner<'_> {
    /// The rows of both sides get numbers. The pairs of numbers whose rows satisfy the condition are
    /// an inner join, where subqueries may refer to anything; the sides are joined by these pairs.
    pub(super) fn outer_join_on_both(&mut self, join: Join) -> Result<LogicalPlan, SqlError> {
        let columns = join.schema.columns();
        let keys = join.on.into_iter().map(|(l, r)| binary(l, Operator::Eq, r));
        let conditions: Vec<Expr> = keys.chain(join.filter).collect();
        let (left, of_left) = self.numbered_rows(Arc::unwrap_or_clone(join.left))?;
        let (right, of_right) = self.numbered_rows(Arc::unwrap_or_clone(join.right))?;
        let mut pairs = join_plans(left.clone(), right.clone(), JoinType::Inner, None)?;
        if let Some(condition) = conjunction(conditions) {
            pairs = filter(pairs, condition)?;
        }
        let (from_left, from_right) = (self.fresh_name("__left"), self.fresh_name("__right"));
        let shown = vec![of_left.clone().alias(&from_left), of_right.clone().alias(&from_right)];
        let pairs = self.flatten(project(pairs, shown)?)?;
        let (first, second) = match join.join_type {
            JoinType::Left => (JoinType::Left, JoinType::Left),
            JoinType::Right => (JoinType::Inner, JoinType::Right),
            JoinType::Full => (JoinType::Left, JoinType::Full),
            other => {
                let what = format!("a subquery in the condition of a {other} join");
                return Err(SqlError::not_supported(what));
            }
        };
        let column = |name: String| Expr::Column(Column::from_name(name));
        let plan = joined(left, pairs, first, vec![(of_left, column(from_left))], None, false)?;
        let plan = joined(plan, right, second, vec![(column(from_right), of_right)], None, false)?;
        narrowed(plan, &columns)
    }

    /// The rows beside a number of each, the same wherever they are read.
    fn numbered_rows(&mut self, plan: LogicalPlan) -> Result<(LogicalPlan, Expr), SqlError> {
        let name = self.fresh_name("__number");
        let number = row_number(Vec::new(), Vec::new()).alias(&name);
        let plan = Window::try_new(vec![number], Arc::new(plan)).map_err(sql_error)?;
        Ok((shared(LogicalPlan::Window(plan)), Expr::Column(Column::from_name(name))))
    }
}
