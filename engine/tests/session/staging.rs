//! Large writes go into objects before they commit: what is seen of them, and what stays of those that
//! do not.

use std::{sync::Arc, time::Duration};

use glaredb_engine::{
    session::{Engine, Execution, Prepared},
    storage::{
        database::OpenOptions,
        objects::StorageOptions,
        recovery::existing_objects,
        rewrite::{PREFIX, RewriteOptions},
        verify::{Known, Told, verify},
    },
};
use glaredb_txn::env::Env;
use tempfile::TempDir;

use super::harness::{Client, open_engine};

/// Some hundred kilobytes are much, and no job moves rows by itself.
fn options() -> OpenOptions {
    let rewrite = RewriteOptions {
        automatic: false,
        stage_from_bytes: 256 << 10,
        stage_run_bytes: 128 << 10,
        segment_rows_max: 9_000,
        sweep_interval: Duration::ZERO,
        ..RewriteOptions::default()
    };
    OpenOptions { rewrite, ..OpenOptions::default() }
}

struct Node {
    engine: Arc<Engine>,
    dir: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::with(options()).await
    }

    async fn with(options: OpenOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let engine = open_engine(options, Env::real(dir.path())).await;
        Self { engine, dir }
    }

    fn connect(&self) -> Client {
        Client::new(&self.engine)
    }

    async fn stop(self) -> TempDir {
        let database = Arc::clone(self.engine.database());
        drop(self.engine);
        tokio::task::spawn_blocking(move || database.shutdown()).await.expect("it stops");
        self.dir
    }

    async fn restart(self) -> Self {
        let dir = self.stop().await;
        let engine = open_engine(options(), Env::real(dir.path())).await;
        Self { engine, dir }
    }

    fn objects(&self) -> usize {
        self.engine.database().segments().objects.list(PREFIX).expect("it lists").len()
    }

    fn segments(&self) -> usize {
        self.engine.database().state().tables().iter().map(|t| t.stats().segments as usize).sum()
    }

    /// Waits until no object is left that no list names, and no job is open.
    async fn until_clean(&self) {
        while self.objects() > self.segments() || !self.engine.database().state().jobs().is_empty()
        {
            // A sweep follows a checkpoint, whatever became of that.
            let _ = self.engine.database().checkpoint_now().await;
        }
    }
}

/// What `storage verify` finds in a directory that nobody has open.
fn check(dir: &TempDir) {
    let env = Env::real(dir.path());
    let objects = existing_objects(&env, &StorageOptions::default()).expect("they are there");
    let known = Known::read(&env).expect("a data directory");
    let mut told = Vec::new();
    verify(&objects, &known, &mut |found| match found {
        Told::Finding { object, problem } => told.push(format!("{object}: {problem}")),
        Told::Orphan { object, .. } => told.push(format!("{object}: orphan")),
        Told::Progress { .. } => {}
    })
    .expect("they can be listed");
    assert_eq!(told, [""; 0]);
}

const ROWS: i64 = 40_000;

/// In order of the key, in the opposite one, and in none.
const ORDERS: &[&str] = &["x", "40001 - x", "(x * 7919) % 40009"];

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_staged_whatever_their_order() {
    let mut node = Node::start().await;
    for (n, key) in ORDERS.iter().enumerate() {
        let mut client = node.connect();
        let t = format!("t{n}");
        client.ok(&format!("create table {t} (id int primary key, v text, n numeric(9,2))")).await;
        client.ok(&format!("insert into {t} values (-1, 'first', 1)")).await;
        let mut old = node.connect();
        old.ok("begin isolation level repeatable read").await;
        let count = format!("select count(*), min(id), max(id), count(v), sum(n) from {t}");
        let before = old.ok(&count).await;
        let fill = format!(
            "insert into {t} select {key}, case when x % 7 = 0 then null else 'v' || x end, x * 0.25
             from generate_series(1, {ROWS}) x"
        );
        assert_eq!(client.ok(&fill).await, [format!("INSERT 0 {ROWS}")]);
        assert!(node.segments() >= 3 * (n + 1), "{} segments", node.segments());
        let all = client.ok(&count).await;
        assert!(all[0].starts_with(&format!("{}|-1|", ROWS + 1)), "{all:?}");
        assert!(all[0].ends_with("|200005001.00"), "{all:?}");
        assert_eq!(old.ok(&count).await, before, "an older snapshot sees none of it");
        old.ok("commit").await;
        assert_eq!(old.ok(&count).await, all);

        // By key, changed and deleted like others.
        let one = format!("select v, n from {t} where id = 77");
        let found = client.ok(&one).await;
        assert_eq!(found.len(), 2, "{found:?}");
        client.ok(&format!("update {t} set v = 'changed' where id between 70 and 79")).await;
        client.ok(&format!("delete from {t} where id between 80 and 89")).await;
        assert!(client.ok(&one).await[0].starts_with("changed|"));
        let left = format!("select count(*), count(distinct id) from {t} where id > 0");
        let expected = [format!("{0}|{0}", ROWS - 10), "SELECT 1".to_owned()];
        assert_eq!(client.ok(&left).await, expected);
        let again = client.err(&format!("insert into {t} values (77, 'again', 1)")).await;
        assert_eq!(again.sqlstate, "23505");

        drop((client, old));
        node = node.restart().await;
        let mut client = node.connect();
        assert_eq!(client.ok(&left).await, expected);
        let storage = storage_of(&node, &t);
        node.engine.database().compact_now(storage).await.expect("it is compacted");
        assert_eq!(client.ok(&left).await, expected);
        assert!(client.ok(&one).await[0].starts_with("changed|"));
        node.until_clean().await;
    }
    check(&node.stop().await);
}

