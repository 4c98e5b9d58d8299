//! The small lists of `information_schema`: character sets, collations, roles, routines.

use super::{Source, collations};
use crate::pg_catalog::{
    builtin_routines::FUNCTION_LIST,
    rows::{Rows, int},
    sql_text,
};

pub(super) fn character_sets(source: &Source, rows: &mut Rows) {
    rows.push([
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", source.database.as_str().into()),
    ]);
}

pub(super) fn collations(source: &Source, rows: &mut Rows) {
    for (_, name) in collations::listed() {
        rows.push([
            ("collation_catalog", source.database.as_str().into()),
            ("collation_schema", "pg_catalog".into()),
            ("collation_name", name.into()),
            ("pad_attribute", "NO PAD".into()),
        ]);
    }
}

pub(super) fn collation_character_sets(source: &Source, rows: &mut Rows) {
    for (_, name) in collations::listed() {
        rows.push([
            ("collation_catalog", source.database.as_str().into()),
            ("collation_schema", "pg_catalog".into()),
            ("collation_name", name.into()),
            ("character_set_name", "UTF8".into()),
        ]);
    }
}

/// A superuser is every role.
pub(super) fn enabled_roles(source: &Source, rows: &mut Rows) {
    let own = source.catalog.role(&source.role);
    let is_superuser = own.is_some_and(|role| role.superuser);
    for role in source.catalog.roles().filter(|role| is_superuser || role.name == source.role) {
        rows.push([("role_name", role.name.as_str().into())]);
    }
}

pub(super) fn routines(source: &Source, rows: &mut Rows) {
    let type_name = |oid| sql_text::type_name(&source.catalog, oid, None, &|t| t.name.clone());
    for function in FUNCTION_LIST.all() {
        rows.push([
            ("specific_catalog", source.database.as_str().into()),
            ("specific_schema", "pg_catalog".into()),
            ("specific_name", format!("{}_{}", function.name, function.oid).into()),
            ("routine_catalog", source.database.as_str().into()),
            ("routine_schema", "pg_catalog".into()),
            ("routine_name", function.name.into()),
            ("routine_type", "FUNCTION".into()),
            ("data_type", type_name(function.returns).into()),
            ("type_udt_catalog", source.database.as_str().into()),
            ("type_udt_schema", "pg_catalog".into()),
            ("type_udt_name", super::types::type_facts(function.returns).name.into()),
            ("dtd_identifier", "0".into()),
            ("routine_body", "EXTERNAL".into()),
            ("parameter_style", "GENERAL".into()),
            ("schema_level_routine", "YES".into()),
            ("security_type", "INVOKER".into()),
        ]);
    }
}

pub(super) fn parameters(source: &Source, rows: &mut Rows) {
    let type_name = |oid| sql_text::type_name(&source.catalog, oid, None, &|t| t.name.clone());
    for function in FUNCTION_LIST.all() {
        let types = match function.all_arguments.is_empty() {
            true => &function.arguments,
            false => &function.all_arguments,
        };
        for (at, oid) in types.iter().enumerate() {
            let mode = match function.modes.get(at) {
                Some('o' | 't') => "OUT",
                Some('b') => "INOUT",
                _ => "IN",
            };
            let name = function.names.get(at).copied().filter(|name| !name.is_empty());
            let place = i64::try_from(at + 1).unwrap_or(i64::MAX);
            rows.push([
                ("specific_catalog", source.database.as_str().into()),
                ("specific_schema", "pg_catalog".into()),
                ("specific_name", format!("{}_{}", function.name, function.oid).into()),
                ("ordinal_position", int(place)),
                ("parameter_mode", mode.into()),
                ("is_result", "NO".into()),
                ("as_locator", "NO".into()),
                ("parameter_name", name.into()),
                ("data_type", type_name(*oid).into()),
                ("udt_catalog", source.database.as_str().into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", super::types::type_facts(*oid).name.into()),
                ("dtd_identifier", place.to_string().into()),
            ]);
        }
    }
}
