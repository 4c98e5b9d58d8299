//! Who may do what. There is no GRANT yet: owners and superusers may do everything, others nothing.

use glaredb_catalog::{Catalog, Relation};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    types::PgType,
};

use super::system_function::{Call, Functions, Value};

/// Object kinds of `has_…_privilege(…)` and how to find the owner of one by OID.
type Owner = fn(&Catalog, u32) -> Option<u32>;

pub(super) fn add(functions: &mut Functions) {
    use PgType::{Bool, Int2, Name, Oid, Text};
    let kinds: [(&str, Owner, PgType); 4] = [
        ("has_table_privilege", relation_owner, PgType::Regclass),
        ("has_any_column_privilege", relation_owner, PgType::Regclass),
        ("has_schema_privilege", schema_owner, PgType::Regnamespace),
        ("has_database_privilege", database_owner, PgType::Oid),
    ];
    for (name, owner, object) in kinds {
        functions.fallible(name, &[object.clone(), Text], Bool, move |call| {
            Ok(may(call, &call.context.identity.role, 0, owner))
        });
        functions.fallible(name, &[Name, object.clone(), Text], Bool, move |call| {
            let role = call.text(0).unwrap_or_default();
            check_role(call, role)?;
            Ok(may(call, role, 1, owner))
        });
        functions.fallible(name, &[Oid, object, Text], Bool, move |call| {
            let role = call.oid(0).and_then(|oid| call.context.catalog.role_by_oid(oid));
            Ok(role.map_or(Value::Bool(false), |role| may(call, &role.name, 1, owner)))
        });
    }
    for by_name in [Text, Int2] {
        let arguments = [PgType::Regclass, by_name, Text];
        functions.fallible("has_column_privilege", &arguments, Bool, |call| {
            Ok(may(call, &call.context.identity.role, 0, relation_owner))
        });
    }
    // A database is named more often than numbered.
    functions.fallible("has_database_privilege", &[Text, Text], Bool, |call| {
        let name = call.text(0).unwrap_or_default();
        let database = call.context.catalog.database(name).ok_or_else(|| {
            let message = format!("database \"{name}\" does not exist");
            SqlError::new(sqlstate::INVALID_CATALOG_NAME, message)
        })?;
        Ok(Value::Bool(rules(call, &call.context.identity.role, database.owner)))
    });
    functions.fallible("pg_has_role", &[Name, Text], Bool, |call| {
        let (role, own) = (call.text(0).unwrap_or_default(), &call.context.identity.role);
        check_role(call, role)?;
        Ok(Value::Bool(role == own || is_superuser(call, own)))
    });
    functions.strict("pg_has_role", &[Oid, Text], Bool, |call| {
        let own = &call.context.identity.role;
        let role = call.oid(0).and_then(|oid| call.context.catalog.role_by_oid(oid));
        role.map(|role| role.name == *own || is_superuser(call, own))
    });
}

fn check_role(call: &Call<'_>, name: &str) -> Result<(), SqlError> {
    match call.context.catalog.role(name) {
        Some(_) => Ok(()),
        None => {
            let message = format!("role \"{name}\" does not exist");
            Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message))
        }
    }
}

/// Null for an object that does not exist.
fn may(call: &Call<'_>, role: &str, object: usize, owner: Owner) -> Value {
    let owner = call.oid(object).and_then(|oid| owner(&call.context.catalog, oid));
    owner.map(|owner| rules(call, role, owner)).into()
}

fn rules(call: &Call<'_>, role: &str, owner: u32) -> bool {
    let owns = call.context.catalog.role(role).is_some_and(|role| role.oid == owner);
    owns || is_superuser(call, role)
}

fn is_superuser(call: &Call<'_>, role: &str) -> bool {
    call.context.catalog.role(role).is_some_and(|role| role.superuser)
}

fn relation_owner(catalog: &Catalog, oid: u32) -> Option<u32> {
    match catalog.relation_by_oid(oid) {
        Some(Relation::Table(table) | Relation::KeyIndex(table)) => Some(table.owner),
        None => crate::pg_catalog::relation_name(catalog, oid)
            .map(|_| glaredb_catalog::descriptor::builtin::ROLE_POSTGRES),
    }
}

fn schema_owner(catalog: &Catalog, oid: u32) -> Option<u32> {
    catalog.schema_by_oid(oid).map(|schema| schema.owner)
}

fn database_owner(catalog: &Catalog, oid: u32) -> Option<u32> {
    catalog.database_by_oid(oid).map(|database| database.owner)
}
