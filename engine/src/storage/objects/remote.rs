//! Objects in a bucket: S3 and what speaks its protocol, Google Cloud Storage, Azure.
//!
//! This is the real world's edge, as the real implementations of `Env` are: the client has clock,
//! sockets and threads of its own, which the simulator does not see. What is simulated is the
//! contract, by the directory, and the same conformance suite holds for both.
//!
//! ```text
//! background thread ──▶ task on storage-io ──▶ attempt ─ fails ─▶ wait (jitter, doubling) ─▶ attempt …
//!      waits ◀───────────────────────────────────┘ until it is done or the time for all is up
//! query: awaits such a task; when the query is gone, so is the task
//! ```
//!
//! **Outcomes of writes.** An error or a timeout says nothing about what the store did. So after one
//! the name is looked at: an object of our length and CRC is ours, another one means that the name
//! was taken, and with none the attempt is repeated. An attempt that is repeated creates only, so one
//! that comes late is harmless, and when the earlier one turns out to have come first, the object is
//! ours by the same comparison. Names are used once, which is what makes this sound.
//!
//! **Large objects** go up in parts and get their name when all are there. Stores cannot create only
//! in that way, so the name is looked at before; two who write one name at the same time do not
//! happen, because names are used once. Parts of an upload that a crash cut short take space until
//! the bucket's own rule for incomplete multipart uploads removes them.

mod location;
mod requests;
mod upload;

use std::{
    ops::Range,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    future::{BoxFuture, Future},
};
use glaredb_txn::env::Random;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, multipart::MultipartStore};
use tokio::runtime::Runtime;

use super::{
    ObjectEntry, ObjectError, ObjectFigures, ObjectName, ObjectWrite, Objects, ReadFigures,
    RequestKind,
};
use requests::{Failure, Requests};
use upload::Upload;

pub use location::{LocationError, RemoteLocation, S3Options};

/// What is fetched by one request at most, and the size of an object's parts, in bytes.
const PIECE_BYTES: u64 = 8 << 20;

/// Ranges with a gap of at most this many bytes are fetched together.
const GAP_BYTES: u64 = 512 << 10;

/// The same of a few rows, of which a store sends all at once.
const FEW_ROWS_GAP_BYTES: u64 = 1 << 20;

/// Pieces of one range that are fetched at the same time.
const PIECES_AT_ONCE: usize = 4;

/// Threads that do the network's work: encryption and copying, no waiting.
const IO_THREADS: usize = 2;

/// What both sides of the client library can do; every store has both.
pub trait RemoteStore: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> RemoteStore for T {}

/// How long and how much at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Time for one attempt.
    pub attempt: Duration,
    /// Time for a request with all its attempts.
    pub request: Duration,
    /// The first wait between attempts; it doubles up to `wait_max`, and half of it is random.
    pub wait_first: Duration,
    pub wait_max: Duration,
    /// Attempts under way at the same time, of all requests together.
    pub concurrency: usize,
    /// Parts of one object under way at the same time; each takes 8 MiB of memory.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(30),
            request: Duration::from_secs(60),
            wait_first: Duration::from_millis(100),
            wait_max: Duration::from_secs(5),
            concurrency: 64,
            parts: 2,
        }
    }
}

/// See the module's description.
pub struct RemoteObjects {
    remote: Arc<Remote>,
}

/// What the objects, their uploads and the tasks share.
struct Remote {
    requests: Requests,
    runtime: IoRuntime,
}

/// A runtime that may be dropped anywhere, also on a thread that must not block.
struct IoRuntime(Option<Runtime>);

impl IoRuntime {
    fn start() -> std::io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(IO_THREADS).thread_name("storage-io").enable_all();
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken only when it is dropped")
    }
}

impl Drop for IoRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl RemoteObjects {
    /// Objects below `folder` (without slashes at its ends; may be empty) in `store`. `shown` is how
    /// errors call the store. Nothing is asked of it yet.
    pub fn new(
        store: Arc<dyn RemoteStore>,
        folder: &str,
        shown: &str,
        limits: Limits,
        random: Arc<dyn Random>,
    ) -> std::io::Result<Self> {
        let requests = Requests::new(store, folder, shown, limits, random);
        let remote = Remote { requests, runtime: IoRuntime::start()? };
        Ok(Self { remote: Arc::new(remote) })
    }

