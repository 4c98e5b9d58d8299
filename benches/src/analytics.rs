//! TPC-H against DuckDB on Parquet, COPY against PostgreSQL.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use glaredb_tests::{client, duck, peer::Postgres, server::Server, tpch};

use crate::{
    commit_latency,
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
        commit_latency::beside_checkpoint(&ours, report);
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
