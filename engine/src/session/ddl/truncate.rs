//! TRUNCATE: a new, empty storage under the same OID. Older snapshots keep reading the old one.

use std::sync::Arc;

use glaredb_catalog::CatalogChange;
use glaredb_txn::{commit::message::Scope, ids::TableId};

use super::super::{context::ExecutionContext, table_schema::table_schema};
use crate::{error::SqlError, query::statement::Truncate};

pub(super) fn truncate(context: &ExecutionContext, truncate: &Truncate) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    let mut emptied: Vec<TableId> = Vec::new();
    let mut created = Vec::new();
    for name in &truncate.tables {
        let table = context.user_table(name)?;
        context.check_unused(table, "TRUNCATE")?;
        if emptied.contains(&table.storage) {
            continue;
        }
        emptied.push(table.storage);
        let mut new = table.as_ref().clone();
        new.storage = context.engine.allocator().table_id();
        new.version = table.version.next();
        created.push((new.storage, Arc::new(table_schema(&new)?)));
        change.alter_table(new);
    }
    let mut transaction = context.transaction.lock();
    transaction.change_catalog(&context.view, &context.catalog, change)?;
    for old in emptied {
        // Rows of the transaction itself go with the others.
        transaction.discard(old);
        transaction.assert_unchanged(&context.view, old, Scope::Table);
    }
    let mut writes = transaction.writes().lock();
    for (storage, schema) in created {
        writes.create_storage(storage, &schema);
    }
    Ok(())
}
