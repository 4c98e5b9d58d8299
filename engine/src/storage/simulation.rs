//! Tests of the storage half as a whole: real tables on the real pipeline and log, on the simulated
//! disk.
//!
//! - [`database`]: an open [`Database`](super::database::Database) with its threads, crashed and
//!   opened again.
//! - [`seeds`]: everything stepped by hand in an order drawn from a seed, checked against a model.

mod database;
mod node;
mod seeds;
mod tables;
