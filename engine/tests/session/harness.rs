//! A database in a temporary directory, and clients that speak SQL to it.

use std::sync::Arc;

use futures::StreamExt;
use glaredb_engine::{
    error::SqlError,
    query::functions::Functions,
    session::{
        Engine, EngineOptions, Execution, Identity, Prepared, Session,
        engine::{SystemTable, SystemTableContext, SystemTables},
    },
    storage::database::{Database, OpenOptions},
    types::text::TextEncoder,
};
use glaredb_txn::env::Env;
use tempfile::TempDir;

struct NoSystemTables;

impl SystemTables for NoSystemTables {
    fn table(&self, _: &SystemTableContext<'_>, _: &str, _: &str) -> Option<SystemTable> {
        None
    }

    fn has_schema(&self, schema: &str) -> bool {
        schema == "pg_catalog"
    }
}

pub(crate) struct Server {
    engine: Arc<Engine>,
    dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::open(tempfile::tempdir().expect("a temporary directory")).await
    }

    async fn open(dir: TempDir) -> Self {
        let engine = open_engine(OpenOptions::default(), Env::real(dir.path())).await;
        Self { engine, dir }
    }

    /// Stops in order and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let database = Arc::clone(self.engine.database());
        drop(self.engine);
        tokio::task::spawn_blocking(move || database.shutdown()).await.expect("it stops");
        Self::open(self.dir).await
    }

    /// Stops in order; the directory it leaves.
    pub(crate) async fn stop(self) -> TempDir {
        let database = Arc::clone(self.engine.database());
        drop(self.engine);
        tokio::task::spawn_blocking(move || database.shutdown()).await.expect("it stops");
        self.dir
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(&self.engine)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

/// Opens a database and what runs statements on it.
pub(crate) async fn open_engine(options: OpenOptions, env: Env) -> Arc<Engine> {
    open_engine_within(256 << 20, options, env).await
}

/// The same with so much memory for queries.
pub(crate) async fn open_engine_within(
    query_memory_bytes: usize,
    options: OpenOptions,
    env: Env,
) -> Arc<Engine> {
    let open = move || Database::open(options, env).expect("the database opens");
    let database = tokio::task::spawn_blocking(open).await.expect("opening does not panic");
    Engine::new(EngineOptions {
        database,
        query_memory_bytes,
        query_threads: 2,
        query_runtime: tokio::runtime::Handle::current(),
        system_tables: Arc::new(NoSystemTables),
        functions: Functions::new([]),
    })
    .expect("an engine")
}

pub(crate) struct Client {
    pub(crate) session: Session,
}

impl Client {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        let identity =
            Identity { role: "postgres".into(), database: "postgres".into(), process_id: 1 };
        Self { session: Session::new(Arc::clone(engine), identity, &[]).expect("a session") }
    }

    /// Runs a query string as the simple protocol does; rows and tags of its statements.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Vec<String>, SqlError> {
        let mut output = Vec::new();
        if let Some(execution) = self.session.execute_known(sql).await? {
            let result = self.take(execution, &mut output).await;
            if result.is_err() {
                self.session.statement_failed();
            }
            return result.map(|()| output);
        }
        let statements = self.session.parse(sql).await?;
        let several = statements.len() > 1;
        if several {
            self.session.begin_block();
        }
        for statement in statements {
            let result = self.execute(Prepared::unplanned(statement), &mut output).await;
            if let Err(error) = result {
                self.session.statement_failed();
                if several {
                    self.session.end_block().await?;
                }
                return Err(error);
            }
        }
        if several {
            self.session.end_block().await?;
        }
        Ok(output)
    }

    async fn execute(
        &mut self,
        prepared: Arc<Prepared>,
        output: &mut Vec<String>,
    ) -> Result<(), SqlError> {
        let execution = self.session.execute(&prepared, Vec::new()).await?;
        self.take(execution, output).await
    }

    async fn take(
        &mut self,
        execution: Execution,
        output: &mut Vec<String>,
    ) -> Result<(), SqlError> {
        match execution {
            Execution::Rows { fields, mut stream, tag, .. } => {
                let mut count = 0;
                let format = self.session.settings().derived().format.clone();
                while let Some(batch) = stream.next().await {
                    let batch = batch?;
                    count += batch.num_rows();
                    let encoders: Vec<_> = batch
                        .columns()
                        .iter()
                        .zip(fields.iter())
                        .map(|(array, field)| TextEncoder::new(array, &field.pg_type, &format))
                        .collect();
                    for row in 0..batch.num_rows() {
                        let values = encoders.iter().map(|encoder| {
                            let mut text = Vec::new();
                            encoder.write(row, &mut text);
                            match encoder.is_null(row) {
                                true => "NULL".to_owned(),
                                false => String::from_utf8(text).expect("text is UTF-8"),
                            }
                        });
                        output.push(values.collect::<Vec<_>>().join("|"));
                    }
                }
                output.push(tag.replace("{n}", &count.to_string()));
            }
            Execution::Command { tag } => output.push(tag),
            Execution::Empty => {}
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    /// Everything a query string gives, in one line each.
    pub(crate) async fn ok(&mut self, sql: &str) -> Vec<String> {
        match self.run(sql).await {
            Ok(output) => output,
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// The error a query string gives.
    pub(crate) async fn err(&mut self, sql: &str) -> SqlError {
        match self.run(sql).await {
            Ok(output) => panic!("{sql}: {output:?}"),
            Err(error) => error,
        }
    }

    /// COPY … FROM STDIN with this data, cut into pieces of `piece` bytes.
    pub(crate) async fn copy_in(
        &mut self,
        sql: &str,
        data: &[u8],
        piece: usize,
    ) -> Result<String, SqlError> {
        let statement = self.session.parse(sql).await?.remove(0);
        let prepared = Prepared::unplanned(statement);
        let Execution::CopyIn(mut copy) = self.session.execute(&prepared, Vec::new()).await? else {
            panic!("{sql} takes no data");
        };
        for piece in data.chunks(piece) {
            copy.sink.data(piece).await?;
        }
        copy.sink.finish().await
    }

    /// What COPY … TO STDOUT sends.
    pub(crate) async fn copy_out(&mut self, sql: &str) -> Result<String, SqlError> {
        let statement = self.session.parse(sql).await?.remove(0);
        let prepared = Prepared::unplanned(statement);
        let Execution::CopyOut(mut copy) = self.session.execute(&prepared, Vec::new()).await?
        else {
            panic!("{sql} sends no data");
        };
        let mut text = Vec::new();
        while let Some(chunk) = copy.rows.next().await {
            text.extend_from_slice(&chunk?.bytes);
        }
        Ok(String::from_utf8(text).expect("text is UTF-8"))
    }
}
