//! The commit pipeline: from a session's request to a published snapshot.

#![allow(dead_code, reason = "the pipeline that uses it all comes next")]

pub mod commit_ids;
pub mod leader;
pub mod message;
pub mod record;
pub mod recovery;
pub mod snapshots;
pub mod state_machine;
pub mod time;
