//! The leader's side of storage: runs ahead of what is applied.

use std::sync::Arc;

use bytes::Bytes;
use glaredb_catalog::{Catalog, CatalogChange, descriptor};
use glaredb_txn::{
    commit::{
        message::{CommitRequest, Part, Refusal},
        state_machine::{Placement, Throttle},
    },
    ids::{CommitId, JobId, Locator, RowId, SchemaVersion, SegmentId, TableId, Timestamp},
};
use hashbrown::HashMap;
use smallvec::SmallVec;

mod jobs;

use self::jobs::Jobs;
use super::{
    StorageError,
    chunk::CHUNK_ROWS_MAX,
    record::{Changes, Control, DeletesKind, Placed, PlacedSection, Run, Section, StagedRows},
    rewrite::job_of,
    schema::TableSchema,
    state::State,
};

/// Gives rows their locators and ids, checks schema versions and the budget.
///
/// What it knows is the applied state and the tail behind it. Every decision is made on copies of
/// what it touches and kept only when the whole record is placed: a refusal changes nothing.
#[derive(Debug)]
pub struct StoragePlacement {
    state: Arc<State>,
    /// With the changes of the tail.
    catalog: Arc<Catalog>,
    tables: HashMap<TableId, Cursor>,
    next_segment: SegmentId,
    horizon: Timestamp,
    /// Where the parts of large commits go: private chunks, per table.
    open: HashMap<CommitId, HashMap<TableId, PrivateCursor>>,
    jobs: Jobs,
}

/// A chunk gets no more rows once it holds so many bytes of them, as records carry them. Sealing joins
/// its blocks, and a checkpoint writes it in one piece, which takes several times its memory for a
/// moment; and byte strings of 65,536 rows of any length would exceed the 2 GiB of one array.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Where the next row of a table goes.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The open chunk and its next row.
    open: Option<Locator>,
    /// Bytes of the rows in it, as records carry them.
    open_bytes: u64,
    next_row_id: RowId,
}

#[derive(Clone, Copy, Debug)]
struct PrivateCursor {
    cursor: Cursor,
    /// The commit creates this storage, under this version.
    created: Option<SchemaVersion>,
}

/// The copies that one record's decisions are made on.
struct Draft {
    next_segment: SegmentId,
    sealed: Vec<(TableId, SegmentId)>,
}

