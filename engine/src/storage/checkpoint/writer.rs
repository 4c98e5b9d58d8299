//! Writes an image of the state as objects, one small step at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use glaredb_txn::{
    codec::Writer,
    ids::{DatabaseId, EntryIndex, SegmentId, Term},
};

use super::{
    CheckpointError, Current, PREFIX,
    envelope::{self, Kind},
    fault,
    manifest::{ChunkReference, Manifest, ObjectReference, Section, TableManifest},
    section::{ChunkFate, ChunkRows, encode_fates, pad},
};
use crate::storage::{
    objects::{ObjectName, Objects},
    state::{StateImage, TableImage},
};

/// Sections are gathered into an object until it is this large.
const OBJECT_BYTES: usize = 8 << 20;

/// A sealed chunk of which less than one in this many rows written is left is written anew.
const REWRITE_BELOW: u32 = 3;

/// What a checkpoint is made from.
pub struct CheckpointInputs {
    pub database: DatabaseId,
    pub number: u64,
    pub term: Term,
    /// The state at Q.
    pub image: StateImage,
    /// Commit ids remembered at Q, encoded.
    pub commit_ids: Bytes,
    /// The current checkpoint, whose sealed chunks are referred to.
    pub previous: Option<Arc<Current>>,
    /// Distinguishes this attempt's objects from those of any other attempt.
    pub random: u64,
}

/// What a step did.
#[derive(Debug)]
pub enum Step {
    /// There is more to do.
    More,
    /// All objects and the manifest are durable; the pointer may be moved to the manifest.
    Written { name: ObjectName, manifest: Box<Manifest>, bytes: u64 },
}

/// A checkpoint being written. Nothing refers to its objects before the pointer is moved, so it may
/// be dropped at any time; what it wrote is swept later.
pub struct CheckpointWriter {
    inputs: CheckpointInputs,
    work: VecDeque<Work>,
    tables: Vec<TableManifest>,
    fates: Vec<Vec<ChunkFate>>,
    objects: Vec<ObjectReference>,
    /// Objects of the previous checkpoint that are referred to, by their index there.
    adopted: HashMap<u32, u32>,
    open: OpenObject,
    bytes_written: u64,
}

/// One step's worth.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Chunk `chunk` of table `table`, by index in the image.
    Chunk {
        table: usize,
        chunk: usize,
    },
    /// Sealed chunks end, open ones begin: they live less long, so they share no object.
    EndObject,
    /// Deletions of the table.
    Fates {
        table: usize,
    },
    Manifest,
}

/// Sections of an object that is not put yet.
struct OpenObject {
    content: Option<Writer>,
    sealed: bool,
}

impl CheckpointWriter {
    /// Only tables that the catalog at Q names are written: dropped ones can only be read by
    /// snapshots from before Q, which end with the process.
    #[must_use]
    pub fn new(mut inputs: CheckpointInputs) -> Self {
        let catalog = Arc::clone(&inputs.image.catalog);
        inputs.image.tables.retain(|table| catalog.table_by_storage(table.table).is_some());
        let tables = inputs.image.tables.iter();
        let chunks = |sealed: bool| {
            tables.clone().enumerate().flat_map(move |(table, image)| {
                let chunks = image.chunks.iter().enumerate();
                chunks
                    .filter(move |(_, c)| c.sealed == sealed)
                    .map(move |(chunk, _)| Work::Chunk { table, chunk })
            })
        };
        let mut work: VecDeque<Work> = chunks(true).collect();
        work.push_back(Work::EndObject);
        work.extend(chunks(false));
        work.extend((0..inputs.image.tables.len()).map(|table| Work::Fates { table }));
        work.push_back(Work::EndObject);
        work.push_back(Work::Manifest);
        Self {
            tables: tables.clone().map(empty_table).collect(),
            fates: tables.map(|_| Vec::new()).collect(),
            work,
            inputs,
            objects: Vec::new(),
            adopted: HashMap::new(),
            open: OpenObject { content: None, sealed: true },
            bytes_written: 0,
        }
    }

    /// Does a little: at most one chunk is encoded, at most one object put.
    pub fn step(&mut self, objects: &dyn Objects) -> Result<Step, CheckpointError> {
        match self.work.pop_front().expect("nothing is asked for after `Written`") {
            Work::Chunk { table, chunk } => self.chunk(objects, table, chunk)?,
            Work::EndObject => {
                self.put_open(objects)?;
                self.open.sealed = false;
            }
            Work::Fates { table } => self.fates(objects, table)?,
            Work::Manifest => return self.manifest(objects),
        }
        Ok(Step::More)
    }

    fn chunk(
        &mut self,
        objects: &dyn Objects,
        table: usize,
        chunk: usize,
    ) -> Result<(), CheckpointError> {
        let image = &mut self.inputs.image.tables[table].chunks[chunk];
        let (segment, sealed, rows_placed) = (image.segment, image.sealed, image.rows_placed);
        // Taken out: what is written need not be kept in memory by the checkpoint.
        let blocks = image.take_blocks();
        let present: u32 = blocks.iter().map(|b| b.rows.len() as u32).sum();
        let reused = if sealed { self.reuse(segment, present) } else { None };
        let reference = match reused {
            Some(reference) => reference,
            None => {
                let schema = self.inputs.image.tables[table].schema.arrow();
                let rows = ChunkRows::of(&blocks, schema).map_err(|e| invalid(segment, &e))?;
                let section = self.section(|w| rows.encode(w).map_err(|e| invalid(segment, &e)))?;
                ChunkReference { segment, sealed, rows_placed, rows_written: present, section }
            }
        };
        let rows = || blocks.iter().flat_map(|b| b.rows.iter().copied());
        let fate = ChunkFate {
            segment,
            present: (present < reference.rows_written).then(|| rows().collect()),
            deletions: blocks.iter().flat_map(|b| b.deletions.iter().copied()).collect(),
        };
        if fate.present.is_some() || !fate.deletions.is_empty() {
            self.fates[table].push(fate);
        }
        self.tables[table].chunks.push(reference);
        self.put_full(objects)
    }

