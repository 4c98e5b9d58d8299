//! Rows of a large write on their way into objects, before it commits (`docs/flush.md`, "Large
//! writes").
//!
//! ```text
//! [`Stage`]        the job in the log: begin ─▶ renewed while the statement makes progress ─▶ the commit,
//!                  or its end, after which what was written is deleted
//! [`StageWriter`]  runs of rows, each sorted by the key, one after the other into segments; blocks
//! [`Staged`]       a segment that is written: what a part says of it, and which keys its rows have
//! ```

mod keys;
mod writer;

use std::{sync::Arc, time::Duration};

use glaredb_txn::ids::{JobId, TableId};
use parking_lot::Mutex;

pub use self::{
    keys::Staged,
    writer::{Run, RunRows, StageWriter, Written},
};
use super::{
    database::Database,
    objects::ObjectName,
    record::{Control, JobBegin},
    rewrite::{RewriteError, Site, fault},
    schema::TableSchema,
};

/// All fail points of staging, in the order in which one meets them.
pub const FAIL_POINTS: &[&str] = &[
    "staging::begin::before",
    "staging::begin::after",
    "staging::object::before",
    "staging::object::after",
    "staging::renew",
    "staging::end",
];

/// A job that says so goes on is not taken for lost: it does this many times before it would be.
const RENEWALS: u32 = 4;

/// Objects that are begun under a job, whole or not.
type Names = Arc<Mutex<Vec<ObjectName>>>;

/// A job under which rows of one table are written before they are committed.
pub struct Stage {
    site: Site,
    job: JobId,
    table: TableId,
    names: Names,
    renewed_at: Duration,
}

impl Stage {
    /// Errors: the log refuses; the node stops.
    pub async fn begin(database: &Database, table: TableId) -> Result<Self, RewriteError> {
        let rewriter = database.rewriter();
        // It would be taken for one of an earlier process.
        rewriter.end_old_jobs().await?;
        let site = rewriter.site().clone();
        fault("staging::begin::before")?;
        let begin = JobBegin { table, inputs: Vec::new() };
        let at = site.log(&Control::JobBegin(begin)).await?;
        fault("staging::begin::after")?;
        let renewed_at = site.clock.monotonic();
        Ok(Self { site, job: JobId(at.0), table, names: Names::default(), renewed_at })
    }

    #[must_use]
    pub fn table(&self) -> TableId {
        self.table
    }

    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Writes objects under this job. `schema`: of the rows.
    #[must_use]
    pub fn writer(&self, schema: &Arc<TableSchema>) -> StageWriter {
        StageWriter::new(&self.site, (self.table, self.job), schema, Arc::clone(&self.names))
    }

    /// The statement makes progress. Error: the job was ended, as it had not said so for too long.
    pub async fn renew(&mut self) -> Result<(), RewriteError> {
        let now = self.site.clock.monotonic();
        let every = self.site.options.orphan_age / RENEWALS;
        if now.saturating_sub(self.renewed_at) >= every {
            fault("staging::renew")?;
            self.site.log(&Control::JobRenew(self.job)).await?;
            self.renewed_at = now;
        }
        Ok(())
    }

    /// What was written will never be committed: ends the job and deletes it. To be called only by who
    /// knows that; the sweep does the same later.
    pub async fn give_up(self) -> Result<(), RewriteError> {
        fault("staging::end")?;
        let names = self.names.lock().clone();
        self.site.end_job(self.job, &names).await
    }
}
