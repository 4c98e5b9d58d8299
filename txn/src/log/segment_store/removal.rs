//! Removing entries: from the end, from the front, all of them.

use std::{collections::VecDeque, sync::Arc};

use super::{SegmentStore, file::LogFile, read::read_entries};
use crate::{
    ids::EntryIndex,
    log::{
        fault,
        format::{Activation, EntryId, Marks},
        wal::WalError,
    },
};

impl SegmentStore {
    /// Remove `from` and everything after it. Durable and atomic.
    pub fn truncate_suffix(&self, from: EntryIndex) -> Result<(), WalError> {
        self.check()?;
        let marks = self.marks.lock();
        let Marks { committed, cut, .. } = marks.get();
        if from <= committed {
            let reason = format!("entries up to {} are committed", committed.0);
            return Err(WalError::Misuse(format!("truncation from entry {}: {reason}", from.0)));
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if from > state.last.index {
            return Ok(());
        }
        if from < state.first {
            return Err(WalError::Cut { from, first: state.first });
        }
        let previous = EntryIndex(from.0 - 1);
        let previous_term = if previous == cut.index {
            cut.term
        } else {
            let mut entry = Vec::with_capacity(1);
            read_entries(&state.plan(previous), 0, &mut entry)?;
            entry[0].term
        };
        let spare = self.spares.lock().take().map_err(|error| self.full_or_fail(error))?;
        // What stays of the active file must be durable before a later file says so.
        self.seal(state, "log::truncate::seal")?;
        self.activate(state, spare, Activation { first: from, previous_term })?;
        state.last = EntryId::new(previous_term, previous);
        state.cursor = None;
        let mut synced = self.synced.lock();
        synced.truncations += 1;
        self.set_durable(&mut synced, previous);
        drop(synced);
        let active = state.files.pop_back().expect("just activated");
        let replaced =
            state.files.split_off(state.files.partition_point(|file| file.first() < from));
        state.files.push_back(active);
        drop(guard);
        self.remove_files("log::truncate::remove", replaced);
        Ok(())
    }

    /// Drop entries below `before`: whole files only go, but none of those entries is readable
    /// again. Durable on return.
    pub fn cut_prefix(&self, before: EntryIndex) -> Result<(), WalError> {
        self.check()?;
        let last = self.last().index;
        if before > last.next() {
            return Err(WalError::BeyondEnd { before, last });
        }
        if before <= self.first() {
            return Ok(());
        }
        let index = EntryIndex(before.0 - 1);
        if self.durable() < index {
            self.sync()?;
        }
        let cut = EntryId::new(self.term_of(index)?, index);
        let mut marks = self.marks.lock();
        let old = marks.get();
        if old.cut.index >= cut.index {
            return Ok(());
        }
        let committed = old.committed.max(cut.index);
        self.save(&mut marks, Marks { cut, committed, ..old }, "log::cut::mark")?;
        let mut state = self.state.lock();
        state.first = before;
        let mut unused = VecDeque::new();
        while state.files.get(1).is_some_and(|next| next.first() <= before) {
            unused.extend(state.files.pop_front());
        }
        drop(state);
        drop(marks);
        self.remove_files("log::cut::remove", unused);
        Ok(())
    }

    /// Forget everything and go on after `to`, which lies at or beyond the end: what installing a
    /// snapshot of another replica does. Durable on return.
    pub fn reset(&self, to: EntryId) -> Result<(), WalError> {
        self.check()?;
        let mut marks = self.marks.lock();
        let old = marks.get();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if to.index < state.last.index {
            let reason = format!("the log ends at {}", state.last.index.0);
            return Err(WalError::Misuse(format!("reset to entry {}: {reason}", to.index.0)));
        }
        let spare = self.spares.lock().take().map_err(|error| self.full_or_fail(error))?;
        let committed = old.committed.max(to.index);
        self.save(&mut marks, Marks { cut: to, committed, ..old }, "log::cut::mark")?;
        let activation = Activation { first: to.index.next(), previous_term: to.term };
        self.activate(state, spare, activation)?;
        state.last = to;
        state.first = to.index.next();
        state.cursor = None;
        let mut synced = self.synced.lock();
        synced.truncations += 1;
        self.set_durable(&mut synced, to.index);
        drop(synced);
        let active = state.files.pop_back().expect("just activated");
        let unused = std::mem::take(&mut state.files);
        state.files.push_back(active);
        drop(guard);
        self.remove_files("log::cut::remove", unused);
        Ok(())
    }

    /// Files that no longer count. What cannot be removed now, the next opening removes.
    pub(super) fn remove_files(&self, point: &'static str, files: VecDeque<Arc<LogFile>>) {
        if files.is_empty() {
            return;
        }
        let removed = files.iter().try_for_each(|file| {
            fault::point(point, &file.path).and_then(|()| self.env.disk.remove(&file.path))
        });
        let synced = removed
            .and_then(|()| fault::point("log::cut::sync_dir", &self.directory))
            .and_then(|()| self.env.disk.sync_dir(&self.directory));
        if let Err(error) = synced {
            tracing::warn!(%error, "unused files of the log stay until the next start");
        }
    }
}
