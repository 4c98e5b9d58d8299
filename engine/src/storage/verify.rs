//! Checks all that checkpoints name, offline, for `glaredb storage verify`: nothing is changed.
//!
//! ```text
//! every manifest ─▶ its objects: there, whole, sections decode ─▶ loaded: state hashes, live rows
//!                └▶ its segments: there, every byte, rows against index, filters and description,
//!                   deletions against rows, no live row id twice
//! everything else under checkpoint/ and data/ is an orphan, unless the log names it
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::executor::block_on;
use glaredb_catalog::{
    Catalog,
    metastore::{EmbeddedMetastore, read_checkpoint},
};
use glaredb_txn::{
    codec::Reader,
    commit::record::{self, Record},
    env::{Disk, DiskError, Env},
    ids::{DatabaseId, Timestamp},
    log::dump::{Dump, Item},
};
use roaring::RoaringTreemap;

use super::{
    budget::Budget,
    checkpoint::{self, CheckpointError, Manifest, manifest::TableManifest},
    objects::{ObjectEntry, ObjectError, ObjectName, Objects},
    record::Control,
    recovery::{LOG, LOG_DIRECTORY, METASTORE_FILE, OpenError},
    rewrite,
    schema::TableSchema,
    segment::{Resident, SegmentMeta, SegmentStore, VerifiedRows},
    state::{LoadedState, SegmentImage, State},
};

/// What is told on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told<'a> {
    /// An object is looked at: the so many-th of all that are named.
    Progress { object: &'a str, done: usize, of: usize },
    /// Something is wrong.
    Finding { object: &'a str, problem: String },
    /// Nothing names it: it takes space, and nothing else.
    Orphan { object: &'a str, bytes: u64 },
}

/// What was looked at, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    pub checkpoints: usize,
    pub segments: usize,
    /// Of segments, deleted ones included.
    pub rows: u64,
    pub findings: usize,
    pub orphans: usize,
}

/// What a data directory knows of objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The manifest of the current checkpoint.
    pub checkpoint: Option<String>,
    /// Objects that edits in the log name: some are newer than the checkpoint.
    pub logged: BTreeSet<ObjectName>,
}

impl Known {
    /// Of the data directory that is the root of `env.disk`, which no server is using. What of the log
    /// cannot be read is left out: recovery says what is wrong with a log.
    pub fn read(env: &Env) -> Result<Self, OpenError> {
        let mut known = Self { checkpoint: None, logged: named_by_log(&*env.disk)? };
        if env.disk.exists(METASTORE_FILE)? {
            let metastore = EmbeddedMetastore::open(env.clone(), METASTORE_FILE)?;
            known.checkpoint = read_checkpoint(&metastore, LOG)?.map(|pointer| pointer.object);
        }
        Ok(known)
    }
}

fn named_by_log(disk: &dyn Disk) -> Result<BTreeSet<ObjectName>, DiskError> {
    let mut named = BTreeSet::new();
    if !disk.exists(LOG_DIRECTORY)? {
        return Ok(named);
    }
    let mut visit = |item: Item| -> Result<(), DiskError> {
        let Item::Frame { body, .. } = item else { return Ok(()) };
        for record in record::decode(&body).into_iter().flatten() {
            let Record::Control { payload, .. } = record else { continue };
            let Ok(Control::Edit(edit)) = Control::decode(&payload) else { continue };
            let metas =
                edit.added.iter().map(|added| SegmentMeta::decode(&mut Reader::of(&added.meta)));
            named.extend(metas.flatten().map(|meta| meta.name));
        }
        Ok(())
    };
    Dump::open(disk, LOG_DIRECTORY)?.visit(&mut visit)?;
    Ok(named)
}

