//! The database under the sessions: opened once, closed once.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glaredb_engine::{
    query::functions::Functions,
    session::engine::{Engine, EngineOptions},
    storage::{
        database::{Database, Fatal, OpenOptions},
        objects::{CacheOptions, CacheSize, ObjectFigures, StorageOptions},
        recovery::{OpenError, RecoveryProgress},
        rewrite::{JobReport, RewriteOptions},
        segment::ResidentMetrics,
        table::TableSegment,
    },
};
use glaredb_txn::{env::Env, ids::TableId};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    memory::MemorySplit,
    metrics::{write_counter, write_counters, write_gauge},
    object_metrics,
    pg_catalog::{Activities, PgCatalog, SegmentFigures, StorageFigures, TableFigures},
    sessions::Sessions,
};

/// Of the data directory: blocks of objects.
const CACHE_DIRECTORY: &str = "cache";

/// How to open a database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub memory: MemorySplit,
    /// Disk for blocks of objects.
    pub cache_disk: CacheSize,
    /// Growth of the log after which a checkpoint is written.
    pub checkpoint_log_bytes: u64,
    /// Rows move to segments by themselves.
    pub automatic_flush: bool,
    /// Where objects are.
    pub storage: StorageOptions,
}

/// Why a database does not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database in {} does not open: {error}{}", data_dir.display(), hint(error, data_dir))]
    Open { data_dir: PathBuf, error: OpenError },
    #[error("the query engine does not start: {0}")]
    Engine(String),
    #[error("opening the database ended badly: {0}")]
    Panicked(String),
}

/// What an operator can look at.
fn hint(error: &OpenError, data_dir: &Path) -> String {
    match error {
        OpenError::Log(_) | OpenError::Replay(_) => {
            format!("; `glaredb log dump {}` shows what the log holds", data_dir.display())
        }
        OpenError::Checkpoint(_) | OpenError::Load(_) => {
            format!("; `glaredb checkpoint show {}` reads it", data_dir.display())
        }
        _ => String::new(),
    }
}

/// Sizes of tables, for the system tables.
struct Figures(Arc<Database>);

impl StorageFigures for Figures {
    fn table(&self, storage: TableId) -> Option<TableFigures> {
        let table = self.0.table(storage)?;
        let stats = table.stats();
        let list = table.list();
        let objects = list.segments().iter().filter_map(|s| Some(s.description().ok()?.bytes));
        Some(TableFigures {
            rows: stats.rows_live,
            row_bytes: stats.chunk_bytes + objects.sum::<u64>(),
            index_bytes: stats.index_bytes,
        })
    }

    fn segments(&self, storage: TableId) -> Vec<SegmentFigures> {
        let Some(table) = self.0.table(storage) else { return Vec::new() };
        let schema = table.schema();
        let figures = |segment: &Arc<TableSegment>| {
            // What does not decode is told by whoever reads it.
            let meta = segment.description().ok()?;
            Some(SegmentFigures {
                segment: segment.segment().0,
                object: meta.name.to_string(),
                rows: segment.rows().into(),
                deleted_rows: segment.deletions().count().into(),
                bytes: meta.bytes,
                sort_order: meta.sort_order_text(&schema),
                keys: meta.key_texts(&schema),
                commits_ms: (meta.commits.0.millis(), meta.commits.1.millis()),
                footer_in_memory: segment.is_open(),
            })
        };
        table.list().segments().iter().filter_map(figures).collect()
    }

    fn objects(&self) -> (ObjectFigures, ResidentMetrics) {
        let metrics = self.0.metrics();
        (metrics.objects, metrics.resident)
    }

    fn jobs(&self) -> Vec<JobReport> {
        self.0.jobs()
    }
}

pub(crate) struct Store {
    memory: MemorySplit,
    database: Arc<Database>,
    engine: Arc<Engine>,
}

