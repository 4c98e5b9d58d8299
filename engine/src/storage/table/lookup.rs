//! Rows by key, in chunks and in segments.
//!
//! The key index knows the rows of chunks: what it names and the reader sees is the row. Else it is in
//! one of the segments whose key range, fences and filters admit the key. Of all versions of a key a
//! reader sees one at most, so whichever is found first is the one.

use std::{ops::Range, sync::Arc};

use glaredb_txn::ids::{Locator, Timestamp};

use super::{Table, TableList, TableSegment, key_order::KeyOrder};
use crate::storage::{
    StorageError,
    chunk::Chunk,
    key_index::KeyIndex,
    schema::TableSchema,
    segment::{Projection, Seek, Segment, SegmentMeta, SortOrder},
    warmed::{ColdReads, ReadError, Warmed},
};

#[cfg(test)]
mod tests;

/// Keys up to which filters are not asked for that are not in memory, where the rows are expected.
const EXPECTED_MAX: usize = 16;

/// Rows whose commit timestamps are asked for at once.
const VERSIONS_MAX: u32 = 4_096;

/// By what the rows of a table are found: its key, or one that a transaction gives it.
#[derive(Clone, Debug)]
pub struct KeyAccess {
    /// Of the rows in chunks.
    pub(crate) index: Arc<KeyIndex>,
    /// Says what the key is.
    pub(crate) schema: Arc<TableSchema>,
}

/// What a reader sees of a table: as of `at`, without the rows that `hidden` names.
pub(crate) struct Sight<'a> {
    pub(crate) at: Timestamp,
    pub(crate) hidden: &'a dyn Fn(Locator) -> bool,
    pub(crate) warmed: &'a Warmed,
    /// What it reads of the rows that it finds.
    pub(crate) then: Option<ThenRead<'a>>,
}

/// What is read of rows once they are found by their keys: it is fetched with these.
#[derive(Clone, Copy, Debug)]
pub struct ThenRead<'a> {
    /// That `columns` are ordinals of.
    pub schema: &'a TableSchema,
    pub columns: &'a [usize],
    pub row_ids: bool,
}

impl Sight<'_> {
    /// Does the reader see the row of a chunk?
    pub(super) fn sees(&self, list: &TableList, locator: Locator) -> bool {
        let chunk: Option<&Arc<Chunk>> = list.chunk(locator.segment);
        chunk.is_some_and(|chunk| chunk.visible(locator.row, self.at)) && !(self.hidden)(locator)
    }

    /// Has the reader no use for the row of a segment, whenever it was committed?
    pub(super) fn misses(&self, segment: &TableSegment, row: u32) -> bool {
        segment.deletions().is_deleted(row, self.at)
            || (self.hidden)(Locator { segment: segment.segment(), row })
    }
}

impl TableSegment {
    /// Are its rows sorted by the schema's key?
    pub fn is_sorted_by(&self, schema: &TableSchema) -> Result<bool, StorageError> {
        let Some(key) = schema.key() else { return Ok(false) };
        let SortOrder::Key(columns) = &self.description()?.sort_order else { return Ok(false) };
        Ok(columns.iter().copied().eq(key.iter().map(|ordinal| schema.columns()[*ordinal].id)))
    }
}

impl Table {
    /// By what rows are found; `None`: the table has no primary key.
    #[must_use]
    pub fn key_access(&self) -> Option<KeyAccess> {
        Some(KeyAccess { index: self.key_index()?, schema: self.schema() })
    }

    /// The version of the row with this encoded primary key that is visible at `at`. `None` also
    /// where the table has no primary key.
    pub fn lookup(
        &self,
        key: &[u8],
        at: Timestamp,
        warmed: &Warmed,
    ) -> Result<Option<Locator>, ReadError> {
        self.lookup_and(key, at, None, warmed)
    }

