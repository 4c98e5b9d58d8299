//! Runs PostgreSQL's regression scripts on PostgreSQL 15 and on GlareDB and prints, for each script,
//! how many of its statements are answered identically, with a clear error, or wrong.
//!
//! `pg-regress --sources DIR [--results DIR] [SCRIPT …]`: `DIR` holds PostgreSQL's `sql` and `data`
//! folders (`scripts/install-tools regress` fetches them). What is not identical is written to the
//! results folder, a file for each script and verdict, with both answers.

use std::{
    collections::BTreeMap,
    fmt::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use glaredb_tests::{
    peer::Postgres,
    regression::{Chunk, Judge, Side, Verdict, chunks, run},
    server::Server,
};

/// The scripts about what exists.
const SCRIPTS: [&str; 52] = [
    "boolean",
    "char",
    "varchar",
    "text",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "uuid",
    "strings",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "arrays",
    "json",
    "jsonb",
    "select",
    "select_into",
    "select_distinct",
    "select_distinct_on",
    "select_implicit",
    "select_having",
    "join",
    "aggregates",
    "union",
    "subselect",
    "case",
    "with",
    "window",
    "groupingsets",
    "copy",
    "copy2",
    "copyselect",
    "insert",
    "update",
    "delete",
    "create_table",
    "create_view",
    "transactions",
    "limit",
    "prepare",
    "portals",
    "portals_p2",
    "txid",
    "expressions",
    "horology",
    "dbsize",
    "misc_functions",
];

/// How long one script may take on one server.
const LIMIT: Duration = Duration::from_secs(300);

struct Options {
    sources: PathBuf,
    results: PathBuf,
    scripts: Vec<String>,
}

fn options() -> Options {
    let mut options = Options {
        sources: PathBuf::from("regress"),
        results: std::env::temp_dir().join("glaredb-regress"),
        scripts: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--sources" => options.sources = arguments.next().expect("a folder").into(),
            "--results" => options.results = arguments.next().expect("a folder").into(),
            script => options.scripts.push(script.to_owned()),
        }
    }
    if options.scripts.is_empty() {
        options.scripts = SCRIPTS.map(str::to_owned).to_vec();
    }
    options
}

fn read(options: &Options, script: &str) -> Vec<Chunk> {
    let path = options.sources.join("sql").join(format!("{script}.sql"));
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows = options.results.join("rows").join(script);
    std::fs::create_dir_all(&rows).expect("the results folder can be written");
    chunks(&String::from_utf8_lossy(&text), &rows).expect("the results folder can be written")
}

/// PostgreSQL with the tables that all scripts use, in a database that is copied for each script.
fn prepared(options: &Options, setup: &[Chunk]) -> (Postgres, Vec<Option<String>>) {
    let peer = Postgres::start(&["fsync = off"]);
    let answers = ask(options, peer.port, setup);
    peer.psql_in("template1", "create database prepared template postgres").expect("a copy");
    (peer, answers)
}

fn ask(options: &Options, port: u16, chunks: &[Chunk]) -> Vec<Option<String>> {
    let side = Side { port, folder: &options.results };
    run(&side, chunks, LIMIT).expect("psql runs")
}

/// Copies what the scripts read to where PostgreSQL's user may read it, too.
fn open_folder(options: &Options) {
    let data = options.results.join("data");
    let results = options.results.join("results");
    for folder in [&data, &results] {
        std::fs::create_dir_all(folder).expect("the results folder can be written");
    }
    for file in std::fs::read_dir(options.sources.join("data")).expect("the scripts' data") {
        let file = file.expect("an entry of the folder");
        std::fs::copy(file.path(), data.join(file.file_name())).expect("it can be copied");
    }
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&results, all).expect("the folder is ours");
}

fn main() {
    let options = options();
    open_folder(&options);
    let setup = read(&options, "test_setup");
    let (peer, prepared) = prepared(&options, &setup);
    let mut total = BTreeMap::new();
    println!("{}", heading());
    for script in &options.scripts {
        let steps = read(&options, script);
        peer.psql_in("template1", "drop database postgres with (force)").expect("dropped");
        peer.psql_in("template1", "create database postgres template prepared").expect("a copy");
        let expected = ask(&options, peer.port, &steps);
        let server = Server::start();
        let mut judge = Judge::new();
        compare(&mut judge, &setup, &prepared, &ask(&options, server.port, &setup));
        let found = ask(&options, server.port, &steps);
        let verdicts = compare(&mut judge, &steps, &expected, &found);
        write_down(&options.results, script, &steps, &expected, &found, &verdicts);
        let mut counts = BTreeMap::new();
        for verdict in verdicts.into_iter().flatten() {
            *counts.entry(verdict).or_insert(0) += 1;
            *total.entry(verdict).or_insert(0) += 1;
        }
        println!("{}", line(script, &counts));
    }
    println!("{}", line("total", &total));
    println!("What differs, with both answers: {}", options.results.display());
}

fn compare(
    judge: &mut Judge,
    steps: &[Chunk],
    expected: &[Option<String>],
    found: &[Option<String>],
) -> Vec<Option<Verdict>> {
    let answers = expected.iter().zip(found);
    let judged = steps.iter().zip(answers).map(|(step, (expected, found))| {
        // A command of psql's own that prints nothing is no statement.
        let expected = expected.as_deref()?;
        let silent = step.text.starts_with('\\') && expected.is_empty();
        let verdict = judge.judge(&step.text, expected, found.as_deref());
        (!silent || verdict != Verdict::Identical).then_some(verdict)
    });
    judged.collect()
}

fn heading() -> String {
    format!(
        "{:<20} {:>10} {:>10} {:>6} {:>12} {:>8} {:>6} {:>6} {:>6}",
        "script", "statements", "identical", "%", "clear error", "follows", "wrong", "%", "plans"
    )
}

/// Plans are each system's own and count for neither side.
fn line(script: &str, counts: &BTreeMap<Verdict, u32>) -> String {
    let count = |verdict| counts.get(&verdict).copied().unwrap_or(0);
    let plans = count(Verdict::Plan);
    let all = counts.values().sum::<u32>() - plans;
    let percent = |n: u32| f64::from(n) * 100.0 / f64::from(all.max(1));
    let (identical, wrong) = (count(Verdict::Identical), count(Verdict::Wrong));
    format!(
        "{script:<20} {all:>10} {identical:>10} {:>6.1} {:>12} {:>8} {wrong:>6} {:>6.1} {plans:>6}",
        percent(identical),
        count(Verdict::ClearError),
        count(Verdict::Follows),
        percent(wrong),
    )
}

fn write_down(
    results: &Path,
    script: &str,
    steps: &[Chunk],
    expected: &[Option<String>],
    found: &[Option<String>],
    verdicts: &[Option<Verdict>],
) {
    for (verdict, name) in [
        (Verdict::Wrong, "wrong"),
        (Verdict::ClearError, "clear-error"),
        (Verdict::Follows, "follows"),
    ] {
        let mut text = String::new();
        for (i, step) in steps.iter().enumerate() {
            if verdicts[i] == Some(verdict) {
                let answer = |a: &Option<String>| a.clone().unwrap_or_else(|| "(none)".to_owned());
                let (expected, found) = (answer(&expected[i]), answer(&found[i]));
                let (line, statement) = (step.line, &step.text);
                writeln!(
                    text,
                    "=== {script}:{line}\n{statement}\n--- postgresql\n{expected}\n--- glaredb\n{found}"
                )
                .expect("text can be written");
            }
        }
        std::fs::write(results.join(format!("{script}.{name}.txt")), text)
            .expect("the results folder can be written");
    }
}