fn storage_of(node: &Node, table: &str) -> glaredb_txn::ids::TableId {
    let database = node.engine.database();
    let snapshot = database.snapshots().register();
    let catalog = database.catalog_at(&snapshot.snapshot());
    catalog.tables().find(|t| t.name == table).expect("a table").storage
}

/// Without a key rows have ids, which are given when the parts are placed: beside those of others.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_and_of_new_tables_are_staged() {
    let node = Node::start().await;
    let mut client = node.connect();
    client.ok("create table k (x int, v text)").await;
    client.ok("insert into k values (0, 'first')").await;
    let fill = "insert into k select x, 'text ' || x from generate_series(1, 40000) x";
    client.ok(fill).await;
    client.ok("insert into k values (40001, 'last')").await;
    client.ok(fill).await;
    let sums = "select count(*), sum(x), count(distinct v) from k";
    assert_eq!(client.ok(sums).await[0], "80002|1600080001|40002");
    client.ok("create table c as select x, v || '!' as v from k").await;
    assert_eq!(client.ok("select count(*), sum(x) from c").await[0], "80002|1600080001");
    // By their ids.
    client.ok("update k set v = 'changed' where x % 1000 = 7").await;
    client.ok("delete from k where x % 1000 = 8").await;
    assert_eq!(client.ok(sums).await[0], "79922|1598519361|39923");
    assert!(node.segments() >= 12, "{} segments", node.segments());
    drop(client);
    let node = node.restart().await;
    let mut client = node.connect();
    assert_eq!(client.ok(sums).await[0], "79922|1598519361|39923");
    node.engine.database().compact_now(storage_of(&node, "k")).await.expect("it is compacted");
    assert_eq!(client.ok(sums).await[0], "79922|1598519361|39923");
    client.ok("drop table k").await;
    client.ok("truncate c").await;
    drop(client);
    node.until_clean().await;
    assert_eq!(node.segments(), 0);
    check(&node.stop().await);
}

/// Wherever the first of two rows with one key is by then: gathered, being written, in a segment, in the
/// one that goes on, in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_twice_is_found() {
    let node = Node::start().await;
    let mut client = node.connect();
    client.ok("create table t (id int primary key, v text)").await;
    client.ok("insert into t values (50000, 'there')").await;
    let text = "'some text that takes room in memory'";
    for key in [1, 100, 5_000, 11_000, 20_000, 39_000, 39_999, 40_000] {
        let twice = format!(
            "insert into t select case when x = 40001 then {key} else x end, {text}
             from generate_series(1, 40001) x"
        );
        let error = client.err(&twice).await;
        assert_eq!(error.sqlstate, "23505", "{error:?}");
        assert_eq!(error.message, "duplicate key value violates unique constraint \"t_pkey\"");
        assert_eq!(error.detail.as_deref(), Some(&*format!("Key (id)=({key}) already exists.")));
        // In no order: each run is a segment.
        let twice = format!(
            "insert into t select case when x = 40001 then {key} else (x * 7919) % 40009 end, {text}
             from generate_series(1, 40001) x"
        );
        let error = client.err(&twice).await;
        assert_eq!(error.sqlstate, "23505", "{error:?}");
    }
    let against = format!("insert into t select x, {text} from generate_series(1, 60000) x");
    let error = client.err(&against).await;
    assert_eq!(error.detail.as_deref(), Some("Key (id)=(50000) already exists."));
    assert_eq!(client.ok("select count(*), max(id) from t").await[0], "1|50000");
    drop(client);
    node.until_clean().await;
    assert_eq!((node.objects(), node.segments()), (0, 0));
    check(&node.stop().await);
}

