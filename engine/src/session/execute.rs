//! Executing a statement: the transaction around it, and which module it goes to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use datafusion::{execution::SessionState, logical_expr::LogicalPlan};
use glaredb_catalog::Catalog;
use parking_lot::Mutex;

use super::{
    Block, Session, analyze,
    apart::{PLANNED_HERE_BYTES_MAX, apart},
    api::{Execution, Notice, ParamValue, RowStream},
    context::ExecutionContext,
    copy, ddl,
    dml::{self, Operation},
    explain,
    prepare::{Plan, Prepared, Runnable},
    run,
    transaction::{ATTEMPTS_MAX, Modes, Transaction},
};
use crate::{
    error::{SqlError, sqlstate},
    query::planner::{PlannedChange, PlannedDml},
    query::statement::{Discard, Statement, StatementKind},
};

/// Rows named by their keys that a statement takes its turns at.
const TURNS_TAKEN_MAX: usize = 64;

impl Session {
    /// # Errors
    /// 25P02 in a failed block.
    pub(super) fn check_not_failed(&self, statement: &Statement) -> Result<(), SqlError> {
        if self.block != Block::Autocommit
            && self.failed.load(Relaxed)
            && !statement.allowed_in_failed_transaction()
        {
            return Err(SqlError::new(
                sqlstate::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    fn check_block(&self, statement: &Statement) -> Result<(), SqlError> {
        if self.block != Block::Autocommit && statement.refuses_transaction_block() {
            return Err(SqlError::new(
                sqlstate::ACTIVE_SQL_TRANSACTION,
                format!("{} cannot run inside a transaction block", statement.command()),
            ));
        }
        Ok(())
    }

    pub(super) async fn execute_prepared(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &[ParamValue],
    ) -> Result<Execution, SqlError> {
        let Some(statement) = prepared.statement() else { return Ok(Execution::Empty) };
        self.set_pending();
        self.check_not_failed(statement)?;
        self.check_block(statement)?;
        if params.len() != prepared.param_types().len() {
            return Err(SqlError::new(
                sqlstate::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement requires {}",
                    params.len(),
                    prepared.param_types().len()
                ),
            ));
        }
        let command = |tag: &str| Ok(Execution::Command { tag: tag.to_owned() });
        match &statement.kind {
            StatementKind::Begin(modes) => self.begin(statement, *modes),
            StatementKind::Commit { chain } => self.commit_block(*chain).await,
            StatementKind::Rollback { chain } => self.rollback_block(*chain),
            StatementKind::Savepoint(name) => self.savepoint(name),
            StatementKind::Release(name) => self.release_savepoint(name),
            StatementKind::RollbackTo(name) => self.rollback_to_savepoint(name),
            StatementKind::SetTransaction { session, modes } => {
                self.set_transaction(*session, *modes)
            }
            StatementKind::Set(set) => self.set(set),
            StatementKind::Reset(name) => self.reset(name.as_deref()),
            StatementKind::Show(name) => self.show(name.as_deref()),
            StatementKind::Discard(Discard::All) => {
                self.close_cursor(None)?;
                self.close_all_prepared();
                self.settings.reset_all()?;
                // Drops the temporary objects.
                self.execute_in_transaction(prepared, params).await
            }
            StatementKind::Discard(Discard::Plans | Discard::Sequences)
            | StatementKind::Unlisten => command(statement.command()),
            StatementKind::Declare(declare) => self.declare(prepared, declare, params).await,
            StatementKind::Fetch(fetch) => self.fetch(fetch).await,
            StatementKind::Close(name) => self.close_cursor(name.as_deref()),
            StatementKind::Prepare(prepare) => {
                let types: Vec<_> = prepare.param_types.iter().cloned().map(Some).collect();
                let inner = prepare.statement.clone();
                let inner = self.prepare_statement(Some(inner), &types).await?.made_by_prepare();
                self.store_prepared(&prepare.name, Arc::new(inner))?;
                command("PREPARE")
            }
            StatementKind::Execute(execute) => self.execute_named(execute).await,
            StatementKind::CreateTableAs(create)
                if matches!(create.query.kind, StatementKind::Execute(_)) =>
            {
                self.create_table_as_execute(statement, create).await
            }
            StatementKind::Explain(explain)
                if matches!(explain.statement.kind, StatementKind::Execute(_)) =>
            {
                self.explain_named(statement, explain).await
            }
            StatementKind::Deallocate(None) => {
                self.close_all_prepared();
                command("DEALLOCATE ALL")
            }
            StatementKind::Deallocate(Some(name)) => {
                self.prepared(name)?;
                self.close_prepared(name);
                command("DEALLOCATE")
            }
            StatementKind::Checkpoint => {
                let checkpoint = self.engine.database().checkpoint_now().await;
                checkpoint.map_err(super::errors::checkpoint_error)?;
                command("CHECKPOINT")
            }
            StatementKind::Unsupported { what } => Err(SqlError::not_supported(what)),
            _ => self.execute_in_transaction(prepared, params).await,
        }
    }

    /// Autocommit commits, and tries again what lost against a concurrent commit.
    pub(super) async fn execute_in_transaction(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &[ParamValue],
    ) -> Result<Execution, SqlError> {
        let execution = self.attempt(prepared, params).await?;
        execution.ok_or_else(|| SqlError::internal("a template is executed as a statement"))
    }

    /// The same; `None` for a template whose plan does not hold any more: nothing was done.
    pub(super) async fn attempt(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &[ParamValue],
    ) -> Result<Option<Execution>, SqlError> {
        let mut attempt = 1;
        loop {
            let context = self.statement_context()?;
            if !prepared.holds_in(&context) {
                return Ok(None);
            }
            let autocommit = context.is_last;
            let transaction = Arc::clone(&context.transaction);
            let mut notices = Vec::new();
            // Outside of a block a failure concerns nothing but the statement.
            let failed = if autocommit { Arc::default() } else { Arc::clone(&self.failed) };
            let result = run(context, prepared, params, failed, &mut notices).await;
            let result = match result {
                Ok(execution @ Execution::CopyIn(_)) => return Ok(Some(execution)),
                Ok(execution) if autocommit => {
                    self.commit(Some(transaction)).await.map(|()| execution)
                }
                other => other,
            };
            match result {
                Err(error)
                    if autocommit
                        && attempt < ATTEMPTS_MAX
                        && error.sqlstate == sqlstate::SERIALIZATION_FAILURE =>
                {
                    attempt += 1;
                    self.engine.count_commit_retry();
                }
                result => {
                    self.notices.append(&mut notices);
                    return result.map(Some);
                }
            }
        }
    }

    /// The next statement's context, in the open transaction or one of its own.
    pub(super) fn statement_context(&mut self) -> Result<ExecutionContext, SqlError> {
        self.set_pending();
        let now_us = self.engine.now_us();
        let autocommit = self.block == Block::Autocommit;
        let transaction = match &self.transaction {
            Some(transaction) if !autocommit => Arc::clone(transaction),
            _ => {
                let modes = Modes::default_in(self.settings.derived());
                let database = self.engine.database();
                let transaction =
                    Transaction::new(database, &self.commit_point, &self.temporary, modes, now_us);
                let transaction = Arc::new(Mutex::new(transaction));
                if !autocommit {
                    self.settings.begin();
                    self.transaction = Some(Arc::clone(&transaction));
                }
                transaction
            }
        };
        let (view, catalog, transaction_start_us) = {
            let mut transaction = transaction.lock();
            let (view, catalog) = transaction.view()?;
            (view, catalog, transaction.start_us)
        };
        let state = self.session_state(&catalog);
        Ok(ExecutionContext {
            state,
            engine: Arc::clone(&self.engine),
            identity: Arc::clone(&self.identity),
            objects: Arc::clone(&self.objects),
            settings: self.settings.clone(),
            transaction,
            is_last: autocommit,
            view,
            catalog,
            transaction_start_us,
            statement_start_us: now_us,
        })
    }

    /// DataFusion's state, made anew when the catalog or a setting changed.
    fn session_state(&mut self, catalog: &Arc<Catalog>) -> Arc<SessionState> {
        let derived = self.settings.derived();
        if let Some((known, settings, state)) = &self.state
            && Arc::ptr_eq(known, catalog)
            && Arc::ptr_eq(settings, derived)
        {
            return Arc::clone(state);
        }
        let (pending, given_up) = (&self.pending, &self.given_up.0);
        let (identity, settings) = (&self.identity, &self.settings);
        let state = self.engine.session_state(catalog, identity, settings, pending, given_up);
        let state = Arc::new(state);
        self.state = Some((Arc::clone(catalog), Arc::clone(derived), Arc::clone(&state)));
        state
    }

    /// Commits what a transaction wrote.
    pub(super) async fn commit(
        &mut self,
        transaction: Option<Arc<Mutex<Transaction>>>,
    ) -> Result<(), SqlError> {
        let Some(transaction) = transaction else {
            self.settings.end(true);
            return Ok(());
        };
        let result = take(&transaction).commit().await;
        self.settings.end(result.is_ok());
        result
    }
}

/// The transaction out of its slot; what stays behind is an empty one for streams that look at it.
pub(super) fn take(transaction: &Mutex<Transaction>) -> Transaction {
    let mut slot = transaction.lock();
    let empty = slot.empty();
    std::mem::replace(&mut *slot, empty)
}

/// Executes a statement: here if that is little work, else [apart].
async fn run(
    mut context: ExecutionContext,
    prepared: &Arc<Prepared>,
    params: &[ParamValue],
    failed: Arc<AtomicBool>,
    notices: &mut Vec<Notice>,
) -> Result<Execution, SqlError> {
    let Some(statement) = prepared.statement() else { return Ok(Execution::Empty) };
    let is_plan = matches!(
        statement.kind,
        StatementKind::Query(_)
            | StatementKind::Insert(_)
            | StatementKind::Update(_)
            | StatementKind::Delete(_)
    );
    let planned = if is_plan {
        let plan = match statement.text.len() {
            0..=PLANNED_HERE_BYTES_MAX => prepared.plan_in(&context)?,
            _ => {
                let (context, prepared) = (context.clone(), Arc::clone(prepared));
                let engine = Arc::clone(&context.engine);
                apart(&engine, async move { prepared.plan_in(&context) }).await?
            }
        };
        match plan {
            Plan::Query(plan) if !plan.planned.changes.is_empty() => {
                let changes = changes_in_with(&context, "SELECT", &plan.planned.changes, params)?;
                let query = run::bind(&context, &plan.planned.plan, params)?;
                let engine = Arc::clone(&context.engine);
                let fields = Arc::clone(&plan.planned.fields);
                let stream = apart(&engine, async move {
                    let rows = dml::make_changes(&context, query, changes).await?;
                    Ok(run::watched(&context, rows.into_stream(), &failed))
                });
                let (stream, tag) = (stream.await?, "SELECT {n}".to_owned());
                return Ok(Execution::Rows { fields, stream, tag, binary: false });
            }
            Plan::Query(plan) => {
                let point = plan.point(&context);
                let stream: RowStream =
                    match run::statement_at_once(&context, point, params).await? {
                        Some(rows) => Box::pin(futures::stream::iter([Ok(rows)])),
                        None => {
                            let plan = run::bind(&context, &plan.planned.plan, params)?;
                            run::query(&context, plan, &failed).await?
                        }
                    };
                return Ok(Execution::Rows {
                    fields: Arc::clone(&plan.planned.fields),
                    stream,
                    tag: "SELECT {n}".to_owned(),
                    binary: false,
                });
            }
            Plan::Dml(operation, plan) => {
                let table = plan.planned.table.oid;
                context.check_writes_rows(operation.command(), table)?;
                if !plan.planned.changes.is_empty() {
                    let changes = &plan.planned.changes;
                    let changes = changes_in_with(&context, operation.command(), changes, params)?;
                    let logical = run::bind(&context, &plan.planned.plan, params)?;
                    let engine = Arc::clone(&context.engine);
                    return apart(&engine, async move {
                        let planned = &plan.planned;
                        dml::execute_with_changes(&context, operation, planned, logical, changes)
                            .await
                    })
                    .await;
                }
                let point = plan.point(&context);
                if operation != Operation::Insert {
                    let keys = point.map(|point| point.keys(params, TURNS_TAKEN_MAX));
                    for key in keys.into_iter().flatten() {
                        context.take_turn(key).await?;
                    }
                }
                if let Some(rows) = run::statement_at_once(&context, point, params).await? {
                    return dml::execute_rows(&context, operation, &plan.planned, rows).await;
                }
                let logical = run::bind(&context, &plan.planned.plan, params)?;
                Some((operation, plan, logical))
            }
        }
    } else {
        None
    };
    let engine = Arc::clone(&context.engine);
    let params = prepared.explained().map(|_| params.to_vec()).unwrap_or_default();
    let running = Running { context, prepared: Arc::clone(prepared), params, planned, failed };
    let (execution, mut more) = apart(&engine, running.run()).await?;
    notices.append(&mut more);
    Ok(execution)
}

/// The changes of a statement's WITH with their parameters, if they may be made.
fn changes_in_with(
    context: &ExecutionContext,
    command: &str,
    changes: &[PlannedChange],
    params: &[ParamValue],
) -> Result<Vec<dml::ChangeInWith>, SqlError> {
    let ready = |change: &PlannedChange| {
        context.check_writes_rows(command, change.dml.table.oid)?;
        Ok((change.clone(), run::bind(context, &change.dml.plan, params)?))
    };
    changes.iter().map(ready).collect()
}

/// A statement that is executed on the runtime for queries.
struct Running {
    context: ExecutionContext,
    prepared: Arc<Prepared>,
    /// Of EXPLAIN.
    params: Vec<ParamValue>,
    /// Of DML, with its parameters filled in.
    planned: Option<(Operation, Arc<Runnable<PlannedDml>>, LogicalPlan)>,
    failed: Arc<AtomicBool>,
}

impl Running {
    async fn run(self) -> Result<(Execution, Vec<Notice>), SqlError> {
        let mut notices = Vec::new();
        let execution = self.execute(&mut notices).await?;
        Ok((execution, notices))
    }

    async fn execute(self, notices: &mut Vec<Notice>) -> Result<Execution, SqlError> {
        let context = &self.context;
        if let Some((operation, planned, plan)) = self.planned {
            return dml::execute(context, operation, &planned.planned, plan).await;
        }
        let Some(statement) = self.prepared.statement() else { return Ok(Execution::Empty) };
        match &statement.kind {
            StatementKind::Explain(explain) => {
                let explained = self.prepared.explained();
                explain::execute(context, explain, explained, &self.params).await
            }
            StatementKind::Copy(copy) => {
                copy::execute(context, statement, copy, &self.failed).await
            }
            StatementKind::Vacuum(vacuum) => analyze::vacuum(context, vacuum).await,
            StatementKind::Analyze(vacuum) => analyze::analyze(context, vacuum).await,
            StatementKind::Discard(_) => ddl::discard_temporary(context, statement),
            _ => {
                context.check_writable(statement.command())?;
                let execution =
                    ddl::execute(context, statement, self.prepared.explained(), notices);
                execution.await
            }
        }
    }
}
