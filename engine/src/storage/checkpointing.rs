//! One checkpoint from its begin record to the last superseded object, and the metastore that
//! trails.

use std::sync::Arc;

use glaredb_catalog::{
    Catalog,
    metastore::{LeadershipError, MetastoreError, Progress, TrailingError, TrailingWriter},
};
use glaredb_txn::{
    commit::message::{Answer, Refusal},
    ids::Position,
};

use super::{
    background::Shared,
    checkpoint::{Captured, CheckpointError, CheckpointSummary},
    record::Control,
};

/// How far the metastore follows the log.
#[derive(Default)]
pub(super) struct Trail {
    writer: Option<TrailingWriter>,
    /// The catalog that it was last made equal to.
    followed: Option<Arc<Catalog>>,
}

impl Trail {
    /// The log is not cut past it. Before the first success the metastore may want all of the log.
    fn limit(&self) -> Option<Position> {
        match &self.writer {
            None => Some(Position::ZERO),
            Some(writer) if self.followed.is_none() => Some(writer.reached()),
            Some(writer) => writer.cut_limit(),
        }
    }
}

/// Writes a checkpoint; gives up between two steps when `give_up` says so. Only one at a time.
pub(super) fn run(
    shared: &Shared,
    give_up: impl Fn() -> bool,
) -> Result<CheckpointSummary, CheckpointError> {
    let result = write(shared, give_up);
    if result.is_err()
        && let Err(error) = shared.store.sweep()
    {
        tracing::warn!(%error, "objects of an unfinished checkpoint stay until the next one");
    }
    result
}

fn write(
    shared: &Shared,
    give_up: impl Fn() -> bool,
) -> Result<CheckpointSummary, CheckpointError> {
    let number = shared.store.next_number();
    // Keeps the horizon from passing what is being written.
    let _guard = shared.leader.snapshots().register();
    log_control(shared, &Control::CheckpointBegin { number })?;
    let captured = shared.captures.take(number).ok_or_else(|| {
        CheckpointError::Invalid(format!("the begin of checkpoint {number} left no image"))
    })?;
    log_hashes(shared, &captured)?;
    let mut writer = shared.store.writer(captured);
    let summary = loop {
        if give_up() {
            return Err(CheckpointError::ShuttingDown);
        }
        if let Some(summary) = shared.store.step(&mut writer)? {
            break summary;
        }
    };
    // The checkpoint is complete. What follows only saves space, and is done again after the next.
    drop(writer);
    if let Err(error) = trail(shared) {
        tracing::warn!(%error, "the log is kept for the metastore");
    }
    let behind = shared.trail.lock().limit();
    let needed = shared.ids.oldest_open_part().into_iter().chain(behind);
    if let Err(error) = shared.store.cut_log(&*shared.wal, needed) {
        tracing::warn!(%error, "the log was not cut");
    }
    if let Err(error) = shared.store.sweep() {
        tracing::warn!(%error, "superseded objects stay until the next checkpoint");
    }
    Ok(summary)
}

/// Logs what the state was at Q, for whoever applies the same records.
fn log_hashes(shared: &Shared, captured: &Captured) -> Result<(), CheckpointError> {
    captured.hashes().map_or(Ok(()), |record| log_control(shared, &record))
}

fn log_control(shared: &Shared, record: &Control) -> Result<(), CheckpointError> {
    match shared.leader.control_wait(record.encode()) {
        Answer::Committed { .. } => Ok(()),
        Answer::Refused(Refusal::DiskFull(reason)) => Err(CheckpointError::LogFull(reason)),
        Answer::Refused(refusal) => Err(CheckpointError::Log(refusal.to_string())),
        other => Err(CheckpointError::Log(format!("{other:?}"))),
    }
}

/// Lets the metastore follow the catalog as published now.
pub(super) fn trail(shared: &Shared) -> Result<(), TrailingError> {
    let result = follow(shared, &mut shared.trail.lock());
    if let Err(TrailingError::Leadership(
        error @ (LeadershipError::Fenced { .. }
        | LeadershipError::Metastore(MetastoreError::Broken(_))),
    )) = &result
    {
        shared.raise_fatal(&error.to_string());
    }
    result
}

fn follow(shared: &Shared, trail: &mut Trail) -> Result<(), TrailingError> {
    let writer = match &mut trail.writer {
        Some(writer) => writer,
        None => trail.writer.insert(TrailingWriter::open(shared.leadership.clone())?),
    };
    while writer.step()? == Progress::More {}
    let guard = shared.leader.snapshots().register();
    let catalog = shared.state.catalog_at(guard.timestamp());
    let followed = trail.followed.as_ref().is_some_and(|last| Arc::ptr_eq(last, &catalog));
    if !followed {
        writer.reconcile(guard.snapshot().position, &catalog)?;
        while writer.step()? == Progress::More {}
        trail.followed = Some(catalog);
    }
    Ok(())
}
