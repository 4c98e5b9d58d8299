//! Why a view cannot be written to.

use datafusion::sql::sqlparser::ast::{self, SetExpr, TableFactor};

use super::views::ViewQuery;
use crate::{
    error::{SqlError, sqlstate},
    query::statement::StatementKind,
};

/// What a statement does to its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmlVerb {
    Insert,
    Update,
    Delete,
}

/// 55000 with PostgreSQL's reason where it would refuse too, else 0A000.
pub(super) fn not_updatable(name: &str, view: &ViewQuery, verb: DmlVerb) -> SqlError {
    let StatementKind::Query(query) = &view.statement.kind else {
        return SqlError::internal(format!("view \"{name}\" is no query"));
    };
    let (does, doing, command) = match verb {
        DmlVerb::Insert => ("insert into", "inserting into", "INSERT"),
        DmlVerb::Update => ("update", "updating", "UPDATE"),
        DmlVerb::Delete => ("delete from", "deleting from", "DELETE"),
    };
    let Some(reason) = reason(query) else {
        return SqlError::not_supported(format!("{command} of a view (\"{name}\")"));
    };
    let message = format!("cannot {does} view \"{name}\"");
    SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).detail(reason).hint(format!(
        "To enable {doing} the view, provide an INSTEAD OF {command} trigger or an unconditional \
         ON {command} DO INSTEAD rule."
    ))
}

fn reason(query: &ast::Query) -> Option<&'static str> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { .. } => {
            return Some(
                "Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.",
            );
        }
        _ => {
            return Some(
                "Views that do not select from a single table or view are not automatically \
                 updatable.",
            );
        }
    };
    if select.distinct.is_some() {
        return Some("Views containing DISTINCT are not automatically updatable.");
    }
    let grouped = match &select.group_by {
        ast::GroupByExpr::All(_) => true,
        ast::GroupByExpr::Expressions(list, more) => !list.is_empty() || !more.is_empty(),
    };
    if grouped {
        return Some("Views containing GROUP BY are not automatically updatable.");
    }
    if select.having.is_some() {
        return Some("Views containing HAVING are not automatically updatable.");
    }
    if query.with.is_some() {
        return Some("Views containing WITH are not automatically updatable.");
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Some("Views containing LIMIT or OFFSET are not automatically updatable.");
    }
    let single = match select.from.as_slice() {
        [one] => {
            one.joins.is_empty() && matches!(one.relation, TableFactor::Table { args: None, .. })
        }
        _ => false,
    };
    if !single {
        return Some(
            "Views that do not select from a single table or view are not automatically updatable.",
        );
    }
    None
}
