//! Large writes whose rows lie in objects before they commit, with every end that they may have.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use futures::executor::block_on;
use glaredb_txn::{
    codec::Writer,
    commit::message::{Answer, CommitRequest, Part, Refusal, Request},
    env::{Clock, SystemClock},
    ids::{CommitId, RowId, TableId},
    sim::SimEnv,
};

use super::{
    database::{
        apply, content, crash, create_table, env, open, options, put, reader, stop, table, values,
    },
    tables,
};
use crate::storage::{
    database::{Database, OpenOptions},
    record::{ChangesWriter, Control, Deletes, Group, GroupKind},
    rewrite::{PREFIX, RewriteOptions},
    staging::{Run, RunRows, Stage, Staged},
};

/// A large write under way.
struct Large {
    id: CommitId,
    stage: Stage,
    parts: u32,
}

fn rows(db: &Database, storage: TableId, keys: &[i64], text: &str) -> RunRows {
    let texts = keys.iter().map(|key| Some(format!("{text} {key}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys.to_vec())),
        Arc::new(texts.collect::<StringViewArray>()),
    ];
    let schema = table(db, storage).schema();
    let batch = RecordBatch::try_new(Arc::clone(schema.arrow()), columns).expect("rows of it");
    RunRows { batch, kept: None }
}

fn part_of(staged: &Staged) -> bytes::Bytes {
    let mut data = Writer::new();
    staged.rows().encode(&mut data);
    let (kind, kept) = (GroupKind::Segment, None);
    let mut group = Writer::new();
    Group { kind, rows: staged.meta().rows, kept, data: data.as_slice() }.write(&mut group);
    let mut changes = ChangesWriter::default();
    let version = staged.schema().version();
    changes.section(staged.meta().table, version, (1, group.as_slice()), Deletes::default());
    changes.finish([].into_iter(), None)
}

impl Large {
    fn begin(db: &Database, storage: TableId) -> Self {
        let stage = block_on(Stage::begin(db, storage)).expect("it begins");
        Self { id: db.leader().new_commit_id(), stage, parts: 0 }
    }

    /// Writes runs; the segments they are in.
    fn write(
        &self,
        db: &Database,
        storage: TableId,
        runs: &[&[i64]],
        text: &str,
    ) -> Vec<Arc<Staged>> {
        let mut writer = self.stage.writer(&table(db, storage).schema());
        let mut done = Vec::new();
        for keys in runs {
            let reservation = db.budget().reserve(0).expect("nothing always fits");
            let run = Run { rows: vec![rows(db, storage, keys, text)], reservation };
            done.extend(writer.write(run).expect("it is written").done);
        }
        done.extend(writer.finish().expect("it is written").done);
        done
    }

    fn send(&mut self, db: &Database, staged: &[Arc<Staged>]) -> Vec<Answer> {
        let send = |staged: &Arc<Staged>| {
            let part = Part { id: self.id, sequence: self.parts, payload: part_of(staged) };
            let answer = block_on(db.send(Request::Part(part)));
            self.parts += u32::from(answer == Answer::PartAccepted);
            answer
        };
        staged.iter().map(send).collect()
    }

    fn commit(&self, db: &Database, storage: TableId) -> Answer {
        let changes = ChangesWriter::default().finish([].into_iter(), None);
        block_on(db.commit(CommitRequest {
            id: self.id,
            schema_versions: vec![(storage, table(db, storage).schema().version())],
            unkeyed: vec![storage],
            parts: self.parts,
            payload: changes,
            ..CommitRequest::default()
        }))
    }
}

fn ids(db: &Database, storage: TableId) -> BTreeMap<i64, RowId> {
    let guard = db.snapshots().register();
    let rows = tables::rows(&table(db, storage), &reader(db), guard.timestamp());
    rows.into_iter().map(|(key, found)| (key, found.row_id)).collect()
}

fn objects(db: &Database) -> usize {
    db.segments().objects.list(PREFIX).expect("it lists").len()
}

fn until_clean(db: &Database, storage: TableId) {
    while objects(db) > table(db, storage).segments().len() || !db.state().jobs().is_empty() {
        let _ = block_on(db.checkpoint_now());
        SystemClock.sleep(Duration::from_millis(2));
    }
}

/// What may happen between two steps of a large write.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Between {
    Nothing,
    Checkpoint,
    Crash,
    /// Others write, and jobs move what they wrote.
    Others,
}

const ALL: [Between; 4] = [Between::Nothing, Between::Checkpoint, Between::Crash, Between::Others];

/// After each step anything may happen: what was acknowledged is there, with its ids, for those who may
/// see it, and nothing else stays.
#[test]
fn a_staged_commit_is_all_or_nothing() {
    for seed in 0..64_usize {
        let at = [ALL[seed % 4], ALL[seed / 4 % 4], ALL[seed / 16]];
        let sim = SimEnv::new(seed as u64);
        let mut db = open(&sim);
        let storage = create_table(&db, "t");
        let mut model = BTreeMap::new();
        let effects = values(10_000..10_020, "first");
        assert!(matches!(put(&db, storage, &effects), Answer::Committed { .. }));
        apply(&mut model, effects);
        let old = (db.snapshots().register(), model.clone());
        let mut lives = true;
        let happen = |db: &mut Arc<Database>, model: &mut BTreeMap<i64, String>, what| match what {
            Between::Nothing => true,
            Between::Checkpoint => {
                block_on(db.checkpoint_now()).expect("a checkpoint");
                true
            }
            Between::Others => {
                let first = 20_000 + model.len() as i64;
                let effects = values(first..first + 7, "meanwhile");
                assert!(matches!(put(db, storage, &effects), Answer::Committed { .. }));
                apply(model, effects);
                block_on(db.flush_now(storage)).expect("it is flushed");
                block_on(db.compact_now(storage)).expect("it is compacted");
                true
            }
            Between::Crash => false,
        };
        let mut large = Large::begin(&db, storage);
        lives &= happen(&mut db, &mut model, at[0]);
        if lives {
            let ordered: Vec<i64> = (0..500).collect();
            let mixed: Vec<i64> = (0..300).map(|n| n * 77 % 300 - 300).collect();
            let staged =
                large.write(&db, storage, &[&ordered[..200], &ordered[200..], &mixed], "large");
            assert_eq!(staged.iter().map(|s| s.meta().rows).collect::<Vec<_>>(), [500, 300]);
            let answers = large.send(&db, &staged);
            assert_eq!(answers, [Answer::PartAccepted, Answer::PartAccepted]);
            assert_eq!(content(&db, storage), model, "nobody sees it");
            lives &= happen(&mut db, &mut model, at[1]);
        }
        let mut expected_ids = None;
        if lives {
            let answer = large.commit(&db, storage);
            assert!(matches!(answer, Answer::Committed { .. }), "{at:?}: {answer:?}");
            assert!(db.state().jobs().is_empty(), "it ends with the commit");
            apply(&mut model, values(-300..500, "large"));
            assert_eq!(content(&db, storage), model, "{at:?}");
            let seen = tables::content(&table(&db, storage), &reader(&db), old.0.timestamp());
            assert_eq!(seen, old.1, "{at:?}: an older snapshot");
            let found = ids(&db, storage);
            let distinct: std::collections::BTreeSet<RowId> = found.values().copied().collect();
            assert_eq!(distinct.len(), model.len(), "{at:?}: ids are distinct");
            expected_ids = Some(found);
            happen(&mut db, &mut model, at[2]);
        }
        drop((old, large));
        let hash = db.state().hash();
        crash(&sim, db);
        let db = open(&sim);
        assert_eq!(content(&db, storage), model, "{at:?} after a crash");
        assert_eq!(db.state().hash(), hash);
        if let Some(expected) = expected_ids {
            let found = ids(&db, storage);
            assert!(
                expected.iter().all(|(key, id)| found[key] == *id),
                "{at:?}: rows keep their ids"
            );
        }
        until_clean(&db, storage);
        assert_eq!(content(&db, storage), model);
        stop(db);
    }
}

/// Rows of the log are applied alike by those who begin at a checkpoint between parts and commit.
#[test]
fn a_job_that_is_over_takes_neither_part_nor_commit() {
    let sim = SimEnv::new(99);
    let rewrite = RewriteOptions {
        orphan_age: Duration::from_millis(50),
        sweep_interval: Duration::ZERO,
        ..RewriteOptions::default()
    };
    let db = Database::open(OpenOptions { rewrite, ..options() }, env(&sim)).expect("it opens");
    let storage = create_table(&db, "t");
    let keys: Vec<i64> = (0..100).collect();
    let is_late = |answer: &Answer| matches!(answer, Answer::Refused(Refusal::TooLate(_)));

    // The sweep comes between the parts and the commit.
    let mut large = Large::begin(&db, storage);
    let staged = large.write(&db, storage, &[&keys], "late");
    assert_eq!(large.send(&db, &staged), [Answer::PartAccepted]);
    until_clean(&db, storage);
    assert_eq!(objects(&db), 0);
    let answer = large.commit(&db, storage);
    assert!(is_late(&answer), "{answer:?}");
    assert!(matches!(block_on(db.submit(&Request::Abort(large.id))), Answer::Aborted));
    // Between the object and its part.
    let mut large = Large::begin(&db, storage);
    let staged = large.write(&db, storage, &[&keys], "late");
    until_clean(&db, storage);
    let answers = large.send(&db, &staged);
    assert!(is_late(&answers[0]), "{answers:?}");
    // A sign of life is taken from jobs that live, and keeps them.
    let renewed =
        |large: &Large| db.leader().control_wait(Control::JobRenew(large.stage.job()).encode());
    assert!(is_late(&renewed(&large)));
    let mut large = Large::begin(&db, storage);
    let staged = large.write(&db, storage, &[&keys], "in time");
    let began = SystemClock.monotonic();
    while SystemClock.monotonic() < began + Duration::from_millis(200) {
        // The machine may be slow: then the sweep is right.
        if is_late(&renewed(&large)) {
            stop(db);
            return;
        }
        let _ = block_on(db.checkpoint_now());
    }
    if large.send(&db, &staged) == [Answer::PartAccepted]
        && matches!(large.commit(&db, storage), Answer::Committed { .. })
    {
        assert_eq!(
            content(&db, storage),
            values(0..100, "in time").into_iter().map(|(k, v)| (k, v.expect("a value"))).collect()
        );
    }
    drop(large);
    stop(db);
}

/// A part names what its job wrote, or is refused.
#[test]
fn a_part_that_names_what_its_job_did_not_write_is_refused() {
    let sim = SimEnv::new(98);
    let db = open(&sim);
    let (storage, other) = (create_table(&db, "t"), create_table(&db, "u"));
    let keys: Vec<i64> = (0..100).collect();
    let mut large = Large::begin(&db, storage);
    let staged = large.write(&db, storage, &[&keys], "t");
    let mut stranger = Large::begin(&db, other);
    let mut rows = staged[0].rows();
    rows.job = stranger.stage.job();
    let mut data = Writer::new();
    rows.encode(&mut data);
    for (table, count) in [(other, 100), (storage, 100), (storage, 99)] {
        let mut group = Writer::new();
        let kind = GroupKind::Segment;
        Group { kind, rows: count, kept: None, data: data.as_slice() }.write(&mut group);
        let mut changes = ChangesWriter::default();
        let version = staged[0].schema().version();
        changes.section(table, version, (1, group.as_slice()), Deletes::default());
        let payload = changes.finish([].into_iter(), None);
        let part = Part { id: stranger.id, sequence: 0, payload };
        let answer = block_on(db.submit(&Request::Part(part)));
        assert!(matches!(answer, Answer::Refused(Refusal::Malformed(_))), "{answer:?}");
    }
    assert_eq!(large.send(&db, &staged), [Answer::PartAccepted]);
    assert!(matches!(large.commit(&db, storage), Answer::Committed { .. }));
    let staged = stranger.write(&db, other, &[&keys], "u");
    assert_eq!(stranger.send(&db, &staged), [Answer::PartAccepted]);
    // It gives up: the objects go at once.
    assert!(matches!(block_on(db.submit(&Request::Abort(stranger.id))), Answer::Aborted));
    block_on(stranger.stage.give_up()).expect("it ends");
    assert_eq!(objects(&db), 1);
    assert_eq!(content(&db, storage).len(), 100);
    drop((large, staged));
    stop(db);
}
