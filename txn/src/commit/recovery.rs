//! Replay: the log's records, from a checkpoint on, into the state.
//!
//! A checkpoint at Q holds everything up to Q except what the parts of commits that are open at Q
//! brought: those are in no chunk that anybody sees. They are read from the log again, which is why
//! the log is not cut below the first of them:
//!
//! ```text
//! entry      10      11      12      13      14
//!            part    commit  part    commit  commit
//!            7/0     8       7/1     9       7 (2 parts)
//!                            ▲ checkpoint at Q
//! replayed   7/0     —       7/1     9       7
//! ```

use bytes::Bytes;

use super::{
    commit_ids::{CommitIds, OutOfOrder},
    record::{self, Record},
    state_machine::{Apply, ApplyError},
};
use crate::{
    codec::DecodeError,
    ids::{CommitId, EntryIndex, Position, Snapshot},
    log::wal::{Wal, WalError},
};

/// Bodies are read from the log in pieces of about this many bytes.
const READ_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The log was cut, or belongs to another checkpoint.
    #[error("the log begins at {first}, but is needed from {needed} on")]
    LogCut { first: EntryIndex, needed: EntryIndex },
    /// Entries that were durable once are missing.
    #[error("the log ends at {last}, before the checkpoint's position {checkpoint}")]
    LogShort { last: EntryIndex, checkpoint: Position },
    #[error("entry {index} of the log does not decode: {error}")]
    Decode { index: EntryIndex, error: DecodeError },
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// How far a replay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Entries done and to be done, of those that are read.
    pub entries: u64,
    pub entries_total: u64,
    /// Records applied so far.
    pub records: u64,
    /// Bytes of bodies read so far.
    pub bytes: u64,
}

/// Feeds every record after `ids.applied()` to `apply`, and takes it in, until the log ends; then
/// returns what is applied. `ids` comes from the checkpoint, or is new. `progress` is called after
/// each piece of about 8 MiB.
pub fn replay(
    wal: &dyn Wal,
    ids: &CommitIds,
    apply: &mut dyn Apply,
    progress: &mut dyn FnMut(Progress),
) -> Result<Snapshot, ReplayError> {
    let checkpoint = ids.applied().position;
    let open: Vec<CommitId> = ids.open_parts().iter().map(|open| open.id).collect();
    let from = start(wal, ids)?;
    let last = wal.last();
    let mut at = Progress {
        entries: 0,
        entries_total: (last.0 + 1).saturating_sub(from.0),
        records: 0,
        bytes: 0,
    };
    let mut next = from;
    while next <= last {
        let entries = wal.read(next, READ_BYTES)?;
        let Some(newest) = entries.last() else {
            return Err(ReplayError::LogShort { last: next, checkpoint });
        };
        next = newest.index.next();
        for entry in entries {
            at.entries += 1;
            at.bytes += entry.body.len() as u64;
            at.records += replay_entry(entry.index, &entry.body, checkpoint, &open, ids, apply)?;
        }
        progress(at);
    }
    Ok(ids.applied())
}

/// Where reading begins: at the checkpoint's entry, of which it may hold a part only, or at the
/// oldest open part.
fn start(wal: &dyn Wal, ids: &CommitIds) -> Result<EntryIndex, ReplayError> {
    let checkpoint = ids.applied().position;
    if wal.last() < checkpoint.index {
        return Err(ReplayError::LogShort { last: wal.last(), checkpoint });
    }
    let oldest = ids.oldest_open_part().map_or(checkpoint.index, |part| part.index);
    let needed = oldest.min(checkpoint.index).max(EntryIndex(1));
    let first = wal.first();
    if first > needed { Err(ReplayError::LogCut { first, needed }) } else { Ok(needed) }
}

fn replay_entry(
    index: EntryIndex,
    body: &Bytes,
    checkpoint: Position,
    open: &[CommitId],
    ids: &CommitIds,
    apply: &mut dyn Apply,
) -> Result<u64, ReplayError> {
    let records = record::decode(body).map_err(|error| ReplayError::Decode { index, error })?;
    let mut applied = 0;
    for (ordinal, record) in records.iter().enumerate() {
        let ordinal = u32::try_from(ordinal).expect("an entry is at most 1 MiB");
        let position = Position::new(checkpoint.log, index, ordinal);
        if position > checkpoint || checkpoint.index == EntryIndex(0) {
            ids.record(position, record)?;
        } else if !matches!(record, Record::Part { id, .. } if open.contains(id)) {
            continue;
        }
        apply.apply(position, record)?;
        applied += 1;
    }
    Ok(applied)
}
