//! Values in PostgreSQL's binary format, exactly as PostgreSQL sends and receives them: the wire's binary
//! format and COPY BINARY.

mod field;
mod numeric_read;
mod numeric_write;
mod read;

pub use self::{
    field::{FieldEncoder, as_stored},
    read::{WRONG_FORMAT, client_text, read_value},
};

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}
