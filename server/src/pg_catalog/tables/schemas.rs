//! `pg_namespace`, `pg_database`, `pg_tablespace` and the descriptions of what is built in.

use glaredb_catalog::descriptor::builtin;

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows, int};

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
