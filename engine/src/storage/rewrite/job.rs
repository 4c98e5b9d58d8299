//! One job from its begin record to its edit.

use std::{sync::Arc, time::Duration};

use glaredb_txn::{
    commit::message::Refusal,
    ids::{JobId, SegmentId, TableId, Timestamp},
};

use super::{
    RewriteError, Site,
    fault::fault,
    merge::Merge,
    output::{Output, Written, added},
    source::{self, Content, Input, Moment, SegmentRest, Shape},
};
use crate::storage::{
    StorageError,
    chunk::Chunk,
    objects::ObjectName,
    record::{Control, Edit, JobBegin, JobDeletions},
    remap::NewPlace,
    schema::TableSchema,
    segment::SortOrder,
    state::State,
    table::Table,
};

/// Deletions that a record of a job brings along.
const DELETIONS_AT_ONCE: usize = 10_000;
/// Records with deletions that came meanwhile, after which a job is given up: commits delete faster
/// than it can tell.
const ROUNDS_MAX: usize = 1_000;

/// What a job is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// Chunks to segments.
    Flush,
    /// Segments to segments.
    Compaction,
}

/// What a job is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct JobPlan {
    pub(super) kind: JobKind,
    pub(super) table: TableId,
    /// Sealed chunks and segments, ascending.
    pub(super) inputs: Vec<SegmentId>,
    /// What its rows are sorted by; `None`: the table's key.
    pub(super) order: Option<SortOrder>,
}

/// What a job did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobReport {
    pub job: JobId,
    pub kind: JobKind,
    pub table: TableId,
    /// Milliseconds since the Unix epoch.
    pub began_ms: u64,
    pub duration: Duration,
    pub inputs: usize,
    pub outputs: usize,
    /// Dead ones are among those read, and some among those written.
    pub rows_read: u64,
    pub rows_written: u64,
    /// Of chunks in memory, of segments as objects.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Why it was given up.
    pub error: Option<String>,
}

/// Does what is planned. Error: nothing was changed; what was written is deleted, or will be swept.
pub(super) async fn run(
    site: &Site,
    plan: &JobPlan,
) -> (Option<JobReport>, Result<(), RewriteError>) {
    let started = site.clock.monotonic();
    let begun = match begin(site, plan).await {
        Ok(job) => job,
        Err(error) => return (None, Err(error)),
    };
    let mut report = JobReport {
        job: begun,
        kind: plan.kind,
        table: plan.table,
        began_ms: site.clock.now_ms(),
        duration: Duration::ZERO,
        inputs: plan.inputs.len(),
        outputs: 0,
        rows_read: 0,
        rows_written: 0,
        bytes_read: 0,
        bytes_written: 0,
        error: None,
    };
    let mut names = Vec::new();
    let result = rewrite(site, plan, &mut report, &mut names).await;
    if let Err(error) = &result {
        report.error = Some(error.to_string());
        // Without an answer of the log nobody knows whether the edit counts.
        if !matches!(error, RewriteError::Log(_))
            && let Err(error) = site.end_job(begun, &names).await
        {
            tracing::debug!(job = %begun, %error, "what it wrote stays until the next sweep");
        }
    }
    report.duration = site.clock.monotonic().saturating_sub(started);
    (Some(report), result)
}

async fn begin(site: &Site, plan: &JobPlan) -> Result<JobId, RewriteError> {
    fault("rewrite::begin::before")?;
    let begin = JobBegin { table: plan.table, inputs: plan.inputs.clone() };
    let at = site.log(&Control::JobBegin(begin)).await?;
    Ok(JobId(at.0))
}

