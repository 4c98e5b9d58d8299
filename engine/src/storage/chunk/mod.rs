//! A chunk: up to 65,536 rows in memory, in blocks.

/// The most rows a chunk holds.
pub const CHUNK_ROWS_MAX: u32 = 65_536;

/// Rows at which the open block of a chunk is frozen.
pub const BLOCK_ROWS: usize = 1_024;
