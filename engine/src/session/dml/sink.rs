//! Where changes of one table go: checked, then into the transaction's write set.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, new_null_array},
    datatypes::SchemaRef,
};
use glaredb_txn::ids::{Locator, Position, RowId, TableId, Timestamp};
use hashbrown::HashSet;
use parking_lot::Mutex;

use super::{
    Located,
    constraints::{check_not_null, duplicate_key},
};
use crate::{
    error::SqlError,
    query::{planner::ResolvedTable, scan::StatementView},
    session::{
        context::{ExecutionContext, stored_table},
        errors::storage_error,
    },
    storage::{
        codec::key::EncodedKeys,
        schema::TableSchema,
        table::Table,
        write_set::{Deletion, OwnKey, WriteSet},
    },
    types::text::FormatSettings,
};

pub(in crate::session) struct TableSink {
    id: TableId,
    table: ResolvedTable,
    key_name: String,
    schema: Arc<TableSchema>,
    /// With the time at which it is read.
    storage: Option<(Arc<Table>, Timestamp)>,
    view: Arc<StatementView>,
    writes: Arc<Mutex<WriteSet>>,
    format: FormatSettings,
}

impl TableSink {
    pub(in crate::session) fn new(
        context: &ExecutionContext,
        table: &ResolvedTable,
    ) -> Result<Self, SqlError> {
        let stored = stored_table(table)?;
        let descriptor = context.catalog.table_by_oid(table.oid);
        let key = descriptor.and_then(|descriptor| descriptor.primary_key.as_ref());
        Ok(Self {
            id: stored.id,
            key_name: key.map(|key| key.name.clone()).unwrap_or_default(),
            schema: Arc::clone(&stored.schema),
            storage: context.view.storage(stored.id),
            view: Arc::clone(&context.view),
            writes: Arc::clone(context.transaction.lock().writes()),
            format: context.settings.derived().format.clone(),
            table: table.clone(),
        })
    }

    fn base(&self) -> Position {
        self.view.snapshot.snapshot().position
    }

    /// Columns as rows of the table.
    pub(in crate::session) fn rows(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, SqlError> {
        check_not_null(&self.table, &columns, &self.format)?;
        let schema: SchemaRef = Arc::clone(self.schema.arrow());
        let columns = self.as_stored(columns);
        RecordBatch::try_new(schema, columns).map_err(|error| SqlError::internal(error.to_string()))
    }

    /// The columns in their places in storage, where dropped ones are NULL.
    fn as_stored(&self, columns: Vec<ArrayRef>) -> Vec<ArrayRef> {
        if self.schema.live().len() == self.schema.columns().len() {
            return columns;
        }
        let rows = columns.first().map_or(0, |column| column.len());
        let fields = self.schema.arrow().fields().iter();
        let mut stored: Vec<ArrayRef> =
            fields.map(|field| new_null_array(field.data_type(), rows)).collect();
        for (ordinal, column) in self.schema.live().iter().zip(columns) {
            stored[*ordinal] = column;
        }
        stored
    }

    /// Adds rows made by [`rows`](Self::rows). `kept`: the ids of the rows they replace.
    ///
    /// # Errors
    /// 23505; 53200 over budget.
    pub(in crate::session) fn insert(
        &mut self,
        rows: RecordBatch,
        kept: Option<Vec<RowId>>,
    ) -> Result<(), SqlError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.keys_of(&rows)?;
        let mut writes = self.writes.lock();
        if let Some(keys) = &keys {
            self.check_unique(&writes, &rows, keys)?;
        }
        writes
            .insert(self.id, &self.schema, rows, kept, keys.as_ref(), self.base())
            .map_err(storage_error)
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<Option<EncodedKeys>, SqlError> {
        let (Some(key), Some(encoder)) = (self.schema.key(), self.schema.key_encoder()) else {
            return Ok(None);
        };
        let columns: Vec<ArrayRef> = key.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        encoder.encode_all(&columns).map(Some).map_err(storage_error)
    }

    fn check_unique(
        &self,
        writes: &WriteSet,
        rows: &RecordBatch,
        keys: &EncodedKeys,
    ) -> Result<(), SqlError> {
        let own = writes.table(self.id);
        let mut batch: HashSet<&[u8], foldhash::fast::RandomState> = HashSet::default();
        // Keys in ascending order, the usual load, do not repeat.
        let may_repeat = !keys.iter().is_sorted_by(|a, b| a < b);
        for (row, key) in keys.iter().enumerate() {
            let taken = match own.map_or(OwnKey::Untouched, |own| own.own_key(key)) {
                OwnKey::Row(_) => true,
                OwnKey::Removed => false,
                OwnKey::Untouched => self.storage.as_ref().is_some_and(|(table, at)| {
                    let row = match own {
                        Some(own) => own.find(table, key, *at),
                        None => table.lookup(key, *at),
                    };
                    row.is_some()
                }),
            };
            if taken || (may_repeat && !batch.insert(key)) {
                let live = self.schema.live();
                let shown = rows.project(live).map_err(|e| SqlError::internal(e.to_string()))?;
                let key = self.schema.key().unwrap_or_default().iter();
                let key: Vec<usize> = key
                    .filter_map(|ordinal| live.iter().position(|live| live == ordinal))
                    .collect();
                let (table, name) = (&self.table, &self.key_name);
                return Err(duplicate_key(table, name, &key, &shown, row, &self.format));
            }
        }
        Ok(())
    }

    /// Which of these rows the transaction has deleted.
    pub(super) fn are_deleted(&self, rows: &[Locator]) -> Vec<bool> {
        let writes = self.writes.lock();
        let own = writes.table(self.id);
        rows.iter().map(|row| own.is_some_and(|own| own.is_deleted(*row))).collect()
    }

    /// Deletes rows. `old_key`: their primary keys, without columns where there is none.
    pub(super) fn delete(&mut self, rows: &Located, old_key: &RecordBatch) -> Result<(), SqlError> {
        let keys = match self.schema.key_encoder() {
            Some(encoder) if old_key.num_columns() > 0 => {
                Some(encoder.encode_all(old_key.columns()).map_err(storage_error)?)
            }
            Some(_) => return Err(SqlError::internal("a plan of DML does not name its keys")),
            None => None,
        };
        let deletion =
            Deletion { locators: &rows.locators, row_ids: &rows.row_ids, keys: keys.as_ref() };
        self.writes
            .lock()
            .delete(self.id, &self.schema, deletion, self.base())
            .map(drop)
            .map_err(storage_error)
    }
}
