//! What every database holds from its first moment on, under PostgreSQL's OIDs where it has fixed
//! ones: clients know some of them by heart.

use super::{Database, Oid, Role, Schema};
use crate::change::CatalogChange;

/// OIDs from here on are given out by the catalog's counter.
pub const FIRST_USER_OID: Oid = 16_384;

pub const ROLE_POSTGRES: Oid = 10;
/// Stands for the owner of the database one is in, so that schema `public` is theirs.
pub const ROLE_DATABASE_OWNER: Oid = 6171;
pub const DATABASE_POSTGRES: Oid = 5;
pub const SCHEMA_PG_CATALOG: Oid = 11;
pub const SCHEMA_PUBLIC: Oid = 2200;
pub const SCHEMA_INFORMATION_SCHEMA: Oid = 13_207;

/// Is it a schema of the system, in which users create nothing?
#[must_use]
pub fn is_system_schema(oid: Oid) -> bool {
    matches!(oid, SCHEMA_PG_CATALOG | SCHEMA_INFORMATION_SCHEMA)
}

/// The change that makes an empty catalog a usable one: role and database `postgres`, role
/// `pg_database_owner` and the schemas `pg_catalog`, `information_schema` and `public`. The first record of a log.
#[must_use]
pub fn bootstrap() -> CatalogChange {
    let schema = |oid, name: &str, owner| Schema { oid, name: name.into(), owner, comment: None };
    // A superuser who may do everything, and a role that nobody is.
    let role = |oid, name: &str, everything| Role {
        oid,
        name: name.into(),
        superuser: everything,
        login: everything,
        inherit: true,
        create_role: everything,
        create_database: everything,
        replication: everything,
        bypass_row_security: everything,
        connection_limit: -1,
    };
    CatalogChange {
        upsert_roles: vec![
            role(ROLE_POSTGRES, "postgres", true),
            role(ROLE_DATABASE_OWNER, "pg_database_owner", false),
        ],
        upsert_databases: vec![Database {
            oid: DATABASE_POSTGRES,
            name: "postgres".into(),
            owner: ROLE_POSTGRES,
            comment: None,
        }],
        upsert_schemas: vec![
            schema(SCHEMA_PG_CATALOG, "pg_catalog", ROLE_POSTGRES),
            schema(SCHEMA_PUBLIC, "public", ROLE_DATABASE_OWNER),
            schema(SCHEMA_INFORMATION_SCHEMA, "information_schema", ROLE_POSTGRES),
        ],
        created: vec![
            ROLE_POSTGRES,
            ROLE_DATABASE_OWNER,
            DATABASE_POSTGRES,
            SCHEMA_PG_CATALOG,
            SCHEMA_PUBLIC,
            SCHEMA_INFORMATION_SCHEMA,
        ],
        ..CatalogChange::default()
    }
}
