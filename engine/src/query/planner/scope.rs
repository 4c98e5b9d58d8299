//! Names in scope of an expression.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::Field;
use datafusion::{
    common::{
        Column, ScalarValue, TableReference,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Case, Expr, SortExpr},
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::Bound,
    query::{OutputColumn, unique_name},
    suggestions::with_similar_column,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::{external, sql_error},
        parser::fold_identifier,
    },
    types::{PgType, RecordType},
};

/// A column some part of FROM brings.
#[derive(Clone, Debug)]
pub(super) struct ScopeColumn {
    /// As SQL names it.
    pub(super) name: String,
    pub(super) ty: PgType,
    /// As the plan names it.
    pub(super) column: Column,
    /// (table OID, column number) of a table's column shown unchanged.
    pub(super) origin: (u32, i16),
    /// Whether clients are told the length, precision or scale of its type: not where only we know it,
    /// from the expression it is made by.
    pub(super) keeps_modifier: bool,
    /// Merged by USING into another: found only with its table's name, and not by `*`.
    pub(super) merged: bool,
    /// Not part of `*` either: the locator of DML.
    pub(super) hidden: bool,
}

/// One entry of FROM.
#[derive(Clone, Debug)]
pub(super) struct ScopeTable {
    pub(super) schema: Option<String>,
    pub(super) alias: String,
    pub(super) columns: Vec<ScopeColumn>,
    /// What its rows are as values, where that has a name: of a table or view.
    pub(super) row_type: Option<Arc<RecordType>>,
    /// Where an outer join may fill up its columns with NULLs: a column that is NULL in such rows only.
    pub(super) present: Option<Column>,
}

impl ScopeTable {
    /// What is no table: its rows have no type with a name.
    pub(super) fn unnamed_rows(alias: &str, columns: Vec<ScopeColumn>) -> Self {
        Self { schema: None, alias: alias.to_owned(), columns, row_type: None, present: None }
    }
}

/// A column that USING or NATURAL made of two.
#[derive(Clone, Debug)]
pub(super) struct MergedColumn {
    pub(super) name: String,
    pub(super) bound: Bound,
    pub(super) origin: (u32, i16),
    pub(super) keeps_modifier: bool,
}

/// What FROM brings.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) tables: Vec<ScopeTable>,
    pub(super) merged: Vec<MergedColumn>,
    /// What its rows are ordered by; see [`row_order`](super::row_order).
    pub(super) order: Vec<SortExpr>,
}

impl Scope {
    /// Of one entry, whose rows have no order.
    pub(super) fn of(table: ScopeTable) -> Self {
        Self { tables: vec![table], merged: Vec::new(), order: Vec::new() }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &ScopeColumn> {
        self.tables.iter().flat_map(|t| &t.columns)
    }

    pub(super) fn join(mut self, mut other: Self) -> Self {
        self.tables.append(&mut other.tables);
        self.merged.append(&mut other.merged);
        self.order.clear();
        self
    }
}

/// A scope and those around it, and what may stand in an expression here.
#[derive(Clone, Copy)]
pub(super) struct Env<'e> {
    pub(super) scope: &'e Scope,
    pub(super) outer: Option<&'e Env<'e>>,
    /// For messages: `WHERE`, `GROUP BY` …
    pub(super) clause: &'static str,
    pub(super) aggregates: bool,
    pub(super) windows: bool,
    /// Inside an aggregate's argument: numbers of different scales may share a column, because only
    /// the largest scale will show.
    pub(super) summed: bool,
}

impl<'e> Env<'e> {
    pub(super) fn new(scope: &'e Scope, outer: Option<&'e Env<'e>>, clause: &'static str) -> Self {
        Self { scope, outer, clause, aggregates: false, windows: false, summed: false }
    }

    pub(super) fn with(self, aggregates: bool, windows: bool) -> Self {
        Self { aggregates, windows, ..self }
    }

    pub(super) fn clause(self, clause: &'static str) -> Self {
        Self { clause, ..self }
    }
}

/// A column found, and how.
pub(super) struct Found {
    pub(super) bound: Bound,
    pub(super) origin: (u32, i16),
    pub(super) keeps_modifier: bool,
}

