use std::sync::Arc;

use bytes::Bytes;
use glaredb_catalog::CatalogChange;
use glaredb_txn::{
    codec::Writer,
    commit::{
        message::{CommitRequest, Refusal},
        record::Record,
        state_machine::{Apply, Placement},
    },
    env::SystemThreads,
    ids::{
        CommitId, EntryIndex, JobId, LogId, Position, RowId, SchemaVersion, SegmentId, TableId,
        Timestamp,
    },
};

use super::{Applier, Replayer, replay::tests::replays_alike};
use crate::storage::{
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    record::{
        AddedSegment, Changes, ChangesWriter, Control, Deletes, DeletesKind, Edit, Group,
        GroupKind, JobBegin, JobDeletions, Placed, StagedRows, write_bitmaps,
    },
    remap::NewPlace,
    rewrite::object_name,
    schema::TableSchema,
    segment::{Extent, SegmentMeta, SortOrder},
    state::State,
    testing::{InMemory, Leader, golden, keys_of, pairs},
    write_set::{PART_BYTES, WriteSet},
};

/// Rows of which a few parts are made.
fn many(first: i32, count: i32) -> Vec<(i32, String)> {
    (first..first + count).map(|n| (n, format!("a name that is not short, number {n}"))).collect()
}

fn add_many(leader: &Leader, writes: &mut WriteSet, table: TableId, rows: &[(i32, String)]) {
    for some in rows.chunks(5000) {
        let some: Vec<(i32, &str)> = some.iter().map(|(n, s)| (*n, s.as_str())).collect();
        leader.add(writes, table, &some, None);
    }
}

#[test]
fn a_large_commit_shows_nothing_before_its_record_and_all_with_it() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(-1, "small")]);
    let before = leader.now();
    let rows = many(0, 150_000);
    let id = leader.new_id();
    let mut writes = leader.write_set();
    let mut sent = 0;
    for some in rows.chunks(20_000) {
        add_many(&leader, &mut writes, t, some);
        for part in writes.drain_parts().unwrap() {
            let part = part.payload();
            assert!(part.len() <= PART_BYTES * 5 / 4, "{}", part.len());
            leader.part(id, sent, part).unwrap();
            sent += 1;
        }
        assert_eq!(leader.rows(t, leader.now()).len(), 1);
    }
    assert!(sent > 3, "{sent}");
    // Others go on meanwhile.
    leader.insert(t, &[(-2, "small")]);
    let schema = leader.table(t).schema();
    let key = keys_of(&schema, &pairs(&schema, &[(77_777, "")])).unwrap();
    assert_eq!(leader.table(t).lookup_now(key.get(0), leader.now()), None);

    let at = leader.commit_as(id, writes, sent).unwrap();
    assert_eq!(leader.rows(t, before).len(), 1);
    assert_eq!(leader.rows(t, Timestamp(at.0 - 1)).len(), 2);
    let all = leader.rows(t, at);
    assert_eq!(all.len(), 150_002);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "row ids are distinct");
    assert!(leader.table(t).lookup_now(key.get(0), at).is_some());
    assert_eq!(leader.table(t).row_count_estimate(), 150_002);

    // Its rows are rows like others.
    let row = leader.table(t).lookup_now(key.get(0), at).unwrap();
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[row]);
    leader.commit(writes).unwrap();
    leader.insert(t, &[(-3, "small")]);
    leader.horizon();
    assert_eq!(leader.rows(t, leader.now()).len(), 150_002);
    replays_to_the_same(&leader);
}

/// Apply the whole log to an empty state.
fn replays_to_the_same(leader: &Leader) -> Arc<State> {
    let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
    let mut applier = Applier::new(Arc::clone(&state));
    for (position, record) in &leader.log {
        applier.apply(*position, record).unwrap();
    }
    assert_eq!(state.hash(), leader.state.hash());
    assert_eq!(state.next_segment(), leader.state.next_segment());
    for table in leader.state.tables() {
        let mine = state.table(table.id()).unwrap();
        assert_eq!(mine.next_row_id(), table.next_row_id());
        assert_eq!(mine.stats().index_entries, table.stats().index_entries);
        assert_eq!(mine.row_count_estimate(), table.row_count_estimate());
    }
    replays_alike(leader);
    state
}

