#![allow(clippy::single_range_in_vec_init, reason = "one range is what is asked for")]

use std::{
    collections::HashMap,
    fs,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64},
    task::{Context, Waker},
};

use futures::{executor::block_on, future};
use glaredb_txn::env::SystemRandom;
use object_store::memory::InMemory;
use tokio::sync::Notify;

use super::*;
use crate::storage::objects::{Limits, ReadCounts, RemoteObjects, conformance};

const MIB: u64 = 1 << 20;
const NAME: &str = "data/7/1-0.parquet";

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("valid")
}

/// Bytes that differ from place to place.
fn body(bytes: u64) -> Bytes {
    (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Objects in memory, which note what is asked of them, and can be held up.
#[derive(Default)]
struct Noting {
    objects: Mutex<HashMap<String, Bytes>>,
    asked: Mutex<Vec<Range<u64>>>,
    is_held: AtomicBool,
    released: Notify,
    /// Requests that are answered with damaged bytes from now on.
    lies: AtomicU64,
    is_away: AtomicBool,
}

impl Noting {
    fn with(text: &str, body: Bytes) -> Arc<Self> {
        let store = Self::default();
        store.objects.lock().insert(text.to_owned(), body);
        Arc::new(store)
    }

    /// Requests since this was asked last.
    fn asked(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.asked.lock())
    }

    fn release(&self) {
        self.is_held.store(false, Relaxed);
        self.released.notify_waiters();
    }

    async fn answer(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, ObjectError> {
        self.asked.lock().push(range.clone());
        ReadFigures::add_requests(1);
        let released = self.released.notified();
        if self.is_held.load(Relaxed) {
            released.await;
        }
        if self.is_away.load(Relaxed) {
            return Err(ObjectError::Io { name: name.to_string(), reason: "away".to_owned() });
        }
        let body = self.get(name)?;
        let size = body.len() as u64;
        let Range { start, end } = range;
        if start >= size {
            return Err(ObjectError::OutOfRange { name: name.clone(), size, start, end });
        }
        let bytes = body.slice(start as usize..end.min(size) as usize);
        let lies = self.lies.load(Relaxed);
        if lies == 0 {
            return Ok(bytes);
        }
        self.lies.store(lies - 1, Relaxed);
        Ok(bytes.iter().map(|byte| byte ^ 1).collect())
    }
}

impl Objects for Noting {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        Err(ObjectError::AlreadyExists(name.clone()))
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let found = self.objects.lock().get(name.as_str()).cloned();
        found.ok_or_else(|| ObjectError::NotFound(name.clone()))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        self.get(name).map(|body| body.len() as u64)
    }

    fn list(&self, _: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        Ok(Vec::new())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.objects.lock().remove(name.as_str());
        Ok(())
    }

    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        let (name, ranges) = (name.clone(), ranges.to_vec());
        async move {
            let mut read = Vec::new();
            for Range { start, end } in ranges {
                let bytes = self.answer(&name, start..end).await?;
                if (bytes.len() as u64) < end - start {
                    let size = self.size(&name)?;
                    return Err(ObjectError::OutOfRange { name, size, start, end });
                }
                read.push(bytes);
            }
            Ok(read)
        }
        .boxed()
    }

    fn read_up_to(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        let name = name.clone();
        async move { self.answer(&name, range).await }.boxed()
    }
}

fn in_memory(store: &Arc<Noting>, bytes: u64) -> CachedObjects {
    CachedObjects::open(store.clone(), bytes, 0, PathBuf::new()).expect("threads")
}

fn read(objects: &CachedObjects, range: Range<u64>) -> Result<Bytes, ObjectError> {
    let read = block_on(objects.read_ranges(&name(NAME), &[range]));
    read.map(|read| read.into_iter().next().expect("one range"))
}

fn cache_of(objects: &CachedObjects) -> CacheCounts {
    objects.figures().cache.expect("it is a cache")
}

