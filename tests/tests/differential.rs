//! A few seconds of generated expressions beside PostgreSQL 15; `make differential` asks for an hour.

use std::time::{Duration, Instant};

use glaredb_tests::{
    client,
    differential::{ask, differs, setup, statement},
    peer::Postgres,
    server::Server,
};

const STATEMENTS: u64 = 2_000;
const TIME_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_mean_what_they_mean_in_postgresql() {
    let (peer, server) = (Postgres::start(&[]), Server::start());
    let postgres = client::connect(peer.port).await;
    let ours = server.connect().await;
    for side in [&postgres, &ours] {
        side.batch_execute(setup()).await.expect("the table is made");
    }
    let begin = Instant::now();
    let mut different = Vec::new();
    for seed in 1..=STATEMENTS {
        if begin.elapsed() > TIME_MAX {
            break;
        }
        if seed == STATEMENTS / 4 {
            // From here on from a segment.
            ours.batch_execute("vacuum").await.expect("a flush");
        }
        let sql = statement(seed, None);
        let (expected, answer) = (ask(&postgres, &sql).await, ask(&ours, &sql).await);
        if differs(&sql, &expected, &answer) {
            different.push(format!("seed {seed}: {sql}\n  {expected:?}\n  {answer:?}"));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
