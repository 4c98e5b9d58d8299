//! The payloads of storage's log records. Format: `docs/formats/records-storage.md`.
//!
//! A session encodes its *changes* once. Placement does not take them apart: it reads the counts,
//! decides where the rows go and puts its decisions in front, so that a record is *placement* and
//! *changes*, and apply has nothing left to choose.

use bytes::Bytes;
use glaredb_catalog::CatalogChange;
use glaredb_txn::{
    codec::{DecodeError, Reader, Writer},
    ids::{JobId, Locator, RowId, SchemaVersion, SegmentId, TableId, Timestamp},
};
use smallvec::SmallVec;

mod bitmaps;
mod edit;
mod staged;

pub use bitmaps::write_bitmaps;
pub use edit::{AddedSegment, Edit, JobBegin, JobDeletions};
pub use staged::StagedRows;

use super::{StorageError, codec::corrupt, schema::TableSchema};

/// Version of changes, placements and control payloads.
pub const RECORD_FORMAT_VERSION: u8 = 1;

/// Most rows in one group of inserted rows: more is not written, and refused when read.
pub const GROUP_ROWS_MAX: u32 = 1 << 20;

const ROWS: u8 = 0;
const COLUMNS: u8 = 1;
const SEGMENT: u8 = 2;
/// Set beside the others where the rows bring their ids.
const KEPT_IDS: u8 = 0x80;

/// What the state machine logs for itself, through `LeaderHandle::control`. Request and record have
/// the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// No snapshot below this timestamp is read any more, nor ever will be.
    Horizon(Timestamp),
    /// The state at this record is checkpoint `number`: [`super::apply::CheckpointSink`] gets the
    /// image.
    CheckpointBegin {
        number: u64,
    },
    /// What the state was at the begin of checkpoint `number`, storage by storage: whoever applied
    /// the same records and finds otherwise must stop.
    StateHashes {
        number: u64,
        hashes: Vec<(TableId, u64)>,
    },
    /// A job begins; its id is the timestamp of this record.
    JobBegin(JobBegin),
    /// A job was given up: nothing of it will ever be part of a table.
    JobEnd(JobId),
    JobDeletions(JobDeletions),
    Edit(Edit),
    /// A chunk gets no more rows after this record.
    Seal {
        table: TableId,
        segment: SegmentId,
    },
    /// A job goes on: it is not taken for lost.
    JobRenew(JobId),
}

impl Control {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.u8(RECORD_FORMAT_VERSION);
        match self {
            Self::Horizon(at) => out.u8(1).varint(at.0),
            Self::CheckpointBegin { number } => out.u8(2).varint(*number),
            Self::StateHashes { number, hashes } => {
                out.u8(3).varint(*number).varint(hashes.len() as u64);
                for (table, hash) in hashes {
                    out.varint(table.0.into()).u64(*hash);
                }
                &mut out
            }
            Self::JobBegin(begin) => {
                begin.encode(out.u8(4));
                &mut out
            }
            Self::JobEnd(job) => out.u8(5).u64(job.0),
            Self::JobDeletions(deletions) => {
                deletions.encode(out.u8(6));
                &mut out
            }
            Self::Edit(edit) => {
                edit.encode(out.u8(7));
                &mut out
            }
            Self::Seal { table, segment } => out.u8(8).varint(table.0.into()).varint(segment.0),
            Self::JobRenew(job) => out.u8(9).u64(job.0),
        };
        out.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let err = corrupt("control record");
        let mut input = Reader::new(bytes);
        check_version(&mut input, "control record")?;
        let control = match input.u8().map_err(&err)? {
            1 => Self::Horizon(Timestamp(input.varint().map_err(&err)?)),
            2 => Self::CheckpointBegin { number: input.varint().map_err(&err)? },
            3 => Self::decode_hashes(&mut input).map_err(&err)?,
            4 => Self::JobBegin(JobBegin::decode(&mut input).map_err(&err)?),
            5 => Self::JobEnd(JobId(input.u64().map_err(&err)?)),
            6 => Self::JobDeletions(JobDeletions::decode(&mut input).map_err(&err)?),
            7 => Self::Edit(Edit::decode(&mut input).map_err(&err)?),
            8 => Self::Seal {
                table: TableId(input.varint_u32("table").map_err(&err)?),
                segment: SegmentId(input.varint().map_err(&err)?),
            },
            9 => Self::JobRenew(JobId(input.u64().map_err(&err)?)),
            other => return Err(err(input.invalid("kind of control record", other.into()))),
        };
        input.finish().map_err(&err)?;
        Ok(control)
    }

    fn decode_hashes(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = input.varint()?;
        let count = input.count(9)?;
        let hash = |_| Ok((TableId(input.varint_u32("table id")?), input.u64()?));
        let hashes = (0..count).map(hash).collect::<Result<_, _>>()?;
        Ok(Self::StateHashes { number, hashes })
    }
}

