//! Some seconds of generated changes beside PostgreSQL 15; `make differential` does them for longer.

use std::time::{Duration, Instant};

use glaredb_tests::changes::{Both, Rows};

const SEEDS: u64 = 80;
const STATEMENTS: usize = 60;
const TIME_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_do_what_they_do_in_postgresql() {
    compare(1..=SEEDS / 2, Rows::Stay).await;
}

/// The same while all rows are moved to segments, and from there to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_do_so_while_rows_are_moved() {
    compare(SEEDS / 2 + 1..=SEEDS, Rows::Move).await;
}

/// The same with segments in a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_do_so_while_rows_are_moved_in_s3() {
    compare(SEEDS + 1..=SEEDS + SEEDS / 4, Rows::MoveInS3).await;
}

async fn compare(seeds: std::ops::RangeInclusive<u64>, rows: Rows) {
    let both = Both::start(rows).await;
    let begin = Instant::now();
    let more = || begin.elapsed() < TIME_MAX;
    let mut different = Vec::new();
    let (mut compared, mut refused) = (0, 0);
    for seed in seeds {
        let outcome = both.seed(seed, STATEMENTS, &more).await;
        compared += outcome.compared;
        refused += outcome.refused.len();
        different.extend(outcome.different.map(|found| (seed, found)));
    }
    let rounds = both.stop().expect("VACUUM");
    assert!(rows == Rows::Stay || rounds > 2, "rows were moved {rounds} times");
    assert!(different.is_empty(), "{different:#?}");
    assert!(compared > 10 * refused, "{refused} refused, {compared} compared");
}
