//! Threads.

use std::panic::resume_unwind;

use super::priority;

/// A weight of about a tenth of the usual one.
const BACKGROUND_NICENESS: i32 = 10;

/// Starts threads.
pub trait Threads: Send + Sync {
    /// Run `body` on a thread named `name` (at most 15 bytes show up in the system's tools).
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<JoinHandle, SpawnError>;

    /// As `spawn`, for work of microseconds that somebody waits for: when it wakes it runs before
    /// what computes for long.
    fn spawn_prompt(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<JoinHandle, SpawnError> {
        self.spawn(name, body)
    }

    /// As `spawn`, for work that others should not notice: where they want the processors, it gets
    /// about a tenth of one, enough to come to an end.
    fn spawn_background(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<JoinHandle, SpawnError> {
        self.spawn(name, body)
    }

    /// Run all bodies, in any order or side by side, and return when each has ended: work that is cut
    /// into pieces, which may borrow from the caller. One of them runs on the caller's thread, the
    /// others on threads named `name`. No body may wait for another. A panic of one goes on in the
    /// caller once the others have ended.
    ///
    /// Error: a thread cannot be started. Then some bodies did not run.
    fn run_all<'b>(
        &self,
        name: &str,
        bodies: Vec<Box<dyn FnOnce() + Send + 'b>>,
    ) -> Result<(), SpawnError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("thread {name} cannot be started: {reason}")]
pub struct SpawnError {
    pub name: String,
    pub reason: String,
}

/// The thread ended by a panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("thread {name} panicked: {message}")]
pub struct Panicked {
    pub name: String,
    pub message: String,
}

/// A running thread. Dropping the handle lets it run on.
pub struct JoinHandle {
    wait: Box<dyn FnOnce() -> Result<(), Panicked> + Send + Sync>,
}

impl JoinHandle {
    /// For implementations of [`Threads`]: `wait` blocks until the thread has ended.
    pub fn new(wait: Box<dyn FnOnce() -> Result<(), Panicked> + Send + Sync>) -> Self {
        Self { wait }
    }

    /// Wait for the thread to end.
    pub fn join(self) -> Result<(), Panicked> {
        (self.wait)()
    }
}

/// Threads of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemThreads;

impl Threads for SystemThreads {
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<JoinHandle, SpawnError> {
        let name = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(body)
            .map_err(|error| SpawnError { name: name.clone(), reason: error.to_string() })?;
        Ok(JoinHandle::new(Box::new(move || {
            thread.join().map_err(|payload| Panicked { name, message: panic_message(&*payload) })
        })))
    }

    fn spawn_prompt(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<JoinHandle, SpawnError> {
        let prompt = move || {
            priority::wake_promptly();
            body();
        };
        self.spawn(name, Box::new(prompt))
    }

    fn spawn_background(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<JoinHandle, SpawnError> {
        let lowered = move || {
            // Of the calling thread only. A thread of usual priority does the work as well.
            if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICENESS) {
                tracing::warn!(%error, "background work runs at the usual priority");
            }
            body();
        };
        self.spawn(name, Box::new(lowered))
    }

    fn run_all<'b>(
        &self,
        name: &str,
        mut bodies: Vec<Box<dyn FnOnce() + Send + 'b>>,
    ) -> Result<(), SpawnError> {
        let Some(own) = bodies.pop() else { return Ok(()) };
        std::thread::scope(|scope| {
            let mut running = Vec::with_capacity(bodies.len());
            for body in bodies {
                let thread = std::thread::Builder::new().name(name.to_owned());
                running.push(thread.spawn_scoped(scope, body).map_err(|error| SpawnError {
                    name: name.to_owned(),
                    reason: error.to_string(),
                })?);
            }
            own();
            for thread in running {
                if let Err(payload) = thread.join() {
                    resume_unwind(payload);
                }
            }
            Ok(())
        })
    }
}

/// The text of a panic, as far as it has one.
fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn bodies_borrow_and_all_of_them_have_ended() {
        let sum = AtomicU32::new(0);
        let body = |n: u32| {
            let sum = &sum;
            Box::new(move || {
                sum.fetch_add(n, Ordering::Relaxed);
            }) as Box<dyn FnOnce() + Send + '_>
        };
        SystemThreads.run_all("test", (1..=4).map(body).collect()).unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), 10);
        SystemThreads.run_all("test", Vec::new()).unwrap();
    }

    #[test]
    fn a_panic_of_a_body_goes_on_in_the_caller() {
        let run = || {
            let bodies: Vec<Box<dyn FnOnce() + Send>> =
                vec![Box::new(|| resume_unwind(Box::new("gone"))), Box::new(|| {})];
            SystemThreads.run_all("test", bodies)
        };
        let panic = std::panic::catch_unwind(run).unwrap_err();
        assert_eq!(panic_message(&*panic), "gone");
    }
}
