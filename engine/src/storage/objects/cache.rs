//! Blocks of segments' objects, kept in memory and on disk between readers and the store.
//!
//! ```text
//! read_ranges ─▶ blocks wanted ─▶ memory ─▶ disk ─▶ being fetched? ─▶ wait with who fetches it
//!                                                         │ no
//!                                    runs of blocks ◀─────┘   one request each, then kept
//! ```
//!
//! What lies under `data/` is read again and again, by other ranges each time, so it is kept in
//! blocks of [`BLOCK_BYTES`], aligned. All else (checkpoints) is read once, and passed through.
//! Objects never change, so a block is right for as long as its object is there; one that is deleted
//! takes its blocks along.
//!
//! Nothing here is trusted: bytes that were damaged on the way, in memory or on disk, are found by
//! the segment's checksums, and its reader asks by [`Objects::read_again`] for those of the store,
//! which drops the blocks. Whatever happens to the disk is a block that is not there.
//!
//! This is the real world's edge, as `remote` is: the cache has threads of its own, and the simulator
//! does without.

mod blocks;

use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared as SharedFuture, WeakShared},
};
use parking_lot::Mutex;

use super::{
    CacheCounts, ObjectEntry, ObjectError, ObjectFigures, ObjectName, ObjectWrite, Objects, Pace,
    ReadFigures,
};
use blocks::{BlockKey, Blocks, Found};

/// Bytes of a block: so large that the disk cache finds them again fast after a restart, so small that a
/// read by key does not fetch much that nobody wants. A judgement, not measured yet.
pub const BLOCK_BYTES: u64 = 512 << 10;

/// Blocks fetched by one request at most: 8 MiB, what a store gives in one piece.
const RUN_BLOCKS: usize = 16;

/// Runs that one reader fetches at the same time.
const RUNS_AT_ONCE: usize = 8;

/// What is cached begins with this.
const CACHED: &str = "data/";

/// How large a cache is, and where.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Made if it is not there.
    pub folder: PathBuf,
    pub memory: CacheSize,
    pub disk: CacheSize,
}

/// Bytes; 0: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSize {
    pub bytes: u64,
    /// Nobody asked for it: for stores that are reached over a network. The files of a directory are
    /// kept in memory by the operating system already.
    pub only_remote: bool,
}

impl CacheSize {
    fn of(self, is_remote: bool) -> u64 {
        if is_remote || !self.only_remote { self.bytes } else { 0 }
    }
}

impl CacheOptions {
    /// Bytes of memory for a store of this sort.
    #[must_use]
    pub fn memory_bytes(&self, is_remote: bool) -> u64 {
        self.memory.of(is_remote)
    }

    /// Puts a cache before `store`, if it is to have one.
    #[must_use]
    pub fn wrap(&self, store: Arc<dyn Objects>, is_remote: bool) -> Arc<dyn Objects> {
        let (memory, disk) = (self.memory.of(is_remote), self.disk.of(is_remote));
        if (memory, disk) == (0, 0) {
            return store;
        }
        match CachedObjects::open(Arc::clone(&store), memory, disk, self.folder.clone()) {
            Ok(cached) => Arc::new(cached),
            Err(reason) => {
                tracing::warn!(reason, "there is no cache before the store of objects");
                store
            }
        }
    }
}

/// See the module's description.
pub struct CachedObjects {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Objects>,
    blocks: Blocks,
    /// Blocks that are being fetched.
    fetches: Mutex<HashMap<BlockKey, WeakFetch>>,
    next_fetch: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
    hit_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    damaged: AtomicU64,
}

/// Contiguous blocks on their way. It goes on for as long as somebody waits for it.
type Fetching = BoxFuture<'static, Result<Bytes, ObjectError>>;

struct Fetch {
    first: u32,
    bytes: SharedFuture<Fetching>,
}

/// Does not keep it going.
struct WeakFetch {
    number: u64,
    first: u32,
    bytes: WeakShared<Fetching>,
}

