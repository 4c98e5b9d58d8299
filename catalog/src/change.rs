//! What a DDL commit carries.

use std::{fmt, sync::Arc};

use glaredb_txn::ids::{SchemaVersion, TableId};

use crate::descriptor::{Database, Oid, Role, Schema, Table, builtin};

/// Descriptors that are new or replace the one with their OID, OIDs of those that go, and how far
/// the counters were used. Applied as a whole: drops first, then the rest, in any order. Built with
/// [`create_table`](Self::create_table) and its kin, several statements joined by
/// [`then`](Self::then).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CatalogChange {
    pub drop_databases: Vec<Oid>,
    /// A schema goes only together with, or after, the tables in it.
    pub drop_schemas: Vec<Oid>,
    pub drop_roles: Vec<Oid>,
    pub drop_tables: Vec<Oid>,
    pub upsert_databases: Vec<Database>,
    pub upsert_schemas: Vec<Schema>,
    pub upsert_roles: Vec<Role>,
    pub upsert_tables: Vec<Arc<Table>>,
    /// OIDs of the upserted objects that are new. Any other upsert replaces a descriptor that must
    /// be there: what somebody else dropped meanwhile does not come back to life.
    pub created: Vec<Oid>,
    /// Every OID this change gives out is below it; 0 when it gives out none. The catalog's counter
    /// becomes the larger of the two.
    pub next_oid: Oid,
    /// The same for storages.
    pub next_table_id: TableId,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKind {
    Database,
    Schema,
    Role,
    /// A table or an index: they share one space of names in a schema.
    Relation,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Role => "role",
            Self::Relation => "relation",
        })
    }
}

/// Why a change does not fit a catalog. Nothing of it is applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{kind} with OID {oid} does not exist")]
    NoSuchObject { kind: ObjectKind, oid: Oid },
    #[error("{kind} \"{name}\" already exists")]
    NameTaken { kind: ObjectKind, name: String },
    #[error("{kind} with OID {oid} already exists")]
    AlreadyThere { kind: ObjectKind, oid: Oid },
    #[error("OID {oid} already names another object")]
    OidTaken { oid: Oid },
    #[error("OID {oid} is not below the counter {next_oid}")]
    OidNotCounted { oid: Oid, next_oid: Oid },
    #[error("{storage} already holds the rows of the table with OID {oid}")]
    StorageTaken { storage: TableId, oid: Oid },
    #[error("{storage} is reserved or not below the counter {next}")]
    StorageNotCounted { storage: TableId, next: TableId },
    #[error("table \"{table}\" is at version {current}, the change brings {given}")]
    VersionNotNewer { table: String, current: SchemaVersion, given: SchemaVersion },
    #[error("schema \"{schema}\" still holds \"{relation}\"")]
    SchemaNotEmpty { schema: String, relation: String },
    #[error("{kind} with OID {oid} is needed by \"{by}\"")]
    StillNeeded { kind: ObjectKind, oid: Oid, by: String },
    #[error("column \"{column}\" of \"{table}\" is needed by \"{by}\"")]
    ColumnStillNeeded { table: String, column: String, by: String },
    #[error("descriptor of {kind} \"{name}\" is malformed: {reason}")]
    Malformed { kind: ObjectKind, name: String, reason: String },
}

impl CatalogChange {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn create_schema(&mut self, schema: Schema) {
        self.created.push(schema.oid);
        self.count(schema.oid);
        self.upsert_schemas.push(schema);
    }

    pub fn drop_schema(&mut self, oid: Oid) {
        self.drop_schemas.push(oid);
    }

    /// A new table, with its key, types and defaults; the counters follow.
    pub fn create_table(&mut self, table: impl Into<Arc<Table>>) {
        let table = table.into();
        self.created.push(table.oid);
        self.alter_table(table);
    }

    /// A new descriptor for a table that exists. Its version must be newer.
    pub fn alter_table(&mut self, table: impl Into<Arc<Table>>) {
        let table = table.into();
        table.oids().for_each(|oid| self.count(oid));
        if table.is_stored() {
            self.next_table_id = self.next_table_id.max(table.storage.next());
        }
        self.upsert_tables.push(table);
    }

    pub fn drop_table(&mut self, oid: Oid) {
        self.drop_tables.push(oid);
    }

    /// Built-in OIDs are not the counter's.
    fn count(&mut self, oid: Oid) {
        if oid >= builtin::FIRST_USER_OID {
            self.next_oid = self.next_oid.max(oid.saturating_add(1));
        }
    }

    /// This change followed by `later`, as one: what a transaction of several DDL statements
    /// commits. What this change created and `later` drops appears in neither.
    #[must_use]
    pub fn then(mut self, later: Self) -> Self {
        let gone: Vec<Oid> =
            [&later.drop_databases, &later.drop_schemas, &later.drop_roles, &later.drop_tables]
                .into_iter()
                .flatten()
                .copied()
                .filter(|oid| self.created.contains(oid))
                .collect();
        let kept = |drops: Vec<Oid>| drops.into_iter().filter(|oid| !gone.contains(oid));

        replace(&mut self.upsert_databases, later.upsert_databases, &later.drop_databases, |d| {
            d.oid
        });
        replace(&mut self.upsert_schemas, later.upsert_schemas, &later.drop_schemas, |s| s.oid);
        replace(&mut self.upsert_roles, later.upsert_roles, &later.drop_roles, |r| r.oid);
        replace(&mut self.upsert_tables, later.upsert_tables, &later.drop_tables, |t| t.oid);
        self.drop_databases.extend(kept(later.drop_databases));
        self.drop_schemas.extend(kept(later.drop_schemas));
        self.drop_roles.extend(kept(later.drop_roles));
        self.drop_tables.extend(kept(later.drop_tables));
        self.created.retain(|oid| !gone.contains(oid));
        self.created.extend(later.created);
        self.next_oid = self.next_oid.max(later.next_oid);
        self.next_table_id = self.next_table_id.max(later.next_table_id);
        self
    }
}

/// Later descriptors take the place of earlier ones with their OID; the dropped go.
fn replace<T>(upserts: &mut Vec<T>, later: Vec<T>, dropped: &[Oid], oid: impl Fn(&T) -> Oid) {
    upserts.retain(|old| {
        !dropped.contains(&oid(old)) && !later.iter().any(|new| oid(new) == oid(old))
    });
    upserts.extend(later);
}