/// A COPY whose data comes as the test wants.
async fn begin_copy(client: &mut Client, sql: &str) -> Box<dyn glaredb_engine::session::CopySink> {
    let statement = client.session.parse(sql).await.expect("it parses").remove(0);
    let prepared = Prepared::unplanned(statement);
    match client.session.execute(&prepared, Vec::new()).await.expect("it begins") {
        Execution::CopyIn(copy) => copy.sink,
        other => panic!("{other:?}"),
    }
}

fn lines(keys: std::ops::Range<i64>) -> Vec<u8> {
    keys.map(|key| format!("{key}\tthe text of row {key}\n")).collect::<String>().into_bytes()
}

async fn until_staged(node: &Node) {
    while node.objects() == 0 {
        tokio::task::yield_now().await;
    }
}

/// A client that gives up, and one that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_leaves_nothing() {
    let node = Node::start().await;
    let mut client = node.connect();
    client.ok("create table t (id int primary key, v text)").await;
    for gone in [false, true] {
        let mut other = node.connect();
        let mut sink = begin_copy(&mut other, "copy t from stdin").await;
        sink.data(&lines(0..40_000)).await.expect("it takes data");
        until_staged(&node).await;
        assert_eq!(node.engine.database().state().jobs().len(), 1);
        match gone {
            true => drop((sink, other)),
            false => {
                let error = sink.fail("enough".to_owned()).await;
                assert_eq!(error.sqlstate, "57014", "{error:?}");
                other.session.statement_failed();
            }
        }
        node.until_clean().await;
        assert_eq!((node.objects(), node.segments()), (0, 0));
        assert_eq!(client.ok("select count(*) from t").await[0], "0");
    }
    let copied = client.copy_in("copy t from stdin", &lines(0..40_000), 100_000).await;
    assert_eq!(copied.as_deref(), Ok("COPY 40000"));
    assert!(node.segments() > 2, "{} segments", node.segments());
    assert_eq!(client.ok("select count(*), sum(id) from t").await[0], "40000|799980000");
    drop(client);
    check(&node.stop().await);
}

/// The sweep takes a job for lost that has not said for too long that it goes on. Its commit is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_paused_past_the_age_cannot_commit() {
    let mut options = options();
    options.rewrite.orphan_age = Duration::from_millis(100);
    let node = Node::with(options).await;
    let mut client = node.connect();
    client.ok("create table t (id int primary key, v text)").await;
    let mut other = node.connect();
    let mut sink = begin_copy(&mut other, "copy t from stdin").await;
    sink.data(&lines(0..40_000)).await.expect("it takes data");
    until_staged(&node).await;
    // Nothing comes for longer than that.
    node.until_clean().await;
    let rest = sink.data(&lines(40_000..40_010)).await;
    let error = match rest {
        Ok(()) => sink.finish().await.expect_err("it is too late"),
        Err(error) => {
            drop(sink);
            error
        }
    };
    assert_eq!(error.sqlstate, "40001", "{error:?}");
    let detail = error.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("taken for lost"), "{error:?}");
    other.session.statement_failed();
    node.until_clean().await;
    assert_eq!((node.objects(), node.segments()), (0, 0));
    assert_eq!(client.ok("select count(*) from t").await[0], "0");
    drop((client, other));
    check(&node.stop().await);
}

/// Keys that are not named conflict with whoever writes to the table meanwhile, on either side.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_table_conflict() {
    let node = Node::start().await;
    let mut client = node.connect();
    client.ok("create table t (id int primary key, v text)").await;
    // The staged commit comes second.
    let mut other = node.connect();
    let mut sink = begin_copy(&mut other, "copy t from stdin").await;
    sink.data(&lines(0..40_000)).await.expect("it takes data");
    until_staged(&node).await;
    client.ok("insert into t values (17, 'meanwhile')").await;
    let error = sink.finish().await.expect_err("row 17 is there");
    assert!(["40001", "23505"].contains(&error.sqlstate), "{error:?}");
    other.session.statement_failed();
    // It comes first.
    let mut late = node.connect();
    late.ok("begin isolation level repeatable read").await;
    late.ok("select count(*) from t").await;
    let copied = client.copy_in("copy t from stdin", &lines(100..40_000), 100_000).await;
    assert_eq!(copied.as_deref(), Ok("COPY 39900"));
    late.ok("insert into t values (200, 'late')").await;
    assert_eq!(late.err("commit").await.sqlstate, "40001");
    assert_eq!(client.ok("select count(*) from t").await[0], "39901");
    drop((client, other, late));
    node.until_clean().await;
    check(&node.stop().await);
}

