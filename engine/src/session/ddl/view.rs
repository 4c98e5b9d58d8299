//! CREATE VIEW, CREATE MATERIALIZED VIEW, REFRESH MATERIALIZED VIEW.

use std::{collections::HashSet, sync::Arc};

use glaredb_catalog::{
    CatalogChange,
    descriptor::{Column, Oid, RelationKind, Table, View, ViewColumn, ViewRelation},
};
use glaredb_txn::{
    commit::message::Scope,
    ids::{SchemaVersion, TableId},
};

use super::{
    super::{
        api::{Execution, FieldDescription, Notice},
        context::{ExecutionContext, undefined_table},
        dml::TableSink,
        row_types::{composite_of, type_of},
        run,
        table_schema::table_schema,
        transaction::Transaction,
    },
    create_table::{add, exists, new_table},
    note_global, relation_kind, storage_options,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        parser,
        planner::{self, Planned, QueryNames},
        statement::{
            ColumnDefinition, CreateMaterializedView, CreateView, RefreshView, Statement,
            StorageOption,
        },
    },
    types::{PgType, text::parse_boolean},
};

pub(super) fn create(
    context: &ExecutionContext,
    create: &CreateView,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    note_global(create.temporary, notices);
    let (planned, names, query) = plan(context, &create.query)?;
    let mut temporary = context.creates_temporary(&create.name, create.temporary.is_some())?;
    if !temporary && reads_temporary(context, &names) {
        if create.name.schema.is_some() {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        let name = &create.name.name;
        notices.push(Notice::note(format!("view \"{name}\" will be a temporary view")));
        temporary = true;
    }
    let context = &if temporary { context.with_temporary_schema()? } else { context.clone() };
    let schema = context.creation_schema(&create.name, temporary)?;
    let columns = columns(context, &planned.fields, &create.column_names, "CREATE VIEW specifies")?;
    let existing = context.catalog.relation(schema.oid, &create.name.name);
    let old = match existing {
        None => None,
        Some(glaredb_catalog::Relation::Table(old)) if create.or_replace => {
            if old.kind != RelationKind::View {
                let message = format!("\"{}\" is not a view", create.name.name);
                return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
            }
            Some(Arc::clone(old))
        }
        Some(_) => {
            exists(context, &schema, &create.name, false, notices)?;
            None
        }
    };
    let mut view = view_of(context, &query, &names);
    view.options = view_options(&create.options)?;
    let mut change = CatalogChange::default();
    match old {
        Some(old) => change.alter_table(replaced(context, &old, columns, view)?),
        None => {
            let allocator = context.engine.allocator();
            change.create_table(Table {
                oid: allocator.oid(),
                name: create.name.name.clone(),
                kind: RelationKind::View,
                schema_oid: schema.oid,
                owner: context.owner(&schema),
                row_type_oid: allocator.oid(),
                array_type_oid: allocator.oid(),
                storage: TableId::CATALOG,
                version: SchemaVersion(1),
                next_column_id: columns.len() as u32 + 1,
                columns,
                view: Some(view),
                ..Table::default()
            });
        }
    }
    context.transaction.lock().change_catalog(&context.view, &context.catalog, change)
}

/// Whether a query reads something temporary.
fn reads_temporary(context: &ExecutionContext, names: &QueryNames) -> bool {
    names.relations.iter().any(|(_, _, table)| {
        let table = context.catalog.table_by_oid(table.oid);
        table.is_some_and(|table| context.catalog.is_temporary(table))
    })
}

/// Plans a view's query as it stands alone.
fn plan(
    context: &ExecutionContext,
    query: &Statement,
) -> Result<(Planned, QueryNames, Statement), SqlError> {
    // Once as it was sent, so that errors say where in that they are.
    context.plan(|plan| planner::plan_view(plan, query))?;
    let alone = parser::parse(&query.text)?.pop();
    let alone = alone.ok_or_else(|| SqlError::internal("a view without a query"))?;
    let (planned, names) = context.plan(|plan| planner::plan_view(plan, &alone))?;
    Ok((planned, names, alone))
}

/// The columns of a view whose query gives `fields`.
fn columns(
    context: &ExecutionContext,
    fields: &[FieldDescription],
    names: &[String],
    who: &str,
) -> Result<Vec<Column>, SqlError> {
    if names.len() > fields.len() {
        let message = format!("{who} more column names than columns");
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    let mut taken = HashSet::new();
    let mut columns = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let name = names.get(index).unwrap_or(&field.name);
        if !taken.insert(name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        let anonymous = field.pg_type.record_or_element().is_some_and(|r| r.is_anonymous());
        if field.pg_type == PgType::Void || anonymous {
            let message = format!("column \"{name}\" has pseudo-type {}", field.pg_type.sql_name());
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        let number = i16::try_from(index + 1)
            .map_err(|_| SqlError::new("54011", "target lists can have at most 1664 entries"))?;
        columns.push(Column {
            id: index as u32 + 1,
            number,
            name: name.clone(),
            type_oid: field.pg_type.oid(),
            typmod: field.typmod(),
            composite: composite_of(&context.catalog, &field.pg_type)?,
            ..Column::default()
        });
    }
    Ok(columns)
}

fn view_of(context: &ExecutionContext, query: &Statement, names: &QueryNames) -> View {
    let relations = names.relations.iter().map(|(schema, name, table)| {
        let descriptor = context.catalog.table_by_oid(table.oid);
        let columns = descriptor.map(|table| table.columns.as_slice()).unwrap_or_default();
        let columns = columns.iter().map(|column| ViewColumn {
            id: column.id,
            name: column.name.clone(),
            used: names.used.contains(&(table.oid, column.number)),
        });
        ViewRelation {
            schema: schema.clone(),
            name: name.clone(),
            oid: table.oid,
            columns: columns.collect(),
        }
    });
    View { query: query.text.to_string(), relations: relations.collect(), options: Vec::new() }
}

/// What `WITH (…)` says of a view. Nothing depends on it: there is one role, which may read all, so
/// that nobody needs to be kept from anything.
///
/// # Errors
/// 22023 for an option or a value that PostgreSQL does not know either; 0A000 for CHECK OPTION.
pub(super) fn view_options(options: &[StorageOption]) -> Result<Vec<String>, SqlError> {
    let mut kept: Vec<String> = Vec::with_capacity(options.len());
    for option in options {
        let invalid = |message| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
        let (option, value) = (&option.name, option.value.as_deref().unwrap_or("true"));
        match option.as_str() {
            "security_barrier" | "security_invoker" if parse_boolean(value).is_ok() => {}
            "security_barrier" | "security_invoker" => {
                let message = format!("invalid value for boolean option \"{option}\": {value}");
                return Err(invalid(message));
            }
            "check_option" => {
                return Err(SqlError::not_supported("CREATE VIEW WITH CHECK OPTION"));
            }
            name => return Err(invalid(format!("unrecognized parameter \"{name}\""))),
        }
        let name = format!("{option}=");
        if kept.iter().any(|other| other.starts_with(&name)) {
            return Err(invalid(format!("parameter \"{option}\" specified more than once")));
        }
        kept.push(format!("{name}{value}"));
    }
    Ok(kept)
}

/// The view with another query, which may only add columns at the end.
fn replaced(
    context: &ExecutionContext,
    old: &Table,
    mut columns: Vec<Column>,
    view: View,
) -> Result<Table, SqlError> {
    let refuse = |message: String| SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message);
    if columns.len() < old.columns.len() {
        return Err(refuse("cannot drop columns from view".to_owned()));
    }
    for (old, new) in old.columns.iter().zip(&columns) {
        if old.name != new.name {
            let message =
                format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            return Err(refuse(message).hint(
                "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.",
            ));
        }
        if (old.type_oid, old.typmod) != (new.type_oid, new.typmod) {
            let message = format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                old.name,
                type_name(context, old),
                type_name(context, new)
            );
            return Err(refuse(message));
        }
    }
    if reaches(context, &view, old.oid) {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", old.name);
        return Err(SqlError::new("42P17", message));
    }
    for (old, new) in old.columns.iter().zip(&mut columns) {
        new.comment.clone_from(&old.comment);
        new.default.clone_from(&old.default);
        new.default_oid = old.default_oid;
    }
    Ok(Table {
        version: old.version.next(),
        next_column_id: columns.len() as u32 + 1,
        columns,
        view: Some(view),
        ..old.clone()
    })
}

fn type_name(context: &ExecutionContext, column: &Column) -> String {
    type_of(&context.catalog, column.type_oid, column.typmod)
        .map_or("???".to_owned(), |t| t.sql_name())
}

/// Whether a view reads a relation, itself or through others.
fn reaches(context: &ExecutionContext, view: &View, oid: Oid) -> bool {
    let mut todo = view.reads();
    let mut seen = HashSet::new();
    while let Some(next) = todo.pop() {
        if next == oid {
            return true;
        }
        if seen.insert(next)
            && let Some(view) = context.catalog.table_by_oid(next).and_then(|t| t.view.as_ref())
        {
            todo.extend(view.reads());
        }
    }
    false
}

pub(super) async fn create_materialized(
    context: &ExecutionContext,
    create: &CreateMaterializedView,
    notices: &mut Vec<Notice>,
) -> Result<Execution, SqlError> {
    let command = |tag: &str| Ok(Execution::Command { tag: tag.to_owned() });
    if context.creates_temporary(&create.name, false)? {
        let message = "materialized views may not be temporary";
        return Err(SqlError::not_supported(message));
    }
    let schema = context.creation_schema(&create.name, false)?;
    if exists(context, &schema, &create.name, create.if_not_exists, notices)? {
        return command("CREATE MATERIALIZED VIEW");
    }
    let (planned, names, query) = plan(context, &create.query)?;
    if reads_temporary(context, &names) {
        let message = "materialized views must not use temporary tables or views";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    if create.column_names.len() > planned.fields.len() {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "too many column names were specified"));
    }
    let known = columns(
        context,
        &planned.fields,
        &create.column_names,
        "CREATE MATERIALIZED VIEW specifies",
    )?;
    let definitions: Vec<ColumnDefinition> = known
        .iter()
        .zip(planned.fields.iter())
        .map(|(column, field)| ColumnDefinition {
            name: column.name.clone(),
            pg_type: field.pg_type.clone(),
            not_null: false,
            default: None,
        })
        .collect();
    let mut table = new_table(context, &schema, &create.name.name, &definitions)?;
    table.options = storage_options(&create.options)?;
    table.kind = RelationKind::MaterializedView;
    table.unpopulated = !create.with_data;
    table.view = Some(view_of(context, &query, &names));
    let rows = match create.with_data {
        true => Some(run::start(context, planned.plan).await?),
        false => None,
    };
    let table = add(context, table)?;
    match rows {
        None => command("CREATE MATERIALIZED VIEW"),
        Some(rows) => {
            let count = fill(context, &table, rows).await?;
            command(&format!("SELECT {count}"))
        }
    }
}

