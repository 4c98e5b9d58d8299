//! Replays records into the state.
//!
//! A record that cannot be applied stops the node, and every later start on the same log. So nothing
//! that depends on what users wrote may fail here; each fallible step, and why it does not:
//!
//! | step | because |
//! |---|---|
//! | a record, its places | placement encoded it from a request that it had decoded, and counted its rows; frames carry checksums |
//! | rows of a group | encoded by the session under the schema version that the section names; placement refuses another version than the catalog with the tail has, and DDL is applied in the order of the log |
//! | keys | of any length, NULL too (`KeyEncoder::encode_stored`): rows that were dead or private when a key came were never checked. Bare numerics were parsed by the type that wrote them |
//! | keys of an index built for ALTER TABLE | of rows alive only, which the statement checked and asserted unchanged; so many at once that their bytes side by side stay bounded |
//! | a deletion | the row was seen by a registered snapshot, which holds back the horizon, and a second deletion of its key or id conflicts in the resolver |
//! | a catalog change, its schemas | `StoragePlacement::changed_catalog` made the same of the same catalog |
//! | sealing, thinning | a chunk is bounded by rows and by bytes (`placement::CHUNK_BYTES_MAX`), so no array outgrows its offsets |
//! | parts of a commit | the pipeline counts them; their tables are checked again with the commit record. A table dropped meanwhile is left out |
//! | state hashes | of this process's own records, or compared with those of another: they differ only by a fault of ours, and then stopping is right |
//!
//! `engine/tests/session/statement_mix.rs` looks for exceptions at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use glaredb_catalog::{Catalog, CatalogChange};
use glaredb_txn::{
    commit::{
        record::Record,
        state_machine::{Apply, ApplyError},
    },
    ids::{CommitId, JobId, Locator, Position, RowId, SegmentId, TableId, Timestamp},
};
use roaring::RoaringBitmap;

use super::{
    StorageError,
    chunk::block::Publication,
    record::{Changes, Control, Edit, Group, JobBegin, Placed, PlacedSection, Section, StagedRows},
    schema::TableSchema,
    state::{OpenJob, State, StateImage},
    table::{Table, Tally, Target},
};

pub(super) mod replay;
#[cfg(test)]
mod tests;

pub use replay::Replayer;

/// Gets the image of the state when a checkpoint-begin record is applied. Called on the apply
/// thread: it hands the image to another thread and returns.
pub type CheckpointSink = Box<dyn FnMut(u64, StateImage) + Send>;

/// Records between two looks at the memory of the tables they changed.
const ACCOUNT_EVERY: usize = 64;

/// The single writer of a [`State`]: a deterministic function of the records.
pub struct Applier {
    state: Arc<State>,
    checkpoints: Option<CheckpointSink>,
    /// Large commits whose outcome is not known yet.
    open: BTreeMap<CommitId, OpenCommit>,
    /// State hashes at the last checkpoint begin, and its number.
    hashes: Option<(u64, Vec<(TableId, u64)>)>,
    /// Tables changed since their memory was last accounted, once per change.
    changed: Vec<Arc<Table>>,
    /// In recovery: tables get their key indexes when the log is replayed.
    defers_indexes: bool,
}

/// Parts of a large commit.
struct OpenCommit {
    /// Position of the first part.
    first: Position,
    publication: Arc<Publication>,
    tables: BTreeMap<TableId, OpenTable>,
    /// Rows to delete when it commits.
    deletes: Vec<(TableId, Locator)>,
    /// The same, of very many rows.
    bitmaps: Vec<(TableId, SegmentId, RoaringBitmap)>,
    /// Segments to add to the lists when it commits.
    staged: Vec<StagedSegment>,
}

struct StagedSegment {
    table: TableId,
    segment: SegmentId,
    /// Id of the first row; `None`: the rows bring theirs.
    first: Option<RowId>,
    rows: StagedRows,
}

struct OpenTable {
    table: Arc<Table>,
    /// The commit creates this storage: it is not in the state yet.
    created: bool,
    /// The commit alters the table's columns: under what its rows come.
    schema: Option<Arc<TableSchema>>,
    tally: Tally,
}

