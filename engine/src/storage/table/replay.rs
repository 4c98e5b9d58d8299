//! A table while the log is replayed into it.
//!
//! Nobody reads before recovery is over, so three things are done once, late, or not at all:
//! - The key index. A record names the rows it deletes by their places, so replaying needs none: it is
//!   built at the end, of the rows that are left.
//! - Dead rows. What a record deletes nobody will ever see: it goes as soon as a block or a chunk is
//!   dead enough, not when a horizon says so.
//! - The hash of a deleted row is taken from where its insertion left it, not from the row again.

use std::sync::{Arc, atomic::Ordering};

use foldhash::fast::FixedState;
use glaredb_txn::{
    codec::{Reader, Writer},
    ids::{Locator, SegmentId, Timestamp},
};
use hashbrown::HashMap;

use super::{
    Table,
    write::{NEWEST, Places, Tally, Target, misplaced_segment, take_id, with_values},
};
use crate::storage::{
    StorageError,
    chunk::Chunk,
    codec::{corrupt, row::encode_row},
    record::{Deletes, Group, GroupKind, PlacedSection, Section},
    schema::TableSchema,
    state_hash::row_hash,
};

/// Deleted rows between two looks for what can go.
const PRUNE_EVERY: u64 = 4_096;

/// The one writer of a table, for as long as the log is replayed. Between two pieces of work
/// (`begin` … `settle`) others may write to the table.
pub(crate) struct TableReplay {
    table: Arc<Table>,
    schema: Arc<TableSchema>,
    chunks: Vec<Arc<Chunk>>,
    /// Of `chunks`.
    segments: Vec<SegmentId>,
    /// Where the last row went.
    open: Option<Arc<Chunk>>,
    hashes: RowHashes,
    inserted: Tally,
    deleted: Tally,
    next_row_id: u64,
    unpruned: u64,
}

/// Hashes of rows by their places, of a table that was seen to delete any. 8 bytes for each row that
/// the log inserts into it, until its chunk is gone.
#[derive(Default)]
struct RowHashes {
    wanted: bool,
    /// By row; 0: not known.
    chunks: HashMap<SegmentId, Vec<u64>, FixedState>,
}

impl RowHashes {
    fn put(&mut self, place: Locator, hash: u64) {
        if self.wanted {
            let rows = self.chunks.entry(place.segment).or_default();
            rows.resize(place.row as usize, 0);
            rows.push(hash);
        }
    }

    fn get(&self, place: Locator) -> Option<u64> {
        let rows = self.chunks.get(&place.segment)?;
        rows.get(place.row as usize).copied().filter(|hash| *hash != 0)
    }
}

