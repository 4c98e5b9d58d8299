//! Asks generated expressions of PostgreSQL 15 and of GlareDB and prints what differs.
//!
//! `differential [--seconds N] [--seed S] [--statements N] [--kind K]`: seeds count up from S, one
//! statement each; `--seed S --statements 1` asks one again. K is `expressions` or one of `kinds`
//! in tests/src/differential/calls.rs; without it, any.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use glaredb_tests::{
    client,
    differential::{ask, differs, kinds, option, setup, statement},
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
    let kind = std::env::args().skip_while(|a| a != "--kind").nth(1);
    if let Some(kind) = &kind {
        let known = kind == "expressions" || kinds().any(|name| name == kind);
        assert!(known, "--kind takes expressions, {}", kinds().collect::<Vec<_>>().join(", "));
    }
    let first = option("--seed").unwrap_or(1);
    let most = option("--statements").unwrap_or(u64::MAX);
    let until = Instant::now() + Duration::from_secs(option("--seconds").unwrap_or(3600));
    let mut different = 0_u64;
    let mut asked = 0_u64;
    while asked < most && Instant::now() < until {
        let seed = first + asked;
        asked += 1;
        let sql = statement(seed, kind.as_deref());
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
