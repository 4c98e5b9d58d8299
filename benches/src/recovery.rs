//! Recovery of 1 GiB of TPC-B log, key indexes ready.
//!
//! Writing that log takes a quarter of an hour on a quiet machine and longer on a busy one, so it may be
//! kept (`--filled DIR`): every measurement is of a copy.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use glaredb_tests::{
    client,
    server::{Options, Server},
};

use crate::report::Report;

const LOG_BYTES: u64 = 1 << 30;

/// The log must be there by then.
const FILL_MAX: Duration = Duration::from_secs(4 * 3600);

/// pgbench's TPC-B, each transaction sent in one go: the same records as one statement at a time, in
/// less time.
const TPCB: &str = "\
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
\\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
 VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
\\endpipeline
";

/// What one opening took.
struct Recovery {
    until_ready: Duration,
    /// Of the server until then.
    cpu: Duration,
    /// What was in the tables: pgbench's four sums and its number of transactions.
    content: String,
}

/// Fills `filled` unless it is there (without it a temporary folder), and recovers copies of it.
pub(crate) fn measure(filled: Option<&Path>, rounds: usize, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = filled.map_or_else(|| folder.path().join("filled"), Path::to_owned);
    if !data.join("log").exists() {
        let filling = fill(&data);
        report.note("transactions per second while the log was written", &format!("{filling:.0}"));
    }
    let mut rounds: Vec<Recovery> = (0..rounds)
        .map(|_| {
            let copy = folder.path().join("copy");
            copy_folder(&data, &copy);
            let recovery = recover(&copy);
            fs::remove_dir_all(&copy).expect("a copy is removed");
            recovery
        })
        .collect();
    rounds.sort_by_key(|recovery| recovery.until_ready);
    let content = rounds[0].content.clone();
    assert!(rounds.iter().all(|recovery| recovery.content == content));
    let median = &rounds[rounds.len() / 2];
    report.note("log replayed: transactions, and the four sums", &content);
    report.note("processor time of that recovery", &format!("{:.1} s", median.cpu.as_secs_f64()));
    report.bound("recovery of 1 GiB of TPC-B log", median.until_ready, Duration::from_secs(20));
}

/// No checkpoint until far beyond what is written here.
fn options() -> Options {
    Options {
        arguments: vec!["--checkpoint-log-size".into(), "64GiB".into()],
        ..Options::default()
    }
}

/// Writes the log and kills the server; transactions per second.
fn fill(data: &Path) -> f64 {
    let script = data.with_extension("sql");
    let mut server = Server::start_in(data, options());
    fs::write(&script, TPCB).expect("a script");
    let script = script.to_string_lossy().into_owned();
    client::pgbench(server.port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
    let commits = |server: &Server| server.metric("glaredb_commits_total");
    let (begin, before) = (Instant::now(), commits(&server));
    // What is written, not the files, which are made ahead.
    while (server.metric("glaredb_log_bytes_total") as u64) < LOG_BYTES {
        assert!(begin.elapsed() < FILL_MAX, "the log does not reach 1 GiB");
        let load = ["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", "20", "-s", "10"];
        let load = [&load[..], &["-f", &script, "--max-tries=10000"]].concat();
        client::pgbench(server.port, &load).expect("pgbench");
    }
    let rate = (commits(&server) - before) / begin.elapsed().as_secs_f64();
    server.kill();
    rate
}

fn recover(data: &Path) -> Recovery {
    let begin = Instant::now();
    let server = Server::start_in(data, options());
    let until_ready = begin.elapsed();
    let cpu = processor_time(server.pid());
    let sums = "select (select count(*) from pgbench_history), \
                (select sum(delta) from pgbench_history), \
                (select sum(abalance) from pgbench_accounts), \
                (select sum(tbalance) from pgbench_tellers), \
                (select sum(bbalance) from pgbench_branches)";
    let content = server.psql(sums).expect("the sums");
    Recovery { until_ready, cpu, content: content.trim().to_owned() }
}

/// User and system time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold spaces; what follows it does not.
    let after = stat.rfind(')').expect("a name") + 2;
    let fields: Vec<&str> = stat[after..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number of ticks");
    // Linux counts a hundred ticks a second here, whatever its timer does.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a filled folder") {
        let entry = entry.expect("an entry");
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file is copied");
        }
    }
}
