//! The message loop of one session.

use std::{io, sync::Arc};

use glaredb_engine::{
    error::{SqlError, sqlstate},
    types::encoding::Encoding,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use super::{
    connections::Registration,
    extended::Extended,
    frontend::{DecodeError, Frame, Message},
    input::{Input, ReadError},
    interrupt::{Guard, terminated},
    output::{Output, Severity},
    session::SqlSession,
};
use crate::metrics::Metrics;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye or closed.
    Client,
    Lost(io::Error),
    /// Told to the client as FATAL.
    Fatal(SqlError),
}

/// Why a message was not served.
#[derive(Debug)]
pub(crate) enum Failure {
    Sql(SqlError),
    End(End),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::End(End::Lost(error))
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::End(End::Lost(error)),
            ReadError::Decode(error) => error.into(),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Protocol(error) => Self::End(End::Fatal(error)),
            DecodeError::Statement(error) => Self::Sql(error),
        }
    }
}

/// The two directions of a connection and what may interrupt it: all that sending rows needs.
pub(crate) struct Channel<IO> {
    pub(crate) stream: IO,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) guard: Guard,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Channel<IO> {
    /// Writes out what has gathered. A client that does not read is waited for until the connection is
    /// to end.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            flushed = self.output.flush(&mut self.stream) => Ok(flushed?),
            () = self.guard.terminated() => Err(End::Fatal(terminated()).into()),
        }
    }

    /// Writes out what has gathered, as long as the running statement may go on.
    pub(crate) async fn flush_guarded(&mut self) -> Result<(), Failure> {
        Ok(self.guard.run(self.output.flush(&mut self.stream)).await??)
    }
}

/// 25P03 or 57P05: the client said nothing for too long.
fn idle_too_long(transaction_open: bool) -> SqlError {
    if transaction_open {
        let message = "terminating connection due to idle-in-transaction timeout";
        SqlError::new(sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, message)
    } else {
        let message = "terminating connection due to idle-session timeout";
        SqlError::new(sqlstate::IDLE_SESSION_TIMEOUT, message)
    }
}

pub(crate) struct Connection<S: SqlSession, IO> {
    pub(crate) channel: Channel<IO>,
    pub(crate) session: S,
    pub(crate) extended: Extended<S::Prepared>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registration: Registration,
}

impl<S: SqlSession, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<S, IO> {
    pub(crate) fn new(
        stream: IO,
        input: Input,
        output: Output,
        session: S,
        registration: Registration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let guard = Guard::new(registration.interrupt.clone(), session.commit_point().clone());
        let input = input.charged_to(session.message_memory());
        let channel = Channel { stream, input, output, guard };
        Self { channel, session, extended: Extended::default(), metrics, registration }
    }

    /// Serves messages until the client leaves, is lost, or is told to go.
    pub(crate) async fn run(mut self) {
        let end = loop {
            match self.serve_one().await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        match end {
            End::Client => {}
            End::Lost(error) => tracing::debug!(pid = self.registration.pid, %error, "client lost"),
            End::Fatal(error) => {
                tracing::info!(pid = self.registration.pid, %error, "connection ended");
                self.channel.output.error(Severity::Fatal, &error);
                // A client that does not read must not keep the server from stopping.
                let farewell = self.channel.output.flush(&mut self.channel.stream);
                let _ = tokio::time::timeout(std::time::Duration::from_secs(1), farewell).await;
            }
        }
        let _ = self.channel.stream.shutdown().await;
    }

    async fn serve_one(&mut self) -> Result<(), End> {
        if self.registration.interrupt.terminating() {
            return Err(End::Fatal(terminated()));
        }
        let frame = match self.next_frame().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(End::Client),
            Err(Failure::End(end)) => return Err(end),
            // Cutting frames knows no lesser error.
            Err(Failure::Sql(error)) => return Err(End::Fatal(error)),
        };
        if self.extended.skipping() && !matches!(frame.kind, b'S' | b'X') {
            return Ok(());
        }
        let simple = frame.kind == b'Q';
        match self.serve_frame(&frame).await {
            Ok(()) => Ok(()),
            Err(Failure::End(end)) => Err(end),
            Err(Failure::Sql(error)) => {
                self.report(&error)?;
                if simple {
                    self.finish_simple_query().await
                } else {
                    self.extended.skip_to_sync();
                    // The client may wait for this before it sends its Sync.
                    match self.channel.flush().await {
                        Ok(()) => Ok(()),
                        Err(Failure::End(end)) => Err(end),
                        Err(Failure::Sql(error)) => Err(End::Fatal(error)),
                    }
                }
            }
        }
    }

