//! A session's temporary tables and views: [why so](../../../docs/decisions/2026-11-22-temporary-tables.md).
//!
//! They stand in a schema of their own, in the catalog that this session sees: that of the database with
//! [a change](CatalogChange) on top which is never sent to the leader. Their rows are in a
//! [store](TemporaryStore) that is never logged. Both are committed with the session's transactions and
//! end with the session.

use std::sync::{Arc, OnceLock};

use glaredb_catalog::{
    Catalog, CatalogChange, TEMPORARY_SCHEMA,
    descriptor::{Composite, Oid, OnCommit, Schema, Table},
};
use glaredb_txn::ids::TableId;
use parking_lot::Mutex;

use super::{Engine, errors::storage_error};
use crate::{
    error::SqlError,
    storage::{
        temporary::{TemporarySnapshot, TemporaryStore},
        write_set::WriteSet,
    },
};

/// See the module's description.
pub(super) struct Temporary {
    engine: Arc<Engine>,
    /// Of the schema.
    number: i32,
    objects: Mutex<Objects>,
    /// Made for the first table.
    store: OnceLock<Arc<TemporaryStore>>,
}

/// What is committed.
#[derive(Default)]
struct Objects {
    /// What makes the session's catalog of the database's.
    change: CatalogChange,
    /// The catalog it was last laid over, and the result.
    seen: Option<(Arc<Catalog>, Arc<Catalog>)>,
}

impl Temporary {
    pub(super) fn new(engine: &Arc<Engine>, number: i32) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(engine),
            number,
            objects: Mutex::default(),
            store: OnceLock::new(),
        })
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The change that makes the schema.
    pub(super) fn create_schema(&self, owner: Oid) -> CatalogChange {
        let mut change = CatalogChange::default();
        change.create_schema(Schema {
            oid: self.engine.allocator().oid(),
            name: format!("{TEMPORARY_SCHEMA}_{}", self.number),
            owner,
            comment: None,
        });
        change
    }

    /// Nothing was ever committed.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.lock().change.is_empty()
    }

    /// What the session sees of a catalog of the database.
    pub(super) fn over(&self, base: Arc<Catalog>) -> Result<Arc<Catalog>, SqlError> {
        let mut objects = self.objects.lock();
        if objects.change.is_empty() {
            return Ok(base);
        }
        if let Some((known, seen)) = &objects.seen
            && Arc::ptr_eq(known, &base)
        {
            return Ok(Arc::clone(seen));
        }
        let (seen, broken) = laid_over(&base, objects.change.clone())?;
        if !broken.is_empty() {
            self.let_go(&mut objects.change, &broken)?;
        }
        let seen = Arc::new(seen);
        objects.seen = Some((base, Arc::clone(&seen)));
        Ok(seen)
    }

    /// Drops objects that others broke, so that their names and their memory are free.
    fn let_go(&self, change: &mut CatalogChange, broken: &[Oid]) -> Result<(), SqlError> {
        let is_broken = |table: &&Arc<Table>| broken.contains(&table.oid);
        self.engine.forget(change.upsert_tables.iter().filter(is_broken));
        change.upsert_tables.retain(|table| !is_broken(&table));
        change.created.retain(|oid| !broken.contains(oid));
        let Some(store) = self.store.get() else { return Ok(()) };
        let mut dropped = CatalogChange::default();
        broken.iter().for_each(|oid| dropped.drop_table(*oid));
        let dropped = store.stored_change(&dropped);
        if dropped.is_empty() {
            return Ok(());
        }
        let mut writes = WriteSet::new(Arc::clone(self.engine.database().budget()));
        writes.change_catalog(dropped);
        let mut commit = store.begin();
        let prepared = writes.finish().and_then(|encoded| commit.prepare(encoded));
        prepared.and_then(|()| commit.commit()).map_err(storage_error)
    }

    /// The same with a change of the open transaction.
    pub(super) fn over_with(
        &self,
        base: &Catalog,
        change: &CatalogChange,
    ) -> Result<Catalog, SqlError> {
        laid_over(base, self.with(change)).map(|(catalog, _)| catalog)
    }

    /// The whole change after that of the open transaction.
    fn with(&self, change: &CatalogChange) -> CatalogChange {
        self.objects.lock().change.clone().then(change.clone())
    }

    /// The tables to which a commit does something.
    pub(super) fn ending_with(&self, change: &CatalogChange) -> Vec<Arc<Table>> {
        let objects = self.objects.lock();
        let any = |change: &CatalogChange| {
            change.upsert_tables.iter().any(|table| table.on_commit != OnCommit::PreserveRows)
        };
        if !any(&objects.change) && !any(change) {
            return Vec::new();
        }
        drop(objects);
        let mut tables = self.with(change).upsert_tables;
        tables.retain(|table| table.on_commit != OnCommit::PreserveRows);
        tables
    }

    /// What drops tables and the views that read them.
    pub(super) fn drop_with_readers(
        &self,
        change: &CatalogChange,
        tables: impl Iterator<Item = Oid>,
    ) -> CatalogChange {
        let all = self.with(change).upsert_tables;
        let mut dropped = CatalogChange::default();
        let mut todo: Vec<Oid> = tables.collect();
        while let Some(oid) = todo.pop() {
            if dropped.drop_tables.contains(&oid) {
                continue;
            }
            dropped.drop_table(oid);
            let reads = |table: &&Arc<Table>| {
                table.view.as_ref().is_some_and(|view| view.relations.iter().any(|r| r.oid == oid))
            };
            todo.extend(all.iter().filter(reads).map(|table| table.oid));
        }
        dropped
    }

    /// The transaction with this change has committed.
    pub(super) fn committed(&self, change: CatalogChange) {
        if change.is_empty() {
            return;
        }
        let mut objects = self.objects.lock();
        let before = std::mem::take(&mut objects.change);
        let gone = |table: &&Arc<Table>| change.drop_tables.contains(&table.oid);
        self.engine.forget(before.upsert_tables.iter().filter(gone));
        objects.change = before.then(change);
        objects.seen = None;
    }

    pub(super) fn store(&self) -> Result<&Arc<TemporaryStore>, SqlError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let budget = self.engine.database().budget();
        let store = TemporaryStore::new(budget).map_err(storage_error)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// Whether a storage was committed as a temporary table's.
    pub(super) fn has_storage(&self, storage: TableId) -> bool {
        self.store.get().is_some_and(|store| store.table(storage).is_some())
    }

    /// What is committed now.
    pub(super) fn read(&self) -> Option<Arc<TemporarySnapshot>> {
        self.store.get().map(|store| Arc::new(store.read()))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.engine.forget(self.objects.get_mut().change.upsert_tables.iter());
    }
}

