//! COPY in and out.

use futures::StreamExt;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::{CopyIn, CopyOut, CopySink},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{Connection, End, Failure},
    frontend::Message,
    output::FLUSH_AT,
    session::SqlSession,
};

impl<S: SqlSession, IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<S, IO> {
    /// Feeds the sink what the client sends until CopyDone. Returns the command tag.
    pub(crate) async fn copy_in(&mut self, copy: CopyIn) -> Result<String, Failure> {
        self.channel.output.copy_response(b'G', copy.columns, copy.binary);
        self.channel.flush().await?;
        let mut sink = copy.sink;
        match self.feed(&mut sink).await {
            Ok(None) => {
                let guard = self.channel.guard.clone();
                Ok(guard.run(sink.finish()).await??)
            }
            Ok(Some(reason)) => Err(sink.fail(reason).await.into()),
            Err(failure) => {
                let reason = match &failure {
                    Failure::Sql(error) => error.message.clone(),
                    Failure::End(_) => "the client disconnected".to_owned(),
                };
                sink.fail(reason).await;
                Err(failure)
            }
        }
    }

    /// `Some`: the client gave up, for this reason.
    async fn feed(&mut self, sink: &mut Box<dyn CopySink>) -> Result<Option<String>, Failure> {
        loop {
            let channel = &mut self.channel;
            channel.guard.check()?;
            let next = channel.input.next(&mut channel.stream);
            let Some(frame) = channel.guard.run(next).await?? else {
                return Err(End::Client.into());
            };
            match frame.decode() {
                Ok(Message::CopyData(data)) => channel.guard.run(sink.data(data)).await??,
                Ok(Message::CopyDone) => return Ok(None),
                Ok(Message::CopyFail { reason }) => return Ok(Some(reason.to_owned())),
                // Sent ahead by drivers that do not know how a statement will turn out.
                Ok(Message::Flush | Message::Sync) => {}
                Ok(Message::Terminate) => return Err(End::Client.into()),
                Ok(_) => {
                    return Err(End::Fatal(SqlError::new(
                        sqlstate::PROTOCOL_VIOLATION,
                        format!(
                            "unexpected message type \"{}\" during COPY from stdin",
                            char::from(frame.kind)
                        ),
                    ))
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends every row as one CopyData message. Returns the command tag.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Failure> {
        let channel = &mut self.channel;
        channel.output.copy_response(b'H', copy.columns, copy.binary);
        let mut rows = 0;
        loop {
            channel.guard.check()?;
            let Some(chunk) = channel.guard.run(copy.rows.next()).await? else { break };
            let chunk = chunk?;
            let mut start = 0;
            for &end in &chunk.ends {
                let end = end as usize;
                let Some(row) = chunk.bytes.get(start..end) else {
                    return Err(SqlError::internal(format!(
                        "a row of COPY ends at {end} of {} bytes",
                        chunk.bytes.len()
                    ))
                    .into());
                };
                channel.output.copy_data(row);
                start = end;
                if channel.output.buffer.len() >= FLUSH_AT {
                    channel.flush_guarded().await?;
                }
            }
            rows += chunk.rows;
        }
        channel.output.copy_done();
        self.metrics.rows_sent.add(rows);
        Ok(format!("COPY {rows}"))
    }
}
