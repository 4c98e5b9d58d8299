//! The server: PostgreSQL's wire protocol, the command line, the admin port.

pub mod admin;
mod bare_session;
pub mod cli;
mod decode;
mod encode;
mod errors;
pub mod lock_file;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod pg_catalog;
pub mod store;
pub mod wire;
