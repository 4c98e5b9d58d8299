//! DROP TABLE, DROP SCHEMA.

use std::sync::Arc;

use glaredb_catalog::CatalogChange;

use super::{
    super::{api::Notice, context::ExecutionContext},
    shown,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::DropObjects,
};

pub(super) fn tables(
    context: &ExecutionContext,
    drop: &DropObjects,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    for name in &drop.names {
        match context.find_table(name) {
            Some(table) if change.drop_tables.contains(&table.oid) => {}
            Some(table) => change.drop_table(table.oid),
            None if drop.if_exists => {
                let message = match &name.schema {
                    Some(schema) if context.catalog.schema(schema).is_none() => {
                        format!("schema \"{schema}\" does not exist, skipping")
                    }
                    _ => format!("table \"{}\" does not exist, skipping", name.name),
                };
                notices.push(Notice::note(message));
            }
            None => {
                // Says so if it is a system table.
                context.user_table(name).map_err(|error| {
                    if error.sqlstate == sqlstate::UNDEFINED_TABLE {
                        SqlError::new(
                            sqlstate::UNDEFINED_TABLE,
                            format!("table \"{}\" does not exist", shown(name)),
                        )
                    } else {
                        error
                    }
                })?;
            }
        }
    }
    apply(context, change)
}

pub(super) fn schemas(
    context: &ExecutionContext,
    drop: &DropObjects,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    let mut dependents = Vec::new();
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
        let Some(schema) = context.catalog.schema(&name.name) else {
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
            dependents.push((schema.name.clone(), Arc::clone(table)));
            change.drop_table(table.oid);
        }
        change.drop_schema(schema.oid);
    }
    let shown = |(schema, table): &(String, Arc<glaredb_catalog::descriptor::Table>)| {
        let visible = context.find_table(&crate::query::statement::RelationName {
            schema: None,
            name: table.name.clone(),
            position: None,
        });
        if visible.is_some_and(|visible| visible.oid == table.oid) {
            table.name.clone()
        } else {
            format!("{schema}.{}", table.name)
        }
    };
    if !dependents.is_empty() && !drop.cascade {
        let detail: Vec<_> = dependents
            .iter()
            .map(|dependent| {
                format!("table {} depends on schema {}", shown(dependent), dependent.0)
            })
            .collect();
        let what = match drop.names.as_slice() {
            [one] => format!("cannot drop schema {} because other objects depend on it", one.name),
            _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
        };
        return Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, what)
            .detail(detail.join("\n"))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    match dependents.as_slice() {
        [] => {}
        [one] => notices.push(Notice::note(format!("drop cascades to table {}", shown(one)))),
        several => {
            let mut notice =
                Notice::note(format!("drop cascades to {} other objects", several.len()));
            let lines: Vec<_> = several
                .iter()
                .map(|dependent| format!("drop cascades to table {}", shown(dependent)))
                .collect();
            notice.detail = Some(lines.join("\n"));
            notices.push(notice);
        }
    }
    apply(context, change)
}

fn apply(context: &ExecutionContext, change: CatalogChange) -> Result<(), SqlError> {
    if change.is_empty() {
        return Ok(());
    }
    let mut transaction = context.transaction.lock();
    for oid in &change.drop_tables {
        if let Some(table) = context.catalog.table_by_oid(*oid) {
            transaction.discard(table.storage);
        }
    }
    transaction.change_catalog(&context.view, &context.catalog, change)
}
