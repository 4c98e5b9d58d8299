//! `pg_namespace`, `pg_database`, `pg_tablespace` and the descriptions of what is built in.

use glaredb_catalog::descriptor::builtin;

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows, int};

/// OIDs of the system tables whose rows have descriptions.
const CLASS_NAMESPACE: u32 = 2615;
const CLASS_DATABASE: u32 = 1262;

const TABLESPACE_DEFAULT: u32 = 1663;

pub(super) fn pg_namespace(source: &Source, rows: &mut Rows) {
    for schema in source.catalog.schemas() {
        rows.push([
            ("oid", schema.oid.into()),
            ("nspname", schema.name.as_str().into()),
            ("nspowner", schema.owner.into()),
        ]);
    }
}

pub(super) fn pg_database(source: &Source, rows: &mut Rows) {
    for database in source.catalog.databases() {
        rows.push([
            ("oid", database.oid.into()),
            ("datname", database.name.as_str().into()),
            ("datdba", database.owner.into()),
            // UTF8
            ("encoding", int(6)),
            ("datlocprovider", "c".into()),
            ("datistemplate", false.into()),
            ("datallowconn", true.into()),
            ("datconnlimit", int(-1)),
            ("datfrozenxid", Cell::Oid(0)),
            ("datminmxid", Cell::Oid(0)),
            ("dattablespace", Cell::Oid(TABLESPACE_DEFAULT)),
            ("datcollate", "C".into()),
            ("datctype", "C.UTF-8".into()),
        ]);
    }
}

pub(super) fn pg_tablespace(rows: &mut Rows) {
    for (oid, name) in [(TABLESPACE_DEFAULT, "pg_default"), (1664, "pg_global")] {
        rows.push([
            ("oid", Cell::Oid(oid)),
            ("spcname", name.into()),
            ("spcowner", Cell::Oid(builtin::ROLE_POSTGRES)),
        ]);
    }
}

/// Descriptions of schemas, by OID.
const SCHEMA_DESCRIPTIONS: [(u32, &str); 2] = [
    (builtin::SCHEMA_PG_CATALOG, "system catalog schema"),
    (builtin::SCHEMA_PUBLIC, "standard public schema"),
];

const DATABASE_DESCRIPTIONS: [(u32, &str); 1] =
    [(builtin::DATABASE_POSTGRES, "default administrative connection database")];

pub(super) fn pg_description(rows: &mut Rows) {
    for (oid, text) in SCHEMA_DESCRIPTIONS {
        rows.push([
            ("objoid", Cell::Oid(oid)),
            ("classoid", Cell::Oid(CLASS_NAMESPACE)),
            ("objsubid", int(0)),
            ("description", text.into()),
        ]);
    }
}

pub(super) fn pg_shdescription(rows: &mut Rows) {
    for (oid, text) in DATABASE_DESCRIPTIONS {
        rows.push([
            ("objoid", Cell::Oid(oid)),
            ("classoid", Cell::Oid(CLASS_DATABASE)),
            ("description", text.into()),
        ]);
    }
}

/// The description of an object of the system table named `class`.
pub(in crate::pg_catalog) fn description(oid: u32, class: &str) -> Option<&'static str> {
    let all: &[(u32, &'static str)] = match class {
        "pg_namespace" => &SCHEMA_DESCRIPTIONS,
        "pg_database" => &DATABASE_DESCRIPTIONS,
        _ => &[],
    };
    all.iter().find(|(described, _)| *described == oid).map(|(_, text)| *text)
}
