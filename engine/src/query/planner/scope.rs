//! Names in scope of an expression.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::{
    common::{Column, ScalarValue, TableReference},
    logical_expr::{Case, Expr},
    sql::sqlparser::ast,
};

use super::{Planner, bound::Bound, suggestions::with_similar_column};
use crate::{
    error::{SqlError, sqlstate},
    query::parser::fold_identifier,
    types::PgType,
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
}

/// A column that USING or NATURAL made of two.
#[derive(Clone, Debug)]
pub(super) struct MergedColumn {
    pub(super) name: String,
    pub(super) bound: Bound,
    pub(super) origin: (u32, i16),
}

/// What FROM brings.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) tables: Vec<ScopeTable>,
    pub(super) merged: Vec<MergedColumn>,
}

impl Scope {
    pub(super) fn columns(&self) -> impl Iterator<Item = &ScopeColumn> {
        self.tables.iter().flat_map(|t| &t.columns)
    }

    pub(super) fn join(mut self, mut other: Self) -> Self {
        self.tables.append(&mut other.tables);
        self.merged.append(&mut other.merged);
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
}

fn outer_reference(bound: Bound, levels: usize) -> Bound {
    if levels == 0 {
        return bound;
    }
    let expr = match bound.expr {
        Expr::Column(column) => {
            let field = Field::new(column.name.clone(), bound.ty.arrow_type(), true);
            Expr::OuterReferenceColumn(Arc::new(field), column)
        }
        other => other,
    };
    Bound::new(expr, bound.ty)
}

/// Objects of users have OIDs from here on.
const FIRST_USER_OID: u32 = 16_384;

/// `tableoid` of a system table: its OID, where there is a row at all (the first column of a system
/// table is never null).
fn table_oid(entry: &ScopeTable, levels: usize) -> Option<Bound> {
    let first = entry.columns.first().filter(|c| (1..FIRST_USER_OID).contains(&c.origin.0))?;
    let column = Bound::new(Expr::Column(first.column.clone()), first.ty.clone());
    let there = Expr::IsNotNull(Box::new(outer_reference(column, levels).expr));
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
                let candidate = Found { bound: merged.bound.clone(), origin: merged.origin };
                if found.replace(candidate).is_some() {
                    return Err(self.ambiguous(&name, ident));
                }
            }
            for column in here.scope.columns().filter(|c| c.name == name && !c.merged) {
                let bound = Bound::new(Expr::Column(column.column.clone()), column.ty.clone());
                if found.replace(Found { bound, origin: column.origin }).is_some() {
                    return Err(self.ambiguous(&name, ident));
                }
            }
            if let Some(found) = found {
                let bound = outer_reference(found.bound, levels);
                return Ok(Some(Found { bound, origin: found.origin }));
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
                && let Some(bound) = table_oid(entry, levels)
            {
                return Ok(Found { bound, origin: (0, 0) });
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
        Ok(Found { bound: outer_reference(bound, levels), origin: column.origin })
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
        let mut name = alias.to_owned();
        while !self.qualifiers.insert(name.clone()) {
            self.next_id += 1;
            name = format!("{alias}_{}", self.next_id);
        }
        TableReference::bare(name)
    }
}
