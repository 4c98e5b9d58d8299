//! TPC-H through COPY: the 22 answers equal DuckDB's on the same files, in whatever form the rows are
//! kept, after changes, and after a kill and a restart.
//!
//! `GLAREDB_TPCH_SCALE=1` (what `make tpch-sf1` says) in place of the scales that are enough for every
//! change.

use glaredb_tests::{
    duck,
    s3::{BUCKET, S3Kind, S3Server, options},
    server::Server,
    tpch,
};

async fn compare(
    server: &Server,
    expected: &std::collections::BTreeMap<u32, tpch::Rows>,
    when: &str,
) {
    let client = server.connect().await;
    let mut wrong = Vec::new();
    for (number, query) in tpch::queries() {
        match tpch::ask(&client, &query).await {
            Ok(rows) => {
                if let Some(text) = tpch::difference(&rows, &expected[&number]) {
                    wrong.push(format!("Q{number}: {text}"));
                }
            }
            Err(error) => wrong.push(format!(
                "Q{number}: {}",
                error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
            )),
        }
    }
    assert!(wrong.is_empty(), "{when}, {} of 22 differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn scale_or(enough: &str) -> String {
    std::env::var("GLAREDB_TPCH_SCALE").unwrap_or_else(|_| enough.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_equal_duckdb() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    duck::tpch_files(folder.path(), &scale_or("0.1"), "csv");
    let expected = tpch::duckdb_answers(folder.path(), &[]);
    assert_eq!(expected.len(), 22);
    let changed = tpch::duckdb_answers(folder.path(), &tpch::REFRESH);

    let server = Server::start();
    tpch::load(&server.connect().await, folder.path()).await;
    compare(&server, &expected, "after loading").await;
    server.psql("vacuum").expect("a flush");
    compare(&server, &expected, "after a flush").await;
    server.psql("vacuum full").expect("a compaction");
    compare(&server, &expected, "after a compaction").await;
    let server = server.kill_and_restart();
    compare(&server, &expected, "after kill -9 and restart").await;

    for statement in tpch::REFRESH {
        server.psql(statement).expect(statement);
    }
    compare(&server, &changed, "after changes").await;
    server.psql("vacuum").expect("a flush");
    compare(&server, &changed, "after changes and a flush").await;
    server.psql("vacuum full").expect("a compaction");
    compare(&server, &changed, "after changes and a compaction").await;
    let server = server.kill_and_restart();
    compare(&server, &changed, "after changes, kill -9 and restart").await;
}

/// With its tables in a bucket, warm, and cold after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_equal_duckdb_from_s3() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    duck::tpch_files(folder.path(), &scale_or("0.05"), "csv");
    let changed = tpch::duckdb_answers(folder.path(), &tpch::REFRESH);
    let s3 = S3Server::start(S3Kind::Weed);
    let storage = format!("s3://{BUCKET}/tpch");
    let mut server = Server::start_with(options(&s3.endpoint(), Some(&storage)));
    tpch::load(&server.connect().await, folder.path()).await;
    server.psql("vacuum").expect("a flush");
    for statement in tpch::REFRESH {
        server.psql(statement).expect(statement);
    }
    server.psql("vacuum").expect("a flush");
    compare(&server, &changed, "after changes and a flush").await;
    server.kill();
    let mut server = server.start_again(options(&s3.endpoint(), None));
    compare(&server, &changed, "after kill -9 and restart").await;
    server.psql("vacuum full").expect("a compaction");
    compare(&server, &changed, "after a compaction").await;
    let segments = "select count(*) from glare_catalog.segments where deleted_rows = 0";
    assert_eq!(server.psql(segments).expect("a query").trim(), "8");
    server.kill();
    let server = server.start_again(options(&s3.endpoint(), None));
    compare(&server, &changed, "after a compaction, kill -9 and restart").await;
}
