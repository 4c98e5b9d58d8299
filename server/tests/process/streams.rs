//! Seeded streams of messages, some of them damaged, against the real thing: the server answers or
//! closes, never hangs, and nothing in it panics.

use crate::{
    Server,
    random::{Random, pour_streams},
    raw::{Raw, bind, close, describe, execute, flush, kinds, message, parse, query},
};

const QUERIES: [&str; 18] = [
    "select 1",
    "select a, b from f order by a limit 3",
    "begin",
    "commit",
    "rollback",
    "insert into f values (1, 'x')",
    "insert into f values (2, 'y') returning a, b",
    "update f set b = b || 'z' where a = 1",
    "delete from f where a = 2",
    "begin; insert into f values (3, 'q'); select 1/0; commit",
    "insert into f values (4, 'r'); select count(*) from f; delete from f where a = 4",
    "copy f from stdin",
    "copy f to stdout",
    "set statement_timeout = 1000",
    "show all",
    "selec 1",
    "explain select * from f",
    "",
];

const STATEMENTS: [&str; 6] = [
    "select $1::int, $2::text",
    "insert into f values ($1, $2) on conflict do nothing",
    "insert into f values ($1, $2)",
    "select b from f where a = $1 and b = $2",
    "update f set b = $2 where a = $1",
    "delete from f where a = $1 or b = $2",
];

/// A message a client could send.
fn plausible(random: &mut Random) -> Vec<u8> {
    let names = ["", "a", "b"];
    let limits = [0, 1, -1, 1000];
    match random.below(12) {
        0..=2 => query(random.pick(&QUERIES)),
        3 => parse(random.pick(&names), random.pick(&STATEMENTS), &[]),
        4 => parse(random.pick(&names), random.pick(&QUERIES), &[]),
        5 => {
            let parameters = [random.pick(&["1", "5", "x"]), "text"];
            let format = random.below(2) as u16;
            bind(random.pick(&names), random.pick(&names), &parameters, format)
        }
        6 => bind(random.pick(&names), random.pick(&names), &[], 0),
        7 => describe(random.pick(&['S', 'P']), random.pick(&names)),
        8 => execute(random.pick(&names), random.pick(&limits)),
        9 => close(random.pick(&['S', 'P']), random.pick(&names)),
        10 => message('d', random.pick(&[&b"7\tseven\n"[..], b"8", b"\\N\t\\N\n", b"\\.\n"])),
        _ => match random.below(3) {
            0 => message('c', b""),
            1 => message('f', b"enough\0"),
            _ => flush(),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_streams_of_statements_end_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), &[]);
    let mut first = Raw::start(server.port).await;
    let created = first.query("create table f (a int primary key, b text)").await;
    assert_eq!(kinds(&created), "CZ");
    pour_streams(server.port, plausible).await;
    assert_eq!(kinds(&Raw::start(server.port).await.query("select 1").await), "TDCZ");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let panics: Vec<String> = server.lines.iter().filter(|l| l.contains("panicked")).collect();
    assert!(panics.is_empty(), "{}", panics.join("\n"));
}
