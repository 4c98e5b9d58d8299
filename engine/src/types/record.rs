//! Record types: rows as values.
//!
//! `ROW(…)` and rows of subqueries are of the anonymous type `record`, whose fields only the plan
//! knows; the row type of a table and what CREATE TYPE makes have a name and OIDs of their own. In
//! memory both are Arrow `Struct`s of nullable fields called by their place ([`arrow_field_name`]): what
//! SQL calls them may change, and a row of one type is one of another with fields of the same types
//! without a copy.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::PgType;

/// `pg_type.oid` of `record`.
pub const RECORD_OID: u32 = 2249;
/// Of `record[]`.
pub const RECORD_ARRAY_OID: u32 = 2287;

/// A type of rows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordType {
    /// [`RECORD_OID`], or that of a row type; 0 for a name that nobody looked up yet.
    pub oid: u32,
    /// OID of the array type over it.
    pub array_oid: u32,
    /// As `format_type` prints it: quoted where needed, with its schema where that is not searched.
    pub name: String,
    pub fields: Vec<RecordField>,
}

/// A field of a record type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordField {
    pub name: String,
    pub ty: PgType,
}

impl RecordType {
    /// `record` with these fields.
    #[must_use]
    pub fn anonymous(fields: impl IntoIterator<Item = (String, PgType)>) -> Self {
        let fields = fields.into_iter().map(|(name, ty)| RecordField { name, ty });
        Self {
            oid: RECORD_OID,
            array_oid: RECORD_ARRAY_OID,
            name: "record".to_owned(),
            fields: fields.collect(),
        }
    }

    /// The type of `ROW(…)`, whose fields are called `f1`, `f2` and so on.
    #[must_use]
    pub fn of_values(types: impl IntoIterator<Item = PgType>) -> Self {
        let named = |(n, ty)| (arrow_field_name(n), ty);
        Self::anonymous(types.into_iter().enumerate().map(named))
    }

    /// What stands for a type of this name until it is looked up.
    #[must_use]
    pub fn unresolved(name: String) -> Self {
        Self { oid: 0, array_oid: 0, name, fields: Vec::new() }
    }

    /// Whether it is only a name yet.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        self.oid == 0
    }

    /// Whether it is `record`, of which not even the server knows the fields.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.oid == RECORD_OID
    }

    /// Place of a field by its name; the first of several.
    #[must_use]
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The fields of the Arrow struct.
    #[must_use]
    pub fn arrow_fields(&self) -> Fields {
        let field = |(n, field): (usize, &RecordField)| {
            Field::new(arrow_field_name(n), field.ty.arrow_type(), true)
        };
        self.fields.iter().enumerate().map(field).collect()
    }

    /// The record type an expression of this Arrow type shows.
    #[must_use]
    pub fn from_arrow(fields: &Fields) -> Self {
        Self::of_values(fields.iter().map(|field| PgType::of_field(field)))
    }

    /// The same without lengths, precisions and scales of its fields.
    #[must_use]
    pub fn without_modifiers(&self) -> Self {
        let field =
            |f: &RecordField| RecordField { name: f.name.clone(), ty: f.ty.without_modifier() };
        Self { fields: self.fields.iter().map(field).collect(), ..self.clone() }
    }
}

/// What the field in a place, counted from 0, is called in memory.
#[must_use]
pub fn arrow_field_name(place: usize) -> String {
    format!("f{}", place + 1)
}

impl PgType {
    /// The record type it is, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<&Arc<RecordType>> {
        match self {
            Self::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The record type that it is, or is an array of.
    #[must_use]
    pub fn record_or_element(&self) -> Option<&Arc<RecordType>> {
        match self {
            Self::Array(of) => of.record_or_element(),
            other => other.record(),
        }
    }

    /// The Arrow type of a record of fields.
    pub(super) fn struct_type(record: &RecordType) -> DataType {
        DataType::Struct(record.arrow_fields())
    }
}
