//! The simple query protocol.

use crate::{
    raw::{Raw, kinds},
    scripted::Server,
};

fn texts(replies: &[crate::raw::Reply]) -> Vec<String> {
    replies
        .iter()
        .filter(|reply| reply.kind == 'D')
        .map(|reply| String::from_utf8_lossy(&reply.body[6..]).into_owned())
        .collect()
}

#[tokio::test]
async fn rows_come_with_their_description_and_tag() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("rows 3").await;
    assert_eq!(kinds(&replies), "TDDDCZ");
    // One column: name, table, number, type 20, eight bytes, no modifier, text.
    assert_eq!(replies[0].body, b"\0\x01c0\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0");
    assert_eq!(texts(&replies), ["0", "1", "2"]);
    assert_eq!(replies[4].body, b"SELECT 3\0");
    assert_eq!(replies[5].body, b"I");
    let replies = raw.query("rows 0").await;
    assert_eq!(kinds(&replies), "TCZ");
    assert_eq!(replies[1].body, b"SELECT 0\0");
    // More than one buffer.
    let replies = raw.query("rows 100000").await;
    assert_eq!(replies.len(), 100_003);
    assert_eq!(replies[100_001].body, b"SELECT 100000\0");
}

#[tokio::test]
async fn an_empty_query_is_answered() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    assert_eq!(kinds(&raw.query(" ; ").await), "IZ");
}

#[tokio::test]
async fn several_statements_are_one_transaction_that_an_error_ends() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("command A; rows 1; command B").await;
    assert_eq!(kinds(&replies), "CTDCCZ");
    assert_eq!(
        texts(&raw.query("log").await),
        ["begin_block", "command A", "rows 1", "command B", "end_block"]
    );
    let replies = raw.query("command A; fail 23505; command B").await;
    assert_eq!(kinds(&replies), "CEZ");
    assert_eq!(
        texts(&raw.query("log").await),
        ["begin_block", "command A", "fail 23505", "statement_failed", "end_block"]
    );
    // Alone, a statement needs no block.
    raw.query("command A").await;
    assert_eq!(texts(&raw.query("log").await), ["command A"]);
}

#[tokio::test]
async fn an_error_tells_all_it_knows() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("fail 23505").await;
    assert_eq!(kinds(&replies), "EZ");
    let error = &replies[0];
    for (code, value) in [
        ('S', "ERROR"),
        ('V', "ERROR"),
        ('C', "23505"),
        ('M', "as scripted"),
        ('D', "a detail"),
        ('H', "a hint"),
        ('P', "3"),
        ('t', "t"),
        ('n', "t_pkey"),
    ] {
        assert_eq!(error.field(code).as_deref(), Some(value), "{code}");
    }
    assert_eq!(error.field('s'), None);
}

#[tokio::test]
async fn an_error_after_rows_ends_them() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("late 40001").await;
    assert_eq!(kinds(&replies), "TDDEZ");
    assert_eq!(replies[3].sqlstate(), "40001");
    raw.query("begin").await;
    let replies = raw.query("late 40001").await;
    assert_eq!(replies[4].body, b"E", "the block has failed");
}

#[tokio::test]
async fn a_panic_ends_its_statement_only() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("panic").await;
    assert_eq!(kinds(&replies), "EZ");
    assert_eq!(replies[0].sqlstate(), "XX000");
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn notices_and_changed_settings_are_told() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("notice be careful").await;
    assert_eq!(kinds(&replies), "NCZ");
    assert_eq!(replies[0].field('M').as_deref(), Some("be careful"));
    assert_eq!(replies[0].field('S').as_deref(), Some("NOTICE"));
    let replies = raw.query("timeout 1000").await;
    assert_eq!(kinds(&replies), "CSZ");
    assert_eq!(replies[1].body, b"statement_timeout\x001000\0");
}

#[tokio::test]
async fn text_that_is_not_utf8_fails_its_statement() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&crate::raw::message('Q', b"rows \xff\0")).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "EZ");
    assert_eq!(replies[0].sqlstate(), "22021");
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
}

#[tokio::test]
async fn queries_sent_ahead_are_answered_in_order() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let sent =
        [crate::raw::query("rows 1"), crate::raw::query("fail"), crate::raw::query("rows 2")];
    raw.send(&sent.concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
    assert_eq!(kinds(&raw.until_ready().await), "EZ");
    assert_eq!(kinds(&raw.until_ready().await), "TDDCZ");
}

#[tokio::test]
async fn long_messages_without_memory_fail_alone() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    // What the session grants covers two million bytes of statement, but not three.
    let long = |bytes: usize| format!("command {}", "x".repeat(bytes));
    assert_eq!(kinds(&raw.query(&long(2_000_000)).await), "CZ");
    let replies = raw.query(&long(3_000_000)).await;
    assert_eq!(kinds(&replies), "EZ");
    assert_eq!(replies[0].sqlstate(), "53200");
    // The connection is where it was: the next messages are read from their beginnings.
    assert_eq!(kinds(&raw.query("rows 1").await), "TDCZ");
    // In the extended protocol all up to the Sync is left out.
    let mut bytes = crate::raw::parse("", &long(3_000_000), &[]);
    bytes.extend(crate::raw::message('S', b""));
    bytes.extend(crate::raw::query("rows 1"));
    raw.send(&bytes).await;
    assert_eq!(kinds(&raw.until_ready().await), "EZ");
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
}
