//! Runs jobs one after the other: those that someone asks for, and what the policy picks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use glaredb_txn::ids::{SegmentId, TableId};
use parking_lot::Mutex;

use super::{
    RewriteError, Site,
    fault::fault,
    figures::Figures,
    job::{self, JobKind, JobPlan},
    policy::{self, Candidate, Effort},
};
use crate::storage::{objects::Pace, record::Control, segment::SortOrder, table::Table};

/// How often a job is tried that something else was before.
const ATTEMPTS: usize = 3;
/// Jobs after which a request to rewrite all of a table is content.
const JOBS_MAX: usize = 10_000;
/// What is waited after a job of a table failed; it doubles.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The most that is waited where memory is short.
const URGENT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Percent of the budget in use from which on jobs share the device with the log as equals.
const URGENT_PERCENT: u64 = 75;
/// The longest wait of a commit because there are too many runs.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RewriteSummary {
    pub jobs: u64,
    /// Chunks and segments that are gone.
    pub inputs: u64,
    /// Segments that came.
    pub outputs: u64,
    pub rows_written: u64,
    pub bytes_written: u64,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::storage) enum RewriteRequest {
    /// The rows in memory go to segments.
    Flush(TableId),
    /// The same, and the segments become as few and as good as can be.
    Compact(TableId),
    /// The same, and all rows are sorted by this, from now on until it is said otherwise.
    Sort(TableId, SortOrder),
}

/// See the module's description.
pub(in crate::storage) struct Rewriter {
    site: Site,
    pub(in crate::storage) figures: Figures,
    /// What rows of tables are sorted by whose key is about to come.
    orders: Mutex<HashMap<TableId, SortOrder>>,
    /// Tables whose last job failed: when to try again, and what was waited before.
    waits: Mutex<HashMap<TableId, (Duration, Duration)>>,
    old_jobs_ended: AtomicBool,
    ending_old_jobs: tokio::sync::Mutex<()>,
}

impl Rewriter {
    pub(in crate::storage) fn new(site: Site) -> Self {
        Self {
            site,
            figures: Figures::default(),
            orders: Mutex::default(),
            waits: Mutex::default(),
            old_jobs_ended: AtomicBool::new(false),
            ending_old_jobs: tokio::sync::Mutex::default(),
        }
    }

    pub(in crate::storage) fn site(&self) -> &Site {
        &self.site
    }

    /// Ends the jobs of earlier leaders, once. Before the first job.
    pub(in crate::storage) async fn end_old_jobs(&self) -> Result<(), RewriteError> {
        if self.old_jobs_ended.load(SeqCst) {
            return Ok(());
        }
        // Who comes second must not take jobs for old that the first has let begin.
        let _one = self.ending_old_jobs.lock().await;
        if self.old_jobs_ended.load(SeqCst) {
            return Ok(());
        }
        for (job, open) in self.site.state.jobs() {
            self.site.end_job(job, &[]).await?;
            tracing::info!(%job, table = %open.table, "ended a job of an earlier process");
        }
        self.old_jobs_ended.store(true, SeqCst);
        Ok(())
    }

    pub(in crate::storage) fn are_old_jobs_ended(&self) -> bool {
        self.old_jobs_ended.load(SeqCst)
    }

    /// Does what is asked for.
    pub(in crate::storage) async fn handle(
        &self,
        request: &RewriteRequest,
    ) -> Result<RewriteSummary, RewriteError> {
        self.end_old_jobs().await?;
        // Someone waits for it.
        self.site.segments.objects.set_pace(Pace::FAST);
        let mut summary = RewriteSummary::default();
        match request {
            RewriteRequest::Flush(table) => self.flush(*table, &mut summary).await?,
            RewriteRequest::Compact(table) => {
                self.flush(*table, &mut summary).await?;
                self.compact(*table, &mut summary).await?;
            }
            RewriteRequest::Sort(table, order) => {
                self.orders.lock().insert(*table, order.clone());
                self.flush(*table, &mut summary).await?;
                self.sort(*table, &mut summary).await?;
            }
        }
        Ok(summary)
    }

    /// Rows are sorted by the table's key again.
    pub(in crate::storage) fn forget_order(&self, table: TableId) {
        self.orders.lock().remove(&table);
    }

    fn asked_order(&self, table: &Table) -> Option<SortOrder> {
        self.orders.lock().get(&table.id()).cloned()
    }

    fn order_of(&self, table: &Table) -> SortOrder {
        self.asked_order(table).unwrap_or_else(|| policy::order_of(&table.schema()))
    }

    fn plan(&self, kind: JobKind, table: &Table, inputs: Vec<SegmentId>) -> JobPlan {
        JobPlan { kind, table: table.id(), inputs, order: self.asked_order(table) }
    }