/// Puts rows into a relation that the transaction created; returns how many.
pub(super) async fn fill(
    context: &ExecutionContext,
    table: &Arc<Table>,
    mut rows: run::Rows,
) -> Result<usize, SqlError> {
    let schema = context.schema_of(table)?;
    let resolved = context.engine.resolved_table(&context.catalog, &schema.name, table)?;
    let mut sink = TableSink::new(context, &resolved)?;
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        count += batch.num_rows();
        sink.insert(sink.rows(batch.columns().to_vec())?, None).await?;
        if context.is_last {
            Transaction::stream_parts(&context.transaction).await?;
        }
    }
    Ok(count)
}

pub(super) async fn refresh(
    context: &ExecutionContext,
    refresh: &RefreshView,
) -> Result<(), SqlError> {
    let table = context.find_table(&refresh.name).ok_or_else(|| undefined_table(&refresh.name))?;
    if table.kind != RelationKind::MaterializedView {
        let message = format!("\"{}\" is not a materialized view", table.name);
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let schema = context.schema_of(table)?;
    let resolved = context.engine.resolved_table(&context.catalog, &schema.name, table)?;
    let rows = match refresh.with_data {
        true => {
            let planned = context.plan(|plan| planner::plan_refresh(plan, &resolved))?;
            Some(run::start(context, planned.plan).await?)
        }
        false => None,
    };
    let old = table.storage;
    let mut new = table.as_ref().clone();
    new.storage = context.engine.allocator().table_id();
    new.version = table.version.next();
    new.unpopulated = !refresh.with_data;
    new.dropped.clear();
    let stored = Arc::new(table_schema(&new)?);
    let new = Arc::new(new);
    let mut change = CatalogChange::default();
    change.alter_table(Arc::clone(&new));
    {
        let mut transaction = context.transaction.lock();
        transaction.change_catalog(&context.view, &context.catalog, change)?;
        transaction.discard(old);
        transaction.assert_unchanged(&context.view, old, Scope::Table);
        transaction.writes().lock().create_storage(new.storage, &stored);
    }
    if let Some(rows) = rows {
        fill(context, &new, rows).await?;
    }
    Ok(())
}

/// The kind of an object and its name, as messages have them.
pub(super) fn described(context: &ExecutionContext, table: &Table) -> String {
    format!("{} {}", relation_kind(table), context.shown_relation(table))
}
