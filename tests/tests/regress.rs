//! PostgreSQL's regression scripts on PostgreSQL 15 and on us: no script may fall behind what it had
//! (`tests/regress/floor.txt`), and every wrong answer is known (`tests/regress/wrong.txt`).
//!
//! Both files are about scripts of one length; a script of another length, from another minor release
//! of PostgreSQL, is only held to its share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use glaredb_tests::regression::{Counts, FURTHER, SCRIPTS, Suite, Verdict};

/// How much the share of identical answers may be less in a script of another release, in percent.
const SHARE_SLACK: f64 = 5.0;
const WRONG_MAX_PERCENT: f64 = 2.0;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regress")
}

/// Bytes and identical answers of each script.
fn floor() -> BTreeMap<String, (usize, u32)> {
    let text = std::fs::read_to_string(folder().join("floor.txt")).expect("floor.txt");
    let floor = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<usize>().expect("a number");
        let identical = u32::try_from(number(2)).expect("a count");
        (words[0].to_owned(), (number(1), identical))
    };
    text.lines().map(floor).collect()
}

/// `script:line` of each known wrong answer; the reason follows.
fn known() -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder().join("wrong.txt")).expect("wrong.txt");
    let listed = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    listed
        .map(|line| {
            let (place, reason) = line.split_once(' ').expect("`script:line reason`");
            assert!(!reason.trim().is_empty(), "{place} is listed without a reason");
            place.to_owned()
        })
        .collect()
}

fn sources() -> PathBuf {
    let cache = std::env::var_os("GLAREDB_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/glaredb");
    let sources = cache.unwrap_or_else(home).join("regress");
    assert!(
        sources.join("sql/boolean.sql").exists(),
        "PostgreSQL's scripts are not in {}: `scripts/install-tools test` fetches them",
        sources.display()
    );
    sources
}

#[test]
fn no_script_falls_behind() {
    let results = tempfile::tempdir().expect("a temporary folder");
    let suite = Suite::start(&sources(), results.path());
    let (floor, known) = (floor(), known());
    let mut total = Counts::default();
    let mut complaints = Vec::new();
    let mut table = vec![Counts::heading()];
    for script in SCRIPTS.iter().chain(&FURTHER) {
        let outcome = suite.script(script);
        table.push(outcome.counts.line(script));
        total.add(&outcome.counts);
        let &(bytes, least) = floor.get(*script).expect("every script has its floor");
        // The order of rows that are equal by what is asked for may change from run to run.
        let identical = outcome.counts.of(Verdict::Identical) + outcome.counts.of(Verdict::Order);
        if bytes != outcome.bytes {
            let share = f64::from(least) * 100.0 / f64::from(outcome.counts.all().max(1));
            if outcome.counts.percent(Verdict::Identical) < share - SHARE_SLACK {
                complaints.push(format!("{script} (another release): {identical} of {least}"));
            }
            continue;
        }
        if identical < least {
            complaints.push(format!("{script}: {identical} identical answers, had {least}"));
        }
        let places = outcome.wrong.iter().map(|line| format!("{script}:{line}"));
        let new: Vec<String> = places.filter(|place| !known.contains(place)).collect();
        if !new.is_empty() {
            let path = results.path().join(format!("{script}.wrong.txt"));
            let both = std::fs::read_to_string(path).expect("written by the run");
            complaints.push(format!("wrong and not listed: {}\n{both}", new.join(" ")));
        }
    }
    table.push(total.line("total"));
    let wrong = total.percent(Verdict::Wrong) + total.percent(Verdict::Order);
    if wrong >= WRONG_MAX_PERCENT {
        complaints.push(format!("{wrong:.1} % are wrong"));
    }
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), table.join("\n"));
}
