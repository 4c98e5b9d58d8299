//! CREATE TABLE, CREATE TABLE AS.

use std::{collections::HashSet, sync::Arc};

use datafusion::logical_expr::LogicalPlan;
use glaredb_catalog::{
    CatalogChange,
    descriptor::{COLUMNS_MAX, Column, OnCommit, PrimaryKey, Schema, Table},
};
use glaredb_txn::ids::SchemaVersion;

use super::{
    super::{
        api::{Execution, FieldDescription, Notice},
        context::ExecutionContext,
        prepare::{Explained, Plan},
        row_types::{composite_of, refuse_temporary},
        run,
        table_schema::table_schema,
    },
    like, note_global, storage_options,
    view::fill,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        planner,
        statement::{
            ColumnDefinition, CreateTable, CreateTableAs, PrimaryKeyDefinition, RelationName,
            Temporary,
        },
    },
    types::PgType,
};

pub(super) fn create(
    context: &ExecutionContext,
    create: &CreateTable,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let temporary = create.temporary;
    let place = place(context, &create.name, temporary, create.on_commit, notices)?;
    let (context, schema) = (&place.context, &place.schema);
    if exists(context, schema, &create.name, create.if_not_exists, notices)? {
        return Ok(());
    }
    let like::Expanded { create, comments } = like::expanded(context, create)?;
    let mut table = new_table(context, schema, &create.name.name, &create.columns)?;
    for column in &mut table.columns {
        column.comment = comments.get(&column.name).cloned();
    }
    table.options = storage_options(&create.options)?;
    table.on_commit = place.on_commit;
    if let Some(key) = &create.primary_key {
        let key = primary_key(context, schema, &table, key)?;
        for column in &mut table.columns {
            column.not_null |= key.columns.contains(&column.id);
        }
        table.primary_key = Some(key);
    }
    add(context, table).map(drop)
}

/// Where a new table goes.
struct Place {
    /// With the schema.
    context: ExecutionContext,
    schema: Arc<Schema>,
    on_commit: OnCommit,
}

fn place(
    context: &ExecutionContext,
    name: &RelationName,
    temporary: Option<Temporary>,
    on_commit: Option<OnCommit>,
    notices: &mut Vec<Notice>,
) -> Result<Place, SqlError> {
    note_global(temporary, notices);
    let is_temporary = context.creates_temporary(name, temporary.is_some())?;
    if on_commit.is_some() && !is_temporary {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    let context = if is_temporary { context.with_temporary_schema()? } else { context.clone() };
    let schema = context.creation_schema(name, is_temporary)?;
    Ok(Place { context, schema, on_commit: on_commit.unwrap_or_default() })
}

pub(super) async fn create_as(
    context: &ExecutionContext,
    create: &CreateTableAs,
    executed: Option<&Explained>,
    notices: &mut Vec<Notice>,
) -> Result<Execution, SqlError> {
    let command = |tag: &str| Ok(Execution::Command { tag: tag.to_owned() });
    let place = place(context, &create.name, create.temporary, create.on_commit, notices)?;
    let (context, schema) = (&place.context, &place.schema);
    if exists(context, schema, &create.name, create.if_not_exists, notices)? {
        return command("CREATE TABLE AS");
    }
    let (plan, fields) = query_of(context, create, executed)?;
    if create.column_names.len() > fields.len() {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "too many column names were specified"));
    }
    let columns: Vec<ColumnDefinition> = fields
        .iter()
        .enumerate()
        .map(|(index, field)| ColumnDefinition {
            name: create.column_names.get(index).unwrap_or(&field.name).clone(),
            pg_type: match &field.pg_type {
                PgType::Unknown => PgType::Text,
                other => other.clone(),
            },
            not_null: false,
            default: None,
        })
        .collect();
    let mut table = new_table(context, schema, &create.name.name, &columns)?;
    table.options = storage_options(&create.options)?;
    table.on_commit = place.on_commit;
    let rows = match create.with_data {
        true => Some(run::start(context, plan).await?),
        false => None,
    };
    let table = add(context, table)?;
    let Some(rows) = rows else {
        // PostgreSQL runs the prepared statement, for no rows.
        return command(if executed.is_some() { "SELECT 0" } else { "CREATE TABLE AS" });
    };
    let count = fill(context, &table, rows).await?;
    command(&format!("SELECT {count}"))
}

/// The rows that a table is made of, and their columns. `executed`: of AS EXECUTE.
fn query_of(
    context: &ExecutionContext,
    create: &CreateTableAs,
    executed: Option<&Explained>,
) -> Result<(LogicalPlan, Arc<[FieldDescription]>), SqlError> {
    let Some(executed) = executed else {
        let planned =
            context.plan(|plan| planner::plan_create_table_as(plan, &create.query, &[]))?;
        return Ok((planned.plan, planned.fields));
    };
    let Plan::Query(plan) = executed.statement.plan_in(context)? else {
        return Err(SqlError::internal("CREATE TABLE AS EXECUTE of no query"));
    };
    if !plan.planned.changes.is_empty() {
        let what = "CREATE TABLE AS EXECUTE of a query whose WITH changes rows";
        return Err(SqlError::not_supported(what));
    }
    let params = executed.arguments.as_deref().unwrap_or_default();
    let bound = run::bind(context, &plan.planned.plan, params)?;
    Ok((bound, Arc::clone(&plan.planned.fields)))
}

