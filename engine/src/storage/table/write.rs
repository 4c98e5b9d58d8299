//! The writing side of a table: called by the apply thread alone.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use glaredb_txn::{
    codec::{Reader, Writer},
    ids::{Locator, RowId, SegmentId, TableId, Timestamp},
};
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use super::{Table, TableSegment, chunk_in};
use crate::storage::{
    StorageError,
    budget::Budget,
    chunk::{
        Chunk, Place,
        block::{Block, Publication, RowIds},
    },
    codec::{
        batch,
        column::{ColumnRef, Value},
        corrupt,
        row::encode_row,
    },
    key_index::KeyIndex,
    record::{AddedSegment, Group, GroupKind, PlacedSection, Run, Section},
    schema::TableSchema,
    state_hash::row_hash,
};

/// Under what the rows of a record enter a table.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Visible from this timestamp on.
    Commit(Timestamp),
    /// Private until the publication.
    Part(Arc<Publication>),
}

/// After every commit: sees all that is published.
pub(super) const NEWEST: Timestamp = Timestamp(u64::MAX - 1);

/// Keys that are encoded before they go into an index.
pub(super) const KEYS_AT_ONCE: usize = 1024;

/// What inserted or deleted rows do to a table's counters: rows, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub rows: u64,
    pub hash: u64,
}

impl Tally {
    pub(super) fn add(&mut self, hash: u64) {
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hash);
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Hands out the places of a section's rows, in order.
pub(super) struct Places<'a> {
    runs: std::slice::Iter<'a, Run>,
    run: Option<Run>,
}

impl<'a> Places<'a> {
    pub(super) fn of(placed: &'a PlacedSection) -> Self {
        Self { runs: placed.runs.iter(), run: None }
    }

    /// Up to `rows` consecutive places; at least one.
    pub(super) fn take(&mut self, rows: u32) -> Result<Run, StorageError> {
        let run = match self.run.take().or_else(|| self.runs.next().copied()) {
            Some(run) if run.rows > 0 => run,
            _ => return Err(StorageError::corrupt("record", "more rows than places")),
        };
        let taken = Run { first: run.first, rows: run.rows.min(rows) };
        if taken.rows < run.rows {
            let row = run.first.row + taken.rows;
            let first = Locator { segment: run.first.segment, row };
            self.run = Some(Run { first, rows: run.rows - taken.rows });
        }
        Ok(taken)
    }
}

impl Table {
    pub(crate) fn new(id: TableId, schema: Arc<TableSchema>, budget: Arc<Budget>) -> Self {
        let index = schema.key().map(|_| Arc::default());
        Self {
            id,
            schema: RwLock::new(schema),
            chunks: RwLock::default(),
            segments: RwLock::default(),
            derived: RwLock::default(),
            moves: RwLock::default(),
            edits: AtomicU64::new(0),
            index: RwLock::new(index),
            index_deferred: AtomicBool::new(false),
            budget,
            accounted_bytes: AtomicU64::new(0),
            rows_live: AtomicU64::new(0),
            hash: AtomicU64::new(0),
            next_row_id: AtomicU64::new(0),
            unpruned: Mutex::default(),
            prepared: Mutex::default(),
            changed_at: AtomicU64::new(0),
            prunable: AtomicBool::new(false),
        }
    }

    /// Insert the rows of a section where placement put them. Rows of a commit count at once; those of
    /// a part when it is published: the caller keeps the tally.
    pub(crate) fn insert(
        &self,
        section: &Section<'_>,
        placed: &PlacedSection,
        target: &Target,
        schema: Option<&Arc<TableSchema>>,
    ) -> Result<Tally, StorageError> {
        let schema = schema.map_or_else(|| self.schema(), Arc::clone);
        let mut tally = Tally::default();
        let mut next_id = placed.first_row_id.0;
        let mut places = Places::of(placed);
        for group in &section.inserts {
            let tally = &mut tally;
            match group.kind {
                GroupKind::Columns => {
                    self.insert_columns(&schema, group, &mut places, &mut next_id, target, tally)?;
                }
                GroupKind::Rows => {
                    self.insert_rows(&schema, group, &mut places, &mut next_id, target, tally)?;
                }
                GroupKind::Segment => return Err(misplaced_segment()),
            }
        }
        self.next_row_id.fetch_max(next_id, Ordering::Relaxed);
        Ok(tally)
    }

