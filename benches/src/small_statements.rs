//! pgbench, unmodified, against both servers in turn.

use glaredb_tests::{client, peer::Postgres, server::Server};

use crate::report::{Report, median};

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    /// pgbench's, of tables that lie in segments.
    pub(crate) scale: u32,
}

const CLIENTS: &str = "8";

/// fsync stays on, which is PostgreSQL's default; a quarter of the machine for its buffers.
pub(crate) const POSTGRES_SETTINGS: [&str; 3] =
    ["shared_buffers = '4GB'", "max_wal_size = '8GB'", "checkpoint_timeout = '30min'"];

pub(crate) fn measure(load: &Load, wanted: &dyn Fn(&str) -> bool, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    let ports = [ours.port, peer.port];
    if wanted("insert") {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("insert.sql");
        std::fs::write(
            &script,
            "\\set a random(1, 1000000000)\ninsert into one_row (a, b) values (:a, 'some text of a row');\n",
        )
        .expect("a script");
        for port in ports {
            client::psql(port, "postgres", &["-q", "-c", "create table one_row (a int, b text)"])
                .expect("a table");
        }
        let script = script.to_string_lossy().into_owned();
        for protocol in ["simple", "prepared"] {
            let (a, b) = in_turn(load, ports, &["-n", "-M", protocol, "-f", &script]);
            report.rate(&format!("single-row INSERT, 8 clients, {protocol}"), "tps", a, b, 0.9);
        }
    }
    if ["tpcb", "select", "simple-update", "keys"].iter().any(|name| wanted(name)) {
        for port in ports {
            client::pgbench(port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
        }
    }
    if wanted("tpcb") {
        for protocol in ["simple", "prepared"] {
            let (a, b) = in_turn(
                load,
                ports,
                &["-n", "-M", protocol, "-b", "tpcb-like", "--max-tries=10000"],
            );
            report.rate(&format!("TPC-B scale 10, 8 clients, {protocol}"), "tps", a, b, 0.8);
        }
    }
    if wanted("simple-update") {
        for protocol in ["simple", "prepared"] {
            let arguments = ["-n", "-M", protocol, "-b", "simple-update", "--max-tries=10000"];
            let (a, b) = in_turn(load, ports, &arguments);
            let what = format!("simple-update scale 10, 8 clients, {protocol}");
            report.rate(&what, "tps", a, b, 0.8);
        }
    }
    if wanted("select") {
        for (protocol, promised) in [("simple", 1.2), ("prepared", 0.8)] {
            let (a, b) = in_turn(load, ports, &["-n", "-M", protocol, "-S"]);
            let what = format!("select-only scale 10, 8 clients, {protocol}");
            report.rate(&what, "tps", a, b, promised);
        }
    }
    if wanted("keys") {
        by_keys(load, ports, report);
    }
}

/// Rows by several keys and by ranges of them.
fn by_keys(load: &Load, ports: [u16; 2], report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let draws: String = (0..10).map(|n| format!("\\set k{n} random(1, 1000000)\n")).collect();
    let list: Vec<String> = (0..10).map(|n| format!(":k{n}")).collect();
    let list = list.join(", ");
    let scripts = [
        (
            "10 rows by IN list",
            format!("{draws}select aid, abalance from pgbench_accounts where aid in ({list});\n"),
        ),
        (
            "100 rows by range of the key",
            "\\set k random(1, 999900)\n\
             select aid, abalance from pgbench_accounts where aid between :k and :k + 99;\n"
                .to_owned(),
        ),
        (
            "next 20 rows by key, ORDER BY and LIMIT",
            "\\set k random(1, 999900)\n\
             select aid, abalance from pgbench_accounts where aid > :k order by aid limit 20;\n"
                .to_owned(),
        ),
        (
            "UPDATE of 10 rows by range of the key",
            "\\set k random(1, 99999)\n\
             update pgbench_accounts set abalance = abalance + 1 \
             where aid >= :k * 10 and aid < :k * 10 + 10;\n"
                .to_owned(),
        ),
    ];
    for (number, (what, text)) in scripts.into_iter().enumerate() {
        let script = folder.path().join(format!("{number}.sql"));
        std::fs::write(&script, text).expect("a script");
        let script = script.to_string_lossy().into_owned();
        for protocol in ["simple", "prepared"] {
            let arguments = ["-n", "-M", protocol, "--max-tries=10000", "-f", &script];
            let (a, b) = in_turn(load, ports, &arguments);
            report.rate(&format!("{what}, 8 clients, {protocol}"), "tps", a, b, 0.8);
        }
    }
}

/// Transactions per second of both, medians over rounds in which each runs once.
pub(crate) fn in_turn(load: &Load, ports: [u16; 2], arguments: &[&str]) -> (f64, f64) {
    let mut rates = [Vec::new(), Vec::new()];
    let seconds = load.seconds.to_string();
    for _ in 0..load.rounds {
        for (rates, port) in rates.iter_mut().zip(ports) {
            let mut all = vec!["-c", CLIENTS, "-j", "2", "-T", &seconds];
            all.extend_from_slice(arguments);
            let text = client::pgbench(port, &all).unwrap_or_else(|e| panic!("pgbench: {e}"));
            rates.push(tps(&text));
        }
    }
    let [ours, peer] = rates;
    (median(ours), median(peer))
}

/// `tps = 1234.5 (without initial connection time)`.
pub(crate) fn tps(report: &str) -> f64 {
    report
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no tps in:\n{report}"))
}
