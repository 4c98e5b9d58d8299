//! Rows of a segment by their keys.

use std::{cmp::Ordering, collections::BTreeMap, ops::Range};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Decimal64Type, UInt64Type},
};

use super::{
    held::{Answer, Held, Needs, Part},
    key_hash,
    reader::{Projection, Segment, SegmentRows, SortKey},
};
use crate::storage::{
    StorageError,
    codec::column::{ColumnRef, Value},
    schema::TableSchema,
};

/// What a lookup reads beside keys.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seek<'a> {
    /// Columns, by their [places](Segment::places), that are wanted of the rows found: when pages have
    /// to be read, theirs are, too.
    pub also: &'a [usize],
    /// The keys are here, most likely: a filter that is not in memory is not read to find out.
    pub expected: bool,
}

/// Where a key may be: in this row group, among these rows of it.
struct Candidate {
    key: usize,
    row_group: usize,
    rows: Range<u32>,
}

impl Segment {
    /// For each encoded key the rows that have it, by their numbers in the segment: as there may be
    /// several versions of a row, they may be several. Where the row id is the key, a key is its
    /// eight bytes, big-endian.
    pub async fn find<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Range<u32>>, StorageError> {
        let mut held = Held::default();
        loop {
            match self.find_now(keys, Seek::default(), &held)? {
                Answer::Here(rows) => return Ok(rows),
                Answer::Cold(needs) => self.warm_near(needs, &mut held).await?,
            }
        }
    }

    /// As [`Segment::find`] and [`Segment::fetch`] of all that was found, in order of the keys;
    /// reads both at once.
    pub async fn lookup<K: AsRef<[u8]>>(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        keys: &[K],
    ) -> Result<(Vec<Range<u32>>, SegmentRows), StorageError> {
        let mut held = Held::default();
        let also = self.places(schema, projection);
        let seek = Seek { also: &also, expected: false };
        let found = loop {
            match self.find_now(keys, seek, &held)? {
                Answer::Here(rows) => break rows,
                Answer::Cold(needs) => self.warm_near(needs, &mut held).await?,
            }
        };
        let rows: Vec<u32> = found.iter().cloned().flatten().collect();
        loop {
            match self.fetch_now(schema, projection, &rows, &held)? {
                Answer::Here(rows) => return Ok((found, rows)),
                Answer::Cold(needs) => self.warm_near(needs, &mut held).await?,
            }
        }
    }

