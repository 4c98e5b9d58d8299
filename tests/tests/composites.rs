//! Columns of composite types: through kills, checkpoints and the binary format, and types that go while
//! somebody makes columns of them.

use futures::{SinkExt, TryStreamExt, pin_mut};
use glaredb_tests::{client, peer::Postgres, server::Server};
use tokio_postgres::Client;

const SETUP: &str = "
    create type pair as (x int, y text);
    create type nested as (p pair, ns numeric[], at timestamp);
    create table t (id int primary key, p pair, ps pair[], n nested);";

const ROWS: &str = r#"
    insert into t values (1, '(1,one)', '{"(2,two)",NULL}', row(row(3,'three'), '{1.50,NULL}', '2020-01-02'));
    insert into t values (2, null, '{}', '(,,)'), (3, '(,)', null, null);"#;

async fn rows(client: &Client) -> Vec<String> {
    let rows = client.query("select t::text from t order by id", &[]).await.expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn composite_columns_survive_kills_and_checkpoints() {
    let server = Server::start();
    let client = client::connect(server.port).await;
    client.batch_execute(SETUP).await.expect("the tables");
    client.batch_execute(ROWS).await.expect("rows");
    let before = rows(&client).await;
    assert_eq!(before.len(), 3);
    assert_eq!(before[1], r#"(2,,{},"(,,)")"#);

    // From the log alone.
    let server = server.kill_and_restart();
    let client = client::connect(server.port).await;
    assert_eq!(rows(&client).await, before);

    // From a checkpoint, and columns that are gone together with their types.
    let more = "insert into t select id + 10, p, ps, n from t;
                alter table t add column later pair default '(7,later)';
                alter table t drop column n;
                drop type nested;
                checkpoint;
                insert into t select id + 20, p, ps from t where id < 10;";
    for statement in more.split(';') {
        client.batch_execute(statement).await.expect(statement);
    }
    let before = rows(&client).await;
    assert_eq!(before.len(), 9);
    assert_eq!(before[0], r#"(1,"(1,one)","{""(2,two)"",NULL}","(7,later)")"#);
    let server = server.kill_and_restart();
    let client = client::connect(server.port).await;
    assert_eq!(rows(&client).await, before);
    let updated = "update t set p.y = 'new' where (p).x = 1 returning (p).y, (later).x";
    let updated = client.query(updated, &[]).await.expect("an update");
    assert_eq!(updated.len(), 3);
    assert_eq!((updated[0].get(0), updated[0].get(1)), (Some("new"), Some(7)));
}

async fn copied_out(client: &Client) -> Vec<u8> {
    let stream = client.copy_out("copy t to stdout (format binary)").await.expect("a copy");
    let parts: Vec<bytes::Bytes> = stream.try_collect().await.expect("all of it");
    parts.concat()
}

#[tokio::test]
async fn composite_values_have_postgresqls_binary_format() {
    let (server, peer) = (Server::start(), Postgres::start(&["fsync = off"]));
    let (ours, theirs) = (client::connect(server.port).await, client::connect(peer.port).await);
    for client in [&ours, &theirs] {
        // Fields of built-in types only: the OIDs of others are each server's own.
        let setup = "create type pair as (x int, y text);
                     create table t (id int, p pair, at timestamp);";
        client.batch_execute(setup).await.expect("the tables");
        let insert = "insert into t values (1, '(1,a)', '2020-01-02 03:04:05'), (2, null, null),
                      (3, '(,\"\")', null)";
        client.batch_execute(insert).await.expect("rows");
    }
    let (found, expected) = (copied_out(&ours).await, copied_out(&theirs).await);
    assert_eq!(found, expected);
    let before = rows(&ours).await;
    ours.batch_execute("truncate t").await.expect("nothing left");
    let sink = ours.copy_in("copy t from stdin (format binary)").await.expect("a copy");
    pin_mut!(sink);
    sink.send(bytes::Bytes::from(expected)).await.expect("PostgreSQL's bytes");
    assert_eq!(sink.finish().await.expect("all rows"), 3);
    assert_eq!(rows(&ours).await, before);
}

#[tokio::test]
async fn a_type_does_not_go_while_a_column_of_it_comes() {
    let server = Server::start();
    let (one, two) = (client::connect(server.port).await, client::connect(server.port).await);
    one.batch_execute("create type pair as (x int)").await.expect("the type");
    one.batch_execute("begin; create table t (p pair)").await.expect("a table");
    two.batch_execute("drop type pair").await.expect("nobody has it yet");
    let error = one.batch_execute("commit").await.expect_err("the type is gone");
    assert_eq!(client::sqlstate(&error), "40001", "{error:?}");

    one.batch_execute("create type pair as (x int); create table t (p pair)").await.expect("both");
    let error = two.batch_execute("drop type pair").await.expect_err("a column has it");
    assert_eq!(client::sqlstate(&error), "2BP01", "{error:?}");
}
