//! Transactions made at random, with savepoints nested, released and rolled back to in any order,
//! beside PostgreSQL 15: what every statement answers and what every table holds.
//!
//! They attack the invariant of `engine/src/session/transaction/savepoints.rs`: whatever is undone
//! leaves no trace. So keys go and come again under each savepoint, statements fail half-way, tables are
//! made, altered, emptied and dropped, and settings change.

use std::time::{Duration, Instant};

use glaredb_tests::{
    client,
    differential::{Answer, Random, ask},
    peer::Postgres,
    server::Server,
};
use tokio_postgres::Client;

const SEEDS: std::ops::Range<u64> = 1..40;
const STATEMENTS: usize = 120;
const TIME_MAX: Duration = Duration::from_secs(15);

const SETUP: &str = "drop table if exists a, b, c, x1, x2;
    create table a (id int primary key, v int);
    create table b (v int, w text);
    create table c (k text primary key, n int not null);
    drop table if exists tt;
    create temp table tt (id int primary key, v int) on commit preserve rows;
    insert into tt select i, i from generate_series(1, 10) i;
    insert into a select i, i * 10 from generate_series(1, 20) i;
    insert into b select i, 'b' || i from generate_series(1, 10) i;
    insert into c values ('one', 1), ('two', 2), ('three', 3)";

/// The next statement of a session that PostgreSQL says to be in `state`.
fn statement(random: &mut Random) -> String {
    let name = *random.pick(&["s", "s", "t", "u"]);
    let id = random.below(30);
    let n = random.below(100);
    let key = *random.pick(&["one", "two", "three", "four", "five"]);
    let table = *random.pick(&["a", "b", "c", "tt"]);
    let made = *random.pick(&["x1", "x2"]);
    match random.below(100) {
        0..=13 => format!("savepoint {name}"),
        14..=24 => format!("rollback to {name}"),
        25..=29 => format!("release {name}"),
        30..=35 => format!("insert into a values ({id}, {n})"),
        // Fails half-way if any is there.
        36..=39 => {
            let most = id + random.below(20);
            format!("insert into a select i, {n} from generate_series({most}, {id}, -1) i")
        }
        40..=44 => format!("update a set v = v + {n} where id between {id} and {}", id + 5),
        45..=47 => format!("update a set id = id + 40 where id = {id}"),
        48..=51 => format!("delete from a where id between {id} and {}", id + 3),
        52..=55 => format!("insert into b (v, w) values ({n}, 'new'), ({id}, null)"),
        56..=58 => format!("update b set v = v + 1 where v > {n}"),
        59..=61 => format!("delete from b where v % 7 = {}", n % 7),
        62..=64 => format!("insert into c values ('{key}', {n})"),
        65..=66 => format!("update c set n = 100 / (n - {}) where k <> '{key}'", n % 5),
        67..=68 => format!("delete from c where k = '{key}'"),
        69..=70 => format!("truncate {table}"),
        71 => format!("create temp table {made} as select * from a where id < {id}"),
        72..=73 => format!("create table {made} as select * from a where id < {id}"),
        74..=75 => format!("drop table {made}"),
        76 => format!("drop table {table}"),
        77..=78 => format!("alter table {table} add column c{n} int default {id}"),
        79 => format!("alter table {made} add primary key (id)"),
        80 => format!("alter table {table} rename to {made}"),
        81 => "alter table b drop column w".to_owned(),
        82..=83 => format!("insert into {made} values ({id}, {n})"),
        84 => format!("insert into tt select i, {n} from generate_series({id}, {id} + 3) i"),
        85 => format!("set extra_float_digits = {}", n % 4),
        86 => format!("update tt set v = v + {n}, id = id + 50 where id > {id}"),
        87 => format!("set local statement_timeout = {}", 60_000 + n),
        88 => format!("set glaredb.made_up = '{n}'"),
        89 => "set transaction read only".to_owned(),
        90 => "commit and chain".to_owned(),
        91 => "rollback and chain".to_owned(),
        92 => "select 1 / 0".to_owned(),
        93 => format!("delete from tt where id % 3 = {}", id % 3),
        94..=95 => "commit".to_owned(),
        96 => "rollback".to_owned(),
        _ => "begin".to_owned(),
    }
}

/// Everything the session can see.
const LOOK: [&str; 11] = [
    "select * from a",
    "select * from tt where id > 3",
    "select * from tt where id = 5",
    "select * from b",
    "select * from c",
    "select * from x1",
    "select * from x2",
    "select * from a where id = 5",
    "select * from c where k = 'two'",
    "select current_setting('extra_float_digits'), current_setting('glaredb.made_up', true)",
    "select current_setting('statement_timeout')",
];

struct Both {
    ours: Client,
    theirs: Client,
    said: Vec<String>,
}

impl Both {
    async fn ask(&mut self, sql: &str) -> Answer {
        self.said.push(sql.to_owned());
        let (theirs, ours) = (ask(&self.theirs, sql).await, ask(&self.ours, sql).await);
        let (theirs, ours) = (sorted(theirs), sorted(ours));
        // Of several mistakes in a statement another may be told.
        let alike = match (&ours, &theirs) {
            (Answer::Error(a, _), Answer::Error(b, _)) => a[..2] == b[..2],
            _ => ours == theirs,
        };
        assert!(alike, "{ours:?}\n{theirs:?}, after\n{}", self.said.join(";\n"));
        theirs
    }
}

fn sorted(answer: Answer) -> Answer {
    match answer {
        Answer::Rows(mut rows) => {
            rows.sort();
            Answer::Rows(rows)
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_undone_leaves_no_trace() {
    let (peer, server) = (Postgres::start(&["fsync = off"]), Server::start());
    let (theirs, ours) = (client::connect(peer.port).await, server.connect().await);
    let mut both = Both { ours, theirs, said: Vec::new() };
    let begin = Instant::now();
    for seed in SEEDS {
        if begin.elapsed() > TIME_MAX {
            break;
        }
        both.said = vec![format!("-- seed {seed}")];
        let mut random = Random::new(seed);
        both.ask(SETUP).await;
        both.ask("begin").await;
        for _ in 0..STATEMENTS {
            let sql = statement(&mut random);
            both.ask(&sql).await;
            // In a failed transaction there is nothing to look at, and a look would be the failure.
            let looks = sql.starts_with("rollback to") || random.once_in(4);
            if looks && both.ask("select 1").await == Answer::Rows(vec!["1".to_owned()]) {
                both.look().await;
            }
        }
        both.ask("commit").await;
        both.look().await;
        both.ask("reset all").await;
    }
}

impl Both {
    /// Looks at everything. What is not there fails the transaction, so a savepoint stands around it.
    async fn look(&mut self) {
        let inside = matches!(self.ask("savepoint look").await, Answer::Rows(_));
        for sql in LOOK {
            let answer = self.ask(sql).await;
            if inside && matches!(answer, Answer::Error(..)) {
                self.ask("rollback to look").await;
            }
        }
        if inside {
            self.ask("release look").await;
        }
    }
}
