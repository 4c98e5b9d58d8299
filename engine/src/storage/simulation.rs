//! Tests of the storage half as a whole: real tables on the real pipeline and log, on the simulated
//! disk.
//!
//! - [`database`]: an open [`Database`](super::database::Database) with its threads, crashed and
//!   opened again.

mod database;
mod tables;
