//! Where blocks are kept: memory before files, by foyer.
//!
//! foyer drops what comes faster than it writes, and takes no more at a time than a buffer. So blocks
//! on their way to the disk wait here, up to a limit, and are handed over a part of a buffer at a time.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, Error, ErrorKind, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, HybridCacheEntry, HybridCachePolicy, HybridCacheProperties, Location,
    PsyncIoEngineConfig, RecoverMode, S3FifoConfig, Source,
};
use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::mpsc, task::JoinHandle};

use super::{BLOCK_BYTES, CacheCounts};

/// Threads that move blocks to and from the disk, and those that wait for it.
const THREADS: usize = 2;
const DISK_THREADS: usize = 8;

/// Files of a disk cache, of which each stays open, and what they have at least. A file is what is
/// overwritten at a time.
const FILES_MAX: u64 = 64;
const FILE_BYTES_MIN: u64 = 16 << 20;

/// foyer's names of files, before their number.
const FILE_PREFIX: &str = "foyer-storage-direct-fs-";

/// Memory that a block takes beside its bytes.
const ENTRY_BYTES: usize = 256;

/// Encoding of a key, and of what is kept under it.
const VERSION: u8 = 1;

/// A block of an object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct BlockKey {
    pub(super) object: Arc<str>,
    pub(super) block: u32,
}

/// u8 version, u32 block, u32 bytes of a block, u16 length and bytes of the name.
impl Code for BlockKey {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.block.to_le_bytes());
        bytes.extend_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        // A name is at most 1024 bytes.
        bytes.extend_from_slice(&(self.object.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.object.as_bytes());
        writer.write_all(&bytes).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let mut front = [0; 11];
        reader.read_exact(&mut front).map_err(Error::io_error)?;
        let [version, b0, b1, b2, b3, s0, s1, s2, s3, l0, l1] = front;
        let wrong = |what: &str| Error::new(ErrorKind::Parse, what);
        if version != VERSION || u64::from(u32::from_le_bytes([s0, s1, s2, s3])) != BLOCK_BYTES {
            return Err(wrong("a block of another version"));
        }
        let mut name = vec![0; u16::from_le_bytes([l0, l1]).into()];
        reader.read_exact(&mut name).map_err(Error::io_error)?;
        let name = String::from_utf8(name).map_err(|_| wrong("not a name of an object"))?;
        Ok(Self { object: name.into(), block: u32::from_le_bytes([b0, b1, b2, b3]) })
    }

    fn estimated_size(&self) -> usize {
        11 + self.object.len()
    }
}

/// Where a block was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    InMemory(Bytes),
    OnDisk(Bytes),
    Nothing,
}

pub(super) struct Blocks {
    hybrid: HybridCache<BlockKey, Bytes>,
    runtime: Threads,
    memory_bytes: u64,
    disk_bytes: u64,
    disk_errors: AtomicU64,
    /// `None`: there is no disk, or no more.
    writer: Mutex<Option<Writer>>,
    skipped: AtomicU64,
    closed: AtomicBool,
}

/// Brings blocks to the disk.
struct Writer {
    sender: mpsc::UnboundedSender<HybridCacheEntry<BlockKey, Bytes>>,
    /// Bytes that wait.
    waiting: Arc<AtomicU64>,
    waiting_max: u64,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(runtime: &Threads, hybrid: &HybridCache<BlockKey, Bytes>, parts: MemoryParts) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<HybridCacheEntry<BlockKey, Bytes>>();
        let (hybrid, waiting) = (hybrid.clone(), Arc::new(AtomicU64::new(0)));
        let done = Arc::clone(&waiting);
        let task = runtime.get().spawn(async move {
            let disk = hybrid.storage();
            while let Some(mut entry) = receiver.recv().await {
                let mut bytes = 0;
                loop {
                    bytes += entry.value().len() as u64;
                    // It may have been dropped meanwhile.
                    if !entry.is_outdated() {
                        disk.enqueue(entry.piece(), false);
                    }
                    // What is around a block takes space in a buffer, too.
                    if bytes > parts.buffer / 2 {
                        break;
                    }
                    match receiver.try_recv() {
                        Ok(next) => entry = next,
                        Err(_) => break,
                    }
                }
                disk.wait().await;
                done.fetch_sub(bytes, Relaxed);
            }
        });
        Self { sender, waiting, waiting_max: parts.queue, task }
    }

    /// False: too many wait.
    fn write(&self, entry: HybridCacheEntry<BlockKey, Bytes>) -> bool {
        let bytes = entry.value().len() as u64;
        if self.waiting.fetch_add(bytes, Relaxed) + bytes > self.waiting_max {
            self.waiting.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.sender.send(entry).is_ok()
    }
}

