//! The real process at every fail point of commit, checkpoint, flush, compaction and large writes: a failure or a panic in the middle
//! of a workload, then a start on what is left. `engine`'s simulation walks the same points, and those
//! of the log, with power cuts.

use std::{collections::BTreeSet, path::Path, time::Duration};

use glaredb_engine::storage::{checkpoint, rewrite, staging};
use glaredb_txn::commit;
use tokio_postgres::error::SqlState;

use crate::{
    Server,
    harness::{PATIENCE, pause},
};

const COMMITS: i32 = 40;

/// What the client of one life knows.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<i32>,
    /// No answer, or 08007.
    unknown: BTreeSet<i32>,
}

/// Commits one row after another, and after every tenth one of some other statements in turn, until
/// something fails.
async fn work(server: &Server, others: &[&str]) -> Known {
    let mut others = others.iter().cycle();
    let mut known = Known::default();
    let (client, _connection) = server.connect().await;
    // Without a key: a row that came twice would show.
    if client.batch_execute("create table t (k int)").await.is_err() {
        return known;
    }
    for key in 0..COMMITS {
        match client.batch_execute(&format!("insert into t values ({key})")).await {
            Ok(()) => known.acknowledged.insert(key),
            Err(error) => {
                let lost = error.code().is_none_or(|code| {
                    [
                        &SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                        &SqlState::ADMIN_SHUTDOWN,
                        &SqlState::IO_ERROR,
                    ]
                    .contains(&code)
                });
                assert!(lost, "{error:?}");
                known.unknown.insert(key);
                return known;
            }
        };
        if key % 10 == 9
            && let Some(statement) = others.next()
        {
            // A checkpoint that fails is no reason to stop, nor is a job.
            let _ = client.batch_execute(statement).await;
        }
    }
    known
}

async fn check(data_dir: &Path, known: &Known, when: &str) {
    let server = Server::start(data_dir, &[]);
    let (client, _connection) = server.connect().await;
    let exists = client
        .query_one("select count(*) from pg_class where relname = 't'", &[])
        .await
        .expect("an answer");
    if exists.get::<_, i64>(0) == 0 {
        assert!(known.acknowledged.is_empty(), "{when}: the table is lost");
        return;
    }
    let found = rows(&client, when).await;
    client.batch_execute("vacuum full").await.expect("jobs run again");
    assert_eq!(rows(&client, when).await, found, "{when}: after another compaction");
    let lost: Vec<_> = known.acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{when}: acknowledged and lost: {lost:?}");
    for key in found.difference(&known.acknowledged) {
        assert!(known.unknown.contains(key), "{when}: {key} was never written");
    }
    // No object of a checkpoint that did not finish: one manifest, and what it names.
    let objects = std::fs::read_dir(data_dir.join("objects/checkpoint"));
    let manifests = objects.into_iter().flatten().filter_map(Result::ok);
    let manifests = manifests.filter(|e| e.file_name().to_string_lossy().ends_with("-manifest"));
    assert!(manifests.count() <= 1, "{when}: objects of older checkpoints stay");
}

async fn rows(client: &tokio_postgres::Client, when: &str) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for row in client.query("select k from t", &[]).await.expect("the rows") {
        let key: i32 = row.get(0);
        assert!(found.insert(key), "{when}: {key} is there twice");
    }
    found
}

#[tokio::test]
async fn the_process_may_fail_at_any_step_of_commit_and_checkpoint() {
    let points = commit::leader::FAIL_POINTS.iter().chain(checkpoint::FAIL_POINTS);
    for point in points {
        let before = if point.starts_with("commit::") { 25 } else { 1 };
        for action in ["return(injected)", "panic(injected)"] {
            let when = format!("{point}={before}*off->1*{action}->off");
            eprintln!("{when}");
            let folder = tempfile::tempdir().expect("a folder");
            let mut server = Server::spawn(folder.path(), &[], &when);
            server.line_with("ready: psql");
            let known = work(&server, &["checkpoint"]).await;
            let failed_commit = !known.unknown.is_empty();
            // A failure of a commit, and a panic of a thread of the node, stop the node; a checkpoint
            // that fails is tried again, and a panic of a session's thread ends the session.
            let stops = point.starts_with("commit::") || action.starts_with("panic");
            if stops && *point != "commit::submit" {
                let line = server.line_with("the node must stop");
                assert!(line.contains("injected"), "{when}: {line}");
                assert_eq!(server.wait().code(), Some(1), "{when}");
            } else if point.starts_with("checkpoint::") {
                assert!(!failed_commit, "{when}: commits go on");
                assert_eq!(known.acknowledged.len(), COMMITS as usize, "{when}");
            }
            server.kill();
            check(folder.path(), &known, &when).await;
        }
    }
}

