//! Temporary tables leave nothing behind: not in the log, not in a checkpoint, not in memory.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::future::join_all;
use glaredb_tests::{
    client,
    server::{Options, Server},
};

/// Written as rows' values, so that they stand in files as they are.
const PERMANENT: &str = "zq-permanent-7f3a9c51";
const TEMPORARY: &str = "zq-temporary-7f3a9c51";

/// Memory of tables and of what transactions write, as the server counts it.
fn delta_bytes(server: &Server) -> f64 {
    server.metric("glaredb_delta_bytes")
}

/// Waits until a condition holds: an ended session is cleared away beside its client.
async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "after a minute still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The files below a folder that contain `text`.
fn files_with(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder that can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_with(&path, text, found);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn nothing_of_a_temporary_table_is_written_down() {
    let mut server = Server::start();
    let client = server.connect().await;
    // In transactions of their own, in shared ones, by every way in, and in names.
    let both = format!(
        "create table kept (id int primary key, v text);
         create temp table \"{TEMPORARY}\" (id int primary key, v text default '{TEMPORARY}');
         insert into kept values (1, '{PERMANENT}');
         insert into \"{TEMPORARY}\" values (1, '{TEMPORARY}');
         begin;
         insert into kept values (2, '{PERMANENT}');
         insert into \"{TEMPORARY}\" select i, '{TEMPORARY}' from generate_series(2, 2000) i;
         create temp view \"{TEMPORARY} view\" as select v from \"{TEMPORARY}\";
         comment on table \"{TEMPORARY}\" is '{TEMPORARY}';
         commit;
         alter table \"{TEMPORARY}\" add column more text default '{TEMPORARY}';
         update \"{TEMPORARY}\" set v = v || '!' where id % 3 = 0;
         delete from \"{TEMPORARY}\" where id % 5 = 0;
         create temp table filled as select * from \"{TEMPORARY}\""
    );
    client.batch_execute(&both).await.expect("both kinds of tables");
    client.batch_execute("checkpoint").await.expect("a checkpoint");
    // More for the log behind it.
    let more = format!(
        "insert into kept values (3, '{PERMANENT}');
         insert into \"{TEMPORARY}\" values (9000, '{TEMPORARY}');
         truncate filled"
    );
    client.batch_execute(&more).await.expect("more rows");
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    files_with(server.data_dir(), PERMANENT, &mut kept);
    files_with(server.data_dir(), TEMPORARY, &mut left);
    assert!(!kept.is_empty(), "what is looked for would not be found");
    assert_eq!(left, Vec::<String>::new());

    server.kill();
    let server = server.start_again(Options::default());
    let client = server.connect().await;
    let rows = client.query("select id from kept order by id", &[]).await.expect("the rows");
    assert_eq!(rows.len(), 3);
    let error = client.query(&format!("select * from \"{TEMPORARY}\""), &[]).await;
    assert_eq!(client::sqlstate(&error.expect_err("it is gone")), "42P01");
    let sql = "select count(*) from pg_class where relpersistence = 't' or relname = $1";
    let found: i64 = client.query_one(sql, &[&TEMPORARY]).await.expect("a count").get(0);
    assert_eq!(found, 0);
}

#[tokio::test]
async fn memory_comes_back_when_clients_go() {
    let server = Server::start();
    let watcher = server.connect().await;
    watcher.batch_execute("create table kept (v text)").await.expect("a table");
    let before = delta_bytes(&server);
    const MUCH: f64 = 8e6;
    let fill = "create temp table big as
        select i, repeat(md5(i::text), 10) as v from generate_series(1, 40000) i";
    // In good order.
    let client = server.connect().await;
    client.batch_execute(fill).await.expect("a big table");
    assert!(delta_bytes(&server) > before + MUCH, "its memory is counted");
    client.batch_execute("drop table big").await.expect("dropped");
    wait_until("memory of a dropped table is free", || delta_bytes(&server) < before + MUCH / 4.0)
        .await;
    client.batch_execute(fill).await.expect("a big table");
    client.batch_execute("discard all").await.expect("discarded");
    wait_until("memory of DISCARD ALL is free", || delta_bytes(&server) < before + MUCH / 4.0)
        .await;
    client.batch_execute(fill).await.expect("a big table");
    drop(client);
    wait_until("memory of an ended session is free", || delta_bytes(&server) < before + MUCH / 4.0)
        .await;
    // By a crash in a transaction: the socket is all that goes.
    let mut psql = std::process::Command::new("psql")
        .args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &server.port.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("psql starts");
    let stdin = psql.stdin.as_mut().expect("its input");
    let sql = format!("{fill}; begin; insert into big select * from big;\n");
    std::io::Write::write_all(stdin, sql.as_bytes()).expect("psql reads");
    wait_until("the table is there", || delta_bytes(&server) > before + MUCH).await;
    psql.kill().expect("psql is killed");
    psql.wait().expect("psql ends");
    wait_until("memory of a crashed client is free", || delta_bytes(&server) < before + MUCH / 4.0)
        .await;
}

#[tokio::test]
async fn too_much_is_refused_and_the_session_goes_on() {
    let arguments = vec!["--memory-limit".to_owned(), "256MiB".to_owned()];
    let server = Server::start_with(Options { arguments, ..Options::default() });
    let client = server.connect().await;
    client.batch_execute("create temp table big (i int, v text)").await.expect("a table");
    let fill = "insert into big
        select i, repeat(md5(i::text), 100) from generate_series(1, 200000) i";
    let error = client.batch_execute(fill).await.expect_err("600 MB do not fit");
    assert_eq!(client::sqlstate(&error), "53200");
    let count: i64 =
        client.query_one("select count(*) from big", &[]).await.expect("a count").get(0);
    assert_eq!(count, 0, "of what failed nothing stays");
    client.batch_execute("insert into big values (1, 'fits')").await.expect("a row fits");
    let other = server.connect().await;
    other.batch_execute("create table t (i int); insert into t values (1)").await.expect("theirs");
}

#[tokio::test]
async fn a_thousand_sessions_leave_nothing() {
    const SESSIONS: usize = 1000;
    const AT_ONCE: usize = 20;
    let server = Server::start();
    let watcher = server.connect().await;
    watcher.batch_execute("create table t (id int primary key)").await.expect("a table");
    let before = delta_bytes(&server);
    let port = server.port;
    let session = move |n: usize| async move {
        let client = client::connect(port).await;
        let sql = format!(
            "create temp table t (id int primary key, v text);
             insert into t select i, 'session {n}' from generate_series(1, 200) i;
             analyze t;
             create temp view v as select count(*) as n from t where v = 'session {n}'"
        );
        client.batch_execute(&sql).await.expect("a temporary table");
        let seen: i64 = client.query_one("select n from v", &[]).await.expect("a count").get(0);
        assert_eq!(seen, 200, "its own rows and no others");
        if n.is_multiple_of(3) {
            client.batch_execute("begin; delete from t").await.expect("left open");
        }
    };
    for first in (0..SESSIONS).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE).map(session)).await;
    }
    wait_until("their memory is free", || delta_bytes(&server) <= before + 65_536.0).await;
    let sql = "select count(*) from pg_class where relname in ('t', 'v')";
    let found: i64 = watcher.query_one(sql, &[]).await.expect("a count").get(0);
    assert_eq!(found, 1);
}

