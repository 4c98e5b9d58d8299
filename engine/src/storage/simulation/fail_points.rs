//! A walk over all fail points of log, commit and checkpoint: at each of them, under a workload, an
//! error, a full disk, the end of the process, the end of the power; then recovery, and a comparison
//! with the model.
//!
//! The walk is complete: a point that no life reaches, and one that no list names, fail it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fail::FailScenario;
use glaredb_txn::{commit, log, sim::SimEnv};

use super::world::{self, INJECTED, Manner, Tally};
use crate::storage::{checkpoint, recovery, rewrite};

const STEPS: u64 = 700;

/// Points that these lives do not meet: suffixes are cut off by replicas only, and the thread that
/// prepares files of the log is off here. `txn/tests/log_failpoints.rs` walks them.
const NOT_HERE: &[&str] =
    &["log::marks::newest_file", "log::truncate::seal", "log::truncate::remove"];

/// Points that are met where a job is lost or given up, which this life may or may not see; the seeds do.
const SELDOM: &[&str] = &[
    "rewrite::deletions::before",
    "rewrite::end::before",
    "rewrite::end::after",
    "rewrite::remove",
    "rewrite::sweep::delete",
];

const PREFIXES: &[&str] = &["log::", "commit::", "checkpoint::", "recovery::", "rewrite::"];

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Event {
    /// The step fails.
    Error,
    /// The step fails for want of space.
    Full,
    /// The process ends there; the next one finds what was written.
    Kill,
    /// As `Kill`, and what was not synced is lost.
    PowerCut,
    /// The power goes while the step after the point writes.
    PowerCutWriting,
}

fn all_points() -> Vec<&'static str> {
    [
        log::FAIL_POINTS,
        commit::leader::FAIL_POINTS,
        checkpoint::FAIL_POINTS,
        recovery::FAIL_POINTS,
        rewrite::FAIL_POINTS,
    ]
    .concat()
}

/// One life on a disk of its own, with whatever `configure` sets on fail points.
fn live(of_jobs: bool, power_goes: bool, configure: impl FnOnce(&SimEnv)) -> Tally {
    let scenario = FailScenario::setup();
    let sim = SimEnv::new(1);
    configure(&sim);
    // Large commits under way keep jobs from their inputs.
    let (bulk_one_in, jobs_one_in, steps) =
        if of_jobs { (20, 2, 2 * STEPS) } else { (3, 8, STEPS) };
    let manner = Manner {
        faults: false,
        bulk_one_in,
        jobs_one_in,
        power_goes,
        opening_fails: true,
        is_remote: false,
    };
    let tally = world::run(&sim, 1, manner, steps);
    scenario.teardown();
    tally
}

