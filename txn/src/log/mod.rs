//! The write-ahead log.

pub mod local;
pub mod wal;
