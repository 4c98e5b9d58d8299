//! The layout of jsonb.
