//! How connections begin and are refused.

use std::sync::Arc;

use glaredb_server::wire::NodeState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    raw::{Raw, Reply, kinds, packet, startup},
    scripted::Server,
};

const SSL: [u8; 4] = 80_877_103u32.to_be_bytes();
const GSS: [u8; 4] = 80_877_104u32.to_be_bytes();

async fn refused(port: u16, bytes: &[u8]) -> Reply {
    let mut raw = Raw::open(port).await;
    raw.send(bytes).await;
    let mut replies = raw.until_closed().await;
    assert_eq!(kinds(&replies), "E");
    let reply = replies.remove(0);
    assert_eq!(reply.field('S').as_deref(), Some("FATAL"));
    reply
}

#[tokio::test]
async fn encryption_is_declined_and_the_session_starts_in_the_clear() {
    let server = Server::start().await;
    let mut raw = Raw::open(server.port).await;
    for request in [SSL, GSS] {
        raw.send(&packet(&request)).await;
        let mut answer = [0];
        tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut answer).await.expect("a byte");
        assert_eq!(answer, *b"N");
    }
    raw.send(&startup(0, &[("user", "postgres")])).await;
    let greeting = raw.until_ready().await;
    assert_eq!(kinds(&greeting), "RSSKZ");
    assert_eq!(greeting[3].body.len(), 8, "a secret of four bytes in protocol 3.0");
    assert_eq!(greeting[4].body, b"I");
}

#[tokio::test]
async fn newer_protocols_are_negotiated_down() {
    let server = Server::start().await;
    let mut raw = Raw::open(server.port).await;
    raw.send(&startup(2, &[("user", "postgres")])).await;
    let greeting = raw.until_ready().await;
    assert_eq!(kinds(&greeting), "RSSKZ");
    assert_eq!(greeting[3].body.len(), 4 + 32, "a long secret in protocol 3.2");

    let mut raw = Raw::open(server.port).await;
    raw.send(&startup(9999, &[("user", "postgres"), ("_pq_.compression", "on")])).await;
    let greeting = raw.until_ready().await;
    assert_eq!(kinds(&greeting), "vRSSKZ");
    let mut expected = vec![0, 3, 0, 2, 0, 0, 0, 1];
    expected.extend_from_slice(b"_pq_.compression\0");
    assert_eq!(greeting[0].body, expected);
}

#[tokio::test]
async fn the_session_learns_who_connects_and_with_what() {
    let server = Server::start().await;
    let mut raw = Raw::open(server.port).await;
    let parameters = [
        ("user", "joe"),
        ("application_name", "test"),
        ("options", "-c datestyle=iso --work-mem=4MB"),
        ("client_encoding", "UTF8"),
    ];
    raw.send(&startup(0, &parameters)).await;
    raw.until_ready().await;
    let connected = server.factory.connected.lock().expect("no panic").pop().expect("one session");
    assert_eq!((&*connected.user, &*connected.database), ("joe", "joe"));
    let settings: Vec<_> = connected.settings.iter().map(|(n, v)| (&**n, &**v)).collect();
    let expected = [
        ("datestyle", "iso"),
        ("work_mem", "4MB"),
        ("application_name", "test"),
        ("client_encoding", "UTF8"),
    ];
    assert_eq!(settings, expected);
    assert!(connected.backend_pid > 0);
}

#[tokio::test]
async fn who_cannot_be_served_is_told_why() {
    let server = Server::start_with(1).await;
    let user = |user| startup(0, &[("user", user)]);
    assert_eq!(refused(server.port, &user("nobody")).await.sqlstate(), "28000");
    assert_eq!(refused(server.port, &startup(0, &[("x", "y")])).await.sqlstate(), "28000");
    let replication = startup(0, &[("user", "joe"), ("replication", "true")]);
    assert_eq!(refused(server.port, &replication).await.sqlstate(), "0A000");
    let old = packet(&[0, 2, 0, 0, b'u', 0, 0]);
    assert_eq!(refused(server.port, &old).await.sqlstate(), "0A000");

    let first = Raw::start(server.port).await;
    assert_eq!(refused(server.port, &user("postgres")).await.sqlstate(), "53300");
    drop(first);
    // Its place is given back.
    while server.connections.count() > 0 {
        tokio::task::yield_now().await;
    }
    Raw::start(server.port).await;
}

