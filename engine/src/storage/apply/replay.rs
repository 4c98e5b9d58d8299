//! Replays a log in recovery: the same outcome as applying one record after the other, sooner.
//!
//! Invariant: what two records do is independent unless they concern one table, so the order of the
//! log is kept table by table, and between tables where a record says so:
//! - A commit of rows concerns the tables of its sections, each section one table. Its sections are
//!   queued by table, in log order, and the queues are worked off side by side, each by one thread.
//! - A horizon concerns only what was deleted before: it waits for the queues and for nothing else.
//! - Any other record (a catalog change, parts and the commit that publishes them, an abort, a
//!   checkpoint's begin, its hashes) is a barrier: all queues are empty before it is applied, and
//!   nothing behind it is queued until it is.
//!
//! The position and timestamp that the state is applied up to move when the queues are empty, so
//! no one who looks at the state sees a commit by half; in fact nobody looks before the end. An error
//! is that of the first record that fails in log order: each queue stops at its own first.
//!
//! ```text
//! records      a1 b1 a2 │ DDL │ c1 a3 b2        (letters: tables)
//! queues       a: a1 a2 │     │ a: a3
//!              b: b1    │     │ b: b2   c: c1
//! ```
//!
//! Key indexes are built at the end (`Table::build_deferred_index`), also side by side. Everything
//! else of the outcome is equal: chunks, places, ids, row counts and state hashes.

use std::{cmp::Reverse, sync::Arc};

use glaredb_txn::{
    commit::{
        record::Record,
        state_machine::{Apply, ApplyError},
    },
    env::Threads,
    ids::{Position, SegmentId, TableId, Timestamp},
};
use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;

use super::Applier;
use crate::storage::{
    StorageError,
    record::{Control, Placed, PlacedSection, Section},
    state::State,
    table::{Table, TableReplay},
};

/// Threads among which tables are shared out, at most. More than there are processors do no harm.
const THREADS_MAX: usize = 4;

/// Fewer sections than this are not worth starting a thread.
const STEPS_MIN: usize = 256;

/// Applies the records of a log to a state that nobody reads yet.
pub struct Replayer {
    applier: Applier,
    threads: Arc<dyn Threads>,
    tables: HashMap<TableId, TableReplay>,
    /// The newest horizon that waits for the queues.
    horizon: Option<(Position, Timestamp)>,
    commits: u64,
}

/// What waits to be done, by table.
#[derive(Default)]
struct Queues<'r> {
    tables: HashMap<TableId, Vec<Step<'r>>>,
    steps: usize,
    /// Position and timestamp of the newest commit among them.
    newest: (Position, Timestamp),
    /// The greatest segment that rows are placed in.
    segment: Option<SegmentId>,
}

/// What a record does to one table.
enum Step<'r> {
    Change { position: Position, at: Timestamp, section: Section<'r>, placed: PlacedSection },
    Seal { position: Position, segment: SegmentId },
}

/// The queue of a table.
struct Job<'r> {
    id: TableId,
    table: TableReplay,
    steps: Vec<Step<'r>>,
    failed: Option<(Position, StorageError)>,
}

impl Replayer {
    /// Of the state that the log's first record finds.
    #[must_use]
    pub fn new(state: Arc<State>, threads: Arc<dyn Threads>) -> Self {
        let mut applier = Applier::new(state);
        applier.defers_indexes = true;
        applier.state.tables().iter().for_each(|table| table.defer_index());
        Self { applier, threads, tables: HashMap::new(), horizon: None, commits: 0 }
    }

    /// Commits applied so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The log ends here: builds the key indexes. The applier goes on with what is logged next.
    pub fn finish(mut self) -> Result<Applier, StorageError> {
        let state = Arc::clone(&self.applier.state);
        let catalog = state.catalog();
        let created = self.applier.open.values().flat_map(|open| open.tables.values());
        let created = created.filter(|open| open.created).map(|open| Arc::clone(&open.table));
        let mut wanted: Vec<Arc<Table>> = created.collect();
        for table in state.tables() {
            // A storage that was dropped is kept for old readers, of whom there are none.
            match catalog.table_by_storage(table.id()) {
                Some(_) => wanted.push(table),
                None => table.forget_deferral(),
            }
        }
        wanted.sort_by_key(|table| Reverse(table.row_count_estimate()));
        let built = self.share_out(wanted, |table| {
            let result = table.build_deferred_index();
            table.account();
            result
        })?;
        built.into_iter().collect::<Result<(), _>>()?;
        self.applier.account();
        self.applier.defers_indexes = false;
        Ok(self.applier)
    }