/// Points of a job that is given up.
const OF_JOBS_GIVEN_UP: [&str; 2] = ["rewrite::end::before", "rewrite::end::after"];

/// Points of a job with more deletions than a record takes.
const OF_MANY_DELETIONS: [&str; 1] = ["rewrite::deletions::before"];

/// Points that a start meets which finds an object that nobody needs.
const OF_SWEEPS: [&str; 2] = ["rewrite::sweep::list", "rewrite::sweep::delete"];

/// Points that every life with VACUUM and checkpoints meets.
const OF_EVERY_JOB: [&str; 8] = [
    "rewrite::seal",
    "rewrite::begin::before",
    "rewrite::begin::after",
    "rewrite::object::before",
    "rewrite::object::after",
    "rewrite::edit::before",
    "rewrite::edit::after",
    "rewrite::remove",
];

#[test]
fn every_point_of_jobs_is_met() {
    let mut met = BTreeSet::new();
    for points in [&OF_EVERY_JOB[..], &OF_JOBS_GIVEN_UP, &OF_MANY_DELETIONS, &OF_SWEEPS] {
        met.extend(points);
    }
    assert_eq!(met, rewrite::FAIL_POINTS.iter().collect());
}

/// The actions at a point, each with what `FAILPOINTS` says then.
fn at(point: &str) -> impl Iterator<Item = (bool, String)> {
    let action = |action: &str| format!("{point}=1*{action}(injected)->off");
    [(false, action("return")), (true, action("panic"))].into_iter()
}

/// A panic stops the node, which says why.
fn expect_stop(server: &mut Server, when: &str) {
    let line = server.line_with("the node must stop");
    assert!(line.contains("injected"), "{when}: {line}");
    assert_eq!(server.wait().code(), Some(1), "{when}");
}

/// A process that may fail at `when`, with commits beside `others`: it stops there or goes on, and loses
/// nothing.
async fn fails_beside(others: &[&str], is_panic: bool, when: &str) {
    eprintln!("{when}");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::spawn(folder.path(), &[], when);
    server.line_with("ready: psql");
    let known = work(&server, others).await;
    if is_panic {
        expect_stop(&mut server, when);
    } else {
        assert_eq!(known.acknowledged.len(), COMMITS as usize, "{when}: commits go on");
    }
    server.kill();
    check(folder.path(), &known, when).await;
}

#[tokio::test]
async fn the_process_may_fail_at_any_step_of_flush_and_compaction() {
    for (is_panic, when) in OF_EVERY_JOB.into_iter().flat_map(at) {
        fails_beside(&["vacuum", "vacuum full", "checkpoint"], is_panic, &when).await;
    }
}

#[tokio::test]
async fn the_process_may_fail_while_a_job_is_given_up() {
    for (is_panic, when) in OF_JOBS_GIVEN_UP.into_iter().flat_map(at) {
        let when = format!("rewrite::object::after=1*return(injected)->off;{when}");
        fails_beside(&["vacuum"], is_panic, &when).await;
    }
}

/// Rows that are deleted while a snapshot still sees them go along, with their deletions, which are told
/// in several records.
#[tokio::test]
async fn the_process_may_fail_between_deletions_of_a_job() {
    let prepare = "create table t (k int primary key);
        insert into t select i from generate_series(1, 12000) i";
    for (is_panic, when) in OF_MANY_DELETIONS.into_iter().flat_map(at) {
        eprintln!("{when}");
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::spawn(folder.path(), &[], &when);
        server.line_with("ready: psql");
        let (client, _connection) = server.connect().await;
        client.batch_execute(prepare).await.expect("rows");
        let (old, _other) = server.connect().await;
        old.batch_execute("begin isolation level repeatable read").await.expect("BEGIN");
        let count = "select count(*) from t";
        assert_eq!(old.query_one(count, &[]).await.expect("rows").get::<_, i64>(0), 12_000);
        client.batch_execute("delete from t where k <= 11900").await.expect("DELETE");
        let vacuum = client.batch_execute("vacuum t").await;
        assert!(vacuum.is_err(), "{when}: was it met?");
        if is_panic {
            expect_stop(&mut server, &when);
        } else {
            client.batch_execute("vacuum t").await.expect("it is met once");
            let row = old.query_one(count, &[]).await;
            assert_eq!(row.expect("rows").get::<_, i64>(0), 12_000, "{when}");
        }
        server.kill();
        let known = Known { acknowledged: (11_901..=12_000).collect(), ..Known::default() };
        check(folder.path(), &known, &when).await;
    }
}

