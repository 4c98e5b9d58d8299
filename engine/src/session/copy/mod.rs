//! COPY … FROM and COPY … TO.

mod binary_input;
mod feed;
mod file;
mod input;
mod line_reader;
mod lines;
mod options;
mod output;
mod progress;

pub use progress::{Copies, CopyProgress};

use std::sync::{Arc, atomic::AtomicBool};

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use glaredb_catalog::Catalog;

use self::{
    options::{CopyColumns, CopyFormat, Options},
    progress::Running,
};
use super::{
    apart::apart_stream,
    api::{CopyIn, CopyOut, Execution, FieldDescription, RowStream},
    context::{ExecutionContext, undefined_table},
    dml::{self, Operation},
    run,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        planner::{self, ResolvedKind, ResolvedTable},
        statement::{Copy, CopyObject, RelationName, Statement, StatementClass, StatementKind},
    },
};

/// To be called on the runtime for queries.
pub(super) async fn execute(
    context: &ExecutionContext,
    statement: &Statement,
    copy: &Copy,
    failed: &Arc<AtomicBool>,
) -> Result<Execution, SqlError> {
    if copy.file.is_some() {
        check_may_use_files(context, copy.from)?;
    }
    match &copy.source {
        CopyObject::Table { name, columns } if copy.from => {
            let (options, source) = source(context, statement, copy, name, columns)?;
            if let Some(file) = &copy.file {
                let rows = file::read(file, source).await?;
                return Ok(Execution::Command { tag: format!("COPY {rows}") });
            }
            let columns = options.columns;
            let sink = Box::new(feed::CopyFeed::new(context, source, failed));
            Ok(Execution::CopyIn(CopyIn { columns, binary: options.binary, sink }))
        }
        CopyObject::Table { name, columns } => {
            let table = context.plan(|plan| planner::resolve_table(plan, name))?;
            if let Some(kind) = refused_kind(&table) {
                let message = format!("cannot copy from {kind} \"{}\"", table.name);
                return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message)
                    .hint("Try the COPY (SELECT ...) TO variant."));
            }
            let options = Options::new(copy)?;
            let chosen = ordinals(&table, columns)?;
            let plan = table_plan(&table, name, chosen.clone())?;
            let names: Vec<_> = chosen.iter().map(|i| table.columns[*i].name.clone()).collect();
            let types = chosen.iter().map(|i| table.columns[*i].pg_type.clone()).collect();
            let copied = output::Copied { names, types, table: Some(&table) };
            let writer = output::Writer::new(context, &options, copied)?;
            let rows = run::start_in_order(context, plan).await?;
            let stream = run::watched(context, rows.into_stream(), failed);
            copy_out(context, copy, table.oid, writer, stream).await
        }
        CopyObject::Query(query) => {
            let options = Options::new(copy)?;
            let (fields, stream) = rows(context, query, failed).await?;
            let names = fields.iter().map(|field| field.name.clone()).collect();
            let types = fields.iter().map(|field| field.pg_type.clone()).collect();
            let copied = output::Copied { names, types, table: None };
            let writer = output::Writer::new(context, &options, copied)?;
            copy_out(context, copy, 0, writer, stream).await
        }
    }
}

/// What CopyInResponse says.
struct Response {
    columns: usize,
    binary: bool,
}

/// COPY … FROM, ready for its bytes.
fn source(
    context: &ExecutionContext,
    statement: &Statement,
    copy: &Copy,
    name: &RelationName,
    columns: &[String],
) -> Result<(Response, input::CopySource), SqlError> {
    let table = context.plan(|plan| planner::resolve_table(plan, name))?;
    context.check_writes_rows("COPY FROM", table.oid)?;
    let options = Options::new(copy)?;
    if let Some(kind) = refused_kind(&table) {
        let message = format!("cannot copy to {kind} \"{}\"", table.name);
        let refused = SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message);
        return Err(match table.kind {
            ResolvedKind::View => {
                refused.hint("To enable copying to a view, provide an INSTEAD OF INSERT trigger.")
            }
            _ => refused,
        });
    }
    let ordinals = ordinals(&table, columns)?;
    if options.freeze {
        check_freezable(context, &table)?;
    }
    let response =
        Response { columns: ordinals.len(), binary: options.format == CopyFormat::Binary };
    let source = input::CopySource::new(context, statement, copy, &options, (table, ordinals))?;
    Ok((response, source))
}