    /// [`Segment::find`] from memory.
    pub fn find_now<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        seek: Seek<'_>,
        held: &Held,
    ) -> Result<Answer<Vec<Range<u32>>>, StorageError> {
        let mut found = vec![0..0; keys.len()];
        let mut needs = Needs::default();
        if self.key.is_none() && self.row_id_place().is_none() {
            for (found, key) in found.iter_mut().zip(keys) {
                *found = self.inherited_row(key.as_ref());
            }
            return Ok(Answer::Here(found));
        }
        let candidates = self.candidates(keys, seek.expected, held, &mut needs);
        if !needs.is_empty() {
            return Ok(Answer::Cold(needs));
        }
        let mut groups: BTreeMap<usize, Vec<Range<u32>>> = BTreeMap::new();
        for candidate in &candidates {
            groups.entry(candidate.row_group).or_default().push(candidate.rows.clone());
        }
        let mut parts = BTreeMap::new();
        for (row_group, rows) in groups {
            let rows = merged(rows);
            let places = self.key_places();
            let found = self.parts(row_group, places.clone(), Some(&rows), held, &mut needs);
            if found.len() < places.len() {
                // A request is due anyway: what is wanted of the rows comes with it.
                let also = seek.also.iter().copied();
                let _ = self.parts(row_group, also, Some(&rows), held, &mut needs);
            }
            parts.insert(row_group, found);
        }
        if !needs.is_empty() {
            return Ok(Answer::Cold(needs));
        }
        for Candidate { key, row_group, rows } in candidates {
            let parts = &parts[&row_group];
            let parts: Vec<&Part> = self.key_places().iter().map(|place| &parts[place]).collect();
            let columns = KeyColumns::new(self.key.as_ref(), &parts, &rows)?;
            let within = columns.equal(keys[key].as_ref(), rows.len())?;
            if within.is_empty() {
                continue;
            }
            let first = self.row_group_rows(row_group).start + rows.start;
            let (start, end) = (first + within.start as u32, first + within.end as u32);
            // Versions of one row may go on in the next row group.
            let before = &found[key];
            found[key] = if before.is_empty() { start..end } else { before.start..end };
        }
        Ok(Answer::Here(found))
    }

    /// Number of the first row whose encoded key is at or after `key`; that of rows, if there is
    /// none. Of a segment that is sorted by a key of columns.
    pub fn lower_bound_now(&self, key: &[u8], held: &Held) -> Result<Answer<u32>, StorageError> {
        let around = self.index.around(key);
        if around.is_empty() {
            return Ok(Answer::Here(around.start));
        }
        // Fences begin anew with each row group.
        let (row_group, first) = self.place_of(around.start);
        let rows = first..first + around.len() as u32;
        let places = self.key_places();
        let mut needs = Needs::default();
        let wanted = [rows.clone()];
        let parts = self.parts(row_group, places.clone(), Some(&wanted), held, &mut needs);
        if !needs.is_empty() {
            return Ok(Answer::Cold(needs));
        }
        let parts: Vec<&Part> = places.iter().map(|place| &parts[place]).collect();
        let columns = KeyColumns::new(self.key.as_ref(), &parts, &rows)?;
        let mut found = Vec::with_capacity(key.len());
        let before = columns.first(rows.len(), key, &mut found, |order| order == Ordering::Less)?;
        Ok(Answer::Here(around.start + before as u32))
    }

    /// Places in the file of what rows are sorted by.
    fn key_places(&self) -> Vec<usize> {
        match &self.key {
            Some(key) => key.places.clone(),
            None => self.row_id_place().into_iter().collect(),
        }
    }

    /// The row with a row id that is inherited.
    fn inherited_row(&self, key: &[u8]) -> Range<u32> {
        let id = key.try_into().map(u64::from_be_bytes).ok();
        let row = id.and_then(|id| id.checked_sub(self.inherited(0)));
        match row.and_then(|row| u32::try_from(row).ok()).filter(|row| *row < self.meta.rows) {
            Some(row) => row..row + 1,
            None => 0..0,
        }
    }

    /// Where keys may be that are not turned away by fences and filters. Without the filters it
    /// takes there is nothing but `needs`; keys that are `expected` do without.
    fn candidates<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        expected: bool,
        held: &Held,
        needs: &mut Needs,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            let key = key.as_ref();
            if !self.meta.in_key_range(key) {
                continue;
            }
            let mut rows = self.index.candidates(key);
            let hash = key_hash(key);
            while !rows.is_empty() {
                let (row_group, first) = self.place_of(rows.start);
                let group = self.row_group_rows(row_group);
                let end = rows.end.min(group.end);
                let here = first..end - group.start;
                rows.start = end;
                if self.index.row_groups[row_group].filter.is_some() {
                    match self.filter(row_group, held) {
                        None if expected => {}
                        None => {
                            needs.filters.insert(row_group);
                            continue;
                        }
                        Some(filter) if !filter.may_contain(hash) => continue,
                        Some(_) => {}
                    }
                }
                candidates.push(Candidate { key: n, row_group, rows: here });
            }
        }
        candidates
    }

    /// May a row have this encoded key? `false` is certain. From memory: range, fences and filter.
    #[must_use]
    pub fn may_contain(&self, key: &[u8], held: &Held) -> Answer<bool> {
        let mut needs = Needs::default();
        let candidates = self.candidates(&[key], false, held, &mut needs);
        match needs.is_empty() {
            true => Answer::Here(!candidates.is_empty()),
            false => Answer::Cold(needs),
        }
    }

    /// Rows beyond which no key lies between two encoded keys, these included; `None`: no bound.
    /// Rows at either end may lie outside.
    #[must_use]
    pub fn rows_between(&self, least: Option<&[u8]>, greatest: Option<&[u8]>) -> Range<u32> {
        let start = least.map_or(0, |key| self.index.lower_bound(key));
        let end = greatest.map_or(self.meta.rows, |key| self.index.upper_bound(key));
        start..end.max(start)
    }
}

