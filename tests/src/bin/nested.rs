//! Asks generated nested queries of PostgreSQL 15 and of GlareDB and prints what differs.
//!
//! `nested [--seconds N] [--seed S] [--seeds N] [--count N] [--shrink 1]`: seeds count up from S,
//! `count` queries each; `--shrink 1` makes those that differ shorter, `--shrink 2` those that are
//! refused, too.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use glaredb_tests::{differential::option, nested::Both};

#[tokio::main]
async fn main() -> ExitCode {
    let both = Both::start().await;
    let first = option("--seed").unwrap_or(1);
    let seeds = option("--seeds").unwrap_or(u64::MAX);
    let count = option("--count").map_or(500, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let until = Instant::now() + Duration::from_secs(option("--seconds").unwrap_or(3600));
    let shrink = option("--shrink").unwrap_or(0);
    let more = || Instant::now() < until;
    let (mut different, mut refused, mut compared) = (0, 0, 0);
    for seed in (first..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        if !more() {
            break;
        }
        let outcome = both.seed(seed, count, &more).await;
        different += outcome.different.len();
        refused += outcome.refused.len();
        compared += outcome.compared;
        for (sql, ours, theirs) in outcome.different {
            println!("seed {seed}: {sql}\n  postgres: {theirs:?}\n  glaredb:  {ours:?}");
            if shrink > 0 {
                println!("  shorter:  {}", both.shrink(&sql).await);
            }
        }
        for (sql, message) in outcome.refused {
            println!("seed {seed}, refused: {message}\n  {sql}");
            if shrink > 1 {
                println!("  shorter:  {}", both.shrink(&sql).await);
            }
        }
        println!("seed {seed}: {compared} compared, {refused} refused, {different} different");
    }
    // The servers end with their values.
    if different > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
