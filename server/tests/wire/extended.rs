//! The extended query protocol.

use crate::{
    raw::{Raw, bind, close, describe, execute, flush, kinds, message, parse, sync},
    scripted::Server,
};

async fn exchange(raw: &mut Raw, messages: &[Vec<u8>]) -> Vec<crate::raw::Reply> {
    raw.send(&messages.concat()).await;
    raw.until_ready().await
}

async fn log(raw: &mut Raw) -> Vec<String> {
    let replies = raw.query("log").await;
    replies
        .iter()
        .filter(|reply| reply.kind == 'D')
        .map(|reply| String::from_utf8_lossy(&reply.body[6..]).into_owned())
        .collect()
}

#[tokio::test]
async fn a_statement_is_prepared_described_bound_and_executed() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        parse("s", "echo", &[23, 0]),
        describe('S', "s"),
        bind("", "s", &["7", "x"], 1),
        describe('P', ""),
        execute("", 0),
        sync(),
    ];
    let replies = exchange(&mut raw, &messages).await;
    assert_eq!(kinds(&replies), "1tT2TDCZ");
    assert_eq!(replies[1].body, [0, 2, 0, 0, 0, 23, 0, 0, 0, 25]);
    // The format is not known before Bind; after it, it is binary.
    assert!(replies[2].body.ends_with(&[0, 0]));
    assert!(replies[4].body.ends_with(&[0, 1]));
    assert_eq!(replies[5].body, b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01x");
    // Kept by name.
    let replies =
        exchange(&mut raw, &[bind("", "s", &["8", "y"], 0), execute("", 0), sync()]).await;
    assert_eq!(kinds(&replies), "2DCZ");
    assert_eq!(replies[1].body, b"\0\x02\0\0\0\x018\0\0\0\x01y");
}

#[tokio::test]
async fn a_statement_alone_before_its_sync_commits_by_itself() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let prepare = [parse("a", "command A", &[]), parse("b", "command B", &[]), sync()];
    exchange(&mut raw, &prepare).await;
    exchange(&mut raw, &[bind("", "a", &[], 0), execute("", 0), sync()]).await;
    assert_eq!(log(&mut raw).await, ["command A"]);
    let pipeline =
        [bind("", "a", &[], 0), execute("", 0), bind("", "b", &[], 0), execute("", 0), sync()];
    exchange(&mut raw, &pipeline).await;
    assert_eq!(log(&mut raw).await, ["begin_block", "command A", "command B", "end_block"]);
}

#[tokio::test]
async fn an_error_skips_everything_up_to_the_sync() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        parse("", "fail 40001", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        parse("later", "rows 1", &[]),
        crate::raw::query("rows 1"),
        flush(),
        sync(),
    ];
    let replies = exchange(&mut raw, &messages).await;
    assert_eq!(kinds(&replies), "12EZ");
    assert_eq!(replies[2].sqlstate(), "40001");
    let replies = exchange(&mut raw, &[bind("", "later", &[], 0), sync()]).await;
    assert_eq!(replies[0].sqlstate(), "26000");
    assert_eq!(
        log(&mut raw).await,
        ["begin_block", "fail 40001", "statement_failed", "end_block", "statement_failed"]
    );
}

#[tokio::test]
async fn an_error_is_sent_before_the_sync_comes() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&bind("", "missing", &[], 0)).await;
    let error = raw.reply().await.expect("without a Sync");
    assert_eq!(error.sqlstate(), "26000");
    assert_eq!(kinds(&exchange(&mut raw, &[sync()]).await), "Z");
}

#[tokio::test]
async fn flush_sends_what_there_is() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&[parse("", "rows 1", &[]), flush()].concat()).await;
    assert_eq!(raw.reply().await.expect("flushed").kind, '1');
    raw.send(&[bind("", "", &[], 0), execute("", 0), flush()].concat()).await;
    assert_eq!(kinds(&raw.until('C').await), "2DC");
    assert_eq!(kinds(&exchange(&mut raw, &[sync()]).await), "Z");
}

