//! A random life of a log, and the model that says what may be found after each crash.

#![allow(dead_code, reason = "each test that includes this module uses its part of it")]

mod model;

use std::{ops::AddAssign, sync::Arc};

use glaredb_txn::{
    ids::{DatabaseId, EntryIndex, LogId, Term},
    log::{
        OpenError,
        format::{EntryId, Vote},
        segment_store::SegmentStore,
        wal::WalError,
    },
    sim::{Operation, Rng, SimDisk, SimEnv},
};

use model::{Item, Model};

const DATABASE: DatabaseId = DatabaseId(0xfeed);
const LOG: LogId = LogId(1);

/// How often things happened: a run that never meets a fault proves nothing.
#[derive(Default, Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Met {
    pub(crate) entries: u64,
    crashes: u64,
    kills: u64,
    failed_openings: u64,
    indeterminate: u64,
    full: u64,
    lost: u64,
    kept_unsynced: u64,
    torn: u64,
    truncations: u64,
    cuts: u64,
    resets: u64,
    rotations: u64,
}

impl AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.crashes += other.crashes;
        self.kills += other.kills;
        self.failed_openings += other.failed_openings;
        self.indeterminate += other.indeterminate;
        self.full += other.full;
        self.lost += other.lost;
        self.kept_unsynced += other.kept_unsynced;
        self.torn += other.torn;
        self.truncations += other.truncations;
        self.cuts += other.cuts;
        self.resets += other.resets;
        self.rotations += other.rotations;
    }
}

impl Met {
    pub(crate) fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("crash", self.crashes),
            ("kill", self.kills),
            ("failed opening", self.failed_openings),
            ("indeterminate answer", self.indeterminate),
            ("full disk", self.full),
            ("loss of unsynced entries", self.lost),
            ("survival of unsynced entries", self.kept_unsynced),
            ("torn tail", self.torn),
            ("truncation", self.truncations),
            ("cut", self.cuts),
            ("reset", self.resets),
            ("rotation", self.rotations),
        ]
    }
}

pub(crate) struct Life {
    rng: Rng,
    sim: SimEnv,
    file_bytes: u64,
    /// What the log may be; more than one after an indeterminate answer.
    models: Vec<Model>,
    term: u64,
    nonce: u64,
    met: Met,
}

type Action = fn(&mut Life, &SegmentStore) -> Result<(), WalError>;

/// Several lives of one log, each ended by a crash or a kill.
pub(crate) fn run(seed: u64) -> Met {
    let mut rng = Rng::new(seed);
    let file_bytes = [8 << 10, 12 << 10, 32 << 10][rng.index(3)];
    let sim = SimEnv::new(rng.next_u64());
    let models = vec![Model::default()];
    let mut life = Life { rng, sim, file_bytes, models, term: 1, nonce: 0, met: Met::default() };
    for _ in 0..12 {
        life.live();
    }
    life.sim.disk.crash();
    life.open().expect("a disk without faults lets the log be opened");
    life.met
}

impl Life {
    fn open(&mut self) -> Result<SegmentStore, OpenError> {
        let env = self.sim.env();
        let (store, report) = SegmentStore::open(&env, "log", DATABASE, LOG, self.file_bytes)?;
        self.met.torn += u64::from(report.torn_bytes > 0);
        let found = store.last().index;
        let fits: Vec<Result<Model, String>> =
            self.models.iter().map(|model| model.found(&store)).collect();
        let Some(model) = fits.iter().find_map(|fit| fit.as_ref().ok()) else {
            panic!("what is found is not what any outcome allows: {fits:#?}");
        };
        let before = &self.models[0];
        self.met.lost += u64::from(found.0 < before.last());
        self.met.kept_unsynced += u64::from(found.0 > before.synced);
        self.models = vec![model.clone()];
        assert_eq!(store.durable(), found, "everything found is durable");
        Ok(store)
    }

    fn live(&mut self) {
        self.plan_faults();
        let store = match self.open() {
            Ok(store) => store,
            Err(OpenError::Disk(_)) => {
                self.met.failed_openings += 1;
                self.end();
                return;
            }
            Err(other) => panic!("a crash never makes a log unreadable: {other}"),
        };
        let steps = self.rng.below(60);
        for _ in 0..steps {
            if let Err(WalError::Indeterminate(_)) = self.step(&store) {
                self.met.indeterminate += 1;
                self.check_poisoned(&store);
                break;
            }
        }
        drop(store);
        self.end();
    }