/// How often a life without faults meets each point.
fn count_hits(of_jobs: bool, points: &[&'static str]) -> Vec<u64> {
    let counts: Vec<Arc<AtomicU64>> = points.iter().map(|_| Arc::default()).collect();
    let tally = live(of_jobs, true, |_| {
        for (point, count) in points.iter().zip(&counts) {
            let count = Arc::clone(count);
            let seen = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            fail::cfg_callback(*point, seen).expect("a name is all it needs");
        }
    });
    let busy = tally.committed > 20 && tally.checkpoints >= 3;
    let busy = busy && if of_jobs { tally.jobs > 1 } else { tally.given_up > 3 };
    assert!(busy, "an idle life: {tally:?}");
    counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
}

fn live_with(of_jobs: bool, point: &'static str, hit: u64, event: Event) -> Tally {
    let at = |action: &str| {
        let before = if hit > 1 { format!("{}*off->", hit - 1) } else { String::new() };
        let action = format!("{before}1*{action}->off");
        fail::cfg(point, &action).expect("the action is well formed");
    };
    let power_goes = matches!(event, Event::PowerCut | Event::PowerCutWriting);
    live(of_jobs, power_goes, |sim| match event {
        Event::Error => at("return"),
        Event::Full => at("return(full)"),
        Event::Kill | Event::PowerCut => at(&format!("panic({INJECTED})")),
        Event::PowerCutWriting => {
            let (disk, reached) = (Arc::clone(&sim.disk), AtomicU64::new(0));
            let cut = move || {
                if reached.fetch_add(1, Ordering::Relaxed) + 1 == hit {
                    disk.cut_power_after(1);
                }
            };
            fail::cfg_callback(point, cut).expect("a name is all it needs");
        }
    })
}

/// All events at all points whose names start with one of these; returns the points that no life
/// reaches.
fn walk(prefixes: &[&str]) -> BTreeSet<&'static str> {
    let mut points = all_points();
    points.retain(|point| prefixes.iter().any(|prefix| point.starts_with(prefix)));
    let of_jobs = prefixes == ["rewrite::"];
    let hits = count_hits(of_jobs, &points);
    let mut never = BTreeSet::new();
    for (point, hits) in points.into_iter().zip(hits) {
        if hits == 0 {
            never.insert(point);
            continue;
        }
        for event in
            [Event::Error, Event::Full, Event::Kill, Event::PowerCut, Event::PowerCutWriting]
        {
            let possible = match event {
                Event::Full => point.starts_with("log::"),
                Event::Error => !point.starts_with("recovery::"),
                // The pipeline's steps write by those of the log.
                Event::PowerCutWriting => !point.starts_with("commit::"),
                _ => true,
            };
            let middle = hits.div_ceil(2);
            // What is met while the log is made differs from what is met in the midst of things.
            let first = if event == Event::PowerCut && middle > 1 { 1 } else { middle };
            for hit in (first..=middle).step_by((middle - first).max(1) as usize) {
                if !possible {
                    continue;
                }
                eprintln!("{point}, hit {hit} of {hits}: {event:?}");
                let tally = live_with(of_jobs, point, hit, event);
                let panics = u64::from(matches!(event, Event::Kill | Event::PowerCut));
                assert_eq!(tally.panics, panics, "{point}: was it met?");
            }
        }
    }
    never
}

#[test]
fn whatever_fails_in_the_log_recovery_agrees_with_the_model() {
    assert_eq!(walk(&["log::"]), NOT_HERE.iter().copied().collect());
}

#[test]
fn whatever_fails_in_a_commit_recovery_agrees_with_the_model() {
    assert_eq!(walk(&["commit::"]), BTreeSet::new());
}

#[test]
fn whatever_fails_in_checkpoint_and_recovery_the_next_agrees_with_the_model() {
    assert_eq!(walk(&["checkpoint::", "recovery::"]), BTreeSet::new());
}

#[test]
fn whatever_fails_in_a_job_recovery_agrees_with_the_model() {
    let never = walk(&["rewrite::"]);
    assert!(never.iter().all(|point| SELDOM.contains(point)), "{never:?}");
}

/// Every fail point is of a kind that is walked.
#[test]
fn every_point_is_walked() {
    for point in all_points() {
        assert!(PREFIXES.iter().any(|prefix| point.starts_with(prefix)), "{point}");
    }
}

/// Every name that the product gives a fail point is in a list: those who walk them miss none.
#[test]
fn every_point_is_in_a_list() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed: BTreeSet<String> = all_points().into_iter().map(str::to_owned).collect();
    let mut named = BTreeSet::new();
    let mut folders: Vec<_> =
        ["txn/src", "catalog/src", "engine/src", "server/src"].map(|f| root.join(f)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources are beside the tests") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are text");
                named.extend(points_in(&text));
            }
        }
    }
    assert_eq!(named, listed);
}

/// String literals that look like the name of a fail point.
fn points_in(text: &str) -> impl Iterator<Item = String> {
    let is_name = |c: char| c.is_ascii_lowercase() || matches!(c, ':' | '_');
    text.split('"').filter_map(move |literal| {
        let listed = PREFIXES.iter().any(|p| literal.starts_with(p));
        (listed && literal.chars().all(is_name) && !literal.ends_with(':'))
            .then(|| literal.to_owned())
    })
}
