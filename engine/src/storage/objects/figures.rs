//! What is asked of the store of objects and of the cache before it, counted.
//!
//! Two accounts of the same requests: one for the store as a whole, since the start, and one for each
//! reader that wants to know what it costs, such as a statement. A reader's account follows its
//! futures ([`ReadFigures::scope`]), so that nothing between a statement and a request has to hand it
//! on; a block that several readers wait for is on the account of the first.

use std::{
    future::Future,
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::ObjectError;

tokio::task_local! {
    static READER: Arc<ReadFigures>;
}

/// What one reader cost, while it reads.
#[derive(Debug, Default)]
pub struct ReadFigures {
    requests: AtomicU64,
    bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadCounts {
    /// Requests that reached the store, those that were tried again included.
    pub requests: u64,
    /// Bytes that came from the store.
    pub bytes: u64,
    /// Blocks that the cache had, and that it had not. None where there is no cache.
    pub cache_hits: u64,
    pub cache_misses: u64,
}

impl Add for ReadCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            bytes: self.bytes + other.bytes,
            cache_hits: self.cache_hits + other.cache_hits,
            cache_misses: self.cache_misses + other.cache_misses,
        }
    }
}

impl ReadFigures {
    /// Runs `reading` on this account.
    pub fn scope<F: Future>(
        self: &Arc<Self>,
        reading: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        READER.scope(Arc::clone(self), reading)
    }

    /// The account of the future that is polled now.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        READER.try_with(Arc::clone).ok()
    }

    #[must_use]
    pub fn counts(&self) -> ReadCounts {
        ReadCounts {
            requests: self.requests.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            cache_hits: self.hits.load(Relaxed),
            cache_misses: self.misses.load(Relaxed),
        }
    }

    /// What was counted apart, on the account of the future that is polled now.
    pub(in crate::storage) fn add(counts: ReadCounts) {
        Self::add_requests(counts.requests);
        Self::add_bytes(counts.bytes);
        Self::add_blocks(counts.cache_hits, counts.cache_misses);
    }

    pub(super) fn add_requests(requests: u64) {
        // Without an account nobody wants to know.
        let _ = READER.try_with(|reader| reader.requests.fetch_add(requests, Relaxed));
    }

    pub(super) fn add_bytes(bytes: u64) {
        let _ = READER.try_with(|reader| reader.bytes.fetch_add(bytes, Relaxed));
    }

    pub(super) fn add_blocks(hits: u64, misses: u64) {
        let _ = READER.try_with(|reader| {
            reader.hits.fetch_add(hits, Relaxed);
            reader.misses.fetch_add(misses, Relaxed);
        });
    }
}

/// What is asked of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    Get,
    /// Whether an object is there, and how large.
    Head,
    /// An object or a part of one.
    Put,
    List,
    Delete,
}

impl RequestKind {
    pub const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Put, Self::List, Self::Delete];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// How a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FailureKind {
    NotFound,
    /// Something exists that was to be created.
    Exists,
    /// The store does not let us.
    Denied,
    /// No answer in time.
    Timeout,
    /// No space, no connection, an error of the store.
    Other,
}

const FAILURES: [&str; 5] = ["not_found", "exists", "denied", "timeout", "other"];

impl FailureKind {
    pub(super) fn of(error: &ObjectError) -> Self {
        match error {
            ObjectError::NotFound(_) => Self::NotFound,
            ObjectError::AlreadyExists(_) => Self::Exists,
            _ => Self::Other,
        }
    }
}

/// Upper bounds of the classes of [`RequestCounts::latencies`]; one more is above them.
pub const LATENCIES_US: [u64; 12] = [
    100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 15_000_000,
    60_000_000,
];

/// Requests of one kind.
#[derive(Debug, Default)]
struct Requests {
    bytes: AtomicU64,
    failures: [AtomicU64; FAILURES.len()],
    latencies: [AtomicU64; LATENCIES_US.len() + 1],
    latency_us: AtomicU64,
}

/// All requests to a store since the start.
#[derive(Debug, Default)]
pub(super) struct StoreFigures([Requests; RequestKind::ALL.len()]);

