//! COPY … FROM and COPY … TO, text and csv.

mod feed;
mod file;
mod input;
mod lines;
mod output;

use std::sync::{Arc, atomic::AtomicBool};

use super::{
    apart::apart_stream,
    api::{CopyIn, CopyOut, Execution},
    context::{ExecutionContext, undefined_table},
    run,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        planner::{self, ResolvedKind, ResolvedTable},
        statement::{Copy, CopyColumns, CopyFormat, CopyObject, RelationName, Statement},
    },
};

/// To be called on the runtime for queries.
pub(super) async fn execute(
    context: &ExecutionContext,
    statement: &Statement,
    copy: &Copy,
    failed: &Arc<AtomicBool>,
) -> Result<Execution, SqlError> {
    if copy.format == CopyFormat::Binary {
        return Err(SqlError::not_supported("COPY format \"binary\""));
    }
    if copy.file.is_some() {
        check_may_use_files(context, copy.from)?;
    }
    match &copy.source {
        CopyObject::Table { name, columns } if copy.from => {
            context.check_writable("COPY FROM")?;
            let table = context.plan(|plan| planner::resolve_table(plan, name))?;
            if let Some(kind) = refused_kind(&table) {
                let message = format!("cannot copy to {kind} \"{}\"", table.name);
                return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
            }
            let ordinals = ordinals(&table, columns)?;
            let count = ordinals.len();
            let source = input::CopySource::new(context, statement, copy, table, ordinals)?;
            if let Some(file) = &copy.file {
                let rows = file::read(file, source).await?;
                return Ok(Execution::Command { tag: format!("COPY {rows}") });
            }
            let sink = Box::new(feed::CopyFeed::new(context, source, failed));
            Ok(Execution::CopyIn(CopyIn { columns: count, binary: false, sink }))
        }
        CopyObject::Table { name, columns } => {
            let (table, plan) = table_plan(context, name, columns)?;
            let chosen = ordinals(&table, columns)?;
            let names: Vec<_> = chosen.iter().map(|i| table.columns[*i].name.clone()).collect();
            let types = chosen.iter().map(|i| table.columns[*i].pg_type.clone()).collect();
            let rows = run::start_in_order(context, plan).await?;
            let stream = run::watched(context, rows.into_stream(), failed);
            copy_out(context, copy, names, types, stream).await
        }
        CopyObject::Query(query) => {
            let planned = context.plan(|plan| planner::plan_query(plan, query, &[]))?;
            let names = planned.fields.iter().map(|field| field.name.clone()).collect();
            let types = planned.fields.iter().map(|field| field.pg_type.clone()).collect();
            let rows = run::start(context, planned.plan).await?;
            let stream = run::watched(context, rows.into_stream(), failed);
            copy_out(context, copy, names, types, stream).await
        }
    }
}

/// # Errors
/// 42501 for anyone but a superuser: the server reads and writes files with its own rights.
fn check_may_use_files(context: &ExecutionContext, from: bool) -> Result<(), SqlError> {
    if context.catalog.role(&context.identity.role).is_some_and(|role| role.superuser) {
        return Ok(());
    }
    let (role, what) = if from {
        ("pg_read_server_files", "from a file")
    } else {
        ("pg_write_server_files", "to a file")
    };
    let message = format!("must be superuser or have privileges of the {role} role to COPY {what}");
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(
        "Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone.",
    ))
}

async fn copy_out(
    context: &ExecutionContext,
    copy: &Copy,
    names: Vec<String>,
    types: Vec<crate::types::PgType>,
    stream: super::RowStream,
) -> Result<Execution, SqlError> {
    let columns = names.len();
    let format = context.format();
    let writer = output::Writer::new(copy, names, types, format)?;
    if let Some(path) = &copy.file {
        let file = file::create(path).await?;
        let rows = file::write(file, path, writer.into_stream(stream)).await?;
        return Ok(Execution::Command { tag: format!("COPY {rows}") });
    }
    let rows = Box::pin(apart_stream(&context.engine, || Ok(writer.into_stream(stream))));
    Ok(Execution::CopyOut(CopyOut { columns, binary: false, rows }))
}

/// The plan that reads the columns of a table.
fn table_plan(
    context: &ExecutionContext,
    name: &RelationName,
    columns: &[String],
) -> Result<(ResolvedTable, datafusion::logical_expr::LogicalPlan), SqlError> {
    let table = context.plan(|plan| planner::resolve_table(plan, name))?;
    if let Some(kind) = refused_kind(&table) {
        let message = format!("cannot copy from {kind} \"{}\"", table.name);
        return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message)
            .hint("Try the COPY (SELECT ...) TO variant."));
    }
    if table.is_system && table.source.get_logical_plan().is_some() {
        return Err(undefined_table(name));
    }
    let projection = ordinals(&table, columns)?;
    let plan = datafusion::logical_expr::LogicalPlanBuilder::scan(
        "t",
        Arc::clone(&table.source),
        Some(projection),
    )
    .and_then(datafusion::logical_expr::LogicalPlanBuilder::build)
    .map_err(sql_error)?;
    Ok((table, plan))
}

/// What COPY does not copy: `view`, `materialized view`.
fn refused_kind(table: &ResolvedTable) -> Option<&'static str> {
    match table.kind {
        ResolvedKind::Table => None,
        ResolvedKind::View => Some("view"),
        ResolvedKind::MaterializedView { .. } => Some("materialized view"),
    }
}

/// Ordinals of the named columns; of all of them without names.
///
/// # Errors
/// 42703, 42701.
fn ordinals(table: &ResolvedTable, columns: &[String]) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut ordinals = Vec::with_capacity(columns.len());
    for name in columns {
        let ordinal = ordinal(table, name)?;
        if ordinals.contains(&ordinal) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        ordinals.push(ordinal);
    }
    Ok(ordinals)
}

fn ordinal(table: &ResolvedTable, name: &str) -> Result<usize, SqlError> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        SqlError::new(
            sqlstate::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// Per copied column, whether an option that names columns holds for it.
///
/// # Errors
/// 42P10 for a column that is not copied.
fn chosen(option: &str, columns: &CopyColumns, names: &[String]) -> Result<Vec<bool>, SqlError> {
    match columns {
        CopyColumns::None => Ok(vec![false; names.len()]),
        CopyColumns::All => Ok(vec![true; names.len()]),
        CopyColumns::Some(some) => {
            let mut chosen = vec![false; names.len()];
            for name in some {
                let at = names.iter().position(|known| known == name).ok_or_else(|| {
                    SqlError::new(
                        "42P10",
                        format!("{option} column \"{name}\" not referenced by COPY"),
                    )
                })?;
                chosen[at] = true;
            }
            Ok(chosen)
        }
    }
}
