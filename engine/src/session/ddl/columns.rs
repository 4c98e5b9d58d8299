//! Actions of ALTER TABLE on columns.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col};
use glaredb_catalog::descriptor::Table;
use glaredb_txn::commit::message::Scope;

use super::{
    super::{context::ExecutionContext, row_types::type_of, run},
    comment::column_of,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, planner},
};

pub(super) fn rename(table: &mut Table, from: &str, to: &str) -> Result<(), SqlError> {
    if table.column(from).is_none() {
        let message = format!("column \"{from}\" does not exist");
        return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
    }
    if table.column(to).is_some() {
        let message = format!("column \"{to}\" of relation \"{}\" already exists", table.name);
        return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
    }
    to.clone_into(&mut column_of(table, from)?.name);
    Ok(())
}

pub(super) fn set_default(
    context: &ExecutionContext,
    table: &mut Table,
    name: &str,
    default: Option<&str>,
) -> Result<(), SqlError> {
    let column = column_of(table, name)?;
    if let Some(default) = default {
        let pg_type = type_of(&context.catalog, column.type_oid, column.typmod)
            .ok_or_else(|| SqlError::internal(format!("column \"{name}\" of unknown type")))?;
        context.plan(|plan| planner::plan_default(plan, name, &pg_type, default))?;
    }
    // DEFAULT NULL is none.
    let default = default.filter(|default| !default.trim().eq_ignore_ascii_case("null"));
    column.default_oid = default.map_or(0, |_| context.engine.allocator().oid());
    column.default = default.map(str::to_owned);
    Ok(())
}

pub(super) fn drop_not_null(table: &mut Table, name: &str) -> Result<(), SqlError> {
    let key = table.primary_key.as_ref().map(|key| key.columns.clone()).unwrap_or_default();
    let column = column_of(table, name)?;
    if key.contains(&column.id) {
        let message = format!("column \"{name}\" is in a primary key");
        return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    column.not_null = false;
    Ok(())
}

/// SET NOT NULL, after a look at the rows.
pub(super) async fn set_not_null(
    context: &ExecutionContext,
    old: &Arc<Table>,
    table: &mut Table,
    name: &str,
) -> Result<(), SqlError> {
    let column = column_of(table, name)?;
    if column.not_null {
        return Ok(());
    }
    column.not_null = true;
    let id = column.id;
    let Some(before) = old.column_by_id(id) else {
        // Added by the same statement: as if ADD COLUMN had said it.
        return Err(SqlError::not_supported(
            "SET NOT NULL of a column added by the same statement",
        ));
    };
    let is_null = column_expr(&before.name).is_null();
    refuse_rows(context, old, Some(is_null), name).await
}

/// 23502 for the column if the table has a row (where there is a `filter`, one that it takes), and
/// an end to the transaction if one comes meanwhile.
pub(super) async fn refuse_rows(
    context: &ExecutionContext,
    table: &Arc<Table>,
    filter: Option<Expr>,
    column: &str,
) -> Result<(), SqlError> {
    let schema = context.schema_of(table)?;
    let resolved = context.engine.resolved_table(&context.catalog, &schema.name, table)?;
    let Some(first) = table.columns.first() else { return Ok(()) };
    let plan = LogicalPlanBuilder::scan("t", Arc::clone(&resolved.source), None)
        .and_then(|scan| match filter {
            Some(filter) => scan.filter(filter),
            None => Ok(scan),
        })
        .and_then(|rows| rows.project([column_expr(&first.name)]))
        .and_then(|rows| rows.limit(0, Some(1)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    let mut rows = run::start(context, plan).await?;
    while let Some(batch) = rows.next().await? {
        if batch.num_rows() > 0 {
            return Err(holds_null(context, table, column));
        }
    }
    // Rows that come meanwhile are not looked at.
    let mut transaction = context.transaction.lock();
    transaction.assert_unchanged(&context.view, table.storage, Scope::Table);
    Ok(())
}

fn column_expr(name: &str) -> Expr {
    col(format!("\"{}\"", name.replace('"', "\"\"")))
}

fn holds_null(context: &ExecutionContext, table: &Table, column: &str) -> SqlError {
    let message =
        format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
    let mut error = SqlError::new(sqlstate::NOT_NULL_VIOLATION, message);
    error.object.schema = context.schema_of(table).ok().map(|schema| schema.name.clone());
    error.object.table = Some(table.name.clone());
    error.object.column = Some(column.to_owned());
    error
}
