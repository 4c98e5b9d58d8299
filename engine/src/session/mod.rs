//! SQL sessions: what a connection is to the engine. Knows no wire protocol.
//!
//! A session runs one statement at a time. Each reads a registered snapshot; what a transaction
//! writes is gathered privately and sent to the leader at COMMIT.

pub mod api;
pub mod commit;
pub mod engine;
pub mod settings;
pub mod staging;
mod statement_context;

mod analyze;
mod apart;
mod context;
mod copy;
pub mod cursor;
mod ddl;
mod dml;
pub(crate) mod errors;
mod execute;
mod explain;
mod plan_cache;
mod point;
mod prepare;
pub mod row_types;
mod run;
mod set;
mod table_schema;
mod temporary;
mod transaction;
mod transaction_control;
pub mod transaction_ids;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use datafusion::execution::SessionState;
use glaredb_catalog::Catalog;
use parking_lot::Mutex;

use self::{
    apart::{PLANNED_HERE_BYTES_MAX, apart},
    cursor::Cursors,
    plan_cache::PlanCache,
    settings::{Derived, PendingSettings},
    temporary::Temporary,
    transaction::Transaction,
    transaction_control::SavepointOfSession,
};
pub use self::{
    api::{
        CopyChunk, CopyIn, CopyOut, CopySink, Execution, FieldDescription, Notice, ParamValue,
        RowStream, TransactionStatus,
    },
    commit::{CommitPoint, CommitState},
    copy::{Copies, CopyProgress},
    cursor::CursorFacts,
    engine::{Engine, EngineOptions},
    plan_cache::PlanCacheCounters,
    point::PathCounters,
    prepare::Prepared,
    settings::Settings,
    statement_context::StatementContext,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{functions::given_up::GivenUp, parser::parse_source, statement::Statement},
    types::{PgType, text::Names},
};

/// Who a session is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// An existing role that may log in.
    pub role: String,
    pub database: String,
    /// What `pg_backend_pid()` says and a cancel request names.
    pub process_id: i32,
}

/// One connection's state.
pub struct Session {
    engine: Arc<Engine>,
    identity: Arc<Identity>,
    settings: Settings,
    block: Block,
    /// Between `begin_block` and `end_block`.
    implicit: bool,
    commit_point: CommitPoint,
    given_up: GivenUpAtEnd,
    /// Of the block that is open, from its first statement on.
    transaction: Option<Arc<Mutex<Transaction>>>,
    /// Of the open transaction; its streams set it too.
    failed: Arc<AtomicBool>,
    /// As many as its transaction has.
    savepoints: Vec<SavepointOfSession>,
    /// How many were ever set.
    savepoints_set: u64,
    /// See [`take_undone`](Self::take_undone).
    undone_since: Option<u64>,
    notices: Vec<Notice>,
    reported: HashMap<&'static str, String>,
    /// What queries set.
    pending: PendingSettings,
    prepared: HashMap<String, Arc<Prepared>>,
    cursors: Cursors,
    objects: Arc<SessionObjects>,
    temporary: Arc<Temporary>,
    plans: PlanCache,
    /// DataFusion's, for this catalog and these settings.
    state: Option<(Arc<Catalog>, Arc<Derived>, Arc<SessionState>)>,
}

/// What a session has beside its transaction, for the system tables that show it.
#[derive(Default, Debug)]
pub struct SessionObjects {
    pub cursors: Mutex<Vec<CursorFacts>>,
    pub prepared: Mutex<BTreeMap<String, PreparedFacts>>,
}

/// A prepared statement with a name.
#[derive(Clone, Debug)]
pub struct PreparedFacts {
    /// As the client sent it: of PREPARE, that statement.
    pub text: Arc<str>,
    /// Microseconds since 1970-01-01 UTC.
    pub prepared_us: i64,
    pub parameter_types: Vec<String>,
    /// By PREPARE, not by the protocol.
    pub from_sql: bool,
}

/// What the session computes is given up with it: its client is gone.
#[derive(Default)]
struct GivenUpAtEnd(GivenUp);

impl Drop for GivenUpAtEnd {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Where a transaction came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    /// Every statement is a transaction.
    Autocommit,
    /// Several statements of one message or pipeline.
    Implicit,
    /// BEGIN.
    Explicit,
}