impl CachedObjects {
    /// A cache of `memory` bytes in memory and, if `disk` is not 0, so many in files of `folder`, where
    /// what an earlier process left is found again. If the folder cannot be used it is emptied; if
    /// that does not help, the cache does without it. Blocks. Error: threads cannot be started.
    pub fn open(
        store: Arc<dyn Objects>,
        memory: u64,
        disk: u64,
        folder: PathBuf,
    ) -> Result<Self, String> {
        let inner = Inner {
            store,
            blocks: Blocks::open(memory, disk, folder)?,
            fetches: Mutex::default(),
            next_fetch: AtomicU64::new(0),
            counters: Counters::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Block numbers that hold any of the ranges, ascending.
fn blocks_of(ranges: &[Range<u64>]) -> Vec<u32> {
    let blocks = ranges.iter().flat_map(|range| {
        let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
        // An object has fewer: its size is below 2^50.
        first as u32..=last as u32
    });
    let mut blocks: Vec<u32> = blocks.collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// Contiguous numbers as ranges of at most [`RUN_BLOCKS`].
fn runs(blocks: &[u32]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == *block && run.len() < RUN_BLOCKS => run.end += 1,
            _ => runs.push(*block..*block + 1),
        }
    }
    runs
}

fn start_of(block: u32) -> u64 {
    u64::from(block) * BLOCK_BYTES
}

/// Parts of an object, by their first byte.
struct Parts(Vec<(u64, Bytes)>);

impl Parts {
    /// `None`: some of it is not there.
    fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut at = self.0.partition_point(|(start, _)| *start <= range.start).checked_sub(1)?;
        let (start, first) = &self.0[at];
        let skip = (range.start - start) as usize;
        let len = (range.end - range.start) as usize;
        if skip + len <= first.len() {
            return Some(first.slice(skip..skip + len));
        }
        let mut whole = Vec::with_capacity(len);
        whole.extend_from_slice(first.get(skip..)?);
        while whole.len() < len {
            at += 1;
            let (start, bytes) = self.0.get(at)?;
            if *start != range.start + whole.len() as u64 {
                return None;
            }
            whole.extend_from_slice(&bytes[..bytes.len().min(len - whole.len())]);
        }
        Some(whole.into())
    }
}

impl Inner {
    async fn read_ranges(
        self: Arc<Self>,
        name: ObjectName,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>, ObjectError> {
        let is_usual = |range: &Range<u64>| {
            range.start < range.end
                && range.end - range.start <= 1 << 32
                && range.end / BLOCK_BYTES < u64::from(u32::MAX)
        };
        if ranges.is_empty() || !ranges.iter().all(is_usual) {
            return self.store.read_ranges(&name, &ranges).await;
        }
        let object: Arc<str> = name.as_str().into();
        let wanted = blocks_of(&ranges);
        let (mut parts, missing) = self.find(&object, &wanted).await;
        ReadFigures::add_blocks((wanted.len() - missing.len()) as u64, missing.len() as u64);
        let fetches = self.fetch(&name, &object, &missing, &mut parts);
        let mut fetches = futures::stream::iter(fetches)
            .map(|fetch| async move { (fetch.first, fetch.bytes.await) })
            .buffer_unordered(RUNS_AT_ONCE);
        while let Some((first, bytes)) = fetches.next().await {
            parts.push((start_of(first), bytes?));
        }
        parts.sort_unstable_by_key(|(start, _)| *start);
        // Of two that begin at the same place the longer one counts.
        parts.dedup_by(|b, a| {
            let same = a.0 == b.0;
            if same && b.1.len() > a.1.len() {
                std::mem::swap(a, b);
            }
            same
        });
        let parts = Parts(parts);
        match ranges.iter().map(|range| parts.get(range)).collect::<Option<Vec<_>>>() {
            Some(bytes) => Ok(bytes),
            // The object ends before, or a block is short that should not be: the store knows.
            None => self.read_again(name, ranges).await,
        }
    }

    /// What is in memory or on disk, and the numbers of what is not.
    async fn find(&self, object: &Arc<str>, wanted: &[u32]) -> (Vec<(u64, Bytes)>, Vec<u32>) {
        let (mut parts, mut missing) = (Vec::with_capacity(wanted.len()), Vec::new());
        let found = wanted.iter().copied().map(|block| {
            let key = BlockKey { object: Arc::clone(object), block };
            async move { (block, self.blocks.get(&key).await) }
        });
        let mut found = futures::stream::iter(found).buffered(RUN_BLOCKS);
        while let Some((block, found)) = found.next().await {
            let (bytes, counter) = match found {
                Found::Nothing => {
                    missing.push(block);
                    continue;
                }
                Found::InMemory(bytes) => (bytes, &self.counters.memory_hits),
                Found::OnDisk(bytes) => (bytes, &self.counters.disk_hits),
            };
            counter.fetch_add(1, Relaxed);
            self.counters.hit_bytes.fetch_add(bytes.len() as u64, Relaxed);
            parts.push((start_of(block), bytes));
        }
        (parts, missing)
    }

    /// Begins to fetch what nobody fetches yet. What came in the meantime is added to `parts`.
    fn fetch(
        self: &Arc<Self>,
        name: &ObjectName,
        object: &Arc<str>,
        missing: &[u32],
        parts: &mut Vec<(u64, Bytes)>,
    ) -> Vec<Fetch> {
        let key = |block| BlockKey { object: Arc::clone(object), block };
        let mut fetches: Vec<Fetch> = Vec::new();
        let mut own = Vec::new();
        {
            // A fetch must not end under this lock, which it takes then: those found are kept.
            let mut under_way = self.fetches.lock();
            for block in missing {
                let other = under_way.get(&key(*block)).and_then(|fetch| {
                    Some(Fetch { first: fetch.first, bytes: fetch.bytes.upgrade()? })
                });
                if let Some(fetch) = other {
                    fetches.push(fetch);
                // What was fetched meanwhile is in memory.
                } else if let Some(bytes) = self.blocks.get_in_memory(&key(*block)) {
                    parts.push((start_of(*block), bytes));
                } else {
                    own.push(*block);
                }
            }
            self.counters.shared.fetch_add(fetches.len() as u64, Relaxed);
            for run in runs(&own) {
                let number = self.next_fetch.fetch_add(1, Relaxed);
                let first = run.start;
                let (inner, object) = (Arc::clone(self), Arc::clone(object));
                let place = UnderWay { inner, object, run: run.clone(), number };
                let bytes = fetch_run(place, name.clone()).boxed().shared();
                for block in run {
                    let weak = bytes.downgrade().expect("it was not polled yet");
                    under_way.insert(key(block), WeakFetch { number, first, bytes: weak });
                }
                fetches.push(Fetch { first, bytes });
            }
        }
        self.counters.misses.fetch_add(own.len() as u64, Relaxed);
        // Several blocks of one run.
        fetches.sort_unstable_by_key(|fetch| fetch.first);
        fetches.dedup_by(|a, b| a.bytes.ptr_eq(&b.bytes));
        fetches
    }

    /// From the store; the blocks are dropped.
    async fn read_again(
        self: Arc<Self>,
        name: ObjectName,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>, ObjectError> {
        let object: Arc<str> = name.as_str().into();
        let usual: Vec<Range<u64>> =
            ranges.iter().filter(|range| range.start < range.end).cloned().collect();
        for block in blocks_of(&usual) {
            self.blocks.remove(&BlockKey { object: Arc::clone(&object), block });
        }
        self.store.read_ranges(&name, &ranges).await
    }
}

/// Contiguous blocks that are being fetched, for as long as this lives.
struct UnderWay {
    inner: Arc<Inner>,
    object: Arc<str>,
    run: Range<u32>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.inner.fetches.lock();
        for block in self.run.clone() {
            let key = BlockKey { object: Arc::clone(&self.object), block };
            // If this one was given up another one may have begun meanwhile.
            if under_way.get(&key).is_some_and(|fetch| fetch.number == self.number) {
                under_way.remove(&key);
            }
        }
    }
}

/// Fetches a run by one request and keeps its blocks.
async fn fetch_run(place: UnderWay, name: ObjectName) -> Result<Bytes, ObjectError> {
    let UnderWay { inner, object, run, .. } = &place;
    let bytes = inner.store.read_up_to(&name, start_of(run.start)..start_of(run.end)).await?;
    inner.counters.fetched_bytes.fetch_add(bytes.len() as u64, Relaxed);
    for (block, body) in run.clone().zip(bytes.chunks(BLOCK_BYTES as usize)) {
        let key = BlockKey { object: Arc::clone(object), block };
        // A copy: a slice would keep the whole run in memory.
        inner.blocks.insert(key, Bytes::copy_from_slice(body));
    }
    Ok(bytes)
}

impl Objects for CachedObjects {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        self.inner.store.create(name)
    }

