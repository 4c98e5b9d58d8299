//! Whatever bytes come, the server answers or closes: no panic, no hang.

use tokio::time::timeout;

use crate::{
    random::{ENDS_WITHIN, Random, pour, pour_streams, rounds},
    raw::{Raw, bind, close, describe, execute, flush, kinds, message, parse, query, startup},
    scripted::Server,
};

#[tokio::test]
async fn messages_that_are_none_end_the_connection() {
    let server = Server::start().await;
    for bytes in [
        &[0u8, 0, 0, 0, 4][..],                                  // no such type
        &[b'Q', 0, 0, 0, 3],                                     // shorter than its own length
        &[b'Q', 0x7f, 0xff, 0xff, 0xff],                         // longer than anything
        &[b'Q', 0xff, 0xff, 0xff, 0xff],                         // negative
        &[b'S', 0, 1, 0, 0],                                     // a Sync of 64 KiB
        &message('Q', b"rows 1"),                                // no end of the string
        &message('Q', b"rows 1\0x"),                             // bytes behind it
        &message('P', b"\0rows 1\0\0\x02\0\0\0\x17"),            // one type of two
        &message('B', b"\0\0\0\0\xff\xff"),                      // parameters missing
        &message('B', b"\0\0\0\0\0\x01\0\0\0\x09abc\0\0"), // a parameter longer than the message
        &message('B', b"\0\0\0\0\0\x01\xff\xff\xff\xfeabc\0\0"), // of negative length
        &message('D', b"Xname\0"),                         // neither statement nor portal
        &message('E', b"\0\0\0"),                          // half a limit
        &message('p', b"secret\0"),                        // nobody asked
        &message('S', b"x"),                               // a Sync with a body
    ] {
        let mut raw = Raw::start(server.port).await;
        raw.send(bytes).await;
        let replies = timeout(ENDS_WITHIN, raw.until_closed()).await.expect("it closes");
        assert_eq!(kinds(&replies), "E", "{bytes:?}");
        assert_eq!(replies[0].sqlstate(), "08P01", "{bytes:?}");
        assert_eq!(replies[0].field('S').as_deref(), Some("FATAL"));
    }
}

#[tokio::test]
async fn the_function_call_protocol_is_refused() {
    let server = Server::start().await;
    let mut raw = Raw::start(server.port).await;
    raw.send(&message('F', &[1, 2, 3])).await;
    let replies = raw.until_ready().await;
    assert_eq!(kinds(&replies), "EZ");
    assert_eq!(replies[0].sqlstate(), "0A000");
}

/// A message a client could send.
fn plausible(random: &mut Random) -> Vec<u8> {
    let scripts =
        ["rows 3", "fail 40001", "late 40001", "command A", "", "echo", "copyin", "copyout 2"];
    let names = ["", "a", "b"];
    let limits = [0, 1, -1, 1000];
    match random.below(14) {
        0 => query(random.pick(&scripts)),
        1 => query("command A; rows 2; begin; fail 1; commit"),
        2 => query("begin"),
        3 => query("commit"),
        4 => parse(random.pick(&names), random.pick(&scripts), &[23, 0]),
        5 => parse(random.pick(&names), random.pick(&scripts), &[]),
        6 => bind(random.pick(&names), random.pick(&names), &["1", "x"], random.below(2) as u16),
        7 => bind(random.pick(&names), random.pick(&names), &[], 0),
        8 => describe(random.pick(&['S', 'P']), random.pick(&names)),
        9 => execute(random.pick(&names), random.pick(&limits)),
        10 => close(random.pick(&['S', 'P']), random.pick(&names)),
        11 => message('d', b"1\t2\n"),
        12 => message(random.pick(&['c', 'f']), if random.below(2) == 0 { b"" } else { b"x\0" }),
        _ => flush(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_streams_of_messages_end_in_order() {
    let server = Server::start().await;
    pour_streams(server.port, plausible).await;
    // Nothing is left behind, and the server still serves.
    while server.connections.count() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kinds(&Raw::start(server.port).await.query("rows 1").await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_end_in_order() {
    let server = Server::start().await;
    for seed in 0..rounds() {
        let mut random = Random(seed | 1 << 40);
        let mut bytes = if random.below(2) == 0 {
            startup(random.below(4) as u16, &[("user", "postgres")])
        } else {
            Vec::new()
        };
        let length = random.below(400);
        bytes.extend((0..length).map(|_| random.next() as u8));
        let answer = timeout(ENDS_WITHIN, pour(server.port, &bytes)).await;
        answer.unwrap_or_else(|_| panic!("seed {seed} hangs: {bytes:?}"));
    }
    assert_eq!(kinds(&Raw::start(server.port).await.query("rows 1").await), "TDCZ");
}
