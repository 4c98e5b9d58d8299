//! What has a name, and where facts about the whole database stand.
//!
//! - [`descriptor`]: databases, schemas, roles, tables with their columns and keys, as plain values
//!   with an encoding.
//! - [`Catalog`]: all of them at one moment, as an immutable value; [`CatalogChange`] is what a DDL
//!   commit carries, [`History`] the catalogs that running snapshots may still ask for.
//! - [`conflict`]: the keys by which the commit pipeline's resolver sees that two DDL commits meddle
//!   with the same thing.
//! - [`metastore`]: the small strongly consistent store beside the log.
//!
//! This crate knows nothing of rows, Arrow, SQL types or sessions: a column's type is an OID and a
//! modifier here, its default a piece of SQL text.

mod allocator;
mod catalog;
mod change;
pub mod conflict;
pub mod descriptor;
mod history;
pub mod metastore;
mod shared_map;

pub use allocator::Allocator;
pub use catalog::{Catalog, Relation, TEMPORARY_SCHEMA};
pub use change::{CatalogChange, ChangeError, ObjectKind};
pub use history::{History, HistoryError};
