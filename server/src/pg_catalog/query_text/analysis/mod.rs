//! Syntax trees to [`tree`](super::tree)s: names are found, types decided, casts put in.
//!
//! It is asked about queries that were planned once, so what is wrong is not told: `None` says that
//! something is not known here.

mod calls;
mod coercion;
mod expressions;
mod from;
mod grouping;
mod operators;
mod queries;
mod select;
mod windows;

use datafusion::sql::sqlparser::ast;
use glaredb_catalog::descriptor::ViewRelation;
use glaredb_engine::query::parser::fold_identifier;

use super::{
    Surroundings,
    tree::{Node, Query, Ty},
    types,
};

/// The analysis of a view's query, which knows `relations` under their names of then.
pub(super) fn query(
    around: Surroundings<'_>,
    relations: &[ViewRelation],
    query: &ast::Query,
) -> Option<Query> {
    let mut analysis = Analysis { around, relations, levels: Vec::new() };
    let mut query = analysis.query(query)?;
    analysis.texts(&mut query);
    Some(query)
}

/// The only result of a query, as assigned to a column.
pub(super) fn default(around: Surroundings<'_>, query: &ast::Query, to: Ty) -> Option<Node> {
    let mut analysis = Analysis { around, relations: &[], levels: Vec::new() };
    let query = analysis.query(query)?;
    let [target] = query.targets.as_slice() else { return None };
    analysis.assigned(target.node.clone(), to)
}

/// A column that a name in a query may mean.
#[derive(Clone, Debug)]
struct Name {
    name: String,
    /// What a reference to it becomes: entry and column.
    place: (usize, usize),
    ty: Ty,
}

/// An entry of FROM, as names find it.
#[derive(Clone, Debug)]
struct Item {
    /// Its own name; none for a join.
    name: Option<String>,
    schema: Option<String>,
    /// Entry in the range table.
    table: usize,
    columns: Vec<Name>,
    /// Whether its columns are found without its name, and are part of `*`.
    bare: bool,
}

/// A WITH query that is in sight.
#[derive(Clone, Debug)]
struct CteColumns {
    name: String,
    columns: Vec<(String, Ty)>,
}

/// A query that is being analysed.
#[derive(Default)]
struct Level {
    query: Query,
    /// What names are looked for in.
    items: Vec<Item>,
    ctes: Vec<CteColumns>,
}

struct Analysis<'a> {
    around: Surroundings<'a>,
    relations: &'a [ViewRelation],
    /// The outermost query first.
    levels: Vec<Level>,
}

impl Analysis<'_> {
    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("names are looked up inside of a query")
    }

    /// A column without its relation's name; `Some(None)`: there is none.
    fn bare_column(&self, name: &str) -> Option<Node> {
        for (up, level) in self.levels.iter().rev().enumerate() {
            let items = level.items.iter().filter(|item| item.bare);
            let found = items.flat_map(|item| &item.columns).find(|column| column.name == name);
            if let Some(found) = found {
                let (table, column) = found.place;
                return Some(Node::Column { up, table, column, ty: found.ty });
            }
        }
        None
    }

    fn item(&self, schema: Option<&str>, name: &str) -> Option<(usize, &Item)> {
        self.levels.iter().rev().enumerate().find_map(|(up, level)| {
            let fits = |item: &&Item| {
                item.name.as_deref() == Some(name)
                    && (schema.is_none() || item.schema.as_deref() == schema)
            };
            level.items.iter().find(fits).map(|item| (up, item))
        })
    }

    /// `a`, `t.a` or `s.t.a`, or the whole row of a table.
    fn column(&self, parts: &[ast::Ident]) -> Option<Node> {
        let names: Vec<String> = parts.iter().map(fold_identifier).collect();
        let (schema, table, name) = match names.as_slice() {
            [name] => {
                return self.bare_column(name).or_else(|| self.whole_row(None, name));
            }
            [table, name] => (None, table, name),
            [schema, table, name] => (Some(schema.as_str()), table, name),
            _ => return None,
        };
        let Some((up, item)) = self.item(schema, table) else {
            // A field of a column that is a row.
            return self.bare_column(table).and_then(|row| self.field(row, name));
        };
        let found = item.columns.iter().find(|column| column.name == *name)?;
        let (table, column) = found.place;
        Some(Node::Column { up, table, column, ty: found.ty })
    }

    fn whole_row(&self, schema: Option<&str>, name: &str) -> Option<Node> {
        let (up, item) = self.item(schema, name)?;
        let level = &self.levels[self.levels.len() - 1 - up];
        let table = level.query.tables.get(item.table)?;
        let ty = match &table.kind {
            super::tree::TableKind::Relation { oid } => {
                let row = self.around.catalog.table_by_oid(*oid).map(|table| table.row_type_oid);
                row.unwrap_or(types::RECORD)
            }
            // A function of one value stands for that.
            super::tree::TableKind::Function { definitions, .. }
                if definitions.is_empty() && item.columns.len() == 1 =>
            {
                let found = &item.columns[0];
                let (table, column) = found.place;
                return Some(Node::Column { up, table, column, ty: found.ty });
            }
            _ => types::RECORD,
        };
        Some(Node::WholeRow { up, table: item.table, ty: Ty::of(ty) })
    }

    /// A field of a value that is a row.
    fn field(&self, row: Node, name: &str) -> Option<Node> {
        let oid = row.ty().oid;
        let ty = match self.around.catalog.table_with_inner_oid(oid) {
            Some(table) => {
                let column = table.columns.iter().find(|column| column.name == name)?;
                Ty { oid: column.type_oid, typmod: column.typmod }
            }
            None => Ty::of(types::UNKNOWN),
        };
        Some(Node::Field { arg: Box::new(row), name: name.to_owned(), ty })
    }

    /// Columns of the query whose type nothing decided are text.
    fn texts(&self, query: &mut Query) {
        for target in &mut query.targets {
            let node = std::mem::replace(&mut target.node, Node::And(Vec::new()));
            target.node = self.decided(node);
        }
    }
}