#[test]
fn an_aborted_large_commit_leaves_nothing() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(-1, "small")]);
    let id = leader.new_id();
    let mut writes = leader.write_set();
    add_many(&leader, &mut writes, t, &many(0, 60_000));
    for (part, sequence) in writes.drain_parts().unwrap().into_iter().zip(0..) {
        leader.part(id, sequence, part.payload()).unwrap();
    }
    assert!(leader.table(t).stats().index_entries > 10_000);
    leader.abort(id);
    let stats = leader.table(t).stats();
    assert_eq!((stats.index_entries, stats.rows_held, stats.chunks), (1, 1, 1));
    assert_eq!(leader.rows(t, leader.now()).len(), 1);
    leader.insert(t, &[(0, "again")]);
    replays_to_the_same(&leader);
}

#[test]
fn a_large_commit_may_fill_the_table_it_creates_and_key_it() {
    let mut leader = Leader::new();
    let storage = TableId(20);
    let create = leader.pairs_change(1, storage, 1, false);
    let schema = Arc::new(TableSchema::from_descriptor(&create.upsert_tables[0]).unwrap());
    let id = leader.new_id();
    let mut writes = leader.write_set();
    writes.create_storage(storage, &schema);
    let rows = many(0, 100_000);
    let refs: Vec<(i32, &str)> = rows.iter().map(|(n, s)| (*n, s.as_str())).collect();
    for some in refs.chunks(9000) {
        let batch = pairs(&schema, some);
        writes.insert(storage, &schema, batch, None, None, Position::ZERO).unwrap();
    }
    let parts = writes.drain_parts().unwrap();
    let sent = parts.len() as u32;
    for (part, sequence) in parts.into_iter().zip(0..) {
        leader.part(id, sequence, part.payload()).unwrap();
    }
    writes.change_catalog(create.clone());
    let mut keyed = leader.pairs_change(1, storage, 2, true);
    keyed.created.clear();
    writes.change_catalog(keyed);
    assert!(leader.state.table(storage).is_none());
    let at = leader.commit_as(id, writes, sent).unwrap();
    assert_eq!(leader.rows(storage, at).len(), 100_000);
    assert_eq!(leader.table(storage).stats().index_entries, 100_000);
    assert_eq!(leader.table(storage).schema().version(), SchemaVersion(2));
    leader.insert(storage, &[(-5, "more")]);
    replays_to_the_same(&leader);
}

#[test]
fn a_key_added_later_indexes_what_is_there() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    leader.insert(t, &[(1, "one"), (2, "two"), (3, "three")]);
    let row = leader.table(t).view(leader.now()).units()[0].locator(1);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[row]);
    leader.commit(writes).unwrap();
    let mut change = leader.pairs_change(1, t, 2, true);
    change.created.clear();
    let mut writes = leader.write_set();
    writes.change_catalog(change);
    leader.commit(writes).unwrap();

    let table = leader.table(t);
    let schema = table.schema();
    let keys = keys_of(&schema, &pairs(&schema, &[(1, ""), (2, ""), (3, "")])).unwrap();
    let found: Vec<bool> =
        keys.iter().map(|key| table.lookup_now(key, leader.now()).is_some()).collect();
    assert_eq!(found, [true, false, true]);
    leader.insert(t, &[(2, "two again")]);
    assert!(table.lookup_now(keys.get(1), leader.now()).is_some());
    leader.horizon();
    replays_to_the_same(&leader);
}

#[test]
fn dropped_and_truncated_rows_stay_until_the_horizon_passes() {
    let mut leader = Leader::new();
    let (dropped, truncated) = (leader.create(1, true), leader.create(2, true));
    leader.insert(dropped, &[(1, "one")]);
    let before = leader.insert(truncated, &[(1, "one")]);
    let used = leader.state.budget().table_bytes();
    let mut writes = leader.write_set();
    writes.change_catalog(CatalogChange { drop_tables: vec![20_100], ..CatalogChange::default() });
    let mut truncate = leader.pairs_change(2, TableId(30), 2, true);
    truncate.created.clear();
    writes.change_catalog(truncate);
    let at = leader.commit(writes).unwrap();

    assert!(leader.state.catalog_at(at).table_by_storage(dropped).is_none());
    assert!(leader.state.catalog_at(before).table_by_storage(dropped).is_some());
    assert_eq!(leader.rows(dropped, before).len(), 1);
    assert_eq!(leader.rows(truncated, before).len(), 1);
    assert!(leader.rows(TableId(30), at).is_empty());
    leader.horizon();
    assert!(leader.state.table(dropped).is_none());
    assert!(leader.state.table(truncated).is_none());
    assert!(leader.state.budget().table_bytes() < used);
    leader.insert(TableId(30), &[(1, "one")]);

    let mut writes = leader.write_set();
    let schema = leader.table(TableId(30)).schema();
    let batch = pairs(&schema, &[(1, "late")]);
    let keys = keys_of(&schema, &batch);
    writes.insert(truncated, &schema, batch, None, keys.as_ref(), Position::ZERO).unwrap();
    let refused = leader.commit(writes).unwrap_err();
    assert!(matches!(refused, Refusal::SchemaChanged { current: None, .. }), "{refused}");
}