fn check_version(input: &mut Reader<'_>, what: &'static str) -> Result<(), StorageError> {
    match input.u8().map_err(corrupt(what))? {
        RECORD_FORMAT_VERSION => Ok(()),
        other => Err(StorageError::corrupt(
            what,
            format!("format version {other}, this server knows {RECORD_FORMAT_VERSION}"),
        )),
    }
}

/// What a write set, or a part of one, changes. Borrows the bytes it was decoded from.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Storages that the commit creates, in parts that fill them: the catalog does not have them yet.
    pub storages: Vec<(TableId, TableSchema)>,
    pub catalog: Option<CatalogChange>,
    pub sections: Vec<Section<'a>>,
}

/// The changes of one table.
#[derive(Debug)]
pub struct Section<'a> {
    pub table: TableId,
    pub version: SchemaVersion,
    /// One group as a rule: held without an allocation.
    pub inserts: SmallVec<[Group<'a>; 1]>,
    pub deletes: Deletes<'a>,
}

/// Inserted rows.
#[derive(Debug)]
pub struct Group<'a> {
    pub kind: GroupKind,
    pub rows: u32,
    /// Ids that updated rows keep; `None`: the rows are new. Empty for those of a segment, in which they
    /// stand.
    pub kept: Option<SmallVec<[RowId; 1]>>,
    pub data: &'a [u8],
}

/// How inserted rows come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupKind {
    /// Encoded row by row (`codec::row`).
    Rows,
    /// Encoded column by column (`codec::batch`).
    Columns,
    /// In an object: the data are [`StagedRows`]. In parts only, the only group of its section.
    Segment,
}

/// Deleted rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deletes<'a> {
    pub count: u32,
    pub kind: DeletesKind,
    pub data: &'a [u8],
}

/// What is said of deleted rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DeletesKind {
    /// Of each its place and its row id.
    #[default]
    RowIds,
    /// Of each its place and its encoded primary key.
    Keys,
    /// Their places only: a bitmap for each source ([`Deletes::bitmaps`]). In parts only.
    Bitmaps,
}

/// A deleted row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletedRow<'a> {
    pub locator: Locator,
    /// Of index 0: what a new leader's resolver needs.
    pub key: OldKey<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldKey<'a> {
    Primary(&'a [u8]),
    RowId(RowId),
}

impl<'a> Changes<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StorageError> {
        let mut input = Reader::new(bytes);
        let changes = Self::read(&mut input)?;
        input.finish().map_err(corrupt("changes"))?;
        Ok(changes)
    }

    fn read(input: &mut Reader<'a>) -> Result<Self, StorageError> {
        let err = corrupt("changes");
        check_version(input, "changes")?;
        let mut storages = Vec::new();
        for _ in 0..input.count(4).map_err(&err)? {
            let table = TableId(input.varint_u32("table").map_err(&err)?);
            storages.push((table, TableSchema::decode(input)?));
        }
        let catalog = match input.bytes().map_err(&err)? {
            [] => None,
            bytes => Some(
                CatalogChange::decode(bytes)
                    .map_err(|e| StorageError::corrupt("catalog change", e.to_string()))?,
            ),
        };
        let count = input.count(4).map_err(&err)?;
        // A count is no proof that so many come.
        let mut sections = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            sections.push(Section::read(input).map_err(&err)?);
        }
        Ok(Self { storages, catalog, sections })
    }

    /// About how much memory the rows will take: what the budget counts while the record is in the
    /// tail.
    pub fn memory_estimate(&self) -> u64 {
        let group = |g: &Group<'_>| match g.kind {
            GroupKind::Segment => g.data.len() as u64 * 2,
            GroupKind::Rows | GroupKind::Columns => {
                u64::from(g.rows) * 48 + g.data.len() as u64 * 2
            }
        };
        self.sections.iter().flat_map(|s| &s.inserts).map(group).sum()
    }
}

