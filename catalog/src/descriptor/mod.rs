//! Descriptors: what the catalog knows of one database, schema, role or table.
//!
//! They are plain values. Their encoding (protobuf, `docs/formats/catalog.md`) stands in
//! [`encoding`]; a table's primary key, row type and array type are part of the table's descriptor,
//! but have OIDs of their own, because clients ask for them by OID.

use std::collections::BTreeMap;

use bytes::Bytes;
use glaredb_txn::ids::{SchemaVersion, TableId};

pub mod builtin;
mod composite;
pub mod encoding;
#[cfg(test)]
mod tests;
mod view;

pub use composite::{Composite, CompositeField};
pub use encoding::DecodeError;
pub use view::{View, ViewColumn, ViewRelation};

/// Object identifier as clients see it in `pg_class` and kin. One counter serves all kinds, so an
/// OID names one object in the whole database; those below [`builtin::FIRST_USER_OID`] are fixed.
pub type Oid = u32;

/// Longest name of anything, in bytes of UTF-8 (PostgreSQL's NAMEDATALEN - 1).
pub const NAME_BYTES_MAX: usize = 63;

/// Most columns a table may have, as in PostgreSQL.
pub const COLUMNS_MAX: usize = 1600;

/// Largest encoding of one descriptor: it has to fit a log entry and a metastore transaction beside
/// others. 1,600 columns with names of full length take 160 KB.
pub const DESCRIPTOR_BYTES_MAX: usize = 256 << 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    pub oid: Oid,
    pub name: String,
    /// OID of a role.
    pub owner: Oid,
    /// As COMMENT ON set it; empty: that of the system is gone.
    pub comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    pub oid: Oid,
    pub name: String,
    /// OID of a role.
    pub owner: Oid,
    /// As COMMENT ON set it; empty: that of the system is gone.
    pub comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    pub oid: Oid,
    pub name: String,
    pub superuser: bool,
    /// May open a session.
    pub login: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_database: bool,
    pub replication: bool,
    pub bypass_row_security: bool,
    /// Sessions this role may have at once; -1: no limit.
    pub connection_limit: i32,
}

/// What a [`Table`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RelationKind {
    #[default]
    Table,
    /// Has no rows of its own, and no storage: [`TableId::CATALOG`].
    View,
    /// Keeps the rows its query had when it was last refreshed.
    MaterializedView,
    /// What CREATE TYPE made: columns without rows, and no storage.
    CompositeType,
}

/// What a commit does to a temporary table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnCommit {
    #[default]
    PreserveRows,
    DeleteRows,
    Drop,
}

/// A table, or what is read like one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    pub oid: Oid,
    pub name: String,
    pub kind: RelationKind,
    /// OID of the schema it stands in.
    pub schema_oid: Oid,
    /// OID of the role that owns it.
    pub owner: Oid,
    /// OID of the composite type with the table's columns (`pg_type.typname` = the table's name).
    pub row_type_oid: Oid,
    /// OID of the array type over it.
    pub array_type_oid: Oid,
    /// Where its rows are. TRUNCATE gives a table a new storage under the same OID; snapshots from
    /// before keep reading the old one.
    pub storage: TableId,
    /// Grows with every change of this descriptor. Write sets name the version they were planned
    /// under.
    pub version: SchemaVersion,
    /// In order of their number.
    pub columns: Vec<Column>,
    /// Id (and number) of the next column to be added: those of dropped columns never come back.
    pub next_column_id: u32,
    pub primary_key: Option<PrimaryKey>,
    /// Storage parameters as given in `WITH (…)`, such as `fillfactor`.
    pub options: BTreeMap<String, String>,
    /// Of a view, materialized or not.
    pub view: Option<View>,
    /// Of a temporary table. Nothing of those is written down, so no encoding has it.
    pub on_commit: OnCommit,
    /// A materialized view that was never filled.
    pub unpopulated: bool,
    /// Columns that rows in this storage still hold, by id.
    pub dropped: Vec<DroppedColumn>,
    pub comment: Option<String>,
}

/// A column that is gone but for its place in stored rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DroppedColumn {
    pub id: u32,
    pub type_oid: Oid,
    pub typmod: i32,
    /// As of a [`Column`].
    pub composite: Option<Composite>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Column {
    /// Identifies the column for ever, through renames; becomes the Iceberg field id. Never reused
    /// in a table, starts at 1.
    pub id: u32,
    /// `pg_attribute.attnum`: position as the user counts, from 1; holes where columns were dropped.
    pub number: i16,
    pub name: String,
    /// OID in `pg_type`.
    pub type_oid: Oid,
    /// Type modifier as in `pg_attribute.atttypmod`; -1: none.
    pub typmod: i32,
    pub not_null: bool,
    /// Expression of `DEFAULT`, as SQL text.
    pub default: Option<String>,
    /// OID under which `pg_attrdef` lists the default; 0 without one.
    pub default_oid: Oid,
    /// Of a column that came later than its table: its value in rows from before, encoded as a row of
    /// one column; `None`: NULL.
    pub missing: Option<Bytes>,
    pub comment: Option<String>,
    /// Of a column of a composite type, or of arrays over one.
    pub composite: Option<Composite>,
}

/// The primary key, which is constraint and index under one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrimaryKey {
    /// OID of the index (`pg_class`, `pg_index`).
    pub oid: Oid,
    /// OID of the constraint (`pg_constraint`).
    pub constraint_oid: Oid,
    pub name: String,
    /// Ids of its columns, in key order.
    pub columns: Vec<u32>,
}

impl Table {
    /// Whether it is a plain table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.kind == RelationKind::Table
    }

    /// Whether it has rows of its own.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self.kind, RelationKind::Table | RelationKind::MaterializedView)
    }

    /// Whether it is what CREATE TYPE made: no relation to read from.
    #[must_use]
    pub fn is_composite_type(&self) -> bool {
        self.kind == RelationKind::CompositeType
    }

    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    #[must_use]
    pub fn column_by_id(&self, id: u32) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Place of a column in `columns`.
    #[must_use]
    pub fn column_index(&self, id: u32) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// Places in `columns` of the primary key's columns, in key order; empty without a key.
    #[must_use]
    pub fn key_column_indexes(&self) -> Vec<usize> {
        let Some(key) = &self.primary_key else { return Vec::new() };
        key.columns.iter().filter_map(|id| self.column_index(*id)).collect()
    }

    /// Every OID this descriptor gives out: the table, its types, its key, its defaults.
    pub fn oids(&self) -> impl Iterator<Item = Oid> + '_ {
        [self.oid, self.row_type_oid, self.array_type_oid]
            .into_iter()
            .chain(self.primary_key.iter().flat_map(|key| [key.oid, key.constraint_oid]))
            .chain(self.columns.iter().map(|column| column.default_oid).filter(|oid| *oid != 0))
    }
}
