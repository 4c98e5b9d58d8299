//! Bytes of descriptors, changes and whole catalogs: one byte of format version, then a protobuf
//! message (`docs/formats/catalog.md`). Fields are added with new tags and never reused, so an older
//! decoder meets a newer message only under a newer version byte.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use glaredb_txn::ids::{SchemaVersion, TableId};
use prost::Message;

use super::{
    Column, Composite, CompositeField, Database, DroppedColumn, OnCommit, PrimaryKey, RelationKind,
    Role, Schema, Table, View, ViewColumn, ViewRelation,
};
use crate::change::CatalogChange;

/// Version of the encoding this build writes, and the newest it reads.
pub const FORMAT_VERSION: u8 = 3;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("a {what} of no bytes at all")]
    Empty { what: &'static str },
    #[error("a {what} of format version {found}; this build reads up to {FORMAT_VERSION}")]
    Newer { what: &'static str, found: u8 },
    #[error("a {what} that is no message of its format: {reason}")]
    Malformed { what: &'static str, reason: String },
    #[error("a {what} whose {field} is {value}, which is out of range")]
    OutOfRange { what: &'static str, field: &'static str, value: i64 },
}

#[derive(Clone, PartialEq, Message)]
struct DatabaseMessage {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    owner: u32,
    #[prost(string, optional, tag = "4")]
    comment: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaMessage {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    owner: u32,
    #[prost(string, optional, tag = "4")]
    comment: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct RoleMessage {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    superuser: bool,
    #[prost(bool, tag = "4")]
    login: bool,
    #[prost(bool, tag = "5")]
    inherit: bool,
    #[prost(bool, tag = "6")]
    create_role: bool,
    #[prost(bool, tag = "7")]
    create_database: bool,
    #[prost(bool, tag = "8")]
    replication: bool,
    #[prost(bool, tag = "9")]
    bypass_row_security: bool,
    #[prost(sint32, tag = "10")]
    connection_limit: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ColumnMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(sint32, tag = "2")]
    number: i32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, tag = "4")]
    type_oid: u32,
    #[prost(sint32, tag = "5")]
    typmod: i32,
    #[prost(bool, tag = "6")]
    not_null: bool,
    #[prost(string, optional, tag = "7")]
    default: Option<String>,
    #[prost(uint32, tag = "8")]
    default_oid: u32,
    #[prost(bytes = "bytes", optional, tag = "9")]
    missing: Option<Bytes>,
    #[prost(string, optional, tag = "10")]
    comment: Option<String>,
    #[prost(message, optional, tag = "11")]
    composite: Option<CompositeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CompositeMessage {
    #[prost(uint32, tag = "1")]
    relation: u32,
    #[prost(uint32, tag = "2")]
    type_oid: u32,
    #[prost(uint32, tag = "3")]
    array_type_oid: u32,
    #[prost(message, repeated, tag = "4")]
    fields: Vec<CompositeFieldMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CompositeFieldMessage {
    #[prost(uint32, tag = "1")]
    type_oid: u32,
    #[prost(sint32, tag = "2")]
    typmod: i32,
    #[prost(message, optional, tag = "3")]
    composite: Option<CompositeMessage>,
    #[prost(uint32, tag = "4")]
    column: u32,
}

#[derive(Clone, PartialEq, Message)]
struct DroppedColumnMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint32, tag = "2")]
    type_oid: u32,
    #[prost(sint32, tag = "3")]
    typmod: i32,
    #[prost(message, optional, tag = "4")]
    composite: Option<CompositeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ViewColumnMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    used: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ViewRelationMessage {
    #[prost(string, optional, tag = "1")]
    schema: Option<String>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    oid: u32,
    #[prost(message, repeated, tag = "4")]
    columns: Vec<ViewColumnMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ViewMessage {
    #[prost(string, tag = "1")]
    query: String,
    #[prost(message, repeated, tag = "3")]
    relations: Vec<ViewRelationMessage>,
    #[prost(string, repeated, tag = "4")]
    options: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct PrimaryKeyMessage {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(uint32, tag = "2")]
    constraint_oid: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, repeated, tag = "4")]
    columns: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct TableMessage {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    schema_oid: u32,
    #[prost(uint32, tag = "4")]
    owner: u32,
    #[prost(uint32, tag = "5")]
    row_type_oid: u32,
    #[prost(uint32, tag = "6")]
    array_type_oid: u32,
    #[prost(uint32, tag = "7")]
    storage: u32,
    #[prost(uint32, tag = "8")]
    version: u32,
    #[prost(message, repeated, tag = "9")]
    columns: Vec<ColumnMessage>,
    #[prost(uint32, tag = "10")]
    next_column_id: u32,
    #[prost(message, optional, tag = "11")]
    primary_key: Option<PrimaryKeyMessage>,
    // A sorted map: the same descriptor always gives the same bytes.
    #[prost(btree_map = "string, string", tag = "12")]
    options: BTreeMap<String, String>,
    #[prost(uint32, tag = "13")]
    kind: u32,
    #[prost(message, optional, tag = "14")]
    view: Option<ViewMessage>,
    #[prost(bool, tag = "15")]
    unpopulated: bool,
    #[prost(message, repeated, tag = "16")]
    dropped: Vec<DroppedColumnMessage>,
    #[prost(string, optional, tag = "17")]
    comment: Option<String>,
}

/// A change, and with no drops the catalog as a whole.
#[derive(Clone, PartialEq, Message)]
struct ChangeMessage {
    #[prost(uint32, repeated, tag = "1")]
    drop_databases: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    drop_schemas: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    drop_roles: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    drop_tables: Vec<u32>,
    #[prost(message, repeated, tag = "5")]
    upsert_databases: Vec<DatabaseMessage>,
    #[prost(message, repeated, tag = "6")]
    upsert_schemas: Vec<SchemaMessage>,
    #[prost(message, repeated, tag = "7")]
    upsert_roles: Vec<RoleMessage>,
    #[prost(message, repeated, tag = "8")]
    upsert_tables: Vec<TableMessage>,
    #[prost(uint32, tag = "9")]
    next_oid: u32,
    #[prost(uint32, tag = "10")]
    next_table_id: u32,
    #[prost(uint32, repeated, tag = "11")]
    created: Vec<u32>,
}

fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(FORMAT_VERSION);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn unframe<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty { what })?;
    if *version == 0 || *version > FORMAT_VERSION {
        return Err(DecodeError::Newer { what, found: *version });
    }
    M::decode(body).map_err(|e| DecodeError::Malformed { what, reason: e.to_string() })
}