impl<'a> Section<'a> {
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let table = TableId(input.varint_u32("table")?);
        let version = SchemaVersion(input.varint_u32("schema version")?);
        let mut inserts = SmallVec::new();
        for _ in 0..input.count(3)? {
            inserts.push(Group::read(input)?);
        }
        let segments = inserts.iter().filter(|group: &&Group<'_>| group.kind == GroupKind::Segment);
        if segments.count() > 0 && inserts.len() > 1 {
            return Err(input.invalid("groups beside a segment", inserts.len() as u64));
        }
        let count = input.varint_u32("number of deleted rows")?;
        let deletes = match count {
            0 => Deletes::default(),
            _ => Deletes { count, kind: DeletesKind::read(input)?, data: input.bytes()? },
        };
        Ok(Self { table, version, inserts, deletes })
    }

    /// The segment that it brings; `None`: its rows are in the record.
    pub fn segment(&self) -> Option<&Group<'a>> {
        self.inserts.first().filter(|group| group.kind == GroupKind::Segment)
    }

    /// Rows inserted, and how many of them need an id.
    pub fn rows(&self) -> (u64, u64) {
        let rows = |groups: &mut dyn Iterator<Item = &Group<'_>>| {
            groups.map(|g| u64::from(g.rows)).sum::<u64>()
        };
        let new = rows(&mut self.inserts.iter().filter(|g| g.kept.is_none()));
        (rows(&mut self.inserts.iter()), new)
    }
}

impl<'a> Group<'a> {
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = input.u8()?;
        let form = match kind & !KEPT_IDS {
            ROWS => GroupKind::Rows,
            COLUMNS => GroupKind::Columns,
            SEGMENT => GroupKind::Segment,
            _ => return Err(input.invalid("kind of rows", kind.into())),
        };
        let rows = input.varint_u32("number of rows")?;
        if rows == 0 || (rows > GROUP_ROWS_MAX && form != GroupKind::Segment) {
            return Err(input.invalid("number of rows", rows.into()));
        }
        let kept = if kind & KEPT_IDS != 0 && form == GroupKind::Segment {
            Some(SmallVec::new())
        } else if kind & KEPT_IDS != 0 {
            let mut ids = SmallVec::with_capacity((rows as usize).min(input.remaining()));
            let mut last = 0_u64;
            for _ in 0..rows {
                last = last.wrapping_add(input.zigzag()? as u64);
                ids.push(RowId(last));
            }
            Some(ids)
        } else {
            None
        };
        Ok(Self { kind: form, rows, kept, data: input.bytes()? })
    }

    /// Append the group's encoding.
    pub fn write(&self, out: &mut Writer) {
        let kind = match self.kind {
            GroupKind::Rows => ROWS,
            GroupKind::Columns => COLUMNS,
            GroupKind::Segment => SEGMENT,
        };
        out.u8(kind | if self.kept.is_some() { KEPT_IDS } else { 0 }).varint(self.rows.into());
        let mut last = 0;
        for id in self.kept.iter().flatten() {
            out.zigzag(id.0.wrapping_sub(last) as i64);
            last = id.0;
        }
        out.bytes(self.data);
    }
}

impl DeletesKind {
    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::RowIds,
            1 => Self::Keys,
            2 => Self::Bitmaps,
            other => return Err(input.invalid("kind of deleted rows", other.into())),
        })
    }
}

impl<'a> Deletes<'a> {
    /// The rows in the order the session gave them; not those in [bitmaps](Self::bitmaps).
    pub fn iter(&self) -> impl Iterator<Item = Result<DeletedRow<'a>, StorageError>> + use<'a> {
        let mut input = Reader::new(self.data);
        let mut last = Locator::default();
        let (count, keyed) = match self.kind {
            DeletesKind::Bitmaps => (0, false),
            kind => (self.count, kind == DeletesKind::Keys),
        };
        let mut read = move |index: u32| {
            let segment = last.segment.0.wrapping_add(input.zigzag()? as u64);
            let row = input.varint_u32("row")?;
            last = Locator { segment: SegmentId(segment), row };
            let key = match keyed {
                true => OldKey::Primary(input.bytes()?),
                false => OldKey::RowId(RowId(input.varint()?)),
            };
            if index + 1 == count {
                input.clone().finish()?;
            }
            Ok(DeletedRow { locator: last, key })
        };
        (0..count).map(move |index| read(index).map_err(corrupt("deleted rows")))
    }

    /// Append one row's encoding; `last` is the segment of the row before, 0 at first.
    pub fn write_row(last: SegmentId, row: &DeletedRow<'_>, out: &mut Writer) {
        out.zigzag(row.locator.segment.0.wrapping_sub(last.0) as i64)
            .varint(row.locator.row.into());
        match row.key {
            OldKey::Primary(key) => out.bytes(key),
            OldKey::RowId(id) => out.varint(id.0),
        };
    }
}

