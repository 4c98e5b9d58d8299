//! Logical plans to plans that are run here.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::new_null_array,
    compute::SortOptions,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{
        Column, DFSchema, DFSchemaRef,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    logical_expr::{
        Expr, ExprSchemable, Limit, LogicalPlan, Sort, TableScan, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext, utils::split_conjunction,
    },
    physical_expr::create_physical_expr,
    scalar::ScalarValue,
};

use super::{Computed, Evaluated, Lookup, LookupColumn, Node, PointPlan, RowLimit};
use crate::query::{
    functions::is_costly,
    scan::{KeyAccess, KeyOrder, Known, StoredTable, param_index},
};

/// Most rows of VALUES that are evaluated here, one by one.
const VALUES_MAX: usize = 1000;

pub(super) fn compile(plan: &LogicalPlan, props: &ExecutionProps) -> Option<PointPlan> {
    let mut compiler = Compiler::new(props);
    let root = compiler.node(plan, &Needed::All, true)?;
    let schema = nullable(plan.schema(), &[]);
    let Compiler { access, order, limit, filters, .. } = compiler;
    // The rows of a whole table are little only if they are the first ones, and each of them counts.
    let all = matches!(&access, Some(KeyAccess::Ranges(all)) if all.is_everything());
    if all && (limit.is_none() || order.is_none() || !filters.is_empty()) {
        return None;
    }
    Some(PointPlan { root, schema, access, order, limit, filters })
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
    access: Option<KeyAccess>,
    order: Option<KeyOrder>,
    limit: Option<RowLimit>,
    /// There are nodes that need all rows of their input at once.
    needs_all: bool,
    filters: Vec<Expr>,
}

impl<'a> Compiler<'a> {
    fn new(props: &'a ExecutionProps) -> Self {
        Self {
            props,
            access: None,
            order: None,
            limit: None,
            needs_all: false,
            filters: Vec::new(),
        }
    }

