//! Statements to logical plans.

mod resolver;

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::DFSchemaRef,
    logical_expr::{Expr, LogicalPlan},
    sql::sqlparser::ast,
};

pub use self::resolver::{
    LOCATOR_COLUMNS, ROW_COLUMN, ROW_ID_COLUMN, ResolvedColumn, ResolvedTable, SEGMENT_COLUMN,
    TableResolver,
};
use crate::{
    error::SqlError,
    query::{functions::Functions, statement::Statement},
    session::api::FieldDescription,
    types::{PgType, TimeZone},
};

/// What planning needs to know of its session. Cheap to build per statement.
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
    /// `statement_timestamp()`.
    pub statement_start_us: i64,
    pub time_zone: &'a TimeZone,
    /// Backend process id, for `pg_backend_pid()`.
    pub process_id: i32,
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
}

/// A planned expression over the columns of one table.
#[derive(Clone, Debug)]
pub struct PlannedExpr {
    pub expr: Expr,
    pub pg_type: PgType,
    /// What the expression's columns refer to: the table's columns in order.
    pub schema: DFSchemaRef,
}

/// Plans a [`StatementKind::Query`](crate::query::statement::StatementKind::Query). `param_types`:
/// what the client declared of `$1`…; the rest is inferred.
pub fn plan_query(
    context: &PlanContext<'_>,
    statement: &Statement,
    param_types: &[Option<PgType>],
) -> Result<Planned, SqlError> {
    let _ = (context, statement, param_types);
    Err(SqlError::not_supported("planning"))
}

/// Plans an INSERT, UPDATE or DELETE.
pub fn plan_dml(
    context: &PlanContext<'_>,
    statement: &Statement,
    param_types: &[Option<PgType>],
) -> Result<PlannedDml, SqlError> {
    let _ = (context, statement, param_types);
    Err(SqlError::not_supported("planning"))
}

/// Plans the filter of `COPY … FROM … WHERE`: a boolean over `table`'s columns.
pub fn plan_copy_filter(
    context: &PlanContext<'_>,
    statement: &Statement,
    table: &ResolvedTable,
    filter: &ast::Expr,
) -> Result<PlannedExpr, SqlError> {
    let _ = (context, statement, table, filter);
    Err(SqlError::not_supported("planning"))
}

/// Plans a column default: an expression without columns, cast to the column's type by assignment.
pub fn plan_default(
    context: &PlanContext<'_>,
    column_name: &str,
    column_type: &PgType,
    default: &str,
) -> Result<PlannedExpr, SqlError> {
    let _ = (context, column_name, column_type, default);
    Err(SqlError::not_supported("planning"))
}

/// Plans arguments of EXECUTE as constants of the statement's parameter types.
pub fn plan_execute_arguments(
    context: &PlanContext<'_>,
    statement: &Statement,
    arguments: &[ast::Expr],
    param_types: &[PgType],
) -> Result<Vec<PlannedExpr>, SqlError> {
    let _ = (context, statement, arguments, param_types);
    Err(SqlError::not_supported("planning"))
}

/// Resolves a relation name through the search path: 42P01 if there is none, 3F000 for an unknown
/// schema.
pub fn resolve_table(
    context: &PlanContext<'_>,
    name: &crate::query::statement::RelationName,
) -> Result<ResolvedTable, SqlError> {
    resolver::resolve(context, name)
}