    fn insert_rows(
        &self,
        schema: &TableSchema,
        group: &Group<'_>,
        places: &mut Places<'_>,
        next_id: &mut u64,
        target: &Target,
        tally: &mut Tally,
    ) -> Result<(), StorageError> {
        let Target::Commit(begin) = target else {
            return Err(StorageError::corrupt("record", "a part with rows that are not columnar"));
        };
        let index = self.key_index();
        let mut key = Vec::new();
        let mut input = Reader::new(group.data);
        for n in 0..group.rows as usize {
            let place = places.take(1)?.first;
            let row_id = take_id(group, n, next_id);
            let chunk = self.chunk_for(place.segment, target);
            let start = input.offset();
            chunk.append_row(schema, place.row, &mut input, row_id, *begin)?;
            let hash = row_hash(row_id, &group.data[start..input.offset()]);
            chunk.count_inserted(1, hash);
            tally.add(hash);
            if let Some(index) = &index {
                key.clear();
                self.encode_key_at(schema, &chunk, place, &mut key)?;
                index.insert(&key, place);
            }
        }
        input.finish().map_err(corrupt("rows"))
    }

    pub(super) fn insert_columns(
        &self,
        schema: &TableSchema,
        group: &Group<'_>,
        places: &mut Places<'_>,
        next_id: &mut u64,
        target: &Target,
        tally: &mut Tally,
    ) -> Result<(), StorageError> {
        let rows = group.rows as usize;
        let mut input = Reader::new(group.data);
        let columns = batch::decode(schema.columns(), rows, &mut input)?;
        input.finish().map_err(corrupt("batch"))?;
        let first_id = *next_id;
        let hashes = row_hashes(schema, &columns, rows, |n| id_at(group, n, first_id))?;
        let keys = match (self.key_index(), schema.key(), schema.key_encoder()) {
            (Some(index), Some(key), Some(encoder)) => {
                let columns: Vec<_> = key.iter().map(|c| Arc::clone(&columns[*c])).collect();
                Some((index, encoder.encode_stored(&columns)?))
            }
            _ => None,
        };
        let mut done = 0;
        while done < rows {
            let run = places.take((rows - done) as u32)?;
            let len = run.rows as usize;
            let row_ids = match &group.kept {
                None => RowIds::From(first_id + done as u64),
                Some(ids) => RowIds::Each(ids[done..done + len].iter().map(|id| id.0).collect()),
            };
            let part = columns.iter().map(|c| c.slice(done, len)).collect();
            let begin = match target {
                Target::Commit(at) => *at,
                Target::Part(_) => Timestamp::INFINITY,
            };
            let chunk = self.chunk_for(run.first.segment, target);
            chunk.append_block(run.first.row, part, len, row_ids, begin)?;
            let hash = hashes[done..done + len].iter().fold(0, |sum: u64, h| sum.wrapping_add(*h));
            chunk.count_inserted(run.rows, hash);
            tally.add_all(Tally { rows: len as u64, hash });
            if let Some((index, keys)) = &keys {
                let entries = (0..len).map(|n| {
                    let row = run.first.row + n as u32;
                    (keys.get(done + n), Locator { segment: run.first.segment, row })
                });
                index.insert_all(entries);
            }
            done += len;
        }
        if group.kept.is_none() {
            *next_id += rows as u64;
        }
        Ok(())
    }

    /// The chunk with this id, made if it is new.
    pub(super) fn chunk_for(&self, segment: SegmentId, target: &Target) -> Arc<Chunk> {
        let chunks = self.chunk_list();
        if let Some(chunk) = chunk_in(&chunks, segment) {
            return Arc::clone(chunk);
        }
        let publication = match target {
            Target::Commit(_) => None,
            Target::Part(publication) => Some(Arc::clone(publication)),
        };
        let chunk = Arc::new(Chunk::new(segment, publication));
        let mut list = (*chunks).clone();
        let at = list.partition_point(|c| c.segment() < segment);
        list.insert(at, Arc::clone(&chunk));
        *self.chunks.write() = Arc::new(list);
        chunk
    }

    /// A large commit brings a segment, whose rows readers from its timestamp on see. What it adds to
    /// the counters.
    pub(crate) fn add_segment(&self, added: &AddedSegment) -> Tally {
        let segment = Arc::new(TableSegment::new(added));
        let (rows, hash) = segment.live();
        let mut list = self.segments.write();
        let mut segments = (**list).clone();
        let at = segments.partition_point(|other| other.segment() < added.segment);
        segments.insert(at, segment);
        *list = Arc::new(segments);
        // Under the lock of the list, as it is of that.
        *self.derived.write() = Arc::default();
        Tally { rows: rows.into(), hash }
    }

    /// Row ids below `next` are given out.
    pub(crate) fn row_ids_given(&self, next: RowId) {
        self.next_row_id.fetch_max(next.0, Ordering::Relaxed);
    }

