//! CREATE SCHEMA.

use glaredb_catalog::{CatalogChange, descriptor::Schema};

use super::super::{api::Notice, context::ExecutionContext};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::CreateSchema,
};

pub(super) fn create(
    context: &ExecutionContext,
    create: &CreateSchema,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    if create.name.starts_with("pg_") {
        return Err(SqlError::new(
            "42939",
            format!("unacceptable schema name \"{}\"", create.name),
        )
        .detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let owner = create.authorization.as_deref().unwrap_or(&context.identity.role);
    let owner = context.catalog.role(owner).ok_or_else(|| {
        SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("role \"{owner}\" does not exist"))
    })?;
    if context.catalog.schema(&create.name).is_some()
        || context.engine.system_tables().has_schema(&create.name)
    {
        let message = format!("schema \"{}\" already exists", create.name);
        if create.if_not_exists {
            let mut notice = Notice::note(format!("{message}, skipping"));
            notice.sqlstate = sqlstate::DUPLICATE_SCHEMA;
            notices.push(notice);
            return Ok(());
        }
        return Err(SqlError::new(sqlstate::DUPLICATE_SCHEMA, message));
    }
    let mut change = CatalogChange::default();
    change.create_schema(Schema {
        oid: context.engine.allocator().oid(),
        name: create.name.clone(),
        owner: owner.oid,
        comment: None,
    });
    context.transaction.lock().change_catalog(&context.view, &context.catalog, change)
}
