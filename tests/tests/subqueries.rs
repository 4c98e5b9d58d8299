//! Nested queries made at random beside PostgreSQL 15; `make differential` asks for half an hour.

use std::time::{Duration, Instant};

use glaredb_tests::nested::Both;

/// One with its tables in memory, one with them in segments.
const SEEDS: [u64; 2] = [9, 11];
const COUNT: usize = 250;
const TIME_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_queries_answer_as_postgresql_does() {
    let both = Both::start().await;
    let begin = Instant::now();
    let (mut compared, mut asked, mut refused) = (0, 0, 0);
    let mut wrong = Vec::new();
    for seed in SEEDS {
        let outcome = both.seed(seed, COUNT, &|| begin.elapsed() < TIME_MAX).await;
        asked += outcome.asked;
        compared += outcome.compared;
        refused += outcome.refused.len();
        for (sql, ours, theirs) in outcome.different {
            wrong.push(format!("seed {seed}: {sql}\n  ours: {ours:?}\n  PostgreSQL: {theirs:?}"));
        }
    }
    assert!(compared * 10 > asked * 8, "only {compared} of {asked} queries are valid");
    assert!(wrong.is_empty(), "{} of {compared}\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused * 100 <= compared, "{refused} of {compared} queries are refused");
}