    /// The section that the previous checkpoint has of this sealed chunk, if it is still worth it.
    fn reuse(&mut self, segment: SegmentId, present: u32) -> Option<ChunkReference> {
        let previous = Arc::clone(self.inputs.previous.as_ref()?);
        let previous = &previous.manifest;
        let old = previous.sealed_chunk(segment)?;
        if present < old.rows_written / REWRITE_BELOW {
            return None;
        }
        let object = *self.adopted.entry(old.section.object).or_insert_with(|| {
            self.objects.push(previous.objects[old.section.object as usize].clone());
            self.objects.len() as u32 - 1
        });
        Some(ChunkReference { section: Section { object, ..old.section }, ..*old })
    }

    fn fates(&mut self, objects: &dyn Objects, table: usize) -> Result<(), CheckpointError> {
        self.tables[table].chunks.sort_by_key(|c| c.segment);
        let fates = std::mem::take(&mut self.fates[table]);
        if !fates.is_empty() {
            let section = self.section(|w| {
                encode_fates(&fates, w);
                Ok(())
            })?;
            self.tables[table].deletions = Some(section);
        }
        self.put_full(objects)
    }

    /// Appends a section to the open object.
    fn section(
        &mut self,
        encode: impl FnOnce(&mut Writer) -> Result<(), CheckpointError>,
    ) -> Result<Section, CheckpointError> {
        let database = self.inputs.database;
        let w = self.open.content.get_or_insert_with(|| envelope::begin(Kind::Sections, database));
        pad(w);
        let offset = w.len() as u64;
        encode(w)?;
        // The object gets its number when it is put: none is adopted in between with this number.
        let object = OPEN_OBJECT;
        Ok(Section { object, offset, length: w.len() as u64 - offset })
    }

    fn put_full(&mut self, objects: &dyn Objects) -> Result<(), CheckpointError> {
        let full = self.open.content.as_ref().is_some_and(|w| w.len() >= OBJECT_BYTES);
        if full { self.put_open(objects) } else { Ok(()) }
    }

    fn put_open(&mut self, objects: &dyn Objects) -> Result<(), CheckpointError> {
        let Some(content) = self.open.content.take() else { return Ok(()) };
        let (body, crc) = envelope::finish(content);
        let kind = if self.open.sealed { "sealed" } else { "open" };
        let number = self.objects.len() as u32;
        let name = self.name(&format!("{kind}-{number}"))?;
        fault("checkpoint::object::before")?;
        objects.put(&name, &body)?;
        fault("checkpoint::object::after")?;
        self.bytes_written += body.len() as u64;
        self.objects.push(ObjectReference { name, size: body.len() as u64, crc });
        for table in &mut self.tables {
            let chunks = table.chunks.iter_mut().map(|c| &mut c.section);
            for section in chunks.chain(table.deletions.as_mut()) {
                if section.object == OPEN_OBJECT {
                    section.object = number;
                }
            }
        }
        Ok(())
    }

    fn manifest(&mut self, objects: &dyn Objects) -> Result<Step, CheckpointError> {
        let image = &self.inputs.image;
        let oldest_part = image.open_commits.iter().map(|(_, first)| first.index).min();
        let manifest = Manifest {
            number: self.inputs.number,
            at: image.position,
            timestamp: image.timestamp,
            term: self.inputs.term,
            replay_from: oldest_part.unwrap_or(EntryIndex::MAX).min(image.position.index),
            open_parts: image.open_commits.clone(),
            horizon: image.horizon,
            next_segment: image.next_segment,
            catalog: image.catalog.encode(),
            commit_ids: self.inputs.commit_ids.clone(),
            objects: std::mem::take(&mut self.objects),
            tables: std::mem::take(&mut self.tables),
            jobs: image.jobs.clone(),
        };
        let name = self.name("manifest")?;
        let body = manifest.encode(self.inputs.database);
        fault("checkpoint::manifest::before")?;
        objects.put(&name, &body)?;
        fault("checkpoint::manifest::after")?;
        self.bytes_written += body.len() as u64;
        Ok(Step::Written { name, manifest: Box::new(manifest), bytes: self.bytes_written })
    }

    fn name(&self, suffix: &str) -> Result<ObjectName, CheckpointError> {
        let (at, random) = (self.inputs.image.position.index.0, self.inputs.random);
        Ok(ObjectName::new(format!("{PREFIX}{at:016x}-{random:016x}-{suffix}"))?)
    }
}

/// `Section::object` of sections in the object that is not put yet.
const OPEN_OBJECT: u32 = u32::MAX;

fn empty_table(image: &TableImage) -> TableManifest {
    TableManifest {
        table: image.table,
        next_row_id: image.next_row_id,
        state_hash: image.state_hash,
        rows_live: image.rows_live,
        chunks: Vec::with_capacity(image.chunks.len()),
        segments: image.segments.clone(),
        deletions: None,
    }
}

fn invalid(segment: SegmentId, error: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Invalid(format!("chunk {segment}: {error}"))
}
