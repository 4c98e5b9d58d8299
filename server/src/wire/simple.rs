//! The simple query protocol: one message, any number of statements, one ReadyForQuery.

use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::Execution,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{Connection, End, Failure},
    portal::{ResultFormats, Rows},
    session::{PreparedStatement, SqlSession},
};

impl<S: SqlSession, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<S, IO> {
    /// Runs the statements one after the other; an error ends the query. Several statements are one
    /// transaction unless they say otherwise.
    pub(crate) async fn simple_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.clear_cancel();
        self.extended.drop_unnamed_portal();
        self.session.close_prepared("");
        // Extended messages that no Sync ended have a transaction of their own.
        if self.extended.take_block() {
            self.end_block().await?;
        }
        self.registration.show_query(sql);
        self.arm();
        let started = self.metrics.clock();
        let guard = self.channel.guard.clone();
        if let Some(execution) = guard.run(self.session.execute_known(sql)).await?? {
            self.send_execution(execution, false).await?;
            self.statement_done(started);
            return self.ready().await;
        }
        let statements = guard.run(self.session.parse(sql)).await??;
        if statements.is_empty() {
            self.channel.output.empty_query();
            return self.ready().await;
        }
        let block = statements.len() > 1;
        if block {
            self.session.begin_block();
            self.extended.open_block();
        }
        let last = statements.len() - 1;
        for (index, statement) in statements.into_iter().enumerate() {
            self.arm();
            self.simple_statement(statement, block && index == last).await?;
        }
        self.ready().await
    }

    /// After an error: the implicit transaction is rolled back, the client may go on.
    pub(crate) async fn finish_simple_query(&mut self) -> Result<(), End> {
        let finished = async {
            if self.extended.take_block()
                && let Err(Failure::Sql(error)) = self.end_block().await
            {
                self.report(&error)?;
            }
            self.ready().await
        };
        match finished.await {
            Ok(()) => Ok(()),
            Err(Failure::End(end)) => Err(end),
            Err(Failure::Sql(error)) => Err(End::Fatal(error)),
        }
    }

    /// `commit`: the implicit transaction ends before the client is told of success.
    async fn simple_statement(
        &mut self,
        statement: S::Statement,
        commit: bool,
    ) -> Result<(), Failure> {
        let started = self.metrics.clock();
        let guard = self.channel.guard.clone();
        let prepared = guard.run(self.session.prepare(Some(statement), &[])).await??;
        if let Some(unknown) = prepared.parameter_types().first() {
            return Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1")
                .detail(format!("its type would be {}", unknown.sql_name()))
                .into());
        }
        let execution = guard.run(self.session.execute(&prepared, Vec::new())).await??;
        self.send_execution(execution, commit).await?;
        self.statement_done(started);
        Ok(())
    }

    /// Sends what a statement gives, up to its command tag.
    async fn send_execution(&mut self, execution: Execution, commit: bool) -> Result<(), Failure> {
        self.speak();
        self.send_notices();
        let (tag, rows) = match execution {
            Execution::Empty => {
                self.channel.output.empty_query();
                (None, 0)
            }
            Execution::Command { tag } => (Some(tag), 0),
            Execution::Rows { fields, stream, tag, binary } => {
                let formats =
                    if binary { ResultFormats::AllBinary } else { ResultFormats::default() };
                self.channel.output.row_description(&fields, |index| formats.get(index));
                let mut rows = Rows::new(&fields, &formats, stream, tag)?;
                let settings = self.session.settings_for(rows.types());
                let sent = rows.send(&mut self.channel, &settings, 0).await?;
                self.metrics.rows_sent.add(sent.rows);
                (Some(rows.into_tag()), sent.rows)
            }
            Execution::CopyIn(copy) => (Some(self.copy_in(copy).await?), 0),
            Execution::CopyOut(copy) => (Some(self.copy_out(copy).await?), 0),
        };
        if commit && self.extended.take_block() {
            self.end_block().await?;
        }
        self.send_notices();
        if let Some(tag) = tag {
            self.channel.output.command_complete(&tag, rows);
        }
        Ok(())
    }

    /// Ends the implicit transaction of several statements.
    pub(crate) async fn end_block(&mut self) -> Result<(), Failure> {
        let guard = self.channel.guard.clone();
        guard.run(self.session.end_block()).await??;
        Ok(())
    }
}
