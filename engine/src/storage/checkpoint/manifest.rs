//! The manifest: what a checkpoint is made of.

use std::{collections::BTreeMap, iter::Peekable};

use bytes::Bytes;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{
        CommitId, DatabaseId, EntryIndex, JobId, LogId, Position, RowId, SegmentId, TableId, Term,
        Timestamp,
    },
};
use roaring::RoaringBitmap;

use super::{CheckpointError, envelope};
use crate::storage::{
    objects::ObjectName,
    remap::NewPlace,
    state::{OpenJob, SegmentImage},
};

/// The whole database at position `at`, as a list of what to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Counts the checkpoints of a database.
    pub number: u64,
    /// Q: everything up to and including this position is in the checkpoint.
    pub at: Position,
    /// Timestamp of the record at Q.
    pub timestamp: Timestamp,
    /// Term under which the checkpoint was written.
    pub term: Term,
    /// Oldest entry that recovery reads: Q's (records after Q may be in it), or an older one if a
    /// part of a commit that was open at Q is there.
    pub replay_from: EntryIndex,
    /// Commits of which parts, but no commit record, were in the log at Q, with their first part.
    pub open_parts: Vec<(CommitId, Position)>,
    /// Versions that ended before this were dropped.
    pub horizon: Timestamp,
    pub next_segment: SegmentId,
    /// The catalog at Q, encoded by the catalog.
    pub catalog: Bytes,
    /// Commit ids remembered at Q, encoded by the commit pipeline.
    pub commit_ids: Bytes,
    pub objects: Vec<ObjectReference>,
    pub tables: Vec<TableManifest>,
    /// Begun and not over at Q.
    pub jobs: BTreeMap<JobId, OpenJob>,
}

/// An object that the checkpoint needs. `crc` is that of the object's last four bytes, so that an
/// object swapped for another valid one is noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectReference {
    pub name: ObjectName,
    pub size: u64,
    pub crc: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableManifest {
    pub table: TableId,
    pub next_row_id: RowId,
    /// What `state_hash` said of the table at Q; loading computes it again and compares.
    pub state_hash: u64,
    /// Rows alive at Q.
    pub rows_live: u64,
    /// In order of segment.
    pub chunks: Vec<ChunkReference>,
    /// In order of segment.
    pub segments: Vec<SegmentImage>,
    /// Where the deletions of the chunks are; `None`: there are none.
    pub deletions: Option<Section>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkReference {
    pub segment: SegmentId,
    /// A sealed chunk never grows again: a later checkpoint refers to the same section.
    pub sealed: bool,
    /// Rows ever placed in it: the next row number of an open chunk.
    pub rows_placed: u32,
    /// Rows in the section. Fewer may be left of them at Q: the deletions say which are gone.
    pub rows_written: u32,
    pub section: Section,
}

/// Bytes of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Index into `Manifest::objects`.
    pub object: u32,
    pub offset: u64,
    pub length: u64,
}

impl Manifest {
    /// The manifest as an object.
    pub(super) fn encode(&self, database: DatabaseId) -> Bytes {
        let mut w = envelope::begin(envelope::Kind::Manifest, database);
        w.varint(self.number).varint(self.at.log.0.into()).varint(self.at.index.0);
        w.varint(self.at.ordinal.into()).u64(self.timestamp.0).varint(self.term.0);
        w.varint(self.replay_from.0).u64(self.horizon.0).varint(self.next_segment.0);
        w.varint(self.open_parts.len() as u64);
        for (id, first) in &self.open_parts {
            w.varint(id.term.0).u64(id.start).varint(id.number);
            w.varint(first.index.0).varint(first.ordinal.into());
        }
        w.bytes(&self.catalog).bytes(&self.commit_ids);
        w.varint(self.objects.len() as u64);
        for object in &self.objects {
            w.str(object.name.as_str()).varint(object.size).u32(object.crc);
        }
        w.varint(self.tables.len() as u64);
        for table in &self.tables {
            table.encode(&mut w);
        }
        w.varint(self.jobs.len() as u64);
        for (id, job) in &self.jobs {
            put_job(*id, job, &mut w);
        }
        envelope::finish(w).0
    }

    /// The manifest that object `name` holds.
    pub(super) fn decode(
        name: &ObjectName,
        database: DatabaseId,
        object: &Bytes,
    ) -> Result<Self, CheckpointError> {
        let opened = envelope::open(name, envelope::Kind::Manifest, database, object)?;
        let corrupt = |reason: String| CheckpointError::Corrupt { name: name.to_string(), reason };
        let manifest =
            Self::decode_body(&opened.body, opened.version).map_err(|e| corrupt(e.to_string()))?;
        manifest.check().map_err(corrupt)?;
        Ok(manifest)
    }

