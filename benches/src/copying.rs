//! COPY of a table that is larger than the memory for changes.

use std::{path::Path, time::Duration};

use glaredb_tests::{
    client, duck,
    peer::Postgres,
    server::{Options, Server},
    tpch,
};

use crate::{
    report::{Report, median},
    small_statements::POSTGRES_SETTINGS,
    statements::{bytes_of, psql, sync, timed},
};

/// COPY of lineitem with its primary key, against PostgreSQL, and the memory that it takes.
pub(crate) fn lineitem(rounds: usize, scale: &str, memory: &str, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    duck::tpch_table(folder.path(), scale, "lineitem");
    let limit = vec![format!("--memory-limit={memory}")];
    let ours = Server::start_with(Options { arguments: limit, ..Options::default() });
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    let mut times = [Vec::new(), Vec::new()];
    let mut counts = [String::new(), String::new()];
    for _ in 0..rounds {
        for (n, port) in [ours.port, peer.port].into_iter().enumerate() {
            times[n].push(copy(port, folder.path()).as_secs_f64());
            counts[n] = client::psql(port, "postgres", &["-At", "-c", COUNT]).expect("a count");
        }
        let peak = ours.peak_resident_bytes();
        println!("peak {} MiB, {} rows", peak >> 20, counts[0].trim());
    }
    assert_eq!(counts[0], counts[1], "rows of lineitem");
    let [ours_taken, theirs] = times.map(|all| Duration::from_secs_f64(median(all)));
    let what = format!("COPY lineitem SF{scale} with its key, {memory}, against PostgreSQL");
    report.duration(&what, ours_taken, theirs, 0.5);
    let what = format!("peak resident memory in COPY lineitem SF{scale}");
    report.memory(&what, ours.peak_resident_bytes(), bytes_of(memory));
    report.note("segments after COPY", &segments(&ours));
}

const COUNT: &str = "select count(*), sum(l_linenumber) from lineitem";

/// Into a table that was just made.
fn copy(port: u16, folder: &Path) -> Duration {
    let (table, columns) = tpch::TABLES.iter().find(|(name, _)| *name == "lineitem").expect("one");
    psql(port, "drop table if exists lineitem");
    psql(port, &format!("create table {table} ({columns})"));
    psql(port, "checkpoint");
    sync();
    let file = folder.join("lineitem.csv");
    timed(port, &format!("\\copy lineitem from '{}' with (format csv, header)", file.display()))
}

/// Segments of all tables.
pub(crate) fn segments(server: &Server) -> String {
    let sql = "select count(*), coalesce(sum(rows), 0), coalesce(sum(bytes) / 1048576, 0)::bigint \
               from glare_catalog.segments";
    let text = server.psql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let parts: Vec<&str> = text.trim().split('|').collect();
    format!("{} segments, {} rows, {} MiB", parts[0], parts[1], parts[2])
}
