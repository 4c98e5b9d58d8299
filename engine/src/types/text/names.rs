//! Names of objects behind the OIDs of `regclass` and kin.

use std::{fmt, sync::Arc};

use crate::{
    error::{SqlError, sqlstate},
    types::PgType,
};

/// Reads and writes the values of the types whose [`PgType::is_object_name`] holds, at one state of
/// the catalog, as one session names things.
pub trait ObjectNames: Send + Sync {
    /// The OID a text means: a name, a number, or `-` for 0.
    ///
    /// # Errors
    /// 42P01, 42704 and kin for a name that nothing has, 42602 for what is no name, 42725 for a name that
    /// several have.
    fn oid(&self, of: &PgType, text: &str) -> Result<u32, SqlError>;

    /// The text of an OID: a name, the number if nothing has it, `-` for 0.
    fn text(&self, of: &PgType, oid: u32) -> String;
}

/// The names there are; by default none, so that OIDs are numbers.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<dyn ObjectNames>>);

impl Names {
    #[must_use]
    pub fn new(names: Arc<dyn ObjectNames>) -> Self {
        Self(Some(names))
    }

    /// [`ObjectNames::oid`].
    ///
    /// # Errors
    /// Those of [`ObjectNames::oid`]; 0A000 for a name where none are known.
    pub fn oid(&self, of: &PgType, text: &str) -> Result<u32, SqlError> {
        if let Some(names) = &self.0 {
            return names.oid(of, text);
        }
        match text.trim() {
            "-" => Ok(0),
            number => number.parse().map_err(|_| {
                SqlError::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    format!("\"{text}\" as {} is not supported in this place", of.sql_name()),
                )
            }),
        }
    }

    /// Appends [`ObjectNames::text`].
    pub fn write(&self, of: &PgType, oid: u32, out: &mut Vec<u8>) {
        match &self.0 {
            Some(names) => out.extend_from_slice(names.text(of, oid).as_bytes()),
            None if oid == 0 => out.push(b'-'),
            None => super::write_integer(oid.into(), out),
        }
    }
}

/// They are no setting: formats are the same whatever things are called.
impl PartialEq for Names {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names" } else { "no names" })
    }
}
