//! All scripts on both servers, one after the other.

use std::{
    collections::BTreeMap,
    fmt::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Chunk, Judge, Side, Verdict, chunks, run};
use crate::{peer::Postgres, server::Server};

/// The scripts about what exists.
pub const SCRIPTS: [&str; 47] = [
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
];

/// Scripts about further things of which some exist.
pub const FURTHER: [&str; 8] = [
    "txid",
    "expressions",
    "horology",
    "dbsize",
    "misc_functions",
    "jsonpath",
    "jsonb_jsonpath",
    "jsonpath_encoding",
];

/// How long one script may take on one server.
const LIMIT: Duration = Duration::from_secs(300);

/// PostgreSQL with the tables that all scripts use, and the folders of a run.
pub struct Suite {
    /// Holds PostgreSQL's `sql` and `data` folders.
    sources: PathBuf,
    /// Takes what differs, and what the scripts write.
    results: PathBuf,
    peer: Postgres,
    setup: Vec<Chunk>,
    /// PostgreSQL's answers to `setup`.
    prepared: Vec<Option<String>>,
}

/// How a script's statements were answered.
pub struct Outcome {
    pub script: String,
    /// Length of the script in bytes: that of another minor release differs.
    pub bytes: usize,
    pub counts: Counts,
    /// Lines where the statements begin that are answered wrong.
    pub wrong: Vec<usize>,
}

/// How many statements were answered how.
#[derive(Clone, Default)]
pub struct Counts(BTreeMap<Verdict, u32>);

impl Counts {
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> u32 {
        self.0.get(&verdict).copied().unwrap_or(0)
    }

    /// Statements that count: plans are each system's own and count for neither side.
    #[must_use]
    pub fn all(&self) -> u32 {
        self.0.values().sum::<u32>() - self.of(Verdict::Plan)
    }

    #[must_use]
    pub fn percent(&self, verdict: Verdict) -> f64 {
        f64::from(self.of(verdict)) * 100.0 / f64::from(self.all().max(1))
    }

    pub fn add(&mut self, other: &Self) {
        for (verdict, count) in &other.0 {
            *self.0.entry(*verdict).or_insert(0) += count;
        }
    }

    #[must_use]
    pub fn heading() -> String {
        format!(
            "{:<20} {:>10} {:>10} {:>6} {:>12} {:>8} {:>6} {:>6} {:>6} {:>6}",
            "script",
            "statements",
            "identical",
            "%",
            "clear error",
            "follows",
            "order",
            "wrong",
            "%",
            "plans"
        )
    }

    #[must_use]
    pub fn line(&self, name: &str) -> String {
        format!(
            "{name:<20} {:>10} {:>10} {:>6.1} {:>12} {:>8} {:>6} {:>6} {:>6.1} {:>6}",
            self.all(),
            self.of(Verdict::Identical),
            self.percent(Verdict::Identical),
            self.of(Verdict::ClearError),
            self.of(Verdict::Follows),
            self.of(Verdict::Order),
            self.of(Verdict::Wrong),
            self.percent(Verdict::Wrong) + self.percent(Verdict::Order),
            self.of(Verdict::Plan),
        )
    }
}

impl Suite {
    /// Starts PostgreSQL and runs the common setup on it.
    #[must_use]
    pub fn start(sources: &Path, results: &Path) -> Self {
        open_folder(sources, results);
        let peer = Postgres::start(&["fsync = off"]);
        let mut suite = Self {
            sources: sources.to_owned(),
            results: results.to_owned(),
            peer,
            setup: Vec::new(),
            prepared: Vec::new(),
        };
        suite.setup = suite.read("test_setup").1;
        suite.prepared = suite.ask(suite.peer.port, &suite.setup);
        suite
            .peer
            .psql_in("template1", "create database prepared template postgres")
            .expect("a copy");
        suite
    }

    /// Runs a script on both, and writes down what differs.
    #[must_use]
    pub fn script(&self, script: &str) -> Outcome {
        let (bytes, steps) = self.read(script);
        let peer = &self.peer;
        peer.psql_in("template1", "drop database postgres with (force)").expect("dropped");
        peer.psql_in("template1", "create database postgres template prepared").expect("a copy");
        let expected = self.ask(peer.port, &steps);
        let server = Server::start();
        let mut judge = Judge::new();
        compare(&mut judge, &self.setup, &self.prepared, &self.ask(server.port, &self.setup));
        let found = self.ask(server.port, &steps);
        let verdicts = compare(&mut judge, &steps, &expected, &found);
        self.write_down(script, &steps, &expected, &found, &verdicts);
        let mut outcome = Outcome {
            script: script.to_owned(),
            bytes,
            counts: Counts::default(),
            wrong: Vec::new(),
        };
        for (step, verdict) in steps.iter().zip(verdicts) {
            let Some(verdict) = verdict else { continue };
            *outcome.counts.0.entry(verdict).or_insert(0) += 1;
            if verdict == Verdict::Wrong {
                outcome.wrong.push(step.line);
            }
        }
        outcome
    }

    /// A script's length in bytes, and its steps.
    fn read(&self, script: &str) -> (usize, Vec<Chunk>) {
        let path = self.sources.join("sql").join(format!("{script}.sql"));
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let rows = self.results.join("rows").join(script);
        std::fs::create_dir_all(&rows).expect("the results folder can be written");
        let steps = chunks(&String::from_utf8_lossy(&text), &rows);
        (text.len(), steps.expect("the results folder can be written"))
    }

    fn ask(&self, port: u16, chunks: &[Chunk]) -> Vec<Option<String>> {
        let side = Side { port, folder: &self.results };
        run(&side, chunks, LIMIT).expect("psql runs")
    }

    fn write_down(
        &self,
        script: &str,
        steps: &[Chunk],
        expected: &[Option<String>],
        found: &[Option<String>],
        verdicts: &[Option<Verdict>],
    ) {
        for (verdict, name) in [
            (Verdict::Wrong, "wrong"),
            (Verdict::Order, "order"),
            (Verdict::ClearError, "clear-error"),
            (Verdict::Follows, "follows"),
        ] {
            let mut text = String::new();
            for (i, step) in steps.iter().enumerate() {
                if verdicts[i] == Some(verdict) {
                    let (line, statement) = (step.line, &step.text);
                    let answer = |a: &Option<String>| a.clone().unwrap_or_else(|| "(none)".into());
                    let (expected, found) = (answer(&expected[i]), answer(&found[i]));
                    writeln!(
                        text,
                        "=== {script}:{line}\n{statement}\n--- postgresql\n{expected}\n--- glaredb\n{found}"
                    )
                    .expect("text can be written");
                }
            }
            std::fs::write(self.results.join(format!("{script}.{name}.txt")), text)
                .expect("the results folder can be written");
        }
    }
}

/// Copies what the scripts read to where PostgreSQL's user may read it, too.
fn open_folder(sources: &Path, results: &Path) {
    let (data, written) = (results.join("data"), results.join("results"));
    for folder in [&data, &written] {
        std::fs::create_dir_all(folder).expect("the results folder can be written");
    }
    for file in std::fs::read_dir(sources.join("data")).expect("the scripts' data") {
        let file = file.expect("an entry of the folder");
        std::fs::copy(file.path(), data.join(file.file_name())).expect("it can be copied");
    }
    for (folder, mode) in [(results, 0o755), (&*data, 0o755), (&*written, 0o777)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder, mode).expect("the folder is ours");
    }
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
