//! Does generated INSERTs, UPDATEs and DELETEs on PostgreSQL 15 and on GlareDB and prints what
//! differs.
//!
//! `changes [--seconds N] [--seed S] [--seeds N] [--count N] [--refused 1] [--rewriting 1] [--s3 1]`:
//! seeds count up from S, up to `count` statements each; `--refused 1` prints what we refuse; with
//! `--rewriting 1` all rows are moved to segments meanwhile, and from there to others; with `--s3 1`
//! these are in a bucket.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use glaredb_tests::{
    changes::{Both, Rows},
    differential::option,
};

#[tokio::main]
async fn main() -> ExitCode {
    let rows = match (option("--s3"), option("--rewriting")) {
        (Some(_), _) => Rows::MoveInS3,
        (None, Some(_)) => Rows::Move,
        (None, None) => Rows::Stay,
    };
    let both = Both::start(rows).await;
    let first = option("--seed").unwrap_or(1);
    let seeds = option("--seeds").unwrap_or(u64::MAX);
    let count = option("--count").map_or(100, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let until = Instant::now() + Duration::from_secs(option("--seconds").unwrap_or(3600));
    let more = || Instant::now() < until;
    let (mut different, mut refused, mut compared, mut errors, mut unneeded) = (0, 0, 0, 0, 0);
    for seed in (first..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        if !more() {
            break;
        }
        let outcome = both.seed(seed, count, &more).await;
        compared += outcome.compared;
        errors += outcome.errors;
        unneeded += outcome.unneeded;
        refused += outcome.refused.len();
        if let Some(found) = outcome.different {
            different += 1;
            println!(
                "seed {seed}: {}\n  postgres: {:?}\n  glaredb:  {:?}",
                found.sql, found.theirs, found.ours
            );
        }
        if option("--refused").is_some() {
            for (sql, message) in outcome.refused {
                println!("seed {seed}, refused: {message}\n  {sql}");
            }
        }
    }
    println!(
        "{compared} compared, {errors} of them errors ({unneeded} only PostgreSQL's, for no row), \
         {refused} refused, {different} different"
    );
    // The servers end with their values.
    if different > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
