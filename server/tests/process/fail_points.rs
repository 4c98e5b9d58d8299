//! The real process at every fail point of commit and checkpoint: a failure or a panic in the middle
//! of a workload, then a start on what is left. `engine`'s simulation walks the same points, and those
//! of the log, with power cuts.

use std::{collections::BTreeSet, path::Path};

use glaredb_engine::storage::checkpoint;
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

/// Commits one row after another and a checkpoint now and then, until something fails.
async fn work(server: &Server) -> Known {
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
        if key % 10 == 9 {
            // A checkpoint that fails is no reason to stop.
            let _ = client.batch_execute("checkpoint").await;
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
    let rows = client.query("select k from t", &[]).await.expect("the rows");
    let mut found = BTreeSet::new();
    for row in rows {
        let key: i32 = row.get(0);
        assert!(found.insert(key), "{when}: {key} is there twice");
    }
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
            let known = work(&server).await;
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
