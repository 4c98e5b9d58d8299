//! Tables that lie in segments: TPC-H, point reads, inserts and updates beside flush and compaction.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use glaredb_tests::{
    client, duck,
    peer::Postgres,
    server::{Options, Server},
    tpch,
};

use crate::{
    report::Report,
    small_statements::{Load, POSTGRES_SETTINGS, in_turn},
};

/// Rows at which inserts of random keys are measured: without and with a large table behind them.
const UUID_MILLIONS: [u32; 2] = [1, 10];

/// Runs a statement on a server, by psql.
fn psql(port: u16, sql: &str) {
    client::psql(port, "postgres", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
}

fn timed(port: u16, sql: &str) -> Duration {
    let begin = Instant::now();
    psql(port, sql);
    begin.elapsed()
}

/// Point reads of flushed and compacted rows, pgbench's scale 50.
pub(crate) fn keys(load: &Load, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    for port in [ours.port, peer.port] {
        client::pgbench(port, &["-i", "-q", "-s", "50"]).expect("pgbench -i");
    }
    psql(ours.port, "vacuum full");
    let (a, b) = in_turn(load, [ours.port, peer.port], &["-n", "-M", "prepared", "-S"]);
    report.rate("select-only scale 50 in segments, 8 clients, prepared", "tps", a, b, 0.7);
    let ours = ours.kill_and_restart();
    let cold = client::psql(
        ours.port,
        "postgres",
        &["-At", "-c", "explain analyze select abalance from pgbench_accounts where aid = 4000000"],
    );
    report.note("cold read of a key", &cold.unwrap_or_else(|e| panic!("EXPLAIN ANALYZE: {e}")));
    let (tpcb, peer_tpcb) =
        in_turn(load, [ours.port, peer.port], &["-n", "-M", "prepared", "-b", "tpcb-like"]);
    report.rate("TPC-B scale 50 in segments, 8 clients, prepared", "tps", tpcb, peer_tpcb, 0.7);
}

/// Inserts of random keys into a table with many of them.
pub(crate) fn uuids(load: &Load, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    let ports = [ours.port, peer.port];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("insert.sql");
    std::fs::write(&script, "insert into keyed values (gen_random_uuid(), 1);\n")
        .expect("a script");
    let script = script.to_string_lossy().into_owned();
    for port in ports {
        psql(port, "create table keyed (id uuid primary key, v int)");
    }
    let mut filled = 0;
    let mut rates = Vec::new();
    for millions in UUID_MILLIONS {
        while filled < millions {
            for port in ports {
                psql(
                    port,
                    "insert into keyed select gen_random_uuid(), i \
                     from generate_series(1, 1000000) g (i)",
                );
            }
            filled += 1;
        }
        psql(ours.port, "vacuum keyed");
        let (a, b) = in_turn(load, ports, &["-n", "-M", "prepared", "-f", &script]);
        rates.push(a);
        let what = format!("random uuid INSERT into {millions} million, 8 clients, prepared");
        report.rate(&what, "tps", a, b, 0.7);
    }
    let flat = rates[rates.len() - 1] / rates[0];
    report.note("inserts of random keys, 10 million against 1", &format!("{flat:.2}"));
}

/// An UPDATE of every row of ten million.
pub(crate) fn update_all(report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    for port in [ours.port, peer.port] {
        psql(port, "create table wide (id int primary key, v int, t text)");
        for million in 0..10 {
            let (from, to) = (million * 1_000_000 + 1, (million + 1) * 1_000_000);
            psql(
                port,
                &format!(
                    "insert into wide select i, i, 'row ' || i from generate_series({from}, {to}) g (i)"
                ),
            );
        }
    }
    psql(ours.port, "vacuum wide");
    let statement = "update wide set v = v + 1";
    let (a, b) = (timed(ours.port, statement), timed(peer.port, statement));
    report.duration("UPDATE of every row of 10 million", a, b, 1.0);
    let resident = format!("{} MiB", ours.resident_bytes() >> 20);
    report.note("resident memory after the UPDATE", &resident);
}

/// TPC-H from segments, against DuckDB on Parquet files of the same data with the same memory and
/// threads: cold, with a new process and nothing in the page cache, and the third run.
pub(crate) async fn tpch(scale: &str, memory: &str, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limit =
        || Options { arguments: vec![format!("--memory-limit={memory}")], ..Options::default() };
    let mut ours = Server::start_with(limit());
    load(&ours, scale, folder.path()).await;
    let parquet = folder.path().join("parquet");
    duck::tpch_files(&parquet, scale, "parquet");
    let text = duck::python(
        "tpch_time.py",
        &[&parquet.to_string_lossy(), "2", "3", &memory.replace("GiB", "GB")],
    );
    let theirs: std::collections::BTreeMap<String, [f64; 2]> =
        serde_json::from_str(&text).expect("tpch_time.py prints JSON");
    let mut totals = [[0.0; 2]; 2];
    let mut lines = Vec::new();
    for (number, query) in tpch::queries() {
        ours.kill();
        ours = ours.start_again(limit());
        let session = ours.connect().await;
        drop_page_cache();
        let mut times = Vec::new();
        for _ in 0..3 {
            let begin = Instant::now();
            tpch::ask(&session, &query).await.unwrap_or_else(|e| panic!("Q{number}: {e:?}"));
            times.push(begin.elapsed().as_secs_f64());
        }
        let (mine, other) = ([times[0], times[2]], theirs[&number.to_string()]);
        for n in 0..2 {
            totals[0][n] += mine[n];
            totals[1][n] += other[n];
        }
        lines.push(format!(
            "Q{number} {:.2}/{:.2} s cold ({:.1}), {:.2}/{:.2} s warm ({:.1})",
            mine[0],
            other[0],
            mine[0] / other[0],
            mine[1],
            other[1],
            mine[1] / other[1]
        ));
    }
    for (n, what, most) in [(0, "cold", 2.0), (1, "warm", 1.3)] {
        report.duration(
            &format!("TPC-H SF{scale} in segments, {memory}, {what}, against DuckDB on Parquet"),
            Duration::from_secs_f64(totals[0][n]),
            Duration::from_secs_f64(totals[1][n]),
            most,
        );
    }
    report.note("TPC-H in segments, ours/DuckDB", &lines.join(", "));
}

/// Loads TPC-H table by table, so that no two csv files are there at once, and compacts.
async fn load(server: &Server, scale: &str, folder: &Path) {
    let session = server.connect().await;
    tpch::create_tables(&session).await;
    duck::tpch_files(folder, scale, "csv");
    for (table, _) in tpch::TABLES {
        let file = folder.join(format!("{table}.csv"));
        psql(
            server.port,
            &format!("\\copy {table} from '{}' with (format csv, header)", file.display()),
        );
        std::fs::remove_file(file).expect("a file of ours");
    }
    session.batch_execute("vacuum full; analyze").await.expect("a compaction");
}

/// As root only; without it a cold query is one of a new process.
fn drop_page_cache() {
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "1") {
        eprintln!("the page cache stays: {error}");
    }
}
