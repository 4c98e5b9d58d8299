//! What a segment says of itself beside Parquet's footer: checksums of its pages, keys at regular
//! distances, where the filters are. One block before Parquet's page index, read with it.

use std::ops::Range;

use bytes::Bytes;
use glaredb_txn::codec::{DecodeError, Reader, Writer};

use crate::storage::{StorageError, codec::corrupt};

/// Rows from one fence to the next.
pub(super) const FENCE_ROWS: u32 = 1024;

/// Version of the block.
const INDEX_VERSION: u8 = 1;

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub offset: u64,
    pub len: u64,
    /// CRC32C of them.
    pub crc: u32,
}

impl Extent {
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(self.offset).varint(self.len).u32(self.crc);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (offset, len) = (input.varint()?, input.varint()?);
        if offset.checked_add(len).is_none() {
            return Err(input.invalid("end of bytes", len));
        }
        Ok(Self { offset, len, crc: input.u32()? })
    }
}

/// The block, decoded.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct SegmentIndex {
    pub(super) row_groups: Vec<GroupIndex>,
    /// The encoded key of every [`FENCE_ROWS`]th row of each row group, its first among them, with
    /// the row's number in the segment.
    fences: Vec<(u32, Bytes)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupIndex {
    pub(super) rows: u32,
    /// Where its filter is; `None` where the row id is the key.
    pub(super) filter: Option<Extent>,
    /// By leaf of the Parquet schema.
    pub(super) leaves: Vec<LeafPages>,
}

/// CRC32C of the pages of a column chunk, headers included.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct LeafPages {
    pub(super) dictionary: Option<u32>,
    pub(super) pages: Vec<u32>,
}

impl SegmentIndex {
    /// Rows in the row groups so far.
    pub(super) fn rows(&self) -> u32 {
        self.row_groups.iter().map(|group| group.rows).sum()
    }

    /// The key of a row, when it is time for one. Rows of the open row group count from 0.
    pub(super) fn push_fence(&mut self, row: u32, key: &[u8]) {
        self.fences.push((row, Bytes::copy_from_slice(key)));
    }

    /// Rows of the segment among which those with a key are, if any is there.
    pub(super) fn candidates(&self, key: &[u8]) -> Range<u32> {
        let end = self.fences.partition_point(|(_, fence)| fence.as_ref() <= key);
        if end == 0 {
            return 0..0;
        }
        // Rows before the first fence that equals the key may have it, too.
        let first = self.fences.partition_point(|(_, fence)| fence.as_ref() < key);
        let end_row = self.fences.get(end).map_or_else(|| self.rows(), |(row, _)| *row);
        self.fences[first.saturating_sub(1)].0..end_row
    }

    /// Number of the first row whose key is at or after `key`, at least: no row before it is.
    pub(super) fn lower_bound(&self, key: &[u8]) -> u32 {
        let first = self.fences.partition_point(|(_, fence)| fence.as_ref() < key);
        first.checked_sub(1).map_or(0, |fence| self.fences[fence].0)
    }

    /// Number of a row at and after which every key is beyond `key`.
    pub(super) fn upper_bound(&self, key: &[u8]) -> u32 {
        let end = self.fences.partition_point(|(_, fence)| fence.as_ref() <= key);
        self.fences.get(end).map_or_else(|| self.rows(), |(row, _)| *row)
    }

    /// The first row whose key is at or after `key` is one of these, or the one behind them.
    pub(super) fn around(&self, key: &[u8]) -> Range<u32> {
        let next = self.fences.partition_point(|(_, fence)| fence.as_ref() < key);
        let end = self.fences.get(next).map_or_else(|| self.rows(), |(row, _)| *row);
        let start = next.checked_sub(1).map_or(end, |before| self.fences[before].0);
        start..end
    }

