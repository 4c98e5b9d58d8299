//! Queries and expressions as PostgreSQL prints them: `pg_get_viewdef`, `pg_get_expr` and kin.
//!
//! ```text
//! text of a view ──parser──▶ syntax tree ──analysis──▶ tree::Query ──printing──▶ text
//! ```
//!
//! [`analysis`] finds what names meant when the view was made, decides types and puts in the casts
//! that PostgreSQL would; what it finds out serves printing only: plans are made by the engine's
//! planner. [`printing`] writes the tree with the names that relations and columns have today, and
//! gives entries of FROM and columns that would be ambiguous a new name.

mod analysis;
mod printing;
mod tree;
mod types;

use glaredb_catalog::{
    Catalog,
    descriptor::{Table, ViewRelation},
};
use glaredb_engine::{
    query::{
        parser,
        statement::{Statement, StatementKind},
    },
    types::{PgType, text::FormatSettings},
};

use self::tree::Ty;
use super::sql_text;

/// What printing depends on beside the text.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) catalog: &'a Catalog,
    /// As in [`StatementContext::search_path`](glaredb_engine::session::StatementContext).
    pub(super) search_path: &'a [String],
    /// How constants are written.
    pub(super) format: &'a FormatSettings,
}

/// How texts are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Leave out parentheses that precedence makes needless.
    pub(super) pretty: bool,
    pub(super) indent: bool,
    /// Lines of lists may be that long; 0: one item each, `None`: never broken.
    pub(super) wrap: Option<usize>,
}

impl Layout {
    /// Of an expression by itself.
    pub(super) const fn expression(pretty: bool) -> Self {
        Self { pretty, indent: true, wrap: None }
    }

    /// Of a view's query, one item of a list in a line.
    pub(super) const fn view(pretty: bool) -> Self {
        Self { pretty, indent: true, wrap: Some(0) }
    }
}

impl Surroundings<'_> {
    /// A relation's name, with its schema where that is not searched.
    fn relation_name(&self, oid: u32) -> String {
        let Some((schema, name)) = super::relation_name(self.catalog, oid) else {
            return String::new();
        };
        let quoted = sql_text::quote_identifier(&name).into_owned();
        let found = self
            .search_path
            .iter()
            .find_map(|schema| super::relation_oid(self.catalog, schema, &name));
        match found == Some(oid) {
            true => quoted,
            false => format!("{}.{quoted}", sql_text::quote_identifier(&schema)),
        }
    }

    fn type_name(&self, ty: Ty) -> String {
        let relation = |table: &Table| self.relation_name(table.oid);
        sql_text::type_name(self.catalog, ty.oid, Some(ty.typmod), &relation)
    }
}

/// A view's query with a semicolon; `None` for what is no view.
pub(super) fn view(around: Surroundings<'_>, oid: u32, layout: Layout) -> Option<String> {
    let table = around.catalog.table_by_oid(oid)?;
    let view = table.view.as_ref()?;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let printed = query(around, &view.query, &view.relations, &names, layout);
    // What analysis does not know is shown as it was written.
    let text = printed.unwrap_or_else(|| format!(" {}", view.query));
    Some(format!("{text};"))
}

fn query(
    around: Surroundings<'_>,
    text: &str,
    relations: &[ViewRelation],
    names: &[&str],
    layout: Layout,
) -> Option<String> {
    let Statement { kind: StatementKind::Query(query), .. } = parser::parse(text).ok()?.pop()?
    else {
        return None;
    };
    let query = analysis::query(around, relations, &query)?;
    Some(printing::query(around, &query, names, layout))
}

/// An expression without columns, such as a default, as assigned to a column of a type.
pub(super) fn default(around: Surroundings<'_>, text: &str, to: &PgType) -> Option<String> {
    let query = parser::parse(&format!("SELECT {text}")).ok()?.pop()?;
    let StatementKind::Query(query) = query.kind else { return None };
    let node = analysis::default(around, &query, ty_of(to))?;
    Some(printing::expression(around, &node, Layout::expression(false)))
}

/// An expression that was printed without pretty layout, in pretty layout.
pub(super) fn prettier(around: Surroundings<'_>, text: &str) -> Option<String> {
    let query = parser::parse(&format!("SELECT {text}")).ok()?.pop()?;
    let StatementKind::Query(query) = query.kind else { return None };
    let query = analysis::query(around, &[], &query)?;
    let [target] = query.targets.as_slice() else { return None };
    Some(printing::expression(around, &target.node, Layout::expression(true)))
}

fn ty_of(of: &PgType) -> Ty {
    Ty { oid: of.oid(), typmod: of.typmod() }
}
