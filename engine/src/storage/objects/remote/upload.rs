//! One object being written: a single request if it is small, parts if it is not.

use std::sync::{Arc, mpsc};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::{
    Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, multipart::PartId, path::Path,
};

use super::{
    PIECE_BYTES, Remote,
    requests::{Failure, is_final},
};
use crate::storage::objects::{ObjectError, ObjectName, ObjectWrite, RequestKind};

/// S3's limit. With parts of 8 MiB an object may have 78 GiB.
const PARTS_MAX: usize = 10_000;

pub(super) struct Upload {
    remote: Arc<Remote>,
    name: ObjectName,
    /// Bytes that are not sent yet, less than a part.
    buffer: BytesMut,
    written: Written,
    parts: Option<Parts>,
}

/// What the object is to be, to know it by.
#[derive(Clone, Copy, Default)]
struct Written {
    bytes: u64,
    crc: u32,
}

/// An upload in parts.
struct Parts {
    id: String,
    /// Parts begun.
    begun: usize,
    done: Vec<Option<PartId>>,
    under_way: usize,
    sender: mpsc::Sender<PartResult>,
    receiver: mpsc::Receiver<PartResult>,
}

type PartResult = (usize, Result<PartId, ObjectError>);

/// What is under a name.
enum Found {
    Nothing,
    Ours,
    Another,
}

impl Upload {
    pub(super) fn new(remote: Arc<Remote>, name: ObjectName) -> Self {
        let (buffer, written) = (BytesMut::new(), Written::default());
        Self { remote, name, buffer, written, parts: None }
    }

    fn send_part(&mut self) -> Result<(), ObjectError> {
        let body = self.buffer.split().freeze();
        if self.parts.is_none() {
            self.parts = Some(self.begin_parts()?);
        }
        let parts_at_once = self.remote.requests.limits.parts;
        let parts = self.parts.as_mut().expect("they are begun above");
        if parts.begun == PARTS_MAX {
            let reason = format!("an object has at most {PARTS_MAX} parts of {PIECE_BYTES} bytes");
            return Err(ObjectError::Io { name: self.name.to_string(), reason });
        }
        parts.wait_for(parts_at_once - 1, &self.name)?;
        let (number, sender) = (parts.begun, parts.sender.clone());
        parts.begun += 1;
        parts.under_way += 1;
        parts.done.push(None);
        let (remote, name, id) = (Arc::clone(&self.remote), self.name.clone(), parts.id.clone());
        self.remote.runtime.get().spawn(async move {
            // Nobody waits for it when the upload was given up.
            let _ = sender.send((number, remote.put_part(&name, &id, number, body).await));
        });
        Ok(())
    }

    fn begin_parts(&self) -> Result<Parts, ObjectError> {
        let (remote, name) = (Arc::clone(&self.remote), self.name.clone());
        let id = self.remote.wait(self.name.as_str(), async move {
            let path = remote.requests.path(&name);
            let create = || remote.requests.store.create_multipart(&path);
            let begun = remote.requests.attempts(RequestKind::Put, create);
            begun.await.map_err(|failure| remote.requests.explain_other(name.as_str(), failure))
        })?;
        let (sender, receiver) = mpsc::channel();
        Ok(Parts { id, begun: 0, done: Vec::new(), under_way: 0, sender, receiver })
    }
}

impl Parts {
    /// Blocks until at most `under_way` parts are.
    fn wait_for(&mut self, under_way: usize, name: &ObjectName) -> Result<(), ObjectError> {
        while self.under_way > under_way {
            // A task that panicked sends nothing, but the others' senders keep the channel open: the
            // sender here does, too.
            let (number, result) = self.receiver.recv().map_err(|_| super::ended(name.as_str()))?;
            self.under_way -= 1;
            self.done[number] = Some(result?);
        }
        Ok(())
    }
}

impl ObjectWrite for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        self.written.bytes += bytes.len() as u64;
        self.written.crc = crc32c::crc32c_append(self.written.crc, bytes);
        while !bytes.is_empty() {
            // Only with more to come: an object of exactly one part is a small one.
            if self.buffer.len() as u64 == PIECE_BYTES {
                self.send_part()?;
            }
            let room = PIECE_BYTES as usize - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ObjectError> {
        let (remote, name, written) = (Arc::clone(&self.remote), self.name.clone(), self.written);
        if self.parts.is_none() {
            let body = self.buffer.split().freeze();
            return self
                .remote
                .wait(self.name.as_str(), async move { remote.put(&name, body, written).await });
        }
        self.send_part()?;
        let parts = self.parts.as_mut().expect("it has parts");
        parts.wait_for(0, &self.name)?;
        let done: Vec<PartId> = std::mem::take(&mut parts.done).into_iter().flatten().collect();
        let id = parts.id.clone();
        self.remote.wait(self.name.as_str(), async move {
            remote.complete(&name, &id, done, written).await
        })?;
        // Nothing is left to give up.
        self.parts = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let (remote, path) = (Arc::clone(&self.remote), self.remote.requests.path(&self.name));
        let name = self.name.clone();
        self.remote.runtime.get().spawn(async move {
            let store = &remote.requests.store;
            let abort = || store.abort_multipart(&path, &parts.id);
            let aborted = remote.requests.attempts(RequestKind::Delete, abort).await;
            if let Err(failure) = aborted {
                let error = remote.requests.explain_other(name.as_str(), failure);
                tracing::debug!(%error, "parts of an object that was given up stay in the bucket");
            }
        });
    }
}

