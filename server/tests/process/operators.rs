//! What operators see of sessions and statements, and how sessions end that nobody ends themselves.

use std::{net::TcpStream, time::Instant};

use tokio_postgres::SimpleQueryMessage;

use super::harness::{PATIENCE, Server, pause};

/// Until `/metrics` has the line: a state is written down a moment after its answer is sent.
fn metric(server: &Server, line: &str) {
    let begin = Instant::now();
    loop {
        let answer = server.get("/metrics");
        if answer.lines().any(|l| l == line) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{line} in {answer}");
        pause(std::time::Duration::from_millis(20));
    }
}

/// The first column of a row that came as text.
fn cell(message: &SimpleQueryMessage) -> Option<i32> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    }
}

#[tokio::test]
async fn sessions_are_counted_by_state_and_terminated() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (idle, _idle_connection) = server.connect().await;
    let (held, held_connection) = server.connect().await;
    held.batch_execute("begin").await.expect("a transaction begins");
    metric(&server, "glaredb_sessions{state=\"idle\"} 1");
    metric(&server, "glaredb_sessions{state=\"idle_in_transaction\"} 1");
    assert!(held.batch_execute("select 1/0").await.is_err());
    metric(&server, "glaredb_sessions{state=\"idle_in_transaction_aborted\"} 1");
    held.batch_execute("rollback").await.expect("the transaction ends");
    metric(&server, "glaredb_sessions{state=\"idle\"} 2");

    // Not a prepared statement: its Close would still be under way when the session ends, and take
    // the last message for its answer.
    let pid = held.simple_query("select pg_backend_pid()").await.expect("a row");
    let pid: i32 = pid.iter().find_map(cell).expect("a number");
    let terminate = "select pg_terminate_backend($1)";
    let done: bool = idle.query_one(terminate, &[&pid]).await.expect("a row").get(0);
    assert!(done);
    assert_eq!(held_connection.await.expect("no panic").as_deref(), Some("57P01"));
    metric(&server, "glaredb_sessions{state=\"idle\"} 1");
}

#[tokio::test]
async fn idle_sessions_end_at_their_timeouts() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    for (statements, code) in [
        ("set idle_in_transaction_session_timeout = 50; begin", "25P03"),
        ("set idle_session_timeout = 50", "57P05"),
    ] {
        let (client, connection) = server.connect().await;
        // Only here there is something to time out.
        client.simple_query("set statement_timeout = 0").await.expect("set");
        client.simple_query(statements).await.expect("set");
        assert_eq!(connection.await.expect("no panic").as_deref(), Some(code), "{statements}");
    }
}

#[tokio::test]
async fn slow_statements_are_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--log-slow-statements", "0"]);
    let (client, _connection) = server.connect().await;
    client.simple_query("set log_min_duration_statement = -1").await.expect("set");
    client.simple_query("select 'not logged'").await.expect("a row");
    client.simple_query("set log_min_duration_statement = 0").await.expect("set");
    client.simple_query("select 'logged'").await.expect("a row");
    let line = loop {
        let line = server.line_with("slow statement");
        assert!(!line.contains("'not logged'"), "{line}");
        if line.contains("'logged'") {
            break line;
        }
    };
    assert!(line.contains("milliseconds="), "{line}");
}

/// Clients that connect and say nothing must not take the files that the database needs: a log that
/// cannot begin its next file stops the node.
#[tokio::test]
async fn clients_leave_files_to_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_with_files(folder.path(), 128);
    server.get("/healthz");
    let (client, _connection) = server.connect().await;
    let silent: Vec<_> =
        (0..150).filter_map(|_| TcpStream::connect(("127.0.0.1", server.port)).ok()).collect();
    assert!(silent.len() > 128, "{} connections", silent.len());
    server.line_with("too many sockets");
    client.batch_execute("create table t (v text)").await.expect("a table");
    // More than a file of the log.
    let row = "insert into t select repeat('x', 700000) from generate_series(1, 10)";
    for _ in 0..11 {
        client.batch_execute(row).await.expect("rows");
        client.batch_execute("checkpoint").await.expect("a checkpoint");
    }
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "));
}