impl From<&Database> for DatabaseMessage {
    fn from(d: &Database) -> Self {
        Self { oid: d.oid, name: d.name.clone(), owner: d.owner, comment: d.comment.clone() }
    }
}

impl From<DatabaseMessage> for Database {
    fn from(m: DatabaseMessage) -> Self {
        Self { oid: m.oid, name: m.name, owner: m.owner, comment: m.comment }
    }
}

impl From<&Schema> for SchemaMessage {
    fn from(s: &Schema) -> Self {
        Self { oid: s.oid, name: s.name.clone(), owner: s.owner, comment: s.comment.clone() }
    }
}

impl From<SchemaMessage> for Schema {
    fn from(m: SchemaMessage) -> Self {
        Self { oid: m.oid, name: m.name, owner: m.owner, comment: m.comment }
    }
}

impl From<&Role> for RoleMessage {
    fn from(r: &Role) -> Self {
        Self {
            oid: r.oid,
            name: r.name.clone(),
            superuser: r.superuser,
            login: r.login,
            inherit: r.inherit,
            create_role: r.create_role,
            create_database: r.create_database,
            replication: r.replication,
            bypass_row_security: r.bypass_row_security,
            connection_limit: r.connection_limit,
        }
    }
}

impl From<RoleMessage> for Role {
    fn from(m: RoleMessage) -> Self {
        Self {
            oid: m.oid,
            name: m.name,
            superuser: m.superuser,
            login: m.login,
            inherit: m.inherit,
            create_role: m.create_role,
            create_database: m.create_database,
            replication: m.replication,
            bypass_row_security: m.bypass_row_security,
            connection_limit: m.connection_limit,
        }
    }
}

