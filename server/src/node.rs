//! One node, from its first breath to its last: lock, sockets, recovery, sessions, stop.
//!
//! ```text
//! lock ─▶ bind ─▶ accept (57P03) ─▶ recover ─▶ accept ─▶ signal ─▶ end sessions ─▶ close, exit 0
//!                                      │                     └ again ▶ exit at once
//!                                      └ fails, or the log does later ▶ exit 1, never hang
//! ```

use std::{
    fmt::Write,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use glaredb_engine::storage::recovery::RecoveryProgress;
use glaredb_txn::env::{Clock, SystemClock, priority};
use parking_lot::RwLock;
use tokio::{
    net::TcpListener,
    runtime::{Handle, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    admin::{self, Observed},
    data_dir::{DataDirectory, DataDirectoryError},
    metrics::{self, Metrics},
    open_files,
    pg_catalog::Activities,
    sessions::Sessions,
    store::{Store, StoreError, StoreOptions},
    wire::{Connections, Listener, ListenerOptions, NodeState},
};

/// After a fatal error sessions get this long to tell their clients.
const FAREWELL: Duration = Duration::from_secs(2);

/// A query computes on as many threads as there are cores. More threads than that let the operating
/// system share the cores between queries, even where one computes for long without a pause.
const QUERY_THREADS_PER_CORE: usize = 4;

/// How to run a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub listen: IpAddr,
    pub port: u16,
    /// `None`: no admin port. It listens on loopback only.
    pub admin_port: Option<u16>,
    pub data_dir: PathBuf,
    /// Listen where other machines reach it though every client is trusted.
    pub insecure: bool,
    pub connections_max: usize,
    /// Statements that run so long are logged, unless a session says otherwise; `None`: none is.
    pub log_statements_ms: Option<u32>,
    pub store: StoreOptions,
}

/// Why a node did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(
        "{0} can be reached from other machines, and every client would be trusted; listen on \
         127.0.0.1, or say --insecure if that is what you want"
    )]
    NotLoopback(IpAddr),
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    #[error("cannot listen on {address}: {}", listen_reason(source, option))]
    Listen {
        address: SocketAddr,
        /// Which option chooses another port.
        option: &'static str,
        source: io::Error,
    },
    #[error("signals, threads: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] StoreError),
    /// The log, the state or the metastore failed.
    #[error("the node must stop: {0}")]
    Fatal(Arc<str>),
}

fn listen_reason(error: &io::Error, option: &str) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!("the port is in use, by another server perhaps; choose one with {option}")
    } else {
        error.to_string()
    }
}

