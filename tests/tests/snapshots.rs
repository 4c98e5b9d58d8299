//! A randomized checker of what snapshots show, with concurrent sessions.
//!
//! Writers move amounts between accounts and stamp pairs of registers with one value; readers check,
//! at READ COMMITTED per statement and at REPEATABLE READ per transaction:
//! - the sum over all accounts never changes (no read skew, no half commit);
//! - the two registers of a pair are always equal (atomic visibility);
//! - a register never goes back for one reader, and never lies behind what was acknowledged before
//!   the read began (no stale snapshot);
//! - inside one REPEATABLE READ transaction nothing moves at all, be it as long as the whole test.
//!
//! Meanwhile all rows are flushed and compacted, again and again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use glaredb_tests::{
    client,
    rewriting::Rewriting,
    s3::{self, BUCKET, S3Kind, S3Server},
    server::Server,
};
use tokio_postgres::Client;

const ACCOUNTS: i64 = 20;
const PAIRS: usize = 4;
const SECONDS: u64 = 6;
const SECONDS_MAX: u64 = 90;

/// xorshift64*: the choice of every session follows from the printed seed.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as i64 % n
    }
}

struct Shared {
    port: u16,
    stop: AtomicBool,
    /// Newest acknowledged value of each pair.
    acknowledged: [AtomicI64; PAIRS],
    commits: AtomicI64,
    conflicts: AtomicI64,
    reads: AtomicI64,
}

/// 40001 is an answer in this step; anything else is a fault.
fn expect_conflict(shared: &Shared, error: &tokio_postgres::Error) {
    assert_eq!(client::sqlstate(error), "40001", "{error:?}");
    shared.conflicts.fetch_add(1, Ordering::Relaxed);
}

async fn transfer(shared: Arc<Shared>, mut choice: Choice) {
    let client = client::connect(shared.port).await;
    while !shared.stop.load(Ordering::Relaxed) {
        let (from, to) = (choice.below(ACCOUNTS), choice.below(ACCOUNTS));
        let amount = choice.below(100);
        let level = ["read committed", "repeatable read"][choice.below(2) as usize];
        let text = format!(
            "begin isolation level {level}; \
             update account set balance = balance - {amount} where id = {from}; \
             update account set balance = balance + {amount} where id = {to}; commit"
        );
        match client.batch_execute(&text).await {
            Ok(()) => {
                shared.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                expect_conflict(&shared, &error);
                client.batch_execute("rollback").await.expect("rollback");
            }
        }
    }
}

/// The only writer of its pair: values grow by one.
async fn stamp(shared: Arc<Shared>, pair: usize) {
    let client = client::connect(shared.port).await;
    let (a, b) = (pair * 2, pair * 2 + 1);
    let mut value = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        value += 1;
        let text = format!(
            "begin; update register set v = {value} where id = {a}; \
             update register set v = {value} where id = {b}; commit"
        );
        client.batch_execute(&text).await.expect("nobody else writes this pair");
        shared.acknowledged[pair].store(value, Ordering::SeqCst);
        shared.commits.fetch_add(1, Ordering::Relaxed);
    }
}

async fn registers(client: &Client) -> Vec<i64> {
    let rows = client.query("select v from register order by id", &[]).await.expect("a read");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn total(client: &Client) -> String {
    let row =
        client.query_one("select sum(balance)::text from account", &[]).await.expect("a read");
    row.get(0)
}

async fn read(shared: Arc<Shared>, mut choice: Choice) {
    let client = client::connect(shared.port).await;
    let mut seen = vec![0; PAIRS * 2];
    while !shared.stop.load(Ordering::Relaxed) {
        let before: Vec<i64> =
            shared.acknowledged.iter().map(|a| a.load(Ordering::SeqCst)).collect();
        let repeatable = choice.below(2) == 1;
        if repeatable {
            client.batch_execute("begin isolation level repeatable read").await.expect("begin");
        }
        let now = registers(&client).await;
        for pair in 0..PAIRS {
            let (a, b) = (now[pair * 2], now[pair * 2 + 1]);
            assert_eq!(a, b, "pair {pair} was seen half written");
            assert!(a >= before[pair], "pair {pair} shows {a}, {} was acknowledged", before[pair]);
            assert!(a >= seen[pair * 2], "pair {pair} went back from {} to {a}", seen[pair * 2]);
        }
        assert_eq!(total(&client).await, (ACCOUNTS * 1000).to_string(), "money was made or lost");
        if repeatable {
            tokio::time::sleep(Duration::from_millis(choice.below(30) as u64)).await;
            assert_eq!(registers(&client).await, now, "a repeatable read moved");
            client.batch_execute("commit").await.expect("commit");
        }
        seen = now;
        shared.reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_show_whole_transactions_in_order() {
    check(&Server::start()).await;
}

/// The same with segments in a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_do_so_with_segments_in_s3() {
    let store = S3Server::start(S3Kind::Weed);
    let storage = format!("s3://{BUCKET}/snapshots");
    check(&Server::start_with(s3::options(&store.endpoint(), Some(&storage)))).await;
}

async fn check(server: &Server) {
    let seed =
        std::env::var("GLAREDB_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(1, |d| d.as_nanos() as u64)
        });
    println!("GLAREDB_SEED={seed}");
    let client = server.connect().await;
    client
        .batch_execute(&format!(
            "create table account (id int primary key, balance bigint not null); \
             create table register (id int primary key, v bigint not null); \
             insert into account select g, 1000 from generate_series(0, {}) g(g); \
             insert into register select g, 0 from generate_series(0, {}) g(g)",
            ACCOUNTS - 1,
            PAIRS * 2 - 1
        ))
        .await
        .expect("tables");
    let shared = Arc::new(Shared {
        port: server.port,
        stop: AtomicBool::new(false),
        acknowledged: Default::default(),
        commits: AtomicI64::new(0),
        conflicts: AtomicI64::new(0),
        reads: AtomicI64::new(0),
    });
    let long = client::connect(server.port).await;
    long.batch_execute("begin isolation level repeatable read").await.expect("a long snapshot");
    let (first, first_total) = (registers(&long).await, total(&long).await);
    let rewriting = Rewriting::start(server.port);
    let mut sessions = Vec::new();
    for n in 0..3 {
        sessions.push(tokio::spawn(transfer(shared.clone(), Choice(seed ^ (n + 1)))));
        sessions.push(tokio::spawn(read(shared.clone(), Choice(seed ^ (n + 101)))));
    }
    for pair in 0..PAIRS {
        sessions.push(tokio::spawn(stamp(shared.clone(), pair)));
    }
    let count = |n: &AtomicI64| n.load(Ordering::Relaxed);
    let enough =
        || count(&shared.commits) > 20 && count(&shared.reads) > 20 && rewriting.rounds() > 2;
    for second in 0..SECONDS_MAX {
        // A machine that is busy with other things needs longer.
        if second >= SECONDS && enough() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    shared.stop.store(true, Ordering::Relaxed);
    for session in sessions {
        session.await.expect("no session found an anomaly");
    }
    assert!(enough(), "too little ran to prove anything");
    let rounds = rewriting.stop().expect("VACUUM");
    assert_eq!(registers(&long).await, first, "the long snapshot moved");
    assert_eq!(total(&long).await, first_total, "the long snapshot moved");
    println!(
        "{rounds} times rewritten, {} commits, {} conflicts, {} reads",
        count(&shared.commits),
        count(&shared.conflicts),
        count(&shared.reads)
    );
}