impl Store {
    /// Recovers the database. Blocks for as long as that takes.
    pub(crate) fn open(
        options: &StoreOptions,
        data_dir: &Path,
        progress: Arc<RecoveryProgress>,
        queries: Handle,
        activities: Arc<dyn Activities>,
    ) -> Result<(Self, Sessions), StoreError> {
        let open = OpenOptions {
            budget_bytes: options.memory.delta,
            checkpoint_log_bytes: options.checkpoint_log_bytes,
            storage: options.storage.clone(),
            rewrite: RewriteOptions {
                automatic: options.automatic_flush,
                ..RewriteOptions::default().within(options.memory.jobs)
            },
            cache: Some(CacheOptions {
                folder: data_dir.join(CACHE_DIRECTORY),
                memory: options.memory.cache,
                disk: options.cache_disk,
            }),
            resident_bytes: usize::try_from(options.memory.segments).unwrap_or(usize::MAX),
            progress,
            ..OpenOptions::default()
        };
        let database = Database::open(open, Env::real(data_dir))
            .map_err(|error| StoreError::Open { data_dir: data_dir.to_owned(), error })?;
        let system_tables = PgCatalog::new(Arc::new(Figures(database.clone())), activities);
        let engine = Engine::new(EngineOptions {
            database: database.clone(),
            query_memory_bytes: usize::try_from(options.memory.queries).unwrap_or(usize::MAX),
            query_threads: std::thread::available_parallelism().map_or(1, usize::from),
            query_runtime: queries,
            functions: Functions::new(system_tables.functions()),
            system_tables: Arc::new(system_tables),
        })
        .map_err(|error| StoreError::Engine(error.message))?;
        let memory = options.memory;
        let numbers = database.metrics();
        let cache = numbers.objects.cache.unwrap_or_default();
        tracing::info!(
            limit_mib = memory.limit >> 20,
            table_mib = memory.delta >> 20,
            query_mib = memory.queries >> 20,
            segment_mib = numbers.resident.budget_bytes >> 20,
            cache_mib = cache.memory_limit_bytes >> 20,
            cache_disk_mib = cache.disk_limit_bytes >> 20,
            "memory"
        );
        Ok((Self { memory, database, engine: engine.clone() }, Sessions::new(engine)))
    }

