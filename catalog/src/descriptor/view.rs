//! Views: what their queries read, by OID.

use super::Oid;

/// What stands between two bytes `MARK` of a view's definition: see [`View::definition`].
pub const MARK: char = '\u{1}';

/// A view's query. Names in it mean what they meant when the view was made: [`relations`] says which
/// objects they stand for, so renaming these changes nothing.
///
/// [`relations`]: Self::relations
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The query as it was written.
    pub query: String,
    /// The query for people, with what may be renamed since as references between two [`MARK`]s:
    ///
    /// - `r` OID: a relation, with its schema where that is not searched; `t` OID: without;
    /// - `c` OID `.` id: a column;
    /// - `a` OID `.` id `:` name: ` AS name`, unless the column has this name.
    pub definition: String,
    pub relations: Vec<ViewRelation>,
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

/// A reference in a [`View::definition`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reference<'a> {
    /// A relation, with its schema where that is not searched.
    Relation(Oid),
    /// A relation's name alone.
    Name(Oid),
    /// A column by relation and id.
    Column(Oid, u32),
    /// The name of a result, said only where the column has another one.
    Label(Oid, u32, &'a str),
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let column = |text: &str| -> Option<(Oid, u32)> {
            let (oid, id) = text.split_once('.')?;
            Some((oid.parse().ok()?, id.parse().ok()?))
        };
        Some(match kind {
            "r" => Self::Relation(rest.parse().ok()?),
            "t" => Self::Name(rest.parse().ok()?),
            "c" => column(rest).map(|(oid, id)| Self::Column(oid, id))?,
            "a" => {
                let (place, name) = rest.split_once(':')?;
                column(place).map(|(oid, id)| Self::Label(oid, id, name))?
            }
            _ => return None,
        })
    }

    /// As it stands in a definition.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Relation(oid) => format!("{MARK}r{oid}{MARK}"),
            Self::Name(oid) => format!("{MARK}t{oid}{MARK}"),
            Self::Column(oid, id) => format!("{MARK}c{oid}.{id}{MARK}"),
            Self::Label(oid, id, name) => format!("{MARK}a{oid}.{id}:{name}{MARK}"),
        }
    }
}

impl View {
    /// The definition with every reference replaced by what `shown` makes of it.
    pub fn render(&self, mut shown: impl FnMut(Reference<'_>) -> String) -> String {
        let mut text = String::with_capacity(self.definition.len());
        for (n, part) in self.definition.split(MARK).enumerate() {
            match Reference::parse(part).filter(|_| n % 2 == 1) {
                Some(reference) => text.push_str(&shown(reference)),
                None => text.push_str(part),
            }
        }
        text
    }
}