    fn put(&self, name: &ObjectName, body: &[u8]) -> Result<(), ObjectError> {
        self.inner.store.put(name, body)
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        self.inner.store.get(name)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        self.inner.store.size(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        self.inner.store.list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let inner = &self.inner;
        if !name.as_str().starts_with(CACHED) {
            return inner.store.delete(name);
        }
        // Only to know which blocks there may be: what stays is never asked for, and goes in time.
        let size = inner.store.size(name).unwrap_or_default();
        inner.store.delete(name)?;
        let object: Arc<str> = name.as_str().into();
        for block in 0..size.div_ceil(BLOCK_BYTES) {
            inner.blocks.remove(&BlockKey { object: Arc::clone(&object), block: block as u32 });
        }
        Ok(())
    }

    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        if !name.as_str().starts_with(CACHED) {
            return self.inner.store.read_ranges(name, ranges);
        }
        Arc::clone(&self.inner).read_ranges(name.clone(), ranges.to_vec()).boxed()
    }

    fn read_up_to(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        self.inner.store.read_up_to(name, range)
    }

    fn read_again(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> Option<BoxFuture<'_, Result<Vec<Bytes>, ObjectError>>> {
        name.as_str().starts_with(CACHED).then(|| {
            self.inner.counters.damaged.fetch_add(1, Relaxed);
            Arc::clone(&self.inner).read_again(name.clone(), ranges.to_vec()).boxed()
        })
    }

    fn uncached(&self) -> Option<Arc<dyn Objects>> {
        Some(Arc::clone(&self.inner.store))
    }

    fn gap_bytes(&self) -> u64 {
        self.inner.store.gap_bytes()
    }

    fn set_pace(&self, pace: Pace) {
        self.inner.store.set_pace(pace);
    }

    fn figures(&self) -> ObjectFigures {
        let counters = &self.inner.counters;
        let counts = CacheCounts {
            memory_hits: counters.memory_hits.load(Relaxed),
            disk_hits: counters.disk_hits.load(Relaxed),
            misses: counters.misses.load(Relaxed),
            shared: counters.shared.load(Relaxed),
            hit_bytes: counters.hit_bytes.load(Relaxed),
            fetched_bytes: counters.fetched_bytes.load(Relaxed),
            damaged: counters.damaged.load(Relaxed),
            ..self.inner.blocks.counts()
        };
        ObjectFigures { cache: Some(counts), ..self.inner.store.figures() }
    }

    fn close(&self) {
        self.inner.blocks.close();
        self.inner.store.close();
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
