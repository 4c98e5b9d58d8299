//! Rows of a large statement into objects before it commits: what a session does of it
//! (`docs/flush.md`, "Large writes").
//!
//! ```text
//! rows ─▶ write set ─▶ a run, once enough are gathered ─▶ [`StageWriter`], on a thread that may block
//!            ▲                                                  │ segments that are done
//!            └── the next rows meanwhile                        ▼
//!                                                  parts of the commit name them
//! ```
//!
//! One run is written while the next one is gathered. What is dropped without a commit is deleted, its job
//! ended, in a task of its own; where there is no runtime any more the sweep does it.

use std::sync::Arc;

use futures::executor::block_on;
use glaredb_txn::ids::TableId;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{commit, errors, transaction::Transaction};
use crate::{
    error::SqlError,
    storage::{
        database::Database,
        rewrite::RewriteError,
        staging::{Stage, StageWriter, Written},
        write_set::{EncodedPart, WriteSet},
    },
};

/// Rows that are worth an object where memory is short.
const WORTHWHILE_BYTES: u64 = 2 << 20;

/// The rows of one table, which one statement writes.
pub(super) struct Staging {
    /// `None` once the objects are not its own any more.
    stage: Option<Stage>,
    table: TableId,
    state: State,
}

enum State {
    /// No run yet.
    Empty,
    Idle(Box<StageWriter>),
    Writing(JoinHandle<Result<(Box<StageWriter>, Written), RewriteError>>),
    /// It failed.
    Broken,
}

impl Staging {
    async fn begin(database: &Database, table: TableId) -> Result<Self, SqlError> {
        let stage = Stage::begin(database, table).await.map_err(errors::staging_error)?;
        Ok(Self { stage: Some(stage), table, state: State::Empty })
    }

    /// Hands over what the transaction has gathered. Waits for the run before it.
    pub(super) async fn next_run(transaction: &Mutex<Transaction>) -> Result<(), SqlError> {
        let (staging, writes, database) = {
            let mut this = transaction.lock();
            (this.staging.take(), Arc::clone(this.writes()), Arc::clone(this.database()))
        };
        // It has one statement, which writes to one table.
        let table = writes.lock().tables().next();
        let Some(table) = table else { return Ok(()) };
        let mut staging = match staging {
            Some(staging) => staging,
            None => Self::begin(&database, table).await?,
        };
        staging.collect(&database, &writes, |part| transaction.lock().part(part)).await?;
        staging.write_gathered(&writes)?;
        transaction.lock().staging = Some(staging);
        // What others hold in memory may have to go first.
        database.wait_for_room().await;
        Ok(())
    }

    /// What others hold in memory may have to go first; and what is gathered, if that is worth an object.
    pub(super) async fn make_room(transaction: &Mutex<Transaction>) -> Result<(), SqlError> {
        let (is_staging, database, gathered) = {
            let mut this = transaction.lock();
            let (table, gathered) = {
                let writes = this.writes().lock();
                (writes.tables().next(), writes.gathered_bytes())
            };
            // Of a temporary table there are no segments.
            let goes = table.is_some_and(|table| !this.is_temporary(table));
            let gathered = if goes { gathered } else { 0 };
            (this.staging.is_some(), Arc::clone(this.database()), gathered)
        };
        if is_staging || gathered >= WORTHWHILE_BYTES {
            Self::next_run(transaction).await?;
        }
        database.wait_for_room().await;
        Ok(())
    }

    /// The segment that goes on is done, so that it can be asked for keys.
    pub(super) async fn close_segment(transaction: &Mutex<Transaction>) -> Result<(), SqlError> {
        let (staging, writes, database) = {
            let mut this = transaction.lock();
            (this.staging.take(), Arc::clone(this.writes()), Arc::clone(this.database()))
        };
        let Some(mut staging) = staging else { return Ok(()) };
        staging.collect(&database, &writes, |part| transaction.lock().part(part)).await?;
        staging.finish();
        staging.collect(&database, &writes, |part| transaction.lock().part(part)).await?;
        transaction.lock().staging = Some(staging);
        Ok(())
    }

