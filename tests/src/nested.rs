//! Nested queries made at random, answered by us and by PostgreSQL 15.
//!
//! Subqueries stand in every place an expression can, correlated with any query around them. Small
//! tables full of NULLs, so that three-valued logic shows. A seed decides tables and queries.

mod generator;
mod shrink;

use tokio_postgres::{Client, error::SqlState};

use crate::{
    client,
    differential::{Answer, Random, ask},
    peer::Postgres,
    server::Server,
};
use generator::Generator;

/// How long PostgreSQL may take for a query: what takes it long would take the test long.
const PEER_TIMEOUT: &str = "2s";

/// Both servers.
pub struct Both {
    ours: Client,
    theirs: Client,
    _server: Server,
    _peer: Postgres,
}

/// How the answers to one query compare.
#[derive(Debug)]
pub enum Verdict {
    Same,
    /// PostgreSQL has no answer, or not in time.
    Invalid,
    /// We say 0A000.
    Refused(String),
    Different {
        ours: Answer,
        theirs: Answer,
    },
}

/// What came of the queries of one seed.
#[derive(Default)]
pub struct Outcome {
    pub asked: usize,
    /// Those PostgreSQL answered.
    pub compared: usize,
    pub refused: Vec<(String, String)>,
    pub different: Vec<(String, Answer, Answer)>,
}

impl Both {
    pub async fn start() -> Self {
        let (server, peer) = (Server::start(), Postgres::start(&["fsync = off"]));
        let (ours, theirs) = (client::connect(server.port).await, client::connect(peer.port).await);
        let settings = format!("set statement_timeout = '{PEER_TIMEOUT}'; set jit = off");
        theirs.batch_execute(&settings).await.expect("settings");
        ours.batch_execute("set statement_timeout = '60s'").await.expect("settings");
        Self { ours, theirs, _server: server, _peer: peer }
    }

    /// Makes the tables of a seed. Of every fourth one ours lie in segments.
    async fn tables(&self, seed: u64, random: &mut Random) {
        for statement in generator::tables(random) {
            for client in [&self.ours, &self.theirs] {
                client.batch_execute(&statement).await.expect("the tables are made");
            }
        }
        if seed % 4 == 3 {
            self.ours.batch_execute("vacuum").await.expect("a flush");
        }
    }

    /// Makes the tables of a seed and asks up to `count` queries while `more` says so.
    pub async fn seed(&self, seed: u64, count: usize, more: &dyn Fn() -> bool) -> Outcome {
        let mut random = Random::new(seed);
        self.tables(seed, &mut random).await;
        let mut generator = Generator::new(random);
        let mut outcome = Outcome::default();
        while outcome.asked < count && more() {
            outcome.asked += 1;
            let sql = generator.statement();
            match self.compare(&sql).await {
                Verdict::Invalid => continue,
                Verdict::Same => {}
                Verdict::Refused(message) => outcome.refused.push((sql, message)),
                Verdict::Different { ours, theirs } => {
                    outcome.different.push((sql, ours, theirs));
                }
            }
            outcome.compared += 1;
        }
        outcome
    }

    /// Asks both. Rows come in any order.
    pub async fn compare(&self, sql: &str) -> Verdict {
        let theirs = sorted(ask(&self.theirs, sql).await);
        if !matches!(theirs, Answer::Rows(_)) {
            return Verdict::Invalid;
        }
        match sorted(ask(&self.ours, sql).await) {
            Answer::Error(state, message) if state == SqlState::FEATURE_NOT_SUPPORTED.code() => {
                Verdict::Refused(message)
            }
            ours if ours == theirs => Verdict::Same,
            ours => Verdict::Different { ours, theirs },
        }
    }

    /// A shorter query with the same sort of difference.
    pub async fn shrink(&self, sql: &str) -> String {
        shrink::shrink(self, sql).await
    }
}

fn sorted(answer: Answer) -> Answer {
    match answer {
        Answer::Rows(mut rows) => {
            rows.sort();
            Answer::Rows(rows)
        }
        other => other,
    }
}
