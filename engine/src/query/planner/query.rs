//! Queries: WITH, set operations, VALUES, ORDER BY, LIMIT.

use std::sync::Arc;

use datafusion::{
    common::Column,
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr,
        SubqueryAlias, Union, lit,
    },
    sql::sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier},
};

use super::{
    Planner,
    arrays::{equality_needed, order_needed},
    bound::{Bound, null_of},
    coerce::CastContext,
    operators::key_function,
    scope::{Env, Scope},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, parser::fold_identifier},
    types::PgType,
};

/// A column of a query's result.
#[derive(Clone, Debug)]
pub(super) struct OutputColumn {
    /// As the client sees it; not unique.
    pub(super) name: String,
    /// As the plan names it; unique in the result, without qualifier.
    pub(super) internal: String,
    pub(super) ty: PgType,
    /// (table OID, column number) if it is a table's column.
    pub(super) origin: (u32, i16),
    /// The type's modifier is part of the query: a column or a cast, not a computed decimal.
    pub(super) keeps_modifier: bool,
}

pub(super) type QueryPlan = (LogicalPlan, Vec<OutputColumn>);

impl Planner<'_> {
    /// Plans a query. `outer` is what it may refer to outside.
    pub(super) fn query(
        &mut self,
        query: &ast::Query,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let ctes = self.ctes.len();
        self.queries += 1;
        let result =
            stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.query_inner(query, outer));
        self.queries -= 1;
        self.ctes.truncate(ctes);
        result
    }

    fn query_inner(
        &mut self,
        query: &ast::Query,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if let Some(lock) = locks.first() {
            return Err(SqlError::not_supported(format!("SELECT {lock}")));
        }
        if for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at the query's end"));
        }
        if let Some(with) = with {
            let parameter_types = std::mem::take(&mut self.parameter_types);
            self.with_clause(with, outer)?;
            self.parameter_types = parameter_types;
        }
        let order_by = order_items(order_by.as_ref())?;
        let (plan, columns) = match body.as_ref() {
            SetExpr::Select(select) => self.select(select, order_by, outer)?,
            other => {
                let (plan, columns) = self.set_expr(other, outer)?;
                (self.order_output(plan, &columns, order_by)?, columns)
            }
        };
        let plan = self.limit(plan, limit_clause.as_ref(), fetch.as_ref(), outer)?;
        only_output(plan, columns)
    }

    pub(super) fn set_expr(
        &mut self,
        body: &SetExpr,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        match body {
            SetExpr::Select(select) => {
                let (plan, columns) = self.select(select, &[], outer)?;
                only_output(plan, columns)
            }
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::Values(values) => self.values(values, outer),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || {
                    let mut types = std::mem::take(&mut self.parameter_types);
                    if types.is_empty() {
                        types = self.types_for_parameters([left, right], outer)?;
                    }
                    self.parameter_types.clone_from(&types);
                    let left = self.set_expr(left, outer)?;
                    self.parameter_types = types;
                    let right = self.set_expr(right, outer)?;
                    self.parameter_types.clear();
                    self.set_operation(*op, *set_quantifier, left, right)
                })
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(SqlError::not_supported("INSERT, UPDATE or DELETE in WITH"))
            }
            other => Err(SqlError::not_supported(format!("{other} in a query"))),
        }
    }

    /// A projection to uniquely named output columns.
    pub(super) fn project_output(
        &mut self,
        plan: LogicalPlan,
        items: Vec<(String, Bound, (u32, i16), bool)>,
    ) -> Result<QueryPlan, SqlError> {
        let mut exprs = Vec::with_capacity(items.len());
        let mut columns = Vec::with_capacity(items.len());
        for (name, bound, origin, keeps_modifier) in items {
            let internal = self.output_name(&columns, &name);
            exprs.push(bound.expr.alias(&internal));
            columns.push(OutputColumn { name, internal, ty: bound.ty, origin, keeps_modifier });
        }
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(projection), columns))
    }

    /// Casts a query's columns to these types and names them as `names` are.
    pub(super) fn cast_output(
        &mut self,
        (plan, columns): QueryPlan,
        names: &[OutputColumn],
        types: &[PgType],
    ) -> Result<LogicalPlan, SqlError> {
        let same = columns
            .iter()
            .zip(names)
            .zip(types)
            .all(|((c, n), t)| c.ty == *t && c.internal == n.internal);
        if same {
            return Ok(plan);
        }
        let mut exprs = Vec::with_capacity(columns.len());
        for ((column, name), ty) in columns.iter().zip(names).zip(types) {
            let expr = Expr::Column(Column::from_name(&column.internal));
            let bound = Bound::new(expr, column.ty.clone());
            let bound = self.coerce(bound, ty, CastContext::Implicit)?;
            exprs.push(bound.expr.alias(&name.internal));
        }
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        Ok(LogicalPlan::Projection(projection))
    }

    fn set_operation(
        &mut self,
        op: SetOperator,
        quantifier: SetQuantifier,
        left: QueryPlan,
        right: QueryPlan,
    ) -> Result<QueryPlan, SqlError> {
        let name = match op {
            SetOperator::Union => "UNION",
            SetOperator::Except => "EXCEPT",
            SetOperator::Intersect => "INTERSECT",
            SetOperator::Minus => return Err(SqlError::not_supported("MINUS")),
        };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            other => return Err(SqlError::not_supported(format!("{name} {other}"))),
        };
        if left.1.len() != right.1.len() {
            let message = format!("each {name} query must have the same number of columns");
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        if left.1.is_empty() && !(all && op == SetOperator::Union) {
            // Rows without columns are all alike: as those of one column with one value are.
            let (left, right) = (self.with_constant(left.0)?, self.with_constant(right.0)?);
            let (plan, _) = self.set_operation(op, quantifier, left, right)?;
            let plan = Projection::try_new(Vec::new(), Arc::new(plan)).map_err(sql_error)?;
            return Ok((LogicalPlan::Projection(plan), Vec::new()));
        }
        let mut columns = left.1.clone();
        let mut types = Vec::new();
        for (column, other) in columns.iter_mut().zip(&right.1) {
            let ty = self.common_type(&[column.ty.clone(), other.ty.clone()], name)?;
            column.keeps_modifier &= other.keeps_modifier && column.ty == other.ty;
            column.origin = (0, 0);
            column.ty = ty.clone();
            types.push(ty);
        }
        let names = columns.clone();
        let left = self.cast_output(left, &names, &types)?;
        let right = self.cast_output(right, &names, &types)?;
        let keyed = types.iter().any(distinct_key);
        if op != SetOperator::Union {
            types.iter().try_for_each(equality_needed)?;
        }
        let plan = match op {
            SetOperator::Union => {
                let mut inputs = Vec::new();
                for plan in [left, right] {
                    // Long chains become one node.
                    match plan {
                        LogicalPlan::Union(union) => inputs.extend(union.inputs),
                        other => inputs.push(Arc::new(other)),
                    }
                }
                let union = Union::try_new_with_loose_types(inputs).map_err(sql_error)?;
                let plan = LogicalPlan::Union(union);
                if all { plan } else { self.distinct(plan, &columns)? }
            }
            _ if keyed || all => {
                self.matched_rows(left, right, all, op == SetOperator::Intersect, &columns)?
            }
            SetOperator::Intersect => self.intersect_or_except(left, right, true, &columns)?,
            _ => self.intersect_or_except(left, right, false, &columns)?,
        };
        Ok((plan, columns))
    }

    /// The rows with one column, of one value.
    fn with_constant(&mut self, plan: LogicalPlan) -> Result<QueryPlan, SqlError> {
        let items = vec![(String::new(), Bound::bool(lit(true)), (0, 0), false)];
        self.project_output(plan, items)
    }

    /// INTERSECT and EXCEPT over columns that compare as they are.
    fn intersect_or_except(
        &mut self,
        left: LogicalPlan,
        right: LogicalPlan,
        intersect: bool,
        columns: &[OutputColumn],
    ) -> Result<LogicalPlan, SqlError> {
        let left_name = self.unique_qualifier("l");
        let right_name = self.unique_qualifier("r");
        let left = SubqueryAlias::try_new(Arc::new(left), left_name).map_err(sql_error)?;
        let right = SubqueryAlias::try_new(Arc::new(right), right_name).map_err(sql_error)?;
        let (left, right) = (LogicalPlan::SubqueryAlias(left), LogicalPlan::SubqueryAlias(right));
        let plan = if intersect {
            LogicalPlanBuilder::intersect(left, right, false)
        } else {
            LogicalPlanBuilder::except(left, right, false)
        }
        .map_err(sql_error)?;
        let exprs = plan
            .schema()
            .columns()
            .into_iter()
            .zip(columns)
            .map(|(c, o)| Expr::Column(c).alias(&o.internal))
            .collect();
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        Ok(LogicalPlan::Projection(projection))
    }

    /// DISTINCT over the output columns.
    pub(super) fn distinct(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
    ) -> Result<LogicalPlan, SqlError> {
        columns.iter().try_for_each(|c| equality_needed(&c.ty))?;
        if !columns.iter().any(|c| distinct_key(&c.ty)) {
            return Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(plan))));
        }
        // Values that are equal but look different: group by what compares, show the first.
        let (mut groups, mut firsts, mut output) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            let expr = Expr::Column(Column::from_name(&column.internal));
            if distinct_key(&column.ty) {
                let key = self.fresh_name("__key");
                groups.push(self.sort_key(&column.ty, expr.clone()).alias(key));
                let first = self.fresh_name("__first");
                firsts.push(first_value_udaf().call(vec![expr]).alias(&first));
                output.push(Expr::Column(Column::from_name(first)).alias(&column.internal));
            } else {
                groups.push(expr.clone());
                output.push(expr.alias(&column.internal));
            }
        }
        let aggregate = Aggregate::try_new(Arc::new(plan), groups, firsts).map_err(sql_error)?;
        let plan = Arc::new(LogicalPlan::Aggregate(aggregate));
        Ok(LogicalPlan::Projection(Projection::try_new(output, plan).map_err(sql_error)?))
    }

    fn values(
        &mut self,
        values: &ast::Values,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let scope = Scope::default();
        let env = Env::new(&scope, outer, "VALUES");
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut by_column: Vec<Vec<Bound>> = vec![Vec::new(); width];
        for row in &values.rows {
            if row.content.len() != width {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    "VALUES lists must all be the same length",
                ));
            }
            for (column, expr) in by_column.iter_mut().zip(&row.content) {
                column.push(self.expr(expr, &env)?);
            }
        }
        let rows = values.rows.len();
        let mut columns = Vec::with_capacity(width);
        let mut exprs: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); rows];
        for (index, bounds) in by_column.into_iter().enumerate() {
            let untyped = bounds.iter().all(|b| b.ty == PgType::Unknown);
            let parameters = bounds.iter().any(|b| matches!(b.expr, Expr::Placeholder(_)));
            let (values, ty) = if untyped && !parameters {
                (bounds.into_iter().map(|b| b.expr).collect(), PgType::Unknown)
            } else {
                self.unify(bounds, "VALUES", false)?
            };
            for (row, value) in exprs.iter_mut().zip(values) {
                row.push(value);
            }
            let name = format!("column{}", index + 1);
            columns.push(OutputColumn {
                internal: self.output_name(&columns, &name),
                name,
                ty,
                origin: (0, 0),
                keeps_modifier: false,
            });
        }
        self.values_plan(exprs, columns)
    }

    /// Rows of expressions that refer to no columns.
    pub(super) fn values_plan(
        &mut self,
        rows: Vec<Vec<Expr>>,
        columns: Vec<OutputColumn>,
    ) -> Result<QueryPlan, SqlError> {
        let fields = columns.iter().map(|c| c.ty.plan_field(&c.internal, true));
        let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
        let schema = datafusion::common::DFSchema::try_from(schema).map_err(sql_error)?;
        let plan = LogicalPlan::Values(datafusion::logical_expr::Values {
            schema: Arc::new(schema),
            values: rows,
        });
        Ok((plan, columns))
    }

    /// ORDER BY over set operations and VALUES: output columns only.
    fn order_output(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
        order_by: &[ast::OrderByExpr],
    ) -> Result<LogicalPlan, SqlError> {
        if order_by.is_empty() {
            return Ok(plan);
        }
        let mut sorts = Vec::new();
        for item in order_by {
            let index = match output_reference(&item.expr, columns.len())? {
                Some(Reference::Ordinal(index)) => Some(index),
                Some(Reference::Name(name)) => {
                    let mut found = columns.iter().enumerate().filter(|(_, c)| c.name == name);
                    let first = found.next().map(|(index, _)| index);
                    if first.is_none() {
                        let message = format!("column \"{name}\" does not exist");
                        let error = SqlError::new(sqlstate::UNDEFINED_COLUMN, message);
                        return Err(self.locate(error, &item.expr));
                    }
                    first
                }
                None => None,
            };
            let Some(index) = index else {
                return Err(SqlError::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                )
                .detail("Only result column names can be used, not expressions or functions.")
                .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."));
            };
            let column = &columns[index];
            let expr = Expr::Column(Column::from_name(&column.internal));
            sorts.push(self.sort_expr(item, expr, &column.ty)?);
        }
        LogicalPlanBuilder::new(plan).sort(sorts).and_then(|b| b.build()).map_err(sql_error)
    }

    /// One key of ORDER BY. NULLs come last ascending and first descending, unless said otherwise.
    pub(super) fn sort_expr(
        &mut self,
        item: &ast::OrderByExpr,
        expr: Expr,
        ty: &PgType,
    ) -> Result<SortExpr, SqlError> {
        if item.with_fill.is_some() {
            return Err(SqlError::not_supported("ORDER BY WITH FILL"));
        }
        order_needed(ty).map_err(|e| self.locate(e, &item.expr))?;
        let asc = item.options.asc.unwrap_or(true);
        let nulls_first = item.options.nulls_first.unwrap_or(!asc);
        Ok(SortExpr::new(self.sort_key(ty, expr), asc, nulls_first))
    }

    /// A result whose untyped columns are text.
    pub(super) fn decided(
        &mut self,
        plan: LogicalPlan,
        mut columns: Vec<OutputColumn>,
    ) -> Result<QueryPlan, SqlError> {
        for column in &mut columns {
            if column.ty == PgType::Unknown {
                column.ty = PgType::Text;
            }
        }
        Ok((plan, columns))
    }

    /// NULL of a type as an expression.
    pub(super) fn null(&self, ty: &PgType) -> Result<Expr, SqlError> {
        Ok(Expr::Literal(null_of(ty)?, None))
    }
}