    /// Changes to `Some` once the node must stop.
    pub(crate) fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.database.fatal()
    }

    /// Blocks until all is written.
    pub(crate) fn shutdown(&self) {
        self.database.shutdown();
    }

    /// Appends the numbers of log, commits, checkpoints and memory.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        let numbers = self.database.metrics();
        let leader = &numbers.leader;
        let rewrite = &numbers.rewrite;
        let (flushes, compactions) = (rewrite.flushes, rewrite.compactions);
        for (name, help, value) in [
            ("commits", "Commits acknowledged: durable, applied and visible.", leader.commits),
            (
                "commit_conflicts",
                "Attempts to commit refused with 40001, those that the server retried included.",
                leader.conflicts,
            ),
            (
                "commit_retries",
                "Statements tried again by the server after 40001, unseen by their clients.",
                self.engine.commit_retries(),
            ),
            (
                "commit_refusals",
                "Commits, parts and aborts refused for other reasons than 40001.",
                leader.refusals,
            ),
            ("commit_aborts", "Abort markers logged.", leader.aborts),
            ("log_entries", "Group commits appended to the log.", leader.entries),
            ("log_batches", "Syncs of the log.", leader.batches),
            ("log_bytes", "Bytes appended to the log.", leader.log_bytes),
            ("checkpoints", "Checkpoints written.", numbers.checkpoints),
            ("checkpoint_failures", "Checkpoints given up.", numbers.checkpoint_failures),
            (
                "checkpoint_written_bytes",
                "Bytes written by checkpoints.",
                numbers.checkpoint_bytes_written,
            ),
            ("flushes", "Jobs that moved rows from memory to segments.", flushes.jobs),
            ("flushed_bytes", "Bytes that they wrote.", flushes.bytes_written),
            ("compactions", "Jobs that made better segments of others.", compactions.jobs),
            ("compacted_bytes", "Bytes that they wrote.", compactions.bytes_written),
            ("compaction_read_bytes", "Bytes of the segments they read.", compactions.bytes_read),
            ("rewrites_given_up", "Jobs of both kinds that were given up.", rewrite.given_up),
            (
                "segment_objects_deleted",
                "Objects of segments deleted because nobody needed them.",
                rewrite.objects_deleted,
            ),
            (
                "plan_cache_hits",
                "Statements of the simple protocol run on a plan found again.",
                self.engine.plan_cache().hits(),
            ),
            (
                "plan_cache_misses",
                "Statements of the simple protocol whose plan was looked for in vain.",
                self.engine.plan_cache().misses(),
            ),
        ] {
            write_counter(&format!("glaredb_{name}_total"), help, value, out);
        }
        write_counters(
            "glaredb_statements_planned_total",
            "Queries and changes of rows by the way they went: by one key, by several keys or ranges of \
             keys, without a table, or through the optimizer.",
            "path",
            &self.engine.paths().read(),
            out,
        );
        let seconds = |ns: u64| ns as f64 / 1e9;
        for (name, help, value) in [
            ("log_write", "Time spent appending to the log and syncing it.", leader.log_ns),
            ("apply", "Time spent applying the log to the tables.", leader.apply_ns),
        ] {
            write_counter(&format!("glaredb_{name}_seconds_total"), help, seconds(value), out);
        }
        for (name, help, value) in [
            (
                "snapshots",
                "Snapshots that statements and transactions hold.",
                self.database.snapshots().registered() as f64,
            ),
            ("resolver_keys", "Keys the resolver remembers.", leader.resolver_keys as f64),
            ("resolver_bytes", "Memory of the resolver.", leader.resolver_bytes as f64),
            (
                "open_large_commits",
                "Commits under way of which parts are in the log.",
                leader.open_large as f64,
            ),
            (
                "open_large_commits_bytes",
                "Bytes of the log that their parts take.",
                leader.open_large_bytes as f64,
            ),
            (
                "open_large_commits_oldest_seconds",
                "How long ago the oldest of them sent its first part.",
                leader.open_large_oldest.as_secs_f64(),
            ),
            ("log_last_entry", "Newest entry of the log.", numbers.log_last.0 as f64),
            ("log_durable_entry", "Newest durable entry.", numbers.log_durable.0 as f64),
            ("log_first_entry", "Oldest entry kept.", numbers.log_first.0 as f64),
            (
                "log_since_checkpoint_bytes",
                "Growth of the log since the last checkpoint began.",
                numbers.log_bytes_since_checkpoint as f64,
            ),
            (
                "checkpoint_last_seconds",
                "Duration of the last checkpoint.",
                numbers.checkpoint_duration.as_secs_f64(),
            ),
            (
                "checkpoint_bytes",
                "Size of the current checkpoint.",
                numbers.checkpoint_bytes as f64,
            ),
            (
                "recovery_seconds",
                "How long the last start's recovery took.",
                numbers.recovery.as_secs_f64(),
            ),
            (
                "horizon_age_seconds",
                "How far what may still be read, as logged, is behind the newest commit.",
                numbers.horizon_age.as_secs_f64(),
            ),
            (
                "oldest_snapshot_seconds",
                "How far the oldest snapshot in use is behind the newest.",
                numbers.oldest_snapshot_age.as_secs_f64(),
            ),
            ("snapshots", "Snapshots in use.", numbers.registered_snapshots as f64),
            (
                "delta_bytes",
                "Memory of chunks, indexes and write sets.",
                numbers.delta_bytes as f64,
            ),
            ("delta_budget_bytes", "Limit of that memory.", numbers.budget_bytes as f64),
            (
                "query_memory_bytes",
                "Memory that running queries hold.",
                self.engine.query_memory_held() as f64,
            ),
            (
                "job_memory_limit_bytes",
                "Memory of the job of flush or compaction that runs.",
                self.memory.jobs as f64,
            ),
            (
                "query_memory_limit_bytes",
                "Memory that all running queries share.",
                self.memory.queries as f64,
            ),
            ("tables", "Tables.", numbers.tables as f64),
            ("segments", "Segments of all tables.", rewrite.segments as f64),
            ("segment_bytes", "Bytes of their objects.", rewrite.segment_bytes as f64),
            ("segment_dead_bytes", "Share of deleted rows in these.", rewrite.dead_bytes as f64),
            (
                "removed_segments",
                "Segments whose objects a reader or the checkpoint still needs.",
                rewrite.removed_segments as f64,
            ),
            (
                "flush_backlog_bytes",
                "Memory of sealed chunks, which could be flushed.",
                rewrite.backlog_bytes as f64,
            ),
            ("segment_runs", "Most segments over one key.", rewrite.runs as f64),
            (
                "write_amplification",
                "Bytes of segments written for each byte flushed.",
                rewrite.write_amplification(),
            ),
            (
                "space_amplification",
                "Bytes of segments for each byte of rows alive.",
                rewrite.space_amplification(),
            ),
        ] {
            write_gauge(&format!("glaredb_{name}"), help, value, out);
        }
        object_metrics::write(&numbers.objects, &numbers.resident, out);
    }
}

#[cfg(test)]
mod tests {
    use glaredb_txn::{
        commit::{recovery::ReplayError, state_machine::ApplyError},
        ids::{EntryIndex, LogId, Position},
    };

    use super::*;

    #[test]
    fn a_record_that_cannot_be_applied_is_named_with_its_place_and_how_to_look_at_it() {
        let position = Position::new(LogId(0), EntryIndex(13), 2);
        let apply = ApplyError { position, reason: "no chunk 7".to_owned() };
        let error = StoreError::Open {
            data_dir: "/srv/data".into(),
            error: OpenError::Replay(ReplayError::Apply(apply)),
        };
        assert_eq!(
            error.to_string(),
            "the database in /srv/data does not open: replaying the log: record at 0/13/2 cannot be \
             applied: no chunk 7; `glaredb log dump /srv/data` shows what the log holds"
        );
    }
}