    /// The same, when `then` is read of the row.
    pub fn lookup_and(
        &self,
        key: &[u8],
        at: Timestamp,
        then: Option<ThenRead<'_>>,
        warmed: &Warmed,
    ) -> Result<Option<Locator>, ReadError> {
        let Some(index) = self.key_index() else { return Ok(None) };
        let sight = Sight { at, hidden: &|_| false, warmed, then };
        loop {
            let list = self.list();
            let mut found = index.find(key, |locator| sight.sees(&list, locator));
            if found.is_none() && !list.segments().is_empty() {
                let schema = self.schema();
                found = self.find_in_segments(&list, &schema, &[key], &sight)?[0];
            }
            // A chunk of the list may have been taken out of the index.
            if found.is_some() || !self.is_edited_since(&list) {
                return Ok(found);
            }
        }
    }

    /// The same for many keys: what they take of segments is asked for at once.
    pub fn lookup_all(
        &self,
        keys: &[&[u8]],
        at: Timestamp,
        warmed: &Warmed,
    ) -> Result<Vec<Option<Locator>>, ReadError> {
        let Some(access) = self.key_access() else { return Ok(vec![None; keys.len()]) };
        let sight = Sight { at, hidden: &|_| false, warmed, then: None };
        loop {
            if let Some(found) = self.lookup_in(&self.list(), &access, keys, &sight)? {
                return Ok(found);
            }
        }
    }

    /// As `lookup_all`, by any key, in `list`; `None`: that is not the newest list any more, and
    /// something was not found.
    pub(crate) fn lookup_in(
        &self,
        list: &TableList,
        access: &KeyAccess,
        keys: &[&[u8]],
        sight: &Sight<'_>,
    ) -> Result<Option<Vec<Option<Locator>>>, ReadError> {
        let in_chunks = |key: &&[u8]| access.index.find(key, |l| sight.sees(list, l));
        let mut found: Vec<Option<Locator>> = keys.iter().map(in_chunks).collect();
        if !list.segments().is_empty() {
            let left: Vec<usize> = (0..keys.len()).filter(|n| found[*n].is_none()).collect();
            let wanted: Vec<&[u8]> = left.iter().map(|n| keys[*n]).collect();
            let more = self.find_in_segments(list, &access.schema, &wanted, sight)?;
            left.into_iter().zip(more).for_each(|(n, locator)| found[n] = locator);
        }
        let whole = found.iter().all(Option::is_some) || !self.is_edited_since(list);
        Ok(whole.then_some(found))
    }

    fn find_in_segments(
        &self,
        list: &TableList,
        schema: &Arc<TableSchema>,
        keys: &[&[u8]],
        sight: &Sight<'_>,
    ) -> Result<Vec<Option<Locator>>, ReadError> {
        let mut found = vec![None; keys.len()];
        let mut left: Vec<usize> = (0..keys.len()).collect();
        let mut cold = ColdReads::default();
        // The newest first: they have what was written last.
        let mut admitting = Vec::new();
        for segment in list.segments().iter().rev() {
            let meta = segment.description()?;
            let sorted = segment.is_sorted_by(schema)?;
            let admits = |key: &&[u8]| !sorted || meta.in_key_range(key);
            let may_have = meta.commits.0 <= sight.at && keys.iter().any(admits);
            sight.warmed.consider(segment, !may_have);
            if may_have {
                admitting.push((segment, meta, sorted));
            }
        }
        // A row that is to be read is in the only segment that may have it, as a rule.
        let expected = admitting.len() == 1 && keys.len() <= EXPECTED_MAX && sight.then.is_some();
        for (segment, meta, sorted) in admitting {
            let admitted = left.iter().copied().filter(|n| !sorted || meta.in_key_range(keys[*n]));
            let admitted: Vec<usize> = admitted.collect();
            if admitted.is_empty() {
                continue;
            }
            let wanted: Vec<&[u8]> = admitted.iter().map(|n| keys[*n]).collect();
            let how = (sorted, expected);
            let answer = self.find_in_segment(segment, how, schema, &wanted, sight);
            let Some(rows) = cold.note(answer)? else { continue };
            for (n, row) in admitted.into_iter().zip(rows) {
                found[n] = row.map(|row| Locator { segment: segment.segment(), row });
            }
            left.retain(|n| found[*n].is_none());
            if left.is_empty() {
                // What is cold has no visible row with any of them.
                return Ok(found);
            }
        }
        cold.finish()?;
        Ok(found)
    }

