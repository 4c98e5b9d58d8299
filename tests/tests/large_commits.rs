//! Large commits beside other writers of the same table: their keys go to the leader as filters, so
//! neither may lose against the other for anything but a key that both wrote.

use std::{
    fmt::Write as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::SinkExt;
use glaredb_tests::{client, rewriting::Rewriting, server::Server};
use tokio_postgres::Client;

/// Rows of the large COPY, and of others that are just large enough.
const ROWS: i64 = 200_000;
const FEW: i64 = 20_000;
const WAIT_MAX: Duration = Duration::from_secs(120);

/// `4n` and `4n + 2` are copied, `4n + 1` is there before, `4n + 3` is written singly.
const STEP: i64 = 4;

async fn create(client: &Client) {
    let create = "create table t (k bigint primary key, v text);
                  insert into t select 4 * n + 1, 'old' from generate_series(0, 999) as s(n)";
    client.batch_execute(create).await.expect("a table");
}

/// Lines for the keys `first`, `first + STEP`, …
fn lines(first: i64, rows: i64) -> Bytes {
    let mut text = String::new();
    (0..rows).for_each(|n| writeln!(text, "{}\tcopied", first + n * STEP).expect("a string"));
    text.into()
}

/// Statements of their own, each of which has to succeed, until it is told to stop.
async fn write_singly(port: u16, me: i64, stop: Arc<AtomicBool>, done: Arc<AtomicI64>) -> i64 {
    let client = client::connect(port).await;
    let insert = client.prepare("insert into t values ($1, 'single')").await.expect("INSERT");
    let update = client.prepare("update t set v = v || '.' where k = $1").await.expect("UPDATE");
    let delete = client.prepare("delete from t where k = $1").await.expect("DELETE");
    let mut left = 0;
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        // All over the range that is copied.
        let key = (n * 7_919 + me * 13) % (ROWS / 2) * 2 * STEP + 4 * me + 3;
        for (statement, rows) in [(&insert, 1), (&update, 1)] {
            let written = client.execute(statement, &[&key]).await;
            assert_eq!(written.unwrap_or_else(|e| panic!("key {key}: {e:?}")), rows);
            done.fetch_add(1, SeqCst);
        }
        if n % 2 == 0 {
            let deleted = client.execute(&delete, &[&key]).await;
            assert_eq!(deleted.unwrap_or_else(|e| panic!("key {key}: {e:?}")), 1);
            done.fetch_add(1, SeqCst);
        } else {
            left += 1;
        }
    }
    left
}

/// Waits until so many more statements have committed.
async fn more(done: &AtomicI64, count: i64) {
    let (begin, from) = (Instant::now(), done.load(SeqCst));
    while done.load(SeqCst) < from + count {
        assert!(begin.elapsed() < WAIT_MAX, "the writers stand still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn count(client: &Client, of: &str) -> i64 {
    let query = format!("select count(*) from t where {of}");
    client.query_one(&query, &[]).await.expect("a count").get(0)
}

/// A large COPY, which began before everything else: what others commit meanwhile, single rows and a
/// second COPY whose keys lie between its own, neither lose nor make it lose. Meanwhile rows move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_single_writers_of_other_keys_all_commit() {
    let server = Server::start();
    let client = server.connect().await;
    create(&client).await;
    let rewriting = Rewriting::start(server.port);
    let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicI64>::default());
    let writers: Vec<_> = (0..2)
        .map(|me| tokio::spawn(write_singly(server.port, me, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    more(&done, 1).await;

    let mut large = pin!(client.copy_in("copy t from stdin").await.expect("COPY begins"));
    let all = lines(0, ROWS);
    let half = all.len() / 2;
    large.send(all.slice(..half)).await.expect("it takes rows");
    more(&done, 50).await;
    // The rest of it has been sent before the other one begins, and so is its base.
    let other = server.connect().await;
    let mut small = pin!(other.copy_in("copy t from stdin").await.expect("COPY begins"));
    small.send(lines(2, FEW)).await.expect("it takes rows");
    assert_eq!(small.finish().await.expect("nobody wrote its keys"), FEW as u64);
    large.send(all.slice(half..)).await.expect("it takes rows");
    assert_eq!(large.finish().await.expect("nobody wrote its keys"), ROWS as u64);
    more(&done, 10).await;

    stop.store(true, SeqCst);
    let mut left = 0;
    for writer in writers {
        left += writer.await.expect("all of its statements succeed");
    }
    rewriting.stop().expect("rows move");
    assert_eq!(count(&client, "v = 'copied' and k % 4 = 0").await, ROWS);
    assert_eq!(count(&client, "v = 'copied' and k % 4 = 2").await, FEW);
    assert_eq!(count(&client, "v like 'single%'").await, left);
    // The two COPYs lie among one another, which no filter can tell apart.
    assert!(server.metric("glaredb_commit_conflicts_total") > 0.0, "none had to look");
}

/// What is really written by both is refused, wherever the other's row has gone since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_both_wrote_is_a_conflict() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    create(&client).await;
    for (moved, key) in [(false, 8), (true, 4 * FEW - 4)] {
        let mut copy = pin!(client.copy_in("copy t from stdin").await.expect("COPY begins"));
        copy.send(lines(0, FEW)).await.expect("it takes rows");
        let insert = format!("insert into t values ({key}, 'first')");
        other.batch_execute(&insert).await.expect("nobody has it yet");
        if moved {
            other.batch_execute("vacuum t").await.expect("it is flushed");
        }
        let error = copy.finish().await.expect_err("the key is there twice");
        let state = client::sqlstate(&error);
        assert!(["40001", "23505"].contains(&state), "{error:?}");
        assert_eq!(count(&client, "v = 'copied'").await, 0, "all or nothing");
        other.batch_execute("delete from t where v = 'first'").await.expect("it goes again");
    }
    // And gone again is a change, too.
    let mut copy = pin!(client.copy_in("copy t from stdin").await.expect("COPY begins"));
    copy.send(lines(0, FEW)).await.expect("it takes rows");
    let there_and_gone = "insert into t values (12, 'first'); delete from t where k = 12";
    for statement in there_and_gone.split(';') {
        other.batch_execute(statement).await.expect("a statement");
    }
    let error = copy.finish().await.expect_err("the key came and went");
    assert_eq!(client::sqlstate(&error), "40001", "{error:?}");
}

/// An UPDATE of many rows against one of a single row: of those rows, and of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_to_commit_an_update_wins() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    for key in ["primary key", ""] {
        let create = format!(
            "drop table if exists t; create table t (k bigint {key}, v text);
             insert into t select n, 'old' from generate_series(1, {}) as s(n)",
            2 * FEW
        );
        client.batch_execute(&create).await.expect("a table");
        other.batch_execute("vacuum t").await.expect("it is flushed");
        let all = format!("update t set v = 'all' where k <= {FEW}");
        for (one, expected) in [(2 * FEW, None), (FEW, Some("40001")), (2 * FEW - 1, None)] {
            client.batch_execute("begin").await.expect("BEGIN");
            client.batch_execute(&all).await.expect("UPDATE of many");
            let one = format!("update t set v = v || ' one' where k = {one}");
            other.batch_execute(&one).await.expect("UPDATE of one");
            let ended = client.batch_execute("commit").await;
            let state = ended.as_ref().err().map(client::sqlstate);
            assert_eq!(state, expected, "{one}, {key}: {ended:?}");
        }
        assert_eq!(count(&client, "v = 'all'").await, FEW, "{key}");
        assert_eq!(count(&client, "v like '%one'").await, 2, "{key}");
    }
}