impl From<&Column> for ColumnMessage {
    fn from(c: &Column) -> Self {
        Self {
            id: c.id,
            number: c.number.into(),
            name: c.name.clone(),
            type_oid: c.type_oid,
            typmod: c.typmod,
            not_null: c.not_null,
            default: c.default.clone(),
            default_oid: c.default_oid,
            missing: c.missing.clone(),
            comment: c.comment.clone(),
            composite: c.composite.as_ref().map(CompositeMessage::from),
        }
    }
}

impl TryFrom<ColumnMessage> for Column {
    type Error = DecodeError;

    fn try_from(m: ColumnMessage) -> Result<Self, DecodeError> {
        let number = i16::try_from(m.number).map_err(|_| DecodeError::OutOfRange {
            what: "column",
            field: "number",
            value: m.number.into(),
        })?;
        Ok(Self {
            id: m.id,
            number,
            name: m.name,
            type_oid: m.type_oid,
            typmod: m.typmod,
            not_null: m.not_null,
            default: m.default,
            default_oid: m.default_oid,
            missing: m.missing,
            comment: m.comment,
            composite: m.composite.map(Composite::from),
        })
    }
}

impl From<&Composite> for CompositeMessage {
    fn from(c: &Composite) -> Self {
        let field = |f: &CompositeField| CompositeFieldMessage {
            type_oid: f.type_oid,
            typmod: f.typmod,
            composite: f.composite.as_ref().map(Self::from),
            column: f.column,
        };
        Self {
            relation: c.relation,
            type_oid: c.type_oid,
            array_type_oid: c.array_type_oid,
            fields: c.fields.iter().map(field).collect(),
        }
    }
}

// As deep as protobuf messages may nest in one another; the decoder bounds it.
impl From<CompositeMessage> for Composite {
    fn from(m: CompositeMessage) -> Self {
        let field = |f: CompositeFieldMessage| CompositeField {
            column: f.column,
            type_oid: f.type_oid,
            typmod: f.typmod,
            composite: f.composite.map(Self::from),
        };
        Self {
            relation: m.relation,
            type_oid: m.type_oid,
            array_type_oid: m.array_type_oid,
            fields: m.fields.into_iter().map(field).collect(),
        }
    }
}

impl From<&View> for ViewMessage {
    fn from(v: &View) -> Self {
        let column =
            |c: &ViewColumn| ViewColumnMessage { id: c.id, name: c.name.clone(), used: c.used };
        let relation = |r: &ViewRelation| ViewRelationMessage {
            schema: r.schema.clone(),
            name: r.name.clone(),
            oid: r.oid,
            columns: r.columns.iter().map(column).collect(),
        };
        Self {
            query: v.query.clone(),
            relations: v.relations.iter().map(relation).collect(),
            options: v.options.clone(),
        }
    }
}

impl From<ViewMessage> for View {
    fn from(m: ViewMessage) -> Self {
        let column = |c: ViewColumnMessage| ViewColumn { id: c.id, name: c.name, used: c.used };
        let relation = |r: ViewRelationMessage| ViewRelation {
            schema: r.schema,
            name: r.name,
            oid: r.oid,
            columns: r.columns.into_iter().map(column).collect(),
        };
        Self {
            query: m.query,
            relations: m.relations.into_iter().map(relation).collect(),
            options: m.options,
        }
    }
}

impl From<&Table> for TableMessage {
    fn from(t: &Table) -> Self {
        Self {
            oid: t.oid,
            name: t.name.clone(),
            schema_oid: t.schema_oid,
            owner: t.owner,
            row_type_oid: t.row_type_oid,
            array_type_oid: t.array_type_oid,
            storage: t.storage.0,
            version: t.version.0,
            columns: t.columns.iter().map(ColumnMessage::from).collect(),
            next_column_id: t.next_column_id,
            primary_key: t.primary_key.as_ref().map(|key| PrimaryKeyMessage {
                oid: key.oid,
                constraint_oid: key.constraint_oid,
                name: key.name.clone(),
                columns: key.columns.clone(),
            }),
            options: t.options.clone(),
            kind: match t.kind {
                RelationKind::Table => 0,
                RelationKind::View => 1,
                RelationKind::MaterializedView => 2,
                RelationKind::CompositeType => 3,
            },
            view: t.view.as_ref().map(ViewMessage::from),
            unpopulated: t.unpopulated,
            dropped: t
                .dropped
                .iter()
                .map(|c| DroppedColumnMessage {
                    id: c.id,
                    type_oid: c.type_oid,
                    typmod: c.typmod,
                    composite: c.composite.as_ref().map(CompositeMessage::from),
                })
                .collect(),
            comment: t.comment.clone(),
        }
    }
}

