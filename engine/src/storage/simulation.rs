//! Tests of the storage half as a whole: real tables on the real pipeline and log, on the simulated
//! disk.
//!
//! - [`database`]: an open [`Database`](super::database::Database) with its threads, crashed and
//!   opened again.
//! - [`rewriting`]: such a database whose rows move to segments.
//! - [`world`]: everything stepped by hand in an order drawn from a seed, checked against a model;
//!   [`seeds`] runs many of them, half of them with objects in a [`store`] that is reached over a
//!   network; [`fail_points`] one per fail point and kind of failure.

mod database;
#[cfg(feature = "failpoints")]
mod fail_points;
mod node;
mod rewriting;
mod seeds;
mod staging;
mod store;
mod tables;
mod world;
