//! Rows of a segment in the order of a key that they are not sorted by.
//!
//! A table that gets a key has segments that were written without it. Until they are rewritten their
//! rows are found through this, which is built in memory when somebody asks first, by reading the
//! key's columns of the whole segment.

use std::ops::Range;

use crate::storage::{
    StorageError,
    codec::key::EncodedKeys,
    schema::TableSchema,
    segment::{Projection, Segment},
};

/// Every row of a segment by its key. Immutable, as its rows are.
#[derive(Debug)]
pub struct KeyOrder {
    /// The key, by ids of columns.
    columns: Vec<u32>,
    /// Ascending.
    keys: EncodedKeys,
    /// Of `keys`.
    rows: Vec<u32>,
}

impl KeyOrder {
    /// Reads the columns of the schema's key. Errors: it has none; the object is damaged or cannot be
    /// read.
    pub(crate) async fn read(
        segment: &Segment,
        schema: &TableSchema,
    ) -> Result<Self, StorageError> {
        let (Some(key), Some(encoder)) = (schema.key(), schema.key_encoder()) else {
            return Err(StorageError::Invalid(
                "rows in the order of a key that is none".to_owned(),
            ));
        };
        let projection = Projection { columns: key, ..Projection::default() };
        let mut pieces = Vec::with_capacity(segment.row_groups());
        let mut order = Vec::new();
        for row_group in 0..segment.row_groups() {
            let rows = segment.read(schema, &projection, row_group, None).await?;
            let keys = encoder.encode_stored(rows.batch.columns())?;
            order.extend((0..keys.len() as u32).map(|row| (row_group as u32, row)));
            pieces.push(keys);
        }
        let key_of = |(group, row): (u32, u32)| pieces[group as usize].get(row as usize);
        order.sort_by(|a, b| key_of(*a).cmp(key_of(*b)));
        let bytes: usize = order.iter().map(|place| key_of(*place).len()).sum();
        if u32::try_from(bytes).is_err() {
            return Err(StorageError::Invalid(format!(
                "the keys of segment {} are {bytes} bytes, more than can be held",
                segment.id()
            )));
        }
        let start = |group: u32| segment.row_group_rows(group as usize).start;
        let rows = order.iter().map(|(group, row)| start(*group) + row).collect();
        let keys = EncodedKeys::from_keys(order.iter().map(|place| key_of(*place)));
        Ok(Self { columns: key_columns(schema, key), keys, rows })
    }

    /// Is it that of this key, by ids of columns?
    pub(crate) fn is_of(&self, columns: impl ExactSizeIterator<Item = u32>) -> bool {
        columns.len() == self.columns.len() && columns.eq(self.columns.iter().copied())
    }

    /// Rows that have this key, by their numbers in the segment: versions of one row may be several.
    pub(crate) fn find(&self, key: &[u8]) -> &[u32] {
        let start = self.lower_bound(key);
        let equal = (start..self.rows.len()).take_while(|place| self.keys.get(*place) == key);
        &self.rows[start..start + equal.count()]
    }

    /// The place of the first key at or after `key`.
    pub(crate) fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.rows.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.keys.get(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The key and the row at a place.
    pub(crate) fn at(&self, place: usize) -> (&[u8], u32) {
        (self.keys.get(place), self.rows[place])
    }

    pub(crate) fn rows(&self, places: Range<usize>) -> &[u32] {
        &self.rows[places]
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let keys = self.keys.iter().map(<[u8]>::len).sum::<usize>();
        size_of::<Self>() + keys + self.rows.len() * 8
    }
}

fn key_columns(schema: &TableSchema, key: &[usize]) -> Vec<u32> {
    key.iter().map(|ordinal| schema.columns()[*ordinal].id).collect()
}