impl Applier {
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        Self {
            state,
            checkpoints: None,
            open: BTreeMap::new(),
            hashes: None,
            changed: Vec::new(),
            defers_indexes: false,
        }
    }

    /// Who gets the images of checkpoints; without one, checkpoint-begin records do nothing.
    pub fn on_checkpoint(&mut self, sink: CheckpointSink) {
        self.checkpoints = Some(sink);
    }

    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn commit(
        &mut self,
        id: CommitId,
        at: Timestamp,
        parts: u32,
        payload: &[u8],
    ) -> Result<(), StorageError> {
        let (placed, changes) = Placed::decode(payload)?;
        self.state.budget().tail_left(changes.memory_estimate());
        if let Some(open) = self.open.remove(&id) {
            self.publish(open, at)?;
        } else if parts > 0 {
            return Err(StorageError::Invalid(format!("{id} has {parts} parts, none applied")));
        }
        if let Some(change) = &changes.catalog {
            self.change_catalog(change, at)?;
        }
        for (section, placed) in changes.sections.iter().zip(&placed.sections) {
            let table = self.table(section.table)?;
            let rows = section.deletes.iter().map(|row| row.map(|row| row.locator));
            table.delete(rows, at)?;
            let tally = self.insert(&table, section, placed, &Target::Commit(at), None)?;
            table.count_inserted(tally, at);
            self.changed.push(table);
        }
        for (table, segment) in &placed.sealed {
            self.table(*table)?.seal(*segment)?;
        }
        if self.changed.len() >= ACCOUNT_EVERY {
            self.account();
        }
        Ok(())
    }

    fn table(&self, id: TableId) -> Result<Arc<Table>, StorageError> {
        self.state.table(id).ok_or_else(|| StorageError::Invalid(format!("{id} does not exist")))
    }

    fn new_table(&self, id: TableId, schema: Arc<TableSchema>) -> Arc<Table> {
        let table = Table::new(id, schema, Arc::clone(self.state.budget()));
        if self.defers_indexes {
            table.defer_index();
        }
        Arc::new(table)
    }

    fn insert(
        &self,
        table: &Table,
        section: &Section<'_>,
        placed: &PlacedSection,
        target: &Target,
        schema: Option<&Arc<TableSchema>>,
    ) -> Result<Tally, StorageError> {
        for run in &placed.runs {
            self.state.segment_used(run.first.segment);
        }
        table.insert(section, placed, target, schema)
    }

    fn account(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_by_key(|table| table.id());
        changed.dedup_by_key(|table| table.id());
        changed.iter().for_each(|table| table.account());
    }

    /// Rows of a large commit become visible, all at once.
    fn publish(&mut self, mut open: OpenCommit, at: Timestamp) -> Result<(), StorageError> {
        for staged in &open.staged {
            if let Some(open) = open.tables.get_mut(&staged.table) {
                let added = staged.rows.added(staged.segment, staged.first, at);
                open.tally.add_all(open.table.add_segment(&added));
            }
        }
        for open_table in open.tables.values() {
            let table = &open_table.table;
            table.seal_published(&open.publication)?;
            if open_table.created {
                self.state.add_table(Arc::clone(table));
            }
        }
        for (table, rows) in by_table(&open.deletes) {
            self.table(table)?.delete(rows.iter().map(|(_, locator)| Ok(*locator)), at)?;
        }
        for (table, source, rows) in std::mem::take(&mut open.bitmaps) {
            self.table(table)?.delete_all(source, rows, at)?;
        }
        open.publication.publish(at);
        // After the lists: there is no moment at which neither names the objects.
        let jobs: BTreeSet<JobId> = open.staged.iter().map(|staged| staged.rows.job).collect();
        self.state.change_jobs(|open| open.retain(|job, _| !jobs.contains(job)));
        for open_table in open.tables.values() {
            open_table.table.count_inserted(open_table.tally, at);
            self.changed.push(Arc::clone(&open_table.table));
        }
        self.account();
        Ok(())
    }

    fn change_catalog(
        &mut self,
        change: &CatalogChange,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let catalog: Catalog = self
            .state
            .catalog()
            .apply(change)
            .map_err(|e| StorageError::Invalid(format!("catalog change: {e}")))?;
        for descriptor in change.upsert_tables.iter().filter(|table| table.is_stored()) {
            let schema = Arc::new(TableSchema::from_descriptor(descriptor)?);
            match self.state.table(descriptor.storage) {
                Some(table) => {
                    table.set_schema(schema)?;
                    self.changed.push(table);
                }
                None => {
                    let table = self.new_table(descriptor.storage, schema);
                    table.account();
                    self.state.add_table(table);
                }
            }
        }
        self.state.push_catalog(at, Arc::new(catalog))
    }

    fn part(
        &mut self,
        position: Position,
        id: CommitId,
        payload: &[u8],
    ) -> Result<(), StorageError> {
        let (placed, changes) = Placed::decode(payload)?;
        self.state.budget().tail_left(changes.memory_estimate());
        if changes.catalog.is_some() {
            return Err(StorageError::Invalid(format!("a part of {id} changes the catalog")));
        }
        let mut open = self.open.remove(&id).unwrap_or_else(|| OpenCommit {
            first: position,
            publication: Arc::default(),
            tables: BTreeMap::new(),
            deletes: Vec::new(),
            bitmaps: Vec::new(),
            staged: Vec::new(),
        });
        let result = self.part_of(&mut open, changes, &placed);
        self.open.insert(id, open);
        result
    }

    fn part_of(
        &mut self,
        open: &mut OpenCommit,
        changes: Changes<'_>,
        placed: &Placed,
    ) -> Result<(), StorageError> {
        for (table, schema) in changes.storages {
            let schema = Arc::new(schema);
            open.tables.entry(table).or_insert_with(|| match self.state.table(table) {
                Some(table) => {
                    let tally = Tally::default();
                    OpenTable { table, created: false, schema: Some(schema), tally }
                }
                None => {
                    let table = self.new_table(table, schema);
                    OpenTable { table, created: true, schema: None, tally: Tally::default() }
                }
            });
        }
        let target = Target::Part(Arc::clone(&open.publication));
        for (section, placed) in changes.sections.iter().zip(&placed.sections) {
            let entry = match open.tables.get_mut(&section.table) {
                Some(entry) => entry,
                None => {
                    // Dropped since the part was placed, and not in the checkpoint that this replay
                    // began with. The commit will be refused: its rows are nobody's.
                    let Some(table) = self.state.table(section.table) else { continue };
                    let tally = Tally::default();
                    let new = OpenTable { table, created: false, schema: None, tally };
                    open.tables.entry(section.table).or_insert(new)
                }
            };
            for row in section.deletes.iter() {
                open.deletes.push((section.table, row?.locator));
            }
            for (source, rows) in section.deletes.bitmaps()? {
                open.bitmaps.push((section.table, source, rows));
            }
            if let Some(group) = section.segment() {
                let staged = stage(&entry.table, section.table, group, placed)?;
                self.state.segment_used(staged.segment);
                open.staged.push(staged);
                continue;
            }
            let schema = entry.schema.as_ref();
            let tally = self.insert(&entry.table, section, placed, &target, schema)?;
            entry.tally.add_all(tally);
            self.changed.push(Arc::clone(&entry.table));
        }
        for (table, segment) in &placed.sealed {
            if let Some(open) = open.tables.get(table) {
                open.table.seal(*segment)?;
            }
        }
        self.account();
        Ok(())
    }

    fn abort(&mut self, id: CommitId) -> Result<(), StorageError> {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        for open_table in open.tables.values().filter(|open| !open.created) {
            open_table.table.drop_private(&open.publication, open_table.schema.as_ref())?;
            self.changed.push(Arc::clone(&open_table.table));
        }
        self.account();
        Ok(())
    }

    fn control(
        &mut self,
        position: Position,
        at: Timestamp,
        payload: &[u8],
    ) -> Result<(), StorageError> {
        match Control::decode(payload)? {
            Control::Horizon(horizon) => drop(self.raise_horizon(position, horizon)?),
            Control::CheckpointBegin { number } => {
                let hashes = self.current_tables().map(|table| (table.id(), table.state_hash()));
                self.hashes = Some((number, hashes.collect()));
                let image = self.checkpoints.as_ref().map(|_| self.image(position, at));
                if let (Some(sink), Some(image)) = (&mut self.checkpoints, image) {
                    sink(number, image);
                }
            }
            Control::StateHashes { number, hashes } => self.compare(number, &hashes)?,
            Control::JobBegin(begin) => {
                let JobBegin { table, inputs } = begin;
                let (deletions, renewed) = (Vec::new(), Timestamp::ZERO);
                let job = OpenJob { table, inputs, deletions, renewed };
                self.state.change_jobs(|jobs| jobs.insert(JobId(at.0), job));
            }
            Control::JobEnd(job) => {
                self.state.change_jobs(|jobs| jobs.remove(&job));
                self.state.take_notes(job);
            }
            Control::JobRenew(job) => self.state.change_jobs(|jobs| {
                jobs.get_mut(&job).ok_or_else(|| no_job(job))?.renewed = at;
                Ok::<_, StorageError>(())
            })?,
            Control::JobDeletions(said) => self.state.change_jobs(|jobs| {
                let job = jobs.get_mut(&said.job).ok_or_else(|| no_job(said.job))?;
                job.deletions.extend(said.deletions);
                Ok::<_, StorageError>(())
            })?,
            Control::Edit(edit) => self.edit(&edit, position, at)?,
            Control::Seal { table, segment } => {
                let table = self.table(table)?;
                table.seal(segment)?;
                self.changed.push(table);
            }
        }
        Ok(())
    }

    fn edit(&mut self, edit: &Edit, position: Position, at: Timestamp) -> Result<(), StorageError> {
        let deletions = self.state.change_jobs(|jobs| {
            jobs.get_mut(&edit.job).map(|job| std::mem::take(&mut job.deletions))
        });
        let deletions = deletions.ok_or_else(|| no_job(edit.job))?;
        let table = self.table(edit.table)?;
        let remap = self.state.take_notes(edit.job);
        // Before they leave the list: there is no moment at which they are in neither.
        let leaving = edit.removed.iter().filter_map(|source| table.segment(*source));
        self.state.keep_removed(leaving, position);
        table.edit(edit, &deletions, remap, at)?;
        // After the list: there is no moment at which neither names the job's objects.
        self.state.change_jobs(|jobs| jobs.remove(&edit.job));
        if let Some(newest) = edit.added.iter().map(|added| added.segment).max() {
            self.state.segment_used(newest);
        }
        self.changed.push(table);
        self.account();
        Ok(())
    }

    /// Nobody reads below `horizon` any more; returns the storages that went with those who did.
    fn raise_horizon(
        &mut self,
        position: Position,
        horizon: Timestamp,
    ) -> Result<Vec<TableId>, StorageError> {
        let gone = self.state.raise_horizon(horizon);
        gone.iter().for_each(|table| self.state.remove_table(*table, position));
        for table in self.state.tables() {
            if table.prune(horizon)? {
                self.changed.push(table);
            }
        }
        self.account();
        Ok(gone)
    }

    /// The storages of the newest catalog, in order of their ids.
    fn current_tables(&self) -> impl Iterator<Item = Arc<Table>> + use<> {
        let catalog = self.state.catalog();
        let tables = self.state.tables().into_iter();
        tables.filter(move |table| catalog.table_by_storage(table.id()).is_some())
    }

    /// Does the log say of checkpoint `number` what was found here? A replay that began at it has
    /// compared already, with what the checkpoint says.
    fn compare(&self, number: u64, logged: &[(TableId, u64)]) -> Result<(), StorageError> {
        let Some((_, found)) = self.hashes.as_ref().filter(|(at, _)| *at == number) else {
            return Ok(());
        };
        if found == logged {
            return Ok(());
        }
        let differs = found.iter().zip(logged).find(|(found, logged)| found != logged);
        Err(StorageError::Invalid(match differs {
            Some(((table, found), (_, logged))) => format!(
                "state hash of {table} at checkpoint {number} is {found:016x}, the log says \
                 {logged:016x}"
            ),
            None => format!(
                "{} tables at checkpoint {number}, the log says {}",
                found.len(),
                logged.len()
            ),
        }))
    }

    /// The state now, in a test.
    #[cfg(test)]
    pub(super) fn image_now(&self, at: Timestamp) -> StateImage {
        self.image(self.state.applied().0, at)
    }

    /// The state now, after the record at `position`.
    fn image(&self, position: Position, at: Timestamp) -> StateImage {
        StateImage {
            position,
            timestamp: at,
            horizon: self.state.horizon(),
            next_segment: self.state.next_segment(),
            tables: self.current_tables().map(|table| table.image(at)).collect(),
            catalog: self.state.catalog(),
            jobs: self.state.jobs(),
            open_commits: self.open.iter().map(|(id, open)| (*id, open.first)).collect(),
        }
    }
}

