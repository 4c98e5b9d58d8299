//! Rows by ranges of the primary key, in its order, a batch at a time.

use std::collections::VecDeque;

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
    key_index::IndexedKey,
    table::{KeyAccess, KeyWalk, Sight, Stepped, Table, TableList, ThenRead},
    warmed::{ColdReads, ReadError, Warmed},
    write_set::{OwnBatch, OwnKey, TableWrites},
};

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
    /// `None`: of a table that the transaction created.
    walk: Option<KeyWalk>,
    /// Own rows that are to come, in the order of the walk.
    own: VecDeque<(IndexedKey, u32)>,
    backward: bool,
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
    /// `None`: the transaction created the table.
    stored: Option<Stored<'a>>,
    /// Brought to the list.
    writes: Option<&'a TableWrites>,
    at: Timestamp,
    warmed: &'a Warmed,
    then: Option<ThenRead<'a>>,
}

struct Stored<'a> {
    table: &'a Table,
    list: TableList,
    access: KeyAccess,
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

    /// The next rows, at most `rows_max`. A reader that had to end for something cold goes on where it
    /// was when it is asked again.
    pub(crate) fn next(&mut self, rows_max: usize) -> Result<Option<RecordBatch>, ReadError> {
        let mut own = self.view.own.as_ref().map(|own| own.lock());
        let (storage, at) = self.view.storage(self.table.id).unzip();
        let columns: Vec<usize> = self.read.ordinals().flatten().collect();
        loop {
            let mut writes = own.as_mut().and_then(|own| own.table_mut(self.table.id));
            let list = match (&storage, &mut writes) {
                (Some(storage), Some(writes)) => Some(writes.to_newest_list(storage)?),
                (Some(storage), None) => Some(storage.list()),
                (None, _) => None,
            };
            let writes = writes.map(|writes| &*writes);
            let stored = storage.as_deref().zip(list).and_then(|(table, list)| {
                let access = match writes {
                    Some(writes) => writes.key_access(table),
                    None => table.key_access(),
                };
                Some(Stored { table, list, access: access? })
            });
            let at = at.unwrap_or_default();
            let then = Some(self.read.then(&self.table.schema, &columns));
            let source = Source { stored, writes, at, warmed: &self.view.warmed, then };
            if self.gather(&source, rows_max)? == Stepped::Edited {
                continue;
            }
            let count = self.found.len().min(rows_max);
            if count == 0 {
                return Ok(None);
            }
            let batch = self.batch(&source, count)?;
            self.found.drain(..count);
            return Ok(Some(batch));
        }
    }

    /// Finds rows for a batch, in their order.
    fn gather(&mut self, source: &Source<'_>, rows_max: usize) -> Result<Stepped, ReadError> {
        if let KeyOrder::Stored(keys_max) = self.order {
            if self.find(source, keys_max.saturating_add(1))? == Stepped::Edited {
                return Ok(Stepped::Edited);
            }
            if self.ended() {
                self.found.make_contiguous().sort_unstable();
            }
            self.order = KeyOrder::Forward;
        }
        self.find(source, rows_max)
    }

    fn ended(&self) -> bool {
        self.spans.is_empty() && self.range.is_none()
    }

    /// Finds rows until there are `rows_max` or no more.
    fn find(&mut self, source: &Source<'_>, rows_max: usize) -> Result<Stepped, ReadError> {
        let backward = self.order == KeyOrder::Backward;
        let Self { found, examined, .. } = self;
        while found.len() < rows_max {
            if let Some(range) = &mut self.range {
                if source.read(range, rows_max, found, examined)? == Stepped::Edited {
                    return Ok(Stepped::Edited);
                }
                if range.ended() {
                    self.range = None;
                }
                continue;
            }
            let keys = self.spans.iter().map_while(Span::key).take(rows_max - found.len());
            let keys: Vec<&[u8]> = keys.map(AsRef::as_ref).collect();
            if keys.is_empty() {
                let Some(span) = self.spans.front() else { break };
                self.range = Some(source.range(span, backward)?);
                self.spans.pop_front();
                continue;
            }
            let count = keys.len();
            let Some(places) = source.find(&keys)? else { return Ok(Stepped::Edited) };
            found.extend(places.into_iter().flatten());
            *examined += count;
            self.spans.drain(..count);
        }
        Ok(Stepped::Done)
    }

    /// The first `count` rows that were found.
    fn batch(&self, source: &Source<'_>, count: usize) -> Result<RecordBatch, ReadError> {
        let invalid = |what: &str| StorageError::Invalid(format!("{}: {what}", self.table.id));
        let own = source.writes.map(TableWrites::own_batches).unwrap_or_default();
        let found: Vec<Place> = self.found.iter().take(count).copied().collect();
        let mut cold = ColdReads::default();
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
            let storage = source.stored.as_ref().ok_or_else(|| invalid("rows without a table"))?;
            let rows = stored_rows(self.table, storage.table, &locators, self.read, source.warmed);
            pieces.extend(cold.note(rows)?);
        }
        cold.finish()?;
        let arrays = match <[Vec<ArrayRef>; 1]>::try_from(pieces) {
            Ok([arrays]) => arrays,
            Err(pieces) => (0..self.read.all().len())
                .map(|column| {
                    let parts: Vec<_> = pieces.iter().map(|piece| piece[column].as_ref()).collect();
                    concat(&parts).map_err(|error| invalid(&error.to_string()))
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(rows_of(self.read, arrays, count)?)
    }

    fn own_row(&self, own: &[OwnBatch], ordinal: u32) -> Result<Vec<ArrayRef>, StorageError> {
        let (batch, row) = own_row(own, ordinal).ok_or_else(|| {
            StorageError::Invalid(format!("own row {ordinal} of {} is gone", self.table.id))
        })?;
        Ok(read_own(batch, &(row..row + 1), self.read.all()))
    }
}

impl Range {
    fn ended(&self) -> bool {
        self.own.is_empty() && self.walk.as_ref().is_none_or(KeyWalk::ended)
    }
}

impl Source<'_> {
    /// What the rows of the table are seen through.
    fn sight<'s>(&'s self, hidden: &'s dyn Fn(Locator) -> bool) -> Sight<'s> {
        Sight { at: self.at, hidden, warmed: self.warmed, then: self.then }
    }

    fn is_deleted(&self, locator: Locator) -> bool {
        self.writes.is_some_and(|writes| writes.is_deleted(locator))
    }

    /// The row of each key; `None`: the list is not the newest any more.
    fn find(&self, keys: &[&[u8]]) -> Result<Option<Vec<Option<Place>>>, ReadError> {
        let mut found = Vec::with_capacity(keys.len());
        let (mut asked, mut wanted) = (Vec::new(), Vec::new());
        for (n, key) in keys.iter().enumerate() {
            let own = self.writes.map_or(OwnKey::Untouched, |writes| writes.own_key(key));
            found.push(match own {
                OwnKey::Removed => None,
                OwnKey::Row(ordinal) => Some(Place::Own(ordinal)),
                OwnKey::Untouched => {
                    asked.push(n);
                    wanted.push(*key);
                    None
                }
            });
        }
        if let Some(Stored { table, list, access }) = &self.stored {
            let hidden = |locator| self.is_deleted(locator);
            let places = table.lookup_in(list, access, &wanted, &self.sight(&hidden))?;
            let Some(places) = places else { return Ok(None) };
            for (n, place) in asked.into_iter().zip(places) {
                found[n] = place.map(Place::Stored);
            }
        }
        Ok(Some(found))
    }

    /// Starts to read a range.
    fn range(&self, span: &Span, backward: bool) -> Result<Range, StorageError> {
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
        let walk = self.stored.as_ref().map(|Stored { list, access, .. }| {
            KeyWalk::new(access, list, (start, end), backward, (self.at, self.warmed))
        });
        Ok(Range { walk: walk.transpose()?, own: own.into(), backward })
    }

    /// Reads on until there are `rows_max` rows in `found`, or the range has ended. Counts keys looked
    /// at.
    fn read(
        &self,
        range: &mut Range,
        rows_max: usize,
        found: &mut VecDeque<Place>,
        examined: &mut usize,
    ) -> Result<Stepped, ReadError> {
        let Range { walk, own, backward } = range;
        let (Some(Stored { table, list, access }), Some(walk)) = (&self.stored, walk) else {
            // A table that the transaction created.
            *examined += own.len();
            found.extend(own.drain(..).map(|(_, row)| Place::Own(row)));
            return Ok(Stepped::Done);
        };
        if walk.list().edits() != list.edits() {
            walk.take_up(access, list, (self.at, self.warmed))?;
        }
        let hidden = |locator| self.is_deleted(locator);
        let sight = self.sight(&hidden);
        let rows_max = rows_max.saturating_sub(found.len());
        let mut give = |key: &IndexedKey, locator: Locator| {
            let comes_before = |(own, _): &mut (IndexedKey, u32)| {
                if *backward { *own > *key } else { *own < *key }
            };
            while let Some((_, row)) = own.pop_front_if(comes_before) {
                found.push_back(Place::Own(row));
            }
            found.push_back(Place::Stored(locator));
        };
        let stepped = walk.step((table, access), rows_max, &sight, examined, &mut give)?;
        if walk.ended() {
            found.extend(own.drain(..).map(|(_, row)| Place::Own(row)));
        }
        Ok(stepped)
    }
}
