//! Views as PostgreSQL prints them: `pg_get_viewdef` of many queries beside PostgreSQL 15, laid out
//! in both ways; a view that is made of our text gives the same rows; and renames show as they do
//! there.

use glaredb_tests::{
    client,
    differential::{Answer, ask},
    peer::Postgres,
    server::Server,
};
use tokio_postgres::Client;

const SETUP: &str = include_str!("../view_text/setup.sql");
/// Queries, each ended by a semicolon at the end of a line.
const QUERIES: &str = include_str!("../view_text/queries.sql");
/// Queries over tables that [`CHANGES`] change, which each print all of them anew.
const CHANGED: &str = include_str!("../view_text/changed.sql");
const CHANGES: &str = include_str!("../view_text/changes.sql");

/// What PostgreSQL prints and we do not read yet (docs/postgres-differences.md).
const NOT_READ: [&str; 3] = ["like_escape(", "FETCH FIRST (", "- 'q'::text"];

struct Both {
    ours: Client,
    theirs: Client,
}

impl Both {
    fn start() -> (Postgres, Server) {
        (Postgres::start(&["fsync = off"]), Server::start())
    }

    async fn connect(servers: &(Postgres, Server)) -> Self {
        Self { ours: servers.1.connect().await, theirs: client::connect(servers.0.port).await }
    }

    /// Has both do it, which must do.
    async fn run(&self, sql: &str) {
        for client in [&self.theirs, &self.ours] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// Adds to `wrong` if a view prints differently.
    async fn compare(&self, view: &str, what: &str, wrong: &mut Vec<String>) {
        for flag in ["true", "false"] {
            let sql = format!("select pg_get_viewdef('{view}'::regclass, {flag})");
            let (theirs, ours) = (ask(&self.theirs, &sql).await, ask(&self.ours, &sql).await);
            if theirs != ours {
                let (theirs, ours) = (text(&theirs), text(&ours));
                wrong.push(format!("{what}\n-- PostgreSQL:\n{theirs}\n-- GlareDB:\n{ours}"));
            }
        }
    }
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Rows(rows) => rows.join("\n"),
        other => format!("{other:?}"),
    }
}

fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|sql| !sql.is_empty())
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn views_print_as_in_postgresql_and_read_back_as_the_same() {
    let servers = Both::start();
    let both = Both::connect(&servers).await;
    both.run(SETUP).await;
    let mut wrong = Vec::new();
    for (n, query) in statements(QUERIES).enumerate() {
        both.run(&format!("create view q{n} as {query}")).await;
        both.compare(&format!("q{n}"), query, &mut wrong).await;
        for flag in [true, false] {
            let printed = format!("select pg_get_viewdef('q{n}'::regclass, {flag})");
            let text = text(&ask(&both.ours, &printed).await);
            let again = format!("create view again as {text}");
            let made = both.ours.batch_execute(&again).await;
            assert_eq!(
                made.is_err(),
                NOT_READ.iter().any(|part| text.contains(part)),
                "{again}: {made:?}; is the list of what cannot be read up to date?"
            );
            if made.is_err() {
                continue;
            }
            let first = sorted(&both.ours, &format!("q{n}")).await;
            let second = sorted(&both.ours, "again").await;
            if first != second {
                wrong.push(format!("{query}\n{text}\n{first:?}\n{second:?}"));
            }
            both.ours.batch_execute("drop view again").await.expect("it is there");
        }
    }
    none(&wrong);
}

/// The rows of a view, in an order of their own.
async fn sorted(client: &Client, view: &str) -> Answer {
    match ask(client, &format!("select * from {view}")).await {
        Answer::Rows(mut rows) => {
            rows.sort();
            Answer::Rows(rows)
        }
        other => other,
    }
}

#[tokio::test]
async fn renamed_and_added_columns_show_as_in_postgresql() {
    let servers = Both::start();
    let both = Both::connect(&servers).await;
    let mut setup = CHANGED.split("-- views\n");
    both.run(setup.next().unwrap_or_default()).await;
    let views: Vec<&str> = statements(setup.next().unwrap_or_default()).collect();
    for (n, query) in views.iter().enumerate() {
        both.run(&format!("create view v{n} as {query}")).await;
    }
    let mut wrong = Vec::new();
    for change in std::iter::once("").chain(statements(CHANGES)) {
        both.run(change).await;
        for (n, query) in views.iter().enumerate() {
            both.compare(&format!("v{n}"), &format!("{query}, after {change:?}"), &mut wrong).await;
        }
    }
    none(&wrong);
}