/// Checks everything. Blocks for as long as that takes. Error: the objects cannot be listed.
pub fn verify(
    objects: &Arc<dyn Objects>,
    known: &Known,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Verified, ObjectError> {
    let there: BTreeMap<ObjectName, u64> =
        objects.list("")?.into_iter().map(|ObjectEntry { name, size }| (name, size)).collect();
    let is_manifest = |name: &&ObjectName| {
        name.as_str().starts_with(checkpoint::PREFIX) && name.as_str().ends_with("-manifest")
    };
    let mut all = Verification {
        objects,
        there: &there,
        named: BTreeSet::new(),
        verified: Verified::default(),
        of: there.len(),
        done: 0,
        tell,
    };
    for name in there.keys().filter(is_manifest) {
        all.verified.checkpoints += 1;
        all.look(name);
        match checkpoint::open_manifest(&**objects, name) {
            Ok((database, manifest)) => all.checkpoint(name, database, &manifest),
            Err(error) => all.find(name.as_str(), problem_of(&error)),
        }
    }
    if let Some(current) = &known.checkpoint
        && !there.keys().any(|name| name.as_str() == current)
    {
        all.find(
            current,
            "it is missing, and is the manifest of the current checkpoint".to_owned(),
        );
    }
    for (name, size) in &there {
        let is_ours =
            [checkpoint::PREFIX, rewrite::PREFIX].iter().any(|p| name.as_str().starts_with(p));
        if is_ours && !all.named.contains(name) && !known.logged.contains(name) {
            all.verified.orphans += 1;
            (all.tell)(Told::Orphan { object: name.as_str(), bytes: *size });
        }
    }
    Ok(all.verified)
}

struct Verification<'a> {
    objects: &'a Arc<dyn Objects>,
    there: &'a BTreeMap<ObjectName, u64>,
    named: BTreeSet<ObjectName>,
    verified: Verified,
    of: usize,
    done: usize,
    tell: &'a mut dyn FnMut(Told<'_>),
}

