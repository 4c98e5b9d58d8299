//! Transactions on their way to the leader: sent, sent again where their rows have moved, answered.

use std::collections::VecDeque;

use glaredb_txn::{
    commit::{
        message::{Answer, CommitRequest, Part, Refusal},
        snapshots::{SnapshotGuard, Stopped},
    },
    ids::CommitId,
};

use super::{Begun, Effect, World, apply};
use crate::storage::{
    simulation::tables::Encoded,
    write_set::{EncodedPart, PlacesSent},
};

/// How often the rows of one commit may move: no job is so fast.
const MOVES_MAX: u32 = 20;

/// A large transaction that sends its parts one after the other, with whatever happens in between.
pub(super) struct Sending {
    guard: SnapshotGuard,
    effects: Vec<Effect>,
    parts: VecDeque<EncodedPart>,
    /// Of the first of these.
    sequence: u32,
    /// The first one is with the leader.
    is_sent: bool,
    request: CommitRequest,
    places: PlacesSent,
}

impl Sending {
    pub(super) fn id(&self) -> CommitId {
        self.request.id
    }
}

/// A commit that is sent.
pub(super) struct Pending {
    pub(super) effects: Vec<Effect>,
    request: CommitRequest,
    places: PlacesSent,
    /// While it is registered it is known where rows have gone.
    _guard: SnapshotGuard,
    moves: u32,
}

impl World {
    pub(super) fn send(&mut self) -> Result<(), Stopped> {
        if self.begun.is_empty() {
            return Ok(());
        }
        let at = self.rng.index(self.begun.len());
        let Begun { guard, effects, transaction } = self.begun.swap_remove(at);
        let id = self.node.new_commit_id();
        if self.rng.chance(1, 20) {
            // The session ends between its parts and its commit.
            if self.node.submit_parts_only(id, transaction) > 0 {
                self.refused.insert(id);
                self.given_up(id);
            }
            return Ok(());
        }
        let Encoded { parts, request, places } = transaction.finish(id);
        let parts = parts.into();
        let sending =
            Sending { guard, effects, parts, sequence: 0, is_sent: false, request, places };
        if sending.parts.is_empty() {
            self.commit(sending);
            return Ok(());
        }
        self.sending.push(sending);
        self.send_on()
    }

    fn commit(&mut self, sending: Sending) {
        let Sending { guard: _guard, effects, request, places, .. } = sending;
        let id = request.id;
        self.node.submit_commit(request.clone());
        let pending = Pending { effects, request, places, _guard, moves: 0 };
        self.pending.insert(id, pending);
    }

    /// The next part of a large transaction, or its commit; some are given up on the way.
    pub(super) fn send_on(&mut self) -> Result<(), Stopped> {
        if self.sending.is_empty() {
            return Ok(());
        }
        let at = self.rng.index(self.sending.len());
        let id = self.sending[at].id();
        if self.sending[at].is_sent {
            let mut answer = self.node.part_answer(id);
            if answer.is_none() {
                // It waits for the log.
                self.node.append()?;
                self.node.sync()?;
                answer = self.node.part_answer(id);
            }
            match answer {
                None => return Ok(()),
                Some(Answer::Refused(Refusal::Moved { .. })) => {
                    self.tally.moved += 1;
                    let tables = |table| self.node.state.table(table);
                    let followed = self.sending[at].parts[0].follow_moves(tables);
                    followed.unwrap_or_else(|e| panic!("seed {}: a part of {id}: {e}", self.seed));
                }
                Some(_) => {
                    self.sending[at].parts.pop_front();
                    self.sending[at].sequence += 1;
                }
            }
            self.sending[at].is_sent = false;
        }
        let lacks_parts = self.node.lacks_parts(id);
        self.tally.disk_full += u64::from(lacks_parts);
        if lacks_parts || self.rng.chance(1, 5) {
            let Sending { guard, .. } = self.sending.swap_remove(at);
            self.node.abort(id);
            self.refused.insert(id);
            self.tally.given_up += 1;
            drop(guard);
            return Ok(());
        }
        let sending = &mut self.sending[at];
        match sending.parts.front() {
            Some(part) => {
                sending.is_sent = true;
                let (sequence, payload) = (sending.sequence, part.payload());
                self.node.submit_part(Part { id, sequence, payload });
            }
            None => {
                let sending = self.sending.swap_remove(at);
                self.commit(sending);
            }
        }
        Ok(())
    }

    pub(super) fn answers(&mut self) {
        while let Some((id, answer)) = self.node.next_answer() {
            match answer {
                Answer::Committed { position, .. } => {
                    let pending = self.pending.remove(&id).expect("one answer each");
                    apply(&mut self.content, &pending.effects);
                    self.acknowledged.insert(id, position);
                    self.tally.committed += 1;
                    self.tally.moved_committed += u64::from(pending.moves > 0);
                }
                // Its outcome is asked for after the crash.
                Answer::Unknown(_) => {}
                Answer::Refused(Refusal::Moved { .. }) => self.send_again(id),
                Answer::Refused(Refusal::Malformed(reason)) if !self.node.lacks_parts(id) => {
                    panic!("seed {}: {id} refused as malformed: {reason}", self.seed)
                }
                refusal => {
                    let full = matches!(refusal, Answer::Refused(Refusal::DiskFull(_)));
                    if full || self.node.lacks_parts(id) {
                        self.tally.disk_full += 1;
                    }
                    self.pending.remove(&id).expect("one answer each");
                    self.refused.insert(id);
                    self.tally.refused += 1;
                    self.given_up(id);
                }
            }
        }
    }

    /// A commit whose rows have moved, with the places where they are by now, as a session does it: as
    /// long as its snapshot is registered these are known.
    fn send_again(&mut self, id: CommitId) {
        let seed = self.seed;
        self.tally.moved += 1;
        let pending = self.pending.get_mut(&id).expect("one answer each");
        pending.moves += 1;
        assert!(pending.moves <= MOVES_MAX, "seed {seed}: the rows of {id} move for ever");
        let followed = pending.places.follow_moves(|table| self.node.state.table(table));
        match followed {
            Ok(Some(payload)) => pending.request.payload = payload,
            other => panic!("seed {seed}: where are the rows of {id}? {other:?}"),
        }
        self.node.submit_commit(pending.request.clone());
    }

    /// Where processes die all the time some sessions die before they abort; else none does.
    fn given_up(&self, id: CommitId) {
        if !self.manner.faults {
            self.node.abort(id);
        }
    }
}
