//! Columns of arrays, json and jsonb: through checkpoint, log and COPY, and as parameters.

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Server;

const TABLE: &str = "create table t (id int primary key, i int[], x text[], n numeric(8,2)[], j json, b jsonb, bs jsonb[])";

const ROWS: [&str; 4] = [
    r#"(1, '{1,NULL,-3}', '{a,"b ,c",NULL,""}', '{1.25,-3}', '{"k" : 1}', '{"z":[1.50,{}],"a":"\u00e9"}', '{1,NULL}')"#,
    "(2, '{}', '{}', NULL, 'null', 'null', '{}')",
    "(3, NULL, NULL, NULL, NULL, NULL, NULL)",
    r#"(4, '{7}', '{"x\\y\"z"}', '{NULL}', '[ ]', '[]', '{"{\"q\": [true]}"}')"#,
];

async fn rows(client: &Client, table: &str) -> Vec<Vec<Option<String>>> {
    let query = format!("select * from {table} order by id");
    let messages = client.simple_query(&query).await.expect("rows");
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

#[tokio::test]
async fn they_survive_checkpoint_and_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    let (client, connection) = server.connect().await;
    client.batch_execute(TABLE).await.expect("a table");
    let insert = |rows: &[&str]| format!("insert into t values {}", rows.join(", "));
    client.batch_execute(&insert(&ROWS[..2])).await.expect("rows");
    // A block of many rows, of which some are gone when it is written.
    let many = "insert into t (id, i, b) select g, array[g, g + 1], jsonb_build_object('g', g) from generate_series(100, 4100) g";
    client.batch_execute(many).await.expect("rows");
    client.batch_execute("delete from t where id > 101").await.expect("deleted");
    client.batch_execute("checkpoint").await.expect("a checkpoint");
    client.batch_execute(&insert(&ROWS[2..])).await.expect("rows");
    client.batch_execute("update t set i = i || 5 where id = 100").await.expect("an update");
    let before = rows(&client, "t").await;
    assert_eq!(before.len(), 6);
    assert_eq!(before[4][1].as_deref(), Some("{100,101,5}"));
    assert_eq!(before[5][5].as_deref(), Some("{\"g\": 101}"));
    drop((client, connection));
    server.kill();
    let server = Server::start(folder.path(), &[]);
    let (client, _connection) = server.connect().await;
    assert_eq!(rows(&client, "t").await, before);
}

#[tokio::test]
async fn what_copy_writes_copy_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (client, _connection) = server.connect().await;
    client.batch_execute(TABLE).await.expect("a table");
    client.batch_execute(&TABLE.replace("table t", "table u")).await.expect("a table");
    let insert = format!("insert into t values {}", ROWS.join(", "));
    client.batch_execute(&insert).await.expect("rows");
    for options in ["", "(format csv)"] {
        let out = client.copy_out(&format!("copy t to stdout {options}")).await.expect("COPY");
        let data: Vec<Bytes> = out.try_collect().await.expect("data");
        let sink = client.copy_in(&format!("copy u from stdin {options}")).await.expect("COPY");
        pin_mut!(sink);
        for part in data {
            sink.send(part).await.expect("sent");
        }
        assert_eq!(sink.finish().await.expect("copied"), 4);
        assert_eq!(rows(&client, "u").await, rows(&client, "t").await, "{options}");
        client.batch_execute("truncate u").await.expect("emptied");
    }
}

#[tokio::test]
async fn arrays_are_parameters_and_results_in_binary() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (client, _connection) = server.connect().await;
    client.batch_execute(TABLE).await.expect("a table");
    let (i, x) = (vec![Some(1), None, Some(3)], vec!["a".to_owned(), String::new()]);
    let inserted = client.execute("insert into t (id, i, x) values (1, $1, $2)", &[&i, &x]).await;
    assert_eq!(inserted.expect("a row"), 1);
    let row = client.query_one("select i, x from t", &[]).await.expect("a row");
    assert_eq!(row.get::<_, Vec<Option<i32>>>(0), i);
    assert_eq!(row.get::<_, Vec<String>>(1), x);
    let found = client.query("select id from t where id = any ($1)", &[&vec![7, 1]]).await;
    assert_eq!(found.expect("rows").len(), 1);
    let found = client.query("select id from t where i @> $1", &[&vec![3]]).await;
    assert_eq!(found.expect("rows").len(), 1);
    let found = client.query("select id from t where $1 = any (x)", &[&"a"]).await;
    assert_eq!(found.expect("rows").len(), 1);
}
