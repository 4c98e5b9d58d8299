//! Objects printed back as SQL, and their descriptions.

use glaredb_catalog::{Catalog, Relation, descriptor::Table};
use glaredb_engine::{error::SqlError, types::PgType};

use super::system_function::{Call, Functions, Value};
use crate::pg_catalog::{sql_text, tables};

pub(super) fn add(functions: &mut Functions) {
    use PgType::{Bool, Int4, Name, Oid, Text};
    functions.strict("pg_get_indexdef", &[Oid], Text, |call| index_definition(call, 0));
    functions.strict("pg_get_indexdef", &[Oid, Int4, Bool], Text, |call| {
        let column = call.int(1).and_then(|n| usize::try_from(n).ok());
        column.and_then(|column| index_definition(call, column))
    });
    for arguments in [&[Oid][..], &[Oid, Bool]] {
        functions.strict("pg_get_constraintdef", arguments, Text, |call| {
            let table = call.oid(0).and_then(|oid| keyed_by(&call.context.catalog, oid));
            table.map(sql_text::constraint_definition)
        });
    }
    // Expressions are kept as text, so that is what they were.
    for arguments in [&[Text, Oid][..], &[Text, Oid, Bool]] {
        functions.strict("pg_get_expr", arguments, Text, |call| call.text(0).map(str::to_owned));
    }
    // There are no rules, triggers, partitions, statistics objects or sequences.
    for (name, arguments) in [
        ("pg_get_ruledef", &[Oid][..]),
        ("pg_get_ruledef", &[Oid, Bool]),
        ("pg_get_triggerdef", &[Oid]),
        ("pg_get_triggerdef", &[Oid, Bool]),
        ("pg_get_partkeydef", &[Oid]),
        ("pg_get_statisticsobjdef", &[Oid]),
        ("pg_get_statisticsobjdef_columns", &[Oid]),
        ("pg_get_function_sqlbody", &[Oid]),
        ("pg_get_serial_sequence", &[Text, Text]),
    ] {
        functions.strict(name, arguments, Text, |_| Value::Null);
    }
    functions.fallible("pg_get_functiondef", &[Oid], Text, |_| {
        Err(SqlError::not_supported("showing the source of a built-in function"))
    });
    functions.strict("obj_description", &[Oid, Name], Text, |call| {
        let (oid, class) = (call.oid(0)?, call.text(1)?);
        let of = || tables::description(&call.context.catalog, oid, class);
        (class != "pg_database").then(of).flatten()
    });
    functions.strict("shobj_description", &[Oid, Name], Text, |call| {
        let (oid, class) = (call.oid(0)?, call.text(1)?);
        let of = || tables::description(&call.context.catalog, oid, class);
        (class == "pg_database").then(of).flatten()
    });
    functions.strict("obj_description", &[Oid], Text, |call| {
        let (oid, catalog) = (call.oid(0)?, &call.context.catalog);
        tables::description(catalog, oid, "pg_class")
            .or_else(|| tables::description(catalog, oid, "pg_namespace"))
    });
    functions.strict("col_description", &[Oid, Int4], Text, |call| {
        tables::column_description(&call.context.catalog, call.oid(0)?, call.int(1)?)
    });
    for arguments in [&[Oid][..], &[Oid, Bool], &[Oid, Int4]] {
        functions.strict("pg_get_viewdef", arguments, Text, |call| {
            let path: Vec<String> = call.context.search_path().map(str::to_owned).collect();
            sql_text::view_definition(&call.context.catalog, &path, call.oid(0)?)
        });
    }
    functions.strict("pg_get_function_result", &[Oid], Text, |call| {
        let function = call.oid(0).and_then(function_types)?;
        Some(sql_text::format_type(&call.context.catalog, function.returns, None))
    });
    for name in ["pg_get_function_arguments", "pg_get_function_identity_arguments"] {
        functions.strict(name, &[Oid], Text, |call| {
            let function = call.oid(0).and_then(function_types)?;
            let name = |oid: &u32| sql_text::format_type(&call.context.catalog, *oid, None);
            Some(function.arguments.iter().map(name).collect::<Vec<_>>().join(", "))
        });
    }
}

fn index_definition(call: &Call<'_>, column: usize) -> Option<String> {
    let Relation::KeyIndex(table) = call.context.catalog.relation_by_oid(call.oid(0)?)? else {
        return None;
    };
    let schema = call.context.catalog.schema_by_oid(table.schema_oid)?;
    Some(sql_text::index_definition(table, column, Some(&schema.name)))
}

/// The table whose primary key's constraint has this OID.
fn keyed_by(catalog: &Catalog, constraint_oid: u32) -> Option<&Table> {
    let table = catalog.table_with_inner_oid(constraint_oid)?;
    let key = table.primary_key.as_ref()?;
    (key.constraint_oid == constraint_oid).then_some(&**table)
}

struct FunctionTypes {
    returns: u32,
    arguments: Vec<u32>,
}

/// Result and argument types of a function in `pg_proc`.
fn function_types(oid: u32) -> Option<FunctionTypes> {
    /// Places of columns in `pg_proc`.
    const RETURNS: usize = 18;
    const ARGUMENTS: usize = 19;
    let oid = oid.to_string();
    let line = include_str!("../data/pg_proc.tsv")
        .lines()
        .find(|line| line.split('\t').next() == Some(&oid))?;
    let fields: Vec<&str> = line.split('\t').collect();
    Some(FunctionTypes {
        returns: fields.get(RETURNS)?.parse().ok()?,
        arguments: fields.get(ARGUMENTS)?.split(' ').filter_map(|oid| oid.parse().ok()).collect(),
    })
}
