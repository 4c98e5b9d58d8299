//! The metastore: a small, strongly consistent store of keys and values beside the log.
//!
//! It holds what must be known before a log can be read or when there is none: identity and format
//! of the database, the term, the timestamp window, the pointer to the newest checkpoint, and the
//! descriptors, trailing behind the log ([`keys`] says what stands where). Anything large is an
//! object elsewhere. One node keeps it in a redb file ([`EmbeddedMetastore`]); a cluster will keep
//! it in etcd, whose vocabulary this contract speaks.

use std::{fmt, time::Duration};

use bytes::Bytes;

mod checkpoint_pointer;
#[cfg(feature = "testing")]
pub mod conformance;
mod embedded;
mod event_log;
#[cfg(feature = "testing")]
pub mod faulty;
mod identity;
pub mod keys;
mod leadership;
mod leases;
mod redb_backend;
mod storage_location;
mod trailing;
mod window;

pub use checkpoint_pointer::{CheckpointPointer, read_checkpoint, write_checkpoint};
pub use embedded::EmbeddedMetastore;
pub use identity::{FORMAT_VERSION, Identity, IdentityError, open_identity};
pub use leadership::{FencedOutcome, Leadership, LeadershipError};
pub use storage_location::{remember_storage_location, storage_location};
pub use trailing::{Progress, TrailingError, TrailingWriter, read_catalog};
pub use window::MetastoreWindow;

/// Most conditions plus writes in one transaction (etcd's default is 128).
pub const TRANSACTION_OPERATIONS_MAX: usize = 128;

/// Most bytes of keys and values in one transaction (etcd's request limit is 1.5 MiB).
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// Number of a state of the store: each transaction that writes anything makes the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}", self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub u64);

/// What stands under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub value: Bytes,
    /// The transaction that made the key, since it was last absent.
    pub created: Revision,
    /// The transaction that wrote this value.
    pub modified: Revision,
    pub lease: Option<LeaseId>,
}

/// Keys under a prefix as of one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// By key.
    pub entries: Vec<(Bytes, Entry)>,
    /// What to watch from, to miss nothing.
    pub revision: Revision,
}

/// What must hold for a transaction to be applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub key: Bytes,
    pub state: KeyState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    Absent,
    /// There, and not written since.
    ModifiedAt(Revision),
    /// There, and not removed and made anew since: the same owner.
    CreatedAt(Revision),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    Put { key: Bytes, value: Bytes, lease: Option<LeaseId> },
    Delete { key: Bytes },
}

impl Write {
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// If all conditions hold, all writes happen; else none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    pub conditions: Vec<Condition>,
    /// No key twice.
    pub writes: Vec<Write>,
}

impl Transaction {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn when(mut self, key: impl Into<Bytes>, state: KeyState) -> Self {
        self.conditions.push(Condition { key: key.into(), state });
        self
    }

