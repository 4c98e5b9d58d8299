//! Views: what their queries read, by OID.

use super::Oid;

/// A view's query. Names in it mean what they meant when the view was made: [`relations`] says which
/// objects they stand for, so renaming these changes nothing.
///
/// [`relations`]: Self::relations
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The query as it was written.
    pub query: String,
    pub relations: Vec<ViewRelation>,
    /// Of `WITH (…)`, each as `name=value`, in the order they were given.
    pub options: Vec<String>,
}

/// A table or view that a view's query names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewRelation {
    /// As the query has it; `None`: without a schema.
    pub schema: Option<String>,
    pub name: String,
    pub oid: Oid,
    /// Its columns as they were when the view was made: those the query knows.
    pub columns: Vec<ViewColumn>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewColumn {
    /// [`Column::id`](super::Column::id).
    pub id: u32,
    /// Its name then.
    pub name: String,
    /// The query uses it: it cannot be dropped without the view.
    pub used: bool,
}

impl View {
    /// OIDs of what the query reads, each once.
    #[must_use]
    pub fn reads(&self) -> Vec<Oid> {
        let mut oids: Vec<Oid> = self.relations.iter().map(|relation| relation.oid).collect();
        oids.sort_unstable();
        oids.dedup();
        oids
    }

    /// Whether the query uses a column.
    #[must_use]
    pub fn uses_column(&self, oid: Oid, id: u32) -> bool {
        self.relations
            .iter()
            .filter(|relation| relation.oid == oid)
            .flat_map(|relation| &relation.columns)
            .any(|column| column.id == id && column.used)
    }
}
