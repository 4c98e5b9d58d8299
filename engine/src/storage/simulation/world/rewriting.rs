//! Jobs and sweeps as steps of a life, and what has to hold after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use glaredb_catalog::descriptor;
use glaredb_txn::{
    codec::Reader,
    commit::snapshots::{SnapshotGuard, Stopped},
    env::Clock,
    ids::{JobId, RowId, TableId, Timestamp},
};

use super::{Lists, World};
use crate::storage::{
    objects::ObjectName,
    rewrite::{self, RewriteRequest},
    segment::SegmentMeta,
    simulation::{
        node::{Node, ORPHAN_AGE, RewriteWork},
        tables,
    },
    table::{Interval, Table},
};

impl World {
    /// Several steps of a job.
    pub(super) fn rewrite(&mut self) -> Result<(), Stopped> {
        let steps = 1 + self.rng.below(12);
        for _ in 0..steps {
            let draw = (self.rng.below(4), self.rng.next_u64());
            let before = self.node.rewriter.figures.reports().len();
            let done = self.node.rewrite_step(|node| work(node, draw));
            let reports = self.node.rewriter.figures.reports();
            for report in &reports[before.min(reports.len())..] {
                match &report.error {
                    None => self.tally.jobs += 1,
                    Some(_) => self.tally.jobs_given_up += 1,
                }
            }
            if done.is_some() {
                break;
            }
            // It waits for the log more than for anything else.
            if self.rng.chance(1, 2) {
                self.node.append()?;
                self.node.sync()?;
                self.node.apply(usize::MAX)?;
            }
        }
        Ok(())
    }

    pub(super) fn sweep(&mut self) {
        if !self.node.is_sweeping() {
            self.orphans = self.unneeded();
        }
        for _ in 0..=self.rng.below(3) {
            let Some(done) = self.node.sweep_step() else { continue };
            let Ok(swept) = done else { return };
            self.tally.jobs_swept += swept.jobs_ended;
            self.tally.objects_swept += swept.objects_deleted;
            if self.sim.disk.is_without_power() {
                return;
            }
            // An edit may have come before its job was ended.
            let left: Vec<_> = self.unneeded().intersection(&self.orphans).cloned().collect();
            assert!(left.is_empty(), "seed {}: a sweep left {left:?}", self.seed);
            return;
        }
    }

    fn listed(&self) -> BTreeSet<ObjectName> {
        let listed = self.node.objects.list(rewrite::PREFIX).expect("list");
        listed.into_iter().map(|entry| entry.name).collect()
    }

    /// Objects that a list or the checkpoint names.
    fn named(&self) -> BTreeSet<ObjectName> {
        let tables = self.node.state.tables();
        let lists = tables.iter().flat_map(|table| table.segments().to_vec());
        let lists = lists.map(|segment| segment.description().expect("it decodes").name.clone());
        let current = self.node.store.current();
        let images = current.iter().flat_map(|c| &c.manifest.tables).flat_map(|t| &t.segments);
        let images = images.map(|image| {
            let meta = SegmentMeta::decode(&mut Reader::of(&image.meta)).expect("it decodes");
            meta.name
        });
        lists.chain(images).collect()
    }

    /// Objects that no list, checkpoint, reader or young job needs.
    fn unneeded(&self) -> BTreeSet<ObjectName> {
        let removed = self.node.state.removed();
        let removed: BTreeSet<ObjectName> = removed
            .iter()
            .map(|segment| segment.description().expect("it decodes").name.clone())
            .collect();
        let now = self.sim.clock.now_ms();
        let age = |job: &JobId| now.saturating_sub(Timestamp(job.0).millis());
        let young: Vec<String> = self
            .node
            .state
            .jobs()
            .into_keys()
            .filter(|job| age(job) < ORPHAN_AGE.as_millis() as u64)
            .map(|job| format!("/{:016x}-", job.0))
            .collect();
        let named = self.named();
        let mut listed = self.listed();
        listed.retain(|name| {
            let of_young = young.iter().any(|job| name.as_str().contains(job));
            !named.contains(name) && !removed.contains(name) && !of_young
        });
        listed
    }

