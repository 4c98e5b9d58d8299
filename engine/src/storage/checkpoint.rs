//! A checkpoint is the whole database at one position Q, as objects.
//!
//! ```text
//! log   ──────────────── Q: CheckpointBegin ─────────── Hashes of Q ──────▶
//! apply                  └─ image of the state, handed to the checkpoint thread
//! thread                    sealed chunks not yet written ─▶ open chunks, deletions ─▶ manifest
//!                           ─▶ pointer in the metastore (compare-and-swap) ─▶ log cut below Q
//!                           ─▶ objects that only older checkpoints named are deleted
//! ```
//!
//! Commits go on meanwhile: an image is a list of shared, immutable blocks. A crash at any of the
//! arrows leaves the checkpoint before or the new one: what counts is the pointer, and it moves
//! after all that the new manifest names is durable and before anything of the old one goes.
//!
//! A sealed chunk is written once. Later checkpoints name the same section and say anew which of
//! its rows are gone ([`section`]); only when most of it is gone is what is left written again.

mod envelope;
mod fault;
pub mod manifest;
mod reader;
mod section;
mod show;
mod store;
mod writer;

use glaredb_txn::ids::{DatabaseId, TableId};

use super::objects::ObjectError;
use fault::fault;

pub use fault::FAIL_POINTS;
pub use manifest::Manifest;
pub use reader::{load, read_manifest};
pub use show::{CheckpointReport, ObjectReport, TableReport, list, show};
pub(in crate::storage) use show::{check_object, open_manifest};
pub use store::{Captured, CheckpointStore, CheckpointSummary, Current, find_current};
pub use writer::{CheckpointInputs, CheckpointWriter, Step};

/// Names of all objects of checkpoints start with this.
pub const PREFIX: &str = "checkpoint/";

/// Why a checkpoint was not written or not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Bytes that are not what was written.
    #[error("object {name} of the checkpoint is corrupt: {reason}")]
    Corrupt { name: String, reason: String },
    /// Written by a newer version of the program.
    #[error("object {name} has format version {found}, this program knows {known}")]
    Version { name: String, found: u32, known: u32 },
    /// Of another database.
    #[error("object {name} belongs to database {found}, this is {expected}")]
    Foreign { name: String, found: DatabaseId, expected: DatabaseId },
    /// The rows are not those that were there at Q.
    #[error("state hash of {table} is {computed:016x}, the checkpoint says {expected:016x}")]
    StateHash { table: TableId, computed: u64, expected: u64 },
    /// The state cannot be written, a fault of ours.
    #[error("checkpoint: {0}")]
    Invalid(String),
    /// The metastore refused or did not answer; the checkpoint before stays current.
    #[error("pointer to the checkpoint: {0}")]
    Metastore(String),
    /// The log did not take the record, or was not cut.
    #[error("log of the checkpoint: {0}")]
    Log(String),
    /// The log has no space for the record.
    #[error("log of the checkpoint: {0}")]
    LogFull(String),
    /// The node is stopping.
    #[error("the database is shutting down")]
    ShuttingDown,
}

impl CheckpointError {
    /// Is it for want of space? Then the next attempt may succeed.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::LogFull(_) | Self::Object(ObjectError::Full { .. }))
    }
}

#[cfg(test)]
mod tests;
