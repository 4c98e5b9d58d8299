//! A store in memory that fails on demand.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use parking_lot::Mutex;

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// It is not executed.
    Refused,
    /// It is executed, and its answer lost.
    AnswerLost,
    /// It is executed, and there is no answer.
    Stalled,
    /// A put that is executed when the next one comes, and is never answered.
    Late,
    /// It is not executed, and never will be.
    Forbidden,
}

#[derive(Default)]
pub(super) struct Faulty {
    pub(super) memory: Arc<InMemory>,
    /// For the next requests, one each; then `always`, or one of `pattern` if there is any.
    pub(super) next: Mutex<VecDeque<Fault>>,
    pub(super) always: Mutex<Option<Fault>>,
    pub(super) pattern: Mutex<Vec<Fault>>,
    pub(super) requests: AtomicUsize,
    late: Mutex<Option<(Path, PutPayload)>>,
}

/// Splitmix64's last steps.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn error(text: &str) -> Error {
    Error::Generic { store: "faulty", source: text.into() }
}

impl Faulty {
    async fn request<T>(&self, execute: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.requests.fetch_add(1, SeqCst);
        let next = self.next.lock().pop_front();
        let of_pattern = || {
            let pattern = self.pattern.lock();
            // Not one after the other: an operation that makes as many requests would meet the same
            // faults for ever.
            (!pattern.is_empty()).then(|| pattern[mixed(number as u64) as usize % pattern.len()])
        };
        match next.or_else(|| *self.always.lock()).or_else(of_pattern).unwrap_or(Fault::None) {
            Fault::None => execute.await,
            Fault::Refused => Err(error("connection refused")),
            Fault::AnswerLost => execute.await.and(Err(error("connection reset"))),
            Fault::Stalled => {
                let _ = execute.await;
                pending().await
            }
            Fault::Late => pending().await,
            Fault::Forbidden => {
                Err(Error::PermissionDenied { path: "x".to_owned(), source: "no".into() })
            }
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let late = self.late.lock().take();
        if let Some((path, payload)) = late {
            self.memory.put_opts(&path, payload, options.clone()).await?;
        }
        if self.next.lock().front() == Some(&Fault::Late) {
            *self.late.lock() = Some((location.clone(), payload.clone()));
        }
        self.request(self.memory.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(error("not used"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.request(self.memory.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.request(self.memory.get_ranges(location, ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // Only its beginning can fail here.
        let failed = futures::executor::block_on(self.request(async { Ok(()) }));
        match failed {
            Ok(()) => self.memory.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let objects = self.list(prefix).try_collect().await?;
        Ok(ListResult { common_prefixes: Vec::new(), objects })
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(error("not used"))
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<String> {
        self.request(self.memory.create_multipart(path)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &String,
        number: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.request(self.memory.put_part(path, id, number, data)).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &String,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.request(self.memory.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &String) -> Result<()> {
        self.request(self.memory.abort_multipart(path, id)).await
    }
}
