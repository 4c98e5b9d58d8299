//! How concurrent DDL meets in the resolver.
//!
//! The resolver knows nothing of descriptors: it compares keys. So a DDL commit names, beside its
//! [`CatalogChange`], keys of the reserved pseudo-table [`TableId::CATALOG`]:
//!
//! | key | written by | asserted by |
//! |---|---|---|
//! | name of a kind, in a schema | who takes or frees the name | |
//! | object by OID | who changes or drops it | who refers to it (a table to its schema and owner) |
//! | contents of a schema | who creates in it, **never in conflict with each other** | who drops the schema |
//! | readers of a relation | who makes a view of it or a column of its row type, never in conflict with each other | who alters or drops the relation |
//!
//! Two sessions creating `t` in one schema write the same name: the second gets 40001 (its retry
//! finds the table). One creating in a schema that another drops: whichever commits second asserts
//! what the first wrote. Two creating different tables share no key but the schema's contents,
//! which creators write with the base [`NEVER_CONFLICTS`].
//!
//! What a change does to a table's *rows* is not said here: schema versions see to that, and a
//! statement that read rows to decide (ADD PRIMARY KEY) asserts their table itself.

use bytes::{BufMut, Bytes, BytesMut};
use glaredb_txn::{
    commit::message::{Assertion, KeyWrite, Mark, NEVER_CONFLICTS, Scope, Watch},
    ids::{IndexId, Position, TableId},
};

use crate::{
    Catalog, CatalogChange, ObjectKind,
    descriptor::{Oid, Table},
};

/// Keys with which a DDL commit enters the resolver.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    pub writes: Vec<KeyWrite>,
    pub assertions: Vec<Assertion>,
}

/// The claims of `change`, which a session planned on `catalog`, the catalog at `base`.
#[must_use]
pub fn claims(catalog: &Catalog, base: Position, change: &CatalogChange) -> Claims {
    let mut claims = Builder { base, claims: Claims::default(), created: &change.created };
    for database in &change.upsert_databases {
        let old = catalog.database_by_oid(database.oid);
        claims.object(
            ObjectKind::Database,
            database.oid,
            old.map(|d| d.name.as_str()),
            &database.name,
        );
        claims.refers_to(ObjectKind::Role, database.owner);
    }
    for role in &change.upsert_roles {
        let old = catalog.role_by_oid(role.oid);
        claims.object(ObjectKind::Role, role.oid, old.map(|r| r.name.as_str()), &role.name);
    }
    for schema in &change.upsert_schemas {
        let old = catalog.schema_by_oid(schema.oid);
        claims.object(ObjectKind::Schema, schema.oid, old.map(|s| s.name.as_str()), &schema.name);
        claims.refers_to(ObjectKind::Role, schema.owner);
    }
    for table in &change.upsert_tables {
        claims.table(catalog.table_by_oid(table.oid).map(|old| &**old), Some(table));
        claims.refers_to(ObjectKind::Role, table.owner);
        claims.refers_to(ObjectKind::Schema, table.schema_oid);
        claims.write(contents_key(table.schema_oid), Mark::Changed, NEVER_CONFLICTS);
        for oid in table.view.iter().flat_map(|view| view.reads()) {
            claims.reads(oid);
        }
        for composite in table.columns.iter().filter_map(|column| column.composite.as_ref()) {
            claims.reads(composite.relation);
        }
    }
    for oid in &change.drop_tables {
        claims.table(catalog.table_by_oid(*oid).map(|old| &**old), None);
    }
    for oid in &change.drop_schemas {
        let name = catalog.schema_by_oid(*oid).map(|s| s.name.as_str());
        claims.dropped(ObjectKind::Schema, *oid, name);
        claims.assert(contents_key(*oid));
    }
    for oid in &change.drop_roles {
        let name = catalog.role_by_oid(*oid).map(|r| r.name.as_str());
        claims.dropped(ObjectKind::Role, *oid, name);
        // Whoever makes the role an owner writes this too: see `refers_to`.
        claims.assert(possessions_key(*oid));
    }
    for oid in &change.drop_databases {
        let name = catalog.database_by_oid(*oid).map(|d| d.name.as_str());
        claims.dropped(ObjectKind::Database, *oid, name);
    }
    claims.claims
}

struct Builder<'a> {
    base: Position,
    claims: Claims,
    created: &'a [Oid],
}

