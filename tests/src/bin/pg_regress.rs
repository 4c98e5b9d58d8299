//! Runs PostgreSQL's regression scripts on PostgreSQL 15 and on GlareDB and prints, for each script,
//! how many of its statements are answered identically, with a clear error, or wrong.
//!
//! `pg-regress --sources DIR [--results DIR] [--floor FILE] [SCRIPT …]`: `DIR` holds PostgreSQL's
//! `sql` and `data` folders (`scripts/install-tools regress` fetches them). What is not identical is
//! written to the results folder, a file for each script and verdict, with both answers. `--floor`
//! writes the counts of answers with PostgreSQL's rows, in its order or another, to a file.

use std::{fmt::Write, path::PathBuf};

use glaredb_tests::regression::{Counts, FURTHER, SCRIPTS, Suite, Verdict};

struct Options {
    sources: PathBuf,
    results: PathBuf,
    floor: Option<PathBuf>,
    scripts: Vec<String>,
}

fn options() -> Options {
    let mut options = Options {
        sources: PathBuf::from("regress"),
        results: std::env::temp_dir().join("glaredb-regress"),
        floor: None,
        scripts: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--sources" => options.sources = arguments.next().expect("a folder").into(),
            "--results" => options.results = arguments.next().expect("a folder").into(),
            "--floor" => options.floor = Some(arguments.next().expect("a file").into()),
            script => options.scripts.push(script.to_owned()),
        }
    }
    if options.scripts.is_empty() {
        options.scripts = SCRIPTS.iter().chain(&FURTHER).map(|&s| s.to_owned()).collect();
    }
    options
}

fn main() {
    let options = options();
    let suite = Suite::start(&options.sources, &options.results);
    let (mut total, mut further) = (Counts::default(), Counts::default());
    let mut floor = String::new();
    println!("{}", Counts::heading());
    for script in &options.scripts {
        let outcome = suite.script(script);
        let about_what_exists = !FURTHER.contains(&script.as_str());
        if about_what_exists { &mut total } else { &mut further }.add(&outcome.counts);
        println!("{}", outcome.counts.line(script));
        let right = outcome.counts.of(Verdict::Identical) + outcome.counts.of(Verdict::Order);
        writeln!(floor, "{script} {} {right}", outcome.bytes).expect("text can be written");
    }
    println!("{}", total.line("total"));
    if further.all() > 0 {
        println!("{}", further.line("of further scripts"));
    }
    println!("What differs, with both answers: {}", options.results.display());
    if let Some(path) = &options.floor {
        std::fs::write(path, floor).expect("the file can be written");
    }
}
