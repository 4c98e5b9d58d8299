//! Tables as chunks in memory, the records that change them, and the checkpoints that keep them.
//!
//! State is a deterministic function of the log. A session gathers a [`write_set::WriteSet`]; the
//! leader's [`placement::StoragePlacement`] gives every new row its locator and writes that into the
//! record; [`apply::Applier`] replays records into [`state::State`], which readers look at through
//! [`table::Table::view`] at a timestamp. Storage knows nothing of statements, plans or sessions.

pub mod apply;
mod background;
pub mod budget;
pub mod checkpoint;
mod checkpointing;
pub mod chunk;
pub mod codec;
pub mod database;
pub mod error;
mod horizon;
pub mod key_index;
pub mod objects;
pub mod placement;
pub mod record;
pub mod recovery;
pub mod remap;
pub mod rewrite;
pub mod schema;
pub mod segment;
#[cfg(all(test, feature = "testing"))]
mod simulation;
pub mod staging;
pub mod state;
pub mod state_hash;
pub mod table;
pub mod temporary;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod warmed;
pub mod write_set;

pub use error::StorageError;