    /// How errors call the store.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.remote.requests.shown
    }

    /// Work on the I/O threads, on the account of whoever polls this. It ends when this is dropped.
    fn spawned<T: Send + 'static>(
        &self,
        name: &ObjectName,
        work: impl Future<Output = Result<T, ObjectError>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ObjectError>> {
        let name = name.clone();
        Box::pin(async move {
            let runtime = self.remote.runtime.get();
            let task = match ReadFigures::current() {
                Some(reader) => runtime.spawn(reader.scope(work)),
                None => runtime.spawn(work),
            };
            let mut task = AbortOnDrop(task);
            (&mut task.0).await.unwrap_or_else(|_| Err(ended(name.as_str())))
        })
    }
}

impl Remote {
    /// Runs `work` on the I/O threads and blocks until it is done.
    fn wait<T: Send + 'static>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, ObjectError>> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let (sender, receiver) = mpsc::channel();
        self.runtime.get().spawn(async move {
            // A receiver that is gone has panicked.
            let _ = sender.send(work.await);
        });
        receiver.recv().unwrap_or_else(|_| Err(ended(name)))
    }

    /// `bytes` of an object: fewer if it ends before.
    async fn fetch(&self, name: &ObjectName, bytes: Range<u64>) -> Result<Bytes, Failure> {
        let path = self.requests.path(name);
        let get = |range: Range<u64>| {
            let (requests, path) = (&self.requests, &path);
            let store = &requests.store;
            async move {
                let range = GetRange::Bounded(range);
                let attempt = || {
                    let options =
                        GetOptions { range: Some(range.clone()), ..GetOptions::default() };
                    async move { store.get_opts(path, options).await?.bytes().await }
                };
                let body = requests.attempts(RequestKind::Get, attempt).await?;
                requests.figures.add_bytes(RequestKind::Get, body.len() as u64);
                ReadFigures::add_bytes(body.len() as u64);
                Ok(body)
            }
        };
        if bytes.end - bytes.start <= PIECE_BYTES {
            return get(bytes).await;
        }
        let starts = (bytes.start..bytes.end).step_by(PIECE_BYTES as usize);
        let pieces = starts.map(|start| get(start..bytes.end.min(start + PIECE_BYTES)));
        let pieces: Vec<Bytes> =
            futures::stream::iter(pieces).buffered(PIECES_AT_ONCE).try_collect().await?;
        Ok(pieces.concat().into())
    }

    async fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        let path = self.requests.path(name);
        let head = || self.requests.store.head(&path);
        let found = self.requests.attempts(RequestKind::Head, head).await;
        found.map(|meta| meta.size).map_err(|failure| self.requests.explain(name, failure))
    }

    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let size = self.size(name).await?;
        if size == 0 {
            return Ok(Bytes::new());
        }
        let body = self.fetch(name, 0..size).await;
        let body = body.map_err(|failure| self.requests.explain(name, failure))?;
        if body.len() as u64 == size {
            Ok(body)
        } else {
            Err(self.requests.wrong(name, "gave fewer bytes than it has"))
        }
    }

    async fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, ObjectError> {
        let outside = |range: &Range<u64>, size: u64| {
            let &Range { start, end } = range;
            ObjectError::OutOfRange { name: name.clone(), size, start, end }
        };
        // What cannot be asked for as it is, or not safely, is looked into first.
        let unusual = |range: &Range<u64>| {
            range.start >= range.end || range.end - range.start > u64::from(u32::MAX)
        };
        if ranges.is_empty() || ranges.iter().any(unusual) {
            let size = self.size(name).await?;
            if let Some(range) = ranges.iter().find(|r| r.start > r.end || r.end > size) {
                return Err(outside(range, size));
            }
        }
        let wanted: Vec<Range<u64>> =
            ranges.iter().filter(|range| range.start < range.end).cloned().collect();
        let fetch = |range| self.fetch(name, range);
        let fetched = object_store::coalesce_ranges(&wanted, fetch, GAP_BYTES).await;
        let complete = |fetched: &Vec<Bytes>| {
            fetched.iter().zip(&wanted).all(|(b, r)| b.len() as u64 == r.end - r.start)
        };
        match fetched {
            Ok(fetched) if complete(&fetched) => {
                let mut fetched = fetched.into_iter();
                let mut next = |range: &Range<u64>| match range.start < range.end {
                    true => fetched.next().unwrap_or_default(),
                    false => Bytes::new(),
                };
                Ok(ranges.iter().map(&mut next).collect())
            }
            other => {
                // A range beyond the end is refused by stores in several ways, or cut short.
                let size = self.size(name).await?;
                if let Some(range) = wanted.iter().find(|range| range.end > size) {
                    return Err(outside(range, size));
                }
                Err(match other {
                    Err(failure) => self.requests.explain(name, failure),
                    Ok(_) => self.requests.wrong(name, "gave fewer bytes than it has"),
                })
            }
        }
    }

    async fn read_up_to(
        &self,
        name: &ObjectName,
        mut range: Range<u64>,
    ) -> Result<Bytes, ObjectError> {
        let Range { start, end } = range;
        let outside = |size: u64| ObjectError::OutOfRange { name: name.clone(), size, start, end };
        // A piece that begins beyond the end would be refused.
        if end.saturating_sub(start) > PIECE_BYTES {
            let size = self.size(name).await?;
            if start >= size {
                return Err(outside(size));
            }
            range.end = end.min(size);
        }
        match self.fetch(name, range).await {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            other => match self.size(name).await? {
                size if start >= size => Err(outside(size)),
                _ => Err(match other {
                    Err(failure) => self.requests.explain(name, failure),
                    Ok(_) => self.requests.wrong(name, "gave no bytes of those it has"),
                }),
            },
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        let requests = &self.requests;
        // Stores list whole folders.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = requests.path_of(folder);
        let listed = requests
            .attempts(RequestKind::List, || {
                requests.store.list(Some(&folder)).try_collect::<Vec<_>>()
            })
            .await
            .map_err(|failure| requests.explain_other(prefix, failure))?;
        let mut entries: Vec<ObjectEntry> = listed
            .into_iter()
            // Other names are not ours.
            .filter_map(|meta| Some((requests.name_of(&meta.location)?, meta.size)))
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, size)| ObjectEntry { name, size })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let path = self.requests.path(name);
        let delete = || self.requests.store.delete(&path);
        match self.requests.attempts(RequestKind::Delete, delete).await {
            Ok(()) | Err(Failure::Store(object_store::Error::NotFound { .. })) => Ok(()),
            Err(failure) => Err(self.requests.explain(name, failure)),
        }
    }
}

