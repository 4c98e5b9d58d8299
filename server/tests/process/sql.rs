//! SQL through a driver: values of every type both ways, transactions, COPY, cancel.

use std::{error::Error, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{
    Client, NoTls, SimpleQueryMessage,
    error::SqlState,
    types::{Format, FromSql, IsNull, ToSql, Type},
};

use crate::Server;

const GOLDEN: &str = include_str!("../../golden/values.tsv");

/// A value as its bytes, whatever the type.
#[derive(Debug, PartialEq)]
struct Sent(Vec<u8>);

impl<'a> FromSql<'a> for Sent {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(bytes.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Sent {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    tokio_postgres::types::to_sql_checked!();
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hex digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn first_text(messages: &[SimpleQueryMessage]) -> Option<String> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

async fn server() -> (tempfile::TempDir, Server, Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (client, _) = server.connect().await;
    (folder, server, client)
}

async fn text(client: &Client, sql: &str) -> String {
    let answer = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    first_text(&answer).unwrap_or_default()
}

/// Every value that PostgreSQL wrote goes through a table: in as a binary parameter, out as text and
/// binary.
#[tokio::test]
async fn values_of_every_type_go_through_a_table() {
    let (_folder, _server, client) = server().await;
    let mut types: Vec<&str> = Vec::new();
    for line in GOLDEN.lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        let (name, shown, sent) = (field(), field(), Sent(unhex(field())));
        // Arrays are there for the system tables only.
        if name.ends_with("[]") || name == "oid" || name == "name" {
            continue;
        }
        let table = format!("t{}", types.iter().position(|t| *t == name).unwrap_or(types.len()));
        if !types.contains(&name) {
            types.push(name);
            client.batch_execute(&format!("create table {table} (v {name})")).await.expect(name);
        }
        client.batch_execute(&format!("truncate {table}")).await.expect(name);
        let inserted = client.execute(&format!("insert into {table} values ($1)"), &[&sent]).await;
        assert_eq!(inserted.unwrap_or_else(|error| panic!("{line}: {error:?}")), 1, "{line}");
        assert_eq!(text(&client, &format!("select v from {table}")).await, shown, "{line}");
        let row = client.query_one(&format!("select v from {table}"), &[]).await.expect(name);
        assert_eq!(row.get::<_, Sent>(0), sent, "{line}");
        // And in as text.
        let literal = shown.replace('\'', "''");
        let literal = format!("insert into {table} values ('{literal}')");
        client.batch_execute(&literal).await.unwrap_or_else(|error| panic!("{line}: {error:?}"));
        let rows = client.query(&format!("select v from {table}"), &[]).await.expect(name);
        let both: Vec<Sent> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(both, [Sent(sent.0.clone()), sent], "{line}");
    }
    assert!(types.len() >= 20, "{types:?}");
}

#[tokio::test]
async fn several_statements_are_atomic() {
    let (_folder, _server, client) = server().await;
    client.batch_execute("create table t (a int primary key)").await.expect("created");
    let error = client
        .batch_execute("insert into t values (1); insert into t values (1)")
        .await
        .expect_err("a duplicate");
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let error = error.as_db_error().expect("by the server");
    assert_eq!((error.table(), error.constraint()), (Some("t"), Some("t_pkey")));
    assert_eq!(text(&client, "select count(*) from t").await, "0");
    client.batch_execute("insert into t values (1); insert into t values (2)").await.expect("done");
    assert_eq!(text(&client, "select count(*) from t").await, "2");
}

#[tokio::test]
async fn a_failed_block_refuses_statements_until_it_ends() {
    let (_folder, _server, client) = server().await;
    client.batch_execute("create table t (a int)").await.expect("created");
    client.batch_execute("begin; insert into t values (1)").await.expect("begun");
    client.batch_execute("select 1/0").await.expect_err("division by zero");
    let error = client.batch_execute("select 1").await.expect_err("failed block");
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.batch_execute("commit").await.expect("rolls back");
    assert_eq!(text(&client, "select count(*) from t").await, "0");
}

#[tokio::test]
async fn a_conflict_at_commit_is_told() {
    let (_folder, server, mut one) = server().await;
    let (two, _) = server.connect().await;
    one.batch_execute("create table t (a int primary key, b int); insert into t values (1, 0)")
        .await
        .expect("created");
    let transaction = one.transaction().await.expect("begun");
    transaction.execute("update t set b = b + 1 where a = 1", &[]).await.expect("updated");
    two.execute("update t set b = b + 10 where a = 1", &[]).await.expect("updated");
    let error = transaction.commit().await.expect_err("a conflict");
    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(text(&two, "select b from t").await, "10");
}

#[tokio::test]
async fn portals_page_through_a_table() {
    let (_folder, _server, mut client) = server().await;
    client.batch_execute("create table t (a int)").await.expect("created");
    let sink = client.copy_in::<_, Bytes>("copy t from stdin").await.expect("started");
    let mut sink = Box::pin(sink);
    let lines: String = (0..10_000).map(|n| format!("{n}\n")).collect();
    sink.send(Bytes::from(lines)).await.expect("sent");
    assert_eq!(sink.as_mut().finish().await.expect("finished"), 10_000);
    let transaction = client.transaction().await.expect("begun");
    let statement = transaction.prepare("select a from t order by a").await.expect("prepared");
    let portal = transaction.bind(&statement, &[]).await.expect("bound");
    let mut numbers: Vec<i32> = Vec::new();
    loop {
        let page = transaction.query_portal(&portal, 999).await.expect("a page");
        if page.is_empty() {
            break;
        }
        numbers.extend(page.iter().map(|row| row.get::<_, i32>(0)));
    }
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
    transaction.commit().await.expect("committed");
    let out = client.copy_out("copy t to stdout").await.expect("started");
    let parts: Vec<Bytes> = out.try_collect().await.expect("all of it");
    assert_eq!(parts.len(), 10_000);
}

#[tokio::test]
async fn drivers_are_told_lines_modifiers_and_wrong_limits() {
    let (_folder, _server, client) = server().await;
    client.batch_execute("create table t (a int, n numeric(8,2))").await.expect("created");
    let sink = client.copy_in("copy t from stdin").await.expect("started");
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from("1\t1\n2\t2\nx\t3\n")).await.expect("sent");
    let error = sink.finish().await.expect_err("no number");
    let error = error.as_db_error().expect("the server's");
    assert_eq!(error.where_(), Some("COPY t, line 3, column a: \"x\""));

    // Precision and scale are those of columns and casts, not of what an expression happens to keep.
    let query = "select n, n + 1, 1.5, n::numeric(5,1), sum(n) over () from t";
    let statement = client.prepare(query).await.expect("prepared");
    let modifiers: Vec<i32> = statement.columns().iter().map(|c| c.type_modifier()).collect();
    assert_eq!(modifiers, [524_294, -1, -1, 327_685, -1]);
    let statement = client.prepare("delete from t returning n, n + 1").await.expect("prepared");
    let modifiers: Vec<i32> = statement.columns().iter().map(|c| c.type_modifier()).collect();
    assert_eq!(modifiers, [524_294, -1]);

    for (query, code) in [
        ("select a from t limit $1", &SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
        ("select a from t offset $1", &SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE),
    ] {
        let error = client.query(query, &[&-1i64]).await.expect_err("negative");
        assert_eq!(error.code(), Some(code), "{query}: {error:?}");
    }
}

#[tokio::test]
async fn long_queries_are_cancelled_and_timed_out() {
    let (_folder, _server, client) = server().await;
    client.batch_execute("create table t (a int)").await.expect("created");
    let values: Vec<String> = (0..2000).map(|n| format!("({n})")).collect();
    client.batch_execute(&format!("insert into t values {}", values.join(","))).await.expect("in");
    for sql in [
        "select count(*) from t a, t b, t c where a.a + b.a + c.a < 0",
        "select a.a, b.a, c.a from t a, t b, t c",
    ] {
        let mut soonest = Duration::MAX;
        for _ in 0..CANCELS {
            let (error, took) = cancelled(&client, sql).await;
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{sql}: {error:?}");
            soonest = soonest.min(took);
        }
        assert!(soonest < Duration::from_millis(500), "{sql} ended {soonest:?} after it was to");
    }
    client.batch_execute("set statement_timeout = 200").await.expect("set");
    let slow = "select count(*) from t a, t b, t c where a.a + b.a + c.a < 0";
    let error = client.batch_execute(slow).await.expect_err("too slow");
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    client.batch_execute("set statement_timeout = 0").await.expect("set");
    assert_eq!(text(&client, "select count(*) from t").await, "2000");
}

/// How often a cancel is measured: on a busy machine the soonest tells what the server does.
const CANCELS: usize = 4;

/// Runs a query and cancels it, again and again, for a cancel that comes before the query is for
/// nothing. Its end, and how long after the last cancel that was.
async fn cancelled(client: &Client, sql: &str) -> (tokio_postgres::Error, Duration) {
    let token = client.cancel_token();
    let mut asked = tokio::time::Instant::now();
    // Its rows are counted as they come, not kept.
    let running = async {
        let rows = client.query_raw::<_, i32, _>(sql, []).await;
        let ended = match rows {
            Ok(rows) => rows.try_for_each(|_| async { Ok(()) }).await,
            Err(error) => Err(error),
        };
        ended.expect_err("cancelled")
    };
    let mut running = std::pin::pin!(running);
    loop {
        if let Ok(error) = tokio::time::timeout(Duration::from_millis(300), &mut running).await {
            return (error, asked.elapsed());
        }
        asked = tokio::time::Instant::now();
        token.cancel_query(NoTls).await.expect("sent");
    }
}

#[tokio::test]
async fn commits_survive_a_kill() {
    let (folder, mut server, client) = server().await;
    client.batch_execute("create table t (a int primary key, b text)").await.expect("created");
    for n in 0..50i32 {
        client.execute("insert into t values ($1, $2)", &[&n, &"x"]).await.expect("inserted");
    }
    server.kill();
    let server = Server::start(folder.path(), &[]);
    let (client, _) = server.connect().await;
    assert_eq!(text(&client, "select count(*) from t").await, "50");
    assert_eq!(text(&client, "select b from t where a = 49").await, "x");
}
