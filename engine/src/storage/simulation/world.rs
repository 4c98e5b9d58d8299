//! Everything at once in an order drawn from a seed: transactions, DDL, bulk loads, the steps of the
//! log, the horizon, checkpoints; where asked for power cuts, kills, a full disk; after each recovery,
//! and in between, the tables are compared with a model.
//!
//! The model knows what was sent in which order and what was answered. After a crash it asks by
//! commit id what became of what was not answered: an acknowledged commit must be there, a refused
//! one must not, and the tables must hold exactly what the committed ones did, in their order.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use glaredb_catalog::{CatalogChange, descriptor::builtin};
use glaredb_txn::{
    commit::{
        commit_ids::Outcome,
        snapshots::{SnapshotGuard, Stopped},
    },
    ids::{CommitId, Position, RowId, SegmentId, TableId},
    sim::{Rng, SimEnv},
};

use super::{
    node::Node,
    store::{Mishaps, Weather},
    tables::{self, Effects, Transaction},
};
use crate::storage::{checkpoint::PREFIX, objects::ObjectName};

mod rewriting;
mod sending;

use sending::{Pending, Sending};

const TABLES_MAX: usize = 4;
const KEYS: u64 = 40;

/// What a commit does, in the model's terms.
#[derive(Clone, Debug)]
enum Effect {
    /// First start: roles and schemas, nothing that the model holds.
    Nothing,
    Create(TableId),
    Drop(TableId),
    Put(TableId, Effects),
}

type Content = BTreeMap<TableId, BTreeMap<i64, String>>;

fn apply(content: &mut Content, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Nothing => {}
            Effect::Create(table) => assert!(content.insert(*table, BTreeMap::new()).is_none()),
            Effect::Drop(table) => assert!(content.remove(table).is_some()),
            Effect::Put(table, rows) => {
                let table = content.get_mut(table).expect("a table that was written exists");
                for (key, value) in rows {
                    match value {
                        Some(value) => table.insert(*key, value.clone()),
                        None => table.remove(key),
                    };
                }
            }
        }
    }
}

/// A transaction that began and is not yet sent.
struct Begun {
    guard: SnapshotGuard,
    effects: Vec<Effect>,
    transaction: Transaction,
}

type Lists = Vec<(TableId, Vec<SegmentId>)>;

/// A reader that holds the horizon back, with what it must see.
struct OldReader {
    guard: SnapshotGuard,
    content: Content,
    ids: BTreeMap<TableId, BTreeMap<i64, RowId>>,
}

/// What happened, to see that the simulation is not idle.
#[derive(Default, Debug)]
pub(super) struct Tally {
    pub(super) committed: u64,
    pub(super) refused: u64,
    pub(super) crashes: u64,
    pub(super) checkpoints: u64,
    pub(super) from_checkpoint: u64,
    pub(super) disk_full: u64,
    /// Large transactions given up after some of their parts were sent.
    pub(super) given_up: u64,
    /// Large transactions that a crash met between their first part and their end.
    pub(super) torn: u64,
    /// Panics of fail points.
    pub(super) panics: u64,
    /// Jobs that did their work, and those that were given up.
    pub(super) jobs: u64,
    pub(super) jobs_given_up: u64,
    /// Jobs that a sweep ended, and objects that sweeps deleted.
    pub(super) jobs_swept: u64,
    pub(super) objects_swept: u64,
    /// Commits and parts that named places from before an edit, and were sent again with others; of
    /// these, commits that were then acknowledged.
    pub(super) moved: u64,
    pub(super) moved_committed: u64,
    /// What the store did.
    pub(super) mishaps: Mishaps,
    /// Keys that were found to have changed since a snapshot.
    pub(super) changes_noticed: u64,
}

/// What a panic of a fail point says: `panic(injected)`.
pub(super) const INJECTED: &str = "injected";

