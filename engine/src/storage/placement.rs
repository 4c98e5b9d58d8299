//! The leader's side of storage: runs ahead of what is applied.

use std::sync::Arc;

use bytes::Bytes;
use glaredb_txn::{
    commit::{
        message::{CommitRequest, Part, Refusal},
        state_machine::Placement,
    },
    ids::{CommitId, Timestamp},
};

use super::state::State;

/// Gives rows their locators and ids, checks schema versions and the budget.
#[derive(Debug)]
pub struct StoragePlacement {
    state: Arc<State>,
}

impl StoragePlacement {
    /// Starts from the applied state: at the start of a leadership, when the whole log is applied.
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Placement for StoragePlacement {
    fn place(&mut self, _: &CommitRequest, _: Timestamp) -> Result<Bytes, Refusal> {
        Err(Refusal::Malformed("placement is not built".into()))
    }

    fn place_part(&mut self, _: &Part) -> Result<Bytes, Refusal> {
        Err(Refusal::Malformed("placement is not built".into()))
    }

    fn forget_parts(&mut self, _: CommitId) {}

    fn place_control(&mut self, _: &[u8], _: Timestamp) -> Result<Bytes, Refusal> {
        Err(Refusal::Malformed("placement is not built".into()))
    }
}
