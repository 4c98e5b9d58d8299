//! COMMENT ON.

use glaredb_catalog::{
    CatalogChange,
    descriptor::{Column, RelationKind, Table},
};

use super::{
    super::{
        api::Notice,
        context::{ExecutionContext, undefined_table},
    },
    drop::wrong_kind,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{Comment, CommentTarget, RelationName},
};

pub(super) fn comment(
    context: &ExecutionContext,
    comment: &Comment,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let text = comment.text.clone();
    let mut change = CatalogChange::default();
    match &comment.target {
        CommentTarget::Table(name) => {
            change.alter_table(described(context, name, RelationKind::Table, text)?);
        }
        CommentTarget::View(name) => {
            change.alter_table(described(context, name, RelationKind::View, text)?);
        }
        CommentTarget::MaterializedView(name) => {
            change.alter_table(described(context, name, RelationKind::MaterializedView, text)?);
        }
        CommentTarget::Column(name, column) => {
            let table = context.find_table(name).ok_or_else(|| undefined_table(name))?;
            let mut new = Table { version: table.version.next(), ..table.as_ref().clone() };
            column_of(&mut new, column)?.comment = text;
            change.alter_table(new);
        }
        CommentTarget::Schema(name) => {
            let mut schema = context.schema(name)?.as_ref().clone();
            // Empty hides the description that a schema of the system has.
            schema.comment = Some(text.unwrap_or_default());
            change.upsert_schemas.push(schema);
        }
        CommentTarget::Database(name) => {
            let Some(database) = context.catalog.database(name) else {
                let message = format!("database \"{name}\" does not exist");
                notices.push(Notice::warning(sqlstate::INVALID_CATALOG_NAME, message));
                return Ok(());
            };
            let mut database = database.as_ref().clone();
            database.comment = Some(text.unwrap_or_default());
            change.upsert_databases.push(database);
        }
    }
    context.transaction.lock().change_catalog(&context.view, &context.catalog, change)
}

fn described(
    context: &ExecutionContext,
    name: &RelationName,
    kind: RelationKind,
    text: Option<String>,
) -> Result<Table, SqlError> {
    let table = context.find_table(name).ok_or_else(|| undefined_table(name))?;
    if table.kind != kind {
        // The same words, without advice on how to drop it.
        return Err(SqlError { hint: None, ..wrong_kind(&table.name, kind, table.kind) });
    }
    Ok(Table { version: table.version.next(), comment: text, ..table.as_ref().clone() })
}

/// 42703 if there is no such column.
pub(super) fn column_of<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Column, SqlError> {
    let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
    let found = table.columns.iter_mut().find(|column| column.name == name);
    found.ok_or_else(|| SqlError::new(sqlstate::UNDEFINED_COLUMN, message))
}
