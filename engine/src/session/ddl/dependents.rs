//! What depends on what is dropped: views, on what they read.

use std::sync::Arc;

use glaredb_catalog::{
    CatalogChange,
    descriptor::{Oid, Table},
};

use super::{
    super::{api::Notice, context::ExecutionContext},
    view::described,
};
use crate::error::{SqlError, sqlstate};

/// An object that goes only with another.
pub(super) struct Dependent {
    pub relation: Arc<Table>,
    /// What it needs, as messages name it.
    pub needs: String,
}

/// Views that read the relations of `roots`, and those that read these, nearest first. `roots` are
/// not among them.
pub(super) fn readers(context: &ExecutionContext, roots: &[Oid]) -> Vec<Dependent> {
    let mut found: Vec<Dependent> = Vec::new();
    for root in roots {
        if let Some(table) = context.catalog.table_by_oid(*root) {
            add_readers(context, table, roots, &described(context, table), &mut found);
        }
    }
    found
}

fn add_readers(
    context: &ExecutionContext,
    table: &Table,
    roots: &[Oid],
    needs: &str,
    found: &mut Vec<Dependent>,
) {
    let new: Vec<Arc<Table>> = context
        .catalog
        .readers(table.oid)
        .filter(|reader| !roots.contains(&reader.oid))
        .filter(|reader| !found.iter().any(|known| known.relation.oid == reader.oid))
        .cloned()
        .collect();
    for reader in new {
        add(context, reader, roots, needs, found);
    }
}

fn add(
    context: &ExecutionContext,
    reader: Arc<Table>,
    roots: &[Oid],
    needs: &str,
    found: &mut Vec<Dependent>,
) {
    if found.iter().any(|known| known.relation.oid == reader.oid) {
        return;
    }
    found.push(Dependent { relation: Arc::clone(&reader), needs: needs.to_owned() });
    add_readers(context, &reader, roots, &described(context, &reader), found);
}

/// Views that use a column, and those that read these.
pub(super) fn column_readers(
    context: &ExecutionContext,
    table: &Table,
    id: u32,
    needs: &str,
) -> Vec<Dependent> {
    let mut found = Vec::new();
    let uses = |reader: &&Arc<Table>| {
        reader.view.as_ref().is_some_and(|view| view.uses_column(table.oid, id))
    };
    let direct: Vec<_> = context.catalog.readers(table.oid).filter(uses).cloned().collect();
    for reader in direct {
        add(context, reader, &[], needs, &mut found);
    }
    found
}

/// Refuses to drop `what` if something depends on it and CASCADE was not said; else says what goes
/// with it, and drops that.
///
/// # Errors
/// 2BP01.
pub(super) fn resolve(
    context: &ExecutionContext,
    what: &str,
    dependents: &[Dependent],
    cascade: bool,
    change: &mut CatalogChange,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let shown = |dependent: &Dependent| described(context, &dependent.relation);
    if !dependents.is_empty() && !cascade {
        let lines: Vec<String> = dependents
            .iter()
            .map(|dependent| format!("{} depends on {}", shown(dependent), dependent.needs))
            .collect();
        let message = format!("cannot drop {what} because other objects depend on {}", it(what));
        return Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .detail(lines.join("\n"))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    match dependents {
        [] => {}
        [one] => notices.push(Notice::note(format!("drop cascades to {}", shown(one)))),
        several => {
            let mut notice =
                Notice::note(format!("drop cascades to {} other objects", several.len()));
            let lines: Vec<String> =
                several.iter().map(|one| format!("drop cascades to {}", shown(one))).collect();
            notice.detail = Some(lines.join("\n"));
            notices.push(notice);
        }
    }
    for dependent in dependents {
        if !change.drop_tables.contains(&dependent.relation.oid) {
            change.drop_table(dependent.relation.oid);
        }
    }
    Ok(())
}

fn it(what: &str) -> &'static str {
    if what == DESIRED { "them" } else { "it" }
}

/// Several objects at once.
pub(super) const DESIRED: &str = "desired object(s)";
