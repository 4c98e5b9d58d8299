//! Statements to logical plans.

mod aggregates;
mod array_map;
mod arrays;
mod bound;
mod calls;
mod changes_in_with;
mod coerce;
mod collations;
mod date_calls;
mod decorrelate;
mod distinct_on;
mod dml;
mod expanded_array;
mod expressions;
mod frames;
mod from;
mod grouping;
mod grouping_sets;
mod guards;
mod json;
mod json_records;
mod lateral;
mod like_any;
mod limit;
mod literals;
mod named_arguments;
mod names;
mod nulls;
mod numbers;
mod operator_names;
mod operators;
mod ordered_sets;
mod outer_aggregates;
mod parameters;
mod parts;
mod positions;
mod precedence;
mod query;
mod records;
mod recursive;
mod resolver;
mod row_numbers;
mod row_order;
mod rows;
mod sample;
mod scope;
mod search_cycle;
mod select;
mod session_functions;
mod subqueries;
mod suggestions;
mod table_lists;
mod unnest;
mod updatability;
mod variadic;
mod views;
mod windows;
mod with_items;
mod with_queries;

use std::{collections::HashSet, ops::Range, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, tree_node::TreeNode},
    logical_expr::{Expr, LogicalPlan},
    sql::sqlparser::ast,
};

pub(crate) use self::coerce::depends_on_now;
pub(crate) use self::guards::can_fail;
pub use self::names::column_name;
pub(crate) use self::operators::is_comparison;
pub use self::precedence::reassociated;
pub use self::resolver::{
    FUNCTIONS_SCHEMA, LOCATOR_COLUMNS, ROW_COLUMN, ROW_ID_COLUMN, ResolvedColumn, ResolvedKind,
    ResolvedTable, SEGMENT_COLUMN, TableResolver, effective_search_path,
};
pub use self::row_numbers::is_row_count_window;
pub use self::session_functions::VERSION;
pub use self::updatability::DmlVerb;
pub use self::views::{QueryNames, ViewQuery, plan_refresh, plan_view};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::Functions,
        parser,
        returned_rows::ReturnedRows,
        statement::{Statement, StatementKind},
    },
    session::{api::FieldDescription, transaction_ids::TransactionIds},
    types::{PgType, text::FormatSettings},
};

/// The placeholder of `now()` in plans that are kept. No parameter has this number.
pub const NOW: &str = "$65536";

/// What planning needs to know of its session. Cheap to build per statement.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    pub tables: &'a dyn TableResolver,
    /// Built once per engine; see [`Functions`].
    pub functions: &'a Functions,
    /// As set; `pg_catalog` is searched first unless it is listed.
    pub search_path: &'a [String],
    pub database: &'a str,
    /// `current_user`.
    pub role: &'a str,
    pub session_role: &'a str,
    /// `now()`: microseconds since 1970-01-01 UTC.
    pub transaction_start_us: i64,
    /// Whether `now()` may stay open in the plan, as the placeholder [`NOW`].
    pub now_stays_open: bool,
    /// `statement_timestamp()`.
    pub statement_start_us: i64,
    /// The session's time zone and how it reads and writes values.
    pub format: &'a FormatSettings,
    /// Backend process id, for `pg_backend_pid()`.
    pub process_id: i32,
    /// The transaction's number, for `txid_current()`; `None` if it has none and is not to get one.
    pub transaction_id: &'a (dyn Fn(bool) -> Option<i64> + Send + Sync),
    /// What became of transactions.
    pub transaction_ids: &'a Arc<TransactionIds>,
    /// For `current_setting(name)` and `SHOW` in queries: the value, if there is such a setting.
    pub setting: &'a (dyn Fn(&str) -> Option<String> + Send + Sync),
}

/// A planned query.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Not optimized. Output columns are those of `fields`, in order; their names are internal and
    /// unique. `$n` are placeholders named `$n`, typed as `params[n-1].arrow_type()`.
    pub plan: LogicalPlan,
    pub params: Vec<PgType>,
    pub fields: Arc<[FieldDescription]>,
    /// False if the plan holds values of this transaction (`now()`, `current_setting(…)`), so that
    /// it must be planned anew next time.
    pub reusable: bool,
    /// To be done by the same statement.
    pub changes: Vec<PlannedChange>,
}

/// An INSERT, UPDATE or DELETE in the WITH of a statement: done by each execution of it, read or not.
#[derive(Clone, Debug)]
pub struct PlannedChange {
    pub verb: DmlVerb,
    pub dml: PlannedDml,
    /// Where what it returns goes.
    pub returned: ReturnedRows,
}