#[test]
fn a_record_that_contradicts_the_state_is_an_error() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(1, "one")]);
    let row = leader.table(t).view(leader.now()).units()[0].locator(0);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[row]);
    leader.commit(writes).unwrap();
    let records = leader.log.clone();
    for (_, record) in &records[2..] {
        // A second time: its places are taken, its row is deleted.
        let position = Position::new(LogId(0), EntryIndex(99), 0);
        let error = leader.applier.apply(position, record).unwrap_err();
        assert_eq!(error.position, position);
    }
    let unknown = Record::Commit {
        id: CommitId { number: 999, ..CommitId::default() },
        timestamp: Timestamp(999),
        parts: 2,
        payload: Placed::default().encode(&writes_nothing(&leader)),
    };
    assert!(leader.applier.apply(Position::ZERO, &unknown).is_err());
}

fn writes_nothing(leader: &Leader) -> bytes::Bytes {
    leader.write_set().finish().unwrap().payload
}

#[test]
fn a_refusal_changes_nothing() {
    let mut leader = Leader::with_budget(200 << 10);
    let t = leader.create(1, true);
    let at = leader.insert(t, &[(1, "one")]);
    let rows = many(100, 4000);
    let refs: Vec<(i32, &str)> = rows.iter().map(|(n, s)| (*n, s.as_str())).collect();
    // A session with a budget of its own, so that only the leader refuses.
    let mut writes = WriteSet::new(Budget::new(BUDGET_BYTES_DEFAULT));
    leader.add(&mut writes, t, &refs, None);
    let encoded = writes.finish().unwrap();
    let request = CommitRequest {
        schema_versions: encoded.schema_versions,
        payload: encoded.payload,
        ..CommitRequest::default()
    };
    let refused = leader.placement.place(&request, Timestamp(999)).unwrap_err();
    let Refusal::OutOfMemory(text) = &refused else { panic!("{refused}") };
    assert!(text.contains("DELETE, TRUNCATE and DROP TABLE are still possible"), "{text}");

    // The next rows lie just behind the last ones, and a deletion is admitted.
    leader.insert(t, &[(2, "two")]);
    let second = leader.table(t).view(leader.now()).units()[0].locator(1);
    let ids = leader.table(t).row_ids_now(&[second]).unwrap();
    assert_eq!((second.row, ids[0].0), (1, 1));
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[second]);
    leader.commit(writes).unwrap();
    assert_eq!(leader.rows(t, leader.now()), leader.rows(t, at));
}

#[test]
fn a_statement_planned_under_another_version_is_refused() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let mut late = leader.write_set();
    leader.add(&mut late, t, &[(1, "one")], None);
    let mut change = leader.pairs_change(1, t, 2, true);
    change.created.clear();
    let mut writes = leader.write_set();
    writes.change_catalog(change);
    leader.commit(writes).unwrap();
    let refused = leader.commit(late).unwrap_err();
    assert_eq!(
        refused,
        Refusal::SchemaChanged {
            table: t,
            planned: SchemaVersion(1),
            current: Some(SchemaVersion(2))
        }
    );
}

#[test]
fn one_row_changes_take_tens_of_bytes() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    leader.insert(t, &[(1, "one")]);
    let row = leader.table(t).lookup_now(
        keys_of(&leader.table(t).schema(), &pairs(&leader.table(t).schema(), &[(1, "")]))
            .unwrap()
            .get(0),
        leader.now(),
    );
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[row.unwrap()]);
    let ids = leader.table(t).row_ids_now(&[row.unwrap()]).unwrap();
    leader.add(&mut writes, t, &[(1, "uno")], Some(ids));
    leader.commit(writes).unwrap();
    let Record::Commit { payload, .. } = &leader.log.last().unwrap().1 else { panic!() };
    assert!(payload.len() < 50, "an update of one row takes {} bytes", payload.len());
    let (placed, changes) = Placed::decode(payload).unwrap();
    assert_eq!(placed.sections.len(), 1);
    assert_eq!(changes.sections[0].deletes.count, 1);
}

