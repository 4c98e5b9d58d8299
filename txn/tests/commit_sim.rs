//! Seeded simulation of commit pipeline, log, checkpoint and recovery.
//!
//! `GLAREDB_SIM_SEEDS=1000` runs so many seeds (50 without), `GLAREDB_SIM_SEED=17` that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use glaredb_txn::sim::commit::{Broken, Report, Violation, run};

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// One run; a panic inside counts as a violation.
fn attempt(seed: u64, broken: Broken) -> Result<Report, Violation> {
    let ran = catch_unwind(AssertUnwindSafe(|| run(seed, broken)));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Violation(format!("panic: {}", text.unwrap_or("no text"))))
    })
}

#[test]
fn sim_of_commits_and_crashes_keeps_every_promise() {
    let seeds = match number("GLAREDB_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GLAREDB_SIM_SEEDS").unwrap_or(50),
    };
    let count = seeds.end - seeds.start;
    let mut total = Report::default();
    for seed in seeds {
        match attempt(seed, Broken::Nothing) {
            Ok(report) => {
                total.steps += report.steps;
                total.crashes += report.crashes;
                total.committed += report.committed;
                total.conflicts += report.conflicts;
                for (kind, times) in report.refused {
                    *total.refused.entry(kind).or_default() += times;
                }
                total.aborted += report.aborted;
                total.unknown += report.unknown;
                total.checkpoints += report.checkpoints;
            }
            Err(Violation(text)) => panic!("GLAREDB_SIM_SEED={seed} replays this: {text}"),
        }
    }
    println!("{count} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    for happened in [
        total.crashes / 2,
        total.committed / 20,
        total.conflicts / 2,
        total.aborted,
        total.unknown,
        total.checkpoints,
    ] {
        assert!(happened >= count, "too little happened: {total:?}");
    }
    if count >= 50 {
        for kind in [
            "SchemaChanged",
            "TooOld",
            "OutOfMemory",
            "DiskFull",
            "IdAborted",
            "IdForgotten",
            "NoTimestamp",
            "Stopped",
        ] {
            assert!(total.refused.contains_key(kind), "never refused as {kind}: {total:?}");
        }
    }
}

#[test]
fn sim_is_replayable() {
    for seed in 0..3 {
        assert_eq!(attempt(seed, Broken::Nothing), attempt(seed, Broken::Nothing));
    }
}

/// The simulation must notice each of these within a few seeds.
fn is_noticed(broken: Broken) {
    let seeds = 30;
    let noticed = (0..seeds).find_map(|seed| Some((seed, attempt(seed, broken).err()?)));
    let Some((seed, Violation(text))) = noticed else {
        panic!("{broken:?} went unnoticed for {seeds} seeds");
    };
    println!("{broken:?} noticed at seed {seed}: {text}");
}

#[test]
fn sim_notices_a_log_that_lies_about_syncing() {
    is_noticed(Broken::SyncLies);
}

#[test]
fn sim_notices_a_resolver_that_finds_nothing() {
    is_noticed(Broken::ResolverBlind);
}

#[test]
fn sim_notices_a_log_cut_above_open_parts() {
    is_noticed(Broken::CutsOpenParts);
}

#[test]
fn sim_notices_reads_of_what_is_not_published() {
    is_noticed(Broken::ReadsUnpublished);
}

#[test]
fn sim_notices_a_resolution_without_abort_marker() {
    is_noticed(Broken::NoAbortMarker);
}
