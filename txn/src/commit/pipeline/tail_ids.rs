//! Commit ids as the critical section sees them: what is applied, and the tail ahead of it.

use std::{collections::VecDeque, sync::Arc};

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
    open: HashMap<CommitId, (Position, u32), FixedState>,
}

impl TailIds {
    pub(super) fn new(applied: Arc<CommitIds>) -> Self {
        let open = applied.open_parts().into_iter().map(|open| (open.id, (open.first, open.parts)));
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
        if let Some(&(first, parts)) = self.open.get(&id) {
            return Outcome::Open { parts, first };
        }
        self.applied.outcome(id)
    }

    pub(super) fn open_ids(&self) -> Vec<CommitId> {
        let mut open: Vec<_> = self.open.iter().map(|(id, (first, _))| (*first, *id)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn oldest_open_part(&self) -> Option<Position> {
        self.open.values().map(|&(first, _)| first).min()
    }

    pub(super) fn part(&mut self, id: CommitId, position: Position) {
        self.open.entry(id).or_insert((position, 0)).1 += 1;
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