impl Remote {
    async fn put_part(
        &self,
        name: &ObjectName,
        id: &String,
        number: usize,
        body: Bytes,
    ) -> Result<PartId, ObjectError> {
        let (path, store) = (self.requests.path(name), &self.requests.store);
        let put = || store.put_part(&path, id, number, PutPayload::from_bytes(body.clone()));
        let put = self.requests.attempts(RequestKind::Put, put).await;
        self.requests.figures.add_bytes(RequestKind::Put, body.len() as u64);
        put.map_err(|failure| self.requests.explain_other(name.as_str(), failure))
    }

    /// Creates a small object.
    async fn put(&self, name: &ObjectName, body: Bytes, ours: Written) -> Result<(), ObjectError> {
        let (path, store) = (self.requests.path(name), &self.requests.store);
        let attempt = || {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = store.put_opts(&path, PutPayload::from_bytes(body.clone()), options);
            async move { put.await.map(drop) }
        };
        self.requests.figures.add_bytes(RequestKind::Put, ours.bytes);
        self.until_known(name, ours, attempt).await
    }

    /// Gives parts their name.
    async fn complete(
        &self,
        name: &ObjectName,
        id: &String,
        parts: Vec<PartId>,
        ours: Written,
    ) -> Result<(), ObjectError> {
        let (path, store) = (self.requests.path(name), &self.requests.store);
        match self.size(name).await {
            Ok(_) => return Err(ObjectError::AlreadyExists(name.clone())),
            Err(ObjectError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let attempt = || {
            let complete = store.complete_multipart(&path, id, parts.clone());
            async move { complete.await.map(drop) }
        };
        self.until_known(name, ours, attempt).await
    }

    /// Attempts a write until its outcome is known: see the module's parent.
    async fn until_known<F: Future<Output = Result<(), Error>>>(
        &self,
        name: &ObjectName,
        ours: Written,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), ObjectError> {
        let requests = &self.requests;
        let path = requests.path(name);
        let mut patience = requests.patience();
        // Whether an attempt may have been executed though it was not answered.
        let mut in_doubt = false;
        loop {
            let last = match requests.attempt(&mut patience, RequestKind::Put, attempt()).await {
                Ok(()) => return Ok(()),
                Err(last) => last,
            };
            let taken = matches!(last, Some(Error::AlreadyExists { .. }));
            let refused = last.as_ref().is_some_and(is_final) && !taken;
            if refused && !in_doubt {
                let failure = Failure::Store(last.expect("a refusal is an error"));
                return Err(requests.explain_other(name.as_str(), failure));
            }
            let look = self.look(&path, ours);
            match requests.attempt(&mut patience, RequestKind::Head, look).await {
                Ok(Found::Ours) if in_doubt || !taken => return Ok(()),
                Ok(Found::Ours | Found::Another) => {
                    return Err(ObjectError::AlreadyExists(name.clone()));
                }
                // Nothing is there, and the store will not have it (the parts are gone, say).
                Ok(Found::Nothing) if refused => {
                    let failure = Failure::Store(last.expect("a refusal is an error"));
                    return Err(requests.explain_other(name.as_str(), failure));
                }
                Ok(Found::Nothing) | Err(_) => {}
            }
            in_doubt |= !taken;
            if !requests.pause(&mut patience).await {
                let failure = Failure::Late { attempts: patience.attempts, last };
                return Err(requests.explain_other(name.as_str(), failure));
            }
        }
    }

    /// What is under the name now.
    async fn look(&self, path: &Path, ours: Written) -> Result<Found, Error> {
        let store = &self.requests.store;
        match store.head(path).await {
            Err(Error::NotFound { .. }) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
            Ok(meta) if meta.size != ours.bytes => return Ok(Found::Another),
            Ok(_) => {}
        }
        let mut body = store.get(path).await?.into_stream();
        let mut crc = 0;
        while let Some(bytes) = body.try_next().await? {
            crc = crc32c::crc32c_append(crc, &bytes);
        }
        Ok(if crc == ours.crc { Found::Ours } else { Found::Another })
    }
}