    fn decode_body(body: &Bytes, version: u32) -> Result<Self, DecodeError> {
        let mut r = Reader::of(body);
        let number = r.varint()?;
        let log = LogId(r.varint_u32("log id")?);
        let index = EntryIndex(r.varint()?);
        let ordinal = r.varint_u32("ordinal")?;
        let timestamp = Timestamp(r.u64()?);
        let term = Term(r.varint()?);
        let replay_from = EntryIndex(r.varint()?);
        let horizon = Timestamp(r.u64()?);
        let next_segment = SegmentId(r.varint()?);
        let open_parts = list(&mut r, 12, |r| {
            let id = CommitId { term: Term(r.varint()?), start: r.u64()?, number: r.varint()? };
            let first = EntryIndex(r.varint()?);
            Ok((id, Position::new(log, first, r.varint_u32("ordinal")?)))
        })?;
        let catalog = r.shared()?;
        let commit_ids = r.shared()?;
        let objects = list(&mut r, 6, |r| {
            let text = r.str()?;
            let name = ObjectName::new(text)
                .map_err(|_| r.invalid("object name of so many bytes", text.len() as u64))?;
            Ok(ObjectReference { name, size: r.varint()?, crc: r.u32()? })
        })?;
        let tables = list(&mut r, 12, |r| TableManifest::decode(r, version))?;
        let jobs = if version < 2 { Vec::new() } else { list(&mut r, 11, get_job)? };
        r.finish()?;
        Ok(Self {
            number,
            at: Position::new(log, index, ordinal),
            timestamp,
            term,
            replay_from,
            open_parts,
            horizon,
            next_segment,
            catalog,
            commit_ids,
            objects,
            tables,
            jobs: jobs.into_iter().collect(),
        })
    }

    /// What decodes may still contradict itself: every section lies within an object that is named.
    fn check(&self) -> Result<(), String> {
        let chunks = self.tables.iter().flat_map(|t| t.chunks.iter().map(|c| &c.section));
        let deletions = self.tables.iter().filter_map(|t| t.deletions.as_ref());
        for section in chunks.chain(deletions) {
            let fits = self.objects.get(section.object as usize).is_some_and(|object| {
                section.offset.checked_add(section.length).is_some_and(|end| end <= object.size)
            });
            if !fits {
                return Err(format!("{section:?} lies in none of its objects"));
            }
        }
        if self.replay_from > self.at.index {
            return Err(format!("replay from {} skips {}", self.replay_from, self.at));
        }
        Ok(())
    }

    /// The section of a chunk that was sealed at Q.
    pub(super) fn sealed_chunk(&self, segment: SegmentId) -> Option<&ChunkReference> {
        self.tables.iter().find_map(|table| {
            let index = table.chunks.binary_search_by_key(&segment, |c| c.segment).ok()?;
            Some(&table.chunks[index]).filter(|chunk| chunk.sealed)
        })
    }

    /// Rows alive at Q.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|t| t.rows_live).sum()
    }

    /// Bytes of all objects it needs, its own not counted.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|o| o.size).sum()
    }
}

impl TableManifest {
    fn encode(&self, w: &mut Writer) {
        w.varint(self.table.0.into()).varint(self.next_row_id.0).u64(self.state_hash);
        w.varint(self.rows_live).varint(self.chunks.len() as u64);
        for chunk in &self.chunks {
            w.varint(chunk.segment.0).bool(chunk.sealed).varint(chunk.rows_placed.into());
            w.varint(chunk.rows_written.into());
            chunk.section.encode(w);
        }
        w.varint(self.segments.len() as u64);
        for segment in &self.segments {
            put_segment(segment, w);
        }
        w.bool(self.deletions.is_some());
        if let Some(section) = &self.deletions {
            section.encode(w);
        }
    }

    fn decode(r: &mut Reader<'_>, version: u32) -> Result<Self, DecodeError> {
        Ok(Self {
            table: TableId(r.varint_u32("table id")?),
            next_row_id: RowId(r.varint()?),
            state_hash: r.u64()?,
            rows_live: r.varint()?,
            chunks: list(r, 7, |r| {
                Ok(ChunkReference {
                    segment: SegmentId(r.varint()?),
                    sealed: r.bool()?,
                    rows_placed: r.varint_u32("number of rows")?,
                    rows_written: r.varint_u32("number of rows")?,
                    section: Section::decode(r)?,
                })
            })?,
            segments: if version < 2 { Vec::new() } else { list(r, 14, get_segment)? },
            deletions: if r.bool()? { Some(Section::decode(r)?) } else { None },
        })
    }
}

