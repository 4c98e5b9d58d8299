//! Random mixes of DDL and DML through a session, on a simulated disk, against a model: keys that come
//! when rows are dead or private, keys too long and NULLs among them, loads in parts that are given
//! up, snapshots that stay open, checkpoints, crashes.
//!
//! What must hold: every answer is the one that the rows themselves explain, the node never stops, and
//! it opens again with exactly the rows of what was answered.
//!
//! `GLAREDB_MIX_SEEDS=1000` runs so many seeds (12 without), `GLAREDB_MIX_SEED=17` that one alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use glaredb_engine::{
    session::Engine,
    storage::database::{Database, OpenOptions},
};
use glaredb_txn::{
    env::{Clock, Env, SystemClock, SystemThreads},
    sim::{Rng, SimEnv},
};

use crate::harness::{Client, open_engine};

const STEPS: u64 = 120;
const TABLES: [&str; 2] = ["a", "b"];

/// Longer than a key may be.
const LONG: usize = 9_000;

/// Length of the text in a row of a large load: a thousand of them take several parts.
const LOAD_TEXT: usize = 1_500;

type Id = Option<String>;

/// What a table holds: how often each (id, v).
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    rows: BTreeMap<(Id, i64), u64>,
    keyed: bool,
}

impl Model {
    fn add(&mut self, id: Id, v: i64) {
        *self.rows.entry((id, v)).or_default() += 1;
    }

    fn retain(&mut self, keep: impl Fn(&Id, i64) -> bool) -> u64 {
        let before: u64 = self.rows.values().sum();
        self.rows.retain(|(id, v), _| keep(id, *v));
        before - self.rows.values().sum::<u64>()
    }

    /// SQLSTATEs that explain why these rows cannot be under a key; none if they can.
    fn violations(&self) -> Vec<&'static str> {
        let mut seen = BTreeMap::new();
        let mut found = Vec::new();
        for ((id, _), count) in &self.rows {
            match id {
                None => found.push("23502"),
                Some(id) => {
                    if id.len() > 8_000 {
                        found.push("54000");
                    }
                    *seen.entry(id).or_insert(0) += count;
                }
            }
        }
        if seen.values().any(|count| *count > 1) {
            found.push("23505");
        }
        found
    }

    fn shown(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((id, v), count) in &self.rows {
            let text = match id {
                None => "NULL|NULL".to_owned(),
                Some(id) => format!("{}|{}", id.len(), &id[..id.len().min(8)]),
            };
            lines.extend(std::iter::repeat_n(format!("{text}|{v}"), *count as usize));
        }
        lines.sort();
        lines
    }
}

fn env(sim: &SimEnv) -> Env {
    Env { clock: Arc::new(SystemClock), threads: Arc::new(SystemThreads), ..sim.env() }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions { budget_bytes: 512 << 20, ..OpenOptions::default() };
    options.log.file_bytes = 8 << 20;
    options.log.preallocate_in_background = false;
    // Dead rows go soon, and sometimes not soon enough.
    options.horizon_interval = Duration::from_millis(15);
    options
}

fn literal(id: &Id) -> String {
    match id {
        None => "null".to_owned(),
        Some(id) if id.len() > 100 => format!("repeat('{}', {LONG})", &id[..1]),
        Some(id) => format!("'{id}'"),
    }
}

/// A reader with a snapshot of its own, and what it must see.
struct Reader {
    client: Client,
    content: BTreeMap<&'static str, Vec<String>>,
}

/// What ends with the process.
struct Process {
    engine: Arc<Engine>,
    client: Client,
}

impl Process {
    async fn start(sim: &SimEnv) -> Self {
        let engine = open_engine(options(), env(sim)).await;
        Self { client: Client::new(&engine), engine }
    }

    /// Ends it, and everything that has its files open: two of them would ruin each other's.
    async fn end(self) {
        let database: Arc<Database> = Arc::clone(self.engine.database());
        drop(self);
        let end = move || {
            database.shutdown();
            // A task of a statement that was given up may have it for a moment.
            for _ in 0..10_000 {
                if Arc::strong_count(&database) == 1 {
                    return;
                }
                SystemClock.sleep(Duration::from_millis(1));
            }
            panic!("somebody else holds the database");
        };
        tokio::task::spawn_blocking(end).await.expect("it ends");
    }
}

struct Mix {
    seed: u64,
    rng: Rng,
    sim: SimEnv,
    process: Option<Process>,
    tables: BTreeMap<&'static str, Model>,
    reader: Option<Reader>,
    next: i64,
    refused: u64,
    keys_added: u64,
}

async fn content(client: &mut Client, table: &str) -> Vec<String> {
    let select = format!("select length(id), left(id, 8), v from {table}");
    let mut lines = client.ok(&select).await;
    lines.pop();
    lines.sort();
    lines
}

