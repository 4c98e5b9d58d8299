//! The events a watch may still ask for, in memory.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Event, MetastoreError, Revision, Watch};

/// Most events kept; a watch that falls further behind lists anew.
const EVENTS_MAX: usize = 4096;

#[derive(Clone)]
pub(super) struct EventLog {
    state: Arc<Mutex<State>>,
}

struct State {
    /// By revision; all events of a revision or none.
    events: VecDeque<Event>,
    /// Events up to this revision are forgotten.
    floor: Revision,
    newest: Revision,
}

impl EventLog {
    /// Knows nothing of what happened up to `floor`.
    pub(super) fn new(floor: Revision) -> Self {
        let state = State { events: VecDeque::new(), floor, newest: floor };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The events of the next revision.
    pub(super) fn push(&self, revision: Revision, events: Vec<Event>) {
        let mut state = self.state.lock();
        debug_assert!(revision > state.newest, "revisions grow");
        state.newest = revision;
        state.events.extend(events);
        while state.events.len() > EVENTS_MAX {
            let forgotten = state.events[0].revision;
            while state.events.front().is_some_and(|event| event.revision == forgotten) {
                state.events.pop_front();
            }
            state.floor = forgotten;
        }
    }

    /// Something happened up to `revision` that nobody here saw.
    pub(super) fn forget(&self, revision: Revision) {
        let mut state = self.state.lock();
        state.events.clear();
        (state.floor, state.newest) = (revision, revision);
    }

    pub(super) fn watch(
        &self,
        prefix: Bytes,
        after: Revision,
    ) -> Result<Box<dyn Watch>, MetastoreError> {
        let state = self.state.lock();
        if after < state.floor {
            return Err(MetastoreError::Compacted { asked: after, oldest: state.floor });
        }
        Ok(Box::new(LogWatch { log: self.clone(), prefix, seen: after }))
    }
}

struct LogWatch {
    log: EventLog,
    prefix: Bytes,
    seen: Revision,
}

impl Watch for LogWatch {
    fn poll(&mut self) -> Result<Vec<Event>, MetastoreError> {
        let state = self.log.state.lock();
        if self.seen < state.floor {
            return Err(MetastoreError::Compacted { asked: self.seen, oldest: state.floor });
        }
        let begin = state.events.partition_point(|event| event.revision <= self.seen);
        let events = state
            .events
            .range(begin..)
            .filter(|event| event.key.starts_with(&self.prefix))
            .cloned()
            .collect();
        self.seen = self.seen.max(state.newest);
        Ok(events)
    }
}
