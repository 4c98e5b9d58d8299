//! Starting on nothing.

use std::time::{Duration, Instant};

use glaredb_tests::server::Server;

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
