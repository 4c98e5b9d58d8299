//! The engine's sessions behind the wire's seam.

use std::{sync::Arc, time::Duration};

use glaredb_engine::{
    error::SqlError,
    query::statement::Statement,
    session::{
        CommitPoint, Prepared, Session,
        api::{Execution, FieldDescription, Notice, ParamValue, TransactionStatus},
    },
    types::{
        PgType,
        text::{FormatSettings, Names},
    },
};

use super::session::{MessageMemory, PreparedStatement, ReserveMemory, SqlSession};

impl PreparedStatement for Prepared {
    fn parameter_types(&self) -> &[PgType] {
        self.param_types()
    }

    fn fields(&self) -> Option<&[FieldDescription]> {
        Self::fields(self).map(|fields| &fields[..])
    }
}

impl SqlSession for Session {
    type Statement = Statement;
    type Prepared = Prepared;

    async fn parse(&mut self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        Self::parse(self, sql).await
    }

    async fn execute_known(&mut self, sql: &str) -> Result<Option<Execution>, SqlError> {
        Self::execute_known(self, sql).await
    }

    fn type_of(&self, oid: u32) -> Option<PgType> {
        Self::type_of(self, oid)
    }

    fn begin_block(&mut self) {
        Self::begin_block(self);
    }

    async fn end_block(&mut self) -> Result<(), SqlError> {
        Self::end_block(self).await
    }

    async fn prepare(
        &mut self,
        statement: Option<Statement>,
        parameter_types: &[Option<PgType>],
    ) -> Result<Arc<Prepared>, SqlError> {
        Self::prepare(self, statement, parameter_types).await
    }

    async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ParamValue>,
    ) -> Result<Execution, SqlError> {
        Self::execute(self, prepared, parameters).await
    }

    fn store_prepared(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<(), SqlError> {
        Self::store_prepared(self, name, prepared)
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        Self::prepared(self, name)
    }

    fn close_prepared(&mut self, name: &str) {
        Self::close_prepared(self, name);
    }

    fn statement_failed(&mut self) {
        Self::statement_failed(self);
    }

    fn status(&self) -> TransactionStatus {
        Self::status(self)
    }

    fn cursor_fields(&self, name: &str) -> Option<&[FieldDescription]> {
        Self::cursor_fields(self, name).map(|fields| &fields[..])
    }

    fn savepoints_set(&self) -> u64 {
        Self::savepoints_set(self)
    }

    fn take_undone(&mut self) -> Option<u64> {
        Self::take_undone(self)
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Self::take_notices(self)
    }

    fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        Self::take_reports(self)
    }

    fn commit_point(&self) -> &CommitPoint {
        Self::commit_point(self)
    }

    fn statement_timeout(&self) -> Option<Duration> {
        Self::statement_timeout(self)
    }

    fn message_memory(&self) -> ReserveMemory {
        let engine = self.engine().clone();
        Arc::new(move |bytes| engine.reserve_memory("a message", bytes).map(MessageMemory::new))
    }

    fn idle_timeout(&self) -> Option<(Duration, bool)> {
        let settings = self.settings().derived();
        let (ms, open) = match Self::status(self) {
            TransactionStatus::Idle => (settings.idle_session_ms, false),
            _ => (settings.idle_in_transaction_ms, true),
        };
        (ms > 0).then(|| (Duration::from_millis(ms), open))
    }

    fn logged_duration(&self) -> Option<Duration> {
        self.settings().derived().log_duration_ms.map(Duration::from_millis)
    }

    fn format_settings(&self) -> &FormatSettings {
        &self.settings().derived().format
    }

    fn object_names(&self) -> Names {
        Self::object_names(self)
    }
}