/// Builds the bytes of [`Changes`], section by section.
#[derive(Debug, Default)]
pub struct ChangesWriter {
    sections: Writer,
    count: u64,
}

impl ChangesWriter {
    /// Add a section. `groups`: their count and their encodings ([`Group::write`]). `deletes`: count,
    /// whether keyed, encodings.
    pub fn section(
        &mut self,
        table: TableId,
        version: SchemaVersion,
        groups: (u64, &[u8]),
        deletes: Deletes<'_>,
    ) {
        self.count += 1;
        self.sections
            .varint(table.0.into())
            .varint(version.0.into())
            .varint(groups.0)
            .raw(groups.1)
            .varint(deletes.count.into());
        if deletes.count > 0 {
            self.sections.u8(deletes.kind as u8).bytes(deletes.data);
        }
    }

    /// The whole.
    pub fn finish<'s>(
        self,
        storages: impl ExactSizeIterator<Item = (TableId, &'s TableSchema)>,
        catalog: Option<&CatalogChange>,
    ) -> Bytes {
        let mut out = Writer::with_capacity(self.sections.len() + 64);
        out.u8(RECORD_FORMAT_VERSION).varint(storages.len() as u64);
        for (table, schema) in storages {
            out.varint(table.0.into());
            schema.encode(&mut out);
        }
        match catalog {
            Some(change) => out.bytes(&change.encode()),
            None => out.bytes(&[]),
        };
        out.varint(self.count).raw(self.sections.as_slice());
        out.into_bytes()
    }
}

/// Where the leader put the rows of a record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placed {
    /// One per section of the changes.
    pub sections: Vec<PlacedSection>,
    /// Chunks that get no row after this record.
    pub sealed: Vec<(TableId, SegmentId)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlacedSection {
    /// Id of the first new row; the others follow.
    pub first_row_id: RowId,
    /// Places of all inserted rows, in order.
    pub runs: SmallVec<[Run; 1]>,
}

/// Consecutive places in one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub first: Locator,
    pub rows: u32,
}

impl Placed {
    /// Payload of the record: this, then the changes as they came.
    pub fn encode(&self, changes: &[u8]) -> Bytes {
        let mut out = Writer::with_capacity(changes.len() + 16 + self.sections.len() * 12);
        out.u8(RECORD_FORMAT_VERSION).varint(self.sections.len() as u64);
        for section in &self.sections {
            out.varint(section.first_row_id.0).varint(section.runs.len() as u64);
            for run in &section.runs {
                out.varint(run.first.segment.0)
                    .varint(run.first.row.into())
                    .varint(run.rows.into());
            }
        }
        out.varint(self.sealed.len() as u64);
        for (table, segment) in &self.sealed {
            out.varint(table.0.into()).varint(segment.0);
        }
        out.raw(changes);
        out.into_bytes()
    }

    /// Takes a payload apart. Error also where placement and changes do not fit each other.
    pub fn decode(payload: &[u8]) -> Result<(Self, Changes<'_>), StorageError> {
        let mut input = Reader::new(payload);
        check_version(&mut input, "placement")?;
        let placed = Self::read(&mut input).map_err(corrupt("placement"))?;
        let changes = Changes::decode(input.rest())?;
        if placed.sections.len() != changes.sections.len() {
            return Err(StorageError::corrupt(
                "record",
                format!(
                    "{} sections placed, {} there",
                    placed.sections.len(),
                    changes.sections.len()
                ),
            ));
        }
        for (placed, section) in placed.sections.iter().zip(&changes.sections) {
            let places = placed.runs.iter().map(|run| u64::from(run.rows)).sum::<u64>();
            if places != section.rows().0 {
                return Err(StorageError::corrupt(
                    "record",
                    format!("{places} places for {} rows of {}", section.rows().0, section.table),
                ));
            }
        }
        Ok((placed, changes))
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut placed = Self::default();
        let count = input.count(2)?;
        placed.sections.reserve(count.min(16));
        for _ in 0..count {
            let first_row_id = RowId(input.varint()?);
            let mut runs = SmallVec::new();
            for _ in 0..input.count(3)? {
                let segment = SegmentId(input.varint()?);
                let row = input.varint_u32("row")?;
                let rows = input.varint_u32("number of rows")?;
                runs.push(Run { first: Locator { segment, row }, rows });
            }
            placed.sections.push(PlacedSection { first_row_id, runs });
        }
        for _ in 0..input.count(2)? {
            let table = TableId(input.varint_u32("table")?);
            placed.sealed.push((table, SegmentId(input.varint()?)));
        }
        Ok(placed)
    }
}
