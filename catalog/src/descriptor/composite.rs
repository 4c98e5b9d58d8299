//! What stored rows hold where a column is of a composite type.

use super::Oid;

/// The composite type of a column, or of the elements of an array's: its fields as they were when the
/// column came. The relation they come from keeps them as long as a column is of its type, so stored
/// rows are read with nothing but the descriptor of their own table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Composite {
    /// The table, view or composite type whose rows they are.
    pub relation: Oid,
    /// OID of the relation's row type.
    pub type_oid: Oid,
    /// OID of the array type over it: where a column has this one, it holds arrays.
    pub array_type_oid: Oid,
    /// In the relation's order.
    pub fields: Vec<CompositeField>,
}

/// A field of a [`Composite`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompositeField {
    /// [`Column::id`](super::Column::id) in the relation.
    pub column: u32,
    pub type_oid: Oid,
    pub typmod: i32,
    /// Of a field that is composite, or an array of such, itself.
    pub composite: Option<Composite>,
}

impl Composite {
    /// The same as if it were of one relation alone, with all its fields.
    #[must_use]
    pub fn of_relation(&self, relation: Oid) -> Self {
        let field = |field: &CompositeField| CompositeField {
            composite: field.composite.as_ref().map(|inner| inner.of_relation(relation)),
            ..field.clone()
        };
        Self { relation, fields: self.fields.iter().map(field).collect(), ..self.clone() }
    }

    /// The relation it is of, and those its fields are of.
    #[must_use]
    pub fn relations(&self) -> Vec<Oid> {
        let inner = self.fields.iter().filter_map(|field| field.composite.as_ref());
        std::iter::once(self.relation).chain(inner.flat_map(Self::relations)).collect()
    }
}
