//! Jobs beside commits, in every order that a seed gives: no row is lost, none comes twice, whoever
//! looks and whenever.

use std::{collections::BTreeMap, sync::Arc};

use glaredb_txn::{
    codec::Writer,
    commit::message::Refusal,
    ids::{JobId, Locator, Position, RowId, SegmentId, TableId, Timestamp},
};

use crate::storage::{
    apply::replay::tests::replays_alike,
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    codec::batch,
    record::{
        AddedSegment, ChangesWriter, Control, Deletes, DeletesKind, Edit, Group, GroupKind,
        JobBegin, JobDeletions,
    },
    remap::{NewPlace, Remap},
    state::{LoadedState, State},
    table::{Table, TableSegment, chunk_in},
    testing::{Leader, Seeded, keys_of, pairs, rows_of},
    write_set::Deletion,
};

const T: TableId = TableId(11);

/// What an object would hold: row id, key and commit timestamp of each row.
type Content = Vec<(u64, i32, Timestamp)>;

/// A row as some source has it.
#[derive(Clone, Copy, Debug)]
struct Row {
    at: Locator,
    row_id: u64,
    key: i32,
    begin: Timestamp,
    end: Timestamp,
}

struct World {
    leader: Leader,
    random: Seeded,
    objects: BTreeMap<SegmentId, Content>,
    /// By row id: key, begin and end of every row there ever was.
    model: BTreeMap<u64, (i32, Timestamp, Timestamp)>,
    /// Snapshots that somebody holds.
    held: Vec<Timestamp>,
    /// Old places of rows, as a statement found them a while ago, and when they were left.
    old_places: Vec<(Locator, u64, Timestamp)>,
    jobs: Vec<Job>,
    next_key: i32,
    /// Deletions by places that rows had left, edits, jobs given up.
    counts: [u32; 3],
}

