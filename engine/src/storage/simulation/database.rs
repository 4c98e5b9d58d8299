//! A `Database` with its threads on a simulated disk.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::executor::block_on;
use glaredb_catalog::{CatalogChange, descriptor::builtin};
use glaredb_txn::{
    commit::message::{Answer, Part, Request},
    env::{Clock, Env, SystemClock, SystemThreads},
    ids::TableId,
    log::OpenError as LogOpenError,
    sim::SimEnv,
};

use super::tables::{self, Effects, Encoded, Reader, Transaction};
use crate::storage::{
    database::{Database, OpenOptions},
    recovery::{LOG_DIRECTORY, OpenError, RecoveryPhase},
    table::Table,
};

/// Real time and threads; the disk forgets.
pub(super) fn env(sim: &SimEnv) -> Env {
    Env { clock: Arc::new(SystemClock), threads: Arc::new(SystemThreads), ..sim.env() }
}

pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions { budget_bytes: 256 << 20, ..OpenOptions::default() };
    options.log.file_bytes = 4 << 20;
    // Nothing takes or frees space behind a test's back.
    options.log.preallocate_in_background = false;
    options.horizon_interval = Duration::from_millis(20);
    options
}

pub(super) fn open(sim: &SimEnv) -> Arc<Database> {
    Database::open(options(), env(sim)).expect("opens")
}

/// Pulls the plug under a running database.
pub(super) fn crash(sim: &SimEnv, db: Arc<Database>) {
    sim.disk.crash();
    // Its threads fail on their next write and end.
    stop(db);
}

/// Ends it and all that it has open, as the end of the process does.
pub(super) fn stop(db: Arc<Database>) {
    db.shutdown();
    assert!(Arc::into_inner(db).is_some(), "nobody else holds the database");
}

pub(super) fn begin(db: &Database) -> Transaction {
    Transaction::begin(db.state(), db.snapshots().register().snapshot())
}

pub(super) fn commit(db: &Database, transaction: Transaction) -> Answer {
    let id = db.leader().new_commit_id();
    let Encoded { parts, request, .. } = transaction.finish(id);
    for (sequence, part) in (0..).zip(parts) {
        let part = Request::Part(Part { id, sequence, payload: part.payload() });
        match block_on(db.send(part)) {
            Answer::PartAccepted => {}
            other => return other,
        }
    }
    block_on(db.commit(request))
}

pub(super) fn commit_ok(db: &Database, transaction: Transaction) {
    let answer = commit(db, transaction);
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
}

pub(super) fn create_table(db: &Database, name: &str) -> TableId {
    let mut transaction = begin(db);
    let catalog = transaction.catalog();
    let (storage, oid) = (catalog.next_table_id(), catalog.next_oid());
    let mut change = CatalogChange::default();
    change.create_table(tables::table(name, storage, oid));
    transaction.change_catalog(change);
    commit_ok(db, transaction);
    storage
}

pub(super) fn table(db: &Database, storage: TableId) -> Arc<Table> {
    db.table(storage).expect("the table is there")
}

pub(super) fn put(db: &Database, storage: TableId, effects: &Effects) -> Answer {
    let mut transaction = begin(db);
    transaction.put(&table(db, storage), &reader(db), effects.clone());
    commit(db, transaction)
}

pub(super) fn reader(db: &Database) -> Reader {
    Reader::new(db.segments().clone())
}

pub(super) fn content(db: &Database, storage: TableId) -> BTreeMap<i64, String> {
    let guard = db.snapshots().register();
    tables::content(&table(db, storage), &reader(db), guard.timestamp())
}

pub(super) fn values(keys: impl IntoIterator<Item = i64>, text: &str) -> Effects {
    keys.into_iter().map(|key| (key, Some(format!("{text} {key}")))).collect()
}

