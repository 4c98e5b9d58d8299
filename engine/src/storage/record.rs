//! The payloads of storage's log records. Format: `docs/formats/records-storage.md`.

use bytes::Bytes;
use glaredb_txn::ids::Timestamp;

use super::StorageError;

/// What the state machine logs for itself, through `LeaderHandle::control`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// No snapshot below this timestamp is read any more, nor ever will be.
    Horizon(Timestamp),
    /// The state at this record is checkpoint `number`: [`super::apply::CheckpointSink`] gets the
    /// image.
    CheckpointBegin { number: u64 },
}

impl Control {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::new()
    }

    pub fn decode(_bytes: &[u8]) -> Result<Self, StorageError> {
        Err(StorageError::Invalid("control records are not built".into()))
    }
}
