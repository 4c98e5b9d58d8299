//! COPY with files of the server.

use std::path::Path;

use tokio_postgres::{Client, error::DbError};

use crate::Server;

async fn server() -> (tempfile::TempDir, Server, Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &[]);
    let (client, _) = server.connect().await;
    (folder, server, client)
}

async fn refused(client: &Client, sql: &str) -> DbError {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn rows_go_to_a_file_and_come_back() {
    let (folder, _server, client) = server().await;
    let path = folder.path().join("rows.csv");
    let file = name(&path);
    client.batch_execute("create table t (a int primary key, b text)").await.expect("created");
    client
        .batch_execute("insert into t select n, 'row, ' || n from generate_series(1, 20000) n")
        .await
        .expect("inserted");
    assert_eq!(
        client.execute(&format!("copy t to '{file}' csv header"), &[]).await.ok(),
        Some(20_000)
    );
    let text = std::fs::read_to_string(&path).expect("it was written");
    assert_eq!(text.lines().count(), 20_001);
    // A table has no order.
    assert!(text.starts_with("a,b\n") && text.contains("\n1,\"row, 1\"\n"), "{}", &text[..40]);
    // The rows of a query replace what the file held.
    let query = format!("copy (select 1, null union all select 2, 'x' order by 1) to '{file}'");
    assert_eq!(client.execute(&query, &[]).await.ok(), Some(2));
    assert_eq!(std::fs::read_to_string(&path).expect("written"), "1\t\\N\n2\tx\n");
    client.batch_execute("create table u (a int primary key, b text)").await.expect("created");
    assert_eq!(client.execute(&format!("copy u from '{file}'"), &[]).await.ok(), Some(2));
    // In a block, the block decides.
    let block = format!("begin; truncate u; copy u from '{file}'; rollback");
    client.batch_execute(&block).await.expect("rolled back");
    let error = refused(&client, &format!("copy u from '{file}'")).await;
    assert_eq!(error.code().code(), "23505");
    let rows = client.query("select a, b from u order by a", &[]).await.expect("read");
    assert_eq!((rows.len(), rows[1].get(1)), (2, "x"));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let (folder, _server, client) = server().await;
    client.batch_execute("create table t (a int)").await.expect("created");
    client.batch_execute("insert into t select generate_series(1, 100000)").await.expect("in");
    let missing = folder.path().join("missing/rows");
    let missing = name(&missing);
    for (verb, purpose) in [("from", "reading"), ("to", "writing")] {
        let error = refused(&client, &format!("copy t {verb} '{missing}'")).await;
        assert_eq!(error.code().code(), "58P01", "{error:?}");
        let message =
            format!("could not open file \"{missing}\" for {purpose}: No such file or directory");
        assert_eq!(error.message(), message);
        assert!(error.hint().is_some_and(|hint| hint.contains("psql's \\copy")), "{error:?}");
        let directory = name(folder.path());
        let error = refused(&client, &format!("copy t {verb} '{directory}'")).await;
        assert_eq!(error.code().code(), "42809");
        assert_eq!(
            error.message(),
            match verb {
                "from" => format!("\"{directory}\" is a directory"),
                _ => format!("could not open file \"{directory}\" for writing: Is a directory"),
            }
        );
        let error = refused(&client, &format!("copy t {verb} 'rows'")).await;
        assert_eq!(error.code().code(), "42602");
    }
    let error = refused(&client, "copy t to '/dev/full'").await;
    assert_eq!(error.code().code(), "53100");
    assert_eq!(error.message(), "could not write to COPY file: No space left on device");
    assert_eq!(error.detail(), Some("The file is \"/dev/full\"."));
    let error = refused(&client, "copy t to program 'cat'").await;
    assert_eq!(error.code().code(), "0A000");
    let rows = client.query("select count(*) from t", &[]).await.expect("read");
    assert_eq!(rows[0].get::<_, i64>(0), 100_000);
}