/// What a life is made of beside transactions, checkpoints and readers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Power cuts, kills and full disks come by themselves.
    pub(super) faults: bool,
    /// One transaction in so many is a bulk load of about 1 MB.
    pub(super) bulk_one_in: u64,
    /// One step in so many is one of the threads that rewrite and sweep.
    pub(super) jobs_one_in: u64,
    /// What ends the process after a step failed or panicked: the power, or a kill, after which
    /// what was written and not synced is still there.
    pub(super) power_goes: bool,
    /// One opening may fail: a fail point may be met there.
    pub(super) opening_fails: bool,
    /// Objects are in a store that is reached over a network.
    pub(super) is_remote: bool,
}

/// See the module's description.
pub(super) struct World {
    seed: u64,
    rng: Rng,
    manner: Manner,
    sim: SimEnv,
    node: Node,
    weather: Arc<Weather>,
    content: Content,
    /// Sent and not answered.
    pending: BTreeMap<CommitId, Pending>,
    acknowledged: BTreeMap<CommitId, Position>,
    /// Will never be committed.
    refused: BTreeSet<CommitId>,
    begun: Vec<Begun>,
    sending: Vec<Sending>,
    readers: Vec<OldReader>,
    /// Segments of all tables as of the last look.
    lists: Lists,
    /// Objects of segments as of the last look.
    objects: BTreeSet<ObjectName>,
    /// Those that nobody needed when the sweep under way began.
    orphans: BTreeSet<ObjectName>,
    next_oid: u32,
    next_table: u32,
    number: u64,
    /// The disk has hardly any space left.
    is_full: bool,
    tally: Tally,
}

/// Lives `steps` steps from an empty disk on, then pulls the plug and looks once more.
pub(super) fn run(sim: &SimEnv, seed: u64, manner: Manner, steps: u64) -> Tally {
    let mut world = World::new(sim.clone(), seed, manner);
    for _ in 0..steps {
        world.act();
    }
    world.sim.disk.set_capacity(None);
    // An orderly end first, as far as it comes.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.node.close())) {
        count_injected(panic, &mut world.tally);
    }
    world.answers();
    world.crash();
    world.tally.mishaps = world.weather.mishaps();
    world.tally
}

impl World {
    fn new(sim: SimEnv, seed: u64, mut manner: Manner) -> Self {
        let mut tally = Tally::default();
        let weather = Weather::new(&sim, seed);
        let node = open((&sim, &weather), seed, &mut manner, &mut tally);
        let mut world = Self {
            seed,
            // Hashed: neighbouring seeds of the generator give shifted sequences.
            rng: Rng::new(Rng::new(seed).next_u64()),
            manner,
            sim,
            node,
            weather,
            content: Content::new(),
            pending: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            refused: BTreeSet::new(),
            begun: Vec::new(),
            sending: Vec::new(),
            readers: Vec::new(),
            lists: Lists::default(),
            objects: BTreeSet::new(),
            orphans: BTreeSet::new(),
            next_oid: 0,
            next_table: 0,
            number: 0,
            is_full: false,
            tally,
        };
        world.recovered();
        world
    }