    /// The key must be as it was read: `None`, absent.
    #[must_use]
    pub fn when_unchanged(self, key: impl Into<Bytes>, read: Option<&Entry>) -> Self {
        self.when(key, read.map_or(KeyState::Absent, |e| KeyState::ModifiedAt(e.modified)))
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    /// A value that goes when the lease ends.
    #[must_use]
    pub fn put_leased(
        mut self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Self {
        let (key, value) = (key.into(), value.into());
        self.writes.push(Write::Put { key, value, lease: Some(lease) });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Is it within the bounds every implementation keeps, with no key written twice?
    pub fn check(&self) -> Result<(), MetastoreError> {
        let refuse = |reason: String| Err(MetastoreError::Invalid(reason));
        let operations = self.conditions.len() + self.writes.len();
        if operations > TRANSACTION_OPERATIONS_MAX {
            return refuse(format!(
                "{operations} operations in a transaction, {TRANSACTION_OPERATIONS_MAX} are allowed"
            ));
        }
        let mut bytes = 0;
        let keys = self.conditions.iter().map(|c| &c.key).chain(self.writes.iter().map(Write::key));
        for key in keys {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return refuse(format!("a key of {} bytes", key.len()));
            }
            bytes += key.len();
        }
        for (n, write) in self.writes.iter().enumerate() {
            if let Write::Put { value, .. } = write {
                bytes += value.len();
            }
            if self.writes[..n].iter().any(|earlier| earlier.key() == write.key()) {
                return refuse(format!("key {:?} written twice", write.key()));
            }
        }
        if bytes > TRANSACTION_BYTES_MAX {
            return refuse(format!(
                "a transaction of {bytes} bytes, {TRANSACTION_BYTES_MAX} are allowed"
            ));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it, durably; the store's revision is now this (unless there was nothing to write).
    Applied(Revision),
    /// Nothing of it: this condition, by its place, did not hold.
    Refused { condition: usize },
}

/// A key changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub revision: Revision,
    pub key: Bytes,
    /// `None`: removed, by a transaction or because its lease ended.
    pub value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetastoreError {
    /// The request breaks the contract: determinate, and a bug of the caller.
    #[error("{0}")]
    Invalid(String),
    /// The lease ended or never was; determinate.
    #[error("lease {} has ended", .0.0)]
    LeaseEnded(LeaseId),
    /// Events that far back are forgotten: list anew and watch from there.
    #[error("events after {asked} are forgotten up to {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    /// Nothing was changed, and trying again later may help.
    #[error("metastore unavailable: {0}")]
    Unavailable(String),
    /// Whether the transaction was applied nobody can say: read back before anything leans on it.
    #[error("metastore did not answer, outcome unknown: {0}")]
    Indeterminate(String),
    /// What is stored is not what was written, or this process can no longer tell (a sync failed).
    /// The node stops.
    #[error("metastore broken: {0}")]
    Broken(String),
}

/// The contract.
///
/// Obligations of an implementation, each checked by [`conformance`]:
/// 1. All operations are linearizable: `get` and `list` see every transaction answered before they
///    were asked, and `list` sees one revision.
/// 2. A transaction is atomic and, once answered `Applied`, durable. `Refused` leaves no trace and
///    no revision. One without writes only checks.
/// 3. Revisions grow with every transaction that writes, also over restarts. `created` changes when
///    a key was absent before, `modified` with every write.
/// 4. A transaction beyond [`Transaction::check`] is `Invalid` and leaves no trace.
/// 5. A watch gives every event under its prefix after its revision, once, in order of revision, or
///    `Compacted`; it never skips.
/// 6. A leased key is there at least until its lease's time has passed since the last `keep_alive`
///    that was answered with time left, unless deleted or revoked; then it goes for good, and a
///    write under the ended lease is refused with `LeaseEnded`. A lease means liveness, never
///    safety: who writes on the strength of it adds a condition on the key's `created`.
/// 7. After `Indeterminate` the transaction has happened as a whole or not at all, and later reads
///    agree on which.
pub trait Metastore: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, MetastoreError>;

    /// All keys that begin with `prefix`. Meant for bounded sets.
    fn list(&self, prefix: &[u8]) -> Result<Listing, MetastoreError>;

    fn commit(&self, transaction: &Transaction) -> Result<Outcome, MetastoreError>;

    /// Events under `prefix` of revisions above `after`.
    fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, MetastoreError>;

    /// A lease of at least `time_to_live` from now.
    fn grant_lease(&self, time_to_live: Duration) -> Result<Box<dyn Lease>, MetastoreError>;
}

/// A stream of events; dropping it ends the watch.
pub trait Watch: Send {
    /// The events since the last call, without waiting; none is normal.
    fn poll(&mut self) -> Result<Vec<Event>, MetastoreError>;
}

/// A lease that was granted. Dropping this does not end it: its time does.
pub trait Lease: Send + Sync {
    fn id(&self) -> LeaseId;

    /// Renew; returns how long the lease now lasts from the moment of asking.
    fn keep_alive(&self) -> Result<Duration, MetastoreError>;

    /// End it now: its keys go.
    fn revoke(&self) -> Result<(), MetastoreError>;
}