impl Mix {
    async fn new(seed: u64) -> Self {
        let sim = SimEnv::new(seed);
        let mut process = Process::start(&sim).await;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            process
                .client
                .ok(&format!("create table {table} (id text, v bigint, filler text)"))
                .await;
            tables.insert(table, Model::default());
        }
        let rng = Rng::new(Rng::new(seed).next_u64());
        let (refused, keys_added) = (0, 0);
        let process = Some(process);
        Self { seed, rng, sim, process, tables, reader: None, next: 0, refused, keys_added }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("one runs between two steps")
    }

    fn client(&mut self) -> &mut Client {
        &mut self.process().client
    }

    fn id(&mut self) -> Id {
        match self.rng.below(40) {
            0 => None,
            1 => Some("x".repeat(LONG)),
            n => Some(format!("id{}", n * self.rng.below(20))),
        }
    }

    /// Runs a statement that makes `after` of a table, or is refused for what `after` violates.
    async fn change(&mut self, table: &'static str, sql: &str, after: Model) {
        let violations = if after.keyed { after.violations() } else { Vec::new() };
        match self.client().run(sql).await {
            Ok(_) => {
                let seed = self.seed;
                assert!(violations.is_empty(), "seed {seed}: {sql} violates {violations:?}");
                self.tables.insert(table, after);
            }
            Err(error) => {
                let explained = violations.contains(&error.sqlstate);
                assert!(explained, "seed {}: {sql}: {error:?}, not {violations:?}", self.seed);
                self.refused += 1;
            }
        }
    }

    async fn step(&mut self) {
        let table = TABLES[self.rng.index(TABLES.len())];
        let mut after = self.tables[table].clone();
        match self.rng.below(100) {
            0..30 => self.insert(table, after).await,
            30..45 => {
                let id = self.id();
                after.retain(|other, _| other.is_none() || *other != id);
                let sql = format!("delete from {table} where id = {}", literal(&id));
                self.change(table, &sql, after).await;
            }
            45..50 => {
                // What cannot be under a key goes.
                after.retain(|id, _| id.as_ref().is_some_and(|id| id.len() < LONG));
                let sql = format!("delete from {table} where id is null or length(id) > 8000");
                self.change(table, &sql, after).await;
            }
            50..58 => self.update(table, after).await,
            58..68 => self.add_key(table, after).await,
            68..72 => {
                after.rows.clear();
                self.change(table, &format!("truncate {table}"), after).await;
            }
            72..75 => {
                let sql = format!(
                    "drop table {table}; create table {table} (id text, v bigint, filler text)"
                );
                self.change(table, &sql, Model::default()).await;
            }
            75..80 => self.load(table).await,
            80..88 => self.transaction(table).await,
            88..92 => self.read_on().await,
            92..95 => {
                self.client().ok("checkpoint").await;
            }
            95..97 => self.reopen(true).await,
            97 => self.reopen(false).await,
            _ => self.check("in between").await,
        }
    }

    async fn insert(&mut self, table: &'static str, mut after: Model) {
        let mut values = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let (id, v) = (self.id(), self.next);
            self.next += 1;
            values.push(format!("({}, {v})", literal(&id)));
            after.add(id, v);
        }
        let sql = format!("insert into {table} (id, v) values {}", values.join(", "));
        self.change(table, &sql, after).await;
    }

    /// The rows of one id get another one.
    async fn update(&mut self, table: &'static str, mut after: Model) {
        let (from, to) = (self.id(), self.id());
        let moved: Vec<_> =
            after.rows.keys().filter(|(id, _)| id.is_some() && *id == from).collect();
        let moved: Vec<_> = moved.into_iter().cloned().collect();
        for row in moved {
            let count = after.rows.remove(&row).expect("it was found");
            *after.rows.entry((to.clone(), row.1)).or_default() += count;
        }
        let sql = format!("update {table} set id = {} where id = {}", literal(&to), literal(&from));
        self.change(table, &sql, after).await;
    }

    async fn add_key(&mut self, table: &'static str, mut after: Model) {
        let sql = format!("alter table {table} add primary key (id)");
        if after.keyed {
            let error = self.client().err(&sql).await;
            assert_eq!(error.sqlstate, "42P16", "seed {}: {error:?}", self.seed);
            return;
        }
        after.keyed = true;
        self.change(table, &sql, after).await;
        self.keys_added += u64::from(self.tables[table].keyed);
    }

    /// A load that takes several parts; its end is a bad line, or a good one. Beside it another
    /// session may add a key: then the load may lose.
    async fn load(&mut self, table: &'static str) {
        let mut after = self.tables[table].clone();
        let filler = "y".repeat(LOAD_TEXT);
        let mut data = String::new();
        let first = self.next;
        for n in 0..1_200 {
            let id = match self.rng.below(1_200) {
                0 => None,
                1 => Some("z".repeat(LONG)),
                _ => Some(format!("load{first}.{n}")),
            };
            let text = id.clone().unwrap_or_else(|| "\\N".to_owned());
            data.push_str(&format!("{text}\t{}\t{filler}\n", self.next));
            after.add(id, self.next);
            self.next += 1;
        }
        let given_up = self.rng.chance(1, 2);
        if given_up {
            data.push_str("bad\tnumber\tx\n");
        }
        let sql = format!("copy {table} from stdin");
        let loaded = self.client().copy_in(&sql, data.as_bytes(), 100_000).await;
        let violations = if after.keyed { after.violations() } else { Vec::new() };
        match loaded {
            Ok(_) => {
                assert!(!given_up && violations.is_empty(), "seed {}: {violations:?}", self.seed);
                self.tables.insert(table, after);
                // Thins it out at once: chunks with few rows alive.
                let mut after = self.tables[table].clone();
                after.retain(|_, v| v < first || v % 50 == 0);
                let sql = format!("delete from {table} where v >= {first} and v % 50 <> 0");
                self.change(table, &sql, after).await;
            }
            Err(error) => {
                let bad_line = given_up && error.sqlstate == "22P02";
                let explained = bad_line || violations.contains(&error.sqlstate);
                assert!(explained, "seed {}: {error:?}, not {violations:?}", self.seed);
                self.refused += 1;
            }
        }
    }

    /// Several statements, committed or not.
    async fn transaction(&mut self, table: &'static str) {
        let before = self.tables.clone();
        self.client().ok("begin").await;
        let refused = self.refused;
        if self.rng.chance(1, 4) {
            let after = self.tables[table].clone();
            self.add_key(table, after).await;
            let keyed = before[table].keyed;
            // An error ends the block, whichever it is.
            self.refused += u64::from(keyed);
        } else {
            for _ in 0..2 + self.rng.below(3) {
                let after = self.tables[table].clone();
                match self.rng.below(3) {
                    0 => self.insert(table, after).await,
                    1 => self.update(table, after).await,
                    _ => {
                        let mut after = after;
                        after.retain(|_, v| v % 7 != 0);
                        let sql = format!("delete from {table} where v % 7 = 0");
                        self.change(table, &sql, after).await;
                    }
                }
                if self.refused > refused {
                    break;
                }
            }
        }
        let commits = self.rng.chance(1, 2);
        self.client().ok(if commits { "commit" } else { "rollback" }).await;
        if !commits || self.refused > refused {
            self.tables = before;
        }
    }

    /// Opens a reader that stays, or looks whether the one there still sees what it saw.
    async fn read_on(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            for (table, expected) in &reader.content {
                // Of a table that was dropped or emptied meanwhile PostgreSQL would have waited.
                let select = format!("select length(id), left(id, 8), v from {table}");
                let Ok(mut lines) = reader.client.run(&select).await else { continue };
                lines.pop();
                lines.sort();
                let same = lines == *expected || lines.is_empty();
                assert!(same, "seed {}: an old snapshot of {table} changed", self.seed);
            }
            return;
        }
        let mut client = Client::new(&self.process().engine);
        client.ok("begin isolation level repeatable read").await;
        let mut seen = BTreeMap::new();
        for table in TABLES {
            seen.insert(table, content(&mut client, table).await);
        }
        self.reader = Some(Reader { client, content: seen });
    }

    async fn check(&mut self, when: &str) {
        let seed = self.seed;
        let fatal = self.process().engine.database().fatal().borrow().clone();
        assert!(fatal.is_none(), "seed {seed}, {when}: {fatal:?}");
        for table in TABLES {
            let found = content(self.client(), table).await;
            let expected = self.tables[table].shown();
            assert!(
                found == expected,
                "seed {seed}, {when}, {table}: {} rows, expected {}",
                found.len(),
                expected.len()
            );
            if self.tables[table].keyed {
                // By the key index, too.
                let some: Vec<_> = self.tables[table].rows.keys().take(5).cloned().collect();
                for (id, v) in &some {
                    let select = format!("select v from {table} where id = {}", literal(id));
                    let rows = self.client().ok(&select).await;
                    assert_eq!(rows[0], v.to_string(), "seed {seed}, {when}: {select}");
                }
            }
        }
    }

    /// Power cut or clean stop, and another process.
    async fn reopen(&mut self, crash: bool) {
        self.reader = None;
        if crash {
            self.sim.disk.crash();
        }
        self.process.take().expect("one runs").end().await;
        self.process = Some(Process::start(&self.sim).await);
        self.check("after a restart").await;
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_statements_agree_with_the_model() {
    let seeds = match number("GLAREDB_MIX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GLAREDB_MIX_SEEDS").unwrap_or(12),
    };
    let several = seeds.end - seeds.start >= 10;
    let (mut refused, mut keys_added) = (0, 0);
    for seed in seeds {
        eprintln!("GLAREDB_MIX_SEED={seed}");
        let mut mix = Mix::new(seed).await;
        for _ in 0..STEPS {
            mix.step().await;
        }
        mix.reopen(true).await;
        mix.client().ok("checkpoint").await;
        mix.reopen(false).await;
        mix.process.take().expect("one runs").end().await;
        (refused, keys_added) = (refused + mix.refused, keys_added + mix.keys_added);
    }
    println!("{refused} refused, {keys_added} keys added");
    assert!(!several || (refused > 20 && keys_added > 20), "{refused}, {keys_added}");
}
