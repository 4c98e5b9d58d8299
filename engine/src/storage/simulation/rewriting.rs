//! A `Database` whose rows move from memory to segments.

use std::collections::BTreeMap;

use futures::executor::block_on;
use glaredb_txn::{
    commit::message::Answer,
    ids::{RowId, TableId},
    sim::SimEnv,
};

use super::{
    database::{apply, commit_ok, content, crash, create_table, open, put, stop, table, values},
    tables,
};
use crate::storage::{database::Database, rewrite::RewriteSummary, table::TableStats};

fn flush(db: &Database, storage: TableId) -> RewriteSummary {
    block_on(db.flush_now(storage)).expect("it is flushed")
}

fn stats(db: &Database, storage: TableId) -> TableStats {
    table(db, storage).stats()
}

fn write(db: &Database, storage: TableId, model: &mut BTreeMap<i64, String>, text: &str) {
    let effects = values((0..40).chain(1_000..1_020), text);
    assert!(matches!(put(db, storage, &effects), Answer::Committed { .. }));
    apply(model, effects);
}

fn ids(db: &Database, storage: TableId) -> BTreeMap<i64, RowId> {
    let guard = db.snapshots().register();
    let rows = tables::rows(&table(db, storage), db.segments(), guard.timestamp());
    rows.into_iter().map(|(key, (_, id))| (key, id)).collect()
}

/// Rows, their ids, deletions and snapshots from before a flush are the same after it, after a crash
/// and after a start from a checkpoint.
#[test]
fn a_flush_changes_nothing_that_anyone_sees() {
    let sim = SimEnv::new(11);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    write(&db, storage, &mut model, "first");
    let old = (db.snapshots().register(), model.clone());
    // Deleted rows that the old snapshot still sees.
    let effects = (0..10).map(|key| (key, None)).collect();
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    apply(&mut model, effects);
    let before = ids(&db, storage);
    let summary = flush(&db, storage);
    assert_eq!((summary.jobs, summary.inputs, summary.outputs), (1, 1, 1));
    assert_eq!(summary.rows_written, 60, "the old snapshot reads the deleted ones");
    let after = stats(&db, storage);
    assert_eq!((after.chunks, after.segments, after.rows_live), (0, 1, 50));
    assert_eq!(after.index_entries, 0, "the index spans chunks only");
    assert_eq!(content(&db, storage), model);
    assert_eq!(ids(&db, storage), before);
    let seen = tables::content(&table(&db, storage), db.segments(), old.0.timestamp());
    assert_eq!(seen, old.1);
    drop(old);
    assert_eq!(flush(&db, storage), RewriteSummary::default(), "there is nothing left to flush");
    // Rows beside the segment.
    let effects = values(2_000..2_010, "later");
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    apply(&mut model, effects);
    assert_eq!(content(&db, storage), model);
    let hash = db.state().hash();
    crash(&sim, db);
    let db = open(&sim);
    assert_eq!(content(&db, storage), model);
    assert_eq!(db.state().hash(), hash);
    block_on(db.checkpoint_now()).expect("a checkpoint");
    assert_eq!(flush(&db, storage).outputs, 1);
    crash(&sim, db);
    let db = open(&sim);
    assert_eq!(stats(&db, storage).segments, 2);
    assert_eq!(content(&db, storage), model);
    stop(db);
}

/// What no snapshot reads any more is not written; where that is all, nothing is.
#[test]
fn dead_rows_are_left_out() {
    let sim = SimEnv::new(12);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    write(&db, storage, &mut model, "gone");
    let effects = model.keys().map(|key| (*key, None)).collect();
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    // The open chunk keeps dead rows, and so does a segment when it is written before the horizon.
    let deleted_at = db.snapshots().published().timestamp;
    while db.state().horizon() < deleted_at {
        std::thread::yield_now();
    }
    let summary = flush(&db, storage);
    assert_eq!((summary.outputs, summary.rows_written), (0, 0), "{summary:?}");
    let stats = stats(&db, storage);
    assert_eq!((stats.chunks, stats.segments, stats.rows_live), (0, 0, 0));
    assert_eq!(content(&db, storage), BTreeMap::new());
    stop(db);
}

/// A table that is dropped, or was never there, is not flushed.
#[test]
fn a_table_that_is_gone_is_not_flushed() {
    let sim = SimEnv::new(13);
    let db = open(&sim);
    let error = block_on(db.flush_now(TableId(77))).expect_err("there is none");
    assert_eq!(error.to_string(), "table77 does not exist");
    let storage = create_table(&db, "t");
    let mut transaction = super::database::begin(&db);
    let oid = transaction.catalog().table_by_storage(storage).expect("it is there").oid;
    let mut change = glaredb_catalog::CatalogChange::default();
    change.drop_table(oid);
    transaction.change_catalog(change);
    commit_ok(&db, transaction);
    // Dropped, and nobody reads it: nothing or an error, never a job.
    let _ = block_on(db.flush_now(storage));
    assert_eq!(db.jobs(), []);
    assert_eq!(db.state().jobs().len(), 0);
    stop(db);
}