    /// Does `work` for all items, side by side, those in front first. Results come in any order.
    fn share_out<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> R + Sync,
    ) -> Result<Vec<R>, StorageError> {
        let threads = items.len().min(THREADS_MAX);
        let results = Mutex::new(Vec::with_capacity(items.len()));
        let items = Mutex::new(items.into_iter());
        let body = || {
            loop {
                let next = items.lock().next();
                let Some(item) = next else { break };
                let result = work(item);
                results.lock().push(result);
            }
        };
        let bodies = (0..threads).map(|_| Box::new(body) as Box<dyn FnOnce() + Send + '_>);
        let ran = self.threads.run_all("log-apply", bodies.collect());
        ran.map_err(|error| StorageError::Invalid(error.to_string()))?;
        Ok(results.into_inner())
    }

    /// Queues the record if it may be; false: it is a barrier.
    fn queue<'r>(
        &mut self,
        position: Position,
        record: &'r Record,
        queues: &mut Queues<'r>,
    ) -> Result<bool, StorageError> {
        match record {
            Record::Commit { timestamp, parts: 0, payload, .. } => {
                let (placed, changes) = Placed::decode(payload)?;
                if changes.catalog.is_some() {
                    return Ok(false);
                }
                for (section, placed) in changes.sections.into_iter().zip(placed.sections) {
                    let used = placed.runs.iter().map(|run| run.first.segment).max();
                    queues.segment = queues.segment.max(used);
                    let at = *timestamp;
                    let queue = self.queue_of(section.table, queues)?;
                    queue.push(Step::Change { position, at, section, placed });
                }
                for (table, segment) in placed.sealed {
                    self.queue_of(table, queues)?.push(Step::Seal { position, segment });
                }
                queues.newest = (position, *timestamp);
                Ok(true)
            }
            Record::Control { timestamp, payload } => match Control::decode(payload)? {
                Control::Horizon(horizon) => {
                    self.horizon = Some((position, horizon));
                    queues.newest = (position, *timestamp);
                    Ok(true)
                }
                Control::Seal { table, segment } => {
                    self.queue_of(table, queues)?.push(Step::Seal { position, segment });
                    queues.newest = (position, *timestamp);
                    Ok(true)
                }
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn queue_of<'q, 'r>(
        &mut self,
        table: TableId,
        queues: &'q mut Queues<'r>,
    ) -> Result<&'q mut Vec<Step<'r>>, StorageError> {
        queues.steps += 1;
        match queues.tables.entry(table) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let found = self.applier.table(table)?;
                self.tables.entry(table).or_insert_with(|| TableReplay::new(found));
                Ok(entry.insert(Vec::new()))
            }
        }
    }

    /// Works off the queues, and what waits for them.
    fn settle(&mut self, queues: &mut Queues<'_>) -> Result<(), ApplyError> {
        let Queues { tables, steps, newest, segment } = std::mem::take(queues);
        let mut jobs: Vec<Job<'_>> = tables
            .into_iter()
            .map(|(id, steps)| {
                let table = self.tables.remove(&id).expect("made with its queue");
                Job { id, table, steps, failed: None }
            })
            .collect();
        // The longest first, so that none is left alone with it at the end.
        jobs.sort_by_key(|job| (Reverse(job.steps.len()), job.id));
        let run = |mut job: Job<'_>| {
            job.run(newest);
            (job.id, job.table, job.failed)
        };
        let done = if steps < STEPS_MIN {
            jobs.into_iter().map(run).collect()
        } else {
            let wrong =
                |error: StorageError| ApplyError { position: newest.0, reason: error.to_string() };
            self.share_out(jobs, run).map_err(wrong)?
        };
        let mut failed: Option<(Position, StorageError)> = None;
        for (id, table, error) in done {
            self.tables.insert(id, table);
            if let Some(error) = error
                && failed.as_ref().is_none_or(|first| error.0 < first.0)
            {
                failed = Some(error);
            }
        }
        if let Some((position, error)) = failed {
            return Err(ApplyError { position, reason: error.to_string() });
        }
        if let Some(segment) = segment {
            self.applier.state.segment_used(segment);
        }
        if newest.0 > Position::ZERO {
            self.applier.state.set_applied(newest.0, Some(newest.1));
        }
        self.raise_horizon()
    }

    fn raise_horizon(&mut self) -> Result<(), ApplyError> {
        let Some((position, horizon)) = self.horizon.take() else { return Ok(()) };
        let gone = self.applier.raise_horizon(position, horizon);
        let gone = gone.map_err(|error| ApplyError { position, reason: error.to_string() })?;
        gone.iter().for_each(|table| drop(self.tables.remove(table)));
        Ok(())
    }
}

impl Job<'_> {
    /// `newest`: position and timestamp up to which all queues go.
    fn run(&mut self, newest: (Position, Timestamp)) {
        self.table.begin();
        for step in std::mem::take(&mut self.steps) {
            let (position, result) = match step {
                Step::Change { position, at, section, placed } => {
                    (position, self.table.change(&section, &placed, at))
                }
                Step::Seal { position, segment } => (position, self.table.seal(segment)),
            };
            if let Err(error) = result {
                self.failed = Some((position, error));
                return;
            }
        }
        if let Err(error) = self.table.settle(newest.1) {
            self.failed = Some((newest.0, error));
        }
    }
}

impl Apply for Replayer {
    fn apply(&mut self, position: Position, record: &Record) -> Result<(), ApplyError> {
        self.replay(&[(position, record.clone())])
    }

    fn replay(&mut self, records: &[(Position, Record)]) -> Result<(), ApplyError> {
        let mut queues = Queues::default();
        for (position, record) in records {
            self.commits += u64::from(matches!(record, Record::Commit { .. }));
            match self.queue(*position, record, &mut queues) {
                Ok(true) => {}
                Ok(false) => {
                    self.settle(&mut queues)?;
                    self.applier.apply(*position, record)?;
                }
                Err(error) => {
                    // What comes before may fail too, and would have failed first.
                    self.settle(&mut queues)?;
                    return Err(ApplyError { position: *position, reason: error.to_string() });
                }
            }
        }
        self.settle(&mut queues)
    }
}

#[cfg(test)]
pub(in crate::storage) mod tests;
