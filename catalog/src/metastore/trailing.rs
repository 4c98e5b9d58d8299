//! Brings descriptors to the metastore after the log has them.
//!
//! ```text
//!  log        …  17: create a   18: create b   19: drop a      acknowledged without waiting
//!  queue                        18: put b      19: delete a
//!  metastore  catalog/table/a@17                               catalog_position = 17
//! ```
//!
//! The log must not be cut past [`TrailingWriter::cut_limit`]: what the metastore misses after a
//! crash is in the log behind it, or in a checkpoint, whose catalog [`TrailingWriter::reconcile`]
//! brings over at the next start.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use glaredb_txn::ids::{Position, TableId};

use super::{
    Metastore, MetastoreError, TRANSACTION_BYTES_MAX, Transaction,
    keys::{self, DescriptorKind, ValueError},
    leadership::{FencedOutcome, Leadership, LeadershipError},
};
use crate::{
    Catalog, CatalogChange,
    descriptor::{Database, DecodeError, Oid, Role, Schema, Table},
};

/// Most keys in one transaction: each costs a condition and a write, beside fence and position.
const KEYS_MAX: usize = 60;

/// Fills no transaction beyond this, so that one more descriptor always fits.
const BYTES_TARGET: usize = TRANSACTION_BYTES_MAX / 4;

/// The trailing writer: a step function that some background thread drives.
pub struct TrailingWriter {
    leadership: Leadership,
    queue: VecDeque<Work>,
    /// Everything up to here is in the metastore.
    reached: Position,
}

