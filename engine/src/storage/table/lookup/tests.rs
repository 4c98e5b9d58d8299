//! Rows by key and by place, over chunks and segments, in every order of commits, flushes and
//! compactions that a seed gives: whoever looks, and whenever, finds what a model says.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringViewArray},
    datatypes::{Int32Type, Schema},
};
use futures::executor::block_on;
use glaredb_txn::{
    codec::Writer,
    ids::{DatabaseId, JobId, Locator, Position, RowId, SegmentId, TableId, Timestamp},
};

use super::{KeyAccess, Sight};
use crate::storage::{
    StorageError,
    codec::batch,
    objects::ObjectName,
    record::{AddedSegment, ChangesWriter, Control, Deletes, Edit, Group, GroupKind, JobBegin},
    remap::{NewPlace, Remap},
    schema::TableSchema,
    segment::{
        Projection, Resident, RowIdColumn, SegmentOptions, SegmentStore, SegmentWriter,
        TimestampColumn, tests::Memory,
    },
    table::{KeyWalk, Stepped, Table, chunk_in},
    testing::{Leader, Seeded, keys_of, pairs},
    warmed::Warmed,
    write_set::{Deletion, OwnKey, Savepoint, WriteSet},
};

const T: TableId = TableId(11);
const KEYS: u64 = 120;

/// A version of a row.
#[derive(Clone, Debug)]
struct Version {
    row_id: u64,
    name: String,
    begin: Timestamp,
    end: Timestamp,
}

/// A row of a source, as it lies there.
struct Lying {
    at: Locator,
    row_id: u64,
    key: i32,
    name: String,
    begin: Timestamp,
    end: Timestamp,
}

/// The place at which a version was found once.
#[derive(Clone, Copy)]
struct Found {
    at: Locator,
    key: i32,
    row_id: u64,
    begin: Timestamp,
    /// Moves since are remembered as long as the horizon has not passed it.
    when: Timestamp,
}

/// A transaction that gathers while others go on.
struct Open {
    writes: WriteSet,
    at: Timestamp,
    /// Keys of the rows that it deleted.
    deleted: Vec<i32>,
    savepoint: Option<(Savepoint, usize)>,
}

struct World {
    leader: Leader,
    random: Seeded,
    store: SegmentStore,
    /// By key, oldest first.
    model: BTreeMap<i32, Vec<Version>>,
    held: Vec<Timestamp>,
    open: Option<Open>,
    found: Vec<Found>,
    names: u64,
    objects: u64,
    /// Flushes, compactions, rows fetched by places that they had left, walks taken up.
    counts: [u32; 4],
}

impl World {
    fn new(seed: u64, keyed: bool) -> Self {
        let mut leader = Leader::new();
        assert_eq!(leader.create(1, keyed), T);
        let resident = Resident::new(if seed.is_multiple_of(2) { 0 } else { 1 << 20 });
        let objects = Arc::new(Memory::default());
        Self {
            leader,
            random: Seeded(seed),
            store: SegmentStore { objects, database: DatabaseId(7), resident },
            model: BTreeMap::new(),
            held: Vec::new(),
            open: None,
            found: Vec::new(),
            names: 0,
            objects: 0,
            counts: [0; 4],
        }
    }

    fn table(&self) -> Arc<Table> {
        self.leader.table(T)
    }

    fn warmed(&self) -> Warmed {
        Warmed::new(self.store.clone())
    }

    fn key(&self, id: i32) -> Vec<u8> {
        let schema = keyed(&self.table().schema());
        keys_of(&schema, &pairs(&schema, &[(id, "")])).expect("a key").get(0).to_vec()
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("a name, number {}", self.names)
    }

    fn visible(&self, key: i32, at: Timestamp) -> Option<&Version> {
        let versions = self.model.get(&key)?;
        versions.iter().find(|version| version.begin <= at && version.end > at)
    }

