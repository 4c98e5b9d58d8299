//! The seam between the wire and sessions.

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use glaredb_engine::{
    error::SqlError,
    session::{
        CommitPoint,
        api::{Execution, FieldDescription, Notice, ParamValue, TransactionStatus},
    },
    types::{
        PgType,
        text::{FormatSettings, Names},
    },
};

/// What a client says of itself when it connects.
#[derive(Clone, Debug, Default)]
pub struct StartupParameters {
    pub user: String,
    /// The user's name if the client named none.
    pub database: String,
    /// Settings by name, from `options` and from parameters of their own, later ones win.
    pub settings: Vec<(String, String)>,
    /// The number `pg_backend_pid()` shows and a cancel request names.
    pub backend_pid: i32,
}

impl StartupParameters {
    /// The value of a setting, by its name in lower case.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        let mut newest_first = self.settings.iter().rev();
        newest_first.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Opens sessions. One per server; cheap to share.
pub trait SessionFactory: Send + Sync + 'static {
    type Session: SqlSession;

    /// # Errors
    /// 28000 for a role, 3D000 for a database that does not exist, what a bad setting gives.
    fn connect(
        &self,
        parameters: StartupParameters,
    ) -> impl Future<Output = Result<Self::Session, SqlError>> + Send;
}

/// Memory that was reserved for a message; given back when it is dropped.
pub struct MessageMemory {
    _reservation: Box<dyn Send + Sync>,
}

impl MessageMemory {
    /// `reservation`: gives the memory back when it is dropped.
    #[must_use]
    pub fn new(reservation: impl Send + Sync + 'static) -> Self {
        Self { _reservation: Box::new(reservation) }
    }
}

impl std::fmt::Debug for MessageMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageMemory")
    }
}

/// Reserves so many bytes, or says 53200.
pub type ReserveMemory = Arc<dyn Fn(usize) -> Result<MessageMemory, SqlError> + Send + Sync>;

/// A prepared statement.
pub trait PreparedStatement: Send + Sync + 'static {
    fn parameter_types(&self) -> &[PgType];
    /// `None` if the statement gives no rows.
    fn fields(&self) -> Option<&[FieldDescription]>;
}

/// One client's session.
///
/// 1. A future of a session may be dropped at any await (cancel, timeout) while its
///    [`SqlSession::commit_point`] is open: nothing of the transaction is committed then, and the
///    session is told by [`SqlSession::statement_failed`] and goes on from there. Past that point
///    the commit goes its way, and only the future's own result says how it ended.
/// 2. Statements between [`SqlSession::begin_block`] and [`SqlSession::end_block`] are one
///    transaction unless they say BEGIN and COMMIT themselves. Without them a statement commits
///    before its `execute` (or the stream of its rows) ends.
pub trait SqlSession: Send + 'static {
    type Statement: Send;
    type Prepared: PreparedStatement;

    fn parse(
        &mut self,
        sql: &str,
    ) -> impl Future<Output = Result<Vec<Self::Statement>, SqlError>> + Send;

    /// Executes a query string of one statement whose plan is known from before; `None`: it is to be
    /// parsed, and nothing was done.
    fn execute_known(
        &mut self,
        sql: &str,
    ) -> impl Future<Output = Result<Option<Execution>, SqlError>> + Send;

    /// The type with an OID, as the open transaction sees it.
    fn type_of(&self, oid: u32) -> Option<PgType> {
        PgType::from_oid(oid, -1)
    }

    fn begin_block(&mut self);

    /// Commits the implicit transaction of a block, or rolls it back if a statement failed.
    fn end_block(&mut self) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// `statement`: `None` for an empty query string. `parameter_types`: what the client declared,
    /// by position; `None` is to be found out.
    fn prepare(
        &mut self,
        statement: Option<Self::Statement>,
        parameter_types: &[Option<PgType>],
    ) -> impl Future<Output = Result<Arc<Self::Prepared>, SqlError>> + Send;

    fn execute(
        &mut self,
        prepared: &Arc<Self::Prepared>,
        parameters: Vec<ParamValue>,
    ) -> impl Future<Output = Result<Execution, SqlError>> + Send;

    /// Keeps a prepared statement by name; the empty name is replaced silently.
    ///
    /// # Errors
    /// 42P05 for a name in use.
    fn store_prepared(&mut self, name: &str, prepared: Arc<Self::Prepared>)
    -> Result<(), SqlError>;

    /// # Errors
    /// 26000 if there is none of that name.
    fn prepared(&self, name: &str) -> Result<Arc<Self::Prepared>, SqlError>;

    fn close_prepared(&mut self, name: &str);

    /// The statement just run did not end well, for a reason the session may not have seen: its
    /// rows failed half-way, it was cancelled, or a parameter of it could not be read.
    fn statement_failed(&mut self);

    fn status(&self) -> TransactionStatus;

    /// The columns of a cursor that DECLARE opened.
    fn cursor_fields(&self, _name: &str) -> Option<&[FieldDescription]> {
        None
    }

    /// How many savepoints were set so far.
    fn savepoints_set(&self) -> u64 {
        0
    }

    /// After ROLLBACK TO SAVEPOINT, once: portals that were opened when
    /// [`SqlSession::savepoints_set`] was this or more are undone.
    fn take_undone(&mut self) -> Option<u64> {
        None
    }

    fn take_notices(&mut self) -> Vec<Notice>;

    /// Settings to report to the client: all reportable ones at first, then those that changed.
    fn take_reports(&mut self) -> Vec<(&'static str, String)>;

    /// How far the running statement has come towards its commit. The same one for all of the
    /// session's life; the connection resets it when a statement begins.
    fn commit_point(&self) -> &CommitPoint;

    /// `statement_timeout`, `None` for none.
    fn statement_timeout(&self) -> Option<Duration>;

    /// Where the memory of long messages comes from.
    fn message_memory(&self) -> ReserveMemory;

    /// How long the session may wait for its client, and whether a transaction is open meanwhile;
    /// `None` for as long as it takes.
    fn idle_timeout(&self) -> Option<(Duration, bool)> {
        None
    }

    /// Statements that run so long are logged; `None`: none is.
    fn logged_duration(&self) -> Option<Duration> {
        None
    }

    /// What the text of values depends on.
    fn format_settings(&self) -> &FormatSettings;

    /// What `regclass` and kin are called.
    fn object_names(&self) -> Names {
        Names::default()
    }

    /// The settings for values of these types: with names only if some of them have any, as they cost
    /// a look at the catalog.
    fn settings_for<'t>(
        &self,
        mut types: impl Iterator<Item = &'t PgType>,
    ) -> Cow<'_, FormatSettings> {
        let settings = self.format_settings();
        match types.any(PgType::shows_names) {
            true => Cow::Owned(settings.with_names(self.object_names())),
            false => Cow::Borrowed(settings),
        }
    }
}
