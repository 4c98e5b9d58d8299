//! Planning a statement once, executing it often.

use std::sync::{Arc, OnceLock};

use datafusion::logical_expr::LogicalPlan;
use glaredb_catalog::Catalog;
use parking_lot::Mutex;

use super::{
    Session,
    apart::{PLANNED_HERE_BYTES_MAX, apart},
    api::{Execution, FieldDescription, ParamValue},
    context::ExecutionContext,
    dml::Operation,
    point::{self, PointPlan},
    run::constant,
    settings::Derived,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        planner::{self, Planned, PlannedDml},
        statement::{CreateTableAs, Execute, Explain, Statement, StatementKind},
    },
    types::PgType,
};

/// A statement ready to be executed with parameters, any number of times.
#[derive(Debug)]
pub struct Prepared {
    /// `None`: the empty query string.
    statement: Option<Statement>,
    /// As the client declared them.
    declared: Vec<Option<PgType>>,
    param_types: Vec<PgType>,
    fields: Option<Arc<[FieldDescription]>>,
    plan: Option<CachedPlan>,
    /// A plan that holds values of its time (`current_date`): for the execution that follows at once.
    fresh: Mutex<Option<CachedPlan>>,
    /// Stands for statements with other literals: its plan is not made anew.
    is_template: bool,
    explained: Option<Explained>,
    /// Of DECLARE: the query.
    inner: Option<Arc<Prepared>>,
    /// PREPARE made it.
    from_sql: bool,
}

/// What EXPLAIN is about, or CREATE TABLE AS EXECUTE, where that is prepared by itself.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) statement: Arc<Prepared>,
    /// Values of its parameters where that is an EXECUTE; else those of EXPLAIN are its own.
    pub(super) arguments: Option<Vec<ParamValue>>,
}

/// How long `now()` may stand still between planning and executing outside of a block.
const FRESH_US: i64 = 10_000;

/// A plan and what it was made under.
#[derive(Debug)]
struct CachedPlan {
    catalog: Arc<Catalog>,
    settings: Arc<Derived>,
    transaction_start_us: i64,
    plan: Plan,
}

impl CachedPlan {
    fn holds_in(&self, context: &ExecutionContext) -> bool {
        Arc::ptr_eq(&self.catalog, &context.catalog)
            && Arc::ptr_eq(&self.settings, context.settings.derived())
    }
}

/// What QUERY's planner made of a statement.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Query(Arc<Runnable<Planned>>),
    Dml(Operation, Arc<Runnable<PlannedDml>>),
}

/// A plan and the short way to run it, once that was looked for.
#[derive(Debug)]
pub(super) struct Runnable<P> {
    pub planned: P,
    point: OnceLock<Option<PointPlan>>,
}

impl<P> Runnable<P> {
    fn new(planned: P) -> Arc<Self> {
        Arc::new(Self { planned, point: OnceLock::new() })
    }
}

fn compiled(plan: &LogicalPlan, context: &ExecutionContext) -> Option<PointPlan> {
    let by_key = context.settings.derived().key_access;
    point::compile(plan, &context.execution_props(), by_key)
}

impl Runnable<Planned> {
    /// The short way, if there is one. `context`: one that the plan was made in or holds in.
    pub(super) fn point(&self, context: &ExecutionContext) -> Option<&PointPlan> {
        let compile = || compiled(&self.planned.plan, context);
        self.point.get_or_init(compile).as_ref()
    }
}

impl Runnable<PlannedDml> {
    /// The short way, if there is one. `context`: one that the plan was made in or holds in.
    pub(super) fn point(&self, context: &ExecutionContext) -> Option<&PointPlan> {
        let compile = || compiled(&self.planned.plan, context);
        self.point.get_or_init(compile).as_ref()
    }
}

impl Prepared {
    /// Types of `$1`, `$2`, ….
    #[must_use]
    pub fn param_types(&self) -> &[PgType] {
        &self.param_types
    }

    /// Columns of the result; `None` for a statement that returns no rows.
    #[must_use]
    pub fn fields(&self) -> Option<&Arc<[FieldDescription]>> {
        self.fields.as_ref()
    }

