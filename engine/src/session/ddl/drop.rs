//! DROP TABLE, DROP VIEW, DROP MATERIALIZED VIEW, DROP SCHEMA.

use std::sync::Arc;

use glaredb_catalog::{CatalogChange, Relation, descriptor::RelationKind};

use super::{
    super::{api::Notice, context::ExecutionContext},
    dependents::{self, DESIRED, Dependent},
    shown, types,
    view::described,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{DropObjects, RelationName},
};

pub(super) fn relations(
    context: &ExecutionContext,
    drop: &DropObjects,
    kind: RelationKind,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    for name in &drop.names {
        match context.find_table(name) {
            Some(table) if table.kind != kind => {
                return Err(wrong_kind(&table.name, kind, table.kind));
            }
            Some(table) if change.drop_tables.contains(&table.oid) => {}
            Some(table) => change.drop_table(table.oid),
            None => missing(context, drop, kind, name, notices)?,
        }
    }
    let roots = change.drop_tables.clone();
    let what = match roots.as_slice() {
        [one] => context.catalog.table_by_oid(*one).map(|table| described(context, table)),
        _ => None,
    };
    let what = what.unwrap_or_else(|| DESIRED.to_owned());
    let dependents = dependents::readers(context, &roots);
    types::refuse_used(context, &change, drop.cascade)?;
    dependents::resolve(context, &what, &dependents, drop.cascade, &mut change, notices)?;
    check_unused(context, &change)?;
    apply(context, change)
}

fn kind_name(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::CompositeType => "type",
    }
}

/// 42809 for an object of another kind.
pub(super) fn wrong_kind(name: &str, wanted: RelationKind, found: RelationKind) -> SqlError {
    let message = format!("\"{name}\" is not a {}", kind_name(wanted));
    let hint = match found {
        RelationKind::Table => "Use DROP TABLE to remove a table.",
        RelationKind::View => "Use DROP VIEW to remove a view.",
        RelationKind::MaterializedView => {
            "Use DROP MATERIALIZED VIEW to remove a materialized view."
        }
        RelationKind::CompositeType => "Use DROP TYPE to remove a type.",
    };
    SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message).hint(hint)
}

fn missing(
    context: &ExecutionContext,
    drop: &DropObjects,
    kind: RelationKind,
    name: &RelationName,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let what = kind_name(kind);
    if drop.if_exists {
        let message = match &name.schema {
            Some(schema) if context.catalog.schema(schema).is_none() => {
                format!("schema \"{schema}\" does not exist, skipping")
            }
            _ => format!("{what} \"{}\" does not exist, skipping", name.name),
        };
        notices.push(Notice::note(message));
        return Ok(());
    }
    let schema = match &name.schema {
        Some(schema) => context.catalog.schema(schema),
        None => context.search_path().find_map(|schema| context.catalog.schema(schema)),
    };
    let found = schema.and_then(|schema| context.catalog.relation(schema.oid, &name.name));
    if let Some(Relation::KeyIndex(_)) = found {
        let message = format!("\"{}\" is not a {what}", name.name);
        return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message)
            .hint("Use DROP INDEX to remove an index."));
    }
    // Says so if it is a system table.
    context.user_table(name).map(|_| ()).map_err(|error| {
        if error.sqlstate == sqlstate::UNDEFINED_TABLE {
            let message = format!("{what} \"{}\" does not exist", shown(name));
            SqlError::new(sqlstate::UNDEFINED_TABLE, message)
        } else {
            error
        }
    })
}

pub(super) fn schemas(
    context: &ExecutionContext,
    drop: &DropObjects,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    let mut inside = Vec::new();
    for name in &drop.names {
        if context.engine.system_tables().has_schema(&name.name) {
            return Err(SqlError::new(
                sqlstate::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop schema {} because it is required by the database system",
                    name.name
                ),
            ));
        }
        let own = context.catalog.temporary_schema();
        if own.is_some_and(|own| own.name == name.name) {
            return Err(SqlError::not_supported("DROP SCHEMA of temporary objects")
                .hint("Use DISCARD TEMP to drop what is in it."));
        }
        let schema = context.catalog.schema(&name.name);
        let Some(schema) = schema.filter(|schema| schema.name == name.name) else {
            let message = format!("schema \"{}\" does not exist", name.name);
            if !drop.if_exists {
                return Err(SqlError::new(sqlstate::INVALID_SCHEMA_NAME, message));
            }
            notices.push(Notice::note(format!("{message}, skipping")));
            continue;
        };
        if change.drop_schemas.contains(&schema.oid) {
            continue;
        }
        for table in context.catalog.tables_in(schema.oid) {
            let needs = format!("schema {}", schema.name);
            inside.push(Dependent { relation: Arc::clone(table), needs });
        }
        change.drop_schema(schema.oid);
    }
    // In the order in which they were made.
    inside.sort_by_key(|dependent| dependent.relation.oid);
    let roots: Vec<_> = inside.iter().map(|dependent| dependent.relation.oid).collect();
    let outside = dependents::readers(context, &roots);
    inside.extend(outside);
    let what = match drop.names.as_slice() {
        [one] => format!("schema {}", one.name),
        _ => DESIRED.to_owned(),
    };
    dependents::resolve(context, &what, &inside, drop.cascade, &mut change, notices)?;
    types::refuse_used(context, &change, drop.cascade)?;
    check_unused(context, &change)?;
    apply(context, change)
}

fn check_unused(context: &ExecutionContext, change: &CatalogChange) -> Result<(), SqlError> {
    let dropped = change.drop_tables.iter().filter_map(|oid| context.catalog.table_by_oid(*oid));
    dropped.into_iter().try_for_each(|table| context.check_unused(table, "DROP TABLE"))
}

/// Makes the change, and forgets what the transaction wrote to what it drops.
pub(super) fn apply(context: &ExecutionContext, change: CatalogChange) -> Result<(), SqlError> {
    if change.is_empty() {
        return Ok(());
    }
    let mut transaction = context.transaction.lock();
    for oid in &change.drop_tables {
        if let Some(table) = context.catalog.table_by_oid(*oid).filter(|table| table.is_stored()) {
            transaction.discard(table.storage);
        }
    }
    transaction.change_catalog(&context.view, &context.catalog, change)
}