#[tokio::test]
async fn packets_that_are_none_are_refused() {
    let server = Server::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 0, 0, 7, 0, 3, 0],
        &[0, 0, 0x27, 0x11, 0, 3, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &packet(&[0, 3, 0, 0, b'u', b's', b'e', b'r']),
        &packet(&[0, 3, 0, 0]),
    ] {
        assert_eq!(refused(server.port, bytes).await.sqlstate(), "08P01", "{bytes:?}");
    }
}

#[tokio::test]
async fn while_the_node_starts_or_stops_clients_are_told_so() {
    let server = Server::start().await;
    let hello = startup(0, &[("user", "postgres")]);
    *server.state.write() = NodeState::Starting(Arc::new(|| "replaying 3 of 10".to_owned()));
    let reply = refused(server.port, &hello).await;
    assert_eq!(reply.sqlstate(), "57P03");
    assert_eq!(reply.field('M').as_deref(), Some("the database system is starting up"));
    assert_eq!(reply.field('D').as_deref(), Some("replaying 3 of 10"));
    *server.state.write() = NodeState::Stopping;
    let reply = refused(server.port, &hello).await;
    assert_eq!(reply.sqlstate(), "57P03");
    assert_eq!(reply.field('M').as_deref(), Some("the database system is shutting down"));
}

#[tokio::test]
async fn a_stop_ends_idle_and_busy_sessions() {
    let server = Server::start().await;
    let mut idle = Raw::start(server.port).await;
    let mut busy = Raw::start(server.port).await;
    busy.send(&crate::raw::query("sleep")).await;
    let mut streaming = Raw::start(server.port).await;
    streaming.send(&crate::raw::query("endless")).await;
    streaming.until('D').await;
    let read = async move {
        let mut farewells = Vec::new();
        for raw in [&mut idle, &mut busy, &mut streaming] {
            farewells.extend(raw.until_closed().await.pop());
        }
        farewells
    };
    let ((), farewells) = tokio::join!(server.stop(), read);
    assert_eq!(farewells.len(), 3);
    for last in farewells {
        assert_eq!((last.kind, &*last.sqlstate()), ('E', "57P01"));
        assert_eq!(last.field('S').as_deref(), Some("FATAL"));
    }
}

/// Health checks of load balancers, for one, connect and say nothing.
#[tokio::test]
async fn a_stop_ends_who_has_not_said_who_he_is() {
    let server = Server::start().await;
    let mut silent = Raw::open(server.port).await;
    let mut hesitant = Raw::open(server.port).await;
    hesitant.send(&startup(0, &[("user", "postgres")])[..10]).await;
    // Both are served once one who came later is.
    Raw::start(server.port).await;
    let read = async move { [silent.until_closed().await, hesitant.until_closed().await].concat() };
    let ((), farewells) = tokio::join!(server.stop(), read);
    assert_eq!(kinds(&farewells), "EE");
    for last in farewells {
        assert_eq!((&*last.sqlstate(), last.field('S').as_deref()), ("57P03", Some("FATAL")));
    }
}

#[tokio::test]
async fn sockets_are_bounded_whatever_they_are_for() {
    let server = Server::start_with_sockets(100, 2).await;
    let session = Raw::start(server.port).await;
    let silent = Raw::open(server.port).await;
    let mut third = Raw::open(server.port).await;
    let told = third.until_closed().await;
    assert_eq!(kinds(&told), "E");
    assert_eq!((&*told[0].sqlstate(), told[0].field('S').as_deref()), ("53300", Some("FATAL")));
    drop(silent);
    // Its place is given back. Whoever comes too early may be cut off while he still speaks.
    let hello = startup(0, &[("user", "postgres")]);
    let mut first = [0];
    while first != *b"R" {
        let mut raw = Raw::open(server.port).await;
        let _ = raw.stream.write_all(&hello).await;
        let _ = raw.stream.read(&mut first).await;
    }
    drop(session);
}
