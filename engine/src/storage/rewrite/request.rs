//! What someone asks for: all of a table flushed, or rewritten.

use std::collections::{BTreeSet, VecDeque};

use glaredb_txn::ids::{SegmentId, TableId};
use parking_lot::Mutex;

use super::{
    RewriteError, Site,
    fault::fault,
    job::{self, JobKind, JobPlan, JobReport},
};
use crate::storage::{record::Control, table::Table};

/// Jobs that are remembered.
const REPORTS: usize = 256;
/// How often a job is tried that something else was before.
const ATTEMPTS: usize = 3;

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

/// Runs jobs, one after the other.
pub(in crate::storage) struct Rewriter {
    site: Site,
    reports: Mutex<VecDeque<JobReport>>,
}

impl Rewriter {
    pub(in crate::storage) fn new(site: Site) -> Self {
        Self { site, reports: Mutex::default() }
    }

    /// The last jobs, the newest last.
    pub(in crate::storage) fn reports(&self) -> Vec<JobReport> {
        self.reports.lock().iter().cloned().collect()
    }

    /// Ends the jobs of earlier leaders. Before the first job.
    pub(in crate::storage) async fn end_old_jobs(&self) -> Result<(), RewriteError> {
        for (job, open) in self.site.state.jobs() {
            self.site.end_job(job, &[]).await?;
            tracing::info!(%job, table = %open.table, "ended a job of an earlier process");
        }
        Ok(())
    }

    async fn run(&self, plan: &JobPlan, summary: &mut RewriteSummary) -> Result<(), RewriteError> {
        let (report, result) = job::run(&self.site, plan).await;
        if let Some(report) = report {
            match &report.error {
                None => {
                    summary.jobs += 1;
                    summary.inputs += report.inputs as u64;
                    summary.outputs += report.outputs as u64;
                    summary.rows_written += report.rows_written;
                    summary.bytes_written += report.bytes_written;
                    tracing::info!(
                        job = %report.job, kind = ?report.kind, table = %report.table,
                        inputs = report.inputs, outputs = report.outputs,
                        rows = report.rows_written, bytes = report.bytes_written,
                        seconds = report.duration.as_secs_f64(), "rewritten"
                    );
                }
                Some(error) => tracing::warn!(
                    job = %report.job, kind = ?report.kind, table = %report.table, error,
                    "a job was given up"
                ),
            }
            let mut reports = self.reports.lock();
            if reports.len() == REPORTS {
                reports.pop_front();
            }
            reports.push_back(report);
        }
        result
    }

    /// The rows of a table that are in chunks now go to segments.
    pub(in crate::storage) async fn flush(
        &self,
        table: TableId,
    ) -> Result<RewriteSummary, RewriteError> {
        let stored = self.site.state.table(table).ok_or(RewriteError::NoTable(table))?;
        self.seal(&stored).await?;
        // What comes from here on is not waited for.
        let mut wanted = sealed_chunks(&stored);
        let mut summary = RewriteSummary::default();
        let mut attempts = ATTEMPTS;
        while let Some(inputs) = self.next_flush(&stored, &mut wanted) {
            let plan = JobPlan { kind: JobKind::Flush, table, inputs, order: None };
            match self.run(&plan, &mut summary).await {
                Ok(()) => {
                    wanted.retain(|source| !plan.inputs.contains(source));
                    attempts = ATTEMPTS;
                }
                Err(error) if error.is_passing() && attempts > 1 => {
                    attempts -= 1;
                    self.log_horizon().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(summary)
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