    /// The visible row of each key, by its number. The segment is `sorted` by the key; the rows are
    /// `expected` in it.
    fn find_in_segment(
        &self,
        segment: &Arc<TableSegment>,
        (sorted, expected): (bool, bool),
        schema: &Arc<TableSchema>,
        keys: &[&[u8]],
        sight: &Sight<'_>,
    ) -> Result<Vec<Option<u32>>, ReadError> {
        let rows: Vec<Vec<u32>> = if sorted {
            let newest = self.schema();
            let dated = segment.description()?.commits.1 > sight.at;
            let find = |opened: &Segment, held: &_| {
                let also = sight.then.map(|then| {
                    let projection = Projection {
                        columns: then.columns,
                        row_ids: then.row_ids,
                        timestamps: dated,
                        ..Projection::default()
                    };
                    opened.places(then.schema, &projection)
                });
                let also = also.unwrap_or_default();
                opened.find_now(keys, Seek { also: &also, expected }, held)
            };
            let ranges: Vec<Range<u32>> = sight.warmed.ask(segment, &newest, find)?;
            let seen = |row: &u32| !sight.misses(segment, *row);
            ranges.into_iter().map(|range| range.filter(seen).collect()).collect()
        } else {
            let order = self.key_order(segment, schema, sight.warmed)?;
            let seen = |row: &u32| !sight.misses(segment, *row);
            keys.iter().map(|key| order.find(key).iter().copied().filter(seen).collect()).collect()
        };
        let all: Vec<u32> = rows.iter().flatten().copied().collect();
        let committed = self.committed(segment, &all, sight)?;
        let mut committed = committed.into_iter();
        let first = |rows: Vec<u32>| {
            let mut committed = rows.into_iter().zip(committed.by_ref());
            // All of them are taken, so that the next key has its own.
            committed.by_ref().fold(None, |found, (row, yes)| found.or(yes.then_some(row)))
        };
        Ok(rows.into_iter().map(first).collect())
    }

    /// Which of these rows of a segment were committed at or before the reader's timestamp.
    pub(super) fn committed(
        &self,
        segment: &Arc<TableSegment>,
        rows: &[u32],
        sight: &Sight<'_>,
    ) -> Result<Vec<bool>, ReadError> {
        let meta: &SegmentMeta = segment.description()?;
        if meta.commits.1 <= sight.at {
            return Ok(vec![true; rows.len()]);
        }
        let schema = self.schema();
        let projection = Projection { timestamps: true, ..Projection::default() };
        let mut committed = Vec::with_capacity(rows.len());
        let mut cold = ColdReads::default();
        for rows in rows.chunks(VERSIONS_MAX as usize) {
            let read = sight.warmed.ask(segment, &schema, |opened, held| {
                opened.fetch_now(&schema, &projection, rows, held)
            });
            let Some(read) = cold.note(read)? else { continue };
            let timestamps = read.timestamps.ok_or_else(|| {
                StorageError::Invalid(format!("{} gave no timestamps", segment.segment()))
            })?;
            committed.extend(timestamps.values().iter().map(|at| *at <= sight.at.0));
        }
        cold.finish()?;
        Ok(committed)
    }

    /// The rows of a segment in the order of the schema's key, which they are not sorted by.
    pub(super) fn key_order(
        &self,
        segment: &Arc<TableSegment>,
        schema: &Arc<TableSchema>,
        warmed: &Warmed,
    ) -> Result<Arc<KeyOrder>, ReadError> {
        warmed.ask_order(segment, &self.schema(), schema)
    }
}
