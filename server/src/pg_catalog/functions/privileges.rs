//! Who may do what. There is no GRANT yet: owners and superusers may do everything, others nothing
//! but use what is built in.

use glaredb_catalog::{Catalog, Relation, descriptor::builtin};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::StatementContext,
    types::PgType,
};

use super::system_function::{Call, Functions, Value};
use crate::pg_catalog::{
    builtin_routines::FUNCTION_LIST, object_names, sql_text::quote_identifier, tables::types,
};

/// A kind of object that `has_…_privilege` asks about.
#[derive(Clone, Copy)]
struct Kind {
    function: &'static str,
    /// Privileges in capitals.
    privileges: &'static [&'static str],
    /// OID by name; an error if there is none.
    find: fn(&StatementContext, &str) -> Result<u32, SqlError>,
    /// Whether a role may do everything with the object; `None` if there is none.
    rules: fn(&StatementContext, &str, u32) -> Option<bool>,
}

const OF_TABLES: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const OF_COLUMNS: &[&str] = &["SELECT", "INSERT", "UPDATE", "REFERENCES"];

const KINDS: &[Kind] = &[
    Kind {
        function: "has_table_privilege",
        privileges: OF_TABLES,
        find: find_relation,
        rules: rules_relation,
    },
    Kind {
        function: "has_any_column_privilege",
        privileges: OF_COLUMNS,
        find: find_relation,
        rules: rules_relation,
    },
    Kind {
        function: "has_sequence_privilege",
        privileges: &["USAGE", "SELECT", "UPDATE"],
        find: find_relation,
        rules: rules_relation,
    },
    Kind {
        function: "has_schema_privilege",
        privileges: &["CREATE", "USAGE"],
        find: |context, name| object_names::read(context, &PgType::Regnamespace, name),
        rules: |context, role, oid| {
            Some(rules(&context.catalog, role, context.catalog.schema_by_oid(oid)?.owner))
        },
    },
    Kind {
        function: "has_database_privilege",
        privileges: &["CREATE", "TEMPORARY", "TEMP", "CONNECT"],
        find: find_database,
        rules: |context, role, oid| {
            Some(rules(&context.catalog, role, context.catalog.database_by_oid(oid)?.owner))
        },
    },
    Kind {
        function: "has_function_privilege",
        privileges: &["EXECUTE"],
        find: |context, name| object_names::read(context, &PgType::Regprocedure, name),
        rules: |_, _, oid| FUNCTION_LIST.with_oid(oid).map(|_| true),
    },
    Kind {
        function: "has_type_privilege",
        privileges: &["USAGE"],
        find: |context, name| object_names::read(context, &PgType::Regtype, name),
        rules: |context, role, oid| {
            if types::builtin_type(oid).is_some() {
                return Some(true);
            }
            let table = context.catalog.table_with_inner_oid(oid)?;
            Some(rules(&context.catalog, role, table.owner))
        },
    },
    Kind {
        function: "has_language_privilege",
        privileges: &["USAGE"],
        find: |_, name| {
            let found = languages().find(|(_, listed)| *listed == name);
            found.map_or_else(|| unknown("language", name), |(oid, _)| Ok(oid))
        },
        rules: |_, _, oid| languages().any(|(listed, _)| listed == oid).then_some(true),
    },
    Kind {
        function: "has_tablespace_privilege",
        privileges: &["CREATE"],
        find: |_, name| match name {
            "pg_default" => Ok(1663),
            "pg_global" => Ok(1664),
            _ => unknown("tablespace", name),
        },
        rules: |context, role, oid| {
            let is_known = matches!(oid, 1663 | 1664);
            is_known.then(|| rules(&context.catalog, role, builtin::ROLE_POSTGRES))
        },
    },
];

fn languages() -> impl Iterator<Item = (u32, &'static str)> {
    include_str!("../data/pg_language.tsv").lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?.parse().ok()?, fields.next()?))
    })
}

