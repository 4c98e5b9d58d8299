//! The key index of a table: encoded key to the versions of its row, spanning all chunks.
