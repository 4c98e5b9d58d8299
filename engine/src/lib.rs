//! Storage below, query above.

pub mod error;
pub mod query;
pub mod session;
pub mod storage;
pub mod types;
