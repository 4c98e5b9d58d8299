//! One database, open: the state, the leader of its log, and the work behind commits.
//!
//! ```text
//! open:  metastore ─▶ checkpoint ─▶ replay of the log ─▶ leader ─▶ (first start: bootstrap commit)
//! then:  commits ──▶ leader ──▶ state          sessions read the state at published snapshots
//!        four times a second: the horizon is logged   now and then: a checkpoint, the log is cut
//! ```
//!
//! The data directory is the root of `Env::disk`; `docs/formats/data-dir.md` says what is in it.
//! Whoever opens one holds its lock file.

mod bootstrap;
mod metrics;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use glaredb_catalog::{Catalog, metastore::MetastoreWindow};
use glaredb_txn::{
    commit::{
        leader::{Leader, LeaderHandle, LeaderOptions, LeaderParts},
        message::{Answer, CommitRequest, Refusal, Request, decode_answer, encode_request},
        snapshots::Snapshots,
    },
    env::Env,
    ids::{DatabaseId, Snapshot, TableId},
    log::local::LocalWalOptions,
};
use tokio::sync::{oneshot, watch};

use super::{
    background::{Background, Captures, Shared},
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    checkpoint::{CheckpointError, CheckpointSummary},
    objects::{CacheOptions, StorageOptions},
    placement::StoragePlacement,
    recovery::{
        LOG, OpenError, RecoverOptions, Recovered, RecoveryPhase, RecoveryProgress, recover,
    },
    rewrite::{JobReport, RewriteError, RewriteOptions, RewriteRequest, RewriteSummary, Rewriter},
    segment::{SegmentStore, SortOrder},
    state::State,
    table::Table,
};

pub use metrics::DatabaseMetrics;

/// How to open a database.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Memory for chunks, indexes and write sets.
    pub budget_bytes: u64,
    /// A checkpoint is written when the log has grown by this much since the last one.
    pub checkpoint_log_bytes: u64,
    /// How often the horizon is logged while it moves.
    pub horizon_interval: Duration,
    pub log: LocalWalOptions,
    pub storage: StorageOptions,
    /// What is put before the objects, if anything is: what it does not use of its memory the
    /// decoded parts get.
    pub cache: Option<CacheOptions>,
    /// Memory for decoded parts of segments.
    pub resident_bytes: usize,
    /// How rows move from memory to segments, and these become better ones.
    pub rewrite: RewriteOptions,
    /// Follows the opening; the caller keeps a clone to ask.
    pub progress: Arc<RecoveryProgress>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            budget_bytes: BUDGET_BYTES_DEFAULT,
            checkpoint_log_bytes: 256 << 20,
            horizon_interval: Duration::from_millis(250),
            log: LocalWalOptions::default(),
            storage: StorageOptions::default(),
            cache: None,
            resident_bytes: RESIDENT_BYTES_DEFAULT,
            rewrite: RewriteOptions::default(),
            progress: Arc::default(),
        }
    }
}

/// Of [`OpenOptions::resident_bytes`].
const RESIDENT_BYTES_DEFAULT: usize = 256 << 20;

/// Why the node must stop: log, state or metastore failed. Reads may go on until it does.
pub type Fatal = Arc<str>;

/// See the module's description.
pub struct Database {
    shared: Arc<Shared>,
    background: Background,
    fatal: watch::Receiver<Option<Fatal>>,
}

