//! What has to be there before a commit needs it: a timestamp window, space in the log.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{Pipeline, head::Work, reply::Owed};
use crate::{
    commit::{
        message::{Answer, Refusal, Request},
        time::{WINDOW_AHEAD, WINDOW_LOW, WindowError, window_target},
    },
    log::wal::WalError,
};

/// Least time between two lines about a window that cannot be extended.
const WARN_EVERY: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Extends the timestamp window when it runs low, lets those who wait for it go on, and asks
    /// for log space. May block on the metastore and the disk.
    pub fn keep(&self) {
        self.keep_window();
        self.keep_space();
        self.keep_aborting();
    }

    /// Aborts that the log had no room for are tried again.
    fn keep_aborting(&self) {
        let unaborted = std::mem::take(&mut self.head.lock().unaborted);
        for id in unaborted {
            let log = move |answer| match answer {
                Answer::Aborted => tracing::debug!(%id, "aborted what a session gave up"),
                other => tracing::warn!(%id, ?other, "cannot abort what a session gave up"),
            };
            self.handle(Work::Request(Request::Abort(id)), Owed::process(Box::new(log)));
        }
    }

    fn keep_window(&self) {
        let (last, anyone_waits) = {
            let head = self.head.lock();
            (head.stamper.last(), !head.parked.is_empty())
        };
        let (now, now_ms) = (self.env.clock.monotonic(), self.env.clock.now_ms());
        let low = window_target(last, now_ms, WINDOW_LOW);
        if self.window.upper_bound() >= low && !anyone_waits {
            return;
        }
        let extended = self.window.extend(window_target(last, now_ms, WINDOW_AHEAD));
        let parked = std::mem::take(&mut self.head.lock().parked);
        match extended {
            Ok(bound) => {
                *self.window_warned.lock() = None;
                self.counters.window_extensions.fetch_add(1, Relaxed);
                tracing::debug!(%bound, "timestamp window extended");
                for (owed, work) in parked {
                    self.handle(work, owed);
                }
            }
            Err(error) if error.is_final() => {
                let stopped = self.stop(&format!("no timestamps: {error}"));
                let reason = stopped.0.to_string();
                refuse(parked, &Refusal::Stopped(reason));
            }
            Err(error) => {
                self.warn_of_window(now, &error);
                refuse(parked, &Refusal::NoTimestamp(error.to_string()));
            }
        }
    }

    /// Every commit that waits in vain has the window tried again: not each is worth a line.
    fn warn_of_window(&self, now: Duration, error: &WindowError) {
        let mut warned = self.window_warned.lock();
        if warned.is_none_or(|at| now.saturating_sub(at) >= WARN_EVERY) {
            *warned = Some(now);
            tracing::warn!(%error, "timestamp window not extended");
        }
    }

    pub(super) fn keep_space(&self) {
        let (placed, ahead) = {
            let head = self.head.lock();
            if !head.space.wants_more(&*self.env.clock) || head.stopped.is_some() {
                return;
            }
            (head.space.placed(), head.space.ahead())
        };
        let under_way = placed - self.appended.load(Relaxed);
        match self.wal.reserve(under_way + ahead) {
            Ok(()) => self.head.lock().space.grant(placed, ahead),
            // Those whose commit still fits go on, the others are told.
            Err(WalError::Full(reason)) => {
                let mib = |bytes: u64| bytes >> 20;
                match self.env.disk.space() {
                    Some((free, total)) => tracing::warn!(
                        reason,
                        "the log's disk is nearly full: {} of {} MiB are free",
                        mib(free),
                        mib(total)
                    ),
                    None => tracing::warn!(reason, "the log's disk is nearly full"),
                }
                self.head.lock().space.ahead_refused(&*self.env.clock);
            }
            Err(error) => {
                self.stop(&error.to_string());
            }
        }
    }

    pub(super) fn wake_keeper(&self) {
        *self.keeper.lock() = true;
        self.keeper_wakes.notify_one();
    }

    /// Waits until something is to be kept, or for the timeout. False: nothing more will be.
    pub fn wait_keep(&self, timeout: Duration) -> bool {
        {
            let mut woken = self.keeper.lock();
            if !*woken {
                self.keeper_wakes.wait_for(&mut woken, timeout);
            }
            *woken = false;
        }
        let head = self.head.lock();
        head.stopped.is_none() && !head.shutting_down
    }
}

fn refuse(parked: Vec<(Owed, Work)>, refusal: &Refusal) {
    for (owed, _) in parked {
        owed.answer(Answer::Refused(refusal.clone()));
    }
}