impl Section {
    fn encode(&self, w: &mut Writer) {
        w.varint(self.object.into()).varint(self.offset).varint(self.length);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            object: r.varint_u32("object number")?,
            offset: r.varint()?,
            length: r.varint()?,
        })
    }
}

fn put_segment(segment: &SegmentImage, w: &mut Writer) {
    w.varint(segment.segment.0).varint(segment.rows.into()).u64(segment.fingerprint);
    w.bytes(&segment.meta);
    let mut settled = Vec::with_capacity(segment.settled.serialized_size());
    segment.settled.serialize_into(&mut settled).expect("a vector takes all that is written");
    let bulk: u64 = segment.bulk.iter().map(|(_, rows)| rows.len()).sum();
    w.bytes(&settled).varint(segment.recent.len() as u64 + bulk);
    let (mut last, mut last_at) = (0, 0);
    for (row, at) in in_order(segment) {
        w.varint((row - last).into()).zigzag(at.0.wrapping_sub(last_at) as i64);
        (last, last_at) = (row, at.0);
    }
}

fn get_segment(r: &mut Reader<'_>) -> Result<SegmentImage, DecodeError> {
    let segment = SegmentId(r.varint()?);
    let rows = r.varint_u32("number of rows")?;
    let fingerprint = r.u64()?;
    let meta = Bytes::copy_from_slice(r.bytes()?);
    let bitmap = r.bytes()?;
    let settled = RoaringBitmap::deserialize_from(bitmap)
        .ok()
        .filter(|settled| settled.max().is_none_or(|row| row < rows))
        .ok_or_else(|| r.invalid("bitmap of so many bytes", bitmap.len() as u64))?;
    let (mut last, mut last_at) = (None::<u32>, 0_u64);
    let recent = list(r, 2, |r| {
        let distance = r.varint_u32("row")?;
        let row = last.unwrap_or(0).checked_add(distance);
        let row = row.filter(|row| *row < rows && last.is_none_or(|last| *row > last));
        let row = row.filter(|row| !settled.contains(*row));
        let row = row.ok_or_else(|| r.invalid("row", distance.into()))?;
        last_at = last_at.wrapping_add(r.zigzag()? as u64);
        last = Some(row);
        Ok((row, Timestamp(last_at)))
    })?;
    Ok(SegmentImage { segment, rows, fingerprint, meta, settled, recent, bulk: Vec::new() })
}

type Deletions<'a> = Box<dyn Iterator<Item = (u32, Timestamp)> + 'a>;

/// Deletions that keep their timestamps, by row.
fn in_order(segment: &SegmentImage) -> impl Iterator<Item = (u32, Timestamp)> {
    let recent: Deletions<'_> = Box::new(segment.recent.iter().copied());
    let bulk = segment.bulk.iter().map(|(at, rows)| {
        let rows: Deletions<'_> = Box::new(rows.iter().map(|row| (row, *at)));
        rows
    });
    let sources = std::iter::once(recent).chain(bulk).map(Iterator::peekable);
    let mut sources: Vec<Peekable<Deletions<'_>>> = sources.collect();
    std::iter::from_fn(move || {
        let with_row = sources.iter_mut().filter_map(|source| {
            let row = source.peek()?.0;
            Some((row, source))
        });
        with_row.min_by_key(|(row, _)| *row).and_then(|(_, source)| source.next())
    })
}

fn put_job(id: JobId, job: &OpenJob, w: &mut Writer) {
    w.u64(id.0).varint(job.table.0.into()).varint(job.inputs.len() as u64);
    for input in &job.inputs {
        w.varint(input.0);
    }
    w.varint(job.deletions.len() as u64);
    for (place, at) in &job.deletions {
        w.varint(place.segment.into()).varint(place.row.into()).u64(at.0);
    }
}

fn get_job(r: &mut Reader<'_>) -> Result<(JobId, OpenJob), DecodeError> {
    let id = JobId(r.u64()?);
    let table = TableId(r.varint_u32("table id")?);
    let inputs = list(r, 1, |r| Ok(SegmentId(r.varint()?)))?;
    let deletions = list(r, 10, |r| {
        let place = NewPlace { segment: r.varint_u32("segment")?, row: r.varint_u32("row")? };
        Ok((place, Timestamp(r.u64()?)))
    })?;
    Ok((id, OpenJob { table, inputs, deletions, renewed: Timestamp::ZERO }))
}

/// A counted list whose items take at least `item_bytes_min` each.
fn list<T>(
    r: &mut Reader<'_>,
    item_bytes_min: usize,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = r.count(item_bytes_min)?;
    (0..count).map(|_| item(r)).collect()
}