pub(super) fn apply(model: &mut BTreeMap<i64, String>, effects: Effects) {
    for (key, value) in effects {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

#[test]
fn the_first_start_makes_a_usable_database() {
    let sim = SimEnv::new(1);
    let db = open(&sim);
    let check = |db: &Database| {
        let guard = db.snapshots().register();
        let catalog = db.catalog_at(&guard.snapshot());
        assert!(catalog.role("postgres").is_some_and(|role| role.superuser));
        assert!(catalog.database("postgres").is_some());
        for schema in ["pg_catalog", "information_schema", "public"] {
            assert!(catalog.schema(schema).is_some(), "{schema}");
        }
        assert_eq!(catalog.next_oid(), builtin::FIRST_USER_OID);
        assert_eq!(catalog.schema("public").map(|s| s.oid), Some(builtin::SCHEMA_PUBLIC));
    };
    check(&db);
    let id = db.id();
    crash(&sim, db);
    let db = open(&sim);
    check(&db);
    assert_eq!(db.id(), id);
    stop(db);
    let db = open(&sim);
    check(&db);
    assert_eq!(db.id(), id);
    stop(db);
}

#[test]
fn acknowledged_commits_survive_crashes_checkpoints_and_clean_stops() {
    let sim = SimEnv::new(2);
    let mut db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    for round in 0..12 {
        for n in 0..20 {
            let first = (round * 7 + n * 3) % 50;
            let mut effects = values(first..first + 4, &format!("round {round}.{n}"));
            effects.insert((first + 25) % 54, None);
            let answer = put(&db, storage, &effects);
            assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
            apply(&mut model, effects);
            assert_eq!(content(&db, storage), model);
        }
        if round % 3 == 1 {
            block_on(db.checkpoint_now()).expect("a checkpoint");
        }
        match round % 4 {
            3 => stop(db),
            _ => crash(&sim, db),
        }
        db = open(&sim);
        assert_eq!(content(&db, storage), model, "after round {round}");
    }
    stop(db);
}

/// A checkpoint leaves a log that begins at it, and only its own objects; a clean stop writes one.
#[test]
fn a_checkpoint_cuts_the_log_and_deletes_what_it_supersedes() {
    let sim = SimEnv::new(3);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    for round in 0..30 {
        let answer = put(&db, storage, &values(0..50, &format!("{round}")));
        assert!(matches!(answer, Answer::Committed { .. }));
    }
    let before = db.metrics();
    let first = block_on(db.checkpoint_now()).expect("a checkpoint");
    let second = block_on(db.checkpoint_now()).expect("another");
    let after = db.metrics();
    assert_eq!(after.checkpoints, 2);
    assert!(second.at > first.at);
    assert_eq!(second.rows, 50);
    assert!(after.log_first.0 <= second.at.index.0);
    assert!(before.log_last < after.log_last);
    let prefix = second.manifest.as_str().trim_end_matches("manifest").to_owned();
    let prefix = prefix.trim_start_matches("checkpoint/");
    let files = glaredb_txn::env::Disk::list(&*sim.disk, "objects/checkpoint").expect("list");
    assert!(!files.is_empty() && files.iter().all(|f| f.starts_with(prefix)), "{files:?}");
    db.shutdown();
    stop(db);
    let db = open(&sim);
    assert_eq!(db.metrics().recovery_commits, 0, "nothing was replayed");
    assert_eq!(content(&db, storage).len(), 50);
    stop(db);
}

/// A sealed chunk is written once.
#[test]
fn sealed_chunks_are_not_written_again() {
    let sim = SimEnv::new(4);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    // Large enough to go through parts and to seal a chunk.
    let effects = values(0..70_000, "some text that makes the row a little longer");
    let answer = put(&db, storage, &effects);
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
    apply(&mut model, effects);
    let first = block_on(db.checkpoint_now()).expect("a checkpoint");
    let effects: Effects = [(5, None), (69_999, None), (1_000_000, Some("new".to_owned()))].into();
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    apply(&mut model, effects);
    let second = block_on(db.checkpoint_now()).expect("a checkpoint");
    assert!(first.bytes_written > 2_000_000, "{first:?}");
    assert!(second.bytes_written < first.bytes_written / 4, "{second:?}");
    crash(&sim, db);
    let db = open(&sim);
    assert_eq!(content(&db, storage), model);
    stop(db);
}

/// A corrupt object stops the opening with an error that names it.
#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let sim = SimEnv::new(5);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    assert!(matches!(put(&db, storage, &values(0..10, "x")), Answer::Committed { .. }));
    let summary = block_on(db.checkpoint_now()).expect("a checkpoint");
    crash(&sim, db);
    let name = summary.manifest.as_str().replace("manifest", "open-0");
    sim.disk.damage(&format!("objects/{name}"), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
    let options = options();
    let progress = Arc::clone(&options.progress);
    let Err(error) = Database::open(options, env(&sim)) else { panic!("it was damaged") };
    assert!(matches!(error, OpenError::Checkpoint(_)), "{error}");
    assert!(error.to_string().contains(&name), "{error}");
    assert_eq!(progress.phase(), RecoveryPhase::LoadingCheckpoint);
}

/// Without its log a database is not taken for a new one.
#[test]
fn a_missing_log_is_refused() {
    let sim = SimEnv::new(8);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    assert!(matches!(put(&db, storage, &values(0..10, "x")), Answer::Committed { .. }));
    stop(db);
    let disk = env(&sim).disk;
    for name in disk.list(LOG_DIRECTORY).expect("it is there") {
        disk.remove(&format!("{LOG_DIRECTORY}/{name}")).expect("it is there");
    }
    for _ in 0..2 {
        let Err(error) = Database::open(options(), env(&sim)) else { panic!("it has no log") };
        assert!(matches!(error, OpenError::Log(LogOpenError::Missing { .. })), "{error}");
    }
}

/// A full disk fails the checkpoint, not the database.
#[test]
fn a_full_disk_fails_the_checkpoint_only() {
    let sim = SimEnv::new(6);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let effects = values(0..3_000, "a row of some length, to be larger than the disk");
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    // The log gets its next file ready in the background.
    let mut used = 0;
    while used != sim.disk.used_bytes() {
        used = sim.disk.used_bytes();
        SystemClock.sleep(Duration::from_millis(200));
    }
    sim.disk.set_capacity(Some(used + 10_000));
    let error = block_on(db.checkpoint_now()).expect_err("there is no space");
    assert!(error.to_string().contains("no space"), "{error}");
    assert_eq!(db.metrics().checkpoint_failures, 1);
    assert_eq!(content(&db, storage).len(), 3_000, "reads go on");
    // The log has its space already.
    let answer = put(&db, storage, &values(0..1, "y"));
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
    sim.disk.set_capacity(None);
    block_on(db.checkpoint_now()).expect("there is space again");
    stop(db);
    let db = open(&sim);
    assert_eq!(content(&db, storage).len(), 3_000);
    stop(db);
}
