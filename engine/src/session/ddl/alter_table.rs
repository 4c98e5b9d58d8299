//! ALTER TABLE, ALTER VIEW, ALTER MATERIALIZED VIEW.

use std::sync::Arc;

use glaredb_catalog::{
    CatalogChange,
    descriptor::{RelationKind, Table},
};

use super::{
    super::{
        api::Notice,
        context::{ExecutionContext, undefined_table},
        row_types::refuse_temporary,
    },
    add_column,
    add_key::add_key,
    columns, drop, shown, storage_options, types,
    view::view_options,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{AlterTable, AlterTableAction, AlteredKind},
};

pub(super) async fn alter(
    context: &ExecutionContext,
    alter: &AlterTable,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let table = match context.find_table(&alter.name) {
        Some(table) => Arc::clone(table),
        None if alter.if_exists => {
            let name = shown(&alter.name);
            notices.push(Notice::note(format!("relation \"{name}\" does not exist, skipping")));
            return Ok(());
        }
        None if alter.kind == AlteredKind::Table => Arc::clone(context.user_table(&alter.name)?),
        None => return Err(undefined_table(&alter.name)),
    };
    check_kind(&table, alter)?;
    let renames = |action: &AlterTableAction| {
        use AlterTableAction as A;
        matches!(action, A::Rename(_) | A::RenameColumn { .. } | A::RenameConstraint { .. })
            || matches!(action, A::SetSchema(_))
    };
    if !alter.actions.iter().all(renames) {
        context.check_unused(&table, "ALTER TABLE")?;
    }
    let mut new = table.as_ref().clone();
    new.version = table.version.next();
    let mut change = CatalogChange::default();
    // As in PostgreSQL, whatever the order in which they are written.
    let mut actions: Vec<&AlterTableAction> = alter.actions.iter().collect();
    actions.sort_by_key(|action| pass(action));
    let mut added = Vec::new();
    for action in actions {
        match action {
            AlterTableAction::AddPrimaryKey(definition) => {
                if definition
                    .columns
                    .iter()
                    .any(|name| table.column(name).is_none() && new.column(name).is_some())
                {
                    let what = "PRIMARY KEY over a column that the same statement adds";
                    return Err(SqlError::not_supported(what));
                }
                add_key(context, &table, &mut new, definition).await?;
            }
            AlterTableAction::SetStorageOptions(options)
                if let Some(view) = &mut new.view
                    && table.kind == RelationKind::View =>
            {
                for option in view_options(options)? {
                    let name = option.split('=').next().unwrap_or_default();
                    let same = |old: &String| old.split('=').next() == Some(name);
                    match view.options.iter().position(same) {
                        Some(place) => view.options[place] = option,
                        None => view.options.push(option),
                    }
                }
            }
            AlterTableAction::SetStorageOptions(options) => {
                new.options.extend(storage_options(options)?);
            }
            AlterTableAction::AddColumn { column, if_not_exists, primary_key } => {
                if primary_key.is_some() {
                    return Err(SqlError::not_supported("ADD COLUMN with PRIMARY KEY"));
                }
                let column = add_column::add(context, &mut new, column, *if_not_exists, notices)?;
                added.extend(column);
            }
            AlterTableAction::DropColumn { name, if_exists, cascade } => {
                let options = add_column::DropOptions { if_exists: *if_exists, cascade: *cascade };
                add_column::drop(context, &mut new, name, options, &mut change, notices)?;
            }
            AlterTableAction::SetDefault { column, default } => {
                columns::set_default(context, &mut new, column, default.as_deref())?;
            }
            AlterTableAction::SetNotNull { column, not_null: true } => {
                columns::set_not_null(context, &table, &mut new, column).await?;
            }
            AlterTableAction::SetNotNull { column, not_null: false } => {
                columns::drop_not_null(&mut new, column)?;
            }
            AlterTableAction::RenameColumn { from, to } => {
                columns::rename(&mut new, from, to)?;
            }
            AlterTableAction::RenameConstraint { from, to } => {
                rename_constraint(context, &mut new, from, to)?;
            }
            AlterTableAction::Rename(name) => rename(context, &mut new, name)?,
            AlterTableAction::SetSchema(schema) => set_schema(context, &mut new, schema)?,
            AlterTableAction::Unsupported(what) => return Err(SqlError::not_supported(what)),
        }
    }
    if new.columns.is_empty() {
        return Err(SqlError::not_supported(format!("table \"{}\" without columns", new.name)));
    }
    refuse_temporary(&context.catalog, &new)?;
    add_column::check_rows(context, &table, &added).await?;
    let widened = new.columns.len() != table.columns.len() || !added.is_empty();
    if widened || new.dropped.len() != table.dropped.len() {
        types::refuse_altered(context, &table)?;
    }
    let new = Arc::new(new);
    change.alter_table(Arc::clone(&new));
    drop::apply(context, change)?;
    if widened {
        add_column::alter_own_rows(context, &new)?;
        add_column::fill(&context.after_change()?, &new, &added).await?;
    }
    Ok(())
}

