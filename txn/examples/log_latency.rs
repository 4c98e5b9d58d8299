//! How long the log takes, beside what the disk takes by itself:
//! `cargo run --release -p glaredb-txn --example log_latency -- DIRECTORY`

use std::time::Duration;

use glaredb_txn::{
    env::{Clock, Env},
    ids::{DatabaseId, LogId},
    log::{
        local::{LocalWal, LocalWalOptions},
        wal::Wal,
    },
};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 1000;

fn main() -> Result<(), Failure> {
    let directory = std::env::args().nth(1).ok_or("which directory?")?;
    let env = Env::real(directory);
    let id = LogId(0);
    let (wal, _) =
        LocalWal::open(&env, "latency.log", DatabaseId(1), id, LocalWalOptions::default())?;
    let bare = env.disk.create("latency.bare")?;
    bare.allocate_zeroed(0, 64 << 20)?;
    bare.sync_data()?;

    println!(
        "{:>9} {:>28} {:>28} {:>13}",
        "bytes", "pwrite + fdatasync", "append + sync", "append"
    );
    for bytes in [100, 1000, 10_000, 60_000] {
        let body = bytes::Bytes::from(vec![7; bytes]);
        let (mut alone, mut logged, mut appends) = (Vec::new(), Vec::new(), Vec::new());
        let mut offset = 0;
        // In turn, so that both meet the same disk.
        for _ in 0..ROUNDS {
            alone.push(time(&*env.clock, || {
                bare.write_at(offset, &body)?;
                Ok(bare.sync_data()?)
            })?);
            offset += bytes as u64;
            logged.push(time(&*env.clock, || {
                appends.push(time(&*env.clock, || Ok(wal.append(wal.term(), body.clone())?))?);
                wal.sync()?;
                Ok(())
            })?);
        }
        println!("{bytes:>9} {:>28} {:>28} {:>13}", show(alone), show(logged), show_one(appends));
    }

    let body = bytes::Bytes::from(vec![7; 1 << 20]);
    let took = time(&*env.clock, || {
        for _ in 0..512 {
            wal.reserve(body.len() as u64 + 48)?;
            wal.append(wal.term(), body.clone())?;
        }
        Ok(wal.sync().map(|_| ())?)
    })?;
    println!("512 entries of 1 MiB, one sync: {:.0} MiB/s", 512.0 / took.as_secs_f64());
    let took = time(&*env.clock, || {
        let mut next = wal.first();
        loop {
            match wal.read(next, 4 << 20)?.last() {
                Some(entry) => next = entry.index.next(),
                None => return Ok(()),
            }
        }
    })?;
    println!("read all of it: {} ms", took.as_millis());
    drop(wal);
    let took = time(&*env.clock, || {
        let options = LocalWalOptions { preallocate_in_background: false, ..Default::default() };
        LocalWal::open(&env, "latency.log", DatabaseId(1), id, options)?;
        Ok(())
    })?;
    println!("open it again: {} ms", took.as_millis());
    for name in env.disk.list("latency.log")? {
        env.disk.remove(&format!("latency.log/{name}"))?;
    }
    Ok(env.disk.remove("latency.bare")?)
}

fn time<T>(
    clock: &dyn Clock,
    action: impl FnOnce() -> Result<T, Failure>,
) -> Result<Duration, Failure> {
    let start = clock.monotonic();
    action()?;
    Ok(clock.monotonic() - start)
}

fn show(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let at = |part: usize| durations[durations.len() * part / 100].as_micros();
    format!("p50 {} p99 {} µs", at(50), at(99))
}

fn show_one(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let nanos = durations[durations.len() / 2].as_nanos() as f64;
    format!("p50 {:.1} µs", nanos / 1000.0)
}
