//! `ARRAY(SELECT f(x) FROM unnest(a) x)`: an array computed element by element, where `a` may come
//! from the rows around, as the queries of catalog tools have it.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch},
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, ScalarUDF, Volatility, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{PhysicalExpr, create_physical_expr},
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::Bound,
    from::function_parts,
    scope::{Env, Scope, ScopeColumn, ScopeTable},
};
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        functions::scalar::{internal, over_arrays, sees_nulls},
        parser::fold_identifier,
    },
    types::PgType,
};

/// What `f` calls an element in its plan.
const ELEMENT: &str = "element";

/// `unnest(array)` as a relation, with the name it goes by, and the expression over it.
struct OverUnnest<'q> {
    array: ast::Expr,
    alias: String,
    element: &'q ast::Expr,
}

/// `None` if the query is anything more.
fn over_unnest(query: &ast::Query) -> Option<OverUnnest<'_>> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && select.distinct.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
    let ([from], [item]) = (select.from.as_slice(), select.projection.as_slice()) else {
        return None;
    };
    let element = match item {
        ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => expr,
        _ => return None,
    };
    let (name, mut arguments, alias, ordinality) = function_parts(&from.relation).ok()?;
    let alias = alias.filter(|alias| alias.columns.is_empty())?;
    if !plain || !from.joins.is_empty() || ordinality || name != "unnest" || arguments.len() != 1 {
        return None;
    }
    Some(OverUnnest { array: arguments.remove(0), alias: fold_identifier(&alias.name), element })
}

/// Whether the expression is computed from the element alone.
fn of_element_alone(expr: &Expr) -> Result<bool, SqlError> {
    let mut alone = true;
    expr.apply(|node| {
        alone &= match node {
            Expr::Column(column) => column.name == ELEMENT,
            Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_)
            | Expr::Unnest(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_) => false,
            Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
            _ => true,
        };
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(sql_error)?;
    Ok(alone)
}

impl Planner<'_> {
    /// `None` if the query is of another form.
    pub(super) fn array_over_unnest(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<Option<Bound>, SqlError> {
        let Some(OverUnnest { array, alias, element }) = over_unnest(query) else {
            return Ok(None);
        };
        let array = self.expr(&array, env)?;
        let PgType::Array(of) = array.ty.clone() else { return Ok(None) };
        let column = ScopeColumn {
            name: alias.clone(),
            ty: of.as_ref().clone(),
            column: Column::from_name(ELEMENT),
            origin: (0, 0),
            keeps_modifier: true,
            merged: false,
            hidden: false,
        };
        let table = ScopeTable::unnamed_rows(&alias, vec![column]);
        let scope = Scope::of(table);
        let computed = self.expr(element, &Env::new(&scope, Some(env), "SELECT"))?;
        if !of_element_alone(&computed.expr)? {
            return Ok(None);
        }
        let ty = match computed.ty {
            PgType::Unknown => PgType::Text,
            other => other,
        };
        let schema = Schema::new(vec![of.field(ELEMENT, true)]);
        let udf = map(&computed.expr, Arc::new(schema), &PgType::Array(Arc::new(ty.clone())))?;
        let call = crate::query::functions::scalar::call(&udf, vec![array.expr]);
        Ok(Some(Bound::new(call, PgType::Array(Arc::new(ty)))))
    }
}

/// Lists of what `expr` makes of the elements of lists; a null list has none.
fn map(expr: &Expr, schema: Arc<Schema>, returns: &PgType) -> Result<Arc<ScalarUDF>, SqlError> {
    let physical = create_physical_expr(
        expr,
        &DFSchema::try_from(schema.clone()).map_err(sql_error)?,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .map_err(sql_error)?;
    let list_type = returns.arrow_type();
    let DataType::List(field) = list_type.clone() else {
        return Err(SqlError::internal(format!("{list_type} is no list")));
    };
    let compute = over_arrays(move |args| {
        let list = args[0].as_list_opt::<i32>().ok_or_else(|| internal("unnest of no list"))?;
        let values = evaluate(&physical, &schema, list.values().clone())?;
        let values = arrow::compute::cast(&values, field.data_type()).map_err(internal)?;
        // The places of a null list's elements are no matter: they are none.
        let lengths = (0..list.len()).map(|row| list.value(row).len());
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
        let first = list.value_offsets().first().copied().unwrap_or(0) as usize;
        let used = offsets.last().copied().unwrap_or(0) as usize;
        let mapped = ListArray::try_new(field.clone(), offsets, values.slice(first, used), None);
        Ok(Arc::new(mapped.map_err(internal)?) as ArrayRef)
    });
    Ok(sees_nulls("array_map", expr.to_string(), list_type, true, compute))
}

fn evaluate(
    expr: &Arc<dyn PhysicalExpr>,
    schema: &Arc<Schema>,
    values: ArrayRef,
) -> Result<ArrayRef, SqlError> {
    let rows = values.len();
    let batch = RecordBatch::try_new(schema.clone(), vec![values]).map_err(internal)?;
    expr.evaluate(&batch).and_then(|result| result.into_array(rows)).map_err(sql_error)
}