/// What one DDL commit changes in the metastore.
struct Work {
    position: Position,
    /// `None`: delete.
    changes: VecDeque<(Bytes, Option<Bytes>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Everything queued is in the metastore.
    Idle,
    /// A transaction was applied and there is more.
    More,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrailingError {
    /// Fenced, unavailable or indeterminate: but for fencing, calling `step` again is right.
    #[error(transparent)]
    Leadership(#[from] LeadershipError),
    #[error("{key}: {source}")]
    Descriptor { key: String, source: DecodeError },
    #[error("descriptors in the metastore contradict each other: {0}")]
    Contradiction(String),
}

impl From<MetastoreError> for TrailingError {
    fn from(error: MetastoreError) -> Self {
        Self::Leadership(error.into())
    }
}

impl From<ValueError> for TrailingError {
    fn from(error: ValueError) -> Self {
        Self::Leadership(error.into())
    }
}

impl TrailingWriter {
    /// A writer that goes on where the metastore stands.
    pub fn open(leadership: Leadership) -> Result<Self, TrailingError> {
        let reached = read_position(leadership.metastore())?;
        Ok(Self { leadership, queue: VecDeque::new(), reached })
    }

    /// The position up to which everything is in the metastore.
    #[must_use]
    pub fn reached(&self) -> Position {
        self.reached
    }

    /// The first position the metastore still needs from the log; `None` when it needs nothing.
    #[must_use]
    pub fn cut_limit(&self) -> Option<Position> {
        self.queue.front().map(|work| work.position)
    }

    /// A change applied at `position`, which made `catalog`. Positions grow; those the metastore has
    /// already are passed over (replay after a restart).
    pub fn enqueue(&mut self, position: Position, change: &CatalogChange, catalog: &Catalog) {
        let newest = self.queue.back().map_or(self.reached, |work| work.position);
        if position <= newest {
            return;
        }
        let mut changes = VecDeque::new();
        let mut delete = |kind, oids: &[Oid]| {
            changes.extend(oids.iter().map(|oid| (keys::descriptor(kind, *oid), None)));
        };
        delete(DescriptorKind::Table, &change.drop_tables);
        delete(DescriptorKind::Schema, &change.drop_schemas);
        delete(DescriptorKind::Role, &change.drop_roles);
        delete(DescriptorKind::Database, &change.drop_databases);
        let put = |(key, descriptor): (Bytes, Bytes)| {
            let value = keys::encode_descriptor(position, &descriptor);
            (key, Some(value))
        };
        changes.extend(descriptors_of_change(change).map(put));
        changes.push_back(counters(position, catalog.next_oid(), catalog.next_table_id()));
        self.queue.push_back(Work { position, changes });
    }

    /// Make the metastore equal to `catalog`, the catalog at `position`: at a start, before anything
    /// is enqueued. Does nothing when the metastore is at or past that position.
    pub fn reconcile(
        &mut self,
        position: Position,
        catalog: &Catalog,
    ) -> Result<(), TrailingError> {
        if position <= self.reached {
            return Ok(());
        }
        let mut stale: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (key, entry) in self.leadership.metastore().list(&keys::CATALOG)?.entries {
            if keys::parse_descriptor(&key).is_some() {
                stale.insert(key, entry.value);
            }
        }
        let mut changes = VecDeque::new();
        for (key, descriptor) in descriptors_of_catalog(catalog) {
            if let Some(stored) = stale.remove(&key)
                && keys::decode_descriptor(&key, &stored)?.1 == descriptor
            {
                continue;
            }
            let value = keys::encode_descriptor(position, &descriptor);
            changes.push_back((key, Some(value)));
        }
        changes.extend(stale.into_keys().map(|key| (key, None)));
        changes.push_back(counters(position, catalog.next_oid(), catalog.next_table_id()));
        self.queue.push_front(Work { position, changes });
        Ok(())
    }

    /// One transaction's worth. After an error nothing of the queue is lost.
    pub fn step(&mut self) -> Result<Progress, TrailingError> {
        let Some(work) = self.queue.front() else { return Ok(Progress::Idle) };
        let mut transaction = Transaction::new();
        let (mut taken, mut bytes) = (0, 0);
        for (key, value) in &work.changes {
            if taken == KEYS_MAX || bytes > BYTES_TARGET {
                break;
            }
            taken += 1;
            let stored = self.leadership.metastore().get(key)?;
            if let Some(stored) = &stored
                && stored_position(key, &stored.value)? > work.position
            {
                // Older never overwrites newer.
                continue;
            }
            transaction = transaction.when_unchanged(key.clone(), stored.as_ref());
            transaction = match value {
                Some(value) => transaction.put(key.clone(), value.clone()),
                None => transaction.delete(key.clone()),
            };
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        }
        let complete = taken == work.changes.len();
        if complete {
            let value = keys::encode_position(work.position);
            transaction = transaction.put(keys::CATALOG_POSITION, value);
        }
        match self.leadership.commit(transaction)? {
            FencedOutcome::Applied(_) => {}
            // Nobody else writes under this term, so an attempt of our own whose answer got lost
            // came in between: look again.
            FencedOutcome::Refused { .. } => return Ok(Progress::More),
        }
        let work = self.queue.front_mut().expect("looked at above");
        work.changes.drain(..taken);
        if complete {
            self.reached = work.position;
            self.queue.pop_front();
        }
        Ok(if self.queue.is_empty() { Progress::Idle } else { Progress::More })
    }
}

fn counters(position: Position, next_oid: Oid, next_table: TableId) -> (Bytes, Option<Bytes>) {
    (keys::CATALOG_COUNTERS, Some(keys::encode_counters(position, next_oid, next_table)))
}

fn stored_position(key: &[u8], value: &[u8]) -> Result<Position, ValueError> {
    if key == &*keys::CATALOG_COUNTERS {
        return Ok(keys::decode_counters(value)?.0);
    }
    Ok(keys::decode_descriptor(key, value)?.0)
}

fn descriptors_of_change(change: &CatalogChange) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
    let key = keys::descriptor;
    let roles = change.upsert_roles.iter();
    let databases = change.upsert_databases.iter();
    let schemas = change.upsert_schemas.iter();
    let tables = change.upsert_tables.iter();
    roles
        .map(move |role| (key(DescriptorKind::Role, role.oid), role.encode()))
        .chain(databases.map(move |d| (key(DescriptorKind::Database, d.oid), d.encode())))
        .chain(schemas.map(move |s| (key(DescriptorKind::Schema, s.oid), s.encode())))
        .chain(tables.map(move |t| (key(DescriptorKind::Table, t.oid), t.encode())))
}

fn descriptors_of_catalog(catalog: &Catalog) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
    let key = keys::descriptor;
    let roles = catalog.roles().map(move |r| (key(DescriptorKind::Role, r.oid), r.encode()));
    roles
        .chain(catalog.databases().map(move |d| (key(DescriptorKind::Database, d.oid), d.encode())))
        .chain(catalog.schemas().map(move |s| (key(DescriptorKind::Schema, s.oid), s.encode())))
        .chain(catalog.tables().map(move |t| (key(DescriptorKind::Table, t.oid), t.encode())))
}

fn read_position(metastore: &dyn Metastore) -> Result<Position, TrailingError> {
    match metastore.get(&keys::CATALOG_POSITION)? {
        Some(entry) => Ok(keys::decode_position(&keys::CATALOG_POSITION, &entry.value)?),
        None => Ok(Position::ZERO),
    }
}

/// The catalog as the metastore has it, and its position. Consistent while no writer is at work.
pub fn read_catalog(metastore: &dyn Metastore) -> Result<(Position, Catalog), TrailingError> {
    let position = read_position(metastore)?;
    let mut change = CatalogChange::default();
    for (key, entry) in metastore.list(&keys::CATALOG)?.entries {
        if key == keys::CATALOG_COUNTERS {
            (_, change.next_oid, change.next_table_id) = keys::decode_counters(&entry.value)?;
            continue;
        }
        let Some((kind, oid)) = keys::parse_descriptor(&key) else { continue };
        let (_, bytes) = keys::decode_descriptor(&key, &entry.value)?;
        let name = || String::from_utf8_lossy(&key).into_owned();
        let malformed = |source| TrailingError::Descriptor { key: name(), source };
        change.created.push(oid);
        match kind {
            DescriptorKind::Database => {
                change.upsert_databases.push(Database::decode(bytes).map_err(malformed)?);
            }
            DescriptorKind::Role => {
                change.upsert_roles.push(Role::decode(bytes).map_err(malformed)?);
            }
            DescriptorKind::Schema => {
                change.upsert_schemas.push(Schema::decode(bytes).map_err(malformed)?);
            }
            DescriptorKind::Table => {
                change.upsert_tables.push(Table::decode(bytes).map_err(malformed)?.into());
            }
        }
    }
    let catalog =
        Catalog::empty().apply(&change).map_err(|e| TrailingError::Contradiction(e.to_string()))?;
    Ok((position, catalog))
}
