//! Rows of a large write that the write set has given to a [`StageWriter`](crate::storage::staging): only
//! which keys they have is left of them.
//!
//! # Invariant
//! A key that a row of the transaction has is known by one of: the keys of the rows gathered now; those
//! of the run that is being written; the range of the segment that goes on, which is closed before anyone
//! needs to know more; the filters of the segments that are done, each of which can be asked; the keys
//! of what went into the log in parts before the first run.

use std::sync::Arc;

use bytes::Bytes;
use glaredb_txn::{
    commit::message::{KeyGroup, KeySet, Mark},
    ids::{IndexId, Position, TableId},
};

use super::{
    EncodedPart, OwnKey, TableWrites, WriteSet, encoding, key_sets::key_sets, own_keys::OwnKeys,
};
use crate::storage::{
    StorageError,
    schema::TableSchema,
    staging::{Run, RunRows, Staged, Written},
};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Of the rows that went into the log in parts before.
    pub(super) streamed: OwnKeys,
    /// Of the run that is being written.
    pub(super) in_flight: OwnKeys,
    /// The first and the last key of the segment that goes on.
    open: Option<(Bytes, Bytes)>,
    segments: Vec<Arc<Staged>>,
}

/// What is known of keys that are about to be inserted, as far as rows set aside go.
#[derive(Debug)]
pub enum KeysAside {
    /// The segment that goes on may have one: it is to be closed, and then asked again.
    Close,
    /// Segments to be asked for keys, by their numbers, which each may have.
    Ask(Vec<(Arc<Staged>, Vec<usize>)>),
}

impl WriteSet {
    /// Memory of the rows that are gathered, without their keys.
    #[must_use]
    pub fn gathered_bytes(&self) -> u64 {
        self.tables.values().map(TableWrites::gathered_bytes).sum()
    }

    /// Takes the rows gathered for a table, to be written into a segment; `None`: there are none. Only for
    /// transactions that will not read their own rows again.
    pub fn take_run(
        &mut self,
        table: TableId,
    ) -> Result<Option<(Arc<TableSchema>, Run)>, StorageError> {
        let Some(writes) = self.tables.get_mut(&table) else { return Ok(None) };
        let Some(schema) = writes.schema.clone() else { return Ok(None) };
        let gathered = writes.gathered_bytes();
        let rows = writes.take_rows()?;
        if rows.is_empty() {
            return Ok(None);
        }
        writes.set_keys_aside();
        self.drained = true;
        let mut reservation = self.reservation.budget().reserve(0)?;
        reservation.resize_from_reserve(gathered);
        self.settle_memory();
        let rows = rows.into_iter().map(|own| RunRows { batch: own.batch, kept: own.kept });
        Ok(Some((schema, Run { rows: rows.collect(), reservation })))
    }

    /// A run of a table is written; the part for each segment that is done.
    pub fn run_written(
        &mut self,
        table: TableId,
        written: Written,
    ) -> Result<Vec<EncodedPart>, StorageError> {
        let created = self.created.contains_key(&table);
        let Some(writes) = self.tables.get_mut(&table) else { return Ok(Vec::new()) };
        let parts = written.done.iter().map(|staged| encoding::staged_part(staged, created));
        let parts = parts.collect::<Result<_, _>>()?;
        writes.run_written(written);
        self.settle_memory();
        Ok(parts)
    }

    /// The budget knows what is held: no rows came, so it is not asked. A bitmap may take a little more
    /// than the few places that were folded into it.
    pub(super) fn settle_memory(&mut self) {
        let bytes = self.tables.values().map(TableWrites::memory_bytes).sum();
        self.reservation.shrink(bytes);
        self.reservation.resize_from_reserve(bytes);
    }
}

impl TableWrites {
    /// Keys of rows that are taken are those of the run in flight, of which there is one at a time.
    fn set_keys_aside(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let is_first = self.aside.is_none();
        let aside = self.aside.get_or_insert_default();
        // The first ones are also those of what was streamed before.
        let place = if is_first { &mut aside.streamed } else { &mut aside.in_flight };
        *place = keys;
    }