    async fn run(&self, plan: &JobPlan, summary: &mut RewriteSummary) -> Result<(), RewriteError> {
        let (report, result) = job::run(&self.site, plan).await;
        if let Some(report) = report {
            if report.error.is_none() {
                summary.jobs += 1;
                summary.inputs += report.inputs as u64;
                summary.outputs += report.outputs as u64;
                summary.rows_written += report.rows_written;
                summary.bytes_written += report.bytes_written;
            }
            self.figures.add(report);
        }
        let budget = self.site.state.budget();
        match &result {
            Ok(()) => budget.set_obstacle(None),
            Err(error) if error.is_of_store() => budget.set_obstacle(Some(error.to_string())),
            Err(_) => {}
        }
        result
    }

    fn table(&self, table: TableId) -> Result<Arc<Table>, RewriteError> {
        let catalog = self.site.state.catalog();
        let found = self.site.state.table(table);
        let found = found.filter(|_| catalog.table_by_storage(table).is_some());
        found.ok_or(RewriteError::NoTable(table))
    }

    /// The rows of a table that are in chunks now go to segments.
    async fn flush(
        &self,
        table: TableId,
        summary: &mut RewriteSummary,
    ) -> Result<(), RewriteError> {
        let stored = self.table(table)?;
        self.log_horizon().await?;
        self.seal(&stored).await?;
        // What comes from here on is not waited for.
        let mut wanted = sealed_chunks(&stored);
        let mut attempts = ATTEMPTS;
        while let Some(inputs) = self.next_flush(&stored, &mut wanted) {
            let plan = self.plan(JobKind::Flush, &stored, inputs);
            self.attempt(&plan, summary, &mut attempts).await?;
        }
        Ok(())
    }

    /// What one job may read of the chunks that are wanted; those that are gone are wanted no more.
    fn next_flush(
        &self,
        table: &Table,
        wanted: &mut BTreeSet<SegmentId>,
    ) -> Option<Vec<SegmentId>> {
        let chunks = table.chunk_list();
        let mut inputs = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        wanted.retain(|source| chunks.iter().any(|chunk| chunk.segment() == *source));
        for chunk in chunks.iter().filter(|chunk| wanted.contains(&chunk.segment())) {
            rows += u64::from(chunk.next_row());
            bytes += chunk.memory_bytes() as u64;
            let options = &self.site.options;
            let is_full = rows > options.job_rows_max || bytes > options.flush_bytes_max;
            if is_full && !inputs.is_empty() {
                break;
            }
            inputs.push(chunk.segment());
        }
        (!inputs.is_empty()).then_some(inputs)
    }

    /// All rows of segments are sorted as they are to be.
    async fn sort(&self, table: TableId, summary: &mut RewriteSummary) -> Result<(), RewriteError> {
        let stored = self.table(table)?;
        let mut attempts = ATTEMPTS;
        loop {
            let order = self.order_of(&stored);
            let candidates = Candidate::all_of(&stored)?;
            let Some(other) = candidates.iter().find(|c| c.meta.sort_order != order) else {
                return Ok(());
            };
            let plan = self.plan(JobKind::Compaction, &stored, vec![other.source]);
            self.attempt(&plan, summary, &mut attempts).await?;
        }
    }