    /// Tells the client and the session that a statement failed.
    pub(crate) fn report(&mut self, error: &SqlError) -> Result<(), End> {
        self.metrics.errors.increment();
        if error.sqlstate == sqlstate::SERIALIZATION_FAILURE {
            self.metrics.serialization_failures.increment();
        }
        self.session.statement_failed();
        self.speak();
        if error.sqlstate == sqlstate::ADMIN_SHUTDOWN {
            return Err(End::Fatal(error.clone()));
        }
        self.channel.output.error(Severity::Error, error);
        Ok(())
    }

    async fn next_frame(&mut self) -> Result<Option<Frame>, Failure> {
        if let Some(frame) = self.channel.input.buffered()? {
            return Ok(Some(frame));
        }
        let idle = self.session.idle_timeout();
        let waited = async {
            match idle {
                Some((after, open)) => {
                    tokio::time::sleep(after).await;
                    idle_too_long(open)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            frame = self.channel.input.next(&mut self.channel.stream) => Ok(frame?),
            () = self.registration.interrupt.terminated() => Err(End::Fatal(terminated()).into()),
            error = waited => Err(End::Fatal(error).into()),
        }
    }

    /// Counts a statement that ended well, and logs it if it took long.
    pub(crate) fn statement_done(&self, started: Instant) {
        self.metrics.statement_done(started);
        let Some(least) = self.session.logged_duration() else { return };
        let took = started.elapsed();
        if took >= least {
            tracing::info!(
                pid = self.registration.pid,
                milliseconds = took.as_secs_f64() * 1e3,
                query = self.registration.query(),
                "slow statement"
            );
        }
    }

    /// Takes over the client's encoding, which the session may have changed.
    pub(crate) fn speak(&mut self) -> Encoding {
        let encoding = self.session.format_settings().encoding;
        self.channel.output.encoding = encoding;
        encoding
    }

    async fn serve_frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        let encoding = self.speak();
        let decoded;
        let frame = if encoding.is_utf8() {
            frame
        } else {
            decoded = frame.in_utf8(encoding)?;
            &decoded
        };
        match frame.decode()? {
            Message::Query { sql } => self.simple_query(sql).await,
            Message::Parse { name, sql, parameter_types } => {
                self.parse(name, sql, parameter_types).await
            }
            Message::Bind(bind) => self.bind(&bind),
            Message::Describe { target, name } => self.describe(target, name),
            Message::Execute { portal, row_limit } => self.execute(portal, row_limit).await,
            Message::Close { target, name } => {
                self.close(target, name);
                Ok(())
            }
            Message::Flush => self.channel.flush().await,
            Message::Sync => self.sync().await,
            Message::Terminate => Err(End::Client.into()),
            // A client learns of a failed COPY after it has sent more of it.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail { .. } => Ok(()),
            Message::FunctionCall => {
                self.report(&SqlError::not_supported("the function call protocol"))?;
                self.ready().await
            }
        }
    }

    /// Sets what may stop the statement that starts now.
    pub(crate) fn arm(&mut self) {
        self.registration.show_active();
        self.session.commit_point().reset();
        let deadline = self.session.statement_timeout().map(|after| Instant::now() + after);
        self.channel.guard.set_deadline(deadline);
    }

    pub(crate) fn clear_cancel(&self) {
        self.registration.interrupt.clear_cancel();
    }

    /// Passes on what the session has to say beside results, after a statement.
    pub(crate) fn send_notices(&mut self) {
        if let Some(savepoints) = self.session.take_undone() {
            self.extended.drop_portals_since(savepoints);
        }
        for notice in self.session.take_notices() {
            self.channel.output.notice(&notice);
        }
    }

    /// ReadyForQuery, and everything out.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        self.send_notices();
        for (name, value) in self.session.take_reports() {
            if name == "application_name" {
                self.registration.show_application(&value);
            }
            self.channel.output.parameter_status(name, &value);
        }
        let status = self.session.status();
        if status == glaredb_engine::session::api::TransactionStatus::Idle {
            self.extended.drop_portals();
        }
        self.registration.show_idle(status);
        self.channel.output.ready_for_query(status);
        self.channel.flush().await?;
        self.channel.output.shrink();
        Ok(())
    }
}
