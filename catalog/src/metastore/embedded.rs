//! The metastore of a single node: a redb file.
//!
//! Every transaction is one redb transaction with immediate durability. A full disk undoes it and
//! leaves the store usable: the file is opened anew, which also settles what became of it. After any
//! other failed write or sync this process does not know what is on the disk, so everything is
//! refused as broken until a restart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use glaredb_txn::env::{DiskError, Env};
use parking_lot::{Mutex, MutexGuard};
use redb::{Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{
    Entry, Event, KeyState, Lease, LeaseId, Listing, Metastore, MetastoreError, Outcome, Revision,
    Transaction, Watch, Write, event_log::EventLog, leases::Leases, redb_backend::DiskBackend,
};

/// Key → created, modified, lease (each a fixed little-endian u64; lease 0: none), value.
const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");
/// Name → number: `revision`.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";

/// Bytes before the value in an entry.
const ENTRY_HEADER_BYTES: usize = 24;

/// redb's page; its file is always a whole number of them.
const PAGE_BYTES: u64 = 4096;

/// The store is a few megabytes at most; redb's default would be a gigabyte.
const CACHE_BYTES: usize = 4 << 20;

/// One process opens a file once; the server's lock file sees to that.
pub struct EmbeddedMetastore {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    path: String,
    events: EventLog,
    state: Mutex<State>,
}

struct State {
    store: Store,
    leases: Leases,
    revision: Revision,
}

enum Store {
    Open(Database),
    /// The disk was full; to be opened again by the next operation.
    Closed,
    /// For good.
    Broken(String),
}

/// A failed redb operation, by what to do about it.
enum Failure {
    NoSpace(String),
    Other(String),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => {
                Self::NoSpace(e.to_string())
            }
            other => Self::Other(other.to_string()),
        }
    }
}

macro_rules! failure_from {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                match error {
                    redb::$error::Storage(storage) => storage.into(),
                    other => Self::Other(other.to_string()),
                }
            }
        }
    )*};
}
failure_from!(DatabaseError, TransactionError, CommitError, TableError);

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        if error.is_no_space() {
            Self::NoSpace(error.to_string())
        } else {
            Self::Other(error.to_string())
        }
    }
}

/// What a redb transaction ended with.
enum Applied {
    Done(Revision, Vec<Event>),
    Refused(usize),
}

impl EmbeddedMetastore {
    /// Open the store in the file `path` of the environment's disk; made when it does not exist.
    /// Keys under leases are gone: their holders are.
    pub fn open(env: Env, path: &str) -> Result<Self, MetastoreError> {
        let broken = |failure| match failure {
            Failure::NoSpace(e) => MetastoreError::Unavailable(e),
            Failure::Other(e) => MetastoreError::Broken(e),
        };
        let database = open_file(&env, path).map_err(broken)?;
        let revision = read_revision(&database).map_err(broken)?;
        let inner = Inner {
            env,
            path: path.to_owned(),
            events: EventLog::new(revision),
            state: Mutex::new(State {
                store: Store::Open(database),
                leases: Leases::default(),
                revision,
            }),
        };
        inner.delete_leased(&mut inner.state.lock(), |_| true)?;
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn open_file(env: &Env, path: &str) -> Result<Database, Failure> {
    let new = format!("{path}.new");
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    if env.disk.exists(path)? {
        let file = env.disk.open(path)?;
        // A power cut while the file grew can leave it ending within a page, which redb refuses.
        // What is committed lies in whole pages before that.
        let len = file.len()?;
        let whole = len.next_multiple_of(PAGE_BYTES);
        if whole > len {
            file.allocate_zeroed(len, whole - len)?;
        }
        return Ok(builder.create_with_backend(DiskBackend::new(file))?);
    }
    // A new store gets its name when it is whole.
    if env.disk.exists(&new)? {
        env.disk.remove(&new)?;
    }
    let file = env.disk.create(&new)?;
    let database = builder.create_with_backend(DiskBackend::new(file))?;
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(NUMBERS)?.insert(REVISION, 0)?;
    transaction.commit()?;
    env.disk.rename(&new, path)?;
    env.disk.sync_dir(path.rsplit_once('/').map_or("", |(directory, _)| directory))?;
    Ok(database)
}

fn read_revision(database: &Database) -> Result<Revision, Failure> {
    let transaction = database.begin_read()?;
    let numbers = transaction.open_table(NUMBERS)?;
    let revision = numbers.get(REVISION)?.map(|value| value.value());
    revision.map(Revision).ok_or_else(|| Failure::Other("the store has no revision".into()))
}

fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES + entry.value.len());
    bytes.extend_from_slice(&entry.created.0.to_le_bytes());
    bytes.extend_from_slice(&entry.modified.0.to_le_bytes());
    bytes.extend_from_slice(&entry.lease.map_or(0, |lease| lease.0).to_le_bytes());
    bytes.extend_from_slice(&entry.value);
    bytes
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, Failure> {
    let corrupt = || Failure::Other(format!("an entry of {} bytes", bytes.len()));
    let (header, value) = bytes.split_at_checked(ENTRY_HEADER_BYTES).ok_or_else(corrupt)?;
    let number = |n: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&header[n * 8..(n + 1) * 8]);
        u64::from_le_bytes(word)
    };
    Ok(Entry {
        created: Revision(number(0)),
        modified: Revision(number(1)),
        lease: Some(LeaseId(number(2))).filter(|lease| lease.0 != 0),
        value: Bytes::copy_from_slice(value),
    })
}

