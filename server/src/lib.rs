//! The server: PostgreSQL's wire protocol, the command line, the admin port.

pub mod admin;
pub mod cli;
pub mod data_dir;
mod decode;
mod encode;
pub mod lock_file;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod node;
mod object_metrics;
mod open_files;
pub mod pg_catalog;
mod sessions;
pub mod store;
pub mod wire;
