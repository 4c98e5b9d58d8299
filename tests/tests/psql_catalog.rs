//! psql's backslash commands print on this server what they print on PostgreSQL 15.

use glaredb_tests::{client, peer::Postgres, server::Server};

const SETUP: &str = r#"
create schema sales;
create table t (
    a int primary key,
    b text not null default 'x',
    c numeric(10,2) default -1,
    d timestamptz default now(),
    e varchar(20) default 'it''s',
    f char(3),
    g boolean default true
);
create table nokey (x double precision, y bytea, z uuid, w interval, v smallint, u bigint, s real);
create table sales.u (k1 int, k2 varchar(20), v date, tm time, ts timestamp, primary key (k2, k1))
    with (fillfactor = 90);
create table sales.t (only_there int);
create table "Mixed Case" ("Select" int, "user" name, primary key ("Select"));
"#;

/// Compared to the last character.
const COMMANDS: &[&str] = &[
    r"\d",
    r"\d t",
    r"\d nokey",
    r"\d sales.u",
    r"\d sales.*",
    r#"\d "Mixed Case""#,
    r"\d t_pkey",
    r"\d sales.u_pkey",
    r"\d no_such_table",
    r"\dt",
    r"\dt sales.*",
    r"\dt n*",
    r"\di",
    r"\di *.*key",
    r"\dn",
    r"\dn s*",
    r"\du",
    r"\du postgres",
    r"\dv",
    r"\ds",
    r"\dm",
    r"\dE",
    r"\db",
    r"\d+ t",
    r"\d+ sales.u",
    r"\dL nothing",
    r"\dp",
    r"\dp t",
    r"\ddp",
    r"\drds",
    r"\dX",
    r"\dO",
    r"\dO+",
    r"\dd",
    r"\dD",
    r"\dc",
    r"\deu",
    r"\det",
    r"\dP",
    r"\dRp",
    r"\dRs",
    r"\dy",
    r"\dl",
    r"\dti",
    r"\dconfig work_mem",
    r"\df now",
    r"\df split_part",
    r"\sf nosuch",
    r"\sv nosuch",
    r"select 1 as a, 'x'::varchar(5) as b, 1.5::numeric(4,2) as c \gdesc",
];

fn psql(port: u16, command: &str) -> String {
    // Backslash commands behind SQL only work from a script.
    let script = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(script.path(), format!("{command}\n")).expect("a script");
    let path = script.path().to_string_lossy().into_owned();
    let arguments =
        if command.contains(r" \g") { ["-X", "-f", &path] } else { ["-X", "-c", command] };
    match client::psql(port, "postgres", &arguments) {
        Ok(output) | Err(output) => output,
    }
}

#[test]
fn prints_what_postgresql_prints() {
    let (ours, theirs) = (Server::start(), Postgres::start(&[]));
    for port in [ours.port, theirs.port] {
        client::psql(port, "postgres", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", SETUP])
            .unwrap_or_else(|e| panic!("setting up at {port}: {e}"));
    }
    let mut differences = Vec::new();
    for command in COMMANDS {
        let (found, expected) = (psql(ours.port, command), psql(theirs.port, command));
        if found != expected {
            differences.push(format!("=== {command}\n--- expected\n{expected}--- found\n{found}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} commands differ\n{}",
        differences.len(),
        COMMANDS.len(),
        differences.join("\n")
    );
}

/// Cells of the row of database `postgres` in `\l`, but for its `LC_CTYPE`, which is the machine's
/// there and fixed here.
fn database_row(port: u16) -> Vec<String> {
    let output =
        client::psql(port, "postgres", &["-X", "-A", "-t", "-c", r"\l"]).expect("the list");
    let row = output.lines().find(|line| line.starts_with("postgres|")).expect("its row");
    let mut cells: Vec<_> = row.split('|').map(str::to_owned).collect();
    assert_eq!(cells.remove(4).split('.').next(), Some("C"));
    cells
}

#[test]
fn lists_databases() {
    let (ours, theirs) = (Server::start(), Postgres::start(&[]));
    assert_eq!(database_row(ours.port), database_row(theirs.port));
}

#[test]
fn oids_survive_a_restart() {
    let server = Server::start();
    server.psql("create table t (a int primary key)").expect("created");
    let oids = "select oid, relname from pg_class where relname like 't%' and oid >= 16384 \
                order by relname";
    let before = server.psql(oids).expect("the OIDs");
    assert_eq!(before.lines().count(), 2, "{before}");
    let server = server.kill_and_restart();
    assert_eq!(server.psql(oids).expect("the OIDs"), before);
    server.psql("create table t2 (a int)").expect("created");
    let after = server.psql(oids).expect("the OIDs");
    let all: std::collections::HashSet<_> =
        after.lines().map(|line| line.split('|').next().expect("an OID").to_owned()).collect();
    assert_eq!(all.len(), 3, "an OID came back: {after}");
}