impl TryFrom<TableMessage> for Table {
    type Error = DecodeError;

    fn try_from(m: TableMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            oid: m.oid,
            name: m.name,
            schema_oid: m.schema_oid,
            owner: m.owner,
            row_type_oid: m.row_type_oid,
            array_type_oid: m.array_type_oid,
            storage: TableId(m.storage),
            version: SchemaVersion(m.version),
            columns: m.columns.into_iter().map(Column::try_from).collect::<Result<_, _>>()?,
            next_column_id: m.next_column_id,
            primary_key: m.primary_key.map(|key| PrimaryKey {
                oid: key.oid,
                constraint_oid: key.constraint_oid,
                name: key.name,
                columns: key.columns,
            }),
            options: m.options,
            kind: match m.kind {
                0 => RelationKind::Table,
                1 => RelationKind::View,
                2 => RelationKind::MaterializedView,
                3 => RelationKind::CompositeType,
                other => {
                    let (what, field, value) = ("relation", "kind", other.into());
                    return Err(DecodeError::OutOfRange { what, field, value });
                }
            },
            view: m.view.map(View::from),
            unpopulated: m.unpopulated,
            on_commit: OnCommit::default(),
            dropped: m
                .dropped
                .into_iter()
                .map(|c| DroppedColumn {
                    id: c.id,
                    type_oid: c.type_oid,
                    typmod: c.typmod,
                    composite: c.composite.map(Composite::from),
                })
                .collect(),
            comment: m.comment,
        })
    }
}

macro_rules! single {
    ($type:ty, $message:ty, $what:literal) => {
        impl $type {
            #[must_use]
            pub fn encode(&self) -> Bytes {
                frame(&<$message>::from(self))
            }

            #[allow(clippy::unnecessary_fallible_conversions)]
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                Ok(Self::from(unframe::<$message>($what, bytes)?))
            }
        }
    };
}
single!(Database, DatabaseMessage, "database descriptor");
single!(Schema, SchemaMessage, "schema descriptor");
single!(Role, RoleMessage, "role descriptor");

impl Table {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        frame(&TableMessage::from(self))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::try_from(unframe::<TableMessage>("table descriptor", bytes)?)
    }
}

impl CatalogChange {
    /// Bytes of the change; the same change always gives the same bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        frame(&ChangeMessage {
            drop_databases: self.drop_databases.clone(),
            drop_schemas: self.drop_schemas.clone(),
            drop_roles: self.drop_roles.clone(),
            drop_tables: self.drop_tables.clone(),
            upsert_databases: self.upsert_databases.iter().map(DatabaseMessage::from).collect(),
            upsert_schemas: self.upsert_schemas.iter().map(SchemaMessage::from).collect(),
            upsert_roles: self.upsert_roles.iter().map(RoleMessage::from).collect(),
            upsert_tables: self.upsert_tables.iter().map(|t| TableMessage::from(&**t)).collect(),
            next_oid: self.next_oid,
            next_table_id: self.next_table_id.0,
            created: self.created.clone(),
        })
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let m = unframe::<ChangeMessage>("catalog change", bytes)?;
        Ok(Self {
            drop_databases: m.drop_databases,
            drop_schemas: m.drop_schemas,
            drop_roles: m.drop_roles,
            drop_tables: m.drop_tables,
            upsert_databases: m.upsert_databases.into_iter().map(Database::from).collect(),
            upsert_schemas: m.upsert_schemas.into_iter().map(Schema::from).collect(),
            upsert_roles: m.upsert_roles.into_iter().map(Role::from).collect(),
            upsert_tables: m
                .upsert_tables
                .into_iter()
                .map(|table| Table::try_from(table).map(std::sync::Arc::new))
                .collect::<Result<_, _>>()?,
            next_oid: m.next_oid,
            next_table_id: TableId(m.next_table_id),
            created: m.created,
        })
    }
}