    /// The segments become few and without dead rows.
    async fn compact(
        &self,
        table: TableId,
        summary: &mut RewriteSummary,
    ) -> Result<(), RewriteError> {
        let stored = self.table(table)?;
        let mut attempts = ATTEMPTS;
        for _ in 0..JOBS_MAX {
            let order = self.order_of(&stored);
            let candidates = Candidate::all_of(&stored)?;
            let options = &self.site.options;
            let inputs = policy::compaction(&candidates, &order, options, Effort::Full);
            let Some(inputs) = inputs else { break };
            let plan = self.plan(JobKind::Compaction, &stored, inputs);
            self.attempt(&plan, summary, &mut attempts).await?;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        plan: &JobPlan,
        summary: &mut RewriteSummary,
        attempts: &mut usize,
    ) -> Result<(), RewriteError> {
        match self.run(plan, summary).await {
            Ok(()) => *attempts = ATTEMPTS,
            Err(error) if error.is_passing() && *attempts > 1 => {
                *attempts -= 1;
                self.log_horizon().await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// One piece of what is worth doing, if there is any. A failure is remembered and waited for.
    pub(in crate::storage) async fn step(&self) -> Result<bool, RewriteError> {
        self.end_old_jobs().await?;
        let now = self.site.clock.monotonic();
        let tables = self.due_tables(now);
        let mut by_table = Vec::with_capacity(tables.len());
        for table in &tables {
            by_table.push((table.id(), Candidate::all_of(table)?, self.order_of(table)));
        }
        let runs = by_table.iter().map(|(_, c, _)| policy::deepest(c).len()).max().unwrap_or(0);
        self.slow_down(runs);
        let (state, options) = (&self.site.state, &self.site.options);
        let flush = policy::flush(&tables, state.budget(), options);
        let compaction = policy::next_compaction(&by_table, options);
        let pace = if self.is_urgent() { Pace::FAST } else { Pace::BACKGROUND };
        self.site.segments.objects.set_pace(pace);
        let has_to_merge = runs >= policy::RUNS_TOO_MANY && compaction.is_some();
        let mut summary = RewriteSummary::default();
        let (table, result) = match (flush, compaction) {
            (Some(table), _) if !has_to_merge => {
                (table, self.flush_some(table, &mut summary).await)
            }
            (_, Some((table, inputs))) => {
                let stored = self.table(table)?;
                let plan = self.plan(JobKind::Compaction, &stored, inputs);
                (table, self.run(&plan, &mut summary).await)
            }
            _ => return Ok(false),
        };
        match result {
            Ok(()) => {
                self.waits.lock().remove(&table);
                Ok(true)
            }
            Err(error @ (RewriteError::ShuttingDown | RewriteError::Log(_))) => Err(error),
            Err(error) => {
                self.wait_for(table, &error);
                Ok(true)
            }
        }
    }

    /// Is memory short?
    fn is_urgent(&self) -> bool {
        let budget = self.site.state.budget();
        budget.used_bytes() > budget.limit_bytes() / 100 * URGENT_PERCENT
    }

    fn due_tables(&self, now: Duration) -> Vec<Arc<Table>> {
        let catalog = self.site.state.catalog();
        let mut tables = self.site.state.tables();
        let mut waits = self.waits.lock();
        waits.retain(|table, _| catalog.table_by_storage(*table).is_some());
        let most = if self.is_urgent() { URGENT_WAIT_MAX } else { WAIT_MAX };
        let is_over = |(until, wait): &(Duration, Duration)| {
            until.saturating_sub(wait.saturating_sub(most)) <= now
        };
        tables.retain(|table| {
            let is_due = waits.get(&table.id()).is_none_or(is_over);
            is_due && catalog.table_by_storage(table.id()).is_some()
        });
        tables
    }

    fn wait_for(&self, table: TableId, error: &RewriteError) {
        let mut waits = self.waits.lock();
        let before = waits.get(&table).map(|(_, waited)| *waited);
        let wait = before.map_or(WAIT_FIRST, |waited| (waited * 2).min(WAIT_MAX));
        tracing::info!(%table, %error, seconds = wait.as_secs(), "tried again later");
        waits.insert(table, (self.site.clock.monotonic() + wait, wait));
    }

    /// A part of what a flush would do, so that compaction has its turn.
    async fn flush_some(
        &self,
        table: TableId,
        summary: &mut RewriteSummary,
    ) -> Result<(), RewriteError> {
        let stored = self.table(table)?;
        let mut wanted = sealed_chunks(&stored);
        if wanted.is_empty() {
            self.seal(&stored).await?;
            wanted = sealed_chunks(&stored);
        }
        let Some(inputs) = self.next_flush(&stored, &mut wanted) else { return Ok(()) };
        self.run(&self.plan(JobKind::Flush, &stored, inputs), summary).await
    }

    /// Commits wait the longer, the more runs there are beyond what is good.
    fn slow_down(&self, runs: usize) {
        self.figures.set_runs(runs);
        let over = runs.saturating_sub(policy::RUNS_TOO_MANY);
        let share = over as f64 / (policy::RUNS_MAX - policy::RUNS_TOO_MANY) as f64;
        self.site.state.budget().set_backlog_delay(DELAY_MAX.mul_f64(share.min(1.0)));
    }

    /// The open chunk gets no more rows.
    async fn seal(&self, table: &Table) -> Result<(), RewriteError> {
        let Some((open, _)) = table.open_chunk() else { return Ok(()) };
        fault("rewrite::seal")?;
        let seal = Control::Seal { table: table.id(), segment: open.segment };
        match self.site.log(&seal).await {
            // Another record has sealed it, or the table is gone.
            Err(error) if error.is_passing() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Nobody reads what was dropped long ago: jobs wait for that to be in the log.
    async fn log_horizon(&self) -> Result<(), RewriteError> {
        let oldest = self.site.log.snapshots().oldest();
        if oldest <= self.site.state.horizon() {
            return Ok(());
        }
        match self.site.log(&Control::Horizon(oldest)).await {
            // Another one came first that is later.
            Err(RewriteError::Refused(_)) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn sealed_chunks(table: &Table) -> BTreeSet<SegmentId> {
    let chunks = table.chunk_list();
    let sealed = chunks.iter().filter(|chunk| chunk.is_sealed() && !chunk.is_private());
    sealed.map(|chunk| chunk.segment()).collect()
}
