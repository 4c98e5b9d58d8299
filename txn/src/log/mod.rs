//! The write-ahead log.

pub mod wal;
