//! What a commit says of its keys, and the keys themselves where it sent sets of them.

use glaredb_txn::{
    commit::message::{BULK_KEYS, KeySet, KeyWriteRef, KeyWrites, Mark},
    ids::{IndexId, Position, RowId, TableId},
};

use super::{
    key_sets::{Written, key_sets},
    own_keys::OwnKeys,
};
use crate::storage::budget::Reservation;

/// The keys that a transaction wrote to one table.
#[derive(Debug)]
pub(super) struct TableKeys {
    pub(super) table: TableId,
    pub(super) keys: OwnKeys,
    /// Of rows that were updated or deleted where the row id is the key, ascending.
    pub(super) row_ids: Vec<([u8; 8], Mark, Position)>,
}

/// All keys of which a commit sends sets, by table: what meets a set is looked for among them. Their
/// memory counts until they are dropped.
#[derive(Debug, Default)]
pub struct SentKeys {
    tables: Vec<TableKeys>,
    _memory: Option<Reservation>,
}

impl TableKeys {
    /// `row_ids`: updated or deleted, with the bases of their statements; `kept`: those that own rows
    /// keep.
    pub(super) fn new(
        table: TableId,
        keys: OwnKeys,
        row_ids: Vec<(RowId, Position)>,
        kept: Vec<RowId>,
    ) -> Self {
        let kept: hashbrown::HashSet<RowId, foldhash::fast::FixedState> =
            kept.into_iter().collect();
        let row_ids = row_ids.into_iter().map(|(row_id, base)| {
            let mark = if kept.contains(&row_id) { Mark::Changed } else { Mark::Removed };
            (row_id.0.to_be_bytes(), mark, base)
        });
        let mut row_ids: Vec<_> = row_ids.collect();
        row_ids.sort_unstable_by_key(|(row_id, ..)| *row_id);
        Self { table, keys, row_ids }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.row_ids.len()
    }

    fn memory_bytes(&self) -> u64 {
        self.keys.memory_bytes()
            + (self.row_ids.len() * size_of::<([u8; 8], Mark, Position)>()) as u64
    }

    pub(super) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let row_ids = self.row_ids.iter().map(|(row_id, mark, base)| (&row_id[..], *mark, *base));
        self.keys.written().chain(row_ids)
    }

    fn name(&self, out: &mut KeyWrites) {
        let (table, index) = (self.table, IndexId::KEY);
        for (key, mark, base) in self.written() {
            out.push(KeyWriteRef { table, index, key, mark, base });
        }
    }

    /// The base of the statement that first touched the key; `None`: none did.
    fn base(&self, key: &[u8]) -> Option<Position> {
        let of_row = || {
            let found = self.row_ids.binary_search_by(|(row_id, ..)| row_id[..].cmp(key));
            found.ok().map(|at| self.row_ids[at].2)
        };
        self.keys.base(key).or_else(of_row)
    }
}

impl SentKeys {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The tables whose keys went as sets.
    pub fn tables(&self) -> impl Iterator<Item = TableId> + '_ {
        self.tables.iter().map(|keys| keys.table)
    }

    /// The base of the statement that first touched a key; `None`: it is not among them.
    #[must_use]
    pub fn base(&self, table: TableId, key: &[u8]) -> Option<Position> {
        self.tables.iter().find(|keys| keys.table == table)?.base(key)
    }
}

/// How the keys of a commit are said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) named: KeyWrites,
    pub(super) sets: Vec<KeySet>,
    pub(super) sent: SentKeys,
}

/// Names them one by one, or, where they are more than [`BULK_KEYS`], brings sets of those of the tables
/// with the most, until few are left.
pub(super) fn say(mut tables: Vec<TableKeys>, mut memory: Reservation) -> Said {
    let mut said = Said::default();
    let mut left: usize = tables.iter().map(TableKeys::len).sum();
    while left > BULK_KEYS
        && let Some(most) = (0..tables.len()).max_by_key(|n| tables[*n].len())
    {
        let keys = tables.remove(most);
        left -= keys.len();
        said.sets.extend(key_sets(keys.table, || keys.written()));
        said.sent.tables.push(keys);
    }
    tables.iter().for_each(|keys| keys.name(&mut said.named));
    if !said.sent.is_empty() {
        let bytes: u64 = said.sent.tables.iter().map(TableKeys::memory_bytes).sum();
        memory.shrink(memory.bytes().saturating_sub(bytes));
        said.sent._memory = Some(memory);
    }
    said
}
