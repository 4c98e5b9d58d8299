//! What psql asks of a database of many tables does not take longer with each of them.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use glaredb_tests::server::Server;

const TABLES: usize = 400;
/// In a debug build on a busy machine; a look at every table for every table takes minutes.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[test]
fn many_tables_are_listed_and_found() {
    let server = Server::start();
    let mut script = String::new();
    for table in 0..TABLES {
        let columns: Vec<String> = (1..10).map(|n| format!("c{n} text")).collect();
        let _ = writeln!(
            script,
            "create table table_{table} (id int primary key, {});",
            columns.join(", ")
        );
    }
    server.psql(&script).expect("tables are created");
    let ask = |command: &str| {
        let begin = Instant::now();
        let answer = server.psql(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(begin.elapsed() < ANSWER_MAX, "{command} took {:?}", begin.elapsed());
        answer
    };
    let listed = |answer: &str| answer.lines().filter(|line| line.contains("|table_")).count();
    assert_eq!(listed(&ask(r"\d")), TABLES);
    assert_eq!(listed(&ask(r"\dt")), TABLES);
    assert_eq!(listed(&ask(r"\dt table_1?")), 10);
    let one = ask(r"\d table_77");
    assert!(one.contains("c9|text"), "{one}");
    assert!(ask(r"\d table_77_pkey").contains("id|integer"));
    let complete = "select c.relname from pg_class c where c.relkind in ('r', 'v') \
                    and c.relname like 'table\\_39%' and pg_table_is_visible(c.oid)";
    assert_eq!(ask(complete).lines().count(), 11);
    let columns = "select count(*) from information_schema.columns where table_schema = 'public'";
    assert_eq!(ask(columns).trim(), (TABLES * 10).to_string());
}
