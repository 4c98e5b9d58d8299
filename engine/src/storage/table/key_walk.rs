//! Rows in the order of their keys, from chunks and segments, a few at a time.
//!
//! The key index gives those of chunks, a cursor those of each segment: they are merged. What a cursor
//! reads grows with every batch, so that a reader who wants a few rows reads a few pages.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use glaredb_txn::ids::{Locator, Timestamp};

use super::{KeyAccess, Sight, Table, TableList, TableSegment, key_order::KeyOrder};
use crate::storage::{
    StorageError,
    key_index::{IndexedKey, Walk},
    segment::{Answer, Projection, Segment},
    warmed::{ColdReads, ReadError, Warmed},
};

/// Keys that are taken from the index at a time, at least: most that one meets have a visible row.
const STEP_MIN: usize = 16;

/// Rows that a cursor reads at a time: at first, and at most.
const BATCH_FIRST: u32 = 64;
const BATCH_MAX: u32 = 8_192;

/// A range of keys, partly read.
#[derive(Debug)]
pub(crate) struct KeyWalk {
    start: Vec<u8>,
    /// `None`: to the last key.
    end: Option<Vec<u8>>,
    backward: bool,
    list: TableList,
    index: Walk,
    /// Met in the index and not given yet.
    met: VecDeque<(IndexedKey, Locator)>,
    cursors: Vec<Cursor>,
    /// The last key given.
    last: Option<IndexedKey>,
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stepped {
    /// There are rows enough, or no more.
    Done,
    /// An edit came: the walk is to be [taken up](KeyWalk::take_up) in the list that it made.
    Edited,
}

impl KeyWalk {
    /// Keys from `start` on and before `end`, of what `list` has for a reader at `at`, whose figures say
    /// what is looked into.
    pub(crate) fn new(
        access: &KeyAccess,
        list: &TableList,
        (start, end): (&[u8], Option<&[u8]>),
        backward: bool,
        (at, warmed): (Timestamp, &Warmed),
    ) -> Result<Self, StorageError> {
        let mut cursors = Vec::new();
        for segment in list.segments() {
            let meta = segment.description()?;
            let is_sorted = segment.is_sorted_by(&access.schema)?;
            let outside =
                meta.keys.1.as_ref() < start || end.is_some_and(|end| meta.keys.0.as_ref() >= end);
            let may_have = meta.commits.0 <= at && !(is_sorted && outside);
            warmed.consider(segment, !may_have);
            if may_have {
                cursors.push(Cursor::new(segment, is_sorted));
            }
        }
        Ok(Self {
            index: Walk::new(start, end, backward),
            start: start.to_vec(),
            end: end.map(<[u8]>::to_vec),
            backward,
            list: list.clone(),
            met: VecDeque::new(),
            cursors,
            last: None,
        })
    }

    pub(crate) fn list(&self) -> &TableList {
        &self.list
    }

    /// Whether all rows were given.
    pub(crate) fn ended(&self) -> bool {
        self.index.ended() && self.met.is_empty() && self.cursors.is_empty()
    }

    /// Goes on behind the last key given, in another list.
    pub(crate) fn take_up(
        &mut self,
        access: &KeyAccess,
        list: &TableList,
        sight: (Timestamp, &Warmed),
    ) -> Result<(), StorageError> {
        if let Some(last) = &self.last {
            let mut key = last.to_bytes();
            if self.backward {
                self.end = Some(key);
            } else {
                // The least key behind it.
                key.push(0);
                self.start = key;
            }
        }
        let last = self.last.take();
        let range = (self.start.as_slice(), self.end.as_deref());
        *self = Self { last, ..Self::new(access, list, range, self.backward, sight)? };
        Ok(())
    }

    /// Gives the next rows that the reader sees to `found`, at most `rows_max`. What was given is not
    /// given again, also if the step ends with an error. Keys and rows looked at are added to
    /// `examined`.
    pub(crate) fn step(
        &mut self,
        (table, access): (&Table, &KeyAccess),
        rows_max: usize,
        sight: &Sight<'_>,
        examined: &mut usize,
        found: &mut dyn FnMut(&IndexedKey, Locator),
    ) -> Result<Stepped, ReadError> {
        let mut rows = 0;
        while rows < rows_max && !self.ended() {
            let keys_max = (rows_max - rows).max(STEP_MIN);
            if self.meet(table, access, keys_max, sight, examined) == Stepped::Edited {
                return Ok(Stepped::Edited);
            }
            self.fill(table, access, sight, examined)?;
            while rows < rows_max
                && let Some((key, locator)) = self.take()
            {
                found(&key, locator);
                self.last = Some(key);
                rows += 1;
            }
        }
        Ok(Stepped::Done)
    }

