//! What jobs did: counters since the start, and the last ones by themselves.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{
    job::{JobKind, JobReport},
    policy,
};
use crate::storage::state::State;

/// Jobs that are remembered.
const REPORTS: usize = 256;

/// Counters of one kind of job.
#[derive(Debug, Default)]
struct Counters {
    jobs: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    rows_written: AtomicU64,
}

/// Shared by who runs jobs and who asks.
#[derive(Debug, Default)]
pub(in crate::storage) struct Figures {
    flushes: Counters,
    compactions: Counters,
    given_up: AtomicU64,
    /// Written by jobs that were given up.
    wasted_bytes: AtomicU64,
    pub(in crate::storage) objects_deleted: AtomicU64,
    runs: AtomicUsize,
    reports: Mutex<VecDeque<JobReport>>,
}

/// Jobs of one kind since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobCounts {
    pub jobs: u64,
    /// Of chunks in memory, of segments as objects.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub rows_written: u64,
}

/// Numbers of segments and of the jobs that make them.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RewriteMetrics {
    pub flushes: JobCounts,
    pub compactions: JobCounts,
    /// Jobs that were given up.
    pub given_up: u64,
    /// Bytes that they wrote.
    pub wasted_bytes: u64,
    /// Objects that were deleted because nobody needed them any more.
    pub objects_deleted: u64,
    /// Segments in the lists of all tables, and the bytes of their objects.
    pub segments: u64,
    pub segment_bytes: u64,
    /// Share of these that is of deleted rows.
    pub dead_bytes: u64,
    /// Segments that are in no list and whose objects still have to stay.
    pub removed_segments: u64,
    /// Memory of sealed chunks, which could be flushed.
    pub backlog_bytes: u64,
    /// Most segments over one key, when that was looked at last.
    pub runs: u64,
}

impl RewriteMetrics {
    /// Bytes written for each byte that was flushed: 1 without compactions.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        let flushed = self.flushes.bytes_written;
        let all = flushed + self.compactions.bytes_written + self.wasted_bytes;
        if flushed == 0 { 1.0 } else { all as f64 / flushed as f64 }
    }

    /// Bytes of segments for each byte of rows that are alive.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        let alive = self.segment_bytes.saturating_sub(self.dead_bytes);
        if alive == 0 { 1.0 } else { self.segment_bytes as f64 / alive as f64 }
    }
}

impl Counters {
    fn read(&self) -> JobCounts {
        JobCounts {
            jobs: self.jobs.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            rows_written: self.rows_written.load(Relaxed),
        }
    }
}

impl Figures {
    /// A job is over.
    pub(super) fn add(&self, report: JobReport) {
        if let Some(error) = &report.error {
            self.given_up.fetch_add(1, Relaxed);
            self.wasted_bytes.fetch_add(report.bytes_written, Relaxed);
            tracing::warn!(
                job = %report.job, kind = ?report.kind, table = %report.table, error,
                "a job was given up"
            );
        } else {
            let counters = match report.kind {
                JobKind::Flush => &self.flushes,
                JobKind::Compaction => &self.compactions,
            };
            counters.jobs.fetch_add(1, Relaxed);
            counters.bytes_read.fetch_add(report.bytes_read, Relaxed);
            counters.bytes_written.fetch_add(report.bytes_written, Relaxed);
            counters.rows_written.fetch_add(report.rows_written, Relaxed);
            tracing::info!(
                job = %report.job, kind = ?report.kind, table = %report.table,
                inputs = report.inputs, outputs = report.outputs, rows = report.rows_written,
                bytes = report.bytes_written, seconds = report.duration.as_secs_f64(),
                "rows were moved"
            );
        }
        let mut reports = self.reports.lock();
        if reports.len() == REPORTS {
            reports.pop_front();
        }
        reports.push_back(report);
    }

    pub(super) fn set_runs(&self, runs: usize) {
        self.runs.store(runs, Relaxed);
    }

    /// The last jobs, the newest last.
    pub(in crate::storage) fn reports(&self) -> Vec<JobReport> {
        self.reports.lock().iter().cloned().collect()
    }

    pub(in crate::storage) fn metrics(&self, state: &State) -> RewriteMetrics {
        let mut metrics = RewriteMetrics {
            flushes: self.flushes.read(),
            compactions: self.compactions.read(),
            given_up: self.given_up.load(Relaxed),
            wasted_bytes: self.wasted_bytes.load(Relaxed),
            objects_deleted: self.objects_deleted.load(Relaxed),
            removed_segments: state.removed().len() as u64,
            runs: self.runs.load(Relaxed) as u64,
            ..RewriteMetrics::default()
        };
        for table in state.tables() {
            metrics.backlog_bytes += policy::sealed_bytes(&table);
            for segment in table.segments().iter() {
                metrics.segments += 1;
                let Ok(meta) = segment.description() else { continue };
                let (rows, dead) = (segment.rows(), segment.deletions().count());
                metrics.segment_bytes += meta.bytes;
                metrics.dead_bytes +=
                    (u128::from(meta.bytes) * u128::from(dead) / u128::from(rows.max(1))) as u64;
            }
        }
        metrics
    }
}
