//! The commit pipeline: from a session's request to a published snapshot.

pub mod commit_ids;
pub mod leader;
pub mod message;
pub mod pipeline;
pub mod record;
pub mod recovery;
pub mod resolver;
pub mod snapshots;
pub mod state_machine;
pub mod time;
