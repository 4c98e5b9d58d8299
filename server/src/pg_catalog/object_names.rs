//! `regclass` and kin: names of objects to OIDs and back, as a session names things.

use glaredb_engine::{
    error::{SqlError, sqlstate},
    query::{parser::parse_type_name, type_names},
    session::StatementContext,
    types::{PgType, text::ObjectNames},
};

use super::{
    builtin_routines::{FUNCTION_LIST, Function, OPERATOR_LIST, Operator},
    relation_name, relation_oid,
    sql_text::{self, quote_identifier},
    tables::{collations, types},
};

/// The names at a statement's catalog, with its search path.
pub(super) struct StatementNames(pub(super) StatementContext);

impl ObjectNames for StatementNames {
    fn oid(&self, of: &PgType, text: &str) -> Result<u32, SqlError> {
        read(&self.0, of, text)
    }

    fn text(&self, of: &PgType, oid: u32) -> String {
        print(&self.0, of, oid)
    }
}

fn error(state: &'static str, message: impl Into<String>) -> SqlError {
    SqlError::new(state, message.into())
}

/// A value's OID from its text.
pub(super) fn read(context: &StatementContext, of: &PgType, text: &str) -> Result<u32, SqlError> {
    let is_operator = matches!(of, PgType::Regoper | PgType::Regoperator);
    if text == "-" && !is_operator {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| {
            let message = format!("value \"{text}\" is out of range for type oid");
            error(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
        });
    }
    find(context, of, text)?.ok_or_else(|| unknown(context, of, text))
}

/// The OID of what a text names, which is no number; `None` if there is none.
///
/// # Errors
/// The text is no name; several have it.
pub(super) fn find(
    context: &StatementContext,
    of: &PgType,
    text: &str,
) -> Result<Option<u32>, SqlError> {
    match of {
        PgType::Regtype => find_type(context, text),
        PgType::Regprocedure => {
            let (name, arguments) = name_and_types(context, text, false)?;
            let Some(name) = builtin_name(&name) else { return Ok(None) };
            let mut found = FUNCTION_LIST.named(&name);
            Ok(found.find(|f| f.arguments == arguments).map(|f| f.oid))
        }
        PgType::Regoperator => {
            let (name, arguments) = name_and_types(context, text, true)?;
            let [left, right] = arguments[..] else { return Err(operator_arguments(&arguments)) };
            let Some(name) = builtin_name(&name) else { return Ok(None) };
            let mut found = OPERATOR_LIST.named(&name);
            Ok(found.find(|o| (o.left, o.right) == (left, right)).map(|o| o.oid))
        }
        PgType::Regoper => {
            let name = text.strip_prefix("pg_catalog.").unwrap_or(text);
            let mut found = OPERATOR_LIST.named(name);
            let first = found.next();
            match found.next() {
                Some(_) => Err(ambiguous("operator", text, "")),
                None => Ok(first.map(|operator| operator.oid)),
            }
        }
        _ => {
            let name = sql_text::parse_name(text)
                .ok_or_else(|| error(sqlstate::INVALID_NAME, "invalid name syntax"))?;
            find_named(context, of, &name)
        }
    }
}

fn find_named(
    context: &StatementContext,
    of: &PgType,
    name: &[String],
) -> Result<Option<u32>, SqlError> {
    let catalog = &context.catalog;
    Ok(match (of, name) {
        (PgType::Regnamespace, [name]) => catalog.schema(name).map(|schema| schema.oid),
        (PgType::Regrole, [name]) => catalog.role(name).map(|role| role.oid),
        (PgType::Regnamespace | PgType::Regrole, _) => {
            return Err(error(sqlstate::INVALID_NAME, "invalid name syntax"));
        }
        (PgType::Regclass, _) => return find_relation(context, name),
        (PgType::Regcollation, _) => builtin_name(name).and_then(|name| collations::oid(&name)),
        (PgType::Regproc, _) => {
            let Some(bare) = builtin_name(name) else { return Ok(None) };
            let mut found = FUNCTION_LIST.named(&bare);
            let first = found.next();
            if found.next().is_some() {
                return Err(ambiguous("function", &name.join("."), "\""));
            }
            first.map(|function| function.oid)
        }
        _ => None,
    })
}

/// The bare name of what can only stand in `pg_catalog`.
fn builtin_name(name: &[String]) -> Option<String> {
    match name {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" => Some(name.clone()),
        _ => None,
    }
}