/// FREEZE promises that nobody can see the table as it was.
///
/// # Errors
/// 55000 for a table that the transaction has neither made nor emptied.
fn check_freezable(context: &ExecutionContext, table: &ResolvedTable) -> Result<(), SqlError> {
    let before = context.view.database.catalog_at(&context.view.snapshot.snapshot());
    let storage = |catalog: &Catalog| catalog.table_by_oid(table.oid).map(|table| table.storage);
    let made = storage(&context.catalog);
    let is_new = |made| context.transaction.lock().is_of_innermost(made);
    if storage(&before) != made && made.is_some_and(is_new) {
        return Ok(());
    }
    Err(SqlError::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cannot perform COPY FREEZE because the table was not created or truncated in the current \
         subtransaction",
    ))
}

/// The rows of a query, or of RETURNING.
async fn rows(
    context: &ExecutionContext,
    query: &Statement,
    failed: &Arc<AtomicBool>,
) -> Result<(Arc<[FieldDescription]>, RowStream), SqlError> {
    if query.class() == StatementClass::Query {
        let planned = context.plan(|plan| planner::plan_query(plan, query, &[]))?;
        if !planned.changes.is_empty() {
            return Err(SqlError::not_supported("COPY of a query whose WITH changes rows"));
        }
        let rows = run::start(context, planned.plan).await?;
        return Ok((planned.fields, run::watched(context, rows.into_stream(), failed)));
    }
    let operation = match &query.kind {
        StatementKind::Insert(_) => Operation::Insert,
        StatementKind::Update(_) => Operation::Update,
        _ => Operation::Delete,
    };
    let planned = context.plan(|plan| planner::plan_dml(plan, query, &[]))?;
    context.check_writes_rows(operation.command(), planned.table.oid)?;
    if !planned.changes.is_empty() {
        return Err(SqlError::not_supported("COPY of a statement whose WITH changes rows"));
    }
    if planned.fields.is_none() {
        let message = "COPY query must have a RETURNING clause";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let plan = planned.plan.clone();
    match dml::execute(context, operation, &planned, plan).await? {
        Execution::Rows { fields, stream, .. } => Ok((fields, stream)),
        other => Err(SqlError::internal(format!("RETURNING gave {other:?}"))),
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

/// `relation`: 0 for a query.
async fn copy_out(
    context: &ExecutionContext,
    copy: &Copy,
    relation: u32,
    writer: output::Writer,
    rows: RowStream,
) -> Result<Execution, SqlError> {
    let (columns, binary) = (writer.columns(), writer.is_binary());
    let running = Running::new(context, relation, false, copy.file.is_some());
    if let Some(path) = &copy.file {
        let file = file::create(path).await?;
        let rows = file::write(file, path, writer.into_stream(rows, running)).await?;
        return Ok(Execution::Command { tag: format!("COPY {rows}") });
    }
    let rows = Box::pin(apart_stream(&context.engine, || Ok(writer.into_stream(rows, running))));
    Ok(Execution::CopyOut(CopyOut { columns, binary, rows }))
}

/// The plan that reads columns of a table.
fn table_plan(
    table: &ResolvedTable,
    name: &RelationName,
    columns: Vec<usize>,
) -> Result<LogicalPlan, SqlError> {
    if table.is_system && table.source.get_logical_plan().is_some() {
        return Err(undefined_table(name));
    }
    LogicalPlanBuilder::scan("t", Arc::clone(&table.source), Some(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)
}

/// What COPY does not copy: `view`, `materialized view`.
fn refused_kind(table: &ResolvedTable) -> Option<&'static str> {
    match table.kind {
        ResolvedKind::Table => None,
        ResolvedKind::View => Some("view"),
        ResolvedKind::MaterializedView { .. } => Some("materialized view"),
        ResolvedKind::CompositeType => Some("type"),
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

/// Per copied column, whether an option that names columns holds for it. `table`: whose columns they
/// are; `None` for those of a query.
///
/// # Errors
/// 42703 for a column that is not there, 42P10 for one that is not copied.
fn chosen(
    option: &str,
    columns: &CopyColumns,
    names: &[String],
    table: Option<&ResolvedTable>,
) -> Result<Vec<bool>, SqlError> {
    let some = match columns {
        CopyColumns::None => return Ok(vec![false; names.len()]),
        CopyColumns::All => return Ok(vec![true; names.len()]),
        CopyColumns::Some(some) => some,
    };
    let mut chosen = vec![false; names.len()];
    for name in some {
        if let Some(table) = table {
            ordinal(table, name)?;
        }
        let at = names.iter().position(|known| known == name).ok_or_else(|| match table {
            None => {
                let message = format!("column \"{name}\" does not exist");
                SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
            }
            Some(_) => {
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message)
            }
        })?;
        chosen[at] = true;
    }
    Ok(chosen)
}
