//! What reads by key ask of the store of objects, when nothing is in memory.

use std::sync::Arc;

use glaredb_engine::{
    session::Engine,
    storage::{
        database::OpenOptions,
        objects::{CacheOptions, CacheSize, RequestKind},
    },
};
use glaredb_txn::env::Env;
use tempfile::TempDir;

use super::{
    harness::{Client, Server, open_engine},
    segments::{explain, figure, flush, large},
};

/// What a read by key may ask for.
const REQUESTS_MAX: u64 = 3;

/// Nothing that is read of objects stays in memory: every statement finds it as after a restart.
async fn forgetful() -> (Arc<Engine>, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = OpenOptions { resident_bytes: 0, ..OpenOptions::default() };
    (open_engine(options, Env::real(dir.path())).await, dir)
}

/// Parts of objects that were asked for since the start.
fn gets(engine: &Engine) -> u64 {
    let figures = engine.database().segments().objects.figures();
    let get = figures.requests.into_iter().find(|requests| requests.kind == RequestKind::Get);
    get.expect("requests are counted").count
}

/// What a statement answers, and how many requests that takes.
async fn counted(engine: &Engine, client: &mut Client, sql: &str) -> (Vec<String>, u64) {
    let before = gets(engine);
    let answer = client.ok(sql).await;
    (answer, gets(engine) - before)
}

/// Many columns in one segment of two row groups, as TPC-H's lineitem has them.
async fn wide(client: &mut Client) {
    client
        .ok("create table wide (a int, b int, c date, d numeric(15, 2), e numeric(15, 2), \
             f char(1), g text, h int, i char(25), j char(10), k text, primary key (a, b))")
        .await;
    client
        .ok("insert into wide select x / 4, x % 4, date '1992-01-01' + x % 2500, x % 50, \
             x * 7 % 100000, 'N', 'some comment ' || x * 7919 % 10007, x % 20000, \
             'DELIVER IN PERSON', 'TRUCK', 'and more of it ' || x % 31 \
             from generate_series(1, 150000) x")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_takes_at_most_three_requests() {
    let (engine, _dir) = forgetful().await;
    let mut client = Client::new(&engine);
    large(&mut client).await;
    wide(&mut client).await;
    flush(&engine, "big").await;
    flush(&engine, "wide").await;
    for (sql, expected) in [
        ("select e from big where a = 123456", "some text 456"),
        ("select * from big where a = 7", "7|0|c00000007|1.75|some text 7"),
        ("select a from big where a = 249999 and b > 0", "249999"),
        ("select g, k from wide where a = 30000 and b = 1", "some comment 3185|and more of it 0"),
        ("update big set b = b + 1 where a = 200000", "UPDATE 1"),
        ("delete from big where a = 100001", "DELETE 1"),
        ("update wide set d = 1, k = 'other' where a = 20000 and b = 3", "UPDATE 1"),
        ("delete from wide where a = 20001 and b = 3", "DELETE 1"),
        ("update big set b = 5 where a = 150000 returning c", "c00150000"),
    ] {
        let (answer, requests) = counted(&engine, &mut client, sql).await;
        assert_eq!(answer[0], expected, "{sql}");
        assert!((1..=REQUESTS_MAX).contains(&requests), "{sql}: {requests} requests");
    }
    // One that is not there costs no more.
    for sql in ["select * from big where a = 250007", "delete from big where a = -5"] {
        let (_, requests) = counted(&engine, &mut client, sql).await;
        assert_eq!(requests, 0, "{sql}: beyond the keys");
    }
    client.ok("create table sparse (a int primary key, b text)").await;
    client.ok("insert into sparse select x * 2, 'b' || x from generate_series(1, 9000) x").await;
    flush(&engine, "sparse").await;
    let (answer, requests) =
        counted(&engine, &mut client, "select * from sparse where a = 9001").await;
    assert_eq!(answer, ["SELECT 0"]);
    assert!(requests <= REQUESTS_MAX, "{requests}");
}

/// Where several segments may have a key, each is asked for its footer and its filter, and the one that
/// has it for the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_in_overlapping_segments() {
    let (engine, _dir) = forgetful().await;
    let mut client = Client::new(&engine);
    client.ok("create table t (a int primary key, b text, c int)").await;
    for n in 0..4 {
        let insert = format!(
            "insert into t select y, 'b' || y, y / 4 \
             from (select x * 4 + {n} as y from generate_series(1, 20000) x) z"
        );
        client.ok(&insert).await;
        flush(&engine, "t").await;
    }
    let (answer, requests) = counted(&engine, &mut client, "select * from t where a = 40002").await;
    assert_eq!(answer[0], "40002|b40002|10000");
    assert!(requests <= 4 * 2 + 1, "{requests}");
    // What lies elsewhere is left out by what is said of the keys.
    client.ok("insert into t select x, 'far', 0 from generate_series(1000000, 1020000) x").await;
    flush(&engine, "t").await;
    let (answer, requests) =
        counted(&engine, &mut client, "select b from t where a = 1010000").await;
    assert_eq!(answer[0], "far");
    assert!((1..=REQUESTS_MAX).contains(&requests), "{requests}");
    let plan = explain(&mut client, "select b from t where a = 1010000").await;
    assert_eq!((figure(&plan, "segments"), figure(&plan, "segments_pruned")), (5, 4), "{plan:?}");
}