/// Ranges in order, those that touch as one.
pub(super) fn merged(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Contiguous rows of the columns that make up a key.
struct KeyColumns<'a> {
    key: Option<&'a SortKey>,
    columns: Vec<KeyColumn<'a>>,
}

/// A column and the place in it of the first row.
enum KeyColumn<'a> {
    Narrow(&'a [i64], usize),
    RowIds(&'a [u64], usize),
    Values(ColumnRef<'a>, usize),
}

impl<'a> KeyColumns<'a> {
    fn new(
        key: Option<&'a SortKey>,
        parts: &[&'a Part],
        rows: &Range<u32>,
    ) -> Result<Self, StorageError> {
        let column = |(n, part): (usize, &&'a Part)| {
            let (array, places): (&'a ArrayRef, _) = part.range(rows);
            Ok(match (key, array.data_type()) {
                (None, _) => {
                    KeyColumn::RowIds(array.as_primitive::<UInt64Type>().values(), places.start)
                }
                // A key has no NULL: `find` is not asked for one.
                (Some(_), DataType::Decimal64(..)) if array.null_count() == 0 => {
                    KeyColumn::Narrow(array.as_primitive::<Decimal64Type>().values(), places.start)
                }
                (Some(key), _) => {
                    let values = ColumnRef::new(&key.encoder.types()[n], array)?;
                    KeyColumn::Values(values, places.start)
                }
            })
        };
        let columns = parts.iter().enumerate().map(column).collect::<Result<_, StorageError>>()?;
        Ok(Self { key, columns })
    }

    /// The rows among the first `rows` with this key.
    fn equal(&self, key: &[u8], rows: usize) -> Result<Range<usize>, StorageError> {
        let mut found = Vec::with_capacity(key.len());
        let start = self.first(rows, key, &mut found, |order| order == Ordering::Less)?;
        let mut end = start;
        // Versions of one row are few.
        while end < rows && self.compare(end, key, &mut found)? == Ordering::Equal {
            end += 1;
        }
        Ok(start..end)
    }

    /// The first row that is not before the key.
    fn first(
        &self,
        rows: usize,
        key: &[u8],
        found: &mut Vec<u8>,
        is_before: impl Fn(Ordering) -> bool,
    ) -> Result<usize, StorageError> {
        let (mut low, mut high) = (0, rows);
        while low < high {
            let middle = low.midpoint(high);
            if is_before(self.compare(middle, key, found)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn compare(
        &self,
        row: usize,
        key: &[u8],
        found: &mut Vec<u8>,
    ) -> Result<Ordering, StorageError> {
        found.clear();
        match (self.key, &self.columns[..]) {
            (None, [KeyColumn::RowIds(ids, first)]) => {
                found.extend_from_slice(&ids[first + row].to_be_bytes());
            }
            (Some(sort), columns) => sort.encoder.encode_values(
                |n| match &columns[n] {
                    KeyColumn::Narrow(values, first) => {
                        Some(Value::D128(values[first + row].into()))
                    }
                    KeyColumn::Values(values, first) => values.value(first + row),
                    KeyColumn::RowIds(..) => unreachable!("row ids are no key of columns"),
                },
                found,
            )?,
            (None, _) => unreachable!("the row id alone is the key"),
        }
        Ok(found.as_slice().cmp(key))
    }
}