/// A planned INSERT, UPDATE or DELETE: a query whose rows say what to do.
#[derive(Clone, Debug)]
pub struct PlannedDml {
    pub table: ResolvedTable,
    /// Not optimized. At most one row for each locator.
    pub plan: LogicalPlan,
    /// Columns [`LOCATOR_COLUMNS`] of the row to delete; empty for INSERT.
    pub locator: Range<usize>,
    /// Its primary key, in key order; empty for INSERT or without a key.
    pub old_key: Range<usize>,
    /// Every column of the table, in table order, in its own type, defaults filled in; empty for
    /// DELETE. NOT NULL is for the executor to check.
    pub new_row: Range<usize>,
    /// Indexes into the table's columns that the statement assigns (UPDATE SET).
    pub assigned: Vec<usize>,
    /// Columns of RETURNING, described by `fields`; empty without it.
    pub returning: Range<usize>,
    pub fields: Option<Arc<[FieldDescription]>>,
    pub params: Vec<PgType>,
    pub reusable: bool,
    /// To be done by the same statement.
    pub changes: Vec<PlannedChange>,
}

/// A planned expression over the columns of one table.
#[derive(Clone, Debug)]
pub struct PlannedExpr {
    pub expr: Expr,
    pub pg_type: PgType,
    /// What the expression's columns refer to: the table's columns in order.
    pub schema: DFSchemaRef,
}

/// The state of planning one statement.
struct Planner<'a> {
    context: &'a PlanContext<'a>,
    /// For positions of errors.
    statement: Option<&'a Statement>,
    params: Vec<Option<PgType>>,
    params_allowed: bool,
    /// What untyped parameters in the next select list become that are items by themselves: set by
    /// what a query's columns are for, text where it says nothing.
    parameter_types: Vec<PgType>,
    reusable: bool,
    /// Names of tables in the plan.
    qualifiers: HashSet<String>,
    next_id: usize,
    depth: usize,
    /// Subqueries that joins were made of, and what stands for their results.
    attached: Vec<(Expr, Expr)>,
    /// Whether there are subqueries in expressions.
    has_subqueries: bool,
    /// Whether there are shared rows that may stand in one place only.
    shares: bool,
    /// Whether there are copies of rows within this statement's plan, or within one of its changes.
    copies: bool,
    /// At which depth of queries a WITH may change rows; `None`: nowhere.
    changes_at: Option<usize>,
    /// What it changes there.
    changes: Vec<PlannedChange>,
    /// Recursive queries around what is being decorrelated.
    work_tables: Vec<decorrelate::WorkTable>,
    /// Aggregates of queries around, as queries inside refer to them.
    outer_aggregates: Vec<outer_aggregates::OuterAggregate>,
    /// Names of columns in the plan.
    names: HashSet<String>,
    /// How many queries are around.
    queries: usize,
    ctes: Vec<with_queries::Cte>,
    /// The names of the items of every WITH that is being planned, also those not to be seen yet.
    with_names: Vec<Vec<String>>,
    windows: Vec<windows::NamedWindows>,
    /// Names that stand alone in expressions of the statement, once somebody asked for them.
    bare_names: Option<HashSet<String>>,
    /// Of a query that becomes a view's.
    recorder: Option<Box<views::Recorder>>,
}

impl<'a> Planner<'a> {
    fn new(
        context: &'a PlanContext<'a>,
        statement: Option<&'a Statement>,
        param_types: &[Option<PgType>],
    ) -> Self {
        Self {
            context,
            statement,
            params: param_types.to_vec(),
            params_allowed: true,
            parameter_types: Vec::new(),
            reusable: true,
            qualifiers: HashSet::new(),
            next_id: 0,
            depth: 0,
            attached: Vec::new(),
            has_subqueries: false,
            shares: false,
            copies: false,
            changes_at: None,
            changes: Vec::new(),
            work_tables: Vec::new(),
            outer_aggregates: Vec::new(),
            names: HashSet::new(),
            queries: 0,
            ctes: Vec::new(),
            with_names: Vec::new(),
            windows: Vec::new(),
            bare_names: None,
            recorder: None,
        }
    }

    /// The types of all parameters, once the statement is planned.
    fn param_types(&mut self) -> Result<Vec<PgType>, SqlError> {
        self.params
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                ty.clone().filter(|ty| *ty != PgType::Unknown).ok_or_else(|| {
                    let message =
                        format!("could not determine data type of parameter ${}", index + 1);
                    SqlError::new(sqlstate::INDETERMINATE_DATATYPE, message)
                })
            })
            .collect()
    }
}