impl Inner {
    /// The state, with the store open and ended leases cleared away.
    fn ready(&self) -> Result<MutexGuard<'_, State>, MetastoreError> {
        let mut state = self.state.lock();
        match &state.store {
            Store::Open(_) => {}
            Store::Broken(reason) => return Err(MetastoreError::Broken(reason.clone())),
            Store::Closed => self.reopen(&mut state)?,
        }
        for lease in state.leases.ended(self.env.clock.monotonic()) {
            self.delete_leased(&mut state, |id| id == lease)?;
            state.leases.end(lease);
        }
        Ok(state)
    }

    fn reopen(&self, state: &mut State) -> Result<(), MetastoreError> {
        let opened = open_file(&self.env, &self.path)
            .and_then(|database| Ok((read_revision(&database)?, database)));
        match opened {
            Ok((revision, database)) => {
                state.store = Store::Open(database);
                if revision > state.revision {
                    // The transaction in doubt did happen; its events are unknown here.
                    state.revision = revision;
                    self.events.forget(revision);
                }
                Ok(())
            }
            Err(Failure::NoSpace(reason)) => Err(MetastoreError::Unavailable(reason)),
            Err(Failure::Other(reason)) => {
                state.store = Store::Broken(reason.clone());
                Err(MetastoreError::Broken(reason))
            }
        }
    }

    /// A failure of the open store: close it. `in_doubt`: a commit had begun.
    fn fail(state: &mut State, failure: Failure, in_doubt: bool) -> MetastoreError {
        match failure {
            Failure::NoSpace(reason) => {
                state.store = Store::Closed;
                if in_doubt {
                    MetastoreError::Indeterminate(reason)
                } else {
                    MetastoreError::Unavailable(reason)
                }
            }
            Failure::Other(reason) => {
                state.store = Store::Broken(reason.clone());
                if in_doubt {
                    MetastoreError::Indeterminate(reason)
                } else {
                    MetastoreError::Broken(reason)
                }
            }
        }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<(T, Revision), MetastoreError> {
        let mut state = self.ready()?;
        let Store::Open(database) = &state.store else { unreachable!("ready opens the store") };
        match read(database) {
            Ok(value) => Ok((value, state.revision)),
            Err(failure) => Err(Self::fail(&mut state, failure, false)),
        }
    }

    fn commit(&self, transaction: &Transaction) -> Result<Outcome, MetastoreError> {
        transaction.check()?;
        let mut state = self.ready()?;
        for write in &transaction.writes {
            if let Write::Put { lease: Some(lease), .. } = write {
                state.leases.check(*lease)?;
            }
        }
        self.apply(&mut state, transaction)
    }

    fn apply(
        &self,
        state: &mut State,
        transaction: &Transaction,
    ) -> Result<Outcome, MetastoreError> {
        let Store::Open(database) = &state.store else { unreachable!("ready opens the store") };
        let next = Revision(state.revision.0 + 1);
        let mut committing = false;
        match apply(database, transaction, next, &mut committing) {
            Ok(Applied::Refused(condition)) => Ok(Outcome::Refused { condition }),
            Ok(Applied::Done(revision, events)) => {
                if revision > state.revision {
                    state.revision = revision;
                    self.events.push(revision, events);
                }
                Ok(Outcome::Applied(state.revision))
            }
            Err(failure) => Err(Self::fail(state, failure, committing)),
        }
    }

    /// Deletes the keys under the leases that `which` picks, a bounded number at a time.
    fn delete_leased(
        &self,
        state: &mut State,
        which: impl Fn(LeaseId) -> bool,
    ) -> Result<(), MetastoreError> {
        let Store::Open(database) = &state.store else { unreachable!("ready opens the store") };
        let listed = list(database, &[]).map_err(|failure| Self::fail(state, failure, false))?;
        let keys: Vec<Bytes> = listed
            .into_iter()
            .filter(|(_, entry)| entry.lease.is_some_and(&which))
            .map(|(key, _)| key)
            .collect();
        for some in keys.chunks(super::TRANSACTION_OPERATIONS_MAX) {
            let delete = some.iter().fold(Transaction::new(), |t, key| t.delete(key.clone()));
            self.apply(state, &delete)?;
        }
        Ok(())
    }
}

