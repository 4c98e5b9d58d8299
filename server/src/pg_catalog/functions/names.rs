//! Names to OIDs and back: `format_type`, visibility, `regclass` and kin.

use glaredb_catalog::Catalog;
use glaredb_engine::{error::sqlstate, types::PgType};

use super::system_function::{Functions, Value};
use crate::pg_catalog::{
    object_names::{self, is_relation_visible, is_type_visible},
    sql_text,
};

pub(super) fn add(functions: &mut Functions) {
    use PgType::{Bool, Int4, Name, Oid, Text};
    functions.sees_nulls("format_type", &[Oid, Int4], Text, |call| {
        let typmod = call.int(1).map(|typmod| i32::try_from(typmod).unwrap_or(-1));
        call.oid(0).map(|oid| sql_text::format_type(call.context, oid, typmod))
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
    use PgType::Text;
    let kinds = [
        ("regclassin", "regclassout", "to_regclass", PgType::Regclass),
        ("regtypein", "regtypeout", "to_regtype", PgType::Regtype),
        ("regprocin", "regprocout", "to_regproc", PgType::Regproc),
        ("regprocedurein", "regprocedureout", "to_regprocedure", PgType::Regprocedure),
        ("regoperin", "regoperout", "to_regoper", PgType::Regoper),
        ("regoperatorin", "regoperatorout", "to_regoperator", PgType::Regoperator),
        ("regcollationin", "regcollationout", "to_regcollation", PgType::Regcollation),
        ("regnamespacein", "regnamespaceout", "to_regnamespace", PgType::Regnamespace),
        ("regrolein", "regroleout", "to_regrole", PgType::Regrole),
    ];
    for (input, output, to, of) in kinds {
        let kind = of.clone();
        functions.fallible(input, &[Text], of.clone(), move |call| {
            let text = call.text(0).unwrap_or_default();
            object_names::read(call.context, &kind, text).map(Value::Oid)
        });
        let kind = of.clone();
        functions.fallible(to, &[Text], of.clone(), move |call| {
            let text = call.text(0).unwrap_or_default();
            match object_names::find(call.context, &kind, text) {
                Ok(found) => Ok(found.map_or(Value::Null, Value::Oid)),
                // Several have it: which one is not said.
                Err(error) if error.sqlstate == sqlstate::AMBIGUOUS_FUNCTION => Ok(Value::Null),
                Err(error) => Err(error),
            }
        });
        let kind = of.clone();
        functions.strict(output, &[of], Text, move |call| {
            call.oid(0).map(|oid| object_names::print(call.context, &kind, oid))
        });
    }
}

fn role_name(catalog: &Catalog, oid: u32) -> String {
    match catalog.role_by_oid(oid) {
        Some(role) => role.name.clone(),
        None => format!("unknown (OID={oid})"),
    }
}
