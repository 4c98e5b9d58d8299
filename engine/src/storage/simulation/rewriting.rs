//! A `Database` whose rows move from memory to segments.

use std::{collections::BTreeMap, slice::from_ref, sync::Arc, time::Duration};

use futures::executor::block_on;
use glaredb_txn::{
    commit::message::{Answer, Refusal},
    env::{Clock, SystemClock},
    ids::{RowId, TableId},
    sim::SimEnv,
};

use super::{
    database::{
        apply, commit_ok, content, crash, create_table, env, open, options, put, reader, stop,
        table, values,
    },
    tables,
};
use crate::storage::{
    database::{Database, OpenOptions},
    objects::ObjectName,
    record::{Control, JobBegin},
    rewrite::{PREFIX, RewriteOptions, RewriteSummary},
    segment::SortOrder,
    table::{TableSegment, TableStats},
};

/// Waits for what a thread of the database does by itself.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        SystemClock.sleep(Duration::from_millis(2));
    }
}

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
    let rows = tables::rows(&table(db, storage), &reader(db), guard.timestamp());
    rows.into_iter().map(|(key, found)| (key, found.row_id)).collect()
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
    let seen = tables::content(&table(&db, storage), &reader(&db), old.0.timestamp());
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
    until(|| db.state().horizon() >= deleted_at);
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

/// Segments of several flushes become one, without what nobody reads; a held snapshot still sees all.
#[test]
fn a_compaction_changes_nothing_that_anyone_sees() {
    let sim = SimEnv::new(14);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    for round in 0..4 {
        let effects = values((0..60).map(|n| n * 4 + round), "a value");
        assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
        apply(&mut model, effects);
        assert_eq!(flush(&db, storage).outputs, 1);
    }
    let (old, before) = ((db.snapshots().register(), model.clone()), ids(&db, storage));
    let effects = (5..15).map(|key| (key, None)).collect();
    // Rows of segments, deleted by their places there.
    assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
    apply(&mut model, effects);
    let summary = block_on(db.compact_now(storage)).expect("it is compacted");
    assert!(summary.jobs > 0, "{summary:?}");
    let after = stats(&db, storage);
    assert_eq!((after.chunks, after.segments, after.rows_live), (0, 1, 230));
    assert_eq!(content(&db, storage), model);
    let seen = tables::content(&table(&db, storage), &reader(&db), old.0.timestamp());
    assert_eq!(seen, old.1);
    drop(old);
    let after: BTreeMap<i64, RowId> = ids(&db, storage);
    assert!(after.iter().all(|(key, id)| before[key] == *id), "rows keep their ids");
    let metrics = db.metrics().rewrite;
    assert_eq!((metrics.flushes.jobs, metrics.segments), (4, 1));
    assert!(metrics.write_amplification() > 1.2 && metrics.dead_bytes > 0, "{metrics:?}");
    // Nobody needs the objects of the others, once the checkpoint is past them.
    assert!(metrics.removed_segments >= 4, "{metrics:?}");
    block_on(db.checkpoint_now()).expect("a checkpoint");
    let left = || db.segments().objects.list(PREFIX).expect("it lists").len();
    until(|| left() == 1);
    // The deleted rows are dead now.
    let again = block_on(db.compact_now(storage)).expect("it is compacted");
    assert_eq!((again.jobs, again.rows_written), (1, 230), "{again:?}");
    assert_eq!(content(&db, storage), model);
    crash(&sim, db);
    let db = open(&sim);
    assert_eq!(content(&db, storage), model);
    stop(db);
}

/// A key may come: segments are sorted by it before, and those that come meanwhile.
#[test]
fn segments_are_sorted_as_is_asked() {
    let sim = SimEnv::new(15);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    write(&db, storage, &mut model, "first");
    flush(&db, storage);
    let orders = |db: &Database| -> Vec<SortOrder> {
        let segments = table(db, storage).segments();
        let order = |s: &Arc<TableSegment>| s.description().expect("it decodes").sort_order.clone();
        segments.iter().map(order).collect()
    };
    let (key, other) = (SortOrder::Key(vec![1]), SortOrder::Key(vec![2, 1]));
    assert_eq!(orders(&db), from_ref(&key));
    let error = block_on(db.sort_now(storage, SortOrder::Key(vec![9])));
    assert_eq!(error.err().expect("no such column").to_string(), "no column 9 to sort rows by");
    assert_eq!(orders(&db), from_ref(&key));
    let sorted = block_on(db.sort_now(storage, other.clone())).expect("it is sorted");
    assert_eq!(orders(&db), from_ref(&other));
    write(&db, storage, &mut model, "second");
    flush(&db, storage);
    assert_eq!(orders(&db), [other.clone(), other]);
    drop(sorted);
    block_on(db.compact_now(storage)).expect("it is compacted");
    assert_eq!(orders(&db), [key]);
    assert_eq!(content(&db, storage), model);
    stop(db);
}

/// What a job left that was killed is gone soon after the next start, and its inputs are free.
#[test]
fn a_start_ends_open_jobs_and_deletes_what_they_wrote() {
    let sim = SimEnv::new(16);
    let db = open(&sim);
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    write(&db, storage, &mut model, "first");
    let state = db.state();
    let segment = table(&db, storage).open_chunk().expect("it is open").0.segment;
    let log = |record: Control| db.leader().control_wait(record.encode());
    let sealed = log(Control::Seal { table: storage, segment });
    assert!(matches!(sealed, Answer::Committed { .. }), "{sealed:?}");
    let again = log(Control::Seal { table: storage, segment });
    assert!(matches!(again, Answer::Refused(Refusal::TooLate(_))), "{again:?}");
    let begun = log(Control::JobBegin(JobBegin { table: storage, inputs: vec![segment] }));
    assert!(matches!(begun, Answer::Committed { .. }), "{begun:?}");
    let (job, _) = state.jobs().into_iter().next().expect("it is open");
    let own = format!("{PREFIX}{}/{:016x}-0.parquet", storage.0, job.0);
    let objects = &db.segments().objects;
    objects.put(&ObjectName::new(own).expect("a name"), b"half").expect("it is put");
    crash(&sim, db);
    let db = open(&sim);
    let left = || db.segments().objects.list(PREFIX).expect("it lists").len();
    until(|| left() == 0 && db.state().jobs().is_empty());
    assert_eq!(flush(&db, storage).outputs, 1);
    assert_eq!(content(&db, storage), model);
    stop(db);
}

/// Rows go to segments and these become few by themselves, in tables of which memory has enough.
#[test]
fn jobs_run_by_themselves() {
    let sim = SimEnv::new(17);
    let rewrite = RewriteOptions {
        automatic: true,
        flush_bytes: 100_000,
        segment_rows_max: 2_000,
        ..RewriteOptions::default()
    };
    let options = OpenOptions { rewrite, ..options() };
    let db = Database::open(options, env(&sim)).expect("it opens");
    let storage = create_table(&db, "t");
    let mut model = BTreeMap::new();
    // Large commits, which fill chunks of their own.
    for round in 0..10_i64 {
        let text = "x".repeat(2_000);
        let effects = values((0..600).map(|n| n * 10 + round), &text);
        assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
        apply(&mut model, effects);
    }
    let is_quiet = |db: &Database| {
        let metrics = db.metrics().rewrite;
        metrics.backlog_bytes < 100_000 && metrics.flushes.jobs > 0
    };
    until(|| is_quiet(&db));
    assert_eq!(content(&db, storage), model);
    stop(db);
}
