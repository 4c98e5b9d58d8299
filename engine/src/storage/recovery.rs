//! From what lies on disk to the state at the end of the log.
//!
//! ```text
//! metastore.redb ─▶ database id, pointer to the checkpoint, term
//! objects/       ─▶ the state at Q                     (none: the empty state)
//! log/           ─▶ every record after Q, applied      (`txn::commit::recovery`, `apply::Replayer`)
//!                ─▶ key indexes, of the rows at the end of the log
//! ```
//!
//! Nothing is guessed: a checkpoint that is corrupt, a log that begins too late or ends too early
//! is an error that names it, and the operator decides what to restore.

mod progress;

use std::{sync::Arc, time::Duration};

use glaredb_catalog::metastore::{
    EmbeddedMetastore, IdentityError, Leadership, LeadershipError, Metastore, MetastoreError,
    open_identity, remember_storage_location, storage_location,
};
use glaredb_txn::{
    commit::{
        commit_ids::CommitIds,
        leader::StartError,
        recovery::{PIECE_BYTES, Progress, Replay, ReplayError},
    },
    env::{Disk, DiskError, Env},
    ids::{DatabaseId, LogId, Term},
    log::local::{LocalWal, LocalWalOptions, OpenError as LogOpenError},
};

use super::{
    StorageError,
    apply::{Applier, Replayer},
    budget::Budget,
    checkpoint::{self, CheckpointError, Current, find_current},
    objects::{
        self, CacheOptions, ObjectDirectory, ObjectError, Objects, StorageLocation, StorageOptions,
    },
    state::{LoadedState, State},
};

pub use progress::{RecoveryPhase, RecoveryProgress};

/// Names in the data directory (docs/formats/data-dir.md).
pub const METASTORE_FILE: &str = "metastore.redb";
pub const LOG_DIRECTORY: &str = "log";
pub const OBJECT_DIRECTORY: &str = "objects";

/// All fail points of recovery: places to wait or to die, not to fail.
pub const FAIL_POINTS: &[&str] = &["recovery::replay"];

/// There is one log in this step; nothing below assumes it.
pub const LOG: LogId = LogId(0);

