//! Statements that find rows by key, while and after these go from memory into segments.

use std::sync::Arc;

use glaredb_engine::session::Engine;

use super::harness::{Client, Server};

/// The rows of `table` that are in memory go into a segment.
async fn flush(engine: &Arc<Engine>, table: &str) {
    let database = engine.database();
    let storage = {
        let snapshot = database.snapshots().register();
        let catalog = database.catalog_at(&snapshot.snapshot());
        catalog.table("public", table).expect("a table").storage
    };
    loop {
        match database.flush_now(storage).await {
            Ok(_) => return,
            Err(error) if error.is_passing() => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn segments(engine: &Arc<Engine>, table: &str) -> usize {
    let snapshot = engine.database().snapshots().register();
    let catalog = engine.database().catalog_at(&snapshot.snapshot());
    let storage = catalog.table("public", table).expect("a table").storage;
    engine.database().table(storage).expect("its storage").segments().len()
}

async fn loaded(server: &Server) -> Client {
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b text, c int)").await;
    client.ok("insert into t select x, 'row ' || x, 0 from generate_series(1, 2000) x").await;
    flush(server.engine(), "t").await;
    assert!(segments(server.engine(), "t") > 0);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_segments_are_found_by_key() {
    let server = Server::start().await;
    let mut client = loaded(&server).await;
    for _ in 0..2 {
        assert_eq!(client.ok("select b from t where a = 77").await, ["row 77", "SELECT 1"]);
        assert_eq!(client.ok("select b from t where a = 2001").await, ["SELECT 0"]);
        let some = client.ok("select a from t where a in (5, 1999, 4000, 3)").await;
        assert_eq!(some.len(), 4, "{some:?}");
        let last = client.ok("select a from t order by a desc limit 3").await;
        assert_eq!(last, ["2000", "1999", "1998", "SELECT 3"]);
        let range = client.ok("select a, b from t where a between 9 and 11 order by a").await;
        assert_eq!(range, ["9|row 9", "10|row 10", "11|row 11", "SELECT 3"]);
    }
    let error = client.err("insert into t values (3000, '', 0), (500, 'again', 0)").await;
    assert_eq!(error.sqlstate, "23505");
    assert_eq!(error.detail.as_deref(), Some("Key (a)=(500) already exists."));
    assert_eq!(client.ok("update t set b = 'new', c = c + 1 where a = 5").await, ["UPDATE 1"]);
    assert_eq!(client.ok("delete from t where a = 6").await, ["DELETE 1"]);
    assert_eq!(client.ok("insert into t values (6, 'six', 6)").await, ["INSERT 0 1"]);
    assert_eq!(client.ok("update t set a = -1 where a = 7").await, ["UPDATE 1"]);
    let expected = ["-1|row 7|0", "4|row 4|0", "5|new|1", "6|six|6", "8|row 8|0", "SELECT 5"];
    let rows = "select * from t where a in (-1, 4, 5, 6, 7, 8) order by a";
    assert_eq!(client.ok(rows).await, expected);
    // The new versions go to a segment of their own, and nothing of it is in memory after a restart.
    flush(server.engine(), "t").await;
    assert_eq!(client.ok(rows).await, expected);
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(client.ok(rows).await, expected);
    assert_eq!(client.err("insert into t values (6, '', 0)").await.sqlstate, "23505");
    assert_eq!(client.ok("select a from t order by a limit 2").await, ["-1", "1", "SELECT 2"]);
    assert_eq!(client.ok("delete from t where a = -1").await, ["DELETE 1"]);
    assert_eq!(client.ok("select a from t order by a limit 1").await, ["1", "SELECT 1"]);
}

/// A flush between any two statements, and before COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_while_its_rows_are_moved() {
    for level in ["read committed", "repeatable read"] {
        let server = Server::start().await;
        let mut client = server.connect();
        let mut other = server.connect();
        client.ok("create table t (a int primary key, b int)").await;
        client.ok("insert into t select x, 0 from generate_series(1, 50) x").await;
        client.ok(&format!("begin isolation level {level}")).await;
        client.ok("update t set b = 1 where a = 1").await;
        client.ok("delete from t where a = 2").await;
        client.ok("savepoint s").await;
        client.ok("delete from t where a = 3").await;
        other.ok("insert into t values (100, 0)").await;
        flush(server.engine(), "t").await;
        let own = "select * from t where a in (1, 2, 3, 4, 5) order by a";
        assert_eq!(client.ok(own).await, ["1|1", "4|0", "5|0", "SELECT 3"], "{level}");
        let least = client.ok("select * from t order by a limit 2").await;
        assert_eq!(least, ["1|1", "4|0", "SELECT 2"]);
        client.ok("rollback to s").await;
        assert_eq!(client.ok(own).await, ["1|1", "3|0", "4|0", "5|0", "SELECT 4"]);
        client.ok("update t set b = b + 1 where a in (1, 3, 4)").await;
        other.ok("update t set b = 9 where a = 50").await;
        other.ok("insert into t values (101, 0)").await;
        flush(server.engine(), "t").await;
        client.ok("delete from t where a = 5").await;
        client.ok("insert into t values (2, 22)").await;
        let error = {
            client.ok("savepoint s2").await;
            client.err("insert into t values (10, 0)").await
        };
        assert_eq!(error.sqlstate, "23505");
        client.ok("rollback to s2").await;
        other.ok("insert into t values (102, 0)").await;
        flush(server.engine(), "t").await;
        assert_eq!(client.ok("commit").await, ["COMMIT"], "{level}");
        let all = "select * from t where a in (1, 2, 3, 4, 5, 6, 50, 100, 101, 102) order by a";
        let expected =
            ["1|2", "2|22", "3|1", "4|1", "6|0", "50|9", "100|0", "101|0", "102|0", "SELECT 9"];
        assert_eq!(other.ok(all).await, expected, "{level}");
    }
}

/// Nobody loses a row to a flush, and none is changed twice: each changes rows of its own, so every
/// commit succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn flushes_beside_commits_are_not_noticed() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 40;
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b int)").await;
    client.ok("insert into t select x, 0 from generate_series(0, 39) x").await;
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let mut client = server.connect();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let key = n * 10 + round % 10;
                    let update = format!("update t set b = b + 1 where a = {key}");
                    if round % 2 == 0 {
                        client.ok(&update).await;
                        continue;
                    }
                    client.ok("begin").await;
                    client.ok(&update).await;
                    client.ok(&format!("update t set b = b + 1 where a = {}", n * 10)).await;
                    client.ok("commit").await;
                }
            })
        })
        .collect();
    let engine = Arc::clone(server.engine());
    let flushes = tokio::spawn(async move {
        loop {
            flush(&engine, "t").await;
        }
    });
    for task in tasks {
        task.await.expect("no commit fails");
    }
    flushes.abort();
    let mut sum = 0;
    for key in 0..40 {
        let rows = client.ok(&format!("select b from t where a = {key}")).await;
        assert_eq!(rows.len(), 2, "key {key}");
        sum += rows[0].parse::<usize>().expect("a number");
    }
    assert_eq!(sum, CLIENTS * (ROUNDS + ROUNDS / 2));
}