struct Job {
    id: JobId,
    inputs: Vec<SegmentId>,
    written: Option<(Timestamp, Vec<Content>)>,
    /// Deletions that no record took along yet.
    deletions: Vec<(NewPlace, Timestamp)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut leader = Leader::new();
        assert_eq!(leader.create(1, true), T);
        Self {
            leader,
            random: Seeded(seed),
            objects: BTreeMap::new(),
            model: BTreeMap::new(),
            held: Vec::new(),
            old_places: Vec::new(),
            jobs: Vec::new(),
            next_key: 0,
            counts: [0; 3],
        }
    }

    fn table(&self) -> Arc<Table> {
        self.leader.table(T)
    }

    fn keys(&mut self) -> Vec<(i32, &'static str)> {
        let count = 1 + self.random.below(6) as i32;
        self.next_key += count;
        (self.next_key - count..self.next_key).map(|key| (key, "name")).collect()
    }

    fn came(&mut self, keys: &[(i32, &str)], begin: Timestamp) {
        let first = self.table().next_row_id().0 - keys.len() as u64;
        for ((key, _), id) in keys.iter().zip(first..) {
            self.model.insert(id, (*key, begin, Timestamp::INFINITY));
        }
    }

    /// A commit into the open chunk.
    fn insert(&mut self) {
        let keys = self.keys();
        let begin = self.leader.insert(T, &keys);
        self.came(&keys, begin);
    }

    /// A large commit: a chunk of its own, sealed.
    fn insert_sealed(&mut self) {
        let keys = self.keys();
        let schema = self.table().schema();
        let rows = pairs(&schema, &keys);
        let (mut data, mut group) = (Writer::new(), Writer::new());
        batch::encode(schema.columns(), rows.columns(), 0, keys.len(), &mut data).unwrap();
        let rows = keys.len() as u32;
        Group { kind: GroupKind::Columns, rows, kept: None, data: data.as_slice() }
            .write(&mut group);
        let mut part = ChangesWriter::default();
        part.section(T, schema.version(), (1, group.as_slice()), Deletes::default());
        let id = self.leader.new_id();
        self.leader.part(id, 0, part.finish(std::iter::empty(), None)).unwrap();
        let nothing = self.leader.write_set();
        let begin = self.leader.commit_as(id, nothing, 1).unwrap();
        self.came(&keys, begin);
    }

    /// All rows of a source, deleted or not.
    fn rows_in(&self, source: SegmentId) -> Vec<Row> {
        let table = self.table();
        if let Some(segment) = table.segment(source) {
            let row = |(n, (row_id, key, begin)): (usize, &(u64, i32, Timestamp))| {
                let (at, end) = (n as u32, segment.deletions().end(n as u32));
                let at = Locator { segment: source, row: at };
                Row { at, row_id: *row_id, key: *key, begin: *begin, end }
            };
            return self.objects[&source].iter().enumerate().map(row).collect();
        }
        let chunks = table.chunk_list();
        let Some(chunk) = chunk_in(&chunks, source) else { return Vec::new() };
        let mut rows = Vec::new();
        for block in chunk.blocks() {
            for n in 0..block.len {
                let (row, row_id) = (block.row(n), block.row_id(n).0);
                rows.push(Row {
                    at: Locator { segment: source, row },
                    row_id,
                    key: self.model[&row_id].0,
                    begin: block.begin(n),
                    end: chunk.deletions().end(row),
                });
            }
        }
        rows
    }

    fn sources(&self) -> Vec<SegmentId> {
        let table = self.table();
        let chunks = table.chunk_list();
        let segments = table.segments();
        let chunks = chunks.iter().map(|chunk| chunk.segment());
        chunks.chain(segments.iter().map(|segment| segment.segment())).collect()
    }

    fn alive(&self) -> Vec<Row> {
        let rows = self.sources().into_iter().flat_map(|source| self.rows_in(source));
        rows.filter(|row| row.end == Timestamp::INFINITY).collect()
    }

    /// Deletes a row by the place where it is, or by that where a statement found it once.
    fn delete(&mut self) {
        let old = self.random.below(3) == 0 && !self.old_places.is_empty();
        let (at, row_id) = if old {
            let n = self.random.below(self.old_places.len() as u64) as usize;
            (self.old_places[n].0, self.old_places[n].1)
        } else {
            let alive = self.alive();
            let Some(count) = (alive.len() as u64).checked_sub(1) else { return };
            let row = alive[self.random.below(count + 1) as usize];
            (row.at, row.row_id)
        };
        let (key, _, end) = self.model[&row_id];
        if end != Timestamp::INFINITY {
            // The resolver refuses it: someone deleted the row since.
            return;
        }
        let deleted = match self.delete_at(at, row_id, key) {
            Err(Refusal::Moved { table }) => {
                assert_eq!(table, T);
                self.counts[0] += 1;
                let now = self.table().current_place(at).expect("moves are kept for who may ask");
                assert_ne!(now, at);
                self.delete_at(now, row_id, key).expect("it lies there now")
            }
            other => other.expect("deletions are placed"),
        };
        self.model.get_mut(&row_id).unwrap().2 = deleted;
    }

    fn delete_at(&mut self, at: Locator, row_id: u64, key: i32) -> Result<Timestamp, Refusal> {
        let schema = self.table().schema();
        let keys = keys_of(&schema, &pairs(&schema, &[(key, "")]));
        let mut writes = self.leader.write_set();
        let rows = Deletion { locators: &[at], row_ids: &[RowId(row_id)], keys: keys.as_ref() };
        writes.delete(T, None, &schema, rows, Position::ZERO).unwrap();
        self.leader.commit(writes)
    }

    fn begin_job(&mut self) {
        let table = self.table();
        let mut inputs: Vec<SegmentId> = Vec::new();
        for source in self.sources() {
            let taken = self.jobs.iter().any(|job| job.inputs.contains(&source));
            if !taken && table.is_settled_source(source) && self.random.below(2) == 0 {
                inputs.push(source);
            }
        }
        inputs.sort_unstable();
        if inputs.is_empty() {
            return;
        }
        let begin = JobBegin { table: T, inputs: inputs.clone() };
        self.leader.control(&Control::JobBegin(begin.clone()));
        let id = JobId(self.leader.now().0);
        let twice = self.leader.try_control(&Control::JobBegin(begin));
        assert!(matches!(twice, Err(Refusal::TooLate(_))), "{twice:?}");
        self.jobs.push(Job { id, inputs, written: None, deletions: Vec::new() });
    }

    /// Reads the inputs and writes one or two objects in order of key.
    fn write(&mut self, n: usize) {
        let (as_of, horizon) = (self.leader.now(), self.leader.state.horizon());
        let inputs = self.jobs[n].inputs.clone();
        let mut rows: Vec<Row> = inputs.iter().flat_map(|source| self.rows_in(*source)).collect();
        rows.retain(|row| row.end > horizon);
        assert!(rows.iter().all(|row| row.begin <= as_of));
        rows.sort_by_key(|row| (row.key, row.begin));
        let cut = self.random.below(rows.len() as u64 + 1) as usize;
        let pieces: Vec<&[Row]> =
            [&rows[..cut], &rows[cut..]].into_iter().filter(|piece| !piece.is_empty()).collect();
        let counts: Vec<u32> = pieces.iter().map(|piece| piece.len() as u32).collect();
        let mut remap = Remap::new(&counts);
        rows.iter().zip(0..).for_each(|(row, number)| remap.put(row.at, number));
        let mut deletions = Vec::new();
        for (segment, piece) in pieces.iter().enumerate() {
            for (row, found) in piece.iter().enumerate().filter(|(_, row)| row.end <= as_of) {
                let place = NewPlace { segment: segment as u32, row: row as u32 };
                deletions.push((place, found.end));
            }
        }
        let content = |piece: &&[Row]| {
            piece.iter().map(|row| (row.row_id, row.key, row.begin)).collect::<Content>()
        };
        let job = &mut self.jobs[n];
        job.written = Some((as_of, pieces.iter().map(content).collect()));
        job.deletions = deletions;
        self.leader.state.note(job.id, as_of, Arc::new(remap));
    }

    fn say_deletions(&mut self, n: usize) {
        let job = &mut self.jobs[n];
        let some = self.random.below(job.deletions.len() as u64 + 1) as usize;
        let deletions = job.deletions.split_off(job.deletions.len() - some);
        let said = JobDeletions { job: job.id, deletions };
        self.leader.control(&Control::JobDeletions(said));
    }

    fn finish(&mut self, n: usize) {
        let job = self.jobs.swap_remove(n);
        let (as_of, contents) = job.written.expect("finished after it wrote");
        let added = contents.iter().map(|content| AddedSegment {
            segment: SegmentId(0),
            rows: content.len() as u32,
            fingerprint: content.len() as u64 * 77,
            meta: vec![1, 2, 3].into(),
        });
        let edit = Edit {
            job: job.id,
            table: T,
            as_of,
            removed: job.inputs.clone(),
            added: added.collect(),
            deletions: job.deletions,
        };
        let first = self.leader.state.next_segment();
        let old = self.table();
        let chunks: Vec<_> = old
            .chunk_list()
            .iter()
            .filter(|chunk| job.inputs.contains(&chunk.segment()))
            .cloned()
            .collect();
        let found: Vec<Row> = job.inputs.iter().flat_map(|source| self.rows_in(*source)).collect();
        self.leader.control(&Control::Edit(edit.clone()));
        let now = self.leader.now();
        self.old_places.extend(found.iter().map(|row| (row.at, row.row_id, now)));
        for (n, content) in contents.into_iter().enumerate() {
            self.objects.insert(SegmentId(first.0 + n as u64), content);
        }
        self.table().forget_keys(&chunks).unwrap();
        self.counts[1] += 1;
        let again = self.leader.try_control(&Control::Edit(edit));
        assert!(again.is_err(), "a job is over once");
    }

    fn give_up(&mut self, n: usize) {
        let job = self.jobs.swap_remove(n);
        self.leader.control(&Control::JobEnd(job.id));
        self.counts[2] += 1;
    }

    fn raise_horizon(&mut self) {
        let now = self.leader.now();
        let horizon = self.held.iter().copied().min().unwrap_or(now);
        self.leader.control(&Control::Horizon(horizon));
        // Whoever found them before an edit had an older snapshot, and is gone.
        self.old_places.retain(|(_, _, edited)| *edited >= horizon);
    }

    fn step(&mut self) {
        let written = |world: &Self, yes: bool| {
            world.jobs.iter().position(|job| job.written.is_some() == yes)
        };
        match self.random.below(16) {
            0..=2 => self.insert(),
            3..=4 => self.insert_sealed(),
            5..=8 => self.delete(),
            9 => self.begin_job(),
            10 => drop(written(self, false).map(|n| self.write(n))),
            11 => drop(written(self, true).map(|n| self.say_deletions(n))),
            12 => drop(written(self, true).map(|n| self.finish(n))),
            13 if self.random.below(4) == 0 && !self.jobs.is_empty() => self.give_up(0),
            14 => self.raise_horizon(),
            _ if self.random.below(2) == 0 => {
                self.held.pop();
            }
            _ => self.held.push(self.leader.now()),
        }
        let now = self.leader.now();
        self.held.iter().chain([&now]).for_each(|at| self.check(*at));
    }

    /// A reader at `at` sees what the model says.
    fn check(&self, at: Timestamp) {
        let table = self.table();
        let mut seen: Vec<(u64, i32)> =
            rows_of(&table, at).into_iter().map(|(id, key, _)| (id, key)).collect();
        for segment in table.segments().iter() {
            let deleted = segment.deletions().at(at);
            let rows = self.objects[&segment.segment()].iter().zip(0..);
            let rows = rows.filter(|((_, _, begin), n)| *begin <= at && !deleted.contains(*n));
            seen.extend(rows.map(|((id, key, _), _)| (*id, *key)));
        }
        seen.sort_unstable();
        let rows = self.model.iter().filter(|(_, (_, begin, end))| *begin <= at && *end > at);
        let expected: Vec<(u64, i32)> = rows.map(|(id, (key, ..))| (*id, *key)).collect();
        assert_eq!(seen, expected, "at {at}");
    }

    /// The log tells the same, from the begin and from a checkpoint.
    fn check_log(&self) {
        replays_alike(&self.leader);
        let image = self.leader.applier.image_now(self.leader.now());
        let loaded = State::load(Budget::new(BUDGET_BYTES_DEFAULT), LoadedState { image }).unwrap();
        assert_eq!(loaded.hash(), self.leader.state.hash());
        assert_eq!(loaded.jobs(), self.leader.state.jobs());
        let images = |state: &State| {
            let segments = state.table(T).unwrap().segments();
            segments.iter().map(|segment| segment.image()).collect::<Vec<_>>()
        };
        assert_eq!(images(&loaded), images(&self.leader.state));
        let rows = |state: &State| state.table(T).unwrap().row_count_estimate();
        assert_eq!(rows(&loaded), rows(&self.leader.state));
    }
}