/// Reads by key say what they read in the words of a scan.
#[tokio::test(flavor = "multi_thread")]
async fn reads_by_key_show_their_figures() {
    for sql in [
        "select e from big where a = 123456",
        "select e from big where a between 70000 and 70100",
        "select e from big where a in (5, 120000, 240000)",
        "select e from big where a > 5 order by a limit 10",
    ] {
        let server = Server::start().await;
        let mut client = server.connect();
        large(&mut client).await;
        flush(server.engine(), "big").await;
        let server = server.restart().await;
        let mut client = server.connect();
        let before = gets(server.engine());
        let cold = explain(&mut client, sql).await;
        let asked = (gets(server.engine()) - before) as usize;
        assert!(cold[0].contains(", by key"), "{cold:?}");
        assert_eq!(figure(&cold, "requests"), asked, "{cold:?}");
        assert!(asked > 0 && figure(&cold, "bytes_read") > 1_000, "{cold:?}");
        assert_eq!(figure(&cold, "segments"), 1, "{cold:?}");
        assert!(figure(&cold, "resident_misses") > 0, "{cold:?}");
        let rows = client.ok(sql).await.len() - 1;
        assert_eq!(figure(&cold, "output_rows"), rows, "{cold:?}");
        assert!(cold.contains(&format!("Rows: {rows}")), "{cold:?}");
        // Columns that are read again and again are in memory then.
        explain(&mut client, sql).await;
        let warm = explain(&mut client, sql).await;
        assert_eq!(figure(&warm, "requests"), 0, "{warm:?}");
        assert_eq!(figure(&warm, "resident_misses"), 0, "{warm:?}");
    }
}

/// What is planned reads nothing of objects before it runs.
#[tokio::test(flavor = "multi_thread")]
async fn planning_reads_no_objects() {
    let server = Server::start().await;
    let mut client = server.connect();
    large(&mut client).await;
    client.ok("create table few (k int, m int)").await;
    client.ok("insert into few values (1000, 1), (1007, 2)").await;
    flush(server.engine(), "big").await;
    let server = server.restart().await;
    let mut client = server.connect();
    let sql = "select e, m from big join few on k = a where a in (1000, 1007, 200000)";
    let (plan, requests) = counted(server.engine(), &mut client, &format!("explain {sql}")).await;
    assert_eq!(requests, 0, "{plan:?}");
    assert!(plan.iter().any(|line| line.contains("TableScanExec")), "{plan:?}");
    let plan = explain(&mut client, sql).await;
    let scans: Vec<String> = plan.iter().filter(|l| l.contains("requests=")).cloned().collect();
    assert!(figure(&scans, "requests") > 0, "{plan:?}");
    assert!(figure(&scans, "segment_rows") <= 8 * 1024, "{plan:?}");
    let mut rows = client.ok(sql).await;
    rows.sort();
    assert_eq!(rows, ["SELECT 2", "some text 0|1", "some text 7|2"]);
}

