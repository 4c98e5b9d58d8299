//! How a running statement is stopped from outside.

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::{CommitPoint, CommitState},
};
use tokio::{sync::Notify, time::Instant};

/// How long a connection that is to end waits for the answer of its commit. Shorter than what the
/// listener grants sessions when the server stops, so that the client hears of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// The statement that runs now is to end.
const CANCEL: u8 = 1;
/// The connection is to end.
const TERMINATE: u8 = 2;

/// Requests from other tasks to one connection.
#[derive(Default, Debug)]
pub(crate) struct Interrupt {
    flags: AtomicU8,
    wake: Notify,
}

impl Interrupt {
    /// The statement that runs now is to end.
    pub(crate) fn cancel(&self) {
        self.raise(CANCEL);
    }

    /// The connection is to end.
    pub(crate) fn terminate(&self) {
        self.raise(TERMINATE);
    }

    fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// A cancel that came between two statements is for neither.
    pub(crate) fn clear_cancel(&self) {
        if self.flags.load(Ordering::Relaxed) & CANCEL != 0 {
            self.flags.fetch_and(!CANCEL, Ordering::SeqCst);
        }
    }

    pub(crate) fn terminating(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & TERMINATE != 0
    }

    fn pending(&self) -> Option<SqlError> {
        match self.flags.load(Ordering::SeqCst) {
            0 => None,
            flags if flags & TERMINATE != 0 => Some(terminated()),
            _ => Some(canceled("canceling statement due to user request")),
        }
    }

    async fn wait(&self, flags: u8) {
        let mut woken = pin!(self.wake.notified());
        loop {
            // Registered before the look at the flags, so that no request falls in between.
            woken.as_mut().enable();
            if self.flags.load(Ordering::SeqCst) & flags != 0 {
                return;
            }
            woken.as_mut().await;
            woken.set(self.wake.notified());
        }
    }

    /// Ends when the connection is to end.
    pub(crate) async fn terminated(&self) {
        self.wait(TERMINATE).await;
    }
}

fn canceled(why: &str) -> SqlError {
    SqlError::new(sqlstate::QUERY_CANCELED, why)
}

/// 57P01.
pub(crate) fn terminated() -> SqlError {
    SqlError::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// What may stop the statement that runs now.
///
/// It never stops a commit that is on its way: whatever asks for it waits for the answer, as in
/// PostgreSQL. An answer that means "rolled back" is given only while the session's [`CommitPoint`]
/// is open.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    interrupt: Arc<Interrupt>,
    commit_point: CommitPoint,
    deadline: Option<Instant>,
}

impl Guard {
    pub(crate) fn new(interrupt: Arc<Interrupt>, commit_point: CommitPoint) -> Self {
        Self { interrupt, commit_point, deadline: None }
    }

    /// Ends when the connection is to end.
    pub(crate) async fn terminated(&self) {
        self.interrupt.terminated().await;
    }

    /// Sets or lifts the time by which the statement must have ended.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    fn committed(&self) -> bool {
        self.commit_point.state() == CommitState::Committed
    }

    /// # Errors
    /// 57014 or 57P01 if the statement is to end; once it has committed, only the latter, which says
    /// so.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        if self.committed() {
            let terminating = self.interrupt.terminating();
            return if terminating { Err(terminated_after_commit()) } else { Ok(()) };
        }
        if let Some(error) = self.interrupt.pending() {
            return Err(error);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(timed_out()),
            _ => Ok(()),
        }
    }

    /// Runs `work` until it ends or is to be stopped; stopping drops it. A panic ends the statement,
    /// not the connection.
    ///
    /// # Errors
    /// 57014 or 57P01 as [`check`](Self::check); 08007 if the connection is to end and a commit gives
    /// no answer for too long; XX000 for a panic.
    pub(crate) async fn run<F: Future>(&self, work: F) -> Result<F::Output, SqlError> {
        // What a panic leaves behind is dropped or told that its statement failed.
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        // Most work is done at once; it pays for neither a waiter nor a timer.
        let output = match futures::poll!(work.as_mut()) {
            Poll::Ready(output) => output,
            Poll::Pending => self.interruptible(work).await?,
        };
        output.map_err(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(message, "a statement panicked");
            SqlError::internal(format!("the statement ended in an internal error: {message}"))
        })
    }

    async fn interruptible<F: Future>(&self, mut work: Pin<&mut F>) -> Result<F::Output, SqlError> {
        if self.committed() {
            return tokio::select! {
                biased;
                () = self.interrupt.terminated() => Err(terminated_after_commit()),
                output = work => Ok(output),
            };
        }
        let mut stopped = pin!(self.stopped());
        let error = tokio::select! {
            biased;
            error = stopped.as_mut() => error,
            output = work.as_mut() => return Ok(output),
        };
        let mut unanswered = pin!(self.unanswered());
        // A commit under way is waited for. If it fails and the statement goes on to try again, it
        // is stopped after all.
        poll_fn(|cx| {
            if self.commit_point.state() == CommitState::Open {
                return Poll::Ready(Err(error.clone()));
            }
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.commit_point.state() == CommitState::Open {
                return Poll::Ready(Err(error.clone()));
            }
            unanswered.as_mut().poll(cx).map(Err)
        })
        .await
    }

    /// Ends when a connection that is to end has waited long enough for its commit.
    async fn unanswered(&self) -> SqlError {
        self.interrupt.terminated().await;
        tokio::time::sleep(ANSWER_TIMEOUT).await;
        let message = "the outcome of the transaction is unknown";
        SqlError::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, message)
            .detail("The server stops, and the commit under way has not been answered.")
            .hint("It may have been committed: look before you repeat it.")
    }

    async fn stopped(&self) -> SqlError {
        let asked = async {
            self.interrupt.wait(CANCEL | TERMINATE).await;
            self.interrupt
                .pending()
                .unwrap_or_else(|| canceled("canceling statement due to user request"))
        };
        match self.deadline {
            None => asked.await,
            Some(deadline) => tokio::select! {
                error = asked => error,
                () = tokio::time::sleep_until(deadline) => timed_out(),
            },
        }
    }
}

fn timed_out() -> SqlError {
    canceled("canceling statement due to statement timeout")
}

fn terminated_after_commit() -> SqlError {
    terminated().detail("The transaction has already been committed.")
}
