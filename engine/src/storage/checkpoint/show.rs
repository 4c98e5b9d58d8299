//! Reads checkpoints offline, for `glaredb checkpoint show`: no log, nothing changed.

use std::fmt;

use glaredb_catalog::Catalog;
use glaredb_txn::ids::{DatabaseId, TableId};

use super::{
    CheckpointError, Manifest, PREFIX, envelope, reader,
    section::{ChunkRows, decode_fates},
};
use crate::storage::{
    objects::{ObjectName, Objects},
    schema::TableSchema,
};

/// What was found about one checkpoint.
#[derive(Debug)]
pub struct CheckpointReport {
    pub name: ObjectName,
    pub database: DatabaseId,
    pub manifest: Manifest,
    pub tables: Vec<TableReport>,
    /// Every object that it needs.
    pub objects: Vec<ObjectReport>,
}

#[derive(Debug)]
pub struct TableReport {
    pub table: TableId,
    /// `schema.name` in the catalog at Q, if it decodes.
    pub name: Option<String>,
    pub rows_live: u64,
    pub rows_written: u64,
    pub sealed_chunks: usize,
    pub open_chunks: usize,
    /// Bytes of its sections.
    pub bytes: u64,
    pub state_hash: u64,
}

#[derive(Debug)]
pub struct ObjectReport {
    pub name: ObjectName,
    pub size: u64,
    /// What is wrong with the object or a section in it.
    pub problem: Option<String>,
}

/// Every checkpoint among `objects`, newest last. Normally one; more if the process ended before
/// superseded objects were deleted. A manifest that cannot be read is an error that names it.
pub fn show(objects: &dyn Objects) -> Result<Vec<CheckpointReport>, CheckpointError> {
    let mut reports = Vec::new();
    for entry in objects.list(PREFIX)? {
        if entry.name.as_str().ends_with("-manifest") {
            reports.push(report(objects, entry.name)?);
        }
    }
    reports.sort_by_key(|report| report.manifest.at);
    Ok(reports)
}

/// Names of all objects of checkpoints, whatever they are.
pub fn list(objects: &dyn Objects) -> Result<Vec<ObjectName>, CheckpointError> {
    Ok(objects.list(PREFIX)?.into_iter().map(|entry| entry.name).collect())
}

/// A manifest, and the database that it says it is of.
pub(in crate::storage) fn open_manifest(
    objects: &dyn Objects,
    name: &ObjectName,
) -> Result<(DatabaseId, Manifest), CheckpointError> {
    let body = objects.get(name)?;
    let database = envelope::database_of(name, &body)?;
    Ok((database, Manifest::decode(name, database, &body)?))
}

fn report(objects: &dyn Objects, name: ObjectName) -> Result<CheckpointReport, CheckpointError> {
    let (database, manifest) = open_manifest(objects, &name)?;
    let catalog = Catalog::decode(&manifest.catalog).ok();
    let tables = manifest.tables.iter().map(|table| {
        let descriptor = catalog.as_ref().and_then(|c| c.table_by_storage(table.table));
        let name = descriptor.map(|t| {
            let schema = catalog.as_ref().and_then(|c| c.schema_by_oid(t.schema_oid));
            format!("{}.{}", schema.map_or("?", |s| s.name.as_str()), t.name)
        });
        let deletions = table.deletions.map_or(0, |section| section.length);
        TableReport {
            table: table.table,
            name,
            rows_live: table.rows_live,
            rows_written: table.chunks.iter().map(|c| u64::from(c.rows_written)).sum(),
            sealed_chunks: table.chunks.iter().filter(|c| c.sealed).count(),
            open_chunks: table.chunks.iter().filter(|c| !c.sealed).count(),
            bytes: table.chunks.iter().map(|c| c.section.length).sum::<u64>() + deletions,
            state_hash: table.state_hash,
        }
    });
    let tables = tables.collect();
    let checked = (0..manifest.objects.len()).map(|index| ObjectReport {
        name: manifest.objects[index].name.clone(),
        size: manifest.objects[index].size,
        problem: check_object(objects, database, &manifest, index, catalog.as_ref())
            .err()
            .map(|error| error.to_string()),
    });
    let objects = checked.collect();
    Ok(CheckpointReport { name, database, manifest, tables, objects })
}

/// Checks one object and decodes every section in it.
pub(in crate::storage) fn check_object(
    objects: &dyn Objects,
    database: DatabaseId,
    manifest: &Manifest,
    index: usize,
    catalog: Option<&Catalog>,
) -> Result<(), CheckpointError> {
    let body = reader::read_object(objects, database, manifest, index)?;
    let name = &manifest.objects[index].name;
    let corrupt = |what: String, error: &dyn fmt::Display| CheckpointError::Corrupt {
        name: name.to_string(),
        reason: format!("{what}: {error}"),
    };
    for table in &manifest.tables {
        let here = |object: u32| object as usize == index;
        let slice = |offset: u64, length: u64| {
            // Checked against the object's size with the manifest.
            body.slice(offset as usize..(offset + length) as usize)
        };
        if let Some(section) = table.deletions.filter(|s| here(s.object)) {
            decode_fates(&slice(section.offset, section.length))
                .map_err(|e| corrupt(format!("deletions of {}", table.table), &e))?;
        }
        let descriptor = catalog.and_then(|c| c.table_by_storage(table.table));
        let Some(descriptor) = descriptor else {
            return Err(corrupt(table.table.to_string(), &"the catalog does not name it"));
        };
        let schema = TableSchema::from_descriptor(descriptor)
            .map_err(|e| corrupt(table.table.to_string(), &e))?;
        for chunk in table.chunks.iter().filter(|c| here(c.section.object)) {
            ChunkRows::decode(&slice(chunk.section.offset, chunk.section.length), schema.arrow())
                .map_err(|e| corrupt(format!("{} of {}", chunk.segment, table.table), &e))?;
        }
    }
    Ok(())
}

impl CheckpointReport {
    /// Could recovery load it, as far as its objects go?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.objects.iter().all(|object| object.problem.is_none())
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.manifest;
        writeln!(f, "checkpoint {} of database {}", m.number, self.database)?;
        writeln!(f, "  manifest     {}", self.name)?;
        writeln!(f, "  position     {} at {}, term {}", m.at, m.timestamp, m.term)?;
        writeln!(f, "  replay from  {}", m.replay_from)?;
        writeln!(f, "  horizon      {}", m.horizon)?;
        writeln!(f, "  next segment {}", m.next_segment)?;
        writeln!(f, "  open commits {}", m.open_parts.len())?;
        writeln!(f, "  rows         {}", m.rows())?;
        writeln!(f, "  bytes        {}", m.bytes())?;
        writeln!(f, "tables")?;
        for t in &self.tables {
            let name = t.name.as_deref().unwrap_or("(not in the catalog)");
            writeln!(
                f,
                "  {name} ({}): {} rows alive of {} written, {} sealed and {} open chunks, \
                 {} bytes, state hash {:016x}",
                t.table,
                t.rows_live,
                t.rows_written,
                t.sealed_chunks,
                t.open_chunks,
                t.bytes,
                t.state_hash
            )?;
        }
        writeln!(f, "objects")?;
        for object in &self.objects {
            let state = object.problem.as_deref().unwrap_or("ok");
            writeln!(f, "  {} ({} bytes): {state}", object.name, object.size)?;
        }
        Ok(())
    }
}