/// A task that ended without a result.
fn ended(name: &str) -> ObjectError {
    ObjectError::Io { name: name.to_owned(), reason: "the request ended badly".to_owned() }
}

impl Objects for RemoteObjects {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError> {
        Ok(Box::new(Upload::new(Arc::clone(&self.remote), name.clone())))
    }

    fn put(&self, name: &ObjectName, body: &[u8]) -> Result<(), ObjectError> {
        let mut upload = Box::new(Upload::new(Arc::clone(&self.remote), name.clone()));
        upload.write(body)?;
        upload.finish()
    }

    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let (remote, wanted) = (Arc::clone(&self.remote), name.clone());
        self.remote.wait(name.as_str(), async move { remote.get(&wanted).await })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError> {
        let (remote, wanted) = (Arc::clone(&self.remote), name.clone());
        self.remote.wait(name.as_str(), async move { remote.size(&wanted).await })
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError> {
        let (remote, wanted) = (Arc::clone(&self.remote), prefix.to_owned());
        self.remote.wait(prefix, async move { remote.list(&wanted).await })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let (remote, wanted) = (Arc::clone(&self.remote), name.clone());
        self.remote.wait(name.as_str(), async move { remote.delete(&wanted).await })
    }

    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>> {
        let (remote, wanted, ranges) = (Arc::clone(&self.remote), name.clone(), ranges.to_vec());
        self.spawned(name, async move { remote.read_ranges(&wanted, &ranges).await })
    }

    fn read_up_to(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        let (remote, wanted) = (Arc::clone(&self.remote), name.clone());
        self.spawned(name, async move { remote.read_up_to(&wanted, range).await })
    }

    fn gap_bytes(&self) -> u64 {
        FEW_ROWS_GAP_BYTES
    }

    fn figures(&self) -> ObjectFigures {
        ObjectFigures { requests: self.remote.requests.figures.counts(), cache: None }
    }
}

/// A task that nobody waits for any more makes no requests.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
