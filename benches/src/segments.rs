//! Tables that lie in segments: TPC-H, point reads, inserts and updates beside flush and compaction.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use glaredb_tests::{
    client, duck,
    peer::Postgres,
    server::{Options, Server},
    tpch,
};

use crate::{
    copying::segments,
    report::Report,
    small_statements::{Load, POSTGRES_SETTINGS, in_turn},
    statements::{bytes_of, compact, drop_page_cache, load_tpch, psql, timed},
};

/// Rows at which inserts of random keys are measured: without and with a large table behind them.
const UUID_MILLIONS: [u32; 2] = [1, 10];

/// Most requests of a key that is read cold.
const COLD_REQUESTS_MAX: u64 = 3;

/// Point reads of flushed and compacted rows of pgbench; if asked for, changes of them.
pub(crate) fn keys(load: &Load, with_changes: bool, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    let (ports, scale) = ([ours.port, peer.port], load.scale);
    for port in ports {
        client::pgbench(port, &["-i", "-q", "-s", &scale.to_string()]).expect("pgbench -i");
    }
    psql(ours.port, "vacuum full");
    report.note(&format!("pgbench scale {scale}"), &segments(&ours));
    let accounts = "select sum(rows) from glare_catalog.segments \
                    where table_name = 'pgbench_accounts'";
    let in_segments = ours.psql(accounts).unwrap_or_else(|e| panic!("{accounts}: {e}"));
    assert_eq!(in_segments.trim(), (scale * 100_000).to_string(), "accounts in segments");
    // Warm is what has been read before.
    let select = ["-n", "-M", "prepared", "-S"];
    in_turn(&Load { rounds: 1, ..*load }, ports, &select);
    let before = reads(&ours);
    let (a, b) = in_turn(load, ports, &select);
    let what = format!("select-only scale {scale} in segments, 8 clients, prepared");
    report.rate(&what, "tps", a, b, 0.7);
    report.count("requests of these, warm", reads(&ours) - before, 0);
    let ours = ours.kill_and_restart();
    let select = format!("select abalance from pgbench_accounts where aid = {}", scale * 80_000);
    drop_page_cache();
    let (before, begin) = (reads(&ours), Instant::now());
    ours.psql(&select).unwrap_or_else(|e| panic!("{select}: {e}"));
    let (requests, taken) = (reads(&ours) - before, begin.elapsed());
    report.count("requests of a cold read of a key", requests, COLD_REQUESTS_MAX);
    report.note("cold read of a key, with a connection", &format!("{taken:?}"));
    if with_changes {
        let arguments = ["-n", "-M", "prepared", "-b", "tpcb-like"];
        let (tpcb, theirs) = in_turn(load, [ours.port, peer.port], &arguments);
        let what = format!("TPC-B scale {scale} in segments, 8 clients, prepared");
        report.rate(&what, "tps", tpcb, theirs, 0.7);
    }
}

/// Requests for parts of objects since the start.
fn reads(server: &Server) -> u64 {
    let sql = "select sum(requests) from glare_catalog.requests where kind in ('get', 'head')";
    let text = server.psql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    text.trim().parse().unwrap_or_else(|_| panic!("{text} is no number"))
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
/// threads: cold, with a new process and nothing in the page cache, and the third run. Without a peer only
/// its own times: of more data than there is space for twice.
pub(crate) async fn tpch(scale: &str, memory: &str, with_peer: bool, report: &mut Report) {
    let limit =
        || Options { arguments: vec![format!("--memory-limit={memory}")], ..Options::default() };
    let mut ours = Server::start_with(limit());
    let begin = Instant::now();
    load_tpch(ours.port, scale, None).await;
    let loaded = begin.elapsed();
    compact(ours.port);
    let what = format!("TPC-H SF{scale} loaded in {loaded:.0?}, compacted in");
    report.note(&what, &format!("{:.0?}: {}", begin.elapsed() - loaded, segments(&ours)));
    let what = format!("peak resident memory in loading and compacting TPC-H SF{scale}");
    report.memory(&what, ours.peak_resident_bytes(), bytes_of(memory));
    let theirs = with_peer.then(|| duckdb(scale, memory));
    let (mut totals, mut peak, mut lines) = ([[0.0; 2]; 2], 0, Vec::new());
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
        peak = peak.max(ours.peak_resident_bytes());
        let mine = [times[0], times[2]];
        let other = theirs.as_ref().map(|theirs| theirs[&number.to_string()]);
        for n in 0..2 {
            totals[0][n] += mine[n];
            totals[1][n] += other.map_or(0.0, |other| other[n]);
        }
        let text = |n: usize| match other {
            Some(other) => format!("{:.2}/{:.2} s ({:.1})", mine[n], other[n], mine[n] / other[n]),
            None => format!("{:.2} s", mine[n]),
        };
        lines.push(format!("Q{number} {} cold, {} warm", text(0), text(1)));
        println!("{}", lines[lines.len() - 1]);
    }
    for (n, what, most) in [(0, "cold", 2.0), (1, "warm", 1.3)] {
        let [mine, other] = [totals[0][n], totals[1][n]].map(Duration::from_secs_f64);
        let what = format!("TPC-H SF{scale} in segments, {memory}, {what}");
        match theirs {
            Some(_) => {
                report.duration(&format!("{what}, against DuckDB on Parquet"), mine, other, most);
            }
            None => report.note(&what, &format!("{:.1} s", mine.as_secs_f64())),
        }
    }
    let what = format!("peak resident memory in a query of TPC-H SF{scale}");
    report.memory(&what, peak, bytes_of(memory));
    report.note("TPC-H in segments, ours/DuckDB", &lines.join("; "));
}

/// Seconds of DuckDB's first and third run of each query, two threads.
fn duckdb(scale: &str, memory: &str) -> BTreeMap<String, [f64; 2]> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    duck::tpch_files(folder.path(), scale, "parquet");
    let folder = folder.path().to_string_lossy();
    let text = duck::python("tpch_time.py", &[&folder, "2", "3", &memory.replace("GiB", "GB")]);
    serde_json::from_str(&text).expect("tpch_time.py prints JSON")
}
