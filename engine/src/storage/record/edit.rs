//! Records of jobs: what writes segments in place of other sources of rows (`docs/flush.md`).

use bytes::Bytes;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{JobId, SegmentId, TableId, Timestamp},
};

use crate::storage::{remap::NewPlace, segment::SegmentMeta};

/// A job begins: nobody else rewrites its inputs, and objects may be written under its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobBegin {
    pub table: TableId,
    /// Sealed chunks and segments, ascending.
    pub inputs: Vec<SegmentId>,
}

/// The end of a job that did its work: its inputs go, what it wrote comes.
///
/// The request that a job sends and the record differ: placement gives the segments their ids and adds
/// the deletions that arrived since `as_of`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    pub job: JobId,
    pub table: TableId,
    /// Deletions at or before it were read by the job, later ones are remembered by placement.
    pub as_of: Timestamp,
    /// The job's inputs.
    pub removed: Vec<SegmentId>,
    pub added: Vec<AddedSegment>,
    /// Rows of added segments that are deleted already, ascending by place: those that no
    /// [`JobDeletions`] said.
    pub deletions: Vec<(NewPlace, Timestamp)>,
}

/// A segment that an edit adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddedSegment {
    /// 0 in the request.
    pub segment: SegmentId,
    /// At least one.
    pub rows: u32,
    /// Of the object's contents: what the table's state hash says of the segment.
    pub fingerprint: u64,
    /// What readers need to know of the object before they ask for it.
    pub meta: Bytes,
}

/// Deletions of rows that a job writes, ahead of its edit, which holds only what came last: so that no
/// record of a job grows with what happens beside it.
///
/// The request holds those that the job read; placement adds those that it remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobDeletions {
    pub job: JobId,
    /// Ascending by place, each row once in all records of the job.
    pub deletions: Vec<(NewPlace, Timestamp)>,
}

impl JobDeletions {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(self.job.0);
        put_places(out, &self.deletions);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { job: JobId(input.u64()?), deletions: get_places(input)? })
    }
}

impl JobBegin {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(self.table.0.into());
        put_segments(out, &self.inputs);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(input.varint_u32("table")?);
        Ok(Self { table, inputs: get_segments(input)? })
    }
}

impl Edit {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(self.job.0).varint(self.table.0.into()).u64(self.as_of.0);
        put_segments(out, &self.removed);
        out.varint(self.added.len() as u64);
        for added in &self.added {
            out.varint(added.segment.0).varint(added.rows.into()).u64(added.fingerprint);
            out.bytes(&added.meta);
        }
        put_places(out, &self.deletions);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let job = JobId(input.u64()?);
        let table = TableId(input.varint_u32("table")?);
        let as_of = Timestamp(input.u64()?);
        let removed = get_segments(input)?;
        let added = (0..input.count(11)?).map(|_| AddedSegment::decode(input));
        let added = added.collect::<Result<Vec<_>, _>>()?;
        let deletions = get_places(input)?;
        let of_one = |(place, _): &(NewPlace, Timestamp)| {
            added.get(place.segment as usize).is_some_and(|added| place.row < added.rows)
        };
        if let Some((place, _)) = deletions.iter().find(|place| !of_one(place)) {
            return Err(input.invalid("row", place.row.into()));
        }
        Ok(Self { job, table, as_of, removed, added, deletions })
    }
}

impl AddedSegment {
    /// `segment`: 0 where placement is to say it.
    #[must_use]
    pub fn of(segment: SegmentId, meta: &SegmentMeta) -> Self {
        let mut out = Writer::new();
        meta.encode(&mut out);
        let fingerprint = meta.tail.crc.into();
        Self { segment, rows: meta.rows, fingerprint, meta: out.into_bytes() }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let segment = SegmentId(input.varint()?);
        let rows = input.varint_u32("number of rows")?;
        if rows == 0 {
            return Err(input.invalid("number of rows", 0));
        }
        let fingerprint = input.u64()?;
        Ok(Self { segment, rows, fingerprint, meta: Bytes::copy_from_slice(input.bytes()?) })
    }
}

/// Ascending by place: rows of one segment as distances, each segment from its begin.
fn put_places(out: &mut Writer, deletions: &[(NewPlace, Timestamp)]) {
    out.varint(deletions.len() as u64);
    let (mut last, mut last_at) = (NewPlace { segment: 0, row: 0 }, 0);
    for (place, at) in deletions {
        let segments = place.segment - last.segment;
        let row = if segments == 0 { place.row - last.row } else { place.row };
        out.varint(segments.into()).varint(row.into());
        out.zigzag(at.0.wrapping_sub(last_at) as i64);
        (last, last_at) = (*place, at.0);
    }
}

/// Ascending, or an error.
fn get_places(input: &mut Reader<'_>) -> Result<Vec<(NewPlace, Timestamp)>, DecodeError> {
    let count = input.count(3)?;
    let mut deletions: Vec<(NewPlace, Timestamp)> = Vec::with_capacity(count);
    let mut last_at = 0_u64;
    for _ in 0..count {
        let last = deletions.last().map_or(NewPlace { segment: 0, row: 0 }, |(place, _)| *place);
        let segments = input.varint_u32("number of segments")?;
        let row = input.varint_u32("row")?;
        let place = match segments {
            0 => last.row.checked_add(row).map(|row| NewPlace { row, ..last }),
            _ => last.segment.checked_add(segments).map(|segment| NewPlace { segment, row }),
        };
        last_at = last_at.wrapping_add(input.zigzag()? as u64);
        let place = place.filter(|place| deletions.is_empty() || *place > last);
        let place = place.ok_or_else(|| input.invalid("row", row.into()))?;
        deletions.push((place, Timestamp(last_at)));
    }
    Ok(deletions)
}

fn put_segments(out: &mut Writer, segments: &[SegmentId]) {
    out.varint(segments.len() as u64);
    let mut last = 0;
    for segment in segments {
        out.varint(segment.0 - last);
        last = segment.0;
    }
}

/// Ascending, or an error.
fn get_segments(input: &mut Reader<'_>) -> Result<Vec<SegmentId>, DecodeError> {
    let count = input.count(1)?;
    let mut segments = Vec::with_capacity(count);
    let mut last = 0_u64;
    for _ in 0..count {
        let distance = input.varint()?;
        last = match last.checked_add(distance) {
            Some(next) if next > last => next,
            _ => return Err(input.invalid("segment after so many", distance)),
        };
        segments.push(SegmentId(last));
    }
    Ok(segments)
}