/// What a part says of a segment: where it will stand, and that its row ids are given.
fn stage(
    table: &Table,
    id: TableId,
    group: &Group<'_>,
    placed: &PlacedSection,
) -> Result<StagedSegment, StorageError> {
    let rows = StagedRows::decode(group.data)?;
    let run = placed.runs.first().ok_or_else(|| StorageError::corrupt("record", "no place"))?;
    let first = group.kept.is_none().then_some(placed.first_row_id);
    if let Some(first) = first {
        table.row_ids_given(RowId(first.0 + u64::from(group.rows)));
    }
    Ok(StagedSegment { table: id, segment: run.first.segment, first, rows })
}

fn no_job(job: JobId) -> StorageError {
    StorageError::Invalid(format!("{job} did not begin, or is over"))
}

/// Runs of one table; the order within a table stays.
fn by_table(
    deletes: &[(TableId, Locator)],
) -> impl Iterator<Item = (TableId, &[(TableId, Locator)])> {
    deletes.chunk_by(|a, b| a.0 == b.0).map(|run| (run[0].0, run))
}

impl Apply for Applier {
    fn apply(&mut self, position: Position, record: &Record) -> Result<(), ApplyError> {
        let (result, timestamp) = match record {
            Record::Commit { id, timestamp, parts, payload } => {
                (self.commit(*id, *timestamp, *parts, payload), Some(*timestamp))
            }
            Record::Part { id, payload, .. } => (self.part(position, *id, payload), None),
            Record::Abort { id } => (self.abort(*id), None),
            Record::Control { timestamp, payload } => {
                (self.control(position, *timestamp, payload), Some(*timestamp))
            }
        };
        result.map_err(|error| ApplyError { position, reason: error.to_string() })?;
        self.state.set_applied(position, timestamp);
        Ok(())
    }
}