/// What ended a running node.
enum Ending {
    /// Its name.
    Signal(&'static str),
    Fatal(Arc<str>),
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// It could not start, or the log failed. The process is to exit then, with whatever threads are
/// left: one of them may wait for a disk for ever.
pub fn run(options: NodeOptions) -> Result<(), NodeError> {
    if !options.listen.is_loopback() && !options.insecure {
        return Err(NodeError::NotLoopback(options.listen));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        data_dir = %options.data_dir.display(),
        memory_limit_mib = options.store.memory.limit >> 20,
        checkpoint_log_mib = options.store.checkpoint_log_bytes >> 20,
        connections_max = options.connections_max,
        "starting"
    );
    let directory = DataDirectory::take(&options.data_dir)?;
    let cores = std::thread::available_parallelism()?.get();
    let sessions = runtime("session", cores, priority::wake_promptly)?;
    let queries = runtime("query", cores * QUERY_THREADS_PER_CORE, priority::give_way)?;
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtimes = Runtimes { sessions: sessions.handle(), queries: queries.handle() };
    let ended = control.block_on(serve(options, runtimes));
    queries.shutdown_timeout(Duration::from_millis(100));
    sessions.shutdown_timeout(Duration::from_millis(100));
    control.shutdown_timeout(Duration::from_millis(100));
    if matches!(ended, Err(NodeError::Listen { .. })) {
        directory.give_back();
    }
    ended
}

/// Sessions and queries have threads of their own, so that analytics do not starve commits. What
/// accepts clients, answers operators and hears signals has the thread that [`run`] is called on:
/// it waits for neither.
#[derive(Clone, Copy)]
struct Runtimes<'a> {
    sessions: &'a Handle,
    queries: &'a Handle,
}

/// `weigh`: what each of its threads asks of the scheduler when it starts.
fn runtime(name: &'static str, threads: usize, weigh: fn()) -> Result<Runtime, io::Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name).enable_all().on_thread_start(weigh);
    builder.build()
}

async fn serve(options: NodeOptions, runtimes: Runtimes<'_>) -> Result<(), NodeError> {
    let mut signals = Signals::new()?;
    let socket = bind(SocketAddr::new(options.listen, options.port), "--port").await?;
    let address = socket.local_addr()?;
    let node = Arc::new(Node::new(&options));
    let (stop, stopped) = watch::channel(false);
    start_admin(&options, &node).await?;
    let listener =
        tokio::spawn(Listener::new(socket, node.shared(runtimes.sessions)).run(until(stopped)));

    let opening = node.open(options.store.clone(), options.data_dir.clone(), runtimes.queries);
    tokio::pin!(opening);
    let store = tokio::select! {
        store = &mut opening => store?,
        signal = signals.next() => {
            // Recovery writes nothing that a kill could harm.
            tracing::info!(signal, "stopped while starting up");
            return Ok(());
        }
    };
    tracing::info!("ready: psql -h {} -p {} -U postgres", address.ip(), address.port());
    let mut fatal = store.fatal();
    let ending = tokio::select! {
        signal = signals.next() => Ending::Signal(signal),
        failed = fatal.wait_for(Option::is_some) => match failed {
            Ok(reason) => Ending::Fatal(reason.clone().unwrap_or_default()),
            // The store is gone without a reason, which it never is while it is held here.
            Err(_) => Ending::Fatal("the database ended".into()),
        },
    };
    stop.send_replace(true);
    match ending {
        Ending::Fatal(reason) => {
            tracing::error!(%reason, "the node must stop");
            let _ = tokio::time::timeout(FAREWELL, listener).await;
            if is_looked_at() {
                signals.next().await;
            }
            Err(NodeError::Fatal(reason))
        }
        Ending::Signal(signal) => {
            tracing::info!(signal, connections = node.connections.count(), "stopping");
            tokio::select! {
                () = close(listener, store) => {}
                signal = signals.next() => {
                    tracing::warn!(signal, "stopped at once, by a second signal");
                    return Ok(());
                }
            }
            // It may have failed on its last steps.
            let failed = fatal.borrow().clone();
            match failed {
                None => {
                    tracing::info!("stopped");
                    Ok(())
                }
                Some(reason) => Err(NodeError::Fatal(reason)),
            }
        }
    }
}

/// A test looks at a node that must stop, and sends a signal when it has seen enough (feature
/// `failpoints`).
fn is_looked_at() -> bool {
    fail::fail_point!("node::stops", |_| true);
    false
}

/// Ends sessions, then the database.
async fn close(listener: JoinHandle<()>, store: Arc<Store>) {
    if let Err(error) = listener.await {
        tracing::error!(%error, "the listener ended badly");
    }
    if let Err(error) = tokio::task::spawn_blocking(move || store.shutdown()).await {
        tracing::error!(%error, "the database ended badly");
    }
}

async fn bind(address: SocketAddr, option: &'static str) -> Result<TcpListener, NodeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| NodeError::Listen { address, option, source })
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the node.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Answers operators until the process ends: how it ends they want to know, too.
async fn start_admin(options: &NodeOptions, node: &Arc<Node>) -> Result<(), NodeError> {
    let Some(port) = options.admin_port else { return Ok(()) };
    let loopback = if options.listen.is_ipv6() {
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])
    } else {
        IpAddr::from([127, 0, 0, 1])
    };
    let socket = bind(SocketAddr::new(loopback, port), "--admin-port").await?;
    tracing::debug!(address = %socket.local_addr()?, "admin port");
    let node: Arc<dyn Observed> = node.clone();
    tokio::spawn(async move {
        if let Err(error) = admin::serve(socket, node).await {
            tracing::error!(%error, "the admin port ended");
        }
    });
    Ok(())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// What the parts of a node share.
struct Node {
    log_statements_ms: Option<u32>,
    connections: Arc<Connections>,
    sockets_max: usize,
    state: Arc<RwLock<NodeState<Sessions>>>,
    metrics: Arc<Metrics>,
    store: OnceLock<Arc<Store>>,
}

impl Node {
    fn new(options: &NodeOptions) -> Self {
        let sockets_max = open_files::client_sockets(options.connections_max);
        Self {
            log_statements_ms: options.log_statements_ms,
            connections: Connections::new(options.connections_max.min(sockets_max)),
            sockets_max,
            state: Arc::new(RwLock::new(NodeState::Starting(Arc::new(String::new)))),
            metrics: Arc::default(),
            store: OnceLock::new(),
        }
    }

