//! Encodings of keys and rows. Pinned by golden tests; documented in `docs/formats/`.

pub mod key;
pub mod row;
