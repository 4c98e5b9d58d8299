//! Threads that wait to be run.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::env::{JoinHandle, SpawnError, Threads};

type Body = Box<dyn FnOnce() + Send>;

/// Nothing runs by itself: what was spawned is kept, and runs to its end on the caller's thread in
/// [`SimThreads::run_next`], or when it is joined. A body that waits for another thread would wait
/// for ever, so code under simulation is driven by step functions ([`super::Scheduler`]) instead.
#[derive(Default)]
pub struct SimThreads {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    bodies: VecDeque<(u64, String, Body)>,
    next: u64,
}

impl SimThreads {
    /// Run the oldest body that waits; its name, or `None` if there is none.
    pub fn run_next(&self) -> Option<String> {
        let (_, name, body) = self.waiting.lock().bodies.pop_front()?;
        body();
        Some(name)
    }
}

impl Threads for SimThreads {
    fn spawn(&self, name: &str, body: Body) -> Result<JoinHandle, SpawnError> {
        let mut waiting = self.waiting.lock();
        let id = waiting.next;
        waiting.next += 1;
        waiting.bodies.push_back((id, name.to_owned(), body));
        let shared = Arc::clone(&self.waiting);
        Ok(JoinHandle::new(Box::new(move || {
            let body = {
                let mut waiting = shared.lock();
                let at = waiting.bodies.iter().position(|(other, _, _)| *other == id);
                at.and_then(|at| waiting.bodies.remove(at))
            };
            if let Some((_, _, body)) = body {
                body();
            }
            Ok(())
        })))
    }

    /// One after the other, in the order given.
    fn run_all<'b>(
        &self,
        _: &str,
        bodies: Vec<Box<dyn FnOnce() + Send + 'b>>,
    ) -> Result<(), SpawnError> {
        bodies.into_iter().for_each(|body| body());
        Ok(())
    }
}
