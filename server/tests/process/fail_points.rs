//! The real process at every fail point of commit, checkpoint, flush and compaction: a failure or a panic in the middle
//! of a workload, then a start on what is left. `engine`'s simulation walks the same points, and those
//! of the log, with power cuts.

use std::{collections::BTreeSet, path::Path};

use glaredb_engine::storage::{checkpoint, rewrite};
use glaredb_txn::commit;
use tokio_postgres::error::SqlState;

use crate::Server;

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

/// Points that every life with VACUUM meets.
const OF_EVERY_JOB: [&str; 7] = [
    "rewrite::seal",
    "rewrite::begin::before",
    "rewrite::begin::after",
    "rewrite::object::before",
    "rewrite::object::after",
    "rewrite::edit::before",
    "rewrite::edit::after",
];

#[tokio::test]
async fn the_process_may_fail_at_any_step_of_flush_and_compaction() {
    assert!(OF_EVERY_JOB.iter().all(|point| rewrite::FAIL_POINTS.contains(point)));
    // The sweep's come before a client does.
    let points = rewrite::FAIL_POINTS.iter().filter(|point| !point.contains("::sweep::"));
    for point in points {
        for action in ["return(injected)", "panic(injected)"] {
            let when = format!("{point}=1*{action}->off");
            eprintln!("{when}");
            let folder = tempfile::tempdir().expect("a folder");
            let mut server = Server::spawn(folder.path(), &[], &when);
            server.line_with("ready: psql");
            let known = work(&server, &["vacuum", "vacuum full", "checkpoint"]).await;
            let is_panic = action.starts_with("panic");
            if is_panic && OF_EVERY_JOB.contains(point) {
                let line = server.line_with("the node must stop");
                assert!(line.contains("injected"), "{when}: {line}");
                assert_eq!(server.wait().code(), Some(1), "{when}");
            } else if !is_panic {
                assert_eq!(known.acknowledged.len(), COMMITS as usize, "{when}: commits go on");
            }
            server.kill();
            check(folder.path(), &known, &when).await;
        }
    }
}