impl Builder<'_> {
    fn write(&mut self, key: Bytes, mark: Mark, base: Position) {
        let write = KeyWrite { table: TableId::CATALOG, index: IndexId::KEY, key, mark, base };
        // One key once: several tables of a change share their schema's contents.
        if !self.claims.writes.iter().any(|w| w.key == write.key) {
            self.claims.writes.push(write);
        }
    }

    fn assert(&mut self, key: Bytes) {
        let scope = Scope::Key { index: IndexId::KEY, key, watch: Watch::Any };
        let assertion = Assertion { table: TableId::CATALOG, scope, base: self.base };
        if !self.claims.assertions.contains(&assertion) {
            self.claims.assertions.push(assertion);
        }
    }

    fn object(&mut self, kind: ObjectKind, oid: Oid, old_name: Option<&str>, name: &str) {
        let mark = if self.created.contains(&oid) { Mark::Added } else { Mark::Changed };
        self.write(object_key(kind, oid), mark, self.base);
        self.name(kind, 0, old_name, Some(name));
    }

    fn dropped(&mut self, kind: ObjectKind, oid: Oid, name: Option<&str>) {
        self.write(object_key(kind, oid), Mark::Removed, self.base);
        self.name(kind, 0, name, None);
    }

    fn table(&mut self, old: Option<&Table>, new: Option<&Table>) {
        let Some(either) = new.or(old) else { return };
        let mark = match (old, new) {
            (_, None) => Mark::Removed,
            (None, Some(_)) => Mark::Added,
            (Some(_), Some(_)) => Mark::Changed,
        };
        self.write(object_key(ObjectKind::Relation, either.oid), mark, self.base);
        if let Some(old) = old {
            // Whoever makes a view of it writes this too: see `reads`.
            self.assert(readers_key(old.oid));
        }
        let name_of = |table: Option<&'_ Table>| table.map(|t| (t.schema_oid, t.name.clone()));
        let key_of = |table: Option<&'_ Table>| {
            table.and_then(|t| Some((t.schema_oid, t.primary_key.as_ref()?.name.clone())))
        };
        for (old, new) in [(name_of(old), name_of(new)), (key_of(old), key_of(new))] {
            if old == new {
                continue;
            }
            for (place, mark) in [(old, Mark::Removed), (new, Mark::Added)] {
                if let Some((schema, name)) = place {
                    self.write(name_key(ObjectKind::Relation, schema, &name), mark, self.base);
                }
            }
        }
    }

    fn name(&mut self, kind: ObjectKind, schema: Oid, old: Option<&str>, new: Option<&str>) {
        if old == new {
            return;
        }
        for (name, mark) in [(old, Mark::Removed), (new, Mark::Added)] {
            if let Some(name) = name {
                self.write(name_key(kind, schema, name), mark, self.base);
            }
        }
    }

    /// A view reads this, or a column has its row type: what it is made of stays as they know it.
    fn reads(&mut self, oid: Oid) {
        if !self.created.contains(&oid) {
            self.assert(object_key(ObjectKind::Relation, oid));
        }
        self.write(readers_key(oid), Mark::Changed, NEVER_CONFLICTS);
    }

    /// What the change leans on must still be there, unless it brings it itself.
    fn refers_to(&mut self, kind: ObjectKind, oid: Oid) {
        if !self.created.contains(&oid) {
            self.assert(object_key(kind, oid));
        }
        if kind == ObjectKind::Role {
            self.write(possessions_key(oid), Mark::Changed, NEVER_CONFLICTS);
        }
    }
}

const NAME: u8 = b'n';
const OBJECT: u8 = b'o';
const CONTENTS: u8 = b'c';
const POSSESSIONS: u8 = b'p';
const READERS: u8 = b'v';

fn kind_byte(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Database => b'd',
        ObjectKind::Schema => b's',
        ObjectKind::Role => b'r',
        ObjectKind::Relation => b't',
    }
}

/// `schema` is 0 for kinds that stand in none.
fn name_key(kind: ObjectKind, schema: Oid, name: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(6 + name.len());
    key.put_slice(&[NAME, kind_byte(kind)]);
    key.put_u32(schema);
    key.put_slice(name.as_bytes());
    key.freeze()
}

fn object_key(kind: ObjectKind, oid: Oid) -> Bytes {
    let mut key = BytesMut::with_capacity(6);
    key.put_slice(&[OBJECT, kind_byte(kind)]);
    key.put_u32(oid);
    key.freeze()
}

fn contents_key(schema: Oid) -> Bytes {
    let mut key = BytesMut::with_capacity(5);
    key.put_u8(CONTENTS);
    key.put_u32(schema);
    key.freeze()
}

fn possessions_key(role: Oid) -> Bytes {
    let mut key = BytesMut::with_capacity(5);
    key.put_u8(POSSESSIONS);
    key.put_u32(role);
    key.freeze()
}

fn readers_key(relation: Oid) -> Bytes {
    let mut key = BytesMut::with_capacity(5);
    key.put_u8(READERS);
    key.put_u32(relation);
    key.freeze()
}

#[cfg(test)]
mod tests;
