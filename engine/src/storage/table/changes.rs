//! Which keys changed between two timestamps.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, UInt32Array, UInt64Array},
    compute,
};
use glaredb_txn::ids::Timestamp;

use super::{Table, TableSegment};
use crate::storage::{
    StorageError,
    chunk::block::{Begins, Block},
    schema::TableSchema,
    segment::{Projection, Segment, SegmentStore},
};

/// Later than the one, at or before the other.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Interval {
    pub(super) fn has(self, at: Timestamp) -> bool {
        self.since < at && at <= self.until
    }

    /// The last change of a row in it, by when the row came and went.
    fn last(self, begin: Timestamp, end: Timestamp) -> Option<Timestamp> {
        [end, begin].into_iter().find(|at| self.has(*at))
    }
}

impl Table {
    /// Shows `see` the keys of all rows that were committed or deleted in the interval, each with the row's
    /// last change in it, in no order, until it has seen enough. A key whose row was replaced comes twice.
    /// Row ids where the table has no key.
    ///
    /// `interval.until`: published. The caller keeps a snapshot registered that is not later than `interval.since`, so
    /// that neither what came nor what went since is forgotten.
    ///
    /// # Errors
    /// An object is damaged or cannot be read.
    pub async fn changed_keys(
        &self,
        store: &SegmentStore,
        interval: Interval,
        mut see: impl FnMut(&[u8], Timestamp) -> ControlFlow<()> + Send,
    ) -> Result<(), StorageError> {
        let (schema, list) = (self.schema(), self.list());
        for chunk in list.chunks() {
            for block in chunk.blocks() {
                if show_block(&block, &schema, interval, &mut see)?.is_break() {
                    return Ok(());
                }
            }
        }
        for segment in list.segments() {
            if show_segment(segment, store, &schema, interval, &mut see).await?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn show_block(
    block: &Block,
    schema: &TableSchema,
    interval: Interval,
    see: &mut impl FnMut(&[u8], Timestamp) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StorageError> {
    let one_begin = match &block.begins {
        Begins::One(at) => Some(*at),
        Begins::Publication(cell) => Some(cell.timestamp()),
        Begins::Each(_) => None,
    };
    let untouched = block.deletions.count() == 0;
    if untouched && one_begin.is_some_and(|at| !interval.has(at)) {
        return Ok(ControlFlow::Continue(()));
    }
    let change = |n: usize| {
        let end = if untouched { Timestamp::INFINITY } else { block.deletions.end(block.row(n)) };
        interval.last(block.begin(n), end).map(|at| (n as u32, at))
    };
    let changed: Vec<(u32, Timestamp)> = (0..block.len).filter_map(change).collect();
    if changed.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    let Some(key) = schema.key() else {
        return Ok(show_row_ids(
            changed.iter().map(|(n, at)| (block.row_id(*n as usize).0, *at)),
            see,
        ));
    };
    let places = UInt32Array::from_iter_values(changed.iter().map(|(n, _)| *n));
    let column = |ordinal: &usize| {
        compute::take(&block.column(schema, *ordinal), &places, None)
            .map_err(|e| StorageError::Invalid(format!("keys cannot be taken: {e}")))
    };
    let columns = key.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    show_keys(schema, &columns, changed.iter().map(|(_, at)| *at), see)
}

async fn show_segment(
    segment: &TableSegment,
    store: &SegmentStore,
    schema: &Arc<TableSchema>,
    interval: Interval,
    see: &mut (impl FnMut(&[u8], Timestamp) -> ControlFlow<()> + Send),
) -> Result<ControlFlow<()>, StorageError> {
    let (least, greatest) = segment.description()?.commits;
    let came = greatest > interval.since && least <= interval.until;
    let went: BTreeMap<u32, Timestamp> = segment.deletions().within(interval).into_iter().collect();
    if !came && went.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    let opened = segment.open(store, schema).await?;
    for group in 0..opened.row_groups() {
        let rows = opened.row_group_rows(group);
        let mut changed: BTreeMap<u32, Timestamp> = BTreeMap::new();
        if came {
            let timestamps = Projection { timestamps: true, ..Projection::default() };
            let read = opened.read(schema, &timestamps, group, None).await?.timestamps;
            let begins = read.ok_or_else(|| StorageError::Invalid("no timestamps".to_owned()))?;
            let begins = begins.values().iter().map(|at| Timestamp(*at));
            changed.extend((0..).zip(begins).filter(|(_, at)| interval.has(*at)));
        }
        changed.extend(went.range(rows.clone()).map(|(row, at)| (row - rows.start, *at)));
        if !changed.is_empty()
            && show_group(&opened, schema, group, &changed, see).await?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// `changed`: by the row's number in the row group.
async fn show_group(
    opened: &Segment,
    schema: &Arc<TableSchema>,
    group: usize,
    changed: &BTreeMap<u32, Timestamp>,
    see: &mut (impl FnMut(&[u8], Timestamp) -> ControlFlow<()> + Send),
) -> Result<ControlFlow<()>, StorageError> {
    let mut wanted: Vec<Range<u32>> = Vec::new();
    for row in changed.keys() {
        match wanted.last_mut() {
            Some(range) if range.end == *row => range.end += 1,
            _ => wanted.push(*row..row + 1),
        }
    }
    let key = schema.key().unwrap_or_default();
    let row_ids = schema.key().is_none();
    let projection = Projection { columns: key, row_ids, ..Projection::default() };
    let read = opened.read(schema, &projection, group, Some(&wanted)).await?;
    let changes = changed.values().copied();
    if row_ids {
        let ids: UInt64Array =
            read.row_ids.ok_or_else(|| StorageError::Invalid("no row ids".to_owned()))?;
        return Ok(show_row_ids(ids.values().iter().copied().zip(changes), see));
    }
    show_keys(schema, read.batch.columns(), changes, see)
}

fn show_keys(
    schema: &TableSchema,
    columns: &[ArrayRef],
    changes: impl Iterator<Item = Timestamp>,
    see: &mut impl FnMut(&[u8], Timestamp) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StorageError> {
    let encoder = schema.key_encoder();
    let encoder = encoder.ok_or_else(|| StorageError::Invalid("a key without types".to_owned()))?;
    let keys = encoder.encode_stored(columns)?;
    Ok(keys.iter().zip(changes).try_for_each(|(key, at)| see(key, at)))
}

fn show_row_ids(
    mut changes: impl Iterator<Item = (u64, Timestamp)>,
    see: &mut impl FnMut(&[u8], Timestamp) -> ControlFlow<()>,
) -> ControlFlow<()> {
    changes.try_for_each(|(row_id, at)| see(&row_id.to_be_bytes(), at))
}

#[cfg(test)]
mod tests;
