//! Names to OIDs and back: `format_type`, visibility, `regclass` and kin.

use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
use glaredb_catalog::Catalog;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    query::type_names,
    session::StatementContext,
    types::PgType,
};

use super::system_function::{Functions, Value};
use crate::pg_catalog::{relation_name, relation_oid, sql_text, tables::types};

pub(super) fn add(functions: &mut Functions) {
    use PgType::{Bool, Int4, Name, Oid, Text};
    functions.sees_nulls("format_type", &[Oid, Int4], Text, |call| {
        let typmod = call.int(1).map(|typmod| i32::try_from(typmod).unwrap_or(-1));
        call.oid(0).map(|oid| sql_text::format_type(&call.context.catalog, oid, typmod))
    });
    functions.strict("pg_get_userbyid", &[Oid], Name, |call| {
        call.oid(0).map(|oid| role_name(&call.context.catalog, oid))
    });
    functions.strict("pg_table_is_visible", &[Oid], Bool, |call| {
        call.oid(0).and_then(|oid| is_relation_visible(call.context, oid))
    });
    functions.strict("pg_type_is_visible", &[Oid], Bool, |call| {
        call.oid(0).and_then(|oid| is_type_visible(call.context, oid))
    });
    // What there is of these stands in pg_catalog, which is always searched.
    for name in [
        "pg_function_is_visible",
        "pg_operator_is_visible",
        "pg_opclass_is_visible",
        "pg_opfamily_is_visible",
        "pg_collation_is_visible",
        "pg_conversion_is_visible",
        "pg_statistics_obj_is_visible",
        "pg_ts_config_is_visible",
        "pg_ts_dict_is_visible",
        "pg_ts_parser_is_visible",
        "pg_ts_template_is_visible",
    ] {
        functions.strict(name, &[Oid], Bool, |_| true);
    }
    add_object_identifiers(functions);
    functions.sees_nulls("quote_nullable", &[Text], Text, |call| {
        call.text(0).map_or_else(|| "NULL".to_owned(), sql_text::quote_literal)
    });
}

/// Input and output of `regclass` and kin, and `to_regclass` and kin, which give null for a name
/// that nothing has.
fn add_object_identifiers(functions: &mut Functions) {
    use PgType::{Oid, Regclass, Regnamespace, Regproc, Regrole, Regtype, Text};
    type Find = fn(&StatementContext, &str) -> Result<Option<u32>, SqlError>;
    type Print = fn(&StatementContext, u32) -> Option<String>;
    let kinds: [(&str, &str, &str, PgType, Find, Print); 4] = [
        ("regclassin", "regclassout", "to_regclass", Regclass, find_relation, print_relation),
        ("regtypein", "regtypeout", "to_regtype", Regtype, find_type, print_type),
        (
            "regnamespacein",
            "regnamespaceout",
            "to_regnamespace",
            Regnamespace,
            find_schema,
            print_schema,
        ),
        ("regrolein", "regroleout", "to_regrole", Regrole, find_role, print_role),
    ];
    for (input, output, to, of, find, print) in kinds {
        let returns = of.clone();
        functions.fallible(input, &[Text], returns, move |call| {
            let name = call.text(0).unwrap_or_default();
            if let Ok(number) = name.trim().parse() {
                return Ok(Value::Oid(number));
            }
            if name == "-" {
                return Ok(Value::Oid(0));
            }
            match find(call.context, name)? {
                Some(oid) => Ok(Value::Oid(oid)),
                None => Err(unknown(input, name)),
            }
        });
        functions.fallible(to, &[Text], of.clone(), move |call| {
            let name = call.text(0).unwrap_or_default();
            Ok(find(call.context, name)?.map_or(Value::Null, Value::Oid))
        });
        functions.strict(output, &[of], Text, move |call| {
            call.oid(0).map(|oid| match oid {
                0 => "-".to_owned(),
                oid => print(call.context, oid).unwrap_or_else(|| oid.to_string()),
            })
        });
    }
    functions.strict("regprocout", &[Regproc], Text, |call| {
        call.oid(0).map(|oid| match oid {
            0 => "-".to_owned(),
            oid => function_name(oid).map_or_else(|| oid.to_string(), str::to_owned),
        })
    });
    functions.fallible("regprocin", &[Text], Oid, |call| {
        let name = call.text(0).unwrap_or_default();
        let bare = name.strip_prefix("pg_catalog.").unwrap_or(name);
        match (bare.parse(), function_oid(bare)) {
            (Ok(number), _) => Ok(Value::Oid(number)),
            (_, Some(oid)) => Ok(Value::Oid(oid)),
            _ => Err(unknown("regprocin", name)),
        }
    });
}