    fn plan_faults(&mut self) {
        let disk = &self.sim.disk;
        disk.set_capacity(None);
        match self.rng.below(6) {
            0 | 1 => disk.cut_power_after(1 + self.rng.below(60)),
            2 => {
                let operations = [
                    Operation::Write,
                    Operation::Sync,
                    Operation::Sync,
                    Operation::SyncDir,
                    Operation::Create,
                    Operation::Rename,
                    Operation::Remove,
                    Operation::Read,
                ];
                let operation = operations[self.rng.index(operations.len())];
                let part = ["", ".log", "marks"][self.rng.index(3)];
                disk.fail_after(operation, part, 1 + self.rng.below(20));
            }
            3 => disk.set_capacity(Some(disk.used_bytes() + self.rng.below(40 << 10))),
            _ => {}
        }
    }

    fn end(&mut self) {
        if self.rng.chance(1, 3) && !self.sim.disk.is_without_power() {
            self.met.kills += 1;
            self.sim.disk.kill_process();
        } else {
            self.met.crashes += 1;
            self.sim.disk.crash();
        }
    }

    /// After an indeterminate answer nothing goes on, but what was readable is.
    fn check_poisoned(&mut self, store: &SegmentStore) {
        let poisoned = |result| matches!(result, Err(WalError::Indeterminate(_)));
        assert!(poisoned(store.append(Term(u64::MAX >> 1), b"x").map(|_| ())));
        assert!(poisoned(store.sync().map(|_| ())));
        assert!(poisoned(store.reserve(1)));
        assert!(poisoned(store.truncate_suffix(EntryIndex(1))));
        assert!(poisoned(store.cut_prefix(EntryIndex(1))));
        assert!(poisoned(store.save_vote(Vote::default())));
        assert!(poisoned(store.save_committed(EntryIndex(1))));
    }

    /// One operation on the store and the model. The error is returned after the model knows it.
    fn step(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        match self.rng.below(100) {
            0..60 => self.append(store),
            60..80 => self.sync(store),
            80..84 => self.read(store),
            84..87 => {
                let bytes = self.rng.below(3 * self.file_bytes);
                self.note(store.reserve(bytes), |_| {})
            }
            87..90 => self.truncate(store),
            90..94 => self.cut(store),
            94..96 => {
                let vote = Vote {
                    term: Term(self.term),
                    node: self.rng.below(5),
                    committed: self.rng.chance(1, 2),
                };
                self.note(store.save_vote(vote), |model| model.vote = vote)
            }
            96..98 => {
                let synced = self.models[0].synced;
                let committed = self.models[0].committed.max(self.rng.below(synced + 1));
                self.note(store.save_committed(EntryIndex(committed)), |model| {
                    model.committed = committed;
                })
            }
            98 => self.note(store.prepare_spare(), |_| {}),
            _ => self.reset(store),
        }
    }

    /// Bring the answer of an operation that does `change` into the model.
    fn note(
        &mut self,
        result: Result<(), WalError>,
        change: impl Fn(&mut Model),
    ) -> Result<(), WalError> {
        match &result {
            Ok(()) => self.models.iter_mut().for_each(change),
            Err(WalError::Full(_)) => self.met.full += 1,
            Err(WalError::Indeterminate(_)) => {
                let mut changed = self.models.clone();
                changed.iter_mut().for_each(change);
                self.models.extend(changed);
            }
            Err(WalError::Unreadable(_)) => {}
            Err(other) => panic!("the model did not expect: {other}"),
        }
        result
    }

    fn append(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        if self.rng.chance(1, 20) {
            self.term += 1;
        }
        self.term = self.term.max(store.last().term.0);
        let max = store.entry_bytes_max();
        let len = match self.rng.below(10) {
            0 => self.rng.index(max + 1),
            1 => max,
            2 => 0,
            _ => self.rng.index(300),
        };
        self.nonce += 1;
        let item = Item { term: self.term, nonce: self.nonce, len };
        let appended = store.append(Term(item.term), &item.body());
        if let Ok(index) = appended {
            assert_eq!(index.0, self.models[0].last() + 1);
            self.met.entries += 1;
        }
        // A rotation syncs what came before.
        let durable = store.durable().0;
        self.met.rotations += u64::from(durable > self.models[0].synced);
        self.note(appended.map(|_| ()), |model| {
            model.list.push(item);
            model.synced = model.synced.max(durable);
        })
    }

    fn sync(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        let synced = store.sync();
        if let Ok(index) = synced {
            assert_eq!(index.0, self.models[0].last());
            self.models[0].synced = index.0;
        }
        self.note(synced.map(|_| ()), |_| {})
    }

