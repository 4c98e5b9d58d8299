//! The real process killed with -9 under load, again and again: nothing acknowledged is missing,
//! nothing is there twice, and TPC-B's four sums agree.
//!
//! Two loads run at once: pgbench's TPC-B, whose sums are an invariant of their own, and writers
//! that keep a record outside the database of what was acknowledged, refused and unknown.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use glaredb_tests::{
    client,
    rewriting::Rewriting,
    s3::{self, BUCKET, S3Kind, S3Server},
    server::{Options, Server},
    verify::verify,
};

const WRITERS: i64 = 4;
/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(120);

/// What became of a write, as its writer knows.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    Acknowledged,
    /// The connection broke before the answer: there or not, both are right.
    Unknown,
}

type Record = Arc<Mutex<BTreeMap<i64, Outcome>>>;

/// Inserts rows under keys of its own, in transactions of one, two or three rows, until told to
/// stop or the server is gone.
async fn write(port: u16, writer: i64, round: i64, record: Record, stop: Arc<AtomicBool>) {
    let Ok(client) = client::try_connect(port).await else { return };
    let mut number = 0_i64;
    while !stop.load(Ordering::Relaxed) {
        let base = (round * WRITERS + writer) * 1_000_000 + number;
        let keys: Vec<i64> = (base..=base + number % 3).collect();
        number += 3;
        let mut text = String::from("begin;");
        for key in &keys {
            text.push_str(&format!("insert into acknowledged values ({key}, {key});"));
        }
        text.push_str("commit");
        let outcome = match client.batch_execute(&text).await {
            Ok(()) => Outcome::Acknowledged,
            Err(error) if error.as_db_error().is_some() && client::sqlstate(&error) != "57P01" => {
                panic!("a writer was refused: {error:?}")
            }
            Err(_) => Outcome::Unknown,
        };
        let mut record = record.lock().expect("no writer panicked");
        for key in keys {
            record.insert(key, outcome);
        }
        if outcome == Outcome::Unknown {
            return;
        }
    }
}

fn start_tpcb(port: u16) -> Child {
    Command::new("pgbench")
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(["-n", "-c", "4", "-T", "60", "--max-tries=0", "postgres"])
        .args(["-M", "prepared"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbench starts")
}

async fn check(server: &Server, record: &Record, round: i64) {
    let client = server.connect().await;
    let rows =
        client.query("select k, v from acknowledged order by k", &[]).await.expect("the rows");
    let mut found = BTreeMap::new();
    for row in rows {
        let (key, value): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(key, value, "round {round}: a row was torn");
        assert!(found.insert(key, ()).is_none(), "round {round}: {key} is there twice");
    }
    let record = record.lock().expect("no writer panicked").clone();
    for (key, outcome) in &record {
        if *outcome == Outcome::Acknowledged {
            assert!(found.contains_key(key), "round {round}: acknowledged {key} is missing");
        }
    }
    for key in found.keys() {
        assert!(record.contains_key(key), "round {round}: {key} was never written");
    }
    // The rows of one transaction are all there or none.
    for base in record.keys().filter(|k| (*k % 1_000_000) % 3 == 0) {
        let size = (base % 1_000_000) % 3 + 1;
        let there = (*base..base + size).filter(|k| found.contains_key(k)).count() as i64;
        assert!(there == 0 || there == size, "round {round}: half of the transaction at {base}");
    }
    let sums = client
        .query_one(
            "select (select coalesce(sum(abalance), 0) from pgbench_accounts)::text, \
             (select coalesce(sum(bbalance), 0) from pgbench_branches)::text, \
             (select coalesce(sum(tbalance), 0) from pgbench_tellers)::text, \
             (select coalesce(sum(delta), 0) from pgbench_history)::text",
            &[],
        )
        .await
        .expect("the four sums");
    let sums: Vec<String> = (0..4).map(|i| sums.get(i)).collect();
    assert!(sums.iter().all(|s| *s == sums[0]), "round {round}: sums differ: {sums:?}");
}

/// `GLAREDB_KILL_ROUNDS`, or what is enough for every change.
fn rounds_or(enough: i64) -> i64 {
    std::env::var("GLAREDB_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(enough)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_keeps_what_was_acknowledged() {
    killed_under_load(rounds_or(20), |_| Options::default()).await;
}

/// The same with segments and checkpoints in a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_with_objects_in_s3() {
    let store = S3Server::start(S3Kind::Weed);
    let storage = format!("s3://{BUCKET}/killed");
    let options =
        |is_first: bool| s3::options(&store.endpoint(), is_first.then_some(storage.as_str()));
    killed_under_load(rounds_or(8), options).await;
}

/// `options`: for the first start, and for the others.
async fn killed_under_load(rounds: i64, options: impl Fn(bool) -> Options) {
    let mut server = Server::start_with(options(true));
    client::pgbench(server.port, &["-i", "-s", "1"]).expect("pgbench -i");
    server
        .psql("create table acknowledged (k bigint primary key, v bigint not null)")
        .expect("a table");
    let record: Record = Record::default();
    let mut committed = 0;
    for round in 0..rounds {
        let mut tpcb = start_tpcb(server.port);
        // In every other round rows are moved to segments, and from there to others, meanwhile.
        let rewriting = (round % 2 == 0).then(|| Rewriting::start(server.port));
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<tokio::task::JoinHandle<()>> = (0..WRITERS)
            .map(|w| tokio::spawn(write(server.port, w, round, record.clone(), stop.clone())))
            .collect();
        // A round in which nothing is written would prove nothing.
        while record.lock().expect("no writer panicked").len() <= committed {
            assert!(
                !writers.iter().all(tokio::task::JoinHandle::is_finished),
                "round {round}: nobody writes"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Different moments: in the first commits, later, in the middle of a checkpoint.
        tokio::time::sleep(Duration::from_millis(300 + (round as u64 * 137) % 900)).await;
        if round % 4 == 1 {
            // A checkpoint runs while the process dies.
            let client = server.connect().await;
            tokio::spawn(async move { client.batch_execute("checkpoint").await });
            tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 60)).await;
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("a writer ends");
        }
        if let Some(rewriting) = rewriting {
            // It ends with the server.
            let _ = rewriting.stop();
        }
        // pgbench may have ended by itself when its connections broke.
        let _ = tpcb.kill();
        let _ = tpcb.wait();
        server = server.start_again(options(false));
        check(&server, &record, round).await;
        committed = record.lock().expect("no writer panicked").len();
    }
    // What all these lives left is whole.
    assert!(server.terminate(STOP_MAX).success(), "{}", server.log_text());
    let verified = verify(server.data_dir(), &options(false));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.progress.contains(": 0 problems, "), "{verified:?}");
}
