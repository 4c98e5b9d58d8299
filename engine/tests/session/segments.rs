//! Scans of rows in segments answer as those of rows in memory do.

use glaredb_engine::{session::Engine, storage::database::OpenOptions};
use glaredb_txn::env::Env;

use super::harness::{Client, Server, open_engine, open_engine_within};

/// Rows of `table` go into segments.
pub(crate) async fn flush(engine: &Engine, table: &str) {
    let database = engine.database();
    let storage = {
        let snapshot = database.snapshots().register();
        let catalog = database.catalog_at(&snapshot.snapshot());
        catalog.tables().find(|t| t.name == table).expect("a table").storage
    };
    let summary = database.flush_now(storage).await.expect("it is flushed");
    assert!(summary.outputs > 0, "{summary:?}");
}

/// What `sql` answers, rows in an order of their own.
async fn sorted(client: &mut Client, sql: &str) -> Vec<String> {
    let mut rows = client.ok(sql).await;
    rows.sort();
    rows
}

const TYPES: &str = "create table t (
    id int8 primary key, b bool, i2 int2, i4 int4, f4 float4, f8 float8,
    n9 numeric(9,2), n18 numeric(18,4), n30 numeric(30,5), n60 numeric(60,10), n numeric,
    tx text, vc varchar(20), ch char(6), nm name, by bytea,
    d date, tm time, tz timetz, ts timestamp, tstz timestamptz, iv interval,
    u uuid, js json, jb jsonb, o oid, ia int[], ta text[])";

/// A twelfth of the values is NULL; some are those that compare otherwise than their bytes do.
const VALUES: &str = "insert into t select x * 2,
    case when x % 12 = 0 then null else x % 3 = 0 end,
    case when x % 12 = 1 then null else (x % 60000 - 30000)::int2 end,
    case when x % 12 = 2 then null else x * 7 - 40000 end,
    case when x % 12 = 3 then null when x % 50 = 0 then 'NaN' when x % 50 = 1 then '-0'
         else x / 8.0 end,
    case when x % 12 = 4 then null when x % 50 = 0 then 'NaN' when x % 50 = 1 then '-Infinity'
         else x * 1.5 - 9000 end,
    case when x % 12 = 5 then null else (x - 6000) * 1.25 end,
    case when x % 12 = 6 then null else 90000000000000 + x * 1.0001 end,
    case when x % 12 = 7 then null else (x - 6000) * 12345678901234567.12345 end,
    case when x % 12 = 8 then null else ((x - 6000) || '123456789012345678901234567890123.5')::numeric end,
    case when x % 12 = 9 then null when x % 50 = 0 then 'NaN'
         else (x - 6000) * 1.50 end,
    case when x % 12 = 10 then null else 'text ' || x || repeat('x', x % 100) end,
    case when x % 12 = 11 then null else 'v' || x end,
    case when x % 12 = 0 then null else 'c' || x % 99 || ' ' end,
    case when x % 12 = 1 then null else ('name' || x)::name end,
    case when x % 12 = 2 then null else decode(lpad(to_hex(x), 8, '0'), 'hex') end,
    case when x % 12 = 3 then null when x % 50 = 0 then 'infinity'
         else date '2000-01-01' + x end,
    case when x % 12 = 4 then null else time '00:00:00' + x * interval '7 seconds' end,
    case when x % 12 = 5 then null
         else ('12:00:00+0' || x % 10)::timetz end,
    case when x % 12 = 6 then null when x % 50 = 0 then '-infinity'
         else timestamp '2020-01-01' + x * interval '1 hour' end,
    case when x % 12 = 7 then null else timestamptz '2020-01-01 00:00:00+00' + x * interval '1 minute' end,
    case when x % 12 = 8 then null else x * interval '1 day 1 hour' end,
    case when x % 12 = 9 then null else ('00000000-0000-0000-0000-' || lpad(x::text, 12, '0'))::uuid end,
    case when x % 12 = 10 then null else ('{\"a\": ' || x || '}')::json end,
    case when x % 12 = 11 then null else ('{\"b\": [' || x || ', null]}')::jsonb end,
    case when x % 12 = 0 then null else (x + 3000000000)::oid end,
    case when x % 12 = 1 then null else array[x, null, x + 1] end,
    case when x % 12 = 2 then null else array['a' || x, 'b'] end
    from generate_series(1, 12000) x";