    fn read(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        let model = &self.models[0];
        let from = model.cut.index.0 + 1 + self.rng.below(model.last() - model.cut.index.0 + 1);
        let result = store.read(EntryIndex(from), self.rng.index(5000));
        if let Ok(entries) = &result {
            assert_eq!(entries.is_empty(), from > model.last());
            for (at, entry) in entries.iter().enumerate() {
                model.check_entry(from + at as u64, entry).expect("what is read was appended");
            }
        }
        self.note(result.map(|_| ()), |_| {})
    }

    fn truncate(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        let model = &self.models[0];
        let lowest = model.committed.max(model.cut.index.0) + 1;
        let from = lowest + self.rng.below(model.last() + 2 - lowest);
        let nothing = from > model.last();
        let result = store.truncate_suffix(EntryIndex(from));
        self.met.truncations += u64::from(result.is_ok());
        self.note(result, |model| {
            if !nothing {
                model.truncate(from);
            }
        })
    }

    fn cut(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        let model = &self.models[0];
        let low = model.cut.index.0;
        let index = low + self.rng.below(model.last() - low + 1);
        let term = model.term_of(index);
        let result = store.cut_prefix(EntryIndex(index + 1));
        self.met.cuts += u64::from(result.is_ok());
        self.note(result, |model| {
            model.cut = EntryId::new(Term(term), EntryIndex(index));
            model.committed = model.committed.max(index);
            model.synced = model.synced.max(index);
        })
    }

    fn reset(&mut self, store: &SegmentStore) -> Result<(), WalError> {
        let index = self.models[0].last() + self.rng.below(10);
        let to = EntryId::new(Term(self.term.max(store.last().term.0)), EntryIndex(index));
        let result = store.reset(to);
        self.met.resets += u64::from(result.is_ok());
        self.note(result, |model| model.reset(to))
    }
}

/// A fixed life, with the power going at its first, second, … last step, and again at each step of
/// the opening that follows.
pub(crate) fn at_every_step() {
    let mut steps = 0;
    for seed in 0..3 {
        for cut_at in 1.. {
            let mut life = fixed_life(seed);
            life.sim.disk.cut_power_after(cut_at);
            let finished = life.act();
            steps += 1;
            if finished && !life.sim.disk.is_without_power() {
                break;
            }
            life.sim.disk.crash();
            life.sim.disk.cut_power_after(1 + (cut_at * 7 + seed) % 12);
            match life.open() {
                Ok(_) | Err(OpenError::Disk(_)) => {}
                Err(other) => panic!("seed {seed}, step {cut_at}: {other}"),
            }
            life.sim.disk.crash();
            if let Err(error) = life.open() {
                panic!("seed {seed}, step {cut_at}: {error}");
            }
        }
    }
    assert!(steps > 300, "only {steps} steps");
}

pub(crate) fn fixed_life(seed: u64) -> Life {
    Life {
        rng: Rng::new(seed),
        sim: SimEnv::new(seed),
        file_bytes: 8 << 10,
        models: vec![Model::default()],
        term: 1,
        nonce: 0,
        met: Met::default(),
    }
}

impl Life {
    pub(crate) fn disk(&self) -> Arc<SimDisk> {
        Arc::clone(&self.sim.disk)
    }

    /// Open the log and hold it against the model.
    pub(crate) fn open_again(&mut self) -> Result<(), OpenError> {
        self.open().map(|_| ())
    }

    /// Open the log, whatever it holds.
    pub(crate) fn open_unchecked(&mut self) -> Result<(), OpenError> {
        let env = self.sim.env();
        SegmentStore::open(&env, "log", DATABASE, LOG, self.file_bytes).map(|_| ())
    }

    /// Everything a log can do, once or more. False when it did not come to the end.
    pub(crate) fn act(&mut self) -> bool {
        let Ok(store) = self.open() else { return false };
        let mut actions: Vec<Action> = Vec::new();
        for _ in 0..8 {
            actions.extend([Self::append, Self::append, Self::append, Self::sync]);
        }
        actions.push(|life, store| life.note(store.note_newest_file(), |_| {}));
        actions.push(|life, store| {
            let vote = Vote { term: Term(9), node: 1, committed: true };
            life.note(store.save_vote(vote), |model| model.vote = vote)
        });
        actions.push(|life, store| {
            life.note(store.save_committed(EntryIndex(2)), |model| model.committed = 2)
        });
        actions.extend([Self::truncate, Self::append, Self::sync, Self::cut, Self::append]);
        actions.push(|life, store| life.note(store.reserve(20_000), |_| {}));
        actions.extend([Self::append, Self::sync, Self::reset, Self::append, Self::sync]);
        actions.into_iter().all(|action| action(self, &store).is_ok())
    }
}