fn find_relation(context: &StatementContext, name: &[String]) -> Result<Option<u32>, SqlError> {
    let catalog = &context.catalog;
    let (schema, relation) = match name {
        [name] => {
            let mut path = context.search_path();
            return Ok(path.find_map(|schema| relation_oid(catalog, schema, name)));
        }
        [schema, name] => (schema, name),
        [database, schema, name] if *database == context.identity.database => (schema, name),
        [_, _, _] => {
            let message =
                format!("cross-database references are not implemented: \"{}\"", name.join("."));
            return Err(error(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        _ => {
            let message =
                format!("improper relation name (too many dotted names): {}", name.join("."));
            return Err(error(sqlstate::SYNTAX_ERROR, message));
        }
    };
    Ok(relation_oid(catalog, schema, relation))
}

fn find_type(context: &StatementContext, text: &str) -> Result<Option<u32>, SqlError> {
    let name = text.trim();
    if name.is_empty() {
        return Err(error(sqlstate::SYNTAX_ERROR, format!("invalid type name \"{text}\"")));
    }
    if let Some(of) = name.strip_suffix("[]") {
        let of = find_type(context, of)?;
        return Ok(of.and_then(|of| array_of(context, of)));
    }
    // Names of several words, abbreviations of the standard, lengths.
    let parsed = parse_type_name(name);
    if let Ok(parsed) = &parsed
        && let Ok(pg_type) = type_names::pg_type(parsed)
    {
        return Ok(Some(pg_type.oid()));
    }
    let Some(parts) = sql_text::parse_name(name) else {
        return match parsed {
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
    };
    let row_type = |schema: &str, name: &str| {
        let table = |name: &str| context.catalog.table(schema, name);
        let array = || Some(table(name.strip_prefix('_')?)?.array_type_oid);
        table(name).map(|table| table.row_type_oid).or_else(array).or_else(|| {
            super::definitions::find(schema, name).map(|definition| definition.row_type_oid)
        })
    };
    Ok(match parts.as_slice() {
        [name] => types::builtin_type_oid(name)
            .or_else(|| context.search_path().find_map(|schema| row_type(schema, name))),
        [schema, name] if schema == "pg_catalog" => {
            types::builtin_type_oid(name).or_else(|| row_type(schema, name))
        }
        [schema, name] => row_type(schema, name),
        _ => None,
    })
}

fn array_of(context: &StatementContext, of: u32) -> Option<u32> {
    types::builtin_array_oid(of).or_else(|| {
        let table = context.catalog.table_with_inner_oid(of)?;
        (table.row_type_oid == of).then_some(table.array_type_oid)
    })
}

/// `name(type, …)`; `NONE` stands for an operand that is missing.
fn name_and_types(
    context: &StatementContext,
    text: &str,
    operator: bool,
) -> Result<(Vec<String>, Vec<u32>), SqlError> {
    let invalid = |message| error(sqlstate::INVALID_TEXT_REPRESENTATION, message);
    let (name, rest) =
        text.split_once('(').ok_or_else(|| invalid("expected a left parenthesis"))?;
    let list =
        rest.trim_end().strip_suffix(')').ok_or_else(|| invalid("expected a right parenthesis"))?;
    let name = if operator {
        name.split_inclusive("pg_catalog.")
            .map(|part| part.trim_end_matches('.').to_owned())
            .collect()
    } else {
        sql_text::parse_name(name)
            .ok_or_else(|| error(sqlstate::INVALID_NAME, "invalid name syntax"))?
    };
    let mut types = Vec::new();
    if list.trim().is_empty() {
        return Ok((name, types));
    }
    for of in list.split(',') {
        let of = of.trim();
        if of.is_empty() {
            return Err(invalid("expected a type name"));
        }
        types.push(if operator && of.eq_ignore_ascii_case("none") {
            0
        } else {
            find_type(context, of)?.ok_or_else(|| unknown(context, &PgType::Regtype, of))?
        });
    }
    Ok((name, types))
}

fn operator_arguments(given: &[u32]) -> SqlError {
    if given.len() == 1 {
        return error(sqlstate::UNDEFINED_PARAMETER, "missing argument")
            .hint("Use NONE to denote the missing argument of a unary operator.");
    }
    error(sqlstate::TOO_MANY_ARGUMENTS, "too many arguments")
        .hint("Provide two argument types for operator.")
}

fn ambiguous(what: &str, name: &str, quote: &str) -> SqlError {
    error(sqlstate::AMBIGUOUS_FUNCTION, format!("more than one {what} named {quote}{name}{quote}"))
}

fn unknown(context: &StatementContext, of: &PgType, text: &str) -> SqlError {
    let missing_schema = || {
        let parts = sql_text::parse_name(text)?;
        let [schema, _] = parts.as_slice() else { return None };
        let known = context.catalog.schema(schema).is_some();
        (!known).then(|| {
            let message = format!("schema \"{schema}\" does not exist");
            error(sqlstate::INVALID_SCHEMA_NAME, message)
        })
    };
    let folded = || sql_text::parse_name(text).map_or_else(|| text.to_owned(), |n| n.join("."));
    let (state, message) = match of {
        PgType::Regclass => {
            if let Some(error) = missing_schema() {
                return error;
            }
            (sqlstate::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", folded()))
        }
        PgType::Regtype => {
            if let Some(error) = missing_schema() {
                return error;
            }
            (sqlstate::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", text.trim()))
        }
        PgType::Regnamespace => {
            (sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{}\" does not exist", folded()))
        }
        PgType::Regrole => {
            (sqlstate::UNDEFINED_OBJECT, format!("role \"{}\" does not exist", folded()))
        }
        PgType::Regcollation => (
            sqlstate::UNDEFINED_OBJECT,
            format!("collation \"{}\" for encoding \"UTF8\" does not exist", folded()),
        ),
        PgType::Regoper | PgType::Regoperator => {
            (sqlstate::UNDEFINED_FUNCTION, format!("operator does not exist: {text}"))
        }
        _ => (sqlstate::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist")),
    };
    error(state, message)
}

/// A value's text.
pub(super) fn print(context: &StatementContext, of: &PgType, oid: u32) -> String {
    if oid == 0 {
        let is_operator = matches!(of, PgType::Regoper | PgType::Regoperator);
        return if is_operator { "0" } else { "-" }.to_owned();
    }
    let catalog = &context.catalog;
    let quoted = |name: &str| quote_identifier(name).into_owned();
    let name = match of {
        PgType::Regclass => print_relation(context, oid),
        PgType::Regtype => print_type(context, oid),
        PgType::Regnamespace => catalog.schema_by_oid(oid).map(|schema| quoted(&schema.name)),
        PgType::Regrole => catalog.role_by_oid(oid).map(|role| quoted(&role.name)),
        PgType::Regcollation => collations::name(oid).map(quoted),
        PgType::Regproc => FUNCTION_LIST.with_oid(oid).map(print_function),
        PgType::Regprocedure => {
            FUNCTION_LIST.with_oid(oid).map(|function| print_procedure(context, function))
        }
        PgType::Regoper => OPERATOR_LIST.with_oid(oid).map(print_operator),
        PgType::Regoperator => OPERATOR_LIST.with_oid(oid).map(|operator| {
            let name = |oid| match oid {
                0 => "NONE".to_owned(),
                oid => sql_text::format_type(context, oid, None),
            };
            format!("{}({},{})", operator.name, name(operator.left), name(operator.right))
        }),
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

fn print_relation(context: &StatementContext, oid: u32) -> Option<String> {
    let (schema, name) = relation_name(&context.catalog, oid)?;
    let name = quote_identifier(&name);
    if is_relation_visible(context, oid) == Some(true) {
        return Some(name.into_owned());
    }
    Some(format!("{}.{name}", quote_identifier(&schema)))
}

fn print_type(context: &StatementContext, oid: u32) -> Option<String> {
    let name = sql_text::format_type(context, oid, None);
    Some(name).filter(|name| name != "???")
}

/// Qualified where the bare name means several.
fn print_function(function: &Function) -> String {
    let name = quote_identifier(function.name);
    match FUNCTION_LIST.named(function.name).count() {
        1 => name.into_owned(),
        _ => format!("pg_catalog.{name}"),
    }
}

fn print_procedure(context: &StatementContext, function: &Function) -> String {
    let name = |oid: &u32| sql_text::format_type(context, *oid, None);
    let arguments: Vec<_> = function.arguments.iter().map(name).collect();
    format!("{}({})", quote_identifier(function.name), arguments.join(","))
}

fn print_operator(operator: &Operator) -> String {
    match OPERATOR_LIST.named(operator.name).count() {
        1 => operator.name.to_owned(),
        _ => format!("pg_catalog.{}", operator.name),
    }
}

/// Null for an OID no relation has. A relation is visible if its bare name means it.
pub(super) fn is_relation_visible(context: &StatementContext, oid: u32) -> Option<bool> {
    let (_, name) = relation_name(&context.catalog, oid)?;
    let meant =
        context.search_path().find_map(|schema| relation_oid(&context.catalog, schema, &name));
    Some(meant == Some(oid))
}

/// Null for an OID no type has.
pub(super) fn is_type_visible(context: &StatementContext, oid: u32) -> Option<bool> {
    if types::builtin_type(oid).is_some() {
        return Some(true);
    }
    let table = context.catalog.table_with_inner_oid(oid)?;
    is_relation_visible(context, table.oid)
}
