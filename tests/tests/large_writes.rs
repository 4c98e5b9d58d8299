//! Statements that write more rows than memory holds, in the real process: within a bound on its memory,
//! and there after a kill.

use std::{io::Write, time::Duration};

use futures::SinkExt;
use glaredb_tests::{
    server::{Options, Server},
    verify::verify,
};

/// `--memory-limit`: about a third of it is for changes.
const LIMIT_BYTES: u64 = 192 << 20;
/// More than `budget.rs` allows small statements: runs are sorted and encoded beside the limit's parts.
const RESIDENT_BYTES_MAX: u64 = 2 * LIMIT_BYTES + (192 << 20) + (448 << 20);
/// Each about a kilobyte, and they do not pack to nothing.
const ROWS: i64 = 300_000;
const TEXT: &str = "repeat(md5((x * 7)::text), 31)";

fn options() -> Options {
    let limit = format!("{}MiB", LIMIT_BYTES >> 20);
    Options {
        arguments: ["--memory-limit", &limit, "--checkpoint-log-size", "64MiB"]
            .map(str::to_owned)
            .into(),
        ..Options::default()
    }
}

fn check(server: &Server, when: &str) {
    let peak = server.peak_resident_bytes();
    assert!(peak > 0, "{when}: it does not run");
    println!("{when}: at most {} MiB resident", peak >> 20);
    assert!(peak < RESIDENT_BYTES_MAX, "{when}: {} MiB", peak >> 20);
}

fn ask(server: &Server, sql: &str) -> String {
    server.psql(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_write_more_than_memory_holds() {
    let server = Server::start_with(options());
    let client = server.connect().await;
    client.batch_execute("create table t (k bigint primary key, v text, n int)").await.expect("t");

    // In no order of the key.
    let insert = format!(
        "insert into t select x::bigint * 7919 % 300007, {TEXT}, x from generate_series(1, {ROWS}) x"
    );
    assert_eq!(client.execute(&insert, &[]).await.expect("INSERT"), ROWS as u64);
    check(&server, "after INSERT");
    let sums = "select count(*)::text || ' ' || sum(n)::text || ' ' || sum(length(v))::text from t";
    let sum = ROWS * (ROWS + 1) / 2;
    let all = format!("{ROWS} {sum} {}", ROWS * 992);
    assert_eq!(ask(&server, sums), all);

    client.batch_execute("create table c as select * from t").await.expect("CREATE TABLE AS");
    check(&server, "after CREATE TABLE AS");
    assert_eq!(ask(&server, &sums.replace("from t", "from c")), all);

    client.batch_execute("create table p (k bigint primary key, v text)").await.expect("p");
    let sink = client.copy_in::<_, bytes::Bytes>("copy p from stdin").await.expect("COPY");
    let mut sink = std::pin::pin!(sink);
    for first in (0..ROWS).step_by(1_000) {
        let mut lines = Vec::new();
        for key in first..first + 1_000 {
            let text =
                format!("{:016x}", (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(62);
            writeln!(lines, "{key}\t{text}").expect("it is written");
        }
        sink.send(lines.into()).await.expect("it is taken");
    }
    assert_eq!(sink.finish().await.expect("COPY"), ROWS as u64);
    check(&server, "after COPY");

    let updated = client.execute("update t set n = n + 1", &[]).await.expect("UPDATE");
    assert_eq!(updated, ROWS as u64);
    check(&server, "after UPDATE");
    let changed = format!("{ROWS} {} {}", sum + ROWS, ROWS * 992);
    assert_eq!(ask(&server, sums), changed);
    let deleted = client.execute("delete from c where n > 1000", &[]).await.expect("DELETE");
    assert_eq!(deleted, (ROWS - 1000) as u64);
    check(&server, "after DELETE");

    drop(client);
    let mut server = server;
    server.kill();
    let mut server = server.start_again(options());
    check(&server, "after recovery");
    assert_eq!(ask(&server, sums), changed);
    assert_eq!(ask(&server, "select count(*), sum(n) from c"), "1000|500500");
    assert_eq!(
        ask(&server, "select count(*), sum(k), sum(length(v)) from p"),
        format!("{ROWS}|{}|{}", ROWS * (ROWS - 1) / 2, ROWS * 992)
    );
    assert_eq!(ask(&server, "select n from t where k = 7919"), "2");
    assert!(server.terminate(Duration::from_secs(120)).success());
    let verified = verify(server.data_dir(), &Options::default());
    assert_eq!(verified.code, Some(0), "{}{}", verified.findings, verified.progress);
}
