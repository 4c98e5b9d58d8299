//! The sections of a checkpoint's objects: rows of a chunk, and what became of a table's rows since.
//!
//! ```text
//! rows of a chunk                                 deletions of a table
//!   columns: length u64, padding to 64 bytes,       count, then per chunk that has any:
//!            Arrow IPC stream with one batch          segment
//!   count of rows                                     present rows, if fewer than the rows written
//!   row numbers as runs (gap, length)                 deleted rows: row number, timestamp
//!   row ids, timestamps as zigzag differences
//! ```
//! A section begins at a multiple of 64 bytes in its object, so that columns are used in place.

use std::io::Cursor;

use arrow::{
    array::{RecordBatch, UInt32Array},
    buffer::Buffer,
    compute,
    datatypes::{Schema, SchemaRef},
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use bytes::Bytes;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{RowId, SegmentId, Timestamp},
};

use crate::storage::state::BlockImage;

/// Alignment of sections in their object, and of columns in their section.
pub(super) const ALIGNMENT: usize = 64;

/// Why a section cannot be used. The caller adds the object's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum SectionError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("{0}")]
    Contradiction(String),
}

/// Rows as a section holds them; all vectors and the batch have one element per row.
#[derive(Debug)]
pub(super) struct ChunkRows {
    pub(super) batch: RecordBatch,
    /// Row numbers in the chunk, ascending.
    pub(super) rows: Vec<u32>,
    pub(super) row_ids: Vec<RowId>,
    pub(super) begins: Vec<Timestamp>,
}

impl ChunkRows {
    /// All rows of a chunk, its blocks joined.
    pub(super) fn of(blocks: &[BlockImage], schema: &SchemaRef) -> Result<Self, SectionError> {
        let batch = match blocks {
            [one] => one.batch.clone(),
            // All blocks of a chunk have the same columns.
            blocks => {
                let schema = blocks.first().map_or_else(|| schema.clone(), |b| b.batch.schema());
                compute::concat_batches(&schema, blocks.iter().map(|b| &b.batch))?
            }
        };
        let blocks = || blocks.iter();
        Ok(Self {
            batch,
            rows: blocks().flat_map(|b| b.rows.iter().copied()).collect(),
            row_ids: blocks().flat_map(|b| b.row_ids.iter().copied()).collect(),
            begins: blocks().flat_map(|b| b.begins.iter().copied()).collect(),
        })
    }

    /// Appends the section to an object that is a multiple of `ALIGNMENT` long.
    pub(super) fn encode(&self, w: &mut Writer) -> Result<(), SectionError> {
        let mut columns = StreamWriter::try_new(Cursor::new(Vec::new()), &self.batch.schema())?;
        columns.write(&self.batch)?;
        let columns = columns.into_inner()?.into_inner();
        w.u64(columns.len() as u64);
        pad(w);
        w.raw(&columns);
        w.varint(self.rows.len() as u64);
        encode_runs(&self.rows, w);
        encode_differences(self.row_ids.iter().map(|id| id.0), w);
        encode_differences(self.begins.iter().map(|at| at.0), w);
        Ok(())
    }

    /// `section` shares its memory with the columns that come out.
    pub(super) fn decode(section: &Bytes, schema: &SchemaRef) -> Result<Self, SectionError> {
        let mut r = Reader::of(section);
        let length = r.u64()?;
        r.raw(ALIGNMENT - 8)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let columns = section.slice_ref(r.raw(length)?);
        let count = r.count(2)?;
        let rows = decode_runs(&mut r, count)?;
        let row_ids = decode_differences(&mut r, count)?.into_iter().map(RowId).collect();
        let begins = decode_differences(&mut r, count)?.into_iter().map(Timestamp).collect();
        r.finish()?;

        let mut decoder = StreamDecoder::new();
        let batch = decoder
            .decode(&mut Buffer::from(columns))?
            .ok_or_else(|| SectionError::Contradiction("no batch of columns".to_owned()))?;
        if batch.num_rows() != count {
            let found = batch.num_rows();
            return Err(SectionError::Contradiction(format!("{found} rows, not {count}")));
        }
        // The table's own schema: its metadata is what the rest of the engine looks at.
        let schema = match batch.num_columns() {
            all if all == schema.fields().len() => SchemaRef::clone(schema),
            // Columns that came later are at the end.
            fewer if fewer < schema.fields().len() => {
                SchemaRef::new(Schema::new(schema.fields()[..fewer].to_vec()))
            }
            more => {
                let wanted = schema.fields().len();
                return Err(SectionError::Contradiction(format!("{more} columns, not {wanted}")));
            }
        };
        let batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
        Ok(Self { batch, rows, row_ids, begins })
    }

