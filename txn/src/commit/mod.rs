//! The commit pipeline: from a session's request to a published snapshot.

pub mod message;
pub mod record;
pub mod state_machine;
