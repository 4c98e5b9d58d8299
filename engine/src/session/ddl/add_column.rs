//! ALTER TABLE … ADD COLUMN, DROP COLUMN: rows that are there stay as they are.
//!
//! A column that comes has one value in all rows from before it, which its descriptor holds; where its
//! default is another one for each row, the rows are updated. One that goes keeps its place in rows.

use std::sync::Arc;

use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Expr, Volatility},
};
use glaredb_catalog::{
    CatalogChange,
    descriptor::{COLUMNS_MAX, Column, DroppedColumn, Table},
};
use glaredb_txn::commit::message::Scope;

use super::{
    super::{
        api::Notice,
        context::ExecutionContext,
        dml::{self, Operation},
        errors::storage_error,
        row_types::composite_of,
        run,
        table_schema::table_schema,
    },
    columns::refuse_rows,
    create_table::check_type,
    dependents,
    view::described,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error, parser, planner, quoting::quote_identifier, statement::ColumnDefinition,
    },
    storage::codec::row::encode_value,
    types::PgType,
};

/// A column that ALTER TABLE adds.
pub(super) struct Added {
    name: String,
    not_null: bool,
    /// Computed for each row that is there.
    volatile: bool,
    /// Rows that are there have no value.
    is_null: bool,
}

pub(super) fn add(
    context: &ExecutionContext,
    table: &mut Table,
    definition: &ColumnDefinition,
    if_not_exists: bool,
    notices: &mut Vec<Notice>,
) -> Result<Option<Added>, SqlError> {
    let pg_type = context.resolved_type(&definition.pg_type)?;
    let definition = &ColumnDefinition { pg_type, ..definition.clone() };
    let ColumnDefinition { name, pg_type, .. } = definition;
    if table.column(name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
        if !if_not_exists {
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        let mut notice = Notice::note(format!("{message}, skipping"));
        notice.sqlstate = sqlstate::DUPLICATE_COLUMN;
        notices.push(notice);
        return Ok(None);
    }
    check_type(definition)?;
    if table.columns.len() + table.dropped.len() >= COLUMNS_MAX {
        let message = format!("tables can have at most {COLUMNS_MAX} columns");
        return Err(SqlError::new("54011", message));
    }
    let (missing, volatile) = match &definition.default {
        None => (None, false),
        Some(default) => default_of_rows(context, name, pg_type, default)?,
    };
    let id = table.next_column_id;
    let number =
        i16::try_from(id).ok().filter(|number| *number as usize <= COLUMNS_MAX).ok_or_else(
            || SqlError::new("54011", format!("tables can have at most {COLUMNS_MAX} columns")),
        )?;
    let added = Added {
        name: name.clone(),
        not_null: definition.not_null,
        volatile,
        is_null: missing.is_none(),
    };
    table.next_column_id += 1;
    table.columns.push(Column {
        id,
        number,
        name: name.clone(),
        type_oid: pg_type.oid(),
        typmod: pg_type.typmod(),
        not_null: definition.not_null,
        default: definition.default.clone(),
        default_oid: definition.default.as_ref().map_or(0, |_| context.engine.allocator().oid()),
        missing,
        comment: None,
        composite: composite_of(&context.catalog, pg_type)?,
    });
    Ok(Some(added))
}

/// The value that a default gives rows that are there already, encoded; `None` for NULL. Whether it
/// is another one for each of them, so that there is none for all.
fn default_of_rows(
    context: &ExecutionContext,
    name: &str,
    pg_type: &PgType,
    default: &str,
) -> Result<(Option<bytes::Bytes>, bool), SqlError> {
    let planned = context.plan(|plan| planner::plan_default(plan, name, pg_type, default))?;
    let is_volatile = planned
        .expr
        .exists(|expr| {
            Ok(match expr {
                Expr::ScalarFunction(call) => {
                    call.func.signature().volatility == Volatility::Volatile
                }
                _ => false,
            })
        })
        .map_err(sql_error)?;
    if is_volatile {
        return Ok((None, true));
    }
    let value = run::constant(context, &planned)?;
    if value.is_null() {
        return Ok((None, false));
    }
    let array = value.to_array().map_err(sql_error)?;
    encode_value(pg_type, &array).map(|bytes| (Some(bytes), false)).map_err(storage_error)
}

/// What DROP COLUMN says beside the name.
#[derive(Clone, Copy)]
pub(super) struct DropOptions {
    pub(super) if_exists: bool,
    pub(super) cascade: bool,
}

pub(super) fn drop(
    context: &ExecutionContext,
    table: &mut Table,
    name: &str,
    options: DropOptions,
    change: &mut CatalogChange,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let Some(column) = table.column(name).cloned() else {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
        if !options.if_exists {
            return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
        }
        notices.push(Notice::note(format!("{message}, skipping")));
        return Ok(());
    };
    let in_key = table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&column.id));
    if in_key {
        return Err(SqlError::not_supported("DROP COLUMN of a primary key's column"));
    }
    let what = format!("column {name} of {}", described(context, table));
    let readers = dependents::column_readers(context, table, column.id, &what);
    dependents::resolve(context, &what, &readers, options.cascade, change, notices)?;
    table.columns.retain(|kept| kept.id != column.id);
    table.dropped.push(DroppedColumn {
        id: column.id,
        type_oid: column.type_oid,
        typmod: column.typmod,
        composite: column.composite,
    });
    Ok(())
}

/// Looks at the rows that are there, if what is added asks for it.
pub(super) async fn check_rows(
    context: &ExecutionContext,
    table: &Arc<Table>,
    added: &[Added],
) -> Result<(), SqlError> {
    let strict = added.iter().find(|added| added.not_null && added.is_null && !added.volatile);
    if let Some(added) = strict {
        refuse_rows(context, table, None, &added.name).await?;
    }
    if added.iter().any(|added| added.volatile) {
        // Rows that come meanwhile would have no value.
        let mut transaction = context.transaction.lock();
        transaction.assert_unchanged(&context.view, table.storage, Scope::Table);
    }
    Ok(())
}

/// Tells the transaction's own rows of the columns that came and went.
pub(super) fn alter_own_rows(context: &ExecutionContext, table: &Table) -> Result<(), SqlError> {
    let schema = Arc::new(table_schema(table)?);
    let mut transaction = context.transaction.lock();
    let mut writes = transaction.writes().lock();
    writes.alter_columns(table.storage, &schema).map_err(storage_error)
}

/// Computes volatile defaults for the rows that are there. `context` is of a statement that sees the
/// new columns.
pub(super) async fn fill(
    context: &ExecutionContext,
    table: &Table,
    added: &[Added],
) -> Result<(), SqlError> {
    let volatile: Vec<String> = added
        .iter()
        .filter(|added| added.volatile)
        .map(|added| format!("{} = DEFAULT", quote_identifier(&added.name)))
        .collect();
    if volatile.is_empty() {
        return Ok(());
    }
    let schema = context.schema_of(table)?;
    let sql = format!(
        "UPDATE {}.{} SET {}",
        quote_identifier(&schema.name),
        quote_identifier(&table.name),
        volatile.join(", ")
    );
    let statement = parser::parse(&sql)?.pop();
    let statement = statement.ok_or_else(|| SqlError::internal("no UPDATE to fill a column"))?;
    let planned = context.plan(|plan| planner::plan_dml(plan, &statement, &[]))?;
    let plan = planned.plan.clone();
    dml::execute(context, Operation::Update, &planned, plan).await.map(std::mem::drop)
}
