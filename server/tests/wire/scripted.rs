//! A session that does what a test tells it, to test the wire alone.
//!
//! | statement | does |
//! |---|---|
//! | `rows N` | gives the numbers 0 to N-1, a thousand per batch |
//! | `endless` | gives long texts without end |
//! | `sleep` | never ends |
//! | `stall` | gives rows that never come |
//! | `fail CODE` | fails with this SQLSTATE |
//! | `late CODE` | gives two rows, then fails |
//! | `panic` | panics |
//! | `echo` | gives its parameters back as a row |
//! | `command TAG` | gives a command tag |
//! | `notice TEXT` | says TEXT as a notice |
//! | `timeout MS` | sets the statement timeout |
//! | `begin`, `commit` | open and end a block |
//! | `copyin`, `copyout N` | take data, give N rows |
//! | `log` | gives the calls that were made, one per row |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringViewArray},
    datatypes::Schema,
};
use futures::{StreamExt, stream};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::{
        CommitPoint,
        api::{
            CopyChunk, CopyIn, CopyOut, CopySink, Execution, FieldDescription, Notice, ParamValue,
            RowStream, TransactionStatus,
        },
    },
    types::{PgType, text::FormatSettings},
};
use glaredb_server::{
    metrics::Metrics,
    wire::{
        Connections, Listener, ListenerOptions, MessageMemory, NodeState, PreparedStatement,
        ReserveMemory, SessionFactory, SqlSession, StartupParameters,
    },
};
use parking_lot::RwLock;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// What a session grants to one message.
const MESSAGE_MEMORY: usize = 25_000_000;

/// Bytes that COPY took, by all sessions.
pub(crate) type Copied = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) copied: Copied,
    /// Who connected, with what.
    pub(crate) connected: Mutex<Vec<StartupParameters>>,
}

impl SessionFactory for Scripted {
    type Session = ScriptedSession;

    async fn connect(&self, parameters: StartupParameters) -> Result<ScriptedSession, SqlError> {
        if parameters.user == "nobody" {
            return Err(SqlError::new(
                sqlstate::INVALID_AUTHORIZATION,
                "role \"nobody\" does not exist",
            ));
        }
        self.connected.lock().expect("no panic").push(parameters);
        Ok(ScriptedSession {
            copied: self.copied.clone(),
            prepared: HashMap::new(),
            reports: vec![("server_version", "15.0".into()), ("client_encoding", "UTF8".into())],
            notices: Vec::new(),
            timeout: None,
            commit_point: CommitPoint::default(),
            status: TransactionStatus::Idle,
            block: false,
            log: Vec::new(),
            format: FormatSettings::default(),
        })
    }
}

pub(crate) struct ScriptedSession {
    copied: Copied,
    prepared: HashMap<String, Arc<ScriptedStatement>>,
    reports: Vec<(&'static str, String)>,
    notices: Vec<Notice>,
    timeout: Option<Duration>,
    commit_point: CommitPoint,
    status: TransactionStatus,
    block: bool,
    log: Vec<String>,
    format: FormatSettings,
}

pub(crate) struct ScriptedStatement {
    words: Vec<String>,
    types: Vec<PgType>,
    fields: Option<Arc<[FieldDescription]>>,
}

impl PreparedStatement for ScriptedStatement {
    fn parameter_types(&self) -> &[PgType] {
        &self.types
    }