    /// `on_top`: what is above gives a row for each row of this.
    fn node(&mut self, plan: &LogicalPlan, needed: &Needed, on_top: bool) -> Option<Node> {
        match plan {
            LogicalPlan::Projection(projection) => {
                if projection.expr.iter().any(is_complex) {
                    return None;
                }
                let schema = projection.input.schema();
                let below = Needed::These(BTreeSet::new()).with(&projection.expr, schema)?;
                let input = Box::new(self.node(&projection.input, &below, on_top)?);
                let types = projection.schema.fields().iter().map(|field| field.data_type());
                let columns = projection.expr.iter().zip(types);
                let columns = columns.map(|(expr, t)| self.computed(expr, schema, t));
                Some(Node::Project { input, columns: columns.collect::<Option<_>>()? })
            }
            LogicalPlan::Filter(filter) => {
                if is_complex(&filter.predicate) {
                    return None;
                }
                let Some(scan) = scan_below(&filter.input) else {
                    let schema = filter.input.schema();
                    let below = needed.with([&filter.predicate], schema)?;
                    let input = Box::new(self.node(&filter.input, &below, false)?);
                    self.filters.push(filter.predicate.clone());
                    let predicates = vec![self.evaluated(&filter.predicate, schema)?];
                    return Some(Node::Filter { input, predicates });
                };
                self.by_key(scan, Some((&filter.predicate, filter.input.schema())), needed)
            }
            LogicalPlan::TableScan(scan) => self.by_key(scan, None, needed),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, needed, on_top),
            LogicalPlan::Values(values) if values.values.len() <= VALUES_MAX => {
                self.values(&values.schema, &values.values)
            }
            LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty() => {
                Some(Node::Rows(usize::from(empty.produce_one_row)))
            }
            LogicalPlan::Limit(limit) => self.limited(limit, needed, on_top),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.sorted(sort, needed),
            _ => None,
        }
    }

    fn limited(&mut self, limit: &Limit, needed: &Needed, on_top: bool) -> Option<Node> {
        let input = self.node(&limit.input, needed, false)?;
        let rows = |expr: &Option<Box<Expr>>, none| match expr {
            Some(expr) => Known::of(expr),
            None => Some(Known::Literal(ScalarValue::Int64(none))),
        };
        let (skip, fetch) = (rows(&limit.skip, Some(0))?, rows(&limit.fetch, None)?);
        let limit = RowLimit { skip, fetch };
        if on_top && !self.needs_all && matches!(self.access, Some(KeyAccess::Ranges(_))) {
            self.limit = Some(limit);
            return Some(input);
        }
        self.needs_all = true;
        Some(Node::Limit { input: Box::new(input), limit })
    }

    fn sorted(&mut self, sort: &Sort, needed: &Needed) -> Option<Node> {
        let schema = sort.input.schema();
        if sort.expr.iter().any(|by| is_complex(&by.expr)) {
            return None;
        }
        let below = needed.with(sort.expr.iter().map(|by| &by.expr), schema)?;
        let input = self.node(&sort.input, &below, false)?;
        let Some(KeyAccess::Ranges(ranges)) = &self.access else {
            return Some(Node::Sorted(Box::new(input)));
        };
        let same_way = sort.expr.iter().all(|by| by.asc == sort.expr[0].asc);
        let columns = sort.expr.iter().map(|by| match &by.expr {
            Expr::Column(column) => origin(&sort.input, schema.index_of_column(column).ok()?),
            _ => None,
        });
        let columns: Option<Vec<usize>> = columns.collect();
        if same_way
            && !self.needs_all
            && self.limit.is_none()
            && columns.is_some_and(|columns| ranges.is_order(&columns))
        {
            // Keys are never NULL.
            let ascending = sort.expr.first().is_none_or(|by| by.asc);
            self.order = Some(if ascending { KeyOrder::Forward } else { KeyOrder::Backward });
            return Some(input);
        }
        let by = sort.expr.iter().map(|by| {
            let data_type = by.expr.get_type(schema).ok()?;
            let options = SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
            Some((self.computed(&by.expr, schema, &data_type)?, options))
        });
        let by = by.collect::<Option<Vec<_>>>()?;
        self.needs_all = true;
        Some(Node::Sort { input: Box::new(input), by })
    }

    /// The rows of a scan that its filters, and one above it, lead to by key.
    fn by_key(
        &mut self,
        scan: &TableScan,
        above: Option<(&Expr, &DFSchema)>,
        needed: &Needed,
    ) -> Option<Node> {
        if self.access.is_some() || scan.fetch.is_some() || scan.filters.iter().any(is_complex) {
            return None;
        }
        let provider = source_as_provider(&scan.source).ok()?;
        let table = provider.downcast_ref::<StoredTable>()?;
        let filters = scan.filters.iter().chain(above.map(|(predicate, _)| predicate));
        let conjuncts: Vec<&Expr> = filters.flat_map(split_conjunction).collect();
        let (condition, implied) = table.by_key(&conjuncts, self.props)?;
        // Filters of the scan may read what it does not give.
        let plain = scan.filters.is_empty();
        if !plain && scan.projection.is_some() {
            return None;
        }
        let rest = match above {
            None => None,
            Some((predicate, _)) if !plain => Some(predicate.clone()),
            Some(_) => {
                let left = conjuncts.iter().zip(&implied).filter(|(_, implied)| !**implied);
                left.map(|(conjunct, _)| (*conjunct).clone()).reduce(Expr::and)
            }
        };
        let needed = match (&rest, above) {
            (Some(rest), Some((_, schema))) => &needed.with([rest], schema)?,
            _ => needed,
        };
        let source = scan.source.schema();
        let given: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..source.fields().len()).collect(),
        };
        let mut read = Vec::new();
        let mut columns = Vec::with_capacity(given.len());
        for (place, index) in given.iter().enumerate() {
            columns.push(if !plain || needed.has(place) {
                read.push(*index);
                LookupColumn::Read(read.len() - 1)
            } else {
                LookupColumn::Unread(new_null_array(source.field(*index).data_type(), 1))
            });
        }
        self.access = Some(table.access(scan.table_name.table(), condition, &read));
        let mut node = Node::Lookup(Lookup { columns });
        let mut predicates = Vec::new();
        for filter in &scan.filters {
            predicates.push(self.evaluated(filter, &scan.projected_schema)?);
        }
        if let (Some(rest), Some((_, schema))) = (&rest, above) {
            predicates.push(self.evaluated(rest, schema)?);
        }
        if !predicates.is_empty() {
            self.filters.extend(scan.filters.iter().cloned().chain(rest));
            node = Node::Filter { input: Box::new(node), predicates };
        }
        Some(node)
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

/// The column of the scan's provider that a column of a plan shows.
fn origin(plan: &LogicalPlan, column: usize) -> Option<usize> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(column)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(column) = expr else { return None };
            origin(&projection.input, projection.input.schema().index_of_column(column).ok()?)
        }
        LogicalPlan::Filter(filter) => origin(&filter.input, column),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, column),
        LogicalPlan::TableScan(scan) => match &scan.projection {
            Some(projection) => projection.get(column).copied(),
            None => Some(column),
        },
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