fn unknown<T>(what: &str, name: &str) -> Result<T, SqlError> {
    let message = format!("{what} \"{name}\" does not exist");
    Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message))
}

fn find_relation(context: &StatementContext, name: &str) -> Result<u32, SqlError> {
    object_names::read(context, &PgType::Regclass, name)
}

fn find_database(context: &StatementContext, name: &str) -> Result<u32, SqlError> {
    context.catalog.database(name).map(|database| database.oid).ok_or_else(|| {
        let message = format!("database \"{name}\" does not exist");
        SqlError::new(sqlstate::INVALID_CATALOG_NAME, message)
    })
}

/// How an argument says what it means.
const BY: [PgType; 2] = [PgType::Text, PgType::Oid];
const ROLE_BY: [Option<PgType>; 3] = [None, Some(PgType::Name), Some(PgType::Oid)];

/// What an object's owner and everybody may do where nothing else was said, by the kind of object as
/// `acldefault` has it; `None`: there is no such kind.
fn default_privileges(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "c" => ("", ""),
        "r" => ("arwdDxt", ""),
        "s" => ("rwU", ""),
        "d" => ("CTc", "Tc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "L" => ("rw", ""),
        "n" => ("UC", ""),
        "p" => ("sA", ""),
        "t" => ("C", ""),
        "F" | "S" => ("U", ""),
        _ => return None,
    })
}

/// `acldefault(kind, owner)`.
fn acl_default(call: &Call<'_>) -> Result<Value, SqlError> {
    let kind = call.text(0).unwrap_or_default();
    let Some((owner, everybody)) = default_privileges(kind) else {
        let message = format!("unrecognized object type abbreviation: {kind}");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    };
    let oid = call.oid(1).unwrap_or_default();
    let role = call.context.catalog.role_by_oid(oid);
    let role =
        role.map_or_else(|| oid.to_string(), |role| quote_identifier(&role.name).into_owned());
    let mut items = Vec::new();
    if !everybody.is_empty() {
        items.push(format!("={everybody}/{role}"));
    }
    if !owner.is_empty() {
        items.push(format!("{role}={owner}/{role}"));
    }
    Ok(Value::Texts(items))
}

pub(super) fn add(functions: &mut Functions) {
    let items = PgType::Array(std::sync::Arc::new(PgType::Text));
    functions.fallible("acldefault", &[PgType::Char, PgType::Oid], items, acl_default);
    use PgType::{Bool, Int2, Text};
    for kind in KINDS {
        for role in &ROLE_BY {
            for object in &BY {
                let arguments: Vec<_> = role.iter().chain([object, &Text]).cloned().collect();
                let at = usize::from(role.is_some());
                functions.fallible(kind.function, &arguments, Bool, move |call| {
                    let role = role_of(call, at)?;
                    check_privileges(kind.privileges, call.text(at + 1).unwrap_or_default())?;
                    let object = object_of(call, at, kind.find)?;
                    let Some(role) = role else { return Ok(Value::Bool(false)) };
                    Ok((kind.rules)(call.context, &role, object).into())
                });
            }
        }
    }
    for role in &ROLE_BY {
        for object in &BY {
            for column in [Text, Int2] {
                let arguments: Vec<_> =
                    role.iter().chain([object, &column, &Text]).cloned().collect();
                let at = usize::from(role.is_some());
                functions.fallible("has_column_privilege", &arguments, Bool, move |call| {
                    has_column_privilege(call, at)
                });
            }
        }
    }
    for role in &ROLE_BY {
        for of in [PgType::Name, PgType::Oid] {
            let arguments: Vec<_> = role.iter().chain([&of, &Text]).cloned().collect();
            let at = usize::from(role.is_some());
            functions.fallible("pg_has_role", &arguments, Bool, move |call| {
                check_privileges(&["USAGE", "MEMBER"], call.text(at + 1).unwrap_or_default())?;
                let own = role_of(call, at)?;
                let of = named_role(call, at)?;
                let (Some(own), Some(of)) = (own, of) else { return Ok(Value::Null) };
                Ok(Value::Bool(of == own || is_superuser(&call.context.catalog, &own)))
            });
        }
    }
}

