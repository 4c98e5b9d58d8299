//! The write-ahead log.
//!
//! [`wal`] is what the commit pipeline needs of a log; [`segment_store`] keeps entries in files;
//! [`local`] is the log of one node on top of it. [`dump`] reads a log's folder offline.

pub mod dump;
mod error;
mod fault;
pub mod format;
pub mod local;
mod marks;
pub mod scan;
pub mod segment_store;
pub mod wal;

#[cfg(feature = "testing")]
pub mod conformance;

pub use self::{error::OpenError, fault::POINTS as FAIL_POINTS};
