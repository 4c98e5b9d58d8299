//! Latency of commits: beside a checkpoint, beside analytics.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use glaredb_tests::{client, peer::Postgres, server::Server};

use crate::{
    report::{Report, median},
    small_statements::{Load, POSTGRES_SETTINGS},
};

/// A single-row INSERT.
const INSERT: &str = "insert into pgbench_history (tid, bid, aid, delta, mtime) \
                      values (1, 1, 1, 1, current_timestamp);\n";

/// How many clients ask one aggregate after the other.
const ANALYSTS: [usize; 2] = [1, 2];
/// Rows that they aggregate: as many as TPC-H's lineitem has at a scale of 0.3.
const SALES: &str = "create table sales (id int primary key, part int, supplier int, \
                     quantity numeric(12,2), price numeric(12,2), discount numeric(12,2), \
                     tax numeric(12,2), flag char(1), status char(1), shipped date)";
const SALES_IN: &str = "insert into sales select i, i % 20000, i % 1000, i % 50 + 1, \
                        (i % 100000) / 7.0, (i % 11) / 100.0, (i % 9) / 100.0, \
                        substr('ANR', i % 3 + 1, 1), substr('OF', i % 2 + 1, 1), \
                        date '1992-01-01' + i % 2500 from generate_series(1, 1800000) as g (i)";
/// In the manner of TPC-H's Q1, Q6, Q15 and Q18.
const QUERIES: [&str; 4] = [
    "select flag, status, sum(quantity), sum(price), sum(price * (1 - discount)), \
     sum(price * (1 - discount) * (1 + tax)), avg(quantity), avg(discount), count(*) \
     from sales where shipped <= date '1998-09-02' group by flag, status order by flag, status",
    "select sum(price * discount) from sales where shipped >= date '1994-01-01' \
     and shipped < date '1995-01-01' and discount between 0.05 and 0.07 and quantity < 24",
    "select supplier, sum(price * (1 - discount)) as revenue from sales \
     where shipped >= date '1996-01-01' group by supplier order by revenue desc limit 10",
    "select part, sum(quantity), max(price) from sales group by part \
     having sum(quantity) > 100 order by 2 desc limit 100",
];

/// 99th percentile of commits without and with a checkpoint running.
pub(crate) fn beside_checkpoint(ours: &Server, report: &mut Report) {
    client::pgbench(ours.port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
    let without = of_inserts(ours.port);
    let port = ours.port;
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        client::psql(port, "postgres", &["-c", "checkpoint"]).expect("CHECKPOINT");
    });
    let with = of_inserts(port);
    report.duration("p99 of commits during a checkpoint, against without", with, without, 3.0);
}

/// 99th percentile of TPC-B's transactions alone and beside aggregates, ours and PostgreSQL's.
pub(crate) fn beside_analytics(load: &Load, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    for (name, port, promised) in
        [("GlareDB", ours.port, Some(3.0)), ("PostgreSQL", peer.port, None)]
    {
        client::pgbench(port, &["-i", "-q", "-s", "10"]).expect("pgbench -i");
        for sql in [SALES, SALES_IN, "analyze sales"] {
            client::psql(port, "postgres", &["-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        for analysts in ANALYSTS {
            beside_analysts(load, (name, port), analysts, promised, report);
        }
    }
}

fn beside_analysts(
    load: &Load,
    (name, port): (&str, u16),
    analysts: usize,
    promised: Option<f64>,
    report: &mut Report,
) {
    let (mut alone, mut beside, mut asked) = (Vec::new(), Vec::new(), 0);
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..load.rounds {
        let (p99, tps) = of_tpcb(port, load.seconds);
        alone.push(p99.as_secs_f64());
        rates[0].push(tps);
        let running = Analysts::start(port, analysts);
        let (p99, tps) = of_tpcb(port, load.seconds);
        asked += running.stop();
        beside.push(p99.as_secs_f64());
        rates[1].push(tps);
    }
    let [rate_alone, rate_beside] = rates.map(median);
    let (alone, beside) = (median(alone), median(beside));
    let what = format!(
        "p99 of TPC-B's transactions beside {analysts} with aggregates, against without, {name}"
    );
    let (with, without) = (Duration::from_secs_f64(beside), Duration::from_secs_f64(alone));
    match promised {
        Some(most) => report.duration(&what, with, without, most),
        None => report.note(&what, &format!("{with:?} / {without:?} = {:.2}", beside / alone)),
    }
    let seconds = f64::from(load.seconds) * load.rounds as f64;
    report.note(
        &format!("{name} meanwhile"),
        &format!(
            "TPC-B {rate_beside:.0} tps against {rate_alone:.0}; {:.1} aggregates a second",
            asked as f64 / seconds
        ),
    );
}

/// Clients that ask aggregates until they are stopped.
struct Analysts {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Analysts {
    fn start(port: u16, analysts: usize) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..analysts).map(|first| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                for query in QUERIES.iter().cycle().skip(first) {
                    if stop.load(Relaxed) {
                        return;
                    }
                    client::psql(port, "postgres", &["-q", "-At", "-c", query])
                        .unwrap_or_else(|e| panic!("{query}: {e}"));
                    asked.fetch_add(1, Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, asked, threads }
    }

    /// How many they asked.
    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("an analyst"));
        self.asked.load(Relaxed)
    }
}

fn of_inserts(port: u16) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("insert.sql");
    std::fs::write(&script, INSERT).expect("a script");
    p99(port, 10, &["-f", &script.to_string_lossy()]).0
}

/// The same of TPC-B.
pub(crate) fn of_tpcb(port: u16, seconds: u32) -> (Duration, f64) {
    p99(port, seconds, &["-b", "tpcb-like", "--max-tries=10000"])
}

/// 99th percentile of the latency of 8 clients' transactions, and how many there were a second.
fn p99(port: u16, seconds: u32, script: &[&str]) -> (Duration, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = Command::new("pgbench")
        .current_dir(folder.path())
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", &seconds.to_string(), "--log"])
        .args(script)
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
    let p99 = Duration::from_micros(latencies[latencies.len() * 99 / 100]);
    (p99, crate::small_statements::tps(&String::from_utf8_lossy(&out.stdout)))
}
