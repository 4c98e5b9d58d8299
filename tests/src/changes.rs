//! INSERT, UPDATE and DELETE made at random, done by us and by PostgreSQL 15: same tags, same rows
//! returned, same class of error, and the same table afterwards.
//!
//! A seed decides the tables (types, key, NOT NULL, defaults) and the statements, some of them in
//! transaction blocks. After the first difference of a seed its tables are no longer comparable.

mod generator;
mod values;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{
    client,
    differential::Random,
    peer::Postgres,
    rewriting::Rewriting,
    s3::{self, BUCKET, S3Kind, S3Server},
    server::{Options, Server},
};
use generator::Generator;

/// What a server says to a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// Rows returned, in the order of their texts, and how many were changed.
    Rows(Vec<String>, u64),
    /// SQLSTATE and message.
    Error(String, String),
    Broken(String),
}

/// A statement that we and PostgreSQL do differently.
#[derive(Debug)]
pub struct Difference {
    pub sql: String,
    pub ours: Done,
    pub theirs: Done,
}

/// What came of the statements of one seed.
#[derive(Default, Debug)]
pub struct Outcome {
    pub compared: usize,
    /// Of these, errors on both sides.
    pub errors: usize,
    /// Of these, errors of PostgreSQL's alone in values that no row got.
    pub unneeded: usize,
    /// We say 0A000.
    pub refused: Vec<(String, String)>,
    pub different: Option<Difference>,
}

/// What our server does with rows meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// They stay in memory.
    Stay,
    /// All are moved to segments and from there to others, again and again.
    Move,
    /// The same, with segments in a bucket.
    MoveInS3,
}

/// Both servers.
pub struct Both {
    ours: Client,
    theirs: Client,
    rewriting: Option<Rewriting>,
    _server: Server,
    _store: Option<S3Server>,
    _peer: Postgres,
}

impl Both {
    pub async fn start(rows: Rows) -> Self {
        let store = (rows == Rows::MoveInS3).then(|| S3Server::start(S3Kind::Weed));
        let options = match &store {
            None => Options::default(),
            Some(store) => s3::options(&store.endpoint(), Some(&format!("s3://{BUCKET}/changes"))),
        };
        let (server, peer) =
            (Server::start_with(options), Postgres::start(&["fsync = off", "jit = off"]));
        let (ours, theirs) = (client::connect(server.port).await, client::connect(peer.port).await);
        let rewriting = (rows != Rows::Stay).then(|| Rewriting::start(server.port));
        Self { ours, theirs, rewriting, _server: server, _store: store, _peer: peer }
    }

    /// How often all rows were moved. Error: what our server said to that.
    pub fn stop(self) -> Result<u64, String> {
        self.rewriting.map_or(Ok(0), Rewriting::stop)
    }

    /// Makes the tables of a seed and does up to `count` statements while `more` says so.
    ///
    /// # Panics
    /// A server does not make the tables.
    pub async fn seed(&self, seed: u64, count: usize, more: &dyn Fn() -> bool) -> Outcome {
        let mut generator = Generator::new(Random::new(seed));
        for sql in generator.tables() {
            for client in [&self.ours, &self.theirs] {
                client.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            }
        }
        let mut outcome = Outcome::default();
        let mut done = 0;
        while done < count && more() && outcome.different.is_none() {
            if generator.random().percent(30) {
                let statements = 1 + generator.random().below(5);
                done += statements;
                self.block(&mut generator, statements, &mut outcome).await;
            } else {
                done += 1;
                let sql = generator.statement();
                self.statement(&sql, false, &mut outcome).await;
            }
            self.compare_tables(&generator, &mut outcome).await;
        }
        for client in [&self.ours, &self.theirs] {
            // A difference may have left a block open.
            let _ = client.batch_execute("rollback").await;
        }
        outcome
    }

    /// Statements between BEGIN and its end.
    async fn block(&self, generator: &mut Generator, statements: usize, outcome: &mut Outcome) {
        self.statement("begin", true, outcome).await;
        for _ in 0..statements {
            let sql = generator.statement();
            self.statement(&sql, true, outcome).await;
            if outcome.different.is_some() {
                return;
            }
            if generator.random().percent(30) {
                // What the transaction sees of its own changes.
                for sql in generator.reads() {
                    self.statement(&sql, true, outcome).await;
                }
            }
        }
        let end = if generator.random().percent(70) { "commit" } else { "rollback" };
        self.statement(end, false, outcome).await;
    }

    async fn statement(&self, sql: &str, in_block: bool, outcome: &mut Outcome) {
        if outcome.different.is_some() {
            return;
        }
        let ours = perform(&self.ours, sql).await;
        if let Done::Error(state, message) = &ours
            && state == "0A000"
        {
            outcome.refused.push((sql.to_owned(), message.clone()));
            if in_block {
                // Ours has failed: so must the other one.
                let _ = self.theirs.batch_execute("select 1 / 0").await;
            }
            return;
        }
        let theirs = perform(&self.theirs, sql).await;
        outcome.compared += 1;
        outcome.errors += usize::from(matches!(theirs, Done::Error(..)));
        if is_for_no_row(&ours, &theirs) {
            outcome.unneeded += 1;
            if in_block {
                let _ = self.ours.batch_execute("select 1 / 0").await;
            }
            return;
        }
        if differs(&ours, &theirs) {
            outcome.different = Some(Difference { sql: sql.to_owned(), ours, theirs });
        }
    }

    async fn compare_tables(&self, generator: &Generator, outcome: &mut Outcome) {
        for sql in generator.whole_tables() {
            self.statement(&sql, false, outcome).await;
        }
        // Reading is no change.
        outcome.compared -= generator.whole_tables().len().min(outcome.compared);
    }
}

async fn perform(client: &Client, sql: &str) -> Done {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let (mut rows, mut count) = (Vec::new(), 0);
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let values = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL"));
                        rows.push(values.collect::<Vec<_>>().join("|"));
                    }
                    SimpleQueryMessage::CommandComplete(n) => count = n,
                    _ => {}
                }
            }
            rows.sort();
            Done::Rows(rows, count)
        }
        Err(error) => match error.as_db_error() {
            Some(db) => Done::Error(db.code().code().to_owned(), db.message().to_owned()),
            None => Done::Broken(error.to_string()),
        },
    }
}

/// Whether PostgreSQL found a constant wrong that we did not come to: no row got it.
fn is_for_no_row(ours: &Done, theirs: &Done) -> bool {
    matches!((ours, theirs), (Done::Rows(rows, 0), Done::Error(state, _))
        if rows.is_empty() && state.starts_with("22"))
}

/// Whether what was done differs in a way that counts.
fn differs(ours: &Done, theirs: &Done) -> bool {
    match (ours, theirs) {
        (Done::Error(a, _), Done::Error(b, _)) => {
            // Values are computed for many rows before the first is checked: of several mistakes in the
            // data another one may be named.
            let of_data = |state: &str| matches!(&state[..2], "22" | "23");
            a[..2] != b[..2] && !(of_data(a) && of_data(b))
        }
        _ => ours != theirs,
    }
}
