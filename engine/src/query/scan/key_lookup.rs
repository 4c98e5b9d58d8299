//! Filters that pin the whole primary key, and the row they pin.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    datatypes::Schema,
};
use bytes::Bytes;
use datafusion::{
    logical_expr::{BinaryExpr, Expr, Operator, utils::split_conjunction},
    scalar::ScalarValue,
};
use glaredb_txn::ids::Locator;

use super::{
    StatementView, StoredTable,
    exec::{ReadColumn, ReadColumns},
    morsel::{own_row, read_own},
};
use crate::storage::{StorageError, write_set::OwnKey};

/// The key that `column = value` filters name, encoded; `None` if they do not name it whole, or
/// name NULL, or values that are not of the column's type.
pub(super) fn pinned_key<'a>(
    table: &StoredTable,
    filters: impl IntoIterator<Item = &'a Expr>,
) -> Option<PinnedKey> {
    let key = table.schema.key()?;
    let mut values: Vec<Option<&ScalarValue>> = vec![None; key.len()];
    for conjunct in filters.into_iter().flat_map(split_conjunction) {
        let Some((column, value)) = equality(conjunct) else { continue };
        let position =
            key.iter().position(|ordinal| table.schema.columns()[*ordinal].name == *column);
        if let Some(position) = position {
            values[position] = Some(value);
        }
    }
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(key.len());
    for (ordinal, value) in key.iter().zip(values) {
        let value = value?;
        let wanted = table.schema.arrow().field(*ordinal).data_type();
        // NULL equals nothing; leave that, and other types, to the scan.
        if value.is_null() || value.data_type() != *wanted {
            return None;
        }
        arrays.push(value.to_array().ok()?);
    }
    let bytes = table.schema.key_encoder()?.encode(&arrays, 0).ok()?;
    Some(PinnedKey { bytes })
}

pub(super) struct PinnedKey {
    bytes: Bytes,
}

fn equality(expr: &Expr) -> Option<(&String, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = expr else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(column)) => Some((&column.name, value)),
        _ => None,
    }
}

/// The row with that key, or none, in the columns to read.
pub(super) fn lookup(
    table: &StoredTable,
    view: &StatementView,
    key: &PinnedKey,
    read: &ReadColumns,
) -> Result<RecordBatch, StorageError> {
    let own = view.own.as_ref().map(|own| own.lock());
    let writes = own.as_ref().and_then(|own| own.table(table.id));
    match writes.map_or(OwnKey::Untouched, |writes| writes.own_key(&key.bytes)) {
        OwnKey::Removed => Ok(RecordBatch::new_empty(Arc::clone(read.schema()))),
        OwnKey::Row(ordinal) => {
            let batches = writes.map(|writes| writes.own_batches()).unwrap_or_default();
            let (batch, row) = own_row(&batches, ordinal).ok_or_else(|| {
                StorageError::Invalid(format!("own row {ordinal} of {} is gone", table.id))
            })?;
            batch_of(read, read_own(batch, &(row..row + 1), read.all()))
        }
        OwnKey::Untouched => {
            drop(own);
            stored_row(table, view, key, read)
        }
    }
}

fn stored_row(
    table: &StoredTable,
    view: &StatementView,
    key: &PinnedKey,
    read: &ReadColumns,
) -> Result<RecordBatch, StorageError> {
    let empty = || Ok(RecordBatch::new_empty(Arc::clone(read.schema())));
    let Some(storage) = view.database.table(table.id) else { return empty() };
    let Some(locator) = storage.lookup(&key.bytes, view.snapshot.timestamp()) else {
        return empty();
    };
    let locators: [Locator; 1] = [locator];
    let ordinals: Vec<usize> = read.ordinals().flatten().collect();
    let fetched = storage.fetch(&locators, Some(&ordinals))?;
    let mut fetched = fetched.columns().iter();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(read.all().len());
    for column in read.all().iter() {
        arrays.push(match column {
            ReadColumn::Stored(_) => Arc::clone(fetched.next().ok_or_else(|| {
                StorageError::Invalid(format!("{} gave too few columns", table.id))
            })?),
            ReadColumn::Segment => Arc::new(UInt64Array::from_value(locator.segment.0, 1)),
            ReadColumn::Row => Arc::new(UInt32Array::from_value(locator.row, 1)),
            ReadColumn::RowId => {
                let ids = storage.fetch_row_ids(&locators)?;
                Arc::new(UInt64Array::from_iter_values(ids.iter().map(|id| id.0)))
            }
        });
    }
    batch_of(read, arrays)
}

fn batch_of(read: &ReadColumns, arrays: Vec<ArrayRef>) -> Result<RecordBatch, StorageError> {
    let schema: Arc<Schema> = Arc::clone(read.schema());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| StorageError::Invalid(error.to_string()))
}
