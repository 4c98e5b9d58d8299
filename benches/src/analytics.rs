//! TPC-H against DuckDB on Parquet, COPY against PostgreSQL, commits beside a checkpoint.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use glaredb_tests::{client, duck, peer::Postgres, server::Server, tpch};

use crate::{
    report::{Report, median},
    small_statements::POSTGRES_SETTINGS,
};

const ROUNDS: usize = 3;

pub(crate) async fn measure(scale: &str, wanted: &dyn Fn(&str) -> bool, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    duck::tpch_files(folder.path(), scale, "csv");
    let ours = Server::start();
    let session = ours.connect().await;
    tpch::create_tables(&session).await;
    let mut lineitem = Duration::ZERO;
    for (table, _) in tpch::TABLES {
        let taken = copy(ours.port, table, folder.path());
        if table == "lineitem" {
            lineitem = taken;
        }
    }
    session.batch_execute("analyze").await.expect("ANALYZE");
    report
        .note("resident memory with TPC-H loaded", &format!("{} MiB", ours.resident_bytes() >> 20));
    if wanted("copy") {
        let peer = Postgres::start(&POSTGRES_SETTINGS);
        let there = peer_session(peer.port).await;
        tpch::create_tables(&there).await;
        let theirs = copy(peer.port, "lineitem", folder.path());
        report.duration(
            &format!("COPY lineitem SF{scale}, against PostgreSQL"),
            lineitem,
            theirs,
            1.0,
        );
    }
    if wanted("tpch") {
        queries(scale, folder.path(), &session, report).await;
    }
    if wanted("checkpoint") {
        beside_checkpoint(&ours, report).await;
    }
}

async fn peer_session(port: u16) -> tokio_postgres::Client {
    client::connect(port).await
}

/// psql's \copy, the same client for both.
fn copy(port: u16, table: &str, folder: &Path) -> Duration {
    let file = folder.join(format!("{table}.csv"));
    let command = format!("\\copy {table} from '{}' with (format csv, header)", file.display());
    let begin = Instant::now();
    client::psql(port, "postgres", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", &command])
        .unwrap_or_else(|e| panic!("COPY {table}: {e}"));
    begin.elapsed()
}

async fn queries(
    scale: &str,
    folder: &Path,
    session: &tokio_postgres::Client,
    report: &mut Report,
) {
    let parquet = folder.join("parquet");
    duck::tpch_files(&parquet, scale, "parquet");
    // {"1": seconds, …}, each the median of ROUNDS, two threads.
    let text =
        duck::python("tpch_time.py", &[&parquet.to_string_lossy(), "2", &ROUNDS.to_string()]);
    let theirs: std::collections::BTreeMap<String, f64> =
        serde_json::from_str(&text).expect("tpch_time.py prints JSON");
    let (mut our_total, mut their_total) = (0.0, 0.0);
    let mut lines = Vec::new();
    for (number, query) in tpch::queries() {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            if let Err(error) = tpch::ask(session, &query).await {
                panic!("Q{number}: {error:?}");
            }
            times.push(begin.elapsed().as_secs_f64());
        }
        let (a, b) = (median(times), theirs[&number.to_string()]);
        our_total += a;
        their_total += b;
        lines.push(format!("Q{number} {:.0}/{:.0} ms ({:.1})", a * 1e3, b * 1e3, a / b));
    }
    report.duration(
        &format!("TPC-H SF{scale} from memory, 22 queries, against DuckDB on Parquet"),
        Duration::from_secs_f64(our_total),
        Duration::from_secs_f64(their_total),
        1.5,
    );
    report.note("TPC-H, ours/DuckDB", &lines.join(", "));
}

/// 99th percentile of commits without and with a checkpoint running.
async fn beside_checkpoint(ours: &Server, report: &mut Report) {
    client::pgbench(ours.port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
    let without = p99(ours.port, || {});
    let port = ours.port;
    let with = p99(port, move || {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            client::psql(port, "postgres", &["-c", "checkpoint"]).expect("CHECKPOINT");
        });
    });
    report.duration("p99 of commits during a checkpoint, against without", with, without, 3.0);
}

/// 99th percentile of a single-row INSERT's latency over ten seconds of 8 clients.
fn p99(port: u16, begin: impl FnOnce()) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("insert.sql");
    std::fs::write(
        &script,
        "insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, 1, 1, current_timestamp);\n",
    )
    .expect("a script");
    begin();
    let out = Command::new("pgbench")
        .current_dir(folder.path())
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", "10", "--log", "-f"])
        .arg(&script)
        .arg("postgres")
        .output()
        .expect("pgbench runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pgbench_log")) {
            let text = std::fs::read_to_string(path).expect("a log");
            // client, transaction, latency in µs, …
            latencies.extend(text.lines().filter_map(|l| l.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    latencies.sort_unstable();
    assert!(latencies.len() > 100, "too few commits to speak of a percentile");
    Duration::from_micros(latencies[latencies.len() * 99 / 100])
}