#[test]
fn damaged_records_never_panic() {
    let mut leader = Leader::new();
    let t = leader.create(1, true);
    let rows = many(0, 300);
    let refs: Vec<(i32, &str)> = rows.iter().map(|(n, s)| (*n, s.as_str())).collect();
    leader.insert(t, &refs);
    leader.insert(t, &[(1000, "one"), (2000, "two")]);
    let row = leader.table(t).view(leader.now()).units()[0].locator(0);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, t, &[row]);
    leader.commit(writes).unwrap();
    let mut random = crate::storage::testing::Seeded(3);
    let payloads: Vec<_> = leader
        .log
        .iter()
        .map(|(_, record)| match record {
            Record::Commit { payload, .. } => payload.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    for _ in 0..4000 {
        let mut bytes = payloads[random.below(payloads.len() as u64) as usize].to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        bytes.truncate(bytes.len() - (random.below(4) as usize).min(bytes.len()));
        let _ = Changes::decode(&bytes);
        if Placed::decode(&bytes).is_err() {
            continue;
        }
        // What decodes is applied to a state of its own: an error or not, but no panic.
        let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
        let mut applier = Applier::new(state);
        for (position, record) in &leader.log[..2] {
            applier.apply(*position, record).unwrap();
        }
        let record = Record::Commit {
            id: CommitId::default(),
            timestamp: Timestamp(77),
            parts: 0,
            payload: bytes.into(),
        };
        let applied = applier.apply(Position::ZERO, &record);
        let state = State::empty(Budget::new(BUDGET_BYTES_DEFAULT));
        let mut replayer = Replayer::new(state, Arc::new(SystemThreads));
        replayer.replay(&leader.log[..2]).unwrap();
        assert_eq!(replayer.apply(Position::ZERO, &record).is_ok(), applied.is_ok());
    }
}

/// Records of jobs.
fn jobs() -> Vec<Control> {
    let (job, table) = (JobId(1 << 40), TableId(11));
    let removed = vec![SegmentId(4), SegmentId(9)];
    let place = |segment, row, at| (NewPlace { segment, row }, Timestamp(at));
    let deletions = vec![place(0, 3, 70), place(0, 4, 60), place(1, 0, 80)];
    let added = |segment, rows| AddedSegment {
        segment: SegmentId(segment),
        rows,
        fingerprint: 0x0102_0304_0506_0708,
        meta: vec![1, 2].into(),
    };
    vec![
        Control::JobBegin(JobBegin { table, inputs: removed.clone() }),
        Control::JobEnd(job),
        Control::JobDeletions(JobDeletions { job, deletions: deletions.clone() }),
        Control::Edit(Edit {
            job,
            table,
            as_of: Timestamp(65),
            removed,
            added: vec![added(12, 5), added(13, 1)],
            deletions,
        }),
        Control::Seal { table, segment: SegmentId(14) },
        Control::JobRenew(job),
    ]
}

#[test]
fn damaged_records_of_jobs_are_errors() {
    for control in jobs() {
        let whole = control.encode();
        for length in 0..whole.len() {
            Control::decode(&whole[..length]).unwrap_err();
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Another record, or none: no panic.
            let _ = Control::decode(&flipped);
        }
    }
}

/// A part that brings a segment, and its commit.
fn stage(leader: &mut Leader, table: TableId) {
    leader.control(&Control::JobBegin(JobBegin { table, inputs: Vec::new() }));
    let (job, _) = leader.state.jobs().into_iter().next().unwrap();
    let meta = SegmentMeta {
        name: object_name(table, job, 0),
        bytes: 100,
        table,
        schema_version: leader.table(table).schema().version(),
        sort_order: SortOrder::Key(vec![1]),
        rows: 3,
        tail: Extent { offset: 90, len: 10, crc: 7 },
        filters: None,
        commits: (Timestamp::ZERO, Timestamp::ZERO),
        row_ids: (RowId(0), RowId(2)),
        keys: (Bytes::from_static(b"a"), Bytes::from_static(b"c")),
        columns: Vec::new(),
    };
    let mut data = Writer::new();
    StagedRows { job, meta }.encode(&mut data);
    assert_eq!(StagedRows::decode(data.as_slice()).unwrap().job, job);
    let mut group = Writer::new();
    let kind = GroupKind::Segment;
    Group { kind, rows: 3, kept: None, data: data.as_slice() }.write(&mut group);
    let mut part = ChangesWriter::default();
    let version = leader.table(table).schema().version();
    part.section(table, version, (1, group.as_slice()), Deletes::default());
    let id = leader.new_id();
    leader.part(id, 0, part.finish([].into_iter(), None)).unwrap();
    let before = leader.table(table).row_count_estimate();
    let next = leader.table(table).next_row_id();
    let writes = leader.write_set();
    let at = leader.commit_as(id, writes, 1).unwrap();
    let segments = leader.table(table).segments();
    let meta = segments[0].description().unwrap();
    assert_eq!((meta.commits, meta.row_ids), ((at, at), (RowId(next.0 - 3), RowId(next.0 - 1))));
    assert_eq!(leader.table(table).row_count_estimate(), before + 3);
    assert!(leader.state.jobs().is_empty());

    // Two of them are deleted, by a bitmap.
    let segment = segments[0].segment();
    let mut data = Writer::new();
    write_bitmaps(&[(segment, [0, 2].into_iter().collect())].into(), &mut data);
    let id = leader.new_id();
    for (sequence, count) in [(0, 3), (0, 2)] {
        let deletes = Deletes { count, kind: DeletesKind::Bitmaps, data: data.as_slice() };
        let mut part = ChangesWriter::default();
        part.section(table, version, (0, &[]), deletes);
        let placed = leader.part(id, sequence, part.finish([].into_iter(), None));
        assert_eq!(placed.is_ok(), count == 2, "{placed:?}");
    }
    let writes = leader.write_set();
    let then = leader.commit_as(id, writes, 1).unwrap();
    let deletions = segments[0].deletions();
    assert_eq!((deletions.at(at).len(), deletions.at(then).len()), (0, 2));
    assert_eq!(leader.table(table).row_count_estimate(), before + 1);
}

/// The payload of each kind of record as hex. Changing any of it needs a new record version.
#[test]
fn golden_records() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut leader = Leader::new();
    let (keyed, plain) = (leader.create(1, true), leader.create(2, false));
    leader.insert(keyed, &[(1, "one"), (2, "two")]);
    leader.insert(plain, &[(1, "one")]);
    let key = leader.table(keyed).view(leader.now()).units()[0].locator(1);
    let row = leader.table(plain).view(leader.now()).units()[0].locator(0);
    let mut writes = leader.write_set();
    leader.remove(&mut writes, keyed, &[key]);
    leader.add(&mut writes, keyed, &[(2, "zwei")], Some(vec![glaredb_txn::ids::RowId(1)]));
    leader.remove(&mut writes, plain, &[row]);
    leader.add(&mut writes, plain, &[(7, "seven")], None);
    leader.commit(writes).unwrap();
    let rows: Vec<(i32, &str)> = (0..300).map(|n| (n, "x")).collect();
    leader.insert(plain, &rows);

    let storage = TableId(30);
    let schema = leader.table(keyed).schema();
    let id = leader.new_id();
    let mut part = ChangesWriter::default();
    part.section(storage, schema.version(), (0, &[]), Deletes::default());
    let part = part.finish([(storage, &*schema)].into_iter(), None);
    leader.part(id, 0, part).unwrap();
    leader.abort(id);
    leader.horizon();
    leader.control(&Control::CheckpointBegin { number: 5 });
    stage(&mut leader, keyed);
    let controls = jobs();

    let mut text = String::new();
    for (_, record) in &leader.log {
        let line = match record {
            Record::Commit { payload, .. } => format!("commit {}\n", hex(payload)),
            Record::Part { payload, .. } => format!("part {}\n", hex(payload)),
            Record::Control { payload, .. } => format!("control {}\n", hex(payload)),
            Record::Abort { .. } => continue,
        };
        text.push_str(&line);
    }
    for control in controls {
        text.push_str(&format!("control {}\n", hex(&control.encode())));
        assert_eq!(Control::decode(&control.encode()).unwrap(), control);
    }
    golden("storage/golden_records.txt", &text);
}

/// A chunk is sealed by its bytes, too: what joins its blocks and writes it in one piece is bounded,
/// whatever the rows hold.
#[test]
fn chunks_of_large_rows_are_sealed_early() {
    let mut leader = Leader::new();
    let t = leader.create(1, false);
    let text = "x".repeat(700 << 10);
    for n in 0..30 {
        leader.insert(t, &[(n, &text)]);
    }
    let at = leader.now();
    let (next, _) = leader.table(t).open_chunk().unwrap();
    assert!(next.row < 10, "{next}");
    assert_eq!(leader.table(t).stats().chunks, 2);
    assert_eq!(leader.rows(t, at).len(), 30);
}