#[test]
fn conforms_with_and_without_a_disk() {
    for disk in [0, 256 * MIB] {
        let folder = tempfile::tempdir().expect("a folder");
        let remote = RemoteObjects::new(
            Arc::new(InMemory::new()),
            "",
            "memory",
            Limits { parts: 1, ..Limits::default() },
            Arc::new(SystemRandom),
        );
        let store = Arc::new(remote.expect("threads"));
        let cached = CachedObjects::open(store, 16 * MIB, disk, folder.path().join("cache"));
        let cached = cached.expect("threads");
        conformance::contract(&cached);
        cached.close();
    }
}

#[test]
fn a_run_of_blocks_is_one_request_and_then_none() {
    let whole = body(5 * MIB + 77);
    let store = Noting::with(NAME, whole.clone());
    let objects = in_memory(&store, 64 * MIB);
    let reader = Arc::new(ReadFigures::default());
    let check = |range: Range<u64>, requests: &[Range<u64>], hits: u64| {
        let before = reader.counts();
        let (name, ranges) = (name(NAME), [range.clone()]);
        let bytes = block_on(reader.scope(objects.read_ranges(&name, &ranges)));
        assert!(bytes.expect("read")[0] == whole[range.start as usize..range.end as usize]);
        assert_eq!(store.asked(), requests, "{range:?}");
        let after = reader.counts();
        assert_eq!(after.cache_hits - before.cache_hits, hits, "{range:?}");
        assert_eq!(after.requests - before.requests, requests.len() as u64);
    };
    let block = BLOCK_BYTES;
    check(block + 5..block + 6, &[block..2 * block], 0);
    check(block..2 * block, &[], 1);
    // Around the one that is there.
    check(10..4 * block, &[0..block, 2 * block..4 * block], 1);
    // The last one is shorter.
    check(5 * MIB..5 * MIB + 77, &[5 * MIB..5 * MIB + block], 0);
    check(5 * MIB + 70..5 * MIB + 77, &[], 1);
    let counts = cache_of(&objects);
    assert_eq!((counts.memory_hits, counts.disk_hits, counts.misses), (3, 0, 5));
    assert_eq!(counts.fetched_bytes, 4 * block + 77);
}

#[test]
fn bytes_beyond_the_end_are_the_stores_to_refuse() {
    let store = Noting::with(NAME, body(MIB + 10));
    let objects = in_memory(&store, 16 * MIB);
    read(&objects, 0..MIB + 10).expect("all of it");
    for end in [MIB + 11, 3 * MIB] {
        let error = read(&objects, 5..end).expect_err("beyond");
        assert!(matches!(error, ObjectError::OutOfRange { size, .. } if size == MIB + 10));
    }
    assert!(read(&objects, 0..MIB + 10).expect("still there") == body(MIB + 10));
}

#[test]
fn readers_of_a_block_share_its_request() {
    let whole = body(3 * MIB);
    let store = Noting::with(NAME, whole.clone());
    let objects = in_memory(&store, 64 * MIB);
    store.is_held.store(true, Relaxed);
    let (one, other) = ([10..2 * MIB], [MIB..2 * MIB + 1]);
    let mut first = objects.read_ranges(&name(NAME), &one);
    let second = objects.read_ranges(&name(NAME), &other);
    let mut second = pin!(second);
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    let block = BLOCK_BYTES;
    assert_eq!(store.asked(), [0..4 * block, 4 * block..5 * block]);
    assert_eq!(cache_of(&objects).shared, 2);
    // Who began goes away; the other one goes on with what was begun.
    drop(first);
    store.release();
    let bytes = block_on(second).expect("read");
    assert!(bytes[0] == whole[MIB as usize..2 * MIB as usize + 1]);
    assert_eq!(store.asked(), []);
    read(&objects, 0..2 * MIB).expect("read");
    assert_eq!(store.asked(), [], "what was fetched is kept");
}

