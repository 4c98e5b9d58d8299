//! CREATE TABLE with LIKE: the columns of another table, and what else of it is asked for.

use std::collections::BTreeMap;

use super::super::context::ExecutionContext;
use crate::{
    error::{SqlError, sqlstate},
    query::{
        planner::{self, ResolvedTable},
        statement::{ColumnDefinition, CreateTable, LikeClause, PrimaryKeyDefinition},
    },
};

/// A statement without LIKE that makes the same table.
pub(super) struct Expanded {
    pub create: CreateTable,
    /// Comments of columns, by name.
    pub comments: BTreeMap<String, String>,
}

pub(super) fn expanded(
    context: &ExecutionContext,
    create: &CreateTable,
) -> Result<Expanded, SqlError> {
    let mut all = create.clone();
    all.columns.clear();
    all.like.clear();
    let mut comments = BTreeMap::new();
    let mut written = create.columns.iter().enumerate().peekable();
    for clause in &create.like {
        while let Some((_, column)) = written.next_if(|(index, _)| *index < clause.at) {
            all.columns.push(column.clone());
        }
        add(context, clause, &mut all, &mut comments)?;
    }
    all.columns.extend(written.map(|(_, column)| column.clone()));
    Ok(Expanded { create: all, comments })
}

fn add(
    context: &ExecutionContext,
    clause: &LikeClause,
    all: &mut CreateTable,
    comments: &mut BTreeMap<String, String>,
) -> Result<(), SqlError> {
    let source = context.plan(|plan| planner::resolve_table(plan, &clause.source))?;
    all.columns.extend(source.columns.iter().map(|column| ColumnDefinition {
        name: column.name.clone(),
        pg_type: column.pg_type.clone(),
        not_null: column.not_null,
        default: column.default.clone().filter(|_| clause.defaults),
    }));
    if clause.indexes && !source.primary_key.is_empty() {
        if all.primary_key.is_some() {
            let message =
                format!("multiple primary keys for table \"{}\" are not allowed", all.name.name);
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        let columns = key_names(&source);
        all.primary_key = Some(PrimaryKeyDefinition { name: None, columns });
    }
    let descriptor = context.catalog.table_by_oid(source.oid).filter(|_| clause.comments);
    for column in descriptor.into_iter().flat_map(|table| &table.columns) {
        if let Some(comment) = &column.comment {
            comments.insert(column.name.clone(), comment.clone());
        }
    }
    Ok(())
}

fn key_names(source: &ResolvedTable) -> Vec<String> {
    source.primary_key.iter().map(|index| source.columns[*index].name.clone()).collect()
}
