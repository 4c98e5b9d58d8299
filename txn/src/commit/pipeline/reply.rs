//! Who waits for an answer. Everyone gets exactly one, whatever happens.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    commit::{
        message::{Answer, encode_answer},
        snapshots::{Snapshots, Stopped},
    },
    ids::{Position, Timestamp},
};

/// Called once with the encoded answer, on whichever thread has it. It must not block.
pub type Reply = Box<dyn FnOnce(Bytes) + Send>;

/// As `Reply`, for those in the process that want no bytes.
pub type AnswerCallback = Box<dyn FnOnce(Answer) + Send>;

/// A reply that is still owed.
pub(super) struct Owed(Option<To>);

enum To {
    Session(Reply),
    Process(AnswerCallback),
}

impl Owed {
    pub(super) fn session(reply: Reply) -> Self {
        Self(Some(To::Session(reply)))
    }

    pub(super) fn process(callback: AnswerCallback) -> Self {
        Self(Some(To::Process(callback)))
    }

    pub(super) fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    /// Answers once everything up to `position` is published; should it never be, with `otherwise`.
    pub(super) fn answer_when_published(
        self,
        snapshots: &Arc<Snapshots>,
        position: Position,
        answer: Answer,
        otherwise: impl FnOnce(Stopped) -> Answer + Send + 'static,
    ) {
        let callback = move |outcome: Result<_, Stopped>| match outcome {
            Ok(_) => self.answer(answer),
            Err(stopped) => self.answer(otherwise(stopped)),
        };
        snapshots.wait_until(position, Box::new(callback));
    }

    fn send(&mut self, answer: Answer) {
        match self.0.take() {
            Some(To::Session(reply)) => reply(encode_answer(&answer)),
            Some(To::Process(callback)) => callback(answer),
            None => {}
        }
    }
}

/// A thread that panics drops what it holds: whoever waits learns that nobody knows.
impl Drop for Owed {
    fn drop(&mut self) {
        self.send(Answer::Unknown("the commit pipeline broke off".to_owned()));
    }
}

/// What is answered when a record is published (a part: appended).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Part,
    Abort,
    Commit(Timestamp),
    Control(Timestamp),
}

/// Someone who waits for a record in a batch.
pub(super) struct Waiter {
    pub(super) position: Position,
    pub(super) due: Due,
    pub(super) owed: Owed,
}

impl Waiter {
    pub(super) fn answer(self) {
        let answer = match self.due {
            Due::Part => Answer::PartAccepted,
            Due::Abort => Answer::Aborted,
            Due::Commit(timestamp) | Due::Control(timestamp) => {
                Answer::Committed { position: self.position, timestamp }
            }
        };
        self.owed.answer(answer);
    }
}