/// The plan without what its order needs beside the result.
fn only_output(plan: LogicalPlan, columns: Vec<OutputColumn>) -> Result<QueryPlan, SqlError> {
    if plan.schema().fields().len() == columns.len() {
        return Ok((plan, columns));
    }
    let exprs = columns.iter().map(|c| Expr::Column(Column::from_name(&c.internal)));
    let plan = Projection::try_new(exprs.collect(), Arc::new(plan)).map_err(sql_error)?;
    Ok((LogicalPlan::Projection(plan), columns))
}

/// Whether DISTINCT and GROUP BY go by a key of values of this type.
pub(super) fn distinct_key(ty: &PgType) -> bool {
    key_function(ty).is_some()
}

pub(super) fn unique_name(columns: &[OutputColumn], name: &str) -> String {
    let taken = |candidate: &str| columns.iter().any(|c| c.internal == candidate);
    if !taken(name) {
        return name.to_owned();
    }
    let mut number = columns.len();
    loop {
        let candidate = format!("{name}_{number}");
        if !taken(&candidate) {
            return candidate;
        }
        number += 1;
    }
}

fn order_items(order_by: Option<&ast::OrderBy>) -> Result<&[ast::OrderByExpr], SqlError> {
    match order_by {
        None => Ok(&[]),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(items), interpolate: None }) => {
            Ok(items)
        }
        Some(_) => Err(SqlError::not_supported("this form of ORDER BY")),
    }
}

/// What a plain number or name in ORDER BY or GROUP BY refers to.
pub(super) enum Reference {
    /// From 0.
    Ordinal(usize),
    Name(String),
}

pub(super) fn output_reference(
    expr: &ast::Expr,
    columns: usize,
) -> Result<Option<Reference>, SqlError> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => {
                let Ok(number) = text.parse::<usize>() else {
                    return Ok(None);
                };
                if number == 0 || number > columns {
                    let message = format!("ORDER BY position {number} is not in select list");
                    return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
                }
                Ok(Some(Reference::Ordinal(number - 1)))
            }
            _ => Ok(None),
        },
        ast::Expr::Identifier(ident) => Ok(Some(Reference::Name(fold_identifier(ident)))),
        _ => Ok(None),
    }
}