    /// Writes what is left, to the last row, before the commit.
    pub(super) async fn last_run(
        mut self,
        transaction: &mut Transaction,
    ) -> Result<Self, SqlError> {
        let (writes, database) =
            (Arc::clone(transaction.writes()), Arc::clone(transaction.database()));
        self.collect(&database, &writes, |part| transaction.part(part)).await?;
        self.write_gathered(&writes)?;
        self.collect(&database, &writes, |part| transaction.part(part)).await?;
        self.finish();
        self.collect(&database, &writes, |part| transaction.part(part)).await?;
        Ok(self)
    }

    /// Nobody deletes the objects from here on.
    pub(super) fn leave_objects(&mut self) {
        self.stage = None;
    }

    /// Waits for the run that is being written, and sends the parts that name what is done.
    async fn collect(
        &mut self,
        database: &Arc<Database>,
        writes: &Mutex<WriteSet>,
        mut request: impl FnMut(bytes::Bytes) -> glaredb_txn::commit::message::Request,
    ) -> Result<(), SqlError> {
        let State::Writing(run) = &mut self.state else { return Ok(()) };
        let ended = run.await;
        self.state = State::Broken;
        let written = match ended {
            Ok(Ok((writer, written))) => {
                self.state = State::Idle(writer);
                written
            }
            Ok(Err(error)) => return Err(errors::staging_error(error)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => return Err(SqlError::internal(error.to_string())),
            },
        };
        if let Some(stage) = &mut self.stage {
            stage.renew().await.map_err(errors::staging_error)?;
        }
        let parts = writes.lock().run_written(self.table, written);
        let parts: Vec<EncodedPart> = parts.map_err(errors::storage_error)?;
        for part in parts {
            let request = request(part.payload());
            commit::send_part(database, request, part).await?;
        }
        Ok(())
    }

    /// Begins to write what is gathered.
    fn write_gathered(&mut self, writes: &Mutex<WriteSet>) -> Result<(), SqlError> {
        let run = writes.lock().take_run(self.table).map_err(errors::storage_error)?;
        let Some((schema, run)) = run else { return Ok(()) };
        let writer = match (std::mem::replace(&mut self.state, State::Broken), &self.stage) {
            (State::Idle(writer), _) => writer,
            (State::Empty, Some(stage)) => Box::new(stage.writer(&schema)),
            _ => return Err(SqlError::internal("rows are written into objects after a failure")),
        };
        self.work(writer, |writer| writer.write(run));
        Ok(())
    }

    fn finish(&mut self) {
        if let State::Idle(writer) = std::mem::replace(&mut self.state, State::Broken) {
            self.work(writer, StageWriter::finish);
        }
    }

    /// Sorting, encoding and requests to the store: on a thread that may take its time.
    fn work(
        &mut self,
        mut writer: Box<StageWriter>,
        work: impl FnOnce(&mut StageWriter) -> Result<Written, RewriteError> + Send + 'static,
    ) {
        let run = move || work(&mut writer).map(|written| (writer, written));
        self.state = State::Writing(tokio::task::spawn_blocking(run));
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(stage) = self.stage.take() else { return };
        let state = std::mem::replace(&mut self.state, State::Broken);
        let Ok(runtime) = Handle::try_current() else { return };
        // It asks the log and the store: for a thread that may block.
        runtime.spawn_blocking(move || {
            block_on(async move {
                // It would begin more objects.
                if let State::Writing(run) = state {
                    let _ = run.await;
                }
                let job = stage.job();
                if let Err(error) = stage.give_up().await {
                    tracing::debug!(%job, %error, "what it wrote stays until the next sweep");
                }
            });
        });
    }
}