/// Segments that were written before the table had its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_late_is_of_use() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, b int)").await;
    client.ok("insert into t select 1000 - x, x from generate_series(1, 500) x").await;
    flush(server.engine(), "t").await;
    client.ok("insert into t values (1, 1)").await;
    client.ok("begin").await;
    client.ok("alter table t add primary key (a)").await;
    assert_eq!(client.ok("select b from t where a = 900").await, ["100", "SELECT 1"]);
    assert_eq!(client.ok("delete from t where a = 901").await, ["DELETE 1"]);
    assert_eq!(client.ok("select b from t where a = 901").await, ["SELECT 0"]);
    assert_eq!(client.err("insert into t values (902, 0)").await.sqlstate, "23505");
    client.ok("rollback").await;
    client.ok("alter table t add primary key (a)").await;
    for _ in 0..2 {
        assert_eq!(client.ok("select b from t where a = 901").await, ["99", "SELECT 1"]);
        assert_eq!(client.err("insert into t values (902, 0)").await.sqlstate, "23505");
        assert_eq!(client.err("insert into t values (1, 0)").await.sqlstate, "23505");
        let first = client.ok("select a from t order by a limit 3").await;
        assert_eq!(first, ["1", "500", "501", "SELECT 3"]);
        let range = client.ok("select a from t where a > 997 order by a desc").await;
        assert_eq!(range, ["999", "998", "SELECT 2"]);
        // The second time it is in a segment that has the key's order, beside one that has not.
        client.ok("update t set b = b + 1 where a = 1").await;
        flush(server.engine(), "t").await;
    }
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(client.ok("select b from t where a = 1").await, ["3", "SELECT 1"]);
    assert_eq!(client.ok("select b from t where a = 999").await, ["1", "SELECT 1"]);
    assert_eq!(client.err("insert into t values (999, 0)").await.sqlstate, "23505");
}

