//! What becomes of a transaction whose commit does not simply succeed.

use std::{future::Future, time::Duration};

use glaredb_engine::{
    session::{CommitState, Execution, Prepared},
    storage::database::DatabaseMetrics,
};

use crate::harness::{Client, Server};

/// A few parts' worth of rows.
const LARGE: &str = "insert into lk select i, repeat('x', 1000) from generate_series(1, 5000) i";

impl Server {
    fn metrics(&self) -> DatabaseMetrics {
        self.engine().database().metrics()
    }

    /// Waits until parts of a large commit are in the log, or none of any.
    async fn large_commit_is(&self, open: bool) {
        let looked = async {
            while self.engine().database().leader().oldest_open_part().is_some() != open {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), looked).await.expect("it comes to that");
    }

    /// Waits until no large commit is open.
    async fn nothing_open(&self) {
        self.large_commit_is(false).await;
        assert_eq!(self.metrics().leader.open_large, 0);
        assert_eq!(self.metrics().leader.open_large_bytes, 0);
    }
}

/// Starts a COPY and sends so much that parts of it are in the log.
async fn copy_large(
    server: &Server,
    client: &mut Client,
) -> Box<dyn glaredb_engine::session::CopySink> {
    let statement = client.session.parse("copy lk from stdin").await.expect("it parses").remove(0);
    let execution = client.session.execute(&Prepared::unplanned(statement), Vec::new()).await;
    let Ok(Execution::CopyIn(copy)) = execution else { panic!("{execution:?}") };
    let mut sink = copy.sink;
    let filler = "x".repeat(1000);
    let lines: String = (1..=20_000).map(|key| format!("{key}\t{filler}\n")).collect();
    for piece in lines.as_bytes().chunks(100_000) {
        sink.data(piece).await.expect("it is taken");
    }
    server.large_commit_is(true).await;
    sink
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_that_loses_leaves_nothing() {
    let server = Server::start().await;
    let (mut loser, mut winner) = (server.connect(), server.connect());
    winner.ok("create table lk (id int primary key, v text)").await;
    let mut delta = Vec::new();
    for round in 1..=4 {
        loser.ok("begin").await;
        loser.ok(LARGE).await;
        winner.ok("insert into lk values (5, 'b')").await;
        let error = loser.err("commit").await;
        assert_eq!(error.sqlstate, "40001");
        assert_eq!(error.message, "could not serialize access due to concurrent update");
        let detail = "Key (id)=(5) of table \"lk\" was written by another transaction.";
        assert_eq!(error.detail.as_deref(), Some(detail));
        assert_eq!(winner.ok("select count(*) from lk").await, ["1", "SELECT 1"]);
        // The abort is answered before the conflict is told.
        let metrics = server.metrics();
        assert_eq!((metrics.leader.aborts, metrics.leader.conflicts), (round, round));
        assert_eq!(server.engine().database().leader().oldest_open_part(), None);
        winner.ok("delete from lk").await;
        delta.push(metrics.delta_bytes);
    }
    server.nothing_open().await;
    // Each round brought more than 5 MB.
    assert!(delta[3] < delta[0] + (1 << 20), "{delta:?}");
    winner.ok("insert into lk values (7, 'c')").await;
    let server = server.restart().await;
    assert_eq!(server.connect().ok("select id from lk").await, ["7", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_loses_or_is_given_up_leaves_nothing() {
    let server = Server::start().await;
    let (mut loser, mut winner) = (server.connect(), server.connect());
    winner.ok("create table lk (id int primary key, v text)").await;
    let before = server.metrics().delta_bytes;
    let sink = copy_large(&server, &mut loser).await;
    assert_eq!(server.metrics().leader.open_large, 1);
    assert!(server.metrics().leader.open_large_bytes > 0);
    winner.ok("insert into lk values (5, 'b')").await;
    let error = sink.finish().await.expect_err("it lost");
    assert_eq!(error.sqlstate, "40001");
    server.nothing_open().await;
    assert_eq!(server.metrics().leader.aborts, 1);

    winner.ok("delete from lk").await;
    // A client that goes away, and one whose schema changes under it.
    winner.ok("delete from lk").await;
    drop(copy_large(&server, &mut loser).await);
    server.nothing_open().await;
    let sink = copy_large(&server, &mut loser).await;
    winner.ok("alter table lk set (fillfactor = 90)").await;
    let error = sink.finish().await.expect_err("altered");
    assert_eq!(error.sqlstate, "40001");
    let detail = "Table \"lk\" was altered by another transaction.";
    assert_eq!(error.detail.as_deref(), Some(detail));
    server.nothing_open().await;
    let sink = copy_large(&server, &mut loser).await;
    winner.ok("truncate lk").await;
    let error = sink.finish().await.expect_err("truncated");
    assert_eq!(error.sqlstate, "40001");
    server.nothing_open().await;
    assert_eq!(server.metrics().leader.aborts, 4);
    assert_eq!(winner.ok("select count(*) from lk").await, ["0", "SELECT 1"]);
    assert!(server.metrics().delta_bytes < before + (1 << 20));
}

/// Work behind the commits that panics takes the node with it: it does not go on without.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_background_thread_stops_the_node() {
    for (point, thread) in [
        ("background::keep", "storage-keeper"),
        ("background::checkpoint", "storage-checkpoint"),
        ("background::rewrite", "storage-rewriter"),
    ] {
        let scenario = fail::FailScenario::setup();
        let server = Server::start().await;
        let mut client = server.connect();
        client.ok("create table t (id int primary key)").await;
        let database = server.engine().database();
        assert_eq!(*database.fatal().borrow(), None);
        fail::cfg(point, "panic(as asked)").expect("a valid action");
        if thread == "storage-checkpoint" {
            let error = client.err("checkpoint").await;
            assert_eq!(error.sqlstate, "57P01", "{error:?}");
        }
        let mut fatal = database.fatal();
        let failed = tokio::time::timeout(Duration::from_secs(60), fatal.wait_for(Option::is_some));
        let reason = failed.await.expect("it fails").expect("it lives").clone().unwrap_or_default();
        assert!(reason.contains(thread) && reason.contains("as asked"), "{reason}");
        // Nobody waits for what will not come, nothing is written, reads go on.
        client.err("checkpoint").await;
        assert_eq!(client.err("insert into t values (1)").await.sqlstate, "58030");
        assert_eq!(client.ok("select count(*) from t").await, ["0", "SELECT 1"]);
        scenario.teardown();
        // A session holds the log, whose thread may still prepare its next file.
        drop((client, fatal));
        let server = server.restart().await;
        server.connect().ok("insert into t values (1)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_stands_once_it_is_sent() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (id int primary key)").await;
    client.ok("begin").await;
    client.ok("insert into t values (1)").await;
    let point = client.session.commit_point().clone();
    // As the connection does when a statement begins.
    point.reset();
    let commit = client.session.parse("commit").await.expect("it parses").remove(0);
    let commit = Prepared::unplanned(commit);
    // Else the commit may be through before the first look at it.
    let scenario = fail::FailScenario::setup();
    fail::cfg("log::sync::start", "pause").expect("a valid action");
    {
        let mut ending = Box::pin(client.session.execute(&commit, Vec::new()));
        let waker = futures::task::noop_waker();
        let polled = ending.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending(), "{polled:?}");
        assert_eq!(point.state(), CommitState::Sent);
    }
    // Given up too late.
    client.session.statement_failed();
    scenario.teardown();
    let seen = async {
        while client.ok("select * from t").await != ["1", "SELECT 1"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it commits");
}