/// All between the begin and the edit.
async fn rewrite(
    site: &Site,
    plan: &JobPlan,
    report: &mut JobReport,
    names: &mut Vec<ObjectName>,
) -> Result<(), RewriteError> {
    fault("rewrite::begin::after")?;
    let job = report.job;
    let table = site.state.table(plan.table).ok_or(RewriteError::NoTable(plan.table))?;
    let captured = Capture::take(site, &table, plan, job)?;
    report.rows_read = captured.inputs.iter().map(|input| u64::from(input.rows)).sum();
    report.bytes_read = captured.inputs.iter().map(Input::bytes).sum();
    let chunks: Vec<Arc<Chunk>> =
        plan.inputs.iter().filter_map(|source| captured.list.chunk(*source).cloned()).collect();
    let written = write(site, plan, job, &captured, names).await?;
    report.outputs = written.segments.len();
    report.rows_written = written.segments.iter().map(|meta| u64::from(meta.rows)).sum();
    report.bytes_written = written.segments.iter().map(|meta| meta.bytes).sum();
    drop(captured.inputs);
    let Written { segments, remap, deletions } = written;
    let as_of = captured.moment.as_of;
    site.state.note(job, as_of, Arc::new(remap));
    let deletions = say_deletions(site, job, deletions).await?;
    let added = added(segments);
    let (table_id, removed) = (plan.table, plan.inputs.clone());
    let edit = Edit { job, table: table_id, as_of, removed, added, deletions };
    commit(site, edit).await?;
    // It is done: what follows only frees memory.
    if let Err(error) = fault("rewrite::edit::after") {
        tracing::debug!(%error, "keys of chunks that are gone stay");
        return Ok(());
    }
    if let Err(error) = table.forget_keys(&chunks) {
        tracing::error!(%error, table = %plan.table, "keys of chunks that are gone stay");
    }
    table.account();
    Ok(())
}

/// Deletions that a job read, all but the last few, which go with the edit.
async fn say_deletions(
    site: &Site,
    job: JobId,
    mut deletions: Vec<(NewPlace, Timestamp)>,
) -> Result<Vec<(NewPlace, Timestamp)>, RewriteError> {
    while deletions.len() > DELETIONS_AT_ONCE {
        fault("rewrite::deletions::before")?;
        let rest = deletions.split_off(DELETIONS_AT_ONCE);
        let said = JobDeletions { job, deletions: std::mem::replace(&mut deletions, rest) };
        site.log(&Control::JobDeletions(said)).await?;
        site.give_way().await?;
    }
    Ok(deletions)
}

/// Logs the edit, and before it what is too much for it.
async fn commit(site: &Site, edit: Edit) -> Result<(), RewriteError> {
    let record = Control::Edit(edit);
    let Control::Edit(edit) = &record else { unreachable!("made above") };
    for _ in 0..ROUNDS_MAX {
        fault("rewrite::edit::before")?;
        let late = match site.log(&record).await {
            Err(RewriteError::Refused(Refusal::TooLate(late))) => late,
            other => return other.map(drop),
        };
        tracing::debug!(job = %edit.job, late, "the edit has to wait");
        let said = JobDeletions { job: edit.job, deletions: Vec::new() };
        fault("rewrite::deletions::before")?;
        // Refused where there is nothing to wait for.
        site.log(&Control::JobDeletions(said)).await?;
        site.give_way().await?;
    }
    Err(RewriteError::Later(format!("deletions come faster than {} can say them", edit.job)))
}

/// What a job works on.
struct Capture {
    list: crate::storage::table::TableList,
    shape: Shape,
    moment: Moment,
    inputs: Vec<Input>,
}

impl Capture {
    /// The inputs as of now, after the begin record.
    fn take(site: &Site, table: &Table, plan: &JobPlan, job: JobId) -> Result<Self, RewriteError> {
        // While it is registered no deletion loses its timestamp that is later than the horizon below.
        let guard = site.log.snapshots().register();
        let as_of = guard.timestamp();
        let horizon = site.state.horizon();
        if as_of.0 < job.0 || horizon > as_of {
            let at = format!("{job} reads at {as_of}, with the horizon at {horizon}");
            return Err(StorageError::Invalid(at).into());
        }
        let schema = table.schema();
        check_columns(&site.state, table, &schema, horizon)?;
        let schema = match &plan.order {
            None => schema,
            Some(order) => Arc::new(sorted_by(&schema, order)?),
        };
        let list = table.list();
        let inputs =
            plan.inputs.iter().filter_map(|source| Input::capture(&list, *source).transpose());
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let moment = Moment { as_of, horizon };
        Ok(Self { list, shape: Shape::new(schema)?, moment, inputs })
    }
}