    fn fields(&self) -> Option<&[FieldDescription]> {
        self.fields.as_deref()
    }
}

fn fields(types: impl IntoIterator<Item = PgType>) -> Arc<[FieldDescription]> {
    types
        .into_iter()
        .enumerate()
        .map(|(index, pg_type)| FieldDescription {
            name: format!("c{index}"),
            pg_type,
            table_oid: 0,
            column_number: 0,
            shows_modifier: true,
        })
        .collect()
}

fn batch(column: ArrayRef) -> RecordBatch {
    let field = PgType::from_arrow(column.data_type()).field("c0", true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).expect("one column")
}

fn numbers(from: i64, to: i64) -> RecordBatch {
    batch(Arc::new(Int64Array::from_iter_values(from..to)))
}

fn rows(count: i64) -> RowStream {
    let starts = (0..count).step_by(1000);
    Box::pin(stream::iter(starts).map(move |from| Ok(numbers(from, (from + 1000).min(count)))))
}

impl ScriptedSession {
    fn number(words: &[String]) -> i64 {
        words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    fn error(words: &[String]) -> SqlError {
        let code = match words.get(1).map(String::as_str) {
            Some("40001") => sqlstate::SERIALIZATION_FAILURE,
            Some("23505") => sqlstate::UNIQUE_VIOLATION,
            _ => sqlstate::INTERNAL_ERROR,
        };
        let mut error = SqlError::new(code, "as scripted").detail("a detail").hint("a hint");
        error = error.position(3);
        error.object.table = Some("t".to_owned());
        error.object.constraint = Some("t_pkey".to_owned());
        error
    }

    async fn run(
        &mut self,
        prepared: &ScriptedStatement,
        parameters: Vec<ParamValue>,
    ) -> Result<Execution, SqlError> {
        let words = &prepared.words;
        let given = |stream| Execution::Rows {
            fields: prepared.fields.clone().expect("a statement that gives rows"),
            stream,
            tag: "SELECT {n}".to_owned(),
            binary: false,
        };
        Ok(match words.first().map_or("", String::as_str) {
            "" => Execution::Empty,
            "rows" => given(rows(Self::number(words))),
            "endless" => {
                let batches = stream::repeat(()).then(|()| async {
                    tokio::task::yield_now().await;
                    let texts = std::iter::repeat_n("x".repeat(10_000), 10);
                    Ok(batch(Arc::new(StringViewArray::from_iter_values(texts))))
                });
                given(Box::pin(batches))
            }
            "sleep" => std::future::pending().await,
            "stall" => given(Box::pin(stream::pending())),
            "fail" => return Err(Self::error(words)),
            "late" => {
                let error = Self::error(words);
                given(Box::pin(stream::iter([Ok(numbers(0, 2)), Err(error)])))
            }
            "panic" => panic!("as scripted"),
            "echo" => {
                let columns: Vec<ArrayRef> =
                    parameters.iter().map(|p| p.to_array().expect("an array of one")).collect();
                let schema: Vec<_> = prepared
                    .types
                    .iter()
                    .enumerate()
                    .map(|(index, t)| t.field(&format!("c{index}"), true))
                    .collect();
                let row = RecordBatch::try_new(Arc::new(Schema::new(schema)), columns);
                given(Box::pin(stream::iter([Ok(row.expect("one row"))])))
            }
            "command" => Execution::Command { tag: words[1..].join(" ") },
            "notice" => {
                self.notices.push(Notice::note(words[1..].join(" ")));
                Execution::Command { tag: "NOTICE".to_owned() }
            }
            "timeout" => {
                self.timeout = Some(Duration::from_millis(Self::number(words) as u64));
                self.reports.push(("statement_timeout", words[1].clone()));
                Execution::Command { tag: "SET".to_owned() }
            }
            "begin" | "BEGIN" | "START" => {
                self.status = TransactionStatus::InBlock;
                Execution::Command { tag: "BEGIN".to_owned() }
            }
            "commit" | "COMMIT" | "ROLLBACK" => {
                self.status = TransactionStatus::Idle;
                Execution::Command { tag: "COMMIT".to_owned() }
            }
            // A commit that takes a while.
            "slowly" => {
                let sent = self.commit_point.send();
                tokio::time::sleep(Duration::from_millis(Self::number(words) as u64)).await;
                sent.committed();
                match words.get(2) {
                    None => Execution::Command { tag: "COMMITTED".to_owned() },
                    // With rows that take a while too, as of RETURNING.
                    Some(_) => given(Box::pin(rows(3000).then(async |batch| {
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        batch
                    }))),
                }
            }
            // A commit that fails, and another attempt.
            "again" => {
                let sent = self.commit_point.send();
                tokio::time::sleep(Duration::from_millis(Self::number(words) as u64)).await;
                drop(sent);
                std::future::pending().await
            }
            "copyin" => Execution::CopyIn(CopyIn {
                columns: 2,
                binary: false,
                sink: Box::new(Sink { copied: self.copied.clone(), bytes: 0 }),
            }),
            "copyout" => {
                let count = Self::number(words).max(0) as u64;
                let chunks = (0..count).map(|n| {
                    let bytes = format!("{n}\n");
                    let ends = vec![bytes.len() as u32];
                    Ok(CopyChunk { rows: 1, bytes: bytes.into(), ends })
                });
                let chunks: Vec<_> = chunks.collect();
                Execution::CopyOut(CopyOut {
                    columns: 1,
                    binary: false,
                    rows: Box::pin(stream::iter(chunks)),
                })
            }
            "log" => {
                let lines: ArrayRef =
                    Arc::new(StringViewArray::from_iter_values(std::mem::take(&mut self.log)));
                given(Box::pin(stream::iter([Ok(batch(lines))])))
            }
            other => {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    format!("no such script: {other}"),
                ));
            }
        })
    }
}

impl SqlSession for ScriptedSession {
    type Statement = String;
    type Prepared = ScriptedStatement;

