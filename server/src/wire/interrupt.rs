//! How a running statement is stopped from outside.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
};

use futures::FutureExt;
use glaredb_engine::error::{SqlError, sqlstate};
use tokio::{sync::Notify, time::Instant};

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
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    interrupt: Arc<Interrupt>,
    deadline: Option<Instant>,
}

impl Guard {
    pub(crate) fn new(interrupt: Arc<Interrupt>) -> Self {
        Self { interrupt, deadline: None }
    }

    /// Sets or lifts the time by which the statement must have ended.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// # Errors
    /// 57014 or 57P01 if the statement is to end.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
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
    /// 57014 or 57P01; XX000 for a panic.
    pub(crate) async fn run<F: Future>(&self, work: F) -> Result<F::Output, SqlError> {
        // What a panic leaves behind is dropped or told that its statement failed.
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        // Most work is done at once; it pays for neither a waiter nor a timer.
        let output = match futures::poll!(work.as_mut()) {
            Poll::Ready(output) => output,
            Poll::Pending => tokio::select! {
                biased;
                error = self.stopped() => return Err(error),
                output = work => output,
            },
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
