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
//!
//! The log comes in pieces. While one is applied, the next is read, checked, decoded, and taken in
//! by the commit ids, beside it:
//!
//! ```text
//! read     │ piece 1 │ piece 2 │ piece 3 │
//! apply              │ piece 1 │ piece 2 │ piece 3 │
//! ```
//! No more than two pieces are in memory. What is wrong with a piece is said when the records before
//! the damage are applied: the first error in log order is the one that counts, as if each record
//! were read only after the one before it was applied.

use super::{
    commit_ids::{CommitIds, OutOfOrder},
    record::{self, Record},
    state_machine::{Apply, ApplyError},
};
use crate::{
    codec::DecodeError,
    env::{SpawnError, Threads},
    ids::{CommitId, EntryIndex, Position, Snapshot},
    log::wal::{Entry, Wal, WalError},
};

/// Bodies are read from the log in pieces of about this many bytes: enough for a piece to be worth a
/// thread, little enough for its records to stay near the processor.
pub const PIECE_BYTES: usize = 2 << 20;

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
    #[error(transparent)]
    Thread(#[from] SpawnError),
}

/// How far a replay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Entries done and to be done, of those that are read.
    pub entries: u64,
    pub entries_total: u64,
    /// Records applied so far.
    pub records: u64,
    /// Bytes of the bodies of those entries.
    pub bytes: u64,
}

/// What is replayed, and by what means.
#[derive(Clone, Copy)]
pub struct Replay<'a> {
    pub wal: &'a dyn Wal,
    /// From the checkpoint, or new. While the replay lasts it is ahead of what is applied.
    pub ids: &'a CommitIds,
    pub threads: &'a dyn Threads,
    /// Bytes of bodies read at a time, [`PIECE_BYTES`] unless a test wants to see many pieces.
    pub piece_bytes: usize,
}

impl Replay<'_> {
    /// Feeds every record after `ids.applied()` to `apply` until the log ends, and takes it in; then
    /// returns what is applied. `progress` is called after each piece.
    pub fn run(
        &self,
        apply: &mut dyn Apply,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Snapshot, ReplayError> {
        let mut reader = Reader::new(*self)?;
        let mut at = Progress {
            entries: 0,
            entries_total: (reader.last.0 + 1).saturating_sub(reader.next.0),
            records: 0,
            bytes: 0,
        };
        let mut piece = reader.read();
        while let Some(now) = piece.take() {
            let records = &now.records;
            if reader.is_at_end() {
                apply.replay(records)?;
            } else {
                let mut applied = Ok(());
                let (ahead, result) = (&mut piece, &mut applied);
                let read = || *ahead = reader.read();
                let replay = || *result = apply.replay(records);
                self.threads.run_all("log-read", vec![Box::new(read), Box::new(replay)])?;
                applied?;
            }
            if let Some(error) = now.end {
                return Err(error);
            }
            at.entries += now.entries;
            at.bytes += now.bytes;
            at.records += now.records.len() as u64;
            progress(at);
        }
        Ok(self.ids.applied())
    }
}

/// Records that follow each other in the log, taken in by the commit ids.
#[derive(Default)]
struct Piece {
    records: Vec<(Position, Record)>,
    entries: u64,
    bytes: u64,
    /// What is wrong with the record behind the last one; nothing is read after it.
    end: Option<ReplayError>,
}

/// Reads piece by piece.
struct Reader<'a> {
    of: Replay<'a>,
    checkpoint: Position,
    /// Commits that were open at the checkpoint.
    open: Vec<CommitId>,
    next: EntryIndex,
    last: EntryIndex,
}

impl<'a> Reader<'a> {
    fn new(of: Replay<'a>) -> Result<Self, ReplayError> {
        let checkpoint = of.ids.applied().position;
        let open = of.ids.open_parts().iter().map(|open| open.id).collect();
        let last = of.wal.last();
        Ok(Self { of, checkpoint, open, next: start(of.wal, of.ids)?, last })
    }

    fn is_at_end(&self) -> bool {
        self.next > self.last
    }

    /// The next piece; `None`: the log ends.
    fn read(&mut self) -> Option<Piece> {
        if self.is_at_end() {
            return None;
        }
        let mut piece = Piece::default();
        if let Err(error) = self.read_into(&mut piece) {
            self.next = self.last.next();
            piece.end = Some(error);
        }
        Some(piece)
    }

    fn read_into(&mut self, piece: &mut Piece) -> Result<(), ReplayError> {
        let entries = self.of.wal.read(self.next, self.of.piece_bytes)?;
        let Some(newest) = entries.last() else {
            return Err(ReplayError::LogShort { last: self.next, checkpoint: self.checkpoint });
        };
        self.next = newest.index.next();
        for entry in &entries {
            self.read_entry(entry, &mut piece.records)?;
            piece.entries += 1;
            piece.bytes += entry.body.len() as u64;
        }
        Ok(())
    }

    fn read_entry(
        &self,
        entry: &Entry,
        records: &mut Vec<(Position, Record)>,
    ) -> Result<(), ReplayError> {
        let (index, checkpoint) = (entry.index, self.checkpoint);
        let decoded =
            record::decode(&entry.body).map_err(|error| ReplayError::Decode { index, error })?;
        for (ordinal, record) in decoded.into_iter().enumerate() {
            let ordinal = u32::try_from(ordinal).expect("an entry is at most 1 MiB");
            let position = Position::new(checkpoint.log, index, ordinal);
            if position > checkpoint || checkpoint.index == EntryIndex(0) {
                self.of.ids.record(position, &record)?;
            } else if !matches!(&record, Record::Part { id, .. } if self.open.contains(id)) {
                continue;
            }
            records.push((position, record));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests;