/// More rows than a chunk has, in one segment: deleted, undone, moved and deleted for good.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_of_many_rows_follow_them() {
    let server = Server::start().await;
    let mut client = server.connect();
    let mut other = server.connect();
    client.ok("create table t (a int primary key, b int)").await;
    client.ok("insert into t select x, x % 7 from generate_series(1, 150000) x").await;
    flush(server.engine(), "t").await;
    client.ok("insert into t select x, 1 from generate_series(150001, 220000) x").await;
    client.ok("begin").await;
    client.ok("savepoint s").await;
    client.ok("delete from t where a > 20000 and b < 6").await;
    client.ok("rollback to s").await;
    let count = "select count(*) from t";
    assert_eq!(client.ok(count).await, ["220000", "SELECT 1"]);
    // Both parts of what goes: rows that lie in a segment, and such as are moved to one before COMMIT.
    assert_eq!(client.ok("delete from t where a > 140000").await, ["DELETE 80000"]);
    flush(server.engine(), "t").await;
    assert_eq!(client.ok(count).await, ["140000", "SELECT 1"]);
    assert_eq!(client.ok("delete from t where a between 1 and 90000").await, ["DELETE 90000"]);
    other.ok("insert into t values (0, 0)").await;
    flush(server.engine(), "t").await;
    assert_eq!(client.ok("commit").await, ["COMMIT"]);
    assert_eq!(other.ok(count).await, ["50001", "SELECT 1"]);
    let ends = "select min(a), max(a), sum(a::int8) from t where a > 0";
    assert_eq!(other.ok(ends).await, ["90001|140000|5750025000", "SELECT 1"]);
    assert_eq!(other.ok("select a from t where a = 70000").await, ["SELECT 0"]);
    assert_eq!(other.ok("select b from t where a = 100000").await, ["5", "SELECT 1"]);
}

/// Where rows are moved to is remembered as long as somebody may name their old places: who deletes
/// some keeps a snapshot registered between his statements, who only reads does not.
#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_rows_keeps_a_snapshot() {
    let server = Server::start().await;
    let mut client = loaded(&server).await;
    let snapshots = server.engine().database().snapshots();
    let before = snapshots.registered();
    client.ok("begin").await;
    client.ok("select b from t where a = 1").await;
    assert_eq!(snapshots.registered(), before);
    client.ok("insert into t values (-1, '', 0)").await;
    // That under which keys were looked up first, until the end.
    assert_eq!(snapshots.registered(), before + 1);
    client.ok("savepoint s").await;
    client.ok("delete from t where a = 1").await;
    assert_eq!(snapshots.registered(), before + 2);
    server.connect().ok("insert into t values (-2, '', 0)").await;
    client.ok("select b from t where a = 1").await;
    // The statement's own, by now: what it found was brought to the list that it saw.
    assert_eq!(snapshots.registered(), before + 2);
    client.ok("rollback to s").await;
    client.ok("select b from t where a = 1").await;
    assert_eq!(snapshots.registered(), before + 1);
    client.ok("commit").await;
    assert_eq!(snapshots.registered(), before);
}
