//! The end of a transaction at the leader: what was asked, what may be answered.
//!
//! ```text
//! gathered ─▶ parts sent ─▶ [commit point] commit request sent ─▶ Committed
//!     └───────────┴─ dropped: rolled back; an Abort ends the parts    ├─▶ refused: Abort ends the parts
//!                                                                     └─▶ Unknown: Resolve ─▶ Committed
//!                                                                                    ├─▶ Aborted
//!                                                                                    └─▶ unknown: 08007
//! ```
//!
//! Invariants:
//! 1. An id under which a part was sent ends: by its commit record, or by an `Abort` that is sent
//!    after every answer but `Committed` and when the transaction is dropped in any other way
//!    ([`LargeCommit`]). Else its rows stay in memory, invisible, and the log cannot be cut, until
//!    the next start.
//! 2. An answer that means "rolled back" is given only if the commit can never be: the leader refused
//!    it, or the log holds an abort of its id. That a commit's answer got lost says nothing: its id is
//!    resolved first, and where that fails too the answer is 08007.
//!    What it staged is deleted only after that: never where the commit may still come to be.
//! 3. A commit is sent again only where the leader refused it, with what makes it another one: the
//!    places to which its rows have moved, or newer bases of its key sets ([`meetings`]).
//! 4. From the commit point until the answer nothing that interrupts the session may answer in its
//!    place ([`CommitPoint`]). Before it, an interrupt drops the transaction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use glaredb_txn::{
    commit::{
        message::{Answer, CommitRequest, Part, Refusal, Request, encode_request},
        snapshots::SnapshotGuard,
    },
    ids::CommitId,
};

mod meetings;

pub(super) use meetings::{Bases, SetsSent};

use super::{errors, staging::Staging};
use crate::{
    error::SqlError,
    storage::{
        database::Database,
        write_set::{EncodedPart, PlacesSent},
    },
};

/// When the node must stop, the answer of a commit under way is awaited for this long: a disk may
/// hang, and the client is to hear that nobody knows before the process ends.
const ANSWER_AFTER_FATAL: Duration = Duration::from_secs(1);

/// How often rows may move between two attempts of one commit: a rewrite takes seconds.
const MOVES_MAX: usize = 10;

/// How far the statement that runs has come towards its commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitState {
    /// Nothing is sent that could commit: who gives the statement up rolls it back.
    Open,
    /// The commit request is with the leader: only its answer says what became of it.
    Sent,
    /// The transaction has committed; what is left is to tell the client.
    Committed,
}

/// A session's [`CommitState`], shared with whoever may interrupt the session.
#[derive(Clone, Debug, Default)]
pub struct CommitPoint(Arc<AtomicU8>);

const OPEN: u8 = 0;
const SENT: u8 = 1;
const COMMITTED: u8 = 2;

impl CommitPoint {
    #[must_use]
    pub fn state(&self) -> CommitState {
        match self.0.load(SeqCst) {
            OPEN => CommitState::Open,
            SENT => CommitState::Sent,
            _ => CommitState::Committed,
        }
    }

    /// A statement begins.
    pub fn reset(&self) {
        self.0.store(OPEN, SeqCst);
    }

    /// The commit request is about to be sent. Until the returned value is dropped the state is
    /// `Sent`; then it is `Open` again unless [`Sent::committed`] was called.
    pub fn send(&self) -> Sent<'_> {
        self.0.store(SENT, SeqCst);
        Sent(&self.0)
    }
}

/// A commit that waits for its answer.
#[derive(Debug)]
#[must_use]
pub struct Sent<'a>(&'a AtomicU8);

impl Sent<'_> {
    pub fn committed(&self) {
        self.0.store(COMMITTED, SeqCst);
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        // Stays if it is `COMMITTED`.
        let _ = self.0.compare_exchange(SENT, OPEN, SeqCst, SeqCst);
    }
}

