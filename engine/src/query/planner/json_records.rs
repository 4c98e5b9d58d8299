//! `json_to_record` and its kin in FROM, whose columns a definition list names.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;

use super::{
    Planner,
    bound::{Bound, undefined_function},
    coerce::{CastContext, can_coerce},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{
            json::Kind,
            json_record::{Field, column},
            scalar,
        },
        parser::fold_identifier,
        type_names,
    },
    types::PgType,
};

/// Columns of a function in FROM: names, and lists of their values.
type Lists = Vec<(String, Bound)>;

impl Planner<'_> {
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
            let ty = type_names::pg_type(data_type)?;
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
