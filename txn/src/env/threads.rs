//! Threads.

/// A weight of about a tenth of the usual one.
const BACKGROUND_NICENESS: i32 = 10;

/// Starts threads.
pub trait Threads: Send + Sync {
    /// Run `body` on a thread named `name` (at most 15 bytes show up in the system's tools).
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<JoinHandle, SpawnError>;

    /// As `spawn`, for work that others should not notice: where they want the processors, it gets
    /// about a tenth of one, enough to come to an end.
    fn spawn_background(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<JoinHandle, SpawnError> {
        self.spawn(name, body)
    }
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