/// Requests of one kind at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestCounts {
    pub kind: RequestKind,
    /// Requests that have ended, failed ones included.
    pub count: u64,
    /// Of bodies, there or back.
    pub bytes: u64,
    /// By what went wrong.
    pub failures: Vec<(&'static str, u64)>,
    /// Requests by how long they took; see [`LATENCIES_US`].
    pub latencies: Vec<u64>,
    pub latency_total: Duration,
}

impl StoreFigures {
    pub(super) fn record(&self, kind: RequestKind, took: Duration, failure: Option<FailureKind>) {
        let requests = &self.0[kind as usize];
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = LATENCIES_US.partition_point(|bound| *bound < us);
        requests.latencies[class].fetch_add(1, Relaxed);
        requests.latency_us.fetch_add(us, Relaxed);
        if let Some(failure) = failure {
            requests.failures[failure as usize].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add_bytes(&self, kind: RequestKind, bytes: u64) {
        self.0[kind as usize].bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn counts(&self) -> Vec<RequestCounts> {
        let all = RequestKind::ALL.into_iter().zip(&self.0);
        all.map(|(kind, requests)| {
            let latencies: Vec<u64> =
                requests.latencies.iter().map(|class| class.load(Relaxed)).collect();
            let failures = FAILURES.iter().zip(&requests.failures);
            RequestCounts {
                kind,
                count: latencies.iter().sum(),
                bytes: requests.bytes.load(Relaxed),
                failures: failures.map(|(name, count)| (*name, count.load(Relaxed))).collect(),
                latencies,
                latency_total: Duration::from_micros(requests.latency_us.load(Relaxed)),
            }
        })
        .collect()
    }
}

/// What a store and the cache before it did since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectFigures {
    /// One of each kind; none where nothing is counted.
    pub requests: Vec<RequestCounts>,
    pub cache: Option<CacheCounts>,
}

/// What a cache did since the start, and what it holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCounts {
    /// Blocks found in memory, on disk, and not at all.
    pub memory_hits: u64,
    pub disk_hits: u64,
    pub misses: u64,
    /// Blocks that another reader was fetching already.
    pub shared: u64,
    /// Bytes that readers got from the cache: of blocks, though they may have wanted less.
    pub hit_bytes: u64,
    /// Bytes fetched from the store.
    pub fetched_bytes: u64,
    /// Blocks that were not what was written, and were read from the store again.
    pub damaged: u64,
    /// Failed accesses to the disk.
    pub disk_errors: u64,
    /// Blocks that the disk was too slow for.
    pub disk_skipped: u64,
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    /// Written and read since the start.
    pub disk_written_bytes: u64,
    pub disk_read_bytes: u64,
    /// 0: nothing is kept on disk.
    pub disk_limit_bytes: u64,
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_reader_pays_for_what_its_future_asks_for() {
        let (one, other) = (Arc::new(ReadFigures::default()), Arc::new(ReadFigures::default()));
        ReadFigures::add_requests(7);
        block_on(one.scope(async {
            ReadFigures::add_requests(1);
            other.scope(async { ReadFigures::add_bytes(9) }).await;
            ReadFigures::add_blocks(2, 3);
        }));
        let expected =
            ReadCounts { requests: 1, cache_hits: 2, cache_misses: 3, ..ReadCounts::default() };
        assert_eq!(one.counts(), expected);
        assert_eq!(other.counts(), ReadCounts { bytes: 9, ..ReadCounts::default() });
        assert!(ReadFigures::current().is_none());
    }

    #[test]
    fn requests_are_counted_by_kind_latency_and_failure() {
        let figures = StoreFigures::default();
        figures.record(RequestKind::Put, Duration::from_micros(100), None);
        let failure = Some(FailureKind::Timeout);
        figures.record(RequestKind::Put, Duration::from_secs(100), failure);
        figures.add_bytes(RequestKind::Put, 11);
        let counts = figures.counts();
        let put = counts.iter().find(|c| c.kind == RequestKind::Put).expect("all kinds are there");
        assert_eq!((put.count, put.bytes), (2, 11));
        assert_eq!((put.latencies[0], put.latencies[LATENCIES_US.len()]), (1, 1));
        assert_eq!(
            put.failures.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>(),
            [&("timeout", 1)]
        );
        assert_eq!(put.latency_total, Duration::from_micros(100_000_100));
        assert!(counts.iter().all(|c| c.kind == RequestKind::Put || c.count == 0));
    }
}
