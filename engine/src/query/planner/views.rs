//! Views: planning their queries where they are read, and finding out what a query reads when a view
//! is made of it.
//!
//! A view's query keeps its text. Its names are found among the relations that they meant when the
//! view was made, by OID, with their columns under their names of then ([`ViewTables`]): renamed and
//! added columns change nothing, and no name becomes ambiguous.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use datafusion::{logical_expr::TableSource, sql::sqlparser::ast};
use glaredb_catalog::{TEMPORARY_SCHEMA, descriptor::ViewRelation};

use super::{
    PlanContext, Planned, Planner, ResolvedKind, ResolvedTable, TableResolver,
    from::Relation,
    scope::{Scope, ScopeColumn},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{parser::fold_identifier, statement::Statement, statement::StatementKind},
};

/// A view's query, parsed.
#[derive(Debug)]
pub struct ViewQuery {
    /// A [`StatementKind::Query`].
    pub statement: Statement,
    pub relations: Vec<ViewRelation>,
}

/// The relations that a view's query knows.
struct ViewTables<'a> {
    tables: &'a dyn TableResolver,
    relations: &'a [ViewRelation],
}

impl TableResolver for ViewTables<'_> {
    fn table(&self, schema: &str, name: &str) -> Result<Option<ResolvedTable>, SqlError> {
        // Names without a schema are looked for in `pg_catalog`, the only schema of the path.
        let known = self.relations.iter().find(|relation| {
            let written = relation.schema.as_deref();
            relation.name == name
                && (written == Some(schema) || written.is_none() && schema == "pg_catalog")
        });
        let Some(known) = known else {
            // A temporary table that came later does not hide what the view reads.
            return if schema == TEMPORARY_SCHEMA {
                Ok(None)
            } else {
                self.tables.table(schema, name)
            };
        };
        let Some(mut table) = self.tables.table_by_oid(known.oid)? else { return Ok(None) };
        known.name.clone_into(&mut table.name);
        match &known.schema {
            Some(then) => then.clone_into(&mut table.schema),
            // It may have been moved to where another relation of the name was then.
            None => {
                let is_other = |other: &ViewRelation| {
                    other.name == known.name
                        && other.schema.as_ref() == Some(&table.schema)
                        && other.oid != known.oid
                };
                if self.relations.iter().any(is_other) {
                    table.schema.clear();
                }
            }
        }
        for column in &mut table.columns {
            let number = u32::try_from(column.number).unwrap_or_default();
            match known.columns.iter().find(|known| known.id == number) {
                Some(known) => known.name.clone_into(&mut column.name),
                None => {
                    column.hidden = true;
                    column.name.clear();
                }
            }
        }
        Ok(Some(table))
    }

    fn table_by_oid(&self, oid: u32) -> Result<Option<ResolvedTable>, SqlError> {
        self.tables.table_by_oid(oid)
    }

    fn schema_exists(&self, schema: &str) -> bool {
        self.tables.schema_exists(schema)
    }

    fn dml_source(&self, table: &ResolvedTable) -> Result<Arc<dyn TableSource>, SqlError> {
        self.tables.dml_source(table)
    }
}

