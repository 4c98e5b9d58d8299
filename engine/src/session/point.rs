//! The short way for small plans: rows by primary key, VALUES, and what is computed from them,
//! without optimizer and operators.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::Schema,
};
use datafusion::{
    common::{DFSchema, DFSchemaRef, Result, tree_node::TreeNode},
    datasource::source_as_provider,
    logical_expr::{
        Expr, FetchType, LogicalPlan, SkipType, TableScan, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::create_physical_expr,
    scalar::ScalarValue,
};

use super::errors::storage_error;
use crate::{
    error::SqlError,
    query::{
        errors::{external, sql_error},
        functions::is_costly,
        scan::{StatementView, StoredTable},
    },
};

/// Most rows of VALUES that are evaluated here, one by one.
const VALUES_MAX: usize = 1000;

/// The rows of `plan`, in one batch; `None` if it is not small enough to be seen as such at once.
pub(super) fn evaluate(
    view: &StatementView,
    plan: &LogicalPlan,
    props: &ExecutionProps,
) -> std::result::Result<Option<RecordBatch>, SqlError> {
    Point { view, props }.evaluate(plan).map_err(sql_error)
}

struct Point<'a> {
    view: &'a StatementView,
    props: &'a ExecutionProps,
}

impl Point<'_> {
    fn evaluate(&self, plan: &LogicalPlan) -> Result<Option<RecordBatch>> {
        match plan {
            LogicalPlan::Projection(projection) => {
                if projection.expr.iter().any(is_complex) {
                    return Ok(None);
                }
                let Some(input) = self.evaluate(&projection.input)? else { return Ok(None) };
                let mut columns = Vec::with_capacity(projection.expr.len());
                for expr in &projection.expr {
                    columns.push(self.compute(expr, projection.input.schema(), &input)?);
                }
                relabel(&projection.schema, columns, input.num_rows()).map(Some)
            }
            LogicalPlan::Filter(filter) => {
                if is_complex(&filter.predicate) {
                    return Ok(None);
                }
                let input = match scan_below(&filter.input) {
                    Some(scan) => self.pinned(scan, Some(&filter.predicate))?,
                    None => self.evaluate(&filter.input)?,
                };
                let Some(input) = input else { return Ok(None) };
                self.filter(&filter.predicate, filter.input.schema(), input).map(Some)
            }
            LogicalPlan::TableScan(scan) if !scan.filters.is_empty() => self.pinned(scan, None),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.evaluate(&alias.input)? else { return Ok(None) };
                relabel(&alias.schema, input.columns().to_vec(), input.num_rows()).map(Some)
            }
            LogicalPlan::Values(values) if values.values.len() <= VALUES_MAX => {
                self.values(&values.schema, &values.values)
            }
            LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty() => {
                relabel(&empty.schema, Vec::new(), usize::from(empty.produce_one_row)).map(Some)
            }
            LogicalPlan::Limit(limit) => {
                let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
                    (limit.get_skip_type()?, limit.get_fetch_type()?)
                else {
                    return Ok(None);
                };
                let Some(input) = self.evaluate(&limit.input)? else { return Ok(None) };
                let start = skip.min(input.num_rows());
                let rows = fetch.unwrap_or(usize::MAX).min(input.num_rows() - start);
                Ok(Some(input.slice(start, rows)))
            }
            LogicalPlan::Sort(sort) => {
                // One row is sorted.
                Ok(self.evaluate(&sort.input)?.filter(|input| input.num_rows() <= 1))
            }
            _ => Ok(None),
        }
    }

    fn compute(&self, expr: &Expr, schema: &DFSchema, input: &RecordBatch) -> Result<ArrayRef> {
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(expr, schema, self.props, &context)?;
        physical.evaluate(input)?.into_array(input.num_rows())
    }

    fn filter(
        &self,
        predicate: &Expr,
        schema: &DFSchema,
        input: RecordBatch,
    ) -> Result<RecordBatch> {
        if input.num_rows() == 0 {
            return Ok(input);
        }
        let mask = self.compute(predicate, schema, &input)?;
        let mask: &BooleanArray = mask.as_boolean();
        Ok(filter_record_batch(&input, mask)?)
    }

    /// The row of a scan whose key `predicate` and the scan's own filters pin.
    fn pinned(&self, scan: &TableScan, predicate: Option<&Expr>) -> Result<Option<RecordBatch>> {
        if scan.filters.iter().any(is_complex) {
            return Ok(None);
        }
        let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
        let Some(table) = provider.downcast_ref::<StoredTable>() else { return Ok(None) };
        let filters: Vec<&Expr> = scan.filters.iter().chain(predicate).collect();
        let row = table.pinned_row(self.view, &filters);
        let Some(mut row) = row.map_err(|error| external(storage_error(error)))? else {
            return Ok(None);
        };
        if !scan.filters.is_empty() {
            let schema = DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                row.schema().as_ref(),
            )?;
            for filter in &scan.filters {
                row = self.filter(filter, &schema, row)?;
            }
        }
        let columns = match &scan.projection {
            Some(projection) => projection.iter().map(|i| Arc::clone(row.column(*i))).collect(),
            None => row.columns().to_vec(),
        };
        relabel(&scan.projected_schema, columns, row.num_rows()).map(Some)
    }

    fn values(&self, schema: &DFSchemaRef, rows: &[Vec<Expr>]) -> Result<Option<RecordBatch>> {
        if rows.iter().flatten().any(is_complex) {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let nothing =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let empty = DFSchema::empty();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for column in 0..schema.fields().len() {
            let mut values = Vec::with_capacity(rows.len());
            for row in rows {
                values.push(match &row[column] {
                    Expr::Literal(value, _) => value.clone(),
                    expr => {
                        let array = self.compute(expr, &empty, &nothing)?;
                        ScalarValue::try_from_array(&array, 0)?
                    }
                });
            }
            let wanted = schema.field(column).data_type();
            let values = values.into_iter().map(|value| {
                if value.data_type() == *wanted { Ok(value) } else { value.cast_to(wanted) }
            });
            columns.push(ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)?);
        }
        relabel(schema, columns, rows.len()).map(Some)
    }
}

/// The scan that a filter stands on.
fn scan_below(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::SubqueryAlias(alias) => scan_below(&alias.input),
        _ => None,
    }
}

/// Whether an expression needs more than the row it stands on, or much work.
fn is_complex(expr: &Expr) -> bool {
    expr.exists(|expr| {
        if let Expr::ScalarFunction(call) = expr {
            return Ok(is_costly(call.func.name()));
        }
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::GroupingSet(_)
                | Expr::Unnest(_)
                | Expr::Placeholder(_)
        ))
    })
    .unwrap_or(true)
}

/// Columns under the names and types of a plan's schema.
fn relabel(schema: &DFSchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = schema.fields().iter().zip(&columns).map(|(field, column)| {
        // An expression may yield another type than was planned, and NULLs the plan denies: what
        // is there counts.
        let field = field.as_ref().clone();
        let nullable = field.is_nullable() || column.null_count() > 0;
        field.with_data_type(column.data_type().clone()).with_nullable(nullable)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