/// A runtime that may be dropped anywhere, also on a thread that must not block.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).max_blocking_threads(DISK_THREADS);
        builder.thread_name("storage-cache").enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken only when it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How a cache's memory is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct MemoryParts {
    blocks: u64,
    /// Blocks that wait to be written; beyond it they are not.
    queue: u64,
    /// Two are filled in turn.
    buffer: u64,
}

impl MemoryParts {
    fn of(memory: u64, has_disk: bool) -> Self {
        if !has_disk {
            return Self { blocks: memory, queue: 0, buffer: 0 };
        }
        // Less than this is of no use.
        let memory = memory.max(16 << 20);
        let buffer = (memory / 16).clamp(2 << 20, 16 << 20);
        let queue = memory / 4;
        Self { blocks: memory - queue - 2 * buffer, queue, buffer }
    }
}

impl Blocks {
    /// See [`super::CachedObjects::open`].
    pub(super) fn open(memory: u64, disk: u64, folder: PathBuf) -> Result<Self, String> {
        let runtime = Threads::start().map_err(|error| error.to_string())?;
        let file = file_bytes(disk);
        let mut disk = disk / file * file;
        let hybrid = match disk {
            0 => None,
            _ => match open_folder(&runtime, memory, disk, &folder) {
                Ok(hybrid) => Some(hybrid),
                Err(reason) => {
                    let folder = folder.display();
                    tracing::warn!(%folder, reason, "objects are not cached on disk");
                    None
                }
            },
        };
        let hybrid = match hybrid {
            Some(hybrid) => hybrid,
            None => {
                disk = 0;
                let opened = build(&runtime, memory, None);
                opened.map_err(|error| error.to_string())?
            }
        };
        let parts = MemoryParts::of(memory, disk > 0);
        let writer = (disk > 0).then(|| Writer::start(&runtime, &hybrid, parts));
        Ok(Self {
            writer: Mutex::new(writer),
            skipped: AtomicU64::new(0),
            hybrid,
            runtime,
            memory_bytes: memory,
            disk_bytes: disk,
            disk_errors: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn get_in_memory(&self, key: &BlockKey) -> Option<Bytes> {
        self.hybrid.memory().get(key).map(|entry| entry.value().clone())
    }

    pub(super) async fn get(&self, key: &BlockKey) -> Found {
        if let Some(bytes) = self.get_in_memory(key) {
            return Found::InMemory(bytes);
        }
        if self.disk_bytes == 0 || !self.hybrid.storage().may_contains(key) {
            return Found::Nothing;
        }
        match self.hybrid.get(key).await {
            Ok(Some(entry)) if entry.source() == Source::Memory => {
                Found::InMemory(entry.value().clone())
            }
            Ok(Some(entry)) => Found::OnDisk(entry.value().clone()),
            Ok(None) => Found::Nothing,
            Err(error) => {
                // Said once, not for each block of a disk that has failed.
                if self.disk_errors.fetch_add(1, Relaxed) == 0 {
                    tracing::warn!(%error, "a cached block cannot be read; it is fetched again");
                }
                Found::Nothing
            }
        }
    }

    pub(super) fn insert(&self, key: BlockKey, bytes: Bytes) {
        let in_memory = HybridCacheProperties::default().with_location(Location::InMem);
        let entry = self.hybrid.insert_with_properties(key, bytes, in_memory);
        if let Some(writer) = &*self.writer.lock()
            && !writer.write(entry)
        {
            self.skipped.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn remove(&self, key: &BlockKey) {
        if !self.closed.load(Relaxed) && self.hybrid.contains(key) {
            self.hybrid.remove(key);
        }
    }

    /// Writes what waits to be written. Nothing more comes to the disk from then on. Blocks; not on a thread of a
    /// runtime.
    pub(super) fn close(&self) {
        if self.closed.swap(true, Relaxed) {
            return;
        }
        let writer = self.writer.lock().take();
        let closed = self.runtime.get().block_on(async {
            if let Some(Writer { sender, task, .. }) = writer {
                drop(sender);
                task.await.map_err(|error| error.to_string())?;
            }
            self.hybrid.close().await.map_err(|error| error.to_string())
        });
        if let Err(error) = closed {
            tracing::warn!(error, "the cache of objects was not closed in order");
        }
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let disk = self.hybrid.statistics();
        CacheCounts {
            disk_errors: self.disk_errors.load(Relaxed),
            disk_skipped: self.skipped.load(Relaxed),
            memory_bytes: self.hybrid.memory().usage() as u64,
            memory_limit_bytes: self.memory_bytes,
            disk_written_bytes: disk.disk_write_bytes() as u64,
            disk_read_bytes: disk.disk_read_bytes() as u64,
            disk_limit_bytes: self.disk_bytes,
            ..CacheCounts::default()
        }
    }
}

/// Bytes of a file of a cache of so many on disk.
fn file_bytes(disk: u64) -> u64 {
    disk.div_ceil(FILES_MAX).next_power_of_two().max(FILE_BYTES_MIN)
}

/// Opens a folder; one that cannot be opened is emptied and tried again.
fn open_folder(
    runtime: &Threads,
    memory: u64,
    disk: u64,
    folder: &Path,
) -> Result<HybridCache<BlockKey, Bytes>, String> {
    let open = || {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        remove_beyond(folder, disk / file_bytes(disk)).map_err(|error| error.to_string())?;
        build(runtime, memory, Some((disk, folder))).map_err(|error| error.to_string())
    };
    open().or_else(|reason| {
        tracing::warn!(folder = %folder.display(), reason, "the cache on disk begins anew");
        remove_beyond(folder, 0).map_err(|error| format!("{reason}; emptying it: {error}"))?;
        open()
    })
}

/// Removes files from a number on: those of a larger cache. Other files are not ours.
fn remove_beyond(folder: &Path, files: u64) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(FILE_PREFIX));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| number >= files) {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

fn build(
    runtime: &Threads,
    memory: u64,
    disk: Option<(u64, &Path)>,
) -> foyer::Result<HybridCache<BlockKey, Bytes>> {
    let parts = MemoryParts::of(memory, disk.is_some());
    let blocks = usize::try_from(parts.blocks).unwrap_or(usize::MAX);
    // Each shard has room for some blocks.
    let shards = (blocks / (8 * BLOCK_BYTES as usize)).clamp(1, 8);
    let builder = HybridCacheBuilder::new()
        .with_name("objects")
        // A crash is to lose nothing but what waits to be written.
        // What is evicted from memory is on the disk already.
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        .memory(blocks)
        .with_shards(shards)
        // A scan of more than there is room for passes through.
        .with_eviction_config(S3FifoConfig::default())
        .with_weighter(|key: &BlockKey, bytes: &Bytes| bytes.len() + key.object.len() + ENTRY_BYTES)
        .storage()
        .with_spawner(runtime.get().handle().clone().into())
        .with_recover_mode(RecoverMode::Quiet);
    runtime.get().block_on(async {
        let Some((bytes, folder)) = disk else { return builder.build().await };
        let capacity = usize::try_from(bytes).unwrap_or(usize::MAX);
        let device = FsDeviceBuilder::new(folder).with_capacity(capacity).build()?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(file_bytes(bytes) as usize)
            .with_buffer_pool_size(parts.buffer as usize)
            .with_submit_queue_size_threshold(parts.buffer as usize);
        let files = PsyncIoEngineConfig::new();
        builder.with_io_engine_config(files).with_engine_config(engine).build().await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_caches_memory_are_all_of_it() {
        for memory in [16 << 20, 100 << 20, 8 << 30] {
            let parts = MemoryParts::of(memory, true);
            assert_eq!(parts.blocks + parts.queue + 2 * parts.buffer, memory, "{parts:?}");
            assert!(parts.blocks >= memory / 2, "{parts:?}");
            assert_eq!(MemoryParts::of(memory, false).blocks, memory);
        }
    }

    #[test]
    fn keys_come_back_and_others_are_refused() {
        let key = BlockKey { object: "data/7/1-0.parquet".into(), block: 70_000 };
        let mut bytes = Vec::new();
        key.encode(&mut bytes).expect("encoded");
        assert_eq!(bytes.len(), key.estimated_size());
        assert_eq!(BlockKey::decode(&mut &bytes[..]).expect("decoded"), key);
        for at in [0, 6] {
            let mut other = bytes.clone();
            other[at] += 1;
            assert!(BlockKey::decode(&mut &other[..]).is_err(), "byte {at}");
        }
        assert!(BlockKey::decode(&mut &bytes[..12]).is_err());
    }
}