/// Whether the name is taken, which with IF NOT EXISTS is only a notice.
pub(super) fn exists(
    context: &ExecutionContext,
    schema: &Schema,
    name: &RelationName,
    if_not_exists: bool,
    notices: &mut Vec<Notice>,
) -> Result<bool, SqlError> {
    if context.catalog.relation(schema.oid, &name.name).is_none() {
        return Ok(false);
    }
    let message = format!("relation \"{}\" already exists", name.name);
    if !if_not_exists {
        return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
    }
    let mut notice = Notice::note(format!("{message}, skipping"));
    notice.sqlstate = sqlstate::DUPLICATE_TABLE;
    notices.push(notice);
    Ok(true)
}

pub(super) fn new_table(
    context: &ExecutionContext,
    schema: &Schema,
    name: &str,
    definitions: &[ColumnDefinition],
) -> Result<Table, SqlError> {
    let allocator = context.engine.allocator();
    if definitions.is_empty() {
        return Err(SqlError::not_supported(format!("table \"{name}\" without columns")));
    }
    if definitions.len() > COLUMNS_MAX {
        return Err(SqlError::new(
            "54011",
            format!("tables can have at most {COLUMNS_MAX} columns"),
        ));
    }
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(definitions.len());
    for (index, definition) in definitions.iter().enumerate() {
        if !names.insert(definition.name.as_str()) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", definition.name),
            ));
        }
        let pg_type = context.resolved_type(&definition.pg_type)?;
        let definition = &ColumnDefinition { pg_type, ..definition.clone() };
        check_type(definition)?;
        if let Some(default) = &definition.default {
            // Refused now rather than at the first INSERT.
            context.plan(|plan| {
                planner::plan_default(plan, &definition.name, &definition.pg_type, default)
            })?;
        }
        columns.push(Column {
            id: index as u32 + 1,
            number: i16::try_from(index + 1).expect("at most 1600 columns"),
            name: definition.name.clone(),
            type_oid: definition.pg_type.oid(),
            typmod: definition.pg_type.typmod(),
            not_null: definition.not_null,
            default_oid: if definition.default.is_some() { allocator.oid() } else { 0 },
            default: definition.default.clone(),
            composite: composite_of(&context.catalog, &definition.pg_type)?,
            ..Column::default()
        });
    }
    Ok(Table {
        oid: allocator.oid(),
        name: name.to_owned(),
        schema_oid: schema.oid,
        owner: context.owner(schema),
        row_type_oid: allocator.oid(),
        array_type_oid: allocator.oid(),
        storage: allocator.table_id(),
        version: SchemaVersion(1),
        next_column_id: columns.len() as u32 + 1,
        columns,
        primary_key: None,
        ..Table::default()
    })
}

pub(super) fn check_type(definition: &ColumnDefinition) -> Result<(), SqlError> {
    match &definition.pg_type {
        PgType::Unknown | PgType::Void => Err(pseudo_type(definition)),
        PgType::Record(record) if record.is_anonymous() => Err(pseudo_type(definition)),
        PgType::Array(of) => {
            check_type(&ColumnDefinition { pg_type: of.as_ref().clone(), ..definition.clone() })
        }
        PgType::Char
        | PgType::Int2vector
        | PgType::Oidvector
        | PgType::Regclass
        | PgType::Regtype
        | PgType::Regproc
        | PgType::Regprocedure
        | PgType::Regoper
        | PgType::Regoperator
        | PgType::Regcollation
        | PgType::Regnamespace
        | PgType::Regrole => Err(SqlError::not_supported(format!(
            "column \"{}\" of type {}",
            definition.name,
            definition.pg_type.sql_name()
        ))),
        _ => Ok(()),
    }
}

fn pseudo_type(definition: &ColumnDefinition) -> SqlError {
    let (name, ty) = (&definition.name, definition.pg_type.sql_name());
    let message = format!("column \"{name}\" has pseudo-type {ty}");
    SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message)
}

/// The key's descriptor: 42703 for an unknown column, 42P07 for a name that is taken.
pub(super) fn primary_key(
    context: &ExecutionContext,
    schema: &Schema,
    table: &Table,
    definition: &PrimaryKeyDefinition,
) -> Result<PrimaryKey, SqlError> {
    let mut columns = Vec::with_capacity(definition.columns.len());
    for name in &definition.columns {
        let column = table.column(name).ok_or_else(|| {
            SqlError::new(
                sqlstate::UNDEFINED_COLUMN,
                format!("column \"{name}\" named in key does not exist"),
            )
        })?;
        if columns.contains(&column.id) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in primary key constraint"),
            ));
        }
        columns.push(column.id);
    }
    let name = match &definition.name {
        Some(name) => {
            if context.catalog.relation(schema.oid, name).is_some() {
                return Err(SqlError::new(
                    sqlstate::DUPLICATE_TABLE,
                    format!("relation \"{name}\" already exists"),
                ));
            }
            name.clone()
        }
        None => context.catalog.free_relation_name(schema.oid, &table.name, "pkey"),
    };
    if name == table.name {
        return Err(SqlError::new(
            sqlstate::DUPLICATE_TABLE,
            format!("relation \"{name}\" already exists"),
        ));
    }
    let allocator = context.engine.allocator();
    Ok(PrimaryKey { oid: allocator.oid(), constraint_oid: allocator.oid(), name, columns })
}

/// Puts the new table into the transaction's catalog and gives it a storage.
pub(super) fn add(context: &ExecutionContext, table: Table) -> Result<Arc<Table>, SqlError> {
    refuse_temporary(&context.catalog, &table)?;
    let schema = Arc::new(table_schema(&table)?);
    let table = Arc::new(table);
    let mut change = CatalogChange::default();
    change.create_table(Arc::clone(&table));
    let mut transaction = context.transaction.lock();
    transaction.change_catalog(&context.view, &context.catalog, change)?;
    transaction.writes().lock().create_storage(table.storage, &schema);
    Ok(table)
}
