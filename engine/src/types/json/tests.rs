//! Reading JSON text.