/// Types a client declares as unknown are inferred like those it does not declare.
fn declared(
    context: &PlanContext<'_>,
    param_types: &[Option<PgType>],
) -> Result<Vec<Option<PgType>>, SqlError> {
    let decided = param_types.iter().map(|ty| ty.as_ref().filter(|t| **t != PgType::Unknown));
    decided.map(|ty| ty.map(|ty| resolved_type(context, ty)).transpose()).collect()
}

/// Plans a [`StatementKind::Query`]. `param_types`: what the client declared of `$1`…; the rest is
/// inferred.
pub fn plan_query(
    context: &PlanContext<'_>,
    statement: &Statement,
    param_types: &[Option<PgType>],
) -> Result<Planned, SqlError> {
    let StatementKind::Query(query) = &statement.kind else {
        return Err(SqlError::internal(format!("{} planned as a query", statement.command())));
    };
    let mut planner = Planner::new(context, Some(statement), &declared(context, param_types)?);
    planner.changes_at = Some(1);
    let (plan, columns) = planner.query(query, None)?;
    let (plan, columns) = planner.decided(plan, columns)?;
    planner.planned(plan, columns)
}

/// Plans the query of CREATE TABLE AS: decimals that the query computes become numeric without
/// precision, as the new table's column is.
pub fn plan_create_table_as(
    context: &PlanContext<'_>,
    query: &Statement,
    param_types: &[Option<PgType>],
) -> Result<Planned, SqlError> {
    let StatementKind::Query(ast) = &query.kind else {
        return Err(SqlError::internal(format!("{} planned as a query", query.command())));
    };
    let mut planner = Planner::new(context, Some(query), &declared(context, param_types)?);
    let (plan, columns) = planner.query(ast, None)?;
    let (plan, columns) = planner.decided(plan, columns)?;
    let (plan, columns) = planner.stored_columns(plan, columns)?;
    planner.planned(plan, columns)
}

impl Planner<'_> {
    /// A result as a relation keeps it: decimals that are computed become numeric without precision.
    fn stored_columns(
        &mut self,
        plan: LogicalPlan,
        columns: Vec<query::OutputColumn>,
    ) -> Result<query::QueryPlan, SqlError> {
        let mut items = Vec::with_capacity(columns.len());
        for column in columns {
            let name = datafusion::common::Column::from_name(&column.internal);
            let mut bound = bound::Bound::new(Expr::Column(name), column.ty);
            if matches!(bound.ty, PgType::Numeric(Some(_))) && !column.keeps_modifier {
                bound = bound::Bound::new(self.bare(bound)?, PgType::Numeric(None));
            }
            items.push((column.name, bound, column.origin, column.keeps_modifier));
        }
        self.project_output(plan, items)
    }

    fn planned(
        &mut self,
        plan: LogicalPlan,
        columns: Vec<query::OutputColumn>,
    ) -> Result<Planned, SqlError> {
        let fields = columns.into_iter().map(|column| FieldDescription {
            name: column.name,
            pg_type: column.ty,
            table_oid: column.origin.0,
            column_number: column.origin.1,
            shows_modifier: column.keeps_modifier,
        });
        let fields: Arc<[FieldDescription]> = fields.collect();
        let plan = guards::guard(self.decorrelate(plan)?)?;
        let changes = self.planned_changes()?;
        let (params, reusable) = (self.param_types()?, self.reusable);
        Ok(Planned { plan, params, fields, reusable, changes })
    }
}

/// Plans an INSERT, UPDATE or DELETE.
pub fn plan_dml(
    context: &PlanContext<'_>,
    statement: &Statement,
    param_types: &[Option<PgType>],
) -> Result<PlannedDml, SqlError> {
    let mut planner = Planner::new(context, Some(statement), &declared(context, param_types)?);
    let mut planned = match &statement.kind {
        StatementKind::Insert(insert) => {
            planner.with_of_dml(insert.with.as_ref()).and_then(|()| planner.insert(&insert.change))
        }
        StatementKind::Update(update) => {
            planner.with_of_dml(update.with.as_ref()).and_then(|()| planner.update(&update.change))
        }
        StatementKind::Delete(delete) => {
            planner.with_of_dml(delete.with.as_ref()).and_then(|()| planner.delete(&delete.change))
        }
        _ => Err(SqlError::internal(format!("{} planned as DML", statement.command()))),
    }?;
    planned.plan = guards::guard(planner.decorrelate(planned.plan)?)?;
    planned.changes = planner.planned_changes()?;
    planned.params = planner.param_types()?;
    planned.reusable = planner.reusable;
    Ok(planned)
}

