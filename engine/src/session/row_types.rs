//! Types of rows that the catalog knows: of tables and views, and what CREATE TYPE made.

use std::sync::Arc;

use glaredb_catalog::{
    Catalog,
    descriptor::{Column, Composite, CompositeField, Table},
};

use crate::{
    error::SqlError,
    query::quoting::quote_identifier,
    types::{PgType, RecordType, record::RecordField},
};

/// The type with this OID and modifier, built in or of rows of a relation; `None` if there is none.
#[must_use]
pub fn type_of(catalog: &Catalog, oid: u32, typmod: i32) -> Option<PgType> {
    if let Some(builtin) = PgType::from_oid(oid, typmod) {
        return Some(builtin);
    }
    let table = catalog.table_with_inner_oid(oid)?;
    let of = || row_type(catalog, table).map(|record| PgType::Record(Arc::new(record)));
    if oid == table.row_type_oid {
        of()
    } else if oid == table.array_type_oid {
        Some(PgType::Array(Arc::new(of()?)))
    } else {
        None
    }
}

/// The type of a relation's rows.
#[must_use]
pub fn row_type(catalog: &Catalog, table: &Table) -> Option<RecordType> {
    let field = |column: &Column| {
        let ty = type_of(catalog, column.type_oid, column.typmod)?;
        Some(RecordField { name: column.name.clone(), ty })
    };
    let name = quote_identifier(&table.name);
    let name = match catalog.schema_by_oid(table.schema_oid) {
        Some(schema) if schema.name != "public" => {
            format!("{}.{name}", quote_identifier(&schema.name))
        }
        _ => name.into_owned(),
    };
    Some(RecordType {
        oid: table.row_type_oid,
        array_oid: table.array_type_oid,
        name,
        fields: table.columns.iter().map(field).collect::<Option<_>>()?,
    })
}

/// Refuses columns of temporary types in what stays.
///
/// # Errors
/// 0A000.
pub(super) fn refuse_temporary(catalog: &Catalog, table: &Table) -> Result<(), SqlError> {
    let is_temporary =
        |oid: u32| catalog.table_by_oid(oid).is_some_and(|relation| catalog.is_temporary(relation));
    if catalog.is_temporary(table) {
        return Ok(());
    }
    let of_temporary = |column: &&Column| {
        let relations = column.composite.iter().flat_map(|composite| composite.relations());
        relations.into_iter().any(is_temporary)
    };
    match table.columns.iter().find(of_temporary) {
        Some(column) => {
            let what = format!("column \"{}\" of a temporary type in a lasting one", column.name);
            Err(SqlError::not_supported(what))
        }
        None => Ok(()),
    }
}

/// What the descriptor of a column of this type says of it, if it is composite or an array of such.
///
/// # Errors
/// XX000 for a row type that is no relation's.
pub(super) fn composite_of(catalog: &Catalog, ty: &PgType) -> Result<Option<Composite>, SqlError> {
    let Some(record) = ty.record_or_element() else { return Ok(None) };
    let relation = catalog
        .table_with_inner_oid(record.oid)
        .ok_or_else(|| SqlError::internal(format!("type {} is no relation's", record.name)))?;
    let mut fields = Vec::with_capacity(record.fields.len());
    for (field, column) in record.fields.iter().zip(&relation.columns) {
        fields.push(CompositeField {
            column: column.id,
            type_oid: field.ty.oid(),
            typmod: field.ty.typmod(),
            composite: composite_of(catalog, &field.ty)?,
        });
    }
    Ok(Some(Composite {
        relation: relation.oid,
        type_oid: record.oid,
        array_type_oid: record.array_oid,
        fields,
    }))
}
