//! How running statements are stopped.

use std::time::Duration;

use glaredb_server::pg_catalog::Activities;
use tokio::time::{Instant, timeout};

use crate::{
    random::ENDS_WITHIN,
    raw::{Raw, kinds, message, query},
    scripted::Server,
};

/// How often the time that a cancel takes is measured: on a busy machine whoever waits for the
/// processor takes long, the soonest of several tells what the server does.
const ATTEMPTS: usize = 10;

/// How soon a cancelled statement must have ended.
const SOON: Duration = Duration::from_millis(200);

/// Until what the client sent has begun: an earlier cancel would be for nothing.
async fn until_active(server: &Server, pid: i32) {
    let is_active = || {
        let connected = server.connections.list();
        connected.iter().any(|one| one.process_id == pid && one.state == "active")
    };
    while !is_active() {
        tokio::task::yield_now().await;
    }
}

/// Cancels what runs; how long that took.
async fn canceled(raw: &mut Raw, server: &Server) -> Duration {
    until_active(server, raw.pid).await;
    let started = Instant::now();
    Raw::cancel(server.port, raw.pid, &raw.secret).await;
    let replies = timeout(ENDS_WITHIN, raw.until_ready()).await.expect("it ends");
    let took = started.elapsed();
    let error = replies.iter().find(|reply| reply.kind == 'E').expect("an error");
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(error.field('M').as_deref(), Some("canceling statement due to user request"));
    took
}

#[tokio::test]
async fn executing_streaming_and_waiting_statements_are_cancelled() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    for script in ["sleep", "stall", "endless"] {
        let mut soonest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            raw.send(&query(script)).await;
            if script == "endless" {
                raw.until('D').await;
            }
            soonest = soonest.min(canceled(&mut raw, &server).await);
            assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ", "after {script}");
        }
        assert!(soonest < SOON, "{script}: took {soonest:?}");
    }
}

#[tokio::test]
async fn a_copy_that_waits_for_data_is_cancelled() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&[query("copyin"), message('d', b"x\n")].concat()).await;
    raw.until('G').await;
    canceled(&mut raw, &server).await;
    assert!(server.factory.copied.lock().expect("no panic").is_empty());
    raw.send(&[message('d', b"y\n"), message('c', &[])].concat()).await;
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn a_client_that_does_not_read_can_be_cancelled() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&query("endless")).await;
    // Long enough for every buffer on the way to fill up.
    tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.ok();
    Raw::cancel(server.port, raw.pid, &raw.secret).await;
    let replies = timeout(ENDS_WITHIN, raw.until_ready()).await.expect("it ends");
    assert_eq!(replies[replies.len() - 2].sqlstate(), "57014");
}

/// The answer to a cancelled statement waits for its client, too. Who ends the session does not.
#[tokio::test]
async fn a_client_that_does_not_read_can_be_ended() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    // Were anything of the answers read, the next of them would begin.
    for _ in 0..200 {
        raw.send(&query("endless")).await;
    }
    let state = || server.connections.list()[0].state;
    let mut idle = 0;
    while idle < 50 {
        server.connections.interrupt(raw.pid, false);
        tokio::time::sleep(Duration::from_millis(2)).await;
        idle = if state() == "idle" { idle + 1 } else { 0 };
    }
    server.connections.interrupt(raw.pid, true);
    let ended = async {
        while server.connections.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(ENDS_WITHIN, ended).await.expect("the session ends");
}

#[tokio::test]
async fn the_wrong_secret_cancels_nothing() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&query("sleep")).await;
    until_active(&server, raw.pid).await;
    let mut wrong = raw.secret.clone();
    wrong[0] ^= 1;
    Raw::cancel(server.port, raw.pid, &wrong).await;
    Raw::cancel(server.port, raw.pid + 1, &raw.secret.clone()).await;
    let waited = timeout(Duration::from_millis(100), raw.reply()).await;
    assert!(waited.is_err(), "{waited:?}");
    canceled(&mut raw, &server).await;
}

#[tokio::test]
async fn a_cancel_between_statements_is_for_neither() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.query("rows 1").await;
    Raw::cancel(server.port, raw.pid, &raw.secret.clone()).await;
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn a_statement_timeout_ends_it() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.query("timeout 50").await;
    for script in ["sleep", "stall", "endless"] {
        let started = Instant::now();
        let replies = raw.query(script).await;
        let error = &replies[replies.len() - 2];
        assert_eq!(error.sqlstate(), "57014", "{script}");
        assert_eq!(
            error.field('M').as_deref(),
            Some("canceling statement due to statement timeout")
        );
        assert!(started.elapsed() >= Duration::from_millis(45), "{script}");
    }
    raw.query("timeout 60000").await;
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn a_driver_cancels_with_the_long_secret_of_protocol_3_2() {
    let server = Server::start().await;
    let mut raw = Raw::open(server.port).await;
    raw.send(&crate::raw::startup(2, &[("user", "postgres")])).await;
    let greeting = raw.until_ready().await;
    let key = &greeting.iter().find(|reply| reply.kind == 'K').expect("a key").body;
    raw.pid = i32::from_be_bytes(key[..4].try_into().expect("four bytes"));
    raw.secret = key[4..].to_vec();
    raw.send(&query("sleep")).await;
    canceled(&mut raw, &server).await;

    let client = server.connect().await;
    let token = client.cancel_token();
    let sleeping = tokio::spawn(async move { client.batch_execute("sleep").await });
    let newest = server.connections.list().pop().expect("it is connected").process_id;
    until_active(&server, newest).await;
    token.cancel_query(tokio_postgres::NoTls).await.expect("sent");
    let error = sleeping.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
}

/// Longer than anything that is not waited for takes.
const COMMIT_MS: u64 = 400;

#[tokio::test]
async fn a_commit_under_way_is_neither_cancelled_nor_timed_out() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let started = Instant::now();
    raw.send(&query(&format!("slowly {COMMIT_MS}"))).await;
    until_active(&server, raw.pid).await;
    Raw::cancel(server.port, raw.pid, &raw.secret.clone()).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "CZ", "cancelled");
    assert!(started.elapsed() >= Duration::from_millis(COMMIT_MS), "{:?}", started.elapsed());

    raw.query("timeout 50").await;
    assert_eq!(kinds(&raw.query(&format!("slowly {COMMIT_MS}")).await), "CZ", "timed out");
    // The deadline passed, but rows of what has committed are still sent.
    let replies = raw.query(&format!("slowly {COMMIT_MS} rows")).await;
    assert_eq!(replies.iter().filter(|reply| reply.kind == 'D').count(), 3000);
    assert_eq!(replies[replies.len() - 2].kind, 'C');
    // The next statement has a deadline of its own again.
    let replies = raw.query("sleep").await;
    assert_eq!(replies[replies.len() - 2].sqlstate(), "57014");
}

#[tokio::test]
async fn a_commit_that_fails_does_not_shield_the_next_attempt() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.query("timeout 50").await;
    let started = Instant::now();
    let replies = raw.query(&format!("again {COMMIT_MS}")).await;
    assert_eq!(replies[replies.len() - 2].sqlstate(), "57014");
    assert!(started.elapsed() >= Duration::from_millis(COMMIT_MS), "{:?}", started.elapsed());
}
