//! The catalog at one moment, as an immutable value.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use glaredb_txn::ids::TableId;

use crate::{
    CatalogChange,
    descriptor::{
        Column, Database, DecodeError, NAME_BYTES_MAX, Oid, Role, Schema, Table, builtin,
    },
    shared_map::SharedMap,
};

mod apply;
#[cfg(test)]
mod tests;

/// All descriptors at one moment. Cloning is cheap ([shared maps](SharedMap)); [`apply`](Self::apply) makes the
/// next one and leaves this as it is.
///
/// What holds in every catalog: names are unique per kind, those of tables and indexes together per
/// schema; an OID names one thing; a storage belongs to one table; a table's schema and every owner
/// exist; every OID and storage given out is below its counter.
#[derive(Clone, Debug)]
pub struct Catalog {
    databases: Arc<BTreeMap<Oid, Arc<Database>>>,
    roles: Arc<BTreeMap<Oid, Arc<Role>>>,
    schemas: Arc<BTreeMap<Oid, Arc<Schema>>>,
    tables: SharedMap<Oid, Arc<Table>>,
    /// Those that have a query.
    views: SharedMap<Oid, ()>,
    /// Those that have columns of composite types.
    composed: SharedMap<Oid, ()>,
    /// OIDs inside tables (key, constraint, types, defaults) → OID of the table.
    inner_oids: SharedMap<Oid, Oid>,
    storages: SharedMap<TableId, Oid>,
    /// By schema, then by name of table or index.
    names: Arc<BTreeMap<Oid, NamesInSchema>>,
    /// See [`temporary_schema`](Self::temporary_schema).
    temporary: Option<Oid>,
    next_oid: Oid,
    next_table_id: TableId,
}

type NamesInSchema = SharedMap<Arc<str>, Named>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Named {
    Table(Oid),
    /// The index of the primary key of the table with this OID.
    KeyOf(Oid),
}

/// What sessions call the schema of their temporary objects.
pub const TEMPORARY_SCHEMA: &str = "pg_temp";