/// A start finds an object of a job that nobody knows.
#[tokio::test]
async fn the_process_may_fail_in_a_sweep() {
    for (is_panic, when) in OF_SWEEPS.into_iter().flat_map(at) {
        eprintln!("{when}");
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::start(folder.path(), &[]);
        let known = work(&server, &["vacuum", "vacuum full", "checkpoint"]).await;
        server.kill();
        let below = folder.path().join("objects/data/1");
        std::fs::create_dir_all(&below).expect("a folder");
        let orphan = below.join("0000000000000001-0.parquet");
        std::fs::write(&orphan, b"of a job that was lost").expect("a file");
        let mut server = Server::spawn(folder.path(), &[], &when);
        if is_panic {
            expect_stop(&mut server, &when);
        } else {
            let line = server.line_with("objects that nobody needs stay until later");
            assert!(line.contains("injected"), "{when}: {line}");
        }
        assert!(orphan.exists(), "{when}: was it met?");
        server.kill();
        check(folder.path(), &known, &when).await;
        // A start sweeps by itself, some time.
        let again = Server::start(folder.path(), &[]);
        let mut waited = Duration::ZERO;
        while orphan.exists() {
            assert!(waited < PATIENCE, "{when}: the orphan stays");
            pause(Duration::from_millis(10));
            waited += Duration::from_millis(10);
        }
        drop(again);
    }
}

/// Whole segments in the folder.
fn segments(data_dir: &Path) -> usize {
    let tables = std::fs::read_dir(data_dir.join("objects/data")).into_iter().flatten();
    let files = tables.filter_map(|table| std::fs::read_dir(table.ok()?.path()).ok()).flatten();
    let names = files.filter_map(Result::ok).map(|file| file.file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
}

/// Whatever became of the statement and of the process: all of its rows are there, or none, and no object
/// that no list names.
#[tokio::test]
async fn the_process_may_fail_at_any_step_of_a_large_write() {
    // Small enough that these rows are many.
    let arguments = ["--memory-limit", "64MiB", "--no-automatic-flush"];
    let fill = "insert into t select x, repeat(md5(x::text), 8) from generate_series(1, 40000) x";
    for point in staging::FAIL_POINTS {
        for action in ["return(injected)", "panic(injected)"] {
            let when = match *point {
                // It is met by who gives up.
                "staging::end" => {
                    format!("staging::object::after=1*return(first)->off;{point}=1*{action}->off")
                }
                _ => format!("{point}=1*{action}->off"),
            };
            eprintln!("{when}");
            let folder = tempfile::tempdir().expect("a folder");
            let mut server = Server::spawn(folder.path(), &arguments, &when);
            server.line_with("ready: psql");
            let (client, _connection) = server.connect().await;
            client.batch_execute("create table t (k int primary key, v text)").await.expect("t");
            let filled = client.batch_execute(fill).await;
            // Nothing goes on for so long that it has to say so.
            assert_eq!(filled.is_ok(), *point == "staging::renew", "{when}: {filled:?}");
            server.kill();

            let server = Server::start(folder.path(), &arguments);
            let (client, _connection) = server.connect().await;
            let count = "select count(*) from t";
            let found: i64 = client.query_one(count, &[]).await.expect("an answer").get(0);
            assert_eq!(found, if filled.is_ok() { 40_000 } else { 0 }, "{when}");
            // The first sweep follows the first checkpoint after the jobs of the last life were ended.
            let named = "select count(*) from glare_catalog.segments";
            for _ in 0..2_000 {
                client.batch_execute("checkpoint").await.expect("a checkpoint");
                let named: i64 = client.query_one(named, &[]).await.expect("an answer").get(0);
                if segments(folder.path()) == named as usize {
                    break;
                }
            }
            let named: i64 = client.query_one(named, &[]).await.expect("an answer").get(0);
            assert_eq!(segments(folder.path()), named as usize, "{when}: orphans");
            if filled.is_err() {
                client.batch_execute(fill).await.expect("it is done again");
            }
            let found: i64 = client.query_one(count, &[]).await.expect("an answer").get(0);
            assert_eq!(found, 40_000, "{when}");
        }
    }
}
