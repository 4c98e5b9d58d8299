//! What clients and signals meet while a database recovers, and while it stops.

use std::{fmt::Write, path::Path};

use rustix::process::Signal;
use tokio_postgres::NoTls;

use crate::Server;

const ROWS: i64 = 20;

/// A database of which about 12 MB are in the log only.
async fn fill(data_dir: &Path) {
    let mut server = Server::start(data_dir, &[]);
    let (client, _connection) = server.connect().await;
    client.batch_execute("create table t (k int primary key, filler text)").await.expect("a table");
    for key in 0..ROWS {
        let insert = format!("insert into t values ({key}, repeat('{key} ', 250000))");
        client.batch_execute(&insert).await.expect("a row");
    }
    server.kill();
}

async fn check(data_dir: &Path) {
    let server = Server::start(data_dir, &[]);
    let (client, _connection) = server.connect().await;
    let row = client.query_one("select count(*), max(k) from t", &[]).await.expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (ROWS, ROWS as i32 - 1));
}

/// What a client that connects now is told: code, message, detail.
async fn told(server: &Server) -> (String, String) {
    let config = format!("host=127.0.0.1 port={} user=postgres", server.port);
    let refused = tokio_postgres::connect(&config, NoTls).await.err().expect("not ready");
    let error = refused.as_db_error().expect("the server answers");
    let mut text = error.message().to_owned();
    write!(text, " {}", error.detail().unwrap_or_default()).expect("a string");
    (error.code().code().to_owned(), text)
}

/// `N of M` in a text.
fn progress(text: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "of")?;
    Some((words.get(at.checked_sub(1)?)?.parse().ok()?, words.get(at + 1)?.parse().ok()?))
}

#[tokio::test]
async fn clients_are_told_how_far_recovery_is_and_a_signal_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path()).await;
    // Stops after the first 8 MiB.
    let mut server = Server::spawn(folder.path(), &[], "recovery::replay=pause");
    // Without numbers until then.
    let line = server.line_with("starting up: replaying the log: ");
    let (done, total) = progress(&line).unwrap_or_else(|| panic!("{line}"));
    assert!(0 < done && done < total, "{line}");
    let (code, text) = told(&server).await;
    assert_eq!(code, "57P03", "{text}");
    assert_eq!(progress(&text), Some((done, total)), "{text}");
    let ready = server.get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("replaying the log"), "{ready}");
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    server.line_with("stopped while starting up");
    check(folder.path()).await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_last_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path()).await;
    let mut server = Server::spawn(folder.path(), &[], "checkpoint::object::before=pause");
    server.line_with("ready: psql");
    server.signal(Signal::TERM);
    server.line_with("stopping");
    assert!(server.is_running(), "it writes its checkpoint");
    server.signal(Signal::TERM);
    server.line_with("stopped at once, by a second signal");
    assert_eq!(server.wait().code(), Some(0));
    check(folder.path()).await;
}

/// The process ends and says why; the next one finds everything.
#[tokio::test]
async fn a_panic_while_recovering_harms_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path()).await;
    let mut server = Server::spawn(folder.path(), &[], "recovery::replay=panic(injected)");
    let line = server.line_with("opening the database ended badly");
    assert!(line.contains("ERROR"), "{line}");
    assert_eq!(server.wait().code(), Some(1));
    check(folder.path()).await;
}
