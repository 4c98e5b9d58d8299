//! Replays records into the state.

use std::sync::Arc;

use glaredb_txn::{
    commit::{
        record::Record,
        state_machine::{Apply, ApplyError},
    },
    ids::Position,
};

use super::state::{State, StateImage};

/// Gets the image of the state when a checkpoint-begin record is applied. Called on the apply
/// thread: it hands the image to another thread and returns.
pub type CheckpointSink = Box<dyn FnMut(u64, StateImage) + Send>;

/// The single writer of a [`State`].
pub struct Applier {
    state: Arc<State>,
    checkpoints: Option<CheckpointSink>,
}

impl Applier {
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        Self { state, checkpoints: None }
    }

    /// Who gets the images of checkpoints; without one, checkpoint-begin records do nothing.
    pub fn on_checkpoint(&mut self, sink: CheckpointSink) {
        self.checkpoints = Some(sink);
    }

    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Apply for Applier {
    fn apply(&mut self, position: Position, _: &Record) -> Result<(), ApplyError> {
        Err(ApplyError { position, reason: "apply is not built".into() })
    }
}