#[test]
fn a_fetch_that_nobody_waits_for_is_given_up_and_begun_anew() {
    let store = Noting::with(NAME, body(MIB));
    let objects = in_memory(&store, 64 * MIB);
    store.is_held.store(true, Relaxed);
    let one = [0..10];
    let mut first = objects.read_ranges(&name(NAME), &one);
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(first);
    assert!(objects.inner.fetches.lock().is_empty());
    store.release();
    read(&objects, 0..10).expect("read");
    assert_eq!(store.asked().len(), 2);
}

#[test]
fn an_error_is_told_to_all_who_wait_and_not_kept() {
    let store = Noting::with(NAME, body(MIB));
    let objects = in_memory(&store, 64 * MIB);
    store.is_held.store(true, Relaxed);
    store.is_away.store(true, Relaxed);
    let one = [0..10];
    let reads = future::join(
        objects.read_ranges(&name(NAME), &one),
        objects.read_ranges(&name(NAME), &one),
    );
    let mut reads = pin!(reads);
    assert!(reads.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    store.release();
    let (a, b) = block_on(reads);
    assert!(a.is_err() && b.is_err());
    assert_eq!(store.asked().len(), 1);
    store.is_away.store(false, Relaxed);
    read(&objects, 0..10).expect("it is back");
}

#[test]
fn memory_stays_below_its_limit() {
    let whole = body(24 * MIB);
    let store = Noting::with(NAME, whole.clone());
    let objects = in_memory(&store, 8 * MIB);
    for start in (0..24 * MIB).step_by(BLOCK_BYTES as usize) {
        let range = start + 1..start + 9;
        let bytes = read(&objects, range.clone()).expect("read");
        assert!(bytes == whole[range.start as usize..range.end as usize]);
        let counts = cache_of(&objects);
        assert!(counts.memory_bytes <= 8 * MIB, "{counts:?}");
    }
    assert!(cache_of(&objects).memory_bytes > 4 * MIB);
}

#[test]
fn a_deleted_object_takes_its_blocks_along() {
    let store = Noting::with(NAME, body(3 * MIB));
    let objects = in_memory(&store, 64 * MIB);
    read(&objects, 0..3 * MIB).expect("read");
    objects.delete(&name(NAME)).expect("deleted");
    assert_eq!(cache_of(&objects).memory_bytes, 0);
    assert!(matches!(read(&objects, 0..1), Err(ObjectError::NotFound(_))));
}

#[test]
fn what_was_damaged_on_the_way_is_read_again() {
    let whole = body(2 * MIB);
    let store = Noting::with(NAME, whole.clone());
    let objects = in_memory(&store, 64 * MIB);
    store.lies.store(1, Relaxed);
    let range = MIB..MIB + 100;
    let right = &whole[MIB as usize..MIB as usize + 100];
    assert!(read(&objects, range.clone()).expect("read") != right);
    assert!(read(&objects, range.clone()).expect("cached") != right);
    let again = objects.read_again(&name(NAME), std::slice::from_ref(&range));
    let again = block_on(again.expect("it is cached")).expect("read");
    assert!(again[0] == right);
    assert!(read(&objects, range).expect("read") == right);
    assert_eq!(cache_of(&objects).damaged, 1);
}

fn on_disk(store: &Arc<Noting>, folder: &std::path::Path) -> CachedObjects {
    CachedObjects::open(store.clone(), 64 * MIB, 256 * MIB, folder.to_owned()).expect("threads")
}

#[test]
fn the_disk_survives_a_restart_and_the_store_may_be_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = body(6 * MIB + 5);
    let store = Noting::with(NAME, whole.clone());
    let objects = on_disk(&store, folder.path());
    assert!(read(&objects, 0..6 * MIB + 5).expect("read") == whole);
    objects.close();
    drop(objects);
    store.asked();
    store.is_away.store(true, Relaxed);
    let objects = on_disk(&store, folder.path());
    assert!(read(&objects, 0..6 * MIB + 5).expect("from the disk") == whole);
    assert!(read(&objects, 0..6 * MIB + 5).expect("from memory") == whole);
    assert_eq!(store.asked(), []);
    let counts = cache_of(&objects);
    assert_eq!((counts.disk_hits, counts.memory_hits, counts.misses), (13, 13, 0), "{counts:?}");
    // What is not there is an error, and what is there still comes.
    assert!(block_on(objects.read_ranges(&name("data/7/2-0.parquet"), &[0..1])).is_err());
    assert!(read(&objects, 1..2).is_ok());
    objects.close();
}