    async fn parse(&mut self, sql: &str) -> Result<Vec<String>, SqlError> {
        Ok(sql.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect())
    }

    async fn execute_known(&mut self, _: &str) -> Result<Option<Execution>, SqlError> {
        Ok(None)
    }

    fn begin_block(&mut self) {
        self.log.push("begin_block".to_owned());
        self.block = true;
    }

    async fn end_block(&mut self) -> Result<(), SqlError> {
        self.log.push("end_block".to_owned());
        self.block = false;
        Ok(())
    }

    async fn prepare(
        &mut self,
        statement: Option<String>,
        parameter_types: &[Option<PgType>],
    ) -> Result<Arc<ScriptedStatement>, SqlError> {
        let words: Vec<String> =
            statement.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let types: Vec<PgType> =
            parameter_types.iter().map(|t| t.clone().unwrap_or(PgType::Text)).collect();
        let fields = match words.first().map_or("", String::as_str) {
            "rows" | "stall" | "late" => Some(fields([PgType::Int8])),
            "slowly" if words.len() > 2 => Some(fields([PgType::Int8])),
            "log" | "endless" => Some(fields([PgType::Text])),
            "echo" => Some(fields(types.clone())),
            _ => None,
        };
        Ok(Arc::new(ScriptedStatement { words, types, fields }))
    }

    async fn execute(
        &mut self,
        prepared: &Arc<ScriptedStatement>,
        parameters: Vec<ParamValue>,
    ) -> Result<Execution, SqlError> {
        if prepared.words.first().is_none_or(|word| word != "log") {
            self.log.push(prepared.words.join(" "));
        }
        self.run(&prepared.clone(), parameters).await
    }

    fn store_prepared(&mut self, name: &str, one: Arc<ScriptedStatement>) -> Result<(), SqlError> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        self.prepared.insert(name.to_owned(), one);
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<ScriptedStatement>, SqlError> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_SQL_STATEMENT_NAME,
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    fn close_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    fn statement_failed(&mut self) {
        self.log.push("statement_failed".to_owned());
        if self.status == TransactionStatus::InBlock {
            self.status = TransactionStatus::Failed;
        }
    }

    fn status(&self) -> TransactionStatus {
        self.status
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.reports)
    }

    fn commit_point(&self) -> &CommitPoint {
        &self.commit_point
    }

    fn statement_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn message_memory(&self) -> ReserveMemory {
        Arc::new(|bytes| match bytes {
            0..=MESSAGE_MEMORY => Ok(MessageMemory::new(())),
            _ => Err(SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory")),
        })
    }

    fn format_settings(&self) -> &FormatSettings {
        &self.format
    }
}

struct Sink {
    copied: Copied,
    bytes: usize,
}

#[async_trait::async_trait]
impl CopySink for Sink {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        if bytes == b"bad\n" {
            return Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, "bad line"));
        }
        self.bytes += bytes.len();
        self.copied.lock().expect("no panic").extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<String, SqlError> {
        Ok(format!("COPY {}", self.bytes))
    }

    async fn fail(self: Box<Self>, reason: String) -> SqlError {
        self.copied.lock().expect("no panic").clear();
        SqlError::new(sqlstate::QUERY_CANCELED, format!("COPY from stdin failed: {reason}"))
    }
}

/// A server on scripted sessions, on a port of its own.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) factory: Arc<Scripted>,
    pub(crate) state: Arc<RwLock<NodeState<Scripted>>>,
    pub(crate) connections: Arc<Connections>,
    stop: Option<oneshot::Sender<()>>,
    listener: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(100).await
    }

    pub(crate) async fn start_with(connections_max: usize) -> Self {
        Self::start_with_sockets(connections_max, usize::MAX).await
    }

    pub(crate) async fn start_with_sockets(connections_max: usize, sockets_max: usize) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = socket.local_addr().expect("bound").port();
        let factory = Arc::new(Scripted::default());
        let state = Arc::new(RwLock::new(NodeState::Running(factory.clone())));
        let connections = Connections::new(connections_max);
        let options = ListenerOptions {
            runtime: tokio::runtime::Handle::current(),
            connections: connections.clone(),
            sockets_max,
            state: state.clone(),
            metrics: Arc::new(Metrics::default()),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = tokio::spawn(Listener::new(socket, options).run(async {
            let _ = stopped.await;
        }));
        Self { port, factory, state, connections, stop: Some(stop), listener }
    }

    /// Stops the server and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.take().expect("not stopped yet").send(()).expect("it listens");
        (&mut self.listener).await.expect("the listener does not panic");
    }

    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let config = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let (client, connection) =
            tokio_postgres::connect(&config, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
