//! Seeded streams of messages, most of them of the extended protocol and some of them damaged, against
//! the real thing: the server answers or closes, never hangs, nothing in it panics, and nothing stays
//! behind. A few thousand messages in every run, a million with `make fuzz`.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Server,
    harness::PATIENCE,
    metric,
    random::{Random, pour_stream},
    raw::{Raw, bind, close, describe, execute, flush, kinds, message, parse, query, sync},
};

const QUERIES: [&str; 40] = [
    "select 1",
    "select a, b from f order by a limit 3",
    "begin",
    "begin isolation level repeatable read",
    "commit",
    "rollback",
    "savepoint s",
    "rollback to s",
    "release s",
    "insert into f values (1, 'x')",
    "insert into f values (2, 'y') returning a, b",
    "update f set b = 'z' where a = 1",
    "delete from f where a = 2",
    "begin; insert into f values (3, 'q'); select 1/0; commit",
    "insert into f values (4, 'r'); select count(*) from f; delete from f where a = 4",
    "copy f from stdin",
    "copy f from stdin (format binary)",
    "copy f from stdin (format csv, header match, force_null (b)) where a > 5",
    "copy f to stdout",
    "copy f to stdout (format binary)",
    "copy (select g, g::text from generate_series(1, 5000) g) to stdout (encoding 'latin1')",
    "copy (delete from f where a > 4 returning *) to stdout csv header",
    "declare c cursor for select g from generate_series(1, 100) g",
    "fetch 7 from c",
    "close c",
    "prepare q as select $1::int + 1",
    "execute q(3)",
    "deallocate q",
    "discard all",
    "set statement_timeout = 1000",
    "set datestyle = german",
    "show all",
    "selec 1",
    "explain select * from f",
    "",
    "select g, repeat('x', g) from generate_series(1, 500) g",
    "create table g (a int)",
    "drop table if exists g",
    "truncate f",
    "select pg_cancel_backend(pg_backend_pid())",
];

const STATEMENTS: [&str; 14] = [
    "select $1::int, $2::text",
    "select $1::numeric, $2::jsonb",
    "select $1::timestamptz, $2::interval",
    "select $1::int[], $2::uuid",
    "select a from f where a = any($1) and b <> $2",
    "select g from generate_series($1::int, 1000) g where g::text <> $2",
    "insert into f values ($1, $2) on conflict do nothing",
    "insert into f values ($1, $2)",
    "insert into f values ($1, $2) returning *",
    "select b from f where a = $1 and b = $2",
    "select b from f where a in ($1, 7, 8) and b like $2 limit 2",
    "update f set b = $2 where a = $1",
    "delete from f where a = $1 or b = $2",
    "values ($1, $2), (1, 'x')",
];

const VALUES: [&str; 10] =
    ["1", "5", "x", "", "{1,2}", "2024-01-01", "\0\0\0\x01", "[1]", "1e400", "\u{fc}"];

/// A message a client could send. Many are followed by a Sync: without one, nothing behind an error is
/// served.
fn plausible(random: &mut Random) -> Vec<u8> {
    let mut bytes = one(random);
    if random.below(3) == 0 {
        bytes.extend_from_slice(&sync());
    }
    bytes
}

/// A statement as drivers run it.
fn whole(random: &mut Random) -> Vec<u8> {
    let (statement, portal) = (random.pick(&["", "", "a"]), random.pick(&["", "", "b"]));
    let parameters = [random.pick(&["1", "5", "7"]), random.pick(&["1", "5", "7"])];
    let mut bytes = [
        close('S', statement),
        parse(statement, random.pick(&STATEMENTS), &[]),
        bind(portal, statement, &parameters, random.below(2) as u16),
        describe('P', portal),
        execute(portal, random.pick(&[0, 0, 1, 2])),
    ]
    .concat();
    if random.below(3) == 0 {
        bytes.extend_from_slice(&execute(portal, random.pick(&[0, 1])));
    }
    bytes.extend_from_slice(&sync());
    bytes
}

fn one(random: &mut Random) -> Vec<u8> {
    let names = ["", "", "a", "b"];
    let limits = [0, 1, 2, -1, 1000];
    match random.below(26) {
        20.. => whole(random),
        0..=2 => query(random.pick(&QUERIES)),
        3..=5 => {
            let types = [&[][..], &[23, 25], &[0, 0], &[1700], &[705, 99_999]];
            parse(random.pick(&names), random.pick(&STATEMENTS), types[random.below(5)])
        }
        6 => parse(random.pick(&names), random.pick(&QUERIES), &[]),
        7..=9 => {
            let parameters = [random.pick(&VALUES), random.pick(&VALUES)];
            let count = [2, 2, 2, 1, 0][random.below(5)];
            let format = random.below(2) as u16;
            bind(random.pick(&names), random.pick(&names), &parameters[..count], format)
        }
        10 => bind(random.pick(&names), random.pick(&names), &[], 0),
        11..=12 => describe(random.pick(&['S', 'P']), random.pick(&names)),
        13..=15 => execute(random.pick(&names), random.pick(&limits)),
        16 => close(random.pick(&['S', 'P']), random.pick(&names)),
        17 => message('d', random.pick(&COPIED)),
        18 => sync(),
        _ => match random.below(3) {
            0 => message('c', b""),
            1 => message('f', b"enough\0"),
            _ => flush(),
        },
    }
}

const COPIED: [&[u8]; 7] = [
    b"7\tseven\n",
    b"8",
    b"\\N\t\\N\n",
    b"\\.\n",
    b"a,b\n9,\"x\n\"\n",
    b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x0b\0\0\0\x01x\xff\xff",
    b"\0\x02\0\0\0\x04\0\0\0\x0c\xff\xff\xff\xff",
];

/// Messages to send.
fn wanted() -> u64 {
    std::env::var("GLAREDB_FUZZ_MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(8_000)
}

/// Clients at a time.
const CLIENTS: u64 = 4;
/// What memory may grow by once every kind of message was served often.
const GROWTH_BYTES_MAX: f64 = 64.0 * (1 << 20) as f64;

/// Sends so many messages, in streams by seeds from `seed` on. The next seed.
async fn pour_messages(port: u16, messages: u64, mut seed: u64) -> u64 {
    let mut sent = 0;
    while sent < messages {
        let seeds = seed..seed + CLIENTS;
        let clients = seeds.map(|seed| pour_stream(port, seed, plausible));
        sent += futures::future::join_all(clients).await.into_iter().sum::<u64>();
        seed += CLIENTS;
    }
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_streams_of_statements_end_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    let mut first = Raw::start(server.port).await;
    let created = first.query("create table f (a int primary key, b text)").await;
    assert_eq!(kinds(&created), "CZ");
    let seed = pour_messages(server.port, wanted() / 4, 0).await;
    let before = metric(&server, "process_resident_memory_bytes");
    pour_messages(server.port, wanted() - wanted() / 4, seed).await;
    // Whoever is gone has left nothing.
    let gone = async {
        while metric(&server, "glaredb_connections") > 1.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("connections end");
    let after = metric(&server, "process_resident_memory_bytes");
    println!("{} messages, memory {before} to {after}", wanted());
    assert!(after - before < GROWTH_BYTES_MAX, "memory grew from {before} to {after}");
    assert_eq!(kinds(&first.query("select 1").await), "TDCZ");
    assert_eq!(kinds(&Raw::start(server.port).await.query("select count(*) from f").await), "TDCZ");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let panics: Vec<String> = server.lines.iter().filter(|l| l.contains("panicked")).collect();
    assert!(panics.is_empty(), "{}", panics.join("\n"));
}
