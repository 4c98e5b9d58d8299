//! What the end-to-end tests share: our server as a process, PostgreSQL as a process, the clients.
//!
//! Everything listens on 127.0.0.1 on a port of its own and dies with the value that holds it.

pub mod changes;
pub mod client;
pub mod differential;
pub mod duck;
pub mod nested;
pub mod peer;
pub mod ports;
pub mod regression;
pub mod rewriting;
pub mod s3;
pub mod server;
pub mod slt;
pub mod tpch;
pub mod verify;
