//! Seeded streams of bytes, for tests that try anything.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::raw::{startup, sync};

/// For a connection to end once its client has. Nothing takes so long but a hang.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Damages some bytes.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            _ => bytes.insert(at, random.next() as u8),
        }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    /// The server ended the connection with input unread: the operating system throws away what was
    /// still on its way then, at any byte.
    pub(crate) reset: bool,
}

/// Sends everything, ends its side, and reads to the end.
pub(crate) async fn pour(port: u16, bytes: &[u8]) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    let (mut from, mut to) = stream.into_split();
    let bytes = bytes.to_vec();
    let sender = tokio::spawn(async move {
        // The server may close before it has read all.
        let _ = to.write_all(&bytes).await;
        let _ = to.shutdown().await;
    });
    let mut answer = Vec::new();
    let ended = from.read_to_end(&mut answer).await;
    let _ = sender.await;
    Answer { bytes: answer, reset: ended.is_err() }
}

/// How many message streams to try, per test.
pub(crate) fn rounds() -> u64 {
    std::env::var("GLAREDB_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Whether the server's side is a sequence of whole messages.
pub(crate) fn whole_messages(mut bytes: &[u8]) -> bool {
    // Answers to encryption requests that a mutation made.
    while let [b'N', rest @ ..] = bytes
        && !matches!(rest, [0, 0, ..])
    {
        bytes = rest;
    }
    while let Some((_, rest)) = bytes.split_first() {
        let Some((length, _)) = rest.split_first_chunk::<4>() else { return false };
        let Some(rest) = rest.get(u32::from_be_bytes(*length) as usize..) else { return false };
        bytes = rest;
    }
    true
}

/// A connection per seed: up to 30 messages that `plausible` makes; in one of three, some of them are
/// damaged, or the whole stream. Each is answered by whole messages and ends.
pub(crate) async fn pour_streams(port: u16, plausible: impl Fn(&mut Random) -> Vec<u8>) {
    for seed in 0..rounds() {
        pour_stream(port, seed, &plausible).await;
    }
}

/// One such connection. How many messages were sent.
pub(crate) async fn pour_stream(
    port: u16,
    seed: u64,
    plausible: impl Fn(&mut Random) -> Vec<u8>,
) -> u64 {
    let mut random = Random(seed);
    let mut bytes = startup(0, &[("user", "postgres")]);
    let messages = random.below(30);
    // A damaged message ends most connections: what comes behind it is not served.
    let damaged = random.below(3) == 0;
    for _ in 0..messages {
        let mut one = plausible(&mut random);
        if damaged && random.below(10) == 0 {
            mutate(&mut one, &mut random);
        }
        bytes.extend_from_slice(&one);
    }
    bytes.extend_from_slice(&sync());
    if damaged && random.below(2) == 0 {
        mutate(&mut bytes, &mut random);
    }
    let answer = timeout(ENDS_WITHIN, pour(port, &bytes)).await;
    let answer = answer.unwrap_or_else(|_| panic!("seed {seed} hangs: {bytes:?}"));
    let whole = answer.reset || whole_messages(&answer.bytes);
    assert!(whole, "seed {seed}: {:?}", answer.bytes);
    messages as u64 + 1
}