/// A commit of which parts are sent before it. Dropping it aborts it.
pub(super) struct LargeCommit {
    database: Arc<Database>,
    id: CommitId,
    parts: u32,
    ended: bool,
    /// What writes rows of it into objects. Dropped after the commit is aborted, it deletes them.
    staging: Option<Staging>,
}

impl LargeCommit {
    pub(super) fn new(database: &Arc<Database>) -> Self {
        let id = database.leader().new_commit_id();
        Self { database: Arc::clone(database), id, parts: 0, ended: false, staging: None }
    }

    /// The objects belong to the commit: what becomes of it becomes of them.
    pub(super) fn stage(&mut self, staging: Option<Staging>) {
        self.staging = staging;
    }

    /// The objects are the table's, or nobody knows whether they are.
    fn leave_objects(&mut self) {
        if let Some(staging) = &mut self.staging {
            staging.leave_objects();
        }
    }

    /// The next part, which has to be sent before the one after it.
    pub(super) fn part(&mut self, payload: Bytes) -> Request {
        let part = Part { id: self.id, sequence: self.parts, payload };
        self.parts += 1;
        Request::Part(part)
    }

    /// The leader has ended the id by itself.
    fn ended(&mut self) {
        self.ended = true;
    }

    /// Aborts, and waits until that is done: what the parts held is free then.
    async fn abort(mut self) {
        let answer = self.database.submit(&Request::Abort(self.id)).await;
        // Any other answer says that the node stops; the next start aborts what is open.
        self.ended = true;
        if answer != Answer::Aborted {
            tracing::warn!(id = %self.id, ?answer, "a large commit is not aborted yet");
        }
    }
}

impl Drop for LargeCommit {
    fn drop(&mut self) {
        if !self.ended && self.parts > 0 {
            let request = encode_request(&Request::Abort(self.id));
            self.database.leader().submit(request, Box::new(|_| {}));
        }
    }
}

/// Sends a commit and waits for what became of it, in a task of its own, so that nothing that happens
/// to the session tears it apart. The request's id and its number of parts are set here.
pub(super) async fn commit(
    database: &Arc<Database>,
    point: &CommitPoint,
    mut request: CommitRequest,
    sent: WhatWasSent,
    large: Option<LargeCommit>,
) -> Result<(), SqlError> {
    (request.id, request.parts) = match &large {
        Some(large) => (large.id, large.parts),
        None => (database.leader().new_commit_id(), 0),
    };
    database.wait_for_room().await;
    let at_point = point.send();
    let task = tokio::spawn(decide(Arc::clone(database), request, sent, large));
    match task.await {
        Ok(Answer::Committed { .. }) => {
            at_point.committed();
            Ok(())
        }
        Ok(answer) => Err(errors::not_committed(database, answer)),
        Err(error) => Err(errors::unknown_outcome(error.to_string())),
    }
}

/// The answer to a commit, `Unknown` only where nobody can say. Whatever it is but `Committed`, the
/// parts are aborted.
async fn decide(
    database: Arc<Database>,
    request: CommitRequest,
    sent: WhatWasSent,
    large: Option<LargeCommit>,
) -> Answer {
    let id = request.id;
    let answer = match answer_in_the_end(&database, request, sent).await {
        Answer::Unknown(reason) => resolve(&database, id, reason).await,
        // Told of an id whose end is in the log already.
        Answer::Refused(refusal @ (Refusal::IdUsed(_) | Refusal::IdForgotten(_))) => {
            resolve(&database, id, refusal.to_string()).await
        }
        answer => answer,
    };
    if let Some(mut large) = large {
        match &answer {
            Answer::Committed { .. } => {
                large.ended();
                large.leave_objects();
            }
            Answer::Aborted => large.ended(),
            // The leader has stopped; the next start aborts what is open.
            Answer::Unknown(_) => large.leave_objects(),
            _ => large.abort().await,
        }
    }
    answer
}

