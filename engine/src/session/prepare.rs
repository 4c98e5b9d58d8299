//! Planning a statement once, executing it often.

use std::sync::Arc;

use glaredb_catalog::Catalog;
use parking_lot::Mutex;

use super::{
    Session,
    apart::{PLANNED_HERE_BYTES_MAX, apart},
    api::{Execution, FieldDescription, ParamValue},
    context::ExecutionContext,
    dml::Operation,
    run::constant,
    settings::Derived,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        planner::{self, Planned, PlannedDml},
        statement::{Execute, Statement, StatementKind},
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
    /// A plan that holds values of its time (`now()`): for the execution that follows at once.
    fresh: Mutex<Option<CachedPlan>>,
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
    Query(Arc<Planned>),
    Dml(Operation, Arc<PlannedDml>),
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
        if self.fields.is_some() && self.fields.as_deref() != plan.fields().map(AsRef::as_ref) {
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
            Self::Query(planned) => Some(&planned.fields),
            Self::Dml(_, planned) => planned.fields.as_ref(),
        }
    }

    fn params(&self) -> &[PgType] {
        match self {
            Self::Query(planned) => &planned.params,
            Self::Dml(_, planned) => &planned.params,
        }
    }

    fn reusable(&self) -> bool {
        match self {
            Self::Query(planned) => planned.reusable,
            Self::Dml(_, planned) => planned.reusable,
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
                .plan(|plan| planner::plan_query(plan, statement, declared))
                .map(|planned| Plan::Query(Arc::new(planned)));
        }
    };
    context
        .plan(|plan| planner::plan_dml(plan, statement, declared))
        .map(|planned| Plan::Dml(operation, Arc::new(planned)))
}

pub(super) fn text_field(name: &str) -> FieldDescription {
    FieldDescription {
        name: name.to_owned(),
        pg_type: PgType::Text,
        table_oid: 0,
        column_number: 0,
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
            StatementKind::Explain(_) => Some(vec![text_field("QUERY PLAN")]),
            StatementKind::Show(Some(name)) => Some(vec![text_field(&self.shown_name(name)?)]),
            StatementKind::Show(None) => {
                Some(["name", "setting", "description"].map(text_field).to_vec())
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
        let (param_types, fields) = (plan.params().to_vec(), plan.fields().cloned());
        let reusable = plan.reusable();
        let cached = CachedPlan {
            catalog: Arc::clone(&context.catalog),
            settings: Arc::clone(context.settings.derived()),
            transaction_start_us: context.transaction_start_us,
            plan,
        };
        let (plan, fresh) = if reusable { (Some(cached), None) } else { (None, Some(cached)) };
        Ok(Prepared {
            param_types,
            fields,
            plan,
            fresh: Mutex::new(fresh),
            statement: Some(statement),
            declared: declared.to_vec(),
        })
    }
}

impl Session {
    /// EXECUTE: its arguments are constants of the parameters' types.
    pub(super) async fn execute_named(&mut self, execute: &Execute) -> Result<Execution, SqlError> {
        let prepared = self.prepared(&execute.name)?;
        let Some(statement) = prepared.statement() else { return Ok(Execution::Empty) };
        if !matches!(
            statement.kind,
            StatementKind::Query(_)
                | StatementKind::Insert(_)
                | StatementKind::Update(_)
                | StatementKind::Delete(_)
        ) {
            return Err(SqlError::not_supported(format!("EXECUTE of {}", statement.command())));
        }
        let params = {
            let context = self.statement_context()?;
            let planned = context.plan(|plan| {
                let types = prepared.param_types();
                planner::plan_execute_arguments(plan, statement, &execute.arguments, types)
            })?;
            planned.iter().map(|planned| constant(&context, planned)).collect::<Result<_, _>>()?
        };
        let params: Vec<ParamValue> = params;
        Box::pin(self.execute_prepared(&prepared, &params)).await
    }
}

impl Prepared {
    /// A statement without parameters that is planned when it is executed, once: what the simple
    /// protocol needs. Its fields are those of the execution.
    #[must_use]
    pub fn unplanned(statement: Statement) -> Arc<Self> {
        Arc::new(Self::plain(Some(statement), &[], None))
    }

    fn plain(
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
        }
    }
}
