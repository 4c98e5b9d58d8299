//! WITH RECURSIVE.

use std::sync::Arc;

use datafusion::{
    catalog::cte_worktable::CteWorkTable,
    common::Column,
    datasource::provider_as_source,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Projection, logical_plan::TableScanBuilder,
    },
    sql::sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier},
};

use super::{
    Planner,
    bound::{Bound, base},
    coerce::CastContext,
    query::{OutputColumn, QueryPlan, distinct_key},
    scope::Env,
    search_cycle::Followed,
    with_queries::{Cte, renamed},
};
use crate::{
    error::{SqlError, sqlstate},
    query::errors::sql_error,
    types::PgType,
};

impl Planner<'_> {
    /// `left UNION [ALL] right`, where `right` refers to the result as `name`.
    pub(super) fn recursive(
        &mut self,
        name: &str,
        renames: &[String],
        query: &ast::Query,
        followed: Option<&Followed>,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        // Both terms are queries inside, with names of their own.
        self.queries += 1;
        let depth = self.ctes.len();
        let terms = match &query.with {
            None => self.recursive_terms(name, renames, &query.body, followed, outer),
            Some(with) => self
                .with_clause(with, outer)
                .and_then(|()| self.recursive_terms(name, renames, &query.body, followed, outer)),
        };
        self.ctes.truncate(depth);
        self.queries -= 1;
        terms
    }

    fn recursive_terms(
        &mut self,
        name: &str,
        renames: &[String],
        body: &SetExpr,
        followed: Option<&Followed>,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } = body
        else {
            return Err(SqlError::internal("a recursive query that is no UNION"));
        };
        let all = *set_quantifier == SetQuantifier::All;
        let (plan, columns) = self.set_expr(left, outer)?;
        let (plan, columns) = self.decided(plan, columns)?;
        let (start, columns) = self.without_modifiers(plan, columns)?;
        if !all && columns.iter().any(|c| distinct_key(&c.ty)) {
            return Err(SqlError::not_supported("UNION of such column types in a recursive query"));
        }
        let own = columns.len();
        let followed = match followed {
            None => None,
            Some(followed) => Some((followed, renamed(name, columns.clone(), renames)?)),
        };
        let (start, columns) = match &followed {
            None => (start, columns),
            Some((followed, names)) => {
                self.check_followed(followed, names, left, right)?;
                self.begin_following(start, names, followed)?
            }
        };
        let work_name = self.unique_qualifier(name).to_string();
        let fields: Vec<_> = columns.iter().map(|c| c.ty.plan_field(&c.internal, true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let work = provider_as_source(Arc::new(CteWorkTable::new(&work_name, schema)));
        let scan = TableScanBuilder::new(work_name.clone(), work).build().map_err(sql_error)?;
        let exprs = columns.iter().map(|c| Expr::Column(Column::from_name(&c.internal)));
        let scan = Arc::new(LogicalPlan::TableScan(scan));
        let scan = Projection::try_new(exprs.collect(), scan).map_err(sql_error)?;
        let visible = renamed(name, columns.clone(), renames)?;
        let depth = self.ctes.len();
        self.ctes.push(Cte {
            name: name.to_owned(),
            plan: LogicalPlan::Projection(scan),
            columns: visible,
            used: false,
            work_table: true,
            hidden: columns.len() - own,
            returns: true,
        });
        let step = match &followed {
            None => self.set_expr(right, outer),
            Some((followed, _)) => self.followed_step(name, right, followed, outer),
        };
        self.ctes.truncate(depth);
        let mut step = step?;
        if step.1.len() != columns.len() {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "each UNION query must have the same number of columns",
            ));
        }
        for (index, (c, s)) in columns.iter().zip(&step.1).take(own).enumerate() {
            self.check_step_type(name, index, c, s).map_err(|e| match item_at(left, index) {
                Some(expr) => self.locate(e, expr),
                None => e,
            })?;
        }
        let types: Vec<_> = columns.iter().map(|c| c.ty.clone()).collect();
        if let Some((followed, names)) = &followed {
            step = self.follow(step, &columns, names, followed)?;
        }
        let step = self.cast_output(step, &columns, &types)?;
        let plan = LogicalPlanBuilder::new(start)
            .to_recursive_query(work_name, step, !all)
            .and_then(|b| b.build())
            .map_err(sql_error)?;
        Ok((plan, columns))
    }

    /// The rows that a recursion starts with, whose numbers have digits as they come: those of the
    /// steps may have more.
    fn without_modifiers(
        &mut self,
        plan: LogicalPlan,
        mut columns: Vec<OutputColumn>,
    ) -> Result<QueryPlan, SqlError> {
        let computed = |c: &OutputColumn| !c.keeps_modifier && c.ty != base(&c.ty);
        if !columns.iter().any(computed) {
            return Ok((plan, columns));
        }
        let mut exprs = Vec::with_capacity(columns.len());
        for column in &mut columns {
            let shown = Expr::Column(Column::from_name(&column.internal));
            if computed(column) {
                let bound = Bound::new(shown, column.ty.clone());
                column.ty = base(&column.ty);
                column.internal = self.fresh_name(&column.name);
                let bound = match column.ty {
                    PgType::Numeric(_) => self.bare(bound)?,
                    _ => self.coerce(bound, &column.ty, CastContext::Implicit)?.expr,
                };
                exprs.push(bound.alias(&column.internal));
            } else {
                exprs.push(shown);
            }
        }
        let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), columns))
    }

    /// The type of a step's column is what the query began with.
    fn check_step_type(
        &mut self,
        name: &str,
        index: usize,
        start: &OutputColumn,
        step: &OutputColumn,
    ) -> Result<(), SqlError> {
        if step.ty == PgType::Unknown {
            return Ok(());
        }
        let overall = self.common_type(&[start.ty.clone(), step.ty.clone()], "UNION")?;
        let shown = if step.keeps_modifier { step.ty.clone() } else { base(&step.ty) };
        let overall = if shown == start.ty { shown } else { base(&overall) };
        if overall == start.ty {
            return Ok(());
        }
        let message = format!(
            "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} \
             overall",
            index + 1,
            start.ty.sql_name(),
            overall.sql_name()
        );
        Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
            .hint("Cast the output of the non-recursive term to the correct type."))
    }
}

/// The expression of a column of a query's result, where its first part spells it out.
fn item_at(body: &SetExpr, index: usize) -> Option<&ast::Expr> {
    match body {
        SetExpr::SetOperation { left, .. } => item_at(left, index),
        SetExpr::Query(query) => item_at(&query.body, index),
        SetExpr::Select(select) => match select.projection.get(index)? {
            ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
                Some(expr)
            }
            _ => None,
        },
        _ => None,
    }
}
