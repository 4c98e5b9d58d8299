//! WITH RECURSIVE for every outer binding there is.
//!
//! The rows of each step carry the binding they belong to, as those of the first do: the work table
//! has the domain's columns, too.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    catalog::cte_worktable::CteWorkTable,
    common::{Column, tree_node::TreeNode},
    datasource::{provider_as_source, source_as_provider},
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan,
        logical_plan::TableScanBuilder,
    },
};

use super::{
    super::Planner,
    dependent::{Dependent, Domain, exactly},
    outer::{named_as, plan_refers},
    per_row::is_volatile,
    project,
};
use crate::{error::SqlError, query::errors::sql_error};

/// A work table with the columns of a domain beside its own.
#[derive(Clone)]
pub(in crate::query::planner) struct WorkTable {
    /// The name of the one without.
    of: String,
    scan: LogicalPlan,
    /// The domain's columns.
    columns: Vec<Column>,
}

/// Whether a scan is of what the step before gave.
pub(super) fn is_work_table(scan: &TableScan) -> bool {
    source_as_provider(&scan.source)
        .is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some())
}

impl Planner<'_> {
    /// Whether a plan has to be computed for each binding of outer columns: it refers to them, by
    /// itself or through a work table, or gives something else each time.
    pub(super) fn depends(
        &self,
        plan: &LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<bool, SqlError> {
        if plan_refers(plan, ours)? || is_volatile(plan)? {
            return Ok(true);
        }
        if self.work_tables.is_empty() {
            return Ok(false);
        }
        let carries = |node: &LogicalPlan| {
            Ok(matches!(node, LogicalPlan::TableScan(scan) if self.work_table(scan).is_some()))
        };
        plan.exists(carries).map_err(sql_error)
    }

    fn work_table(&self, scan: &TableScan) -> Option<&WorkTable> {
        self.work_tables.iter().find(|table| table.of == scan.table_name.table())
    }

    pub(super) fn dependent_recursion(
        &mut self,
        node: RecursiveQuery,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let own = node.static_term.schema().columns();
        let start = Arc::unwrap_or_clone(node.static_term);
        let (start, columns) = self.dependent(start, domain, ours)?;
        let start = exactly(start, own.clone(), &columns)?;
        let name = self.unique_qualifier(&node.name).to_string();
        let fields = start.schema().fields().iter();
        let fields: Vec<_> = fields.map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let work = CteWorkTable::new(&name, Arc::new(Schema::new(fields)));
        let scan = TableScanBuilder::new(name.clone(), provider_as_source(Arc::new(work)))
            .build()
            .map_err(sql_error)?;
        let scan = LogicalPlan::TableScan(scan);
        let shown = node.recursive_term.schema().columns();
        self.work_tables.push(WorkTable { of: node.name, scan, columns: columns.clone() });
        let step = self.dependent(Arc::unwrap_or_clone(node.recursive_term), domain, ours);
        self.work_tables.pop();
        let (step, bindings) = step?;
        let mut exprs = Vec::with_capacity(own.len() + columns.len());
        for (column, name) in shown.into_iter().chain(bindings).zip(own.iter().chain(&columns)) {
            exprs.push(named_as(Expr::Column(column), name));
        }
        let plan = LogicalPlanBuilder::new(start)
            .to_recursive_query(name, project(step, exprs)?, node.is_distinct)
            .and_then(|builder| builder.build())
            .map_err(sql_error)?;
        Ok((plan, columns))
    }

    /// The work table with the binding of each row.
    pub(super) fn dependent_work_table(
        &mut self,
        scan: &TableScan,
        domain: &Domain,
    ) -> Result<Dependent, SqlError> {
        let Some(table) = self.work_table(scan).cloned() else {
            return Err(SqlError::internal(format!("{} refers to nothing", scan.table_name)));
        };
        let from = |name: &str| {
            let column = table.scan.schema().columns().into_iter().find(|c| c.name == name);
            column.map(Expr::Column).ok_or_else(|| {
                SqlError::internal(format!("no column {name} in {}", scan.table_name))
            })
        };
        let mut exprs = Vec::new();
        for column in scan.projected_schema.columns() {
            exprs.push(named_as(from(&column.name)?, &column));
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for (column, outer) in table.columns.iter().zip(&domain.outer) {
            let name = self.fresh_name(&format!("__{}", outer.name));
            exprs.push(from(&column.name)?.alias(&name));
            columns.push(Column::from_name(name));
        }
        Ok((project(table.scan.clone(), exprs)?, columns))
    }
}
