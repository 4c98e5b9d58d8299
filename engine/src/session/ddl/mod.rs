//! DDL, transactional: a statement changes the transaction's own catalog, the commit publishes it.

mod add_column;
mod add_key;
mod alter_table;
mod columns;
mod comment;
mod create_table;
mod dependents;
mod drop;
mod like;
mod schema;
mod truncate;
mod types;
mod view;

use glaredb_catalog::{
    CatalogChange,
    descriptor::{RelationKind, Table},
};

use super::{
    api::{Execution, Notice},
    context::ExecutionContext,
    prepare::Explained,
};
use crate::{
    error::SqlError,
    query::statement::{
        CreateSchema, RelationName, Statement, StatementKind, StorageOption, Temporary,
    },
};

pub(super) async fn execute(
    context: &ExecutionContext,
    statement: &Statement,
    executed: Option<&Explained>,
    notices: &mut Vec<Notice>,
) -> Result<Execution, SqlError> {
    match &statement.kind {
        StatementKind::CreateTable(create) => create_table::create(context, create, notices)?,
        StatementKind::CreateTableAs(create) => {
            return create_table::create_as(context, create, executed, notices).await;
        }
        StatementKind::CreateSchema(create) => {
            schema::create(context, create, notices)?;
            Box::pin(schema_elements(context, create, notices)).await?;
        }
        StatementKind::CreateView(create) => view::create(context, create, notices)?,
        StatementKind::CreateMaterializedView(create) => {
            return view::create_materialized(context, create, notices).await;
        }
        StatementKind::RefreshView(refresh) => view::refresh(context, refresh).await?,
        StatementKind::Comment(comment) => comment::comment(context, comment, notices)?,
        StatementKind::DropTable(drop) => {
            drop::relations(context, drop, RelationKind::Table, notices)?;
        }
        StatementKind::DropView(drop) => {
            drop::relations(context, drop, RelationKind::View, notices)?;
        }
        StatementKind::DropMaterializedView(drop) => {
            drop::relations(context, drop, RelationKind::MaterializedView, notices)?;
        }
        StatementKind::CreateType(create) => types::create(context, create)?,
        StatementKind::DropType(drop) => types::drop(context, drop, notices)?,
        StatementKind::DropSchema(drop) => drop::schemas(context, drop, notices)?,
        StatementKind::AlterTable(alter) => {
            alter_table::alter(context, alter, notices).await?;
        }
        StatementKind::Truncate(truncate) => truncate::truncate(context, truncate)?,
        _ => return Err(SqlError::not_supported(statement.command())),
    }
    Ok(Execution::Command { tag: statement.command().to_owned() })
}

/// DISCARD TEMP, and what DISCARD ALL does beside the session's own.
pub(super) fn discard_temporary(
    context: &ExecutionContext,
    statement: &Statement,
) -> Result<Execution, SqlError> {
    let mut change = CatalogChange::default();
    if let Some(schema) = context.catalog.temporary_schema() {
        context.catalog.tables_in(schema.oid).for_each(|table| change.drop_table(table.oid));
    }
    drop::apply(context, change)?;
    Ok(Execution::Command { tag: statement.command().to_owned() })
}

/// Notes that a word is out of use.
fn note_global(temporary: Option<Temporary>, notices: &mut Vec<Notice>) {
    if temporary.is_some_and(|temporary| temporary.global) {
        let message = "GLOBAL is deprecated in temporary table creation";
        notices.push(Notice::warning(crate::error::sqlstate::WARNING, message));
    }
}

/// Makes what CREATE SCHEMA lists, in that schema and with it searched first.
async fn schema_elements(
    context: &ExecutionContext,
    create: &CreateSchema,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let is_view = |element: &&Statement| matches!(element.kind, StatementKind::CreateView(_));
    let tables = create.elements.iter().filter(|element| !is_view(element));
    for element in tables.chain(create.elements.iter().filter(is_view)) {
        let mut inside = context.after_change()?;
        let mut path = vec![create.name.clone()];
        path.extend(context.settings.derived().search_path.iter().cloned());
        inside.settings.set("search_path", Some(&path), true)?;
        execute(&inside, element, None, notices).await?;
    }
    Ok(())
}

/// What a relation is, as messages say it.
fn relation_kind(table: &Table) -> &'static str {
    match table.kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::CompositeType => "type",
    }
}

/// `"schema.name"` or `"name"`, as the statement wrote it.
fn shown(name: &RelationName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}

/// Storage parameters that are kept though nothing depends on them.
///
/// # Errors
/// 22023 for one that PostgreSQL does not know either.
fn storage_options(
    options: &[StorageOption],
) -> Result<std::collections::BTreeMap<String, String>, SqlError> {
    options
        .iter()
        .map(|option| {
            let value = option.value.clone().unwrap_or_else(|| "true".to_owned());
            let known = option.name == "fillfactor"
                || option.name.starts_with("autovacuum_")
                || option.name.starts_with("toast")
                || option.name == "parallel_workers";
            if !known {
                return Err(SqlError::new(
                    crate::error::sqlstate::INVALID_PARAMETER_VALUE,
                    format!("unrecognized parameter \"{}\"", option.name),
                ));
            }
            if option.name == "fillfactor" && !value.parse().is_ok_and(|v| (10..=100).contains(&v))
            {
                return Err(SqlError::new(
                    crate::error::sqlstate::INVALID_PARAMETER_VALUE,
                    format!("value {value} out of bounds for option \"fillfactor\""),
                )
                .detail("Valid values are between \"10\" and \"100\"."));
            }
            Ok((option.name.clone(), value))
        })
        .collect()
}
