//! Rows by ranges of the primary key, in its order, a batch at a time.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::concat,
};
use glaredb_txn::ids::{Locator, Timestamp};

use super::{
    StatementView, StoredTable,
    exec::ReadColumns,
    key_condition::{End, Span},
    key_lookup::{rows_of, stored_rows},
    morsel::{own_row, read_own},
};
use crate::storage::{
    StorageError,
    key_index::{IndexedKey, KeyIndex, Walk},
    table::Table,
    write_set::{OwnBatch, OwnKey, TableWrites},
};

/// Keys that are taken from the index at a time, at least: most that one meets have a visible row.
const STEP_MIN: usize = 16;

/// Keys that a transaction touched are looked through for each range: so many in all.
const OWN_KEYS_MAX: usize = 100_000;

/// In which order rows come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyOrder {
    Forward,
    Backward,
    /// As they are stored, which is how a scan gives them, if there are at most so many keys; else
    /// forward.
    Stored(usize),
}

/// Reads the rows of some spans of keys. `None` of [`next`](Self::next): there are no more.
pub(crate) struct KeyReader<'a> {
    table: &'a StoredTable,
    view: &'a StatementView,
    read: &'a ReadColumns,
    order: KeyOrder,
    /// Rows that were found and not read yet.
    found: VecDeque<Place>,
    spans: VecDeque<Span>,
    /// Of the span that is being read.
    range: Option<Range>,
    examined: usize,
}

/// A range of keys, partly read.
struct Range {
    walk: Walk,
    /// Own rows that are to come, in the order of the walk.
    own: VecDeque<(IndexedKey, u32)>,
}

/// Where a row lies, in the order in which a scan comes to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Stored(Locator),
    /// By ordinal among the rows of the transaction.
    Own(u32),
}

/// What is read from: the committed rows and those of the transaction.
struct Source<'a> {
    storage: Option<Arc<Table>>,
    index: Option<Arc<KeyIndex>>,
    writes: Option<&'a TableWrites>,
    at: Timestamp,
}

impl<'a> KeyReader<'a> {
    /// `spans`: in order. `None`: the transaction wrote too much to be looked through.
    pub(super) fn new(
        table: &'a StoredTable,
        view: &'a StatementView,
        read: &'a ReadColumns,
        spans: Vec<Span>,
        order: KeyOrder,
    ) -> Option<Self> {
        let own = view.own.as_ref().map(|own| own.lock());
        let writes = own.as_ref().and_then(|own| own.table(table.id));
        let touched = writes.map_or(0, TableWrites::keys_touched);
        let ranges = spans.iter().filter(|span| span.key().is_none()).count();
        if touched.saturating_mul(ranges) > OWN_KEYS_MAX {
            return None;
        }
        let mut spans = VecDeque::from(spans);
        if order == KeyOrder::Backward {
            spans.make_contiguous().reverse();
        }
        let found = VecDeque::new();
        Some(Self { table, view, read, order, found, spans, range: None, examined: 0 })
    }

    /// Keys looked at so far, those without a visible row among them.
    pub(crate) fn examined(&self) -> usize {
        self.examined
    }

    /// The next rows, at most `rows_max`.
    pub(crate) fn next(&mut self, rows_max: usize) -> Result<Option<RecordBatch>, StorageError> {
        let own = self.view.own.as_ref().map(|own| own.lock());
        let writes = own.as_ref().and_then(|own| own.table(self.table.id));
        let (storage, at) = self.view.storage(self.table.id).unzip();
        let index = storage.as_ref().and_then(|storage| match writes {
            Some(writes) => writes.key_index(storage),
            None => storage.key_index(),
        });
        let at = at.unwrap_or_default();
        let source = Source { storage, index, writes, at };
        let mut found: Vec<Place> = Vec::from(std::mem::take(&mut self.found));
        if let KeyOrder::Stored(keys_max) = self.order {
            self.find(&source, keys_max.saturating_add(1), &mut found);
            if self.ended() {
                found.sort_unstable();
            }
            self.order = KeyOrder::Forward;
        }
        self.find(&source, rows_max, &mut found);
        if found.is_empty() {
            return Ok(None);
        }
        let later = found.split_off(found.len().min(rows_max));
        self.found = later.into();
        self.batch(&source, &found).map(Some)
    }

    fn ended(&self) -> bool {
        self.spans.is_empty() && self.range.is_none()
    }

    /// Finds rows until there are `rows_max` or no more.
    fn find(&mut self, source: &Source<'_>, rows_max: usize, found: &mut Vec<Place>) {
        let backward = self.order == KeyOrder::Backward;
        while found.len() < rows_max {
            if let Some(mut range) = self.range.take() {
                self.examined += source.read(&mut range, rows_max, backward, found);
                if !(range.walk.ended() && range.own.is_empty()) {
                    self.range = Some(range);
                }
                continue;
            }
            let Some(span) = self.spans.pop_front() else { break };
            match span.key() {
                Some(key) => {
                    self.examined += 1;
                    found.extend(source.find(key));
                }
                None => self.range = Some(source.range(&span, backward)),
            }
        }
    }

