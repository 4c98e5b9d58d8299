//! Parts of FROM that refer to what stands on their left: LATERAL queries and functions.

use std::ops::ControlFlow;

use datafusion::{
    common::JoinType,
    sql::sqlparser::ast::{self, JoinOperator, TableFactor},
};

use super::{
    Planner,
    from::{Relation, cross},
    scope::{Env, Scope},
};
use crate::{
    error::{SqlError, sqlstate},
    query::parser::fold_identifier,
};

impl Planner<'_> {
    /// `FROM left, item`.
    pub(super) fn beside(
        &mut self,
        left: Relation,
        item: &ast::TableWithJoins,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let first = depends_on(&item.relation, &left.1);
        if !first && !item.joins.iter().any(|join| depends_on(&join.relation, &left.1)) {
            let right = self.table_with_joins(item, None, outer)?;
            self.check_aliases(&left.1, &right.1)?;
            return cross(left, right);
        }
        if !item.joins.iter().all(keeps_left) {
            let env = Env::new(&left.1, outer, "LATERAL");
            let (plan, right) = self.table_with_joins(item, None, Some(&env))?;
            self.check_aliases(&left.1, &right)?;
            let scope = left.1.join(right);
            return Ok((self.lateral_join(left.0, plan, JoinType::Inner, None)?, scope));
        }
        let mut joined = match first {
            true => self.lateral(left, &item.relation, JoinType::Inner, None, outer)?,
            false => {
                let right = self.relation(&item.relation, outer)?;
                self.check_aliases(&left.1, &right.1)?;
                cross(left, right)?
            }
        };
        for join in &item.joins {
            joined = self.join(joined, join, outer)?;
        }
        Ok(joined)
    }

    /// Joins a relation that refers to those on its left.
    pub(super) fn lateral(
        &mut self,
        left: Relation,
        factor: &TableFactor,
        join_type: JoinType,
        on: Option<&ast::Expr>,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let is_call =
            !matches!(factor, TableFactor::Derived { .. } | TableFactor::NestedJoin { .. });
        if is_call && join_type == JoinType::Inner && on.is_none() {
            return self.table_function(left, factor, outer);
        }
        let (plan, right) = self.lateral_right(&left, factor, join_type, outer)?;
        let scope = left.1.join(right);
        let on = match on {
            None => None,
            Some(on) => {
                let env = Env::new(&scope, outer, "JOIN conditions");
                let bound = self.expr(on, &env)?;
                Some(self.condition(bound, "JOIN/ON")?)
            }
        };
        Ok((self.lateral_join(left.0, plan, join_type, on)?, scope))
    }

    /// The right side of a lateral join.
    pub(super) fn lateral_right(
        &mut self,
        left: &Relation,
        factor: &TableFactor,
        join_type: JoinType,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        if !matches!(join_type, JoinType::Inner | JoinType::Left) {
            let error = SqlError::new(
                sqlstate::INVALID_COLUMN_REFERENCE,
                "invalid reference to FROM-clause entry",
            );
            return Err(error
                .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        let env = Env::new(&left.1, outer, "LATERAL");
        let mut right = self.relation(factor, Some(&env))?;
        if join_type == JoinType::Left {
            right = self.with_presence(right)?;
        }
        self.check_aliases(&left.1, &right.1)?;
        Ok(right)
    }
}

/// Whether a part of FROM may refer to what stands on its left, and something in it is called as
/// something there. What does not is planned by itself, so that conditions can join it.
pub(super) fn depends_on(factor: &TableFactor, left: &Scope) -> bool {
    let may = match factor {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Table { args, .. } => args.is_some(),
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        TableFactor::NestedJoin { table_with_joins, .. } => {
            let joins = table_with_joins.joins.iter().map(|join| &join.relation);
            return joins
                .chain([&table_with_joins.relation])
                .any(|factor| depends_on(factor, left));
        }
        _ => false,
    };
    may && names_any_of(factor, left)
}

fn names_any_of(factor: &TableFactor, scope: &Scope) -> bool {
    let is_table = |name: &str| scope.tables.iter().any(|table| table.alias == name);
    let is_column = |name: &str| {
        scope.columns().any(|column| column.name == name)
            || scope.merged.iter().any(|merged| merged.name == name)
    };
    let found = ast::visit_expressions(factor, |expr| {
        let known = match expr {
            ast::Expr::Identifier(ident) => {
                let name = fold_identifier(ident);
                is_column(&name) || is_table(&name)
            }
            ast::Expr::CompoundIdentifier(parts) => parts.iter().any(|part| {
                let name = fold_identifier(part);
                is_column(&name) || is_table(&name)
            }),
            _ => false,
        };
        match known {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    // `t.*` is no expression.
    found.is_break() || factor.to_string().contains(".*")
}

/// Whether a join keeps every row of its left side and names what it joins by itself, so that more
/// may stand on its left.
fn keeps_left(join: &ast::Join) -> bool {
    use JoinOperator as J;
    let constraint = match &join.join_operator {
        J::Join(c) | J::Inner(c) | J::Left(c) | J::LeftOuter(c) | J::CrossJoin(c) => c,
        _ => return false,
    };
    matches!(constraint, ast::JoinConstraint::On(_) | ast::JoinConstraint::None)
}
