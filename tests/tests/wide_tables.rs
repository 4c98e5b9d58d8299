//! Tables with as many columns as there may be.

use glaredb_tests::server::Server;

const COLUMNS: usize = 1_600;

/// Every column has more different values than are counted one by one, so that all that is known of a
/// segment would not fit one record of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_1600_columns_are_flushed_and_compacted() {
    let server = Server::start();
    let client = server.connect().await;
    let columns: Vec<String> = (0..COLUMNS).map(|n| format!("c{n} int")).collect();
    let create = format!("create table wide ({})", columns.join(", "));
    client.batch_execute(&create).await.expect("a table");
    for round in 0..3 {
        let values: Vec<String> =
            (0..COLUMNS).map(|n| format!("s * {} + {round}", n + 1)).collect();
        let insert = format!(
            "insert into wide select {} from generate_series(1, 100) as g(s)",
            values.join(", ")
        );
        client.batch_execute(&insert).await.expect("rows");
        client.batch_execute("vacuum wide").await.expect("they are flushed");
    }
    client.batch_execute("vacuum full wide").await.expect("they are compacted");
    let segments =
        "select count(*), sum(rows)::bigint from glare_catalog.segments where table_name = 'wide'";
    let row = client.query_one(segments, &[]).await.expect("segments");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 300));
    let sums = "select sum(c0), sum(c1599), count(distinct c800) from wide";
    let row = client.query_one(sums, &[]).await.expect("sums");
    let found: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(found, [3 * 5_050 + 300, 1_600 * 3 * 5_050 + 300, 300]);
}
