//! A system table for DataFusion: its rows are made when it is scanned, those and of those only what
//! the scan needs.

use std::{borrow::Cow, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider, memory::MemorySourceConfig},
    common::DFSchema,
    error::Result,
    logical_expr::{EmptyRelation, Expr, LogicalPlan, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};

use super::{definitions::Definition, restriction::Restriction, tables::is_always_empty};

/// What a scan needs.
pub(super) struct Wanted<'s> {
    /// Places of the columns; `None` for all.
    pub(super) columns: Option<&'s [usize]>,
    pub(super) relations: Restriction,
}

/// Makes the rows of a table; holds what they are made of.
pub(super) type MakeRows = Box<dyn Fn(Wanted<'_>) -> Result<RecordBatch> + Send + Sync>;

pub(super) struct SystemTableProvider {
    definition: &'static Definition,
    rows: MakeRows,
}

impl SystemTableProvider {
    pub(super) fn new(definition: &'static Definition, rows: MakeRows) -> Self {
        Self { definition, rows }
    }
}

impl fmt::Debug for SystemTableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemTable({}.{})", self.definition.schema, self.definition.name)
    }
}

#[async_trait]
impl TableProvider for SystemTableProvider {
    fn schema(&self) -> SchemaRef {
        self.definition.arrow.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        if !is_always_empty(self.definition) {
            return None;
        }
        let schema = DFSchema::try_from(self.schema()).ok()?;
        let empty = EmptyRelation { produce_one_row: false, schema: Arc::new(schema) };
        Some(Cow::Owned(LogicalPlan::EmptyRelation(empty)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match Restriction::uses(self.definition, filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let relations = Restriction::new(self.definition, filters);
        let columns = projection.map(Vec::as_slice);
        let rows = (self.rows)(Wanted { columns, relations })?;
        let schema = rows.schema();
        let plan = MemorySourceConfig::try_new_exec(&[vec![rows]], schema, None)?;
        Ok(plan)
    }
}