impl StoragePlacement {
    /// Starts from the applied state: at the start of a leadership, when the whole log is applied.
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        state.budget().tail_dropped();
        Self::beside(state)
    }

    /// The same for a state whose budget counts the tails of others too.
    #[must_use]
    pub fn beside(state: Arc<State>) -> Self {
        let tables = state.tables().into_iter().map(|table| {
            let open = table.open_chunk();
            let (open, open_bytes) = open.map_or((None, 0), |(at, bytes)| (Some(at), bytes));
            (table.id(), Cursor { open, open_bytes, next_row_id: table.next_row_id() })
        });
        Self {
            catalog: state.catalog(),
            tables: tables.collect(),
            next_segment: state.next_segment(),
            horizon: state.horizon(),
            open: HashMap::new(),
            // Those of an older leader are over: its notes are gone.
            jobs: Jobs::default(),
            state,
        }
    }

    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Is every table at the version that the session planned under? `changed`: the catalog with the
    /// commit's own changes, under which it may have written too.
    fn check_version(
        &self,
        table: TableId,
        planned: SchemaVersion,
        changed: Option<&Catalog>,
    ) -> Result<(), Refusal> {
        let version_in = |catalog: &Catalog| catalog.table_by_storage(table).map(|t| t.version);
        let current = version_in(&self.catalog);
        if current == Some(planned) {
            return Ok(());
        }
        // A storage that the commit creates has only the version that it brings, and the versions
        // its own statements saw on the way there. Of one that it alters, these lie between the
        // current version and the one it brings: nobody else altered it, or the resolver would have
        // refused the commit by the object's key.
        let own = match (current, changed.and_then(version_in)) {
            (None, Some(_)) => true,
            (Some(current), Some(brought)) => current < planned && planned <= brought,
            (_, None) => false,
        };
        if own { Ok(()) } else { Err(Refusal::SchemaChanged { table, planned, current }) }
    }

    /// Is there a table whose rows are in this storage, the tail included?
    fn check_storage(&self, table: TableId) -> Result<(), Refusal> {
        match self.catalog.table_by_storage(table) {
            Some(_) => Ok(()),
            None => Err(Refusal::TooLate(format!("the table of {table} is gone"))),
        }
    }

    /// As `check_version` for rows that come in parts, whose commit brings the change under which they
    /// were written: the commit checks it. Versions only grow, so a later one is the sender's own.
    fn check_part_version(&self, table: TableId, planned: SchemaVersion) -> Result<(), Refusal> {
        let current = self.catalog.table_by_storage(table).map(|table| table.version);
        if current.is_some_and(|current| current <= planned) {
            return Ok(());
        }
        Err(Refusal::SchemaChanged { table, planned, current })
    }

    /// The catalog after the commit's change. Error: it does not fit, or storage cannot hold it.
    fn changed_catalog(&self, change: &CatalogChange) -> Result<Arc<Catalog>, Refusal> {
        let malformed = |reason: String| Refusal::Malformed(format!("catalog change: {reason}"));
        let catalog = self.catalog.apply(change).map_err(|e| malformed(e.to_string()))?;
        for table in change.upsert_tables.iter().filter(|table| table.is_stored()) {
            let new = TableSchema::from_descriptor(table).map_err(|e| malformed(e.to_string()))?;
            let Some(old) = self.catalog.table_by_storage(table.storage) else { continue };
            let old = TableSchema::from_descriptor(old).map_err(|e| malformed(e.to_string()))?;
            if !new.extends(&old) {
                return Err(malformed(format!(
                    "\"{}\" changes columns that it had and keeps its storage {}",
                    table.name, table.storage
                )));
            }
        }
        Ok(Arc::new(catalog))
    }

    /// The storages to which a change adds columns: their rows from then on do not share a chunk with
    /// those from before.
    fn widened(&self, change: &CatalogChange) -> Vec<TableId> {
        let count = |table: &descriptor::Table| table.columns.len() + table.dropped.len();
        let widened = change.upsert_tables.iter().filter(|table| {
            let old = self.catalog.table_by_storage(table.storage);
            table.is_stored() && old.is_some_and(|old| count(old) != count(table))
        });
        widened.map(|table| table.storage).collect()
    }

    /// Rows of `table` go to another chunk from here on. Refused if `segment` is not its open one.
    fn seal(&mut self, table: TableId, segment: SegmentId) -> Result<(), Refusal> {
        let cursor = self.tables.get_mut(&table);
        let open = cursor.filter(|cursor| cursor.open.is_some_and(|at| at.segment == segment));
        let Some(cursor) = open else {
            return Err(Refusal::TooLate(format!("{segment} of {table} is not open")));
        };
        (cursor.open, cursor.open_bytes) = (None, 0);
        Ok(())
    }

    /// The storages whose key a change replaces: what jobs write is sorted by the one before.
    fn rekeyed(&self, change: &CatalogChange) -> Vec<TableId> {
        let key = |table: &descriptor::Table| table.primary_key.as_ref().map(|k| k.columns.clone());
        let rekeyed = change.upsert_tables.iter().filter(|table| {
            let old = self.catalog.table_by_storage(table.storage);
            table.is_stored() && old.is_some_and(|old| key(old) != key(table))
        });
        rekeyed.map(|table| table.storage).collect()
    }

    fn admit(&self, changes: &Changes<'_>) -> Result<u64, Refusal> {
        let bytes = changes.memory_estimate();
        let inserts = changes.sections.iter().any(|s| !s.inserts.is_empty());
        // An UPDATE deletes as much as it inserts, but the old versions stay until the horizon
        // passes: it is an insertion to the budget.
        if inserts {
            self.state.budget().admit_rows(bytes).map_err(|e| match e {
                StorageError::OutOfMemory(text) => Refusal::OutOfMemory(text),
                other => Refusal::Malformed(other.to_string()),
            })?;
        }
        Ok(bytes)
    }

    /// The jobs under which the segments of these sections were written. Refused: a job is over, or has
    /// not written what the section says.
    fn check_staged(&self, sections: &[Section<'_>]) -> Result<Vec<JobId>, Refusal> {
        let segments = sections.iter().filter_map(|section| Some((section, section.segment()?)));
        segments
            .map(|(section, group)| {
                let staged = StagedRows::decode(group.data).map_err(malformed)?;
                let (job, meta) = (staged.job, &staged.meta);
                self.jobs.check_stage(job, section.table)?;
                let is_its = job_of(&meta.name) == Some(job);
                if !is_its || meta.table != section.table || meta.rows != group.rows {
                    let reason = format!("{} is not what {job} wrote", meta.name);
                    return Err(Refusal::Malformed(reason));
                }
                Ok(job)
            })
            .collect()
    }

    fn place_sections(
        &self,
        sections: &[Section<'_>],
        cursors: &mut HashMap<TableId, Cursor>,
        draft: &mut Draft,
    ) -> Result<Vec<PlacedSection>, Refusal> {
        let mut placed = Vec::with_capacity(sections.len());
        for section in sections {
            let cursor = cursors
                .entry(section.table)
                .or_insert_with(|| self.tables.get(&section.table).copied().unwrap_or_default());
            placed.push(place_section(section, cursor, draft)?);
        }
        Ok(placed)
    }
}

/// Places for all rows of a section, chunk after chunk.
fn place_section(
    section: &Section<'_>,
    cursor: &mut Cursor,
    draft: &mut Draft,
) -> Result<PlacedSection, Refusal> {
    let exhausted = || Refusal::Malformed(format!("row ids of {} are used up", section.table));
    let (rows, new) = section.rows();
    let first_row_id = cursor.next_row_id;
    cursor.next_row_id = RowId(first_row_id.0.checked_add(new).ok_or_else(exhausted)?);
    if section.segment().is_some() {
        let segment = draft.next_segment;
        draft.next_segment = segment.next();
        let run = Run { first: Locator { segment, row: 0 }, rows: rows as u32 };
        return Ok(PlacedSection { first_row_id, runs: SmallVec::from_iter([run]) });
    }
    let mut runs = SmallVec::new();
    let mut left = rows;
    while left > 0 {
        let first = match cursor.open {
            Some(open) => open,
            None => {
                let segment = draft.next_segment;
                draft.next_segment = segment.next();
                cursor.open_bytes = 0;
                Locator { segment, row: 0 }
            }
        };
        let room = u64::from(CHUNK_ROWS_MAX - first.row);
        let run = Run { first, rows: left.min(room) as u32 };
        left -= u64::from(run.rows);
        let row = first.row + run.rows;
        if row == CHUNK_ROWS_MAX {
            draft.sealed.push((section.table, first.segment));
            cursor.open = None;
        } else {
            cursor.open = Some(Locator { segment: first.segment, row });
        }
        runs.push(run);
    }
    cursor.open_bytes += section.inserts.iter().map(|group| group.data.len() as u64).sum::<u64>();
    if cursor.open_bytes >= CHUNK_BYTES_MAX
        && let Some(open) = cursor.open.take()
    {
        draft.sealed.push((section.table, open.segment));
    }
    Ok(PlacedSection { first_row_id, runs })
}

fn malformed(error: StorageError) -> Refusal {
    Refusal::Malformed(error.to_string())
}

impl Placement for StoragePlacement {
    fn throttle(&self) -> Throttle {
        let budget = Arc::clone(self.state.budget());
        Throttle::new(move || budget.delay().unwrap_or_default())
    }

    fn place(&mut self, request: &CommitRequest, at: Timestamp) -> Result<Bytes, Refusal> {
        let changes = Changes::decode(&request.payload).map_err(malformed)?;
        if !changes.storages.is_empty() {
            return Err(Refusal::Malformed("a commit announces storages as a part does".into()));
        }
        let changed = changes.catalog.as_ref().map(|c| self.changed_catalog(c)).transpose()?;
        for (table, planned) in &request.schema_versions {
            self.check_version(*table, *planned, changed.as_deref())?;
        }
        for section in &changes.sections {
            self.check_version(section.table, section.version, changed.as_deref())?;
        }
        self.jobs.check(&changes.sections)?;
        if changes.sections.iter().any(|section| section.segment().is_some()) {
            return Err(Refusal::Malformed("a commit brings a segment as a part does".into()));
        }
        if changes.sections.iter().any(|s| s.deletes.kind == DeletesKind::Bitmaps) {
            return Err(Refusal::Malformed("a commit deletes by bitmaps as a part does".into()));
        }
        self.jobs.check_staged(request.id)?;
        let parts = self.open.get(&request.id);
        let mut cursors = HashMap::new();
        for (table, private) in parts.into_iter().flatten() {
            match private.created {
                // The private chunks were this storage's first; what follows opens a new one.
                Some(version) => {
                    self.check_version(*table, version, changed.as_deref())?;
                    let next_row_id = private.cursor.next_row_id;
                    cursors.insert(*table, Cursor { next_row_id, ..Cursor::default() });
                }
                None => {
                    let mut cursor = self.tables.get(table).copied().unwrap_or_default();
                    cursor.next_row_id = cursor.next_row_id.max(private.cursor.next_row_id);
                    cursors.insert(*table, cursor);
                }
            }
        }
        let bytes = self.admit(&changes)?;
        let mut draft = Draft { next_segment: self.next_segment, sealed: Vec::new() };
        for table in changes.catalog.iter().flat_map(|change| self.widened(change)) {
            let cursor = cursors
                .entry(table)
                .or_insert_with(|| self.tables.get(&table).copied().unwrap_or_default());
            cursor.open_bytes = 0;
            if let Some(open) = cursor.open.take() {
                draft.sealed.push((table, open.segment));
            }
        }
        let sections = self.place_sections(&changes.sections, &mut cursors, &mut draft)?;
        let payload = Placed { sections, sealed: draft.sealed }.encode(&request.payload);

        // Nothing fails from here on.
        self.open.remove(&request.id);
        self.jobs.committed(request.id, &changes.sections, at);
        self.next_segment = draft.next_segment;
        self.tables.extend(cursors);
        if let Some(catalog) = changed {
            let rekeyed = changes.catalog.as_ref().map(|change| self.rekeyed(change));
            for table in rekeyed.into_iter().flatten() {
                self.jobs.end_those_of(table);
            }
            self.tables.retain(|table, _| {
                let gone = self.catalog.table_by_storage(*table).is_some()
                    && catalog.table_by_storage(*table).is_none();
                if gone {
                    self.jobs.end_those_of(*table);
                }
                !gone
            });
            self.catalog = catalog;
        }
        self.state.budget().tail_entered(bytes);
        Ok(payload)
    }

    fn place_part(&mut self, part: &Part) -> Result<Bytes, Refusal> {
        let changes = Changes::decode(&part.payload).map_err(malformed)?;
        if changes.catalog.is_some() {
            return Err(Refusal::Malformed("a part changes the catalog".into()));
        }
        self.jobs.check(&changes.sections)?;
        let bitmaps = self.jobs.check_bitmaps(&changes.sections)?;
        let staged = self.check_staged(&changes.sections)?;
        let mut privates = self.open.get(&part.id).cloned().unwrap_or_default();
        for (table, schema) in &changes.storages {
            if let Some(current) = self.catalog.table_by_storage(*table) {
                // The commit alters it.
                let current = TableSchema::from_descriptor(current).map_err(malformed)?;
                if !schema.extends(&current) {
                    let reason = format!("{table} exists already, with other columns");
                    return Err(Refusal::Malformed(reason));
                }
                continue;
            }
            privates.entry(*table).or_insert(PrivateCursor {
                cursor: Cursor::default(),
                created: Some(schema.version()),
            });
        }
        let bytes = self.admit(&changes)?;
        let mut draft = Draft { next_segment: self.next_segment, sealed: Vec::new() };
        let mut sections = Vec::with_capacity(changes.sections.len());
        let mut row_ids = Vec::new();
        for section in &changes.sections {
            let private = privates
                .entry(section.table)
                .or_insert(PrivateCursor { cursor: Cursor::default(), created: None });
            if private.created.is_none() {
                self.check_part_version(section.table, section.version)?;
                // Row ids of a table that others write to: taken from the common counter at once.
                let shared = self.tables.get(&section.table).copied().unwrap_or_default();
                let taken = row_ids.iter().rev().find(|(table, _)| *table == section.table);
                private.cursor.next_row_id = taken.map_or(shared.next_row_id, |(_, id)| *id);
            }
            sections.push(place_section(section, &mut private.cursor, &mut draft)?);
            if private.created.is_none() {
                row_ids.push((section.table, private.cursor.next_row_id));
            }
        }
        let payload = Placed { sections, sealed: draft.sealed }.encode(&part.payload);

        // Nothing fails from here on.
        self.next_segment = draft.next_segment;
        for (table, next_row_id) in row_ids {
            self.tables.entry(table).or_default().next_row_id = next_row_id;
        }
        self.open.insert(part.id, privates);
        self.jobs.part(part.id, &changes.sections, &bitmaps);
        staged.into_iter().for_each(|job| self.jobs.staged(part.id, job));
        self.state.budget().tail_entered(bytes);
        Ok(payload)
    }

    fn forget_parts(&mut self, id: CommitId) {
        self.open.remove(&id);
        self.jobs.forget_parts(id);
    }

    fn place_control(&mut self, request: &[u8], timestamp: Timestamp) -> Result<Bytes, Refusal> {
        let control = match Control::decode(request).map_err(malformed)? {
            Control::Horizon(at) => {
                if at < self.horizon {
                    return Err(Refusal::Malformed(format!(
                        "the horizon is at {}, it cannot go back to {at}",
                        self.horizon
                    )));
                }
                self.horizon = at;
                self.jobs.raise_horizon(at);
                Control::Horizon(at)
            }
            Control::JobBegin(begin) => {
                if !begin.inputs.is_empty() {
                    self.check_storage(begin.table)?;
                }
                self.jobs.begin(&begin, timestamp, &self.state)?;
                Control::JobBegin(begin)
            }
            Control::JobEnd(job) => {
                self.jobs.end(job);
                Control::JobEnd(job)
            }
            Control::JobRenew(job) => {
                self.jobs.renew(job)?;
                Control::JobRenew(job)
            }
            Control::JobDeletions(request) => {
                Control::JobDeletions(self.jobs.deletions(request, &self.state)?)
            }
            Control::Edit(request) => {
                self.check_storage(request.table)?;
                let mut edit = self.jobs.edit(request, &self.state)?;
                for added in &mut edit.added {
                    added.segment = self.next_segment;
                    self.next_segment = self.next_segment.next();
                }
                self.jobs.edited(&edit, timestamp);
                Control::Edit(edit)
            }
            Control::Seal { table, segment } => {
                self.check_storage(table)?;
                self.seal(table, segment)?;
                Control::Seal { table, segment }
            }
            other @ (Control::CheckpointBegin { .. } | Control::StateHashes { .. }) => other,
        };
        Ok(control.encode())
    }
}
