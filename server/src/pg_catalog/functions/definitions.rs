//! Objects printed back as SQL, and their descriptions.

use glaredb_catalog::{Catalog, Relation, descriptor::Table};
use glaredb_engine::{error::SqlError, types::PgType};

use super::system_function::{Call, Functions, Value};
use crate::pg_catalog::{
    builtin_routines::{FUNCTION_LIST, Function},
    object_names,
    query_text::{self, Layout, Surroundings},
    relation_name, sql_text,
    tables::{self, dependencies},
};

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
        functions.strict("pg_get_expr", arguments, Text, |call| {
            let text = call.text(0)?;
            let pretty = || with_surroundings(call, |around| query_text::prettier(around, text));
            let pretty = call.bool(2).unwrap_or_default().then(pretty).flatten();
            Some(pretty.unwrap_or_else(|| text.to_owned()))
        });
    }
    // There are no triggers, partitions, statistics objects or sequences.
    for (name, arguments) in [
        ("pg_get_triggerdef", &[Oid][..]),
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
    add_views(functions);
    functions.strict("pg_describe_object", &[Oid, Oid, Int4], Text, |call| {
        let part = i16::try_from(call.int(2)?).ok()?;
        dependencies::describe(call.context, (call.oid(0)?, call.oid(1)?, part))
    });
    functions.strict("pg_get_function_result", &[Oid], Text, |call| {
        let function = FUNCTION_LIST.with_oid(call.oid(0)?)?;
        let returns = sql_text::format_type(call.context, function.returns, None);
        Some(if function.returns_set { format!("SETOF {returns}") } else { returns })
    });
    for name in ["pg_get_function_arguments", "pg_get_function_identity_arguments"] {
        functions.strict(name, &[Oid], Text, |call| {
            let function = FUNCTION_LIST.with_oid(call.oid(0)?)?;
            Some(function_arguments(call, function))
        });
    }
}

/// Queries of views, as such and as their rules.
fn add_views(functions: &mut Functions) {
    use PgType::{Bool, Int4, Oid, Text};
    for arguments in [&[Oid][..], &[Oid, Bool], &[Oid, Int4]] {
        functions.strict("pg_get_viewdef", arguments, Text, |call| {
            view_definition(call, call.oid(0)?, layout(call))
        });
    }
    for arguments in [&[Text][..], &[Text, Bool]] {
        functions.fallible("pg_get_viewdef", arguments, Text, |call| {
            let name = call.text(0).unwrap_or_default();
            let oid = object_names::read(call.context, &PgType::Regclass, name)?;
            Ok(view_definition(call, oid, layout(call)).into())
        });
    }
    for arguments in [&[Oid][..], &[Oid, Bool]] {
        functions.strict("pg_get_ruledef", arguments, Text, |call| {
            let oid = call.oid(0)?;
            let pretty = call.bool(1).unwrap_or_default();
            let name = match pretty {
                true => object_names::print(call.context, &PgType::Regclass, oid),
                false => {
                    let (schema, name) = relation_name(&call.context.catalog, oid)?;
                    let quote = sql_text::quote_identifier;
                    format!("{}.{}", quote(&schema), quote(&name))
                }
            };
            let query = view_definition(call, oid, Layout::view(pretty))?;
            Some(format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {query}"))
        });
    }
}

/// The layout that the second argument asks for: a flag, or the length of lines.
fn layout(call: &Call<'_>) -> Layout {
    match call.int(1) {
        Some(wrap) => Layout { wrap: usize::try_from(wrap).ok(), ..Layout::view(true) },
        None => Layout::view(call.bool(1).unwrap_or_default()),
    }
}

fn with_surroundings<T>(call: &Call<'_>, ask: impl FnOnce(Surroundings<'_>) -> T) -> T {
    let path: Vec<String> = call.context.search_path().map(str::to_owned).collect();
    ask(Surroundings {
        catalog: &call.context.catalog,
        search_path: &path,
        format: &call.context.settings.format,
    })
}

fn view_definition(call: &Call<'_>, oid: u32, layout: Layout) -> Option<String> {
    with_surroundings(call, |around| query_text::view(around, oid, layout))
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

/// As CREATE FUNCTION would say them: modes other than IN, names where there are any, types.
fn function_arguments(call: &Call<'_>, function: &Function) -> String {
    let types = match function.all_arguments.is_empty() {
        true => &function.arguments,
        false => &function.all_arguments,
    };
    let arguments = types.iter().enumerate().filter_map(|(at, oid)| {
        let mode = match function.modes.get(at) {
            None | Some('i') => "",
            Some('o') => "OUT ",
            Some('b') => "INOUT ",
            Some('v') => "VARIADIC ",
            // Columns of the result.
            Some(_) => return None,
        };
        let name = match function.names.get(at) {
            None | Some(&"") => String::new(),
            Some(name) => format!("{} ", sql_text::quote_identifier(name)),
        };
        Some(format!("{mode}{name}{}", sql_text::format_type(call.context, *oid, None)))
    });
    arguments.collect::<Vec<_>>().join(", ")
}
