//! Failures at every fail point of the log: an error, a full disk, and the power going there.

mod crash;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fail::FailScenario;
use glaredb_txn::{
    log::{FAIL_POINTS, OpenError},
    sim::SimDisk,
};

/// Run `life` with `action` set on `point`, then pull the plug; whatever happened, the log must open
/// and hold what it must.
fn live(point: &str, what: &str, configure: impl FnOnce(&Arc<SimDisk>)) -> Result<bool, ()> {
    let scenario = FailScenario::setup();
    let mut life = crash::fixed_life(1);
    configure(&life.disk());
    let acted = catch_unwind(AssertUnwindSafe(|| life.act()));
    scenario.teardown();
    life.disk().crash();
    // Of a step that panicked the model knows nothing.
    let opened = if acted.is_ok() { life.open_again() } else { life.open_unchecked() };
    if let Err(error) = opened {
        panic!("{point}, {what}: {error}");
    }
    acted.map_err(|_| ())
}

/// How often a life without faults reaches `point`.
fn count_hits(point: &str) -> u64 {
    let reached = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&reached);
    let finished = live(point, "no fault", |_| {
        let count = move || {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        fail::cfg_callback(point, count).expect("a name is all it needs");
    });
    assert_eq!(finished, Ok(true));
    reached.load(Ordering::Relaxed)
}

fn act_at(point: &str, hit: u64, action: &str) {
    let before = if hit > 1 { format!("{}*off->", hit - 1) } else { String::new() };
    fail::cfg(point, &format!("{before}1*{action}->off")).expect("the action is well formed");
}

#[test]
fn whatever_fails_the_log_is_what_it_must_be() {
    let mut lives = 0;
    for point in FAIL_POINTS {
        let hits = count_hits(point);
        assert!(hits > 0, "{point} is never reached");
        for hit in 1..=hits {
            for action in ["return", "return(full)"] {
                let finished = live(point, action, |_| act_at(point, hit, action));
                // What fails while unused files are removed is nobody's failure.
                let harmless = point.starts_with("log::cut::remove")
                    || point.starts_with("log::truncate::remove")
                    || point.starts_with("log::cut::sync_dir");
                assert_eq!(finished, Ok(harmless), "{point} hit {hit}: {action} changes nothing");
            }
            let reached = AtomicU64::new(0);
            let _ = live(point, "power cut", |disk| {
                let disk = Arc::clone(disk);
                let cut = move || {
                    if reached.fetch_add(1, Ordering::Relaxed) + 1 == hit {
                        disk.cut_power_after(1);
                    }
                };
                fail::cfg_callback(*point, cut).expect("a name is all it needs");
            });
            lives += 3;
        }
    }
    assert!(lives > 300, "{lives}");
}

#[test]
fn a_panic_at_any_point_leaves_a_log_that_opens() {
    for point in FAIL_POINTS {
        let acted = live(point, "panic", |_| act_at(point, 1, "panic"));
        assert_eq!(acted, Err(()), "{point} panics");
    }
}

/// Opening meets fail points too; and is refused, not corrupted.
#[test]
fn failures_while_opening_are_reported_as_the_disks() {
    for point in
        ["log::marks::first", "log::prepare::create", "log::prepare::sync", "log::rotate::sync"]
    {
        let scenario = FailScenario::setup();
        let mut life = crash::fixed_life(1);
        fail::cfg(point, "return").expect("the action is well formed");
        match life.open_again() {
            Err(OpenError::Disk(error)) => assert!(error.to_string().contains(point), "{error}"),
            Err(other) => panic!("{point}: {other}"),
            // A new log's marks are written as one file, not by this point.
            Ok(()) => assert_eq!(point, "log::marks::first"),
        }
        scenario.teardown();
        life.disk().crash();
        life.open_again().expect("nothing is broken");
    }
}
