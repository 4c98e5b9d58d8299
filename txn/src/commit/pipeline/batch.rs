//! A batch on its way through the log: one type per stage, so that none can be skipped.
//!
//! `Batch` → append → `Appended` → sync → `Durable` → apply → publish.

use std::collections::VecDeque;

use bytes::Bytes;

use super::reply::{Due, Waiter};
use crate::{
    commit::{
        message::Answer,
        record::{BodyBuilder, Record},
        snapshots::Stopped,
    },
    ids::{EntryIndex, LogId, Position},
    log::wal::FRAME_BYTES,
};

/// What gathers while the previous batch is on its way.
pub(super) struct OpenBatch {
    log: LogId,
    /// Entries that are full.
    entries: Vec<(EntryIndex, Bytes)>,
    /// The entry that records are added to, and its index.
    body: BodyBuilder,
    index: EntryIndex,
    waiters: Vec<Waiter>,
}

impl OpenBatch {
    /// `index` is that of the next entry of the log.
    pub(super) fn new(log: LogId, index: EntryIndex) -> Self {
        Self { log, entries: Vec::new(), body: BodyBuilder::new(), index, waiters: Vec::new() }
    }

    /// Bytes of the log that a record with this payload may take, at most.
    pub(super) fn cost_max(payload_len: usize) -> u64 {
        let record = payload_len + crate::commit::record::RECORD_OVERHEAD_BYTES_MAX;
        (record + FRAME_BYTES + 1) as u64
    }

    /// Where a record with a payload of this length would be placed.
    pub(super) fn next_position(&self, payload_len: usize) -> Position {
        if self.body.fits(payload_len) {
            Position::new(self.log, self.index, self.body.records())
        } else {
            Position::new(self.log, self.index.next(), 0)
        }
    }

    /// Adds a record; returns its position and the bytes of the log that it takes.
    pub(super) fn push(&mut self, record: &Record, payload_len: usize) -> (Position, u64) {
        let position = self.next_position(payload_len);
        if position.index != self.index {
            self.close_entry();
        }
        let new_entry = self.body.is_empty();
        let before = if new_entry { 0 } else { self.body.len() };
        self.body.push(record);
        let frame = if new_entry { FRAME_BYTES } else { 0 };
        (position, (self.body.len() - before + frame) as u64)
    }

    pub(super) fn wait(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.body.is_empty()
    }

    fn close_entry(&mut self) {
        let body = std::mem::take(&mut self.body);
        self.entries.push((self.index, body.finish()));
        self.index = self.index.next();
    }

    /// Everything gathered; the next batch starts empty.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        if !self.body.is_empty() {
            self.close_entry();
        }
        let entries = std::mem::take(&mut self.entries);
        Some(Batch { entries, waiters: std::mem::take(&mut self.waiters) })
    }
}

/// Stamped and placed, not yet in the log.
pub struct Batch {
    pub(super) entries: Vec<(EntryIndex, Bytes)>,
    pub(super) waiters: Vec<Waiter>,
}

/// In the log, not yet durable.
pub struct Appended(pub(super) Batch);

/// In the log for good; records up to `next` are applied.
pub struct Durable {
    pub(super) batch: Batch,
    pub(super) records: VecDeque<(Position, Record)>,
}

impl Batch {
    pub(super) fn last(&self) -> EntryIndex {
        self.entries.last().expect("a batch has an entry").0
    }

    /// The parts in it are in the log now: that is all their senders wait for.
    pub(super) fn answer_parts(&mut self) {
        for waiter in self.waiters.extract_if(.., |waiter| waiter.due == Due::Part) {
            waiter.answer();
        }
    }

    /// Nobody knows what became of it.
    pub(super) fn fail(self, stopped: &Stopped) {
        for waiter in self.waiters {
            waiter.owed.answer(Answer::Unknown(stopped.to_string()));
        }
    }
}

/// Most records, and bytes, of a batch that is applied between two syncs.
const SMALL_RECORDS: usize = 64;
const SMALL_BYTES: usize = 64 << 10;

impl Durable {
    /// Whether it is applied in less time than a sync takes.
    #[must_use]
    pub fn is_small(&self) -> bool {
        let bytes: usize = self.batch.entries.iter().map(|(_, body)| body.len()).sum();
        self.records.len() <= SMALL_RECORDS && bytes <= SMALL_BYTES
    }

    /// Whether every record of it is applied.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.records.is_empty()
    }
}
