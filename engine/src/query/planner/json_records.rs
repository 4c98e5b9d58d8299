//! `json_to_record` and its kin in FROM, whose columns a definition list names.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;

use super::{
    Planner,
    bound::{Bound, same_base, type_name, undefined_function},
    coerce::{CastContext, can_coerce},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{
            json::Kind,
            json_record::{Field, Populate, column, populate as populate_rows},
            scalar,
        },
        parser::fold_identifier,
    },
    types::{PgType, RecordType},
};

/// Columns of a function in FROM: names, and lists of their values.
type Lists = Vec<(String, Bound)>;

impl Planner<'_> {
    /// `json_populate_record(row, document)` and its kin: a row, or a list of rows. `of`: what a column
    /// definition list says of them. `None` for other functions.
    pub(super) fn json_populate(
        &mut self,
        name: &str,
        args: &[Bound],
        of: Option<RecordType>,
    ) -> Result<Option<Bound>, SqlError> {
        let (kind, set) = match name {
            "json_populate_record" => (Kind::Json, false),
            "json_populate_recordset" => (Kind::Json, true),
            "jsonb_populate_record" => (Kind::Jsonb, false),
            "jsonb_populate_recordset" => (Kind::Jsonb, true),
            _ => return Ok(None),
        };
        let ty = kind.pg_type();
        let (base, document) = match args {
            // What the third one says is of no effect in PostgreSQL either.
            [base, document] | [base, document, _] if can_coerce(&document.ty, &ty) => {
                (base.clone(), document.clone())
            }
            _ => return Err(undefined_function(name, args)),
        };
        let Some(record) = base.ty.record().cloned() else {
            let message = match base.ty {
                PgType::Unknown => {
                    "could not determine polymorphic type because input has type unknown".to_owned()
                }
                _ => format!("first argument of {name} must be a row type"),
            };
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
        };
        let unknown = record.is_anonymous() && record.fields.is_empty();
        let of = match of {
            None if unknown => {
                let message = format!("could not determine row type for result of {name}");
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message).hint(
                    "Provide a non-null record argument, or call the function in the FROM clause \
                     using a column definition list.",
                ));
            }
            None => record.as_ref().clone(),
            Some(of) if unknown => of,
            Some(of) => {
                check_definitions(&record, &of)?;
                of
            }
        };
        let row = PgType::Record(Arc::new(of.clone()));
        let base = if unknown { Bound::null(row.clone())? } else { base };
        let document = self.coerce(document, &ty, CastContext::Implicit)?;
        let populate = Populate { function: name.to_owned(), set, of };
        let udf = populate_rows(kind, &populate, self.context.format);
        let call = scalar::call(&udf, vec![base.expr, document.expr]);
        let ty = if set { PgType::Array(Arc::new(row)) } else { row };
        Ok(Some(Bound::new(call, ty)))
    }

    /// The record type that a column definition list says, and the alias without the list; `None` without
    /// one.
    pub(super) fn column_definitions(
        &self,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Option<(RecordType, ast::TableAlias)>, SqlError> {
        let Some(alias) = alias.filter(|alias| alias.columns.iter().any(|c| c.data_type.is_some()))
        else {
            return Ok(None);
        };
        let mut fields = Vec::with_capacity(alias.columns.len());
        for definition in &alias.columns {
            let data_type = definition.data_type.as_ref().ok_or_else(|| {
                let message = format!("syntax error at or near \"{}\"", definition.name);
                SqlError::new(sqlstate::SYNTAX_ERROR, message)
            })?;
            fields.push((fold_identifier(&definition.name), self.type_of(data_type)?));
        }
        let alias = ast::TableAlias { columns: Vec::new(), ..alias.clone() };
        Ok(Some((RecordType::anonymous(fields), alias)))
    }

    /// The columns of a function whose rows a column definition list describes, and the alias without
    /// the list. `None` for other functions.
    pub(super) fn json_record_lists(
        &mut self,
        name: &str,
        args: &[Bound],
        alias: Option<&ast::TableAlias>,
    ) -> Result<Option<(Lists, Option<ast::TableAlias>)>, SqlError> {
        let (kind, set) = match name {
            "json_to_record" => (Kind::Json, false),
            "json_to_recordset" => (Kind::Json, true),
            "jsonb_to_record" => (Kind::Jsonb, false),
            "jsonb_to_recordset" => (Kind::Jsonb, true),
            _ => return Ok(None),
        };
        let ty = kind.pg_type();
        let document = match args {
            [document] if can_coerce(&document.ty, &ty) => document.clone(),
            _ => return Err(undefined_function(name, args)),
        };
        let document = self.coerce(document, &ty, CastContext::Implicit)?;
        let needed = || {
            let message = "a column definition list is required for functions returning \"record\"";
            SqlError::new(sqlstate::SYNTAX_ERROR, message)
        };
        let alias = alias.filter(|alias| !alias.columns.is_empty()).ok_or_else(needed)?;
        let mut lists = Vec::with_capacity(alias.columns.len());
        for definition in &alias.columns {
            let data_type = definition.data_type.as_ref().ok_or_else(needed)?;
            let ty = self.type_of(data_type)?;
            let field = Field {
                function: name.to_owned(),
                set,
                name: fold_identifier(&definition.name),
                ty: ty.clone(),
            };
            let udf = column(kind, &field, self.context.format);
            let list = scalar::call(&udf, vec![document.expr.clone()]);
            lists.push((field.name, Bound::new(list, PgType::Array(Arc::new(ty)))));
        }
        let alias = ast::TableAlias { columns: Vec::new(), ..alias.clone() };
        Ok(Some((lists, Some(alias))))
    }
}

/// 42804 for a row that is not as a column definition list says.
fn check_definitions(row: &RecordType, wanted: &RecordType) -> Result<(), SqlError> {
    let mismatch = |detail: String| {
        let message = "function return row and query-specified return row do not match";
        Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message).detail(detail))
    };
    let (has, wants) = (row.fields.len(), wanted.fields.len());
    if has != wants {
        let s = if has == 1 { "" } else { "s" };
        return mismatch(format!(
            "Returned row contains {has} attribute{s}, but query expects {wants}."
        ));
    }
    for (n, (a, b)) in row.fields.iter().zip(&wanted.fields).enumerate() {
        if !same_base(&a.ty, &b.ty) {
            return mismatch(format!(
                "Returned type {} at ordinal position {}, but query expects {}.",
                type_name(&a.ty),
                n + 1,
                type_name(&b.ty)
            ));
        }
    }
    Ok(())
}