    /// Looks in the index until a visible row is met.
    fn meet(
        &mut self,
        table: &Table,
        access: &KeyAccess,
        keys_max: usize,
        sight: &Sight<'_>,
        examined: &mut usize,
    ) -> Stepped {
        while self.met.is_empty() && !self.index.ended() {
            let walked = access.index.step(&mut self.index, keys_max);
            *examined += walked.len();
            let list = &self.list;
            let rows = walked.rows(|locator| sight.sees(list, locator));
            self.met.extend(rows.filter_map(|(key, locator)| Some((key, locator?))));
            // Keys of chunks that were rewritten are taken out.
            if table.is_edited_since(list) {
                return Stepped::Edited;
            }
        }
        Stepped::Done
    }

    /// Reads until every cursor has a row, those that have no more left out.
    fn fill(
        &mut self,
        table: &Table,
        access: &KeyAccess,
        sight: &Sight<'_>,
        examined: &mut usize,
    ) -> Result<(), ReadError> {
        if self.cursors.is_empty() {
            return Ok(());
        }
        let range = (self.start.as_slice(), self.end.as_deref());
        let reading = Reading { table, access, range, backward: self.backward, sight };
        let mut cold = ColdReads::default();
        for cursor in &mut self.cursors {
            cold.note(cursor.fill(&reading, examined))?;
        }
        cold.finish()?;
        self.cursors.retain(|cursor| !cursor.rows.is_empty());
        Ok(())
    }

    /// The next row of all; `None` if that cannot be said before more is read.
    fn take(&mut self) -> Option<(IndexedKey, Locator)> {
        if self.cursors.is_empty() {
            return self.met.pop_front();
        }
        if self.met.is_empty() && !self.index.ended() {
            return None;
        }
        let mut next = self.met.front().map(|(key, _)| (key, None));
        for (n, cursor) in self.cursors.iter().enumerate() {
            let (key, _) = cursor.rows.front()?;
            let is_next = next.is_none_or(|(least, _)| match self.backward {
                false => key < least,
                true => key > least,
            });
            if is_next {
                next = Some((key, Some(n)));
            }
        }
        let (_, from) = next?;
        match from {
            None => self.met.pop_front(),
            Some(n) => self.cursors[n].rows.pop_front(),
        }
    }
}

/// What all cursors of a walk read by.
struct Reading<'a> {
    table: &'a Table,
    access: &'a KeyAccess,
    range: (&'a [u8], Option<&'a [u8]>),
    backward: bool,
    sight: &'a Sight<'a>,
}

/// The rows of a segment in a range of keys.
#[derive(Debug)]
struct Cursor {
    segment: Arc<TableSegment>,
    is_sorted: bool,
    /// Rows, or places in the order of the key, that were not read; `None`: not known yet.
    left: Option<Range<u32>>,
    /// Read and not given yet.
    rows: VecDeque<(IndexedKey, Locator)>,
    batch: u32,
}

impl Cursor {
    fn new(segment: &Arc<TableSegment>, is_sorted: bool) -> Self {
        let segment = Arc::clone(segment);
        Self { segment, is_sorted, left: None, rows: VecDeque::new(), batch: BATCH_FIRST }
    }

    /// Reads until there is a row, or no more.
    fn fill(&mut self, reading: &Reading<'_>, examined: &mut usize) -> Result<(), ReadError> {
        while self.rows.is_empty() {
            let left = match self.left.clone() {
                Some(left) => left,
                None => self.left.insert(self.bounds(reading)?).clone(),
            };
            if left.is_empty() {
                break;
            }
            let read = match self.is_sorted {
                true => self.read(reading, &left)?,
                false => self.read_in_order(reading, &left)?,
            };
            *examined += read.len();
            self.left = Some(match reading.backward {
                false => read.end..left.end,
                true => left.start..read.start,
            });
            self.batch = (self.batch * 4).min(BATCH_MAX);
        }
        Ok(())
    }

