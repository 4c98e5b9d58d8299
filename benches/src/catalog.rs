//! What psql asks of a database of many tables: `\d`, `\dt`, `\d name` and the completion of names.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use glaredb_tests::{client, peer::Postgres, server::Server};

use crate::report::Report;

const TABLES: usize = 10_000;
/// Tables made by one call of psql.
const AT_ONCE: usize = 500;

/// What completion sends for `SELECT * FROM table_12<Tab>`.
const COMPLETION: &str = "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c \
    WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'table\\_12%' \
    AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM \
    pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') \
    UNION ALL SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n \
    WHERE n.nspname LIKE 'table\\_12%' LIMIT 1000";

const COMMANDS: [(&str, &str); 4] =
    [("\\d", r"\d"), ("\\dt", r"\dt"), ("\\d name", r"\d table_5000"), ("completion", COMPLETION)];

/// Best of `rounds` for each command on both servers.
pub(crate) fn measure(rounds: usize, report: &mut Report) {
    let (ours, theirs) = (Server::start(), Postgres::start(&[]));
    for (name, port) in [("GlareDB", ours.port), ("PostgreSQL", theirs.port)] {
        let begin = Instant::now();
        (0..TABLES / AT_ONCE).for_each(|part| create(port, part * AT_ONCE));
        let seconds = begin.elapsed().as_secs_f64();
        report.note(&format!("{TABLES} tables created, {name}"), &format!("{seconds:.1} s"));
    }
    for (name, command) in COMMANDS {
        let best = |port| (0..rounds.max(1)).map(|_| run(port, command)).min().unwrap_or_default();
        let (found, peer) = (best(ours.port), best(theirs.port));
        report.note(&format!("{name} in PostgreSQL"), &format!("{} ms", peer.as_millis()));
        report.bound(&format!("{name} on {TABLES} tables"), found, Duration::from_millis(100));
    }
}

fn create(port: u16, from: usize) {
    let mut script = String::new();
    for table in from..from + AT_ONCE {
        let columns = "b text not null, c numeric(10,2), d timestamptz default now(), e varchar(20), \
                       f boolean, g bigint, h date, i double precision, j uuid";
        let _ = writeln!(script, "create table table_{table} (a int primary key, {columns});");
    }
    client::psql(port, "postgres", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &script])
        .unwrap_or_else(|error| panic!("tables from {from}: {error}"));
}

/// With the start of psql, which takes some milliseconds itself.
fn run(port: u16, command: &str) -> Duration {
    let begin = Instant::now();
    let output = client::psql(port, "postgres", &["-X", "-q", "-c", command]);
    let elapsed = begin.elapsed();
    output.unwrap_or_else(|error| panic!("{command}: {error}"));
    elapsed
}
