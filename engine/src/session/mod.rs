//! SQL sessions: what a connection is to the engine. Knows no wire protocol.

pub mod api;