    fn run_written(&mut self, written: Written) {
        let Some(aside) = &mut self.aside else { return };
        let keys = std::mem::take(&mut aside.in_flight).memory_bytes();
        self.memory = self.memory.saturating_sub(keys);
        aside.open = written.open;
        for staged in written.done {
            self.memory += staged.memory_bytes() as u64;
            aside.segments.push(staged);
        }
    }

    /// What rows set aside say of these keys, those among `asked`; `None`: there are no such rows.
    pub fn keys_aside(&self, keys: &[&[u8]]) -> Option<KeysAside> {
        let aside = self.aside.as_ref()?;
        // A committed row that had the key was deleted: it is free, as no row with it is set aside before
        // that.
        let is_asked = |n: &usize| self.keys.get(keys[*n]) != OwnKey::Removed;
        let asked: Vec<usize> = (0..keys.len()).filter(is_asked).collect();
        let of_asked = || asked.iter().map(|n| &keys[*n]);
        let (least, greatest) = (of_asked().min()?, of_asked().max()?);
        // Keys in ascending order lie behind all of them.
        let overlaps = |(first, last): (&[u8], &[u8])| first <= *greatest && *least <= last;
        if let Some((first, last)) = &aside.open
            && overlaps((first, last))
            && of_asked().any(|key| first <= *key && *key <= last)
        {
            return Some(KeysAside::Close);
        }
        let of = |staged: &Arc<Staged>| {
            let maybe = asked.iter().copied().filter(|n| staged.may_contain(keys[*n]));
            (Arc::clone(staged), maybe.collect::<Vec<_>>())
        };
        let segments = aside.segments.iter().filter(|staged| {
            let (first, last) = &staged.meta().keys;
            overlaps((first, last))
        });
        Some(KeysAside::Ask(segments.map(of).filter(|(_, maybe)| !maybe.is_empty()).collect()))
    }

    /// The keys that it wrote, where they are not all at hand any more; `None`: they are.
    pub(super) fn take_unnamed(&mut self, table: TableId) -> Option<Vec<KeySet>> {
        if self.aside.is_none() && self.folded.is_none() {
            return None;
        }
        self.say_keys(table);
        let mut sets = std::mem::take(&mut self.unnamed);
        if let (Some(aside), Some(base)) = (self.aside.take(), self.first_base) {
            sets.extend(key_sets(table, || aside.streamed.written()));
            sets.extend(staged_sets(table, base, &aside.segments));
        }
        Some(sets)
    }

    /// The keys that are at hand become sets.
    pub(super) fn say_keys(&mut self, table: TableId) {
        let bytes = self.keys.memory_bytes();
        if let Some(keys) = self.take_keys(table) {
            self.unnamed.extend(key_sets(table, || keys.written()));
        }
        self.memory = self.memory.saturating_sub(bytes);
    }
}

/// Sets of the keys of segments. In one the groups ascend, so those of segments that overlap go to several.
fn staged_sets(table: TableId, base: Position, segments: &[Arc<Staged>]) -> Vec<KeySet> {
    let mut sets: Vec<KeySet> = Vec::new();
    for (kept, mark) in [(false, Mark::Added), (true, Mark::Changed)] {
        let segments = segments.iter().filter(|staged| staged.keeps_ids() == kept);
        let groups = segments.flat_map(|staged| staged.key_groups());
        let mut groups: Vec<KeyGroup> = groups.collect();
        groups.sort_by(|a, b| a.first.cmp(&b.first));
        let begun = sets.len();
        for group in groups {
            let follows = |set: &&mut KeySet| {
                set.groups.last().is_some_and(|before| before.last <= group.first)
            };
            match sets[begun..].iter_mut().find(follows) {
                Some(set) => set.groups.push(group),
                None => {
                    let (index, groups) = (IndexId::KEY, vec![group]);
                    sets.push(KeySet { table, index, mark, base, groups });
                }
            }
        }
    }
    sets
}
