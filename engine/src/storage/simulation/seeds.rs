//! Many lives, each in an order drawn from its seed, with power cuts, kills and full disks; those of odd
//! seeds with objects in a store that fails, stalls and does not say what it did.
//!
//! `GLAREDB_SIM_SEEDS=1000` runs so many seeds (50 without), `GLAREDB_SIM_SEED=17` that one alone.

use glaredb_txn::sim::SimEnv;

use super::world::{self, Manner, Tally};

const STEPS: u64 = 1_000;

const MANNER: Manner = Manner {
    faults: true,
    bulk_one_in: 25,
    jobs_one_in: 4,
    power_goes: true,
    opening_fails: false,
    is_remote: false,
};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn seeds_agree_with_the_model() {
    let seeds = match number("GLAREDB_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GLAREDB_SIM_SEEDS").unwrap_or(50),
    };
    let several = seeds.end - seeds.start >= 10;
    let mut total = Tally::default();
    for seed in seeds {
        let manner = Manner { is_remote: seed % 2 == 1, ..MANNER };
        let live = || world::run(&SimEnv::new(seed), seed, manner, STEPS);
        let tally = std::panic::catch_unwind(live).unwrap_or_else(|panic| {
            eprintln!("GLAREDB_SIM_SEED={seed} replays this");
            std::panic::resume_unwind(panic)
        });
        total.committed += tally.committed;
        total.refused += tally.refused;
        total.crashes += tally.crashes;
        total.checkpoints += tally.checkpoints;
        total.from_checkpoint += tally.from_checkpoint;
        total.disk_full += tally.disk_full;
        total.given_up += tally.given_up;
        total.torn += tally.torn;
        total.jobs += tally.jobs;
        total.jobs_given_up += tally.jobs_given_up;
        total.jobs_swept += tally.jobs_swept;
        total.objects_swept += tally.objects_swept;
        total.moved += tally.moved;
        total.moved_committed += tally.moved_committed;
        total.mishaps += tally.mishaps;
        total.changes_noticed += tally.changes_noticed;
    }
    println!("{total:?}");
    if several {
        let idle = [
            total.committed,
            total.refused,
            total.crashes,
            total.checkpoints,
            total.from_checkpoint,
            total.disk_full,
            total.given_up,
            total.torn,
            total.jobs,
            total.jobs_given_up,
            total.jobs_swept,
            total.objects_swept,
            total.moved,
            total.moved_committed,
            total.mishaps.lost,
            total.mishaps.unanswered,
            total.mishaps.late,
            total.mishaps.stalls,
            total.changes_noticed,
        ];
        assert!(idle.iter().all(|count| *count > 0), "something never happened: {total:?}");
    }
}
