//! The store of objects is away for a while: what is in memory is read, commits go on until the memory
//! for changes is used up, errors say which store, and all recovers when it is back.

use std::time::{Duration, Instant};

use glaredb_tests::{
    s3::{
        self, BUCKET, S3Kind, S3Server,
        proxy::{Behaviour, Proxy},
    },
    server::{Options, Server},
};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(180);

/// Rows per commit, each of about 1 kB.
const ROWS: i64 = 1_000;

/// Little memory, so that it is used up soon, and no longer than this until a request is given up.
fn options(endpoint: &str, storage: Option<&str>) -> Options {
    let mut options = s3::options(endpoint, storage);
    options.arguments.retain(|argument| !argument.starts_with("--storage-timeout"));
    options.arguments.push("--storage-timeout=10".to_owned());
    options.arguments.push("--memory-limit=128MiB".to_owned());
    options
}

/// Commits some rows behind the first `rows`.
async fn insert(
    client: &tokio_postgres::Client,
    rows: i64,
) -> Result<Duration, tokio_postgres::Error> {
    let begin = Instant::now();
    let last = rows + ROWS - 1;
    let sql = format!(
        "insert into t select k, repeat(chr((97 + k % 26)::int), 1000) \
         from generate_series({rows}, {last}) as s(k)"
    );
    client.batch_execute(&sql).await.map(|()| begin.elapsed())
}

/// SQLSTATE, and all that the error says.
fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("not of the server: {error:?}"));
    let text = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    (error.code().code().to_owned(), text)
}

fn sum(server: &Server, table: &str, column: &str) -> String {
    let sql = format!("select count(*), sum({column}) from {table}");
    server.psql(&sql).unwrap_or_else(|e| panic!("{sql}: {e}")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_no_store_goes_on_while_it_is_away() {
    let store = S3Server::start(S3Kind::Weed);
    let proxy = Proxy::start(store.port);
    let storage = format!("s3://{BUCKET}/away");
    let server = Server::start_with(options(&proxy.endpoint(), Some(&storage)));
    let client = server.connect().await;
    for table in ["warm", "cold"] {
        for sql in [
            format!("create table {table} (k int primary key, v int)"),
            format!("insert into {table} select k, k from generate_series(1, 10000) s(k)"),
            format!("vacuum {table}"),
        ] {
            client.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
    client.batch_execute("create table t (k bigint primary key, filler text)").await.expect("t");
    let in_segments = "select sum(rows) from glare_catalog.segments";
    assert_eq!(server.psql(in_segments).expect("a query").trim(), "20000");
    let by_key = "select v from warm where k = 77";
    let expected = "10000|50005000";
    assert_eq!(sum(&server, "warm", "v"), expected);
    assert_eq!(server.psql(by_key).expect("by key"), "77\n");

    proxy.behave(Behaviour::Refuse);
    assert_eq!(sum(&server, "warm", "v"), expected, "what was read is in memory");
    assert_eq!(server.psql(by_key).expect("by key"), "77\n");
    let error = client.query("select sum(v) from cold", &[]).await.expect_err("nobody read it");
    let (state, text) = told(&error);
    assert_eq!(state, "58030", "{text}");
    for part in ["object data/", storage.as_str(), &proxy.endpoint()] {
        assert!(text.contains(part), "{part} in {text}");
    }

    // Until the memory is used up, and it is known that this is why nothing leaves it.
    let (begun, mut rows, mut times) = (Instant::now(), 0, Vec::new());
    let refusal = loop {
        assert!(begun.elapsed() < PATIENCE, "{rows} rows, and no refusal that names the store");
        match insert(&client, rows).await {
            Ok(taken) => {
                rows += ROWS;
                times.push(taken);
            }
            Err(error) => {
                let (state, text) = told(&error);
                assert_eq!(state, "53200", "{text}");
                if text.contains(&storage) {
                    break text;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    for part in ["memory for changes", "could not be moved out of it", &proxy.endpoint()] {
        assert!(refusal.contains(part), "{part} in {refusal}");
    }
    // The wait of a commit grows to 200 ms.
    let fastest = times.iter().min().expect("several commits");
    let slowest = times.iter().max().expect("several commits");
    assert!(*slowest >= *fastest + Duration::from_millis(80), "{fastest:?} to {slowest:?}");
    assert_eq!(sum(&server, "warm", "v"), expected, "reads go on");
    let committed = format!("{rows}|{}", rows * (rows - 1) / 2);
    assert_eq!(sum(&server, "t", "k"), committed);

    proxy.behave(Behaviour::Pass);
    let begun = Instant::now();
    while let Err(error) = insert(&client, rows).await {
        let (state, text) = told(&error);
        assert_eq!(state, "53200", "{text}");
        assert!(begun.elapsed() < PATIENCE, "the store is back: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rows += ROWS;
    let committed = format!("{rows}|{}", rows * (rows - 1) / 2);
    let check = |server: &Server, when: &str| {
        assert_eq!(sum(server, "cold", "v"), expected, "{when}");
        assert_eq!(sum(server, "warm", "v"), expected, "{when}");
        assert_eq!(sum(server, "t", "k"), committed, "{when}");
    };
    check(&server, "the store is back");
    client.batch_execute("vacuum full").await.expect("jobs run");
    check(&server, "after a compaction");
    let mut server = server;
    server.kill();
    let server = server.start_again(options(&proxy.endpoint(), None));
    check(&server, "after kill -9 and restart");
}