    fn free_keys(&mut self) -> Vec<i32> {
        let now = self.leader.now();
        let count = 1 + self.random.below(8);
        let mut keys: Vec<i32> = (0..count).map(|_| self.random.below(KEYS) as i32).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| self.visible(*key, now).is_none());
        keys
    }

    fn came(&mut self, rows: &[(i32, String)], first_id: u64, begin: Timestamp) {
        for ((key, name), row_id) in rows.iter().zip(first_id..) {
            let version = Version { row_id, name: name.clone(), begin, end: Timestamp::INFINITY };
            self.model.entry(*key).or_default().push(version);
        }
    }

    fn insert(&mut self) {
        let keys = self.free_keys();
        let rows: Vec<_> = keys.into_iter().map(|key| (key, self.name())).collect();
        if rows.is_empty() {
            return;
        }
        if self.random.below(3) > 0 {
            return self.insert_sealed(&rows);
        }
        let first = self.table().next_row_id().0;
        let pairs: Vec<_> = rows.iter().map(|(key, name)| (*key, name.as_str())).collect();
        let begin = self.leader.insert(T, &pairs);
        self.came(&rows, first, begin);
    }

    /// A large commit: a chunk of its own, sealed.
    fn insert_sealed(&mut self, new: &[(i32, String)]) {
        let first = self.table().next_row_id().0;
        let schema = self.table().schema();
        let pairs: Vec<_> = new.iter().map(|(key, name)| (*key, name.as_str())).collect();
        let rows = crate::storage::testing::pairs(&schema, &pairs);
        let (mut data, mut group) = (Writer::new(), Writer::new());
        batch::encode(schema.columns(), rows.columns(), 0, rows.num_rows(), &mut data).unwrap();
        let count = rows.num_rows() as u32;
        Group { kind: GroupKind::Columns, rows: count, kept: None, data: data.as_slice() }
            .write(&mut group);
        let mut part = ChangesWriter::default();
        part.section(T, schema.version(), (1, group.as_slice()), Deletes::default());
        let id = self.leader.new_id();
        self.leader.part(id, 0, part.finish(std::iter::empty(), None)).unwrap();
        let nothing = self.leader.write_set();
        let begin = self.leader.commit_as(id, nothing, 1).unwrap();
        self.came(new, first, begin);
    }

    /// A key that has a row now.
    fn taken_key(&mut self) -> Option<i32> {
        let now = self.leader.now();
        let keys: Vec<i32> =
            self.model.keys().copied().filter(|key| self.visible(*key, now).is_some()).collect();
        let n = self.random.below((keys.len() as u64).max(1)) as usize;
        keys.get(n).copied()
    }

    fn locate(&self, key: i32, at: Timestamp) -> Option<Locator> {
        let table = self.table();
        if table.key_access().is_none() {
            let lies = |row: &Lying| row.key == key && row.begin <= at && row.end > at;
            return self.sources().into_iter().flat_map(|s| self.lying(s)).find(lies).map(|r| r.at);
        }
        let (key, warmed) = (self.key(key), self.warmed());
        block_on(warmed.answer(|warmed| table.lookup(&key, at, warmed))).unwrap()
    }

    fn delete_into(&self, writes: &mut WriteSet, key: i32, at: Locator, row_id: u64) {
        let table = self.table();
        let schema = table.schema();
        let keys = keys_of(&schema, &pairs(&schema, &[(key, "")]));
        let rows = Deletion { locators: &[at], row_ids: &[RowId(row_id)], keys: keys.as_ref() };
        let count = writes.delete(T, Some(&table), &schema, rows, Position::ZERO).unwrap();
        assert_eq!(count, 1);
    }

    /// Deletes a row, or puts a new version in its place.
    fn change(&mut self) {
        let Some(key) = self.taken_key() else { return };
        if self.open.as_ref().is_some_and(|open| open.deleted.contains(&key)) {
            return;
        }
        let now = self.leader.now();
        let row_id = self.visible(key, now).unwrap().row_id;
        let at = self.locate(key, now).expect("the row is there");
        let mut writes = self.leader.write_set();
        self.delete_into(&mut writes, key, at, row_id);
        let name = (self.random.below(2) == 0).then(|| self.name());
        if let Some(name) = &name {
            self.leader.add(&mut writes, T, &[(key, name)], Some(vec![RowId(row_id)]));
        }
        let done = self.leader.commit(writes).unwrap();
        let versions = self.model.get_mut(&key).unwrap();
        versions.last_mut().unwrap().end = done;
        if let Some(name) = name {
            let (begin, end) = (done, Timestamp::INFINITY);
            versions.push(Version { row_id, name, begin, end });
        }
    }

    fn begin(&mut self) {
        if self.open.is_none() {
            let (writes, at) = (self.leader.write_set(), self.leader.now());
            self.open = Some(Open { writes, at, deleted: Vec::new(), savepoint: None });
        }
    }

    /// A statement of the open transaction deletes a row that nobody else will touch.
    fn delete_in_open(&mut self) {
        let (Some(key), Some(mut open)) = (self.taken_key(), self.open.take()) else { return };
        let seen = self.visible(key, open.at).map(|seen| (seen.row_id, seen.begin, seen.end));
        if let Some((row_id, begin, Timestamp::INFINITY)) = seen
            && !open.deleted.contains(&key)
        {
            let at = self.locate(key, open.at).expect("the row is there");
            // Whatever became of it since: the place at which a statement found it.
            let same = |found: &&Found| (found.key, found.begin) == (key, begin);
            let old = self.found.iter().find(same).filter(|_| self.names.is_multiple_of(2));
            let at = old.map_or(at, |old| old.at);
            self.delete_into(&mut open.writes, key, at, row_id);
            open.deleted.push(key);
        }
        self.open = Some(open);
    }

    fn savepoint(&mut self) {
        let Some(open) = &mut self.open else { return };
        match open.savepoint.take() {
            None => {
                let savepoint = open.writes.set_savepoint().unwrap();
                open.savepoint = Some((savepoint, open.deleted.len()));
            }
            Some((savepoint, deleted)) => {
                open.writes.rewind(&savepoint);
                open.writes.release_savepoint(&savepoint, true);
                open.deleted.truncate(deleted);
            }
        }
    }

    fn end(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let table = self.table();
        if self.random.below(2) == 0 {
            open.writes.follow_moves(|_| Some(Arc::clone(&table))).unwrap();
            let done = self.leader.commit(open.writes).unwrap();
            for key in open.deleted {
                self.model.get_mut(&key).unwrap().last_mut().unwrap().end = done;
            }
        }
    }

    fn sources(&self) -> Vec<SegmentId> {
        let list = self.table().list();
        let chunks = list.chunks().iter().map(|chunk| chunk.segment());
        chunks.chain(list.segments().iter().map(|segment| segment.segment())).collect()
    }

    /// All rows of a source, deleted or not.
    fn lying(&self, source: SegmentId) -> Vec<Lying> {
        let table = self.table();
        let schema = table.schema();
        let mut rows = Vec::new();
        let mut push = |batch: &[ArrayRef], n: usize, row, row_id, begin, end| {
            let key = batch[0].as_primitive::<Int32Type>().value(n);
            let name = batch[1].as_string_view().value(n).to_owned();
            let at = Locator { segment: source, row };
            rows.push(Lying { at, row_id, key, name, begin, end });
        };
        if let Some(segment) = table.segment(source) {
            let opened = block_on(segment.open(&self.store, &schema)).unwrap();
            let (columns, deletions) = (&[0, 1], segment.deletions());
            let all = Projection { columns, row_ids: true, timestamps: true, ..<_>::default() };
            for group in 0..opened.row_groups() {
                let first = opened.row_group_rows(group).start;
                let read = block_on(opened.read(&schema, &all, group, None)).unwrap();
                let (ids, begins) = (read.row_ids.unwrap(), read.timestamps.unwrap());
                for n in 0..read.batch.num_rows() {
                    let row = first + n as u32;
                    let begin = Timestamp(begins.value(n));
                    push(read.batch.columns(), n, row, ids.value(n), begin, deletions.end(row));
                }
            }
            return rows;
        }
        let chunks = table.chunk_list();
        let Some(chunk) = chunk_in(&chunks, source) else { return rows };
        for block in chunk.blocks() {
            let columns = block.columns(&schema, 0..block.len, &[0, 1]);
            for n in 0..block.len {
                let row = block.row(n);
                let end = chunk.deletions().end(row);
                push(&columns, n, row, block.row_id(n).0, block.begin(n), end);
            }
        }
        rows
    }

    /// Writes segments in place of some sources.
    fn rewrite(&mut self) {
        let table = self.table();
        let mut inputs: Vec<SegmentId> = Vec::new();
        for source in self.sources() {
            if table.is_settled_source(source) && self.random.below(3) > 0 {
                inputs.push(source);
            }
        }
        inputs.sort_unstable();
        if inputs.is_empty() {
            return;
        }
        let compacts = inputs.iter().any(|input| table.segment(*input).is_some());
        self.leader.control(&Control::JobBegin(JobBegin { table: T, inputs: inputs.clone() }));
        let job = JobId(self.leader.now().0);
        let (as_of, horizon) = (self.leader.now(), self.leader.state.horizon());
        let mut rows: Vec<Lying> = inputs.iter().flat_map(|source| self.lying(*source)).collect();
        rows.retain(|row| row.end > horizon);
        let is_keyed = table.schema().key().is_some();
        rows.sort_by_key(|row| match is_keyed {
            true => (i64::from(row.key), row.begin),
            false => (row.row_id as i64, row.begin),
        });
        let cut = self.random.below(rows.len() as u64 + 1) as usize;
        let pieces: Vec<&[Lying]> =
            [&rows[..cut], &rows[cut..]].into_iter().filter(|piece| !piece.is_empty()).collect();
        let counts: Vec<u32> = pieces.iter().map(|piece| piece.len() as u32).collect();
        let mut remap = Remap::new(&counts);
        rows.iter().zip(0..).for_each(|(row, number)| remap.put(row.at, number));
        let mut deletions = Vec::new();
        let mut added = Vec::new();
        for (segment, piece) in pieces.iter().enumerate() {
            for (row, found) in piece.iter().enumerate().filter(|(_, row)| row.end <= as_of) {
                let place = NewPlace { segment: segment as u32, row: row as u32 };
                deletions.push((place, found.end));
            }
            self.objects += 1;
            added.push(write(&self.store, &table.schema(), self.objects, piece));
        }
        self.leader.state.note(job, as_of, Arc::new(remap));
        let chunks: Vec<_> = table
            .chunk_list()
            .iter()
            .filter(|chunk| inputs.contains(&chunk.segment()))
            .cloned()
            .collect();
        let edit = Edit { job, table: T, as_of, removed: inputs, added, deletions };
        self.leader.control(&Control::Edit(edit));
        self.counts[usize::from(compacts)] += 1;
        // Before the keys are taken out, and after: the same is found.
        self.check_keys(self.leader.now());
        table.forget_keys(&chunks).unwrap();
    }

    fn raise_horizon(&mut self) {
        let now = self.leader.now();
        let open = self.open.iter().map(|open| open.at);
        let horizon = self.held.iter().copied().chain(open).min().unwrap_or(now);
        self.leader.control(&Control::Horizon(horizon));
        self.found.retain(|found| found.when >= horizon);
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=3 => self.insert(),
            4..=8 => self.change(),
            9..=11 => self.rewrite(),
            12 => self.begin(),
            13..=14 => self.delete_in_open(),
            15 => self.savepoint(),
            16 => self.end(),
            17 => self.raise_horizon(),
            _ if self.random.below(2) == 0 => drop(self.held.pop()),
            _ => self.held.push(self.leader.now()),
        }
        let held: Vec<Timestamp> = self.held.iter().copied().chain([self.leader.now()]).collect();
        let n = self.random.below(held.len() as u64) as usize;
        if self.table().key_access().is_some() {
            self.check_keys(held[n]);
            self.check_walk(held[n]);
        }
        self.check_open();
    }

    /// Every key, one by one or all at once, and the rows at what was found.
    fn check_keys(&mut self, at: Timestamp) {
        let (table, warmed) = (self.table(), self.warmed());
        if table.key_access().is_none() {
            return;
        }
        let keys: Vec<Vec<u8>> = (0..KEYS as i32 + 2).map(|id| self.key(id)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let all = block_on(warmed.answer(|warmed| table.lookup_all(&keys, at, warmed))).unwrap();
        let (mut locators, mut expected, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (id, found) in (0..).zip(&all) {
            let seen = self.visible(id, at);
            assert_eq!(found.is_some(), seen.is_some(), "key {id} at {at}");
            if let (Some(found), Some(seen)) = (found, seen) {
                locators.push(*found);
                let (row_id, begin, when) = (seen.row_id, seen.begin, self.leader.now());
                expected.push((id, seen.name.clone(), row_id));
                places.push(Found { at: *found, key: id, row_id, begin, when });
            }
        }
        assert_eq!(self.fetched(&locators), expected, "at {at}");
        let n = self.random.below(KEYS) as usize;
        let one = block_on(warmed.answer(|warmed| table.lookup(keys[n], at, warmed))).unwrap();
        assert_eq!(one, all[n]);
        self.found.extend(places);
        self.check_old_places();
    }

    fn fetched(&self, locators: &[Locator]) -> Vec<(i32, String, u64)> {
        let (table, warmed) = (self.table(), self.warmed());
        let batch = block_on(warmed.answer(|warmed| table.fetch(locators, None, warmed))).unwrap();
        let ids = block_on(warmed.answer(|warmed| table.fetch_row_ids(locators, warmed))).unwrap();
        let keys = batch.column(0).as_primitive::<Int32Type>();
        let names = batch.column(1).as_string_view();
        let rows =
            (0..locators.len()).map(|n| (keys.value(n), names.value(n).to_owned(), ids[n].0));
        rows.collect()
    }

    /// Rows are fetched by the places at which they were found, wherever they lie by now.
    fn check_old_places(&mut self) {
        if self.found.len() > 500 {
            self.found.drain(..250);
        }
        let list = self.table().list();
        let horizon = self.leader.state.horizon();
        let count = self.found.len().min(20);
        let mut asked: Vec<Found> = (0..count)
            .map(|_| self.random.below(self.found.len() as u64) as usize)
            .map(|n| self.found[n])
            .collect();
        // What is dead below the horizon may be gone.
        asked.retain(|found| {
            let mut versions = self.model[&found.key].iter();
            versions.any(|version| version.begin == found.begin && version.end > horizon)
        });
        let locators: Vec<Locator> = asked.iter().map(|found| found.at).collect();
        self.counts[2] += locators.iter().filter(|l| !list.has_source(l.segment)).count() as u32;
        let rows = self.fetched(&locators);
        for ((key, name, row_id), found) in rows.iter().zip(&asked) {
            assert_eq!((*key, *row_id), (found.key, found.row_id));
            let mut versions = self.model[key].iter();
            assert!(versions.any(|v| v.begin == found.begin && v.name == *name), "{name}");
        }
    }

    /// A range of keys, either way, a few rows at a time, with a rewrite in the middle.
    fn check_walk(&mut self, at: Timestamp) {
        let bound = |random: &mut Seeded| random.below(KEYS + 2) as i32;
        let (start, end) = (bound(&mut self.random), bound(&mut self.random));
        let open_end = self.random.below(3) == 0;
        let backward = self.random.below(2) == 0;
        let (from, to) = (self.key(start), (!open_end).then(|| self.key(end)));
        let table = self.table();
        let access = table.key_access().unwrap();
        let range = (from.as_slice(), to.as_deref());
        let mut list = table.list();
        let idle = self.warmed();
        let mut walk = KeyWalk::new(&access, &list, range, backward, (at, &idle)).unwrap();
        let mut rewrite = self.held.contains(&at) && self.random.below(4) == 0;
        let mut places = Vec::new();
        let steps_max = 1 + self.random.below(30) as usize;
        loop {
            let warmed = self.warmed();
            let mut examined = 0;
            let stepped = block_on(warmed.answer(|warmed| {
                let sight = Sight { at, hidden: &|_| false, warmed, then: None };
                let mut give = |_: &_, locator| places.push(locator);
                walk.step((&table, &access), steps_max, &sight, &mut examined, &mut give)
            }))
            .unwrap();
            if stepped == Stepped::Edited {
                self.counts[3] += 1;
                list = table.list();
                walk.take_up(&access, &list, (at, &idle)).unwrap();
                continue;
            }
            if walk.ended() {
                break;
            }
            if std::mem::take(&mut rewrite) {
                self.rewrite();
            }
        }
        let mut expected: Vec<(i32, String, u64)> = Vec::new();
        for id in start..if open_end { i32::MAX } else { end.max(start) } {
            if id > KEYS as i32 + 2 {
                break;
            }
            expected.extend(self.visible(id, at).map(|v| (id, v.name.clone(), v.row_id)));
        }
        if backward {
            expected.reverse();
        }
        assert_eq!(self.fetched(&places), expected, "{start}..{end} at {at}, {backward}");
    }

    /// The open transaction's writes say of every row whether it deleted it.
    fn check_open(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let (table, at) = (self.table(), open.at);
        let list = open.writes.newest_list(&table).unwrap();
        for source in self.sources() {
            for row in self.lying(source).iter().filter(|row| row.begin <= at && row.end > at) {
                let deleted = open.writes.table(T).is_some_and(|own| own.is_deleted(row.at));
                let listed = list.has_source(source);
                assert!(listed && deleted == open.deleted.contains(&row.key), "{}", row.key);
            }
        }
        if let Some(own) = open.writes.table(T).filter(|_| table.key_access().is_some()) {
            for key in &open.deleted {
                assert_ne!(own.own_key(&self.key(*key)), OwnKey::Row(0));
            }
        }
        self.open = Some(open);
    }
}

/// The table's columns with its first one as the key, whether it is or not.
fn keyed(schema: &Arc<TableSchema>) -> Arc<TableSchema> {
    if schema.key().is_some() {
        return Arc::clone(schema);
    }
    let columns = schema.columns().to_vec();
    Arc::new(TableSchema::new(schema.version(), columns, Some(vec![0])).unwrap())
}

/// Writes the object number `n`.
fn write(store: &SegmentStore, schema: &Arc<TableSchema>, n: u64, rows: &[Lying]) -> AddedSegment {
    let name = ObjectName::new(format!("data/11/{n}.parquet")).unwrap();
    let object = store.objects.create(&name).unwrap();
    let options = SegmentOptions {
        database: store.database,
        table: T,
        name,
        schema: Arc::clone(schema),
        row_ids: RowIdColumn::Stored { first: RowId(rows[0].row_id) },
        timestamps: TimestampColumn::Stored,
    };
    let mut writer = SegmentWriter::new(options, object).unwrap();
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.key).collect::<Int32Array>());
    let names = rows.iter().map(|row| Some(row.name.as_str()));
    let names: ArrayRef = Arc::new(names.collect::<StringViewArray>());
    let fields: Vec<_> = schema.arrow().fields().iter().cloned().collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![keys, names]).unwrap();
    let row_ids: Vec<RowId> = rows.iter().map(|row| RowId(row.row_id)).collect();
    let begins: Vec<Timestamp> = rows.iter().map(|row| row.begin).collect();
    writer.write(&batch, &row_ids, &begins).unwrap();
    let meta = writer.finish().unwrap();
    let mut bytes = Writer::new();
    meta.encode(&mut bytes);
    AddedSegment {
        segment: SegmentId(0),
        rows: meta.rows,
        fingerprint: u64::from(meta.tail.crc),
        meta: bytes.into_vec().into(),
    }
}