    /// Count inserted rows that are visible from `at` on.
    pub(crate) fn count_inserted(&self, tally: Tally, at: Timestamp) {
        self.changed_at.fetch_max(at.0, Ordering::Relaxed);
        self.rows_live.fetch_add(tally.rows, Ordering::Relaxed);
        self.hash.fetch_add(tally.hash, Ordering::Relaxed);
    }

    /// Delete rows as of `at`. Error: one that is not there, or deleted already.
    pub(crate) fn delete(
        &self,
        rows: impl Iterator<Item = Result<Locator, StorageError>>,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let schema = self.schema();
        let chunks = self.chunk_list();
        let keyed = self.key_index().is_some();
        let mut unpruned = self.unpruned.lock();
        let mut scratch = Writer::new();
        let mut tally = Tally::default();
        let mut segment = None;
        for locator in rows {
            let locator = locator?;
            let Some(chunk) = chunk_in(&chunks, locator.segment) else {
                tally.add(self.delete_in_segment(&mut segment, locator, at)?);
                continue;
            };
            if chunk.is_private() {
                return Err(StorageError::NoChunk(locator.segment));
            }
            scratch.clear();
            // As it was when it came: later columns are no part of its hash.
            let row_id = with_values(&schema, chunk, locator, |id, columns, value| {
                encode_row(columns, value, &mut scratch);
                id
            })?;
            if !chunk.deletions().delete(locator.row, at) {
                return Err(StorageError::Invalid(format!("row {locator} is deleted twice")));
            }
            let hash = row_hash(row_id, scratch.as_slice());
            chunk.count_deleted(hash);
            tally.add(hash);
            if keyed {
                unpruned.push_back((at, locator));
            }
        }
        self.count_deleted(tally, at);
        Ok(())
    }

    /// Delete these rows of a source as of `at`. Error: one that is not there, or deleted already.
    pub(crate) fn delete_all(
        &self,
        source: SegmentId,
        rows: RoaringBitmap,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let Some(segment) = self.segment(source) else {
            let locators = rows.iter().map(|row| Ok(Locator { segment: source, row }));
            return self.delete(locators, at);
        };
        if let Some(row) = rows.max().filter(|row| *row >= segment.rows()) {
            return Err(StorageError::RowGone(Locator { segment: source, row }));
        }
        let count = rows.len();
        let hash = segment.delete_all(rows, at);
        let hash = hash.ok_or_else(|| {
            StorageError::Invalid(format!("some of {count} rows of {source} are deleted twice"))
        })?;
        self.count_deleted(Tally { rows: count, hash }, at);
        Ok(())
    }

    /// Count rows that were deleted as of `at`.
    pub(super) fn count_deleted(&self, tally: Tally, at: Timestamp) {
        if tally.rows == 0 {
            return;
        }
        self.prunable.store(true, Ordering::Relaxed);
        self.changed_at.fetch_max(at.0, Ordering::Relaxed);
        self.rows_live.fetch_sub(tally.rows, Ordering::Relaxed);
        self.hash.fetch_sub(tally.hash, Ordering::Relaxed);
    }

    /// The chunk gets no more rows.
    pub(crate) fn seal(&self, segment: SegmentId) -> Result<(), StorageError> {
        chunk_in(&self.chunk_list(), segment).ok_or(StorageError::NoChunk(segment))?.seal()
    }

    /// Seal the private chunks of a commit.
    pub(crate) fn seal_published(&self, cell: &Arc<Publication>) -> Result<(), StorageError> {
        for chunk in self.chunk_list().iter().filter(|c| c.is_published_by(cell)) {
            if !chunk.is_sealed() {
                chunk.seal()?;
            }
        }
        Ok(())
    }

    /// Forget the private chunks of a commit that will not be.
    /// `schema`: what its rows came under, if not the table's.
    pub(crate) fn drop_private(
        &self,
        cell: &Arc<Publication>,
        schema: Option<&Arc<TableSchema>>,
    ) -> Result<(), StorageError> {
        let chunks = self.chunk_list();
        let (gone, kept): (Vec<_>, Vec<_>) =
            chunks.iter().cloned().partition(|c| c.is_published_by(cell));
        if let Some(index) = self.key_index() {
            let schema = schema.map_or_else(|| self.schema(), Arc::clone);
            let mut key = Vec::new();
            for chunk in &gone {
                for row in 0..chunk.next_row() {
                    let locator = Locator { segment: chunk.segment(), row };
                    key.clear();
                    self.encode_key_at(&schema, chunk, locator, &mut key)?;
                    index.remove(&key, locator);
                }
            }
        }
        *self.chunks.write() = Arc::new(kept);
        Ok(())
    }