#[test]
fn no_row_is_lost_and_none_comes_twice() {
    let mut counts = [0; 3];
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.check_log();
        counts.iter_mut().zip(world.counts).for_each(|(all, one)| *all += one);
    }
    // What the test is about did happen.
    let [moved, edits, given_up] = counts;
    assert!(moved > 100 && edits > 200 && given_up > 50, "{counts:?}");
}

#[test]
fn a_large_commit_that_deletes_from_an_input_overtakes_the_job() {
    let mut world = World::new(1);
    world.insert_sealed();
    world.insert_sealed();
    let [first, second] = world.sources()[..] else { panic!("two chunks") };
    let begin = |input| Control::JobBegin(JobBegin { table: T, inputs: vec![input] });
    world.leader.control(&begin(first));
    let job = JobId(world.leader.now().0);

    // A part that deletes a row of each: when it commits is not known.
    let schema = world.table().schema();
    let mut deletes = Writer::new();
    let mut last = SegmentId(0);
    for source in [first, second] {
        let row = world.rows_in(source)[0];
        let key = keys_of(&schema, &pairs(&schema, &[(row.key, "")])).unwrap();
        let key = crate::storage::record::OldKey::Primary(key.get(0));
        let row = crate::storage::record::DeletedRow { locator: row.at, key };
        Deletes::write_row(last, &row, &mut deletes);
        last = row.locator.segment;
    }
    let mut part = ChangesWriter::default();
    let deletes = Deletes { count: 2, kind: DeletesKind::Keys, data: deletes.as_slice() };
    part.section(T, schema.version(), (0, &[]), deletes);
    let id = world.leader.new_id();
    world.leader.part(id, 0, part.finish(std::iter::empty(), None)).unwrap();

    let late = world.leader.try_control(&begin(second));
    assert!(matches!(&late, Err(Refusal::TooLate(why)) if why.contains("large")), "{late:?}");
    let rows = world.rows_in(first).len() as u32;
    let mut remap = Remap::new(&[rows]);
    (0..rows).for_each(|row| remap.put(Locator { segment: first, row }, row));
    let as_of = world.leader.now();
    world.leader.state.note(job, as_of, Arc::new(remap));
    let added = AddedSegment { segment: SegmentId(0), rows, fingerprint: 1, meta: vec![].into() };
    let (removed, added) = (vec![first], vec![added]);
    let edit = Edit { job, table: T, as_of, removed, added, deletions: vec![] };
    let late = world.leader.try_control(&Control::Edit(edit));
    assert!(matches!(&late, Err(Refusal::TooLate(why)) if why.contains("large")), "{late:?}");

    let nothing = world.leader.write_set();
    world.leader.commit_as(id, nothing, 1).unwrap();
    world.leader.control(&Control::JobEnd(job));
    world.leader.control(&Control::JobBegin(JobBegin { table: T, inputs: vec![first, second] }));
    replays_alike(&world.leader);
}

