//! CREATE TYPE … AS (…), DROP TYPE, and what keeps a row type from being changed.

use std::collections::HashSet;

use glaredb_catalog::{
    CatalogChange,
    descriptor::{COLUMNS_MAX, Column, RelationKind, Table},
};
use glaredb_txn::ids::{SchemaVersion, TableId};

use super::{
    super::{
        api::Notice,
        context::ExecutionContext,
        row_types::{composite_of, refuse_temporary},
    },
    create_table::check_type,
    dependents::{self, DESIRED},
    drop, relation_kind, shown,
    view::described,
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::{ColumnDefinition, CreateType, DropObjects},
};

pub(super) fn create(context: &ExecutionContext, create: &CreateType) -> Result<(), SqlError> {
    let temporary = context.creates_temporary(&create.name, false)?;
    let context = if temporary { &context.with_temporary_schema()? } else { context };
    let schema = context.creation_schema(&create.name, temporary)?;
    let name = &create.name.name;
    if context.catalog.relation(schema.oid, name).is_some() {
        let message = format!("type \"{name}\" already exists");
        return Err(SqlError::new(sqlstate::DUPLICATE_OBJECT, message));
    }
    let allocator = context.engine.allocator();
    let columns = attributes(context, &create.columns)?;
    let table = Table {
        oid: allocator.oid(),
        name: name.clone(),
        kind: RelationKind::CompositeType,
        schema_oid: schema.oid,
        owner: context.owner(&schema),
        row_type_oid: allocator.oid(),
        array_type_oid: allocator.oid(),
        storage: TableId::CATALOG,
        version: SchemaVersion(1),
        next_column_id: columns.len() as u32 + 1,
        columns,
        ..Table::default()
    };
    refuse_temporary(&context.catalog, &table)?;
    let mut change = CatalogChange::default();
    change.create_table(table);
    context.transaction.lock().change_catalog(&context.view, &context.catalog, change)
}

fn attributes(
    context: &ExecutionContext,
    definitions: &[ColumnDefinition],
) -> Result<Vec<Column>, SqlError> {
    if definitions.is_empty() {
        return Err(SqlError::not_supported("a composite type without columns"));
    }
    if definitions.len() > COLUMNS_MAX {
        let message = format!("tables can have at most {COLUMNS_MAX} columns");
        return Err(SqlError::new("54011", message));
    }
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(definitions.len());
    for (index, definition) in definitions.iter().enumerate() {
        if !names.insert(definition.name.as_str()) {
            let message = format!("column \"{}\" specified more than once", definition.name);
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        let pg_type = context.resolved_type(&definition.pg_type)?;
        let definition = ColumnDefinition { pg_type, ..definition.clone() };
        check_type(&definition)?;
        columns.push(Column {
            id: index as u32 + 1,
            number: i16::try_from(index + 1).expect("at most 1600 columns"),
            name: definition.name.clone(),
            type_oid: definition.pg_type.oid(),
            typmod: definition.pg_type.typmod(),
            composite: composite_of(&context.catalog, &definition.pg_type)?,
            ..Column::default()
        });
    }
    Ok(columns)
}

pub(super) fn drop(
    context: &ExecutionContext,
    drop: &DropObjects,
    notices: &mut Vec<Notice>,
) -> Result<(), SqlError> {
    let mut change = CatalogChange::default();
    for name in &drop.names {
        match context.find_table(name) {
            Some(table) if !table.is_composite_type() => {
                let (kind, shown) = (relation_kind(table), context.shown_relation(table));
                let message =
                    format!("cannot drop type {shown} because {kind} {shown} requires it");
                return Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .hint(format!("You can drop {kind} {shown} instead.")));
            }
            Some(table) if change.drop_tables.contains(&table.oid) => {}
            Some(table) => change.drop_table(table.oid),
            None => {
                let message = format!("type \"{}\" does not exist", shown(name));
                if !drop.if_exists {
                    return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message));
                }
                notices.push(Notice::note(format!("{message}, skipping")));
            }
        }
    }
    let roots = change.drop_tables.clone();
    let what = match roots.as_slice() {
        [one] => context.catalog.table_by_oid(*one).map(|table| described(context, table)),
        _ => None,
    };
    let what = what.unwrap_or_else(|| DESIRED.to_owned());
    let dependents = dependents::readers(context, &roots);
    refuse_used(context, &change, drop.cascade)?;
    dependents::resolve(context, &what, &dependents, drop.cascade, &mut change, notices)?;
    drop::apply(context, change)
}

/// Refuses to drop relations whose row types columns of others have.
///
/// # Errors
/// 2BP01; 0A000 with CASCADE, which would drop these columns.
pub(super) fn refuse_used(
    context: &ExecutionContext,
    change: &CatalogChange,
    cascade: bool,
) -> Result<(), SqlError> {
    let mut lines = Vec::new();
    let mut whats = Vec::new();
    for oid in &change.drop_tables {
        let Some(table) = context.catalog.table_by_oid(*oid) else { continue };
        let of_type = format!("type {}", context.shown_relation(table));
        let mut used = false;
        // The newest first.
        for (user, columns) in context.catalog.columns_of_type(*oid).into_iter().rev() {
            // Views depend on what has the type, or name it.
            if user.view.is_some() || change.drop_tables.contains(&user.oid) {
                continue;
            }
            used = true;
            for column in columns {
                let of = match user.is_composite_type() {
                    true => format!("composite {}", described(context, user)),
                    false => described(context, user),
                };
                let array = column.type_oid == table.array_type_oid;
                let dimensions = if array { "[]" } else { "" };
                let (name, ty) = (&column.name, &of_type);
                lines.push(format!("column {name} of {of} depends on {ty}{dimensions}"));
            }
        }
        if used {
            whats.push(described(context, table));
        }
    }
    let what = match whats.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        _ => DESIRED.to_owned(),
    };
    if cascade {
        return Err(SqlError::not_supported(format!("DROP {what} CASCADE of columns of its type"))
            .detail(lines.join("\n")));
    }
    let it = if what == DESIRED { "them" } else { "it" };
    let message = format!("cannot drop {what} because other objects depend on {it}");
    Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .detail(lines.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

/// Refuses to add or drop columns of a table whose row type a column of another one has.
///
/// # Errors
/// 0A000.
pub(super) fn refuse_altered(context: &ExecutionContext, table: &Table) -> Result<(), SqlError> {
    let users = context.catalog.columns_of_type(table.oid);
    let Some((user, columns)) = users.first() else { return Ok(()) };
    let column = columns.first().map_or("", |column| column.name.as_str());
    let (kind, name) = (relation_kind(table), &table.name);
    let message = format!(
        "cannot alter {kind} \"{name}\" because column \"{}.{column}\" uses its row type",
        user.name
    );
    Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
}