const QUERIES: &[&str] = &[
    "select * from t",
    "select count(*) from t",
    "select id, n60 from t where id < 10 or id > 23990",
    "select count(*), count(b), count(n18), count(jb), count(ia), count(iv) from t",
    "select sum(i2), sum(i4), sum(f8), sum(n9), sum(n18), sum(n30), avg(n18) from t \
     where f8 < 'NaN' and f8 > '-Infinity'",
    "select min(i4), max(i4), min(f4), max(f4), min(n), max(n), min(tx), max(ch), min(d), max(ts) \
     from t",
    "select id, b from t where b",
    "select id from t where not b",
    "select id from t where b is null",
    "select id, i2 from t where i2 between 100 and 200",
    "select id, i4 from t where i4 = 43999 or i4 > 43980",
    "select id, f4 from t where f4 = 0",
    "select id, f4 from t where f4 > 1499",
    "select id, f8 from t where f8 = 'NaN' or f8 < -8990",
    "select id, n9 from t where n9 = -7498.75 or n9 >= 7490",
    "select id, n18 from t where n18 > 90000000011998",
    "select id, n30 from t where n30 < -74000000000000000000",
    "select id, n60 from t where n60 > 5990000000000000000000000000000000000",
    "select id, n from t where n = 4.5",
    "select id, n from t where n > 8990",
    "select id, tx from t where tx = 'text 77' || repeat('x', 77)",
    "select id, tx from t where tx like 'text 99%' and tx > 'text 999'",
    "select id, vc from t where vc in ('v1', 'v12', 'v7', 'nothing')",
    "select id, vc from t where vc = any (array['v13', 'v14', null])",
    "select id, ch from t where ch = 'c7'",
    "select id, ch from t where ch = 'c7    '",
    "select id, ch from t where ch > 'c98'",
    "select id, nm from t where nm = 'name77'",
    "select id, by from t where by > '\\x00002edf'",
    "select id, d from t where d = date '2001-01-01' or d = 'infinity'",
    "select id, tm from t where tm < time '00:00:30'",
    "select id, tz from t where tz = '12:00:00+05' and id < 200",
    "select id, ts from t where ts < timestamp '2020-01-01 05:00'",
    "select id, tstz from t where tstz between timestamptz '2020-01-01 01:00+00' \
     and timestamptz '2020-01-01 02:00+00'",
    "select id, iv from t where iv = interval '25 hours' or iv > interval '12400 days'",
    "select id, u from t where u = '00000000-0000-0000-0000-000000000100'",
    "select id, js->>'a' from t where js->>'a' = '100'",
    "select id, jb from t where jb @> '{\"b\": [100]}'",
    "select id, o from t where o > 3000011990::oid",
    "select id, ia from t where ia = array[5, null, 6]",
    "select id, ta from t where 'a100' = any (ta)",
    "select * from t where id = 300",
    "select * from t where id in (2, 4, 5, 20000, 30000)",
    "select id, tx from t where id between 100 and 120 and tx is not null",
    "select id from t where id > 23990 order by id desc",
    "select id, tx from t order by id limit 5",
    "select id, n18 from t order by n18 desc nulls last limit 3",
    "select id from t where 1000 / (i4 - 43999) > 0 and i4 <> 43999 order by id limit 10",
    "select x.id, y.i4 from t x join t y on x.id = y.id * 2 where y.i4 < -39900",
    "select b, i2 % 10, count(*), sum(n9) from t group by 1, 2",
    "select count(*) from t where f8 <> 5 and d is not null",
    "select distinct ch from t where ch < 'c2'",
    "select id from t where d is null and id < 300",
    "select id from t where (i4 > 43990 or tx = 'text 1x') and id > 10",
    "select id from t where exists (select 1 from t y where y.id = t.i4)",
];

