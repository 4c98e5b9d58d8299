//! Deletes objects that nobody needs any more: of removed segments when the current checkpoint names
//! them no more, and orphans, which jobs left that are over.

use std::{collections::HashSet, sync::Arc, time::Duration};

use glaredb_txn::ids::{JobId, Timestamp};

use super::{PREFIX, RewriteError, Site, fault::fault};
use crate::storage::{
    StorageError, checkpoint::Current, objects::ObjectName, segment::SegmentMeta,
    state::SegmentImage,
};

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Jobs that had gone on for too long.
    pub jobs_ended: u64,
    pub objects_deleted: u64,
}

/// Deletes the objects of segments that edits, or dropped tables, took out of the lists. `current`: the
/// newest checkpoint. Returns how many. What cannot be deleted is left to the next time.
pub(in crate::storage) async fn delete_removed(
    site: &Site,
    current: Option<&Current>,
) -> Result<u64, RewriteError> {
    let Some(current) = current else { return Ok(0) };
    let mut deleted = 0;
    for segment in site.state.take_removed(current.manifest.at) {
        let Ok(meta) = segment.description() else { continue };
        fault("rewrite::remove")?;
        if let Err(error) = site.objects.delete(&meta.name) {
            // It is an orphan from here on.
            tracing::warn!(%error, "an object that nobody needs stays until the next sweep");
            continue;
        }
        site.readers.forget(segment.segment());
        deleted += 1;
    }
    Ok(deleted)
}

/// Ends jobs that are older than `age`, then deletes what nobody names. `current`: says the newest
/// checkpoint, asked after everything else.
pub(in crate::storage) async fn orphans(
    site: &Site,
    current: impl Fn() -> Option<Arc<Current>>,
    age: Duration,
) -> Result<Swept, RewriteError> {
    fault("rewrite::sweep::list")?;
    let listed = site.objects.list(PREFIX)?;
    site.give_way().await?;
    let mut swept = Swept::default();
    let now_ms = site.clock.now_ms();
    for (job, open) in site.state.jobs() {
        let last_ms = Timestamp(job.0).max(open.renewed).millis();
        if now_ms.saturating_sub(last_ms) < age.as_millis() as u64 {
            continue;
        }
        tracing::warn!(%job, table = %open.table, "a job took too long and is ended");
        site.end_job(job, &[]).await?;
        swept.jobs_ended += 1;
    }
    // In this order: a job that is over here will never bring an object into a list, and one whose
    // edit came before that did.
    let open: HashSet<JobId> = site.state.jobs().into_keys().collect();
    let named = named(site, current().as_deref())?;
    for entry in listed {
        let job = job_of(&entry.name);
        if named.contains(&entry.name) || job.is_some_and(|job| open.contains(&job)) {
            continue;
        }
        fault("rewrite::sweep::delete")?;
        site.objects.delete(&entry.name)?;
        swept.objects_deleted += 1;
        site.give_way().await?;
    }
    Ok(swept)
}

/// All objects that a list, or the checkpoint, names; and those that were removed and may still be read.
fn named(site: &Site, current: Option<&Current>) -> Result<HashSet<ObjectName>, StorageError> {
    let mut names = HashSet::new();
    // The lists first: what an edit takes out meanwhile is among the removed ones then.
    for table in site.state.tables() {
        for segment in table.segments().iter() {
            names.insert(segment.description()?.name.clone());
        }
    }
    for segment in site.state.removed() {
        names.insert(segment.description()?.name.clone());
    }
    let images = current.iter().flat_map(|current| &current.manifest.tables);
    for image in images.flat_map(|table| &table.segments) {
        names.insert(name_in(image)?);
    }
    Ok(names)
}

fn name_in(image: &SegmentImage) -> Result<ObjectName, StorageError> {
    let mut input = glaredb_txn::codec::Reader::of(&image.meta);
    Ok(SegmentMeta::decode(&mut input)?.name)
}

/// The job that wrote an object; `None`: it is not named as ours are.
pub(in crate::storage) fn job_of(name: &ObjectName) -> Option<JobId> {
    let (_, file) = name.as_str().strip_prefix(PREFIX)?.split_once('/')?;
    let (job, _) = file.split_once('-')?;
    u64::from_str_radix(job, 16).ok().map(JobId)
}
