//! WITH RECURSIVE.

use std::sync::Arc;

use datafusion::{
    catalog::cte_worktable::CteWorkTable,
    common::Column,
    datasource::provider_as_source,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Projection, logical_plan::TableScanBuilder,
    },
    sql::sqlparser::ast::SetExpr,
};

use super::{
    Planner,
    query::{Cte, QueryPlan, distinct_key, renamed},
    scope::Env,
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
        left: &SetExpr,
        right: &SetExpr,
        all: bool,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        // Both terms are queries inside, with names of their own.
        self.queries += 1;
        let terms = self.recursive_terms(name, renames, left, right, all, outer);
        self.queries -= 1;
        terms
    }

    fn recursive_terms(
        &mut self,
        name: &str,
        renames: &[String],
        left: &SetExpr,
        right: &SetExpr,
        all: bool,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let (plan, columns) = self.set_expr(left, outer)?;
        let (start, columns) = self.decided(plan, columns)?;
        if !all && columns.iter().any(|c| distinct_key(&c.ty)) {
            return Err(SqlError::not_supported("UNION of such column types in a recursive query"));
        }
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
        });
        let step = self.set_expr(right, outer);
        self.ctes.truncate(depth);
        let step = step?;
        if step.1.len() != columns.len() {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "each UNION query must have the same number of columns",
            ));
        }
        for (index, (c, s)) in columns.iter().zip(&step.1).enumerate() {
            if s.ty != PgType::Unknown && !super::bound::same_base(&c.ty, &s.ty) {
                let overall = self.common_type(&[c.ty.clone(), s.ty.clone()], "UNION")?;
                if super::bound::same_base(&overall, &c.ty) {
                    continue;
                }
                return Err(SqlError::new(
                    sqlstate::DATATYPE_MISMATCH,
                    format!(
                        "recursive query \"{name}\" column {} has type {} in non-recursive term \
                         but type {} overall",
                        index + 1,
                        super::bound::type_name(&c.ty),
                        super::bound::type_name(&overall)
                    ),
                )
                .hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let types: Vec<_> = columns.iter().map(|c| c.ty.clone()).collect();
        let step = self.cast_output(step, &columns, &types)?;
        let plan = LogicalPlanBuilder::new(start)
            .to_recursive_query(work_name, step, !all)
            .and_then(|b| b.build())
            .map_err(sql_error)?;
        Ok((plan, columns))
    }
}
