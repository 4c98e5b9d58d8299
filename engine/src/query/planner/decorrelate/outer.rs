//! References to columns of queries further out.

use std::collections::HashSet;

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
};

use crate::{error::SqlError, query::errors::sql_error};

/// The outer columns that a plan refers to, without those inside of subqueries in expressions.
pub(super) fn outer_columns(plan: &LogicalPlan) -> Result<HashSet<Column>, SqlError> {
    let mut columns = HashSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            gather(expr, &mut columns);
            Ok(TreeNodeRecursion::Continue)
        })
    })
    .map_err(sql_error)?;
    Ok(columns)
}

fn gather(expr: &Expr, columns: &mut HashSet<Column>) {
    let visited = expr.apply(|e| {
        if let Expr::OuterReferenceColumn(_, column) = e {
            columns.insert(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor does not err");
}

/// Those of `columns` that `schema` has.
pub(super) fn among(columns: HashSet<Column>, schema: &DFSchema) -> HashSet<Column> {
    columns.into_iter().filter(|c| schema.has_column(c)).collect()
}

/// Whether an expression refers to one of these outer columns.
pub(super) fn refers(expr: &Expr, ours: &HashSet<Column>) -> bool {
    let outer = |e: &Expr| Ok(matches!(e, Expr::OuterReferenceColumn(_, c) if ours.contains(c)));
    expr.exists(outer).unwrap_or(true)
}

/// Whether a plan refers to one of these outer columns.
pub(super) fn plan_refers(plan: &LogicalPlan, ours: &HashSet<Column>) -> Result<bool, SqlError> {
    Ok(outer_columns(plan)?.iter().any(|c| ours.contains(c)))
}

/// Replaces outer references for which `with` has something.
pub(super) fn replace_outer(
    expr: Expr,
    with: &dyn Fn(&Column) -> Option<Expr>,
) -> Result<Expr, SqlError> {
    expr.transform_up(|e| match &e {
        Expr::OuterReferenceColumn(_, column) => match with(column) {
            Some(to) => Ok(Transformed::yes(to)),
            None => Ok(Transformed::no(e)),
        },
        _ => Ok(Transformed::no(e)),
    })
    .map(|t| t.data)
    .map_err(sql_error)
}

/// Outer references to `ours` as the query that has these columns writes them.
pub(super) fn as_own(expr: Expr, ours: &HashSet<Column>) -> Result<Expr, SqlError> {
    replace_outer(expr, &|column| ours.contains(column).then(|| Expr::Column(column.clone())))
}

/// The other way round: what a query inside writes for an expression over columns of `schema`.
pub(super) fn as_outer(expr: Expr, schema: &DFSchema) -> Result<Expr, SqlError> {
    expr.transform_up(|e| match e {
        Expr::Column(column) => {
            let (_, field) = schema.qualified_field_from_column(&column)?;
            let field = field.as_ref().clone().with_nullable(true);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(std::sync::Arc::new(field), column)))
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|t| t.data)
    .map_err(sql_error)
}

/// The expression under the name that `like` has in its plan's schema.
pub(super) fn named_as(expr: Expr, like: &Column) -> Expr {
    let (relation, name) = expr.qualified_name();
    if relation == like.relation && name == like.name {
        return expr;
    }
    expr.alias_qualified(like.relation.clone(), &like.name)
}