/// The first rows in the order of the key, either way, read no more than they need.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_by_key_are_a_few_requests() {
    const SEGMENTS: u64 = 3;
    let (engine, _dir) = forgetful().await;
    let mut client = Client::new(&engine);
    client.ok("create table t (a int primary key, b text, c int, d text)").await;
    for n in 0..SEGMENTS {
        let insert = format!(
            "insert into t select y, 'b' || y, y % 10, md5(y::text) \
             from (select x * {SEGMENTS} + {n} as y from generate_series(0, 39999) x) z"
        );
        client.ok(&insert).await;
        flush(&engine, "t").await;
    }
    let all =
        figure(&explain(&mut client, "select max(b), sum(c), max(d) from t").await, "bytes_read");
    for (sql, first) in [
        ("select a, b from t order by a limit 3", ["0|b0", "1|b1", "2|b2"]),
        (
            "select a, b from t order by a desc limit 3",
            ["119999|b119999", "119998|b119998", "119997|b119997"],
        ),
        (
            "select a, b from t where a >= 0 and c = 7 order by a limit 3",
            ["7|b7", "17|b17", "27|b27"],
        ),
        (
            "select a, b from t where a < 500000 and c = 7 order by a desc limit 3",
            ["119997|b119997", "119987|b119987", "119977|b119977"],
        ),
        (
            "select a, b from t where a > 60000 and c < 5 order by a limit 3",
            ["60001|b60001", "60002|b60002", "60003|b60003"],
        ),
        (
            "select a, b from t where a <= 60000 order by a desc limit 3",
            ["60000|b60000", "59999|b59999", "59998|b59998"],
        ),
    ] {
        let plan = explain(&mut client, sql).await;
        assert!(plan[0].starts_with("Key Range Scan"), "{plan:?}");
        // Of each: the footer, where the range begins, keys, and the other columns.
        assert!(figure(&plan, "requests") as u64 <= 4 * SEGMENTS, "{sql}: {plan:?}");
        assert!(figure(&plan, "bytes_read") < all / 4, "{sql}: {all} {plan:?}");
        let (answer, requests) = counted(&engine, &mut client, sql).await;
        assert_eq!(answer[..3], first, "{sql}");
        assert!(requests <= 4 * SEGMENTS, "{sql}: {requests}");
    }
}

/// Jobs read past the cache of blocks, which is the readers'.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_leave_the_cache_to_readers() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = CacheOptions {
        folder: dir.path().join("cache"),
        memory: CacheSize { bytes: 64 << 20, only_remote: false },
        disk: CacheSize { bytes: 0, only_remote: false },
    };
    let options = OpenOptions { cache: Some(cache), ..OpenOptions::default() };
    let engine = open_engine(options, Env::real(dir.path())).await;
    let mut client = Client::new(&engine);
    client.ok("create table t (a int primary key, b text)").await;
    for n in 0..2 {
        let insert = "insert into t select x * 2 + {}, 'b' || x from generate_series(1, 20000) x";
        client.ok(&insert.replace("{}", &n.to_string())).await;
        flush(&engine, "t").await;
    }
    let fetched = || {
        let cache = engine.database().segments().objects.figures().cache;
        cache.expect("a cache").fetched_bytes
    };
    let database = engine.database();
    let table = {
        let snapshot = database.snapshots().register();
        let catalog = database.catalog_at(&snapshot.snapshot());
        catalog.tables().find(|table| table.name == "t").expect("a table").storage
    };
    // What came second looked for its keys in the segment that came first.
    let before = fetched();
    let summary = database.compact_now(table).await.expect("it is compacted");
    assert_eq!((summary.inputs, fetched()), (2, before), "{summary:?}");
    assert_eq!(client.ok("select count(distinct b), sum(a) from t").await[0], "20000|800060000");
    assert!(fetched() > before);
}
