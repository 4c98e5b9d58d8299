//! The steps of a batch: taken, appended, synced, applied, published.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::Relaxed,
};

use fail::fail_point;

use super::{
    Pipeline,
    batch::{Appended, Batch, Durable},
    panic_text,
    reply::{Due, Waiter},
};
use crate::{
    commit::{record, snapshots::Stopped, state_machine::Apply},
    ids::Position,
    log::wal::FRAME_BYTES,
};

/// All fail points of the pipeline, in the order in which a commit meets them (feature
/// `failpoints`). `return` fails the step, `panic` the thread that takes it.
pub const FAIL_POINTS: &[&str] = &[
    "commit::submit",
    "commit::append",
    "commit::appended",
    "commit::sync",
    "commit::synced",
    "commit::apply",
    "commit::publish",
    "commit::answer",
];

/// What woke the thread that takes batches.
pub enum Taken {
    Batch(Batch),
    /// Nothing more will come.
    End,
}

impl Pipeline {
    /// What gathered since the last batch was taken, if anything.
    pub fn take_batch(&self) -> Option<Batch> {
        self.head.lock().open.take()
    }

    /// Whether something gathers that is to be taken.
    pub fn gathers(&self) -> bool {
        !self.head.lock().open.is_empty()
    }

    /// As `take_batch`, waiting for something to gather.
    pub fn wait_batch(&self) -> Taken {
        let mut head = self.head.lock();
        loop {
            if head.stopped.is_some() {
                return Taken::End;
            }
            if let Some(batch) = head.open.take() {
                return Taken::Batch(batch);
            }
            if head.shutting_down {
                return Taken::End;
            }
            head.log_sleeps = true;
            self.log_wakes.wait(&mut head);
            head.log_sleeps = false;
        }
    }

    /// Appends the batch's entries and answers the parts in it.
    pub fn append(&self, mut batch: Batch) -> Result<Appended, Stopped> {
        if let Some(reason) = injected("commit::append") {
            return self.failed(batch, reason);
        }
        for at in 0..batch.entries.len() {
            let (index, body) = batch.entries[at].clone();
            let bytes = (body.len() + FRAME_BYTES) as u64;
            match self.wal.append(self.term, body) {
                Ok(given) if given == index => {}
                Ok(given) => {
                    let reason = format!("the log gave index {} to entry {}", given.0, index.0);
                    return self.failed(batch, reason);
                }
                // Space was asked for beforehand, so even `Full` is not supposed to be.
                Err(error) => return self.failed(batch, error.to_string()),
            }
            self.appended.fetch_add(bytes, Relaxed);
            self.counters.entries.fetch_add(1, Relaxed);
        }
        if let Some(reason) = injected("commit::appended") {
            return self.failed(batch, reason);
        }
        batch.answer_parts();
        Ok(Appended(batch))
    }

    /// Makes everything up to the batch's end durable.
    pub fn sync(&self, batch: Appended) -> Result<Durable, Stopped> {
        let Appended(batch) = batch;
        if let Some(reason) = injected("commit::sync") {
            return self.failed(batch, reason);
        }
        let durable = match self.wal.sync() {
            Ok(durable) => durable,
            Err(error) => return self.failed(batch, error.to_string()),
        };
        let last = batch.last();
        if durable < last {
            let reason = format!("the log synced entry {}, not {}", durable.0, last.0);
            return self.failed(batch, reason);
        }
        if let Some(reason) = injected("commit::synced") {
            return self.failed(batch, reason);
        }
        self.counters.batches.fetch_add(1, Relaxed);
        let mut records = VecDeque::new();
        for (index, body) in &batch.entries {
            // What is applied is what recovery would read.
            let decoded = match record::decode(body) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let reason = format!("entry {} does not decode: {error}", index.0);
                    return self.failed(batch, reason);
                }
            };
            let log = self.wal.log_id();
            records.extend((0..).zip(decoded).map(|(n, r)| (Position::new(log, *index, n), r)));
        }
        Ok(Durable { batch, records })
    }

    /// Applies at most `records_max` of the batch's records.
    pub fn apply(
        &self,
        mut durable: Durable,
        apply: &mut dyn Apply,
        records_max: usize,
    ) -> Result<Durable, Stopped> {
        for _ in 0..records_max {
            let Some((position, record)) = durable.records.pop_front() else { break };
            if let Some(reason) = injected("commit::apply") {
                return self.failed(durable.batch, reason);
            }
            if let Err(error) = self.ids.record(position, &record) {
                return self.failed(durable.batch, error.to_string());
            }
            let applied = catch_unwind(AssertUnwindSafe(|| apply.apply(position, &record)));
            let reason = match applied {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("applying {position} panicked: {}", panic_text(&*panic)),
            };
            return self.failed(durable.batch, reason);
        }
        Ok(durable)
    }

    /// Publishes a batch that is applied whole, and answers everyone in it.
    pub fn publish(&self, durable: Durable) -> Result<(), Stopped> {
        assert!(durable.is_applied(), "published before it is applied");
        if let Some(reason) = injected("commit::publish") {
            return self.failed(durable.batch, reason);
        }
        self.snapshots.publish(self.ids.applied());
        let commits = |waiter: &&Waiter| matches!(waiter.due, Due::Commit(_));
        let commits = durable.batch.waiters.iter().filter(commits).count();
        self.counters.commits.fetch_add(commits as u64, Relaxed);
        if let Some(reason) = injected("commit::answer") {
            return self.failed(durable.batch, reason);
        }
        for waiter in durable.batch.waiters {
            waiter.answer();
        }
        Ok(())
    }

    fn failed<T>(&self, batch: Batch, reason: String) -> Result<T, Stopped> {
        let stopped = self.stop(&reason);
        batch.fail(&stopped);
        Err(stopped)
    }
}

/// A failure that a test asks for at this step (feature `failpoints`).
pub(super) fn injected(step: &'static str) -> Option<String> {
    fail_point!(step, |reason| Some(reason.unwrap_or_else(|| "injected failure".to_owned())));
    let _ = step;
    None
}
