//! `pg_stat_progress_copy` while a COPY is under way.

use std::{
    fmt::Write as _,
    pin::pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::SinkExt;
use glaredb_tests::server::Server;
use tokio_postgres::{Client, Row};

const ROWS: i64 = 40_000;
const WAIT_MAX: Duration = Duration::from_secs(120);

async fn progress(client: &Client) -> Vec<Row> {
    let all = "select pid, datid = (select oid from pg_database where datname = 'postgres'),
                      datname::text, relid = 't'::regclass, command, type, bytes_processed,
                      bytes_total, tuples_processed, tuples_excluded
               from pg_stat_progress_copy";
    client.query(all, &[]).await.expect("the view is there")
}

/// The only COPY there is, once it has come further than so many bytes and rows.
async fn beyond(client: &Client, bytes: i64, rows: i64) -> Row {
    let begin = Instant::now();
    loop {
        let mut all = progress(client).await;
        assert_eq!(all.len(), 1);
        let row = all.remove(0);
        if row.get::<_, i64>(6) > bytes && row.get::<_, i64>(8) > rows {
            return row;
        }
        assert!(begin.elapsed() < WAIT_MAX, "{row:?} comes no further than {bytes}, {rows}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_shows_how_far_it_is_until_it_has_ended() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    client.batch_execute("create table t (k bigint primary key)").await.expect("a table");
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.expect("a pid").get(0);
    assert!(progress(&other).await.is_empty());

    let copy = "copy t from stdin where k % 4 <> 0";
    let mut copy = pin!(client.copy_in(copy).await.expect("COPY begins"));
    let mut text = String::new();
    (0..ROWS).for_each(|k| writeln!(text, "{k}").expect("a string"));
    let (all, half) = (Bytes::from(text), 6 * ROWS as usize / 2);
    copy.send(all.slice(..half)).await.expect("it takes rows");
    let first = beyond(&other, 0, 0).await;
    assert_eq!(first.get::<_, i32>(0), pid);
    assert!(first.get::<_, bool>(1) && first.get::<_, bool>(3), "database and table");
    let texts: Vec<&str> = [2, 4, 5].map(|n| first.get(n)).into();
    assert_eq!(texts, ["postgres", "COPY FROM", "PIPE"]);
    assert_eq!(first.get::<_, i64>(7), 0, "nobody knows how much comes");
    let (rows, excluded): (i64, i64) = (first.get(8), first.get(9));
    assert!((1..=ROWS / 4).contains(&excluded), "{rows}, {excluded} left out");

    copy.send(all.slice(half..)).await.expect("it takes rows");
    let second = beyond(&other, first.get(6), rows).await;
    assert!(second.get::<_, i64>(6) <= all.len() as i64);
    assert_eq!(copy.finish().await.expect("it ends"), ROWS as u64 * 3 / 4);
    assert!(progress(&other).await.is_empty());
    let error = client.batch_execute("copy t from '/nowhere/t'").await;
    error.expect_err("there is no such file");
    assert!(progress(&other).await.is_empty(), "one that failed is over, too");
}