/// Why a database cannot be opened. What is on disk stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory: {0}")]
    Disk(#[from] DiskError),
    /// Nothing was written: a new metastore would belong to no log.
    #[error(
        "{METASTORE_FILE} is missing beside a log. It says which database and which checkpoint the \
         log belongs to, so there is no opening it without; restore it from a copy of the whole \
         data directory"
    )]
    MetastoreMissing,
    #[error(
        "{METASTORE_FILE} has 0 bytes. It says which database and which checkpoint the log belongs \
         to, so there is no opening it without; restore it from a copy of the whole data directory"
    )]
    MetastoreEmpty,
    #[error("metastore: {0}")]
    Metastore(#[from] MetastoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Leadership(#[from] LeadershipError),
    #[error("log: {0}")]
    Log(#[from] LogOpenError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Storage(#[from] objects::StorageError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("loading the checkpoint: {0}")]
    Load(StorageError),
    #[error("commit ids of checkpoint {name}: {reason}")]
    CommitIds { name: String, reason: String },
    #[error("replaying the log: {0}")]
    Replay(#[from] ReplayError),
    #[error("building the key indexes: {0}")]
    Index(StorageError),
    #[error("leader: {0}")]
    Start(#[from] StartError),
    #[error("first start: {0}")]
    Bootstrap(String),
    #[error("{0}")]
    Thread(#[from] glaredb_txn::env::SpawnError),
}

/// The state at the end of the log, and everything that was opened on the way.
pub struct Recovered {
    pub database: DatabaseId,
    pub leadership: Leadership,
    pub wal: Arc<LocalWal>,
    pub objects: Arc<dyn Objects>,
    /// They are reached over a network.
    pub is_remote: bool,
    /// Taken when the leader starts.
    pub applier: Option<Applier>,
    pub state: Arc<State>,
    pub ids: Arc<CommitIds>,
    pub checkpoint: Option<Current>,
    /// Bytes of entries that were replayed: what the log has grown by since the checkpoint.
    pub replayed_bytes: u64,
    /// Commits among them: control records alone are nothing new.
    pub replayed_commits: u64,
    pub took: Duration,
}

/// How to recover.
#[derive(Clone, Debug)]
pub struct RecoverOptions {
    /// Counts the memory of the state.
    pub budget: Arc<Budget>,
    pub log: LocalWalOptions,
    pub storage: StorageOptions,
    /// What is put before the objects, if anything is.
    pub cache: Option<CacheOptions>,
    /// Bytes of the log that are read ahead of what is applied.
    pub piece_bytes: usize,
}

impl RecoverOptions {
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            log: LocalWalOptions::default(),
            storage: StorageOptions::default(),
            cache: None,
            piece_bytes: PIECE_BYTES,
        }
    }
}

/// Opens everything below the root of `env.disk` and replays. Changes nothing but: an empty
/// directory gets an identity, the term grows, unfinished uploads and torn log tails go.
pub fn recover(
    env: &Env,
    options: RecoverOptions,
    progress: &RecoveryProgress,
) -> Result<Recovered, OpenError> {
    let RecoverOptions { budget, log: log_options, storage, cache, piece_bytes } = options;
    let started = env.clock.monotonic();
    progress.begin(RecoveryPhase::Opening, 0);
    check_metastore(&*env.disk)?;
    let metastore: Arc<dyn Metastore> =
        Arc::new(EmbeddedMetastore::open(env.clone(), METASTORE_FILE)?);
    let database = open_identity(&*metastore, &*env.random, None)?.database_id;
    // Where there was a leader there was a log: an empty one in its place would be a lost database.
    let create = !Leadership::has_begun(&*metastore)?;
    let log_options = LocalWalOptions { create, ..log_options };
    let (wal, report) = LocalWal::open(env, LOG_DIRECTORY, database, LOG, log_options)?;
    if report.torn_bytes > 0 {
        tracing::info!(bytes = report.torn_bytes, "cut an unfinished write off the log");
    }
    let (objects, is_remote) = open_objects(env, &storage, &*metastore, database, create)?;
    let objects = match &cache {
        Some(cache) => cache.wrap(objects, is_remote),
        None => objects,
    };
    let current = find_current(&*objects, &*metastore, database, LOG)?;

    let (state, ids) = match &current {
        None => (State::empty(budget), CommitIds::new(LOG)),
        Some(current) => load(&*objects, database, current, budget, progress)?,
    };
    let ids = Arc::new(ids);
    let mut replayer = Replayer::new(Arc::clone(&state), Arc::clone(&env.threads));
    let replay = Replay { wal: &*wal, ids: &ids, threads: &*env.threads, piece_bytes };
    let replayed = replay_log(env, replay, &mut replayer, progress)?;
    let replayed_commits = replayer.commits();
    progress.begin(RecoveryPhase::BuildingIndexes, 0);
    let indexing = env.clock.monotonic();
    let applier = replayer.finish().map_err(OpenError::Index)?;
    let seconds = env.clock.monotonic().saturating_sub(indexing).as_secs_f64();
    tracing::info!(seconds, "built the key indexes");

    // The log notes its own term at every opening; the metastore's must not be below.
    let above = Term(report.term.0.saturating_sub(1));
    let leadership = Leadership::begin(metastore, &*env.random, above)?;
    progress.begin(RecoveryPhase::Starting, 0);
    Ok(Recovered {
        database,
        leadership,
        wal,
        objects,
        is_remote,
        applier: Some(applier),
        state,
        ids,
        checkpoint: current,
        replayed_bytes: replayed.bytes,
        replayed_commits,
        took: env.clock.monotonic().saturating_sub(started),
    })
}

/// The objects, wherever they are, and whether it is over a network. Their location is remembered
/// once it is this database's.
fn open_objects(
    env: &Env,
    options: &StorageOptions,
    metastore: &dyn Metastore,
    database: DatabaseId,
    first_start: bool,
) -> Result<(Arc<dyn Objects>, bool), OpenError> {
    let remembered = storage_location(metastore)?;
    let given = options.location.as_ref();
    let Some(location) = objects::choose(given, remembered.as_deref(), first_start)? else {
        return Ok((Arc::new(ObjectDirectory::open(env, OBJECT_DIRECTORY)?), false));
    };
    let opened = location.open(env, options, database, first_start)?;
    if remembered.is_none() {
        remember_storage_location(metastore, &location.url())?;
    }
    Ok((opened, matches!(location, StorageLocation::Remote(_))))
}

/// The objects of a database that no server is using, to look at: nothing is made or removed where
/// they are. The metastore is asked only if the data directory, the root of `env.disk`, has none.
pub fn existing_objects(
    env: &Env,
    options: &StorageOptions,
) -> Result<Arc<dyn Objects>, OpenError> {
    let here = || Arc::new(ObjectDirectory::open_read_only(env, OBJECT_DIRECTORY));
    if env.disk.exists(OBJECT_DIRECTORY)? || !env.disk.exists(METASTORE_FILE)? {
        return Ok(here());
    }
    check_metastore(&*env.disk)?;
    let metastore = EmbeddedMetastore::open(env.clone(), METASTORE_FILE)?;
    let database = open_identity(&metastore, &*env.random, None)?.database_id;
    let remembered = storage_location(&metastore)?;
    match objects::choose(options.location.as_ref(), remembered.as_deref(), false)? {
        None => Ok(here()),
        Some(location) => Ok(location.open(env, options, database, false)?),
    }
}

/// The metastore is made before the log and gets its name when it is whole: no crash leaves a log
/// without one, or an empty one.
fn check_metastore(disk: &dyn Disk) -> Result<(), OpenError> {
    if disk.exists(METASTORE_FILE)? {
        let empty = disk.open_read_only(METASTORE_FILE)?.is_empty()?;
        return if empty { Err(OpenError::MetastoreEmpty) } else { Ok(()) };
    }
    if disk.exists(LOG_DIRECTORY)? && !disk.list(LOG_DIRECTORY)?.is_empty() {
        return Err(OpenError::MetastoreMissing);
    }
    Ok(())
}

fn load(
    objects: &dyn Objects,
    database: DatabaseId,
    current: &Current,
    budget: Arc<Budget>,
    progress: &RecoveryProgress,
) -> Result<(Arc<State>, CommitIds), OpenError> {
    let Current { name, manifest } = current;
    progress.begin(RecoveryPhase::LoadingCheckpoint, manifest.bytes());
    tracing::info!(
        checkpoint = %name, position = %manifest.at, bytes = manifest.bytes(), rows = manifest.rows(),
        "loading the checkpoint"
    );
    let image = checkpoint::load(objects, database, name, manifest, &mut |bytes| {
        progress.advance(bytes);
    })?;
    let ids = CommitIds::import(&manifest.commit_ids)
        .map_err(|e| OpenError::CommitIds { name: name.to_string(), reason: e.to_string() })?;
    let state = State::load(budget, LoadedState { image }).map_err(OpenError::Load)?;
    for table in &manifest.tables {
        let computed = state.table(table.table).map_or(0, |t| t.state_hash());
        if computed != table.state_hash {
            let (table, expected) = (table.table, table.state_hash);
            return Err(CheckpointError::StateHash { table, computed, expected }.into());
        }
    }
    Ok((state, ids))
}

/// Replays what comes after the state; returns how much that was.
fn replay_log(
    env: &Env,
    replay: Replay<'_>,
    replayer: &mut Replayer,
    progress: &RecoveryProgress,
) -> Result<Progress, OpenError> {
    progress.begin(RecoveryPhase::ReplayingLog, 0);
    let started = env.clock.monotonic();
    let mut said = started;
    let mut last = Progress { entries: 0, entries_total: 0, records: 0, bytes: 0 };
    let end = replay.run(replayer, &mut |now| {
        progress.replayed(&now);
        fail::fail_point!("recovery::replay");
        last = now;
        let at = env.clock.monotonic();
        if at.saturating_sub(said) >= Duration::from_secs(1) {
            said = at;
            tracing::info!(
                entries = now.entries,
                of = now.entries_total,
                records = now.records,
                bytes = now.bytes,
                "replaying the log"
            );
        }
    })?;
    let seconds = env.clock.monotonic().saturating_sub(started).as_secs_f64();
    tracing::info!(
        position = %end.position, entries = last.entries, records = last.records, bytes = last.bytes,
        seconds, "replayed the log"
    );
    Ok(last)
}
