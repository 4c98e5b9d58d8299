//! INSERT, UPDATE and DELETE in WITH.

use std::sync::Arc;

use datafusion::{
    common::Column,
    logical_expr::{Expr, LogicalPlanBuilder},
    sql::sqlparser::ast::{self, SetExpr},
};

use super::{
    PlannedChange, PlannedDml, Planner, guards,
    query::{OutputColumn, QueryPlan},
    updatability::DmlVerb,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, returned_rows::ReturnedRows},
};

impl Planner<'_> {
    /// An item of WITH that changes rows: the rows it returns.
    pub(super) fn change_in_with(
        &mut self,
        name: &str,
        cte: &ast::Cte,
        recursive: bool,
    ) -> Result<QueryPlan, SqlError> {
        let refuse = |message: String| SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
        if recursive {
            let message =
                format!("recursive query \"{name}\" must not contain data-modifying statements");
            return Err(SqlError::new("42P19", message));
        }
        if self.changes_at != Some(self.queries) {
            let error = match self.changes_at {
                None if self.recorder.is_some() => {
                    refuse("views must not contain data-modifying statements in WITH".to_owned())
                }
                None => SqlError::not_supported("INSERT, UPDATE or DELETE in this WITH"),
                Some(_) => refuse(
                    "WITH clause containing a data-modifying statement must be at the top level"
                        .to_owned(),
                ),
            };
            return Err(self.at(error, &cte.alias.name));
        }
        let (inner, ctes, at) = (&cte.query, self.ctes.len(), self.changes_at.take());
        let planned = self.change_of(inner);
        self.ctes.truncate(ctes);
        self.changes_at = at;
        let (verb, dml) = planned?;
        // What it returns is another thing each time.
        self.reusable = false;
        let fields = dml.fields.clone().unwrap_or_else(|| Arc::from([]));
        let index = self.changes.len();
        let names = (0..fields.len()).map(|n| format!("__changed_{index}_{n}"));
        let types = dml.plan.schema().fields()[dml.returning.clone()].iter();
        let schema = names.zip(types).map(|(name, field)| {
            arrow::datatypes::Field::clone(field).with_name(name).with_nullable(true)
        });
        let schema = Arc::new(arrow::datatypes::Schema::new(schema.collect::<Vec<_>>()));
        let returned = ReturnedRows::new(schema);
        let columns = fields.iter().enumerate().map(|(n, field)| OutputColumn {
            name: field.name.clone(),
            internal: format!("__changed_{index}_{n}"),
            ty: field.pg_type.clone(),
            origin: (field.table_oid, field.column_number),
            keeps_modifier: field.shows_modifier,
        });
        let columns: Vec<OutputColumn> = columns.collect();
        let source = returned.source().map_err(sql_error)?;
        let scan = LogicalPlanBuilder::scan(format!("__changed_{index}"), source, None);
        let names = columns.iter().map(|c| {
            Expr::Column(Column::new(Some(format!("__changed_{index}")), &c.internal))
                .alias(&c.internal)
        });
        let plan = scan
            .and_then(|scan| scan.project(names.collect::<Vec<_>>()))
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        self.changes.push(PlannedChange { verb, dml, returned });
        Ok((plan, columns))
    }

    /// The statement that an item of WITH is.
    fn change_of(&mut self, query: &ast::Query) -> Result<(DmlVerb, PlannedDml), SqlError> {
        if let Some(with) = &query.with {
            self.with_clause(with, None)?;
        }
        match query.body.as_ref() {
            SetExpr::Insert(ast::Statement::Insert(insert)) => {
                Ok((DmlVerb::Insert, self.insert(insert)?))
            }
            SetExpr::Update(ast::Statement::Update(update)) => {
                Ok((DmlVerb::Update, self.update(update)?))
            }
            SetExpr::Delete(ast::Statement::Delete(delete)) => {
                Ok((DmlVerb::Delete, self.delete(delete)?))
            }
            _ => Err(SqlError::not_supported("MERGE in WITH")),
        }
    }

    /// The changes, ready to be run.
    pub(super) fn planned_changes(&mut self) -> Result<Vec<PlannedChange>, SqlError> {
        let mut changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() && self.shares {
            // It would be computed once for each part of the statement.
            let what = "INSERT, UPDATE or DELETE in WITH beside parts that are computed once";
            return Err(SqlError::not_supported(what));
        }
        for change in &mut changes {
            let plan = self.decorrelate(change.dml.plan.clone())?;
            change.dml.plan = guards::guard(plan)?;
        }
        Ok(changes)
    }
}
