//! The memory budget of changes: filled until commits are refused, within a bound on the memory of the
//! whole process; emptied by what is still admitted; opened again full.

use std::time::{Duration, Instant};

use glaredb_tests::{
    client,
    server::{Options, Server},
};

/// `--memory-limit`: a third of it is for changes.
const LIMIT_BYTES: u64 = 192 << 20;
/// What the process may have resident, as README.md says: twice its limit, because a checkpoint keeps
/// what was dropped since it began; and its program, the keys that commits are checked against (64 MiB),
/// buffers, what the allocator holds.
const RESIDENT_BYTES_MAX: u64 = 2 * LIMIT_BYTES + (192 << 20);

/// Rows per commit, each of about 1 kB.
const ROWS: i64 = 1_000;

/// With nothing but memory to go to.
fn options() -> Options {
    let mut options = with_flush();
    options.arguments.push("--no-automatic-flush".to_owned());
    options
}

fn with_flush() -> Options {
    let limit = format!("{}MiB", LIMIT_BYTES >> 20);
    Options {
        arguments: ["--memory-limit", &limit, "--checkpoint-log-size", "64MiB"]
            .map(str::to_owned)
            .into(),
        ..Options::default()
    }
}

fn delta_share(server: &Server) -> f64 {
    server.metric("glaredb_delta_bytes") / server.metric("glaredb_delta_budget_bytes")
}

fn check_resident(server: &Server, when: &str) {
    let resident = server.resident_bytes();
    println!("{when}: {} MiB resident", resident >> 20);
    assert!(
        resident < RESIDENT_BYTES_MAX,
        "{when}: {} MiB resident with a limit of {} MiB",
        resident >> 20,
        LIMIT_BYTES >> 20
    );
}

/// Commits batches until one is refused; how many rows went in, and how long each commit took.
async fn fill(server: &Server, client: &tokio_postgres::Client, from: i64) -> (i64, Vec<Duration>) {
    let mut times = Vec::new();
    let mut next = from;
    for _ in 0..1_000 {
        let end = next + ROWS - 1;
        let insert = format!(
            "insert into t select k, repeat(chr((97 + k % 26)::int), 1000) \
             from generate_series({next}, {end}) as s(k)"
        );
        let begun = Instant::now();
        match client.batch_execute(&insert).await {
            Ok(()) => next += ROWS,
            Err(error) => {
                assert_eq!(client::sqlstate(&error), "53200", "{error:?}");
                let error = error.as_db_error().expect("the server's");
                let text = format!("{} {}", error.message(), error.detail().unwrap_or_default());
                for part in ["memory for changes", "MiB are in use", "DELETE, TRUNCATE and DROP"] {
                    assert!(text.contains(part), "{part:?} in {text}");
                }
                return (next - from, times);
            }
        }
        times.push(begun.elapsed());
        check_resident(server, "while it fills");
    }
    panic!("the memory for changes never filled")
}

/// Waits until memory is given back: rows that no snapshot sees are dropped every second.
fn wait_below(server: &Server, share: f64) {
    let begun = Instant::now();
    while delta_share(server) > share {
        let now = delta_share(server);
        assert!(begun.elapsed() < Duration::from_secs(60), "{now} of the budget is still in use");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_delta_slows_then_refuses_and_comes_back() {
    let server = Server::start_with(options());
    let client = server.connect().await;
    client.batch_execute("create table t (k bigint primary key, filler text)").await.expect("t");
    client.batch_execute("create table other (k int)").await.expect("another table");
    client.batch_execute("insert into other values (1)").await.expect("a row");

    let (rows, times) = fill(&server, &client, 0).await;
    let share = delta_share(&server);
    assert!((0.85..1.0).contains(&share), "refused at {share} of the budget");
    // The wait grows to 200 ms: the last commits took at least half of that, the first ones did not
    // wait.
    let fastest = times.iter().min().expect("several commits");
    let last = times.last().expect("several commits");
    assert!(*last >= *fastest + Duration::from_millis(80), "{fastest:?}, in the end {last:?}");
    let waits = times.iter().filter(|time| **time >= *fastest + Duration::from_millis(20)).count();
    assert!(waits < times.len(), "all commits waited");

    // What frees memory is admitted, and reads go on.
    let deleted = client.execute("delete from t where k < $1", &[&(rows / 2)]).await;
    assert_eq!(deleted.expect("DELETE is admitted"), rows as u64 / 2);
    client.batch_execute("drop table other").await.expect("DROP is admitted");
    check_resident(&server, "after DELETE");
    wait_below(&server, 0.75);
    let (more, _) = fill(&server, &client, rows).await;
    assert!(more >= rows / 4, "{more} of {rows} rows fit again");
    let sum =
        "select count(*)::text || ' ' || sum(k)::text || ' ' || sum(length(filler))::text from t";
    let before = server.psql(sum).expect("reads go on");

    // Full as it is, it starts again, by replay and from a checkpoint, within the same bound.
    let mut server = server;
    server.kill();
    let mut server = server.start_again(options());
    check_resident(&server, "after recovery from the log");
    assert_eq!(server.psql(sum).as_deref(), Ok(before.as_str()));
    assert!(server.terminate(Duration::from_secs(60)).success());
    let server = server.start_again(options());
    check_resident(&server, "after recovery from a checkpoint");
    assert_eq!(server.psql(sum).as_deref(), Ok(before.as_str()));

    let client = server.connect().await;
    client.batch_execute("truncate t").await.expect("TRUNCATE is admitted");
    wait_below(&server, 0.1);
    client.batch_execute("insert into t values (1, 'one')").await.expect("there is room");
    check_resident(&server, "after TRUNCATE");
    let server = server.kill_and_restart();
    assert_eq!(server.psql("select * from t").as_deref(), Ok("1|one\n"));
}

/// The same where rows go to segments: jobs have a part of the limit, and nothing of what was dropped stays.
const FLUSHED_BYTES_MAX: u64 = LIMIT_BYTES + (192 << 20);

/// Six times the memory for changes, which without flush is full after a sixth of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_fits_goes_to_segments() {
    const BATCHES: i64 = 450;
    let server = Server::start_with(with_flush());
    let client = server.connect().await;
    client.batch_execute("create table t (k bigint primary key, filler text)").await.expect("t");
    let mut most = 0;
    for batch in 0..BATCHES {
        let (first, last) = (batch * ROWS, (batch + 1) * ROWS - 1);
        let insert = format!(
            "insert into t select k, repeat(chr((97 + k % 26)::int), 1000) \
             from generate_series({first}, {last}) as s(k)"
        );
        client.batch_execute(&insert).await.unwrap_or_else(|e| panic!("batch {batch}: {e:?}"));
        let resident = server.resident_bytes();
        most = most.max(resident);
        assert!(resident < FLUSHED_BYTES_MAX, "batch {batch}: {} MiB resident", resident >> 20);
    }
    println!("at most {} MiB resident", most >> 20);
    assert!(server.metric("glaredb_segments") > 0.0);
    let sum =
        "select count(*)::text || ' ' || sum(k)::text || ' ' || sum(length(filler))::text from t";
    let rows = BATCHES * ROWS;
    let expected = format!("{rows} {} {}", rows * (rows - 1) / 2, rows * 1000);
    assert_eq!(server.psql(sum).expect("a query").trim(), expected);
    let mut server = server;
    server.kill();
    let server = server.start_again(with_flush());
    assert_eq!(server.psql(sum).expect("a query").trim(), expected);
}
