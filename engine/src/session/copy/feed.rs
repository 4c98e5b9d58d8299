//! The bytes of a COPY on their way from the session to the rows they become.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::input::CopySource;
use crate::{
    error::SqlError,
    session::{apart::Task, api::CopySink, context::ExecutionContext, execute::take},
};

/// Longest piece handed over, and pieces that wait: what a client may be ahead of its rows.
const PIECE_BYTES_MAX: usize = 256 << 10;
const PIECES_WAITING: usize = 8;

/// The session's end: a [`CopySource`] works at the other, on the runtime for queries.
pub(super) struct CopyFeed {
    context: ExecutionContext,
    failed: Arc<AtomicBool>,
    pieces: mpsc::Sender<Piece>,
    /// `None` once its end was told.
    task: Option<Task<Result<u64, SqlError>>>,
}

enum Piece {
    Data(Bytes),
    /// The client's reason.
    GivenUp(String),
    End,
}

impl CopyFeed {
    pub(super) fn new(
        context: &ExecutionContext,
        source: CopySource,
        failed: &Arc<AtomicBool>,
    ) -> Self {
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
        let task = Some(Task::spawn(&context.engine, work(source, waiting)));
        Self { context: context.clone(), failed: Arc::clone(failed), pieces, task }
    }

    async fn send(&mut self, piece: Piece) -> Result<(), SqlError> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // The work has ended before its data.
        self.ended().await.map(drop)
    }

    /// How the work ended; a panic of it goes on here.
    async fn ended(&mut self) -> Result<u64, SqlError> {
        let Some(task) = &mut self.task else {
            return Err(SqlError::internal("COPY ended before its data"));
        };
        let ended = task.await;
        self.task = None;
        ended
    }

    async fn end(&mut self) -> Result<u64, SqlError> {
        self.send(Piece::End).await?;
        self.ended().await
    }
}

async fn work(mut source: CopySource, mut pieces: mpsc::Receiver<Piece>) -> Result<u64, SqlError> {
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Data(bytes) => source.take_bytes(&bytes).await?,
            Piece::GivenUp(reason) => return Err(source.given_up(&reason)),
            Piece::End => return source.end().await,
        }
    }
    Err(source.given_up("the session ended"))
}

#[async_trait]
impl CopySink for CopyFeed {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            let sent = self.send(Piece::Data(Bytes::copy_from_slice(piece))).await;
            if let Err(error) = sent {
                self.failed.store(true, Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String, SqlError> {
        let ended = match self.end().await {
            Ok(rows) if self.context.is_last => {
                take(&self.context.transaction).commit().await.map(|()| rows)
            }
            ended => ended,
        };
        if ended.is_err() {
            self.failed.store(true, Relaxed);
        }
        ended.map(|rows| format!("COPY {rows}"))
    }

    async fn fail(mut self: Box<Self>, reason: String) -> SqlError {
        self.failed.store(true, Relaxed);
        let given_up = match self.send(Piece::GivenUp(reason)).await {
            Ok(()) => self.ended().await,
            Err(error) => Err(error),
        };
        match given_up {
            Err(error) => error,
            Ok(rows) => SqlError::internal(format!("a COPY that was given up took {rows} rows")),
        }
    }
}