/// When an action of a statement that has several is carried out.
fn pass(action: &AlterTableAction) -> u8 {
    match action {
        AlterTableAction::DropColumn { .. } => 0,
        AlterTableAction::AddColumn { .. } => 1,
        AlterTableAction::SetDefault { .. } | AlterTableAction::SetNotNull { .. } => 2,
        _ => 3,
    }
}

/// 42809 for what is not of the kind that the statement names, or cannot be altered so.
fn check_kind(table: &Table, alter: &AlterTable) -> Result<(), SqlError> {
    let name = &table.name;
    let wrong = |what: &str| {
        Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {what}")))
    };
    match (alter.kind, table.kind) {
        (AlteredKind::View, kind) if kind != RelationKind::View => return wrong("a view"),
        (AlteredKind::MaterializedView, kind) if kind != RelationKind::MaterializedView => {
            return wrong("a materialized view");
        }
        _ => {}
    }
    if table.is_table() {
        return Ok(());
    }
    let kinds = match table.kind {
        RelationKind::View => "views",
        _ => "materialized views",
    };
    for action in &alter.actions {
        let what = match action {
            AlterTableAction::Rename(_)
            | AlterTableAction::RenameColumn { .. }
            | AlterTableAction::SetSchema(_)
            | AlterTableAction::Unsupported(_) => continue,
            AlterTableAction::AddColumn { .. } => "ADD COLUMN",
            AlterTableAction::DropColumn { .. } => "DROP COLUMN",
            AlterTableAction::SetNotNull { not_null: true, .. } => "ALTER COLUMN ... SET NOT NULL",
            AlterTableAction::SetNotNull { .. } => "ALTER COLUMN ... DROP NOT NULL",
            AlterTableAction::AddPrimaryKey(_) => "ADD CONSTRAINT",
            AlterTableAction::SetStorageOptions(_) if table.kind == RelationKind::View => continue,
            AlterTableAction::SetDefault { .. }
            | AlterTableAction::SetStorageOptions(_)
            | AlterTableAction::RenameConstraint { .. } => {
                return Err(SqlError::not_supported(format!("this ALTER of {kinds}")));
            }
        };
        let message = format!("ALTER action {what} cannot be performed on relation \"{name}\"");
        return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message)
            .detail(format!("This operation is not supported for {kinds}.")));
    }
    Ok(())
}

fn check_free(context: &ExecutionContext, schema: u32, name: &str) -> Result<(), SqlError> {
    if context.catalog.relation(schema, name).is_some() {
        let message = format!("relation \"{name}\" already exists");
        return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
    }
    Ok(())
}

fn rename(context: &ExecutionContext, table: &mut Table, name: &str) -> Result<(), SqlError> {
    check_free(context, table.schema_oid, name)?;
    name.clone_into(&mut table.name);
    Ok(())
}

fn rename_constraint(
    context: &ExecutionContext,
    table: &mut Table,
    from: &str,
    to: &str,
) -> Result<(), SqlError> {
    let Some(key) = table.primary_key.as_mut().filter(|key| key.name == from) else {
        let message = format!("constraint \"{from}\" for table \"{}\" does not exist", table.name);
        return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message));
    };
    check_free(context, table.schema_oid, to)?;
    to.clone_into(&mut key.name);
    Ok(())
}

fn set_schema(context: &ExecutionContext, table: &mut Table, name: &str) -> Result<(), SqlError> {
    if context.engine.system_tables().has_schema(name) {
        let message = format!("permission denied for schema {name}");
        return Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
    }
    let schema = context.schema(name)?;
    if schema.oid == table.schema_oid {
        return Ok(());
    }
    let temporary = context.catalog.temporary_schema().map(|schema| schema.oid);
    if [schema.oid, table.schema_oid].into_iter().any(|oid| Some(oid) == temporary) {
        let message = "cannot move objects into or out of temporary schemas";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let names = std::iter::once(&table.name).chain(table.primary_key.iter().map(|key| &key.name));
    for taken in names {
        if context.catalog.relation(schema.oid, taken).is_some() {
            let message = format!("relation \"{taken}\" already exists in schema \"{name}\"");
            return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
        }
    }
    table.schema_oid = schema.oid;
    Ok(())
}