/// A segment has only the columns that live: none may have been dropped that a snapshot still reads.
pub(super) fn check_columns(
    state: &State,
    table: &Table,
    schema: &TableSchema,
    horizon: Timestamp,
) -> Result<(), RewriteError> {
    let dropped = schema.columns().iter().filter(|column| column.dropped).map(|column| column.id);
    let mut dropped = dropped.peekable();
    if dropped.peek().is_none() {
        return Ok(());
    }
    let catalog = state.catalog_at(horizon);
    let then = catalog.table_by_storage(table.id());
    let was_dropped = |id: u32| then.is_some_and(|then| then.dropped.iter().any(|c| c.id == id));
    match dropped.find(|id| !was_dropped(*id)) {
        None => Ok(()),
        Some(id) => Err(RewriteError::Later(format!(
            "a snapshot may still read column {id} of {}, which is dropped",
            table.id()
        ))),
    }
}

/// The table as if this were its key.
fn sorted_by(schema: &TableSchema, order: &SortOrder) -> Result<TableSchema, StorageError> {
    let columns = schema.columns();
    let key = match order {
        SortOrder::RowId => None,
        SortOrder::Key(ids) => {
            let place = |id: &u32| {
                columns
                    .iter()
                    .position(|column| column.id == *id && !column.dropped)
                    .ok_or_else(|| StorageError::Invalid(format!("no column {id} to sort rows by")))
            };
            Some(ids.iter().map(place).collect::<Result<Vec<_>, _>>()?)
        }
    };
    TableSchema::new(schema.version(), columns.to_vec(), key)
}

async fn write(
    site: &Site,
    plan: &JobPlan,
    job: JobId,
    captured: &Capture,
    names: &mut Vec<ObjectName>,
) -> Result<Written, RewriteError> {
    let Capture { shape, inputs, moment, .. } = captured;
    let rows: Vec<u32> = inputs.iter().map(|input| input.rows).collect();
    if rows.iter().map(|rows| u64::from(*rows)).sum::<u64>() >= u64::from(u32::MAX) {
        return Err(StorageError::Invalid(format!("{job} has 2^32 rows or more")).into());
    }
    let one_commit = source::one(inputs.iter().map(Input::one_commit));
    let mut output = Output::new(site, shape, (plan.table, job), &rows, one_commit, names);
    let merged = inputs.len().max(1) as u64;
    let row_bytes = inputs.iter().map(Input::row_bytes).max().unwrap_or(1);
    let rows_max = site.options.rows_at_once(row_bytes);
    let mut runs = Vec::new();
    for (n, input) in inputs.iter().enumerate() {
        match &input.content {
            Content::Chunk(blocks) => {
                source::chunk_runs(n, input.source, blocks, shape, *moment, &mut runs)?;
            }
            Content::Segment { meta, deletions, .. } => {
                let (store, source) = (&site.segments, input.source);
                let schema = &shape.schema;
                // All inputs share the memory for pieces, and are read alternately.
                let bytes = site.options.pieces_bytes();
                let bytes = bytes / if meta.sort_order == shape.order { merged } else { 8 };
                let mut rest =
                    SegmentRest::open(store, source, meta, schema, deletions, bytes).await?;
                if meta.sort_order == shape.order {
                    runs.extend(source::segment_run(n, rest, shape, *moment).await?);
                    continue;
                }
                // Sorted otherwise: as many rows as fit memory at a time, segments of their own.
                loop {
                    let sorted_bytes = site.options.pieces_bytes();
                    let some = rest.sorted_runs((n, sorted_bytes), shape, *moment).await?;
                    if some.is_empty() {
                        break;
                    }
                    merge(site, Merge::new(shape, *moment, some), rows_max, &mut output).await?;
                }
            }
        }
        site.give_way().await?;
    }
    merge(site, Merge::new(shape, *moment, runs), rows_max, &mut output).await?;
    let sources: Vec<SegmentId> = inputs.iter().map(|input| input.source).collect();
    output.finish(&sources)
}

/// Writes the rows of a merge as segments of their own.
async fn merge(
    site: &Site,
    mut merge: Merge<'_>,
    rows_max: usize,
    output: &mut Output<'_>,
) -> Result<(), RewriteError> {
    while let Some(merged) = merge.next(rows_max).await? {
        output.write(&merged)?;
        site.give_way().await?;
    }
    output.end_segment()
}