impl Database {
    /// Recovers and starts. Blocks for as long as that takes: not for a thread that must not.
    pub fn open(options: OpenOptions, env: Env) -> Result<Arc<Self>, OpenError> {
        let progress = Arc::clone(&options.progress);
        let budget = Budget::new(options.budget_bytes);
        let recover_options = RecoverOptions {
            log: options.log.clone(),
            storage: options.storage.clone(),
            cache: options.cache.clone(),
            ..RecoverOptions::new(budget)
        };
        let mut recovered = recover(&env, recover_options, &progress)?;
        let (fatal_sender, fatal) = watch::channel(None);
        let fatal_sender = Arc::new(fatal_sender);
        let captures = Captures::attach(&mut recovered);
        let leader = start_leader(&env, &mut recovered, Arc::clone(&fatal_sender))?;
        let shared =
            Arc::new(Shared::new(env, &options, recovered, leader, captures, fatal_sender));
        bootstrap::bootstrap(&shared)?;
        // What a checkpoint that did not finish left behind takes space and means nothing.
        match shared.store.sweep() {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "deleted objects of an unfinished checkpoint"),
            Err(error) => tracing::warn!(%error, "objects of an unfinished checkpoint stay"),
        }
        let background = Background::start(&shared)?;
        progress.begin(RecoveryPhase::Ready, 0);
        Ok(Arc::new(Self { shared, background, fatal }))
    }

    #[must_use]
    pub fn id(&self) -> DatabaseId {
        self.shared.database
    }

    #[must_use]
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        self.shared.state.budget()
    }

    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.shared.state
    }

    /// Where segments are, and what of them is in memory.
    #[must_use]
    pub fn segments(&self) -> &SegmentStore {
        &self.shared.segments
    }

    /// Published snapshots; readers `register` theirs.
    #[must_use]
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        self.leader().snapshots()
    }

    /// The catalog that `snapshot`, a registered one, sees.
    #[must_use]
    pub fn catalog_at(&self, snapshot: &Snapshot) -> Arc<Catalog> {
        self.shared.state.catalog_at(snapshot.timestamp)
    }

    /// The storage with this id; also one that was dropped, while some snapshot may read it.
    #[must_use]
    pub fn table(&self, table: TableId) -> Option<Arc<Table>> {
        self.shared.state.table(table)
    }

    #[must_use]
    pub fn leader(&self) -> &LeaderHandle {
        &self.shared.leader
    }

    /// Commits. Waits first if the delta is near its budget.
    pub async fn commit(&self, request: CommitRequest) -> Answer {
        self.send(Request::Commit(request)).await
    }

    /// Waits for as long as whoever brings rows should, when the delta is near its budget.
    pub async fn wait_for_room(&self) {
        if let Some(delay) = self.leader().throttle() {
            wait(delay).await;
        }
    }

    /// Sends any request to the leader; commits and parts wait first if the delta is near its
    /// budget. `Answer::Unknown` if the answer got lost.
    pub async fn send(&self, request: Request) -> Answer {
        if matches!(request, Request::Commit(_) | Request::Part(_)) {
            self.wait_for_room().await;
        }
        self.submit(&request).await
    }

    /// As `send`, without waiting first: the request is with the leader once this is polled.
    pub async fn submit(&self, request: &Request) -> Answer {
        let (sender, receiver) = oneshot::channel::<Bytes>();
        let reply = move |answer| {
            // A receiver that is gone belongs to a client that is.
            let _ = sender.send(answer);
        };
        self.leader().submit(encode_request(request), Box::new(reply));
        match receiver.await {
            Ok(answer) => decode_answer(&answer).unwrap_or_else(|error| {
                Answer::Refused(Refusal::Malformed(format!("answer of the leader: {error}")))
            }),
            Err(_) => Answer::Unknown("the leader ended without an answer".to_owned()),
        }
    }

    /// Writes a checkpoint now, after the one under way if there is one.
    pub async fn checkpoint_now(&self) -> Result<CheckpointSummary, CheckpointError> {
        match self.background.request_checkpoint().await {
            Ok(result) => result,
            Err(_) => Err(CheckpointError::ShuttingDown),
        }
    }

    /// The rows of a table that are in memory now go to segments. Errors: the table does not exist;
    /// something else was first ([`RewriteError::is_passing`]); objects cannot be written.
    pub async fn flush_now(&self, table: TableId) -> Result<RewriteSummary, RewriteError> {
        self.rewrite(RewriteRequest::Flush(table)).await
    }

    /// The same, and the table's segments become few, without rows that nobody sees. Errors: as
    /// `flush_now`.
    pub async fn compact_now(&self, table: TableId) -> Result<RewriteSummary, RewriteError> {
        self.rewrite(RewriteRequest::Compact(table)).await
    }

    /// The rows of a table that are in memory go to segments, and all of its segments are sorted by
    /// `order` when it returns, also those that come later, as long as the answer is kept: so a key
    /// can come. Errors: as `flush_now`; a column of the order that the table does not have.
    pub async fn sort_now(
        self: &Arc<Self>,
        table: TableId,
        order: SortOrder,
    ) -> Result<SortedTable, RewriteError> {
        let sorted = SortedTable { database: Arc::clone(self), table };
        self.rewrite(RewriteRequest::Sort(table, order)).await?;
        Ok(sorted)
    }

    async fn rewrite(&self, request: RewriteRequest) -> Result<RewriteSummary, RewriteError> {
        match self.background.request_rewrite(request).await {
            Ok(result) => result,
            Err(_) => Err(RewriteError::ShuttingDown),
        }
    }

    #[must_use]
    pub fn rewrite_options(&self) -> &RewriteOptions {
        &self.shared.rewrite
    }

    pub(super) fn rewriter(&self) -> &Rewriter {
        &self.shared.rewriter
    }

    /// The last jobs of this process, the newest last.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobReport> {
        self.shared.rewriter.figures.reports()
    }

    /// Changes to `Some` once the node must stop.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.fatal.clone()
    }

    #[must_use]
    pub fn metrics(&self) -> DatabaseMetrics {
        metrics::collect(&self.shared)
    }

    /// Ends in order: refuses new commits, answers those accepted, writes a checkpoint if there is
    /// anything new. Blocks. Idempotent.
    pub fn shutdown(&self) {
        self.background.stop(&self.shared);
    }
}

/// A table whose segments are sorted as [`Database::sort_now`] was asked, for as long as this lives.
pub struct SortedTable {
    database: Arc<Database>,
    table: TableId,
}

impl Drop for SortedTable {
    fn drop(&mut self) {
        self.database.shared.rewriter.forget_order(self.table);
    }
}

fn start_leader(
    env: &Env,
    recovered: &mut Recovered,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
) -> Result<LeaderHandle, OpenError> {
    let window = MetastoreWindow::open(recovered.leadership.clone(), LOG)?;
    let parts = LeaderParts {
        wal: recovered.wal.clone(),
        placement: Box::new(StoragePlacement::new(Arc::clone(&recovered.state))),
        apply: Box::new(recovered.applier.take().expect("a leader is started once")),
        window: Arc::new(window),
        ids: Arc::clone(&recovered.ids),
        term: recovered.leadership.term(),
        on_fatal: Box::new(move |stopped| {
            fatal.send_replace(Some(Arc::clone(&stopped.0)));
        }),
    };
    Ok(Leader::start(env, parts, LeaderOptions::default())?)
}

/// Sessions call this on their own runtime: no part of the core sleeps here.
#[allow(clippy::disallowed_methods, reason = "the session's own runtime waits, not the core")]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}