    /// As a block, of which only `present` rows are kept.
    pub(super) fn into_block(self, fate: Option<ChunkFate>) -> Result<BlockImage, SectionError> {
        let Self { batch, rows, row_ids, begins } = self;
        let (present, deletions) = match fate {
            None => (None, Vec::new()),
            Some(fate) => (fate.present, fate.deletions),
        };
        let Some(present) = present else {
            return Ok(BlockImage { batch, rows, row_ids, begins, deletions });
        };
        // Both ascend: one walk finds the places of what is present.
        let mut places = Vec::with_capacity(present.len());
        let mut place = 0;
        for wanted in &present {
            while rows.get(place).is_some_and(|row| row < wanted) {
                place += 1;
            }
            if rows.get(place) != Some(wanted) {
                return Err(SectionError::Contradiction(format!("row {wanted} was not written")));
            }
            places.push(place);
        }
        let indices: UInt32Array = places.iter().map(|&p| p as u32).collect();
        Ok(BlockImage {
            batch: compute::take_record_batch(&batch, &indices)?,
            rows: present,
            row_ids: places.iter().map(|&p| row_ids[p]).collect(),
            begins: places.iter().map(|&p| begins[p]).collect(),
            deletions,
        })
    }
}

/// What became of a chunk's rows by Q.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ChunkFate {
    pub(super) segment: SegmentId,
    /// Rows that are left of those written, by number; `None`: all.
    pub(super) present: Option<Vec<u32>>,
    /// (row number, timestamp) in order of row.
    pub(super) deletions: Vec<(u32, Timestamp)>,
}

pub(super) fn encode_fates(fates: &[ChunkFate], w: &mut Writer) {
    w.varint(fates.len() as u64);
    for fate in fates {
        w.varint(fate.segment.0).bool(fate.present.is_some());
        if let Some(present) = &fate.present {
            w.varint(present.len() as u64);
            encode_runs(present, w);
        }
        w.varint(fate.deletions.len() as u64);
        encode_differences(fate.deletions.iter().map(|(row, _)| u64::from(*row)), w);
        encode_differences(fate.deletions.iter().map(|(_, at)| at.0), w);
    }
}

pub(super) fn decode_fates(section: &[u8]) -> Result<Vec<ChunkFate>, SectionError> {
    let mut r = Reader::new(section);
    let count = r.count(3)?;
    let mut fates = Vec::with_capacity(count);
    for _ in 0..count {
        let segment = SegmentId(r.varint()?);
        let present = if r.bool()? {
            // Runs: a few bytes may stand for any number of rows, but a chunk is bounded.
            let rows = r.varint_u32("number of rows")?;
            if rows > crate::storage::chunk::CHUNK_ROWS_MAX {
                return Err(r.invalid("number of rows", rows.into()).into());
            }
            Some(decode_runs(&mut r, rows as usize)?)
        } else {
            None
        };
        let count = r.count(2)?;
        let rows = decode_differences(&mut r, count)?;
        let times = decode_differences(&mut r, count)?;
        let deletions = rows
            .into_iter()
            .zip(times)
            .map(|(row, at)| {
                let row = u32::try_from(row).map_err(|_| r.invalid("row number", row))?;
                Ok((row, Timestamp(at)))
            })
            .collect::<Result<_, DecodeError>>()?;
        fates.push(ChunkFate { segment, present, deletions });
    }
    r.finish()?;
    Ok(fates)
}

/// Zeros up to the next multiple of `ALIGNMENT`.
pub(super) fn pad(w: &mut Writer) {
    let rest = w.len() % ALIGNMENT;
    if rest != 0 {
        w.raw(&[0; ALIGNMENT][rest..]);
    }
}

/// Ascending numbers as (gap to the last one's successor, length) of each run.
fn encode_runs(rows: &[u32], w: &mut Writer) {
    let mut expected = 0;
    let mut runs = Vec::new();
    for &row in rows {
        match runs.last_mut() {
            Some((_, length)) if row == expected => *length += 1,
            _ => runs.push((row - expected, 1_u32)),
        }
        expected = row + 1;
    }
    w.varint(runs.len() as u64);
    for (gap, length) in runs {
        w.varint(gap.into()).varint(length.into());
    }
}

/// `count` numbers, neither more nor fewer.
fn decode_runs(r: &mut Reader<'_>, count: usize) -> Result<Vec<u32>, DecodeError> {
    let runs = r.count(2)?;
    let mut rows = Vec::with_capacity(count);
    let mut next = 0_u32;
    for _ in 0..runs {
        let gap = r.varint_u32("gap between rows")?;
        let length = r.varint_u32("run of rows")?;
        let start = next.checked_add(gap).ok_or_else(|| r.invalid("gap", gap.into()))?;
        let end = start.checked_add(length).ok_or_else(|| r.invalid("run", length.into()))?;
        if length as usize > count - rows.len() {
            return Err(r.invalid("run of rows", length.into()));
        }
        rows.extend(start..end);
        next = end;
    }
    if rows.len() == count { Ok(rows) } else { Err(r.invalid("number of rows", rows.len() as u64)) }
}

fn encode_differences(values: impl Iterator<Item = u64>, w: &mut Writer) {
    let mut last = 0_u64;
    for value in values {
        w.zigzag(value.wrapping_sub(last) as i64);
        last = value;
    }
}

fn decode_differences(r: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    let mut last = 0_u64;
    (0..count)
        .map(|_| {
            last = last.wrapping_add(r.zigzag()? as u64);
            Ok(last)
        })
        .collect()
}