    fn shared(&self, sessions: &Handle) -> ListenerOptions<Sessions> {
        ListenerOptions {
            runtime: sessions.clone(),
            connections: self.connections.clone(),
            sockets_max: self.sockets_max,
            state: self.state.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Recovers the database and lets clients in.
    async fn open(
        &self,
        options: StoreOptions,
        data_dir: PathBuf,
        queries: &Handle,
    ) -> Result<Arc<Store>, NodeError> {
        let progress = Arc::<RecoveryProgress>::default();
        let shown = progress.clone();
        *self.state.write() = NodeState::Starting(Arc::new(move || shown.to_string()));
        let (done, report) = watch::channel(false);
        let reporter = tokio::spawn(report_progress(progress.clone(), report));
        let queries = queries.clone();
        let activities = self.connections.clone();
        let opening = tokio::task::spawn_blocking(move || {
            Store::open(&options, &data_dir, progress, queries, activities)
        });
        let opened = opening.await;
        done.send_replace(true);
        let _ = reporter.await;
        let (store, mut sessions) =
            opened.map_err(|error| StoreError::Panicked(error.to_string()))??;
        if let Some(ms) = self.log_statements_ms {
            sessions.set_default("log_min_duration_statement", ms.to_string());
        }
        let store = Arc::new(store);
        self.store.set(store.clone()).ok();
        *self.state.write() = NodeState::Running(Arc::new(sessions));
        Ok(store)
    }
}

/// Says every second how far recovery is, if it takes that long.
async fn report_progress(progress: Arc<RecoveryProgress>, mut done: watch::Receiver<bool>) {
    let step = Duration::from_secs(1);
    while tokio::time::timeout(step, done.wait_for(|done| *done)).await.is_err() {
        tracing::info!("starting up: {progress}");
    }
}

impl Node {
    /// What sessions do now.
    fn write_sessions(&self, out: &mut String) {
        let sessions = self.connections.list();
        let states = [
            ("active", "active"),
            ("idle", "idle"),
            ("idle_in_transaction", "idle in transaction"),
            ("idle_in_transaction_aborted", "idle in transaction (aborted)"),
        ];
        let counted = states.map(|(label, state)| {
            (label, sessions.iter().filter(|session| session.state == state).count() as f64)
        });
        metrics::write_gauges("glaredb_sessions", "Sessions by state.", "state", &counted, out);
        let now = SystemClock.now_ms().saturating_mul(1000);
        let oldest = sessions.iter().filter_map(|session| session.transaction_started_us).min();
        let began = oldest.and_then(|us| u64::try_from(us).ok()).unwrap_or(now);
        metrics::write_gauge(
            "glaredb_oldest_transaction_seconds",
            "How long the oldest open transaction has been open; 0 without one.",
            now.saturating_sub(began) as f64 / 1e6,
            out,
        );
    }
}

impl Observed for Node {
    fn health(&self) -> Result<(), String> {
        // Asked of the database itself: unhealthy from the moment on at which it failed.
        let fatal = self.store.get().and_then(|store| store.fatal().borrow().clone());
        fatal.map_or(Ok(()), |reason| Err(reason.to_string()))
    }

    fn readiness(&self) -> Result<(), String> {
        self.health()?;
        match &*self.state.read() {
            NodeState::Running(_) => Ok(()),
            NodeState::Starting(progress) => Err(format!("starting up: {}", progress())),
            NodeState::Stopping => Err("shutting down".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "# HELP glaredb_build_info Version of the server.\n\
             # TYPE glaredb_build_info gauge\n\
             glaredb_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        metrics::write_gauge(
            "glaredb_ready",
            "Whether clients are served.",
            f64::from(u8::from(self.readiness().is_ok())),
            &mut out,
        );
        metrics::write_gauge(
            "glaredb_connections",
            "Clients connected now.",
            self.connections.count() as f64,
            &mut out,
        );
        self.write_sessions(&mut out);
        self.metrics.write(&mut out);
        if let Some(bytes) = resident_bytes() {
            metrics::write_gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                bytes as f64,
                &mut out,
            );
        }
        if let Some(store) = self.store.get() {
            store.write_metrics(&mut out);
        }
        out
    }
}

/// Resident memory as the kernel counts it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
