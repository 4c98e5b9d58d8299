//! Who may do what, as `information_schema` shows it: there is no GRANT, so owners hold everything, and
//! everybody may read the system's own relations.

use glaredb_catalog::descriptor::{RelationKind, builtin};

use super::Source;
use crate::pg_catalog::rows::Rows;

const OF_TABLES: [&str; 7] =
    ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const OF_COLUMNS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];

/// A grant on a relation.
struct Grant<'a> {
    owner: &'a str,
    /// `None` for everybody.
    grantee: Option<&'a str>,
    schema: &'a str,
    table: &'a str,
    columns: Vec<&'a str>,
}

fn grants<'a>(source: &'a Source, owners: &'a [(u32, String)]) -> Vec<Grant<'a>> {
    let owner = |oid: u32| {
        owners.iter().find(|(known, _)| *known == oid).map_or("", |(_, name)| name.as_str())
    };
    let mut all = Vec::new();
    // `role_…` shows what roles hold, not what everybody does.
    let public = !source.definition.name.starts_with("role_");
    for (_, definition) in source.system_relations() {
        let own = owner(builtin::ROLE_POSTGRES);
        let grantees = [Some(own), None];
        for grantee in grantees.into_iter().take(if public { 2 } else { 1 }) {
            all.push(Grant {
                owner: own,
                grantee,
                schema: definition.schema,
                table: definition.name,
                columns: definition.columns.iter().map(|column| column.name).collect(),
            });
        }
    }
    let shown = |kind| matches!(kind, RelationKind::Table | RelationKind::View);
    for (schema, table) in source.tables().filter(|(_, table)| shown(table.kind)) {
        all.push(Grant {
            owner: owner(table.owner),
            grantee: Some(owner(table.owner)),
            schema,
            table: &table.name,
            columns: table.columns.iter().map(|column| column.name.as_str()).collect(),
        });
    }
    all
}

fn owners(source: &Source) -> Vec<(u32, String)> {
    source.catalog.roles().map(|role| (role.oid, role.name.clone())).collect()
}

/// `table_privileges` and `role_table_grants`.
pub(super) fn of_tables(source: &Source, rows: &mut Rows) {
    for grant in grants(source, &owners(source)) {
        for privilege in OF_TABLES {
            if grant.grantee.is_none() && privilege != "SELECT" {
                continue;
            }
            rows.push([
                ("grantor", grant.owner.into()),
                ("grantee", grant.grantee.unwrap_or("PUBLIC").into()),
                ("table_catalog", source.database.as_str().into()),
                ("table_schema", grant.schema.into()),
                ("table_name", grant.table.into()),
                ("privilege_type", privilege.into()),
                ("is_grantable", if grant.grantee.is_some() { "YES" } else { "NO" }.into()),
                ("with_hierarchy", if privilege == "SELECT" { "YES" } else { "NO" }.into()),
            ]);
        }
    }
}

/// `column_privileges` and `role_column_grants`.
pub(super) fn of_columns(source: &Source, rows: &mut Rows) {
    for grant in grants(source, &owners(source)) {
        for column in &grant.columns {
            for privilege in OF_COLUMNS {
                if grant.grantee.is_none() && privilege != "SELECT" {
                    continue;
                }
                rows.push([
                    ("grantor", grant.owner.into()),
                    ("grantee", grant.grantee.unwrap_or("PUBLIC").into()),
                    ("table_catalog", source.database.as_str().into()),
                    ("table_schema", grant.schema.into()),
                    ("table_name", grant.table.into()),
                    ("column_name", (*column).into()),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", if grant.grantee.is_some() { "YES" } else { "NO" }.into()),
                ]);
            }
        }
    }
}
