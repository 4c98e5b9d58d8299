//! Which checkpoint is current, how the next one becomes it, and what is deleted then.

use std::{collections::BTreeSet, sync::Arc};

use glaredb_catalog::metastore::{
    CheckpointPointer, Leadership, read_checkpoint, write_checkpoint,
};
use glaredb_txn::{
    env::Random,
    ids::{DatabaseId, LogId, Position},
    log::wal::Wal,
};
use parking_lot::Mutex;

use super::{
    CheckpointError, CheckpointInputs, CheckpointWriter, Manifest, PREFIX, Step, fault,
    read_manifest,
};
use crate::storage::{
    objects::{ObjectName, Objects},
    record::Control,
    state::StateImage,
};

/// A complete checkpoint.
#[derive(Debug)]
pub struct Current {
    pub name: ObjectName,
    pub manifest: Manifest,
}

/// What the checkpoint-begin record left on the apply thread.
#[derive(Debug)]
pub struct Captured {
    pub number: u64,
    pub image: StateImage,
    /// `CommitIds::export` at Q.
    pub commit_ids: bytes::Bytes,
}

/// Most tables whose hashes are logged: they share one entry of at most 1 MiB.
const HASHES_MAX: usize = 50_000;

impl Captured {
    /// The record that says what the state was; `None` where it would not fit an entry.
    #[must_use]
    pub fn hashes(&self) -> Option<Control> {
        let tables = &self.image.tables;
        let hashes = || tables.iter().map(|table| (table.table, table.state_hash)).collect();
        (tables.len() <= HASHES_MAX)
            .then(|| Control::StateHashes { number: self.number, hashes: hashes() })
    }
}

/// What a checkpoint was.
#[derive(Clone, Debug)]
pub struct CheckpointSummary {
    pub at: Position,
    pub manifest: ObjectName,
    /// Written anew, and in all that the checkpoint needs.
    pub bytes_written: u64,
    pub bytes_total: u64,
    pub rows: u64,
}

/// The checkpoints of one database. One thread at a time writes a new one.
pub struct CheckpointStore {
    objects: Arc<dyn Objects>,
    leadership: Leadership,
    database: DatabaseId,
    random: Arc<dyn Random>,
    current: Mutex<Option<Arc<Current>>>,
}

/// The current checkpoint as the metastore says.
pub fn find_current(
    objects: &dyn Objects,
    metastore: &dyn glaredb_catalog::metastore::Metastore,
    database: DatabaseId,
    log: LogId,
) -> Result<Option<Current>, CheckpointError> {
    let pointer =
        read_checkpoint(metastore, log).map_err(|e| CheckpointError::Metastore(e.to_string()))?;
    let Some(pointer) = pointer else { return Ok(None) };
    let name = ObjectName::new(pointer.object)?;
    let manifest = read_manifest(objects, database, &name)?;
    if manifest.at != pointer.position {
        return Err(CheckpointError::Corrupt {
            name: name.to_string(),
            reason: format!("it is of {}, the metastore says {}", manifest.at, pointer.position),
        });
    }
    Ok(Some(Current { name, manifest }))
}

impl CheckpointStore {
    #[must_use]
    pub fn new(
        objects: Arc<dyn Objects>,
        leadership: Leadership,
        database: DatabaseId,
        random: Arc<dyn Random>,
        current: Option<Current>,
    ) -> Self {
        let current = Mutex::new(current.map(Arc::new));
        Self { objects, leadership, database, random, current }
    }

    #[must_use]
    pub fn current(&self) -> Option<Arc<Current>> {
        self.current.lock().clone()
    }

    #[must_use]
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// Number for the next checkpoint.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.current.lock().as_ref().map_or(1, |current| current.manifest.number + 1)
    }

    /// Begins to write what was captured.
    #[must_use]
    pub fn writer(&self, captured: Captured) -> CheckpointWriter {
        CheckpointWriter::new(CheckpointInputs {
            database: self.database,
            number: captured.number,
            term: self.leadership.term(),
            image: captured.image,
            commit_ids: captured.commit_ids,
            previous: self.current(),
            random: self.random.next_u64(),
        })
    }

    /// One step; installs the checkpoint after the last. `None`: there is more to do.
    pub fn step(
        &self,
        writer: &mut CheckpointWriter,
    ) -> Result<Option<CheckpointSummary>, CheckpointError> {
        match writer.step(&*self.objects)? {
            Step::More => Ok(None),
            Step::Written { name, manifest, bytes } => {
                self.install(name, *manifest, bytes).map(Some)
            }
        }
    }

    /// Moves the pointer. From here on recovery starts at the new checkpoint.
    fn install(
        &self,
        name: ObjectName,
        manifest: Manifest,
        bytes_written: u64,
    ) -> Result<CheckpointSummary, CheckpointError> {
        fault("checkpoint::pointer::before")?;
        let pointer = CheckpointPointer {
            position: manifest.at,
            timestamp: manifest.timestamp,
            object: name.to_string(),
        };
        let failed = |e: &dyn std::fmt::Display| CheckpointError::Metastore(e.to_string());
        let stored = match write_checkpoint(&self.leadership, &pointer) {
            Ok(stored) => stored,
            // Whether it was stored nobody said: what is stored now counts.
            Err(error) => match read_checkpoint(self.leadership.metastore(), manifest.at.log) {
                Ok(Some(stored)) if stored == pointer => stored,
                Ok(_) => return Err(failed(&error)),
                Err(again) => return Err(failed(&again)),
            },
        };
        if stored != pointer {
            return Err(CheckpointError::Metastore(format!(
                "it is at {}, past {}",
                stored.position, pointer.position
            )));
        }
        let summary = CheckpointSummary {
            at: manifest.at,
            manifest: name.clone(),
            bytes_written,
            bytes_total: manifest.bytes(),
            rows: manifest.rows(),
        };
        *self.current.lock() = Some(Arc::new(Current { name, manifest }));
        fault("checkpoint::pointer::after")?;
        Ok(summary)
    }

    /// Cuts the log below what the current checkpoint, and `needed` for other reasons (an open
    /// part, the metastore behind), still want of it.
    pub fn cut_log(
        &self,
        wal: &dyn Wal,
        needed: impl IntoIterator<Item = Position>,
    ) -> Result<(), CheckpointError> {
        let Some(current) = self.current() else { return Ok(()) };
        let needed = needed.into_iter().map(|position| position.index);
        let before = needed.fold(current.manifest.replay_from, Ord::min);
        fault("checkpoint::cut::before")?;
        if before > wal.first() {
            wal.cut_prefix(before).map_err(|e| CheckpointError::Log(e.to_string()))?;
        }
        fault("checkpoint::cut::after")
    }

    /// Deletes every object of a checkpoint that the current one does not name: superseded ones,
    /// and those of attempts that did not finish. Not while one is being written. Returns how many.
    pub fn sweep(&self) -> Result<usize, CheckpointError> {
        let current = self.current();
        let kept: BTreeSet<&ObjectName> = current
            .iter()
            .flat_map(|c| c.manifest.objects.iter().map(|o| &o.name).chain([&c.name]))
            .collect();
        let mut deleted = 0;
        for entry in self.objects.list(PREFIX)? {
            if !kept.contains(&entry.name) {
                fault("checkpoint::sweep")?;
                self.objects.delete(&entry.name)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
