//! Work apart from the sessions: on the runtime for queries.
//!
//! # The rule
//! No statement holds up another session. So a session's task computes only what is known to be
//! little before it starts; everything else is planned and executed on the runtime for queries,
//! which has threads of its own, and the session's task waits for it, encodes what comes and sends
//! it. What stays with the session:
//!
//! 1. parsing and planning a statement of at most [`PLANNED_HERE_BYTES_MAX`];
//! 2. a plan that [`point`](super::point) computes: rows by keys and short ranges of them, short VALUES;
//! 3. a query whose physical plan handles at most [`run::ROWS_HERE_MAX`](super::run) rows, by an
//!    upper bound over all operators (what joins may pair, what nobody can bound counts as endless);
//! 4. what changes nothing but the session: SET, SHOW, BEGIN, PREPARE.
//!
//! 2 and 3 call no function whose work its arguments' sizes do not bound
//! ([`is_costly`](crate::query::functions::is_costly)).
//!
//! Giving up the future or stream of such work (cancel, timeout, lost client) is seen at once by the
//! session, and by the work at its next await: every loop in it has one per batch. Functions, which
//! have none, ask [between two rows](crate::query::functions::given_up).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, Stream, StreamExt};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Engine;
use crate::error::SqlError;

/// Longest statement, in bytes, that is parsed and planned by the session itself: a few
/// milliseconds.
pub(super) const PLANNED_HERE_BYTES_MAX: usize = 32 << 10;
/// Items that wait for a client that is slower than its query.
const ITEMS_WAITING: usize = 2;

/// A task that ends with its handle.
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(engine: &Engine, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(engine.query_runtime().spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    /// A panic goes on in the one that waits.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(self.0.poll_unpin(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the handle aborts it, and the runtime's end, which ends this one too.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `work` on the runtime for queries.
pub(super) async fn apart<T: Send + 'static>(
    engine: &Engine,
    work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
) -> Result<T, SqlError> {
    Task::spawn(engine, work).await
}

/// Opens a stream and runs it on the runtime for queries, a few items ahead of who reads them.
pub(super) fn apart_stream<T, S>(
    engine: &Engine,
    open: impl FnOnce() -> Result<S, SqlError> + Send + 'static,
) -> impl Stream<Item = Result<T, SqlError>> + Send + 'static
where
    T: Send + 'static,
    S: Stream<Item = Result<T, SqlError>> + Send,
{
    let (sender, items) = mpsc::channel(ITEMS_WAITING);
    let task = Task::spawn(engine, async move {
        let mut stream = match open() {
            Ok(stream) => Box::pin(stream),
            Err(error) => {
                // Nobody listens any more: nobody wants to know.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        while let Some(item) = stream.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    Items { items, task: Some(task) }
}

struct Items<T> {
    items: mpsc::Receiver<Result<T, SqlError>>,
    task: Option<Task<()>>,
}

impl<T> Stream for Items<T> {
    type Item = Result<T, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            return Poll::Ready(Some(item));
        }
        // The task has ended: well, or by a panic, which goes on here.
        if let Some(task) = &mut self.task {
            ready!(task.poll_unpin(cx));
            self.task = None;
        }
        Poll::Ready(None)
    }
}
