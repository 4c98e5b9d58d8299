//! Clients that do not read what they asked for, and many that ask for nothing: neither takes more than
//! its share of memory, or anything from the others.

use std::time::Duration;

use tokio::{io::AsyncReadExt, time::timeout};

use crate::{
    Server,
    harness::PATIENCE,
    metric,
    raw::{Raw, bind, execute, kinds, parse, query, sync},
};

/// What a query gives whose rows nobody reads: 400 MB.
const LONG: &str = "select g, repeat('x', 1000) from generate_series(1, 400000) g";
/// What may be on its way from the table to the client: batches, rows, the buffers of both sockets.
const ON_THE_WAY_MAX: usize = 64 << 20;
/// So many idle clients.
const CLIENTS: usize = 1000;
const CLIENTS_BYTES_MAX: f64 = 200.0 * (1 << 20) as f64;

/// Waits until a metric is what it should be.
async fn until(server: &Server, name: &str, wanted: impl Fn(f64) -> bool) {
    let wait = async {
        while !wanted(metric(server, name)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, wait).await.is_err() {
        panic!("{name} stays {}", metric(server, name));
    }
}

/// Asks and reads no more than the first row.
async fn asked(server: &Server, request: &[u8]) -> Raw {
    let mut raw = Raw::start(server.port).await;
    raw.send(request).await;
    loop {
        if raw.reply().await.expect("an answer").kind == 'D' {
            return raw;
        }
    }
}

/// Everything that comes until the server is ready or gone: bytes of rows, and the kinds of the rest.
async fn drained(raw: &mut Raw) -> (usize, Vec<String>, String) {
    let (mut bytes, mut states, mut rest) = (0, Vec::new(), String::new());
    while let Some(reply) = raw.reply().await {
        match reply.kind {
            'D' | 'd' => bytes += reply.body.len(),
            kind => {
                states.extend((kind == 'E').then(|| reply.sqlstate()));
                rest.push(kind);
                if kind == 'Z' {
                    break;
                }
            }
        }
    }
    (bytes, states, rest)
}

/// Bytes that come from a server that has closed the connection, in the middle of a message.
async fn left(raw: &mut Raw) -> usize {
    let mut bytes = 0;
    let mut piece = vec![0; 1 << 16];
    // A reset is as good as an end.
    while let Ok(length) = raw.stream.read(&mut piece).await
        && length > 0
    {
        bytes += length;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_nobody_reads_are_not_computed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let mut other = Raw::start(server.port).await;
    other.query("create table t (a int primary key, b text)").await;
    let filled = "insert into t select g, repeat('x', 1000) from generate_series(1, 100000) g";
    assert_eq!(kinds(&other.query(filled).await), "CZ");
    let snapshots = metric(&server, "glaredb_snapshots");
    let extended = [
        parse("", "select a.a, a.b from t a, generate_series(1, 4) g", &[]),
        bind("", "", &[], 1),
        execute("", 0),
        sync(),
    ];
    for (request, end) in [
        (query(LONG), "cancel"),
        (query("select t.a, t.b from t, generate_series(1, 4) g"), "cancel"),
        (extended.concat(), "cancel"),
        (query(LONG), "terminate"),
    ] {
        let before = metric(&server, "process_resident_memory_bytes");
        let mut raw = asked(&server, &request).await;
        // It holds no lock: others write, alter and commit meanwhile.
        for statement in [
            "update t set b = 'y' where a = 7",
            "alter table t add column c int",
            "alter table t drop column c",
            "begin; delete from t where a = 7; insert into t values (7, 'z'); commit",
        ] {
            let answer = timeout(PATIENCE, other.query(statement)).await.expect(statement);
            assert!(!kinds(&answer).contains('E'), "{statement}: {answer:?}");
        }
        let now = metric(&server, "process_resident_memory_bytes");
        assert!(now - before < ON_THE_WAY_MAX as f64, "{before} became {now}");
        let pid = raw.pid;
        let answer = other.query(&format!("select pg_{end}_backend({pid})")).await;
        assert_eq!(kinds(&answer), "TDCZ");
        let bytes = if end == "cancel" {
            let drained = timeout(PATIENCE, drained(&mut raw)).await.expect("it ends");
            let (bytes, states, rest) = drained;
            assert_eq!((&*rest, &*states), ("EZ", &["57014".to_owned()][..]));
            assert_eq!(kinds(&raw.query("select 1").await), "TDCZ");
            bytes
        } else {
            until(&server, "glaredb_connections", |now| now <= 1.0).await;
            left(&mut raw).await
        };
        assert!(bytes < ON_THE_WAY_MAX, "{bytes} bytes were on their way");
        until(&server, "glaredb_snapshots", |now| now <= snapshots).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_nobody_reads_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    for format in ["text", "binary"] {
        let mut raw = Raw::start(server.port).await;
        raw.send(&query(&format!("copy ({LONG}) to stdout (format {format})"))).await;
        assert_eq!(raw.reply().await.expect("CopyOutResponse").kind, 'H');
        let mut other = Raw::start(server.port).await;
        other.query(&format!("select pg_cancel_backend({})", raw.pid)).await;
        let (bytes, states, rest) = timeout(PATIENCE, drained(&mut raw)).await.expect("it ends");
        assert!(bytes < ON_THE_WAY_MAX, "{bytes} bytes were on their way");
        assert_eq!((&*rest, &*states), ("EZ", &["57014".to_owned()][..]));
    }
    // Whoever reads gets it all.
    let mut raw = Raw::start(server.port).await;
    raw.send(&query(&format!("copy ({LONG}) to stdout"))).await;
    let (bytes, _, rest) = drained(&mut raw).await;
    assert_eq!((bytes / 1000 >= 400_000, &*rest), (true, "HcCZ"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_clients_take_little() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // As many files as may be: a thousand sockets here, a thousand there.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the maximum");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--max-connections", "1010"]);
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let mut raw = Raw::start(server.port).await;
        // Each has planned, read, written and prepared something.
        if n == 0 {
            raw.query("create table t (a int primary key, b text)").await;
        }
        let insert = format!("insert into t values ({n}, repeat('x', 100))");
        assert_eq!(kinds(&raw.query(&insert).await), "CZ");
        assert_eq!(kinds(&raw.query("select b from t where a = 0").await), "TDCZ");
        let prepared = [parse("p", "select count(*), min(b) from t where a < $1", &[23]), sync()];
        raw.send(&prepared.concat()).await;
        assert_eq!(kinds(&raw.until_ready().await), "1Z");
        clients.push(raw);
    }
    assert!(metric(&server, "glaredb_connections") >= CLIENTS as f64);
    let bytes = metric(&server, "process_resident_memory_bytes");
    println!("{CLIENTS} idle clients: {:.0} MiB", bytes / (1 << 20) as f64);
    assert!(bytes < CLIENTS_BYTES_MAX, "{bytes} bytes");
    // They still are served.
    for raw in clients.iter_mut().step_by(100) {
        assert_eq!(kinds(&raw.query("select 1").await), "TDCZ");
    }
}