impl Planner<'_> {
    /// A view in FROM: its query, under the view's name and columns.
    pub(super) fn view(
        &mut self,
        view: &ResolvedTable,
        query: &ViewQuery,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Relation, SqlError> {
        let StatementKind::Query(ast) = &query.statement.kind else {
            return Err(SqlError::internal(format!("view \"{}\" is no query", view.name)));
        };
        let restricted = (self.context.setting)("restrict_nonsystem_relation_kind");
        if restricted.is_some_and(|kinds| kinds.split(',').any(|kind| kind.trim() == "view")) {
            let message = format!("access to non-system view \"{}\" is restricted", view.name);
            return Err(SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        let tables = ViewTables { tables: self.context.tables, relations: &query.relations };
        let context = PlanContext { tables: &tables, search_path: &[], ..*self.context };
        let mut inner = Planner::new(&context, Some(&query.statement), &[]);
        inner.params_allowed = false;
        self.lend(&mut inner);
        let planned =
            inner.query(ast, None).and_then(|(plan, columns)| inner.decided(plan, columns));
        inner.give_back(self);
        let (plan, columns) = planned?;
        let name = alias.map_or_else(|| view.name.clone(), |alias| fold_identifier(&alias.name));
        let (plan, mut entry) = self.named_query(plan, &columns, &name)?;
        if entry.columns.len() != view.columns.len() {
            let message = format!("the query of view \"{}\" has other columns", view.name);
            return Err(SqlError::internal(message));
        }
        for (column, known) in entry.columns.iter_mut().zip(&view.columns) {
            known.name.clone_into(&mut column.name);
            column.hidden = known.hidden;
            column.origin = (view.oid, known.number);
        }
        entry.schema = alias.is_none().then(|| view.schema.clone());
        entry.row_type.clone_from(&view.row_type);
        self.rename_columns(&mut entry, alias)?;
        let (plan, order) = self.row_order(plan)?;
        Ok((plan, Scope { order, ..Scope::of(entry) }))
    }

    /// What is unique in a statement's plan stays so.
    fn lend(&mut self, inner: &mut Planner<'_>) {
        inner.qualifiers = std::mem::take(&mut self.qualifiers);
        inner.names = std::mem::take(&mut self.names);
        inner.attached = std::mem::take(&mut self.attached);
        inner.next_id = self.next_id;
        inner.depth = self.depth;
        inner.queries = self.queries;
        inner.has_subqueries = self.has_subqueries;
    }

    fn give_back(self, outer: &mut Planner<'_>) {
        outer.qualifiers = self.qualifiers;
        outer.names = self.names;
        outer.attached = self.attached;
        outer.next_id = self.next_id;
        outer.has_subqueries = self.has_subqueries;
        // Nothing that a view shares stands outside of where it is read.
        outer.copies |= self.shares || self.copies;
        outer.reusable &= self.reusable;
    }
}

/// A column of a relation, by OID and number.
pub(crate) type ColumnRef = (u32, i16);

/// What a query's names stand for.
#[derive(Clone, Debug, Default)]
pub struct QueryNames {
    /// Relations as written, with what they are.
    pub(crate) relations: Vec<(Option<String>, String, ResolvedTable)>,
    /// Columns that are used.
    pub(crate) used: BTreeSet<ColumnRef>,
}

/// Notes names as a query is planned.
#[derive(Debug, Default)]
pub(super) struct Recorder(RefCell<QueryNames>);

impl Planner<'_> {
    pub(super) fn note_relation(&self, name: &ast::ObjectName, table: &ResolvedTable) {
        let Some(recorder) = &self.recorder else { return };
        let parts: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let Some((last, before)) = parts.split_last() else { return };
        let mut names = recorder.0.borrow_mut();
        if table.is_system {
            return;
        }
        let schema = before.last().map(|schema| fold_identifier(schema));
        let written = fold_identifier(last);
        if !names.relations.iter().any(|(s, n, _)| *s == schema && *n == written) {
            names.relations.push((schema, written, table.clone()));
        }
    }

    /// A type of a relation's rows, named as such: the relation stays as long as what names it.
    pub(super) fn note_type(&self, schema: Option<&str>, name: &str, table: &ResolvedTable) {
        let Some(recorder) = &self.recorder else { return };
        let mut names = recorder.0.borrow_mut();
        let known = names.relations.iter().any(|(s, n, _)| s.as_deref() == schema && n == name);
        if !known {
            names.relations.push((schema.map(str::to_owned), name.to_owned(), table.clone()));
        }
    }

    pub(super) fn note_used(&self, column: ColumnRef) {
        if let Some(recorder) = &self.recorder {
            recorder.0.borrow_mut().used.insert(column);
        }
    }

    /// The columns that a `*` stands for.
    pub(super) fn note_star<'c>(
        &self,
        scope: &Scope,
        columns: impl Iterator<Item = &'c ScopeColumn>,
    ) {
        let merged = scope.merged.iter().map(|merged| merged.origin);
        for origin in merged.chain(columns.map(|column| column.origin)) {
            self.note_used(origin);
        }
    }
}

/// Plans a query of which a view is to be made, and says what its names stand for.
///
/// # Errors
/// Those of planning; 42P02 for parameters.
pub fn plan_view(
    context: &PlanContext<'_>,
    statement: &Statement,
) -> Result<(Planned, QueryNames), SqlError> {
    let StatementKind::Query(query) = &statement.kind else {
        return Err(SqlError::internal(format!("{} planned as a view", statement.command())));
    };
    let mut planner = Planner::new(context, Some(statement), &[]);
    planner.params_allowed = false;
    planner.recorder = Some(Box::default());
    let (plan, columns) = planner.query(query, None)?;
    let (plan, columns) = planner.decided(plan, columns)?;
    let (plan, columns) = planner.stored_columns(plan, columns)?;
    let names = planner.recorder.take().map(|recorder| recorder.0.into_inner());
    Ok((planner.planned(plan, columns)?, names.unwrap_or_default()))
}

/// Plans the query of a materialized view.
pub fn plan_refresh(context: &PlanContext<'_>, view: &ResolvedTable) -> Result<Planned, SqlError> {
    let Some(query) = &view.query else {
        return Err(SqlError::internal(format!("\"{}\" has no query", view.name)));
    };
    let StatementKind::Query(ast) = &query.statement.kind else {
        return Err(SqlError::internal(format!("view \"{}\" is no query", view.name)));
    };
    let tables = ViewTables { tables: context.tables, relations: &query.relations };
    let context = PlanContext { tables: &tables, search_path: &[], ..*context };
    let mut planner = Planner::new(&context, Some(&query.statement), &[]);
    planner.params_allowed = false;
    let (plan, columns) = planner.query(ast, None)?;
    let (plan, columns) = planner.decided(plan, columns)?;
    let (plan, columns) = planner.stored_columns(plan, columns)?;
    planner.planned(plan, columns)
}

impl ResolvedTable {
    /// The parsed query, if it is a view.
    #[must_use]
    pub fn view_query(&self) -> Option<&Arc<ViewQuery>> {
        self.query.as_ref().filter(|_| self.kind == ResolvedKind::View)
    }
}