    fn bounds(&self, reading: &Reading<'_>) -> Result<Range<u32>, ReadError> {
        let (start, end) = reading.range;
        if !self.is_sorted {
            let order = self.order(reading)?;
            let end = end.map_or(order.len(), |end| order.lower_bound(end));
            let start = order.lower_bound(start).min(end);
            return Ok(start as u32..end as u32);
        }
        let newest = reading.table.schema();
        let bound = |key: &[u8]| {
            let ask = |opened: &Segment, held: &_| opened.lower_bound_now(key, held);
            reading.sight.warmed.ask(&self.segment, &newest, ask)
        };
        let mut cold = ColdReads::default();
        let start = cold.note(bound(start))?;
        let end = match end {
            Some(end) => cold.note(bound(end))?,
            None => Some(self.segment.rows()),
        };
        cold.finish()?;
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
        Ok(start.min(end)..end)
    }

    fn order(&self, reading: &Reading<'_>) -> Result<Arc<KeyOrder>, ReadError> {
        let (table, schema) = (reading.table, &reading.access.schema);
        table.key_order(&self.segment, schema, reading.sight.warmed)
    }

    /// The next batch of what is left.
    fn next_of(&self, left: &Range<u32>, backward: bool) -> Range<u32> {
        match backward {
            false => left.start..left.end.min(left.start.saturating_add(self.batch)),
            true => left.start.max(left.end.saturating_sub(self.batch))..left.end,
        }
    }

    /// Reads rows that lie in the order of the key.
    fn read(&mut self, reading: &Reading<'_>, left: &Range<u32>) -> Result<Range<u32>, ReadError> {
        let (schema, sight) = (&reading.access.schema, reading.sight);
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Err(StorageError::Invalid("a walk over keys that are none".to_owned()).into());
        };
        let dated = self.segment.description()?.commits.1 > sight.at;
        let projection = Projection { columns: key, timestamps: dated, ..Projection::default() };
        let next = self.next_of(left, reading.backward);
        let ask = |opened: &Segment, held: &_| {
            // As far as one row group goes.
            let row = if reading.backward { next.end - 1 } else { next.start };
            let (row_group, _) = opened.place_of(row);
            let group = opened.row_group_rows(row_group);
            let read = next.start.max(group.start)..next.end.min(group.end);
            let rows = read.start - group.start..read.end - group.start;
            let rows = Some(std::slice::from_ref(&rows));
            Ok(match opened.read_now(schema, &projection, row_group, rows, held)? {
                Answer::Here(rows) => Answer::Here((read, rows)),
                Answer::Cold(needs) => Answer::Cold(needs),
            })
        };
        let (read, rows) = sight.warmed.ask(&self.segment, &reading.table.schema(), ask)?;
        let keys = encoder.encode_stored(rows.batch.columns())?;
        let source = self.segment.segment();
        for n in in_turn(0..keys.len(), reading.backward) {
            let row = read.start + n as u32;
            let committed = rows.timestamps.as_ref().is_none_or(|at| at.value(n) <= sight.at.0);
            if committed && !sight.misses(&self.segment, row) {
                let locator = Locator { segment: source, row };
                self.rows.push_back((IndexedKey::new(keys.get(n)), locator));
            }
        }
        Ok(read)
    }

    /// Reads rows that lie in another order.
    fn read_in_order(
        &mut self,
        reading: &Reading<'_>,
        left: &Range<u32>,
    ) -> Result<Range<u32>, ReadError> {
        let order = self.order(reading)?;
        let next = self.next_of(left, reading.backward);
        let places = next.start as usize..next.end as usize;
        let rows = order.rows(places.clone());
        let committed = reading.table.committed(&self.segment, rows, reading.sight)?;
        let source = self.segment.segment();
        for place in in_turn(places.clone(), reading.backward) {
            let (key, row) = order.at(place);
            if committed[place - places.start] && !reading.sight.misses(&self.segment, row) {
                let locator = Locator { segment: source, row };
                self.rows.push_back((IndexedKey::new(key), locator));
            }
        }
        Ok(next)
    }
}

fn in_turn(range: Range<usize>, backward: bool) -> impl Iterator<Item = usize> {
    let len = range.len();
    (0..len).map(move |n| if backward { range.end - 1 - n } else { range.start + n })
}
