//! What a transaction does to its session's temporary tables, and how that commits.
//!
//! Their rows are gathered in the same write set as all others, so that savepoints, cursors and reading
//! one's own writes are one thing. Only at the end they go another way: see
//! [`TemporaryStore`](crate::storage::temporary).

use std::sync::Arc;

use glaredb_catalog::{
    Catalog, CatalogChange,
    descriptor::{Oid, OnCommit, Table},
};
use glaredb_txn::ids::TableId;
use parking_lot::Mutex;

use super::{Transaction, WriteSet};
use crate::{error::SqlError, session::errors::storage_error, storage::temporary::TemporaryCommit};

/// What is ready to commit.
pub(super) struct Prepared {
    commit: TemporaryCommit,
    change: CatalogChange,
}

impl Transaction {
    /// Whether the transaction sees temporary objects, or may have written to them.
    fn has_temporary(&self) -> bool {
        !self.temporary.is_empty() || !self.ddl.temporary.is_empty()
    }

    /// Whether a storage is a temporary table's.
    pub(in crate::session) fn is_temporary(&self, storage: TableId) -> bool {
        let created = |table: &Arc<Table>| table.is_stored() && table.storage == storage;
        self.ddl.temporary.upsert_tables.iter().any(created) || self.temporary.has_storage(storage)
    }

    /// Makes the schema of temporary objects. `catalog`: what the statement saw under `view`, without
    /// that schema.
    pub(in crate::session) fn create_temporary_schema(
        &mut self,
        view: &super::StatementView,
        catalog: &Arc<Catalog>,
        owner: Oid,
    ) -> Result<(), SqlError> {
        let change = self.temporary.create_schema(owner);
        self.change_catalog(view, catalog, change)
    }

    /// As [`stream_parts`](Self::stream_parts), of a temporary table.
    pub(super) fn stream_temporary(&mut self, writes: &Mutex<WriteSet>) -> Result<(), SqlError> {
        if !self.temporary.ending_with(&self.ddl.temporary).is_empty() {
            // The rows may be gone before anybody sees them.
            return Ok(());
        }
        let parts = writes.lock().drain_parts().map_err(storage_error)?;
        for part in parts {
            let commit = match &mut self.temporary_parts {
                Some(commit) => commit,
                none => none.insert(self.temporary.store()?.begin()),
            };
            commit.part(part.payload()).map_err(storage_error)?;
        }
        Ok(())
    }

    /// Does what is to be done ON COMMIT, and hands over what was written; `None` if nothing was.
    ///
    /// # Errors
    /// 53200 over budget.
    pub(super) async fn prepare_temporary(&mut self) -> Result<Option<Prepared>, SqlError> {
        if !self.has_temporary() {
            return Ok(None);
        }
        self.on_commit();
        let change = self.ddl.temporary.clone();
        let mut writes = match self.writes.clone() {
            Some(all) => all.lock().split_off(|table| self.is_temporary(table)),
            None => WriteSet::new(Arc::clone(self.database.budget())),
        };
        let parts = self.temporary_parts.take();
        if change.is_empty() && parts.is_none() && writes.is_empty() {
            return Ok(None);
        }
        let store = self.temporary.store()?;
        let mut commit = parts.unwrap_or_else(|| store.begin());
        writes.change_catalog(store.stored_change(&change));
        let mut encoded = writes.finish().map_err(storage_error)?;
        for part in std::mem::take(&mut encoded.parts) {
            commit.part(part.payload()).map_err(storage_error)?;
            tokio::task::yield_now().await;
        }
        commit.prepare(encoded).map_err(storage_error)?;
        Ok(Some(Prepared { commit, change }))
    }

    /// After the database has committed, if it had to.
    pub(super) fn commit_temporary(&self, prepared: Prepared) -> Result<(), SqlError> {
        let sent = self.point.send();
        prepared.commit.commit().map_err(storage_error)?;
        self.temporary.committed(prepared.change);
        sent.committed();
        Ok(())
    }

    /// Empties and drops the tables that a commit is to empty or drop.
    fn on_commit(&mut self) {
        let ending = self.temporary.ending_with(&self.ddl.temporary);
        if ending.is_empty() {
            return;
        }
        for table in &ending {
            // No commit ever left a row in them.
            self.discard(table.storage);
        }
        let dropped = ending.iter().filter(|table| table.on_commit == OnCommit::Drop);
        let dropped =
            self.temporary.drop_with_readers(&self.ddl.temporary, dropped.map(|table| table.oid));
        if !dropped.is_empty() {
            let ddl = Arc::make_mut(&mut self.ddl);
            ddl.temporary = std::mem::take(&mut ddl.temporary).then(dropped);
        }
    }
}

/// A change in two: what is the database's, and what is the session's own. `before` and `after`: the
/// catalog that the session sees without it and with it.
pub(super) fn split(
    before: &Catalog,
    after: &Catalog,
    change: CatalogChange,
) -> (CatalogChange, CatalogChange) {
    let Some(schema) = after.temporary_schema().map(|schema| schema.oid) else {
        return (change, CatalogChange::default());
    };
    let table = |oid: &Oid| before.table_by_oid(*oid).or_else(|| after.table_by_oid(*oid));
    let is_own =
        |oid: &Oid| *oid == schema || table(oid).is_some_and(|table| table.schema_oid == schema);
    let mut own = CatalogChange::default();
    let mut rest = change;
    if !rest.drop_tables.iter().any(is_own)
        && !rest.upsert_tables.iter().any(|table| table.schema_oid == schema)
        && !rest.upsert_schemas.iter().any(|s| s.oid == schema)
    {
        return (rest, own);
    }
    own.next_oid = rest.next_oid;
    own.next_table_id = rest.next_table_id;
    (own.drop_tables, rest.drop_tables) = rest.drop_tables.into_iter().partition(is_own);
    (own.created, rest.created) = rest.created.into_iter().partition(is_own);
    (own.upsert_tables, rest.upsert_tables) =
        rest.upsert_tables.into_iter().partition(|table| table.schema_oid == schema);
    (own.upsert_schemas, rest.upsert_schemas) =
        rest.upsert_schemas.into_iter().partition(|s| s.oid == schema);
    let counters = CatalogChange {
        next_oid: rest.next_oid,
        next_table_id: rest.next_table_id,
        ..CatalogChange::default()
    };
    if rest == counters {
        rest = CatalogChange::default();
    }
    (rest, own)
}
