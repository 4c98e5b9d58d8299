//! Asks generated expressions of PostgreSQL 15 and of GlareDB and prints what differs.
//!
//! `differential [--seconds N] [--seed S] [--statements N]`: seeds count up from S, one statement
//! each; `--seed S --statements 1` asks one again.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use glaredb_tests::{
    client,
    differential::{Generator, ask, differs, option, setup},
    peer::Postgres,
    server::Server,
};

#[tokio::main]
async fn main() -> ExitCode {
    let (peer, server) = (Postgres::start(&[]), Server::start());
    let postgres = client::connect(peer.port).await;
    let ours = server.connect().await;
    for side in [&postgres, &ours] {
        side.batch_execute(setup()).await.expect("the table is made");
    }
    let first = option("--seed").unwrap_or(1);
    let most = option("--statements").unwrap_or(u64::MAX);
    let until = Instant::now() + Duration::from_secs(option("--seconds").unwrap_or(3600));
    let mut different = 0_u64;
    let mut asked = 0_u64;
    while asked < most && Instant::now() < until {
        let seed = first + asked;
        asked += 1;
        let sql = Generator::new(seed).statement();
        let (expected, answer) = (ask(&postgres, &sql).await, ask(&ours, &sql).await);
        if differs(&sql, &expected, &answer) {
            different += 1;
            println!("seed {seed}: {sql}\n  postgres: {expected:?}\n  glaredb:  {answer:?}");
        }
    }
    println!("{asked} statements, {different} different");
    // The servers end with their values.
    if different > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
