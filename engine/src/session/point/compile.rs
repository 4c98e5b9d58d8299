//! Logical plans to plans that are run here.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::new_null_array,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{
        Column, DFSchema, DFSchemaRef,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    logical_expr::{
        Expr, FetchType, LogicalPlan, SkipType, TableScan, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::create_physical_expr,
};

use super::{Computed, Evaluated, Lookup, LookupColumn, Node, PointPlan};
use crate::query::{
    functions::is_costly,
    scan::{KeyLookup, Known, StoredTable, param_index},
};

/// Most rows of VALUES that are evaluated here, one by one.
const VALUES_MAX: usize = 1000;

pub(super) fn compile(plan: &LogicalPlan, props: &ExecutionProps) -> Option<PointPlan> {
    let mut compiler = Compiler { props, lookup: None };
    let root = compiler.node(plan, &Needed::All)?;
    let schema = nullable(plan.schema(), &[]);
    Some(PointPlan { root, schema, lookup: compiler.lookup })
}

/// The columns that what is above reads, by place.
enum Needed {
    All,
    These(BTreeSet<usize>),
}

impl Needed {
    fn has(&self, column: usize) -> bool {
        match self {
            Self::All => true,
            Self::These(columns) => columns.contains(&column),
        }
    }

    /// With those of `exprs` over `schema`; `None` if they name others.
    fn with<'a>(
        &self,
        exprs: impl IntoIterator<Item = &'a Expr>,
        schema: &DFSchema,
    ) -> Option<Self> {
        let Self::These(columns) = self else { return Some(Self::All) };
        let mut columns = columns.clone();
        for expr in exprs {
            expr.apply(|expr| {
                if let Expr::Column(column) = expr {
                    columns.insert(schema.index_of_column(column)?);
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .ok()?;
        }
        Some(Self::These(columns))
    }
}

struct Compiler<'a> {
    props: &'a ExecutionProps,
    lookup: Option<KeyLookup>,
}

impl Compiler<'_> {
    fn node(&mut self, plan: &LogicalPlan, needed: &Needed) -> Option<Node> {
        match plan {
            LogicalPlan::Projection(projection) => {
                if projection.expr.iter().any(is_complex) {
                    return None;
                }
                let schema = projection.input.schema();
                let below = Needed::These(BTreeSet::new()).with(&projection.expr, schema)?;
                let input = Box::new(self.node(&projection.input, &below)?);
                let types = projection.schema.fields().iter().map(|field| field.data_type());
                let columns = projection.expr.iter().zip(types);
                let columns = columns.map(|(expr, t)| self.computed(expr, schema, t));
                Some(Node::Project { input, columns: columns.collect::<Option<_>>()? })
            }
            LogicalPlan::Filter(filter) => {
                if is_complex(&filter.predicate) {
                    return None;
                }
                let schema = filter.input.schema();
                let below = needed.with([&filter.predicate], schema)?;
                let input = match scan_below(&filter.input) {
                    Some(scan) => self.pinned(scan, Some(&filter.predicate), &below)?,
                    None => self.node(&filter.input, &below)?,
                };
                let predicate = self.evaluated(&filter.predicate, schema)?;
                Some(Node::Filter { input: Box::new(input), predicates: vec![predicate] })
            }
            LogicalPlan::TableScan(scan) if !scan.filters.is_empty() => {
                self.pinned(scan, None, needed)
            }
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, needed),
            LogicalPlan::Values(values) if values.values.len() <= VALUES_MAX => {
                self.values(&values.schema, &values.values)
            }
            LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty() => {
                Some(Node::Rows(usize::from(empty.produce_one_row)))
            }
            LogicalPlan::Limit(limit) => {
                let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
                    (limit.get_skip_type(), limit.get_fetch_type())
                else {
                    return None;
                };
                let input = Box::new(self.node(&limit.input, needed)?);
                Some(Node::Limit { input, skip, fetch: fetch.unwrap_or(usize::MAX) })
            }
            LogicalPlan::Sort(sort) => {
                Some(Node::Sorted(Box::new(self.node(&sort.input, needed)?)))
            }
            _ => None,
        }
    }

    /// The row of a scan whose key `predicate` and the scan's own filters pin.
    fn pinned(
        &mut self,
        scan: &TableScan,
        predicate: Option<&Expr>,
        needed: &Needed,
    ) -> Option<Node> {
        if self.lookup.is_some() || scan.fetch.is_some() || scan.filters.iter().any(is_complex) {
            return None;
        }
        let provider = source_as_provider(&scan.source).ok()?;
        let table = provider.downcast_ref::<StoredTable>()?;
        let filters: Vec<&Expr> = scan.filters.iter().chain(predicate).collect();
        // Filters of the scan may read what it does not give.
        let plain = scan.filters.is_empty();
        let source = scan.source.schema();
        let given: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..source.fields().len()).collect(),
        };
        if !plain && scan.projection.is_some() {
            return None;
        }
        let is_read = |place: usize| !plain || needed.has(place);
        let mut read = Vec::new();
        let mut columns = Vec::with_capacity(given.len());
        for (place, index) in given.iter().enumerate() {
            columns.push(if is_read(place) {
                read.push(*index);
                LookupColumn::Read(read.len() - 1)
            } else {
                LookupColumn::Unread(new_null_array(source.field(*index).data_type(), 1))
            });
        }
        self.lookup = Some(table.pinned(scan.table_name.table(), &filters, &read)?);
        let lookup = Node::Lookup(Lookup { columns });
        if plain {
            return Some(lookup);
        }
        let schema = &scan.projected_schema;
        let predicates = scan.filters.iter().map(|filter| self.evaluated(filter, schema));
        let predicates = predicates.collect::<Option<Vec<_>>>()?;
        Some(Node::Filter { input: Box::new(lookup), predicates })
    }

    fn values(&self, schema: &DFSchemaRef, rows: &[Vec<Expr>]) -> Option<Node> {
        if rows.iter().flatten().any(is_complex) {
            return None;
        }
        let empty = DFSchema::empty();
        let types: Vec<DataType> =
            schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let row = |row: &Vec<Expr>| {
            let values = row.iter().zip(&types);
            values.map(|(expr, t)| self.computed(expr, &empty, t)).collect::<Option<Vec<_>>>()
        };
        let rows = rows.iter().map(row).collect::<Option<Vec<_>>>()?;
        Some(Node::Values { rows, types })
    }

    fn computed(&self, expr: &Expr, schema: &DFSchema, data_type: &DataType) -> Option<Computed> {
        let mut plain = expr;
        while let Expr::Alias(alias) = plain {
            plain = &alias.expr;
        }
        if let Expr::Column(column) = plain {
            return Some(Computed::Column(schema.index_of_column(column).ok()?));
        }
        match Known::of(plain) {
            Some(known) => Some(Computed::Known(known)),
            None => Some(Computed::Evaluated(self.evaluated(plain, schema)?, data_type.clone())),
        }
    }

    /// `expr` over the columns of `schema`, with its parameters as columns behind them.
    fn evaluated(&self, expr: &Expr, schema: &DFSchema) -> Option<Evaluated> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let mut params = Vec::new();
        let expr = expr
            .clone()
            .transform(|expr| {
                let Expr::Placeholder(placeholder) = &expr else {
                    return Ok(Transformed::no(expr));
                };
                let (Some(index), Some(field)) = (param_index(placeholder), &placeholder.field)
                else {
                    return datafusion::common::plan_err!("{} has no type", placeholder.id);
                };
                if !params.contains(&index) {
                    params.push(index);
                    let field = Field::new(&placeholder.id, field.data_type().clone(), true);
                    fields.push(Arc::new(field));
                }
                let column = Column::new_unqualified(placeholder.id.clone());
                Ok(Transformed::yes(Expr::Column(column)))
            })
            .ok()?
            .data;
        let arrow = nullable(schema, &fields);
        let physical = if params.is_empty() {
            create_physical_expr(&expr, schema, self.props, &PhysicalPlanningContext::default())
        } else {
            let fields = fields.into_iter().collect::<Vec<_>>();
            let behind = DFSchema::from_unqualified_fields(fields.into(), Default::default());
            // A column of a parameter's name is taken for none.
            let joined = schema.join(&behind.ok()?).ok()?;
            create_physical_expr(&expr, &joined, self.props, &PhysicalPlanningContext::default())
        };
        Some(Evaluated { expr: physical.ok()?, schema: arrow, params: params.into() })
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
        ))
    })
    .unwrap_or(true)
}

/// The fields of `schema` and `more`; NULLs that a plan denies may still come.
fn nullable(schema: &DFSchema, more: &[Arc<Field>]) -> SchemaRef {
    let fields = schema.fields().iter().chain(more);
    let fields = fields.map(|field| Field::clone(field).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