/// What others drop or alter takes what a session made of it along, and leaves the name free.
#[tokio::test]
async fn what_others_break_is_gone_and_its_name_is_free() {
    let server = Server::start();
    let (own, other) = (server.connect().await, server.connect().await);
    other
        .batch_execute("create table p (i int); create table r (i int, j int)")
        .await
        .expect("tables");
    own.batch_execute(
        "create temp view v as select * from p;
         create temp table t (x r); insert into t values (row(1, 2));
         create temp table plain (i int); insert into plain values (7)",
    )
    .await
    .expect("temporary objects");
    other.batch_execute("drop table p").await.expect("nobody else knows of the view");
    own.batch_execute("create temp view v as select 1 as one").await.expect("the name is free");
    let one: i32 = own.query_one("select one from v", &[]).await.expect("the new one").get(0);
    assert_eq!(one, 1);
    other.batch_execute("alter table r drop column i").await.expect("nor of the table");
    let error = own.query("select (x).j from t", &[]).await.expect_err("it is gone");
    assert_eq!(client::sqlstate(&error), "42P01");
    own.batch_execute("create temp table t (x r); insert into t values (row(5))")
        .await
        .expect("the name is free");
    let five: i32 = own.query_one("select (x).j from t", &[]).await.expect("the new one").get(0);
    assert_eq!(five, 5);
    let kept: i32 = own.query_one("select i from plain", &[]).await.expect("kept").get(0);
    assert_eq!(kept, 7);
    own.batch_execute("discard all").await.expect("the session lives");
}