/// Without the object's name.
fn problem_of(error: &CheckpointError) -> String {
    match error {
        CheckpointError::Corrupt { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl Verification<'_> {
    fn find(&mut self, object: &str, problem: String) {
        self.verified.findings += 1;
        (self.tell)(Told::Finding { object, problem });
    }

    /// An object that is named.
    fn look(&mut self, name: &ObjectName) {
        if self.named.insert(name.clone()) {
            self.done += 1;
        }
        // Those that are missing were not among what is there.
        self.of = self.of.max(self.done);
        (self.tell)(Told::Progress { object: name.as_str(), done: self.done, of: self.of });
    }

    /// Is the object there, of the size that it should have? If not, that is told.
    fn is_there(&mut self, name: &ObjectName, size: u64) -> bool {
        self.look(name);
        match self.there.get(name).copied() {
            None => self.find(name.as_str(), "it is missing".to_owned()),
            Some(found) if found != size => {
                self.find(name.as_str(), format!("it has {found} bytes, not {size}"));
            }
            Some(_) => return true,
        }
        false
    }

    fn checkpoint(&mut self, name: &ObjectName, database: DatabaseId, manifest: &Manifest) {
        let before = self.verified.findings;
        let catalog = match Catalog::decode(&manifest.catalog) {
            Ok(catalog) => catalog,
            Err(error) => return self.find(name.as_str(), format!("its catalog: {error}")),
        };
        for (index, object) in manifest.objects.iter().enumerate() {
            if !self.is_there(&object.name, object.size) {
                continue;
            }
            let checked = checkpoint::check_object(
                &**self.objects,
                database,
                manifest,
                index,
                Some(&catalog),
            );
            if let Err(error) = checked {
                self.find(object.name.as_str(), problem_of(&error));
            }
        }
        if self.verified.findings == before {
            self.load(name, database, manifest);
        }
        for table in &manifest.tables {
            let Some(descriptor) = catalog.table_by_storage(table.table) else {
                self.find(name.as_str(), format!("its catalog does not name {}", table.table));
                continue;
            };
            match TableSchema::from_descriptor(descriptor) {
                Ok(schema) => self.table(name, database, manifest, table, &schema),
                Err(error) => self.find(name.as_str(), format!("{}: {error}", table.table)),
            }
        }
    }

    /// Does what recovery does with it.
    fn load(&mut self, name: &ObjectName, database: DatabaseId, manifest: &Manifest) {
        let image = checkpoint::load(&**self.objects, database, name, manifest, &mut |_| {});
        let state = image.map_err(|error| problem_of(&error)).and_then(|image| {
            State::load(Budget::new(u64::MAX), LoadedState { image }).map_err(|e| e.to_string())
        });
        let state = match state {
            Ok(state) => state,
            Err(problem) => return self.find(name.as_str(), problem),
        };
        for table in &manifest.tables {
            let Some(loaded) = state.table(table.table) else {
                self.find(name.as_str(), format!("{} cannot be loaded", table.table));
                continue;
            };
            let (hash, live) = (loaded.state_hash(), loaded.stats().rows_live);
            if hash != table.state_hash {
                let due = table.state_hash;
                let problem =
                    format!("the state hash of {} is {hash:016x}, not {due:016x}", table.table);
                self.find(name.as_str(), problem);
            }
            if live != table.rows_live {
                let due = table.rows_live;
                let problem = format!("{} has {live} live rows, not {due}", table.table);
                self.find(name.as_str(), problem);
            }
        }
    }

    fn table(
        &mut self,
        manifest_name: &ObjectName,
        database: DatabaseId,
        manifest: &Manifest,
        table: &TableManifest,
        schema: &TableSchema,
    ) {
        let mut live = RoaringTreemap::new();
        for segment in &table.segments {
            let meta = SegmentMeta::decode(&mut Reader::of(&segment.meta));
            let meta = match meta {
                Ok(meta) => Arc::new(meta),
                Err(error) => {
                    let problem = format!("description of {}: {error}", segment.segment);
                    self.find(manifest_name.as_str(), problem);
                    continue;
                }
            };
            let said = (meta.table, meta.rows, u64::from(meta.tail.crc));
            if said != (table.table, segment.rows, segment.fingerprint) {
                let problem = format!(
                    "{} is {} rows of {} with fingerprint {:x}, its description says {} of {} with {:x}",
                    segment.segment,
                    segment.rows,
                    table.table,
                    segment.fingerprint,
                    said.1,
                    said.0,
                    said.2
                );
                self.find(manifest_name.as_str(), problem);
            }
            let late = segment.recent.iter().find(|(_, at)| *at > manifest.timestamp);
            if let Some((row, at)) = late {
                let problem = format!(
                    "row {row} of {} is deleted at {at}, after the checkpoint at {}",
                    segment.segment, manifest.timestamp
                );
                self.find(manifest_name.as_str(), problem);
            }
            if self.is_there(&meta.name, meta.bytes) {
                self.segment(database, manifest, segment, &meta, schema, &mut live);
            }
        }
    }

    fn segment(
        &mut self,
        database: DatabaseId,
        manifest: &Manifest,
        image: &SegmentImage,
        meta: &Arc<SegmentMeta>,
        schema: &TableSchema,
        live: &mut RoaringTreemap,
    ) {
        self.verified.segments += 1;
        self.verified.rows += u64::from(meta.rows);
        let objects = Arc::clone(self.objects);
        let store = SegmentStore { objects, database, resident: Resident::new(0) };
        let mut rows =
            RowsOfSegment { image, until: manifest.timestamp, live, problems: Vec::new() };
        let problems = match block_on(store.open(image.segment, meta, schema)) {
            Ok(opened) => block_on(opened.verify(schema, &mut |group| rows.check(&group))),
            Err(super::StorageError::CorruptObject { reason, .. }) => vec![reason],
            Err(error) => vec![error.to_string()],
        };
        let of_rows = rows.problems;
        for problem in problems.into_iter().chain(of_rows) {
            self.find(meta.name.as_str(), problem);
        }
    }
}

/// Rows against what the checkpoint says of them.
struct RowsOfSegment<'a> {
    image: &'a SegmentImage,
    until: Timestamp,
    live: &'a mut RoaringTreemap,
    problems: Vec<String>,
}

impl RowsOfSegment<'_> {
    fn check(&mut self, group: &VerifiedRows<'_>) {
        let (mut twice, mut late, mut early) = (0_u64, 0_u64, 0_u64);
        for ((row, id), at) in (group.first..).zip(group.row_ids).zip(group.timestamps) {
            late += u64::from(Timestamp(*at) > self.until);
            if self.image.settled.contains(row) {
                continue;
            }
            match self.image.recent.binary_search_by_key(&row, |(row, _)| *row) {
                Ok(place) => early += u64::from(self.image.recent[place].1 < Timestamp(*at)),
                Err(_) => twice += u64::from(!self.live.insert(*id)),
            }
        }
        let first = group.first;
        for (count, what) in [
            (twice, "rows are live twice in the table"),
            (late, "rows are from after the checkpoint"),
            (early, "rows were deleted before they were there"),
        ] {
            if count > 0 {
                self.problems.push(format!("in the row group from row {first} on {count} {what}"));
            }
        }
    }
}