/// What a commit was made of, for when it has to be sent again.
pub(super) struct WhatWasSent {
    /// Of rows that it deletes, which may move before it is placed.
    pub(super) places: PlacesSent,
    /// As long as it is registered it is remembered where the rows went.
    pub(super) found_under: Option<Arc<SnapshotGuard>>,
    pub(super) sets: SetsSent,
}

/// The answer to a commit. One that names places that rows have left is sent again with those where
/// they lie by now; one whose key sets met something that is no conflict, with newer bases.
async fn answer_in_the_end(
    database: &Arc<Database>,
    request: CommitRequest,
    sent: WhatWasSent,
) -> Answer {
    let WhatWasSent { mut places, found_under: _registered, mut sets } = sent;
    let mut request = Request::Commit(request);
    let mut moves = 0;
    loop {
        let answer = answer_to(database, &request).await;
        let Request::Commit(commit) = &mut request else { return answer };
        if let Answer::Refused(Refusal::Moved { .. }) = &answer
            && moves < MOVES_MAX
        {
            moves += 1;
            match places.follow_moves(|table| database.table(table)) {
                Ok(Some(payload)) => commit.payload = payload,
                Ok(None) => return answer,
                Err(error) => {
                    tracing::info!(%error, "a commit does not find its rows");
                    return answer;
                }
            }
            continue;
        }
        match sets.look(database, answer.clone(), commit).await {
            Ok(None) => {}
            Ok(Some(answer)) => return answer,
            Err(error) => {
                tracing::warn!(%error, "what a large commit met cannot be looked at");
                return answer;
            }
        }
    }
}

/// Sends a part of a large commit, again if rows that it deletes have moved.
pub(super) async fn send_part(
    database: &Arc<Database>,
    mut request: Request,
    mut part: EncodedPart,
) -> Result<(), SqlError> {
    for _ in 0..MOVES_MAX {
        database.wait_for_room().await;
        let answer = database.submit(&request).await;
        let (Answer::Refused(Refusal::Moved { .. }), Request::Part(again)) =
            (&answer, &mut request)
        else {
            return errors::part_answer(database, answer);
        };
        part.follow_moves(|table| database.table(table)).map_err(errors::storage_error)?;
        again.payload = part.payload();
    }
    errors::part_answer(database, database.submit(&request).await)
}

/// What became of an id whose commit gave no answer. Nothing but `Committed` and `Aborted` says it.
async fn resolve(database: &Database, id: CommitId, reason: String) -> Answer {
    match answer_to(database, &Request::Resolve(id)).await {
        answer @ (Answer::Committed { .. } | Answer::Aborted) => answer,
        _ => Answer::Unknown(reason),
    }
}

/// The leader's answer; `Unknown` if it does not come though the node must stop.
async fn answer_to(database: &Database, request: &Request) -> Answer {
    tokio::select! {
        biased;
        answer = database.submit(request) => answer,
        reason = given_up(database) => Answer::Unknown(reason),
    }
}

/// Ends a while after the node must stop, with the reason.
#[allow(clippy::disallowed_methods, reason = "the session's own runtime waits, not the core")]
async fn given_up(database: &Database) -> String {
    let mut fatal = database.fatal();
    let reason = fatal.wait_for(Option::is_some).await.ok().map(|reason| reason.clone());
    let Some(reason) = reason else {
        // The database ends in order: the answer will come.
        return std::future::pending().await;
    };
    tokio::time::sleep(ANSWER_AFTER_FATAL).await;
    reason.as_deref().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{CommitPoint, CommitState};

    #[test]
    fn a_point_stays_committed_and_opens_again_otherwise() {
        let point = CommitPoint::default();
        let shared = point.clone();
        let sent = point.send();
        assert_eq!(shared.state(), CommitState::Sent);
        drop(sent);
        assert_eq!(shared.state(), CommitState::Open);
        let sent = point.send();
        sent.committed();
        drop(sent);
        assert_eq!(shared.state(), CommitState::Committed);
        shared.reset();
        assert_eq!(point.state(), CommitState::Open);
    }
}
