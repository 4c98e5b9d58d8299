//! Some seconds of generated changes beside PostgreSQL 15; `make differential` does them for longer.

use std::time::{Duration, Instant};

use glaredb_tests::changes::Both;

const SEEDS: u64 = 40;
const STATEMENTS: usize = 60;
const TIME_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_do_what_they_do_in_postgresql() {
    let both = Both::start().await;
    let begin = Instant::now();
    let more = || begin.elapsed() < TIME_MAX;
    let mut different = Vec::new();
    let (mut compared, mut refused) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = both.seed(seed, STATEMENTS, &more).await;
        compared += outcome.compared;
        refused += outcome.refused.len();
        different.extend(outcome.different.map(|found| (seed, found)));
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(compared > 10 * refused, "{refused} refused, {compared} compared");
}