fn unknown(input: &str, name: &str) -> SqlError {
    let (state, message) = match input {
        "regclassin" => (sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")),
        "regtypein" => (sqlstate::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")),
        "regnamespacein" => {
            (sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
        }
        "regrolein" => (sqlstate::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")),
        _ => (sqlstate::UNDEFINED_FUNCTION, format!("function \"{name}\" does not exist")),
    };
    SqlError::new(state, message)
}

fn invalid_name(name: &str) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, format!("invalid name syntax: \"{name}\""))
}

fn find_relation(context: &StatementContext, name: &str) -> Result<Option<u32>, SqlError> {
    let parts = sql_text::parse_name(name).ok_or_else(|| invalid_name(name))?;
    match parts.as_slice() {
        [name] => Ok(context
            .search_path()
            .find_map(|schema| relation_oid(&context.catalog, schema, name))),
        [schema, name] => Ok(relation_oid(&context.catalog, schema, name)),
        [database, schema, name] if *database == context.identity.database => {
            Ok(relation_oid(&context.catalog, schema, name))
        }
        _ => Err(invalid_name(name)),
    }
}

fn print_relation(context: &StatementContext, oid: u32) -> Option<String> {
    let (schema, name) = relation_name(&context.catalog, oid)?;
    let name = sql_text::quote_identifier(&name);
    if is_relation_visible(context, oid) == Some(true) {
        return Some(name.into_owned());
    }
    Some(format!("{}.{name}", sql_text::quote_identifier(&schema)))
}

/// Null for an OID no relation has. A relation is visible if its bare name means it.
fn is_relation_visible(context: &StatementContext, oid: u32) -> Option<bool> {
    let (_, name) = relation_name(&context.catalog, oid)?;
    let meant =
        context.search_path().find_map(|schema| relation_oid(&context.catalog, schema, &name));
    Some(meant == Some(oid))
}

fn is_type_visible(context: &StatementContext, oid: u32) -> Option<bool> {
    if types::builtin_type(oid).is_some() {
        return Some(true);
    }
    let table = context.catalog.table_with_inner_oid(oid)?;
    is_relation_visible(context, table.oid)
}

fn find_type(context: &StatementContext, name: &str) -> Result<Option<u32>, SqlError> {
    let trimmed = name.trim();
    let bare = trimmed.strip_prefix("pg_catalog.").unwrap_or(trimmed);
    let unquoted = bare.trim_matches('"');
    if let Some(oid) = types::builtin_type_oid(unquoted) {
        return Ok(Some(oid));
    }
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(bare)
        .and_then(|mut parser| parser.parse_data_type());
    if let Ok(name) = parsed
        && let Ok(pg_type) = type_names::pg_type(&name)
    {
        return Ok(Some(pg_type.oid()));
    }
    let Some(parts) = sql_text::parse_name(bare) else { return Ok(None) };
    let row_type = |schema: &str, name: &str| {
        context.catalog.table(schema, name).map(|table| table.row_type_oid)
    };
    Ok(match parts.as_slice() {
        [name] => context.search_path().find_map(|schema| row_type(schema, name)),
        [schema, name] => row_type(schema, name),
        _ => None,
    })
}

fn print_type(context: &StatementContext, oid: u32) -> Option<String> {
    let name = sql_text::format_type(&context.catalog, oid, None);
    Some(name).filter(|name| name != "???")
}

fn find_schema(context: &StatementContext, name: &str) -> Result<Option<u32>, SqlError> {
    let parts = sql_text::parse_name(name).ok_or_else(|| invalid_name(name))?;
    let [name] = parts.as_slice() else { return Err(invalid_name(name)) };
    Ok(context.catalog.schema(name).map(|schema| schema.oid))
}

fn print_schema(context: &StatementContext, oid: u32) -> Option<String> {
    let schema = context.catalog.schema_by_oid(oid)?;
    Some(sql_text::quote_identifier(&schema.name).into_owned())
}

fn find_role(context: &StatementContext, name: &str) -> Result<Option<u32>, SqlError> {
    let parts = sql_text::parse_name(name).ok_or_else(|| invalid_name(name))?;
    let [name] = parts.as_slice() else { return Err(invalid_name(name)) };
    Ok(context.catalog.role(name).map(|role| role.oid))
}

fn print_role(context: &StatementContext, oid: u32) -> Option<String> {
    let role = context.catalog.role_by_oid(oid)?;
    Some(sql_text::quote_identifier(&role.name).into_owned())
}

fn role_name(catalog: &Catalog, oid: u32) -> String {
    match catalog.role_by_oid(oid) {
        Some(role) => role.name.clone(),
        None => format!("unknown (OID={oid})"),
    }
}

/// OID and name of every function in `pg_proc`.
fn listed_functions() -> impl Iterator<Item = (u32, &'static str)> {
    include_str!("../data/pg_proc.tsv").lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?.parse().ok()?, fields.next()?))
    })
}

fn function_name(oid: u32) -> Option<&'static str> {
    listed_functions().find(|(listed, _)| *listed == oid).map(|(_, name)| name)
}

fn function_oid(name: &str) -> Option<u32> {
    listed_functions().find(|(_, listed)| *listed == name).map(|(oid, _)| oid)
}
