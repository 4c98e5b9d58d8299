//! Whether an outer side is a handful of rows at most, as its conditions say.
//!
//! A subquery whose correlation is by equality can be computed [for all keys](super::keyed), or
//! [for those that the outer side has](super::dependent). The first reads the outer side once, the
//! second does not compute what nobody asks for. Where the outer side is found by its key, the second
//! wins:
//!
//! ```text
//! SELECT (SELECT count(*) FROM orders WHERE orders.customer = c.id) FROM customers c WHERE c.id = $1
//! ```

use datafusion::{
    datasource::source_as_provider,
    logical_expr::{
        Expr, LogicalPlan, TableProviderFilterPushDown, TableScan, expr_rewriter::unnormalize_col,
        utils::split_conjunction,
    },
};
use hashbrown::HashMap;

use super::pulled::{aliased_columns, renamed_columns};
use crate::{
    error::SqlError,
    query::{errors::sql_error, scan::StoredTable},
};

/// Whether conditions name the keys of the rows of one table, or, of a system table, the relations
/// that its rows are about.
pub(super) fn is_found_by_key(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let mut plan = plan;
    let mut conditions: Vec<Expr> = Vec::new();
    loop {
        match plan {
            LogicalPlan::Filter(node) => {
                conditions.extend(split_conjunction(&node.predicate).into_iter().cloned());
                plan = &node.input;
            }
            LogicalPlan::Projection(node) => {
                conditions = below(conditions, node.schema.columns(), &node.expr)?;
                plan = &node.input;
            }
            LogicalPlan::SubqueryAlias(node) => {
                conditions = below(conditions, node.schema.columns(), &aliased_columns(node))?;
                plan = &node.input;
            }
            LogicalPlan::TableScan(scan) => return finds_by_key(scan, &conditions),
            _ => return Ok(false),
        }
    }
}

/// The conditions in terms of what a projection is over.
fn below(
    conditions: Vec<Expr>,
    columns: Vec<datafusion::common::Column>,
    exprs: &[Expr],
) -> Result<Vec<Expr>, SqlError> {
    let names: HashMap<_, _> =
        columns.into_iter().zip(exprs.iter().map(|e| e.clone().unalias())).collect();
    conditions.into_iter().map(|condition| renamed_columns(condition, &names)).collect()
}

fn finds_by_key(scan: &TableScan, conditions: &[Expr]) -> Result<bool, SqlError> {
    let provider = source_as_provider(&scan.source).map_err(sql_error)?;
    // As a provider gets them.
    let own: Vec<Expr> = conditions.iter().cloned().map(unnormalize_col).collect();
    if let Some(table) = provider.downcast_ref::<StoredTable>() {
        return Ok(table.keys_are_listed(&own));
    }
    let own: Vec<&Expr> = own.iter().collect();
    let uses = provider.supports_filters_pushdown(&own).map_err(sql_error)?;
    Ok(uses.iter().any(|use_| *use_ != TableProviderFilterPushDown::Unsupported))
}