    /// A new version of the descriptor; builds the index of a new key.
    pub(crate) fn set_schema(&self, schema: Arc<TableSchema>) -> Result<(), StorageError> {
        let old = self.schema();
        if !schema.extends(&old) {
            return Err(StorageError::SchemaMismatch {
                table: self.id,
                version: schema.version(),
                reason: format!("its rows have the columns of {}", old.version()),
            });
        }
        let same_key = old.key() == schema.key();
        *self.schema.write() = Arc::clone(&schema);
        // Else it will be built of the newest schema's key.
        if !same_key && !self.index_deferred.load(Ordering::Relaxed) {
            let index = match schema.key() {
                Some(key) => Some(match self.take_prepared(key) {
                    Some(ready) => ready,
                    None => Arc::new(self.build_index(&schema, NEWEST)?),
                }),
                None => None,
            };
            self.unpruned.lock().clear();
            *self.index.write() = index;
        }
        Ok(())
    }

    /// Index of all rows visible at `at`: older snapshots do not know of the key.
    pub(super) fn build_index(
        &self,
        schema: &TableSchema,
        at: Timestamp,
    ) -> Result<KeyIndex, StorageError> {
        let visible = |block: &Block, n: usize| {
            block.begin(n) <= at && block.deletions.end(block.row(n)) > at
        };
        self.index_of(schema, |chunk| chunk.blocks_at(at), visible)
    }

    /// Index of the rows of these blocks that `holds` accepts, which gets their places.
    pub(super) fn index_of(
        &self,
        schema: &TableSchema,
        blocks: impl Fn(&Chunk) -> Vec<Arc<Block>>,
        holds: impl Fn(&Block, usize) -> bool,
    ) -> Result<KeyIndex, StorageError> {
        let index = KeyIndex::default();
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Ok(index);
        };
        for chunk in self.chunk_list().iter() {
            for block in blocks(chunk) {
                let columns: Vec<_> = key.iter().map(|c| block.column(schema, *c)).collect();
                let alive: Vec<usize> = (0..block.len).filter(|n| holds(&block, *n)).collect();
                // Not the whole block: its keys side by side may be many times its memory.
                for places in alive.chunks(KEYS_AT_ONCE) {
                    let keys = encoder.encode_places(&columns, places)?;
                    index.insert_all(places.iter().enumerate().map(|(n, place)| {
                        let row = block.row(*place);
                        (keys.get(n), Locator { segment: chunk.segment(), row })
                    }));
                }
            }
        }
        Ok(index)
    }

    /// No reader is below `horizon` any more: forget what only such could see. False: there was
    /// nothing to look at.
    pub(crate) fn prune(&self, horizon: Timestamp) -> Result<bool, StorageError> {
        self.forget_prepared(horizon);
        if !self.prunable.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let dead: Vec<Locator> = {
            let mut unpruned: parking_lot::MutexGuard<'_, VecDeque<_>> = self.unpruned.lock();
            let count = unpruned.partition_point(|(at, _)| *at <= horizon);
            unpruned.drain(..count).map(|(_, locator)| locator).collect()
        };
        let chunks = self.chunk_list();
        if let Some(index) = self.key_index() {
            let schema = self.schema();
            let mut key = Vec::new();
            for locator in dead {
                if let Some(chunk) = chunk_in(&chunks, locator.segment) {
                    key.clear();
                    self.encode_key_at(&schema, chunk, locator, &mut key)?;
                    index.remove(&key, locator);
                }
            }
        }
        let mut kept = Vec::with_capacity(chunks.len());
        let mut more = !self.unpruned.lock().is_empty() | self.settle_segments(horizon);
        for chunk in chunks.iter() {
            if !chunk.drop_dead(horizon)? {
                more |= chunk.has_unseen_deletions();
                kept.push(Arc::clone(chunk));
            }
        }
        if kept.len() < chunks.len() {
            *self.chunks.write() = Arc::new(kept);
        }
        self.prunable.store(more, Ordering::Relaxed);
        Ok(true)
    }

    fn encode_key_at(
        &self,
        schema: &TableSchema,
        chunk: &Chunk,
        locator: Locator,
        out: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Ok(());
        };
        let encoded = chunk.with_row(locator.row, |place| match place {
            Place::Open(open, n) if key.iter().all(|c| *c < open.columns().len()) => {
                encoder.encode_values(|column| open.columns()[key[column]].value(n), out)
            }
            Place::Open(open, n) => {
                let later: Vec<_> = key.iter().map(|c| schema.missing(*c, 1)).collect();
                let later = key_references(schema, key, &later)?;
                encoder.encode_values(
                    |column| match open.columns().get(key[column]) {
                        Some(values) => values.value(n),
                        None => later[column].value(0),
                    },
                    out,
                )
            }
            Place::Frozen(block, n) => {
                let arrays: Vec<_> = key.iter().map(|c| block.column_at(schema, *c, n)).collect();
                let columns = key_references(schema, key, &arrays)?;
                encoder.encode_values(|column| columns[column].value(0), out)
            }
        });
        encoded.unwrap_or(Err(StorageError::RowGone(locator)))
    }
}

