//! Pages of a segment: where they are, and their bytes once they were read and checked.

use std::{collections::BTreeMap, ops::Range};

use bytes::{Buf, Bytes, buf::Reader};
use glaredb_txn::codec::checksum;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        reader::{ChunkReader, Length},
    },
};

use super::index::SegmentIndex;

/// Parts of a file, as Parquet's readers ask for them.
#[derive(Clone, Default, Debug)]
pub(super) struct Pieces {
    /// Of the whole file.
    file_bytes: u64,
    /// By their offset.
    pieces: BTreeMap<u64, Bytes>,
}

impl Pieces {
    pub(super) fn new(file_bytes: u64) -> Self {
        Self { file_bytes, pieces: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, offset: u64, bytes: Bytes) {
        self.pieces.insert(offset, bytes);
    }

    /// From `start` to the end of the piece that has it.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let piece = self.pieces.range(..=start).next_back();
        piece
            .and_then(|(offset, bytes)| {
                let skip = usize::try_from(start - offset).ok()?;
                (skip <= bytes.len()).then(|| bytes.slice(skip..))
            })
            .ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))
    }

    pub(super) fn get(&self, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let bytes = self.from(range.start)?;
        let len = usize::try_from(range.end - range.start)?;
        if len > bytes.len() {
            return Err(ParquetError::EOF(format!("bytes {range:?} were not read")));
        }
        Ok(bytes.slice(..len))
    }
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Pieces {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.get(&(start..start.saturating_add(length as u64)))
    }
}

/// Bytes to read, with the CRC32C that they have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Checked {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) crc: u32,
}

/// Where the pages of a column chunk are that hold some rows of its row group (ascending), `None`:
/// all. Its dictionary is among them. Error: what is said of them does not fit together.
pub(super) fn pages_of(
    metadata: &ParquetMetaData,
    index: &SegmentIndex,
    row_group: usize,
    leaf: usize,
    rows: Option<&[Range<u32>]>,
    out: &mut Vec<Checked>,
) -> Result<(), String> {
    let contradiction = || format!("row group {row_group} column {leaf}: its pages do not add up");
    let locations = metadata
        .offset_index()
        .and_then(|groups| groups.get(row_group)?.get(leaf))
        .ok_or_else(contradiction)?
        .page_locations();
    let group = &index.row_groups[row_group];
    let pages = group.leaves.get(leaf).ok_or_else(contradiction)?;
    if pages.pages.len() != locations.len() {
        return Err(contradiction());
    }
    let chunk = metadata.row_group(row_group).column(leaf);
    let chunk_start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let chunk_start = u64::try_from(chunk_start).map_err(|_| contradiction())?;
    let mut place = chunk_start;
    for (n, (location, crc)) in locations.iter().zip(&pages.pages).enumerate() {
        let start = u64::try_from(location.offset).map_err(|_| contradiction())?;
        let len = u64::try_from(location.compressed_page_size).map_err(|_| contradiction())?;
        if n == 0 && start > chunk_start {
            let crc = pages.dictionary.ok_or_else(contradiction)?;
            out.push(Checked { start: chunk_start, end: start, crc });
        } else if start != place {
            return Err(contradiction());
        }
        place = start + len;
        let first_row = location.first_row_index;
        let end_row = locations.get(n + 1).map_or(i64::from(group.rows), |l| l.first_row_index);
        let has = |rows: &[Range<u32>]| {
            let after = rows.partition_point(|range| i64::from(range.end) <= first_row);
            rows.get(after).is_some_and(|range| i64::from(range.start) < end_row)
        };
        if rows.is_none_or(has) {
            out.push(Checked { start, end: place, crc: *crc });
        }
    }
    Ok(())
}

/// Bytes that are no further than `gap` from each other as one range each, to ask for as few as
/// possible.
pub(super) fn requests(pages: &mut Vec<Checked>, gap: u64) -> Vec<Range<u64>> {
    pages.sort_unstable();
    pages.dedup();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for page in pages {
        match ranges.last_mut() {
            Some(last) if page.start - last.end <= gap => last.end = page.end,
            _ => ranges.push(page.start..page.end),
        }
    }
    ranges
}

/// Are these the bytes that were written? Error: which are not.
pub(super) fn check(pages: &[Checked], pieces: &Pieces) -> Result<(), String> {
    for page in pages {
        let bytes = pieces.get(&(page.start..page.end)).map_err(|e| e.to_string())?;
        let computed = checksum(&bytes);
        if computed != page.crc {
            return Err(format!(
                "bytes {}..{}: CRC32C is {computed:08x}, not {:08x} as when they were written",
                page.start, page.end, page.crc
            ));
        }
    }
    Ok(())
}
