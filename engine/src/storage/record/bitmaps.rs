//! Deletions of very many rows: a bitmap for each source.

use std::collections::BTreeMap;

use glaredb_txn::{
    codec::{Reader, Writer},
    ids::SegmentId,
};
use roaring::RoaringBitmap;

use super::{Deletes, DeletesKind};
use crate::storage::{StorageError, codec::corrupt};

const WHAT: &str = "bitmaps of deleted rows";

/// Appends the data of [`DeletesKind::Bitmaps`].
pub fn write_bitmaps(rows: &BTreeMap<SegmentId, RoaringBitmap>, out: &mut Writer) {
    out.varint(rows.len() as u64);
    for (segment, rows) in rows {
        let mut bytes = Vec::with_capacity(rows.serialized_size());
        rows.serialize_into(&mut bytes).expect("memory takes all that is written");
        out.varint(segment.0).bytes(&bytes);
    }
}

impl Deletes<'_> {
    /// The rows of each source, where they come as bitmaps; none else. Errors: bytes that are none. Never
    /// panics.
    pub fn bitmaps(&self) -> Result<Vec<(SegmentId, RoaringBitmap)>, StorageError> {
        if self.kind != DeletesKind::Bitmaps {
            return Ok(Vec::new());
        }
        let mut input = Reader::new(self.data);
        let count = input.count(2).map_err(corrupt(WHAT))?;
        let mut found: Vec<(SegmentId, RoaringBitmap)> = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let segment = SegmentId(input.varint().map_err(corrupt(WHAT))?);
            let bytes = input.bytes().map_err(corrupt(WHAT))?;
            let rows = RoaringBitmap::deserialize_from(bytes)
                .map_err(|e| StorageError::corrupt(WHAT, e.to_string()))?;
            if found.last().is_some_and(|(last, _)| *last >= segment) || rows.is_empty() {
                return Err(StorageError::corrupt(WHAT, format!("{segment} is out of place")));
            }
            found.push((segment, rows));
        }
        input.finish().map_err(corrupt(WHAT))?;
        let rows: u64 = found.iter().map(|(_, rows)| rows.len()).sum();
        if rows != u64::from(self.count) {
            let said = self.count;
            return Err(StorageError::corrupt(WHAT, format!("{rows} rows, {said} are said")));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bitmaps_are_errors() {
        let rows: BTreeMap<SegmentId, RoaringBitmap> = [
            (SegmentId(4), (0..70_000).collect()),
            (SegmentId(9), [3, 5, 1 << 20].into_iter().collect()),
        ]
        .into();
        let mut out = Writer::new();
        write_bitmaps(&rows, &mut out);
        let whole = out.as_slice();
        let read =
            |data: &[u8], count| Deletes { count, kind: DeletesKind::Bitmaps, data }.bitmaps();
        assert_eq!(read(whole, 70_003).expect("it is whole"), rows.into_iter().collect::<Vec<_>>());
        read(whole, 70_002).expect_err("one more than is said");
        for length in (0..whole.len()).step_by(13) {
            read(&whole[..length], 70_003).expect_err("it is cut");
        }
        for bit in (0..whole.len() * 8).step_by(7) {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Other rows, or none: no panic.
            let _ = read(&flipped, 70_003);
        }
    }
}