fn list(database: &Database, prefix: &[u8]) -> Result<Vec<(Bytes, Entry)>, Failure> {
    let transaction = database.begin_read()?;
    let entries = transaction.open_table(ENTRIES)?;
    let mut found = Vec::new();
    for item in entries.range(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((Bytes::copy_from_slice(key.value()), decode_entry(value.value())?));
    }
    Ok(found)
}

/// The transaction under the next revision. Sets `committing` when the outcome becomes uncertain.
fn apply(
    database: &Database,
    transaction: &Transaction,
    next: Revision,
    committing: &mut bool,
) -> Result<Applied, Failure> {
    let storage = database.begin_write()?;
    let mut events = Vec::new();
    {
        let mut entries = storage.open_table(ENTRIES)?;
        for (n, condition) in transaction.conditions.iter().enumerate() {
            let found = entries.get(&*condition.key)?;
            let found = found.map(|bytes| decode_entry(bytes.value())).transpose()?;
            let holds = match (condition.state, found) {
                (KeyState::Absent, found) => found.is_none(),
                (KeyState::ModifiedAt(at), Some(entry)) => entry.modified == at,
                (KeyState::CreatedAt(at), Some(entry)) => entry.created == at,
                (_, None) => false,
            };
            if !holds {
                return Ok(Applied::Refused(n));
            }
        }
        for write in &transaction.writes {
            match write {
                Write::Put { key, value, lease } => {
                    let old = entries.get(&**key)?;
                    let old = old.map(|bytes| decode_entry(bytes.value())).transpose()?;
                    let entry = Entry {
                        value: value.clone(),
                        created: old.map_or(next, |old| old.created),
                        modified: next,
                        lease: *lease,
                    };
                    entries.insert(&**key, &*encode_entry(&entry))?;
                    let value = Some(value.clone());
                    events.push(Event { revision: next, key: key.clone(), value });
                }
                Write::Delete { key } => {
                    if entries.remove(&**key)?.is_some() {
                        events.push(Event { revision: next, key: key.clone(), value: None });
                    }
                }
            }
        }
        if events.is_empty() {
            // Nothing was written: dropping the storage transaction undoes it.
            return Ok(Applied::Done(Revision(next.0 - 1), events));
        }
        storage.open_table(NUMBERS)?.insert(REVISION, next.0)?;
    }
    *committing = true;
    storage.commit()?;
    Ok(Applied::Done(next, events))
}

impl Metastore for EmbeddedMetastore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, MetastoreError> {
        let read = |database: &Database| {
            let transaction = database.begin_read()?;
            let entries = transaction.open_table(ENTRIES)?;
            let found = entries.get(key)?;
            found.map(|bytes| decode_entry(bytes.value())).transpose()
        };
        Ok(self.inner.read(read)?.0)
    }

    fn list(&self, prefix: &[u8]) -> Result<Listing, MetastoreError> {
        let (entries, revision) = self.inner.read(|database| list(database, prefix))?;
        Ok(Listing { entries, revision })
    }

    fn commit(&self, transaction: &Transaction) -> Result<Outcome, MetastoreError> {
        self.inner.commit(transaction)
    }

    fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, MetastoreError> {
        let _cleared = self.inner.ready()?;
        let watch = self.inner.events.watch(Bytes::copy_from_slice(prefix), after)?;
        Ok(Box::new(EmbeddedWatch { inner: self.inner.clone(), watch }))
    }

    fn grant_lease(&self, time_to_live: Duration) -> Result<Box<dyn Lease>, MetastoreError> {
        let now = self.inner.env.clock.monotonic();
        let id = self.inner.ready()?.leases.grant(time_to_live, now);
        Ok(Box::new(EmbeddedLease { inner: self.inner.clone(), id }))
    }
}

struct EmbeddedWatch {
    inner: Arc<Inner>,
    watch: Box<dyn Watch>,
}

impl Watch for EmbeddedWatch {
    fn poll(&mut self) -> Result<Vec<Event>, MetastoreError> {
        // Clears ended leases away first: their keys' removal is an event.
        let _cleared = self.inner.ready()?;
        self.watch.poll()
    }
}

struct EmbeddedLease {
    inner: Arc<Inner>,
    id: LeaseId,
}

impl Lease for EmbeddedLease {
    fn id(&self) -> LeaseId {
        self.id
    }

    fn keep_alive(&self) -> Result<Duration, MetastoreError> {
        let now = self.inner.env.clock.monotonic();
        self.inner.ready()?.leases.keep_alive(self.id, now)
    }

    fn revoke(&self) -> Result<(), MetastoreError> {
        let mut state = self.inner.ready()?;
        state.leases.check(self.id)?;
        self.inner.delete_leased(&mut state, |id| id == self.id)?;
        state.leases.end(self.id);
        Ok(())
    }
}
