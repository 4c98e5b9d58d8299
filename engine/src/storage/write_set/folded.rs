//! Deletions of a statement that deletes very many rows: a bitmap for each source instead of a row each.
//!
//! What is folded has no old key and no row id any more: the commit says these as sets.

use std::collections::BTreeMap;

use glaredb_txn::ids::{Locator, SegmentId, TableId};
use roaring::RoaringBitmap;

use super::{TableWrites, WriteSet};
use crate::storage::{
    StorageError,
    table::{Table, TableList},
};

/// Rows of one statement after which its deletions are folded.
const ROWS_MANY: u64 = 20_000;
/// Keys that are at hand at most.
const KEYS_MANY: usize = 98_304;
/// Bytes of the bitmaps of a part. Those of one that follows its rows where they have moved are about as
/// large, and may be twice that.
const BITMAP_BYTES: usize = 256 << 10;
/// Rows whose bitmap is at most that large.
const BITMAP_ROWS: u32 = (BITMAP_BYTES / (8 << 10)) as u32 * 65_536;

/// Deleted rows of committed sources, by their numbers.
pub type DeletedIn = BTreeMap<SegmentId, RoaringBitmap>;

impl WriteSet {
    /// Folds deletions where they are many. Only for transactions that will not read their own rows again,
    /// undo nothing, and leave keys of rows as they are.
    pub fn fold_deletions(&mut self) {
        for (table, writes) in &mut self.tables {
            writes.fold_deletions(*table);
        }
        self.settle_memory();
    }
}

impl TableWrites {
    fn fold_deletions(&mut self, table: TableId) {
        let count = self.deletes_taken + self.deletes.len() as u64;
        if self.folded.is_none() && count < ROWS_MANY {
            return;
        }
        let rows = self.take_deletes();
        let bytes: u64 = rows.iter().map(|row| row.memory()).sum();
        self.memory = self.memory.saturating_sub(bytes);
        let folded = self.folded.get_or_insert_default();
        for row in &rows {
            folded.entry(row.locator.segment).or_default().insert(row.locator.row);
        }
        // Of a keyed table that gets new versions the keys stay until these are in a segment.
        let keys =
            if self.aside.is_none() && self.batches.is_empty() { self.keys.len() } else { 0 };
        if keys.max(self.row_ids.len()) >= KEYS_MANY {
            self.say_keys(table);
        }
    }

    /// Memory of the bitmaps.
    pub(super) fn folded_bytes(&self) -> u64 {
        let bitmaps = self.folded.iter().flat_map(BTreeMap::values);
        // Once here, once among those that are marked as deleted.
        bitmaps.map(|rows| 2 * rows.serialized_size() as u64 + 64).sum()
    }

    /// Brings folded rows to `list`.
    pub(super) fn translate_folded(
        &mut self,
        table: &Table,
        list: &TableList,
    ) -> Result<(), StorageError> {
        let Some(folded) = &mut self.folded else { return Ok(()) };
        let moved = follow(table, list, folded)?;
        for (from, to) in moved {
            self.unmark_deleted(from);
            self.mark_deleted(to);
        }
        Ok(())
    }

    /// Takes the folded rows, in pieces that fit a part.
    pub(super) fn take_folded(&mut self) -> Vec<DeletedIn> {
        self.folded.as_mut().map(std::mem::take).map(pieces).unwrap_or_default()
    }
}

/// Rows of sources that are not in `list` go to where they lie in it; from where to where they went.
/// Error: nobody knows.
pub(super) fn follow(
    table: &Table,
    list: &TableList,
    rows: &mut DeletedIn,
) -> Result<Vec<(Locator, Locator)>, StorageError> {
    let gone: Vec<SegmentId> = rows.keys().copied().filter(|s| !list.has_source(*s)).collect();
    let mut moved = Vec::new();
    for segment in gone {
        for row in rows.remove(&segment).unwrap_or_default() {
            let from = Locator { segment, row };
            let to = table.place_in(from, list).ok_or(StorageError::RowsMoved(table.id()))?;
            moved.push((from, to));
        }
    }
    for (_, to) in &moved {
        rows.entry(to.segment).or_default().insert(to.row);
    }
    Ok(moved)
}

/// Bitmaps of at most about [`BITMAP_BYTES`] together.
fn pieces(rows: DeletedIn) -> Vec<DeletedIn> {
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), DeletedIn::new(), 0);
    for (segment, mut rows) in rows {
        while !rows.is_empty() {
            rows.optimize();
            let rest = match rows.serialized_size() > BITMAP_BYTES {
                true => split_off(&mut rows),
                false => RoaringBitmap::new(),
            };
            let more = rows.serialized_size();
            if bytes + more > BITMAP_BYTES && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += more;
            piece.insert(segment, std::mem::replace(&mut rows, rest));
            if !rows.is_empty() {
                // A piece has each source once.
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// The rows far behind the first one.
fn split_off(rows: &mut RoaringBitmap) -> RoaringBitmap {
    let first = rows.min().unwrap_or_default() / 65_536 * 65_536;
    let Some(end) = first.checked_add(BITMAP_ROWS) else { return RoaringBitmap::new() };
    let mut rest = rows.clone();
    rest.remove_range(..end);
    rows.remove_range(end..);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_a_part_and_are_all() {
        let every_second = |rows: u32| (0..rows).map(|n| n * 2).collect::<RoaringBitmap>();
        let rows: DeletedIn = [
            (SegmentId(3), (0..2_000_000).collect()),
            (SegmentId(5), every_second(5_000_000)),
            (SegmentId(6), every_second(100)),
            (SegmentId(9), [u32::MAX].into_iter().collect()),
        ]
        .into();
        let found = pieces(rows.clone());
        assert!(found.len() > 3, "{}", found.len());
        let mut all = DeletedIn::new();
        for piece in found {
            let bytes: usize = piece.values().map(RoaringBitmap::serialized_size).sum();
            assert!(bytes <= BITMAP_BYTES + (16 << 10), "{bytes}");
            for (segment, rows) in piece {
                let all = all.entry(segment).or_default();
                assert!(all.is_disjoint(&rows));
                *all |= rows;
            }
        }
        assert_eq!(all, rows);
        assert_eq!(pieces(DeletedIn::new()), []);
    }
}
