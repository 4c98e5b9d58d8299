//! Whatever interrupts a commit that is on its way: the answer tells what became of it.
//!
//! strace delays every fdatasync of the server, so that a commit takes so long that a cancel, a
//! timeout and a SIGTERM meet it while it waits for the disk.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::{SinkExt, future::join_all};
use glaredb_tests::{
    client,
    server::{Options, Server},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, types::ToSql};

/// What every fdatasync takes. What interrupts a commit comes in the middle of that, when on any but
/// the busiest machine the commit waits for the disk; one that comes before must roll back.
const SYNC: Duration = Duration::from_millis(3000);

/// strace on a running server; detached when dropped.
struct Strace(Child);

impl Strace {
    /// `inject`: what to do to fdatasync.
    fn attach(server: &Server, inject: &str) -> Self {
        let log = server.data_dir().with_extension("strace");
        let child = Command::new("strace")
            .args(["-f", "-o"])
            .arg(&log)
            .args(["-e", "trace=fdatasync", "-e", &format!("inject=fdatasync:{inject}")])
            .args(["-p", &server.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs strace");
        let strace = Self(child);
        // Attached once a sync shows in its log: the server syncs when anything is committed.
        let begin = Instant::now();
        while std::fs::read_to_string(&log).unwrap_or_default().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "strace attaches");
            let _ = server.psql("create table if not exists nudge(); drop table nudge");
        }
        strace
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Runs `work` with a cancel in its middle.
async fn cancelled<T>(client: &Client, work: impl Future<Output = T>) -> T {
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(SYNC / 2).await;
        token.cancel_query(NoTls).await.expect("the request is sent");
    };
    tokio::join!(work, cancel).0
}

async fn copy(client: &Client, row: &str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, bytes::Bytes>("copy t from stdin").await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(bytes::Bytes::from(format!("{row}\n"))).await?;
    sink.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_answered_by_what_became_of_it() {
    let server = Server::start();
    let setup = server.connect().await;
    setup.batch_execute("create table t (k int primary key)").await.expect("a table");
    let clients: Vec<Client> = join_all((0..9).map(|_| server.connect())).await;
    let [a, b, c, d, e, f, g, h, i] = &clients[..] else { panic!("nine clients") };
    for timed in [a, c, e, h, i] {
        timed.batch_execute("set statement_timeout = '1500ms'").await.expect("a setting");
    }
    for open in [c, d] {
        open.batch_execute("begin").await.expect("a block");
    }
    c.batch_execute("insert into t values (3)").await.expect("a row");
    d.batch_execute("insert into t values (4)").await.expect("a row");
    let prepared = g.prepare("insert into t values ($1)").await.expect("a statement");
    let (one, two) = (7_i32, 8_i32);

    let strace = Strace::attach(&server, &format!("delay_enter={}", SYNC.as_micros()));
    let began = Instant::now();
    let both = "insert into t values (9); insert into t values (10)";
    let returning = "insert into t values (11) returning k";
    let ends = tokio::join!(
        async { a.batch_execute("insert into t values (1)").await },
        cancelled(b, b.batch_execute("insert into t values (2)")),
        async { c.batch_execute("commit").await },
        cancelled(d, d.batch_execute("commit")),
        async { copy(e, "5").await.map(drop) },
        async { cancelled(f, copy(f, "6")).await.map(drop) },
        async {
            let (first, second): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) =
                ([&one], [&two]);
            tokio::try_join!(g.execute(&prepared, &first), g.execute(&prepared, &second)).map(drop)
        },
        async { h.batch_execute(both).await },
        async {
            let rows = i.simple_query(returning).await?;
            let row = rows.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_)));
            assert!(row, "{rows:?}");
            Ok(())
        },
    );
    let (a, b, c, d, e, f, g, h, i) = ends;
    let ends = [
        ("autocommit, timeout", a, "1 "),
        ("autocommit, cancel", b, "2 "),
        ("COMMIT, timeout", c, "3 "),
        ("COMMIT, cancel", d, "4 "),
        ("COPY, timeout", e, "5 "),
        ("COPY, cancel", f, "6 "),
        ("extended", g, "7 8 "),
        ("implicit transaction of one message, timeout", h, "9 10 "),
        ("RETURNING, timeout", i, "11 "),
    ];
    assert!(began.elapsed() >= SYNC, "{:?}: the disk was not slow", began.elapsed());
    drop(strace);
    let mut expected = String::new();
    for (what, end, keys) in ends {
        match end {
            Ok(()) => expected += keys,
            // It had not come to its commit: the machine is very busy.
            Err(error) => assert_eq!(client::sqlstate(&error), "57014", "{what}: {error:?}"),
        }
    }
    let keys = server.psql("select coalesce(string_agg(k::text, ' ' order by k), '') from t");
    assert_eq!(keys.as_deref().map(str::trim_end), Ok(expected.trim_end()));
}

/// SIGTERM meets a commit that waits for the disk: it is answered, and the answer is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_answers_its_commits() {
    let mut server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (k int primary key)").await.expect("a table");
    let strace = Strace::attach(&server, &format!("delay_enter={}", SYNC.as_micros()));
    let insert =
        tokio::spawn(async move { client.batch_execute("insert into t values (1)").await });
    tokio::time::sleep(SYNC / 2).await;
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM is sent");
    let rows = match insert.await.expect("no panic") {
        Ok(()) => "1\n",
        // It had not come to its commit: the machine is very busy.
        Err(error) => {
            assert_eq!(client::sqlstate(&error), "57P01", "{error:?}");
            "0\n"
        }
    };
    drop(strace);
    let status = server.wait_end(Duration::from_secs(60));
    assert!(status.success(), "{status}");
    let server = server.start_again(Options::default());
    assert_eq!(server.psql("select count(*) from t").as_deref(), Ok(rows));
}