    /// `None`: the empty query string.
    #[must_use]
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }

    /// Whether the statement has a plan, and is not carried out by the session itself.
    pub(super) fn has_plan(&self) -> bool {
        self.plan.is_some()
    }

    /// Whether it may be executed in `context`: a template only while its plan holds.
    pub(super) fn holds_in(&self, context: &ExecutionContext) -> bool {
        !self.is_template || self.plan.as_ref().is_some_and(|plan| plan.holds_in(context))
    }

    pub(super) fn into_template(self) -> Self {
        Self { is_template: true, ..self }
    }

    /// The plan for a statement in `context`: the cached one if nothing it rests on changed.
    pub(super) fn plan_in(&self, context: &ExecutionContext) -> Result<Plan, SqlError> {
        let statement = self
            .statement
            .as_ref()
            .ok_or_else(|| SqlError::internal("the empty query has no plan"))?;
        if let Some(cached) = self.plan.as_ref().filter(|cached| cached.holds_in(context)) {
            return Ok(cached.plan.clone());
        }
        if let Some(fresh) = self.fresh.lock().take().filter(|fresh| fresh.holds_in(context)) {
            let age = context.transaction_start_us - fresh.transaction_start_us;
            if age == 0 || (context.is_last && (0..FRESH_US).contains(&age)) {
                return Ok(fresh.plan);
            }
        }
        let plan = plan(context, statement, &self.declared)?;
        // Where columns come from may change: a table that was made anew has another OID.
        let shape = |fields: &Arc<[FieldDescription]>| {
            let shown = fields.iter().map(|field| (field.name.clone(), field.pg_type.clone()));
            shown.collect::<Vec<_>>()
        };
        if self.fields.is_some() && self.fields.as_ref().map(shape) != plan.fields().map(shape) {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "cached plan must not change result type",
            ));
        }
        Ok(plan)
    }
}

impl Plan {
    fn fields(&self) -> Option<&Arc<[FieldDescription]>> {
        match self {
            Self::Query(plan) => Some(&plan.planned.fields),
            Self::Dml(_, plan) => plan.planned.fields.as_ref(),
        }
    }

    pub(super) fn logical(&self) -> &LogicalPlan {
        match self {
            Self::Query(plan) => &plan.planned.plan,
            Self::Dml(_, plan) => &plan.planned.plan,
        }
    }

    /// Whether both do and show the same, as far as their plans do; and can be kept.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let alike = match (self, other) {
            (Self::Query(_), Self::Query(_)) => true,
            (Self::Dml(a, x), Self::Dml(b, y)) => {
                let (x, y) = (&x.planned, &y.planned);
                a == b
                    && x.table.oid == y.table.oid
                    && x.locator == y.locator
                    && x.old_key == y.old_key
                    && x.new_row == y.new_row
                    && x.returning == y.returning
            }
            _ => false,
        };
        alike && self.fields() == other.fields() && self.reusable() && other.reusable()
    }

    pub(super) fn params(&self) -> &[PgType] {
        match self {
            Self::Query(plan) => &plan.planned.params,
            Self::Dml(_, plan) => &plan.planned.params,
        }
    }

    pub(super) fn changes_rows_in_with(&self) -> bool {
        match self {
            Self::Query(plan) => !plan.planned.changes.is_empty(),
            Self::Dml(_, plan) => !plan.planned.changes.is_empty(),
        }
    }

    fn reusable(&self) -> bool {
        match self {
            Self::Query(plan) => plan.planned.reusable,
            Self::Dml(_, plan) => plan.planned.reusable,
        }
    }
}

/// Plans a query or DML statement.
pub(super) fn plan(
    context: &ExecutionContext,
    statement: &Statement,
    declared: &[Option<PgType>],
) -> Result<Plan, SqlError> {
    let operation = match &statement.kind {
        StatementKind::Insert(_) => Operation::Insert,
        StatementKind::Update(_) => Operation::Update,
        StatementKind::Delete(_) => Operation::Delete,
        _ => {
            return context
                .plan_to_keep(|plan| planner::plan_query(plan, statement, declared))
                .map(|planned| Plan::Query(Runnable::new(planned)));
        }
    };
    context
        .plan_to_keep(|plan| planner::plan_dml(plan, statement, declared))
        .map(|planned| Plan::Dml(operation, Runnable::new(planned)))
}

