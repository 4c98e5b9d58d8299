//! A segment that is written, and which keys its rows have.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use glaredb_txn::{
    commit::message::KeyGroup,
    ids::{JobId, SegmentId},
};
use tokio::sync::OnceCell;

use crate::storage::{
    StorageError,
    record::StagedRows,
    schema::TableSchema,
    segment::{KeyFilter, Resident, Segment, SegmentMeta, SegmentStore, key_hash},
};

/// Memory for what is decoded of one to look keys up that its filters do not rule out.
const RESIDENT_BYTES: usize = 4 << 20;

/// A segment that no list has yet.
pub struct Staged {
    job: JobId,
    meta: Arc<SegmentMeta>,
    schema: Arc<TableSchema>,
    /// Its rows bring their ids.
    kept: bool,
    /// Of each row group: the first key and a filter. Empty where the row id is the key.
    filters: Vec<(Bytes, KeyFilter)>,
    store: SegmentStore,
    opened: OnceCell<Segment>,
}

impl Staged {
    pub(super) fn new(
        store: &SegmentStore,
        job: JobId,
        meta: SegmentMeta,
        schema: &Arc<TableSchema>,
        kept: bool,
        filters: Vec<(Bytes, KeyFilter)>,
    ) -> Self {
        let (meta, schema) = (Arc::new(meta), Arc::clone(schema));
        let store = SegmentStore { resident: Resident::new(RESIDENT_BYTES), ..store.clone() };
        Self { job, meta, schema, kept, filters, store, opened: OnceCell::new() }
    }

    /// What a part says of it.
    #[must_use]
    pub fn rows(&self) -> StagedRows {
        StagedRows { job: self.job, meta: (*self.meta).clone() }
    }

    #[must_use]
    pub fn meta(&self) -> &Arc<SegmentMeta> {
        &self.meta
    }

    /// Of its rows.
    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    #[must_use]
    pub fn keeps_ids(&self) -> bool {
        self.kept
    }

    /// The keys of its row groups, in order; none where the row id is the key. Filters are shared.
    pub fn key_groups(&self) -> impl Iterator<Item = KeyGroup> + '_ {
        let ends = self.filters.iter().skip(1).map(|(first, _)| first).chain([&self.meta.keys.1]);
        let groups = self.filters.iter().zip(ends);
        groups.map(|((first, filter), last)| KeyGroup {
            first: first.clone(),
            last: last.clone(),
            filter: filter.clone(),
        })
    }

    /// May a row have this encoded key? `false` is certain. From memory.
    #[must_use]
    pub fn may_contain(&self, key: &[u8]) -> bool {
        if !self.meta.in_key_range(key) {
            return false;
        }
        let before = self.filters.partition_point(|(first, _)| first.as_ref() <= key);
        let group = before.checked_sub(1).map(|group| &self.filters[group].1);
        group.is_some_and(|filter| filter.may_contain(key_hash(key)))
    }

    /// Which of these keys a row has. Reads the object. Errors: as those of a segment.
    pub async fn contains(&self, keys: &[&[u8]]) -> Result<Vec<bool>, StorageError> {
        let open = || self.store.open(SegmentId::MAX, &self.meta, &self.schema);
        let opened = self.opened.get_or_try_init(open).await?;
        let found = opened.find(keys).await?;
        Ok(found.into_iter().map(|rows: Range<u32>| !rows.is_empty()).collect())
    }

    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let filters = self.filters.iter();
        let filters: usize = filters.map(|(key, filter)| key.len() + filter.memory_bytes()).sum();
        let columns: usize = self.meta.columns.len() * 2_048;
        size_of::<Self>() + filters + columns
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({}, {} rows)", self.meta.name, self.meta.rows)
    }
}