impl Session {
    /// `startup`: run-time parameters of the start-up message.
    ///
    /// # Errors
    /// 28000 for a role that may not log in, 3D000 for an unknown database; 42704, 22023 for the
    /// parameters.
    pub fn new(
        engine: Arc<Engine>,
        identity: Identity,
        startup: &[(String, String)],
    ) -> Result<Self, SqlError> {
        check_identity(&engine, &identity)?;
        let role = [("session_authorization", identity.role.as_str())];
        let startup = startup.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings = Settings::new(role.into_iter().chain(startup))?;
        let temporary = Temporary::new(&engine, identity.process_id);
        Ok(Self {
            engine,
            identity: Arc::new(identity),
            settings,
            block: Block::Autocommit,
            implicit: false,
            commit_point: CommitPoint::default(),
            given_up: GivenUpAtEnd::default(),
            transaction: None,
            failed: Arc::default(),
            savepoints: Vec::new(),
            savepoints_set: 0,
            undone_since: None,
            notices: Vec::new(),
            reported: HashMap::new(),
            pending: PendingSettings::default(),
            prepared: HashMap::new(),
            cursors: Cursors::default(),
            objects: Arc::default(),
            temporary,
            plans: PlanCache::default(),
            state: None,
        })
    }

    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What whoever interrupts the session must look at first.
    #[must_use]
    pub fn commit_point(&self) -> &CommitPoint {
        &self.commit_point
    }

    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        match self.block {
            Block::Explicit if self.failed.load(Relaxed) => TransactionStatus::Failed,
            Block::Explicit => TransactionStatus::InBlock,
            Block::Implicit | Block::Autocommit => TransactionStatus::Idle,
        }
    }

    /// Notices since the last call, to be sent before the response they belong to.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        let least = self.settings.derived().least_notice;
        self.notices.drain(..).filter(|notice| least.sends(notice.severity)).collect()
    }

    /// Reportable parameters: all of them at first, then those that changed since the last call.
    pub fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        self.set_pending();
        let mut changes = Vec::new();
        for (name, value) in self.settings.reported() {
            if self.reported.get(name).is_none_or(|before| before != value) {
                changes.push((name, value.to_owned()));
            }
        }
        self.reported.extend(changes.iter().cloned());
        changes
    }

    /// The statements of a query string; none for an empty one.
    ///
    /// # Errors
    /// 42601 and kin, with position.
    pub async fn parse(&mut self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        let source: Arc<str> = sql.into();
        if source.len() <= PLANNED_HERE_BYTES_MAX {
            return parse_source(&source);
        }
        apart(&self.engine, async move { parse_source(&source) }).await
    }

    /// Opens an implicit transaction, unless a block is open: what follows commits together.
    pub fn begin_block(&mut self) {
        self.implicit = true;
        if self.block == Block::Autocommit {
            self.block = Block::Implicit;
        }
    }

    /// Ends the implicit transaction, if one is open: commits it, or rolls it back if it failed. A
    /// block that BEGIN opened stays open.
    ///
    /// # Errors
    /// Those of COMMIT.
    pub async fn end_block(&mut self) -> Result<(), SqlError> {
        self.set_pending();
        self.implicit = false;
        if self.block != Block::Implicit {
            return Ok(());
        }
        let failed = self.failed.load(Relaxed);
        let transaction = self.leave_block();
        self.end_transaction(transaction, !failed).await
    }

    /// The statement just run did not end well, for a reason the session may not have seen (its
    /// future was dropped, its rows could not be sent): the open transaction, implicit or not, can
    /// only be rolled back.
    pub fn statement_failed(&mut self) {
        self.given_up.0.give_up();
        self.pending.lock().clear();
        if self.block != Block::Autocommit {
            self.failed.store(true, Relaxed);
        }
        if self.transaction.is_none() {
            // A commit that was given up before its commit point left its settings and cursors.
            self.settings.end(false);
            self.undo_held();
        }
    }

    /// The catalog as the open transaction sees it.
    fn catalog(&self) -> Option<Arc<Catalog>> {
        match &self.transaction {
            Some(transaction) => transaction.lock().view().ok().map(|(_, catalog)| catalog),
            None => {
                let snapshot = self.engine.database().snapshots().register();
                let catalog = self.engine.database().catalog_at(&snapshot.snapshot());
                self.temporary.over(catalog).ok()
            }
        }
    }

    /// The type with an OID, built in or of a relation's rows, as the open transaction sees it.
    #[must_use]
    pub fn type_of(&self, oid: u32) -> Option<PgType> {
        PgType::from_oid(oid, -1).or_else(|| row_types::type_of(self.catalog()?.as_ref(), oid, -1))
    }

    /// What `regclass` and kin are called now, as the open transaction sees it.
    #[must_use]
    pub fn object_names(&self) -> Names {
        let Some(catalog) = self.catalog() else { return Names::default() };
        let pending = Arc::clone(&self.pending);
        let identity = Arc::clone(&self.identity);
        let context = StatementContext::new(catalog, identity, &self.settings, pending);
        self.engine.system_tables().names(context)
    }

    /// Longest run of a statement, which the server enforces by dropping its future or stream.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        let ms = self.settings.derived().statement_timeout_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Plans a statement. `statement`: `None` for the empty query string. `param_types`: what the
    /// client declared; the others are inferred.
    ///
    /// # Errors
    /// Of planning; 25P02 in a failed block.
    pub async fn prepare(
        &mut self,
        statement: Option<Statement>,
        param_types: &[Option<PgType>],
    ) -> Result<Arc<Prepared>, SqlError> {
        let result = self.prepare_statement(statement, param_types).await;
        if result.is_err() {
            self.statement_failed();
        }
        result.map(Arc::new)
    }

    /// Executes a prepared statement.
    ///
    /// # Errors
    /// Whatever the statement says; 08P01 for a wrong number of parameters.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<ParamValue>,
    ) -> Result<Execution, SqlError> {
        let result = self.execute_prepared(prepared, &params).await;
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    /// How many savepoints were set so far: what is opened now, such as a portal, goes with the next one
    /// that is rolled back to and has this number or a smaller one.
    #[must_use]
    pub fn savepoints_set(&self) -> u64 {
        self.savepoints_set
    }

    /// The number of the savepoint to which was rolled back since the last call, of several the
    /// smallest: what was opened when [`savepoints_set`](Self::savepoints_set) was this or more is
    /// undone.
    pub fn take_undone(&mut self) -> Option<u64> {
        self.undone_since.take()
    }

    /// Keeps a prepared statement by name, for the protocol and for EXECUTE. The empty name is
    /// replaced silently.
    ///
    /// # Errors
    /// 42P05 for a name in use.
    pub fn store_prepared(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<(), SqlError> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if !name.is_empty() {
            let types = prepared.param_types().iter().map(PgType::sql_name);
            let text = prepared.statement().map(|statement| Arc::clone(&statement.source));
            let facts = PreparedFacts {
                text: text.unwrap_or_else(|| "".into()),
                prepared_us: self.engine.now_us(),
                parameter_types: types.collect(),
                from_sql: prepared.is_from_sql(),
            };
            self.objects.prepared.lock().insert(name.to_owned(), facts);
        }
        self.prepared.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// The prepared statement of that name.
    ///
    /// # Errors
    /// 26000.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_SQL_STATEMENT_NAME,
                if name.is_empty() {
                    "unnamed prepared statement does not exist".to_owned()
                } else {
                    format!("prepared statement \"{name}\" does not exist")
                },
            )
        })
    }

    /// Forgets a prepared statement; no error if there is none.
    pub fn close_prepared(&mut self, name: &str) {
        if self.prepared.remove(name).is_some() {
            self.objects.prepared.lock().remove(name);
        }
    }

    /// Forgets all prepared statements.
    pub(super) fn close_all_prepared(&mut self) {
        self.prepared.clear();
        self.objects.prepared.lock().clear();
    }
}

fn check_identity(engine: &Engine, identity: &Identity) -> Result<(), SqlError> {
    let snapshot = engine.database().snapshots().register();
    let catalog = engine.database().catalog_at(&snapshot.snapshot());
    match catalog.role(&identity.role) {
        Some(role) if role.login => {}
        Some(_) => {
            return Err(SqlError::new(
                sqlstate::INVALID_AUTHORIZATION,
                format!("role \"{}\" is not permitted to log in", identity.role),
            ));
        }
        None => {
            return Err(SqlError::new(
                sqlstate::INVALID_AUTHORIZATION,
                format!("role \"{}\" does not exist", identity.role),
            ));
        }
    }
    if catalog.database(&identity.database).is_none() {
        return Err(SqlError::new(
            sqlstate::INVALID_CATALOG_NAME,
            format!("database \"{}\" does not exist", identity.database),
        ));
    }
    Ok(())
}