/// The log fails under commits: nobody can say what became of them, and that is what clients hear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_log_leaves_commits_unknown() {
    let mut server = Server::start();
    let clients: Vec<Client> = join_all((0..4).map(|_| server.connect())).await;
    clients[0].batch_execute("create table t (k int primary key)").await.expect("a table");
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO:delay_enter=500000"])
        .args(["-p", &server.pid().to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("this test needs strace");
    let strace = Strace(strace);
    let inserts = clients.iter().enumerate().map(|(key, client)| async move {
        // Until the disk fails, which is as soon as strace is attached.
        for round in 0.. {
            let key = round * 10 + key;
            if let Err(error) = client.batch_execute(&format!("insert into t values ({key})")).await
            {
                return (key, client::sqlstate(&error).to_owned());
            }
        }
        unreachable!("the loop ends by an error")
    });
    let answers: BTreeMap<usize, String> = join_all(inserts).await.into_iter().collect();
    // One that came after the failure was refused for sure.
    assert!(answers.values().any(|state| state == "08007"), "{answers:?}");
    let told = |state: &String| ["08007", "58030"].contains(&state.as_str());
    assert!(answers.values().all(told), "{answers:?}");
    let status = server.wait_end(Duration::from_secs(60));
    assert_eq!(status.code(), Some(1), "{status}");
    drop(strace);
    let server = server.start_again(Options::default());
    for (key, state) in answers {
        let found = server.psql(&format!("select count(*) from t where k = {key}"));
        let found = found.expect("it reads");
        assert!(state == "08007" || found == "0\n", "{key} was refused with {state}: {found}");
    }
}

/// Statements cancelled at any moment, with a slow disk under them: what was answered 57014 is not
/// there, what was acknowledged is, and nothing else was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancels_tells_the_truth() {
    const CLIENTS: i64 = 6;
    let server = Server::start();
    let setup = server.connect().await;
    setup.batch_execute("create table t (k bigint primary key, v text)").await.expect("a table");
    let strace = Strace::attach(&server, "delay_enter=30000");
    let (least, most) = (Instant::now() + Duration::from_secs(8), Duration::from_secs(90));
    let (acknowledged, rolled_back) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = || {
        let now = Instant::now();
        let enough = acknowledged.load(Relaxed) > 20 && rolled_back.load(Relaxed) > 0;
        now > least && (enough || now > least + most)
    };
    let (over, acknowledged, rolled_back) = (&over, &acknowledged, &rolled_back);
    let clients = join_all((0..CLIENTS).map(|_| server.connect())).await;
    let workers = clients.iter().zip(0..).map(|(client, number)| async move {
        let token = client.cancel_token();
        let cancels = async {
            // Each a little later after the statement's start than the one before.
            for pause in (0..).map(|n| n * 7 % 60) {
                if over() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let _ = token.cancel_query(NoTls).await;
            }
        };
        let statements = async {
            let mut answers = Vec::new();
            for round in 0.. {
                if over() {
                    break;
                }
                let key = number * 1_000_000_000 + round * 10_000;
                let (rows, sql) = match round % 4 {
                    0 => (1, format!("insert into t values ({key}, 'one') returning k")),
                    1 => (
                        2,
                        format!(
                            "begin; insert into t values ({key}, 'a'); \
                             insert into t values ({}, 'b'); commit",
                            key + 1
                        ),
                    ),
                    2 => (
                        2,
                        format!(
                            "insert into t values ({key}, 'a'); insert into t values ({}, 'b')",
                            key + 1
                        ),
                    ),
                    // So much that it goes in parts.
                    _ => (
                        1500,
                        format!(
                            "insert into t select i, repeat(i::text, 90) \
                             from generate_series({key}, {}) i",
                            key + 1499
                        ),
                    ),
                };
                let state = match client.simple_query(&sql).await {
                    Ok(_) => String::new(),
                    Err(error) => client::sqlstate(&error).to_owned(),
                };
                let counted = if state.is_empty() { acknowledged } else { rolled_back };
                counted.fetch_add(1, Relaxed);
                if !state.is_empty() {
                    while client.simple_query("rollback").await.is_err() {}
                }
                answers.push((key, rows, state));
            }
            answers
        };
        tokio::join!(statements, cancels).0
    });
    let answers = join_all(workers).await.concat();
    drop(strace);
    let found = setup.query("select k / 10000 as s, count(*) as n from t group by 1", &[]).await;
    let found: BTreeMap<i64, i64> =
        found.expect("it reads").iter().map(|row| (row.get(0), row.get(1))).collect();
    for (key, rows, state) in &answers {
        let expected = match state.as_str() {
            "" => *rows,
            "57014" => 0,
            other => panic!("{key} was answered {other}"),
        };
        let there = found.get(&(key / 10_000)).copied().unwrap_or(0);
        assert_eq!(there, expected, "{key} was answered {state:?}");
    }
    let (told, cancelled): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(_, _, state)| state.is_empty());
    assert!(told.len() > 20 && !cancelled.is_empty(), "{} and {}", told.len(), cancelled.len());
}