    /// One step; the process that does not survive it is followed by another one.
    fn act(&mut self) {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.step()));
        let is_alive = stepped.as_ref().is_ok_and(Result::is_ok);
        if is_alive && !self.sim.disk.is_without_power() {
            self.look_at_lists();
        }
        let dead = match stepped {
            Ok(result) => result.is_err() || self.node.is_stopped(),
            Err(panic) => {
                count_injected(panic, &mut self.tally);
                true
            }
        };
        if dead && !self.manner.power_goes {
            self.kill();
        } else if dead || self.sim.disk.is_without_power() {
            self.crash();
        }
        self.answers();
    }

    fn step(&mut self) -> Result<(), Stopped> {
        self.sim.clock.advance(Duration::from_millis(self.rng.below(20)));
        if self.manner.is_remote {
            self.weather.pass();
        }
        if self.rng.chance(1, self.manner.jobs_one_in) {
            match self.rng.below(100) {
                0..80 => self.rewrite()?,
                80..99 => self.sweep(),
                // A thread that hangs for good.
                _ => drop(self.node.lose_job()),
            }
            return Ok(());
        }
        match self.rng.below(100) {
            0..20 => self.begin(),
            20..34 => self.send()?,
            34..40 => self.send_on()?,
            40..55 => self.node.append()?,
            55..68 => self.node.sync()?,
            68..82 => {
                let records = if self.rng.chance(1, 2) { 1 } else { usize::MAX };
                self.node.apply(records)?;
            }
            82..84 => self.node.pipeline.keep(),
            84..87 => self.node.log_horizon(),
            87..94 => self.checkpoint(),
            94..96 => self.reader(),
            96 => self.check("in between"),
            97 if self.manner.faults => self.capacity(),
            98 if self.manner.faults && self.rng.chance(1, 3) => {
                self.sim.disk.cut_power_after(1 + self.rng.below(60));
            }
            99 if self.manner.faults && self.rng.chance(1, 5) => {
                self.kill();
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint(&mut self) {
        // Several steps: a checkpoint is long.
        for _ in 0..=self.rng.below(4) {
            if self.node.checkpoint_step().is_some() {
                self.tally.checkpoints += 1;
            }
        }
    }

    fn capacity(&mut self) {
        let used = self.sim.disk.used_bytes();
        let capacity = self.rng.chance(1, 2).then(|| used + self.rng.below(200_000));
        self.is_full = capacity.is_some();
        self.sim.disk.set_capacity(capacity);
    }

    /// A transaction on the newest snapshot.
    fn begin(&mut self) {
        if self.begun.len() >= 3 {
            return;
        }
        let guard = self.node.pipeline.snapshots().register();
        let mut transaction = Transaction::begin(&self.node.state, guard.snapshot());
        let effects = if transaction.catalog().schema("public").is_none() {
            transaction.change_catalog(builtin::bootstrap());
            vec![Effect::Nothing]
        } else {
            self.plan(&mut transaction)
        };
        if !effects.is_empty() {
            self.begun.push(Begun { guard, effects, transaction });
        }
    }

    fn plan(&mut self, transaction: &mut Transaction) -> Vec<Effect> {
        let tables: Vec<_> = transaction.catalog().tables().cloned().collect();
        let ddl = self.rng.below(100);
        if tables.is_empty() || (ddl < 6 && tables.len() < TABLES_MAX) {
            let (oid, storage) = self.fresh(transaction);
            let mut change = CatalogChange::default();
            change.create_table(tables::table(&format!("t{}", storage.0), storage, oid));
            transaction.change_catalog(change);
            return vec![Effect::Create(storage)];
        }
        let table = &tables[self.rng.index(tables.len())];
        if ddl < 8 {
            let mut change = CatalogChange::default();
            change.drop_table(table.oid);
            transaction.change_catalog(change);
            return vec![Effect::Drop(table.storage)];
        }
        if ddl < 10 {
            // TRUNCATE: the same table over a new storage.
            let (_, storage) = self.fresh(transaction);
            let mut truncated = (**table).clone();
            (truncated.storage, truncated.version) = (storage, table.version.next());
            let mut change = CatalogChange::default();
            change.alter_table(truncated);
            transaction.change_catalog(change);
            return vec![Effect::Drop(table.storage), Effect::Create(storage)];
        }
        let mut effects = Vec::new();
        let several = if self.rng.chance(1, 4) { tables.len() } else { 1 };
        for table in tables.iter().take(several) {
            let rows = self.rows();
            let storage = self.node.state.table(table.storage).expect("the catalog names it");
            let rows = transaction.put(&storage, &self.node.reader, rows);
            if !rows.is_empty() {
                effects.push(Effect::Put(table.storage, rows));
            }
        }
        effects
    }

    /// Values for some keys; now and then so much that it takes parts.
    fn rows(&mut self) -> Effects {
        self.number += 1;
        // Space that is asked for ahead lasts for long without what is large.
        let bulk_one_in = if self.is_full { 4 } else { self.manner.bulk_one_in };
        let bulk = self.rng.chance(1, bulk_one_in);
        let (count, size) = if bulk { (60, 16_000) } else { (1 + self.rng.below(5), 20) };
        let mut rows = Effects::new();
        for n in 0..count {
            let key = if bulk { 1_000 + n } else { self.rng.below(KEYS) } as i64;
            let delete = !bulk && self.rng.chance(1, 4);
            let mut value = format!("{}.{n} ", self.number);
            value.extend(std::iter::repeat_n('x', size));
            rows.insert(key, (!delete).then_some(value));
        }
        if !bulk && self.rng.chance(1, 10) {
            // Thins out what a bulk load brought.
            rows.extend((1_000..1_040).map(|key| (key, None)));
        }
        rows
    }

    /// Ids that nobody had.
    fn fresh(&mut self, transaction: &Transaction) -> (u32, TableId) {
        let catalog = transaction.catalog();
        let oid = self.next_oid.max(catalog.next_oid());
        let table = self.next_table.max(catalog.next_table_id().0);
        (self.next_oid, self.next_table) = (oid + 5, table + 1);
        (oid, TableId(table))
    }

    /// A reader that stays: what it sees never changes, whatever is pruned around it.
    fn reader(&mut self) {
        self.answers();
        if self.readers.len() >= 3 {
            let OldReader { guard, content, ids } = self.readers.remove(0);
            self.compare(&guard, &content, "an old reader");
            assert_eq!(self.ids(&guard), ids, "seed {}: row ids", self.seed);
            self.check_changes(&guard, &ids);
        } else {
            let guard = self.node.pipeline.snapshots().register();
            let (content, ids) = (self.content.clone(), self.ids(&guard));
            self.readers.push(OldReader { guard, content, ids });
        }
    }

    fn check(&mut self, when: &str) {
        self.answers();
        let guard = self.node.pipeline.snapshots().register();
        self.compare(&guard, &self.content, when);
    }

    fn compare(&self, guard: &SnapshotGuard, expected: &Content, when: &str) {
        let at = guard.timestamp();
        let catalog = self.node.state.catalog_at(at);
        let found: Content = catalog
            .tables()
            .map(|table| {
                let storage = self.node.state.table(table.storage).expect("named by the catalog");
                (table.storage, tables::content(&storage, &self.node.reader, at))
            })
            .collect();
        let seed = self.seed;
        for (table, rows) in expected {
            let empty = BTreeMap::new();
            let found = found.get(table).unwrap_or(&empty);
            let keys: BTreeSet<&i64> = rows.keys().chain(found.keys()).collect();
            for key in keys {
                let (found, expected) = (found.get(key), rows.get(key));
                assert!(
                    found == expected,
                    "seed {seed}, {when}, {table}, key {key}: {:?} instead of {:?}",
                    found.map(|value| beginning(value)),
                    expected.map(|value| beginning(value))
                );
            }
        }
        assert_eq!(found.len(), expected.len(), "seed {seed}, {when}: other tables");
    }

    fn crash(&mut self) {
        self.weather.end_of_process();
        self.sim.disk.crash();
        self.reopen();
    }

    fn kill(&mut self) {
        self.weather.end_of_process();
        self.sim.disk.kill_process();
        self.reopen();
    }

    /// The process ended; another one starts on what is there.
    fn reopen(&mut self) {
        self.tally.crashes += 1;
        self.answers();
        self.begun.clear();
        self.tally.torn += self.sending.len() as u64;
        self.refused.extend(self.sending.drain(..).map(|sending| sending.id()));
        self.readers.clear();
        (self.lists, self.objects) = (Lists::default(), BTreeSet::new());
        // A disk that is full at the start is another matter.
        self.is_full = false;
        self.sim.disk.set_capacity(None);
        let world = (&self.sim, &self.weather);
        self.node = open(world, self.seed, &mut self.manner, &mut self.tally);
        self.recovered();
    }

    fn recovered(&mut self) {
        let seed = self.seed;
        if self.node.store.current().is_some() {
            self.tally.from_checkpoint += 1;
        }
        let needed = self.node.store.current().map_or(0, |c| c.manifest.objects.len() + 1);
        let objects = self.node.objects.list(PREFIX).expect("list");
        assert_eq!(objects.len(), needed, "seed {seed}: {objects:?}");
        let outcome = |id: &CommitId| self.node.ids.outcome(*id);
        for (id, position) in &self.acknowledged {
            match outcome(id) {
                Outcome::Committed { position: found, .. } => {
                    assert_eq!(found, *position, "seed {seed}: {id} moved");
                }
                lost => panic!("seed {seed}: acknowledged {id} is {lost:?}"),
            }
        }
        for id in &self.refused {
            let found = outcome(id);
            assert!(
                !matches!(found, Outcome::Committed { .. }),
                "seed {seed}: refused {id} is {found:?}"
            );
        }
        let mut survived: Vec<(Position, CommitId)> = self
            .pending
            .keys()
            .filter_map(|id| match outcome(id) {
                Outcome::Committed { position, .. } => Some((position, *id)),
                _ => None,
            })
            .collect();
        survived.sort();
        for (position, id) in survived {
            let pending = self.pending.remove(&id).expect("it is pending");
            apply(&mut self.content, &pending.effects);
            self.acknowledged.insert(id, position);
        }
        // Whoever sent the rest got no answer, and never will: their sessions are gone.
        self.refused.extend(std::mem::take(&mut self.pending).into_keys());
        self.check("after recovery");
        // Nothing fails here by itself; a fail point may, and the next step sees that the node stopped.
        let drained = catch_unwind(AssertUnwindSafe(|| self.node.drain()));
        match drained {
            Ok(Ok(())) => {
                self.check("after lost parts were aborted");
                self.check_nothing_private();
            }
            Ok(Err(stopped)) => {
                assert!(self.manner.opening_fails, "seed {seed}: {stopped}");
                self.manner.opening_fails = false;
            }
            Err(panic) => {
                count_injected(panic, &mut self.tally);
                self.crash();
            }
        }
    }
}

impl World {
    /// Of large transactions that did not commit nothing is left, in no table and in no account.
    fn check_nothing_private(&self) {
        let seed = self.seed;
        assert_eq!(self.node.ids.open_parts(), [], "seed {seed}: parts without an end");
        for table in self.node.state.tables() {
            let chunks = table.chunk_list();
            let private = chunks.iter().filter(|chunk| chunk.is_private());
            assert_eq!(private.count(), 0, "seed {seed}: {} holds what is nobody's", table.id());
        }
        assert_eq!(self.node.state.budget().tail_bytes(), 0, "seed {seed}: the tail is applied");
    }
}

/// Opens what is on the disk; once more if a fail point was met on the way.
fn open(
    (sim, weather): (&SimEnv, &Arc<Weather>),
    seed: u64,
    manner: &mut Manner,
    tally: &mut Tally,
) -> Node {
    loop {
        match catch_unwind(AssertUnwindSafe(|| Node::open(sim, weather))) {
            Ok(Ok(node)) => return node,
            Ok(Err(error)) => {
                assert!(manner.opening_fails, "seed {seed}: {error}");
                manner.opening_fails = false;
            }
            Err(panic) => count_injected(panic, tally),
        }
        if manner.power_goes {
            sim.disk.crash();
        } else {
            sim.disk.kill_process();
        }
    }
}

/// Any other panic goes on.
fn count_injected(panic: Box<dyn Any + Send>, tally: &mut Tally) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    if text != Some(INJECTED) {
        resume_unwind(panic);
    }
    tally.panics += 1;
}

fn beginning(value: &str) -> &str {
    &value[..value.len().min(12)]
}