/// Whatever happens to its files, a cache opens, and gives the bytes of the store.
#[test]
fn damaged_files_never_give_wrong_bytes() {
    let whole = body(6 * MIB + 5);
    let store = Noting::with(NAME, whole.clone());
    let damages: [fn(&mut Vec<u8>); 5] = [
        |file| file.iter_mut().skip(1).step_by(4_099).for_each(|byte| *byte ^= 0x55),
        |file| file.iter_mut().take(8_192).for_each(|byte| *byte ^= 0xff),
        |file| file.iter_mut().skip(3 << 20).take(1 << 20).for_each(|byte| *byte = 0),
        |file| file.truncate(file.len() / 3),
        Vec::clear,
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = on_disk(&store, folder.path());
        read(&objects, 0..6 * MIB + 5).expect("read");
        objects.close();
        drop(objects);
        for entry in fs::read_dir(folder.path()).expect("a folder") {
            let path = entry.expect("an entry").path();
            let mut file = fs::read(&path).expect("a file");
            damage(&mut file);
            fs::write(&path, file).expect("written");
        }
        let objects = on_disk(&store, folder.path());
        for start in (0..6 * MIB).step_by(300_000) {
            let range = start..start + 100_000;
            let bytes = read(&objects, range.clone()).expect("read");
            let right = bytes == whole[range.start as usize..range.end as usize];
            assert!(right, "damage {n} at {start}");
        }
        assert!(cache_of(&objects).misses > 0, "damage {n} was not noticed");
        objects.close();
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_done_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = body(2 * MIB);
    let store = Noting::with(NAME, whole.clone());
    let is_file = folder.path().join("file");
    fs::write(&is_file, "not a folder").expect("written");
    let objects = on_disk(&store, &is_file);
    assert!(read(&objects, 0..2 * MIB).expect("read") == whole);
    assert_eq!(cache_of(&objects).disk_limit_bytes, 0);
    objects.close();
    assert_eq!(fs::read_to_string(&is_file).expect("still there"), "not a folder");
    // A folder in the place of a file of the cache is cleared away; other files are not.
    let odd = folder.path().join("odd");
    fs::create_dir_all(odd.join("foyer-storage-direct-fs-00000001/x")).expect("made");
    fs::write(odd.join("notes.txt"), "mine").expect("written");
    let objects = on_disk(&store, &odd);
    assert!(read(&objects, 0..2 * MIB).expect("read") == whole);
    assert!(cache_of(&objects).disk_limit_bytes > 0);
    objects.close();
    assert!(odd.join("notes.txt").exists());
}

#[test]
fn a_smaller_cache_gives_files_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Noting::with(NAME, body(2 * MIB));
    on_disk(&store, folder.path()).close();
    let files = || fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files(), 16);
    let smaller = CachedObjects::open(store.clone(), 16 * MIB, 64 * MIB, folder.path().to_owned());
    smaller.expect("threads").close();
    assert_eq!(files(), 4);
}

#[test]
fn sizes_nobody_asked_for_are_for_stores_over_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Noting::with(NAME, body(10));
    let size = |only_remote| CacheSize { bytes: 16 * MIB, only_remote };
    let none = CacheSize { bytes: 0, only_remote: true };
    for (only_remote, is_remote, cached) in
        [(true, false, false), (true, true, true), (false, false, true)]
    {
        let options =
            CacheOptions { folder: folder.path().into(), memory: size(only_remote), disk: none };
        let objects = options.wrap(store.clone(), is_remote);
        assert_eq!(objects.figures().cache.is_some(), cached, "{only_remote} {is_remote}");
    }
    let reader = ReadFigures::default();
    assert_eq!(reader.counts(), ReadCounts::default());
}