/// Every row of a table, with a key and without, beside jobs that move them: deletions are bitmaps, and the
/// new versions keep their ids in segments.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_changed_in_bounded_memory() {
    const ALL: i64 = 150_000;
    let mut node = Node::start().await;
    let sum = ALL * (ALL + 1) / 2;
    for (t, columns) in [("t", "k int primary key, n int, v text"), ("u", "k int, n int, v text")] {
        let mut client = node.connect();
        client.ok(&format!("create table {t} ({columns})")).await;
        // Some lie in segments, some in memory.
        let fill = format!("insert into {t} select x, x, 'v' || x from generate_series");
        client.ok(&format!("{fill}(1, {ALL} - 5000) x")).await;
        client.ok(&format!("{fill}({ALL} - 4999, {ALL}) x")).await;
        let sums = format!("select count(*), sum(n), sum(k), count(distinct v) from {t}");
        let mut old = node.connect();
        old.ok("begin isolation level repeatable read").await;
        let before = old.ok(&sums).await;
        assert_eq!(before[0], format!("{ALL}|{sum}|{sum}|{ALL}"));

        let moving = {
            let mut mover = node.connect();
            let t = t.to_owned();
            tokio::spawn(async move {
                for _ in 0..3 {
                    // It may be too late, where the update is faster.
                    let _ = mover.run(&format!("vacuum {t}")).await;
                }
            })
        };
        assert_eq!(
            client.ok(&format!("update {t} set n = n + 1")).await,
            [format!("UPDATE {ALL}")]
        );
        moving.await.expect("it ends");
        let changed = format!("{ALL}|{}|{sum}|{ALL}", sum + ALL);
        assert_eq!(client.ok(&sums).await[0], changed);
        assert_eq!(old.ok(&sums).await, before, "an older snapshot");
        let limit = node.engine.database().budget();
        assert_eq!(limit.write_set_bytes(), 0);
        old.ok("commit").await;
        assert_eq!(client.ok(&format!("select n from {t} where k = 149999")).await[0], "150000");
        client.ok(&format!("vacuum full {t}")).await;
        assert_eq!(client.ok(&sums).await[0], changed);

        drop((client, old));
        node = node.restart().await;
        client = node.connect();
        assert_eq!(client.ok(&sums).await[0], changed);
        let deleted = client.ok(&format!("delete from {t} where k > 10")).await;
        assert_eq!(deleted, [format!("DELETE {}", ALL - 10)]);
        assert_eq!(client.ok(&sums).await[0], "10|65|55|10");
        drop(client);
        node = node.restart().await;
        client = node.connect();
        assert_eq!(client.ok(&sums).await[0], "10|65|55|10");
        client.ok(&format!("insert into {t} values (11, 0, 'again')")).await;
        client.ok(&format!("vacuum full {t}")).await;
        assert_eq!(client.ok(&sums).await[0], "11|65|66|11");
    }
    node.until_clean().await;
    check(&node.stop().await);
}

/// A writer meanwhile: one of both is refused, and does it again.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_every_row_loses_nothing_of_others() {
    let node = Node::start().await;
    let mut client = node.connect();
    client.ok("create table t (k int primary key, n int)").await;
    client.ok("insert into t select x, 0 from generate_series(1, 120000) x").await;
    let others = {
        let mut other = node.connect();
        tokio::spawn(async move {
            let mut done = 0;
            for k in 1..=60 {
                let sql = format!("update t set n = n + 1000 where k = {}", k * 2_000);
                match other.run(&sql).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error.sqlstate, "40001", "{error:?}"),
                }
            }
            done
        })
    };
    let mut updates = 0;
    for _ in 0..3 {
        match client.run("update t set n = n + 1").await {
            Ok(_) => updates += 1,
            Err(error) => assert_eq!(error.sqlstate, "40001", "{error:?}"),
        }
    }
    let done: i64 = others.await.expect("it ends");
    let sum = client.ok("select count(*), sum(n) from t").await;
    assert_eq!(sum[0], format!("120000|{}", updates * 120_000 + done * 1_000));
    drop(client);
    node.until_clean().await;
    check(&node.stop().await);
}
