//! `pg_authid`, `pg_roles`, `pg_user`, `pg_shadow`.

use super::Source;
use crate::pg_catalog::rows::{Rows, int};

/// What stands where PostgreSQL hides a password.
const HIDDEN: &str = "********";

pub(super) fn pg_authid(source: &Source, rows: &mut Rows) {
    for role in source.catalog.roles() {
        rows.push([
            ("oid", role.oid.into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", role.inherit.into()),
            ("rolcreaterole", role.create_role.into()),
            ("rolcreatedb", role.create_database.into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", role.replication.into()),
            ("rolbypassrls", role.bypass_row_security.into()),
            ("rolconnlimit", int(role.connection_limit)),
        ]);
    }
}

pub(super) fn pg_roles(source: &Source, rows: &mut Rows) {
    for role in source.catalog.roles() {
        rows.push([
            ("oid", role.oid.into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", role.inherit.into()),
            ("rolcreaterole", role.create_role.into()),
            ("rolcreatedb", role.create_database.into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", role.replication.into()),
            ("rolbypassrls", role.bypass_row_security.into()),
            ("rolconnlimit", int(role.connection_limit)),
            ("rolpassword", HIDDEN.into()),
        ]);
    }
}

/// Roles that may log in. `pg_user` hides passwords; there are none for `pg_shadow` to show.
pub(super) fn pg_user(source: &Source, rows: &mut Rows) {
    let hidden = (source.definition.name == "pg_user").then_some(HIDDEN);
    for role in source.catalog.roles().filter(|role| role.login) {
        rows.push([
            ("usename", role.name.as_str().into()),
            ("usesysid", role.oid.into()),
            ("usecreatedb", role.create_database.into()),
            ("usesuper", role.superuser.into()),
            ("userepl", role.replication.into()),
            ("usebypassrls", role.bypass_row_security.into()),
            ("passwd", hidden.into()),
        ]);
    }
}
