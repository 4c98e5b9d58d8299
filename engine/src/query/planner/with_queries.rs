//! The queries of WITH, and what refers to them.

use std::sync::Arc;

use datafusion::{
    common::Column,
    logical_expr::{Expr, LogicalPlan, Projection},
    sql::sqlparser::ast::{self, SetExpr},
};

use super::{
    Planner,
    decorrelate::is_repeatable,
    from::Relation,
    query::OutputColumn,
    scope::Env,
    with_items::{WithItem, unwrapped},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        parser::{columns_and_clauses, fold_identifier},
        shared_rows::shared,
    },
};

/// A common table expression in scope.
#[derive(Clone)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) plan: LogicalPlan,
    pub(super) columns: Vec<OutputColumn>,
    /// Whether the plan stands somewhere already, with its names.
    pub(super) used: bool,
    /// Whether it is what the step before gave of a recursive query that is being planned.
    pub(super) work_table: bool,
    /// How many of its last columns `*` does not show.
    pub(super) hidden: usize,
    /// False for a change of rows without RETURNING.
    pub(super) returns: bool,
}

impl Planner<'_> {
    pub(super) fn with_clause(
        &mut self,
        with: &ast::With,
        outer: Option<&Env<'_>>,
    ) -> Result<(), SqlError> {
        let mut names: Vec<String> = Vec::new();
        for cte in &with.cte_tables {
            let name = fold_identifier(&cte.alias.name);
            if names.contains(&name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                let error = SqlError::new(sqlstate::DUPLICATE_ALIAS, message);
                return Err(self.at(error, &cte.alias.name));
            }
            names.push(name);
        }
        let items = self.with_items(with)?;
        self.with_names.push(names);
        let planned = self.with_queries(items, outer);
        self.with_names.pop();
        planned
    }

    fn with_queries(
        &mut self,
        items: Vec<WithItem<'_>>,
        outer: Option<&Env<'_>>,
    ) -> Result<(), SqlError> {
        for item in items {
            let cte = item.cte;
            let name = fold_identifier(&cte.alias.name);
            let clauses = self.clauses_of(item)?;
            let (columns, _) = columns_and_clauses(&cte.alias);
            let renames: Vec<_> = columns.iter().map(|c| fold_identifier(&c.name)).collect();
            if is_change(&cte.query) {
                let (plan, columns) = self.change_in_with(&name, cte, item.recursive)?;
                let columns = renamed(&name, columns, &renames)?;
                let returns = self.changes.last().is_some_and(|c| c.dml.fields.is_some());
                self.ctes.push(Cte {
                    name,
                    plan,
                    columns,
                    used: false,
                    work_table: false,
                    hidden: 0,
                    returns,
                });
                continue;
            }
            let (plan, columns) = match unwrapped(&cte.query) {
                query if item.recursive => {
                    self.recursive(&name, &renames, query, clauses.as_ref(), outer)?
                }
                _ => {
                    let (plan, columns) = self.query(&cte.query, outer)?;
                    self.decided(plan, columns)?
                }
            };
            let columns =
                renamed(&name, columns, &renames).map_err(|e| self.at(e, &cte.alias.name))?;
            // What it is ordered by is computed with it.
            let plan = self.with_order_columns(plan)?;
            // It is computed once, however often it is read.
            let plan = if is_repeatable(&plan)? {
                plan
            } else {
                self.shares = true;
                shared(plan)
            };
            let (used, work_table, returns) = (false, false, true);
            self.ctes.push(Cte { name, plan, columns, used, work_table, hidden: 0, returns });
        }
        Ok(())
    }

    /// A common table expression by name.
    pub(super) fn cte(
        &mut self,
        name: &str,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Option<Relation>, SqlError> {
        let Some(found) = self.ctes.iter_mut().rev().find(|c| c.name == name) else {
            return Ok(None);
        };
        if !found.returns {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let mut cte = found.clone();
        found.used = true;
        if cte.used {
            // The same plan once more, but not the same names.
            let mut exprs = Vec::with_capacity(cte.columns.len());
            for column in &mut cte.columns {
                let shown = Expr::Column(Column::from_name(&column.internal));
                column.internal = self.fresh_name(&column.name);
                exprs.push(shown.alias(&column.internal));
            }
            let renamed = Projection::try_new(exprs, Arc::new(cte.plan)).map_err(sql_error)?;
            cte.plan = LogicalPlan::Projection(renamed);
        }
        let plain = ast::TableAlias {
            explicit: false,
            name: ast::Ident::with_quote('"', name),
            columns: Vec::new(),
            at: None,
        };
        let visible = cte.columns.len() - cte.hidden;
        let (plan, mut scope) = self.aliased(cte.plan, &cte.columns, alias.unwrap_or(&plain))?;
        for table in &mut scope.tables {
            for column in table.columns.iter_mut().skip(visible) {
                column.hidden = true;
            }
        }
        Ok(Some((plan, scope)))
    }
}

/// Whether an item of WITH is an INSERT, UPDATE or DELETE.
fn is_change(query: &ast::Query) -> bool {
    matches!(
        query.body.as_ref(),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    )
}

pub(super) fn renamed(
    table: &str,
    mut columns: Vec<OutputColumn>,
    names: &[String],
) -> Result<Vec<OutputColumn>, SqlError> {
    if names.len() > columns.len() {
        let message = format!(
            "WITH query \"{table}\" has {} columns available but {} columns specified",
            columns.len(),
            names.len()
        );
        return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    Ok(columns)
}
