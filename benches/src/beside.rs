//! TPC-B beside what else a database does: flush and compaction, a stream of TPC-H.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use glaredb_tests::{client, peer::Postgres, rewriting::Rewriting, server::Server, tpch};
use parking_lot::Mutex;
use tokio_postgres::{CancelToken, NoTls};

use crate::{
    commit_latency::of_tpcb,
    report::{Report, median},
    small_statements::{Load, POSTGRES_SETTINGS},
    statements::{compact, load_tpch, psql},
};

/// TPC-B while all tables are flushed and compacted again and again, against the same without, and against
/// PostgreSQL.
pub(crate) fn jobs(load: &Load, report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    for port in [ours.port, peer.port] {
        client::pgbench(port, &["-i", "-q", "-s", &load.scale.to_string()]).expect("pgbench -i");
    }
    psql(ours.port, "vacuum full");
    let mut latencies = [Vec::new(), Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut note = |n: usize, (p99, tps): (Duration, f64)| {
        latencies[n].push(p99.as_secs_f64());
        rates[n].push(tps);
    };
    let before = jobs_done(&ours);
    for _ in 0..load.rounds {
        note(0, of_tpcb(ours.port, load.seconds));
        let rewriting = Rewriting::start(ours.port);
        note(1, of_tpcb(ours.port, load.seconds));
        rewriting.stop().expect("VACUUM");
        note(2, of_tpcb(peer.port, load.seconds));
    }
    let done = jobs_done(&ours);
    assert!(done.1 > before.1, "nothing was flushed or compacted");
    let [alone, beside, theirs] = latencies.map(|all| Duration::from_secs_f64(median(all)));
    let [rate_alone, rate_beside, rate_theirs] = rates.map(median);
    let scale = load.scale;
    let what = format!("p99 of TPC-B scale {scale} beside flush and compaction, against without");
    report.duration(&what, beside, alone, 3.0);
    let what = format!("TPC-B scale {scale} beside flush and compaction, 8 clients, prepared");
    report.rate(&what, "tps", rate_beside, rate_theirs, 0.7);
    report.note(
        "beside that",
        &format!(
            "{} jobs wrote {:.0} MiB; {rate_alone:.0} tps without jobs; PostgreSQL's p99 {theirs:?}",
            done.0 - before.0,
            (done.1 - before.1) / f64::from(1 << 20)
        ),
    );
}

/// Flushes and compactions since the start, and the bytes that they wrote.
fn jobs_done(server: &Server) -> (f64, f64) {
    let total = |name: &str| server.metric(&format!("glaredb_{name}_total"));
    let bytes = total("flushed_bytes") + total("compacted_bytes");
    (total("flushes") + total("compactions"), bytes)
}

/// PostgreSQL's own settings for a query of TPC-H; the rest as for TPC-B.
const FOR_QUERIES: [&str; 2] = ["work_mem = '256MB'", "effective_cache_size = '12GB'"];
/// Besides the primary keys: the foreign ones.
const INDEXES: [&str; 7] = [
    "create index on nation (n_regionkey)",
    "create index on supplier (s_nationkey)",
    "create index on customer (c_nationkey)",
    "create index on partsupp (ps_suppkey)",
    "create index on orders (o_custkey)",
    "create index on lineitem (l_partkey, l_suppkey)",
    "create index on lineitem (l_suppkey)",
];

/// TPC-B beside the 22 queries of TPC-H in sequence: what it keeps of its throughput, and how long a
/// stream takes, ours and PostgreSQL's. A stream that takes longer than `limit` counts as that long.
pub(crate) async fn stream(load: &Load, scale: &str, limit: Duration, report: &mut Report) {
    let ours = {
        let server = Server::start();
        load_tpch(server.port, scale, None).await;
        compact(server.port);
        client::pgbench(server.port, &["-i", "-q", "-s", &load.scale.to_string()])
            .expect("pgbench -i");
        beside_stream(load, ("GlareDB", server.port), limit, report).await
    };
    let theirs = {
        let peer = Postgres::start(&[&POSTGRES_SETTINGS[..], &FOR_QUERIES].concat());
        load_tpch(peer.port, scale, None).await;
        INDEXES.iter().for_each(|index| psql(peer.port, index));
        psql(peer.port, "vacuum analyze");
        client::pgbench(peer.port, &["-i", "-q", "-s", &load.scale.to_string()])
            .expect("pgbench -i");
        beside_stream(load, ("PostgreSQL", peer.port), limit, report).await
    };
    let what = format!(
        "share of its throughput that TPC-B scale {} keeps beside a stream of TPC-H",
        load.scale
    );
    report.rate(&what, "%", 100.0 * ours.share, 100.0 * theirs.share, 1.0);
    let what = format!("one stream of TPC-H SF{scale} beside TPC-B");
    report.duration(&what, ours.stream, theirs.stream, 0.2);
}

struct BesideStream {
    share: f64,
    stream: Duration,
}

async fn beside_stream(
    load: &Load,
    (name, port): (&str, u16),
    limit: Duration,
    report: &mut Report,
) -> BesideStream {
    let alone = median((0..load.rounds).map(|_| of_tpcb(port, load.seconds).1).collect());
    let stream = Stream::start(port, limit).await;
    let mut rates = Vec::new();
    // As long as the first stream lasts, and no measurement without a query beside it.
    while stream.first().is_none() {
        rates.push(of_tpcb(port, load.seconds).1);
    }
    let first = stream.stop().await;
    let beside = median(rates);
    let text = match first.cut_in {
        Some(number) => format!("cut in Q{number} after {:.0} s", first.taken.as_secs_f64()),
        None => format!("{:.1} s", first.taken.as_secs_f64()),
    };
    report.note(
        &format!("stream of TPC-H beside TPC-B, {name}"),
        &format!("{text}; TPC-B {beside:.0} tps against {alone:.0} without"),
    );
    BesideStream { share: beside / alone, stream: first.taken }
}

/// A session that asks the 22 queries, again and again until it is stopped.
struct Stream {
    shared: Arc<Shared>,
    cancel: CancelToken,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    first: Mutex<Option<First>>,
}

/// The first stream.
#[derive(Clone, Copy)]
struct First {
    taken: Duration,
    /// It took too long: the query in which that was.
    cut_in: Option<u32>,
}

impl Stream {
    async fn start(port: u16, limit: Duration) -> Self {
        let session = client::connect(port).await;
        let cancel = session.cancel_token();
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(ask(session, limit, Arc::clone(&shared)));
        Self { shared, cancel, task }
    }

    fn first(&self) -> Option<First> {
        *self.shared.first.lock()
    }

    async fn stop(self) -> First {
        self.shared.stop.store(true, Relaxed);
        self.cancel.cancel_query(NoTls).await.expect("the server takes the request");
        self.task.await.expect("no query failed");
        let first = *self.shared.first.lock();
        first.expect("it is waited for")
    }
}

async fn ask(session: tokio_postgres::Client, limit: Duration, shared: Arc<Shared>) {
    let queries = tpch::queries();
    let begin = Instant::now();
    loop {
        for (number, query) in &queries {
            let is_first = shared.first.lock().is_none();
            let left = if is_first { limit.saturating_sub(begin.elapsed()) } else { limit };
            // 0 would be no limit.
            let timeout = format!("set statement_timeout = {}", left.as_millis().max(1));
            session.batch_execute(&timeout).await.expect("SET");
            let answer = tpch::ask(&session, query).await;
            if shared.stop.load(Relaxed) {
                return;
            }
            if let Err(error) = answer {
                assert_eq!(client::sqlstate(&error), "57014", "Q{number}: {error:?}");
                let first = First { taken: begin.elapsed().max(limit), cut_in: Some(*number) };
                shared.first.lock().get_or_insert(first);
            }
        }
        let first = First { taken: begin.elapsed(), cut_in: None };
        shared.first.lock().get_or_insert(first);
    }
}