    fn batch(&self, source: &Source<'_>, found: &[Place]) -> Result<RecordBatch, StorageError> {
        let invalid = |what: &str| StorageError::Invalid(format!("{}: {what}", self.table.id));
        let own = source.writes.map(TableWrites::own_batches).unwrap_or_default();
        let mut pieces: Vec<Vec<ArrayRef>> = Vec::new();
        for group in found.chunk_by(|a, b| matches!((a, b), (Place::Stored(_), Place::Stored(_)))) {
            if let [Place::Own(ordinal)] = group {
                pieces.push(self.own_row(&own, *ordinal)?);
                continue;
            }
            let stored = |place: &Place| match place {
                Place::Stored(locator) => Some(*locator),
                Place::Own(_) => None,
            };
            let locators: Vec<Locator> = group.iter().filter_map(stored).collect();
            let storage = source.storage.as_ref().ok_or_else(|| invalid("rows without a table"))?;
            pieces.push(stored_rows(self.table, storage, &locators, self.read)?);
        }
        let arrays = match <[Vec<ArrayRef>; 1]>::try_from(pieces) {
            Ok([arrays]) => arrays,
            Err(pieces) => (0..self.read.all().len())
                .map(|column| {
                    let parts: Vec<_> = pieces.iter().map(|piece| piece[column].as_ref()).collect();
                    concat(&parts).map_err(|error| invalid(&error.to_string()))
                })
                .collect::<Result<_, _>>()?,
        };
        rows_of(self.read, arrays, found.len())
    }

    fn own_row(&self, own: &[OwnBatch], ordinal: u32) -> Result<Vec<ArrayRef>, StorageError> {
        let (batch, row) = own_row(own, ordinal).ok_or_else(|| {
            StorageError::Invalid(format!("own row {ordinal} of {} is gone", self.table.id))
        })?;
        Ok(read_own(batch, &(row..row + 1), self.read.all()))
    }
}

impl Source<'_> {
    fn find(&self, key: &[u8]) -> Option<Place> {
        match self.writes.map_or(OwnKey::Untouched, |writes| writes.own_key(key)) {
            OwnKey::Removed => None,
            OwnKey::Row(ordinal) => Some(Place::Own(ordinal)),
            OwnKey::Untouched => {
                let storage = self.storage.as_ref()?;
                let locator = match self.writes {
                    Some(writes) => writes.find(storage, key, self.at),
                    None => storage.lookup(key, self.at),
                };
                locator.map(Place::Stored)
            }
        }
    }

    /// Starts to read a range.
    fn range(&self, span: &Span, backward: bool) -> Range {
        let (start, end) = (
            span.start.as_ref(),
            match &span.end {
                End::Before(end) => Some(end.as_ref()),
                End::Here | End::Open => None,
            },
        );
        let within = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
        let own = self.writes.into_iter().flat_map(TableWrites::own_keys);
        let own = own.filter(|(key, _)| within(key));
        let mut own: Vec<_> = own.map(|(key, row)| (IndexedKey::new(key), row)).collect();
        own.sort_unstable();
        if backward {
            own.reverse();
        }
        Range { walk: Walk::new(start, end, backward), own: own.into() }
    }

    /// Reads on until there are `rows_max` rows in `found`, or the range has ended; how many keys were
    /// looked at.
    fn read(
        &self,
        range: &mut Range,
        rows_max: usize,
        backward: bool,
        found: &mut Vec<Place>,
    ) -> usize {
        let mut examined = 0;
        let (Some(storage), Some(index)) = (&self.storage, &self.index) else {
            // A table that the transaction created.
            examined += range.own.len();
            found.extend(range.own.drain(..).map(|(_, row)| Place::Own(row)));
            range.walk.end();
            return examined;
        };
        let deleted =
            |locator: Locator| self.writes.is_some_and(|writes| writes.is_deleted(locator));
        while found.len() < rows_max && !range.walk.ended() {
            let keys = (rows_max - found.len()).max(STEP_MIN);
            for (key, locator) in storage.step(index, &mut range.walk, keys, self.at, deleted) {
                examined += 1;
                let comes_before = |(own, _): &mut (IndexedKey, u32)| {
                    if backward { *own > key } else { *own < key }
                };
                while let Some((_, row)) = range.own.pop_front_if(comes_before) {
                    found.push(Place::Own(row));
                }
                found.extend(locator.map(Place::Stored));
            }
        }
        if range.walk.ended() {
            found.extend(range.own.drain(..).map(|(_, row)| Place::Own(row)));
        }
        examined
    }
}
