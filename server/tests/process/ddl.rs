//! What DDL made is there after a kill.

use crate::Server;

/// Views, columns that came and went, comments and a materialized view, in the log alone and then in
/// a checkpoint.
#[tokio::test]
async fn views_and_altered_tables_survive_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    let (client, _connection) = server.connect().await;
    client
        .batch_execute(
            "create table t (k int primary key, gone text, kept text);
             insert into t select n, 'gone', 'kept ' || n from generate_series(1, 500) n;
             checkpoint;",
        )
        .await
        .expect("a table");
    client
        .batch_execute(
            "create view v as select k, kept from t;
             create materialized view m as select count(*) as n from v;
             alter table t drop column gone, add column later int default 5;
             alter table t rename column kept to label;
             alter table t rename to renamed;
             comment on column renamed.label is 'what it says';
             insert into renamed values (501, 'last', 6);",
        )
        .await
        .expect("DDL");
    // Neither committed nor rolled back when the process ends.
    client.batch_execute("begin; alter table renamed drop column later").await.expect("DDL");
    for round in 0..2 {
        server.kill();
        server = Server::start(folder.path(), &[]);
        let (client, _connection) = server.connect().await;
        let row = client
            .query_one(
                "select count(*), sum(later), (select count(*) from v), (select n from m),
                        (select kept from v where k = 7),
                        col_description('renamed'::regclass, 3)
                 from renamed",
                &[],
            )
            .await
            .expect("a row");
        assert_eq!(row.get::<_, i64>(0), 501, "round {round}");
        assert_eq!(row.get::<_, i64>(1), 500 * 5 + 6);
        assert_eq!((row.get::<_, i64>(2), row.get::<_, i64>(3)), (501, 500));
        assert_eq!(row.get::<_, &str>(4), "kept 7");
        assert_eq!(row.get::<_, &str>(5), "what it says");
        client.batch_execute("checkpoint").await.expect("a checkpoint");
    }
}