fn key_references<'a>(
    schema: &TableSchema,
    key: &[usize],
    arrays: &'a [arrow::array::ArrayRef],
) -> Result<Vec<ColumnRef<'a>>, StorageError> {
    let columns = key.iter().map(|ordinal| &schema.columns()[*ordinal]).zip(arrays);
    columns.map(|(column, array)| ColumnRef::new(&column.pg_type, array)).collect()
}

/// Show `look` a row, wherever it lies: its id, how many columns it came with, and its values.
pub(super) fn with_values<R>(
    schema: &TableSchema,
    chunk: &Chunk,
    locator: Locator,
    look: impl for<'v> FnOnce(RowId, usize, &'v dyn Fn(usize) -> Option<Value<'v>>) -> R,
) -> Result<R, StorageError> {
    chunk
        .with_row(locator.row, |place| match place {
            Place::Open(open, n) => {
                let columns = open.columns();
                let later = later_columns(schema, columns.len());
                let later = references(schema, columns.len(), &later)?;
                Ok(look(open.row_id(n), columns.len(), &|c| match columns.get(c) {
                    Some(column) => column.value(n),
                    None => later[c - columns.len()].value(0),
                }))
            }
            Place::Frozen(block, n) => {
                let columns = columns_of(schema, block)?;
                let later = later_columns(schema, columns.len());
                let later = references(schema, columns.len(), &later)?;
                Ok(look(block.row_id(n), columns.len(), &|c| match columns.get(c) {
                    Some(column) => column.value(n),
                    None => later[c - columns.len()].value(0),
                }))
            }
        })
        .unwrap_or(Err(StorageError::RowGone(locator)))
}

/// The columns that a row misses which has only the first `count`.
fn later_columns(schema: &TableSchema, count: usize) -> Vec<arrow::array::ArrayRef> {
    (count..schema.columns().len()).map(|ordinal| schema.missing(ordinal, 1)).collect()
}

fn references<'a>(
    schema: &TableSchema,
    first: usize,
    arrays: &'a [arrow::array::ArrayRef],
) -> Result<Vec<ColumnRef<'a>>, StorageError> {
    let columns = schema.columns().iter().skip(first).zip(arrays);
    columns.map(|(column, array)| ColumnRef::new(&column.pg_type, array)).collect()
}

fn columns_of<'b>(
    schema: &TableSchema,
    block: &'b Block,
) -> Result<Vec<ColumnRef<'b>>, StorageError> {
    schema
        .columns()
        .iter()
        .zip(&block.columns)
        .map(|(column, array)| ColumnRef::new(&column.pg_type, array))
        .collect()
}

/// Hashes of rows that are arrays already.
pub(super) fn row_hashes(
    schema: &TableSchema,
    columns: &[arrow::array::ArrayRef],
    rows: usize,
    row_id: impl Fn(usize) -> RowId,
) -> Result<Vec<u64>, StorageError> {
    let columns = schema
        .columns()
        .iter()
        .zip(columns)
        .map(|(column, array)| ColumnRef::new(&column.pg_type, array))
        .collect::<Result<Vec<_>, _>>()?;
    let mut scratch = Writer::new();
    let hash = |n| {
        scratch.clear();
        encode_row(columns.len(), |c| columns[c].value(n), &mut scratch);
        row_hash(row_id(n), scratch.as_slice())
    };
    Ok((0..rows).map(hash).collect())
}

/// Only parts bring segments, which placement looks after.
pub(super) fn misplaced_segment() -> StorageError {
    StorageError::corrupt("record", "a segment where rows are due")
}

fn id_at(group: &Group<'_>, n: usize, first_id: u64) -> RowId {
    match &group.kept {
        Some(ids) => ids[n],
        None => RowId(first_id + n as u64),
    }
}

pub(super) fn take_id(group: &Group<'_>, n: usize, next_id: &mut u64) -> RowId {
    match &group.kept {
        Some(ids) => ids[n],
        None => {
            *next_id += 1;
            RowId(*next_id - 1)
        }
    }
}