    /// The key at a row that has a fence.
    pub(super) fn fence(&self, row: u32) -> Option<&Bytes> {
        let at = self.fences.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        Some(&self.fences[at].1)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let fence = |(_, key): &(u32, Bytes)| key.len() + size_of::<(u32, Bytes)>();
        let leaf = |leaf: &LeafPages| leaf.pages.len() * 4 + size_of::<LeafPages>();
        let group = |group: &GroupIndex| group.leaves.iter().map(leaf).sum::<usize>();
        self.fences.iter().map(fence).sum::<usize>()
            + self.row_groups.iter().map(group).sum::<usize>()
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.u8(INDEX_VERSION).varint(self.row_groups.len() as u64);
        for group in &self.row_groups {
            out.varint(group.rows.into()).bool(group.filter.is_some());
            if let Some(filter) = &group.filter {
                filter.encode(out);
            }
            out.varint(group.leaves.len() as u64);
            for leaf in &group.leaves {
                out.bool(leaf.dictionary.is_some());
                if let Some(crc) = leaf.dictionary {
                    out.u32(crc);
                }
                out.varint(leaf.pages.len() as u64);
                leaf.pages.iter().for_each(|crc| {
                    out.u32(*crc);
                });
            }
        }
        out.varint(self.fences.len() as u64);
        let mut before: &[u8] = &[];
        for (row, key) in &self.fences {
            let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
            out.varint((*row).into()).varint(shared as u64).bytes(&key[shared..]);
            before = key;
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut input = Reader::new(bytes);
        let index = Self::decode_from(&mut input);
        let index = index.map_err(corrupt("index of a segment"))?;
        input.finish().map_err(corrupt("index of a segment"))?;
        Ok(index)
    }

    fn decode_from(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = input.u8()?;
        if version != INDEX_VERSION {
            return Err(input.invalid("version of a segment's index", version.into()));
        }
        let count = input.count(3)?;
        let mut index = Self::default();
        let mut rows = 0_u32;
        for _ in 0..count {
            let group = GroupIndex::decode(input)?;
            rows = rows
                .checked_add(group.rows)
                .ok_or_else(|| input.invalid("number of rows", group.rows.into()))?;
            index.row_groups.push(group);
        }
        let count = input.count(3)?;
        for _ in 0..count {
            let row = input.varint_u32("row of a fence")?;
            let shared = input.varint()?;
            let rest = input.bytes()?;
            let last = index.fences.last();
            let before = last.map_or(&[][..], |(_, key)| key);
            let shared = usize::try_from(shared).ok().filter(|n| *n <= before.len());
            let (Some(shared), true) = (shared, row < rows && last.is_none_or(|l| l.0 < row))
            else {
                return Err(input.invalid("fence", row.into()));
            };
            let key = [&before[..shared], rest].concat();
            if key.as_slice() < before {
                return Err(input.invalid("order of fences", row.into()));
            }
            index.fences.push((row, key.into()));
        }
        Ok(index)
    }
}

impl GroupIndex {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rows = input.varint_u32("rows of a row group")?;
        let filter = input.bool()?.then(|| Extent::decode(input)).transpose()?;
        let count = input.count(2)?;
        let mut leaves = Vec::with_capacity(count);
        for _ in 0..count {
            let dictionary = input.bool()?.then(|| input.u32()).transpose()?;
            let pages = (0..input.count(4)?).map(|_| input.u32()).collect::<Result<_, _>>()?;
            leaves.push(LeafPages { dictionary, pages });
        }
        Ok(Self { rows, filter, leaves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> SegmentIndex {
        let group = |rows, filter| GroupIndex {
            rows,
            filter,
            leaves: vec![
                LeafPages { dictionary: Some(7), pages: vec![1, 2, 3] },
                LeafPages { dictionary: None, pages: vec![] },
            ],
        };
        let filter = Some(Extent { offset: 1_000_000, len: 77, crc: 9 });
        let mut index = SegmentIndex {
            row_groups: vec![group(2_048, filter), group(10, None)],
            ..<_>::default()
        };
        for (row, key) in [(0, &b"abc"[..]), (1_024, b"abd"), (2_048, b"abd")] {
            index.push_fence(row, key);
        }
        index
    }

    #[test]
    fn fences_narrow_a_key_down() {
        let index = index();
        assert_eq!(index.candidates(b"abb"), 0..0);
        assert_eq!(index.candidates(b"abc"), 0..1_024);
        assert_eq!(index.candidates(b"abcc"), 0..1_024);
        // It may have begun before the fence that shows it.
        assert_eq!(index.candidates(b"abd"), 0..2_058);
        assert_eq!(index.candidates(b"abe"), 2_048..2_058);
        assert_eq!((index.lower_bound(b"abd"), index.upper_bound(b"abc")), (0, 1_024));
        assert_eq!((index.lower_bound(b"x"), index.upper_bound(b"x")), (2_048, 2_058));
        assert_eq!([index.around(b""), index.around(b"abc")], [0..0, 0..0]);
        assert_eq!([index.around(b"abd"), index.around(b"abe")], [0..1_024, 2_048..2_058]);
    }

    #[test]
    fn it_comes_back_as_it_was_and_damage_never_panics() {
        let index = index();
        let mut out = Writer::new();
        index.encode(&mut out);
        let bytes = out.into_vec();
        assert_eq!(SegmentIndex::decode(&bytes), Ok(index));
        for at in 0..bytes.len() {
            assert!(SegmentIndex::decode(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(index) = SegmentIndex::decode(&damaged) {
                    let _ = index.candidates(b"abd");
                }
            }
        }
    }
}