impl TableReplay {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self {
            schema: table.schema(),
            table,
            chunks: Vec::new(),
            segments: Vec::new(),
            open: None,
            hashes: RowHashes::default(),
            inserted: Tally::default(),
            deleted: Tally::default(),
            next_row_id: 0,
            unpruned: 0,
        }
    }

    /// What others did to the table since is known from here on.
    pub(crate) fn begin(&mut self) {
        self.schema = self.table.schema();
        self.open = None;
        self.look_at_chunks();
    }

    fn look_at_chunks(&mut self) {
        self.chunks = self.table.chunk_list().to_vec();
        self.segments = self.chunks.iter().map(|chunk| chunk.segment()).collect();
    }

    /// One table's section of a commit.
    pub(crate) fn change(
        &mut self,
        section: &Section<'_>,
        placed: &PlacedSection,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        self.delete(&section.deletes, at)?;
        let mut next_id = placed.first_row_id.0;
        let mut places = Places::of(placed);
        for group in &section.inserts {
            match group.kind {
                GroupKind::Columns => {
                    let (target, tally) = (Target::Commit(at), &mut self.inserted);
                    let (schema, places) = (&self.schema, &mut places);
                    self.table.insert_columns(
                        schema,
                        group,
                        places,
                        &mut next_id,
                        &target,
                        tally,
                    )?;
                    self.look_at_chunks();
                }
                GroupKind::Rows => self.insert(group, &mut places, &mut next_id, at)?,
                GroupKind::Segment => return Err(misplaced_segment()),
            }
        }
        self.next_row_id = self.next_row_id.max(next_id);
        Ok(())
    }

    pub(crate) fn seal(&self, segment: SegmentId) -> Result<(), StorageError> {
        self.table.seal(segment)
    }

    fn insert(
        &mut self,
        group: &Group<'_>,
        places: &mut Places<'_>,
        next_id: &mut u64,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let mut input = Reader::new(group.data);
        for n in 0..group.rows as usize {
            let place = places.take(1)?.first;
            let row_id = take_id(group, n, next_id);
            let start = input.offset();
            if self.open.as_ref().is_none_or(|open| open.segment() != place.segment) {
                self.open = Some(self.table.chunk_for(place.segment, &Target::Commit(at)));
                self.look_at_chunks();
            }
            let chunk = self.open.as_ref().expect("opened above");
            chunk.append_row(&self.schema, place.row, &mut input, row_id, at)?;
            let hash = row_hash(row_id, &group.data[start..input.offset()]);
            chunk.count_inserted(1, hash);
            self.inserted.add(hash);
            self.hashes.put(place, hash);
        }
        input.finish().map_err(corrupt("rows"))
    }

    fn delete(&mut self, deletes: &Deletes<'_>, at: Timestamp) -> Result<(), StorageError> {
        if deletes.count == 0 {
            return Ok(());
        }
        self.hashes.wanted = true;
        self.unpruned += u64::from(deletes.count);
        let mut segment = None;
        for row in deletes.iter() {
            let locator = row?.locator;
            let Ok(found) = self.segments.binary_search(&locator.segment) else {
                self.deleted.add(self.table.delete_in_segment(&mut segment, locator, at)?);
                continue;
            };
            let chunk = &self.chunks[found];
            if chunk.is_private() {
                return Err(StorageError::NoChunk(locator.segment));
            }
            let hash = match self.hashes.get(locator) {
                Some(hash) => hash,
                None => hash_at(&self.schema, chunk, locator)?,
            };
            if !chunk.deletions().delete(locator.row, at) {
                return Err(StorageError::Invalid(format!("row {locator} is deleted twice")));
            }
            chunk.count_deleted(hash);
            self.deleted.add(hash);
        }
        Ok(())
    }

    /// The table knows what was done, all of it up to `at`; what is dead enough goes.
    pub(crate) fn settle(&mut self, at: Timestamp) -> Result<(), StorageError> {
        let table = &self.table;
        let (inserted, deleted) =
            (std::mem::take(&mut self.inserted), std::mem::take(&mut self.deleted));
        table.count_inserted(inserted, at);
        table.count_deleted(deleted, at);
        table.next_row_id.fetch_max(self.next_row_id, Ordering::Relaxed);
        if self.unpruned >= PRUNE_EVERY {
            self.unpruned = 0;
            // Every reader to come is at or after `at`.
            table.prune(at)?;
            self.look_at_chunks();
            let segments = &self.segments;
            self.hashes.chunks.retain(|segment, _| segments.binary_search(segment).is_ok());
        }
        // What is kept from here on may be pruned by others.
        self.open = None;
        self.chunks = Vec::new();
        Ok(())
    }
}

/// Hash of a row that lies where nobody noted it.
fn hash_at(schema: &TableSchema, chunk: &Chunk, locator: Locator) -> Result<u64, StorageError> {
    let mut row = Writer::new();
    // As it was when it came: later columns are no part of its hash.
    let row_id = with_values(schema, chunk, locator, |id, columns, value| {
        encode_row(columns, value, &mut row);
        id
    })?;
    Ok(row_hash(row_id, row.as_slice()))
}

impl Table {
    /// From here on there is no key index, and no record needs one, until it is built.
    pub(crate) fn defer_index(&self) {
        self.index_deferred.store(true, Ordering::Relaxed);
        *self.index.write() = None;
    }

    /// Builds the index that was deferred: of all rows that are not deleted, those of large commits
    /// under way among them.
    pub(crate) fn build_deferred_index(&self) -> Result<(), StorageError> {
        if !self.index_deferred.load(Ordering::Relaxed) {
            return Ok(());
        }
        let schema = self.schema();
        if schema.key().is_some() {
            let left = |block: &super::Block, n: usize| block.deletions.end(block.row(n)) > NEWEST;
            let index = self.index_of(&schema, Chunk::blocks, left)?;
            *self.index.write() = Some(Arc::new(index));
        }
        self.forget_deferral();
        Ok(())
    }

    /// Of a table that no reader will ask for again.
    pub(crate) fn forget_deferral(&self) {
        self.index_deferred.store(false, Ordering::Relaxed);
    }
}