#[test]
fn an_edit_that_does_not_add_up_is_refused_by_apply() {
    let mut world = World::new(2);
    world.insert_sealed();
    let source = world.sources()[0];
    let rows = world.rows_in(source).len() as u32;
    let table = world.table();
    let edit = |rows: u32, deletions: Vec<(NewPlace, Timestamp)>| Edit {
        job: JobId(1),
        table: T,
        as_of: Timestamp(1),
        removed: vec![source],
        added: vec![AddedSegment {
            segment: SegmentId(900),
            rows,
            fingerprint: 1,
            meta: vec![].into(),
        }],
        deletions,
    };
    let place = |row| (NewPlace { segment: 0, row }, Timestamp(5));
    let at = Timestamp(9);
    table.edit(&edit(rows + 1, vec![]), &[], None, at).unwrap_err();
    table.edit(&edit(rows, vec![place(0)]), &[], None, at).unwrap_err();
    table.edit(&edit(rows + 1, vec![place(rows + 1)]), &[], None, at).unwrap_err();
    table.edit(&edit(rows + 2, vec![place(0)]), &[place(0)], None, at).unwrap_err();
    assert_eq!(world.sources(), [source], "nothing was changed");
    table.edit(&edit(rows + 2, vec![place(0)]), &[place(1)], None, at).unwrap();
    assert_eq!(world.sources(), [SegmentId(900)]);
}

/// The test's own view of a segment.
#[test]
fn a_segment_hash_says_what_is_deleted() {
    let added =
        AddedSegment { segment: SegmentId(3), rows: 10, fingerprint: 5, meta: vec![].into() };
    let (one, other) = (TableSegment::new(&added), TableSegment::new(&added));
    assert_eq!(one.live(), other.live());
    one.delete(4, Timestamp(7)).unwrap();
    assert_ne!(one.live(), other.live());
    other.delete(4, Timestamp(8)).unwrap();
    assert_eq!(other.delete(4, Timestamp(9)), None);
    assert_eq!(one.live(), other.live(), "when it was deleted is forgotten in the end");
    other.deletions().settle(Timestamp(8));
    assert_eq!(one.live(), other.live());
}
