//! Reads a checkpoint back.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use glaredb_catalog::Catalog;
use glaredb_txn::ids::{DatabaseId, SegmentId};

use super::{
    CheckpointError,
    envelope::{self, Kind},
    manifest::{ChunkReference, Manifest, Section, TableManifest},
    section::{ChunkFate, ChunkRows, SectionError, decode_fates},
};
use crate::storage::{
    objects::{ObjectName, Objects},
    schema::TableSchema,
    state::{ChunkImage, StateImage, TableImage},
};

/// The manifest with this name.
pub fn read_manifest(
    objects: &dyn Objects,
    database: DatabaseId,
    name: &ObjectName,
) -> Result<Manifest, CheckpointError> {
    Manifest::decode(name, database, &objects.get(name)?)
}

/// Everything `manifest` names, checked. `on_bytes` hears of each object that was read.
pub fn load(
    objects: &dyn Objects,
    database: DatabaseId,
    name: &ObjectName,
    manifest: &Manifest,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<StateImage, CheckpointError> {
    let catalog = Catalog::decode(&manifest.catalog).map_err(|e| CheckpointError::Corrupt {
        name: name.to_string(),
        reason: format!("catalog: {e}"),
    })?;
    let mut bodies = Vec::with_capacity(manifest.objects.len());
    for index in 0..manifest.objects.len() {
        bodies.push(read_object(objects, database, manifest, index)?);
        on_bytes(manifest.objects[index].size);
    }
    let sections = Sections { manifest, bodies };
    let mut tables = Vec::with_capacity(manifest.tables.len());
    for table in &manifest.tables {
        let Some(descriptor) = catalog.table_by_storage(table.table) else {
            return Err(CheckpointError::Corrupt {
                name: name.to_string(),
                reason: format!("the catalog has no table whose rows are in {}", table.table),
            });
        };
        let schema = TableSchema::from_descriptor(descriptor)
            .map_err(|e| CheckpointError::Invalid(e.to_string()))?;
        tables.push(sections.table(table, Arc::new(schema))?);
    }
    Ok(StateImage {
        catalog: Arc::new(catalog),
        position: manifest.at,
        timestamp: manifest.timestamp,
        horizon: manifest.horizon,
        next_segment: manifest.next_segment,
        tables,
        open_commits: manifest.open_parts.clone(),
        jobs: manifest.jobs.clone(),
    })
}

/// The bytes of an object that `manifest` names, of which everything is checked but the sections'
/// insides. Offsets of sections count from its first byte.
pub(super) fn read_object(
    objects: &dyn Objects,
    database: DatabaseId,
    manifest: &Manifest,
    index: usize,
) -> Result<Bytes, CheckpointError> {
    let reference = &manifest.objects[index];
    let name = &reference.name;
    let body = objects.get(name)?;
    let crc = envelope::open(name, Kind::Sections, database, &body)?.crc;
    if (body.len() as u64, crc) != (reference.size, reference.crc) {
        return Err(CheckpointError::Corrupt {
            name: name.to_string(),
            reason: format!(
                "{} bytes with CRC32C {crc:08x}, the manifest says {} and {:08x}",
                body.len(),
                reference.size,
                reference.crc
            ),
        });
    }
    Ok(body)
}

struct Sections<'a> {
    manifest: &'a Manifest,
    bodies: Vec<Bytes>,
}

impl Sections<'_> {
    fn bytes(&self, section: &Section) -> Bytes {
        // `Manifest::check` has compared with the sizes, `read_object` the sizes with the bodies.
        let start = section.offset as usize;
        self.bodies[section.object as usize].slice(start..start + section.length as usize)
    }

    fn corrupt(&self, section: &Section, what: &str, error: &SectionError) -> CheckpointError {
        CheckpointError::Corrupt {
            name: self.manifest.objects[section.object as usize].name.to_string(),
            reason: format!("{what}, at byte {}: {error}", section.offset),
        }
    }

    fn table(
        &self,
        table: &TableManifest,
        schema: Arc<TableSchema>,
    ) -> Result<TableImage, CheckpointError> {
        let mut fates: HashMap<SegmentId, ChunkFate> = match &table.deletions {
            None => HashMap::new(),
            Some(section) => decode_fates(&self.bytes(section))
                .map_err(|e| self.corrupt(section, &format!("deletions of {}", table.table), &e))?
                .into_iter()
                .map(|fate| (fate.segment, fate))
                .collect(),
        };
        let mut chunks = Vec::with_capacity(table.chunks.len());
        for chunk in &table.chunks {
            let fate = fates.remove(&chunk.segment);
            let image = self.chunk(chunk, fate, &schema).map_err(|e| {
                self.corrupt(&chunk.section, &format!("{} of {}", chunk.segment, table.table), &e)
            })?;
            chunks.push(image);
        }
        Ok(TableImage {
            table: table.table,
            schema,
            next_row_id: table.next_row_id,
            state_hash: table.state_hash,
            rows_live: table.rows_live,
            chunks,
            segments: table.segments.clone(),
        })
    }

    fn chunk(
        &self,
        chunk: &ChunkReference,
        fate: Option<ChunkFate>,
        schema: &TableSchema,
    ) -> Result<ChunkImage, SectionError> {
        let rows = ChunkRows::decode(&self.bytes(&chunk.section), schema.arrow())?;
        let block = rows.into_block(fate)?;
        Ok(ChunkImage::loaded(chunk.segment, chunk.sealed, chunk.rows_placed, vec![block]))
    }
}