async fn answers(client: &mut Client) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for sql in QUERIES {
        answers.push(sorted(client, sql).await);
    }
    answers
}

fn compare(before: &[Vec<String>], after: &[Vec<String>], when: &str) {
    for ((sql, before), after) in QUERIES.iter().zip(before).zip(after) {
        assert!(!before.is_empty());
        let missing: Vec<_> = before.iter().filter(|row| !after.contains(row)).take(3).collect();
        let wrong: Vec<_> = after.iter().filter(|row| !before.contains(row)).take(3).collect();
        assert!(before == after, "{when}: {sql}\nmissing {missing:#?}\nwrong {wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_reads_alike_from_a_segment() {
    let server = Server::start().await;
    let mut client = server.connect();
    // By columns, not by key.
    client.ok("set enable_indexscan = off").await;
    client.ok(TYPES).await;
    assert_eq!(client.ok(VALUES).await, ["INSERT 0 12000"]);
    client.ok("delete from t where id % 70 = 0").await;
    let before = answers(&mut client).await;
    flush(server.engine(), "t").await;
    compare(&before, &answers(&mut client).await, "cold");
    compare(&before, &answers(&mut client).await, "again");
    client.ok("set enable_indexscan = on").await;
    compare(&before, &answers(&mut client).await, "by key");
    client.ok("set enable_indexscan = off").await;
    // Own rows, and rows in memory beside the segment.
    client.ok("begin; insert into t (id, i4, n18, tx) values (1, 43999, 5, 'own')").await;
    let own = client.ok("select count(*), sum(n18) from t where i4 = 43999 or id = 2").await;
    assert_eq!(own, ["2|90000000000006.0001", "SELECT 1"]);
    client.ok("rollback").await;
    compare(&before, &answers(&mut client).await, "after a rollback");
    let server = server.restart().await;
    let mut client = server.connect();
    client.ok("set enable_indexscan = off").await;
    compare(&before, &answers(&mut client).await, "after a restart");
}

/// 250,000 rows in three row groups: `b`, `c` and `d` follow the key, `e` does not.
pub(crate) async fn large(client: &mut Client) {
    client
        .ok("create table big (a int primary key, b int, c text, d numeric(18, 2), e text)")
        .await;
    client
        .ok("insert into big select x, x / 10, 'c' || lpad(x::text, 8, '0'), x * 0.25, \
             'some text ' || x % 1000 from generate_series(1, 250000) x")
        .await;
}

/// A figure that EXPLAIN ANALYZE shows of what reads a table.
pub(crate) fn figure(plan: &[String], name: &str) -> usize {
    let reads = |line: &&String| line.contains("TableScanExec") || line.contains(", by key");
    let scan = plan.iter().find(reads).unwrap_or_else(|| panic!("nothing reads: {plan:?}"));
    let after = |before| scan.split_once(&format!("{before}{name}="));
    let Some((_, rest)) = after(" ").or_else(|| after("[")) else { return 0 };
    let digits: String = rest.chars().take_while(|c| !",]".contains(*c)).collect();
    // Large ones come as 12.3 K.
    match digits.split_once(' ') {
        None => digits.parse().expect(scan),
        Some((digits, unit)) => {
            let number: f64 = digits.parse().expect(scan);
            let unit = match unit {
                "K" => 1e3,
                "M" => 1e6,
                _ => panic!("{scan}"),
            };
            (number * unit) as usize
        }
    }
}

pub(crate) async fn explain(client: &mut Client, sql: &str) -> Vec<String> {
    client.ok(&format!("explain analyze {sql}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_pass_is_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Nothing stays in memory.
    let options = OpenOptions { resident_bytes: 0, ..OpenOptions::default() };
    let engine = open_engine(options, Env::real(dir.path())).await;
    let mut client = Client::new(&engine);
    large(&mut client).await;
    flush(&engine, "big").await;
    // Few rows would be read by their keys, before there is a scan.
    client.ok("set enable_indexscan = off").await;
    let plan = explain(&mut client, "select sum(a), min(e), max(c) from big").await;
    let all = figure(&plan, "bytes_read");
    assert_eq!(figure(&plan, "row_groups"), 3, "{plan:?}");
    assert_eq!(figure(&plan, "row_groups_pruned"), 0, "{plan:?}");
    for (filter, rows, read) in [
        ("a between 1000 and 1500", 501, 10_000),
        ("a in (5, 120000, 249000)", 3, 30_000),
        ("b = 12345", 10, 10_000),
        ("b between 12345 and 12346 and e <> 'nothing'", 20, 10_000),
        ("c = 'c00200000'", 1, 10_000),
        ("c > 'c00249999'", 1, 10_000),
        ("d < 2.5", 9, 10_000),
        ("d = 25000.25 or b = 7", 11, 200_000),
        ("c in ('c00000001', 'c00249998')", 2, 20_000),
        ("c = any (array['c00000001', 'c00249998'])", 2, 20_000),
    ] {
        let sql = format!("select sum(a), min(e), max(c) from big where {filter}");
        let plan = explain(&mut client, &sql).await;
        assert!(figure(&plan, "segment_rows") <= read, "{filter}: {plan:?}");
        assert!(figure(&plan, "bytes_read") < all / 2, "{filter}: {all} {plan:?}");
        let count = client.ok(&format!("select count(*) from big where {filter}")).await;
        assert_eq!(count[0], rows.to_string(), "{filter}");
    }
    // By the segment's statistics nothing passes, so not even the footer is looked at.
    for filter in ["b > 25000", "c < 'c'", "d is null", "b = 5 and d > 62500", "a = 250001"] {
        let plan = explain(&mut client, &format!("select e from big where {filter}")).await;
        assert_eq!(figure(&plan, "requests"), 0, "{filter}: {plan:?}");
        assert_eq!(figure(&plan, "segments_pruned"), 1, "{filter}: {plan:?}");
    }
    // What no row passes by the values of one column does not read the others.
    let none = explain(&mut client, "select * from big where e = 'some text 1x'").await;
    let some = explain(&mut client, "select e from big").await;
    assert!(figure(&none, "bytes_read") <= figure(&some, "bytes_read") * 11 / 10, "{none:?}");
    // A few rows are read by their pages, and their number without anything of the object.
    let few = explain(&mut client, "select * from big limit 10").await;
    assert!(figure(&few, "bytes_read") < all / 4, "{few:?}");
    let number = explain(&mut client, "select count(*) from big where a > 0 or e = ''").await;
    assert!(figure(&number, "bytes_read") < all, "{number:?}");
    // What a join learns of its keys leaves out pages of the other side.
    client.ok("create table few (k int, m int)").await;
    client.ok("insert into few values (1000, 1), (1007, 2), (2000, 3)").await;
    let join = "select sum(d), min(e) from big join few on b = k and m < 3";
    let plan = explain(&mut client, join).await;
    assert!(figure(&plan, "segment_rows") <= 10_000, "{plan:?}");
    assert_eq!(client.ok(join).await, ["50197.50|some text 0", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_scan_reads_nothing() {
    let server = Server::start().await;
    let mut client = server.connect();
    large(&mut client).await;
    flush(server.engine(), "big").await;
    let sql = "select sum(d), min(c), max(e) from big where e <> 'some text 17'";
    let before = client.ok(sql).await;
    let server = server.restart().await;
    let mut client = server.connect();
    let cold = explain(&mut client, sql).await;
    assert!(figure(&cold, "requests") > 3 && figure(&cold, "resident_misses") >= 9, "{cold:?}");
    let warm = explain(&mut client, sql).await;
    assert_eq!(figure(&warm, "requests"), 0, "{warm:?}");
    assert_eq!(figure(&warm, "bytes_read"), 0, "{warm:?}");
    assert_eq!(figure(&warm, "resident_misses"), 0, "{warm:?}");
    assert!(figure(&warm, "resident_hits") >= 9, "{warm:?}");
    assert_eq!(figure(&warm, "row_groups"), 3, "{warm:?}");
    assert_eq!(client.ok(sql).await, before);
}

/// Decimals are kept in 64 bits; what computes with them has 128.
#[tokio::test(flavor = "multi_thread")]
async fn sums_exceed_what_values_are_kept_in() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, n numeric(18, 0), m numeric(18, 18), x text)").await;
    client
        .ok("insert into t select x, 999999999999999999, -0.999999999999999999, repeat('x', 200) \
             from generate_series(1, 20000) x")
        .await;
    let sql = "select sum(n), sum(m), sum(n * 2), max(n + 1), min(-n - n) from t where a > 0";
    let expected = "19999999999999999980000|-19999.999999999999980000|39999999999999999960000|\
                    1000000000000000000|-1999999999999999998";
    assert_eq!(client.ok(sql).await, [expected, "SELECT 1"]);
    flush(server.engine(), "t").await;
    for _ in 0..2 {
        assert_eq!(client.ok(sql).await, [expected, "SELECT 1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_columns_stay_as_they_were() {
    let server = Server::start().await;
    let (mut client, mut old) = (server.connect(), server.connect());
    client.ok("set enable_indexscan = off").await;
    old.ok("set enable_indexscan = off").await;
    client.ok("create table t (a int primary key, b text, c int)").await;
    client.ok("insert into t select x, 'b' || x, x from generate_series(1, 3000) x").await;
    let sql = "select count(*), sum(a), count(b), sum(c), max(b) from t";
    let first = client.ok(sql).await;
    old.ok("begin isolation level repeatable read").await;
    assert_eq!(old.ok(sql).await, first);
    client.ok("delete from t where a <= 1000; update t set b = 'new' where a = 1500").await;
    client.ok("insert into t values (5000, 'later', 1)").await;
    let second = client.ok(sql).await;
    flush(server.engine(), "t").await;
    assert_eq!(client.ok(sql).await, second);
    assert_eq!(old.ok(sql).await, first);
    let by_key = "select b from t where a = 1500 or a = 5000 or a = 900 order by a";
    assert_eq!(client.ok(by_key).await, ["new", "later", "SELECT 2"]);
    assert_eq!(old.ok(by_key).await, ["b900", "b1500", "SELECT 2"]);
    assert_eq!(old.ok("select count(*) from t").await, ["3000", "SELECT 1"]);
    assert_eq!(client.ok("select count(*) from t").await, ["2001", "SELECT 1"]);
    old.ok("commit").await;

    client.ok("alter table t add column d text default 'given', add column e int").await;
    let added = client.ok("select count(d), min(d), count(e), count(*) from t").await;
    assert_eq!(added, ["2001|given|0|2001", "SELECT 1"]);
    assert_eq!(client.ok("select count(*) from t where d = 'other'").await, ["0", "SELECT 1"]);
    assert_eq!(client.ok("select count(*) from t where e is null").await, ["2001", "SELECT 1"]);
    client.ok("insert into t values (6000, 'x', 2, 'other', 3)").await;
    client.ok("begin; alter table t add column f int default 7").await;
    assert_eq!(client.ok("select sum(f) from t where d = 'given'").await, ["14007", "SELECT 1"]);
    client.ok("rollback; alter table t drop column b").await;
    let left = client.ok("select * from t where a in (1500, 6000) order by a").await;
    assert_eq!(left, ["1500|1500|given|NULL", "6000|2|other|3", "SELECT 2"]);
}

/// An object that is damaged or gone is named; all else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = OpenOptions { resident_bytes: 0, ..OpenOptions::default() };
    let engine = open_engine(options, Env::real(dir.path())).await;
    let mut client = Client::new(&engine);
    large(&mut client).await;
    client.ok("create table other (a int)").await;
    client.ok("insert into other values (1)").await;
    flush(&engine, "big").await;
    let objects = dir.path().join("objects/data");
    let table = std::fs::read_dir(objects).expect("objects").next().expect("one").expect("one");
    let object = std::fs::read_dir(table.path()).expect("objects").next().expect("one");
    let object = object.expect("one").path();
    let whole = std::fs::read(&object).expect("an object");
    let name = object.file_name().and_then(|name| name.to_str()).expect("a name");
    let sql = "select sum(a), max(e), max(c) from big";
    let answer = client.ok(sql).await;
    let mut damaged = whole.clone();
    for at in (2_000..whole.len() / 2).step_by(5_000) {
        damaged[at] ^= 0x10;
    }
    std::fs::write(&object, &damaged).expect("an object");
    let error = client.err(sql).await;
    assert_eq!(error.sqlstate, "XX001", "{error:?}");
    assert!(error.message.contains(name) && error.message.contains("CRC32C"), "{error:?}");
    assert_eq!(client.ok("select count(*) from big").await, ["250000", "SELECT 1"]);
    std::fs::remove_file(&object).expect("an object");
    let error = client.err(sql).await;
    assert_eq!(error.sqlstate, "XX001", "{error:?}");
    assert!(error.message.contains(name), "{error:?}");
    assert_eq!(client.ok("select * from other").await, ["1", "SELECT 1"]);
    std::fs::write(&object, &whole).expect("an object");
    assert_eq!(client.ok(sql).await, answer);
}

/// Counts come without a scan as long as they are certain.
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_known_where_every_row_is_seen() {
    let server = Server::start().await;
    let (mut client, mut old) = (server.connect(), server.connect());
    client.ok("create table t (a int primary key, b int)").await;
    client.ok("insert into t select x, nullif(x % 3, 0) from generate_series(1, 3000) x").await;
    flush(server.engine(), "t").await;
    let counts = "select count(*), count(b) from t";
    let expected = |all: usize, b: usize| format!("{all}|{b}");
    async fn scans(client: &mut Client, sql: &str) -> bool {
        let plan = client.ok(&format!("explain {sql}")).await;
        plan.iter().any(|line| line.contains("TableScanExec"))
    }
    assert!(!scans(&mut client, counts).await);
    assert_eq!(client.ok(counts).await[0], expected(3000, 2000));
    // So are the least and the greatest value, and something that is never NULL counts rows.
    let extremes = "select min(a), max(a), min(b), max(b), count(1), count('x'), count(a) from t";
    assert!(!scans(&mut client, extremes).await);
    assert_eq!(client.ok(extremes).await[0], "1|3000|1|2|3000|3000|3000");
    assert_eq!(client.ok("select count(null), count(distinct 1) from t").await[0], "0|1");
    for (sql, count) in [
        ("select count(*) from (select 1 from t limit 10) x", "10"),
        ("select count(*) from (select 1 from t limit 10 offset 2995) x", "5"),
        ("select count(*) from t where b = 1", "1000"),
        ("select count(*) from t, generate_series(1, 2)", "6000"),
        ("select count(distinct b) from t", "2"),
        ("select count(*) filter (where b = 2) from t", "1000"),
        ("select count(*) from t x join t y on x.a = y.a + 1", "2999"),
    ] {
        assert_eq!(client.ok(sql).await[0], count, "{sql}");
    }
    // Rows of its own.
    client.ok("begin; insert into t values (5000, 1)").await;
    assert!(scans(&mut client, counts).await);
    assert!(scans(&mut client, extremes).await);
    assert_eq!(client.ok(extremes).await[0], "1|5000|1|2|3001|3001|3001");
    assert_eq!(client.ok(counts).await[0], expected(3001, 2001));
    client.ok("rollback").await;
    // Rows in memory, and rows that only some see.
    old.ok("begin isolation level repeatable read; select 1 from t").await;
    client.ok("insert into t values (6000, null)").await;
    assert!(scans(&mut client, counts).await);
    assert_eq!(client.ok(counts).await[0], expected(3001, 2000));
    flush(server.engine(), "t").await;
    assert!(!scans(&mut client, counts).await);
    assert_eq!(client.ok(counts).await[0], expected(3001, 2000));
    assert_eq!(old.ok(counts).await[0], expected(3000, 2000));
    // A column that came later.
    client.ok("alter table t add column c int default 5, add column d int").await;
    assert_eq!(client.ok("select count(c), count(d) from t").await[0], "3001|0");
    assert_eq!(client.ok("select min(c), max(c), min(d) from t").await[0], "5|5|NULL");
    // A deleted row was the greatest.
    client.ok("delete from t where a = 6000").await;
    assert!(scans(&mut client, "select max(a) from t").await);
    assert_eq!(client.ok("select max(a) from t").await[0], "3000");
}

/// The least and the greatest value are those of PostgreSQL where they come from statistics, too.
#[tokio::test(flavor = "multi_thread")]
async fn extremes_are_those_of_all_rows() {
    let server = Server::start().await;
    let mut client = server.connect();
    client
        .ok("create table t (a int primary key, f float8, g float8, s text, l text, n numeric)")
        .await;
    client
        .ok("insert into t select x, case when x = 7 then 'NaN' else x * 1.5 end, -x * 0.0, \
             'text ' || x, repeat('long ', 20) || x, x * 0.25 from generate_series(1, 2000) x")
        .await;
    let mut before = Vec::new();
    let queries = ["f", "g", "s", "l", "n", "a"]
        .map(|column| format!("select min({column}), max({column}), count({column}) from t"));
    for sql in &queries {
        before.push(client.ok(sql).await);
    }
    assert_eq!(before[0][0], "1.5|NaN|2000");
    flush(server.engine(), "t").await;
    for (sql, before) in queries.iter().zip(before) {
        assert_eq!(client.ok(sql).await, before, "{sql}");
    }
    for (sql, count) in [
        ("select count(*) from t where f > 'Infinity'", "1"),
        ("select count(*) from t where f = 'NaN'", "1"),
        ("select count(*) from t where f < 0", "0"),
        ("select count(*) from t where g = 0", "2000"),
        ("select count(*) from t where s like 'text 19%'", "111"),
        ("select count(*) from t where s like 'u%' or s like 'tex'", "0"),
    ] {
        assert_eq!(client.ok(sql).await[0], count, "{sql}");
    }
    let plan = explain(&mut client, "select a from t where s like 'u%'").await;
    assert_eq!(figure(&plan, "segments_pruned"), 1, "{plan:?}");
    let plan = explain(&mut client, "select a from t where f < 0").await;
    assert_eq!(figure(&plan, "segments_pruned"), 1, "{plan:?}");
}

/// What planners work out of the list of segments is worked out once for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_list_is_worked_out_once() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key)").await;
    let mut made = 0;
    let mut ask = || {
        let database = server.engine().database();
        let snapshot = database.snapshots().register();
        let catalog = database.catalog_at(&snapshot.snapshot());
        let table = catalog.tables().find(|table| table.name == "t").expect("a table").storage;
        let list = database.table(table).expect("its storage").list();
        let derived = list.derived(1_000, || {
            made += 1;
            Ok::<u32, ()>(made)
        });
        *derived.expect("it is made")
    };
    assert_eq!((ask(), ask()), (1, 1));
    for n in 0..2 {
        client.ok(&format!("insert into t values ({n})")).await;
        flush(server.engine(), "t").await;
        assert_eq!((ask(), ask()), (n + 2, n + 2), "an edit makes another list");
    }
}

/// Where there is no memory for a row group it is read in parts.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_read_in_parts_where_memory_is_short() {
    let sql = "select sum(a), max(c), max(e), sum(d) from big where a % 7 <> 3";
    let mut answers = Vec::new();
    for (memory, in_parts) in [(256 << 20, false), (3 << 20, true)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = OpenOptions { resident_bytes: 0, ..OpenOptions::default() };
        let env = Env::real(dir.path());
        // The rows come from elsewhere.
        {
            let engine = open_engine(OpenOptions::default(), env.clone()).await;
            large(&mut Client::new(&engine)).await;
            flush(&engine, "big").await;
            let database = std::sync::Arc::clone(engine.database());
            drop(engine);
            tokio::task::spawn_blocking(move || database.shutdown()).await.expect("it stops");
        }
        let engine = open_engine_within(memory, options, env).await;
        let mut client = Client::new(&engine);
        let plan = explain(&mut client, sql).await;
        assert_eq!(figure(&plan, "row_groups_in_parts") > 0, in_parts, "{plan:?}");
        answers.push(client.ok(sql).await);
        assert_eq!(engine.query_memory_held(), 0, "it is given back");
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_planner_knows_segments_without_analyze() {
    let server = Server::start().await;
    let mut client = server.connect();
    large(&mut client).await;
    client.ok("create table small (k int, m int)").await;
    client.ok("insert into small select x, x from generate_series(1, 2000) x").await;
    flush(server.engine(), "big").await;
    let server = server.restart().await;
    let mut client = server.connect();
    client.ok("analyze").await;
    let snapshot = server.engine().database().snapshots().register();
    let catalog = server.engine().database().catalog_at(&snapshot.snapshot());
    let table = catalog.tables().find(|table| table.name == "big").expect("a table");
    let facts = server.engine().facts(table.storage).expect("it is analyzed");
    assert_eq!(facts.rows, 250_000);
    let about = |found: u64, expected: u64| found.abs_diff(expected) <= expected / 10;
    for (ordinal, distinct) in [250_000, 25_001, 250_000, 250_000, 1_000].into_iter().enumerate() {
        let column = &facts.columns[ordinal];
        assert!(about(column.distinct, distinct), "{ordinal}: {column:?}");
        assert!(column.null_fraction == 0.0 && column.min < column.max, "{column:?}");
    }
}

/// Deletions and updates of rows in segments, committed and own, before and after they move.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_in_segments() {
    let server = Server::start().await;
    let mut client = server.connect();
    // The same changes to a table that stays in memory.
    let twice = async |client: &mut Client, sql: &str| {
        let flushed = client.ok(&sql.replace("{}", "t")).await;
        assert_eq!(flushed, client.ok(&sql.replace("{}", "m")).await, "{sql}");
    };
    let alike = async |client: &mut Client, when: &str| {
        for sql in [
            "select count(*), sum(a), sum(c), count(b), min(b), max(b) from {}",
            "select count(*) from {}",
            "select a, b, c from {} where a % 1000 = 7 order by a",
            "select a, b, c from {} where c < 20 order by a",
            "select b, count(*) from {} where b < 'b2' group by b order by b limit 20",
            "select a from {} where b = 'changed' order by a desc limit 7",
            "select a from {} order by a limit 40",
        ] {
            let flushed = client.ok(&sql.replace("{}", "t")).await;
            assert_eq!(flushed, client.ok(&sql.replace("{}", "m")).await, "{when}: {sql}");
        }
    };
    twice(&mut client, "create table {} (a int primary key, b text, c numeric(10, 2))").await;
    let insert = "insert into {} select x, 'b' || x, x * 0.5 from generate_series(1, 120000) x";
    twice(&mut client, insert).await;
    flush(server.engine(), "t").await;
    alike(&mut client, "flushed").await;
    twice(&mut client, "delete from {} where a % 10 = 3").await;
    twice(&mut client, "update {} set b = 'changed' where a % 1000 = 7").await;
    alike(&mut client, "changed").await;
    client.ok("begin").await;
    twice(&mut client, "delete from {} where a > 110000 and a % 2 = 0").await;
    twice(&mut client, "update {} set c = c + 0.01 where a % 1000 = 17").await;
    twice(&mut client, "insert into {} values (3, 'again', 3), (200000, 'new', null)").await;
    alike(&mut client, "own").await;
    // What the transaction deleted lies elsewhere now.
    flush(server.engine(), "t").await;
    alike(&mut client, "own, moved").await;
    twice(&mut client, "delete from {} where a between 500 and 600").await;
    alike(&mut client, "own, moved and more").await;
    client.ok("commit").await;
    alike(&mut client, "committed").await;
    flush(server.engine(), "t").await;
    alike(&mut client, "flushed again").await;
    let server = server.restart().await;
    let mut client = server.connect();
    alike(&mut client, "after a restart").await;
}