#[test]
fn rows_are_found_wherever_they_lie() {
    let mut counts = [0; 4];
    for seed in 0..12 {
        let mut world = World::new(seed, true);
        for _ in 0..150 {
            world.step();
        }
        counts.iter_mut().zip(world.counts).for_each(|(all, one)| *all += one);
    }
    // What the test is about did happen.
    let [flushes, compactions, left, taken_up] = counts;
    let happened = flushes > 20 && compactions > 100 && left > 200 && taken_up > 10;
    assert!(happened, "{counts:?}");
}

/// Segments that were written before the table had a key.
#[test]
fn a_key_that_comes_late_finds_rows_of_segments_in_another_order() {
    for seed in 100..108 {
        let mut world = World::new(seed, false);
        for _ in 0..60 {
            world.step();
        }
        world.open = None;
        let table = world.table();
        let unsorted = table.segments().len();
        assert!(unsorted > 0, "seed {seed}");
        // A transaction looks by the key that it gives the table.
        let (now, schema) = (world.leader.now(), keyed(&table.schema()));
        let access = KeyAccess { index: table.prepare_index(&schema, now).unwrap(), schema };
        let (keys, warmed) = ((0..KEYS as i32).map(|id| world.key(id)), world.warmed());
        let keys: Vec<Vec<u8>> = keys.collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let found = block_on(warmed.answer(|warmed| {
            let sight = Sight { at: now, hidden: &|_| false, warmed, then: None };
            table.lookup_in(&table.list(), &access, &keys, &sight)
        }));
        let found = found.unwrap().expect("nothing was edited");
        for (id, found) in (0..).zip(&found) {
            assert_eq!(found.is_some(), world.visible(id, now).is_some(), "key {id}");
        }
        let change = world.leader.pairs_change(1, T, 2, true);
        let mut writes = world.leader.write_set();
        writes.change_catalog(change);
        world.leader.commit(writes).unwrap();
        // Older snapshots do not know of the key.
        world.held.clear();
        world.check_keys(world.leader.now());
        for _ in 0..90 {
            world.step();
        }
    }
}

