//! Storage below, query above.

pub mod error;
pub mod session;
pub mod types;