/// What a name in a schema stands for.
#[derive(Clone, Copy, Debug)]
pub enum Relation<'a> {
    Table(&'a Arc<Table>),
    /// The index of this table's primary key.
    KeyIndex(&'a Arc<Table>),
}

impl Default for Catalog {
    fn default() -> Self {
        Self::empty()
    }
}

impl Catalog {
    /// Nothing at all: what the first record of a log, [`builtin::bootstrap`], is applied to.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            databases: Arc::default(),
            roles: Arc::default(),
            schemas: Arc::default(),
            tables: SharedMap::default(),
            views: SharedMap::default(),
            composed: SharedMap::default(),
            inner_oids: SharedMap::default(),
            storages: SharedMap::default(),
            names: Arc::default(),
            temporary: None,
            next_oid: builtin::FIRST_USER_OID,
            next_table_id: TableId::CATALOG.next(),
        }
    }

    /// The next OID nothing in this catalog has, nor anything before it had.
    #[must_use]
    pub fn next_oid(&self) -> Oid {
        self.next_oid
    }

    /// The same for storages.
    #[must_use]
    pub fn next_table_id(&self) -> TableId {
        self.next_table_id
    }

    // Lookups.

    #[must_use]
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.values().find(|database| database.name == name)
    }

    #[must_use]
    pub fn database_by_oid(&self, oid: Oid) -> Option<&Arc<Database>> {
        self.databases.get(&oid)
    }

    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.values().find(|role| role.name == name)
    }

    #[must_use]
    pub fn role_by_oid(&self, oid: Oid) -> Option<&Arc<Role>> {
        self.roles.get(&oid)
    }

    #[must_use]
    pub fn schema(&self, name: &str) -> Option<&Arc<Schema>> {
        if name == TEMPORARY_SCHEMA {
            return self.temporary_schema();
        }
        self.schemas.values().find(|schema| schema.name == name)
    }

    #[must_use]
    pub fn schema_by_oid(&self, oid: Oid) -> Option<&Arc<Schema>> {
        self.schemas.get(&oid)
    }

    /// The schema of temporary objects, in the catalog that one session sees: called
    /// [`TEMPORARY_SCHEMA`] and a number, and found under the bare [`TEMPORARY_SCHEMA`] too. No
    /// other session's catalog has it, and nothing of it is ever written down.
    #[must_use]
    pub fn temporary_schema(&self) -> Option<&Arc<Schema>> {
        self.schemas.get(&self.temporary?)
    }

    /// Whether a relation stands in the schema of temporary objects.
    #[must_use]
    pub fn is_temporary(&self, table: &Table) -> bool {
        self.temporary == Some(table.schema_oid)
    }

    /// A table by names of schema and table.
    #[must_use]
    pub fn table(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.table_in(self.schema(schema)?.oid, name)
    }

    /// A table by OID of its schema and its name.
    #[must_use]
    pub fn table_in(&self, schema_oid: Oid, name: &str) -> Option<&Arc<Table>> {
        match self.relation(schema_oid, name)? {
            Relation::Table(table) => Some(table),
            Relation::KeyIndex(_) => None,
        }
    }

    #[must_use]
    pub fn table_by_oid(&self, oid: Oid) -> Option<&Arc<Table>> {
        self.tables.get(&oid)
    }

    /// The table whose rows are, at this moment, in `storage`.
    #[must_use]
    pub fn table_by_storage(&self, storage: TableId) -> Option<&Arc<Table>> {
        self.tables.get(self.storages.get(&storage)?)
    }

    /// The first table of that name in the schemas of `search_path`; unknown schemas are passed
    /// over.
    #[must_use]
    pub fn find_table<S: AsRef<str>>(&self, search_path: &[S], name: &str) -> Option<&Arc<Table>> {
        search_path.iter().find_map(|schema| self.table(schema.as_ref(), name))
    }

    /// What a name stands for in a schema. Taken names have an answer, free ones none.
    #[must_use]
    pub fn relation(&self, schema_oid: Oid, name: &str) -> Option<Relation<'_>> {
        let table = |oid| self.tables.get(oid).expect("every name leads to a table");
        Some(match self.names.get(&schema_oid)?.get(name)? {
            Named::Table(oid) => Relation::Table(table(oid)),
            Named::KeyOf(oid) => Relation::KeyIndex(table(oid)),
        })
    }

    /// A table or index by its OID.
    #[must_use]
    pub fn relation_by_oid(&self, oid: Oid) -> Option<Relation<'_>> {
        if let Some(table) = self.tables.get(&oid) {
            return Some(Relation::Table(table));
        }
        let table = self.tables.get(self.inner_oids.get(&oid)?)?;
        let key = table.primary_key.as_ref()?;
        (key.oid == oid).then_some(Relation::KeyIndex(table))
    }

    /// The table inside whose descriptor `oid` stands: as its key's, a type's or a default's.
    #[must_use]
    pub fn table_with_inner_oid(&self, oid: Oid) -> Option<&Arc<Table>> {
        self.tables.get(self.inner_oids.get(&oid)?)
    }

    /// The name PostgreSQL gives an implicit object: `wanted`, or with the first number behind it
    /// that makes it free in the schema (`t_pkey`, `t_pkey1`, …), cut to the length of a name.
    #[must_use]
    pub fn free_relation_name(&self, schema_oid: Oid, table: &str, suffix: &str) -> String {
        let mut number = String::new();
        for next in 1_u32.. {
            let tail = suffix.len() + number.len() + 1;
            let mut end = table.len().min(NAME_BYTES_MAX.saturating_sub(tail));
            while !table.is_char_boundary(end) {
                end -= 1;
            }
            let name = format!("{}_{suffix}{number}", &table[..end]);
            if self.relation(schema_oid, &name).is_none() {
                return name;
            }
            number = next.to_string();
        }
        unreachable!("a schema has fewer relations than there are numbers")
    }

    // Lists.

    /// By OID, as all lists.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<Database>> + '_ {
        self.databases.values()
    }

    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> + '_ {
        self.roles.values()
    }

    pub fn schemas(&self) -> impl Iterator<Item = &Arc<Schema>> + '_ {
        self.schemas.values()
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> + '_ {
        self.tables.values()
    }

    /// The views whose queries read a table or view, by OID.
    pub fn readers(&self, oid: Oid) -> impl Iterator<Item = &Arc<Table>> + '_ {
        self.views().filter(move |table| {
            let view = table.view.as_ref();
            view.is_some_and(|view| view.relations.iter().any(|relation| relation.oid == oid))
        })
    }

    /// The relations with columns of the row type of a relation, or of arrays over it, by OID, each with
    /// these columns.
    pub fn columns_of_type(&self, relation: Oid) -> Vec<(&Arc<Table>, Vec<&Column>)> {
        let of_type = |column: &&Column| {
            column.composite.as_ref().is_some_and(|composite| composite.relation == relation)
        };
        self.composed
            .keys()
            .filter_map(|oid| self.tables.get(oid))
            .map(|table| (table, table.columns.iter().filter(of_type).collect::<Vec<_>>()))
            .filter(|(_, columns)| !columns.is_empty())
            .collect()
    }

    /// Views and materialized views.
    pub fn views(&self) -> impl Iterator<Item = &Arc<Table>> + '_ {
        self.views.keys().filter_map(|oid| self.tables.get(oid))
    }

    /// The storages that are no table's in `later`.
    pub fn storages_not_in<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = TableId> + 'a {
        self.storages.keys_not_in(&later.storages).copied()
    }

    /// The tables of a schema, by name.
    pub fn tables_in(&self, schema_oid: Oid) -> impl Iterator<Item = &Arc<Table>> + '_ {
        self.names.get(&schema_oid).into_iter().flat_map(|names| names.values()).filter_map(
            |named| match named {
                Named::Table(oid) => self.tables.get(oid),
                Named::KeyOf(_) => None,
            },
        )
    }

    #[must_use]
    pub fn table_count(&self) -> usize {
        self.tables.len()
    }

    // Encoding.

    /// Bytes of the whole catalog, for a checkpoint: the change that makes it of an empty one. Equal
    /// catalogs give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.as_change().encode()
    }

    /// The catalog with these bytes; a catalog that contradicts itself is refused as malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let change = CatalogChange::decode(bytes)?;
        Self::empty()
            .apply(&change)
            .map_err(|e| DecodeError::Malformed { what: "catalog", reason: e.to_string() })
    }

    fn as_change(&self) -> CatalogChange {
        CatalogChange {
            upsert_databases: self.databases.values().map(|d| (**d).clone()).collect(),
            upsert_schemas: self.schemas.values().map(|s| (**s).clone()).collect(),
            upsert_roles: self.roles.values().map(|r| (**r).clone()).collect(),
            upsert_tables: self.tables.values().cloned().collect(),
            created: std::iter::empty()
                .chain(self.databases.keys())
                .chain(self.schemas.keys())
                .chain(self.roles.keys())
                .chain(self.tables.keys())
                .copied()
                .collect(),
            next_oid: self.next_oid,
            next_table_id: self.next_table_id,
            ..CatalogChange::default()
        }
    }
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        // The other maps follow from these.
        self.databases == other.databases
            && self.roles == other.roles
            && self.schemas == other.schemas
            && self.tables == other.tables
            && self.next_oid == other.next_oid
            && self.next_table_id == other.next_table_id
    }
}

impl Eq for Catalog {}
