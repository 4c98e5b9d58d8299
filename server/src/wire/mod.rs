//! PostgreSQL's wire protocol 3: one task per connection, one write per round trip.
//!
//! ```text
//! accept ─▶ startup ─▶ Connection::run ─┬─ Query ──────────────▶ simple
//!                                       └─ Parse … Sync ───────▶ extended ─▶ portal
//!                      rows, copy: what a statement gives, streamed through `Output`
//! ```
//!
//! The loop knows sessions only as [`SqlSession`], so that it runs in tests on one that does what a
//! test needs. Whatever a client sends, the answer is an ErrorResponse, never a panic.

mod connection;
mod connections;
mod copy;
mod engine_session;
mod extended;
mod frontend;
mod input;
mod interrupt;
mod listener;
mod output;
mod portal;
mod session;
mod simple;
mod startup;

pub use connections::Connections;
pub use glaredb_engine::types::binary::Format;
pub use listener::{Listener, ListenerOptions, NodeState};
pub use session::{
    MessageMemory, PreparedStatement, ReserveMemory, SessionFactory, SqlSession, StartupParameters,
};
