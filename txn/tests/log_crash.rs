//! The segment store against a model, on a disk that loses, tears, fills and fails.
//!
//! `LOG_CRASH_SEEDS=5000` runs more seeds, `LOG_CRASH_SEED=17` only that one.

mod crash;

use std::panic::{AssertUnwindSafe, catch_unwind};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

#[test]
fn the_store_holds_what_the_model_says_it_must() {
    if let Some(seed) = number("LOG_CRASH_SEED") {
        crash::run(seed);
        return;
    }
    for seed in 0..number("LOG_CRASH_SEEDS").unwrap_or(400) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| crash::run(seed))) {
            eprintln!("failing seed: LOG_CRASH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in 0..20 {
        assert_eq!(crash::run(seed), crash::run(seed), "seed {seed}");
    }
}

#[test]
fn the_seeds_meet_everything_they_are_there_for() {
    let mut met = crash::Met::default();
    for seed in 0..200 {
        met += crash::run(seed);
    }
    println!("{met:?}");
    assert!(met.entries > 1000);
    for (what, count) in met.counts() {
        assert!(count > 20, "{what} happened only {count} times");
    }
}

#[test]
fn power_goes_at_every_single_step() {
    crash::at_every_step();
}
