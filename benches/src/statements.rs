//! What measurements say to either server, and how long it takes.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use glaredb_tests::{client, tpch};

/// Runs statements on a server, by psql. Panics at an error.
pub(crate) fn psql(port: u16, sql: &str) {
    client::psql(port, "postgres", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// All rows to as few segments as can be, with statistics of them.
pub(crate) fn compact(port: u16) {
    psql(port, "vacuum full");
    psql(port, "analyze");
}

pub(crate) fn timed(port: u16, sql: &str) -> Duration {
    let begin = Instant::now();
    psql(port, sql);
    begin.elapsed()
}

/// Makes the tables of TPC-H, or one of them, and fills them one after the other out of the generator:
/// its text is never on disk.
pub(crate) async fn load_tpch(port: u16, scale: &str, only: Option<&str>) {
    let session = client::connect(port).await;
    for (table, columns) in tpch::TABLES {
        if only.is_some_and(|only| only != table) {
            continue;
        }
        let create = format!("create table {table} ({columns})");
        session.batch_execute(&create).await.unwrap_or_else(|e| panic!("{create}: {e:?}"));
        client::copy_tpch(port, scale, table).unwrap_or_else(|e| panic!("COPY {table}: {e}"));
    }
}

/// As root only; without it a cold query is one of a new process.
pub(crate) fn drop_page_cache() {
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "1") {
        eprintln!("the page cache stays: {error}");
    }
}

/// Bytes of `4GiB`, as servers understand it. Panics at what is none.
pub(crate) fn bytes_of(text: &str) -> u64 {
    let (number, shift) = match text.strip_suffix("GiB") {
        Some(number) => (number, 30),
        None => (text.strip_suffix("MiB").unwrap_or_else(|| panic!("{text} is no size")), 20),
    };
    number.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no size")) << shift
}

/// Writes back what is dirty, so that no measurement pays for the one before.
pub(crate) fn sync() {
    let status = Command::new("sync").status().expect("sync runs");
    assert!(status.success(), "sync: {status}");
}
