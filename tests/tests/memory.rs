//! No statement passes the memory limit: what does not fit is refused with 53200 (a value that is
//! too long with 54000), and the process stays within its bounds.

use std::time::{Duration, Instant};

use glaredb_tests::{
    client,
    server::{Options, Server},
};

/// The limit of the servers here, in MiB: three tenths are for queries.
const LIMIT_MIB: u64 = 512;
/// What the process may take beside it: code, stacks, what an allocator keeps, and what is made
/// before it is counted.
const BESIDE_MIB: u64 = 300;

fn server() -> Server {
    let arguments = vec!["--memory-limit".to_owned(), format!("{LIMIT_MIB}MiB")];
    Server::start_with(Options { arguments, ..Options::default() })
}

/// The most memory the process ever had, in MiB.
fn peak_mib(server: &Server) -> u64 {
    server.peak_resident_bytes() >> 20
}

/// Statements that want far more than there is, and how they may be answered.
const STATEMENTS: [(&str, &[&str]); 8] = [
    (
        "select length(string_agg(repeat('x', 1000000), '')) from generate_series(1, 1500)",
        &["53200"],
    ),
    (
        "select sum(length(repeat('x', 10000000 + (g % 2)::int))) from generate_series(1, 8000) g",
        &["53200"],
    ),
    ("select length(repeat('x', 2000000000))", &["54000"]),
    ("select length(repeat('x', 1000000000))", &["53200"]),
    ("select length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)))", &["54000"]),
    (
        "select length(regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000), 'g'))",
        &["53200", "54000"],
    ),
    (
        "select cardinality(array_agg(repeat('x', 100000 + g))) from generate_series(1, 100000) g",
        &["53200"],
    ),
    ("select count(*) from (select generate_series(1, 49000000)) g", &["53200"]),
];

#[tokio::test]
async fn results_of_functions_are_bounded() {
    let server = server();
    let client = server.connect().await;
    for (sql, answers) in STATEMENTS {
        let error = client.batch_execute(sql).await.expect_err(sql);
        let answer = client::sqlstate(&error);
        println!("{answer} peak {} MiB: {sql}", peak_mib(&server));
        assert!(answers.contains(&answer), "{sql}: {error:?}");
        assert!(peak_mib(&server) < LIMIT_MIB + BESIDE_MIB, "{sql}: {} MiB", peak_mib(&server));
    }
    // What was given up may still be on its way out.
    let begin = Instant::now();
    while server.metric("glaredb_query_memory_bytes") > 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "memory stays charged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Batches are cut where much is made of every row, so that this fits, though all of it does not.
    let joined = "select sum(length(a || a || a || a || a || a))
                  from (select repeat('x', 100000 + g) as a from generate_series(1, 1000) g) t";
    let joined = client.query_one(joined, &[]).await.expect("it fits");
    assert_eq!(joined.get::<_, i64>(0), 603_003_000);
    assert!(peak_mib(&server) < LIMIT_MIB + BESIDE_MIB, "{} MiB", peak_mib(&server));
    // What fits goes on working, and nothing stays charged.
    for _ in 0..20 {
        let rows = client.query_one("select length(repeat('x', 50000000))", &[]).await;
        assert_eq!(rows.expect("it fits").get::<_, i32>(0), 50_000_000);
    }
    let sum =
        "select sum(length(repeat('x', 1000 + (g % 2)::int))) from generate_series(1, 100000) g";
    let sum = client.query_one(sum, &[]).await.expect("it fits");
    assert_eq!(sum.get::<_, i64>(0), 100_050_000);
}

/// Every part has a limit of its own, and together they are what was asked for.
#[test]
fn the_parts_are_all_of_the_limit() {
    for (cache, limits) in [(&[][..], 4), (&["--cache-memory=32MiB", "--cache-disk=256MiB"], 5)] {
        let limit = format!("--memory-limit={LIMIT_MIB}MiB");
        let arguments = [&[limit.as_str()], cache].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let server = Server::start_with(Options { arguments, ..Options::default() });
        let mut parts = vec![
            server.metric("glaredb_delta_budget_bytes"),
            server.metric("glaredb_job_memory_limit_bytes"),
            server.metric("glaredb_query_memory_limit_bytes"),
            server.metric("glaredb_segment_memory_limit_bytes"),
        ];
        if limits == 5 {
            parts.push(server.metric("glaredb_cache_limit_bytes{place=\"memory\"}"));
            let disk = server.metric("glaredb_cache_limit_bytes{place=\"disk\"}");
            assert_eq!(disk, f64::from(256 << 20));
        }
        let sum: f64 = parts.iter().sum();
        assert_eq!(sum, (LIMIT_MIB << 20) as f64, "{parts:?}");
    }
}

#[tokio::test]
async fn long_messages_are_bounded() {
    let server = server();
    let client = server.connect().await;
    let literal = |bytes: usize| format!("select length('{}')", "x".repeat(bytes));
    client.batch_execute(&literal(15_000_000)).await.expect("it fits");
    println!("after a statement of 15 MB: peak {} MiB", peak_mib(&server));
    for bytes in [60_000_000, 200_000_000] {
        let error = client.batch_execute(&literal(bytes)).await.expect_err("too long");
        assert_eq!(client::sqlstate(&error), "53200");
        // The connection goes on.
        client.batch_execute("select 1").await.expect("an answer");
    }
    // Several at a time share what there is.
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.connect().await);
    }
    let sql = literal(15_000_000);
    let answers = clients.iter().map(|client| client.batch_execute(&sql));
    for answer in futures::future::join_all(answers).await {
        if let Err(error) = answer {
            assert_eq!(client::sqlstate(&error), "53200", "{error:?}");
        }
    }
    println!("after ten statements of 15 MB: peak {} MiB", peak_mib(&server));
    assert!(peak_mib(&server) < LIMIT_MIB + BESIDE_MIB, "{} MiB", peak_mib(&server));
    client.batch_execute(&literal(15_000_000)).await.expect("it fits again");
}
