//! What Describe says before anything is executed: types of parameters, names and types of columns,
//! as PostgreSQL 15 infers them, in every position a parameter may stand in.

use glaredb_tests::{client::connect, peer::Postgres, server::Server};
use tokio_postgres::Client;

const SETUP: &str = "create table t (id int4 primary key, big int8, small int2, real4 float4,
        real8 float8, num numeric(10, 2), bare numeric, name text, code varchar(8), ch char(3),
        flag bool, d date, ts timestamp, tz timestamptz, ti time, iv interval, u uuid, raw bytea,
        arr int4[], texts text[], j json, jb jsonb);
    create table s (k int4, l text, primary key (k, l));
    create type pair as (x int, y text);
    create table r (id int4, p pair, ps pair[]);
    create view v as select id, name || '!' as shout, num * 2 as twice from t;";

/// One statement a line. Where we are known to differ, `-- differs: ` and the reason stand above.
const STATEMENTS: &str = include_str!("describe/statements.sql");
const DIFFERS: &str = "-- differs: ";

/// The statements, and whether we are known to differ.
fn statements() -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    let mut differs = false;
    for line in STATEMENTS.lines() {
        if line.starts_with("--") {
            differs = line.starts_with(DIFFERS);
        } else {
            found.push((line, differs));
            differs = false;
        }
    }
    found
}

async fn described(client: &Client, sql: &str) -> String {
    match client.prepare(sql).await {
        Ok(statement) => {
            let parameters: Vec<&str> = statement.params().iter().map(|p| p.name()).collect();
            let column = |c: &tokio_postgres::Column| {
                format!("{} {}({})", c.name(), c.type_().name(), c.type_modifier())
            };
            let columns: Vec<String> = statement.columns().iter().map(column).collect();
            format!("({}) -> ({})", parameters.join(", "), columns.join(", "))
        }
        Err(error) => match error.as_db_error() {
            Some(db) => format!("{} {}", db.code().code(), db.message()),
            None => panic!("{sql}: {error}"),
        },
    }
}

#[tokio::test]
async fn describe_infers_what_postgresql_infers() {
    let (server, peer) = (Server::start(), Postgres::start(&["fsync = off"]));
    let (ours, theirs) = (connect(server.port).await, connect(peer.port).await);
    for client in [&ours, &theirs] {
        client.batch_execute(SETUP).await.expect("the tables");
    }
    let statements = statements();
    assert!(statements.len() > 150, "only {} statements were read", statements.len());
    let mut different = Vec::new();
    for (sql, differs) in &statements {
        let (found, expected) = (described(&ours, sql).await, described(&theirs, sql).await);
        if found == expected && *differs {
            eprintln!("not different any more: {sql}");
        }
        if found != expected && !differs {
            different.push(format!("{sql}\n  PostgreSQL: {expected}\n  GlareDB:    {found}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {}\n{}",
        different.len(),
        statements.len(),
        different.join("\n")
    );
}
