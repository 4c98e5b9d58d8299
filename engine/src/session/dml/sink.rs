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
    error::{SqlError, sqlstate},
    query::{planner::ResolvedTable, scan::StatementView},
    session::{
        Engine,
        apart::apart,
        context::{ExecutionContext, stored_table},
        errors::storage_error,
        staging::Staging,
        transaction::Transaction,
    },
    storage::{
        codec::key::EncodedKeys,
        schema::TableSchema,
        table::Table,
        warmed::{ColdReads, ReadError, Warmed},
        write_set::{Deletion, KeysAside, OwnKey, WriteSet},
    },
    types::text::FormatSettings,
};

/// How often a statement waits for room in memory, each time for up to 200 ms.
const WAITS_MAX: usize = 150;

pub(in crate::session) struct TableSink {
    id: TableId,
    table: ResolvedTable,
    key_name: String,
    schema: Arc<TableSchema>,
    /// With the time at which it is read.
    storage: Option<(Arc<Table>, Timestamp)>,
    view: Arc<StatementView>,
    engine: Arc<Engine>,
    transaction: Arc<Mutex<Transaction>>,
    /// The transaction ends with the statement.
    is_alone: bool,
    writes: Arc<Mutex<WriteSet>>,
    /// Its own: it gives back what it took after every batch.
    warmed: Arc<Warmed>,
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
            engine: Arc::clone(&context.engine),
            warmed: Arc::new(Warmed::new(context.engine.database().segments().clone())),
            transaction: Arc::clone(&context.transaction),
            is_alone: context.is_last,
            writes: Arc::clone(context.transaction.lock().writes_under(&context.view.snapshot)),
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
    pub(in crate::session) async fn insert(
        &mut self,
        rows: RecordBatch,
        mut kept: Option<Vec<RowId>>,
    ) -> Result<(), SqlError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.keys_of(&rows)?;
        let aside = match &keys {
            Some(keys) => self.taken_aside(keys).await?,
            None => None,
        };
        let mut waits = 0;
        loop {
            let cold = match self.insert_now(&rows, &mut kept, keys.as_ref(), aside) {
                Ok(Ok(())) => break,
                Ok(Err(cold)) => cold,
                Err(error) if self.may_wait_after(&error) && waits < WAITS_MAX => {
                    waits += 1;
                    Staging::make_room(&self.transaction).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let warmed = Arc::clone(&self.warmed);
            // Decoding computes.
            let warm = async move { warmed.warm(cold).await.map_err(storage_error) };
            apart(&self.engine, warm).await?;
        }
        // What this batch took is in the resident form, as far as that has room: nothing grows.
        self.warmed.release();
        Ok(())
    }

    /// The memory for changes is used up, and what is in it goes to segments by itself.
    fn may_wait_after(&self, error: &SqlError) -> bool {
        self.is_alone
            && error.sqlstate == sqlstate::OUT_OF_MEMORY
            && self.engine.database().rewrite_options().automatic
    }

    /// Adds rows, or says what is to be warmed before. `aside`: the first row whose key a row that is set
    /// aside has.
    fn insert_now(
        &self,
        rows: &RecordBatch,
        kept: &mut Option<Vec<RowId>>,
        keys: Option<&EncodedKeys>,
        aside: Option<usize>,
    ) -> Result<Result<(), ColdReads>, SqlError> {
        let mut writes = self.writes.lock();
        if let Some(keys) = keys {
            match self.taken(&mut writes, keys) {
                Ok(taken) => {
                    if let Some(row) = taken.into_iter().chain(aside).min() {
                        return Err(self.duplicate_key(rows, row));
                    }
                }
                Err(ReadError::Cold(cold)) => return Ok(Err(cold)),
                Err(ReadError::Failed(error)) => return Err(storage_error(error)),
            }
        }
        // Who waits for room brings them again.
        let given = if self.is_alone { kept.clone() } else { kept.take() };
        writes
            .insert(self.id, &self.schema, rows.clone(), given, keys, self.base())
            .map(Ok)
            .map_err(storage_error)
    }

    /// The first row whose key a row has that the statement has written into an object already.
    async fn taken_aside(&self, keys: &EncodedKeys) -> Result<Option<usize>, SqlError> {
        let asked: Vec<&[u8]> = keys.iter().collect();
        let segments = loop {
            let aside = {
                let writes = self.writes.lock();
                writes.table(self.id).and_then(|own| own.keys_aside(&asked))
            };
            match aside {
                None => return Ok(None),
                Some(KeysAside::Ask(segments)) => break segments,
                Some(KeysAside::Close) => Staging::close_segment(&self.transaction).await?,
            }
        };
        let mut first = None;
        for (staged, maybe) in segments {
            let keys: Vec<&[u8]> = maybe.iter().map(|n| asked[*n]).collect();
            let found = staged.contains(&keys).await.map_err(storage_error)?;
            let found = maybe.iter().zip(found).find(|(_, found)| *found).map(|(n, _)| *n);
            first = first.into_iter().chain(found).min();
        }
        Ok(first)
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<Option<EncodedKeys>, SqlError> {
        let (Some(key), Some(encoder)) = (self.schema.key(), self.schema.key_encoder()) else {
            return Ok(None);
        };
        let columns: Vec<ArrayRef> = key.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        encoder.encode_all(&columns).map(Some).map_err(storage_error)
    }

    /// The first row whose key another row has.
    fn taken(&self, writes: &mut WriteSet, keys: &EncodedKeys) -> Result<Option<usize>, ReadError> {
        let mut own = writes.table_mut(self.id);
        let mut batch: HashSet<&[u8], foldhash::fast::RandomState> = HashSet::default();
        // Keys in ascending order, the usual load, do not repeat.
        let may_repeat = !keys.iter().is_sorted_by(|a, b| a < b);
        let mut first = None;
        let (mut asked, mut wanted) = (Vec::new(), Vec::new());
        for (row, key) in keys.iter().enumerate() {
            let is_taken = match own.as_ref().map_or(OwnKey::Untouched, |own| own.own_key(key)) {
                OwnKey::Row(_) => true,
                OwnKey::Removed => false,
                OwnKey::Untouched => {
                    asked.push(row);
                    wanted.push(key);
                    false
                }
            };
            if is_taken || (may_repeat && !batch.insert(key)) {
                first = Some(row);
                break;
            }
        }
        let Some((table, at)) = &self.storage else { return Ok(first) };
        if let [key] = wanted[..] {
            let found = match &mut own {
                Some(own) => own.find(table, key, *at, None, &self.warmed)?,
                None => table.lookup(key, *at, &self.warmed)?,
            };
            return Ok(found.map(|_| asked[0]).or(first));
        }
        let found = match &mut own {
            Some(own) => own.find_all(table, &wanted, *at, &self.warmed)?,
            None => table.lookup_all(&wanted, *at, &self.warmed)?,
        };
        let stored = asked.into_iter().zip(found).find(|(_, found)| found.is_some());
        Ok(stored.map(|(row, _)| row).or(first))
    }

    fn duplicate_key(&self, rows: &RecordBatch, row: usize) -> SqlError {
        let live = self.schema.live();
        let shown = match rows.project(live) {
            Ok(shown) => shown,
            Err(error) => return SqlError::internal(error.to_string()),
        };
        let key = self.schema.key().unwrap_or_default().iter();
        let key: Vec<usize> =
            key.filter_map(|ordinal| live.iter().position(|live| live == ordinal)).collect();
        duplicate_key(&self.table, &self.key_name, &key, &shown, row, &self.format)
    }

    /// Is a column of the key among these, by their places in the table?
    pub(super) fn is_key_among(&self, columns: &[usize]) -> bool {
        let live = self.schema.live();
        let key = self.schema.key().unwrap_or_default();
        columns.iter().any(|column| live.get(*column).is_none_or(|column| key.contains(column)))
    }

    /// Which of these rows the transaction has deleted.
    pub(super) fn are_deleted(&self, rows: &[Locator]) -> Result<Vec<bool>, SqlError> {
        let mut writes = self.writes.lock();
        let Some(own) = writes.table_mut(self.id) else { return Ok(vec![false; rows.len()]) };
        let storage = self.storage.as_ref().map(|(table, _)| &**table);
        own.are_deleted(storage, rows).map_err(storage_error)
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
        // It says where the rows have gone, should they be moved.
        self.transaction.lock().found_rows(&self.view.snapshot);
        let storage = self.storage.as_ref().map(|(table, _)| &**table);
        self.writes
            .lock()
            .delete(self.id, storage, &self.schema, deletion, self.base())
            .map(drop)
            .map_err(storage_error)
    }
}
