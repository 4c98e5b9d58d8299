//! COPY in and out.

use crate::{
    raw::{Raw, bind, execute, kinds, message, parse, query, sync},
    scripted::Server,
};

fn copied(server: &Server) -> String {
    String::from_utf8(server.factory.copied.lock().expect("no panic").clone()).expect("text")
}

#[tokio::test]
async fn data_goes_in_as_it_is_cut() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&query("copyin")).await;
    let response = raw.reply().await.expect("CopyInResponse");
    assert_eq!((response.kind, &*response.body), ('G', &b"\0\0\x02\0\0\0\0"[..]));
    for part in ["1\ton", "e\n2\ttwo\n", ""] {
        raw.send(&message('d', part.as_bytes())).await;
    }
    raw.send(&message('c', &[])).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "CZ");
    assert_eq!(replies[0].body, b"COPY 12\0");
    assert_eq!(copied(&server), "1\tone\n2\ttwo\n");
}

#[tokio::test]
async fn a_client_can_give_up() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&[query("copyin"), message('d', b"x\n"), message('f', b"no more\0")].concat()).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "GEZ");
    assert_eq!(replies[1].sqlstate(), "57014");
    assert_eq!(replies[1].field('M').as_deref(), Some("COPY from stdin failed: no more"));
    assert_eq!(copied(&server), "");
}

#[tokio::test]
async fn what_is_sent_after_an_error_is_ignored() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let messages = [
        query("copyin"),
        message('d', b"bad\n"),
        message('d', b"more\n"),
        message('c', &[]),
        query("rows 1"),
    ];
    raw.send(&messages.concat()).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "GEZ");
    assert_eq!(replies[1].sqlstate(), "22P04");
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
    // In the extended protocol, up to the Sync.
    let messages = [
        parse("", "copyin", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        message('d', b"bad\n"),
        message('d', b"more\n"),
        message('c', &[]),
        sync(),
    ];
    raw.send(&messages.concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "12GEZ");
}

#[tokio::test]
async fn another_message_during_copy_ends_the_connection() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&[query("copyin"), query("rows 1")].concat()).await;
    let replies = raw.until_closed().await;
    assert_eq!(kinds(&replies), "GE");
    assert_eq!(replies[1].sqlstate(), "08P01");
}

#[tokio::test]
async fn a_client_that_leaves_during_copy_fails_it() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&[query("copyin"), message('d', b"x\n")].concat()).await;
    raw.until('G').await;
    drop(raw);
    while server.connections.count() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(copied(&server), "");
}

#[tokio::test]
async fn every_row_out_is_a_message() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    let replies = raw.query("copyout 3").await;
    assert_eq!(kinds(&replies), "HdddcCZ");
    assert_eq!(replies[3].body, b"2\n");
    assert_eq!(replies[5].body, b"COPY 3\0");
    assert_eq!(raw.query("copyout 20000").await.len(), 20_004);
}

#[tokio::test]
async fn a_driver_copies_both_ways() {
    use futures::{SinkExt, TryStreamExt};
    let server = Server::start().await;
    let client = server.connect().await;
    let sink = client.copy_in::<_, bytes::Bytes>("copyin").await.expect("started");
    let mut sink = Box::pin(sink);
    sink.send(bytes::Bytes::from_static(b"a\n")).await.expect("sent");
    assert_eq!(sink.as_mut().finish().await.expect("finished"), 2);
    let out = client.copy_out("copyout 4").await.expect("started");
    let parts: Vec<bytes::Bytes> = out.try_collect().await.expect("all of it");
    assert_eq!(parts.concat(), b"0\n1\n2\n3\n");
}
