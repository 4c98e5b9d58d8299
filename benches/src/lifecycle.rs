//! Starting: on nothing, and on a log of 1 GiB.

use std::time::{Duration, Instant};

use glaredb_tests::{
    client,
    server::{Options, Server},
};

use crate::report::Report;

pub(crate) fn empty_start(report: &mut Report) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        let server = Server::start();
        times.push(begin.elapsed());
        drop(server);
    }
    times.sort();
    report.bound(
        "empty start until the first query is answered",
        times[2],
        Duration::from_millis(500),
    );
}

/// Recovery of about 1 GiB of TPC-B log, key indexes ready: checkpoints are held off, pgbench runs
/// until the log is that large, then kill -9.
pub(crate) fn recovery(report: &mut Report) {
    const LOG_BYTES: u64 = 1 << 30;
    // No checkpoint until far beyond what is written here.
    let options = || Options {
        arguments: vec!["--checkpoint-log-size".into(), "64GiB".into()],
        ..Options::default()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut server = Server::start_in(&data, options());
    client::pgbench(server.port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
    let begin = Instant::now();
    // What is written, not the files, which are made ahead.
    let log_bytes = |server: &Server| server.metric("glaredb_log_bytes_total") as u64;
    while log_bytes(&server) < LOG_BYTES {
        assert!(begin.elapsed() < Duration::from_secs(1800), "the log does not reach 1 GiB");
        client::pgbench(
            server.port,
            &["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", "20", "--max-tries=10000"],
        )
        .expect("pgbench");
    }
    let written = log_bytes(&server);
    server.kill();
    let begin = Instant::now();
    let server = Server::start_in(&data, options());
    let taken = begin.elapsed();
    report.note("log replayed", &format!("{} MiB", written >> 20));
    // For comparison at exactly 1 GiB.
    let scaled = taken.mul_f64(LOG_BYTES as f64 / written as f64);
    report.bound("recovery of 1 GiB of TPC-B log", scaled, Duration::from_secs(20));
    drop(server);
}