#[tokio::test]
async fn a_row_limit_suspends_the_portal() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        parse("", "rows 2500", &[]),
        bind("p", "", &[], 0),
        execute("p", 1200),
        execute("p", 1200),
        execute("p", 1200),
        execute("p", 1200),
        sync(),
    ];
    let replies = exchange(&mut raw, &messages).await;
    let dataless: Vec<_> = replies.iter().filter(|reply| reply.kind != 'D').cloned().collect();
    assert_eq!(kinds(&dataless), "12ssCCZ");
    assert_eq!(replies.len(), dataless.len() + 2500);
    // A tag counts the rows of its own Execute.
    assert_eq!(dataless[4].body, b"SELECT 100\0");
    assert_eq!(dataless[5].body, b"SELECT 0\0");
    // The portal ended with its transaction.
    let replies = exchange(&mut raw, &[execute("p", 0), sync()]).await;
    assert_eq!(replies[0].sqlstate(), "34000");
}

#[tokio::test]
async fn a_limit_that_is_just_met_suspends_too() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages =
        [parse("", "rows 2", &[]), bind("", "", &[], 0), execute("", 2), execute("", 2), sync()];
    assert_eq!(kinds(&exchange(&mut raw, &messages).await), "12DDsCZ");
}

#[tokio::test]
async fn portals_live_as_long_as_their_block() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.query("begin").await;
    let first = [parse("", "rows 3", &[]), bind("p", "", &[], 0), execute("p", 1), sync()];
    assert_eq!(kinds(&exchange(&mut raw, &first).await), "12DsZ");
    let replies = exchange(&mut raw, &[execute("p", 1), sync()]).await;
    assert_eq!(kinds(&replies), "DsZ");
    assert_eq!(replies[2].body, b"T");
    let replies = exchange(&mut raw, &[bind("p", "", &[], 0), sync()]).await;
    assert_eq!(replies[0].sqlstate(), "42P03");
    raw.query("commit").await;
    let replies = exchange(&mut raw, &[execute("p", 1), sync()]).await;
    assert_eq!(replies[0].sqlstate(), "34000");
}

#[tokio::test]
async fn what_is_closed_is_gone_and_closing_nothing_is_no_error() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        parse("s", "rows 1", &[]),
        bind("p", "s", &[], 0),
        close('P', "p"),
        close('S', "s"),
        close('S', "never was"),
        describe('S', "s"),
        sync(),
    ];
    let replies = exchange(&mut raw, &messages).await;
    assert_eq!(kinds(&replies), "12333EZ");
    assert_eq!(replies[5].sqlstate(), "26000");
}

#[tokio::test]
async fn misuse_is_named() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    exchange(&mut raw, &[parse("s", "echo", &[23]), parse("c", "command A", &[]), sync()]).await;
    for (messages, code) in [
        (vec![parse("s", "rows 1", &[])], "42P05"),
        (vec![parse("", "rows 1; rows 2", &[])], "42601"),
        (vec![parse("", "rows 1", &[999_999])], "42704"),
        (vec![bind("", "s", &[], 0)], "08P01"),
        (vec![bind("", "s", &["x"], 0)], "22P02"),
        // Two formats for one parameter, a format that does not exist.
        (vec![message('B', b"\0s\0\0\x02\0\0\0\0\0\x01\0\0\0\x011\0\0")], "08P01"),
        (vec![message('B', b"\0s\0\0\x01\0\x09\0\x01\0\0\0\x011\0\0")], "22023"),
        (vec![describe('P', "p")], "34000"),
        (vec![execute("p", 0)], "34000"),
        (vec![bind("", "c", &[], 0), execute("", 0), execute("", 0)], "55000"),
    ] {
        let mut messages = messages;
        messages.push(sync());
        let replies = exchange(&mut raw, &messages).await;
        let error = replies.iter().find(|reply| reply.kind == 'E').expect("an error");
        assert_eq!(error.sqlstate(), code, "{error:?}");
    }
    // The connection has survived all of it.
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn an_empty_statement_is_answered() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        parse("", "", &[]),
        describe('S', ""),
        bind("", "", &[], 0),
        describe('P', ""),
        execute("", 0),
        sync(),
    ];
    assert_eq!(kinds(&exchange(&mut raw, &messages).await), "1tn2nIZ");
}

#[tokio::test]
async fn a_driver_prepares_and_pages() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let statement = client.prepare("rows 5000").await.expect("prepared");
    let rows = client.query(&statement, &[]).await.expect("rows");
    assert_eq!(rows.len(), 5000);
    assert_eq!(rows[4999].get::<_, i64>(0), 4999);
    let transaction = client.transaction().await.expect("begun");
    let portal = transaction.bind(&statement, &[]).await.expect("bound");
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let page = transaction.query_portal(&portal, 2000).await.expect("a page");
        numbers.extend(page.iter().map(|row| row.get::<_, i64>(0)));
    }
    assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
}