    /// After an edit everybody sees what they saw before; and no object is gone that is needed.
    pub(super) fn look_at_lists(&mut self) {
        let tables = self.node.state.tables();
        let segments = |table: &Arc<Table>| table.segments().iter().map(|s| s.segment()).collect();
        let lists: Lists = tables.iter().map(|table| (table.id(), segments(table))).collect();
        let listed = self.listed();
        let missing: Vec<_> = self.named().difference(&listed).cloned().collect();
        assert!(missing.is_empty(), "seed {}: deleted {missing:?}", self.seed);
        for job in self.node.state.jobs().into_keys() {
            let own = format!("/{:016x}-", job.0);
            let gone = self.objects.difference(&listed).find(|n| n.as_str().contains(&own));
            assert_eq!(gone, None, "seed {}: {job} is open", self.seed);
        }
        self.objects = listed;
        if lists == self.lists {
            return;
        }
        self.lists = lists;
        self.check("after an edit");
        for reader in &self.readers {
            self.compare(&reader.guard, &reader.content, "a reader after an edit");
            assert_eq!(self.ids(&reader.guard), reader.ids, "seed {}: row ids", self.seed);
        }
    }

    /// What large commits rely on: whoever looks for the keys that changed since a snapshot, which is
    /// registered, finds them all, wherever their rows went. `ids`: as of that snapshot.
    pub(super) fn check_changes(
        &mut self,
        guard: &SnapshotGuard,
        ids: &BTreeMap<TableId, BTreeMap<i64, RowId>>,
    ) {
        let newest = self.node.pipeline.snapshots().register();
        let interval = Interval { since: guard.timestamp(), until: newest.timestamp() };
        for (table, before) in ids {
            let Some(storage) = self.node.state.table(*table) else { continue };
            let changed = tables::changed_keys(&storage, &self.node.reader, interval);
            let then = tables::content(&storage, &self.node.reader, interval.since);
            let now = tables::rows(&storage, &self.node.reader, interval.until);
            let keys: BTreeSet<i64> = before.keys().chain(now.keys()).copied().collect();
            for key in keys {
                let same_id = before.get(&key) == now.get(&key).map(|found| &found.row_id);
                let same_value =
                    then.get(&key).map(String::as_str) == now.get(&key).map(|found| &*found.value);
                let is_changed = changed.contains(&key);
                assert!(
                    is_changed || (same_id && same_value),
                    "seed {}: {table}, key {key} changed in {interval:?}, unnoticed",
                    self.seed
                );
            }
            self.tally.changes_noticed += changed.len() as u64;
            let nothing = Interval { since: interval.until, ..interval };
            let changed = tables::changed_keys(&storage, &self.node.reader, nothing);
            assert!(changed.is_empty(), "seed {}: {changed:?} in {nothing:?}", self.seed);
        }
    }

    pub(super) fn ids(&self, guard: &SnapshotGuard) -> BTreeMap<TableId, BTreeMap<i64, RowId>> {
        let catalog = self.node.state.catalog_at(guard.timestamp());
        let ids = |table: &Arc<descriptor::Table>| {
            let storage = self.node.state.table(table.storage).expect("named by the catalog");
            let rows = tables::rows(&storage, &self.node.reader, guard.timestamp());
            (table.storage, rows.into_iter().map(|(key, found)| (key, found.row_id)).collect())
        };
        catalog.tables().map(ids).collect()
    }
}

/// What the thread that rewrites does next.
fn work(node: &Node, (kind, draw): (u64, u64)) -> RewriteWork {
    let tables = node.state.tables();
    if tables.is_empty() {
        return RewriteWork::Picked;
    }
    let table = tables[draw as usize % tables.len()].id();
    match kind {
        0 => RewriteWork::Picked,
        1 | 2 => RewriteWork::Asked(RewriteRequest::Flush(table)),
        _ => RewriteWork::Asked(RewriteRequest::Compact(table)),
    }
}