/// What a query inside writes for an expression over columns of a scope around it.
pub(super) fn outer_reference(
    bound: Bound,
    levels: usize,
    scope: &Scope,
) -> Result<Bound, SqlError> {
    if levels == 0 {
        return Ok(bound);
    }
    let ty = |column: &Column| {
        if matches!(&bound.expr, Expr::Column(own) if own == column) {
            return Some(bound.ty.clone());
        }
        let present = || {
            let marks = scope.tables.iter().any(|table| table.present.as_ref() == Some(column));
            marks.then_some(PgType::Bool)
        };
        scope.columns().find(|c| c.column == *column).map(|c| c.ty.clone()).or_else(present)
    };
    let expr = bound.expr.clone().transform_up(|e| match e {
        Expr::Column(column) => {
            let ty = ty(&column).ok_or_else(|| {
                external(SqlError::internal(format!("no column {column} in the query around")))
            })?;
            let field = Field::new(column.name.clone(), ty.arrow_type(), true);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::new(field), column)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(Bound::new(expr.map_err(sql_error)?.data, bound.ty))
}

/// Objects of users have OIDs from here on.
const FIRST_USER_OID: u32 = 16_384;

/// `tableoid` of a system table: its OID, where there is a row at all (the first column of a system
/// table is never null).
fn table_oid(entry: &ScopeTable) -> Option<Bound> {
    let first = entry.columns.first().filter(|c| (1..FIRST_USER_OID).contains(&c.origin.0))?;
    let there = Expr::IsNotNull(Box::new(Expr::Column(first.column.clone())));
    let oid = Expr::Literal(ScalarValue::UInt32(Some(first.origin.0)), None);
    let case = Case::new(None, vec![(Box::new(there), Box::new(oid))], None);
    Some(Bound::new(Expr::Case(case), PgType::Oid))
}

/// Columns every table of PostgreSQL has and ours have not.
fn refused_system_column(name: &str) -> Option<SqlError> {
    matches!(name, "tableoid" | "ctid" | "xmin" | "xmax" | "cmin" | "cmax")
        .then(|| SqlError::not_supported(format!("system column {name}")))
}

impl Planner<'_> {
    fn ambiguous(&self, name: &str, ident: &ast::Ident) -> SqlError {
        let message = format!("column reference \"{name}\" is ambiguous");
        self.at(SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message), ident)
    }

    /// An unqualified column, if there is one.
    pub(super) fn find_column(
        &self,
        ident: &ast::Ident,
        env: &Env<'_>,
    ) -> Result<Option<Found>, SqlError> {
        let name = fold_identifier(ident);
        let (mut env, mut levels) = (Some(env), 0);
        while let Some(here) = env {
            let mut found = None;
            for merged in here.scope.merged.iter().filter(|m| m.name == name) {
                let candidate = Found {
                    bound: merged.bound.clone(),
                    origin: merged.origin,
                    keeps_modifier: merged.keeps_modifier,
                };
                if found.replace(candidate).is_some() {
                    return Err(self.ambiguous(&name, ident));
                }
                self.note_used(merged.origin);
            }
            for column in here.scope.columns().filter(|c| c.name == name && !c.merged) {
                let bound = Bound::new(Expr::Column(column.column.clone()), column.ty.clone());
                let candidate =
                    Found { bound, origin: column.origin, keeps_modifier: column.keeps_modifier };
                if found.replace(candidate).is_some() {
                    return Err(self.ambiguous(&name, ident));
                }
                self.note_used(column.origin);
            }
            if let Some(found) = found {
                let bound = outer_reference(found.bound, levels, here.scope)?;
                return Ok(Some(Found { bound, ..found }));
            }
            env = here.outer;
            levels += 1;
        }
        Ok(None)
    }

    /// `a`, `t.a` or `s.t.a`.
    pub(super) fn column(&self, parts: &[ast::Ident], env: &Env<'_>) -> Result<Found, SqlError> {
        let names: Vec<_> = parts.iter().map(fold_identifier).collect();
        let first = &parts[0];
        let (schema, table, name) = match names.as_slice() {
            [name] => {
                return self.find_column(first, env)?.ok_or_else(|| {
                    if let Some(refused) = refused_system_column(name) {
                        return self.at(refused, first);
                    }
                    let message = format!("column \"{name}\" does not exist");
                    let error = SqlError::new(sqlstate::UNDEFINED_COLUMN, message);
                    self.at(with_similar_column(error, None, name, env), first)
                });
            }
            [table, name] => (None, table, name),
            [schema, table, name] => (Some(schema), table, name),
            _ => return Err(SqlError::not_supported(format!("reference {}", names.join(".")))),
        };
        let Some((entry, levels)) = self.find_table(schema.map(String::as_str), table, env)? else {
            return Err(self.missing_table(schema.map(String::as_str), table, first, env));
        };
        let mut matches = entry.columns.iter().filter(|c| &c.name == name);
        let Some(column) = matches.next() else {
            if name == "tableoid"
                && let Some(bound) = table_oid(entry)
            {
                let scope = Scope::of(entry.clone());
                let bound = outer_reference(bound, levels, &scope)?;
                return Ok(Found { bound, origin: (0, 0), keeps_modifier: true });
            }
            if let Some(refused) = refused_system_column(name) {
                return Err(self.at(refused, first));
            }
            let message = format!("column {table}.{name} does not exist");
            let error = SqlError::new(sqlstate::UNDEFINED_COLUMN, message);
            return Err(self.at(with_similar_column(error, Some(table), name, env), first));
        };
        if matches.next().is_some() {
            return Err(self.ambiguous(name, &parts[parts.len() - 1]));
        }
        let bound = Bound::new(Expr::Column(column.column.clone()), column.ty.clone());
        let scope = Scope::of(entry.clone());
        self.note_used(column.origin);
        Ok(Found {
            bound: outer_reference(bound, levels, &scope)?,
            origin: column.origin,
            keeps_modifier: column.keeps_modifier,
        })
    }

    /// The entry of FROM with this name, and how many queries further out it stands.
    pub(super) fn find_table<'s>(
        &self,
        schema: Option<&str>,
        alias: &str,
        env: &Env<'s>,
    ) -> Result<Option<(&'s ScopeTable, usize)>, SqlError> {
        let (mut env, mut levels) = (Some(*env), 0);
        while let Some(here) = env {
            let mut matches = here.scope.tables.iter().filter(|t| {
                t.alias == alias && schema.is_none_or(|s| t.schema.as_deref() == Some(s))
            });
            if let Some(table) = matches.next() {
                if matches.next().is_some() {
                    let message = format!("table reference \"{alias}\" is ambiguous");
                    return Err(SqlError::new(sqlstate::AMBIGUOUS_ALIAS, message));
                }
                return Ok(Some((table, levels)));
            }
            env = here.outer.copied();
            levels += 1;
        }
        Ok(None)
    }

    /// The error with the position of an identifier.
    pub(super) fn at(&self, error: SqlError, ident: &ast::Ident) -> SqlError {
        match self.statement.and_then(|s| s.position(ident.span.start)) {
            Some(position) if error.position.is_none() => error.position(position),
            _ => error,
        }
    }

    /// A name for the plan that no other table of this statement has.
    pub(super) fn unique_qualifier(&mut self, alias: &str) -> TableReference {
        TableReference::bare(unique(&mut self.qualifiers, &mut self.next_id, alias))
    }

    /// A name for a column that no other column of this statement's plan has, so that plans may be
    /// put beside each other however it suits, and physical plans find columns by name.
    pub(super) fn fresh_name(&mut self, base: &str) -> String {
        unique(&mut self.names, &mut self.next_id, base)
    }

    /// The name of a query's output column: in the outermost query as close to the visible name as
    /// `before` allows, in others unlike all others.
    pub(super) fn output_name(&mut self, before: &[OutputColumn], name: &str) -> String {
        if self.queries > 1 { self.fresh_name(name) } else { unique_name(before, name) }
    }
}

fn unique(taken: &mut HashSet<String>, next_id: &mut usize, base: &str) -> String {
    let mut name = base.to_owned();
    while !taken.insert(name.clone()) {
        *next_id += 1;
        name = format!("{base}_{next_id}");
    }
    name
}