#[test]
fn a_cold_row_is_looked_up_by_reading_little() {
    let mut world = World::new(2, true);
    let rows: Vec<_> = (0..KEYS as i32).map(|key| (key, format!("row {key}"))).collect();
    world.insert_sealed(&rows);
    while world.table().segments().is_empty() {
        world.rewrite();
    }
    let (table, warmed, now) = (world.table(), world.warmed(), world.leader.now());
    let beyond = world.key(KEYS as i32 + 5);
    // No request is needed to know that it is not there.
    assert!(matches!(table.lookup(&beyond, now, &warmed), Ok(None)));
    let key = world.key(7);
    assert!(table.lookup(&key, now, &warmed).is_err(), "nothing is in memory");
    assert!(block_on(warmed.answer(|w| table.lookup(&key, now, w))).unwrap().is_some());
    assert!(matches!(table.lookup(&key, now, &warmed), Ok(Some(_))), "it stays with the reader");
    let held = warmed.held_bytes();
    warmed.release_beyond(held);
    assert!(held > 0 && warmed.held_bytes() == held, "{held}");
    warmed.release_beyond(held - 1);
    assert_eq!(warmed.held_bytes(), 0);
    assert!(table.lookup(&key, now, &warmed).is_err(), "it was given back");
    assert!(block_on(warmed.answer(|w| table.lookup(&key, now, w))).unwrap().is_some());
    let error = table.fetch(&[Locator { segment: SegmentId(999), row: 0 }], None, &warmed);
    let error = format!("{:?}", error.expect_err("no such source"));
    assert!(error.contains("NoChunk"), "{error}");
    assert!(matches!(table.lookup(&key, Timestamp::ZERO, &warmed), Ok(None)), "not committed");
}

/// Errors of places that nobody remembers.
#[test]
fn rows_whose_moves_are_forgotten_are_told() {
    let mut world = World::new(3, true);
    world.insert_sealed(&[(1, "one".to_owned()), (2, "two".to_owned())]);
    let at = world.locate(1, world.leader.now()).unwrap();
    let mut writes = world.leader.write_set();
    world.delete_into(&mut writes, 1, at, 0);
    while world.table().segments().is_empty() {
        world.rewrite();
    }
    let now = world.leader.now();
    world.insert_sealed(&[(3, "three".to_owned())]);
    world.leader.control(&Control::Horizon(Timestamp(now.0 + 1)));
    let table = world.table();
    let lost = writes.follow_moves(|_| Some(Arc::clone(&table))).unwrap_err();
    assert_eq!(lost, StorageError::RowsMoved(T));
}
