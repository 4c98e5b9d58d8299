//! Commit ids as the critical section sees them: what is applied, and the tail ahead of it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    commit::commit_ids::{CommitIds, Outcome},
    ids::{CommitId, Position, Timestamp},
};

/// Ids whose commit or abort is stamped but perhaps not applied, in front of those applied.
///
/// An id leaves the tail when it is published, long after `CommitIds` knows it: at every moment
/// one of the two does.
pub(super) struct TailIds {
    applied: Arc<CommitIds>,
    /// `None`: aborted.
    finished: HashMap<CommitId, (Position, Option<Timestamp>), FixedState>,
    order: VecDeque<(Position, CommitId)>,
    /// Large commits under way; the tail included, so that the sequence is checked in order.
    open: HashMap<CommitId, Open, FixedState>,
}

struct Open {
    first: Position,
    parts: u32,
    /// Of the parts that came since the start.
    bytes: u64,
    /// When the first of these came (monotonic); `None` if that was before the start.
    since: Option<Duration>,
}

/// All large commits under way.
#[derive(Default)]
pub(super) struct OpenTotals {
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// When the oldest began (monotonic).
    pub(super) since: Option<Duration>,
}

impl TailIds {
    pub(super) fn new(applied: Arc<CommitIds>) -> Self {
        let open = applied.open_parts().into_iter().map(|open| {
            (open.id, Open { first: open.first, parts: open.parts, bytes: 0, since: None })
        });
        let open = open.collect();
        Self { applied, finished: HashMap::default(), order: VecDeque::new(), open }
    }

    pub(super) fn outcome(&self, id: CommitId) -> Outcome {
        if let Some(&(position, timestamp)) = self.finished.get(&id) {
            return match timestamp {
                Some(timestamp) => Outcome::Committed { position, timestamp },
                None => Outcome::Aborted { position },
            };
        }
        if let Some(&Open { first, parts, .. }) = self.open.get(&id) {
            return Outcome::Open { parts, first };
        }
        self.applied.outcome(id)
    }

    pub(super) fn open_ids(&self) -> Vec<CommitId> {
        let mut open: Vec<_> = self.open.iter().map(|(id, open)| (open.first, *id)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn oldest_open_part(&self) -> Option<Position> {
        self.open.values().map(|open| open.first).min()
    }

    pub(super) fn open_totals(&self) -> OpenTotals {
        let mut totals = OpenTotals::default();
        for open in self.open.values() {
            totals.count += 1;
            totals.bytes += open.bytes;
            totals.since = match (totals.since, open.since) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        totals
    }

    /// A part of `bytes` was placed, `now` (monotonic).
    pub(super) fn part(&mut self, id: CommitId, position: Position, bytes: u64, now: Duration) {
        let new = Open { first: position, parts: 0, bytes: 0, since: Some(now) };
        let open = self.open.entry(id).or_insert(new);
        open.parts += 1;
        open.bytes += bytes;
    }

    pub(super) fn finish(
        &mut self,
        id: CommitId,
        position: Position,
        timestamp: Option<Timestamp>,
        published: Position,
    ) {
        self.open.remove(&id);
        self.finished.insert(id, (position, timestamp));
        self.order.push_back((position, id));
        while let Some(&(oldest, id)) = self.order.front()
            && oldest <= published
        {
            self.order.pop_front();
            self.finished.remove(&id);
        }
    }
}