/// A catalog with a session's objects, and those that are left out: views of which others dropped what
/// they read, and tables with columns of row types that others dropped or altered. In PostgreSQL they
/// would have kept it from being dropped, here nobody else knew of them.
fn laid_over(base: &Catalog, mut change: CatalogChange) -> Result<(Catalog, Vec<Oid>), SqlError> {
    let mut all = Vec::new();
    loop {
        let broken = broken(base, &change);
        if broken.is_empty() {
            break;
        }
        change.upsert_tables.retain(|table| !broken.contains(&table.oid));
        change.created.retain(|oid| !broken.contains(oid));
        all.extend(broken);
    }
    let catalog = base.apply(&change).map_err(|error| SqlError::internal(error.to_string()))?;
    Ok((catalog, all))
}

/// Whether values of a composite type, as a column has it, are still rows of the relation.
fn is_current<'c>(of: &Composite, find: &impl Fn(Oid) -> Option<&'c Arc<Table>>) -> bool {
    find(of.relation).is_some_and(|relation| {
        let columns = relation.columns.iter().map(|column| (column.id, column.type_oid));
        columns.eq(of.fields.iter().map(|field| (field.column, field.type_oid)))
    }) && of.fields.iter().filter_map(|f| f.composite.as_ref()).all(|inner| is_current(inner, find))
}

/// The objects that read, or are made of, what is not there.
fn broken(base: &Catalog, change: &CatalogChange) -> Vec<Oid> {
    let find = |oid: Oid| {
        let own = change.upsert_tables.iter().find(|table| table.oid == oid);
        own.or_else(|| base.table_by_oid(oid))
    };
    let composed = |table: &&Arc<Table>| {
        let mut composites = table.columns.iter().filter_map(|column| column.composite.as_ref());
        composites.any(|of| !is_current(of, &find))
    };
    let misread = |table: &&Arc<Table>| {
        table.view.iter().flat_map(|view| &view.relations).any(|relation| {
            find(relation.oid).is_none_or(|read| {
                let mut used = relation.columns.iter().filter(|column| column.used);
                used.any(|column| read.column_by_id(column.id).is_none())
            })
        })
    };
    let broken = |table: &&Arc<Table>| composed(table) || misread(table);
    change.upsert_tables.iter().filter(broken).map(|table| table.oid).collect()
}
