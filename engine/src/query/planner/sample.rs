//! TABLESAMPLE.

use datafusion::{
    logical_expr::{Expr, Operator, expr::ScalarFunction, lit},
    sql::sqlparser::ast::{self, TableSampleKind, TableSampleMethod},
};

use super::{Planner, from::Relation, operators::binary, select::filter};
use crate::{
    error::{SqlError, sqlstate},
    query::shared_rows::shared,
};

impl Planner<'_> {
    /// Each row with the probability given. SYSTEM takes rows one by one as BERNOULLI does: tables
    /// have no pages.
    pub(super) fn sample(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        sample: &TableSampleKind,
    ) -> Result<Relation, SqlError> {
        let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) =
            sample;
        let syntax = || {
            SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{sample}\""))
        };
        let known =
            matches!(sample.name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System));
        let quantity = sample.quantity.as_ref().ok_or_else(syntax)?;
        if !known {
            let ast::Expr::Function(method) = &quantity.value else { return Err(syntax()) };
            let message = format!("tablesample method {} does not exist", method.name);
            return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message));
        }
        if quantity.unit.is_some() || sample.bucket.is_some() || sample.offset.is_some() {
            return Err(syntax());
        }
        if sample.seed.is_some() {
            return Err(SqlError::not_supported("TABLESAMPLE … REPEATABLE"));
        }
        let plain = self.name_of(name)?;
        if plain.schema.is_none() && self.ctes.iter().any(|cte| cte.name == plain.name) {
            return Err(SqlError::new(
                sqlstate::WRONG_OBJECT_TYPE,
                "TABLESAMPLE clause can only be applied to tables and materialized views",
            ));
        }
        let percent = self.percentage(&quantity.value)?;
        let (plan, scope) = self.table(name, alias)?;
        let random = datafusion::functions::math::random();
        let random = Expr::ScalarFunction(ScalarFunction::new_udf(random, Vec::new()));
        let plan = filter(plan, binary(random, Operator::Lt, lit(percent / 100.0)))?;
        // The same rows for each outer row of a subquery.
        self.copies = true;
        Ok((shared(plan), scope))
    }

    fn percentage(&self, value: &ast::Expr) -> Result<f64, SqlError> {
        let invalid = |message: &str| {
            self.locate(SqlError::new(sqlstate::INVALID_TABLESAMPLE_ARGUMENT, message), value)
        };
        let text = value.to_string();
        if text.eq_ignore_ascii_case("null") {
            return Err(invalid("TABLESAMPLE parameter cannot be null"));
        }
        match text.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
            Ok(_) => Err(invalid("sample percentage must be between 0 and 100")),
            Err(_) => Err(self.refuse(value, "TABLESAMPLE with this expression")),
        }
    }
}