pub(super) fn text_field(name: &str) -> FieldDescription {
    FieldDescription {
        name: name.to_owned(),
        pg_type: PgType::Text,
        table_oid: 0,
        column_number: 0,
        shows_modifier: false,
    }
}

impl Session {
    pub(super) async fn prepare_statement(
        &mut self,
        statement: Option<Statement>,
        declared: &[Option<PgType>],
    ) -> Result<Prepared, SqlError> {
        let Some(statement) = statement else {
            return Ok(Prepared::plain(None, declared, None));
        };
        self.check_not_failed(&statement)?;
        let fields: Option<Vec<FieldDescription>> = match &statement.kind {
            StatementKind::Query(_)
            | StatementKind::Insert(_)
            | StatementKind::Update(_)
            | StatementKind::Delete(_) => return self.prepare_plan(statement, declared).await,
            StatementKind::Explain(explain) => {
                let fields = Some(Arc::from([text_field("QUERY PLAN")]));
                let mut prepared = Prepared::plain(Some(statement.clone()), declared, fields);
                if matches!(
                    explain.statement.kind,
                    StatementKind::Query(_)
                        | StatementKind::Insert(_)
                        | StatementKind::Update(_)
                        | StatementKind::Delete(_)
                ) {
                    let inner = explain.statement.clone();
                    let inner = self.prepare_plan(inner, declared).await?;
                    prepared.param_types.clone_from(&inner.param_types);
                    let statement = Arc::new(inner);
                    prepared.explained = Some(Explained { statement, arguments: None });
                }
                return Ok(prepared);
            }
            StatementKind::Show(Some(name)) => Some(vec![text_field(&self.shown_name(name)?)]),
            StatementKind::Show(None) => {
                Some(["name", "setting", "description"].map(text_field).to_vec())
            }
            StatementKind::Declare(declare) => {
                let query = self.prepare_plan(declare.query.clone(), declared).await?;
                let param_types = query.param_types.clone();
                let prepared = Prepared::plain(Some(statement), declared, None);
                return Ok(Prepared { param_types, inner: Some(Arc::new(query)), ..prepared });
            }
            StatementKind::Fetch(fetch) if !fetch.moves => {
                let fields = self.cursor_fields(&fetch.name).cloned();
                return Ok(Prepared::plain(Some(statement), declared, fields));
            }
            StatementKind::Execute(execute) => {
                let fields = self.prepared(&execute.name)?.fields.clone();
                return Ok(Prepared::plain(Some(statement), declared, fields));
            }
            _ => None,
        };
        Ok(Prepared::plain(Some(statement), declared, fields.map(Into::into)))
    }

    async fn prepare_plan(
        &mut self,
        statement: Statement,
        declared: &[Option<PgType>],
    ) -> Result<Prepared, SqlError> {
        let context = self.statement_context()?;
        let (statement, plan) = if statement.text.len() <= PLANNED_HERE_BYTES_MAX {
            let plan = plan(&context, &statement, declared)?;
            (statement, plan)
        } else {
            let (context, declared) = (context.clone(), declared.to_vec());
            let planning = async move {
                let plan = plan(&context, &statement, &declared)?;
                Ok((statement, plan))
            };
            apart(&self.engine, planning).await?
        };
        Ok(Prepared::planned(&context, statement, declared, plan))
    }
}

impl Prepared {
    /// A statement and the plan it has in `context`.
    pub(super) fn planned(
        context: &ExecutionContext,
        statement: Statement,
        declared: &[Option<PgType>],
        plan: Plan,
    ) -> Self {
        let (param_types, fields) = (plan.params().to_vec(), plan.fields().cloned());
        let reusable = plan.reusable();
        let cached = CachedPlan {
            catalog: Arc::clone(&context.catalog),
            settings: Arc::clone(context.settings.derived()),
            transaction_start_us: context.transaction_start_us,
            plan,
        };
        let (plan, fresh) = if reusable { (Some(cached), None) } else { (None, Some(cached)) };
        Self {
            param_types,
            fields,
            plan,
            fresh: Mutex::new(fresh),
            statement: Some(statement),
            declared: declared.to_vec(),
            is_template: false,
            explained: None,
            inner: None,
            from_sql: false,
        }
    }

