//! Threads.

/// Starts threads.
pub trait Threads: Send + Sync {
    /// Run `body` on a thread named `name` (at most 15 bytes show up in the system's tools).
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<JoinHandle, SpawnError>;
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
