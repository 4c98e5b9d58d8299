//! One request: its attempts, how long they may take, and what their failure means.

use std::{future::Future, sync::Arc, time::Duration};

use glaredb_txn::env::Random;
use object_store::{Error, path::Path};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use super::{Limits, RemoteStore};
use crate::storage::objects::{
    ObjectError, ObjectName, ReadFigures, RequestKind,
    figures::{FailureKind, StoreFigures},
};

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store's last word.
    Store(Error),
    /// The time for the request was up; `last` is what the last attempt met, if it ended.
    Late { attempts: u32, last: Option<Error> },
}

/// Waits between attempts, and the time for all of them.
pub(super) struct Patience {
    pub(super) deadline: Instant,
    wait: Duration,
    pub(super) attempts: u32,
}

pub(super) struct Requests {
    pub(super) store: Arc<dyn RemoteStore>,
    /// What all keys begin with, without slashes at its ends.
    folder: String,
    pub(super) shown: String,
    pub(super) limits: Limits,
    permits: Semaphore,
    random: Arc<dyn Random>,
    pub(super) figures: StoreFigures,
}

impl Requests {
    pub(super) fn new(
        store: Arc<dyn RemoteStore>,
        folder: &str,
        shown: &str,
        limits: Limits,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            store,
            folder: folder.to_owned(),
            shown: shown.to_owned(),
            limits,
            permits: Semaphore::new(limits.concurrency),
            random,
            figures: StoreFigures::default(),
        }
    }

    pub(super) fn path(&self, name: &ObjectName) -> Path {
        self.path_of(name.as_str())
    }

    pub(super) fn path_of(&self, name: &str) -> Path {
        let parts = self.folder.split('/').chain(name.split('/'));
        Path::from_iter(parts.filter(|part| !part.is_empty()))
    }

    /// The object's name, if `path` can be one's.
    pub(super) fn name_of(&self, path: &Path) -> Option<ObjectName> {
        let below = match self.folder.as_str() {
            "" => path.as_ref(),
            folder => path.as_ref().strip_prefix(folder)?.strip_prefix('/')?,
        };
        ObjectName::new(below).ok()
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            deadline: Instant::now() + self.limits.request,
            wait: self.limits.wait_first,
            attempts: 0,
        }
    }

    /// One attempt, when its turn has come. `Err(None)`: it took too long.
    pub(super) async fn attempt<T>(
        &self,
        patience: &mut Patience,
        kind: RequestKind,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Option<Error>> {
        patience.attempts += 1;
        let attempt = async {
            let permit = self.permits.acquire().await;
            let began = Instant::now();
            ReadFigures::add_requests(1);
            let answer = timeout(self.limits.attempt, request).await;
            drop(permit);
            let answer = answer.map_err(|_| None).and_then(|answer| answer.map_err(Some));
            let failure = answer.as_ref().err().map(|error| failure_kind(error.as_ref()));
            self.figures.record(kind, began.elapsed(), failure);
            answer
        };
        timeout_at(patience.deadline, attempt).await.unwrap_or(Err(None))
    }

    /// Waits before another attempt; `false` if there is no time for one.
    #[allow(clippy::disallowed_methods, reason = "the real world's edge: see the module's parent")]
    pub(super) async fn pause(&self, patience: &mut Patience) -> bool {
        let half = patience.wait / 2;
        let jitter = half.mul_f64(self.random.next_u64() as f64 / u64::MAX as f64);
        patience.wait = (patience.wait * 2).min(self.limits.wait_max);
        let until = Instant::now() + half + jitter;
        if until >= patience.deadline {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }

    /// Attempts until one succeeds, the store refuses for good, or the time is up. For requests that
    /// may be made any number of times.
    pub(super) async fn attempts<T, F>(
        &self,
        kind: RequestKind,
        mut request: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut patience = self.patience();
        loop {
            let last = match self.attempt(&mut patience, kind, request()).await {
                Ok(answer) => return Ok(answer),
                Err(Some(error)) if is_final(&error) => return Err(Failure::Store(error)),
                Err(last) => last,
            };
            if !self.pause(&mut patience).await {
                return Err(Failure::Late { attempts: patience.attempts, last });
            }
        }
    }

    /// The error of a request about an object.
    pub(super) fn explain(&self, name: &ObjectName, failure: Failure) -> ObjectError {
        match failure {
            Failure::Store(Error::NotFound { .. }) => ObjectError::NotFound(name.clone()),
            failure => self.explain_other(name.as_str(), failure),
        }
    }

    /// The error of a request whatever it was about; "not found" is about the bucket then.
    pub(super) fn explain_other(&self, name: &str, failure: Failure) -> ObjectError {
        let shown = &self.shown;
        let reason = match failure {
            Failure::Store(error) => format!("{shown}: {}", describe(&error)),
            Failure::Late { attempts, last } => {
                let seconds = self.limits.request.as_secs_f64();
                let last = last.as_ref().map_or_else(
                    || format!("no answer within {} s", self.limits.attempt.as_secs_f64()),
                    describe,
                );
                format!(
                    "{shown} did not answer in {attempts} attempts within {seconds} s: {last}; \
                     check the endpoint, the network and the store"
                )
            }
        };
        ObjectError::Io { name: name.to_owned(), reason }
    }

    pub(super) fn wrong(&self, name: &ObjectName, what: &str) -> ObjectError {
        ObjectError::Io { name: name.to_string(), reason: format!("{} {what}", self.shown) }
    }
}

/// How an attempt failed; `None`: it took too long.
fn failure_kind(error: Option<&Error>) -> FailureKind {
    match error {
        None => FailureKind::Timeout,
        Some(Error::NotFound { .. }) => FailureKind::NotFound,
        Some(Error::AlreadyExists { .. } | Error::Precondition { .. }) => FailureKind::Exists,
        Some(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => FailureKind::Denied,
        Some(_) => FailureKind::Other,
    }
}

/// Would another attempt meet the same?
pub(super) fn is_final(error: &Error) -> bool {
    match error {
        // The client library does not say which status it was but in words.
        Error::Generic { .. } => {
            let text = describe(error);
            let refused = text.contains("status code: 4") || text.contains("without LOCATION");
            refused && !text.contains("status code: 408") && !text.contains("status code: 429")
        }
        Error::JoinError { .. } => false,
        _ => true,
    }
}

/// The error with its innermost cause, and what to check.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    if !text.contains(&cause) {
        text = format!("{text}: {cause}");
    }
    let check = match error {
        Error::NotFound { .. } => "; check that the bucket exists",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "; check the access key, its secret, and what it may do in the bucket"
        }
        _ if text.contains("without LOCATION") => "; check the region",
        _ => "",
    };
    text + check
}
