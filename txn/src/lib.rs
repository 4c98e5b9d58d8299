//! Positions, time, transactions: the log that is the database, and the pipeline that orders
//! changes into it. Knows bytes and keys; no rows, no SQL.

pub mod codec;
pub mod commit;
pub mod env;
pub mod ids;
pub mod key_filter;
pub mod log;
#[cfg(feature = "testing")]
pub mod sim;
