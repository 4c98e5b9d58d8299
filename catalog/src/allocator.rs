//! Gives out OIDs and storage ids to sessions before their commit is ordered.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use glaredb_txn::ids::TableId;

use crate::{Catalog, descriptor::Oid};

/// Counters ahead of the catalog's: two sessions that create something at once never get the same
/// id, and need not conflict. What a transaction took and did not commit is lost until the next
/// start, as in PostgreSQL. The catalog's own counters follow with each commit
/// ([`CatalogChange::next_oid`](crate::CatalogChange::next_oid)), so that a restart goes on behind
/// every id that was ever committed.
#[derive(Debug)]
pub struct Allocator {
    next_oid: AtomicU32,
    next_table_id: AtomicU32,
}

impl Allocator {
    /// Continues where `catalog`, the newest there is, stands.
    #[must_use]
    pub fn after(catalog: &Catalog) -> Self {
        Self {
            next_oid: AtomicU32::new(catalog.next_oid()),
            next_table_id: AtomicU32::new(catalog.next_table_id().0),
        }
    }

    /// An OID that was not given out before.
    pub fn oid(&self) -> Oid {
        take(&self.next_oid)
    }

    /// An id for the rows of a new table or of a truncated one.
    pub fn table_id(&self) -> TableId {
        TableId(take(&self.next_table_id))
    }
}

/// Ids are never reused, so running out is a fault, not a wrap.
fn take(counter: &AtomicU32) -> u32 {
    counter
        .fetch_update(Relaxed, Relaxed, |n| n.checked_add(1))
        .expect("four thousand million ids are used up")
}