/// Plans the filter of `COPY … FROM … WHERE`: a boolean over `table`'s columns.
pub fn plan_copy_filter(
    context: &PlanContext<'_>,
    statement: &Statement,
    table: &ResolvedTable,
    filter: &ast::Expr,
) -> Result<PlannedExpr, SqlError> {
    let mut planner = Planner::new(context, Some(statement), &[]);
    planner.params_allowed = false;
    let (plan, scope) = planner.scan(table, Arc::clone(&table.source), None, 0)?;
    let env = scope::Env::new(&scope, None, "COPY FROM WHERE conditions");
    let bound = planner.expr(filter, &env)?;
    let expr = planner.condition(bound, "WHERE")?;
    if expr.exists(is_subquery).unwrap_or(true) {
        return Err(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "cannot use subquery in COPY FROM WHERE condition",
        ));
    }
    let expr = guards::guard_condition(expr, plan.schema())?;
    Ok(PlannedExpr { expr, pg_type: PgType::Bool, schema: Arc::clone(plan.schema()) })
}

/// Plans a column default: an expression without columns, cast to the column's type by assignment.
pub fn plan_default(
    context: &PlanContext<'_>,
    column_name: &str,
    column_type: &PgType,
    default: &str,
) -> Result<PlannedExpr, SqlError> {
    let mut planner = Planner::new(context, None, &[]);
    planner.params_allowed = false;
    let bound = planner.default_value(column_name, column_type, default)?;
    Ok(PlannedExpr {
        expr: bound.expr,
        pg_type: bound.ty,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}

/// Plans arguments of EXECUTE as constants of the statement's parameter types.
pub fn plan_execute_arguments(
    context: &PlanContext<'_>,
    name: &str,
    arguments: &[ast::Expr],
    param_types: &[PgType],
) -> Result<Vec<PlannedExpr>, SqlError> {
    if arguments.len() != param_types.len() {
        let message = format!("wrong number of parameters for prepared statement \"{name}\"");
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).detail(format!(
            "Expected {} parameters but got {}.",
            param_types.len(),
            arguments.len()
        )));
    }
    let mut planner = Planner::new(context, None, &[]);
    planner.params_allowed = false;
    let scope = scope::Scope::default();
    let env = scope::Env::new(&scope, None, "EXECUTE parameters");
    let mut planned = Vec::with_capacity(arguments.len());
    for (argument, ty) in arguments.iter().zip(param_types) {
        let bound = planner.expr(argument, &env)?;
        if planner.has_subqueries || bound.expr.exists(is_subquery).unwrap_or(true) {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "cannot use subquery in EXECUTE parameter",
            ));
        }
        let assignable = |context| context <= coerce::CastContext::Assignment;
        if !coerce::cast_context(&bound.ty, ty).is_some_and(assignable) {
            let message = format!(
                "parameter ${} of type {} cannot be coerced to the expected type {}",
                planned.len() + 1,
                bound::type_name(&bound.ty),
                ty.sql_name()
            );
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
                .hint("You will need to rewrite or cast the expression."));
        }
        let bound = planner.coerce(bound, ty, coerce::CastContext::Assignment)?;
        planned.push(PlannedExpr {
            expr: bound.expr,
            pg_type: bound.ty,
            schema: Arc::new(datafusion::common::DFSchema::empty()),
        });
    }
    Ok(planned)
}

#[expect(clippy::unnecessary_wraps, reason = "for walks over expressions")]
fn is_subquery(expr: &Expr) -> datafusion::common::Result<bool> {
    Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)))
}

/// A type of which the parser may know the name only.
///
/// # Errors
/// 42704, 0A000.
pub fn resolved_type(context: &PlanContext<'_>, ty: &PgType) -> Result<PgType, SqlError> {
    match ty {
        PgType::Array(of) => match resolved_type(context, of)? {
            array @ PgType::Array(_) => Ok(array),
            of => Ok(PgType::Array(Arc::new(of))),
        },
        PgType::Record(record) if record.is_unresolved() => {
            let name = parser::parse_type_name(&record.name)?;
            Planner::new(context, None, &[]).type_of(&name)
        }
        known => Ok(known.clone()),
    }
}

/// Resolves a relation name through the search path: 42P01 if there is none.
pub fn resolve_table(
    context: &PlanContext<'_>,
    name: &crate::query::statement::RelationName,
) -> Result<ResolvedTable, SqlError> {
    resolver::resolve(context, name)
}
