//! A metastore that fails on demand, for tests of those who use one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    Entry, Lease, Listing, Metastore, MetastoreError, Outcome, Revision, Transaction, Watch,
};

/// Passes everything on, except where told to fail.
pub struct FaultyMetastore {
    inner: Arc<dyn Metastore>,
    /// Operations still to be refused as unavailable.
    unavailable: AtomicU32,
    /// Transactions still to be answered as indeterminate though they were applied.
    lose_answers: AtomicU32,
    /// Transactions still to be answered as indeterminate and not applied.
    lose_requests: AtomicU32,
}

impl FaultyMetastore {
    #[must_use]
    pub fn new(inner: Arc<dyn Metastore>) -> Self {
        let none = || AtomicU32::new(0);
        Self { inner, unavailable: none(), lose_answers: none(), lose_requests: none() }
    }

    /// The next `count` operations are refused.
    pub fn be_unavailable(&self, count: u32) {
        self.unavailable.store(count, Ordering::SeqCst);
    }

    /// The next `count` transactions happen, but nobody is told.
    pub fn lose_answers(&self, count: u32) {
        self.lose_answers.store(count, Ordering::SeqCst);
    }

    /// The next `count` transactions do not happen, but nobody is told.
    pub fn lose_requests(&self, count: u32) {
        self.lose_requests.store(count, Ordering::SeqCst);
    }

    fn up(&self) -> Result<(), MetastoreError> {
        if take(&self.unavailable) {
            return Err(MetastoreError::Unavailable("as told".into()));
        }
        Ok(())
    }
}

fn take(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Metastore for FaultyMetastore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, MetastoreError> {
        self.up()?;
        self.inner.get(key)
    }

    fn list(&self, prefix: &[u8]) -> Result<Listing, MetastoreError> {
        self.up()?;
        self.inner.list(prefix)
    }

    fn commit(&self, transaction: &Transaction) -> Result<Outcome, MetastoreError> {
        self.up()?;
        if take(&self.lose_requests) {
            return Err(MetastoreError::Indeterminate("as told".into()));
        }
        let outcome = self.inner.commit(transaction)?;
        if take(&self.lose_answers) {
            return Err(MetastoreError::Indeterminate("as told".into()));
        }
        Ok(outcome)
    }

    fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, MetastoreError> {
        self.up()?;
        self.inner.watch(prefix, after)
    }

    fn grant_lease(&self, time_to_live: Duration) -> Result<Box<dyn Lease>, MetastoreError> {
        self.up()?;
        self.inner.grant_lease(time_to_live)
    }
}
