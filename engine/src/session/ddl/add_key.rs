//! ALTER TABLE … ADD PRIMARY KEY.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use datafusion::logical_expr::{LogicalPlanBuilder, col};
use foldhash::fast::RandomState;
use glaredb_catalog::descriptor::{PrimaryKey, Table};
use glaredb_txn::commit::message::Scope;
use hashbrown::{HashMap, HashSet};

use super::{
    super::{
        context::ExecutionContext, dml::show_key, errors::storage_error, run,
        table_schema::table_schema,
    },
    create_table::primary_key,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, planner::ResolvedTable, statement::PrimaryKeyDefinition},
    storage::{codec::key::KeyEncoder, table::KeyAccess},
};

pub(super) async fn add_key(
    context: &ExecutionContext,
    table: &Arc<Table>,
    new: &mut Table,
    definition: &PrimaryKeyDefinition,
) -> Result<(), SqlError> {
    if new.primary_key.is_some() {
        // A column that is not there comes first, in words of its own.
        if let Some(name) = definition.columns.iter().find(|name| table.column(name).is_none()) {
            return Err(SqlError::new(
                sqlstate::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            ));
        }
        return Err(SqlError::new(
            sqlstate::INVALID_TABLE_DEFINITION,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let schema = context
        .catalog
        .schema_by_oid(table.schema_oid)
        .ok_or_else(|| SqlError::internal(format!("table \"{}\" has no schema", table.name)))?;
    let key = primary_key(context, schema, new, definition)?;
    let resolved = context.engine.resolved_table(&context.catalog, &schema.name, table)?;
    validate(context, &resolved, table, &key).await?;
    for column in &mut new.columns {
        column.not_null |= key.columns.contains(&column.id);
    }
    new.primary_key = Some(key);
    // Refuses key types that have no order.
    let schema = Arc::new(table_schema(new)?);
    let mut access = None;
    if let Some((storage, at)) = context.view.storage(table.storage) {
        let (schema, keyed) = (Arc::clone(&schema), Arc::clone(&schema));
        // Beside apply, where all commits would wait for it.
        let built = tokio::task::spawn_blocking(move || storage.prepare_index(&schema, at))
            .await
            .map_err(|error| SqlError::internal(format!("building the index: {error}")))?
            .map_err(storage_error)?;
        access = Some(KeyAccess { index: built, schema: Arc::clone(&keyed) });
    }
    let mut transaction = context.transaction.lock();
    if !context.is_last {
        // Statements that follow find rows by a key that the storage does not have before the commit.
        let base = context.view.snapshot.snapshot().position;
        let mut writes = transaction.writes_under(&context.view.snapshot).lock();
        writes.add_key(table.storage, &schema, access, base).map_err(storage_error)?;
    }
    // Rows that came meanwhile were not looked at.
    transaction.assert_unchanged(&context.view, table.storage, Scope::Table);
    Ok(())
}

/// Every row has a key of its own, without NULL.
async fn validate(
    context: &ExecutionContext,
    resolved: &ResolvedTable,
    table: &Table,
    key: &PrimaryKey,
) -> Result<(), SqlError> {
    let ordinals: Vec<usize> =
        key.columns.iter().filter_map(|id| table.column_index(*id)).collect();
    let types: Vec<_> = ordinals.iter().map(|i| resolved.columns[*i].pg_type.clone()).collect();
    let encoder = KeyEncoder::new(&types).map_err(storage_error)?;
    // First by hash, which is small; keys whose hashes meet are then compared themselves.
    let state = RandomState::default();
    let mut hashes: HashSet<u64, RandomState> = HashSet::default();
    let mut suspects: HashSet<u64, RandomState> = HashSet::default();
    let mut rows = key_rows(context, resolved, &ordinals).await?;
    while let Some(batch) = rows.next().await? {
        for (column, ordinal) in batch.columns().iter().zip(&ordinals) {
            if column.null_count() > 0 {
                let name = &resolved.columns[*ordinal].name;
                let mut error = SqlError::new(
                    sqlstate::NOT_NULL_VIOLATION,
                    format!(
                        "column \"{name}\" of relation \"{}\" contains null values",
                        table.name
                    ),
                );
                error.object.schema = Some(resolved.schema.clone());
                error.object.table = Some(table.name.clone());
                error.object.column = Some(name.clone());
                return Err(error);
            }
        }
        let keys = encoder.encode_all(batch.columns()).map_err(storage_error)?;
        for key in keys.iter() {
            let hash = std::hash::BuildHasher::hash_one(&state, key);
            if !hashes.insert(hash) {
                suspects.insert(hash);
            }
        }
    }
    drop(hashes);
    if suspects.is_empty() {
        return Ok(());
    }
    let mut seen: HashMap<Vec<u8>, (), RandomState> = HashMap::default();
    let mut rows = key_rows(context, resolved, &ordinals).await?;
    while let Some(batch) = rows.next().await? {
        let keys = encoder.encode_all(batch.columns()).map_err(storage_error)?;
        for (row, bytes) in keys.iter().enumerate() {
            let hash = std::hash::BuildHasher::hash_one(&state, bytes);
            if suspects.contains(&hash) && seen.insert(bytes.to_vec(), ()).is_some() {
                return Err(duplicate(context, resolved, key, &ordinals, &batch, row));
            }
        }
    }
    Ok(())
}

fn duplicate(
    context: &ExecutionContext,
    resolved: &ResolvedTable,
    key: &PrimaryKey,
    ordinals: &[usize],
    batch: &RecordBatch,
    row: usize,
) -> SqlError {
    let format = &context.settings.derived().format;
    // The batch has the key's columns only, in its order.
    let mut shown = resolved.clone();
    shown.columns = ordinals.iter().map(|i| resolved.columns[*i].clone()).collect();
    let places: Vec<usize> = (0..ordinals.len()).collect();
    let text = show_key(&shown, &places, batch, row, format);
    let mut error = SqlError::new(
        sqlstate::UNIQUE_VIOLATION,
        format!("could not create unique index \"{}\"", key.name),
    )
    .detail(format!("Key {text} is duplicated."));
    error.object.schema = Some(resolved.schema.clone());
    error.object.table = Some(resolved.name.clone());
    error.object.constraint = Some(key.name.clone());
    error
}

/// The key columns of all rows.
async fn key_rows(
    context: &ExecutionContext,
    resolved: &ResolvedTable,
    ordinals: &[usize],
) -> Result<run::Rows, SqlError> {
    let names = ordinals
        .iter()
        .map(|i| col(format!("\"{}\"", resolved.columns[*i].name.replace('"', "\"\""))));
    let plan = LogicalPlanBuilder::scan("t", Arc::clone(&resolved.source), None)
        .and_then(|scan| scan.project(names))
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    run::start(context, plan).await
}