    pub(super) fn made_by_prepare(self) -> Self {
        Self { from_sql: true, ..self }
    }

    pub(super) fn is_from_sql(&self) -> bool {
        self.from_sql
    }

    /// The query of DECLARE.
    pub(super) fn inner(&self) -> Option<&Arc<Self>> {
        self.inner.as_ref()
    }

    pub(super) fn explained(&self) -> Option<&Explained> {
        self.explained.as_ref()
    }
}

impl Session {
    /// EXECUTE: its arguments are constants of the parameters' types.
    pub(super) async fn execute_named(&mut self, execute: &Execute) -> Result<Execution, SqlError> {
        let prepared = self.prepared(&execute.name)?;
        if prepared.statement().is_none() {
            return Ok(Execution::Empty);
        }
        let params = self.arguments(execute, &prepared)?;
        Box::pin(self.execute_prepared(&prepared, &params)).await
    }

    /// The arguments of EXECUTE as the statement's parameters.
    fn arguments(
        &mut self,
        execute: &Execute,
        prepared: &Prepared,
    ) -> Result<Vec<ParamValue>, SqlError> {
        let Some(statement) = prepared.statement() else { return Ok(Vec::new()) };
        if !matches!(
            statement.kind,
            StatementKind::Query(_)
                | StatementKind::Insert(_)
                | StatementKind::Update(_)
                | StatementKind::Delete(_)
        ) {
            return Err(SqlError::not_supported(format!("EXECUTE of {}", statement.command())));
        }
        let context = self.statement_context()?;
        let planned = context.plan(|plan| {
            let types = prepared.param_types();
            planner::plan_execute_arguments(plan, &execute.name, &execute.arguments, types)
        })?;
        planned.iter().map(|planned| constant(&context, planned)).collect()
    }

    /// CREATE TABLE AS EXECUTE.
    pub(super) async fn create_table_as_execute(
        &mut self,
        statement: &Statement,
        create: &CreateTableAs,
    ) -> Result<Execution, SqlError> {
        let StatementKind::Execute(execute) = &create.query.kind else {
            return Err(SqlError::internal("CREATE TABLE AS EXECUTE without EXECUTE"));
        };
        let inner = self.prepared(&execute.name)?;
        if !inner.statement().is_some_and(|inner| matches!(inner.kind, StatementKind::Query(_))) {
            let message = "prepared statement is not a SELECT";
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        let params = self.arguments(execute, &inner)?;
        let mut prepared = Prepared::plain(Some(statement.clone()), &[], None);
        prepared.explained = Some(Explained { statement: inner, arguments: Some(params) });
        self.execute_in_transaction(&Arc::new(prepared), &[]).await
    }

    /// EXPLAIN EXECUTE.
    pub(super) async fn explain_named(
        &mut self,
        statement: &Statement,
        explain: &Explain,
    ) -> Result<Execution, SqlError> {
        let StatementKind::Execute(execute) = &explain.statement.kind else {
            return Err(SqlError::internal("EXPLAIN EXECUTE without EXECUTE"));
        };
        let inner = self.prepared(&execute.name)?;
        let params = self.arguments(execute, &inner)?;
        let mut prepared = Prepared::plain(Some(statement.clone()), &[], None);
        prepared.explained = Some(Explained { statement: inner, arguments: Some(params) });
        self.execute_in_transaction(&Arc::new(prepared), &[]).await
    }
}

impl Prepared {
    /// A statement without parameters that is planned when it is executed, once: what the simple
    /// protocol needs. Its fields are those of the execution.
    #[must_use]
    pub fn unplanned(statement: Statement) -> Arc<Self> {
        Arc::new(Self::plain(Some(statement), &[], None))
    }

    pub(super) fn plain(
        statement: Option<Statement>,
        declared: &[Option<PgType>],
        fields: Option<Arc<[FieldDescription]>>,
    ) -> Self {
        let param_types =
            declared.iter().map(|t| t.clone().unwrap_or(PgType::Text)).collect::<Vec<_>>();
        Self {
            statement,
            declared: declared.to_vec(),
            param_types,
            fields,
            plan: None,
            fresh: Mutex::default(),
            is_template: false,
            explained: None,
            inner: None,
            from_sql: false,
        }
    }
}