/// The role that is asked about: that of the first argument if there is one before `object`, else the
/// session's. `None` for an OID no role has.
fn role_of(call: &Call<'_>, object: usize) -> Result<Option<String>, SqlError> {
    match object {
        0 => Ok(Some(call.context.identity.role.clone())),
        _ => named_role(call, 0),
    }
}

fn named_role(call: &Call<'_>, at: usize) -> Result<Option<String>, SqlError> {
    let catalog = &call.context.catalog;
    match call.text(at) {
        Some("public") => Ok(None),
        Some(name) => match catalog.role(name) {
            Some(role) => Ok(Some(role.name.clone())),
            None => unknown("role", name),
        },
        None => {
            let role = call.oid(at).and_then(|oid| catalog.role_by_oid(oid));
            Ok(role.map(|role| role.name.clone()))
        }
    }
}

fn object_of(
    call: &Call<'_>,
    at: usize,
    find: fn(&StatementContext, &str) -> Result<u32, SqlError>,
) -> Result<u32, SqlError> {
    match call.text(at) {
        Some(name) => find(call.context, name),
        None => Ok(call.oid(at).unwrap_or_default()),
    }
}

fn has_column_privilege(call: &Call<'_>, at: usize) -> Result<Value, SqlError> {
    let role = role_of(call, at)?;
    check_privileges(OF_COLUMNS, call.text(at + 2).unwrap_or_default())?;
    let object = object_of(call, at, find_relation)?;
    let catalog = &call.context.catalog;
    let (exists, relation) = match catalog.table_by_oid(object) {
        Some(table) => {
            let by_name = call.text(at + 1);
            let exists = table.columns.iter().any(|column| match by_name {
                Some(name) => column.name == name,
                None => Some(i64::from(column.number)) == call.int(at + 1),
            });
            (exists, table.name.clone())
        }
        // Columns of the system's own relations are not looked up.
        None => (true, String::new()),
    };
    if let Some(name) = call.text(at + 1)
        && !exists
    {
        let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
        return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
    }
    let Some(role) = role else { return Ok(Value::Bool(false)) };
    match exists {
        true => Ok(rules_relation(call.context, &role, object).into()),
        false => Ok(Value::Null),
    }
}

/// A list of privileges, each perhaps WITH GRANT OPTION.
///
/// # Errors
/// 22023 for one that objects of the kind do not have.
fn check_privileges(known: &[&str], list: &str) -> Result<(), SqlError> {
    for privilege in list.split(',') {
        let upper = privilege.trim().to_uppercase();
        let name = upper.strip_suffix(" WITH GRANT OPTION").unwrap_or(&upper);
        let name = name.strip_suffix(" WITH ADMIN OPTION").unwrap_or(name);
        if !known.contains(&name) {
            let message = format!("unrecognized privilege type: \"{}\"", privilege.trim());
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    }
    Ok(())
}

fn rules(catalog: &Catalog, role: &str, owner: u32) -> bool {
    let owns = catalog.role(role).is_some_and(|role| role.oid == owner);
    owns || is_superuser(catalog, role)
}

fn is_superuser(catalog: &Catalog, role: &str) -> bool {
    catalog.role(role).is_some_and(|role| role.superuser)
}

fn rules_relation(context: &StatementContext, role: &str, oid: u32) -> Option<bool> {
    let catalog = &context.catalog;
    let owner = match catalog.relation_by_oid(oid) {
        Some(Relation::Table(table) | Relation::KeyIndex(table)) => table.owner,
        None => {
            crate::pg_catalog::relation_name(catalog, oid)?;
            builtin::ROLE_POSTGRES
        }
    };
    Some(rules(catalog, role, owner))
}
